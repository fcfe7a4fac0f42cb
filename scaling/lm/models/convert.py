"""Read and write Hugging Face checkpoints: a folder of config.json and safetensors. Pickles are never opened.

Configurations are read for GPT-2, GPT-1, Llama and its kin (Mistral without a window, Qwen 2), and written for GPT-2
and Llama; the tensor names of BERT, RoBERTa, ELECTRA, T5 and BART are in `scaling.lm.models.names` too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaling.architecture import Architecture
from scaling.architecture.huggingface import read_huggingface
from scaling.errors import DataError, MissingFileError, UsageError
from scaling.files import whole_file, write_text
from scaling.lm.models.build import WEIGHTS_FILE, model_with_weights, read_safetensors, write_tensors
from scaling.lm.models.names import from_huggingface_tensors, to_huggingface_tensors
from scaling.lm.models.transformer import Transformer
from scaling.lm.tokenization.files import read_json_object

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
_FAMILY_OF_TYPE = {
    "gpt2": "gpt2", "openai-gpt": "openai-gpt", "llama": "llama", "mistral": "llama", "qwen2": "llama"
}  # fmt: skip


def load_huggingface(
    folder: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Transformer:
    """The model in a folder with config.json and model.safetensors (or its shards and their index).

    Raises:
        DataError: a file is missing or damaged, the model type is not known, only pickled weights are there.
        UsageError: the configuration asks for something this library does not build.
    """
    folder = Path(folder)
    config = read_config(folder)
    architecture = architecture_from_huggingface(config, source=str(folder / CONFIG_FILE))
    return model_from_tensors(
        architecture, _family(config), _read_tensors(folder), device=device, dtype=dtype, source=str(folder)
    )


def model_from_tensors(
    architecture: Architecture,
    family: str,
    tensors: Mapping[str, Tensor],
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    source: str = "these tensors",
) -> Transformer:
    """A model of the architecture with the weights of a checkpoint of `family`, by Hugging Face names."""
    ours = from_huggingface_tensors(architecture, family, tensors)
    return model_with_weights(architecture, ours, device=device, dtype=dtype, source=source)


def save_huggingface(model: Transformer, folder: str | Path) -> Path:
    """Write config.json and model.safetensors that transformers loads as GPT-2 or Llama.

    Raises:
        UsageError: the architecture is neither.
    """
    config = huggingface_config(model.architecture)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ours = {name: p.detach().cpu() for name, p in model.named_parameters()}
    tensors = to_huggingface_tensors(model.architecture, _family(config), ours)
    with whole_file(folder / WEIGHTS_FILE) as temporary:
        write_tensors(tensors, temporary, metadata={"format": "pt"})
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    return folder


def read_config(folder: str | Path) -> dict[str, Any]:
    """The config.json of a checkpoint."""
    return _read_json(Path(folder) / CONFIG_FILE)


def architecture_from_huggingface(
    config: Mapping[str, Any], *, source: str = "the configuration"
) -> Architecture:
    """The architecture a config.json describes; `source` names it in errors.

    Raises:
        UsageError: a model type or an option we do not build, which is named.
        DataError: a key is missing.
    """
    family = _family(config)
    _refuse_unbuilt(config, family)
    # the class named there may lack a head, as GPT-2's own files do; what is built here always has it
    plain = {k: v for k, v in config.items() if k != "architectures"}
    return read_huggingface(plain, source=source).architecture


def huggingface_config(a: Architecture) -> dict[str, Any]:
    """A config.json for GPT-2 or Llama."""
    if a.kind == "decoder" and a == architecture_from_huggingface(_gpt2_config(a)):
        return _gpt2_config(a)
    if a.kind == "decoder" and a.is_gated and a == architecture_from_huggingface(_llama_config(a)):
        return _llama_config(a)
    raise UsageError(
        "only GPT-2 and Llama architectures have a Hugging Face configuration to write; "
        "use save_model, which keeps any architecture."
    )


def _refuse_unbuilt(config: Mapping[str, Any], family: str) -> None:
    """Options that change no count, and so no `Architecture`, but what the model computes."""
    if family != "llama":
        return
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise UsageError(f"rotary positions of type {kind!r} are not built here, only the default.")
    window = config.get("sliding_window")
    if window and config.get("use_sliding_window", config["model_type"] == "mistral"):
        raise UsageError(f"a sliding window ({window} tokens) is not built here.")
    if config.get("hidden_act", "silu") != "silu":
        raise UsageError(f"a gate with {config['hidden_act']!r} is not built here, only silu.")


def _gpt2_config(a: Architecture) -> dict[str, Any]:
    return {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"],
        "n_layer": a.n_layers, "n_embd": a.d_model, "n_head": a.n_heads, "n_inner": a.d_ff,
        "vocab_size": a.vocab_size, "n_positions": a.context_length, "layer_norm_epsilon": a.norm_eps,
        "scale_attn_weights": a.scale_attention,
        "activation_function": {"gelu": "gelu", "relu": "relu"}.get(a.activation, "gelu_new"),
        "tie_word_embeddings": a.tie_embeddings, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip


def _llama_config(a: Architecture) -> dict[str, Any]:
    is_qwen = a.qkv_bias and not a.attention_output_bias
    return {
        "model_type": "qwen2" if is_qwen else "llama",
        "architectures": ["Qwen2ForCausalLM" if is_qwen else "LlamaForCausalLM"],
        "num_hidden_layers": a.n_layers, "hidden_size": a.d_model, "num_attention_heads": a.n_heads,
        "num_key_value_heads": a.n_kv_heads, "head_dim": a.d_head, "intermediate_size": a.d_ff,
        "vocab_size": a.vocab_size, "max_position_embeddings": a.context_length, "rms_norm_eps": a.norm_eps,
        "hidden_act": "silu", "rope_theta": a.rope_theta, "mlp_bias": a.mlp_bias,
        "rope_parameters": {"rope_type": "default", "rope_theta": a.rope_theta},
        **({} if is_qwen else {"attention_bias": a.qkv_bias}),
        "tie_word_embeddings": a.tie_embeddings, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip


def _family(config: Mapping[str, Any]) -> str:
    kind = str(config.get("model_type"))
    if kind not in _FAMILY_OF_TYPE:
        raise UsageError(f"model type {kind!r} cannot be read; known: {', '.join(sorted(_FAMILY_OF_TYPE))}.")
    return _FAMILY_OF_TYPE[kind]


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    if (folder / INDEX_FILE).exists():
        index = _read_json(folder / INDEX_FILE)
        if not isinstance(index.get("weight_map"), dict):
            raise DataError(f"{folder / INDEX_FILE} has no 'weight_map'; it is damaged. Fetch it again.")
        shards = sorted(set(index["weight_map"].values()))
        return {name: tensor for shard in shards for name, tensor in read_safetensors(folder / shard).items()}
    if not (folder / WEIGHTS_FILE).exists() and list(folder.glob("*.bin")):
        raise DataError(
            f"{folder} has only pickled weights (.bin), which can run code when opened and are not read; "
            "ask for safetensors (in transformers: save_pretrained)."
        )
    return read_safetensors(folder / WEIGHTS_FILE)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path} does not exist; a checkpoint folder has {CONFIG_FILE} and {WEIGHTS_FILE}."
        ) from error
