"""Which tensors of a Hugging Face checkpoint or a GGUF file make which of ours: a table a family, read both ways.

Ours are fused (query, key, value in one matrix; gate and up in one), theirs mostly are not; GPT's matrices are stored
transposed there (inputs first). The names are those of transformers 5 and llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling.architecture import Architecture
from scaling.errors import DataError, UnknownNameError
from scaling.lm.models.build import build_model

# our module → theirs; * is the number of a block, a|b the ends of those that ours fuses
Names = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Our tensor `ours` is their tensors one below the other, `rows` of each; None is all rows of the only one."""

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...] | None
    transposed: bool


def from_huggingface_tensors(
    a: Architecture, family: str, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Our tensors from theirs; the names may lack the prefix of the base model, as in GPT-2's own file.

    Raises:
        DataError: one is missing, which names it. Tensors we do not need (masks, tied copies) are passed over.
    """
    ours = {}
    for entry in _entries(a, family):
        parts = [_find(tensors, name, family) for name in entry.theirs]
        parts = [part.T if entry.transposed else part for part in parts]
        ours[entry.ours] = torch.cat(parts) if len(parts) > 1 else parts[0].contiguous()
    return ours


def to_huggingface_tensors(a: Architecture, family: str, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors from ours, each contiguous and its own."""
    theirs = {}
    for entry in _entries(a, family):
        whole = ours[entry.ours]
        for name, part in zip(entry.theirs, torch.split(whole, list(entry.rows)) if entry.rows else [whole]):
            theirs[name] = (part.T if entry.transposed else part).clone(memory_format=torch.contiguous_format)
    return theirs


def _entries(a: Architecture, family: str) -> Iterator[Entry]:
    """Every tensor of the architecture and its names in the family (a `model_type` of transformers, or gguf)."""
    if family not in FAMILIES:
        raise UnknownNameError("model family", family, FAMILIES)
    qkv = (a.d_attention, a.d_kv, a.d_kv)
    fused = {"query_key_value": qkv, "key_value": qkv[1:], "gate_up": (a.d_ff, a.d_ff)}
    for ours, weight in build_model(a, device="meta").named_parameters():
        module, _, kind = ours.rpartition(".")
        block = re.search(r"\d+", module)
        pattern = FAMILIES[family].get(re.sub(r"\d+", "*", module))
        if pattern is None:
            continue  # the family has no such tensor: whoever loads the weights says that it is missing
        prefix = pattern[: pattern.rfind(".") + 1].replace("*", block[0] if block else "")
        theirs = tuple(f"{prefix}{end}.{kind}" for end in pattern[pattern.rfind(".") + 1 :].split("|"))
        rows = fused[module.rpartition(".")[2]] if len(theirs) > 1 else None
        transposed = family in _TRANSPOSED and block is not None and weight.ndim == 2
        yield Entry(ours=ours, theirs=theirs, rows=rows, transposed=transposed)


def _find(tensors: Mapping[str, Tensor], name: str, family: str) -> Tensor:
    for candidate in (name, name.partition(".")[2]):
        if candidate in tensors:
            return tensors[candidate]
    raise DataError(
        f"the checkpoint has no tensor {name}, which a {family} model of this architecture needs."
    )


def _blocks(ours: str, theirs: str, parts: Names) -> Names:
    """The names of the parts of every block."""
    return {f"{ours}.blocks.*.{part}": f"{theirs}.*.{name}" for part, name in parts.items()}


def _gpt(tokens: str, positions: str) -> Names:
    parts = {
        "attention_norm": "ln_1", "attention.query_key_value": "attn.c_attn", "attention.output": "attn.c_proj",
        "mlp_norm": "ln_2", "mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj",
    }  # fmt: skip
    return {
        "tokens": f"transformer.{tokens}",
        "decoder.positions": f"transformer.{positions}",
        **_blocks("decoder", "transformer.h", parts),
        "decoder.final_norm": "transformer.ln_f",
        "head": "lm_head",
    }


_LLAMA_BLOCK = {
    "attention_norm": "input_layernorm", "attention.query_key_value": "self_attn.q_proj|k_proj|v_proj",
    "attention.output": "self_attn.o_proj",
    "mlp_norm": "post_attention_layernorm", "mlp.gate_up": "mlp.gate_proj|up_proj", "mlp.down": "mlp.down_proj",
}  # fmt: skip
_GGUF_BLOCK = {
    "attention_norm": "attn_norm", "attention.query_key_value": "attn_q|attn_k|attn_v",
    "attention.output": "attn_output",
    "mlp_norm": "ffn_norm", "mlp.gate_up": "ffn_gate|ffn_up", "mlp.down": "ffn_down",
}  # fmt: skip


def _bert(base: str, *, dense: str, norm: str, bias: str) -> Names:
    parts = {
        "attention.query_key_value": "attention.self.query|key|value", "attention.output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "mlp.up": "intermediate.dense", "mlp.down": "output.dense", "mlp_norm": "output.LayerNorm",
    }  # fmt: skip
    return {
        "tokens": f"{base}.embeddings.word_embeddings",
        "encoder.positions": f"{base}.embeddings.position_embeddings",
        "encoder.segments": f"{base}.embeddings.token_type_embeddings",
        "encoder.embedding_norm": f"{base}.embeddings.LayerNorm",
        "encoder.embedding_projection": f"{base}.embeddings_project",
        **_blocks("encoder", f"{base}.encoder.layer", parts),
        "pooler.dense": f"{base}.pooler.dense",
        "next_sentence": "cls.seq_relationship",
        "replaced_head.dense": "discriminator_predictions.dense",
        "replaced_head.score": "discriminator_predictions.dense_prediction",
        "mlm_head.dense": dense,
        "mlm_head.norm": norm,
        "mlm_head": bias,
    }


def _t5(side: str) -> Names:
    mlp = 2 if side == "decoder" else 1
    parts = {
        "attention_norm": "0.layer_norm", "attention.query_key_value": "0.SelfAttention.q|k|v",
        "attention.output": "0.SelfAttention.o",
        "cross_norm": "1.layer_norm", "cross.query": "1.EncDecAttention.q",
        "cross.key_value": "1.EncDecAttention.k|v", "cross.output": "1.EncDecAttention.o",
        "mlp_norm": f"{mlp}.layer_norm", "mlp.gate_up": f"{mlp}.DenseReluDense.wi_0|wi_1",
        "mlp.up": f"{mlp}.DenseReluDense.wi", "mlp.down": f"{mlp}.DenseReluDense.wo",
    }  # fmt: skip
    return {
        f"{side}.relative_bias.table": f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias",
        **_blocks(side, f"{side}.block", {part: f"layer.{name}" for part, name in parts.items()}),
        f"{side}.final_norm": f"{side}.final_layer_norm",
    }


def _bart(side: str) -> Names:
    parts = {
        "attention.query_key_value": "self_attn.q_proj|k_proj|v_proj", "attention.output": "self_attn.out_proj",
        "attention_norm": "self_attn_layer_norm",
        "cross.query": "encoder_attn.q_proj", "cross.key_value": "encoder_attn.k_proj|v_proj",
        "cross.output": "encoder_attn.out_proj", "cross_norm": "encoder_attn_layer_norm",
        "mlp.up": "fc1", "mlp.down": "fc2", "mlp_norm": "final_layer_norm",
    }  # fmt: skip
    return {
        f"{side}.positions": f"model.{side}.embed_positions",
        f"{side}.embedding_norm": f"model.{side}.layernorm_embedding",
        **_blocks(side, f"model.{side}.layers", parts),
    }


_TRANSPOSED = ("openai-gpt", "gpt2")
FAMILIES: Mapping[str, Names] = {
    "openai-gpt": _gpt("tokens_embed", "positions_embed"),
    "gpt2": _gpt("wte", "wpe"),
    "llama": {
        "tokens": "model.embed_tokens",
        **_blocks("decoder", "model.layers", _LLAMA_BLOCK),
        "decoder.final_norm": "model.norm",
        "head": "lm_head",
    },
    "gguf": {
        "tokens": "token_embd",
        **_blocks("decoder", "blk", _GGUF_BLOCK),
        "decoder.final_norm": "output_norm",
        "head": "output",
    },
    "bert": _bert(
        "bert",
        dense="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
        bias="cls.predictions",
    ),
    "roberta": _bert("roberta", dense="lm_head.dense", norm="lm_head.layer_norm", bias="lm_head"),
    "electra": _bert(
        "electra",
        dense="generator_predictions.dense",
        norm="generator_predictions.LayerNorm",
        bias="generator_lm_head",
    ),
    "t5": {"tokens": "shared", **_t5("encoder"), **_t5("decoder"), "head": "lm_head"},
    "bart": {"tokens": "model.shared", **_bart("encoder"), **_bart("decoder")},
}
