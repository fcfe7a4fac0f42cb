"""Dataclasses from tables of a TOML file, strictly: an unknown key or a wrong type is an error that names it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from scaling.errors import UnknownNameError, UsageError
from scaling.units import parse_flops, parse_params, parse_tokens


class SpecError(UsageError):
    """The spec of a sweep cannot be read, or asks for something that cannot be run."""


def build(prefix: str, cls: type, values: Mapping[str, Any]) -> Any:
    """The dataclass `cls` from a table; `prefix` is where the table stands, for errors ("grid.").

    Raises:
        UnknownNameError: a key that the dataclass has not.
        SpecError: a key is missing, or a value does not fit.
    """
    known = {f.name: f for f in fields(cls)}
    for key in values:
        if key not in known:
            raise UnknownNameError("key", f"{prefix}{key}", [f"{prefix}{k}" for k in known])
    missing = [
        k for k, f in known.items()
        if k not in values and f.default is MISSING and f.default_factory is MISSING
    ]  # fmt: skip
    if missing:
        raise SpecError(f"{', '.join(prefix + m for m in missing)} must be given.")
    hints = get_type_hints(cls)
    checked = {k: _typed(f"{prefix}{k}", hints[k], v) for k, v in values.items()}
    return cls(**checked)


def _typed(name: str, hint: Any, value: Any) -> Any:
    """`value` as the field's type wants it.

    Raises:
        SpecError: it does not fit.
        TypeError: a field of a type that is not read here, a mistake of ours.
    """
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        (hint,) = (h for h in get_args(hint) if h is not type(None))
    kind: Any = get_origin(hint) or hint
    if kind is Literal:
        if value not in get_args(hint):
            raise UnknownNameError(name, str(value), get_args(hint))
        return value
    if kind is int:
        return _whole(name, value)
    if kind is float:
        return _number(name, value)
    if kind is tuple:
        if not isinstance(value, list | tuple):
            raise SpecError(f"{name} must be a list, got {value!r}.")
        return tuple(_item(name, get_args(hint)[0], item) for item in value)
    is_read = kind in (str, Mapping) or is_dataclass(kind)
    if not is_read:
        raise TypeError(f"{name} is annotated {hint}, which no spec can hold")
    if not isinstance(value, kind):
        raise SpecError(f"{name} must be {'text' if kind is str else 'a table'}, got {value!r}.")
    return value


def _item(name: str, hint: Any, item: Any) -> Any:
    """One of a list. A quantity written as text is read by the dataclass, which knows what it counts."""
    if isinstance(item, str):
        return item
    if hint is str:
        raise SpecError(f"{name} must be a list of names in quotes; it holds {item!r}.")
    return _number(f"each of {name}", item)


def _whole(name: str, value: Any) -> int:
    _refuse_huge(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise SpecError(f"{name} must be a whole number, got {value!r}.")
    return int(value)


def _number(name: str, value: Any) -> float:
    """A number; a quantity may be written as text: "1e18", "20M"."""
    if isinstance(value, str):
        for ending, parse in (("flops", parse_flops), ("params", parse_params), ("tokens", parse_tokens)):
            if name.endswith(ending):
                return parse(value)
        return parse_tokens(value) if name == "corpus.n_tokens_unique" else _plain_number(name, value)
    _refuse_huge(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise SpecError(f"{name} must be a number, got {value!r}.")
    if not math.isfinite(value):
        raise SpecError(f"{name} must be finite, got {value}.")
    return float(value)


def _refuse_huge(name: str, value: Any) -> None:
    """TOML has whole numbers of any length; beyond the largest float nothing can be computed with them."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise SpecError(f"{name} must be below 1e308; it has {len(hex(value))} hexadecimal digits.")


def _plain_number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise SpecError(f"{name} must be a plain number such as 0.01, got {text!r}.") from error
    return _number(name, value)
