"""Write docs/laws.md from the families of scaling/laws and the published laws: python scripts/write_laws_page.py

Nothing on the page is typed by hand: formulas and sources are those of the families, the words those of their files,
the numbers those of scaling/reference/published_laws.csv, which tests/published/ holds to the papers.
"""

from __future__ import annotations

import importlib
import textwrap
from itertools import groupby
from pathlib import Path

import scaling
from scaling.laws import FAMILIES, Law, find_family
from scaling.render.markdown import escaped
from scaling.units import format_flops, format_params, format_tokens

PAGE = Path(__file__).resolve().parents[1] / "docs" / "laws.md"
FLOPS = 1e21  # of the optimum in the table
HEAD = """# Laws

Every form that `scaling fit --law NAME` fits, and every published law that `scaling plan --law NAME` plans by. N
parameters, D tokens, C = 6 N D FLOPs, L loss in nats per token unless a row says otherwise. This page is written by
`scripts/write_laws_page.py` from what the package holds.

```bash
scaling laws list
scaling laws show hoffmann
scaling plan --flops 1e21 --law hoffmann
```

Which counts of parameters and FLOPs a law uses decides its numbers: exponents move by up to a third between conventions
([what the numbers mean](method.md#what-the-numbers-mean)). A plan converts to total parameters where it compares laws.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Forms\n"]
    for module, names in groupby(FAMILIES, lambda name: FAMILIES[name][0]):
        parts.append(_module(module, list(names)))
    parts += [
        "## Published laws\n",
        f"N\\*, D\\* and D/N are the optimum at {format_flops(FLOPS)} FLOPs, N as the law counts it; a law of one "
        "quantity has none.\n",
        "| law | N\\* | D\\* | D/N | a of N\\* ~ C^a | N counts | form | runs, FLOPs | source |",
        "| :--- | ---: | ---: | ---: | ---: | :--- | :--- | :--- | :--- |",
        *map(_row, scaling.published_laws()),
        "\n## Coefficients\n",
        "As the source prints them where it prints them; with as many digits as say the same law.\n",
        *map(_coefficients, scaling.published_laws()),
        "\n## Your own\n",
        "A form is a file of some seventy lines: [how to add one](../CONTRIBUTING.md#adding-a-law). A published\n"
        "law is a row of `scaling/reference/published_laws.csv`, with a test against a printed number.\n",
    ]
    return "\n".join(parts)


def _module(module: str, names: list[str]) -> str:
    """What the file says of its laws, and each of its forms."""
    told = (importlib.import_module(module).__doc__ or "").strip()
    rows = [
        f"### {module.rpartition('.')[2].replace('_', ' ').capitalize()}\n",
        _prose(told),
        "\n| name | formula | inputs | coefficients |",
        "| :--- | :--- | :--- | :--- |",
    ]
    for name in names:
        family = find_family(name)
        inputs = ", ".join(i.name for i in family.inputs)
        rows.append(
            f"| `{name}` | {_cell(family.formula)} | {_cell(inputs)} | {_cell(', '.join(family.names))} |"
        )
    if "Source:" not in told:
        rows.append(f"\nSource: {'; '.join(dict.fromkeys(find_family(name).cite for name in names))}.")
    return "\n".join([*rows, ""])


def _prose(text: str) -> str:
    """A docstring as Markdown: its words, and its indented formulas as they stand."""
    parts = []
    for is_formula, lines in groupby(text.splitlines(), lambda line: line.startswith("    ")):
        body = "\n".join(lines)
        if is_formula:
            parts.append(f"```text\n{textwrap.dedent(body)}\n```")
        else:
            paragraphs = body.replace("\nSource:", "\n\nSource:").split("\n\n")
            parts += [textwrap.fill(_words(p), 118, break_on_hyphens=False) for p in paragraphs]
    return "\n\n".join(parts)


def _words(text: str) -> str:
    """A paragraph on one line, with the signs that Markdown would read escaped, but for `code`."""
    parts = " ".join(text.split()).split("`")
    return "".join(f"`{part}`" if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _row(law: Law) -> str:
    origin = law.provenance
    assert origin is not None
    exponent = getattr(law, "params_exponent", None)
    try:
        best = law.allocate(FLOPS)
        optimum = [
            format_params(best.n_params),
            format_tokens(best.n_tokens),
            f"{best.n_tokens / best.n_params:.3g}",
        ]
    except (scaling.ScalingError, TypeError):
        optimum = ["-"] * 3
    ends = origin.fitted_range.get("flops")
    ran = f"{format_flops(ends[0])} to {format_flops(ends[1])}" if ends else "-"
    cells = [
        f"`{origin.name}`", *optimum, "-" if exponent is None else f"{exponent:.3f}",
        origin.params_convention.replace("_", "-"), f"`{law.family.name}`", ran, origin.source,
    ]  # fmt: skip
    return f"| {' | '.join(map(_cell, cells))} |"


def _coefficients(law: Law) -> str:
    assert law.provenance is not None
    told = ", ".join(f"{name} = {value:.6g}" for name, value in law.coefficients.items() if value is not None)
    note = f". {law.provenance.note[:1].upper()}{law.provenance.note[1:]}" if law.provenance.note else ""
    unit = "" if law.provenance.loss_unit == "nats/token" else f" Loss in {law.provenance.loss_unit}."
    return f"- `{law.provenance.name}`: {escaped(told)}{escaped(note)}.{unit}"


def _escaped(text: str) -> str:
    """As Markdown, with the blanks at the ends."""
    bare = text.strip()
    return text.replace(bare, escaped(bare)) if bare else text


def _cell(text: str) -> str:
    """Text of a table, a name in backticks as it is."""
    return text if text.startswith(("`", "-")) else escaped(text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
