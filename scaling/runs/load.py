"""load_runs: a file or a DataFrame → Runs, with what was assumed and derived told back in `notes`.

In this order: the table as written, which column is what, which rows are asked for, and only then the cells as numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scaling.arguments import require_texts, require_whole
from scaling.errors import DataError
from scaling.runs.choose import (
    after_the_start,
    best_of_cells,
    choose_rows,
    counted_runs,
    last_rows,
    run_names,
    without_crashed,
)
from scaling.runs.columns import Match, Matches, match_columns, missing_column, read_column
from scaling.runs.commas import resolve_commas
from scaling.runs.conventions import (
    choose_params,
    convention_notes,
    flops_convention,
    flops_origin,
    loss_factor,
    overruled,
    single_value,
    unit_name,
)
from scaling.runs.derive import Sizes, read_sizes
from scaling.runs.names import EXPERTS, PARSERS, fold, fold_tail
from scaling.runs.raw_table import ColumnNames, RawTable, Reading, read_extra, read_texts
from scaling.runs.read import MAX_ROWS, read_table
from scaling.runs.table import Convention, Runs
from scaling.units import parse_params

Array = NDArray[np.float64]

_TEXT_HEADERS = ("run_id", "trunk_id", "run", "trunk", "run_name", "name", "id", "Name", "ID", "Run")
_STATED = ("params_convention", "flops_convention", "loss_unit", "data_unit")


class Frame(Protocol):
    """A table of pandas, polars, pyarrow, Hugging Face datasets: columns by name."""

    def __getitem__(self, name: str, /) -> object: ...
    def __len__(self) -> int: ...


TableLike: TypeAlias = str | os.PathLike[str] | Frame | Mapping[str, object] | Sequence[Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Runs, and which rows of the file they are not."""

    runs: Runs
    left_out: tuple[str, ...]  # runs, as asked
    n_curve_rows: int  # that stood before the last row of their run; 0 = no curves were reduced


def load_runs(
    path_or_frame: TableLike,
    *,
    params_convention: str | None = None,
    flops_convention: str | None = None,
    loss_unit: str | None = None,
    bytes_per_token: float | None = None,
    columns: ColumnNames | None = None,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    drop: Sequence[str] = (),
    best_of_cell: bool = False,
    final: bool = False,
    tokens_per_step: float | None = None,
    decimal: str | None = None,
    wide: str | None = None,
    inputs: Collection[str] | None = None,
    planned: bool = False,
    max_rows: int = MAX_ROWS,
) -> Runs:
    """Read training runs: one row a run, or many rows a run (curves, whose rows share `run_id`).

    Needs the loss and two of n_params, n_tokens and flops (or a budget); the third follows from C = 6 N D. Column names
    are read by their words ("Params (M)", "train/total_tokens", "compute_pf_days"), cells may carry units ("7B").

    Args:
        path_or_frame: a file, a DataFrame, a list of records, or a mapping of columns (docs/tables.md).
        params_convention: what N counts: "total", "active" or "non_embedding"; None reads it from the table.
        flops_convention: how C was counted: "6ND", "exact", ...; None reads it from the table.
        loss_unit: nats/token, or bits/token, bits/byte, nats/byte, perplexity to convert; "other" keeps it as it is.
        bytes_per_token: bytes of the validation text divided by its tokens; for a loss per byte.
        columns: our name → column of the file, where a name is ambiguous.
        only: keep rows where these hold: "corpus=c4", "n_params<1e9".
        exclude: leave out runs by id, by "line:12" or where "loss>20"; judged before any cell is.
        drop: leave out rows where these columns are true.
        best_of_cell: of the runs of one (N, D), a grid of learning rates, keep the one of the lowest loss.
        final: of training curves keep the last row of each run.
        tokens_per_step: D = steps times this, where the table has steps and no tokens.
        decimal: the decimal sign, "comma" or "point", where a cell like 5,556 could be either and nothing tells.
        wide: what the columns of a wide table are: "budget", "n_params", "run" (docs/tables.md).
        inputs: what a law uses, ("flops",): the other sizes may be absent (all NaN in Runs).
        planned: the loss may be missing, in some rows or all: runs to predict for (`predict_runs`).
        max_rows: refuse longer files.
    Returns:
        Runs with its Convention; `notes` tell what was read as what.
    Raises:
        DataError: the file, the line, the column, the value, and what to do.
    Example:
        >>> runs = load_runs({"params": ["1B", "2B"], "tokens": ["20B", "40B"], "loss": [2.6, 2.4]})
        >>> runs.flops.tolist()
        [1.2e+20, 4.8e+20]
    """
    arguments = locals()
    reading = Reading(**{option.name: arguments[option.name] for option in fields(Reading)})
    require_texts(or_none=True, wide=wide)
    require_whole(least=1, max_rows=max_rows)
    table = read_table(path_or_frame, max_rows=max_rows, text_headers=text_headers(columns), wide=wide)
    return read_runs(table, reading).runs


def read_runs(table: RawTable, reading: Reading) -> Loaded:
    """The runs of a table as written."""
    table = resolve_commas(table, decimal=reading.decimal, columns=reading.columns)
    found, notes = match_columns(table, reading.columns)
    table, left_out = choose_rows(table, found, reading)
    if left_out:
        notes = (*notes, f"left out {counted_runs(left_out)} as you asked")
    if not reading.planned:
        table, crashed, told = without_crashed(table, found)
        left_out, notes = (*left_out, *crashed), (*notes, *told)
    table, chosen_notes, n_curve_rows = _chosen_rows(table, found, reading)
    runs = _runs(table, found, reading, (*notes, *chosen_notes))
    return Loaded(runs=runs, left_out=left_out, n_curve_rows=n_curve_rows)


def text_headers(columns: ColumnNames | None) -> tuple[str, ...]:
    """The columns to read as text whatever they look like: names."""
    given = columns or {}
    return (*_TEXT_HEADERS, *(h for k in ("run_id", "trunk_id") if (h := given.get(k))))


def _chosen_rows(table: RawTable, found: Matches, reading: Reading) -> tuple[RawTable, tuple[str, ...], int]:
    """The rows that are runs: after the start of training, the last of each curve, the best of each cell."""
    notes: list[str] = []
    kept = after_the_start(table, found)
    if len(kept) < len(table):
        notes.append(f"left out {len(table) - len(kept)} rows at step 0, before training")
        table = kept
    n_curve_rows = len(table)
    if reading.final:
        table = last_rows(table, found, planned=reading.planned)
    n_curve_rows -= len(table)
    if n_curve_rows and "run_id" not in found:
        what = "rows of one size with rising steps were read as one training curve"
        notes.append(f"{what}: {len(table)} curves")
    if reading.best_of_cell:
        best = best_of_cells(table, found)
        what = "kept the lowest loss of each cell (same sizes and tokens)"
        notes.append(f"{what}: {len(best)} of {len(table)} rows")
        table = best
    return table, tuple(notes), n_curve_rows


def _runs(table: RawTable, found: Matches, reading: Reading, notes: tuple[str, ...]) -> Runs:
    """Every cell as a number, every derived quantity, and what was taken for granted."""
    if "loss" not in found and not reading.planned:
        raise missing_column("loss", table, found)
    says = _stated(table, found)
    chosen, params = choose_params(reading, says.get("params_convention"), found, table)
    sizes = read_sizes(table, found, chosen, reading)
    loss, unit, loss_notes = _loss(table, found.get("loss"), says.get("loss_unit"), reading)
    asked, stated = reading.flops_convention, says.get("flops_convention")
    flops_are = flops_convention(asked, stated, says.get("flops_source"), *sizes.arrays())
    told: tuple[str, ...] = ()
    if chosen is not None:
        told = convention_notes(reading.params_convention, says.get("params_convention"), chosen, params)
    told += overruled("flops_convention", asked, stated)
    return Runs(
        n_params=sizes.n_params,
        n_tokens=sizes.n_tokens,
        flops=sizes.flops,
        loss=loss,
        run_id=run_names(table, found),
        trunk_id=_trunks(table, found),
        extras=_extras(table, found, chosen, sizes),
        convention=Convention(
            params=params,
            params_assumed=_assumed(table, chosen, reading, says),
            flops=flops_are,
            loss_unit=unit,
            data_unit=says.get("data_unit") or sizes.data_unit,
        ),
        source=table.source,
        row=table.row,
        planned=reading.planned,
        read_from=sizes.read_from,
        notes=(*table.notes, *notes, *told, *sizes.notes, *loss_notes),
        **{
            k: read_column(table, found[k], optional=True)
            for k in ("budget", "step", "n_tokens_unique")
            if k in found
        },
    )


def _stated(table: RawTable, found: Matches) -> dict[str, str | None]:
    """What the table's own columns say about its conventions."""
    says = {k: single_value(table.values[found[k].position]) for k in _STATED if k in found}
    if "flops_source" in found:
        says["flops_source"] = flops_origin(table.values[found["flops_source"].position])
    return says


def _assumed(table: RawTable, chosen: Match | None, reading: Reading, says: ColumnNames) -> bool:
    """Whether nothing but the bare name n_params says that embeddings are counted; or, of mixtures, all experts."""
    if chosen is None or reading.params_convention or says.get("params_convention"):
        return False
    mixtures = any(fold_tail(h) in EXPERTS for h in table.headers)
    return fold(chosen.header) == "n_params" or (chosen.says_total and mixtures)


def _loss(
    table: RawTable, match: Match | None, stated: str | None, reading: Reading
) -> tuple[Array, str, tuple[str, ...]]:
    """The loss in nats/token where it can be converted, its unit, and what was done."""
    if match is None:  # of runs not trained yet
        return np.full(len(table), math.nan), "nats/token", ()
    asked, where = reading.loss_unit, f"{table.source}, column {match.header}"
    unit, factor = loss_factor(asked, match.unit or stated, reading.bytes_per_token, where)
    values = read_column(table, match, optional=reading.planned)
    told = overruled("loss_unit", asked, None if (said := match.unit or stated) is None else unit_name(said))
    if math.isnan(factor):
        if (low := np.flatnonzero(values <= 1)).size:
            what = f"{table.place(int(low[0]), match.header)}: a perplexity of {values[low[0]]:g}"
            raise DataError(f"{what} is not above 1; check it.")
        return np.log(values), unit, (*told, "loss = ln(perplexity)")
    if factor == 1:
        return values, unit, told
    return values * factor, unit, (*told, f"loss = {match.header} times {factor:.6g} (from {asked})")


def _trunks(table: RawTable, found: Matches) -> tuple[str, ...] | None:
    """The trunk of each row; a row without one is on its own, under its run id."""
    if "trunk_id" not in found:
        return None
    trunks = read_texts(table.values[found["trunk_id"].position])
    runs = run_names(table, found)
    return tuple(t or r for t, r in zip(trunks, runs, strict=True)) if any(trunks) else None


def _extras(table: RawTable, found: Matches, chosen: Match | None, sizes: Sizes) -> dict[str, NDArray[Any]]:
    """Every column not read into a field of Runs; the other counts of parameters stay under their own names."""
    counts = {
        m.position: m for m in found.values() if PARSERS.get(m.name) is parse_params and m is not chosen
    }
    unread = {*counts, *sizes.unread} | {m.position for m in found.values() if m.name == "flops_source"}
    used = {m.position for m in found.values()} - unread
    extras: dict[str, NDArray[Any]] = {}
    for position, header in enumerate(table.headers):
        if position in counts:
            match = counts[position]
            own_name = "n_params_total" if match.name == "n_params" else match.name
            extras[own_name] = read_column(table, match, optional=True)
        elif position not in used and header:
            taken = header in Runs.__dataclass_fields__  # `loss`, where another column was asked for
            extras[f"file_{header}" if taken else header] = read_extra(table.values[position])
    return extras
