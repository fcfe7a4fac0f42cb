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

from scaling.errors import DataError, UsageError
from scaling.runs.columns import SAYS_TOTAL, Match, fold
from scaling.runs.table import FLOPS_PER_PARAM_TOKEN, PARAMS_CONVENTIONS

Array = NDArray[np.float64]

SAME_FLOPS = 2e-3  # relative; tables print C or D with three or more digits
LOSS_UNITS = ("nats/token", "bits/token", "bits/byte", "nats/byte", "perplexity", "other")
_BYTES_PER_TOKEN = "--bytes-per-token (in Python bytes_per_token=)"
_UNIT_NAMES = {
    "nats": "nats/token", "nat": "nats/token", "nats_token": "nats/token", "nats_per_token": "nats/token",
    "bits": "bits/token", "bits_token": "bits/token", "bits_per_token": "bits/token",
    "bpb": "bits/byte", "bits_byte": "bits/byte", "bits_per_byte": "bits/byte",
    "nats_byte": "nats/byte", "nats_per_byte": "nats/byte",
    "ppl": "perplexity", "perplexity": "perplexity",
    "other": "other", "unknown": "other", "not_stated": "other",
}  # fmt: skip


def single_value(cells: Sequence[Any] | NDArray[Any] | None) -> str | None:
    """The one value of a convention column; 'mixed' when rows differ; None when it is absent or empty."""
    if cells is None:
        return None
    values = {str(c).strip() for c in cells if c is not None and c == c and str(c).strip()}
    return None if not values else values.pop() if len(values) == 1 else "mixed"


def flops_origin(cells: Sequence[Any] | NDArray[Any]) -> str | None:
    """A `flops_source` column by its first word: "source (published)" and "source: configs" are both `source`."""
    words = (re.split(r"[\s:(]", str(c).strip(), maxsplit=1)[0] for c in cells if c is not None and c == c)
    return single_value(list(words))


def choose_params(
    asked: str | None, stated: str | None, found: dict[str, Match], where: str
) -> tuple[Match, str]:
    """Which column is N, and what it counts: as asked, else as the table states, else by its name."""
    known = ", ".join(PARAMS_CONVENTIONS)
    if asked is not None and asked not in PARAMS_CONVENTIONS:
        raise UsageError(f"params_convention is one of {known}; got {asked!r}.")
    if stated is not None and stated not in PARAMS_CONVENTIONS:
        raise DataError(f"{where}, column params_convention: {stated!r} is not one of {known}; correct it.")
    total, nonemb = found.get("n_params"), found.get("n_params_nonemb")
    if asked == "non_embedding" and nonemb is not None:
        return nonemb, "non_embedding"
    if total is None:
        assert nonemb is not None  # the caller has checked that one of the two is there
        if asked not in (None, "non_embedding"):
            raise UsageError(
                f"{where} counts parameters without embeddings only (column {nonemb.header}); add a column n_params "
                f"with all parameters to fit under the convention {asked!r}."
            )
        return nonemb, "non_embedding"
    if asked or stated:
        return total, str(asked or stated)
    return total, "total" if fold(total.header) in SAYS_TOTAL else "unknown"


def convention_notes(asked: str | None, stated: str | None, chosen: Match, params: str) -> tuple[str, ...]:
    """What was taken for granted about N, and what the caller's word overrules."""
    said = stated or ("total" if fold(chosen.header) in SAYS_TOTAL - {"n_params"} else None)
    if asked or stated:
        return overruled("params_convention", asked, said)
    if params == "unknown":
        return (
            f"{chosen.header} may count all parameters or those without embeddings; say which: --params-convention "
            "(in Python params_convention=)",
        )
    if fold(chosen.header) == "n_params":
        return (
            "n_params is read as total parameters, embedding included; if it is not, say so: --params-convention (in "
            "Python params_convention=)",
        )
    return ()


def overruled(name: str, asked: str | None, stated: str | None) -> tuple[str, ...]:
    """A note where the caller's convention replaces the one the table states."""
    return (
        (f"{name} = {asked} as asked, though the table says {stated}",)
        if asked and stated not in (None, asked)
        else ()
    )


def flops_convention(
    asked: str | None, stated: str | None, source: str | None, flops: Array, n_params: Array, n_tokens: Array
) -> str:
    """How C was counted: as asked or stated, else `6ND` where the numbers say so, else what `flops_source` says."""
    if asked or stated:
        return str(asked or stated)
    if _is_6nd(flops, n_params, n_tokens):
        return "6ND"
    if source is None:
        return "unknown"
    if source == "6ND":
        return "6ND (another N than this table's)"
    return source if source in ("exact", "mixed") else "source"


def _is_6nd(flops: Array, n_params: Array, n_tokens: Array) -> bool:
    """Whether every C equals 6 N D to the digits tables print; in one array, since tables have a million rows."""
    ratio = flops / n_params
    ratio /= n_tokens
    ratio /= FLOPS_PER_PARAM_TOKEN
    ratio -= 1
    return bool(np.all(np.abs(ratio, out=ratio) <= SAME_FLOPS))


def loss_factor(
    asked: str | None, stated: str | None, bytes_per_token: float | None, where: str
) -> tuple[str, float]:
    """Unit the loss is kept in and the factor to it (NaN for perplexity: take the logarithm).

    Raises:
        DataError: the loss is not nats/token and the caller has not said so; the conversion is in the message.
        UsageError: an unknown unit, or bits/byte without bytes_per_token.
    """
    file_unit = None if stated is None else _UNIT_NAMES.get(fold(stated), stated)
    unit = file_unit or "nats/token" if asked is None else _UNIT_NAMES.get(fold(asked), asked)
    if asked is not None and unit not in LOSS_UNITS:
        raise UsageError(f"loss_unit is one of {', '.join(LOSS_UNITS)}; got {asked!r}.")
    if asked is not None and file_unit not in (None, unit, "other"):
        raise UsageError(
            f"{where} says its loss is in {file_unit}, loss_unit says {unit}; drop one of the two."
        )
    if unit in ("nats/token", "other"):
        return unit, 1.0
    if asked is None:
        given = "in more than one unit" if unit == "mixed" else f"in {unit}"
        raise DataError(f"{where}: the loss is {given}, and laws need nats/token. {_how_to_convert(unit)}")
    if unit == "perplexity":
        return "nats/token", math.nan
    bits = math.log(2) if unit.startswith("bits") else 1.0
    if unit == "bits/token":
        return "nats/token", bits
    if bytes_per_token is None:
        raise UsageError(f"a loss in {unit} needs {_BYTES_PER_TOKEN}. {_how_to_convert(unit)}")
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
        "perplexity": f"Take the natural logarithm, or {say} (per token).",
    }
    as_it_stands = (
        "Convert it, or say --loss-unit other (in Python loss_unit=) to fit it as it stands (exponents only)."
    )
    return ways.get(unit, as_it_stands)
