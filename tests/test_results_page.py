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
