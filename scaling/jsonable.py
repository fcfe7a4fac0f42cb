"""The one way from a result to JSON: dataclasses and named tuples by their fields, arrays as lists, no NaN.

A class whose JSON is not its fields has `to_dict()`, usually `fields_of(self, leave_out=..., also=...)`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any


def jsonable(value: Any) -> Any:
    """Plain JSON types: infinite and undefined numbers become null, for JSON has neither.

    Raises:
        TypeError: something that has no JSON, such as an open file.
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "to_dict"):
        return jsonable(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if hasattr(value, "_asdict"):
        return jsonable(value._asdict())
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if hasattr(value, "tolist"):  # an array or one of its numbers
        return jsonable(value.tolist())
    if isinstance(value, (set, frozenset)):  # in an order that stays from run to run
        return [jsonable(v) for v in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def fields_of(value: Any, *, leave_out: Iterable[str] = (), also: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass or named tuple as JSON, without some and with some properties beside them."""
    fields = getattr(value, "_fields", None) or [f.name for f in dataclasses.fields(value)]
    left_out = set(leave_out)
    return {name: jsonable(getattr(value, name)) for name in (*fields, *also) if name not in left_out}
