"""Masked language modelling (BERT): 15 % of the tokens are chosen, hidden in one of three ways, and to be named.

Of the chosen 80 % become [MASK], 10 % a random token, 10 % stay: the model cannot know which tokens it will be asked
for, so it must keep a state of every one. Only chosen tokens count.
Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1 and appendix A.1; dynamic masks: Liu et al. 2019 (RoBERTa),
arXiv:1907.11692, section 4.1. Ours differs: random tokens are never special ones.
"""

from __future__ import annotations

import numpy as np

from scaling.errors import UsageError
from scaling.lm.objectives.examples import (
    IGNORED,
    Examples,
    Ids,
    Mask,
    SpecialTokens,
    check_rate,
    uniforms,
    uniforms_at,
)

STATIC_COPIES = 10  # BERT's data hold ten masks of every text, seen four times each in 40 epochs


def mask_tokens(
    ids: Ids,
    special: SpecialTokens,
    *,
    seed: int,
    numbers: Ids,
    keep: Mask | None = None,
    rate: float = 0.15,
    split: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Examples:
    """Choose each token of text with probability `rate`, and hide it.

    Args:
        ids: (B, T); special ids are never chosen.
        numbers: (B,) number of each text: equal numbers get equal masks. Count on through the epochs for dynamic
            masks (RoBERTa), or take `static_numbers` (BERT).
        keep: (B, T) False at padding.
        split: shares of the chosen that become [MASK], become a random token, stay; they sum to 1.
    """
    check_rate("rate", rate)
    if min(split) < 0 or abs(sum(split) - 1) > 1e-9:
        raise UsageError(f"the three shares of hidden tokens must be at least 0 and sum to 1; got {split}.")
    special.check(ids)
    chosen = (uniforms(seed, "chosen", numbers, ids.shape[1]) < rate) & ~special.is_special[ids]
    if keep is not None:
        chosen &= keep
    inputs = ids.copy()
    rows, positions = np.nonzero(chosen)
    way = uniforms_at(seed, "way", numbers[rows], positions)
    hidden = way < split[0]
    inputs[rows[hidden], positions[hidden]] = special.need("mask")
    other = ~hidden & (way < split[0] + split[1])
    rows, positions = rows[other], positions[other]
    drawn = uniforms_at(seed, "token", numbers[rows], positions)
    inputs[rows, positions] = special.text_ids[(drawn * len(special.text_ids)).astype(np.int64)]
    return Examples(ids=inputs, targets=np.where(chosen, ids, IGNORED), keep=keep)


def static_numbers(places: Ids, epochs: Ids, copies: int = STATIC_COPIES) -> Ids:
    """Numbers for `mask_tokens` such that a text (its place in the corpus) has `copies` masks, taken in turn."""
    return places * copies + epochs % copies
