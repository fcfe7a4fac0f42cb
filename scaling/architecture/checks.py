"""Rules of an architecture that concern several fields at once, and numbers as fields take them."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.architecture.spec import Architecture

_OF_A_MIXTURE = (
    "n_experts_per_token", "d_ff_expert", "n_shared_experts", "d_ff_shared", "shared_expert_gate", "n_dense_layers"
)  # fmt: skip


def check_mixture(a: Architecture) -> None:
    """Experts are of a decoder, some but not more than there are for each token, in at least one layer."""
    if not a.n_experts:
        for name in _OF_A_MIXTURE:
            if getattr(a, name):
                raise UsageError(
                    f"{name} belongs to a mixture of experts, got {getattr(a, name)}; give n_experts too."
                )
        return
    if a.kind != "decoder":
        raise UsageError(f"a mixture of experts is counted in a decoder only, got kind {a.kind!r}.")
    if not 1 <= a.n_experts_per_token <= a.n_experts:
        raise UsageError(
            f"n_experts_per_token must be from 1 to the {a.n_experts} of n_experts, got {a.n_experts_per_token}: "
            "it says how many experts a token passes."
        )
    if not a.d_ff_expert:
        raise UsageError("a mixture of experts needs d_ff_expert, the width of one expert, got 0.")
    if a.n_dense_layers >= a.n_layers:
        raise UsageError(
            f"n_dense_layers must leave a layer for the experts, got {a.n_dense_layers} of {a.n_layers} layers."
        )
    if bool(a.n_shared_experts) != bool(a.d_ff_shared):
        raise UsageError(
            f"n_shared_experts and their width d_ff_shared go together, got {a.n_shared_experts} and {a.d_ff_shared}."
        )
    if a.shared_expert_gate and not a.n_shared_experts:
        raise UsageError("shared_expert_gate weighs the shared experts: give n_shared_experts too.")


def check_latent_attention(a: Architecture) -> None:
    """Latents belong to multi-head latent attention, which has all its heads and a rotary part of its own."""
    if not a.d_latent_kv:
        for name in ("d_latent_q", "d_head_rope"):
            if getattr(a, name):
                raise UsageError(
                    f"{name} belongs to latent attention, got {getattr(a, name)}; give d_latent_kv too."
                )
        if a.d_head_value != a.d_head:
            raise UsageError(
                f"d_head_value other than d_head belongs to latent attention, got {a.d_head_value} beside {a.d_head}; "
                "give d_latent_kv too."
            )
        return
    if a.kind != "decoder" or a.n_kv_heads != a.n_heads:
        raise UsageError(
            f"latent attention is of a decoder with as many key as query heads, got kind {a.kind!r}, "
            f"n_heads {a.n_heads} and n_kv_heads {a.n_kv_heads}."
        )
    if not 0 < a.d_head_rope < a.d_head:
        raise UsageError(
            f"d_head_rope is the rotary part of d_head {a.d_head} in latent attention and must lie inside it, "
            f"got {a.d_head_rope}."
        )


def check_window(a: Architecture) -> None:
    """A window is of some layers of a decoder."""
    if bool(a.attention_window) != bool(a.n_window_layers):
        raise UsageError(
            f"attention_window and n_window_layers go together, got {a.attention_window} and {a.n_window_layers}."
        )
    if a.attention_window and (a.kind != "decoder" or a.n_window_layers > a.n_layers):
        raise UsageError(
            f"n_window_layers are layers of a decoder, got {a.n_window_layers} in a {a.kind} of {a.n_layers} layers."
        )


def check_stacks(a: Architecture) -> None:
    """What belongs to two stacks is given to two stacks only."""
    if a.kind != "encoder_decoder" and (a.n_decoder_layers or a.share_stacks):
        raise UsageError(
            f"n_decoder_layers and share_stacks belong to an encoder_decoder, got kind {a.kind!r}; "
            "the blocks of a single stack are n_layers."
        )
    if a.kind == "encoder_decoder" and a.n_decoder_layers < 1:
        raise UsageError("an encoder_decoder needs n_decoder_layers >= 1, got 0.")
    if a.share_stacks and a.n_layers != a.n_decoder_layers:
        raise UsageError(
            f"share_stacks needs equal stacks, got n_layers {a.n_layers} and n_decoder_layers "
            f"{a.n_decoder_layers}."
        )
    if a.d_embedding != a.d_model and a.kind != "encoder":
        raise UsageError(
            f"d_embedding other than d_model is for encoders (ELECTRA), got {a.d_embedding} for a {a.kind}."
        )


def check_relative_bias(a: Architecture) -> None:
    """Half the buckets of a side are exact, and at least one; the others reach on to the largest distance."""
    least = 2 if a.kind == "decoder" else 4  # an encoder has two sides
    if a.n_relative_buckets < least:
        raise UsageError(
            f"n_relative_buckets must be >= {least} for kind {a.kind!r}, got {a.n_relative_buckets}."
        )
    n_exact = a.n_relative_buckets // (4 if a.kind == "encoder" else 2)
    if a.relative_max_distance <= n_exact:
        raise UsageError(
            f"relative_max_distance must be above the {n_exact} distances that {a.n_relative_buckets} "
            f"n_relative_buckets tell apart exactly, got {a.relative_max_distance}."
        )


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
