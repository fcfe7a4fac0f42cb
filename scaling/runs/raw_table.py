"""A table as read, how it is to be understood, and the cells of a column as checked numbers.

An error names the file, the line, the column and the value.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.arguments import (
    require_flags,
    require_kind,
    require_lists_of_texts,
    require_numbers,
    require_texts,
)
from scaling.errors import DataError, UnitError
from scaling.runs.names import parse_quantity
from scaling.units import PRODUCT_ERROR

Array = NDArray[np.float64]
MOST_LEFT_OUT = 6  # rows named in one command
MOSTLY_GOOD = 4  # rows to each that is left out
EMPTY = frozenset(  # as tables and spreadsheets write "not known", in several languages
    {"", "na", "n/a", "n.a.", "nan", "null", "none", "nil", "<na>", "-", "--", "---", "–", "—", "−", "?", "k.a.",
     "n.d.", "s.d.", "#n/a", "#na", "#n/d", "#nv"}
)  # fmt: skip
APPROXIMATE = ("~", "≈", "∼", "≃", "<", ">", "≤", "≥", "±", "ca.", "approx", "about ")
# Outside these a cell is a slip of unit or column, not a run: no run has had 1e20 parameters or 1e35 FLOPs.
LARGEST = {"n_params": 1e18, "n_params_nonemb": 1e18, "n_params_active": 1e18}
LARGEST |= {"n_tokens": 1e21, "n_tokens_unique": 1e21}
LARGEST |= {"flops": 1e40, "budget": 1e40, "loss": 1e6, "step": 1e15}


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """A table as read, before any of it is understood."""

    source: str  # file name, or "DataFrame"
    headers: tuple[str, ...]
    values: tuple[Sequence[Any] | NDArray[Any], ...]  # a float array, or a list of cells, per column
    row: NDArray[np.int64]  # line of the text file, or row counted from 1
    row_word: str = "line"
    separator: str = ""  # between cells of a text file; "" where cells need none (JSON, Parquet, a frame)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.row)

    def place(self, index: int, header: str) -> str:
        return f"{self.source}, {self.row_word} {self.row[index]}, column {header}"

    def select(self, keep: NDArray[np.int64]) -> RawTable:
        """The rows at these positions."""
        chosen = keep.tolist()
        values = tuple(v[keep] if isinstance(v, np.ndarray) else [v[i] for i in chosen] for v in self.values)
        return replace(self, values=values, row=self.row[keep])


ColumnNames = Mapping[str, str | None]
"""Our name of a quantity → the column of the file that holds it, as the caller says; None: no column does."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a table is to be read; what is None is read from the table, or asked for."""

    params_convention: str | None = None  # what N counts: total, active or non_embedding
    flops_convention: str | None = None  # how C was counted: 6ND, exact, ...
    # nats/token, or bits/token, bits/byte, nats/byte, perplexity to convert; other
    loss_unit: str | None = None
    bytes_per_token: float | None = None  # of the validation text, for a loss per byte
    columns: ColumnNames | None = None
    tokens_per_step: float | None = None  # D = steps times this
    decimal: str | None = None  # comma or point, where a cell like 5,556 could be either
    # which rows; conditions are COLUMN=VALUE, COLUMN>VALUE ..., columns by our name or the file's
    only: Sequence[str] = ()  # several values of one column add up, several columns must all hold
    exclude: Sequence[str] = ()  # a run id, "line:12", or a condition
    drop: Sequence[str] = ()  # columns that mark rows to leave out
    best_of_cell: bool = False  # of the runs of one (N, D) the one of the lowest loss
    final: bool = False  # of training curves the last row of each run
    planned: bool = False  # losses may be missing
    inputs: Collection[str] | None = None  # of a law; without the others a table is read all the same

    def __post_init__(self) -> None:
        texts = ("params_convention", "flops_convention", "loss_unit", "decimal")
        require_texts(or_none=True, **{name: getattr(self, name) for name in texts})
        require_numbers(
            or_none=True, bytes_per_token=self.bytes_per_token, tokens_per_step=self.tokens_per_step
        )
        require_lists_of_texts(only=self.only, exclude=self.exclude, drop=self.drop)
        require_lists_of_texts(or_none=True, inputs=self.inputs)
        require_flags(best_of_cell=self.best_of_cell, final=self.final, planned=self.planned)
        columns = {} if self.columns is None else self.columns
        require_kind("columns", columns, Mapping, 'Name them: {"loss": "final_loss"}.')


def read_numbers(
    table: RawTable, position: int, name: str, *, scale: float = 1.0, log_base: float = 0.0, optional: bool
) -> Array:
    """One column as float64: finite and > 0 (a step may be 0); NaN only for an empty cell of an optional column.

    `log_base`: the cells are logarithms to this base; 0 = they are not.
    """
    header, cells = table.headers[position], table.values[position]
    try:
        values = _floats(table, cells, position, name)
    except DataError as error:
        unread = np.isnan(try_numbers(cells, name))
        filled = np.array([not is_empty(c) for c in cells]) if optional else True
        raise DataError(str(error), remedies=_leaving_out(table, unread & filled, position)) from error
    values = log_base**values if log_base else values
    values = scaled(values, scale)
    most = LARGEST.get(name, math.inf)
    bad = ~np.isfinite(values) | (values <= 0 if name != "step" else values < 0) | (values > most)
    if optional:
        bad &= ~np.isnan(values)  # an empty cell
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        more = f"; {int(bad.sum()) - 1} more rows are alike" if bad.sum() > 1 else ""
        why = _why(cells[i], float(values[i]), name)
        raise DataError(f"{table.place(i, header)}: {why}{more}.", remedies=_leaving_out(table, bad))
    return values


def is_empty(cell: Any) -> bool:
    return cell is None or cell != cell or (isinstance(cell, str) and cell.strip().lower() in EMPTY)


def _leaving_out(table: RawTable, bad: NDArray[np.bool_], position: int | None = None) -> tuple[str, ...]:
    """The option that leaves these rows out, where they are few: most rows of a kind are the fault of their column.

    position: the column whose words ("diverged") stand in these rows and can name them where they are many.
    """
    if not 0 < MOSTLY_GOOD * np.count_nonzero(bad) <= len(bad):
        return ()
    if np.count_nonzero(bad) > MOST_LEFT_OUT:
        cells = [] if position is None else [table.values[position][i] for i in np.flatnonzero(bad).tolist()]
        words = list(dict.fromkeys(str(c).strip() for c in cells))
        if position is None or not words or len(words) > MOST_LEFT_OUT or not all(w.isalpha() for w in words):
            return ()
        header = table.headers[position]
        return (" ".join(f"--exclude {shlex.quote(f'{header}={word}')}" for word in words),)
    return (" ".join(f"--exclude {table.row_word}:{row}" for row in table.row[bad].tolist()),)


def scaled(values: Array, scale: float) -> Array:
    """In our unit, and with the digits that were written: 8.549527438 times 1e9 is 8549527438, as in another table."""
    if scale == 1:
        return values  # no copy of a million rows
    product = values * scale
    with np.errstate(all="ignore"):
        # 14 digits; float64 holds the powers of ten exactly
        places = 13 - np.floor(np.log10(np.abs(product)))
        up, down = 10.0 ** np.maximum(places, 0), 10.0 ** np.maximum(-places, 0)
        written = np.rint(product * up / down) * down / up
        return np.where(np.abs(written - product) <= PRODUCT_ERROR * np.abs(product), written, product)


def text_of(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def read_texts(cells: Sequence[Any] | NDArray[Any]) -> tuple[str, ...]:
    """Names; a number that is whole loses its '.0' (run ids 1, 2, 3 read as floats)."""
    if isinstance(cells, np.ndarray):
        return tuple("" if v != v else f"{v:.0f}" if v.is_integer() else repr(v) for v in cells.tolist())
    if set(map(type, cells)) == {str}:
        return tuple(cells)
    return tuple("" if c is None or c != c else str(c) for c in cells)


def read_extra(cells: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """A column we do not interpret: numbers (empty = NaN), booleans, or text as it stands."""
    if isinstance(cells, np.ndarray):
        return cells
    kinds = set(map(type, cells))
    if kinds == {bool} or (kinds == {str} and {c.lower() for c in set(cells)} <= {"true", "false"}):
        return np.array([str(c).lower() == "true" for c in cells])
    if kinds <= {int, float, str, type(None)}:
        with suppress(ValueError, OverflowError):  # where they are no numbers: text
            return np.array([_plain_float(c) for c in cells], dtype=np.float64)
    texts = np.empty(len(cells), dtype=object)
    texts[:] = cells if kinds == {str} else ["" if c is None else str(c) for c in cells]
    return texts


def _floats(table: RawTable, cells: Any, position: int, name: str) -> Array:
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
        return np.asarray(cells, dtype=np.float64)
    with suppress(
        TypeError, ValueError, OverflowError
    ):  # at an empty cell, a unit or a mistake: cell by cell
        if not any(isinstance(c, bool) for c in cells):
            return np.array([float(c) for c in cells], dtype=np.float64)
    header = table.headers[position]
    return np.array([_number(c, name, partial(table.place, i, header)) for i, c in enumerate(cells)])


def _number(cell: Any, name: str, place: Callable[[], str]) -> float:
    """One cell: a number, a number with a unit ('7B'), or empty (NaN)."""
    try:
        return _plain_float(cell)
    except (TypeError, ValueError, OverflowError):
        text = str(cell)
    try:
        return parse_quantity(text, name)
    except UnitError as error:
        raise DataError(f"{place()}: {_unreadable(text, name, str(error))}") from error


def _plain_float(cell: Any) -> float:
    if isinstance(cell, str):
        return float(cell) if cell.strip().lower() not in EMPTY else math.nan
    if cell is None:
        return math.nan
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, np.number)):
        raise TypeError(f"{cell!r} is not a number")
    return float(cell)


def _unreadable(text: str, name: str, why: str) -> str:
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    if name == "loss":
        return f"{shown!r} is not a number; write the loss in nats/token as a plain number, 2.345."
    if text.lstrip().startswith(APPROXIMATE):
        return f"{shown!r} is approximate; write the number that was counted or measured."
    if ";" in text:
        return f"{shown!r} is not a number; write a point for decimals: 1.5e9."
    return why.replace(repr(text), repr(shown))


def _why(cell: Any, value: float, name: str) -> str:
    if is_empty(cell):
        diverged = "a diverged run has no loss to fit"
        remedy = diverged if name == "loss" else f"{name} must be known in every row"
        return f"is empty or NaN; remove the row, or fill it in: {remedy}"
    shown = repr(cell) if isinstance(cell, str) else f"{value:g}"
    if math.isfinite(value) and value > 0:
        return f"{shown} is beyond {LARGEST[name]:g}, more than any run; check the unit and the column"
    if name == "loss" and value < 0:
        return f"{shown} is negative; the loss is -log p in nats/token, above zero: flip the sign or check the column"
    rule = "zero or more" if name == "step" else "above zero"
    return f"{shown} is not a finite number {rule}; correct it or remove the row"


def try_numbers(cells: Sequence[Any] | NDArray[Any], name: str) -> Array:
    """The cells as numbers of a quantity, NaN where one is none: to compare columns by, before any is chosen."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
        return np.asarray(cells, dtype=np.float64)
    return np.array([_number_or_nan(cell, name) for cell in cells], dtype=np.float64)


def _number_or_nan(cell: Any, name: str) -> float:
    try:
        return _number(cell, name, str)
    except DataError:
        return math.nan
