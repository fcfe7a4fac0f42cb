"""Refusals of tables carry the options that mend them."""

from __future__ import annotations

import pytest

from scaling.errors import DataError, UsageError
from scaling.runs import load_runs

ROWS = {"n_params": [1e8] * 8, "n_tokens": [2e9] * 8, "loss": [3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.7, 3.8]}


def refused(table: object, **options: object) -> DataError | UsageError:
    with pytest.raises((DataError, UsageError)) as caught:
        load_runs(table, **options)
    return caught.value


@pytest.mark.parametrize(
    ("column", "cells", "remedies"),
    [
        ("loss", {2: float("nan")}, ("--exclude row:3",)),
        ("loss", {2: float("nan"), 5: float("inf")}, ("--exclude row:3 --exclude row:6",)),
        ("n_params", {7: "many"}, ("--exclude row:8",)),
        ("loss", dict.fromkeys(range(6), -1.0), ()),  # most rows: the fault is of the column
    ],
)
def test_a_bad_cell_names_the_option_that_leaves_its_row_out(column, cells, remedies) -> None:
    table = {**ROWS, column: [cells.get(i, cell) for i, cell in enumerate(ROWS[column])]}
    assert refused(table).remedies == remedies
    if remedies:
        load_runs(table, exclude=remedies[0].removeprefix("--exclude ").split(" --exclude "))


def test_a_wide_table_is_told_how_it_is_read() -> None:
    table = {"params": [1e8, 2e8], "1e18": [3.1, 3.2], "1e19": [3.0, 2.9]}
    error = refused(table)
    assert error.remedies == ("--wide budget",)
    assert "in Python wide='budget'" in str(error)
    assert len(load_runs(table, wide="budget")) == 4


def test_a_column_that_is_not_there_is_proposed_by_what_its_name_means() -> None:
    table = {**ROWS, "tokens_per_sec": [1] * 8}
    error = refused(table, columns={"n_tokens": "tokens"})
    assert error.remedies == ("--column n_tokens=n_tokens",)
    assert "tokens_per_sec" not in str(error)
