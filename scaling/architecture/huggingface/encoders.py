"""Encoders and encoder-decoders: what each family's config.json means."""

from __future__ import annotations

from collections.abc import Mapping

from scaling.architecture.huggingface.dense import TIED
from scaling.architecture.huggingface.values import (
    USUAL_SIZES,
    Config,
    Fields,
    NotUnderstood,
    Reader,
    activation,
    family,
    flag,
    of_one,
    sizes,
    take,
    value,
)  # fmt: skip

_POST_NORM: Fields = {"kind": "encoder", "norm_position": "post", "embedding_norm": True}
_BERT: Fields = {
    **_POST_NORM, "d_ff": value("intermediate_size"), "norm_eps": value("layer_norm_eps", 1e-12),
    "activation": activation("hidden_act", "gelu"), "n_segments": value("type_vocab_size", 2),
}  # fmt: skip


def _only_an_encoder(c: Config) -> Fields:
    kind = c.get("position_embedding_type") or "absolute"
    if kind != "absolute" or flag(c, "is_decoder"):
        raise NotUnderstood(f"position_embedding_type {kind!r}, is_decoder {c.get('is_decoder', False)}")
    return {}


def _roberta_positions(c: Config) -> Fields:
    """Positions begin after the padding token's, and the table holds the unused rows too."""
    offset = take(c, "pad_token_id", 1) + 1
    return {"position_offset": offset, "context_length": take(c, "max_position_embeddings") - offset}


def _t5(forward: str) -> Reader:
    """T5, whose MLP is `forward` where it is not said: 1.1 and mT5 have a gate."""
    names = {"relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu"}
    return family(
        sizes("num_layers", "d_model", "num_heads", "n_positions", n_positions=512), kind="encoder_decoder",
        n_decoder_layers=value("num_decoder_layers", None), d_head=value("d_kv"), d_ff=value("d_ff"), norm="rms",
        norm_eps=value("layer_norm_epsilon", 1e-6),
        activation=of_one(names, "feed_forward_proj", default=forward), positions="relative_bias",
        n_relative_buckets=value("relative_attention_num_buckets", 32),
        relative_max_distance=value("relative_attention_max_distance", 128), qkv_bias=False,
        attention_output_bias=False, mlp_bias=False, scale_attention=False, tie_embeddings=TIED, scale_logits=TIED,
    )  # fmt: skip


def _stacks_alike(c: Config) -> Fields:
    for name in ("attention_heads", "ffn_dim"):
        sides = {take(c, f"{side}_{name}") for side in ("encoder", "decoder")}
        if len(sides) > 1:
            raise NotUnderstood(f"encoder_{name} other than decoder_{name} ({min(sides)} and {max(sides)})")
    if not flag(c, "tie_word_embeddings", default=True):
        raise NotUnderstood("tie_word_embeddings false is not understood (a table for each stack)")
    return {}


def _bart(norm_position: str) -> Reader:
    return family(
        sizes("encoder_layers", "d_model", "encoder_attention_heads", "max_position_embeddings"), _stacks_alike,
        kind="encoder_decoder", n_decoder_layers=value("decoder_layers"), d_ff=value("encoder_ffn_dim"),
        norm_position=norm_position, embedding_norm=True, activation=activation("activation_function", "gelu"),
        position_offset=2,
    )  # fmt: skip


_ROBERTA = family(USUAL_SIZES, _only_an_encoder, _roberta_positions, **_BERT)
ENCODERS: Mapping[str, Reader] = {
    "bert": family(USUAL_SIZES, _only_an_encoder, **_BERT),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": family(USUAL_SIZES, _only_an_encoder, **_BERT, d_embedding=value("embedding_size")),
    "distilbert": family(
        sizes("n_layers", "dim", "n_heads", "max_position_embeddings"), **_POST_NORM, d_ff=value("hidden_dim"),
        norm_eps=1e-12, activation=activation("activation", "gelu"),
    ),
}  # fmt: skip
ENCODER_DECODERS: Mapping[str, Reader] = {
    "t5": _t5("relu"),
    "mt5": _t5("gated-gelu"),
    "bart": _bart("post"),
    "mbart": _bart("pre"),
}
