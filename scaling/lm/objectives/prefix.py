"""Next token and prefix language modelling: what comes after, with or without a first part read in both directions.

Source: the prefix LM of Raffel et al. 2020, arXiv:1910.10683, sections 3.2.2 and 3.3.1: a window is split at random,
its first part is seen whole by every position, and only the second is predicted.
"""

from __future__ import annotations

import numpy as np

from scaling.errors import UsageError
from scaling.lm.objectives.examples import IGNORED, Examples, Ids, Mask, uniforms


def next_token(windows: Ids) -> Examples:
    """Windows (B, T + 1): each token is the target of the one before it."""
    _check(windows)
    return Examples(ids=windows[:, :-1], targets=windows[:, 1:])


def split_prefix(windows: Ids, *, seed: int, numbers: Ids) -> Examples:
    """Windows (B, T + 1): a prefix of 1 to T tokens, each length as likely; the rest is predicted."""
    _check(windows)
    T = windows.shape[1] - 1
    lengths = 1 + (uniforms(seed, "prefix", numbers, 1)[:, 0] * T).astype(np.int64)
    # the state of the last prefix token predicts the first token behind it
    counted = np.arange(T) >= lengths[:, None] - 1
    return Examples(
        ids=windows[:, :-1], targets=np.where(counted, windows[:, 1:], IGNORED), prefix_lengths=lengths
    )


def prefix_mask(prefix_lengths: Ids, n_tokens: int) -> Mask:
    """(B, T, T): position i sees j where j <= i, or where both lie in the prefix."""
    place = np.arange(n_tokens)
    causal = place[:, None] >= place[None, :]
    within = place < prefix_lengths[:, None]
    return causal | (within[:, :, None] & within[:, None, :])


def _check(windows: Ids) -> None:
    if windows.ndim != 2 or windows.shape[1] < 2:
        raise UsageError(f"windows are (texts, tokens + 1) with two ids or more; got shape {windows.shape}.")
