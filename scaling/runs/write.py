"""How a table of runs is saved: CSV, JSON lines or Parquet, whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.files import whole_file
from scaling.installing import extra_command

SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")


def write_columns(columns: Mapping[str, Any], path: Path, *, overwrite: bool = False) -> Path:
    """Write beside `path`, then rename into place: a reader sees the old file or the whole new one.

    Raises:
        UsageError: another suffix than .csv, .jsonl (each also .gz), .parquet.
        DataError: the file exists, its folder does not, or it cannot be written (disk full, no permission).
    """
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise UsageError(f"{path}: a table of runs is saved as {', '.join(SUFFIXES)}; choose one of these.")
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists already; choose another name or pass overwrite=True.")
    if not path.parent.is_dir():
        raise MissingFileError(f"{path.parent} is not a folder; create it first.")
    try:
        with whole_file(path) as partial:
            _write(columns, partial, name)
    except (OSError, UnicodeEncodeError) as error:
        why = getattr(error, "strerror", None) or error
        cannot = MissingFileError if isinstance(error, OSError) else DataError
        raise cannot(f"{path} could not be written: {why}. Nothing was changed there.") from error
    return path


def _write(columns: Mapping[str, Any], to: Path, name: str) -> None:
    if name.endswith(".parquet"):
        _write_parquet(columns, to)
        return
    columns = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in columns.items()}
    with to.open("xb") as raw, _text(raw, name) as file:
        if ".csv" in name:
            returns = any(isinstance(c, str) and "\r" in c for v in columns.values() for c in v)
            # QUOTE_MINIMAL leaves a lone \r unquoted, and readers then see two lines
            quoting: Any = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
            writer = csv.writer(file, lineterminator="\n", quoting=quoting)
            writer.writerow(columns)
            writer.writerows(zip(*(map(_csv_cell, v) for v in columns.values()), strict=True))
        else:
            for cells in zip(*columns.values(), strict=True):
                # NaN: not known
                row = {k: v if v == v else None for k, v in zip(columns, cells, strict=True)}
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _text(raw: IO[bytes], name: str) -> io.TextIOWrapper:
    """UTF-8 text over `raw`; gzip without a name or time, so that equal runs give equal files."""
    binary: Any = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) if name.endswith(".gz") else raw
    return io.TextIOWrapper(binary, encoding="utf-8", newline="")


def _csv_cell(value: Any) -> Any:
    """Shortest text that reads back as the same number; NaN = empty."""
    return value if not isinstance(value, float) else "" if value != value else repr(value)


def _write_parquet(columns: Mapping[str, Any], to: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        how = f"`{extra_command('data')}`, or save as .csv."
        raise DataError(f"{to}: Parquet needs pyarrow; {how}") from error
    import pandas as pd

    pd.DataFrame(columns).to_parquet(to, index=False)
