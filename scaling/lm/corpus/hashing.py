"""Counter-based random numbers: the value at (seed, counter) is computed from those two alone.

So any batch of any epoch can be made again without running what came before it, on any device, and a resumed
run sees exactly the data it would have seen. The mixer is the finaliser of splitmix64 (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: the step of splitmix64
MULTIPLIER_1 = 0xBF58476D1CE4E5B9
MULTIPLIER_2 = 0x94D049BB133111EB
MASK = 2**64 - 1


def mix(values: Any) -> U64:
    """Scramble 64-bit integers; a bijection. Accepts an array (copied) of uint64."""
    z = np.array(values, dtype=np.uint64)
    scratch = np.empty_like(z)
    for shift, multiplier in ((30, MULTIPLIER_1), (27, MULTIPLIER_2)):
        np.right_shift(z, np.uint64(shift), out=scratch)
        np.bitwise_xor(z, scratch, out=z)
        np.multiply(z, np.uint64(multiplier), out=z)
    np.right_shift(z, np.uint64(31), out=scratch)
    return np.bitwise_xor(z, scratch, out=z)


def mix_integer(value: int) -> int:
    """`mix` of one Python integer (taken modulo 2^64)."""
    z = value & MASK
    z = ((z ^ (z >> 30)) * MULTIPLIER_1) & MASK
    z = ((z ^ (z >> 27)) * MULTIPLIER_2) & MASK
    return z ^ (z >> 31)


def derive_key(*parts: int | str) -> int:
    """One 64-bit key from a path of names and numbers: derive_key(seed, "train", epoch)."""
    key = 0
    for part in parts:
        for number in (*part.encode(), len(part)) if isinstance(part, str) else (part,):
            key = mix_integer(key + number + GOLDEN)
    return key


class Permutation:
    """A pseudo-random bijection of 0..n-1 that can be asked for any position: a Feistel network, cycle-walked.

    Args:
        n: size, >= 1.
        key: 64-bit key; each key is another order.
    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", generalised Feistel with cycle walking.
    """

    N_ROUNDS = 6  # 4 suffice for indistinguishability in theory; small domains profit from two more

    def __init__(self, n: int, key: int) -> None:
        if n < 1:
            raise ValueError(f"a permutation needs n >= 1; got {n}")  # our own mistake: callers check sizes
        self.n = n
        self._half_bits = max(1, ((n - 1).bit_length() + 1) // 2)
        self._keys = [derive_key(key, r) for r in range(self.N_ROUNDS)]

    def __call__(self, positions: Any) -> NDArray[np.int64]:
        """Values at `positions` (any shape, each in 0..n-1)."""
        out = self._rounds(np.asarray(positions, dtype=np.uint64))
        # the domain 4^half_bits is at most 4 times larger (16 for tiny n): a few walks
        while (outside := out >= np.uint64(self.n)).any():
            out[outside] = self._rounds(out[outside])
        return out.astype(np.int64)

    def _rounds(self, values: U64) -> U64:
        bits = np.uint64(self._half_bits)
        mask = np.uint64(2**self._half_bits - 1)
        left, right = values >> bits, values & mask
        for key in self._keys:
            left, right = right, left ^ (mix(right + np.uint64(key)) & mask)
        return np.asarray((left << bits) | right)
