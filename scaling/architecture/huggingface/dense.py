"""Dense decoders: what each family's config.json means, field by field of `Architecture`.

Names and defaults are those of transformers 5.23; tests compare every family with its modules there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling.architecture.huggingface.values import (
    USUAL_SIZES,
    Config,
    Fields,
    NotUnderstood,
    Reader,
    activation,
    family,
    flag,
    gate,
    new_sizes,
    rope_theta,
    said,
    sizes,
    stated,
    take,
    value,
    windowed,
)  # fmt: skip

TIED = said("tie_word_embeddings", True)
ATTENTION_BIAS: Fields = {"qkv_bias": said("attention_bias"), "attention_output_bias": said("attention_bias")}
_RMS_ROPE: Fields = {
    "qkv_bias": False, "attention_output_bias": False, "mlp_bias": False, "d_ff": value("intermediate_size"),
    "norm": "rms", "norm_eps": value("rms_norm_eps", 1e-6), "activation": gate("hidden_act"), "positions": "rope",
    "rope_theta": rope_theta, "tie_embeddings": said("tie_word_embeddings"),
}  # fmt: skip


def rms_rope(*parts: Reader, grouped: bool = True, head_dim: int | None = None, **fields: Any) -> Reader:
    """RMS pre-norm, gated MLP, rotary positions, no biases: what most families change one thing of."""
    return family(new_sizes(grouped=grouped, head_dim=head_dim), *parts, **{**_RMS_ROPE, **fields})


def after_the_first(usual: int, **options: Any) -> Reader:
    """Layers from max_window_layers on have a window."""
    return windowed(
        lambda c, n: max(0, n - int(take(c, "max_window_layers", usual))), default=4096, **options
    )


QWEN_WINDOW = after_the_first(28, on="use_sliding_window")


def _but_every(usual: int) -> Reader:
    """All layers but every sliding_window_pattern-th have a window."""
    return windowed(lambda c, n: n - n // int(take(c, "sliding_window_pattern", usual)), default=4096)


def _exaone_windows(c: Config, n: int) -> int:
    pattern = c.get("sliding_window_pattern", 4)
    if c.get("layer_types") is None and type(pattern) is not int:
        raise NotUnderstood(f"sliding_window_pattern {pattern!r} is not understood without layer_types")
    return n - n // pattern if type(pattern) is int and pattern > 0 else n


def _gpt1_activation(c: Config) -> str:
    act = activation("afn", "gelu_new")(c)
    return "gelu_tanh" if act == "gelu" else act  # its "gelu" is the tanh form


def _local_layers(c: Config) -> Fields:
    """GPT-Neo repeats a pattern of global and local layers."""
    patterns = take(c, "attention_types", [[["global", "local"], 12]])
    n = sum(list(part).count("local") * times for part, times in patterns)
    return {"attention_window": take(c, "window_size", 256), "n_window_layers": n} if n else {}


def _no_projection(c: Config) -> Fields:
    width = take(c, "hidden_size")
    if take(c, "word_embed_proj_dim", width) != width:
        raise NotUnderstood(
            f"word_embed_proj_dim {c['word_embed_proj_dim']} other than hidden_size {width} (maps around the embedding)"
        )
    return {}


def _falcon(c: Config) -> Fields:
    """The generations of Falcon: 7B has one key head and one norm a block, the new ones groups and two."""
    new = flag(c, "new_decoder_architecture")
    one_after_the_other = not flag(c, "parallel_attn", default=True)
    two = one_after_the_other or take(c, "num_ln_in_parallel_attn", 2 if new else 1) == 2
    parallel = "parallel" if two else "parallel_shared"
    one_key_head = 1 if flag(c, "multi_query", default=True) else None
    return {
        "n_kv_heads": take(c, "num_kv_heads", None) if new else one_key_head,
        "norm_position": "pre" if one_after_the_other and not new else parallel,
        "positions": "alibi" if flag(c, "alibi") else "rope",
    }


def _all_biases(bias: Any) -> Fields:
    return {"qkv_bias": bias, "attention_output_bias": bias, "mlp_bias": bias}


def _position(name: str, default: bool, yes: str, no: str) -> Any:
    """Where the norms stand, by an option."""
    return lambda c: yes if flag(c, name, default) else no


_GEMMA: Fields = {
    **ATTENTION_BIAS, "activation": gate("hidden_activation", "hidden_act", default="gelu_pytorch_tanh"),
    "head_dim": 256, "tie_embeddings": TIED,
}  # fmt: skip
_OLMO_2: Fields = {**ATTENTION_BIAS, "grouped": False, "norm_position": "after", "qk_norm": "width"}
_COHERE: Fields = {
    **ATTENTION_BIAS, "grouped": False, "refused": ("use_qk_norm",), "norm": "layer", "norm_bias": False,
    "norm_eps": value("layer_norm_eps", 1e-5), "norm_position": "parallel_shared", "tie_embeddings": TIED,
}  # fmt: skip
_LLAMA = rms_rope(grouped=False, **ATTENTION_BIAS, mlp_bias=said("mlp_bias"))
_GLM: Fields = {"head_dim": 128, "qkv_bias": said("attention_bias", True)}
_GPT_SIZES = sizes("n_layer", "n_embd", "n_head", "n_positions")
_GPT: Fields = {
    "refused": ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"),
    "d_ff": value("n_inner", None), "norm_eps": value("layer_norm_epsilon", 1e-5),
    "activation": activation("activation_function", "gelu_new"), "tie_embeddings": TIED,
    "scale_attention": said("scale_attn_weights", True),
}  # fmt: skip
_GPT_J: Fields = {
    "positions": "rope", "norm_position": "parallel_shared", "head_bias": True,
    "tie_embeddings": said("tie_word_embeddings"),
}  # fmt: skip

DENSE: Mapping[str, Reader] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "mistral": rms_rope(windowed()),
    "smollm3": rms_rope(
        windowed(on="use_sliding_window"), **ATTENTION_BIAS, mlp_bias=said("mlp_bias"), tie_embeddings=TIED
    ),
    "qwen2": rms_rope(QWEN_WINDOW, qkv_bias=True),
    "qwen3": rms_rope(QWEN_WINDOW, head_dim=128, **ATTENTION_BIAS, qk_norm="head"),
    "gemma": rms_rope(**_GEMMA),
    "gemma2": rms_rope(windowed(lambda c, n: -(-n // 2), default=4096), **_GEMMA, norm_position="both"),
    "gemma3_text": rms_rope(_but_every(6), **_GEMMA, norm_position="both", qk_norm="head"),
    "phi3": rms_rope(windowed(), grouped=False),
    "olmo": rms_rope(
        grouped=False, **ATTENTION_BIAS, norm="layer", norm_bias=False, norm_scale=False, norm_eps=1e-5
    ),
    "olmo2": rms_rope(**_OLMO_2),
    "olmo3": rms_rope(windowed(lambda c, n: n - n // 4, default=4096), **_OLMO_2),
    "stablelm": rms_rope(
        refused=("qk_layernorm",), norm="layer", norm_bias=True, norm_eps=value("layer_norm_eps", 1e-5),
        qkv_bias=said("use_qkv_bias"),
        norm_position=_position("use_parallel_residual", False, "parallel_shared", "pre"),
    ),
    "cohere": rms_rope(**_COHERE),
    "cohere2": rms_rope(_but_every(4), **_COHERE),
    "seed_oss": rms_rope(
        head_dim=128, qkv_bias=said("attention_bias", True), attention_output_bias=said("attention_out_bias"),
        mlp_bias=said("mlp_bias"),
    ),
    "glm": rms_rope(**_GLM),
    "glm4": rms_rope(**_GLM, norm_position="both"),
    "exaone4": rms_rope(windowed(_exaone_windows, default=4096), norm_position="after", qk_norm="head"),
    "ernie4_5": rms_rope(head_dim=128, **_all_biases(said("use_bias")), tie_embeddings=TIED),
    "hunyuan_v1_dense": rms_rope(grouped=False, **ATTENTION_BIAS, qk_norm="head"),
    "openai-gpt": family(_GPT_SIZES, **{**_GPT, "activation": _gpt1_activation}, norm_position="post"),
    "gpt2": family(_GPT_SIZES, **_GPT),
    "gpt_bigcode": family(_GPT_SIZES, **_GPT, n_kv_heads=lambda c: 1 if flag(c, "multi_query", True) else None),
    "gpt_neo": family(
        sizes("num_layers", "hidden_size", "num_heads", "max_position_embeddings"), _local_layers,
        d_ff=value("intermediate_size", None), activation=activation("activation_function", "gelu_new"),
        qkv_bias=False, scale_attention=False, tie_embeddings=TIED,
    ),
    "gptj": family(
        _GPT_SIZES, d_ff=value("n_inner", None), activation=activation("activation_function", "gelu_new"),
        qkv_bias=False, attention_output_bias=False, **_GPT_J,
    ),
    "gpt_neox": family(
        USUAL_SIZES, d_ff=value("intermediate_size"), activation=activation("hidden_act", "gelu"),
        positions="rope", rope_theta=rope_theta, tie_embeddings=said("tie_word_embeddings"),
        **{**_all_biases(said("attention_bias", True)), "mlp_bias": True},
        norm_position=_position("use_parallel_residual", True, "parallel", "pre"),
    ),
    "phi": family(
        new_sizes(grouped=False), refused=("qk_layernorm",),
        d_ff=lambda c: stated(c, "intermediate_size", None), activation=activation("hidden_act", "gelu_new"),
        rope_theta=rope_theta, **_GPT_J,
    ),
    "opt": family(
        USUAL_SIZES, _no_projection, refused=("_remove_final_layer_norm",), **_all_biases(said("enable_bias", True)),
        d_ff=value("ffn_dim"), activation=activation("activation_function", "relu"), position_offset=2,
        norm_position=_position("do_layer_norm_before", True, "pre", "post"), tie_embeddings=TIED,
        norm_scale=said("layer_norm_elementwise_affine", True), norm_bias=said("layer_norm_elementwise_affine", True),
    ),
    "bloom": family(
        sizes("n_layer", "hidden_size", "n_head", "seq_length", seq_length=2048), positions="alibi",
        embedding_norm=True, tie_embeddings=TIED,
    ),
    "falcon": family(
        sizes("num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings",
              max_position_embeddings=2048),
        _falcon, d_ff=value("ffn_hidden_size", None), activation=activation("activation", "gelu"),
        **_all_biases(said("bias")), tie_embeddings=TIED,
    ),
    "starcoder2": family(
        new_sizes(grouped=True), windowed(), d_ff=value("intermediate_size"),
        activation=activation("hidden_act", "gelu_pytorch_tanh"), positions="rope", rope_theta=rope_theta,
        **_all_biases(said("use_bias", True)), tie_embeddings=TIED,
    ),
}  # fmt: skip
