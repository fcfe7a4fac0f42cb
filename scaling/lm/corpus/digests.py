"""SHA-256 of token files, each read once: what tells a corpus from another, and a damaged shard from a sound one.

Reading costs 0.7 CPU-seconds per GB (Intel Xeon with SHA extensions).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from scaling.errors import DataError
from scaling.files import write_text
from scaling.lm.corpus.shards import HEADER_BYTES, open_shard

VERIFIED_FILE = ".verified.json"  # which shards were read and found sound, as they lay on the disk then

_CHUNK_BYTES = 2**24
_CHUNK_IDS = 2**23  # even, so that pairs stay whole
MANY = 64  # ids that are 0 at every second place by no accident


def hash_file(path: Path, *, skip: int = 0) -> str:
    """SHA-256 of the file from byte `skip` on; read again only when its size or time of change is another."""
    found = path.stat()
    return _hash_bytes(path.resolve(), skip, found.st_size, (found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=4096)
def _hash_bytes(path: Path, skip: int, size: int, changed_ns: tuple[int, int]) -> str:
    """`size` and `changed_ns` are what the cache goes by."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(skip)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_ids_of_file(path: Path, *, dtype: str | None, vocab_size: int) -> None:
    """Refuse a token file whose ids do not fit its vocabulary or its dtype; read once, as by `hash_file`.

    Raises:
        DataError: an id is outside the vocabulary, every second id is 0 (uint32 read as uint16), or the file's type
            cannot hold the vocabulary.
    """
    found = path.stat()
    key = path.resolve(), dtype, found.st_size, (found.st_mtime_ns, found.st_ctime_ns)
    held = np.iinfo(open_shard(path, dtype=dtype).dtype)
    if vocab_size > held.max + 1:
        raise DataError(
            f"{path} holds {held.dtype} ids, at most {held.max}, which a vocabulary of {vocab_size} exceeds: larger "
            "ids were wrapped when it was written. Write the ids as uint32, or name the vocabulary they are of."
        )
    largest, smallest, half_empty = _extent_of_ids(*key)
    if half_empty:
        raise DataError(
            f"every second id of {path} is 0: it looks like uint32 read as {dtype}. Say dtype=uint32."
        )
    if largest >= vocab_size or smallest < 0:
        raise DataError(
            f"{path} holds the id {largest if largest >= vocab_size else smallest}, outside its vocabulary of "
            f"{vocab_size}. It was made with another tokenizer, or its dtype is declared wrong."
        )


@lru_cache(maxsize=4096)
def _extent_of_ids(
    path: Path, dtype: str | None, size: int, changed_ns: tuple[int, int]
) -> tuple[int, int, bool]:
    """Largest and smallest id, and whether every second one is 0. The last two arguments are what the cache goes by."""
    ids = open_shard(path, dtype=dtype)
    largest = smallest = 0
    second_used = False
    for start in range(0, len(ids), _CHUNK_IDS):
        part = ids[start : start + _CHUNK_IDS]
        largest, smallest = max(largest, int(part.max())), min(smallest, int(part.min()))
        second_used = second_used or bool(part[1::2].any())
    return largest, smallest, len(ids) >= MANY and largest > 0 and not second_used


def hash_parts(*parts: object) -> str:
    """16 hexadecimal digits that name these parts, in order."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def verify_shards(folder: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Compare shards with their index, reading only those that were not found sound before.

    Size, inode and time of change tell whether a file is still the one that was read; a copy is read anew.

    Raises:
        DataError: a shard has other ids than were prepared.
    """
    known = _read_verified(folder)
    marks = dict(known)
    for entry in entries:
        path = folder / entry["file"]
        found = path.stat()
        mark = [entry["sha256"], found.st_size, found.st_ino, found.st_ctime_ns]
        if known.get(path.name) == mark:
            continue
        if hash_file(path, skip=HEADER_BYTES) != entry["sha256"]:
            raise DataError(
                f"{path} is not the file that was prepared: its SHA-256 is not that of index.json, so it is damaged "
                "or was changed. Bring it back, or prepare the corpus again."
            )
        marks[path.name] = mark
    if marks != known:
        with contextlib.suppress(OSError):  # where nothing may be written the next process reads them again
            write_text(folder / VERIFIED_FILE, json.dumps(marks) + "\n")


def _read_verified(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / VERIFIED_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
