"""Tables that another library holds or reads, as a RawTable: DataFrames, records, Parquet, spreadsheets."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from scaling.errors import DataError
from scaling.installing import extra_command, package_command
from scaling.runs.grid import is_blank, table_of_rows, too_many_rows, with_notes
from scaling.runs.json_table import table_of_records, table_of_value
from scaling.runs.open_file import OpenFile
from scaling.runs.raw_table import RawTable

if TYPE_CHECKING:
    import pandas as pd


def read_object(data: Any) -> RawTable:
    """A mapping, a list of mappings, a structured array, or a frame of pandas, polars, Arrow or datasets."""
    if isinstance(data, Mapping):
        if any(isinstance(v, Mapping) or _are_records(v) for v in data.values()):
            return table_of_value(dict(data), "dict")
        return read_mapping(data)
    if hasattr(data, "collect") and hasattr(data, "collect_schema"):
        data = data.collect()  # a LazyFrame of polars
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return read_frame(data, "DataFrame")
    if hasattr(data, "to_frame") and hasattr(data, "iloc"):
        return read_frame(data.to_frame(), "Series")  # df.groupby([...])["loss"].min()
    if hasattr(data, "to_pydict"):  # Arrow
        return read_mapping(data.to_pydict())
    if hasattr(data, "to_dict") and hasattr(data, "get_column"):  # polars
        return read_mapping(data.to_dict(as_series=False))
    if hasattr(data, "to_pandas"):
        return read_frame(data.to_pandas(), type(data).__name__)
    names = getattr(getattr(data, "dtype", None), "names", None)
    if names:
        return read_mapping({name: np.asarray(data[name]) for name in names})
    if _are_records(data):
        return table_of_records(data, "records", range(1, len(data) + 1), "row")
    raise DataError(
        f"load_runs takes a path or a DataFrame; got {type(data).__name__}. A list of dicts or a dict of columns does "
        f"as well."
    )


def _are_records(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and bool(data) and all(isinstance(r, Mapping) for r in data)


def read_frame(frame: pd.DataFrame, source: str) -> RawTable:
    """A pandas DataFrame, one row a run; an index with a name is a column."""
    if getattr(frame.columns, "nlevels", 1) > 1:
        raise DataError(
            f"{source}: the columns have {frame.columns.nlevels} levels; give plain column names: "
            f"frame.columns = ['_'.join(map(str, c)) for c in frame.columns]."
        )
    named = [n for n in frame.index.names if n is not None and n not in frame.columns]
    if named:
        frame = frame.reset_index(level=named)
    headers = tuple(str(c) for c in frame.columns)
    if not len(frame):
        raise DataError(f"{source} holds no runs; give at least one row.")
    values = tuple(cells_of(frame.iloc[:, i]) for i in range(len(headers)))
    row = np.arange(1, len(frame) + 1, dtype=np.int64)
    return RawTable(source=source, headers=headers, values=values, row=row, row_word="row")


def cells_of(column: pd.Series[Any]) -> Any:
    """A float array for a column of numbers (missing = NaN); else its cells as Python objects (missing = None)."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "iuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "b" and not column.isna().any():
        return column.to_numpy(dtype=bool).tolist()
    if hasattr(column, "cat") and len(column) > len(column.cat.categories):
        names = [*column.cat.categories.tolist(), None]  # code -1 = missing = the last
        return [names[code] for code in column.cat.codes.tolist()]
    cells = column.tolist()
    for i in np.flatnonzero(column.isna().to_numpy()).tolist():
        cells[i] = None
    return cells


def read_mapping(data: Mapping[str, Any]) -> RawTable:
    """Columns by name, as lists or arrays of one length."""
    if not data:
        raise DataError("the mapping holds no columns; give n_params, n_tokens and loss.")
    columns: list[Any] = []
    for name, values in data.items():
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or np.ndim(values) != 1:
            got = type(values).__name__
            raise DataError(f"column {name!r} must be a list of one value a run; got {got}.")
        numeric = isinstance(values, np.ndarray) and values.dtype.kind in "iuf"
        columns.append(np.asarray(values, dtype=np.float64) if numeric else list(values))
    lengths = {str(name): len(values) for name, values in zip(data, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise DataError(f"the columns differ in length ({listed}).")
    n = next(iter(lengths.values()))
    if not n:
        raise DataError("the table holds no runs; give at least one row.")
    row, headers = np.arange(1, n + 1, dtype=np.int64), tuple(map(str, data))
    return RawTable(source="arrays", headers=headers, values=tuple(columns), row=row, row_word="row")


_PACKAGES = {"odf": "odfpy"}  # package of a reader of pandas, where it has another name

FilledRows = list[tuple[int, dict[int, Any]]]


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


def _sheets(file: IO[bytes], source: str, engine: Any, part: str) -> dict[str, FilledRows]:
    """Of each sheet the rows that hold something: their number and their filled cells by place."""
    import pandas as pd

    try:
        book = pd.ExcelFile(file, engine=engine)
        known = [str(name) for name in book.sheet_names]
        if part and part not in known:
            listed = ", ".join(f"{source}#{name}" for name in known[:8])
            raise DataError(f"{source} has no sheet {part!r}; name one of {listed}.")
        wanted = [part] if part else known
        frames = pd.read_excel(book, sheet_name=wanted, header=None, dtype=object, na_filter=False)
    except ImportError as error:
        package = _PACKAGES.get(engine, engine)
        how = extra_command("xlsx") if engine == "openpyxl" else package_command(package)
        needs = f"a spreadsheet needs {engine}; `{how}`"
        raise DataError(f"{source}: {needs}, or save the sheet as CSV.") from error
    except DataError:
        raise
    except Exception as error:  # each reader has its own: zip, XML, struct and key errors among them
        raise DataError(
            f"{source} is not a readable spreadsheet ({str(error)[:120]}); save it again, or save the sheet as CSV."
        ) from error
    return {name: _filled_rows(frame.to_numpy(dtype=object)) for name, frame in frames.items()}


def _filled_rows(cells: Any) -> FilledRows:
    rows = []
    for line, row in enumerate(cells.tolist(), start=1):
        filled = {i: cell for i, cell in enumerate(row) if not is_blank(cell) and cell == cell}
        if filled:
            rows.append((line, filled))
    return rows


def read_arrow(file: OpenFile, max_rows: int) -> RawTable:
    """Parquet, or Feather, which begins with ARROW1."""
    try:
        import pyarrow as pa
        import pyarrow.feather as feather
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(
            f"{file.source}: Parquet needs pyarrow; `{extra_command('data')}`, or save the table as CSV."
        ) from error
    is_feather = file.stream.peek(6)[:6] == b"ARROW1"
    stream = file.stream if file.size else io.BytesIO(file.stream.read())
    try:
        if is_feather:
            return read_frame(feather.read_feather(stream), file.source)
        table = parquet.ParquetFile(stream)
        if table.metadata.num_rows > max_rows:
            raise too_many_rows(file.source, f"{table.metadata.num_rows:.2g} rows", max_rows)
        return read_frame(table.read().to_pandas(), file.source)
    except pa.ArrowException as error:
        raise DataError(
            f"{file.source} is not a readable Parquet file ({str(error)[:120]}); get it again."
        ) from error
