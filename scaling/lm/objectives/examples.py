"""What every objective returns, the special ids it needs, and its random numbers."""

# B texts, T tokens of the model's input, S tokens of its decoder

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError, UsageError
from scaling.lm.corpus.hashing import GOLDEN, derive_key, mix

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

IGNORED = -100  # the target of a position that does not count; torch's cross_entropy passes over it


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """A batch for `Transformer.states`, and what the model should say.

    Raises:
        DataError: no position of the batch counts, so that it has no loss.
    """

    ids: Ids  # (B, T) of the decoder or the encoder
    targets: Ids  # (B, T), of an encoder-decoder (B, S); IGNORED where nothing is asked
    decoder_ids: Ids | None = None  # (B, S) what the decoder of an encoder-decoder reads
    keep: Mask | None = None  # (B, T) False at padding; None where nothing is padded
    segment_ids: Ids | None = None  # (B, T) 0 or 1 (BERT)
    sentence_labels: Ids | None = None  # (B,) 0: the second segment follows the first
    prefix_lengths: Ids | None = None  # (B,) tokens that see each other in both directions

    def __post_init__(self) -> None:
        if not (self.targets != IGNORED).any():
            rows, length = self.ids.shape
            raise DataError(
                f"no token of this batch of {rows} x {length} is to be predicted, so it has no loss. Use longer "
                "texts, more of them a batch, or a higher rate."
            )

    @property
    def n_targets(self) -> int:
        """Positions that count."""
        return int((self.targets != IGNORED).sum())


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """Ids that are no text. Objectives never hide them nor put them in as random tokens.

    Args:
        vocab_size: all ids, special ones included.
        pad, mask, start, end: [PAD], [MASK], [CLS] or <s>, [SEP] or </s>; None where the vocabulary has none.
        n_sentinels: the last ids, counted down from `vocab_size` - 1, stand for hidden spans (T5's <extra_id_0> ...).
    """

    vocab_size: int
    pad: int | None = None
    mask: int | None = None
    start: int | None = None
    end: int | None = None
    n_sentinels: int = 0

    def __post_init__(self) -> None:
        named = [i for i in (self.pad, self.mask, self.start, self.end) if i is not None]
        last = self.vocab_size - self.n_sentinels
        if len(set(named)) < len(named) or any(not 0 <= i < last for i in named):
            raise UsageError(
                f"special ids must be different ones below {last} (the {self.n_sentinels} sentinels are the last of "
                f"{self.vocab_size} ids); got {named}."
            )
        if last - len(named) < 1:
            raise UsageError(f"a vocabulary of {self.vocab_size} ids has none left for text.")

    def need(self, name: str) -> int:
        """The id of pad, mask, start or end. Raises UsageError where the vocabulary has none."""
        value: int | None = getattr(self, name)
        if value is None:
            raise UsageError(f"this objective needs a {name} token, and the vocabulary names none.")
        return value

    def sentinel(self, index: Ids) -> Ids:
        """Ids of the sentinels 0, 1, ... Raises UsageError where there are too few."""
        most = int(index.max(initial=-1)) + 1
        if most > self.n_sentinels:
            raise UsageError(
                f"{most} spans are hidden and the vocabulary has {self.n_sentinels} sentinels; use shorter windows, "
                "longer spans or more sentinels."
            )
        return self.vocab_size - 1 - index

    @cached_property
    def is_special(self) -> Mask:
        """(vocab_size,)"""
        special = np.zeros(self.vocab_size, dtype=bool)
        special[[i for i in (self.pad, self.mask, self.start, self.end) if i is not None]] = True
        special[self.vocab_size - self.n_sentinels :] = True
        return special

    @cached_property
    def text_ids(self) -> Ids:
        """Every id that stands for text."""
        return np.flatnonzero(~self.is_special)

    def check(self, ids: Ids) -> None:
        """Refuse ids of another vocabulary."""
        if ids.size and not (ids.min() >= 0 and ids.max() < self.vocab_size):
            raise DataError(
                f"ids lie in {ids.min()}..{ids.max()}, those of this vocabulary in 0..{self.vocab_size - 1}: they "
                "were made with another tokenizer."
            )


def uniforms(seed: int, use: str, numbers: Ids, length: int) -> Floats:
    """(B, length) uniform in [0, 1), a hash of the seed, what for, the text's number (B,) and the position."""
    return uniforms_at(seed, use, numbers[:, None], np.arange(length)[None, :])


def uniforms_at(seed: int, use: str, numbers: Ids, positions: Ids) -> Floats:
    """Uniform in [0, 1) at texts and positions that broadcast."""
    key, golden = _key(seed, use), np.uint64(GOLDEN)
    texts = mix(key + numbers.astype(np.uint64) * golden)
    drawn = mix(texts + (positions.astype(np.uint64) + np.uint64(1)) * golden)
    # the upper 53 bits are a float64 in [0, 1) exactly
    values: Floats = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return values


@lru_cache(maxsize=1024)
def _key(seed: int, use: str) -> np.uint64:
    return np.uint64(derive_key(seed, use))


def check_rate(name: str, rate: float) -> None:
    """Refuse a share that is none."""
    if not 0 < rate < 1:
        raise UsageError(f"{name} is a share of the tokens between 0 and 1; got {rate!r}.")


def pad_right(rows: Sequence[Ids], pad: int, length: int | None = None) -> tuple[Ids, Mask | None]:
    """Rows (B, T) filled with `pad` to the longest (or `length`), and True at tokens; None where all fit."""
    lengths = np.array([len(row) for row in rows])
    width = int(lengths.max()) if length is None else length
    keep = np.arange(width) < lengths[:, None]
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    ids[keep] = np.concatenate(rows)
    return ids, None if keep.all() else keep
