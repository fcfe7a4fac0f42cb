"""Values of a Hugging Face config.json under any of the names that its families give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scaling.errors import DataError, UsageError

Config = Mapping[str, Any]
Fields = dict[str, Any]  # of an Architecture
Reader = Callable[[Config], Fields]
_REQUIRED = object()

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
GATES = {"silu": "swiglu", "swish": "swiglu"} | dict.fromkeys(
    ("gelu_pytorch_tanh", "gelu_new", "gelu"), "geglu"
)


class NotUnderstood(UsageError):
    """A config.json asks for something that changes a count and is not read here."""


def family(first: Reader, *parts: Reader, refused: tuple[str, ...] = (), **fields: Any) -> Reader:
    """The reader of a family: its sizes, its fields (a value, or a function of the config), then further parts."""

    def read(c: Config) -> Fields:
        refuse(c, *refused)
        found = {
            **first(c),
            **{name: value(c) if callable(value) else value for name, value in fields.items()},
        }
        for part in parts:
            found |= part(c)
        return found

    return read


def value(name: str, default: Any = _REQUIRED) -> Callable[[Config], Any]:
    """A field that is `take` of this name; the default None leaves it to the `Architecture`."""
    return lambda c: take(c, name, default)


def said(name: str, default: bool = False) -> Callable[[Config], bool]:
    """A field that is the `flag` of this name."""
    return lambda c: flag(c, name, default)


def of_one(names: Mapping[str, str], *options: str, default: str) -> Callable[[Config], str]:
    """A field whose word, under the first of the options that is there, is translated by `names`."""

    def read(c: Config) -> str:
        name = next((n for n in options if c.get(n) is not None), options[0])
        word = take(c, name, default)
        if word not in names:
            raise NotUnderstood(f"{name} {word!r} is not understood, known: {', '.join(names)}")
        return names[word]

    return read


def activation(name: str, default: str) -> Callable[[Config], str]:
    """Of an MLP without a gate."""
    return of_one(_GELUS, name, default=default)


def gate(*names: str, default: str = "silu") -> Callable[[Config], str]:
    """Of a gated MLP, from the first of the names that is there."""
    return of_one(GATES, *names, default=default)


def take(c: Config, name: str, default: Any = _REQUIRED) -> Any:
    """The value under the name or one of its synonyms; null counts as absent; without default it is missed."""
    for candidate in _names(name):
        if c.get(candidate) is not None:
            return c[candidate]
    if default is _REQUIRED:
        raise DataError(name)  # the reader says of which file and type
    return default


def stated(c: Config, name: str, if_null: Any) -> Any:
    """The value, where leaving it out means a number of the class's own, but null means `if_null`."""
    if not any(key in c for key in _names(name)):
        raise DataError(name)
    return take(c, name, if_null)


def _names(name: str) -> tuple[str, ...]:
    return (name, *next((group for group in _SAME if name in group), ()))


def flag(c: Config, name: str, default: bool = False) -> bool:
    """A true or false."""
    found = c.get(name)
    if found is not None and not isinstance(found, bool):
        raise NotUnderstood(f"{name} must be true or false, got {found!r}")
    return default if found is None else found


def refuse(c: Config, *names: str) -> None:
    """Options that add or take away parameters in a way that is not read here."""
    for name in names:
        if c.get(name):
            raise NotUnderstood(f"{name} {c[name]!r} is not understood")


def sizes(layers: str, width: str, heads: str, context: str, **assumed: int) -> Reader:
    """What every family says, under the names that are its own (they are told in errors); `assumed` where absent."""
    names = {"n_layers": layers, "d_model": width, "n_heads": heads, "vocab_size": "vocab_size"}
    names["context_length"] = context
    return lambda c: {field: take({**assumed, **c}, name) for field, name in names.items()}


USUAL_SIZES = sizes("num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings")


def new_sizes(*, grouped: bool, head_dim: int | None = None) -> Reader:
    """Sizes under the names of newer families, with their own head width.

    grouped: the family has fewer key heads by default, and so always says how many.
    head_dim: where it is absent; null, or None here, is width / heads.
    """

    def read(c: Config) -> Fields:
        found = USUAL_SIZES(c)
        width, heads = found["d_model"], found["n_heads"]
        found["n_kv_heads"] = (stated if grouped else take)(c, "num_key_value_heads", heads)
        head = c.get("head_dim", head_dim)
        if head is None and isinstance(width, int) and isinstance(heads, int) and heads > 0:
            head = width // heads  # rounded down, as transformers does
        return {**found, "d_head": head}

    return read


def rope_theta(c: Config) -> float:
    """The base of rotary positions; it moved into rope_parameters, by kind of layer where the kinds differ."""
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    for values in (rope, rope.get("full_attention") or {}, c):
        if values.get("rope_theta") is not None:
            return float(values["rope_theta"])
    return float(c.get("rotary_emb_base") or 10_000.0)


def windowed(
    count: Callable[[Config, int], int] = lambda c, n: n, *, default: int | None = None, on: str | None = None
) -> Reader:
    """Layers that read a window of keys, as layer_types says; else `count` of n layers: all of them, or fewer.

    default: the window where none is said; on: the option that must be true for any.
    """

    def read(c: Config) -> Fields:
        size, n_layers = c.get("sliding_window", default), take(c, "num_hidden_layers")
        if (on is not None and not flag(c, on)) or not isinstance(n_layers, int):
            return {}
        n, types = count(c, n_layers), c.get("layer_types")
        if size and types is not None:
            if others := sorted(set(types) - {"sliding_attention", "full_attention"}):
                raise NotUnderstood(f"layers of type {others[0]!r} in layer_types are not understood")
            n = list(types).count("sliding_attention")
        return {"attention_window": size, "n_window_layers": n} if size and n > 0 else {}

    return read
