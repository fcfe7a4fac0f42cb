"""CSV files of W&B's web page: what a row, a column and an x axis are, and what they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaling.errors import DataError, UsageError
from scaling.runs import Runs
from scaling.sweep.importers import from_wandb

NAMED: dict[str, Any] = {"n_params": "n_params", "params_convention": "total", "n_tokens": "n_tokens"}


def imported(folder: Path, text: str, loss_key: str = "eval/loss", **told: Any) -> Runs:
    path = folder / "export.csv"
    path.write_text(text)
    return from_wandb(path, loss_key=loss_key, **(told or NAMED))


SCRIPT = """name,summary,config
a,"{'eval/loss': 4.0, 'n_tokens': 1e7, '_step': 99}",{'n_params': 1000000}
a,"{'eval/loss': %s, 'n_tokens': 2e7}",{'n_params': 1000000}
"""


@pytest.mark.parametrize(
    "text",
    ["Name,n_params,n_tokens,eval/loss\na,1e6,1e7,4.0\na,1e6,2e7,3.7\n", SCRIPT % 3.7],
    ids=["table", "script"],
)
def test_two_rows_of_one_name_are_two_runs(tmp_path: Path, text: str) -> None:
    runs = imported(tmp_path, text)
    assert (runs.run_id, runs.n_tokens.tolist(), runs.loss.tolist()) == (("a", "a-2"), [1e7, 2e7], [4.0, 3.7])


def test_a_finished_row_still_stands_for_the_crashed_one_of_its_name(tmp_path: Path) -> None:
    runs = imported(
        tmp_path, "Name,State,n_params,n_tokens,eval/loss\na,crashed,1e6,5e6,4.4\na,finished,1e6,1e7,4\n"
    )
    assert (runs.run_id, runs.loss.tolist()) == (("a",), [4.0])


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
def test_a_diverged_run_of_the_export_script_is_left_out_and_named(tmp_path: Path, loss: str) -> None:
    runs = imported(
        tmp_path, (SCRIPT % loss).replace("\na,\"{'eval/loss': " + loss, "\nb,\"{'eval/loss': " + loss)
    )
    assert runs.run_id == ("a",)
    assert "the last loss is not a number, left out: b" in runs.notes


def test_a_run_whose_summary_holds_no_plain_values_is_left_out_and_named(tmp_path: Path) -> None:
    runs = imported(tmp_path, SCRIPT % "<object at 0x1>")
    assert runs.loss.tolist() == [4.0]
    assert any("its column summary is no dictionary" in note and "left out: a" in note for note in runs.notes)


def panel(axis: str, *points: tuple[object, float]) -> str:
    return f'"{axis}","a - eval/loss"\n' + "".join(f'"{x}","{loss}"\n' for x, loss in points)


OF_PANEL: dict[str, Any] = {"n_params": 1e6, "params_convention": "total", "tokens_per_step": 1000}


@pytest.mark.parametrize(
    ("axis", "first"),
    [
        ("Relative Time (Process)", 10),
        ("Relative Time (Wall)", 10.5),
        ("Wall Time", 17e8),
        ("_runtime", 60),
        ("epoch", 0.5),
    ],
)
def test_a_panel_over_time_or_fractions_has_no_steps(tmp_path: Path, axis: str, first: float) -> None:
    with pytest.raises(DataError, match="are no steps: export the panel with Step"):
        imported(tmp_path, panel(axis, (first, 4.0), (first * 2, 3.9)), **OF_PANEL)


def test_a_panel_does_not_say_whether_a_run_ended_and_the_import_does(tmp_path: Path) -> None:
    text = panel("Step", (100, 4.0), (200, 3.9))
    for planned in ({}, {"n_steps": 200}):
        runs = imported(tmp_path, text, **OF_PANEL, **planned)
        assert runs.n_tokens.tolist() == [200_000]
        assert any("whether a run ended" in note for note in runs.notes) == (not planned)


def test_two_lines_of_one_name_in_a_panel_are_refused(tmp_path: Path) -> None:
    text = '"Step","a - eval/loss","a - eval/loss"\n"10","4.5","3.1"\n"20","4.0","3.0"\n'
    with pytest.raises(DataError, match="several columns named 'a - eval/loss'"):
        imported(tmp_path, text, **OF_PANEL)


@pytest.mark.parametrize(
    "column", ["eval/loss (Min.)", "eval/loss (Max.)", "eval/loss (min)", "eval/loss.min"]
)
def test_the_least_loss_of_a_run_is_not_that_of_its_end(tmp_path: Path, column: str) -> None:
    with pytest.raises(UsageError, match="is of a whole run, not of its end: take 'eval/loss'"):
        imported(tmp_path, f"Name,n_params,n_tokens,{column}\na,1e6,1e7,3.9\n", column)
