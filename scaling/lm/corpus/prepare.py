"""Documents → token shards, split by document, described by index.json."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.lm.corpus.digests import VERIFIED_FILE
from scaling.lm.corpus.documents import Document
from scaling.lm.corpus.shards import MAX_VOCAB_SIZE, ShardWriter, open_shard
from scaling.lm.corpus.splits import cut_where_few, document_fraction, require_fraction
from scaling.lm.tokenization import Tokenizer, load_tokenizer, save_tokenizer

SCHEMA_VERSION = 1
INDEX_FILE = "index.json"
TOKENIZER_FILE = "tokenizer.json"
SPLITS = ("train", "validation")
_BATCH_DOCUMENTS = 256


def prepare_corpus(
    documents: Iterable[Document],
    folder: str | Path,
    tokenizer: Tokenizer,
    *,
    source: str,
    revision: str | None = None,
    validation_fraction: float = 0.02,
    n_tokens_max: int | None = None,
    n_shard_tokens: int = 100_000_000,
    force: bool = False,
) -> dict[str, Any]:
    """Tokenize documents into shards.

    Each document is followed by the end-of-text id. A document goes to validation when the first 8 bytes of the
    SHA-256 of its text, as a fraction, are below `validation_fraction`: adding or reordering documents moves none,
    and copies of one text never straddle the split. Where a split would stay empty (one book, a few files), long
    texts are cut into pieces of 512 to 4096 characters first, at paragraphs, and each piece counts as a document;
    `cut` of the index says so.

    Args:
        documents: in order; empty ones are left out and counted.
        folder: written as a whole at the end (a killed preparation leaves nothing under this name).
        source, revision: recorded in the index.
        n_tokens_max: stop after the document that reaches this many tokens.
        force: replace an existing corpus.
    Returns:
        The index: splits with n_tokens, n_bytes, n_documents, bytes_per_token, shards; tokenizer hash; source.
    """
    folder = Path(folder)
    require_room_in_shards(tokenizer.vocab_size)
    require_fraction(validation_fraction)
    if folder.exists() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} is not empty; pass --force to replace it.")
    if folder.exists() and any(folder.iterdir()):
        _require_only_a_corpus(folder)
    documents, cut = cut_where_few(documents, validation_fraction)
    folder = folder.resolve()
    if folder in (here := Path.cwd(), *here.parents):
        raise UsageError(
            f"{folder} is the folder you are in: it cannot be put in place whole. Give one below it."
        )
    work, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("tmp", "old"))
    work.mkdir(parents=True)
    try:
        index = _write(documents, work, tokenizer, validation_fraction, n_tokens_max, n_shard_tokens)
        index |= {"source": source, "revision": revision} | ({"cut": asdict(cut)} if cut else {})
        (work / INDEX_FILE).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            os.replace(folder, old)
        os.replace(work, folder)
    finally:
        if old.exists() and not folder.exists():  # stopped between the two moves
            os.replace(old, folder)
        for leftover in (work, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return index


def require_room_in_shards(vocab_size: int) -> None:
    """Refuse a vocabulary whose ids would be cut in a shard."""
    if vocab_size > MAX_VOCAB_SIZE:
        raise UsageError(
            f"shards hold uint16 ids: at most {MAX_VOCAB_SIZE} entries; the vocabulary has {vocab_size}. Take a "
            "smaller one, or write uint32 token files and train on tokens:DIR,dtype=uint32,vocab=N."
        )


def _require_only_a_corpus(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but a prepared corpus."""
    try:
        index = load_index(folder)
    except DataError as error:
        raise UsageError(f"{folder} is not empty and holds no corpus; it will not be replaced.") from error
    shards = {shard["file"] for split in index["splits"].values() for shard in split["shards"]}
    others = sorted(
        p.name for p in folder.iterdir() if p.name not in {*shards, INDEX_FILE, TOKENIZER_FILE, VERIFIED_FILE}
    )
    if others:
        raise UsageError(
            f"{folder} holds more than a corpus ({others[0]}); it will not be replaced. Move that away."
        )


def _write(
    documents: Iterable[Document],
    folder: Path,
    tokenizer: Tokenizer,
    validation_fraction: float,
    n_tokens_max: int | None,
    n_shard_tokens: int,
) -> dict[str, Any]:
    splits = {name: _SplitWriter(folder, name, n_shard_tokens) for name in SPLITS}
    n_empty = n_tokens = 0
    for batch in _batches(documents, _BATCH_DOCUMENTS):
        texts = [d.text for d in batch if d.text]
        n_empty += len(batch) - len(texts)
        for text, ids in zip(texts, tokenizer.encode_batch(texts)):
            body = text.encode("utf-8", errors="surrogatepass")
            split = "validation" if document_fraction(body) < validation_fraction else "train"
            splits[split].add([*ids, tokenizer.end_of_text], n_bytes=len(body))
            n_tokens += len(ids) + 1
            if n_tokens_max is not None and n_tokens >= n_tokens_max:
                break
        if n_tokens_max is not None and n_tokens >= n_tokens_max:
            break
    if n_tokens == 0:
        raise DataError(f"the source holds no text: {n_empty} documents, all empty.")
    entries = {name: writer.close() for name, writer in splits.items()}
    for name, entry in entries.items():
        if entry["n_tokens"] == 0:
            raise DataError(
                f"no document fell into the {name} split ({sum(e['n_documents'] for e in entries.values())} documents, "
                f"validation fraction {validation_fraction}). Use more documents or another fraction."
            )
    save_tokenizer(tokenizer, folder / TOKENIZER_FILE)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "corpus",
        "vocab_size": tokenizer.vocab_size,
        "tokenizer": {"file": TOKENIZER_FILE, "type": tokenizer.kind, "hash": tokenizer.hash},
        "end_of_text": tokenizer.end_of_text,
        "split_rule": f"sha256(text)[:8] / 2^64 < {validation_fraction} is validation",
        "n_empty_documents": n_empty,
        "splits": entries,
    }


class _SplitWriter:
    """Shards of one split, rolled over at a size."""

    def __init__(self, folder: Path, name: str, n_shard_tokens: int) -> None:
        self.folder, self.name, self.limit = folder, name, n_shard_tokens
        self.shards: list[dict[str, Any]] = []
        self.n_documents = self.n_bytes = 0
        self._writer: ShardWriter | None = None

    def add(self, ids: list[int], *, n_bytes: int) -> None:
        if self._writer is None:
            self._writer = ShardWriter(self.folder / f"{self.name}_{len(self.shards):06d}.bin")
        self._writer.write(ids)
        self.n_documents += 1
        self.n_bytes += n_bytes
        if self._writer.n_tokens >= self.limit:
            self._roll()

    def _roll(self) -> None:
        if self._writer is not None:
            self.shards.append(self._writer.close())
            self._writer = None

    def close(self) -> dict[str, Any]:
        self._roll()
        n_tokens = sum(s["n_tokens"] for s in self.shards)
        return {
            "n_tokens": n_tokens,
            "n_bytes": self.n_bytes,
            "n_documents": self.n_documents,
            "bytes_per_token": self.n_bytes / n_tokens if n_tokens else None,
            "shards": self.shards,
        }


def _batches(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    batch = []
    for document in documents:
        batch.append(document)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def load_index(folder: str | Path) -> dict[str, Any]:
    """The index of a prepared corpus, checked for its kind and version."""
    path = Path(folder) / INDEX_FILE
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(
            f"{folder} is not a prepared corpus: no {INDEX_FILE}. Make one: scaling corpus prepare."
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); the corpus is damaged. Prepare it again.") from error
    if not isinstance(index, dict) or index.get("kind") != "corpus":
        raise DataError(f"{path} does not describe a corpus.")
    if index.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {index.get('schema_version')}; this release reads {SCHEMA_VERSION}."
        )
    try:
        for name in SPLITS:
            for shard in index["splits"][name]["shards"]:
                _ = shard["file"], shard["sha256"], int(shard["n_tokens"])
            _ = int(index["splits"][name]["n_tokens"])
        _ = int(index["vocab_size"]), index["tokenizer"]["hash"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is damaged: {error!r} is missing or wrong. Prepare the corpus again."
        ) from error
    if int(index["vocab_size"]) > MAX_VOCAB_SIZE:
        raise DataError(
            f"{path} names a vocabulary of {index['vocab_size']}, but its shards hold uint16 ids, at most "
            f"{MAX_VOCAB_SIZE - 1}. Prepare the corpus again with a smaller vocabulary."
        )
    return index


def load_own_tokenizer(folder: Path, index: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a corpus was prepared with.

    Raises:
        DataError: the file beside the shards is another one: bytes and text would be wrong without a sign.
    """
    tokenizer = load_tokenizer(folder / TOKENIZER_FILE)
    if tokenizer.hash != index["tokenizer"]["hash"]:
        raise DataError(
            f"{folder / TOKENIZER_FILE} is not the tokenizer this corpus was prepared with (hash {tokenizer.hash}, not "
            f"{index['tokenizer']['hash']}). Bring that one back, or prepare the corpus again."
        )
    return tokenizer


def check_corpus(folder: str | Path) -> dict[str, Any]:
    """Read every shard and the tokenizer, and compare count, hash and id range with the index; returns the index."""
    folder = Path(folder)
    index = load_index(folder)
    load_own_tokenizer(folder, index)
    for split in index["splits"].values():
        for entry in split["shards"]:
            ids = open_shard(folder / entry["file"])
            if len(ids) != entry["n_tokens"] or hashlib.sha256(ids.tobytes()).hexdigest() != entry["sha256"]:
                raise DataError(
                    f"{folder / entry['file']} is not the file that was prepared (hash or count differs)."
                )
            if len(ids) and int(ids.max()) >= index["vocab_size"]:
                raise DataError(
                    f"{folder / entry['file']} holds ids outside the vocabulary of {index['vocab_size']}."
                )
    return index
