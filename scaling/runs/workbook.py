"""Spreadsheets to a RawTable: .xlsx by openpyxl, and what else pandas has a reader for."""

from __future__ import annotations

from typing import IO, Any

from scaling.errors import DataError
from scaling.runs.grid import is_blank, table_of_rows, with_notes
from scaling.runs.raw_table import RawTable

# what a reader of pandas needs, and how it is got
_NEEDS = {
    "openpyxl": "pip install 'isoflop[xlsx]'",
    "odf": "pip install odfpy",
    "xlrd": "pip install xlrd",
    "pyxlsb": "pip install pyxlsb",
}


def read_workbook(
    file: IO[bytes], source: str, engine: Any, part: str = "", *, names: bool = True
) -> RawTable:
    """The sheet named `part`, or the first that holds a table; the note lists the others.

    Args:
        file: the whole file, which can be searched.
        source: for messages.
        engine: pandas' reader: "openpyxl", "odf", "xlrd" or "pyxlsb".
        part: the name of a sheet.
        names: as of `layout_of`.
    """
    sheets = _sheets(file, source, engine, part)
    tables = {name: rows for name, rows in sheets.items() if sum(len(filled) > 1 for _, filled in rows) > 1}
    if not tables:
        raise DataError(f"{source}: no sheet holds a table; give a row of column names and one row a run.")
    name = next(iter(tables))
    width = 1 + max(max(filled) for _, filled in tables[name])
    records = [[filled.get(i) for i in range(width)] for _, filled in tables[name]]
    lines = [line for line, _ in tables[name]]
    table = table_of_rows(records, lines, source, row_word="row", names=names)
    others = ", ".join(f"{source}#{other}" for other in list(tables)[1:7])
    note = f"read sheet {name!r}; the others are {others}" if others else f"read sheet {name!r}"
    return with_notes(table, (note,) if len(sheets) > 1 or part else ())


def _sheets(
    file: IO[bytes], source: str, engine: Any, part: str
) -> dict[str, list[tuple[int, dict[int, Any]]]]:
    """Of each sheet the rows that hold something: their number and their filled cells by place."""
    import pandas as pd

    try:
        book = pd.ExcelFile(file, engine=engine)
        known = [str(name) for name in book.sheet_names]
        if part and part not in known:
            listed = ", ".join(f"{source}#{name}" for name in known[:8])
            raise DataError(f"{source} has no sheet {part!r}; name one of {listed}.")
        frames = pd.read_excel(
            book, sheet_name=[part] if part else known, header=None, dtype=object, na_filter=False
        )
    except ImportError as error:
        raise DataError(
            f"{source}: a spreadsheet needs {engine}; `{_NEEDS[engine]}`, or save the sheet as CSV."
        ) from error
    except DataError:
        raise
    except Exception as error:  # each reader has its own: zip, XML, struct and key errors among them
        raise DataError(
            f"{source} is not a readable spreadsheet ({str(error)[:120]}); save it again, or save the sheet as CSV."
        ) from error
    return {name: _filled_rows(frame.to_numpy(dtype=object)) for name, frame in frames.items()}


def _filled_rows(cells: Any) -> list[tuple[int, dict[int, Any]]]:
    rows = []
    for line, row in enumerate(cells.tolist(), start=1):
        filled = {i: cell for i, cell in enumerate(row) if not is_blank(cell) and cell == cell}
        if filled:
            rows.append((line, filled))
    return rows
