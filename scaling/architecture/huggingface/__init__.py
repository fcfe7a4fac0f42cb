"""Read a Hugging Face config.json as an `Architecture`, exactly or not at all. No torch, no network.

`read_huggingface` is for counting: it reads every family of DENSE, MIXTURES, ENCODERS and ENCODER_DECODERS.
`scaling.lm.models.convert` reads the few that are built through it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from scaling.architecture.huggingface.dense import DENSE
from scaling.architecture.huggingface.encoders import ENCODER_DECODERS, ENCODERS
from scaling.architecture.huggingface.mixtures import MIXTURES
from scaling.architecture.huggingface.values import NotUnderstood, flag
from scaling.architecture.spec import Architecture
from scaling.errors import DataError, UsageError

FAMILIES = {**DENSE, **MIXTURES, **ENCODERS, **ENCODER_DECODERS}
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
_SAME_FAMILY = {  # the text part of a model with eyes or ears, where it is the family's own
    "qwen2_vl": "qwen2", "qwen2_5_vl": "qwen2", "qwen2_vl_text": "qwen2", "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3", "qwen3_vl_moe_text": "qwen3_moe", "RefinedWeb": "falcon", "RefinedWebModel": "falcon",
}  # fmt: skip
# A config inside another leaves out what is the default of its class in transformers.
_INNER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32,
              "vocab_size": 32_000, "max_position_embeddings": 2048},
    "mistral": {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
                "num_key_value_heads": 8, "vocab_size": 32_000, "max_position_embeddings": 131_072},
    "qwen2": {"hidden_size": 4096, "intermediate_size": 22_016, "num_hidden_layers": 32, "num_attention_heads": 32,
              "num_key_value_heads": 32, "vocab_size": 151_936, "max_position_embeddings": 32_768},
    "gemma3_text": {"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
                    "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208,
                    "max_position_embeddings": 131_072, "sliding_window": 4096},
}  # fmt: skip
_ENCODER_HEADS = {  # end of the class name → heads
    "ForMaskedLM": ("mlm",), "ForPreTraining": ("mlm", "nsp"), "Model": ("pooler",),
}  # fmt: skip


class HuggingFaceModel(NamedTuple):
    """What a config.json describes, and what is to be known of the count."""

    architecture: Architecture
    notes: tuple[str, ...]


def is_huggingface_config(values: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a config.json of transformers: it names its type or class, and is no `Architecture`."""
    named = {"model_type", "architectures", "transformers_version", "num_hidden_layers", *_TEXT_PARTS}
    return bool(named & set(values)) and "n_kv_heads" not in values


def read_huggingface(config: Mapping[str, Any], *, source: str = "the configuration") -> HuggingFaceModel:
    """The architecture of a config.json; `source` names it in errors.

    Raises:
        UsageError: a family or an option that would change the count and is not read, which is named.
        DataError: a size is missing.
    """
    config, notes = _text_part(config, source)
    kind = _family(config, source)
    config = {**config, "model_type": kind}
    try:
        fields = FAMILIES[kind](config)
        heads, about_head = _heads(config, kind)
        architecture = Architecture(**{**fields, **heads})
    except DataError as error:
        raise DataError(
            f"{source} has no {str(error)!r}, which a model of type {kind!r} needs. "
            "Take the config.json that belongs to the weights."
        ) from error
    except NotUnderstood as error:
        raise UsageError(
            f"{source} is a Hugging Face config of type {kind!r}: {error}; it would change the count. Give the sizes "
            "by hand instead (--n-layers ...; --set FIELD=VALUE), as `scaling count --help` says."
        ) from error
    except (UsageError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise UsageError(
            f"{source} is a Hugging Face config of type {kind!r} with a wrong value: {error}"
        ) from error
    return HuggingFaceModel(architecture, (*notes, *about_head, *_left_out(config)))


def _text_part(config: Mapping[str, Any], source: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The config itself, or what reads and writes text inside that of a model that does more."""
    part = next((name for name in _TEXT_PARTS if isinstance(config.get(name), Mapping)), None)
    outer = config.get("model_type", "no type")
    if part is None:
        seeing = outer in _SAME_FAMILY and "vision_config" in config
        return config, ((f"{source}: only the text part of this {outer} is counted",) if seeing else ())
    inner = dict(config[part])
    if any(isinstance(inner.get(name), Mapping) for name in _TEXT_PARTS):
        return _text_part(inner, source)
    kind = str(inner.get("model_type", ""))
    kind = _SAME_FAMILY.get(kind, kind)
    assumed = {k: v for k, v in _INNER_DEFAULTS.get(kind, {}).items() if inner.get(k) is None}
    if "tie_word_embeddings" in config:
        inner.setdefault("tie_word_embeddings", config["tie_word_embeddings"])
    inner.pop("architectures", None)
    notes = [
        f"{source}: of this {outer} only the text part is counted ({part}: {kind}), not what sees or hears"
    ]
    if assumed:
        told = ", ".join(f"{name} {value}" for name, value in assumed.items())
        notes.append(f"{part} leaves out what is transformers' default for {kind}, which is taken: {told}")
    return {**inner, **assumed}, tuple(notes)


def _family(config: Mapping[str, Any], source: str) -> str:
    """The key of FAMILIES; from the class where an older config names no type."""
    named = config.get("model_type")
    if named is None:
        cls = str((config.get("architectures") or [""])[0]).lower()
        stems = {kind.replace("_", "").replace("-", ""): kind for kind in FAMILIES}
        ends = "forcausallm|lmheadmodel|formaskedlm|forpretraining|forconditionalgeneration|model"
        named = stems.get(re.sub(f"({ends})$", "", cls))
    named = _SAME_FAMILY.get(str(named), named)
    if named is None:
        raise UsageError(
            f"{source} looks like a Hugging Face config but names no model_type; add it, for example "
            '"model_type": "llama".'
        )
    if named not in FAMILIES:
        raise UsageError(
            f"{source} is a Hugging Face config of the family {named!r}, which is not counted; known: "
            f"{', '.join(sorted(FAMILIES))}. Give the sizes by hand instead (--n-layers ...; --set FIELD=VALUE)."
        )
    return str(named)


def _heads(config: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The heads of the class in "architectures", and a note where one is not counted; the usual ones without it."""
    cls = str((config.get("architectures") or [""])[0])
    if kind in ENCODERS:
        ends = {**_ENCODER_HEADS, "ForPreTraining": ("rtd",)} if kind == "electra" else _ENCODER_HEADS
        heads = next((heads for end, heads in ends.items() if cls.endswith(end)), ("mlm",) if not cls else ())
        if heads == ("pooler",) and kind in ("electra", "distilbert"):
            return {"heads": ()}, ()
        if "mlm" in heads and not flag(config, "tie_word_embeddings", default=True):
            raise NotUnderstood(
                "tie_word_embeddings false is not understood (a head with a matrix of its own)"
            )
        return {"heads": heads}, _uncounted(cls) if cls and not heads else ()
    if not cls or cls.endswith(
        ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "DoubleHeadsModel")
    ):
        return {}, ()
    if kind in ENCODER_DECODERS and cls.endswith("EncoderModel"):
        raise NotUnderstood(f"a lone encoder ({cls})")
    return {"heads": ()}, () if cls.endswith("Model") else _uncounted(cls)


def _uncounted(cls: str) -> tuple[str, ...]:
    return (f"the head of {cls} is not counted, only the body",)


def _left_out(config: Mapping[str, Any]) -> tuple[str, ...]:
    extra, chunk = config.get("num_nextn_predict_layers"), config.get("attention_chunk_size", 8192)
    if chunk and config["model_type"] == "llama4_text":
        return (
            f"attention in chunks of {chunk} tokens (attention_chunk_size) is counted as if it read all before it",
        )
    if not extra:
        return ()
    return (f"{extra} layer that predicts further tokens (num_nextn_predict_layers) is not counted",)
