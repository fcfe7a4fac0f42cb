"""Open a table wherever it lies: a file, standard input, a web address; packed by gzip, bzip2, xz or zip."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from scaling.errors import DataError, MissingFileError, StorageError
from scaling.installing import extra_command

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".md", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx")
PACKING_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)
_ADDRESS = re.compile(r"^([a-zA-Z][\w+.-]+):/{1,3}(.*)$", re.S)  # a Path has lost one of the slashes
_LEFT_ALONE = ("__MACOSX/", ".")  # what a zip holds beside its files


PIECE_BYTES = 1 << 20


class _Pieces(io.RawIOBase):
    """The pieces that an iterator gives, as a stream; an empty one would end it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._ready = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._ready = self._ready or next(self._pieces, b"")
        piece, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def stream_of(pieces: Iterator[bytes]) -> io.BufferedReader:
    """A stream of the bytes that `pieces` gives, none of them empty."""
    return io.BufferedReader(_Pieces(pieces), PIECE_BYTES)


@dataclass(frozen=True, kw_only=True)
class OpenFile:
    """The bytes of a table, unpacked, and what its name says."""

    source: str  # for messages
    stream: io.BufferedReader
    name: str = ""  # lower case, without the suffix of a packer
    part: str = ""  # of the file: a sheet, a key, a member: FILE#PART
    size: int = 0  # bytes; 0 where not known before reading


@contextmanager
def open_table(data: str | Path) -> Iterator[OpenFile]:
    """Open `data` for reading: a path, FILE#PART, "-" or an http address.

    Raises:
        DataError: there is no such file, it is a folder, the address cannot be had.
    """
    text = str(data)
    if text == "-":
        yield _unpacked(OpenFile(source="standard input", stream=_standard_input()))
        return
    address = _ADDRESS.match(text)
    if address and address[1].lower() in ("http", "https"):
        with _downloaded(f"{address[1].lower()}://{address[2]}") as file:
            yield _unpacked(file)
        return
    if address and address[1].lower() != "file":
        raise DataError(f"{text}: {address[1]} addresses are not read; download the table and give the file.")
    path, part = _split_part(Path("/" + address[2].lstrip("/")) if address else Path(data))
    _refuse_what_is_no_file(path)
    with path.open("rb") as raw:  # once: a pipe gives its bytes to the first reader only
        size = path.stat().st_size if path.is_file() else 0
        file = OpenFile(source=str(path), stream=raw, name=path.name.lower(), part=part, size=size)
        yield _unpacked(file)


def _standard_input() -> io.BufferedReader:
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError(
            "- reads the table from standard input, and none is piped in: `cat runs.csv | scaling fit -`."
        )
    raw: Any = sys.stdin.buffer
    return raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)


@contextmanager
def _downloaded(url: str) -> Iterator[OpenFile]:
    import tempfile

    url, _, part = url.partition("#")
    url = re.sub(r"^https://github\.com/([^/]+/[^/]+)/blob/", r"https://raw.githubusercontent.com/\1/", url)
    url = re.sub(r"^(https://huggingface\.co/.*?)/blob/", r"\1/resolve/", url)
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:  # a page may change: it is not kept
        path = fetch(url, Path(folder), "table")
        with path.open("rb") as raw:
            name = url.partition("?")[0].rpartition("/")[2].lower()
            yield OpenFile(source=url, stream=raw, name=name, part=part, size=path.stat().st_size)


def _split_part(path: Path) -> tuple[Path, str]:
    """FILE#PART, unless a file has the whole name."""
    name, hash_mark, part = path.name.partition("#")
    if not hash_mark or not name or path.exists():
        return path, ""
    return path.with_name(name), part


def _refuse_what_is_no_file(path: Path) -> None:
    if path.is_dir():
        tables = sorted(p.name for p in path.iterdir() if p.name.lower().endswith(TABLE_SUFFIXES))
        listed = f" It holds {', '.join(tables[:6])}." if tables else ""
        raise DataError(f"{path} is a folder; name one table of runs (.csv, .jsonl, .parquet).{listed}")
    if not path.exists():
        raise MissingFileError(
            f"{path} does not exist; check the path (`scaling data list` shows public tables)."
        )


def _unpacked(file: OpenFile) -> OpenFile:
    """The stream behind a packer, known by its first bytes and not by its name."""
    head = file.stream.peek(6)[:6]
    stream: Any = None
    if head[:2] == b"\x1f\x8b":
        stream = gzip.GzipFile(fileobj=file.stream)
    elif head[:3] == b"BZh":
        stream = bz2.BZ2File(file.stream)
    elif head == b"\xfd7zXZ\x00":
        stream = lzma.LZMAFile(file.stream)  # noqa: SIM115
    elif head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):  # the second: an empty one
        return _member(file)
    elif head[:4] == b"\x28\xb5\x2f\xfd":
        raise DataError(f"{file.source} is packed by zstd; unpack it first: zstd -d {file.source}.")
    if stream is None:
        return file
    name = re.sub(r"\.(gz|gzip|bz2|xz)$", "", file.name)
    return replace(file, stream=io.BufferedReader(stream, 1 << 20), name=name, size=0)


def _member(file: OpenFile) -> OpenFile:
    """The one table in a zip; a workbook, itself a zip, is left as it is."""
    whole: IO[bytes] = file.stream if file.stream.seekable() else io.BytesIO(file.stream.read())
    archive = zipfile.ZipFile(whole)
    names = archive.namelist()
    if "[Content_Types].xml" in names or "mimetype" in names:
        whole.seek(0)
        return replace(file, stream=io.BufferedReader(whole))  # type: ignore[arg-type]
    names = [n for n in names if not n.endswith("/") and not n.startswith(_LEFT_ALONE)]
    tables = [n for n in names if re.sub(r"\.(gz|bz2|xz)$", "", n.lower()).endswith(TABLE_SUFFIXES)] or names
    chosen = [file.part] if file.part in names else tables
    if len(chosen) != 1:
        listed = ", ".join(f"{file.source}#{n}" for n in tables[:6])
        raise DataError(f"{file.source} holds {len(tables)} files; name one of them: {listed}." if tables else
                        f"{file.source} is a zip without a table in it; give the table.")  # fmt: skip
    if archive.getinfo(chosen[0]).flag_bits & 1:
        raise DataError(f"{file.source} is locked by a password; unpack it and give the table.")
    part = "" if file.part == chosen[0] else file.part
    inner = OpenFile(
        source=f"{file.source}#{chosen[0]}",
        stream=io.BufferedReader(archive.open(chosen[0])),  # type: ignore[arg-type]
        name=chosen[0].lower(),
        part=part,
    )
    return _unpacked(inner)


TIMEOUT_S = 30


def fetch(url: str, folder: Path, name: str, *, sha256: str | None = None) -> Path:
    """The file behind `url` as `folder`/`name`; it gets its name there when it is complete (and has this SHA-256).

    Raises:
        MissingFileError: no network, no such page.
        StorageError: a folder that cannot be written, a full disk.
        DataError: no pooch, another content than expected.
    """
    try:
        import pooch
        import requests
    except ImportError as error:
        raise DataError(f"downloading tables needs pooch: {extra_command('data')}") from error
    pooch.get_logger().setLevel("WARNING")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path: str = pooch.retrieve(
            url,
            known_hash=None if sha256 is None else f"sha256:{sha256}",
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S),
        )
    except requests.exceptions.HTTPError as error:
        status = "an error" if error.response is None else error.response.status_code
        why = "has the repository moved?" if sha256 else "check the address, and whether it needs a login."
        raise MissingFileError(f"{url} answers {status}; {why} Nothing was kept.") from error
    except requests.exceptions.RequestException as error:
        where, instead = url, "give the file"
        if sha256:  # an address of 130 characters that nobody typed
            where = url.split("/")[2]
            instead = f"put it at {folder / name}; `scaling data list --json` holds its url"
        raise MissingFileError(
            f"{where} cannot be reached ({type(error).__name__}); check the network, or fetch the file elsewhere and "
            f"{instead}."
        ) from error
    except ValueError as error:  # pooch: the hash differs
        raise DataError(
            f"{url} has another content than expected (SHA-256 is not {(sha256 or '')[:12]}...); it was not kept. Try "
            f"again; if it stays so, the source or the connection has been tampered with."
        ) from error
    except OSError as error:
        is_full = error.errno == errno.ENOSPC
        advice = " The disk is full: free some space or pass another --cache." if is_full else ""
        raise StorageError(
            f"{folder} cannot be written: {error.strerror or error}.{advice} Nothing was kept."
        ) from error
    return Path(path)
