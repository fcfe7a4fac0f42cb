"""FLOPs of a token and of a run, in the conventions that papers use. One multiply-add is two FLOPs.

Use which when (per token of training; a = n_heads d_head, T = context length, V d = vocabulary matrix):

- exact_causal: 6 x the weights that multiply the token, and the attention pairs that exist, (T + 1) / 2 keys a
  query in a decoder. What the hardware has to do at least; the default.
- palm: the same with all T keys (12 L a T): nanoGPT, nanochat, PaLM's MFU, and what torch's FlopCounterMode sees,
  which counts masked pairs too.
- kaplan: 6 x block weights; no vocabulary, no attention pairs. Kaplan et al. 2020.
- six_n: 6 x all parameters. Hoffmann et al.'s C = 6ND, what most laws and this library's planner mean by C.
- six_n_head: 6 x (non-embedding parameters + V d): six_n made independent of tying. Porian et al. 2024.
- deepseek: 72 L d^2 + 12 L d T, the M of DeepSeek LLM 2024, eq. 2; a formula in d only (d_ff = 4d, no gate).
- chinchilla: Hoffmann et al. 2022, appendix F, the embedding lookup counted as a matmul and the softmax as
  3 n_heads T; chinchilla_head leaves the embedding out, chinchilla_body the head too (their table A4 is this one).

Forward is one third of training: the backward pass multiplies twice. Recomputed activations are not counted.
Norms, activations, biases, the position lookup, and the pooler and nsp heads (once a sequence) count nothing.
In a mixture of experts a token computes with the experts it passes: N and every weight above are the active ones. The
last two formulas are written for dense models and are refused. A window leaves out the pairs beyond it.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

from scaling.accounting.params import (
    HOW,
    count_params,
    embedding_projection_weights,
    head_weights,
    mlp_weights,
    projection_weights,
    self_attention_weights,
    stack_mlp_weights,
)
from scaling.architecture import Architecture
from scaling.arguments import is_number, require_kind, require_known
from scaling.errors import UsageError, shown

Convention = Literal[
    "exact_causal", "palm", "kaplan", "six_n", "six_n_head", "deepseek",
    "chinchilla", "chinchilla_head", "chinchilla_body",
]  # fmt: skip
Phase = Literal["train", "prefill", "decode"]

CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
PHASES: tuple[Phase, ...] = get_args(Phase)

FLOPS_PER_WEIGHT = 2  # one multiply, one add
TRAIN_PASSES = 3  # forward, and twice its matmuls backward: gradients of inputs and of weights
SOFTMAX_FLOPS = 3  # a score, Hoffmann et al. 2022, appendix F


class FlopParts(NamedTuple):
    """FLOPs of one token by what spends them. `attention_scores` is the only part that grows with the context."""

    attention_projections: float
    attention_scores: float
    mlp: float
    embedding_projection: float
    head: float

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return sum(self)


def flops_per_token(
    architecture: Architecture,
    *,
    phase: Phase = "train",
    convention: Convention = "exact_causal",
    context_length: float | None = None,
    decoder_length: float | None = None,
) -> float:
    """FLOPs of one token, averaged over a sequence.

    Args:
        phase: "train" is forward and backward; "prefill" forward over a prompt (exact_causal: the head acts on
            the last position only); "decode" one token that reads a cache of `context_length` keys, itself included.
        context_length: tokens of a sequence, default the architecture's; of the encoder in an encoder_decoder.
        decoder_length: encoder_decoder only: tokens of the decoder's sequence, default `context_length`. A token
            is then one of either side, so that a pair of sequences costs (context + decoder length) x this. In the
            phase "prefill" the tokens are the encoder's, in "decode" the decoder's.
    Returns:
        FLOPs, exact for whole lengths as long as they stay under 2^53.
    Raises:
        UsageError: a length that is not > 0 or beyond the learned positions; a formula that does not cover the kind.
    Example:
        >>> import scaling
        >>> gpt2 = scaling.find_preset("gpt2")
        >>> round(scaling.flops_per_token(gpt2) / (6 * scaling.count_params(gpt2).total), 2)
        1.07
    """
    _check(architecture, phase, convention)
    if convention not in ("exact_causal", "palm", "kaplan"):
        context, _ = sequence_lengths(architecture, context_length, decoder_length)
        return _passes(phase) * _forward_by_formula(architecture, convention, context)
    parts = flop_parts(
        architecture,
        phase=phase,
        context_length=context_length,
        decoder_length=decoder_length,
        masked_pairs=convention == "palm",
    )
    return parts.attention_projections + parts.mlp if convention == "kaplan" else parts.total


def count_flops(
    architecture: Architecture,
    n_tokens: float,
    *,
    phase: Phase = "train",
    convention: Convention = "exact_causal",
    context_length: float | None = None,
    decoder_length: float | None = None,
) -> float:
    """FLOPs of `n_tokens` tokens: n_tokens times `flops_per_token` with the same arguments.

    Raises:
        UsageError: n_tokens negative or not finite, or as `flops_per_token`.
    Example:
        >>> from scaling.architecture import find_preset
        >>> f"{count_flops(find_preset('gpt3'), 300e9, convention='six_n'):.3g}"
        '3.14e+23'
    """
    if not is_number(n_tokens) or not 0 <= n_tokens < math.inf:
        raise UsageError(f"n_tokens must be a number >= 0, got {shown(n_tokens)}.")
    return n_tokens * flops_per_token(
        architecture,
        phase=phase,
        convention=convention,
        context_length=context_length,
        decoder_length=decoder_length,
    )


def count_generation_flops(architecture: Architecture, prompt_length: int, n_new_tokens: int) -> float:
    """FLOPs to continue one prompt with a KV cache, convention exact_causal.

    The prompt is read once, which yields the first new token; each further token reads a cache that grows by one.
    In an encoder_decoder the prompt is the encoder's input, and the decoder starts from one token.
    """
    if prompt_length < 1 or n_new_tokens < 1:
        raise UsageError(
            f"prompt_length and n_new_tokens must be >= 1, got {prompt_length} and {n_new_tokens}."
        )
    a = architecture
    prompt = prompt_length * flops_per_token(a, phase="prefill", context_length=prompt_length)
    if a.kind == "encoder_decoder":  # steps read 1, 2, ..., n keys; linear in keys, so the mean number serves
        mean = (n_new_tokens + 1) / 2
        step = flops_per_token(a, phase="decode", context_length=prompt_length, decoder_length=mean)
        return prompt + n_new_tokens * step
    if n_new_tokens == 1:
        return prompt
    mean = prompt_length + n_new_tokens / 2  # prompt + 1, ..., prompt + n - 1
    return prompt + (n_new_tokens - 1) * flops_per_token(a, phase="decode", context_length=mean)


def flop_parts(
    architecture: Architecture,
    *,
    phase: Phase = "train",
    context_length: float | None = None,
    decoder_length: float | None = None,
    masked_pairs: bool = False,
) -> FlopParts:
    """What `flops_per_token` adds up in the conventions exact_causal and palm (`masked_pairs`).

    Example:
        >>> from scaling.architecture import find_preset
        >>> parts = flop_parts(find_preset("gpt2"), masked_pairs=True)
        >>> round(parts.head / parts.total, 2)  # the share of the vocabulary
        0.27
    """
    _check(architecture, phase, "exact_causal")
    a = architecture
    context, decoder = sequence_lengths(a, context_length, decoder_length)
    if a.kind == "encoder_decoder":
        return _encoder_decoder_parts(a, phase, context, decoder, masked_pairs)
    causal = a.kind == "decoder" and not masked_pairs and phase != "decode"
    last_only = phase == "prefill" and a.kind == "decoder" and not masked_pairs
    passes = _passes(phase)
    return FlopParts(
        attention_projections=passes * a.n_layers * FLOPS_PER_WEIGHT * self_attention_weights(a),
        attention_scores=passes * _stack_scores(a, context, causal),
        mlp=passes * FLOPS_PER_WEIGHT * stack_mlp_weights(a),
        embedding_projection=passes * FLOPS_PER_WEIGHT * embedding_projection_weights(a),
        head=passes * FLOPS_PER_WEIGHT * head_weights(a) / (context if last_only else 1),
    )


def _encoder_decoder_parts(
    a: Architecture, phase: Phase, context: float, decoder: float, masked_pairs: bool
) -> FlopParts:
    """Totals of a pair of sequences, of which the phase does a part, divided by the tokens of that part."""
    encode = phase in ("train", "prefill")
    decode = phase in ("train", "decode")
    n_enc, n_dec = (context if encode else 0.0), (decoder if phase == "train" else float(decode))
    self_keys = decoder if phase == "decode" else _keys(decoder, not masked_pairs)
    scale = _passes(phase) / (n_enc + n_dec)
    cross_query, cross_key = 2 * a.d_model * a.d_attention, 2 * a.d_model * a.d_kv  # with output; with value
    blocks = a.n_layers * n_enc + a.n_decoder_layers * n_dec
    cross = a.n_decoder_layers * (cross_query * n_dec + cross_key * n_enc)
    encoder_keys = _score_flops(a, context)  # read by the encoder itself and by cross-attention
    encoder_scores = a.n_layers * n_enc * encoder_keys
    decoder_scores = a.n_decoder_layers * n_dec * (_score_flops(a, self_keys) + encoder_keys)
    return FlopParts(
        attention_projections=scale * FLOPS_PER_WEIGHT * (blocks * self_attention_weights(a) + cross),
        attention_scores=scale * (encoder_scores + decoder_scores),
        mlp=scale * FLOPS_PER_WEIGHT * blocks * mlp_weights(a, a.d_ff),
        embedding_projection=0.0,
        head=scale * FLOPS_PER_WEIGHT * n_dec * head_weights(a),
    )


def _score_flops(a: Architecture, keys: float) -> float:
    """Forward FLOPs of one query against `keys` keys in one layer: scores and the weighted sum of values."""
    matmuls = 3 if a.positions == "transformer_xl" else 2  # Transformer-XL scores the positions too
    scores, values = (matmuls - 1) * FLOPS_PER_WEIGHT * a.d_attention, FLOPS_PER_WEIGHT * a.d_attention_output
    return scores * keys + values * keys


def _stack_scores(a: Architecture, context: float, causal: bool) -> float:
    """Forward scores of one token in all layers of a single stack; a layer with a window reads no further back."""
    full = (a.n_layers - a.n_window_layers) * _score_flops(a, _keys(context, causal))
    window = float(min(a.attention_window, context)) if a.attention_window else context
    # causal, with window w: 1, 2, ..., w keys, and w for each of the T - w queries after
    keys = window - window * (window - 1) / (2 * context) if causal else window
    return full + a.n_window_layers * _score_flops(a, keys)


def _keys(length: float, causal: bool) -> float:
    """Keys a query reads, averaged over a sequence: itself and what stands before it, or everything."""
    return (length + 1) / 2 if causal else length


def _forward_by_formula(a: Architecture, convention: Convention, context: float) -> float:
    """Conventions that are a formula of their own, forward FLOPs per token."""
    counts = count_params(a)
    if convention == "six_n":
        return FLOPS_PER_WEIGHT * counts.active
    if convention == "six_n_head":
        vocabulary = a.vocab_size * a.d_embedding if {"lm", "mlm"} & set(a.heads) else 0
        return FLOPS_PER_WEIGHT * (counts.active_non_embedding + vocabulary)
    if a.kind == "encoder_decoder":
        raise UsageError(
            f"the {convention} formula is written for one stack; an encoder_decoder needs exact_causal, palm or kaplan."
        )
    if a.n_experts or a.d_latent_kv:
        raise UsageError(
            f"the {convention} formula is written for dense models with plain attention, not for mixtures of experts "
            "or latent attention; use exact_causal, palm, kaplan or six_n."
        )
    if convention == "deepseek":  # per token 72 L d^2 + 12 L d T for training; a third of it forward
        return 24 * a.n_layers * a.d_model**2 + 4 * a.n_layers * a.d_model * context
    vocabulary = FLOPS_PER_WEIGHT * a.vocab_size * a.d_model
    tables = {"chinchilla": 2, "chinchilla_head": 1, "chinchilla_body": 0}[convention]
    layer = (
        FLOPS_PER_WEIGHT
        * (projection_weights(a) + mlp_weights(a, a.d_ff))  # 6da + 2da + 4df without GQA or gate
        + 2 * FLOPS_PER_WEIGHT * context * a.d_attention  # 2 T^2 a, twice
        + SOFTMAX_FLOPS * a.n_heads * context
    )
    return tables * vocabulary + a.n_layers * layer


def _passes(phase: Phase) -> int:
    return TRAIN_PASSES if phase == "train" else 1


def _check(architecture: Architecture, phase: str, convention: str) -> None:
    require_kind("architecture", architecture, Architecture, HOW)
    require_known("phase", phase, PHASES)
    require_known("FLOP convention", convention, CONVENTIONS)


# --- sequence lengths with their defaults, of FLOPs and of memory ---


def sequence_lengths(
    a: Architecture, context_length: float | None, decoder_length: float | None
) -> tuple[float, float]:
    """Context and decoder length: default the architecture's context, and for the decoder the same as given.

    Raises:
        UsageError: below 1, not finite, beyond learned positions, or a decoder length for a single stack.
    """
    if decoder_length is not None and a.kind != "encoder_decoder":
        raise UsageError(
            f"decoder_length belongs to an encoder_decoder, got kind {a.kind!r}; give context_length."
        )
    context = a.context_length if context_length is None else context_length
    decoder = context if decoder_length is None else decoder_length
    for name, length in (("context_length", context), ("decoder_length", decoder)):
        if not is_number(length) or not 1 <= length < math.inf:
            raise UsageError(f"{name} must be a number >= 1, got {shown(length)}.")
        if a.positions == "learned" and length > a.context_length:
            raise UsageError(
                f"{name} {length:,g} is beyond the {a.context_length:,} learned positions; "
                f"give the architecture context_length={math.ceil(length)} first."
            )
    return context, decoder


def whole_lengths(a: Architecture, context_length: int | None, decoder_length: int | None) -> tuple[int, int]:
    """`sequence_lengths` where only whole numbers make sense: what stands in memory.

    Raises:
        UsageError: also for a fraction.
    """
    for name, length in (("context_length", context_length), ("decoder_length", decoder_length)):
        if length is not None and not (is_number(length) and math.isfinite(length) and length == int(length)):
            raise UsageError(f"{name} must be a whole number, got {shown(length)}.")
    context, decoder = sequence_lengths(a, context_length, decoder_length)
    return int(context), int(decoder)
