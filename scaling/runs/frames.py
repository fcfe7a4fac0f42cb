"""Tables already in memory, a DataFrame, records or columns by name, as a RawTable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import DataError
from scaling.runs.raw_table import RawTable

if TYPE_CHECKING:
    import pandas as pd


def read_object(data: Any) -> RawTable:
    """A mapping, a list of mappings, a structured array, or a frame of pandas, polars, Arrow or datasets."""
    if isinstance(data, Mapping):
        if any(isinstance(v, Mapping) or _are_records(v) for v in data.values()):
            return _nested(data)
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
        return _records(data)
    raise DataError(
        f"load_runs takes a path or a DataFrame; got {type(data).__name__}. A list of dicts or a dict of columns does "
        f"as well."
    )


def _are_records(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and bool(data) and all(isinstance(r, Mapping) for r in data)


def _records(data: Sequence[Mapping[str, Any]]) -> RawTable:
    from scaling.runs.json_table import table_of_records

    return table_of_records(data, "records", range(1, len(data) + 1), "row")


def _nested(data: Mapping[str, Any]) -> RawTable:
    from scaling.runs.json_table import table_of_value

    return table_of_value(dict(data), "dict")


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
            raise DataError(
                f"column {name!r} must be a list of one value a run; got {type(values).__name__}."
            )
        numeric = isinstance(values, np.ndarray) and values.dtype.kind in "iuf"
        columns.append(np.asarray(values, dtype=np.float64) if numeric else list(values))
    lengths = {str(name): len(values) for name, values in zip(data, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"the columns differ in length ({', '.join(f'{k}: {v}' for k, v in lengths.items())})."
        )
    n = next(iter(lengths.values()))
    if not n:
        raise DataError("the table holds no runs; give at least one row.")
    row = np.arange(1, n + 1, dtype=np.int64)
    return RawTable(
        source="arrays", headers=tuple(map(str, data)), values=tuple(columns), row=row, row_word="row"
    )
