"""load_runs: a file or a DataFrame → Runs, with what was assumed and derived told back in `notes`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError
from scaling.runs.cells import RawTable, read_extra, read_numbers, read_texts
from scaling.runs.columns import Match, match_columns, missing_column
from scaling.runs.conventions import (
    choose_params,
    convention_notes,
    flops_origin,
    loss_factor,
    overruled,
    single_value,
)
from scaling.runs.conventions import flops_convention as choose_flops
from scaling.runs.read import MAX_ROWS, read_table
from scaling.runs.table import FLOPS_PER_PARAM_TOKEN, Convention, Runs

Array = NDArray[np.float64]

_TEXT_HEADERS = ("run_id", "trunk_id", "run", "trunk", "run_name", "name", "id")


def load_runs(
    path_or_frame: Any,
    *,
    params_convention: str | None = None,
    flops_convention: str | None = None,
    loss_unit: str | None = None,
    bytes_per_token: float | None = None,
    columns: Mapping[str, str] | None = None,
    planned: bool = False,
    inputs: Collection[str] | None = None,
    max_rows: int = MAX_ROWS,
) -> Runs:
    """Read training runs: one row a run, or many rows a run (curves, whose rows share `run_id`).

    Needs n_params (or n_params_nonemb), loss, and n_tokens or flops; the missing one follows from C = 6 N D.
    Column names have aliases ("params", "D"), cells and headers may carry units ("7B", "tokens (B)").

    Args:
        path_or_frame: .csv, .tsv, .jsonl (each also gzipped), .parquet, a DataFrame, or a mapping of columns.
        params_convention: what N counts: "total" or "non_embedding"; None reads it from the table.
        flops_convention: how C was counted: "6ND", "exact", ...; None reads it from the table.
        loss_unit: nats/token, or bits/token, bits/byte, nats/byte, perplexity to convert; "other" keeps it as it is.
        bytes_per_token: bytes of the validation text divided by its tokens; for a loss per byte.
        columns: our name → column of the file, where a name is ambiguous.
        planned: the loss may be missing, in some rows or all: runs to predict for (`predict_runs`).
        inputs: what the law to be fitted reads, of n_params, n_tokens, flops: the others may be missing (then NaN).
        max_rows: refuse longer files.
    Returns:
        Runs with its Convention; `notes` tell what was read as what.
    Raises:
        DataError: the file, the line, the column, the value, and what to do.
    Example:
        >>> load_runs({"params": ["1B", "2B"], "tokens": ["20B", "40B"], "loss": [2.6, 2.4]}).flops[0]
        1.2e+20
    """
    table = read_table(path_or_frame, max_rows=max_rows, text_headers=_text_headers(columns))
    where = table.source
    found, notes = match_columns(table.headers, columns, where)
    _require_columns(found, table, planned, inputs)
    says = _stated(table, found)
    nothing = np.full(len(table), math.nan)
    chosen, params, N = None, "unknown", nothing
    if "n_params" in found or "n_params_nonemb" in found:
        chosen, params = choose_params(params_convention, says.get("params_convention"), found, where)
        N = _numbers(table, chosen, required=True)
    loss, unit = np.full(len(table), math.nan), "nats/token"  # of runs not trained yet
    loss_notes: tuple[str, ...] = ()
    if "loss" in found:
        stated = says.get("loss_unit")
        loss, unit, loss_notes = _loss(table, found["loss"], loss_unit, stated, bytes_per_token, planned)
    D, C, derived = _tokens_and_flops(table, found, N)
    counted = choose_flops(flops_convention, says.get("flops_convention"), says.get("flops_source"), C, N, D)
    told: tuple[str, ...] = ()
    if chosen is not None:
        told = convention_notes(params_convention, says.get("params_convention"), chosen, params)
    told += overruled("flops_convention", flops_convention, says.get("flops_convention"))
    return Runs(
        n_params=N,
        n_tokens=D,
        flops=C,
        loss=loss,
        run_id=_run_ids(table, found),
        trunk_id=_trunks(table, found),
        extras=_extras(table, found, chosen),
        convention=Convention(params=params, flops=counted, loss_unit=unit),
        source=where,
        row=table.row,
        planned=planned,
        notes=(*table.notes, *notes, *told, *derived, *loss_notes),
        **{k: _numbers(table, found[k]) for k in ("budget", "step", "n_tokens_unique") if k in found},
    )


_STATED = ("params_convention", "flops_convention", "loss_unit")


def _require_columns(
    found: Mapping[str, Match], table: RawTable, planned: bool, inputs: Collection[str] | None
) -> None:
    wanted = [("n_params", "n_params_nonemb"), ("loss", "loss"), ("n_tokens", "flops")]
    if inputs is not None and len(inputs) < 2:
        there = [n for n in ("n_params", "n_params_nonemb", "n_tokens", "flops") if n in found]
        least = inputs if inputs and len(there) < 2 else there or ("n_params",)
        wanted = [("loss", "loss"), *((name, f"{name}_nonemb") for name in least)]
    for name, instead in wanted:
        if planned and name == "loss":
            continue
        if name not in found and instead not in found:
            raise missing_column(name, table.headers, table.source)


def _stated(table: RawTable, found: Mapping[str, Match]) -> dict[str, str | None]:
    """What the table's own columns say about its conventions."""
    says = {k: single_value(table.values[found[k].position]) for k in _STATED if k in found}
    if "flops_source" in found:
        says["flops_source"] = flops_origin(table.values[found["flops_source"].position])
    return says


def _text_headers(columns: Mapping[str, str] | None) -> tuple[str, ...]:
    given = columns or {}
    return (*_TEXT_HEADERS, *(given[k] for k in ("run_id", "trunk_id") if k in given))


def _numbers(table: RawTable, match: Match, *, required: bool = False) -> Array:
    return read_numbers(table, match.position, match.name, scale=match.scale, optional=not required)


def _loss(
    table: RawTable,
    match: Match,
    asked: str | None,
    stated: str | None,
    bytes_per_token: float | None,
    planned: bool,
) -> tuple[Array, str, tuple[str, ...]]:
    """The loss in nats/token where it can be converted, its unit, and what was done."""
    unit, factor = loss_factor(
        asked, match.unit or stated, bytes_per_token, f"{table.source}, column {match.header}"
    )
    values = _numbers(table, match, required=not planned)
    if math.isnan(factor):
        if bool(np.any(values <= 1)):
            i = int(np.flatnonzero(values <= 1)[0])
            raise DataError(
                f"{table.place(i, match.header)}: a perplexity of {values[i]:g} is not above 1; check it."
            )
        return np.log(values), unit, ("loss = ln(perplexity)",)
    if factor == 1:
        return values, unit, ()
    return values * factor, unit, (f"loss = {match.header} times {factor:.6g} (from {asked})",)


def _tokens_and_flops(
    table: RawTable, found: dict[str, Match], N: Array
) -> tuple[Array, Array, tuple[str, ...]]:
    """D and C; the one that is absent from the other, by C = 6 N D."""
    with np.errstate(all="ignore"):  # Runs refuses what overflows and names its row
        if "n_tokens" not in found and "flops" not in found:
            return np.full(len(table), math.nan), np.full(len(table), math.nan), ()
        if "n_tokens" not in found:
            C = _numbers(table, found["flops"], required=True)
            return (
                C / (FLOPS_PER_PARAM_TOKEN * N),
                C,
                ("n_tokens = flops / (6 n_params): the table has no tokens",),
            )
        D = _numbers(table, found["n_tokens"], required=True)
        if "flops" not in found:
            return D, FLOPS_PER_PARAM_TOKEN * N * D, ("flops = 6 n_params n_tokens: the table has no FLOPs",)
        return D, _numbers(table, found["flops"], required=True), ()


def _run_ids(table: RawTable, found: dict[str, Match]) -> tuple[str, ...]:
    """The name of each row's run; a row without one is a run of its own, named by its place."""
    if "run_id" in found:
        names = read_texts(table.values[found["run_id"].position])
        if all(names):
            return names
    else:
        names = ("",) * len(table)
    return tuple(n or f"{table.row_word}-{i}" for n, i in zip(names, table.row, strict=True))


def _trunks(table: RawTable, found: dict[str, Match]) -> tuple[str, ...] | None:
    """The trunk of each row; a row without one is on its own, under its run id."""
    if "trunk_id" not in found:
        return None
    trunks = read_texts(table.values[found["trunk_id"].position])
    runs = _run_ids(table, found)
    return tuple(t or r for t, r in zip(trunks, runs, strict=True)) if any(trunks) else None


def _extras(table: RawTable, found: dict[str, Match], chosen: Match | None) -> dict[str, NDArray[Any]]:
    """Every column not read into a field of Runs; `n_params_nonemb` (or the total) stays when it is not N."""
    used = {
        m.position for m in found.values() if m.name not in ("n_params", "n_params_nonemb", "flops_source")
    }
    used |= {chosen.position} if chosen is not None else set()
    other = {m.position: m for m in found.values() if m.position not in used and m.name != "flops_source"}
    extras: dict[str, NDArray[Any]] = {}
    for position, header in enumerate(table.headers):
        if position in other:
            name = "n_params_nonemb" if other[position].name == "n_params_nonemb" else "n_params_total"
            extras[name] = read_numbers(table, position, other[position].name, optional=True)
        elif position not in used and header:
            name = (
                f"file_{header}" if header in Runs.__dataclass_fields__ else header
            )  # `loss` when another was asked
            extras[name] = read_extra(table.values[position])
    return extras
