"""Initial weights, each rule with its source; set by name so that no parameter keeps a hidden default.

Use which when:
    GPT rule, for every architecture that divides its scores by sqrt(d_head): matrices and embeddings N(0, 0.02),
        those that write to the residual stream N(0, 0.02 / sqrt(number of residual additions)) in a pre-norm stack;
        biases 0, norms 1. Source: Radford et al. 2019, section 2.3; the released code uses 0.01 for positions, ours
        and transformers' is 0.02. Post-norm stacks (GPT-1, BERT, BART) take 0.02 throughout (Radford et al. 2018);
        with tied embeddings they start above ln V, since the last state still is the embedding of its own token.
    T5 rule, for `scale_attention` false, whose scores the weights themselves must scale: the query carries the
        missing 1/sqrt(d_head); other matrices N(0, fan_in^-1/2), embeddings N(0, 1). Source: Raffel et al. 2020 and
        the released code. Ours differs: an untied head takes d_model^-1/2 instead of 1, so that the first loss is
        near ln V.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scaling.architecture import Architecture
from scaling.lm.models.transformer import Transformer

GPT_STD = 0.02
_RESIDUAL = ("attention.output.weight", "cross.output.weight", "mlp.down.weight")


def initialize(model: Transformer, *, seed: int, std: float = GPT_STD) -> None:
    """Draw every weight anew from `seed`, on the CPU, so that a seed gives the same model on every device."""
    generator = torch.Generator().manual_seed(seed)
    norms = {
        id(p) for m in model.modules() if isinstance(m, nn.LayerNorm | nn.RMSNorm) for p in m.parameters()
    }
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.fill_(1.0 if id(weight) in norms and name.endswith("weight") else 0.0)
                continue
            spread = _spread(model.architecture, name, weight, std)
            weight.copy_(torch.randn(weight.shape, generator=generator) * spread)


def _spread(a: Architecture, name: str, weight: Tensor, std: float) -> Tensor | float:
    """Standard deviation of a matrix: one number, or (rows, 1) for the fused query, key and value of T5."""
    if not a.scale_attention:
        return _t5_spread(a, name, weight)
    if a.norm_position == "pre" and name.endswith(_RESIDUAL):
        return std / math.sqrt(_n_residual_additions(a, name))
    return std


def _n_residual_additions(a: Architecture, name: str) -> int:
    if a.kind == "encoder_decoder" and name.startswith("decoder."):
        return 3 * a.n_decoder_layers
    return 2 * a.n_layers


def _t5_spread(a: Architecture, name: str, weight: Tensor) -> Tensor | float:
    if name == "tokens.weight":
        return 1.0
    if name.endswith(("positions.weight", "segments.weight", "relative_bias.table.weight")):
        return 1 / math.sqrt(a.d_model)
    spread = 1 / math.sqrt(weight.shape[1])
    if name.endswith("query_key_value.weight"):
        rows = torch.full((weight.shape[0], 1), spread)
        rows[: a.d_attention] /= math.sqrt(a.d_head)
        return rows
    return spread / math.sqrt(a.d_head) if name.endswith("cross.query.weight") else spread
