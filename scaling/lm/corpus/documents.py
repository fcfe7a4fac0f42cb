"""Where text comes from: the standard library, text files, JSONL, Parquet, Hugging Face datasets.

Each source yields documents one at a time; nothing is held in memory.
"""

from __future__ import annotations

import gzip
import json
import sysconfig
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.errors import DataError, MissingFileError, UsageError


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text and where it came from (file, line or row)."""

    text: str
    origin: str


def open_documents(source: str, *, field: str = "text", revision: str | None = None) -> Iterator[Document]:
    """Documents of `source`.

    Args:
        source: "stdlib" or "stdlib+tests"; a file or folder of .txt, .md, .py, .jsonl(.gz), .parquet;
            "hf:owner/name" or "hf:owner/name:config" for a Hugging Face dataset, streamed.
        field: the column or key that holds the text.
        revision: commit or tag of a Hugging Face dataset; name one to be able to repeat the preparation.
    """
    if source in ("stdlib", "stdlib+tests"):
        return stdlib_documents(tests=source.endswith("+tests"))
    if source.startswith("hf:"):
        return huggingface_documents(source[3:], field=field, revision=revision)
    path = Path(source)
    if not path.exists():
        raise MissingFileError(
            f"no such text source: {source}. Give a file, a folder, 'stdlib', or 'hf:owner/name'."
        )
    return _path_documents(path, field)


def stdlib_documents(*, tests: bool = False) -> Iterator[Document]:
    """The .py files of this Python's standard library, in name order: code and English prose, no download. Line ends
    are made \\n.

    Args:
        tests: with its test suites too (about 31 MB instead of 13 MB).
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"site-packages", "dist-packages", "__pycache__"} | (
        set() if tests else {"test", "tests", "idle_test"}
    )
    n_found = 0
    for path in sorted(root.rglob("*.py")):
        if skipped.isdisjoint(path.relative_to(root).parts[:-1]):
            n_found += 1
            # a few files are deliberately not UTF-8 (codec tests): bytes that form no character become U+FFFD
            text = path.read_text(encoding="utf-8", errors="replace")
            yield Document(text=text, origin=str(path.relative_to(root)))
    if n_found == 0:
        raise DataError(
            f"this Python keeps no .py files in {root}: name a folder of text instead of 'stdlib'."
        )


def huggingface_documents(
    name: str, *, field: str = "text", revision: str | None = None
) -> Iterator[Document]:
    """Rows of a Hugging Face dataset, streamed; `name` is "owner/name" or "owner/name:config"."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UsageError(
            "Hugging Face datasets need: pip install 'isoflop[hf]' (the datasets library)."
        ) from error
    path, _, config = name.partition(":")
    rows = load_dataset(path, config or None, split="train", streaming=True, revision=revision)
    for number, row in enumerate(rows):
        yield Document(text=_text_of(row, field, f"row {number} of {name}"), origin=f"{name}#{number}")


def _path_documents(path: Path, field: str) -> Iterator[Document]:
    files = (
        sorted(p for p in path.rglob("*") if p.is_file() and _reader(p) is not None)
        if path.is_dir()
        else [path]
    )
    if not files:
        raise DataError(f"{path} holds no .txt, .md, .py, .jsonl or .parquet file.")
    for file in files:
        reader = _reader(file)
        if reader is None:
            raise DataError(
                f"{file} is of an unknown kind; readable: .txt .md .py .jsonl .jsonl.gz .parquet."
            )
        yield from reader(file, field)


def left_out(source: str) -> dict[str, int]:
    """How many files of a folder are not read, by their last suffix."""
    path = Path(source)
    if not path.is_dir():
        return {}
    return dict(
        Counter(p.suffix.lower() or "no suffix" for p in path.rglob("*") if p.is_file() and not _reader(p))
    )


def _reader(path: Path) -> Any | None:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes[-1:] == [".parquet"]:
        return _parquet_documents
    if suffixes[-1:] in ([".jsonl"], [".ndjson"]) or suffixes[-2:] == [".jsonl", ".gz"]:
        return _jsonl_documents
    return _text_documents if suffixes[-1:] in ([".txt"], [".md"], [".rst"], [".py"]) else None


def _text_documents(path: Path, field: str) -> Iterator[Document]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # line ends stay as they are
            yield Document(text=file.read(), origin=str(path))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 at byte {error.start}. Convert it (iconv -t UTF-8) first."
        ) from error


def _jsonl_documents(path: Path, field: str) -> Iterator[Document]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"line {number} of {path} is not JSON: {error}.") from error
        yield Document(text=_text_of(row, field, f"line {number} of {path}"), origin=f"{path}#{number}")


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, gzipped or not; where it is damaged it is said after which line."""
    number = 0
    try:
        zipped = path.suffix.lower() == ".gz"
        with (
            gzip.open(path, "rt", encoding="utf-8-sig") if zipped else path.open(encoding="utf-8-sig")
        ) as lines:
            for line in lines:
                number += 1
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read after line {number} ({error}): it is cut short, damaged or not UTF-8. "
            "Fetch or make it again."
        ) from error


def _parquet_documents(path: Path, field: str) -> Iterator[Document]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise UsageError("Parquet files need: pip install 'isoflop[data]' (pyarrow).") from error
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}.") from error
    if field not in file.schema_arrow.names:
        known = ", ".join(file.schema_arrow.names)
        raise DataError(f"{path} has no column {field!r}; it has {known}. Name the text column with --field.")
    number = 0
    for batch in _batches(file, field, path):
        for text in batch.column(0).to_pylist():
            yield Document(
                text=_text_of({field: text}, field, f"row {number} of {path}"), origin=f"{path}#{number}"
            )
            number += 1


def _batches(file: Any, field: str, path: Path) -> Iterator[Any]:
    """The batches of a Parquet file; damage inside names the file."""
    try:
        yield from file.iter_batches(columns=[field])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error} Fetch or make it again.") from error


def _text_of(row: Any, field: str, where: str) -> str:
    if not isinstance(row, dict) or field not in row:
        known = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{where} has no {field!r}; it has {known}. Name the text with --field.")
    if row[field] is not None and not isinstance(row[field], str):
        raise DataError(f"{where}: {field!r} is a {type(row[field]).__name__}, not text.")
    text = row[field] or ""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} holds half of a surrogate pair (U+{ord(text[error.start]):04X}), which is no character. "
            "Leave the row out or put U+FFFD in its place."
        ) from error
    return text
