"""A synthetic language whose entropy is known, so that "how far from the truth" has an exact answer.

Words k = 1..K, K = 4^b, with frequencies of a truncated power law

    P0(k) = [(k + c)^-a - (k + 1 + c)^-a] / Z,        a = 0.4, c = 10, Z = (1 + c)^-a - (K + 1 + c)^-a.

After word u comes, with probability 3/4, one of its 4 hashed successors (weights .5 .25 .15 .10), each the P0
quantile of a hash of (seed, 4u + r); otherwise a fresh word from P0. Each word is spelt, by a bijection, as two
tokens of disjoint alphabets of 2^b symbols, so the vocabulary has 2^(b+1) tokens. Use b = 7 on a CPU, b = 12 on a GPU.

Windows are independent stretches of the stationary chain (started exactly: the chain forgets its past at every
fresh word, so a window starts a geometric number of successors after one). The first word of a window has no
context and does not count. Everything is a hash of (seed, window, position): no state, any order, any device;
`synthetic_torch` gives the same ids on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scaling.errors import UsageError
from scaling.lm.corpus.hashing import GOLDEN, MASK, derive_key, mix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXPONENT = 0.4  # a; with it the quantile's power is 1 / (v v sqrt v)
OFFSET = 10.0  # c
FRESH_PROBABILITY = 0.25
SUCCESSOR_WEIGHTS = (0.5, 0.25, 0.15, 0.10)
N_SUCCESSORS = 4
MAX_TABLE_WORDS = 2**20  # successor table of 4 K int32: 16 MB; above it successors are hashed on the fly
MAX_EXACT_WORDS = 2**20  # entropy by summing over all words; above it by sampling
MAX_AGE = 96  # cut of the geometric start: .75^96 = 1e-12

# A 64-bit draw is read as a number in [0, 1): its top quarter means "fresh", and then its low 62 bits are uniform.
_UNIT = 2.0**64
SLOT_THRESHOLDS = tuple(
    int((1 - FRESH_PROBABILITY) * sum(SUCCESSOR_WEIGHTS[:r]) * _UNIT) for r in range(1, N_SUCCESSORS)
)
START_SLOT_THRESHOLDS = tuple(int(sum(SUCCESSOR_WEIGHTS[:r]) * _UNIT) for r in range(1, N_SUCCESSORS))
AGE_THRESHOLDS = tuple(int((1 - (1 - FRESH_PROBABILITY) ** g) * 2.0**53) for g in range(1, MAX_AGE + 1))
SPELLING_MULTIPLIERS = (0x9E3779B1, 0x85EBCA6B)  # odd, hence invertible modulo 4^b
_BLOCK_ROWS = 1024  # windows made together: arrays of a few kB per step stay in the cache


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """Entropy per token in nats, with the standard error of its estimate (0 when summed exactly)."""

    value: float
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class SyntheticLanguage:
    """The language of one `seed`: its successor table; and how to sample it and score it.

    Args:
        bits: b, 2..14; K = 4^b words, 2^(b+1) tokens.
        seed: selects the successors. (Which text is sampled is the `stream` of `windows`.)
    """

    bits: int = 7
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 14:
            raise UsageError(
                f"the synthetic language needs bits in 2..14 (vocabulary 8 to 32768); got {self.bits}."
            )

    @property
    def n_words(self) -> int:
        return int(4**self.bits)

    @property
    def vocab_size(self) -> int:
        return int(2 ** (self.bits + 1))

    @cached_property
    def tail(self) -> float:
        """t = (K + 1 + c)^-a."""
        return float((self.n_words + 1 + OFFSET) ** -EXPONENT)

    @cached_property
    def mass(self) -> float:
        """Z."""
        return float((1 + OFFSET) ** -EXPONENT - self.tail)

    # ---- sampling ----------------------------------------------------------------------------------------------

    def windows(self, first: int, count: int, length: int, *, stream: int = 0) -> NDArray[np.uint16]:
        """Windows `first` .. `first + count - 1` of a stream.

        Args:
            first, count: window numbers; a window is the same whatever it is asked together with.
            length: tokens per window, >= 2.
            stream: which text; training, validation and each data seed take another.
        Returns:
            ids, (count, length).
        """
        if count < 0 or first < 0 or length < 2:
            raise UsageError(
                f"windows need first >= 0, count >= 0, length >= 2; got {first}, {count}, {length}."
            )
        out = np.empty((count, length), dtype=np.uint16)
        for start in range(0, count, _BLOCK_ROWS):
            rows = np.arange(first + start, first + min(count, start + _BLOCK_ROWS), dtype=np.uint64)
            words = self._words(rows, (length + 1) // 2, stream)
            out[start : start + len(rows)] = self.spell(words)[:, :length]
        return out

    def _words(self, rows: NDArray[np.uint64], n_words: int, stream: int) -> Ints:
        """Words of the windows `rows`, (len(rows), n_words), numbered 1..K."""
        keys = mix(rows * np.uint64(GOLDEN) + np.uint64(derive_key(stream, "window")))
        steps = np.arange(1, n_words + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        draws = mix(keys[None, :] + steps[:, None])  # (n_words, n_rows): each step is contiguous
        is_fresh = (draws >> np.uint64(62)) == 3
        slots = _count_passed(draws, SLOT_THRESHOLDS)
        words = np.empty(draws.shape, dtype=np.int64)
        words[is_fresh] = self.quantile(draws[is_fresh] << np.uint64(2))
        words[0] = word = self._stationary_words(keys)
        for j in range(1, n_words):
            word = self.successors(word, slots[j])
            np.copyto(word, words[j], where=is_fresh[j])
            words[j] = word
        return words.T

    def _stationary_words(self, keys: NDArray[np.uint64]) -> Ints:
        """First words: a fresh word followed by a geometric number of successors, the stationary law exactly."""
        base = mix(keys + np.uint64(derive_key("start")))
        ages = np.searchsorted(
            np.array(AGE_THRESHOLDS), (base >> np.uint64(11)).astype(np.int64), side="right"
        )
        word = self.quantile(mix(base + np.uint64(GOLDEN)))
        for age in range(1, int(ages.max(initial=0)) + 1):
            active = np.flatnonzero(ages >= age)
            draw = mix(base[active] + np.uint64((GOLDEN * (age + 1)) & MASK))
            word[active] = self.successors(word[active], _count_passed(draw, START_SLOT_THRESHOLDS))
        return word

    def quantile(self, draws: NDArray[np.uint64]) -> Ints:
        """P0 quantile of 64-bit draws read as x in [0, 1): clip(floor((t + Z x)^(-1/a) - c), 1, K)."""
        v = (draws >> np.uint64(11)).astype(np.float64)
        v *= 2.0**-53
        v *= self.mass
        v += self.tail
        power = np.sqrt(v)
        v *= v
        v *= power
        np.divide(1.0, v, out=v)
        v -= OFFSET
        return np.clip(np.floor(v, out=v).astype(np.int64), 1, self.n_words)

    def successors(self, words: Ints, slots: Ints | int) -> Ints:
        """The `slots`-th (0..3) successor of each word."""
        index = words * N_SUCCESSORS + slots
        has_table = self.n_words <= MAX_TABLE_WORDS
        return self._successor_table[index].astype(np.int64) if has_table else self._hashed_successors(index)

    def _hashed_successors(self, index: Ints) -> Ints:
        draws = mix(index.astype(np.uint64) * np.uint64(GOLDEN) + np.uint64(self.successor_key))
        return self.quantile(draws)

    @cached_property
    def successor_key(self) -> int:
        return derive_key(self.seed, "successors")

    @cached_property
    def _successor_table(self) -> NDArray[np.int32]:
        return self._hashed_successors(np.arange(N_SUCCESSORS * (self.n_words + 1))).astype(np.int32)

    def spell(self, words: Ints) -> NDArray[np.uint16]:
        """Two tokens per word: (..., n) words → (..., 2 n) ids; first tokens are even halves of the vocabulary."""
        code = self.spelling_codes(words)
        out = np.empty((*words.shape, 2), dtype=np.uint16)
        out[..., 0] = code >> self.bits
        out[..., 1] = (code & (2**self.bits - 1)) + 2**self.bits
        return out.reshape(*words.shape[:-1], 2 * words.shape[-1])

    def spelling_codes(self, words: Any) -> Any:
        """The scrambled number 0..K-1 of each word (array or tensor); its high and low b bits are its two letters."""
        mask = self.n_words - 1
        code = ((words - 1) * SPELLING_MULTIPLIERS[0]) & mask
        code ^= code >> self.bits
        return (code * SPELLING_MULTIPLIERS[1]) & mask

    def words_of(self, ids: NDArray[np.integer]) -> Ints:
        """Words of ids that start at a word: (..., 2 n) → (..., n). The inverse of `spell`."""
        mask = self.n_words - 1
        pairs = ids.astype(np.int64).reshape(*ids.shape[:-1], -1, 2)
        first, second = pairs[..., 0], pairs[..., 1] - 2**self.bits
        if ((first | second) >> self.bits).any():  # a letter has b bits
            raise UsageError(
                "these ids are not whole words of this language: windows must start at a first token."
            )
        code = ((first << self.bits) | second) * pow(SPELLING_MULTIPLIERS[1], -1, self.n_words) & mask
        code ^= code >> self.bits
        return np.asarray((code * pow(SPELLING_MULTIPLIERS[0], -1, self.n_words) & mask) + 1)

    # ---- the truth ---------------------------------------------------------------------------------------------

    def word_probability(self, words: Ints) -> Floats:
        """P0(k), the frequency of a fresh word."""
        k = np.asarray(words, dtype=np.float64)
        # k^-a - (k+1)^-a without cancellation: -expm1(-a log1p(1/k)) k^-a
        return np.asarray(
            -np.expm1(-EXPONENT * np.log1p(1 / (k + OFFSET))) * (k + OFFSET) ** -EXPONENT / self.mass
        )

    @cached_property
    def word_entropy(self) -> float:
        """H0, the entropy of P0 in nats per word."""
        probabilities = map(self.word_probability, self._word_blocks())
        return math.fsum(-float((p * np.log(p)).sum()) for p in probabilities)

    @cached_property
    def first_token_probability(self) -> Floats:
        """Probability of each first token under P0, (2^b,)."""
        out = np.zeros(2**self.bits)
        for block in self._word_blocks():
            first = self.spelling_codes(block) >> self.bits
            out += np.bincount(first, weights=self.word_probability(block), minlength=2**self.bits)
        return out

    def _word_blocks(self) -> list[Ints]:
        edges = range(1, self.n_words + 1, 2**20)
        return [np.arange(start, min(start + 2**20, self.n_words + 1)) for start in edges]

    def log_probabilities(self, ids: NDArray[np.integer]) -> Floats:
        """True ln p of every token given all before it in its window.

        Args:
            ids: (n_windows, length), windows as `windows` gives them.
        Returns:
            (n_windows, length) nats, NaN for the first word of each window (its context is unknown).
        """
        length = ids.shape[1]
        padded = np.pad(ids, ((0, 0), (0, length % 2)), constant_values=2**self.bits)
        words = self.words_of(padded)
        out = np.full(padded.shape, np.nan)
        before, word = words[:, :-1], words[:, 1:]
        first = padded[:, 2::2].astype(np.int64)
        p_word = FRESH_PROBABILITY * self.word_probability(word)
        p_first = FRESH_PROBABILITY * self.first_token_probability[first]
        for slot, weight in enumerate(SUCCESSOR_WEIGHTS):
            successor, mass = self.successors(before, slot), (1 - FRESH_PROBABILITY) * weight
            p_word += mass * (successor == word)
            p_first += mass * (self.spelling_codes(successor) >> self.bits == first)
        out[:, 2::2] = np.log(p_first)
        out[:, 3::2] = np.log(p_word / p_first)
        return out[:, :length]

    def next_word_entropy(self, words: Ints) -> Floats:
        """H(w | u) in nats per word for each u in `words`.

        With p = .25 P0(w) and m the (merged) mass of a successor:
        .25 H0 - .25 ln .25 + sum over distinct successors of [-(p + m) ln(p + m) + p ln p].
        """
        successor = self.successors(words[..., None], np.arange(N_SUCCESSORS))
        weight = (1 - FRESH_PROBABILITY) * np.array(SUCCESSOR_WEIGHTS)
        same = successor[..., :, None] == successor[..., None, :]
        merged = (same * weight).sum(-1)
        is_first = ~np.tril(same, -1).any(-1)
        p = FRESH_PROBABILITY * self.word_probability(successor)
        change = -(p + merged) * np.log(p + merged) + p * np.log(p)
        fresh = FRESH_PROBABILITY * (self.word_entropy - math.log(FRESH_PROBABILITY))
        return np.asarray(fresh + (change * is_first).sum(-1))

    def stationary_probability(self, tolerance: float = 1e-13) -> Floats:
        """Long-run frequency of each word, (K,), by iterating the chain; K up to 2^20."""
        words = np.arange(1, self.n_words + 1)
        fresh = self.word_probability(words)
        fresh = fresh / fresh.sum()
        targets = [self.successors(words, r) - 1 for r in range(N_SUCCESSORS)]
        now: Floats = fresh
        for _ in range(400):  # the error shrinks by .75 a step: 1e-13 after 104
            after = FRESH_PROBABILITY * fresh
            for weight, target in zip(SUCCESSOR_WEIGHTS, targets):
                mass = (1 - FRESH_PROBABILITY) * weight
                after = after + mass * np.bincount(target, weights=now, minlength=self.n_words)
            if np.abs(after - now).sum() < tolerance:
                break
            now = after
        return now

    def entropy(
        self, *, method: Literal["auto", "exact", "sampled"] = "auto", n_windows: int = 4096
    ) -> Entropy:
        """E, the entropy per token in nats: the loss no model can beat.

        Exact (summed over all words) up to b = 10; above, the mean of H(w | u) over words u of sampled windows.
        """
        if method == "exact" or (method == "auto" and self.n_words <= MAX_EXACT_WORDS):
            words = np.arange(1, self.n_words + 1)
            value = float((self.stationary_probability() * self.next_word_entropy(words)).sum()) / 2
            return Entropy(value=value, standard_error=0.0)
        words = self._words(np.arange(n_windows, dtype=np.uint64), 64, derive_key("entropy"))
        # means are summed in the order of the memory: a row a window
        per_window = self.next_word_entropy(np.ascontiguousarray(words)).mean(axis=1) / 2
        error = float(per_window.std(ddof=1)) / math.sqrt(n_windows)
        return Entropy(value=float(per_window.mean()), standard_error=error)


def _count_passed(draws: NDArray[np.uint64], thresholds: tuple[int, ...]) -> Ints:
    """How many of the thresholds each draw reaches: its slot."""
    slots = np.zeros(draws.shape, dtype=np.int64)
    for threshold in thresholds:
        slots += draws >= np.uint64(threshold)
    return slots
