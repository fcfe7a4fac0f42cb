"""Values of a Hugging Face config.json under any of the names that its families give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling.errors import DataError, UsageError

Config = Mapping[str, Any]
Fields = dict[str, Any]  # of an Architecture

_SAME = (  # one size under the names of different families; transformers takes each for the other
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    ("hidden_size", "n_embd", "n_embed", "d_model", "dim"),
    ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    ("num_key_value_heads", "num_kv_heads"),
    ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "hidden_dim"),
    ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx"),
    ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    ("num_experts_per_tok", "num_experts_per_token", "moe_top_k"),
)
_GELUS = {"gelu": "gelu", "relu": "relu"} | dict.fromkeys(
    ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_python_tanh", "gelu_accurate"), "gelu_tanh"
)
GATES = {
    "silu": "swiglu",
    "swish": "swiglu",
    "gelu_pytorch_tanh": "geglu",
    "gelu_new": "geglu",
    "gelu": "geglu",
}


class NotUnderstood(UsageError):
    """A config.json asks for something that changes a count and is not read here."""


def take(c: Config, name: str, default: Any = None) -> Any:
    """The value under the name or one of its synonyms; null counts as absent; without default it is missed."""
    for candidate in (name, *next((group for group in _SAME if name in group), ())):
        if c.get(candidate) is not None:
            return c[candidate]
    if default is None:
        raise DataError(name)  # the reader says of which file and type
    return default


def stated(c: Config, name: str, if_null: Any) -> Any:
    """The value, where leaving it out means a number of the class's own, but null means `if_null`."""
    if not any(key in c for key in (name, *next((group for group in _SAME if name in group), ()))):
        raise DataError(name)
    return take(c, name, if_null)


def flag(c: Config, name: str, default: bool = False) -> bool:
    """A true or false."""
    value = c.get(name)
    if value is not None and not isinstance(value, bool):
        raise NotUnderstood(f"{name} must be true or false, got {value!r}")
    return default if value is None else value


def refuse(c: Config, *names: str) -> None:
    """Options that add or take away parameters in a way that is not read here."""
    for name in names:
        if c.get(name):
            raise NotUnderstood(f"{name} {c[name]!r} is not understood")


def sizes(c: Config, layers: str, width: str, heads: str, context: str) -> Fields:
    """What every family says, under the names that are its own; they are told in errors."""
    return {
        "n_layers": take(c, layers),
        "d_model": take(c, width),
        "n_heads": take(c, heads),
        "vocab_size": take(c, "vocab_size"),
        "context_length": take(c, context),
    }


def new_sizes(c: Config, *, grouped: bool) -> Fields:
    """Sizes under the names of newer families, with their own head width.

    grouped: the family has fewer key heads by default, and so always says how many.
    """
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings")
    read = sizes(c, *names)
    read["n_kv_heads"] = (stated if grouped else take)(c, "num_key_value_heads", read["n_heads"])
    head = c.get("head_dim")
    if (
        head is None
        and isinstance(read["d_model"], int)
        and isinstance(read["n_heads"], int)
        and read["n_heads"] > 0
    ):
        head = read["d_model"] // read["n_heads"]  # rounded down, as transformers does
    return {**read, "d_head": head}


def activation(c: Config, name: str, default: str) -> str:
    """Of an MLP without a gate."""
    value = take(c, name, default)
    if value not in _GELUS:
        raise NotUnderstood(f"{name} {value!r} is not understood, known: {', '.join(_GELUS)}")
    return _GELUS[value]


def gate(c: Config, *names: str, default: str = "silu") -> str:
    """Of a gated MLP, from the first of the names that is there."""
    name = next((n for n in names if c.get(n) is not None), names[0])
    value = take(c, name, default)
    if value not in GATES:
        raise NotUnderstood(f"{name} {value!r} is not understood, known: {', '.join(GATES)}")
    return GATES[value]


def rope_theta(c: Config) -> float:
    """The base of rotary positions; it moved into rope_parameters, by kind of layer where the kinds differ."""
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    for values in (rope, rope.get("full_attention") or {}, c):
        if values.get("rope_theta") is not None:
            return float(values["rope_theta"])
    return float(c.get("rotary_emb_base") or 10_000.0)


def window(c: Config, n_layers: Any, windowed: int | None = None, *, default: int | None = None) -> Fields:
    """Layers that read a window of keys, as layer_types says; else `windowed` of them, or all."""
    size = c.get("sliding_window", default)
    if not size or not isinstance(n_layers, int):
        return {}
    types = c.get("layer_types")
    if types is not None:
        known = {"sliding_attention", "full_attention"}
        if set(types) - known:
            raise NotUnderstood(
                f"layers of type {sorted(set(types) - known)[0]!r} in layer_types are not understood"
            )
        windowed = sum(t == "sliding_attention" for t in types)
    n = n_layers if windowed is None else windowed
    return {"attention_window": size, "n_window_layers": n} if n > 0 else {}
