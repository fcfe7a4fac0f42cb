"""Mixtures of experts: what each family's config.json means, beside what `dense` reads."""

from __future__ import annotations

from collections.abc import Mapping

from scaling.architecture.huggingface.dense import ATTENTION_BIAS, QWEN_WINDOW, after_the_first, rms_rope
from scaling.architecture.huggingface.values import (
    Config,
    Fields,
    NotUnderstood,
    Reader,
    family,
    gate,
    new_sizes,
    refuse,
    said,
    sizes,
    stated,
    take,
    value,
    windowed,
)  # fmt: skip


def _experts(count: str, width: str) -> Fields:
    return {
        "n_experts": value(count),
        "n_experts_per_token": value("num_experts_per_tok"),
        "d_ff_expert": value(width),
    }


def _granite_shared(c: Config) -> Fields:
    shared = c.get("shared_intermediate_size") or 0
    return {"n_shared_experts": int(bool(shared)), "d_ff_shared": shared}


def _heads_fill_the_width(c: Config) -> Fields:
    read = new_sizes(grouped=False)(c)
    if isinstance(read["d_head"], int) and read["n_heads"] * read["d_head"] != read["d_model"]:
        raise NotUnderstood(
            f"hidden_size {read['d_model']} other than {read['n_heads']} heads of {read['d_head']} is not understood"
        )
    return {}


def _dense_of_qwen(c: Config) -> int:
    """Layers without experts: those named, and those between every decoder_sparse_step-th."""
    named, step = c.get("mlp_only_layers") or (), take(c, "decoder_sparse_step", 1)
    n_layers = take(c, "num_hidden_layers")
    layers = range(n_layers) if isinstance(n_layers, int) else ()
    return sum(i in named or bool((i + 1) % step) for i in layers)


def _deepseek_mlp(c: Config) -> Fields:
    if take(c, "moe_layer_freq", 1) != 1:
        raise NotUnderstood(f"moe_layer_freq {c['moe_layer_freq']} (dense layers between those with experts)")
    shared = stated(c, "n_shared_experts", 0)
    return {
        "n_shared_experts": shared,
        "d_ff_shared": take(c, "moe_intermediate_size") if shared else 0,
        "n_dense_layers": stated(c, "first_k_dense_replace", 0),
    }


def _deepseek_attention(c: Config) -> Fields:
    """Of V2, V3 and their kin: through latents, a part of each head rotary."""
    if c["model_type"] == "deepseek_v2":  # of the dense layers and shared experts, not of the others
        refuse(c, "mlp_bias")
    rope = take(c, "qk_rope_head_dim")
    return {
        "n_kv_heads": take(c, "num_attention_heads"),
        "d_latent_q": stated(c, "q_lora_rank", 0),
        "d_latent_kv": take(c, "kv_lora_rank"),
        "d_head_rope": rope,
        "d_head": take(c, "qk_nope_head_dim") + rope,
        "d_head_value": take(c, "v_head_dim"),
    }


def _dbrx_parts(c: Config) -> Fields:
    """Its sizes of attention and experts stand in objects of their own."""
    attention, ffn = c.get("attn_config") or {}, c.get("ffn_config") or {}
    return {
        "n_kv_heads": take(attention, "kv_n_heads", 1),
        "n_experts": take(ffn, "moe_num_experts"),
        "n_experts_per_token": take(ffn, "moe_top_k"),
        "d_ff_expert": take(ffn, "ffn_hidden_size"),
        "activation": gate("ffn_act_fn")({"ffn_act_fn": (ffn.get("ffn_act_fn") or {}).get("name", "silu")}),
        "rope_theta": float(attention.get("rope_theta") or 10_000.0),
    }


def _dense_of_llama4(c: Config) -> int:
    """Layers without experts: all but every interleave_moe_layer_step-th."""
    n: int = take(c, "num_hidden_layers")
    step, named = take(c, "interleave_moe_layer_step", 1), c.get("moe_layers")
    return n - len(range(step - 1, n, step) if named is None else {i for i in named if 0 <= i < n})


def _hunyuan_experts(c: Config) -> Fields:
    """One shared expert as wide as the others; what may be told layer by layer must be the same in all."""
    width, picked = take(c, "intermediate_size"), take(c, "moe_topk")
    picked = picked[0] if isinstance(picked, list) and picked else picked
    for name, expected in (("moe_topk", picked), ("num_shared_expert", 1), ("moe_intermediate_size", width)):
        found = c.get(name, expected)
        if any(one != expected for one in (found if isinstance(found, list) else [found])):
            raise NotUnderstood(f"{name} {found!r} is not understood, only {expected} in every layer")
    return {"n_experts_per_token": picked, "d_ff_expert": width, "d_ff_shared": width}


_LOCAL: Fields = _experts("num_local_experts", "intermediate_size")
_OLMO: Fields = {
    **_experts("num_experts", "intermediate_size"),
    **ATTENTION_BIAS,
    "grouped": False,
    "qk_norm": "width",
}
_QWEN: Fields = {**_experts("num_experts", "moe_intermediate_size"), "n_dense_layers": _dense_of_qwen}
_ROUTED: Fields = _experts("n_routed_experts", "moe_intermediate_size")
_GRANITE = rms_rope(_granite_shared, grouped=False, **_LOCAL, **ATTENTION_BIAS)
_DEEPSEEK = rms_rope(_deepseek_mlp, _deepseek_attention, grouped=False, **_ROUTED, **ATTENTION_BIAS)

MIXTURES: Mapping[str, Reader] = {
    "mixtral": rms_rope(windowed(), **_LOCAL),
    "phimoe": rms_rope(
        windowed(), **_LOCAL, **ATTENTION_BIAS, norm="layer", norm_bias=True, head_bias=said("lm_head_bias")
    ),
    "granitemoe": _GRANITE,
    "granitemoeshared": _GRANITE,
    "olmoe": rms_rope(_heads_fill_the_width, **_OLMO),
    "qwen2_moe": rms_rope(
        QWEN_WINDOW, **_QWEN, qkv_bias=said("qkv_bias", True), n_shared_experts=1,
        d_ff_shared=value("shared_expert_intermediate_size"), shared_expert_gate=True,
    ),
    "qwen3_moe": rms_rope(QWEN_WINDOW, **_QWEN, **ATTENTION_BIAS, qk_norm="head"),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "glm4_moe": rms_rope(
        _deepseek_mlp, **_ROUTED, qkv_bias=said("attention_bias"),
        qk_norm=lambda c: "head" if said("use_qk_norm")(c) else "none",
    ),
    "gpt_oss": rms_rope(
        windowed(lambda c, n: -(-n // 2), default=128), head_dim=64, **_LOCAL, qkv_bias=said("attention_bias", True),
        attention_output_bias=said("attention_bias", True), mlp_bias=True, attention_sinks=True,
    ),
    "dbrx": family(
        sizes("n_layers", "d_model", "n_heads", "max_seq_len"), _dbrx_parts, norm_bias=False, positions="rope",
        qkv_bias=False, attention_output_bias=False, mlp_bias=False, tie_embeddings=said("tie_word_embeddings"),
    ),
    # beside its experts one that all tokens pass; its norm of queries and keys has no weights
    "llama4_text": rms_rope(
        head_dim=128, **ATTENTION_BIAS, **_LOCAL, d_ff=value("intermediate_size_mlp"), n_shared_experts=1,
        d_ff_shared=value("intermediate_size"), n_dense_layers=_dense_of_llama4,
    ),
    "minimax_m2": rms_rope(head_dim=128, **_LOCAL, qk_norm="width"),
    "flex_olmo": rms_rope(**_OLMO, norm_position="after"),
    "dots1": rms_rope(_deepseek_mlp, after_the_first(62), **_ROUTED, **ATTENTION_BIAS, qk_norm="head"),
    "hunyuan_v1_moe": rms_rope(
        _hunyuan_experts, grouped=False, **ATTENTION_BIAS, n_experts=value("num_experts"), n_shared_experts=1,
        qk_norm="head",
    ),
}  # fmt: skip
