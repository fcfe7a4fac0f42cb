"""A report as PDF: every format twice the same, and a full report of the Chinchilla runs within its limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pikepdf
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


def elements(pdf: pikepdf.Pdf) -> list[pikepdf.Object]:
    """Every element of the structure tree."""
    found, waiting = [], [pdf.Root.StructTreeRoot.K]
    while waiting:
        node = waiting.pop()
        if isinstance(node, pikepdf.Array):
            waiting += list(node)
        elif isinstance(node, pikepdf.Dictionary) and "/S" in node:
            found.append(node)
            waiting += [node.K] if "/K" in node else []
    return found


def test_the_packed_pdf_is_sound_and_keeps_what_a_screen_reader_needs(tmp_path: Path) -> None:
    """Read by qpdf: no fault of syntax, and the marks of PDF/UA-1 (ISO 14289-1, 5 and 7) are there after packing."""
    table = write_table(tmp_path / "runs.csv", planted((1e18, 1e19, 1e20), SMALL))
    command = ["report", str(table), "--bootstrap", "100", "-o", str(tmp_path / "out"), "--format", "pdf"]
    assert run([*command, "--lang", "es"]) == 0
    with pikepdf.open(tmp_path / "out" / "report.pdf") as pdf:
        assert pdf.check_pdf_syntax() == []
        assert (str(pdf.Root.Lang), bool(pdf.Root.MarkInfo.Marked)) == ("es", True)
        assert bool(pdf.Root.ViewerPreferences.DisplayDocTitle)
        said = pdf.open_metadata()
        assert (said["pdfuaid:part"], bool(said["dc:title"])) == ("1", True)
        assert all(page.obj.get("/Tabs") == "/S" for page in pdf.pages if "/Annots" in page.obj)
        assert all("/StructParents" in page.obj for page in pdf.pages)
        by_kind: dict[str, list[pikepdf.Object]] = {}
        for element in elements(pdf):
            by_kind.setdefault(str(element.S), []).append(element)
        assert len(by_kind["/Figure"]) >= 10
        assert all(str(element.get("/Alt", "")) for element in by_kind["/Figure"])
        assert len(by_kind["/TH"]) > len(by_kind["/Table"]) >= 5
        assert {"/H1", "/H2", "/TOC", "/TD"} <= by_kind.keys()


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
