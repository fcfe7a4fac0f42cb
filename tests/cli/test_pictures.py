"""--plot and --size: what is drawn, what is said of it, what is refused before any work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scaling.cli import run
from scaling.reference.example import write_example_runs


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    write_example_runs(path)
    return path


def width_in_inches(svg: Path) -> float:
    found = re.search(r'<svg [^>]*width="([\d.]+)pt"', svg.read_text(encoding="utf-8"))
    assert found is not None
    return float(found[1]) / 72


def test_fit_draws_the_checks_that_were_asked_for_and_says_so(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [
        "fit",
        str(table),
        "--holdout-above",
        "5e19",
        "--compare-laws",
        "--plot",
        str(tmp_path / "fit.svg"),
    ]
    assert run(args) == 0
    said = capsys.readouterr().err
    assert f"wrote {tmp_path / 'fit.svg'}: " in said
    assert all(name in said for name in ("Optimal size", "Hold-out", "Rolling cut", "Laws and objectives"))
    drawn = (tmp_path / "fit.svg").read_text(encoding="utf-8")
    assert "D* grows as C^" in drawn
    assert "Unseen runs are predicted to" in drawn


@pytest.mark.parametrize(("size", "inches"), [("column", 3.25), ("page", 6.5), ("slide", 6.67)])
def test_audit_draws_its_models_at_the_size_asked_for(size: str, inches: float, tmp_path: Path) -> None:
    picture = tmp_path / "audit.svg"
    assert run(["audit", "gpt-3", "--plot", str(picture), "--size", size]) == 0
    assert width_in_inches(picture) == pytest.approx(inches, abs=0.01)
    assert "GPT-3" in picture.read_text(encoding="utf-8")


def test_predict_draws_predicted_against_measured(table: Path, tmp_path: Path) -> None:
    picture = tmp_path / "predicted.svg"
    assert run(["predict", "besiroglu", str(table), "--plot", str(picture)]) == 0
    assert "The law predicts these runs to" in picture.read_text(encoding="utf-8")


def test_a_folder_gets_a_picture_a_figure(tmp_path: Path) -> None:
    assert run(["plan", "--flops", "1e21", "--quiet", "--plot", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["law-spread.svg", "off-optimum.svg"]


@pytest.mark.parametrize(
    "command", [["audit"], ["predict", "besiroglu", "no-such.csv"], ["fit", "no-such.csv"]]
)
def test_what_stands_in_the_way_of_a_picture_is_said_first(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.png").write_text("mine")
    for name, match in (
        ("mine.png", "pass --force"),
        ("x.docx", "kind of picture"),
        ("no/x.png", "make it first"),
    ):
        assert run([*command, "--plot", str(tmp_path / name)]) != 0
        assert match in capsys.readouterr().err
    assert (tmp_path / "mine.png").read_text() == "mine"
