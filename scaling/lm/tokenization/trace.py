"""Byte-pair encoding step by step, for learning: what was merged, how often it occurred, what the text became."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scaling.lm.tokenization.base import require_utf8
from scaling.lm.tokenization.bpe import BytePairTokenizer, learn_merges, require_pieces
from scaling.lm.tokenization.pretokenize import byte_order, split_words


@dataclass(frozen=True, kw_only=True)
class MergeStep:
    """One merge learnt in training."""

    left: bytes
    right: bytes
    count: int  # occurrences of the pair in the training text when it was chosen
    token: int  # id the merged piece got


@dataclass(frozen=True, kw_only=True)
class EncodingStep:
    """The pieces of one word after one merge; `merge` is None for the start (bytes)."""

    word: str
    merge: tuple[bytes, bytes] | None
    rank: int | None  # order in which the merge was learnt, from 0
    pieces: tuple[bytes, ...]


def trace_training(texts: Iterable[str], n_merges: int) -> Iterator[MergeStep]:
    """The first `n_merges` merges, one by one, as the pure-Python trainer learns them.

    Example:
        >>> [(s.left + s.right).decode() for s in trace_training(["low low lower"], 2)]
        ['lo', 'low']
    """
    require_pieces(texts)
    pieces = [bytes([b]) for b in byte_order()]
    merges = learn_merges(texts, len(pieces) + n_merges)
    for _, merge in zip(range(n_merges), merges):
        left, right = pieces[merge.pair[0]], pieces[merge.pair[1]]
        if merge.token == len(pieces):
            pieces.append(left + right)
        yield MergeStep(left=left, right=right, count=merge.count, token=merge.token)


def trace_encoding(tokenizer: BytePairTokenizer, text: str) -> Iterator[EncodingStep]:
    """Each word of `text` from its bytes to its tokens, one merge a step, earliest-learnt merge first."""
    require_utf8(text)
    for word in split_words(text):
        ids = tokenizer.byte_ids(word)
        pieces = tuple(tokenizer.token_bytes(i) for i in ids)
        yield EncodingStep(word=word, merge=None, rank=None, pieces=pieces)
        while (step := tokenizer.merge_step(ids)) is not None:
            rank, pair, ids = step
            pieces = tuple(tokenizer.token_bytes(i) for i in ids)
            merge = (tokenizer.token_bytes(pair[0]), tokenizer.token_bytes(pair[1]))
            yield EncodingStep(word=word, merge=merge, rank=rank, pieces=pieces)
