"""Architectures of published models, by name: the table presets.csv beside this file, each row with its source.

Released checkpoints (GPT-1 and 2, BERT, RoBERTa, ELECTRA, T5, BART, Llama, Mistral, Qwen, SmolLM2, MiniLM, and the
mixtures of experts Mixtral, Qwen 3, OLMoE, DeepSeek-V3) are exact. Shapes known only from papers (GPT-3, LaMDA,
Jurassic-1, Gopher, Chinchilla, MT-NLG) give the published size; their norms and biases are not always stated, which
moves the count by less than 0.1 %.

A row states what differs from the row it is `like`; sizes that neither gives follow from the others, as always.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from scaling.architecture.spec import Architecture
from scaling.errors import UnknownNameError

# Columns that are no field of an Architecture; `other` holds further fields as name=value;...
_NO_FIELDS = {"name", "aliases", "like", "other", "source", "note"}


class _Presets(Mapping[str, Architecture]):
    """The table, read when first asked for; an architecture is made when its name is."""

    def __getitem__(self, name: str) -> Architecture:
        return _preset(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_rows())

    def __len__(self) -> int:
        return len(_rows())


PRESETS: Mapping[str, Architecture] = _Presets()


def find_preset(name: str) -> Architecture:
    """The preset of that name; case, spaces, dots and dashes do not matter ("GPT-2 XL" is gpt2-xl).

    Raises:
        UnknownNameError: lists the near names.
    Example:
        >>> import scaling
        >>> scaling.find_preset("GPT-2 XL").n_layers
        48
    """
    for known, row in _rows().items() if isinstance(name, str) else ():
        if _fold(name) in map(_fold, (known, *filter(None, row["aliases"].split(";")))):
            return _preset(known)
    raise UnknownNameError("preset", name, PRESETS)


@cache
def _rows() -> Mapping[str, Mapping[str, str]]:
    """Rows by name; through the module's loader, which works from a folder and from a zip."""
    loader: Any = __spec__.loader if __spec__ is not None else None
    text: str = loader.get_data(str(Path(__file__).with_name("presets.csv"))).decode("utf-8")
    return {row["name"]: row for row in csv.DictReader(text.splitlines())}


@cache
def _preset(name: str) -> Architecture:
    return Architecture.from_dict(_fields(name))


def _fields(name: str) -> dict[str, Any]:
    """What a row gives, over what the row it is like gives."""
    row = _rows()[name]
    sizes = {column: int(cell) for column, cell in row.items() if cell and column not in _NO_FIELDS}
    other = dict(part.split("=") for part in filter(None, row["other"].split(";")))
    inherited = _fields(row["like"]) if row["like"] else {}
    return {**inherited, **sizes, **{field: _value(field, text) for field, text in other.items()}}


def _value(field: str, text: str) -> Any:
    """Words as they stand, of several heads each; numbers, true and false as in JSON."""
    if field == "heads":
        return text.split("+")
    return text if Architecture.__annotations__[field] not in ("int", "float", "bool") else json.loads(text)


def _fold(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
