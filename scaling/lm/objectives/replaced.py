"""Replaced-token detection (ELECTRA): a small generator fills hidden places, a discriminator finds what it changed.

The generator is trained as any masked model; the discriminator on every token of text. A token that the generator
happens to get right counts as original. Replacements are drawn from the generator, not its best guess.
Source: Clark et al. 2020, arXiv:2003.10555, section 2 and equation for L(x, theta); weight 50 from section 3.
"""

# B texts, T tokens, V vocabulary

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DISCRIMINATOR_WEIGHT = 50.0  # its loss is a binary one of a few hundredths, the generator's of several nats


def replace_tokens(original_BT: Tensor, masked_BT: Tensor, logits_BTV: Tensor, uniforms_BT: Tensor) -> Tensor:
    """The text (B, T) with a draw from softmax(logits) at every masked place; no gradient flows through it.

    Args:
        masked_BT: True where the generator was asked (its targets), whether shown as [MASK] or not.
        uniforms_BT: in [0, 1), one a place (`objectives.examples.uniforms`): the draw is the token at that quantile.
    """
    with torch.no_grad():
        below = logits_BTV.double().softmax(-1).cumsum(-1)
        # rounding may leave the last sum under 1: the draw stays inside the vocabulary
        drawn = (below <= uniforms_BT[..., None]).sum(-1).clamp(max=logits_BTV.shape[-1] - 1)
        return torch.where(masked_BT, drawn, original_BT)


def replaced_loss(
    replaced_logits_BT: Tensor, original_BT: Tensor, replaced_BT: Tensor, keep_BT: Tensor | None = None
) -> Tensor:
    """Mean binary cross-entropy over the tokens of text: 1 where the token differs from the original."""
    labels = (replaced_BT != original_BT).to(replaced_logits_BT.dtype)
    losses = F.binary_cross_entropy_with_logits(replaced_logits_BT, labels, reduction="none")
    return losses.mean() if keep_BT is None else losses[keep_BT].mean()


def joint_loss(generator_loss: Tensor, discriminator_loss: Tensor) -> Tensor:
    """What ELECTRA minimises: the masked loss of the generator + 50 x that of the discriminator."""
    return generator_loss + DISCRIMINATOR_WEIGHT * discriminator_loss
