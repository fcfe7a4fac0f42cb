"""Token files: a header of 256 int32 (magic 20240520, version 1, count) and then that many uint16 ids.

The format of llm.c and modded-nanogpt, so their files read here and ours there. Headerless files (nanoGPT's
.bin) and .npy are read too; a headerless file must say its dtype.

Their SHA-256, each file read once, tells a corpus from another, and a damaged shard from a sound one. Reading costs
0.7 CPU-seconds per GB (Intel Xeon with SHA extensions).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError, UsageError
from scaling.files import beside, write_text

MAGIC = 20240520
LLAMA3_MAGIC = 20240801
VERSION = 1
HEADER_BYTES = 256 * 4
MAX_VOCAB_SIZE = 2**16
VERIFIED_FILE = ".verified.json"  # which shards were read and found sound, as they lay on the disk then

_CHUNK_BYTES = 2**24
_CHUNK_IDS = 2**23  # even, so that pairs stay whole
MANY = 64  # ids that are 0 at every second place by no accident


class ShardWriter:
    """Write one shard; the count goes into the header, and the name becomes final, on `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_tokens = 0
        self._digest = hashlib.sha256()
        self._temporary = beside(path)
        self._file: BinaryIO = self._temporary.open("wb")
        self._file.write(b"\0" * HEADER_BYTES)

    def write(self, ids: Sequence[int] | NDArray[Any]) -> None:
        """Append ids.

        Raises:
            DataError: one does not fit uint16: it would be written as another.
        """
        wide = np.asarray(ids, dtype=np.int64)
        if wide.size and not 0 <= wide.min() <= wide.max() < MAX_VOCAB_SIZE:
            bad = int(wide.max()) if wide.max() >= MAX_VOCAB_SIZE else int(wide.min())
            raise DataError(f"shards hold uint16 ids, 0 to {MAX_VOCAB_SIZE - 1}; got {bad} for {self.path}.")
        body = wide.astype("<u2").tobytes()
        self._digest.update(body)
        self._file.write(body)
        self.n_tokens += len(body) // 2

    def close(self) -> dict[str, Any]:
        """Finish the file; returns its entry of the index (file, n_tokens, sha256 of the ids)."""
        self._file.seek(0)
        self._file.write(np.array([MAGIC, VERSION, self.n_tokens], dtype="<i4").tobytes())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self.path)
        return {"file": self.path.name, "n_tokens": self.n_tokens, "sha256": self._digest.hexdigest()}


def open_shard(path: str | Path, *, dtype: str | None = None) -> NDArray[Any]:
    """The ids of a token file, mapped, not read.

    Args:
        path: .npy, or .bin with our header, or a headerless .bin.
        dtype: of a headerless file, "uint16" or "uint32"; without it a header is required.
    Raises:
        DataError: the file is absent, cut short, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"the token file {path} is not there. Prepare the corpus again: scaling corpus prepare."
        )
    if path.suffix == ".npy":
        return _open_npy(path)
    size = path.stat().st_size
    header = np.fromfile(path, dtype="<i4", count=min(256, size // 4))
    if dtype is not None and not (len(header) and header[0] in (MAGIC, LLAMA3_MAGIC)):
        return _open_headerless(path, dtype, size)
    if len(header) < 256 or header[0] != MAGIC:
        if len(header) and header[0] == LLAMA3_MAGIC:
            raise DataError(
                f"{path} is one of llm.c's files for Llama 3 (magic {LLAMA3_MAGIC}), which hold uint32 ids behind "
                "their header. Only its uint16 files are read; write these ids as a headerless uint32 .bin or as .npy."
            )
        found = int(header[0]) if len(header) else "nothing"
        raise DataError(
            f"{path} does not start with the magic number {MAGIC} (found {found}). "
            "A headerless file (nanoGPT's) needs its dtype: name its folder tokens:DIR,dtype=uint16,vocab=50257."
        )
    if header[1] != VERSION:
        raise DataError(
            f"{path} is version {header[1]} of the token format; this release reads version {VERSION}."
        )
    n_tokens, expected = int(header[2]), HEADER_BYTES + 2 * int(header[2])
    if size != expected:
        raise DataError(
            f"{path} should hold {n_tokens} tokens in {expected} bytes but has {size}: it is damaged or was cut short. "
            "Prepare the corpus again."
        )
    if n_tokens == 0:  # nothing can be mapped
        return np.empty(0, "<u2")
    return np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES, shape=(n_tokens,))


def _open_npy(path: Path) -> NDArray[Any]:
    try:
        ids: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable .npy file: {error}.") from error
    if ids.ndim != 1 or ids.dtype.kind not in "ui":
        raise DataError(f"{path} must hold one row of integers; it holds {ids.dtype} of shape {ids.shape}.")
    return ids


def _open_headerless(path: Path, dtype: str, size: int) -> NDArray[Any]:
    if dtype not in ("uint16", "uint32"):
        raise UsageError(f"headerless token files are uint16 or uint32; got {dtype!r}.")
    kind = np.dtype(dtype).newbyteorder("<")
    if size == 0 or size % kind.itemsize:
        raise DataError(f"{path} has {size} bytes, not a positive multiple of {kind.itemsize} ({dtype}).")
    return np.memmap(path, dtype=kind, mode="r")


class TokenStream:
    """Several token files read as one long row of ids.

    Args:
        shards: arrays in order.
        vocab_size: every id read is checked against it.
        name: what to call the stream in errors.
    """

    def __init__(self, shards: Sequence[NDArray[Any]], *, vocab_size: int, name: str) -> None:
        self.shards = [s for s in shards if len(s)]
        self.vocab_size, self.name = vocab_size, name
        self._ends = np.cumsum([len(s) for s in self.shards])
        self.n_tokens = int(self._ends[-1]) if self.shards else 0

    def read(self, start: int, length: int) -> NDArray[np.int64]:
        """Ids start .. start + length - 1."""
        parts = []
        shard = int(np.searchsorted(self._ends, start, side="right"))
        while length > 0:
            offset = start - (int(self._ends[shard - 1]) if shard else 0)
            part = self.shards[shard][offset : offset + length]
            parts.append(part)
            start, length, shard = start + len(part), length - len(part), shard + 1
        return np.concatenate(parts).astype(np.int64)

    def check_ids(self, ids: NDArray[np.int64]) -> None:
        """Raise when ids lie outside the vocabulary: the wrong tokenizer or the wrong dtype."""
        if ids.size:
            _require_in_vocabulary(self.name, int(ids.max()), int(ids.min()), self.vocab_size)


def _require_in_vocabulary(name: object, largest: int, smallest: int, vocab_size: int) -> None:
    if largest >= vocab_size or smallest < 0:
        raise DataError(
            f"{name} holds the id {largest if largest >= vocab_size else smallest}, outside its vocabulary of "
            f"{vocab_size}. It was made with another tokenizer, or its dtype is declared wrong."
        )


def hash_file(path: Path, *, skip: int = 0) -> str:
    """SHA-256 of the file from byte `skip` on; read again only when its size or time of change is another."""
    return _hash_bytes(path.resolve(), skip, _as_it_lies(path))


def _as_it_lies(path: Path) -> tuple[int, int, int]:
    """Size and times of change: what the caches of files go by."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=4096)
def _hash_bytes(path: Path, skip: int, _: tuple[int, int, int]) -> str:
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
    held = np.iinfo(open_shard(path, dtype=dtype).dtype)
    if vocab_size > held.max + 1:
        raise DataError(
            f"{path} holds {held.dtype} ids, at most {held.max}, which a vocabulary of {vocab_size} exceeds: larger "
            "ids were wrapped when it was written. Write the ids as uint32, or name the vocabulary they are of."
        )
    largest, smallest, half_empty = _extent_of_ids(path.resolve(), dtype, _as_it_lies(path))
    if half_empty:
        raise DataError(
            f"every second id of {path} is 0: it looks like uint32 read as {dtype}. Say dtype=uint32."
        )
    _require_in_vocabulary(path, largest, smallest, vocab_size)


@lru_cache(maxsize=4096)
def _extent_of_ids(path: Path, dtype: str | None, _: tuple[int, int, int]) -> tuple[int, int, bool]:
    """Largest and smallest id, and whether every second one is 0."""
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
