"""Files that are there whole or not at all: the one way this package writes a file that a reader may open meanwhile."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to write: it takes that name when it is complete and on disk, or is removed.

    A reader sees the old file or the new one, never a part, whatever stops the writer. The name beside keeps the
    suffix, which tells some writers the format.
    """
    temporary = beside(path)
    try:
        yield temporary
        with temporary.open("r+b") as file:  # Windows syncs no file that is open for reading alone
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def link_text(path: Path, text: str) -> bool:
    """As `write_text`, but an existing file stays: the first writer wins. Returns whether it was us."""
    temporary = beside(path)
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def beside(path: Path) -> Path:
    """A new hidden name beside `path`: hosts may share a folder and process ids, so it is random."""
    return path.with_name(f".{path.stem}.{secrets.token_hex(6)}.tmp{path.suffix}")
