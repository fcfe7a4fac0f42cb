"""Denoising (BART): a text is damaged in one or more of five ways, and the decoder writes the whole of it.

    mask        tokens become [MASK], one for one
    delete      tokens are gone; the model must find where
    infill      spans become one [MASK] each, of Poisson(3) tokens: of none too, a [MASK] put in between
    permute     sentences in random order
    rotate      the text begins at a random token

BART itself is trained on infill at 30 % after permute. Each takes and returns one text (T,).
Source: Lewis et al. 2020, arXiv:1910.13461, section 2.2. Ours differs: infill draws as many spans as hide `rate` of the
tokens on average, apart from one another, where the authors' code draws spans that may overlap until it has enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from scaling.errors import UsageError
from scaling.lm.objectives.examples import (
    IGNORED,
    Examples,
    Floats,
    Ids,
    Mask,
    SpecialTokens,
    check_rate,
    pad_right,
    uniforms,
)
from scaling.lm.objectives.spans import shifted

Draw = Callable[[str, int], Floats]  # so many uniform numbers, for what they are named after
Way = Literal["mask", "delete", "infill", "permute", "rotate"]
MEAN_SPAN = 3.0
_LONGEST_SPAN = 40  # P(Poisson(3) > 40) is 1e-28


def denoise(
    texts: Sequence[Ids],
    special: SpecialTokens,
    *,
    seed: int,
    numbers: Ids,
    ways: Sequence[Way] = ("permute", "infill"),
    rate: float = 0.3,
    sentence_ends: Ids | None = None,
) -> Examples:
    """Damage each text in `ways`, one after the other; the targets are the whole text and its end.

    Args:
        texts: ids without special tokens.
        numbers: (B,) number of each text: equal numbers are damaged alike.
        rate: share of the tokens that mask, delete and infill take.
        sentence_ends: ids that end a sentence (full stop, line end), for permute.
    """
    check_rate("rate", rate)
    if "permute" in ways and sentence_ends is None:
        raise UsageError("permute needs sentence_ends: the ids that end a sentence.")
    is_end = np.zeros(special.vocab_size, dtype=bool)
    is_end[[] if sentence_ends is None else sentence_ends] = True
    steps: dict[Way, Callable[[Ids, Draw], Ids]] = {
        "mask": lambda text, draw: mask(text, draw, special.need("mask"), rate),
        "delete": lambda text, draw: delete(text, draw, rate),
        "infill": lambda text, draw: infill(text, draw, special.need("mask"), rate),
        "permute": lambda text, draw: permute(text, draw, is_end),
        "rotate": rotate,
    }
    for way in ways:
        if way not in steps:
            raise UsageError(f"there is no damage {way!r}; choose among {', '.join(steps)}.")
    start, end = special.need("start"), special.need("end")
    drawn = _Drawn(seed, numbers)
    damaged = []
    for row, text in enumerate(texts):
        special.check(text)
        if not len(text):
            raise UsageError("a text of this batch is empty; leave it out.")
        for way in ways:
            text = steps[way](text, partial(drawn, row, way))
        damaged.append(np.concatenate([[start], text, [end]]))
    ids, keep = pad_right(damaged, special.need("pad"))
    targets, _ = pad_right([np.append(text, end) for text in texts], IGNORED)
    return Examples(ids=ids, keep=keep, targets=targets, decoder_ids=shifted(targets, start))


class _Drawn:
    """Uniform numbers of all texts, made at once for each use: to hash a batch costs little more than one text."""

    def __init__(self, seed: int, numbers: Ids) -> None:
        self.seed, self.numbers = seed, numbers
        self.made: dict[str, Floats] = {}

    def __call__(self, row: int, way: str, use: str, n: int) -> Floats:
        name = f"{way} {use}"
        if (
            name not in self.made or self.made[name].shape[1] < n
        ):  # a number is of its position: wider changes none
            self.made[name] = uniforms(self.seed, name, self.numbers, 2 ** n.bit_length())
        return self.made[name][row, :n]


def mask(text: Ids, draw: Draw, mask_id: int, rate: float) -> Ids:
    """Each token becomes [MASK] with probability `rate`."""
    return np.where(draw("chosen", len(text)) < rate, mask_id, text)


def delete(text: Ids, draw: Draw, rate: float) -> Ids:
    """Each token is gone with probability `rate`."""
    return text[draw("chosen", len(text)) >= rate]


def rotate(text: Ids, draw: Draw) -> Ids:
    """The text from a random token on, then what came before it."""
    return np.roll(text, -int(draw("first", 1)[0] * len(text)))


def permute(text: Ids, draw: Draw, is_end: Mask) -> Ids:
    """Sentences in random order, every order as likely; a rest without an end is a sentence.

    Args:
        is_end: (vocabulary,) True at ids that end a sentence.
    """
    ends = is_end[text]
    sentence: Ids = np.cumsum(ends) - ends  # of each token
    keys = draw("order", int(ends.sum()) + 1)[
        sentence
    ]  # one number a sentence: sorted by it, each stays in one piece
    return text[np.argsort(keys, kind="stable")]


def infill(text: Ids, draw: Draw, mask_id: int, rate: float, mean_span: float = MEAN_SPAN) -> Ids:
    """Spans of Poisson lengths become one [MASK] each; no two of them touch."""
    n = len(text)
    n_spans = max(1, round(rate * n / mean_span))
    lengths = np.searchsorted(_poisson_at_most(mean_span), draw("lengths", n_spans), side="right")
    # a short text may not hold them all: the last ones give way, for each needs a kept token before the next
    lengths = lengths[np.cumsum(lengths) + np.arange(n_spans) <= n]
    n_kept = n - int(lengths.sum())
    # a span stands before the kept token of its slot, or behind the last one
    last = max(len(lengths), 1) - 1
    slots = np.sort(np.argpartition(draw("slots", n_kept + 1), last)[: len(lengths)])
    hidden = np.zeros(n_kept + 1, dtype=np.int64)
    hidden[slots] = lengths
    kept = text[np.arange(n_kept) + np.cumsum(hidden)[:n_kept]]
    return np.insert(kept, slots, mask_id)


@lru_cache
def _poisson_at_most(mean: float) -> Floats:
    """P(length <= k) for k = 0, 1, ..."""
    k = np.arange(_LONGEST_SPAN)
    return np.cumsum(np.exp(k * math.log(mean) - mean - np.array([math.lgamma(i + 1) for i in k])))
