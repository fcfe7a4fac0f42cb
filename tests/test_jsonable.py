"""One way from a result to JSON."""

from __future__ import annotations

import json
import math
from collections import UserDict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pytest

from scaling.jsonable import fields_of, jsonable


class Point(NamedTuple):
    x: float
    y: float | None


@dataclass(frozen=True)
class Inner:
    values: np.ndarray
    point: Point


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    many: tuple[Inner, ...] = ()
    cache: dict[str, int] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.name)


class Own:
    def to_dict(self) -> dict[str, Any]:
        return {"ratio": math.inf, "inner": Point(1.0, None)}


@dataclass
class OwnFields:
    kept: float
    private: float

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("private",))


class Label(str):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (1.5, 1.5),
        ("word", "word"),
        (Label("word"), "word"),
        (math.inf, None),
        (-math.inf, None),
        (math.nan, None),
        (np.float64(1.5), 1.5),
        (np.float64("nan"), None),
        (np.float32("inf"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.inf], [np.nan, 2.0]]), [[1.0, None], [None, 2.0]]),
        (np.array(7.0), 7.0),
        (np.array([], dtype=float), []),
        ((1, (2, [3])), [1, [2, [3]]]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        ({1e18: Point(1.0, math.nan)}, {"1e+18": {"x": 1.0, "y": None}}),
        (UserDict(a=math.inf), {"a": None}),
        (PurePosixPath("runs/a.csv"), "runs/a.csv"),
        (Own(), {"ratio": None, "inner": {"x": 1.0, "y": None}}),
        ([OwnFields(1.0, 2.0)], [{"kept": 1.0}]),
    ],
)
def test_value_as_plain_json(value: Any, expected: Any) -> None:
    found = jsonable(value)
    assert found == expected
    assert type(found) in (type(expected), Label)
    json.dumps(found, allow_nan=False)


def test_dataclasses_and_named_tuples_are_their_fields_however_deep() -> None:
    inner = Inner(np.array([1.0, np.nan]), Point(np.float64(2.0), None))
    told = {"values": [1.0, None], "point": {"x": 2.0, "y": None}}
    expected = {"name": "a", "inner": told, "many": [told, told], "cache": {"n": 1}}
    assert jsonable(Outer("a", inner, (inner, inner), {"n": 1})) == expected


def test_fields_keep_their_order_and_may_be_left_out_or_joined_by_properties() -> None:
    outer = Outer("abc", Inner(np.array([1.0]), Point(1.0, 2.0)))
    assert list(fields_of(outer)) == ["name", "inner", "many", "cache"]
    assert fields_of(outer, leave_out=iter(("inner", "many", "cache")), also=("length",)) == {
        "name": "abc",
        "length": 3,
    }
    assert fields_of(Point(1.0, math.inf), leave_out=["x"]) == {"y": None}


@pytest.mark.parametrize("value", [object(), b"bytes", 1j, Outer, {"deep": [object()]}])
def test_what_has_no_json_is_refused_by_its_type(value: Any) -> None:
    with pytest.raises(TypeError, match="has no JSON"):
        jsonable(value)
