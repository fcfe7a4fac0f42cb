"""Encoders and encoder-decoders: what each family's config.json means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scaling.architecture.huggingface.values import (
    Config,
    Fields,
    NotUnderstood,
    activation,
    flag,
    sizes,
    take,
)

_BERT_NAMES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings")


def _bert(c: Config) -> Fields:
    kind = c.get("position_embedding_type") or "absolute"
    if kind != "absolute" or flag(c, "is_decoder"):
        raise NotUnderstood(f"position_embedding_type {kind!r}, is_decoder {c.get('is_decoder', False)}")
    return {
        **sizes(c, *_BERT_NAMES),
        "kind": "encoder",
        "d_ff": take(c, "intermediate_size"),
        "norm_position": "post",
        "norm_eps": take(c, "layer_norm_eps", 1e-12),
        "embedding_norm": True,
        "activation": activation(c, "hidden_act", "gelu"),
        "n_segments": take(c, "type_vocab_size", 2),
    }


def _roberta(c: Config) -> Fields:
    """Positions begin after the padding token's, and the table holds the unused rows too."""
    read, offset = _bert(c), take(c, "pad_token_id", 1) + 1
    return {**read, "position_offset": offset, "context_length": read["context_length"] - offset}


def _electra(c: Config) -> Fields:
    return {**_bert(c), "d_embedding": take(c, "embedding_size")}


def _distilbert(c: Config) -> Fields:
    return {
        **sizes(c, "n_layers", "dim", "n_heads", "max_position_embeddings"),
        "kind": "encoder",
        "d_ff": take(c, "hidden_dim"),
        "norm_position": "post",
        "norm_eps": 1e-12,
        "embedding_norm": True,
        "activation": activation(c, "activation", "gelu"),
    }


def _t5(c: Config) -> Fields:
    older = c["model_type"] == "t5"
    forward = take(c, "feed_forward_proj", "relu" if older else "gated-gelu")
    known = {"relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu"}
    if forward not in known:
        raise NotUnderstood(f"feed_forward_proj {forward!r} is not understood, known: {', '.join(known)}")
    tied = flag(c, "tie_word_embeddings", default=True)
    return {
        **sizes({"n_positions": 512, **c}, "num_layers", "d_model", "num_heads", "n_positions"),
        "kind": "encoder_decoder",
        "n_decoder_layers": take(c, "num_decoder_layers", take(c, "num_layers")),
        "d_head": take(c, "d_kv"),
        "d_ff": take(c, "d_ff"),
        "norm": "rms",
        "norm_eps": take(c, "layer_norm_epsilon", 1e-6),
        "activation": known[forward],
        "positions": "relative_bias",
        "n_relative_buckets": take(c, "relative_attention_num_buckets", 32),
        "relative_max_distance": take(c, "relative_attention_max_distance", 128),
        "qkv_bias": False,
        "attention_output_bias": False,
        "mlp_bias": False,
        "scale_attention": False,
        "tie_embeddings": tied,
        "scale_logits": tied,
    }


def _bart(c: Config) -> Fields:
    for name in ("attention_heads", "ffn_dim"):
        sides = {take(c, f"{side}_{name}") for side in ("encoder", "decoder")}
        if len(sides) > 1:
            raise NotUnderstood(f"encoder_{name} other than decoder_{name} ({min(sides)} and {max(sides)})")
    if not flag(c, "tie_word_embeddings", default=True):
        raise NotUnderstood("tie_word_embeddings false is not understood (a table for each stack)")
    pre = c["model_type"] == "mbart"
    return {
        **sizes(c, "encoder_layers", "d_model", "encoder_attention_heads", "max_position_embeddings"),
        "kind": "encoder_decoder",
        "n_decoder_layers": take(c, "decoder_layers"),
        "d_ff": take(c, "encoder_ffn_dim"),
        "norm_position": "pre" if pre else "post",
        "embedding_norm": True,
        "activation": activation(c, "activation_function", "gelu"),
        "position_offset": 2,
    }


ENCODERS: Mapping[str, Callable[[Config], Fields]] = {
    "bert": _bert, "roberta": _roberta, "xlm-roberta": _roberta, "camembert": _roberta, "electra": _electra,
    "distilbert": _distilbert,
}  # fmt: skip
ENCODER_DECODERS: Mapping[str, Callable[[Config], Fields]] = {
    "t5": _t5,
    "mt5": _t5,
    "bart": _bart,
    "mbart": _bart,
}
