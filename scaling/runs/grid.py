"""Rows of cells, as a text file or a sheet holds them, to a RawTable: where the names stand and where the runs begin.

Above the names a file may have a title, below them a row of units; an index may have no name, a row may end in an
empty cell. Each is told in a note; nothing else is bent to fit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaling.errors import DataError
from scaling.runs.raw_table import EMPTY, RawTable, text_of
from scaling.runs.wide import across_names

MAX_COLUMNS = 2_000
TITLE_ROWS = 10  # so far down the names are looked for
SEPARATOR_WORDS = {"\t": "tab", ";": "semicolon", "|": "|", " ": "blanks", "&": "&"}
_NUMBER_LIKE = re.compile(r"^[-+−]?[$€]?[\d.,]*\d")  # 7B, 1e18, 3,41; not "(B)"
_TYPES = re.compile(
    r"(?i)^(u?int\d*|[iuf]\d\d?|float\d*|double|bigint|integer|varchar|str(ing)?|object|bool(ean)?|text)$"
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the first rows say about all."""

    headers: tuple[str, ...]
    positions: tuple[int, ...]  # of each column among the cells of a row
    width: int  # cells of a row
    first: int  # index of the first row that is a run
    notes: tuple[str, ...] = ()


def layout_of(
    records: Sequence[list[Any]],
    lines: Sequence[int],
    source: str,
    *,
    row_word: str = "line",
    names: bool = True,
) -> Layout:
    """Names, and where the runs begin. `names`: refuse a header of numbers (those of a wide table are numbers)."""
    if not records:
        raise empty_table(source)
    top = _title_rows(records)
    header = [text_of(cell) for cell in records[top]]
    rows = records[top + 1 :]
    notes = (f"{row_word} {lines[0]} is a title and was left out",) if top else ()
    _refuse_no_names(header, f"{source}, {row_word} {lines[top]}", names)
    named = max((i + 1 for i, h in enumerate(header) if h), default=0)
    header = header[: max(named, min((len(r) for r in rows), default=named))]
    if rows and all(len(r) == len(header) + 1 for r in rows) and not all(is_blank(r[-1]) for r in rows):
        _refuse_no_index(rows, f"{source}, {row_word} {lines[top + 1]}", len(header))
        header, notes = ["", *header], (*notes, "the first column has no name")
    for record, line in zip(rows, lines[top + 1 :], strict=True):
        if len(record) < len(header) or not all(is_blank(c) for c in record[len(header) :]):
            raise ragged(f"{source}, {row_word} {line}", len(record), len(header))
    positions = tuple(i for i, h in enumerate(header) if h or not all(is_blank(r[i]) for r in rows))
    layout = Layout(
        headers=tuple(header[i] for i in positions),
        positions=positions,
        width=max(map(len, rows), default=len(header)),
        first=top + 1,
        notes=notes,
    )
    return _read_units(layout, rows, f"{row_word} {lines[top + 1] if rows else 0}")


def table_of_rows(
    records: Sequence[list[Any]],
    lines: Sequence[int],
    source: str,
    *,
    separator: str = "",
    row_word: str = "line",
    names: bool = True,
) -> RawTable:
    """The table that these rows hold; `lines` are their places in the file."""
    dots = [i for i, record in enumerate(records) if i and all(not text_of(c).strip(".…·⋮") for c in record)]
    if dots:
        place = f"{row_word} {lines[dots[0]]}"
        lines = [line for i, line in enumerate(lines) if i not in dots]
        records = [record for i, record in enumerate(records) if i not in dots]
    layout = layout_of(records, lines, source, row_word=row_word, names=names)
    notes = separator_note(separator) + layout.notes
    header = [text_of(c) for c in records[layout.first - 1]]
    body = list(zip(records[layout.first :], lines[layout.first :], strict=True))
    alike = (pair for pair in body if text_of(pair[0][0]) == header[0])
    again = [line for record, line in alike if [text_of(c) for c in record] == header]
    if again:
        body = [pair for pair in body if pair[1] not in again]
        notes += (f"the line of column names comes {len(again) + 1} times and was read once",)
    if dots:
        notes += (f"{place} holds dots: the table was cut when it was printed, and runs are missing",)
    if not body:
        raise no_runs(source)
    columns = tuple([record[i] for record, _ in body] for i in layout.positions)
    return RawTable(
        source=source,
        headers=layout.headers,
        values=columns,
        row=np.array([line for _, line in body], dtype=np.int64),
        row_word=row_word,
        separator=separator,
        notes=notes,
    )


def with_notes(table: RawTable, notes: tuple[str, ...]) -> RawTable:
    """The table with these notes before its own."""
    return replace(table, notes=(*notes, *table.notes)) if notes else table


def separator_note(separator: str) -> tuple[str, ...]:
    if separator in ("", ","):
        return ()
    return (f"columns are separated by {SEPARATOR_WORDS.get(separator, separator)}",)


def is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def empty_table(source: str) -> DataError:
    return DataError(f"{source} is empty; give a header line (n_params,n_tokens,loss) and one row a run.")


def no_runs(source: str) -> DataError:
    return DataError(f"{source} has column names but no runs; add one row a run below them.")


def too_many_rows(source: str, size: str, max_rows: int) -> DataError:
    return DataError(
        f"{source} holds {size}; at most {max_rows:.2g} fit comfortably in memory. Keep the last row of each run, or "
        f"every 100th step of a curve; load_runs(..., max_rows=) raises the limit."
    )


def ragged(place: str, got: int, expected: int) -> DataError:
    return DataError(
        f"{place}: {got} cells under {expected} column names; add what is missing, or quote a cell "
        f"that holds the separator."
    )


def _title_rows(records: Sequence[list[Any]]) -> int:
    """Rows of one cell above the first row of several; none if the table has one column."""
    for i, record in enumerate(records[:TITLE_ROWS]):
        if sum(not is_blank(c) for c in record) > 1:
            return i
    return 0


def _refuse_no_names(header: list[str], place: str, names: bool) -> None:
    if len(header) > MAX_COLUMNS:
        raise DataError(f"{place}: {len(header)} columns; a table of runs has at most {MAX_COLUMNS}.")
    if names and any(header) and all(is_number(h) for h in header if h):
        across = across_names(header) if not header[0] else ""
        wide = f"--wide n_params/{across}" if across else ""
        advice = f", or say that these are names: {wide} (in Python wide=)" if wide else ""
        raise DataError(
            f"{place} holds numbers where the column names belong; add a header such as n_params,n_tokens,loss"
            f"{advice}.",
            remedies=(wide,) if wide else (),
        )


def _refuse_no_index(rows: Sequence[list[Any]], place: str, n_named: int) -> None:
    """A row with one cell more than there are names begins with an index, and not with a decimal comma.

    Only 0, 1, 2... or words are taken for one, and only where another cell has a decimal point: read by one place
    too far, N, D and L would be wrong in silence.
    """
    first = [text_of(r[0]) for r in rows]
    numbers = [int(cell) for cell in first if cell.isdecimal()]
    counted = len(numbers) == len(first) > 1 and numbers[0] in (0, 1) and numbers == sorted(set(numbers))
    pointed = any(re.search(r"[.,]", text_of(c)) for r in rows for c in r[1:])
    if not pointed or (not counted and any(_NUMBER_LIKE.match(cell) for cell in first)):
        raise ragged(place, n_named + 1, n_named)


def _read_units(layout: Layout, rows: Sequence[list[Any]], place: str) -> Layout:
    """A first row that holds units or types above columns of numbers: units go into the names.

    Told from a run by this: no cell begins with a digit, and at least two columns that hold numbers below have words.
    """
    if len(rows) < 2:
        return layout
    units = [text_of(rows[0][i]) for i in layout.positions]
    if any(_NUMBER_LIKE.match(u) for u in units):
        return layout
    numeric = [
        all(_NUMBER_LIKE.match(text_of(r[i])) or text_of(r[i]).lower() in EMPTY for r in rows[1:20])
        for i in layout.positions
    ]
    if any(u and not h for h, u in zip(layout.headers, units, strict=True)):
        return layout  # names in two rows, not units
    said = [u for u, n in zip(units, numeric, strict=True) if n and u.lower() not in EMPTY]
    bracketed = all(u[:1] in "([" for u in said) and bool(said)
    if len(said) < (1 if bracketed else 2):
        return layout
    if all(_TYPES.match(u) for u in units if u):
        note = f"{place} holds the types of the columns and was left out"
        return replace(layout, first=layout.first + 1, notes=(*layout.notes, note))
    headers = tuple(
        f"{h} ({u.strip('()[] ')})" if n and u.lower() not in EMPTY and u.strip("()[] ") else h
        for h, u, n in zip(layout.headers, units, numeric, strict=True)
    )
    note = f"{place} holds units and was read into the column names"
    return replace(layout, headers=headers, first=layout.first + 1, notes=(*layout.notes, note))
