"""A report as PDF: every format twice the same, and a full report of the Chinchilla runs within its limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_inputs import HOSTILE, planted, write_table

from scaling.cli import run

MOST_HTML, MOST_PDF = 1_000_000, 500_000  # bytes
SMALL = (0.3, 0.6, 1.0, 1.7, 3.0)

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def _typst() -> None:
    try:
        import typst  # noqa: F401
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("typst is not installed: pip install 'isoflop[report]'")
        pytest.skip("typst is not installed: pip install 'isoflop[report]'")


def test_the_same_input_gives_the_same_bytes_in_every_format(tmp_path: Path) -> None:
    table = write_table(tmp_path / "runs.csv", planted((1e18, 1e19, 1e20), SMALL))
    command = [sys.executable, "-m", "scaling", "report", str(table), "--bootstrap", "100", "-o", "out"]
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        done = subprocess.run(command, cwd=tmp_path / name, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        written.append({p.relative_to(tmp_path / name).as_posix(): p.read_bytes() for p in files})
    assert {"out/report.html", "out/report.pdf", "out/report.md", "out/report.json"} <= written[0].keys()
    assert written[0].keys() == written[1].keys()
    assert [name for name in written[0] if written[0][name] != written[1][name]] == []


def test_hostile_names_make_a_pdf(tmp_path: Path) -> None:
    rows = [
        (f"{HOSTILE[i % len(HOSTILE)]}{i}", *row[1:])
        for i, row in enumerate(planted((1e18, 1e19, 1e20), SMALL))
    ]
    source = write_table(tmp_path / "<b> & #x.csv", rows)
    out = tmp_path / "out"
    assert run(["report", str(source), "-o", str(out), "--title", HOSTILE[0], "--bootstrap", "100"]) == 0
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF-1.7")


@pytest.mark.parametrize("name", ["one budget", "three runs"])
def test_a_report_without_an_answer_makes_a_pdf(name: str, tmp_path: Path) -> None:
    rows = planted([1e20]) if name == "one budget" else planted([1e20])[:3]
    out = tmp_path / "out"
    source = write_table(tmp_path / "runs.csv", rows)
    assert run(["report", str(source), "-o", str(out), "--format", "pdf"]) == 0
    assert (out / "report.pdf").exists()


def test_a_full_report_of_the_chinchilla_runs_keeps_its_limits(shared_runs: Path, tmp_path: Path) -> None:
    source = shared_runs / "epoch_chinchilla.csv"
    assert run(["report", str(source), "--target", "5.76e23", "-o", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").stat().st_size <= MOST_HTML
    assert (tmp_path / "report.pdf").stat().st_size <= MOST_PDF
