"""Training windows in an order that depends on (seed, number) alone.

Windows are rows of `context_length + 1` ids: inputs are [:-1], targets [1:]. `n_windows` is those of one epoch, None
for an unlimited corpus; `windows(first, count)` gives numbers first .. first + count - 1, (count, context_length + 1).

Window number i (from 0, through all epochs) is one fixed stretch of the corpus, whoever asks and whenever: a
resumed run continues at its step number, and a run on 8 devices reads the same batches as one on 1.

Of a mixture each source gets exactly its share of every block of 65,536 windows, in a pseudo-random order: counts are
exact, not merely expected, and so are the epochs of each source that a run will see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError, UsageError
from scaling.lm.corpus.hashing import Permutation, derive_key
from scaling.lm.corpus.shards import TokenStream
from scaling.lm.corpus.synthetic import SyntheticLanguage

Ids = NDArray[np.int64]
BLOCK = 2**16  # weights are kept to 1 / 65536


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


def normalise(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights divided by their sum."""
    if not weights or min(weights) < 0 or sum(weights) <= 0 or not np.isfinite(weights).all():
        raise UsageError(f"mixture weights must be non-negative with a positive sum; got {list(weights)}.")
    return tuple(w / sum(weights) for w in weights)


@dataclass(frozen=True, kw_only=True)
class MixtureWindows:
    """Windows drawn from several corpora by weight.

    Args:
        sources: their windows; one vocabulary and one context length.
        weights: shares of the windows (equal to shares of tokens); rescaled to sum 1.
        seed: order of the sources.
        once: for a validation block: each source is read from its first window on, and there are as many windows as
            come before any is read a second time (at most 65,536).
    """

    sources: tuple[Windows, ...]
    weights: tuple[float, ...]
    seed: int
    once: bool = False

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.weights):
            raise UsageError(
                f"a mixture needs one weight per source; got {len(self.weights)} for {len(self.sources)}."
            )
        normalise(self.weights)
        for what in ("vocab_size", "context_length"):
            values = [getattr(s, what) for s in self.sources]
            if len(set(values)) > 1:
                raise UsageError(
                    f"all sources of a mixture need one {what}; got {values}. Use one tokenizer for all."
                )

    @property
    def vocab_size(self) -> int:
        return self.sources[0].vocab_size

    @property
    def context_length(self) -> int:
        return self.sources[0].context_length

    @cached_property
    def n_windows(self) -> int | None:
        if not self.once:
            return None
        source, number = self.draws(0, BLOCK)
        has = np.array([BLOCK if s.n_windows is None else s.n_windows for s in self.sources])
        again = np.flatnonzero(number >= has[source])
        return int(again[0]) if len(again) else BLOCK

    @cached_property
    def quotas(self) -> NDArray[np.int64]:
        """Windows of each source per block of 65,536, by largest remainder, (n_sources,)."""
        exact = np.array(normalise(self.weights)) * BLOCK
        quotas: NDArray[np.int64] = np.floor(exact).astype(np.int64)
        order = np.argsort(-(exact - quotas), kind="stable")
        quotas[order[: BLOCK - int(quotas.sum())]] += 1
        never = [w for w, q in zip(self.weights, quotas) if w > 0 and q == 0]
        if never:
            raise UsageError(
                f"a weight of {never[0]:g} is below 1 window in {BLOCK}: that source would never be read."
            )
        return quotas

    def draws(self, first: int, count: int) -> tuple[Ids, Ids]:
        """For window numbers first .. first + count - 1: the source of each and its number in that source."""
        if self.once:
            source, _ = replace(self, once=False).draws(0, first + count)
            rank = np.empty(len(source), dtype=np.int64)
            for i in range(len(self.sources)):
                rank[source == i] = np.arange(np.count_nonzero(source == i))
            return source[first:], rank[first:]
        blocks = np.arange(first, first + count) // BLOCK
        ends = np.cumsum(self.quotas)
        slots = shuffled(first, count, BLOCK, self.seed, "mixture")
        source = np.searchsorted(ends, slots, side="right")
        in_source: Ids = blocks * self.quotas[source] + slots - (ends - self.quotas)[source]
        return source, in_source

    def windows(self, first: int, count: int) -> Ids:
        sources, numbers = self.draws(first, count)
        out = np.empty((count, self.context_length + 1), dtype=np.int64)
        for row, (source, number) in enumerate(zip(sources, numbers)):
            out[row] = self.sources[source].windows(int(number), 1)[0]
        return out


Windows: TypeAlias = StreamWindows | SyntheticWindows | MixtureWindows


@dataclass(frozen=True, kw_only=True)
class MixtureShare:
    """One source of a mixture over a run."""

    name: str
    weight: float  # normalised
    n_tokens_drawn: float
    n_tokens_unique: float
    epochs: float


def count_epochs(
    weights: Sequence[float],
    n_tokens_unique: Sequence[float],
    n_tokens: float,
    *,
    names: Sequence[str] | None = None,
) -> tuple[MixtureShare, ...]:
    """Epochs of each source: weight times the tokens of the run, over the tokens the source has.

    Args:
        weights: as given; used as they are, NOT rescaled to sum 1, so that a printed table is checked as printed.
            Pass `normalise(weights)` to plan a run.
        n_tokens_unique: tokens of each source.
        n_tokens: tokens of the run.
    """
    if not len(weights) == len(n_tokens_unique):
        raise UsageError(
            f"a mixture needs one size per weight; got {len(weights)} and {len(n_tokens_unique)}."
        )
    if min(n_tokens_unique) <= 0 or n_tokens <= 0:
        raise UsageError("token counts of a mixture must be positive.")
    names = names or [f"source {i}" for i in range(len(weights))]
    return tuple(
        MixtureShare(
            name=name, weight=w, n_tokens_drawn=w * n_tokens, n_tokens_unique=size, epochs=w * n_tokens / size
        )
        for name, w, size in zip(names, weights, n_tokens_unique)
    )


@dataclass(frozen=True, kw_only=True)
class PrintedShare:
    """A row of the training mixture of GPT-3 as printed, and recomputed from its own other columns."""

    name: str
    n_tokens_unique: float
    weight: float
    epochs_printed: float
    epochs: float  # weight x 300e9 / n_tokens_unique
    epochs_low: float  # the same with every input moved half a printed digit
    epochs_high: float

    @property
    def agrees(self) -> bool:
        """Whether rounding of the printed inputs can explain the printed epochs."""
        half_digit = 0.05 if self.epochs_printed >= 1 else 0.005
        return self.epochs_low - half_digit <= self.epochs_printed <= self.epochs_high + half_digit


# Brown et al. 2020, arXiv:2005.14165, table 2.2: dataset, tokens, weight, epochs when training for 300B tokens,
# and half a unit of the last printed digit of the size. The weights sum to 1.01 as printed.
GPT3_N_TOKENS = 300e9
_GPT3_TABLE = (
    ("Common Crawl (filtered)", 410e9, 0.60, 0.44, 0.5e9),
    ("WebText2", 19e9, 0.22, 2.9, 0.5e9),
    ("Books1", 12e9, 0.08, 1.9, 0.5e9),
    ("Books2", 55e9, 0.08, 0.43, 0.5e9),
    ("Wikipedia", 3e9, 0.03, 3.4, 0.5e9),
)


def gpt3_mixture() -> tuple[PrintedShare, ...]:
    """GPT-3's training mixture: the printed epochs beside the epochs its weights and sizes give."""
    rows = []
    for name, size, weight, printed, half_size in _GPT3_TABLE:
        low, high = (weight - 0.005) / (size + half_size), (weight + 0.005) / (size - half_size)
        rows.append(
            PrintedShare(
                name=name,
                n_tokens_unique=size,
                weight=weight,
                epochs_printed=printed,
                epochs=weight * GPT3_N_TOKENS / size,
                epochs_low=low * GPT3_N_TOKENS,
                epochs_high=high * GPT3_N_TOKENS,
            )
        )
    return tuple(rows)
