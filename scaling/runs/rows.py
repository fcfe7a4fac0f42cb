"""Rows and columns of a table for its checks: how a finding names them, and how it looks for them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.runs.names import GROUPS, fold
from scaling.runs.table import QUANTITIES, Runs
from scaling.translation import tr
from scaling.units import format_params

SAMPLE_ROWS = 50_000  # a rank correlation or six coefficients need no more
LEARNING_RATES = ("lr", "learning_rate", "peak_lr", "max_lr")
BATCHES = ("batch_size", "bsz", "batch_seqs")
MOST_NAMED = 6  # runs in one command
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, bits spread: 2^64 over the golden ratio


def rows_where(runs: Runs, mask: NDArray[Any]) -> tuple[int, ...]:
    """The line numbers of the rows under a mask, or at these positions."""
    return tuple(int(r) for r in runs.row[mask])


def name_rows(rows: Iterable[int], limit: int = 6) -> str:
    """'row 4', 'rows 4, 9 and 3 more'."""
    listed = [str(r) for r in rows]
    shown = (
        listed
        if len(listed) <= limit + 1
        else [*listed[:limit], tr("{limit} more", limit=len(listed) - limit)]
    )
    head = tr("row ") if len(listed) == 1 else tr("rows ")
    return head + (tr(" and ").join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown))


def plain(value: float, digits: int = 3) -> str:
    """A number for a sentence: 640, 0.17, 2.5M; exponents only where nothing else is readable."""
    return format_params(float(value), digits)


def extent(values: NDArray[np.float64], digits: int = 3) -> str:
    """'1.5', or '1.1 to 1.4'."""
    low, high = plain(float(values.min()), digits), plain(float(values.max()), digits)
    return low if low == high else tr("{low} to {high}", low=low, high=high)


def leave_out(runs: Runs, mask: NDArray[Any]) -> str:
    """The options that leave the masked rows out by the names of their runs; "" where they are many."""
    names = list(dict.fromkeys(runs.run_id[i] for i in np.flatnonzero(mask).tolist()))
    if not names or len(names) > MOST_NAMED or 2 * len(names) > len(runs):
        return ""
    return " ".join(f"--exclude {shlex.quote(name)}" for name in names)


def extra_column(runs: Runs, *names: str) -> NDArray[Any] | None:
    """The first extra column with one of these names, however it is spelt."""
    folded = {fold(k): v for k, v in runs.extras.items()}
    return next((folded[n] for n in names if n in folded), None)


def extra_numbers(runs: Runs, *names: str) -> NDArray[np.float64] | None:
    """As `extra_column`, if it holds numbers."""
    values = extra_column(runs, *names)
    return None if values is None or values.dtype.kind not in "fiu" else values.astype(np.float64)


def distinct(values: NDArray[Any], relative: float = 0.02) -> int:
    """How many different values, counting as one those within `relative` of the least of them."""
    ordered = np.sort(np.log(values))
    n, first = 0, 0
    while first < len(ordered):
        n, first = n + 1, int(np.searchsorted(ordered, ordered[first] + relative, side="right"))
    return n


def row_index(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """One integer per row: rows that agree in every column share it.

    Sorting by several columns is slow at a million rows, so only rows whose mixed bits recur are sorted so.
    """
    n = len(columns[0])
    mixed = np.zeros(n, dtype=np.uint64)
    for column in columns:
        mixed *= _MIX
        mixed += np.ascontiguousarray(column, dtype=np.float64).view(np.uint64)
        mixed ^= mixed >> np.uint64(29)
    in_order = np.sort(mixed)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    recurs = np.isin(mixed, twice) if twice.size else np.zeros(n, dtype=bool)
    index = np.empty(n, dtype=np.int64)
    index[~recurs] = np.arange(n - np.count_nonzero(recurs))
    rows = np.flatnonzero(recurs)
    if rows.size:
        rows = rows[np.lexsort([c[rows] for c in columns])]
        new = np.logical_or.reduce([c[rows][1:] != c[rows][:-1] for c in columns])
        index[rows] = n - recurs.sum() + np.concatenate([[0], np.cumsum(new)])
    return index


def seen_before(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """True where an earlier row holds the same values."""
    index = row_index(*columns)
    n = len(index)
    first = np.empty(int(index.max(initial=-1)) + 1, dtype=np.int64)
    first[index[::-1]] = np.arange(n - 1, -1, -1)  # of equal places the last written stays: the earliest row
    again = np.ones(n, dtype=bool)
    again[first] = False
    return again


def some_rows(n: int) -> NDArray[np.int64]:
    """All positions, or a fixed random choice of SAMPLE_ROWS of them where that is enough for a statistic."""
    if n <= SAMPLE_ROWS:
        return np.arange(n)
    return np.random.default_rng(0).choice(n, SAMPLE_ROWS, replace=False)


def cell_index(runs: Runs) -> NDArray[np.int64]:
    """One integer per cell (N, D, unique tokens): rows of one cell are replicates or a hyperparameter grid."""
    unique = np.zeros(len(runs)) if runs.n_tokens_unique is None else np.nan_to_num(runs.n_tokens_unique)
    return row_index(*(getattr(runs, name) for name in cell_names(runs)), unique, group_of(runs)[0])


def cell_names(runs: Runs) -> tuple[str, ...]:
    """What tells the cells of a table apart: n_params and n_tokens, or the one quantity that it holds."""
    present = tuple(name for name in QUANTITIES if name not in runs.absent)
    return ("n_params", "n_tokens") if not runs.absent else present


def group_of(runs: Runs) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Index and names of the corpora (or experiments) a table mixes; one group when it mixes none.

    Losses on two corpora do not lie on one surface, so valleys and cells are looked for within a group.
    """
    for name in GROUPS:
        values = extra_column(runs, name)
        if values is not None and values.dtype.kind == "O":
            cells = list(map(str, values.tolist()))
            names = sorted(set(cells))
            if 1 < len(names) <= max(2, len(runs) // 4):
                place = {n: i for i, n in enumerate(names)}
                return np.array([place[c] for c in cells], dtype=np.int64), tuple(names)
    return np.zeros(len(runs), dtype=np.int64), ("",)
