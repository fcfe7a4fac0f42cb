"""Dense decoders: what each family's config.json means, field by field of `Architecture`.

Names and defaults are those of transformers 5.23; tests compare every family with its modules there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scaling.architecture.huggingface.values import (
    Config,
    Fields,
    NotUnderstood,
    activation,
    flag,
    gate,
    new_sizes,
    refuse,
    rope_theta,
    sizes,
    stated,
    take,
    window,
)

_NO_BIASES = {"qkv_bias": False, "attention_output_bias": False, "mlp_bias": False}


def _biases(*, qkv: bool, output: bool, mlp: bool) -> Fields:
    return {"qkv_bias": qkv, "attention_output_bias": output, "mlp_bias": mlp}


def rms_rope(c: Config, *, grouped: bool = True) -> Fields:
    """RMS pre-norm, gated MLP, rotary positions, no biases: what most families change one thing of."""
    return {
        **new_sizes(c, grouped=grouped),
        **_NO_BIASES,
        "d_ff": take(c, "intermediate_size"),
        "norm": "rms",
        "norm_eps": take(c, "rms_norm_eps", 1e-6),
        "activation": gate(c, "hidden_act"),
        "positions": "rope",
        "rope_theta": rope_theta(c),
        "tie_embeddings": flag(c, "tie_word_embeddings"),
    }


def attention_bias(c: Config) -> Fields:
    """One option for query, key, value and output."""
    bias = flag(c, "attention_bias")
    return _biases(qkv=bias, output=bias, mlp=flag(c, "mlp_bias"))


def _llama(c: Config) -> Fields:
    return {**rms_rope(c, grouped=False), **attention_bias(c)}


def _mistral(c: Config) -> Fields:
    read = rms_rope(c)
    return {**read, **window(c, read["n_layers"])}


def qwen2_window(c: Config, n_layers: object) -> Fields:
    """Layers from max_window_layers on have a window, if use_sliding_window says so."""
    if not flag(c, "use_sliding_window") or not isinstance(n_layers, int):
        return {}
    return window(c, n_layers, max(0, n_layers - int(take(c, "max_window_layers", 28))), default=4096)


def _qwen2(c: Config) -> Fields:
    read = rms_rope(c)
    return {**read, "qkv_bias": True, **qwen2_window(c, read["n_layers"])}


def _qwen3(c: Config) -> Fields:
    read = rms_rope({"head_dim": 128, **c})
    return {
        **read,
        **attention_bias(c),
        "mlp_bias": False,
        "qk_norm": "head",
        **qwen2_window(c, read["n_layers"]),
    }


def _gemma(c: Config) -> Fields:
    act = gate(c, "hidden_activation", "hidden_act", default="gelu_pytorch_tanh")
    tied = flag(c, "tie_word_embeddings", default=True)
    read = rms_rope({"head_dim": 256, **c, "hidden_act": "gelu"})
    return {**read, **attention_bias({**c, "mlp_bias": None}), "activation": act, "tie_embeddings": tied}


def _gemma2(c: Config) -> Fields:
    read = {**_gemma(c), "norm_position": "both"}
    return {**read, **window(c, read["n_layers"], -(-_int(read["n_layers"]) // 2), default=4096)}


def _gemma3(c: Config) -> Fields:
    read = {**_gemma(c), "norm_position": "both", "qk_norm": "head"}
    n, pattern = _int(read["n_layers"]), int(take(c, "sliding_window_pattern", 6))
    return {**read, **window(c, read["n_layers"], n - n // pattern, default=4096)}


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _phi3(c: Config) -> Fields:
    read = rms_rope(c, grouped=False)
    return {**read, **window(c, read["n_layers"])}


def _smollm3(c: Config) -> Fields:
    read = {
        **rms_rope(c),
        **attention_bias(c),
        "tie_embeddings": flag(c, "tie_word_embeddings", default=True),
    }
    on = flag(c, "use_sliding_window")
    return {**read, **(window(c, read["n_layers"]) if on else {})}


def _olmo(c: Config) -> Fields:
    return {**rms_rope(c, grouped=False), "norm": "layer", "norm_bias": False, "norm_scale": False, "norm_eps": 1e-5,
            **attention_bias({**c, "mlp_bias": None})}  # fmt: skip


def _olmo2(c: Config) -> Fields:
    return {
        **rms_rope(c, grouped=False),
        **attention_bias({**c, "mlp_bias": None}),
        "norm_position": "after",
        "qk_norm": "width",
    }


def _olmo3(c: Config) -> Fields:
    read = _olmo2(c)
    n = _int(read["n_layers"])
    return {**read, **window(c, read["n_layers"], n - n // 4, default=4096)}


def _stablelm(c: Config) -> Fields:
    refuse(c, "qk_layernorm")
    parallel = flag(c, "use_parallel_residual")
    return {**rms_rope(c), "norm": "layer", "norm_bias": True, "norm_eps": take(c, "layer_norm_eps", 1e-5),
            "qkv_bias": flag(c, "use_qkv_bias"), "norm_position": "parallel_shared" if parallel else "pre"}  # fmt: skip


def _cohere(c: Config) -> Fields:
    refuse(c, "use_qk_norm")
    tied = flag(c, "tie_word_embeddings", default=True)
    return {**rms_rope(c, grouped=False), **attention_bias({**c, "mlp_bias": None}), "norm": "layer",
            "norm_bias": False, "norm_eps": take(c, "layer_norm_eps", 1e-5), "norm_position": "parallel_shared",
            "tie_embeddings": tied}  # fmt: skip


def _gpt2(c: Config) -> Fields:
    for option in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        refuse(c, option)
    first = c["model_type"] == "openai-gpt"  # GPT-1: post-norm, and its "gelu" is the tanh form
    act = activation(c, "afn" if first else "activation_function", "gelu_new")
    read = sizes(c, "n_layer", "n_embd", "n_head", "n_positions")
    return {
        **read,
        "d_ff": take(c, "n_inner", 4 * _int(read["d_model"])),
        "norm_position": "post" if first else "pre",
        "norm_eps": take(c, "layer_norm_epsilon", 1e-5),
        "activation": "gelu_tanh" if first and act == "gelu" else act,
        "scale_attention": flag(c, "scale_attn_weights", default=True),
        "tie_embeddings": flag(c, "tie_word_embeddings", default=True),
    }


def _gpt_bigcode(c: Config) -> Fields:
    read = _gpt2({**c, "activation_function": c.get("activation_function", "gelu_pytorch_tanh")})
    return {**read, "n_kv_heads": 1} if flag(c, "multi_query", default=True) else read


def _gpt_neo(c: Config) -> Fields:
    read = sizes(c, "num_layers", "hidden_size", "num_heads", "max_position_embeddings")
    kinds = [
        kind
        for part, times in take(c, "attention_types", [[["global", "local"], 12]])
        for kind in part * times
    ]
    n_local = kinds.count("local")
    return {
        **read,
        **_biases(qkv=False, output=True, mlp=True),
        "d_ff": take(c, "intermediate_size", 4 * _int(read["d_model"])),
        "activation": activation(c, "activation_function", "gelu_new"),
        "tie_embeddings": flag(c, "tie_word_embeddings", default=True),
        "scale_attention": False,
        **({"attention_window": take(c, "window_size", 256), "n_window_layers": n_local} if n_local else {}),
    }  # fmt: skip


def _gptj(c: Config) -> Fields:
    read = sizes(c, "n_layer", "n_embd", "n_head", "n_positions")
    return {
        **read,
        **_biases(qkv=False, output=False, mlp=True),
        "d_ff": take(c, "n_inner", 4 * _int(read["d_model"])),
        "activation": activation(c, "activation_function", "gelu_new"),
        **_PARALLEL_ROPE,
        **_own_head(c),
    }


_PARALLEL_ROPE: Fields = {"positions": "rope", "norm_position": "parallel_shared"}


def _own_head(c: Config) -> Fields:
    tied = flag(c, "tie_word_embeddings")
    return {"tie_embeddings": tied, "head_bias": True}


def _gpt_neox(c: Config) -> Fields:
    bias = flag(c, "attention_bias", default=True)
    return {
        **sizes(c, "num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings"),
        **_biases(qkv=bias, output=bias, mlp=True),
        "d_ff": take(c, "intermediate_size"),
        "activation": activation(c, "hidden_act", "gelu"),
        "positions": "rope",
        "rope_theta": rope_theta(c),
        "norm_position": "parallel" if flag(c, "use_parallel_residual", default=True) else "pre",
        "tie_embeddings": flag(c, "tie_word_embeddings"),
    }


def _phi(c: Config) -> Fields:
    refuse(c, "qk_layernorm")
    return {
        **new_sizes(c, grouped=False),
        **_biases(qkv=True, output=True, mlp=True),
        "d_ff": stated(c, "intermediate_size", 4 * _int(c.get("hidden_size"))),
        "activation": activation(c, "hidden_act", "gelu_new"),
        "rope_theta": rope_theta(c),
        **_PARALLEL_ROPE,
        **_own_head(c),
    }


def _opt(c: Config) -> Fields:
    refuse(c, "_remove_final_layer_norm")
    width = take(c, "hidden_size")
    if take(c, "word_embed_proj_dim", width) != width:
        raise NotUnderstood(f"word_embed_proj_dim {c['word_embed_proj_dim']} other than hidden_size {width} "
                            "(maps around the embedding)")  # fmt: skip
    bias = flag(c, "enable_bias", default=True)
    learned = flag(c, "layer_norm_elementwise_affine", default=True)
    return {
        **sizes(c, "num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings"),
        **_biases(qkv=bias, output=bias, mlp=bias),
        "d_ff": take(c, "ffn_dim"),
        "activation": activation(c, "activation_function", "relu"),
        "position_offset": 2,
        "norm_position": "pre" if flag(c, "do_layer_norm_before", default=True) else "post",
        "norm_scale": learned,
        "norm_bias": learned,
        "tie_embeddings": flag(c, "tie_word_embeddings", default=True),
    }


def _bloom(c: Config) -> Fields:
    return {
        **sizes({"seq_length": 2048, **c}, "n_layer", "hidden_size", "n_head", "seq_length"),
        "positions": "alibi",
        "embedding_norm": True,
        "tie_embeddings": flag(c, "tie_word_embeddings", default=True),
    }


def _falcon(c: Config) -> Fields:
    read = sizes({"max_position_embeddings": 2048, **c}, "num_hidden_layers", "hidden_size", "num_attention_heads",
                 "max_position_embeddings")  # fmt: skip
    bias, new = flag(c, "bias"), flag(c, "new_decoder_architecture")
    if new:
        read["n_kv_heads"] = take(c, "num_kv_heads", read["n_heads"])
    elif flag(c, "multi_query", default=True):
        read["n_kv_heads"] = 1
    one_after_the_other = not flag(c, "parallel_attn", default=True)
    two = one_after_the_other or take(c, "num_ln_in_parallel_attn", 2 if new else 1) == 2
    parallel = new or not one_after_the_other
    return {
        **read,
        **_biases(qkv=bias, output=bias, mlp=bias),
        "d_ff": take(c, "ffn_hidden_size", 4 * _int(read["d_model"])),
        "activation": activation(c, "activation", "gelu"),
        "positions": "alibi" if flag(c, "alibi") else "rope",
        "norm_position": ("parallel" if two else "parallel_shared") if parallel else "pre",
        "tie_embeddings": flag(c, "tie_word_embeddings", default=True),
    }


def _starcoder2(c: Config) -> Fields:
    bias = flag(c, "use_bias", default=True)
    read = new_sizes(c, grouped=True)
    return {
        **read,
        **_biases(qkv=bias, output=bias, mlp=bias),
        "d_ff": take(c, "intermediate_size"),
        "activation": activation(c, "hidden_act", "gelu_pytorch_tanh"),
        "positions": "rope",
        "rope_theta": rope_theta(c),
        "tie_embeddings": flag(c, "tie_word_embeddings", default=True),
        **window(c, read["n_layers"]),
    }


def _cohere2(c: Config) -> Fields:
    read = _cohere(c)
    n = _int(read["n_layers"])
    return {**read, **window(c, n, n - n // int(take(c, "sliding_window_pattern", 4)), default=4096)}


def _seed_oss(c: Config) -> Fields:
    qkv, output = flag(c, "attention_bias", default=True), flag(c, "attention_out_bias")
    return {
        **rms_rope({"head_dim": 128, **c}),
        **_biases(qkv=qkv, output=output, mlp=flag(c, "mlp_bias")),
    }


def _glm(c: Config) -> Fields:
    position = "both" if c["model_type"] == "glm4" else "pre"
    bias = flag(c, "attention_bias", default=True)
    return {**rms_rope({"head_dim": 128, **c}), "qkv_bias": bias, "norm_position": position}


def _exaone4(c: Config) -> Fields:
    read = {**rms_rope(c), "norm_position": "after", "qk_norm": "head"}
    n, pattern = _int(read["n_layers"]), c.get("sliding_window_pattern", 4)
    if c.get("layer_types") is None and type(pattern) is not int:
        raise NotUnderstood(f"sliding_window_pattern {pattern!r} is not understood without layer_types")
    windowed = n - n // pattern if type(pattern) is int and pattern > 0 else n
    return {**read, **window(c, n, windowed, default=4096)}


def _ernie(c: Config) -> Fields:
    bias, tied = flag(c, "use_bias"), flag(c, "tie_word_embeddings", default=True)
    read = rms_rope({"head_dim": 128, **c})
    return {**read, **_biases(qkv=bias, output=bias, mlp=bias), "tie_embeddings": tied}


def _hunyuan(c: Config) -> Fields:
    return {**rms_rope(c, grouped=False), **attention_bias({**c, "mlp_bias": None}), "qk_norm": "head"}


DENSE: Mapping[str, Callable[[Config], Fields]] = {
    "llama": _llama, "mistral": _mistral, "granite": _llama, "smollm3": _smollm3,
    "qwen2": _qwen2, "qwen3": _qwen3, "gemma": _gemma, "gemma2": _gemma2, "gemma3_text": _gemma3,
    "phi": _phi, "phi3": _phi3, "olmo": _olmo, "olmo2": _olmo2, "olmo3": _olmo3, "stablelm": _stablelm,
    "cohere": _cohere, "openai-gpt": _gpt2, "gpt2": _gpt2, "gpt_bigcode": _gpt_bigcode, "gpt_neo": _gpt_neo,
    "gptj": _gptj, "gpt_neox": _gpt_neox, "opt": _opt, "bloom": _bloom, "falcon": _falcon, "starcoder2": _starcoder2,
    "cohere2": _cohere2, "seed_oss": _seed_oss, "glm": _glm, "glm4": _glm, "exaone4": _exaone4, "ernie4_5": _ernie,
    "hunyuan_v1_dense": _hunyuan,
}  # fmt: skip
