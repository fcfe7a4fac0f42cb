"""The synthetic language made on the device that trains on it: the same ids as NumPy, no copy, no host work.

64-bit integer arithmetic wraps alike in NumPy and torch, and the few float64 operations (multiply, add, square
root, divide) are correctly rounded on CPU and CUDA, one operation per kernel, so the ids are equal bit for bit.
"""

from __future__ import annotations

import torch

from scaling.lm.corpus.hashing import GOLDEN, MASK, MULTIPLIER_1, MULTIPLIER_2, derive_key
from scaling.lm.corpus.synthetic import (
    AGE_THRESHOLDS,
    MAX_AGE,
    MAX_TABLE_WORDS,
    N_SUCCESSORS,
    OFFSET,
    SLOT_THRESHOLDS,
    START_SLOT_THRESHOLDS,
    SyntheticLanguage,
)

Tensor = torch.Tensor
_SIGN = -(2**63)  # adding it (modulo 2^64) turns an unsigned comparison into a signed one


class TorchSyntheticLanguage:
    """`SyntheticLanguage.windows` on a torch device.

    Args:
        language: the language.
        device: where windows are made and stay.
    """

    def __init__(self, language: SyntheticLanguage, device: torch.device | str) -> None:
        self.language = language
        self.device = torch.device(device)
        self._ages = torch.tensor(AGE_THRESHOLDS, dtype=torch.int64, device=self.device)
        self._table: Tensor | None = None
        if language.n_words <= MAX_TABLE_WORDS:
            index = torch.arange(N_SUCCESSORS * (language.n_words + 1), device=self.device)
            self._table = self._hashed_successors(index)

    def windows(self, first: int, count: int, length: int, *, stream: int = 0) -> Tensor:
        """Windows `first` .. `first + count - 1`, (count, length) int64; see `SyntheticLanguage.windows`."""
        rows = torch.arange(first, first + count, device=self.device)
        n_words = (length + 1) // 2
        keys = _mix(rows * _signed(GOLDEN) + _signed(derive_key(stream, "window")))
        steps = torch.arange(1, n_words + 1, device=self.device) * _signed(GOLDEN)
        draws = _mix(keys[None, :] + steps[:, None])
        is_fresh = _shift_right(draws, 62) == 3
        slots = _count_passed(draws, SLOT_THRESHOLDS)
        fresh = self._quantile(draws << 2)
        words = [self._stationary_words(keys)]
        for j in range(1, n_words):
            words.append(torch.where(is_fresh[j], fresh[j], self._successors(words[-1], slots[j])))
        return self._spell(torch.stack(words, dim=1))[:, :length]

    def _stationary_words(self, keys: Tensor) -> Tensor:
        base = _mix(keys + _signed(derive_key("start")))
        ages = torch.searchsorted(self._ages, _shift_right(base, 11), right=True)
        word = self._quantile(_mix(base + _signed(GOLDEN)))
        # a fixed number of masked steps: reading the largest age back would stall the device
        n_steps = MAX_AGE if self.device.type != "cpu" else int(ages.max())
        for age in range(1, n_steps + 1):
            draw = _mix(base + _signed((GOLDEN * (age + 1)) & MASK))
            slots = _count_passed(draw, START_SLOT_THRESHOLDS)
            word = torch.where(ages >= age, self._successors(word, slots), word)
        return word

    def _quantile(self, draws: Tensor) -> Tensor:
        v = _shift_right(draws, 11).double() * 2.0**-53
        v = v * self.language.mass + self.language.tail
        return torch.floor(1.0 / ((v * v) * torch.sqrt(v)) - OFFSET).long().clamp(1, self.language.n_words)

    def _successors(self, words: Tensor, slots: Tensor) -> Tensor:
        index = words * N_SUCCESSORS + slots
        return self._hashed_successors(index) if self._table is None else self._table[index]

    def _hashed_successors(self, index: Tensor) -> Tensor:
        return self._quantile(_mix(index * _signed(GOLDEN) + _signed(self.language.successor_key)))

    def _spell(self, words: Tensor) -> Tensor:
        bits, code = self.language.bits, self.language.spelling_codes(words)
        return torch.stack([code >> bits, (code & (2**bits - 1)) + 2**bits], dim=-1).flatten(1)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's shift of int64 copies the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _count_passed(draws: Tensor, thresholds: tuple[int, ...]) -> Tensor:
    """How many of the thresholds each draw reaches, both read as unsigned."""
    passed = ((draws ^ _SIGN) >= _signed(threshold ^ 2**63) for threshold in thresholds)
    return sum(passed, torch.zeros_like(draws))


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift_right(z, 30)) * _signed(MULTIPLIER_1)
    z = (z ^ _shift_right(z, 27)) * _signed(MULTIPLIER_2)
    return z ^ _shift_right(z, 31)
