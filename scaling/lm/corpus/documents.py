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
from scaling.installing import extra_command


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
    files = [f for f in sorted(root.rglob("*.py")) if skipped.isdisjoint(f.relative_to(root).parts[:-1])]
    for file in files:
        # a few files are deliberately not UTF-8 (codec tests): bytes that form no character become U+FFFD
        text = file.read_text(encoding="utf-8", errors="replace")
        yield Document(text=text, origin=str(file.relative_to(root)))
    if not files:
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
        raise UsageError(f"Hugging Face datasets need the library datasets: {extra_command('hf')}") from error
    path, _, config = name.partition(":")
    rows = load_dataset(path, config or None, split="train", streaming=True, revision=revision)
    for number, row in enumerate(rows):
        yield _document(row, field, "row", number, name)


def _path_documents(path: Path, field: str) -> Iterator[Document]:
    files = sorted(p for p in path.rglob("*") if p.is_file() and _reader(p)) if path.is_dir() else [path]
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
    files = (p for p in path.rglob("*") if p.is_file() and not _reader(p))
    return dict(Counter(file.suffix.lower() or "no suffix" for file in files))


def _reader(path: Path) -> Any | None:
    kind = "".join(path.suffixes).lower()
    if kind.endswith((".jsonl", ".ndjson", ".jsonl.gz")):
        return _jsonl_documents
    if kind.endswith(".parquet"):
        return _parquet_documents
    return _text_documents if kind.endswith((".txt", ".md", ".rst", ".py")) else None


def _text_documents(path: Path, field: str) -> Iterator[Document]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # line ends stay as they are
            yield Document(text=file.read(), origin=str(path))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 at byte {error.start}. Convert it (iconv -t UTF-8) first."
        ) from error


def _jsonl_documents(path: Path, field: str) -> Iterator[Document]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"line {number} of {path} is not JSON: {error}.") from error
        yield _document(row, field, "line", number, path)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text file, gzipped or not; where it is damaged it is said after which line."""
    number = 0
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read after line {number} ({error}): it is cut short, damaged or not UTF-8. "
            "Fetch or make it again."
        ) from error


def _parquet_documents(path: Path, field: str) -> Iterator[Document]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise UsageError(f"Parquet files need pyarrow: {extra_command('data')}") from error
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}.") from error
    if field not in file.schema_arrow.names:
        known = ", ".join(file.schema_arrow.names)
        raise DataError(f"{path} has no column {field!r}; it has {known}. Name the text column with --field.")
    for number, text in enumerate(_column(file, field, path)):
        yield _document({field: text}, field, "row", number, path)


def _column(file: Any, field: str, path: Path) -> Iterator[Any]:
    """The values of a column of a Parquet file; damage inside names the file."""
    try:
        for batch in file.iter_batches(columns=[field]):
            yield from batch.column(0).to_pylist()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error} Fetch or make it again.") from error


def _document(row: Any, field: str, unit: str, number: int, source: str | Path) -> Document:
    where = f"{unit} {number} of {source}"
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
    return Document(text=text, origin=f"{source}#{number}")
