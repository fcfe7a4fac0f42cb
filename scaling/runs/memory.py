"""Tables already in memory, a DataFrame or columns by name, as a RawTable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import DataError
from scaling.runs.cells import RawTable

if TYPE_CHECKING:
    import pandas as pd


def read_frame(frame: pd.DataFrame, source: str) -> RawTable:
    """A pandas DataFrame, one row a run."""
    headers = tuple(str(c) for c in frame.columns)
    if getattr(frame.columns, "nlevels", 1) > 1:
        raise DataError(
            f"{source}: the columns have {frame.columns.nlevels} levels; give plain column names."
        )
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
