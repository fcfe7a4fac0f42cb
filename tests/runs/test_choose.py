"""Rows are chosen by their cells as written, before any cell is judged."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.errors import DataError, UnknownNameError, UsageError
from scaling.runs import load_runs

TABLE = {
    "run_id": ["a", "b", "c", "d"],
    "n_params": ["1e8", "2e8", "?", "4e8"],
    "n_tokens": [2e9, 4e9, 8e9, 16e9],
    "corpus": ["c4", "c4", "pile", "pile"],
    "bad": ["", "false", "true", "0"],
    "loss": [3.1, 2.9, float("nan"), 35.0],
}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"exclude": ["c"]}, ["a", "b", "d"]),
        ({"exclude": ["row:3"]}, ["a", "b", "d"]),
        ({"exclude": ["c", "loss>20"]}, ["a", "b"]),
        ({"exclude": ["c", "n_params<=1e8"]}, ["b", "d"]),
        ({"exclude": ["c", "n_tokens>10B"]}, ["a", "b"]),
        ({"exclude": ["corpus=pile"]}, ["a", "b"]),
        ({"exclude": ["corpus!=c4"]}, ["a", "b"]),
        ({"drop": ["bad"]}, ["a", "b", "d"]),
        ({"only": ["corpus=c4"]}, ["a", "b"]),
        ({"only": ["run_id=a", "run_id=d"]}, ["a", "d"]),
        ({"only": ["n_tokens=4e9"]}, ["b"]),
        ({"only": ["loss<20"]}, ["a", "b"]),
        ({"only": ["corpus=pile", "loss>3"]}, ["d"]),
    ],
)
def test_a_row_that_cannot_be_read_can_be_left_out(options: dict[str, list[str]], left: list[str]) -> None:
    runs = load_runs(TABLE, **options)
    assert list(runs.run_id) == left
    if "c" not in left:
        assert any(f"left out {4 - len(left)} run" in n and "as you asked" in n for n in runs.notes)


def test_a_row_that_cannot_be_read_is_refused_when_it_stays() -> None:
    with pytest.raises(DataError, match="row 3, column n_params"):
        load_runs(TABLE)


def test_a_line_of_a_file_is_left_out_by_its_number(tmp_path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("n_params,n_tokens,loss\n1e8,2e9,3.1\n2e8,4e9,diverged\n\n4e8,8e9,2.7\n")
    runs = load_runs(path, exclude=["line:3"])
    assert runs.row.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"exclude": ["z"]}, "unknown run 'z'.*row:1.*loss>20"),
        ({"exclude": ["line:9"]}, "rows of arrays are row 1 to 4"),
        ({"exclude": ["depth>3"]}, "unknown column to select by 'depth'"),
        ({"only": ["corpus=owt"]}, "unknown value of corpus 'owt'"),
        ({"only": ["corpus"]}, "COLUMN=VALUE"),
        ({"drop": ["corpus"]}, "column of true and false, and corpus holds 'c4'.*--only corpus=c4"),
    ],
)  # fmt: skip
def test_a_choice_that_names_nothing_is_refused(options: dict[str, list[str]], says: str) -> None:
    with pytest.raises((UnknownNameError, UsageError), match=says):
        load_runs(TABLE, **options)


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(DataError, match="--exclude 'n_tokens>0' leaves none of the 4 rows"):
        load_runs(TABLE, exclude=["n_tokens>0"])


def curves(losses: list[float]) -> dict[str, list[object]]:
    """Two runs of equal length whose losses these are, the second 0.1 below the first."""
    n = len(losses)
    return {
        "run": ["a"] * n + ["b"] * n,
        "step": [*range(n)] * 2,
        "n_params": [1e8] * n + [2e8] * n,
        "n_tokens": [1e6 * s for s in range(n)] * 2,
        "loss": [*losses, *(x - 0.1 for x in losses)],
    }


NAN = float("nan")


def test_an_evaluation_before_the_first_step_is_no_run() -> None:
    runs = load_runs(curves([11.0, 5.0, 4.0]))
    assert runs.n_tokens.tolist() == [1e6, 2e6, 1e6, 2e6]
    assert any("2 rows at step 0" in note for note in runs.notes)


def test_the_last_evaluation_of_a_curve_is_its_row_where_steps_without_one_follow() -> None:
    runs = load_runs(curves([11.0, 5.0, NAN, 4.0, NAN]), final=True)
    assert runs.loss.tolist() == [4.0, 3.9]
    assert runs.n_tokens.tolist() == [3e6, 3e6]  # the moment it was measured, not the end of the run


def test_a_curve_that_ends_in_nan_has_diverged_and_is_refused_by_its_line() -> None:
    with pytest.raises(DataError, match="column loss: is empty or NaN"):
        load_runs(curves([11.0, 5.0, 4.0, NAN, NAN]), final=True)


def test_the_best_of_a_cell_is_its_lowest_loss_whatever_diverged_beside_it() -> None:
    table = {
        "n_params": [1e8, 1e8, 1e8, 2e8, 2e8],
        "tokens": ["2B", "2B", "2B", "2B", "2B"],
        "lr": [1e-3, 2e-3, 4e-3, 1e-3, 2e-3],
        "loss": [3.2, 3.1, NAN, 3.0, 3.05],
    }
    runs = load_runs(table, best_of_cell=True)
    assert runs.loss.tolist() == [3.1, 3.0]
    assert runs.extras["lr"].tolist() == [2e-3, 1e-3]
    corpora = load_runs({**table, "corpus": ["a", "b", "a", "a", "a"]}, best_of_cell=True)
    assert corpora.loss.tolist() == [3.2, 3.1, 3.0]  # cells of two corpora are two cells


def test_best_of_cell_works_on_tables_of_budgets_and_sizes() -> None:
    table = {
        "budget": [1e18] * 4,
        "params": [1e8, 1e8, 2e8, 2e8],
        "lr": [1, 2, 1, 2],
        "loss": [3.2, 3.1, 3.0, 3.3],
    }
    assert np.allclose(load_runs(table, best_of_cell=True).loss, [3.1, 3.0])
