"""Published scaling laws and the law a user names: a published id or a law file.

The default is "besiroglu": the certified optimum of Hoffmann's objective on the 240 Chinchilla runs of Besiroglu
et al. 2024, with an uncertainty we derived (benchmarks/derive_default_law.py).
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache

from scaling.errors import UnknownNameError
from scaling.laws import find_family
from scaling.laws.base import Law, Provenance
from scaling.laws.io import law_from_dict, load_law
from scaling.reference.tables import aliases_of, find_row, from_row, number, read_json, read_table

DEFAULT_LAW = "besiroglu"
TABLE = "published_laws.csv"
RANGES = ("flops", "n_params", "n_tokens")


def published_laws(*, of_size_and_data: bool = False) -> tuple[Law, ...]:
    """Every published law of the table, in its order.

    Args:
        of_size_and_data: leave out, unread, the laws of one quantity: they have no optimum of a budget.
    """
    rows = (row for row in read_table(TABLE) if not (of_size_and_data and "power_law" in row["family"]))
    return tuple(_law_of(row["id"]) for row in rows)


def law_names() -> tuple[str, ...]:
    """Ids of the published laws, in the order of the table."""
    return tuple(row["id"] for row in read_table(TABLE))


def find_law(name: str) -> Law:
    """The published law of this id or alias.

    Raises:
        UnknownNameError: listing near names.
    """
    if row := find_row(TABLE, name, "id"):
        return _law_of(row["id"])
    hint = "`scaling laws list` shows all; a path to a fit also works."
    raise UnknownNameError("law", name, law_names(), aliases=aliases_of(TABLE), hint=hint)


def resolve_law(name_or_path: str | os.PathLike[str]) -> Law:
    """A law by published name or by the path of a law or fit file.

    A published name wins over a file of the same name; write ./besiroglu for the file.
    Raises:
        UnknownNameError: neither a known name nor an existing file.
        LawError: the file is damaged or of another version.
    """
    text = os.fspath(name_or_path)
    if text.endswith(".json") or os.sep in text or not isinstance(name_or_path, str):
        return load_law(text)
    try:
        return find_law(text)
    except UnknownNameError:
        if os.path.isfile(text):
            return load_law(text)
        raise


@cache
def _law_of(law_id: str) -> Law:
    row = next(row for row in read_table(TABLE) if row["id"] == law_id)
    provenance = _provenance(row)
    if file := row[
        "file"
    ]:  # with uncertainty: coefficients, band and draws stand there, the rest in the table
        law = law_from_dict(read_json(file), origin=f"packaged {file}")
        return replace(law, provenance=provenance)
    return find_family(row["family"]).make(**json.loads(row["coefficients"]), provenance=provenance)


def _provenance(row: dict[str, str]) -> Provenance:
    ends = {q: (number(row[f"{q}_low"]), number(row[f"{q}_high"])) for q in RANGES}
    known = {q: (low, high) for q, (low, high) in ends.items() if low is not None and high is not None}
    return from_row(Provenance, row, name=row["id"], flops_over_6nd=(1.0, 1.0), fitted_range=known)
