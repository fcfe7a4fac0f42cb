"""docs/results.md quotes what its own commands give."""

from __future__ import annotations

from pathlib import Path

import pytest

import scaling
from scaling.blocks import screen
from scaling.reference.example import write_example_runs

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"


def test_the_page_shows_the_summary_as_the_renderers_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_example_runs(Path("runs.csv"))
    summary = scaling.fit_isoflop(scaling.load_runs("runs.csv")).summary()
    page = PAGE.read_text(encoding="utf-8")
    assert f"```text\n{scaling.render_terminal(screen(summary))}\n```" in page
    assert page.endswith(scaling.render_markdown(summary).rstrip("\n") + "\n")


if __name__ == "__main__":  # writes the page anew: python tests/test_results_page.py
    from scaling.reference.example import example_runs

    summary = scaling.fit_isoflop(example_runs()).summary()
    old = PAGE.read_text(encoding="utf-8")
    before, _, rest = old.partition("<!-- not run: what render_terminal wrote -->\n```text\n")
    between = rest[rest.index("```") :]
    between = between[: between.index("to the end of the page:\n\n") + len("to the end of the page:\n\n")]
    screen_text = scaling.render_terminal(screen(summary))
    markdown = scaling.render_markdown(summary).rstrip("\n")
    PAGE.write_text(
        f"{before}<!-- not run: what render_terminal wrote -->\n```text\n{screen_text}\n{between}{markdown}\n",
        encoding="utf-8",
    )
