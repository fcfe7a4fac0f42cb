"""Coefficients held at given values, as labs pin the floor E, while the others are fitted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling.arguments import is_one_of, require_kind
from scaling.errors import UnknownNameError, UsageError
from scaling.findings import Finding
from scaling.laws.base import LawFamily
from scaling.runs import Runs
from scaling.translation import tr

FLOOR = "E"  # of every family that has one: the loss that no model reaches


def check_fixed(family: LawFamily, fixed: Mapping[str, float] | None, runs: Runs) -> dict[str, float]:
    """The held coefficients as floats, by name.

    Raises:
        UsageError: a name the family does not have, a value outside its range, a floor above a loss, or nothing left
            to fit.
    """
    given = {} if fixed is None else fixed
    require_kind("fixed", given, Mapping, 'Name what to hold: {"E": 1.6}.')
    held = dict(given)
    known = {c.name: c for c in family.coefficients}
    for name, value in held.items():
        if not is_one_of(name, known):
            raise UnknownNameError(f"coefficient of the {family.name} law", str(name), known)
        low, high = known[name].low, known[name].high
        if isinstance(value, bool) or not (isinstance(value, (int, float)) and low <= value <= high):
            raise UsageError(
                f"{name} of the {family.name} law lies between {low:g} and {high:g}; got {value!r} to hold it at. Give "
                "a value inside, or let it be fitted."
            )
    if len(held) == len(known):
        raise UsageError(
            f"every coefficient of the {family.name} law is held; leave one at least to be fitted."
        )
    if FLOOR in held and held[FLOOR] >= runs.loss.min():
        row = int(runs.row[int(np.argmin(runs.loss))])
        raise UsageError(
            f"a floor held at {FLOOR} = {held[FLOOR]:g} is not below the lowest loss, {runs.loss.min():g} "
            f"({runs.source}, row {row}); hold it lower, or let it be fitted."
        )
    return {name: float(value) for name, value in held.items()}


def condition_text(fixed: Mapping[str, float]) -> str:
    """'given E = 1.6', or nothing: what the intervals of the other coefficients are conditional on."""
    return (
        tr("given {names}", names=", ".join(f"{name} = {value:g}" for name, value in fixed.items()))
        if fixed
        else ""
    )


def law_without_floor(family_name: str) -> str | None:
    """The family of the same form without a floor, where there is one."""
    from scaling.laws import FAMILIES

    bare = family_name.removesuffix("_floor")
    return bare if bare != family_name and bare in FAMILIES else None


def no_floor(family_name: str) -> Finding:
    """The best floor is zero: a minimum on its bound, and a coefficient too many."""
    bare = law_without_floor(family_name)
    option = f"--law {bare}" if bare else f"--fix {FLOOR}=0"
    how = (
        tr("{option} (in Python fit_law(runs, {bare!r}))", option=option, bare=bare)
        if bare
        else tr('{option} (in Python fixed={{"{floor}": 0}})', option=option, floor=FLOOR)
    )
    return Finding(
        code="at-bound",
        short=tr("the runs show no floor: fit the law without it ({option})", option=option),
        severity="warning",
        message=tr(
            "{floor} ended at zero, which is the minimum: the runs show no floor. Fit the law without it: "
            "{how}.",
            floor=FLOOR,
            how=how,
        ),
        remedies=(option,),
    )
