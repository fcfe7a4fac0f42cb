# The README's way, in a container: docker build -t scaling . && docker run --rm scaling plan --flops 1e21
# Untried: no Docker was at hand. tests/test_packaging.py checks its commands against the README and its paths.
FROM python:3.11-slim
COPY pyproject.toml README.md LICENSE constraints.txt /source/
COPY scaling /source/scaling
RUN cd /source && pip install --no-cache-dir -c constraints.txt . && rm -rf /source
RUN useradd --create-home planner
USER planner
WORKDIR /work
ENTRYPOINT ["scaling"]
CMD ["--help"]
