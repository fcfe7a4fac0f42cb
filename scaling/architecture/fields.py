"""What a field of an architecture may hold: its words, and numbers as fields take them."""

from __future__ import annotations

import math
import operator
from typing import Any, Literal, get_args

from scaling.errors import UsageError

Kind = Literal["decoder", "encoder", "encoder_decoder"]
Norm = Literal["layer", "rms"]
NormPosition = Literal["pre", "post", "both", "after", "parallel", "parallel_shared"]
"""Where the norms of a block stand:

- pre: x + f(norm(x)); post: norm(x + f(x)).
- both: x + norm(f(norm(x))), four a block (Gemma 2 and 3); after: x + norm(f(x)) (OLMo 2).
- parallel: x + attention(norm(x)) + mlp(norm'(x)) (GPT-NeoX); parallel_shared: the same with one norm (GPT-J, Phi).
"""
Activation = Literal["gelu", "gelu_tanh", "relu", "swiglu", "geglu"]
Positions = Literal["learned", "rope", "relative_bias", "transformer_xl", "sinusoidal", "alibi", "none"]
QkNorm = Literal["none", "head", "width"]
Head = Literal["lm", "mlm", "pooler", "nsp", "rtd"]
"""What is read off the last states, each with its parameters (d = d_model, e = d_embedding, V = vocab_size):

- lm: logits over the vocabulary; shares the token embedding if `tie_embeddings`, else V d. No bias.
- mlm: dense d → e with bias, activation, layer norm, then the tied embedding with an output bias (V).
- pooler: dense d → d with bias and tanh on the first token.
- nsp: linear d → 2 with bias on the pooled state; needs the pooler, which it brings along.
- rtd: ELECTRA's discriminator, dense d → d with bias, activation, linear d → 1 with bias.
"""

CHOICES: dict[str, tuple[str, ...]] = {
    "kind": get_args(Kind),
    "norm": get_args(Norm),
    "norm_position": get_args(NormPosition),
    "activation": get_args(Activation),
    "positions": get_args(Positions),
    "qk_norm": get_args(QkNorm),
}
_SIZES_OR_NONE = (
    "attention_window", "n_window_layers", "d_latent_q", "d_latent_kv", "d_head_rope", "n_experts",
    "n_experts_per_token", "d_ff_expert", "n_shared_experts", "d_ff_shared", "n_dense_layers",
)  # fmt: skip
MAY_BE_ZERO = {"n_decoder_layers", "position_offset", "n_segments", *_SIZES_OR_NONE}
COUNTED_ONLY = (
    "norm_scale",
    "qk_norm",
    "head_bias",
    "attention_sinks",
    "d_head_value",
    "shared_expert_gate",
    *_SIZES_OR_NONE,
)
"""Fields of models that are counted, not built; `to_dict` leaves them out where they have their default."""


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """`value` as an int of at least `least`; accepts NumPy integers, refuses floats, bools and text."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} must be a whole number >= {least}, got {value!r}.") from None
    if isinstance(value, bool) or number < least:
        raise UsageError(f"{name} must be a whole number >= {least}, got {value!r}.")
    return number


def positive(name: str, value: Any) -> float:
    """`value` as a float above 0; refuses bools and text."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (math.isfinite(value) and value > 0)
    ):
        raise UsageError(f"{name} must be a number > 0, got {value!r}.")
    return float(value)
