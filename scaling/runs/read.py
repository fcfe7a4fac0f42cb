"""Read CSV, JSONL, Parquet or a DataFrame into a RawTable, without understanding its columns yet.

Small CSV files go through the standard library (pandas costs .35 CPU s to import); above SMALL_BYTES pandas' C
reader takes over. A file of more rows than memory would hold is refused from its size, before it is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError
from scaling.runs.cells import RawTable
from scaling.runs.memory import cells_of, read_frame, read_mapping

if TYPE_CHECKING:
    import pandas as pd

SMALL_BYTES = 4 << 20  # about 30 000 rows: .1 s here, less than importing pandas
SAMPLE_BYTES = 1 << 20  # enough lines for their mean length; also the longest line we take
BLOCK_ROWS = 1 << 16  # at fourteen columns about 20 MB while they are converted
MAX_ROWS = 10_000_000  # about 1.5 GB of arrays at eight columns
MAX_COLUMNS = 2_000
_LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines would also split at form feeds and separators
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")


def read_table(data: Any, *, max_rows: int = MAX_ROWS, text_headers: Sequence[str] = ()) -> RawTable:
    """Read `data`: a path, a DataFrame, or a mapping of column name → values.

    Args:
        data: .csv, .tsv, .jsonl (each also .gz), .parquet; or a table already in memory.
        max_rows: refuse larger files.
        text_headers: columns to read as text whatever they look like.
    Raises:
        DataError: not readable as a table; the message says where and what to do.
    """
    if isinstance(data, Mapping):
        return read_mapping(data)
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return read_frame(data, "DataFrame")
    if not isinstance(data, (str, Path)):
        raise DataError(f"load_runs takes a path or a DataFrame; got {type(data).__name__}.")
    if "://" in str(data):
        raise DataError(
            f"{data} is an address; download the table and give the file (`scaling data get` for public ones)."
        )
    path = Path(data)
    _refuse_what_is_no_file(path)
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return _read_parquet(path, max_rows)
        with path.open("rb") as raw:  # once: a pipe gives its bytes to the first reader only
            gzipped = raw.peek(2)[:2] == b"\x1f\x8b"
            file: Any = gzip.GzipFile(fileobj=raw) if gzipped else raw
            return _read_text(file, path, max_rows, text_headers)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged or cut-off gzip file ({error}); get it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise DataError(
            f"{path} does not fit in memory; keep fewer rows (the last one of each run)."
        ) from error


def _refuse_what_is_no_file(path: Path) -> None:
    if path.is_dir():
        tables = sorted(
            p.name for p in path.iterdir() if p.name.lower().endswith((*TEXT_SUFFIXES, ".parquet"))
        )
        listed = f" It holds {', '.join(tables[:6])}." if tables else ""
        raise DataError(f"{path} is a folder; name one table of runs (.csv, .jsonl, .parquet).{listed}")
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path (`scaling data list` shows public tables).")
    if path.suffix.lower() in (
        ".xlsx",
        ".xls",
        ".ods",
        ".json",
        ".zip",
        ".bz2",
        ".xz",
        ".zst",
        ".feather",
        ".h5",
    ):
        raise DataError(
            f"{path}: {path.suffix} is not read here; save the table as .csv, .jsonl (one object a line) or .parquet."
        )


def _read_text(file: IO[bytes], path: Path, max_rows: int, text_headers: Sequence[str]) -> RawTable:
    """CSV or JSON lines, plain or gzipped."""
    head = _filled(file, SAMPLE_BYTES)
    is_json = any(s in (".jsonl", ".ndjson") for s in path.suffixes[-2:])
    is_json |= not path.suffix and head.lstrip()[:1] == b"{"  # /dev/stdin has no suffix to go by
    if not head.strip():
        raise _empty(path)
    if b"\n" not in head and len(head) == SAMPLE_BYTES:
        raise DataError(
            f"{path}: the first line is longer than {SAMPLE_BYTES >> 20} MiB; is this a table of runs?"
        )
    mean_line = len(head) / (head.count(b"\n") + 1)
    size = (
        path.stat().st_size if not isinstance(file, gzip.GzipFile) else 0
    )  # a gzip file does not tell its size
    if size / mean_line > max_rows and len(head) == SAMPLE_BYTES:
        raise _too_long(path, f"about {size / mean_line:.2g} rows ({size / 1e9:.3g} GB)", max_rows)
    rest = _filled(file, max(0, SMALL_BYTES - len(head)))
    limit = int(mean_line * max_rows * 1.5) + SMALL_BYTES
    if is_json:
        return _read_jsonl(_lines(_Capped(head + rest, file, limit, path, max_rows)), path, max_rows)
    if len(head) + len(rest) < SMALL_BYTES:
        return _read_small_csv(head + rest, path)
    return _read_large_csv(_Capped(head + rest, file, limit, path, max_rows), head, path, text_headers)


def _filled(file: IO[bytes], size: int) -> bytes:
    """`size` bytes, or all there are: a pipe hands out what its writer has written so far."""
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _empty(path: Path) -> DataError:
    return DataError(f"{path} is empty; give a header line (n_params,n_tokens,loss) and one row a run.")


def _too_long(path: Path, size: str, max_rows: int) -> DataError:
    return DataError(
        f"{path} holds {size}; at most {max_rows:.2g} fit comfortably in memory. Keep the last row of each run, or "
        f"every 100th step of a curve; load_runs(..., max_rows=) raises the limit."
    )


class _Capped(io.RawIOBase):
    """The start already read, then the rest of the file, refused beyond `limit` bytes (a gzip of any length)."""

    def __init__(self, start: bytes, rest: IO[bytes], limit: int, path: Path, max_rows: int) -> None:
        self._start, self._rest, self._limit, self._path = start, rest, limit, path
        self._n_read, self._max_rows = 0, max_rows

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._start:
            piece, self._start = self._start[: len(buffer)], self._start[len(buffer) :]
        else:
            piece = self._rest.read(len(buffer))
        self._n_read += len(piece)
        if self._n_read > self._limit:
            raise _too_long(self._path, f"more than {self._limit / 1e9:.3g} GB of text", self._max_rows)
        buffer[: len(piece)] = piece
        return len(piece)


def _decode(data: bytes, path: Path) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is in UTF-16; save it as UTF-8 (in a spreadsheet: 'CSV UTF-8').")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8 text."
        ) from error
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise DataError(f"{path}, line {line}: a NUL byte; this is not a text table. Is the suffix right?")
    return text


def _read_small_csv(data: bytes, path: Path) -> RawTable:
    text = _decode(data, path)
    headers, delimiter, notes = _header(text, path)
    records: list[list[str]] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    start = 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append(record)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; look for an unclosed quote.") from error
    for record, line in zip(records, lines, strict=True):
        if len(record) != len(headers):
            raise _ragged(path, line, len(record), len(headers))
    columns = tuple(list(c) for c in zip(*records[1:], strict=True)) or tuple([] for _ in headers)
    return _table(path, headers, columns, np.array(lines[1:], dtype=np.int64), notes, delimiter)


def _ragged(path: Path, line: int, got: int, expected: int) -> DataError:
    return DataError(
        f"{path}, line {line}: {got} cells under {expected} column names; add what is missing, or quote a cell that "
        f"holds the separator."
    )


def _header(text: str, path: Path) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Column names, delimiter and notes from the first line that is not blank."""
    line = next((line for line in _LINE_END.split(text) if line.strip()), "")
    if not line:
        raise _empty(path)
    delimiter = max(",\t;|", key=lambda d: (line.count(d), d == ","))
    try:
        headers = tuple(h.strip() for h in next(csv.reader([line], delimiter=delimiter)))
    except csv.Error as error:
        raise DataError(f"{path}, line 1: {error}; give plain column names.") from error
    if len(headers) > MAX_COLUMNS:
        raise DataError(f"{path}: {len(headers)} columns; a table of runs has at most {MAX_COLUMNS}.")
    if all(_is_number(h) for h in headers if h) and any(headers):
        raise DataError(
            f"{path}, line 1 holds numbers where the column names belong; add a header such as n_params,n_tokens,loss."
        )
    words = {"\t": "tab", ";": "semicolon", "|": "|"}
    return headers, delimiter, () if delimiter == "," else (f"columns are separated by {words[delimiter]}",)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _table(
    path: Path,
    headers: Sequence[str],
    columns: Sequence[Any],
    row: Any,
    notes: tuple[str, ...],
    separator: str = "",
) -> RawTable:
    if not len(row):
        raise DataError(f"{path} has column names but no runs; add one row a run below them.")
    return RawTable(
        source=str(path),
        headers=tuple(headers),
        values=tuple(columns),
        row=row,
        separator=separator,
        notes=notes,
    )


def _read_large_csv(file: _Capped, head: bytes, path: Path, text_headers: Sequence[str]) -> RawTable:
    """pandas' C reader, a block of rows at a time: columns of numbers come as float arrays, others as lists."""
    import pandas as pd

    first_lines = _decode(head[: head.rindex(b"\n")], path)
    headers, delimiter, notes = _header(first_lines, path)
    n_blank = next(i for i, line in enumerate(_LINE_END.split(first_lines)) if line.strip())
    texts = [i for i, h in enumerate(headers) if h in text_headers]
    columns = [_Column() for _ in headers]
    lines: list[NDArray[np.int64]] = []
    try:
        with pd.read_csv(
            io.BufferedReader(file, 1 << 20),
            header=None,
            names=list(range(len(headers))),
            index_col=False,
            skiprows=n_blank + 1,
            sep=delimiter,
            dtype=dict.fromkeys(texts, str),
            encoding="utf-8-sig",
            skip_blank_lines=False,  # so that the position of a record is its line
            chunksize=BLOCK_ROWS,
        ) as blocks:
            for block in blocks:
                if block[0].isna().any():
                    block = block.dropna(how="all")  # blank lines
                lines.append(block.index.to_numpy(dtype=np.int64) + n_blank + 2)
                for i, column in enumerate(columns):
                    column.add(block[i])
    except pd.errors.ParserError as error:
        if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            raise _ragged(path, int(match[2]), int(match[3]), int(match[1])) from error
        raise DataError(f"{path}: {str(error).strip()}; look for an unclosed quote.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8.") from error
    return _table(
        path, headers, [column.join() for column in columns], np.concatenate(lines), notes, delimiter
    )


class _Column:
    """The cells of one column, grown block by block in place; a name that recurs is held once."""

    def __init__(self) -> None:
        self._pieces: list[array[float] | list[Any]] = []  # one, unless numbers give way to text
        self._names: dict[Any, Any] = {}

    def add(self, block: pd.Series[Any]) -> None:
        cells = cells_of(block)
        kind = array if isinstance(cells, np.ndarray) else list
        if not self._pieces or not isinstance(self._pieces[-1], kind):
            self._pieces.append(array("d") if kind is array else [])
        last = self._pieces[-1]
        if isinstance(last, array):
            last.frombytes(cells.tobytes())
        elif len(distinct := set(cells)) <= len(cells) / 2:
            held = {name: self._names.setdefault(name, name) for name in distinct}
            last.extend([held[name] for name in cells])
        else:
            last.extend(cells)

    def join(self) -> Any:
        if len(self._pieces) == 1:
            only = self._pieces[0]
            return np.frombuffer(only) if isinstance(only, array) else only
        return [cell for piece in self._pieces for cell in piece]


def _lines(file: _Capped) -> Iterator[bytes]:
    return iter(io.BufferedReader(file, 1 << 20))


def _read_jsonl(lines: Iterator[bytes], path: Path, max_rows: int) -> RawTable:
    """One JSON object a line. A last line without its end was being written when it was copied: left out, noted."""
    records: list[dict[str, Any]] = []
    row: list[int] = []
    notes: tuple[str, ...] = ()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(_decode(line, path) if number == 1 else line)
        except (ValueError, RecursionError) as error:
            if not line.endswith(b"\n") and records:
                notes = (f"line {number} is cut off and was left out",)
                break
            raise DataError(
                f"{path}, line {number}: not a JSON object ({error}); write one object a line."
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"{path}, line {number}: {line[:40]!r} is not a JSON object; write one object a line."
            )
        if len(records) >= max_rows:
            raise _too_long(path, f"more than {max_rows:.2g} rows", max_rows)
        records.append(record)
        row.append(number)
    headers = tuple(dict.fromkeys(key for record in records for key in record))
    columns = [[record.get(h) for record in records] for h in headers]
    return _table(path, headers, columns, np.array(row, dtype=np.int64), notes)


def _read_parquet(path: Path, max_rows: int) -> RawTable:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{path}: Parquet needs pyarrow; `pip install 'isoflop[data]'`, or save the table as CSV."
        ) from error
    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows > max_rows:
            raise _too_long(path, f"{file.metadata.num_rows:.2g} rows", max_rows)
        return read_frame(file.read().to_pandas(), str(path))
    except pa.ArrowException as error:
        raise DataError(
            f"{path} is not a readable Parquet file ({str(error)[:120]}); get it again."
        ) from error
