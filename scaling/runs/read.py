"""Read a table of runs, in whatever shape it comes, into a RawTable, without understanding its columns yet.

What a file holds is told from its bytes; its suffix decides only where they leave it open. Small text goes through
the standard library (pandas costs .35 CPU s to import); above SMALL_BYTES pandas' C reader takes over. A file of more
rows than memory would hold is refused from its size, before it is read.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from scaling.errors import DataError, MissingFileError
from scaling.runs.frames import read_arrow, read_object, read_workbook
from scaling.runs.grid import empty_table, too_many_rows
from scaling.runs.json_table import OPENS, read_json, read_json_lines
from scaling.runs.open_file import PACKING_ERRORS, PIECE_BYTES, OpenFile, open_table, stream_of
from scaling.runs.raw_table import RawTable
from scaling.runs.text_table import read_large_text, read_text, split_rows

SMALL_BYTES = 4 << 20  # about 30 000 rows: .1 s here, less than importing pandas
SAMPLE_BYTES = 1 << 20  # enough lines for their mean length; also the longest line we take
LAYOUT_BYTES = 1 << 17  # some thousand lines, .01 s to take apart
MAX_ROWS = 10_000_000  # about 1.5 GB of arrays at eight columns
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_A_PICTURE = "a picture, not a table; give the table of runs that it was drawn from"
_SVG = re.compile(rb"(\xef\xbb\xbf)?(\s|<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>)*+<svg\b", re.I | re.S)
# What begins so and is no table of ours, and what to do about it.
_OTHER_FILES = {
    b"\x89HDF": "an HDF5 file; write the table with DataFrame.to_csv or to_parquet",
    b"SQLite format 3": "a SQLite database; write its table: sqlite3 -header -csv FILE 'select * from runs' > runs.csv",
    b"%PDF": "a PDF; copy its table into a text file",
    **dict.fromkeys(
        (b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*", b"RIFF"),
        _A_PICTURE,
    ),
    b"\x80": "a pickle, which may run any code when it is opened; write the table with DataFrame.to_csv",
}
_WORKBOOKS = {".ods": "odf", ".xlsb": "pyxlsb"}


def read_table(
    data: Any, *, max_rows: int = MAX_ROWS, text_headers: Sequence[str] = (), wide: str | None = None
) -> RawTable:
    """Read `data`: a path, "-", an http address, a frame, a list of dicts, or a mapping of column name → values.

    Args:
        data: text of cells (.csv, .tsv, Markdown, aligned by blanks...), JSON, JSON lines, .parquet, .xlsx; packed by
            gzip, bzip2, xz or zip, or not; FILE#PART names a sheet, a key or a member; or a table already in memory.
        max_rows: refuse larger files.
        text_headers: columns to read as text whatever they look like.
        wide: what the column names of a wide table are, "budget": one run a cell; see `melt`.
    Raises:
        DataError: not readable as a table; the message says where and what to do.
    """
    if not isinstance(data, (str, Path)):
        table = read_object(data)
    else:
        table = _read_file(data, max_rows, text_headers, names=wide is None)
    if wide is None:
        return table
    from scaling.runs.wide import melt

    return melt(table, wide)


def _read_file(data: str | Path, max_rows: int, text_headers: Sequence[str], *, names: bool) -> RawTable:
    try:
        with open_table(data) as file:
            return _read_stream(file, max_rows, text_headers, names)
    except PACKING_ERRORS as error:
        raise _damaged(data, error) from error
    except MemoryError as error:
        raise DataError(
            f"{data} does not fit in memory; keep fewer rows (the last one of each run)."
        ) from error
    except OSError as error:
        if error.errno is None:  # bz2 says so of what it cannot unpack
            raise _damaged(data, error) from error
        raise MissingFileError(f"{data} cannot be read: {error.strerror or error}.") from error


def _damaged(data: str | Path, error: Exception) -> DataError:
    return DataError(f"{data} is a damaged or cut-off gzip, bzip2, xz or zip file ({error}); get it again.")


def _read_stream(file: OpenFile, max_rows: int, text_headers: Sequence[str], names: bool) -> RawTable:
    """By content: Parquet, a workbook, or text."""
    start = file.stream.peek(16)[:16]
    if start.startswith((b"PAR1", b"ARROW1")) or file.name.endswith((".parquet", ".pq")):
        return read_arrow(file, max_rows)
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        engine = next((e for suffix, e in _WORKBOOKS.items() if file.name.endswith(suffix)), None)
        engine = engine or ("openpyxl" if start[:2] == b"PK" else "xlrd")
        whole = io.BytesIO(file.stream.read())
        return read_workbook(whole, file.source, engine, file.part, names=names)
    for magic, what in _OTHER_FILES.items():
        if start.startswith(magic):
            raise DataError(f"{file.source} is {what}.")
    return _read_text(file, max_rows, text_headers, names)


def _read_text(file: OpenFile, max_rows: int, text_headers: Sequence[str], names: bool) -> RawTable:
    """JSON or cells; in one piece if it is small."""
    stream = _as_utf8(file)
    source = file.source
    head = stream.read(SAMPLE_BYTES)
    _refuse_no_text(head, source)
    mean_line = len(head) / (head.count(b"\n") + head.count(b"\r") + 1)
    n_rows = file.size / mean_line
    if n_rows > max_rows and len(head) == SAMPLE_BYTES:
        raise too_many_rows(source, f"about {n_rows:.2g} rows ({file.size / 1e9:.3g} GB)", max_rows)
    start = head + stream.read(max(0, SMALL_BYTES - len(head)))
    small = len(start) < SMALL_BYTES
    limit = int(mean_line * max_rows * 1.5) + SMALL_BYTES
    capped = stream_of(_capped(start, stream, limit, source, max_rows))
    first_line = head.lstrip(codecs.BOM_UTF8 + b" \t\r\n").partition(b"\n")[0]
    if _is_json_line(first_line) and head.partition(first_line)[2].strip():  # more than one
        too_long = too_many_rows(source, f"more than {max_rows:.2g} rows", max_rows)
        return read_json_lines(capped, source, max_rows, too_long)
    opens = OPENS.match(_decode(head[:200], source, cut=True))
    if opens or file.name.endswith((".json", ".jsonl", ".ndjson")):
        return read_json(_decode(capped.read(), source), source, file.part)
    if small:
        return read_text(_decode(capped.read(), source), source, names=names)
    # the lines that say how the file is laid out: enough of them, and whole ones
    end = max(head.rfind(b"\n", 0, LAYOUT_BYTES), head.rfind(b"\r", 0, LAYOUT_BYTES))
    sample = split_rows(_decode(head[:end] if end > 0 else head, source), source)
    if sample.separator in " &":
        return read_text(_decode(capped.read(), source), source, names=names)
    return read_large_text(capped, sample, source, text_headers, names=names)


def _as_utf8(file: OpenFile) -> IO[bytes]:
    """UTF-16, as spreadsheets and Windows write it, said in UTF-8."""
    start = file.stream.peek(4)[:4]
    if start.startswith(_UTF16):
        return stream_of(_recoded(file, "utf-16"))
    if len(start) == 4 and start[1] == start[3] == 0 and start[0] and start[2]:
        return stream_of(_recoded(file, "utf-16-le"))
    return file.stream


def _recoded(file: OpenFile, encoding: str) -> Iterator[bytes]:
    text = io.TextIOWrapper(file.stream, encoding, newline="")
    try:
        while piece := text.read(PIECE_BYTES):
            yield piece.encode()
    except UnicodeError as error:
        raise DataError(f"{file.source} is not UTF-16 text ({error}); save it as UTF-8.") from error


def _refuse_no_text(head: bytes, source: str) -> None:
    if not head.removeprefix(codecs.BOM_UTF8).strip():
        raise empty_table(source)
    one_line = b"\n" not in head and b"\r" not in head and len(head) == SAMPLE_BYTES
    if one_line and head.lstrip()[:1] not in b"[{":
        longest = f"{SAMPLE_BYTES >> 20} MiB"
        raise DataError(f"{source}: the first line is longer than {longest}; is this a table of runs?")
    if _SVG.match(head):
        raise DataError(f"{source} is {_A_PICTURE}.")
    if head.lstrip()[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<table", b"<div")):
        raise DataError(
            f"{source} is a web page, not a table; give the address of the file itself (the link Raw or Download)."
        )


def _is_json_line(line: bytes) -> bool:
    import json

    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _capped(start: bytes, rest: IO[bytes], limit: int, source: str, max_rows: int) -> Iterator[bytes]:
    """The start already read, then the rest of the file, refused beyond `limit` bytes (a gzip of any length)."""
    n_read, piece = len(start), start
    while piece:
        yield piece
        piece = rest.read(PIECE_BYTES)
        n_read += len(piece)
        if n_read > limit:
            raise too_many_rows(source, f"more than {limit / 1e9:.3g} GB of text", max_rows)


def _decode(data: bytes, source: str, *, cut: bool = False) -> str:
    try:
        text = data.decode("utf-8-sig", errors="ignore" if cut else "strict")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{source}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8 text."
        ) from error
    if "\x00" in text and not cut:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise DataError(f"{source}, line {line}: a NUL byte; this is not a text table. Is the suffix right?")
    return text
