"""Training windows in an order that depends on (seed, number) alone.

Windows are rows of `context_length + 1` ids: inputs are [:-1], targets [1:]. `n_windows` is those of one epoch, None
for an unlimited corpus; `windows(first, count)` gives numbers first .. first + count - 1, (count, context_length + 1).

Window number i (from 0, through all epochs) is one fixed stretch of the corpus, whoever asks and whenever: a
resumed run continues at its step number, and a run on 8 devices reads the same batches as one on 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError
from scaling.lm.corpus.hashing import Permutation, derive_key
from scaling.lm.corpus.shards import TokenStream
from scaling.lm.corpus.synthetic import SyntheticLanguage

Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StreamWindows:
    """Non-overlapping windows of a token stream, each epoch in another pseudo-random order.

    Window w holds ids w T .. w T + T (T = context_length): the last id of one is the first of the next, so every
    id is predicted once an epoch. A tail shorter than a window is left out.
    """

    stream: TokenStream
    context_length: int
    seed: int

    def __post_init__(self) -> None:
        if self.n_windows < 1:
            raise DataError(
                f"{self.stream.name} has {self.stream.n_tokens} tokens; one window of context {self.context_length} "
                f"needs {self.context_length + 1}. Use more text or a shorter context."
            )

    @property
    def vocab_size(self) -> int:
        return self.stream.vocab_size

    @cached_property
    def n_windows(self) -> int:
        return (self.stream.n_tokens - 1) // self.context_length

    def windows(self, first: int, count: int) -> Ids:
        length = self.context_length
        ids = np.empty((count, length + 1), dtype=np.int64)
        for row, place in enumerate(shuffled(first, count, self.n_windows, self.seed, "epoch")):
            ids[row] = self.stream.read(int(place) * length, length + 1)
        self.stream.check_ids(ids)
        return ids


def shuffled(first: int, count: int, n: int, seed: int, name: str) -> Ids:
    """Places 0 .. n - 1 of numbers first .. first + count - 1: every n numbers take each place once, in a new order."""
    numbers = np.arange(first, first + count)
    rounds, positions = numbers // n, numbers % n
    out = np.empty(count, dtype=np.int64)
    for number in np.unique(rounds):
        chosen = rounds == number
        out[chosen] = _permutation(n, seed, name, int(number))(positions[chosen])
    return out


@lru_cache(maxsize=64)
def _permutation(n: int, seed: int, name: str, number: int) -> Permutation:
    return Permutation(n, derive_key(seed, name, number))


@dataclass(frozen=True, kw_only=True)
class SyntheticWindows:
    """Windows of a synthetic language: unlimited, never repeated."""

    language: SyntheticLanguage
    context_length: int
    stream: int
    n_windows: ClassVar[None] = None

    @property
    def vocab_size(self) -> int:
        return self.language.vocab_size

    def windows(self, first: int, count: int) -> Ids:
        ids = self.language.windows(first, count, self.context_length + 1, stream=self.stream)
        return ids.astype(np.int64)


Windows: TypeAlias = StreamWindows | SyntheticWindows  # or a mixture of them, `MixtureWindows`
