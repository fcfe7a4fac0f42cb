"""Laws as JSON: full-precision coefficients with their provenance and uncertainty, and back without loss.

{"schema_version": 1, "kind": "law", "family": "chinchilla", "coefficients": {...}, "provenance": {...} | null,
 "uncertainty": {...} | null}. An infinite interval end is the string "inf" or "-inf" (JSON has no infinity).
A fit file ({"kind": "fit", ...}) carries the same object under "law"; `load_law` reads both.
"""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from scaling.arguments import require_path
from scaling.errors import DamagedLawError, LawError, StorageError, UnknownNameError
from scaling.laws.base import Law, OptimumBand, Provenance, Uncertainty

LAW_SCHEMA_VERSION = 1
_WRITE_AGAIN = "Write it again with `scaling fit ... -o`."
_KINDS = {dict: "an object", list: "a list", str: "text"}


def law_to_dict(law: Law) -> dict[str, Any]:
    """The law as plain JSON types."""
    return {
        "schema_version": LAW_SCHEMA_VERSION,
        "kind": "law",
        "family": law.family.name,
        "coefficients": dict(law.coefficients),
        "provenance": _plain(law.provenance),
        "uncertainty": _plain(law.uncertainty),
    }


def law_from_dict(data: Any, *, origin: str = "this law") -> Law:
    """Rebuild a law; `origin` (a path or a name) is what error messages call it.

    Raises:
        DamagedLawError: damaged, of another schema version, or of a family this version does not know.
    """
    from scaling.laws import find_family

    data = _law_part(data, origin)
    try:
        family = find_family(data["family"])
    except UnknownNameError as error:
        advice = "Update the package, or refit the law with this version."
        raise DamagedLawError(f"{origin}: {error} {advice}") from error
    coefficients = data["coefficients"]
    if not isinstance(coefficients, dict) or set(coefficients) != set(family.names):
        got = ", ".join(map(str, coefficients)) if isinstance(coefficients, dict) else _shown(coefficients)
        raise DamagedLawError(
            f"{origin}: a {family.name} law needs exactly the coefficients {', '.join(family.names)}, "
            f"got {got or 'none'}. Write the file again with `scaling fit ... -o`."
        )
    try:
        provenance = _provenance_from_dict(data.get("provenance"))
        uncertainty = _uncertainty_from_dict(data.get("uncertainty"), n_coefficients=len(family.names))
        return family.make(**coefficients, provenance=provenance, uncertainty=uncertainty)
    except LawError as error:
        fault = str(error).rstrip(".")
        raise DamagedLawError(f"{origin} is damaged: {fault}. {_WRITE_AGAIN}") from error


def load_law(path: str | os.PathLike[str]) -> Law:
    """Read a law from a law or fit JSON file.

    Raises:
        LawError: not found; DamagedLawError: damaged or of another schema version.
    Example:
        >>> import scaling
        >>> scaling.write_law(scaling.fit_parametric(scaling.example_runs(), intervals=False), "law.json")
        >>> round(scaling.load_law("law.json").alpha, 3)
        0.342
    """
    require_path("the path of a law", path)
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except FileNotFoundError as error:
        advice = f"Write one with `scaling fit RUNS -o {path}`."
        raise LawError(f"there is no law file {path}. {advice}") from error
    except OSError as error:
        raise LawError(f"the law file {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        if not str(path).lower().endswith(".json"):
            raise DamagedLawError(
                f"{path} holds no law: a law is a published name or a fit.json. A table of runs is fitted first: "
                f"`scaling fit {shlex.quote(str(path))} -o fit.json`."
            ) from error
        raise DamagedLawError(f"{path} is damaged: not JSON ({error}). {_WRITE_AGAIN}") from error
    return law_from_dict(data, origin=path)


def law_text(law: Law) -> str:
    """The law as the text of a file, one row of numbers a line; floats keep every digit."""
    import re

    text = json.dumps(law_to_dict(law), indent=1, allow_nan=False)
    return (
        re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda row: "[" + re.sub(r"\s*\n\s*", " ", row[1]) + "]", text)
        + "\n"
    )


def _law_part(data: Any, origin: str) -> dict[str, Any]:
    """The law object itself, out of a law or a fit, after its version was checked."""
    if not isinstance(data, dict) or data.get("kind") not in ("law", "fit"):
        raise DamagedLawError(
            f'{origin} is not a law: a JSON object with "kind": "law" or "fit", as `scaling fit ... -o` writes.'
        )
    if data.get("schema_version") != LAW_SCHEMA_VERSION:
        raise DamagedLawError(
            f"{origin} has schema_version {data.get('schema_version')!r}, this version reads {LAW_SCHEMA_VERSION}. "
            "Fit again with this version, or use the version that wrote the file."
        )
    if data["kind"] == "fit":
        return _law_part(data.get("law"), f"the law inside {origin}")
    missing = [key for key in ("family", "coefficients") if key not in data]
    if missing:
        raise DamagedLawError(f"{origin} is damaged: it has no {' and no '.join(missing)}. {_WRITE_AGAIN}")
    return data


def _plain(value: Any) -> Any:
    """A named tuple, a mapping or a sequence as plain JSON types, infinite interval ends by name."""
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    return value


def _provenance_from_dict(data: Any) -> Provenance | None:
    if data is None:
        return None
    _require_keys(data, "provenance", ("name", "source"))
    ratios, ranges = data.get("flops_over_6nd", [1.0, 1.0]), data.get("fitted_range", {})
    _checked(dict, ranges, "provenance.fitted_range")
    texts = [n for n in Provenance._fields if n in data and n not in ("flops_over_6nd", "fitted_range")]
    return Provenance(
        flops_over_6nd=_range(ratios, "provenance.flops_over_6nd"),
        **{name: _checked(str, data[name], f"provenance.{name}") for name in texts},
        fitted_range={k: _range(ends, f"provenance.fitted_range.{k}") for k, ends in ranges.items()},
    )


def _uncertainty_from_dict(data: Any, *, n_coefficients: int) -> Uncertainty | None:
    if data is None:
        return None
    _require_keys(data, "uncertainty", ("level", "method"))
    level = _finite(data["level"], "uncertainty.level")
    if not 0 < level < 1:
        raise DamagedLawError(f"uncertainty.level must lie between 0 and 1, got {level:g}")
    draws = _checked(list, data.get("draws", []), "uncertainty.draws")
    for i, row in enumerate(draws):
        if len(_checked(list, row, f"uncertainty.draws[{i}]")) != n_coefficients:
            raise DamagedLawError(
                f"uncertainty.draws[{i}] must hold {n_coefficients} numbers, one a coefficient, got {len(row)}"
            )
    sd = data.get("residual_sd")
    if sd is not None and (sd := _finite(sd, "uncertainty.residual_sd")) < 0:
        raise DamagedLawError(f"uncertainty.residual_sd must not be negative, got {sd:g}")
    texts = ("method", "statement", "draws_method")
    return Uncertainty(
        level=level,
        residual_sd=sd,
        band=_band(data.get("band")),
        draws=tuple(tuple(_finite(v, f"uncertainty.draws[{i}]") for v in row) for i, row in enumerate(draws)),
        **{name: _checked(str, data.get(name, ""), f"uncertainty.{name}") for name in texts},
    )


def _band(data: Any) -> OptimumBand | None:
    if data is None:
        return None
    _require_keys(data, "uncertainty.band", OptimumBand._fields)
    columns: dict[str, tuple[float, ...]] = {}
    for field in OptimumBand._fields:
        name = f"uncertainty.band.{field}"
        columns[field] = tuple(_number(value, name) for value in _checked(list, data[field], name))
    if len({len(column) for column in columns.values()}) != 1 or not columns["log10_flops"]:
        raise DamagedLawError("the columns of uncertainty.band differ in length or are empty")
    budgets = [_finite(v, "uncertainty.band.log10_flops") for v in columns["log10_flops"]]
    if any(right <= left for left, right in pairwise(budgets)):
        raise DamagedLawError("uncertainty.band.log10_flops must rise")
    for low, high in (("n_params_low", "n_params_high"), ("loss_low", "loss_high")):
        if any(a > b for a, b in zip(columns[low], columns[high], strict=True)):
            raise DamagedLawError(f"uncertainty.band.{low} lies above {high}")
    return OptimumBand(**columns)


def _checked(kind: type[dict[Any, Any] | list[Any] | str], value: Any, name: str) -> Any:
    """The value, if JSON's object, list or text it is."""
    if not isinstance(value, kind):
        raise DamagedLawError(f"{name} must be {_KINDS[kind]}, got {_shown(value)}")
    return value


def _require_keys(data: Any, name: str, keys: tuple[str, ...]) -> None:
    _checked(dict, data, name)
    if missing := [key for key in keys if key not in data]:
        raise DamagedLawError(f"{name} has no {' and no '.join(missing)}")


def _range(ends: Any, name: str) -> tuple[float, float]:
    if len(_checked(list, ends, name)) != 2:
        raise DamagedLawError(f"{name} must be a lower and an upper end, got {len(ends)} values")
    low, high = (_number(v, name) for v in ends)
    return low, high


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _number(value: Any, name: str) -> float:
    """A number, or an infinity by name."""
    if value in ("inf", "-inf") and isinstance(value, str):
        return float(value)
    try:
        number = math.nan if isinstance(value, (bool, str)) or value is None else float(value)
    except (TypeError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise DamagedLawError(f"{name} must be a number, got {_shown(value)}")
    return number


def _finite(value: Any, name: str) -> float:
    number = _number(value, name)
    if not math.isfinite(number):
        raise DamagedLawError(f"{name} must be a finite number, got {_shown(value)}")
    return number


def write_law(law: Law, path: str | os.PathLike[str]) -> None:
    """Write a law as `law_text` has it; `scaling.write_law` takes it in any form.

    Raises:
        UsageError: no path; StorageError: the file cannot be written.
    """
    require_path("the path of a law", path)
    text = law_text(law)
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"the law file {path} cannot be written: {error.strerror}.") from error
