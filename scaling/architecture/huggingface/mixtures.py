"""Mixtures of experts: what each family's config.json means, beside what `dense` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scaling.architecture.huggingface.dense import attention_bias, qwen2_window, rms_rope
from scaling.architecture.huggingface.values import (
    Config,
    Fields,
    NotUnderstood,
    flag,
    gate,
    refuse,
    sizes,
    stated,
    take,
    window,
)


def _experts(c: Config, count: str, width: str) -> Fields:
    return {
        "n_experts": take(c, count),
        "n_experts_per_token": take(c, "num_experts_per_tok"),
        "d_ff_expert": take(c, width),
    }


def _mixtral(c: Config) -> Fields:
    read = rms_rope(c)
    return {**read, **_experts(c, "num_local_experts", "intermediate_size"), **window(c, read["n_layers"])}


def _phimoe(c: Config) -> Fields:
    return {
        **_mixtral(c),
        **attention_bias({**c, "mlp_bias": None}),
        "norm": "layer",
        "norm_bias": True,
        "head_bias": flag(c, "lm_head_bias"),
    }


def _granitemoe(c: Config) -> Fields:
    read = {**rms_rope(c, grouped=False), **_experts(c, "num_local_experts", "intermediate_size")}
    shared = c.get("shared_intermediate_size") or 0
    return {**read, **attention_bias({**c, "mlp_bias": None}), "n_shared_experts": int(bool(shared)),
            "d_ff_shared": shared}  # fmt: skip


def _olmoe(c: Config) -> Fields:
    read = rms_rope(c, grouped=False)
    if isinstance(read["d_head"], int) and read["n_heads"] * read["d_head"] != read["d_model"]:
        raise NotUnderstood(
            f"hidden_size {read['d_model']} other than {read['n_heads']} heads of {read['d_head']} is not understood"
        )
    return {
        **read,
        **attention_bias({**c, "mlp_bias": None}),
        **_experts(c, "num_experts", "intermediate_size"),
        "qk_norm": "width",
    }


def _dense_of_qwen(c: Config, n_layers: object) -> int:
    """Layers without experts: those named, and those between every decoder_sparse_step-th."""
    named, step = c.get("mlp_only_layers") or (), take(c, "decoder_sparse_step", 1)
    return (
        sum(i in named or bool((i + 1) % step) for i in range(n_layers)) if isinstance(n_layers, int) else 0
    )


def _qwen2_moe(c: Config) -> Fields:
    read = rms_rope(c)
    return {
        **read,
        **_experts(c, "num_experts", "moe_intermediate_size"),
        **qwen2_window(c, read["n_layers"]),
        "qkv_bias": flag(c, "qkv_bias", default=True),
        "n_shared_experts": 1,
        "d_ff_shared": take(c, "shared_expert_intermediate_size"),
        "shared_expert_gate": True,
        "n_dense_layers": _dense_of_qwen(c, read["n_layers"]),
    }


def _qwen3_moe(c: Config) -> Fields:
    read = rms_rope(c)
    return {
        **read,
        **attention_bias({**c, "mlp_bias": None}),
        **_experts(c, "num_experts", "moe_intermediate_size"),
        **qwen2_window(c, read["n_layers"]),
        "qk_norm": "head",
        "n_dense_layers": _dense_of_qwen(c, read["n_layers"]),
    }


def _deepseek_mlp(c: Config) -> Fields:
    if take(c, "moe_layer_freq", 1) != 1:
        raise NotUnderstood(f"moe_layer_freq {c['moe_layer_freq']} (dense layers between those with experts)")
    shared = stated(c, "n_shared_experts", 0)
    return {
        **_experts(c, "n_routed_experts", "moe_intermediate_size"),
        "n_shared_experts": shared,
        "d_ff_shared": take(c, "moe_intermediate_size") if shared else 0,
        "n_dense_layers": stated(c, "first_k_dense_replace", 0),
    }


def _deepseek(c: Config) -> Fields:
    """V2, V3 and their kin: latent attention, shared experts, the first layers dense."""
    rope = take(c, "qk_rope_head_dim")
    if c["model_type"] == "deepseek_v2":  # of the dense layers and shared experts, not of the others
        refuse(c, "mlp_bias")
    return {
        **rms_rope({**c, "num_key_value_heads": None}),
        **attention_bias({**c, "mlp_bias": None}),
        **_deepseek_mlp(c),
        "d_latent_q": stated(c, "q_lora_rank", 0),
        "d_latent_kv": take(c, "kv_lora_rank"),
        "d_head_rope": rope,
        "d_head": take(c, "qk_nope_head_dim") + rope,
        "d_head_value": take(c, "v_head_dim"),
    }


def _glm4_moe(c: Config) -> Fields:
    norm = "head" if flag(c, "use_qk_norm") else "none"
    return {**rms_rope(c), **_deepseek_mlp(c), "qkv_bias": flag(c, "attention_bias"), "qk_norm": norm}


def _gpt_oss(c: Config) -> Fields:
    read = rms_rope({"head_dim": 64, **c})
    bias = flag(c, "attention_bias", default=True)
    n = read["n_layers"]
    return {
        **read,
        **_experts(c, "num_local_experts", "intermediate_size"),
        "qkv_bias": bias,
        "attention_output_bias": bias,
        "mlp_bias": True,
        "attention_sinks": True,
        **window(c, n, -(-n // 2) if isinstance(n, int) else 0, default=128),
    }


def _dbrx(c: Config) -> Fields:
    """Its sizes of attention and experts stand in objects of their own."""
    attention, ffn = c.get("attn_config") or {}, c.get("ffn_config") or {}
    act = (ffn.get("ffn_act_fn") or {}).get("name", "silu")
    return {
        **sizes(c, "n_layers", "d_model", "n_heads", "max_seq_len"),
        "n_kv_heads": take(attention, "kv_n_heads", 1),
        "n_experts": take(ffn, "moe_num_experts"),
        "n_experts_per_token": take(ffn, "moe_top_k"),
        "d_ff_expert": take(ffn, "ffn_hidden_size"),
        "norm_bias": False,
        "activation": gate({"ffn_act_fn": act}, "ffn_act_fn"),
        "positions": "rope",
        "rope_theta": float(attention.get("rope_theta") or 10_000.0),
        "qkv_bias": False,
        "attention_output_bias": False,
        "mlp_bias": False,
        "tie_embeddings": flag(c, "tie_word_embeddings"),
    }


def _llama4(c: Config) -> Fields:
    """Experts in every interleave_moe_layer_step-th layer, beside one that all tokens pass; its norm of queries and
    keys has no weights."""
    read = {**rms_rope({"head_dim": 128, **c}), **attention_bias({**c, "mlp_bias": None})}
    n, width = read["n_layers"], take(c, "intermediate_size")
    step, named = take(c, "interleave_moe_layer_step", 1), c.get("moe_layers")
    sparse = range(step - 1, n, step) if named is None else {i for i in named if 0 <= i < n}
    return {
        **read,
        **_experts(c, "num_local_experts", "intermediate_size"),
        "d_ff": take(c, "intermediate_size_mlp"),
        "n_shared_experts": 1,
        "d_ff_shared": width,
        "n_dense_layers": n - len(sparse),
    }


def _minimax_m2(c: Config) -> Fields:
    read = rms_rope({"head_dim": 128, **c})
    return {**read, **_experts(c, "num_local_experts", "intermediate_size"), "qk_norm": "width"}


def _flex_olmo(c: Config) -> Fields:
    return {
        **rms_rope(c, grouped=False),
        **attention_bias({**c, "mlp_bias": None}),
        **_experts(c, "num_experts", "intermediate_size"),
        "norm_position": "after",
        "qk_norm": "width",
    }


def _dots1(c: Config) -> Fields:
    read = {**rms_rope(c), **attention_bias({**c, "mlp_bias": None}), **_deepseek_mlp(c), "qk_norm": "head"}
    n = read["n_layers"]
    windowed = max(0, n - int(take(c, "max_window_layers", 62))) if isinstance(n, int) else 0
    return {**read, **window(c, n, windowed, default=4096)}


def _hunyuan(c: Config) -> Fields:
    """One shared expert as wide as the others; what may be told layer by layer must be the same in all."""
    width, picked = take(c, "intermediate_size"), take(c, "moe_topk")
    picked = picked[0] if isinstance(picked, list) and picked else picked
    for name, expected in (("moe_topk", picked), ("num_shared_expert", 1), ("moe_intermediate_size", width)):
        value = c.get(name, expected)
        if any(one != expected for one in (value if isinstance(value, list) else [value])):
            raise NotUnderstood(f"{name} {value!r} is not understood, only {expected} in every layer")
    return {
        **rms_rope(c, grouped=False),
        **attention_bias({**c, "mlp_bias": None}),
        "n_experts": take(c, "num_experts"),
        "n_experts_per_token": picked,
        "d_ff_expert": width,
        "n_shared_experts": 1,
        "d_ff_shared": width,
        "qk_norm": "head",
    }


MIXTURES: Mapping[str, Callable[[Config], Fields]] = {
    "mixtral": _mixtral, "phimoe": _phimoe, "granitemoe": _granitemoe, "granitemoeshared": _granitemoe,
    "olmoe": _olmoe, "qwen2_moe": _qwen2_moe, "qwen3_moe": _qwen3_moe, "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek, "kimi_k2": _deepseek, "glm4_moe": _glm4_moe, "gpt_oss": _gpt_oss, "dbrx": _dbrx,
    "llama4_text": _llama4, "minimax_m2": _minimax_m2, "flex_olmo": _flex_olmo, "dots1": _dots1,
    "hunyuan_v1_moe": _hunyuan,
}  # fmt: skip
