"""Read the packaged tables: plain CSV and JSON beside this file, loaded when first asked for."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

Record = TypeVar("Record")


def read_text(name: str) -> str:
    """A packaged file as text, through the module's loader (works from a folder and from a zip)."""
    loader: Any = __spec__.loader if __spec__ is not None else None
    raw: bytes = loader.get_data(os.path.join(os.path.dirname(__file__), name))
    return raw.decode("utf-8")


@cache
def read_table(name: str) -> tuple[dict[str, str], ...]:
    """Rows of a packaged CSV as text; numbers are read by the module that knows their unit."""
    return tuple(csv.DictReader(read_text(name).splitlines()))


def read_json(name: str) -> Any:
    """A packaged JSON file."""
    return json.loads(read_text(name))


def number(text: str | None) -> float | None:
    """A number, or None where the table is empty."""
    return float(text) if text else None


def whole_number(text: str) -> int | None:
    return int(text) if text else None


def from_row(record: type[Record], row: Mapping[str, str], **given: Any) -> Record:
    """A record of a row of text, each field by its type; `given` are the fields that are no column as it stands."""
    kinds: dict[str, Callable[[str], Any]] = {
        "str": str, "int": int, "float": float, "int | None": whole_number, "float | None": number,
    }  # fmt: skip
    named = {n: kind for n, kind in record.__annotations__.items() if n not in given}
    # a NamedTuple wraps its annotations
    types = {n: getattr(kind, "__forward_arg__", kind) for n, kind in named.items()}
    return record(**given, **{n: kinds[kind](row[n]) for n, kind in types.items()})


def find_row(table: str, name: str, *columns: str) -> dict[str, str] | None:
    """The row that has this name, in whatever case and spelling, in one of the columns or among its aliases."""
    key = fold(name) if isinstance(name, str) else ""
    for row in read_table(table):
        if key and key in map(fold, (*(row[column] for column in columns), *row["aliases"].split(";"))):
            return row
    return None


def aliases_of(table: str, column: str = "id") -> dict[str, str]:
    """Every alias of a table's rows and the name it stands for; for near names in an error."""
    pairs = [(alias, row[column]) for row in read_table(table) for alias in row["aliases"].split(";")]
    return {alias: name for alias, name in pairs if alias}


def fold(name: str) -> str:
    """A name for comparing: lower case, letters, digits and points ("H100 SXM" = "h100-sxm", 1.3B is not 13B)."""
    return "".join(c for c in name.lower() if c.isalnum() or c == ".")
