"""Published scaling laws and the law a user names: a published id or a law file.

The default is "besiroglu": the certified optimum of Hoffmann's objective on the 240 Chinchilla runs of Besiroglu
et al. 2024, with an uncertainty we derived (benchmarks/derive_default_law.py).
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from typing import Protocol, TypeAlias

from scaling.arguments import require_flags
from scaling.blocks import Blocks, Record, Shown, Table, Text, low_high
from scaling.errors import UnknownNameError, UsageError, shown
from scaling.laws import find_family, io
from scaling.laws.base import Law, Provenance
from scaling.laws.io import law_from_dict, load_law
from scaling.reference.tables import aliases_of, find_row, from_row, number, read_json, read_table
from scaling.translation import tr

DEFAULT_LAW = "besiroglu"
TABLE = "published_laws.csv"
RANGES = ("flops", "n_params", "n_tokens")


class PublishedLaws(Shown, tuple[Law, ...]):
    """Laws, in the order of their table."""

    def summary(self) -> Blocks:
        """A row a law: its id, family, exponent of N*, source."""
        rows = [
            (r["law"], r["family"], "" if r["a"] is None else f"{r['a']:.3f}", r["source"])
            for r in self.records()
        ]
        return (Table((tr("law"), tr("family"), "a", tr("source")), rows, left=2, remarks=1),)

    def brief(self) -> Blocks:
        return (Text(", ".join(str(record["law"]) for record in self.records())),)

    def records(self) -> list[Record]:
        """A row a law: id, family, formula, where it is from and what it counts, a of N* ~ C^a, its coefficients."""
        return [_record(law) for law in self]


def _record(law: Law) -> Record:
    origin = law.provenance
    assert origin is not None  # every packaged law has one
    about = origin._asdict()
    ranges = about.pop("fitted_range")
    del about["name"], about["flops_over_6nd"]
    ends = {k: v for name in RANGES for k, v in low_high(f"fitted_{name}", ranges.get(name)).items()}
    exponent = getattr(law, "params_exponent", None)
    form = {"law": origin.name, "family": law.family.name, "formula": law.family.formula, "a": exponent}
    return {**form, **about, **ends, **{f"coefficient_{n}": v for n, v in law.coefficients.items()}}


def published_laws(*, of_size_and_data: bool = False) -> PublishedLaws:
    """Every published law of the table, in its order.

    Args:
        of_size_and_data: leave out, unread, the laws of one quantity: they have no optimum of a budget.
    Example:
        >>> import scaling
        >>> laws = scaling.published_laws()
        >>> len(laws), laws[0].provenance.name
        (27, 'besiroglu')
    """
    require_flags(of_size_and_data=of_size_and_data)
    rows = (row for row in read_table(TABLE) if not (of_size_and_data and "power_law" in row["family"]))
    return PublishedLaws(_law_of(row["id"]) for row in rows)


def law_names() -> tuple[str, ...]:
    """Ids of the published laws, in the order of the table."""
    return tuple(row["id"] for row in read_table(TABLE))


def find_law(name: LawLike) -> Law:
    """The published law of this id or alias; a law in any other form is taken too.

    Args:
        name: a published name, a fit, its file, or a law.
    Raises:
        UnknownNameError: neither a known name nor an existing file; lists near names.
        LawError: the file is damaged or of another version.
        UsageError: nothing of these.
    Example:
        >>> import scaling
        >>> law = scaling.find_law("hoffmann")
        >>> round(law.params_exponent, 2), law.provenance.params_convention
        (0.46, 'total')
    """
    return resolve_law(name)


class HasLaw(Protocol):
    """A fit: whatever has found a law."""

    @property
    def law(self) -> Law: ...


LawLike: TypeAlias = Law | HasLaw | str | os.PathLike[str]  # what every function takes that takes a law


def resolve_law(law: LawLike) -> Law:
    """The law that a user means: itself, that of a fit, a published name, or the path of a law or fit file.

    A published name wins over a file of the same name; write ./besiroglu for the file.
    Raises:
        UnknownNameError: neither a known name nor an existing file.
        LawError: the file is damaged or of another version.
        UsageError: nothing of these.
    Example:
        >>> resolve_law("besiroglu") is resolve_law(find_law("besiroglu"))
        True
    """
    found = getattr(law, "law", law)
    if isinstance(found, Law):
        return found
    if not isinstance(law, (str, os.PathLike)):
        how = "a name as besiroglu, the path of a fit.json, a fit or a law"
        raise UsageError(f"a law is {how}; got {shown(law)}. `scaling laws list` shows the names.")
    text = os.fspath(law)
    if text.endswith(".json") or os.sep in text or not isinstance(law, str):
        return load_law(text)
    try:
        return _find_published(text)
    except UnknownNameError:
        if os.path.isfile(text):
            return load_law(text)
        raise


def write_law(law: LawLike, path: str | os.PathLike[str]) -> None:
    """Write the law as JSON, one row of numbers a line; floats keep every digit.

    Args:
        law: a published name, a fit, its file, or a law.
        path: of the file, which is written over.
    Raises:
        UnknownNameError, LawError, UsageError: as `find_law`; StorageError: the file cannot be written.
    Example:
        >>> import scaling
        >>> scaling.write_law("hoffmann", "hoffmann.json")
        >>> scaling.load_law("hoffmann.json") == scaling.find_law("hoffmann")
        True
    """
    io.write_law(resolve_law(law), path)


def _find_published(name: str) -> Law:
    if row := find_row(TABLE, name, "id"):
        return _law_of(row["id"])
    hint = "`scaling laws list` shows all; a path to a fit also works."
    raise UnknownNameError("law", name, law_names(), aliases=aliases_of(TABLE), hint=hint)


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
