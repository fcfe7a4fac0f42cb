"""Byte-level byte-pair encoding (Sennrich et al. 2016; bytes: Radford et al. 2019), in pure Python and fast.

A vocabulary is 256 bytes in GPT-2's order, one entry per merge in the order learnt, and the end of text last.
Two engines read the same vocabulary and give the same ids (a test compares them): `tokenizers` (Rust) when it is
installed, else the code here, which is written to be read. The one exception: text is split by what is a letter and
what a number, each engine by the Unicode tables it was built with. Characters that only the newer table knows (Python
3.11 has Unicode 14: 9,392 code points, such as U+1C89 and U+A7CB) may be split, and so encoded, differently.

Training ties: the more frequent pair first, among equals the pair with the smaller ids. Ours differs from the
`tokenizers` trainer: none known on text (tests compare merges on random corpora).

Text is first split into pieces that merges never cross, by the pattern of GPT-2 (Radford et al. 2019, released
encoder.py), whose classes \\p{L} and \\p{N} `re` lacks, without the third-party `regex` module:
`'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`. They are spelt out from
`unicodedata` (0.3 s, once).
"""

from __future__ import annotations

import heapq
import itertools
import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, Literal

from scaling.errors import DataError, UsageError
from scaling.installing import extra_command
from scaling.lm.tokenization.base import Tokenizer, require_utf8

Pair = tuple[int, int]
N_BYTES = 256
MIN_COUNT = 2  # a pair that occurs once is no pattern, and merging it shortens nothing else
# Unicode White_Space; Python's own \s adds U+001C..U+001F, which the reference does not count.
_SPACE = "\\t\\n\\v\\f\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
Engine = Literal["auto", "tokenizers", "python"]


class BytePairTokenizer(Tokenizer):
    """Byte-level BPE given by its merges.

    Args:
        merges: pairs of byte strings in the order learnt; each half is a byte or an earlier merge.
        engine: "tokenizers", "python", or "auto" (the first that is installed). Ids do not depend on it, but for
            characters newer than the Unicode tables of one of them (see the head of this module).
    """

    kind = "bpe"

    def __init__(self, merges: Sequence[tuple[bytes, bytes]], *, engine: Engine = "auto") -> None:
        self.merges = tuple(merges)
        self._tokens = [bytes([b]) for b in byte_order()]
        self._id_of = {token: i for i, token in enumerate(self._tokens)}
        self._ranks: dict[Pair, tuple[int, int]] = {}  # pair → (order learnt, merged id)
        self._engine = engine
        self._cache: dict[str, list[int]] = {}
        for rank, (left, right) in enumerate(self.merges):
            if left not in self._id_of or right not in self._id_of:
                raise DataError(
                    f"merge {rank} joins {left!r} and {right!r}, but one of them is neither a byte nor an earlier "
                    "merge. The vocabulary file is damaged or out of order."
                )
            merged = left + right
            if merged not in self._id_of:  # two merges may spell the same bytes: they share one id
                self._id_of[merged] = len(self._tokens)
                self._tokens.append(merged)
            self._ranks.setdefault((self._id_of[left], self._id_of[right]), (rank, self._id_of[merged]))

    @property
    def vocab_size(self) -> int:
        return len(self._tokens) + 1

    @property
    def engine(self) -> str:
        """The engine in use: "tokenizers" or "python"."""
        return "python" if self._fast is None else "tokenizers"

    def encode(self, text: str) -> list[int]:
        require_utf8(text)
        if self._fast is not None:
            return list(self._fast.encode(text).ids)
        return [i for word in split_words(text) for i in self._encode_word(word)]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        if self._fast is None:
            return super().encode_batch(texts)
        for text in texts:
            require_utf8(text)
        return [encoding.ids for encoding in self._fast.encode_batch_fast(list(texts))]

    def _bytes_of(self, token: int) -> bytes:
        return self._tokens[token]

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "merges": [[left.hex(), right.hex()] for left, right in self.merges]}

    def merge_step(self, ids: Sequence[int]) -> tuple[int, list[int]] | None:
        """Apply the earliest-learnt merge that fits: (its rank, the new ids); None when none fits."""
        fitting = [(self._ranks[pair], pair) for pair in itertools.pairwise(ids) if pair in self._ranks]
        if not fitting:
            return None
        (rank, merged), pair = min(fitting)
        return rank, _replace(ids, pair, merged)

    def _encode_word(self, word: str) -> list[int]:
        ids = self._cache.get(word)
        if ids is None:
            ids = byte_ids(word)
            while (step := self.merge_step(ids)) is not None:
                ids = step[1]
            if len(self._cache) < 100_000:  # words repeat (Zipf): this bounds memory and catches nearly all
                self._cache[word] = ids
        return ids

    @cached_property
    def _fast(self) -> Any | None:
        return to_tokenizers(self) if _has_library(self._engine) else None

    def __reduce__(self) -> tuple[Any, ...]:  # the library's object and the cache are made anew
        return partial(BytePairTokenizer, engine=self._engine), (self.merges,)


def _has_library(engine: Engine) -> bool:
    """Whether to use the library `tokenizers`."""
    if engine == "python":
        return False
    try:
        import tokenizers  # noqa: F401
    except ImportError as error:
        if engine == "tokenizers":
            raise UsageError(f"engine 'tokenizers' needs the library: {extra_command('train')}") from error
        return False
    return True


def to_tokenizers(tokenizer: BytePairTokenizer) -> Any:
    """The same vocabulary as a `tokenizers.Tokenizer`; its `.save(path)` writes the common tokenizer.json."""
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, models, pre_tokenizers

    vocab = {spell_bytes(token): i for i, token in enumerate(tokenizer._tokens)}
    merges = [(spell_bytes(left), spell_bytes(right)) for left, right in tokenizer.merges]
    fast = Fast(models.BPE(vocab=vocab, merges=merges))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    fast.decoder = decoders.ByteLevel()
    return fast


def require_pieces(texts: object) -> None:
    """Refuse one text where several are meant: its characters would be taken for texts."""
    if isinstance(texts, str):
        raise UsageError("the training text comes in pieces: give a list of texts, [text] for one.")


def train_bpe(texts: Iterable[str], vocab_size: int, *, engine: Engine = "auto") -> BytePairTokenizer:
    """Learn merges until the vocabulary has `vocab_size` entries (256 bytes, merges, the end of text).

    Stops earlier, with a smaller vocabulary, when no pair is left that occurs at least twice.

    Args:
        texts: the training text, in any number of pieces.
        vocab_size: >= 257.
        engine: which trainer; the merges are the same.
    Raises:
        DataError: the text is empty.
    """
    require_pieces(texts)
    if vocab_size < N_BYTES + 1:
        raise UsageError(
            f"a byte-level vocabulary needs at least 257 entries (256 bytes, end of text); got {vocab_size}."
        )
    if _has_library(engine):
        return _train_fast(texts, vocab_size)
    merges = [(step.left, step.right) for step in learn_merges(texts, vocab_size - 1)]
    return BytePairTokenizer(merges, engine=engine)


def _train_fast(texts: Iterable[str], vocab_size: int) -> BytePairTokenizer:
    from tokenizers import pre_tokenizers, trainers

    fast = to_tokenizers(BytePairTokenizer([]))  # split as in use; the trainer sets the merges
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        min_frequency=MIN_COUNT,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    has_text = False

    def checked() -> Iterator[str]:
        nonlocal has_text
        for text in texts:
            require_utf8(text)
            has_text = has_text or bool(text)
            yield text

    fast.train_from_iterator(checked(), trainer)
    if not has_text:
        raise DataError("cannot train a tokenizer: the training text is empty.")
    merges = json.loads(fast.to_str())["model"]["merges"]
    return BytePairTokenizer([(read_bytes(left), read_bytes(right)) for left, right in merges])


@dataclass(frozen=True, kw_only=True)
class MergeStep:
    """One merge learnt in training."""

    left: bytes
    right: bytes
    count: int  # occurrences of the pair in the training text when it was chosen
    token: int  # id the merged piece got


def learn_merges(texts: Iterable[str], n_tokens: int) -> Iterator[MergeStep]:
    """Yield merges one by one until there are `n_tokens` entries (bytes included).

    Pair counts are kept up to date word by word: a merge visits only the words that contain its pair, and a heap
    with lazily corrected counts finds the next pair. Recounting everything at each merge would be quadratic.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        require_utf8(text)
        counts.update(split_words(text))
    if not counts:
        raise DataError("cannot train a tokenizer: the training text is empty.")
    words, weights = [byte_ids(word) for word in counts], list(counts.values())
    spelling = [bytes([b]) for b in byte_order()]
    tokens = {piece: i for i, piece in enumerate(spelling)}

    pair_counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, word in enumerate(words):
        for pair in itertools.pairwise(word):
            pair_counts[pair] += weights[index]
            where[pair].add(index)
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)

    while len(spelling) < n_tokens and heap:
        negative, pair = heapq.heappop(heap)
        count = pair_counts[pair]
        if -negative != count:  # stale: the count fell since it was pushed
            if count > 0:
                heapq.heappush(heap, (-count, pair))
            continue
        if count < MIN_COUNT:
            return
        left, right = spelling[pair[0]], spelling[pair[1]]
        token = tokens.setdefault(left + right, len(spelling))
        if token == len(spelling):
            spelling.append(left + right)
        yield MergeStep(left=left, right=right, count=count, token=token)
        for changed in _merge_in_words(pair, token, words, weights, pair_counts, where):
            heapq.heappush(heap, (-pair_counts[changed], changed))


def _merge_in_words(
    pair: Pair,
    token: int,
    words: list[list[int]],
    weights: list[int],
    pair_counts: Counter[Pair],
    where: defaultdict[Pair, set[int]],
) -> list[Pair]:
    """Replace `pair` by `token` wherever it stands; returns the pairs that became more frequent."""
    changes: Counter[Pair] = Counter()
    for index in where.pop(pair):
        word, weight = words[index], weights[index]
        words[index] = new = _replace(word, pair, token)
        for old in itertools.pairwise(word):
            changes[old] -= weight
        for fresh in itertools.pairwise(new):
            changes[fresh] += weight
            where[fresh].add(index)
    pair_counts.update(changes)
    return [changed for changed, difference in changes.items() if difference > 0]


def _replace(ids: Sequence[int], pair: Pair, token: int) -> list[int]:
    """`ids` with every non-overlapping `pair`, from the left, replaced by `token`."""
    out: list[int] = []
    i = 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            out.append(token)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def trace_training(texts: Iterable[str], n_merges: int) -> Iterator[MergeStep]:
    """The first `n_merges` merges, one by one, as the pure-Python trainer learns them.

    Example:
        >>> [(s.left + s.right).decode() for s in trace_training(["low low lower"], 2)]
        ['lo', 'low']
    """
    require_pieces(texts)
    return itertools.islice(learn_merges(texts, N_BYTES + n_merges), n_merges)


@dataclass(frozen=True, kw_only=True)
class EncodingStep:
    """The pieces of one word after one merge; `merge` is None for the start (bytes)."""

    word: str
    merge: tuple[bytes, bytes] | None
    rank: int | None  # order in which the merge was learnt, from 0
    pieces: tuple[bytes, ...]


def trace_encoding(tokenizer: BytePairTokenizer, text: str) -> Iterator[EncodingStep]:
    """Each word of `text` from its bytes to its tokens, one merge a step, earliest-learnt merge first."""
    require_utf8(text)
    for word in split_words(text):
        ids = byte_ids(word)
        yield EncodingStep(word=word, merge=None, rank=None, pieces=tuple(map(tokenizer.token_bytes, ids)))
        while (step := tokenizer.merge_step(ids)) is not None:
            rank, ids = step
            pieces = tuple(map(tokenizer.token_bytes, ids))
            yield EncodingStep(word=word, merge=tokenizer.merges[rank], rank=rank, pieces=pieces)


def split_words(text: str) -> list[str]:
    """Pieces of `text`, in order; joined they give `text` back."""
    return _pattern(text.isascii()).findall(text)


@cache
def _pattern(ascii_only: bool) -> re.Pattern[str]:
    letters, numbers = ("A-Za-z", "0-9") if ascii_only else (_category_class("L"), _category_class("N"))
    return re.compile(
        f"'s|'t|'re|'ve|'m|'ll|'d| ?[{letters}]+| ?[{numbers}]+| ?[^{_SPACE}{letters}{numbers}]+"
        f"|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
    )


@cache
def _category_class(major: str) -> str:
    """Ranges of all code points whose general category starts with `major`."""
    codes = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == major)
    # a code minus its place stays the same as long as no code is left out
    runs = (list(run) for _, run in itertools.groupby(enumerate(codes), key=lambda item: item[1] - item[0]))
    return "".join(f"\\U{run[0][1]:08x}-\\U{run[-1][1]:08x}" for run in runs)


@cache
def byte_order() -> tuple[int, ...]:
    """Byte value of base id 0..255: printable bytes first, the order of GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return (*printable, *(b for b in range(256) if b not in set(printable)))


@cache
def _id_of_byte() -> bytes:
    return bytes(map(byte_order().index, range(N_BYTES)))


def byte_ids(word: str) -> list[int]:
    """Base ids of the bytes of `word`, before any merge."""
    return list(word.encode().translate(_id_of_byte()))


@cache
def byte_characters() -> dict[int, str]:
    """Byte value → the visible character GPT-2's files write it as (0x20 is written U+0120)."""
    n_printable = 188
    return {b: chr(b) if i < n_printable else chr(256 + i - n_printable) for i, b in enumerate(byte_order())}


@cache
def _bytes() -> dict[str, int]:
    return {character: byte for byte, character in byte_characters().items()}


def spell_bytes(token: bytes) -> str:
    """The bytes as GPT-2's files write them."""
    return "".join(map(byte_characters().__getitem__, token))


def read_bytes(spelling: str) -> bytes:
    """The inverse of `spell_bytes`; KeyError where a character stands for no byte."""
    return bytes(map(_bytes().__getitem__, spelling))
