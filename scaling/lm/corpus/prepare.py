"""Documents → token shards, split by document, described by index.json.

Which text goes to validation follows from the hash of the text, and of pieces of it where whole documents are too few.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.jsonable import fields_of
from scaling.lm.corpus.documents import Document
from scaling.lm.corpus.shards import MAX_VOCAB_SIZE, VERIFIED_FILE, ShardWriter, open_shard
from scaling.lm.tokenization import Tokenizer, load_tokenizer, save_tokenizer

SCHEMA_VERSION = 1
INDEX_FILE = "index.json"
TOKENIZER_FILE = "tokenizer.json"
SPLITS = ("train", "validation")
_BATCH_DOCUMENTS = 256

MAX_FEW = 10_000  # documents looked at before the work; with more than these a sensible fraction never fails
N_WANTED = 8  # pieces in the smaller split, on average
MIN_PIECE, MAX_PIECE = 512, 4096  # characters: a paragraph or two, up to a page
_FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


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
    if folder.exists() and any(folder.iterdir()):
        if not force:
            raise UsageError(f"{folder} is not empty; pass --force to replace it.")
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
        index |= {"source": source, "revision": revision} | ({"cut": fields_of(cut)} if cut else {})
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
    limit = math.inf if n_tokens_max is None else max(n_tokens_max, 1)
    n_empty = n_tokens = 0
    remaining = iter(documents)
    while n_tokens < limit and (batch := list(itertools.islice(remaining, _BATCH_DOCUMENTS))):
        texts = [d.text for d in batch if d.text]
        n_empty += len(batch) - len(texts)
        for text, ids in zip(texts, tokenizer.encode_batch(texts)):
            body = text.encode("utf-8", errors="surrogatepass")
            split = "validation" if document_fraction(body) < validation_fraction else "train"
            splits[split].add([*ids, tokenizer.end_of_text], n_bytes=len(body))
            n_tokens += len(ids) + 1
            if n_tokens >= limit:
                break
    if n_tokens == 0:
        raise DataError(f"the source holds no text: {n_empty} documents, all empty.")
    entries = {name: writer.close() for name, writer in splits.items()}
    n_documents = sum(entry["n_documents"] for entry in entries.values())
    for name, entry in entries.items():
        if entry["n_tokens"] == 0:
            nothing = _nothing_in(name, n_documents, validation_fraction)
            raise DataError(f"{nothing}. Use more documents or another fraction.")
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
        self.writers: list[ShardWriter] = []  # the last one is open
        self.shards: list[dict[str, Any]] = []
        self.n_documents = self.n_bytes = 0

    def add(self, ids: list[int], *, n_bytes: int) -> None:
        if len(self.writers) == len(self.shards):
            self.writers.append(ShardWriter(self.folder / f"{self.name}_{len(self.shards):06d}.bin"))
        self.writers[-1].write(ids)
        self.n_documents += 1
        self.n_bytes += n_bytes
        if self.writers[-1].n_tokens >= self.limit:
            self.shards.append(self.writers[-1].close())

    def close(self) -> dict[str, Any]:
        self.shards += [writer.close() for writer in self.writers[len(self.shards) :]]
        n_tokens = sum(s["n_tokens"] for s in self.shards)
        return {
            "n_tokens": n_tokens,
            "n_bytes": self.n_bytes,
            "n_documents": self.n_documents,
            "bytes_per_token": self.n_bytes / n_tokens if n_tokens else None,
            "shards": self.shards,
        }


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
            file = folder / entry["file"]
            ids = open_shard(file)
            if len(ids) != entry["n_tokens"] or hashlib.sha256(ids.tobytes()).hexdigest() != entry["sha256"]:
                raise DataError(f"{file} is not the file that was prepared (hash or count differs).")
            if len(ids) and int(ids.max()) >= index["vocab_size"]:
                raise DataError(f"{file} holds ids outside the vocabulary of {index['vocab_size']}.")
    return index


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Long texts were cut into pieces of at most `n_characters`, because there were only `n_texts`."""

    n_characters: int
    n_texts: int


def document_fraction(body: bytes) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(body).digest()[:8], "big") / 2**64


def cut_where_few(
    documents: Iterable[Document], validation_fraction: float
) -> tuple[Iterator[Document], Cut | None]:
    """The documents as they are when some fall on either side of the split, else cut into pieces at paragraphs.

    Reads only until both sides have one.

    Raises:
        UsageError: the fraction is not between 0 and 1.
        DataError: even pieces leave one side empty; the message names a fraction that works.
    """
    if not 0 < validation_fraction < 1:
        raise UsageError(f"the validation fraction must lie between 0 and 1; got {validation_fraction}.")
    remaining = iter(documents)
    first: list[Document] = []
    sides: set[bool] = set()
    for document in itertools.islice(remaining, MAX_FEW):
        first.append(document)
        sides |= _sides([document], validation_fraction)
        if len(sides) == 2:
            break
    if len(sides) == 2 or len(first) == MAX_FEW or not sides:  # split, too many to cut, or without a text
        return itertools.chain(first, remaining), None
    pieces, cut = _pieces(first, validation_fraction)
    if len(_sides(pieces, validation_fraction)) < 2:
        raise DataError(_advice(first, validation_fraction))
    return iter(pieces), cut


def cut_text(text: str, n_characters: int) -> list[str]:
    """Pieces of at most `n_characters` that join back to `text`, ending at a paragraph, else a line, else a word."""
    pieces, start = [], 0
    while len(text) - start > n_characters:
        end = start + n_characters
        for boundary in ("\n\n", "\n", " "):
            found = text.rfind(boundary, start + n_characters // 2, end)
            if found >= 0:
                end = found + len(boundary)
                break
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


def _pieces(documents: Sequence[Document], validation_fraction: float) -> tuple[list[Document], Cut]:
    smaller = min(validation_fraction, 1 - validation_fraction)
    n_characters = int(sum(len(d.text) for d in documents) * smaller / N_WANTED)
    n_characters = min(max(n_characters, MIN_PIECE), MAX_PIECE)
    pieces = [
        Document(text=piece, origin=f"{d.origin}, piece {number}")
        for d in documents
        for number, piece in enumerate(cut_text(d.text, n_characters))
    ]
    return pieces, Cut(n_characters=n_characters, n_texts=len(documents))


def _sides(documents: Iterable[Document], validation_fraction: float) -> set[bool]:
    """For which of the sides, validation True, there is a text."""
    bodies = (d.text.encode("utf-8", errors="surrogatepass") for d in documents if d.text)
    return {document_fraction(body) < validation_fraction for body in bodies}


def _nothing_in(split: str, n_documents: int, validation_fraction: float) -> str:
    return (
        f"no document fell into the {split} split ({n_documents} documents, "
        f"validation fraction {validation_fraction})"
    )


def _advice(documents: Sequence[Document], validation_fraction: float) -> str:
    missing = "train" if True in _sides(documents, validation_fraction) else "validation"
    what = _nothing_in(missing, len(documents), validation_fraction)
    for fraction in sorted(_FRACTIONS, key=lambda f: abs(f - validation_fraction)):
        if any(len(_sides(d, fraction)) == 2 for d in (documents, _pieces(documents, fraction)[0])):
            return f"{what}. A validation fraction of {fraction} works: --validation-fraction {fraction}."
    return f"{what}, and no other fraction helps: give more text."
