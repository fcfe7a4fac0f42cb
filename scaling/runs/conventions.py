"""What N, C and the loss count: read from the table, taken from the caller, or said to be unknown; never guessed.

N total against N without embeddings moves the fitted exponent of one set of runs from .37 to .70; 6 N_nonemb D is
between .17 and .80 of the exact FLOPs of small models. So each table carries its convention into every result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import DataError, UsageError, near_names
from scaling.runs.columns import Match, Matches, column_values
from scaling.runs.names import fold
from scaling.runs.raw_table import RawTable, Reading
from scaling.runs.table import PARAMS_CONVENTIONS, is_6nd
from scaling.translation import tr

Array = NDArray[np.float64]

ACTIVE_NAMES = {
    "active_params", "active_parameters", "n_active_params", "n_params_active", "activated_params",
}  # fmt: skip
# in ln C: digitised budgets scatter by a few per cent; a mixture's totals are off by a factor
MEETS_BUDGET = 0.1
READ_AS_TOTAL = "n_params is read as total parameters"
OPEN_COUNT = "may count all parameters or those without embeddings"
LOSS_UNITS = ("nats/token", "bits/token", "bits/byte", "nats/byte", "perplexity", "other")
# of a model whose tokens are characters
_ALSO = {"bits/character": "bits/token", "nats/character": "nats/token"}
_BYTES_PER_TOKEN = "--bytes-per-token NUMBER (in Python bytes_per_token=)"
_UNIT_NAMES = {
    "nats": "nats/token", "nat": "nats/token", "nats_token": "nats/token", "nats_per_token": "nats/token",
    "bits": "bits/token", "bits_token": "bits/token", "bits_per_token": "bits/token",
    "bpb": "bits/byte", "bits_byte": "bits/byte", "bits_per_byte": "bits/byte",
    "nats_byte": "nats/byte", "nats_per_byte": "nats/byte",
    "ppl": "perplexity", "perplexity": "perplexity",
    "other": "other", "unknown": "other", "not_stated": "other",
}  # fmt: skip


def single_value(cells: Sequence[Any] | NDArray[Any]) -> str | None:
    """The one value of a convention column; 'mixed' when rows differ; None when it is empty."""
    values = {str(c).strip() for c in cells if c is not None and c == c and str(c).strip()}
    return None if not values else values.pop() if len(values) == 1 else "mixed"


def flops_origin(cells: Sequence[Any] | NDArray[Any]) -> str | None:
    """A `flops_source` column by its first word: "source (published)" and "source: configs" are both `source`."""
    words = (re.split(r"[\s:(]", str(c).strip(), maxsplit=1)[0] for c in cells if c is not None and c == c)
    return single_value(list(words))


def choose_params(
    reading: Reading, stated: str | None, found: Matches, table: RawTable
) -> tuple[Match | None, str]:
    """Which column is N, and what it counts: as asked, else as the table states, else by its name.

    Of active and total parameters the one that meets the table's own budgets is N; where neither or both do, the
    caller is asked. None where the table has no parameters.
    """
    asked = reading.params_convention
    known = ", ".join(PARAMS_CONVENTIONS)
    if asked is not None and asked not in PARAMS_CONVENTIONS:
        raise UsageError(f"params_convention is one of {known}; got {asked!r}.")
    if stated is not None and stated not in PARAMS_CONVENTIONS:
        where = f"{table.source}, column params_convention"
        raise DataError(f"{where}: {stated!r} is not one of {known}; correct it.")
    total, active, nonemb = (found.get(n) for n in ("n_params", "n_params_active", "n_params_nonemb"))
    own = {"total": total, "active": active, "non_embedding": nonemb}
    if asked in own and (column := own[asked]) is not None:
        return column, asked
    if total is not None and active is not None and not total.as_told and stated is None:
        return _active_or_total(table, found, total, active)
    if total is not None:
        said = "total" if total.says_total else "active" if fold(total.header) in ACTIVE_NAMES else "unknown"
        return total, str(asked or stated or said)
    if (column := active or nonemb) is None:
        return None, asked or "unknown"
    convention = "active" if column is active else "non_embedding"
    if asked not in (None, convention):
        what = "without embeddings" if convention == "non_embedding" else "that are active a token"
        raise UsageError(
            f"{table.source} counts parameters {what} only (column {column.header}); leave --params-convention out (in "
            f"Python params_convention=), or add a column n_params that counts them as {asked!r} says."
        )
    return column, convention


def _active_or_total(table: RawTable, found: Matches, total: Match, active: Match) -> tuple[Match, str]:
    """N of a mixture of experts: the count with which 6 N D meets the compute that the table states."""
    values = {m.header: column_values(table, m) for m in (total, active)}
    if np.allclose(values[total.header], values[active.header], rtol=1e-6):
        return total, "total"  # dense models
    off = {m.header: _distance(table, found, values[m.header]) for m in (total, active)}
    near, far = sorted((total, active), key=lambda m: off[m.header])
    if off[near.header] < MEETS_BUDGET and off[far.header] > 2 * MEETS_BUDGET:
        return near, "active" if near is active else "total"
    stated = "" if math.isinf(off[near.header]) else ", and 6 N D meets the stated compute with neither"
    raise DataError(
        f"{table.source} has parameters that are active a token ({active.header}) and in all ({total.header}){stated}: "
        "which is N? Say --params-convention active or --params-convention total (in Python params_convention=). "
        "Training compute is 6 N D of the active ones.",
        remedies=("--params-convention active", "--params-convention total"),
    )


def _distance(table: RawTable, found: Matches, n_params: Array) -> float:
    """How far 6 N D lies from the compute a table states: nine in ten rows are nearer, in ln; inf: it states none."""
    match = found.get("budget") or found.get("flops")
    if match is None or "n_tokens" not in found:
        return math.inf
    C, D = column_values(table, match), column_values(table, found["n_tokens"])
    with np.errstate(all="ignore"):
        off = np.abs(np.log(FLOPS_PER_PARAM_TOKEN * n_params * D / C))
    off = off[np.isfinite(off)]
    return float(np.quantile(off, 0.9)) if len(off) else math.inf


def convention_notes(asked: str | None, stated: str | None, chosen: Match, params: str) -> tuple[str, ...]:
    """What was taken for granted about N, and what the caller's word overrules."""
    said = stated or ("total" if chosen.says_total and fold(chosen.header) != "n_params" else None)
    if asked or stated:
        return overruled("params_convention", asked, said)
    if params == "unknown":
        return (
            f"{chosen.header} {OPEN_COUNT}; say which: --params-convention total or non_embedding (in Python "
            "params_convention=)",
        )
    if params == "active":
        meets = "6 N D meets the compute of a mixture of experts with its active parameters"
        return (f"{chosen.header} is N: {meets}",)
    if fold(chosen.header) == "n_params" and params == "total":
        return (
            tr(
                "n_params is read as total parameters, embedding included; if it is not, say so: "
                "--params-convention non_embedding (in Python params_convention=)"
            ),
        )
    return ()


def overruled(name: str, asked: str | None, stated: str | None) -> tuple[str, ...]:
    """A note where the caller's convention replaces the one the table states."""
    differs = asked and stated not in (None, asked)
    return (f"{name} = {asked} as asked, though the table says {stated}",) if differs else ()


def flops_convention(
    asked: str | None, stated: str | None, source: str | None, flops: Array, n_params: Array, n_tokens: Array
) -> str:
    """How C was counted: as asked or stated, else `6ND` where the numbers say so, else what `flops_source` says."""
    if asked or stated:
        return str(asked or stated)
    if is_6nd(flops, n_params, n_tokens):
        return "6ND"
    if source is None:
        return "unknown"
    if source == "6ND":
        return "6ND (another N than this table's)"
    return source if source in ("exact", "mixed") else "source"


def unit_name(text: str) -> str:
    """'bpb' → 'bits/byte'; another text as it stands."""
    return _UNIT_NAMES.get(fold(text), text)


def loss_factor(
    asked: str | None, stated: str | None, bytes_per_token: float | None, where: str
) -> tuple[str, float]:
    """Unit the loss is kept in and the factor to it (NaN for perplexity: take the logarithm).

    Raises:
        DataError: the loss is not nats/token and the caller has not said so; the conversion is in the message.
        UsageError: an unknown unit, or bits/byte without bytes_per_token.
    """
    file_unit = None if stated is None else unit_name(stated)
    unit = file_unit or "nats/token" if asked is None else unit_name(asked)
    if asked is not None and unit not in LOSS_UNITS:
        raise UsageError(
            f"the unit of the loss (loss_unit) is one of {', '.join(LOSS_UNITS)}; got {asked!r}.",
            remedies=[f"--loss-unit {near}" for near in near_names(asked, LOSS_UNITS)],
        )
    contradicts = file_unit not in (None, unit, "other") and unit not in (_ALSO.get(str(file_unit)), "other")
    if asked is not None and contradicts:
        raise UsageError(
            f"{where} says its loss is in {file_unit}, and you say {unit}; leave --loss-unit (in Python loss_unit=) "
            "out, or rename the column."
        )
    if unit in ("nats/token", "other"):
        return unit, 1.0
    if asked is None:
        given = "in more than one unit" if unit == "mixed" else f"in {unit}"
        converted = _ALSO.get(unit, unit)
        without_bytes = ("perplexity", "bits/token", "nats/token")
        ready = (f"--loss-unit {converted}",) if converted in without_bytes else ()
        raise DataError(
            f"{where}: the loss is {given}, and laws need nats/token. {_how_to_convert(unit)}",
            remedies=ready if unit == "perplexity" else (*ready, "--loss-unit other"),
        )
    if unit == "perplexity":
        return "nats/token", math.nan
    bits = math.log(2) if unit.startswith("bits") else 1.0
    if unit == "bits/token":
        return "nats/token", bits
    if bytes_per_token is None:
        raise UsageError(
            f"a loss in {unit} needs {_BYTES_PER_TOKEN}, the bytes per token of the validation text; --loss-unit other "
            "(in Python loss_unit=) fits it as it stands (exponents only).",
            remedies=("--loss-unit other",),
        )
    if not (math.isfinite(bytes_per_token) and bytes_per_token > 0):
        raise UsageError(f"bytes_per_token must be a finite number above zero; got {bytes_per_token!r}.")
    return "nats/token", bits * bytes_per_token


def _how_to_convert(unit: str) -> str:
    say = f"say --loss-unit {unit} (in Python loss_unit=)"
    ways = {
        "bits/token": f"Multiply by ln 2 = 0.693147, or {say}.",
        "bits/byte": f"Multiply by ln 2 and by the bytes per token of the validation text, or {say} and "
        f"{_BYTES_PER_TOKEN}.",
        "nats/byte": f"Multiply by the bytes per token of the validation text, or {say} and {_BYTES_PER_TOKEN}.",
        "bits/character": "Where a token is a character, say --loss-unit bits/token (in Python loss_unit=); else "
        "--loss-unit other fits it as it stands (exponents only).",
        "perplexity": f"Take the natural logarithm, or {say}.",
    }
    as_it_stands = "--loss-unit other (in Python loss_unit=) to fit it as it stands (exponents only)."
    return ways.get(unit, f"Convert it, or say {as_it_stands}")
