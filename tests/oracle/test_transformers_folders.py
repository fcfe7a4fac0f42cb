"""Folders that transformers writes are read, and what is written back it reads: the same logits both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from scaling.lm.models.convert import load_huggingface, save_huggingface

pytestmark = pytest.mark.oracle
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

LLAMA: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 48,
}  # fmt: skip
GPT: dict[str, Any] = {"vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", LLAMA),
    "llama tied": ("LlamaConfig", {**LLAMA, "tie_word_embeddings": True}),
    "llama with biases": ("LlamaConfig", {**LLAMA, "attention_bias": True, "mlp_bias": True}),
    "llama of another theta": ("LlamaConfig", {**LLAMA, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
    "llama with wide heads": ("LlamaConfig", {**LLAMA, "head_dim": 16}),
    "mistral": ("MistralConfig", {**LLAMA, "sliding_window": None}),
    "qwen2": ("Qwen2Config", LLAMA),
    "gpt2": ("GPT2Config", GPT),
    "gpt2 with a narrow relu": ("GPT2Config", {**GPT, "activation_function": "relu", "n_inner": 40}),
    "gpt2 unscaled": ("GPT2Config", {**GPT, "scale_attn_weights": False}),
    "gpt2 untied": ("GPT2Config", {**GPT, "tie_word_embeddings": False}),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_a_folder_goes_there_and_back(name: str, tmp_path: Path) -> None:
    kind, fields = CASES[name]
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**fields)).eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.2)  # far from what any default would give
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")  # in shards
    ours = load_huggingface(tmp_path / "theirs")
    back = transformers.AutoModelForCausalLM.from_pretrained(
        save_huggingface(ours, tmp_path / "ours"), dtype=torch.float32
    ).eval()
    ids = torch.randint(0, 61, (2, 17))
    with torch.no_grad():
        logits = theirs(ids).logits
        torch.testing.assert_close(ours(ids), logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(back(ids).logits, logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("LlamaConfig", {"hidden_act": "gelu"}, "a gate with 'gelu'"),
        ("MistralConfig", {"sliding_window": 8}, r"a sliding window \(8 tokens\)"),
        ("GPT2Config", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("GPT2Config", {"add_cross_attention": True}, "add_cross_attention"),
    ],
)
def test_what_is_not_built_is_refused_by_name(
    kind: str, fields: dict[str, Any], says: str, tmp_path: Path
) -> None:
    from scaling.errors import UsageError

    config = getattr(transformers, kind)(**{**(GPT if kind == "GPT2Config" else LLAMA), **fields})
    config.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=says):
        load_huggingface(tmp_path)
