"""Which rows of a table are read: chosen by their cells as written, before any cell is judged.

A diverged run has no loss to read; a user who leaves it out must not be stopped by it. So the conditions look at the
raw cells, and whatever stands in the rows left out is never parsed as a number of ours.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError, UnitError, UnknownNameError, UsageError
from scaling.runs.columns import Match, Matches, column_values
from scaling.runs.names import GROUPS, fold, fold_tail, parse_quantity
from scaling.runs.raw_table import EMPTY, RawTable, Reading, read_texts, try_numbers
from scaling.runs.table import group_index, last_of_each
from scaling.translation import counted

LEAST_CURVE = 3  # rows of a curve that no column names
MOST_OF_A_TABLE = 0.8  # that such curves fill
SMALL_START = 0.1  # of the last step: the first of a curve
Mask = NDArray[np.bool_]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal,
}  # fmt: skip
_CONDITION = re.compile(r"^\s*(.+?)\s*(>=|<=|!=|==|=|>|<)\s*(.*?)\s*$")
_TRUE, _FALSE = {"true", "1", "1.0", "yes", "y", "x"}, {"false", "0", "0.0", "no", "n"}

_STATES = ("state", "status", "run_state", "run_status", "job_state")
_STOPPED = frozenset({  # W&B, MLflow, Slurm, and by hand; a diverged run is no accident, and is the user's to leave out
    "crashed", "crash", "failed", "failure", "killed", "running", "preempted", "preempting", "pending", "scheduled",
    "queued", "aborted", "cancelled", "canceled", "timeout", "error", "interrupted", "stopped", "oom", "out_of_memory",
    "node_fail",
})  # fmt: skip


def choose_rows(table: RawTable, found: Matches, reading: Reading) -> tuple[RawTable, tuple[str, ...]]:
    """The rows asked for, and the names of the runs left out.

    Raises:
        UnknownNameError: a column, a value, a run or a line that is not in the table.
        DataError: no row is left.
    """
    if not (reading.only or reading.exclude or reading.drop):
        return table, ()
    keep = np.ones(len(table), dtype=bool)
    for column in reading.drop:
        keep &= ~_marked(table, found, column)
    for what in reading.exclude:
        keep &= ~_excluded(table, found, what)
    keep &= _asked_for(table, found, reading.only)
    if not keep.any():
        options = (("--drop", reading.drop), ("--exclude", reading.exclude), ("--only", reading.only))
        asked = " ".join(f"{option} {shlex.quote(text)}" for option, texts in options for text in texts)
        raise DataError(f"{asked} leaves none of the {len(table)} rows of {table.source}; leave fewer out.")
    names = run_names(table, found)
    left_out = tuple(dict.fromkeys(names[i] for i in np.flatnonzero(~keep).tolist()))
    return (table if keep.all() else table.select(np.flatnonzero(keep))), left_out


def run_names(table: RawTable, found: Matches) -> tuple[str, ...]:
    """The name of each row's run; a row without one is a run of its own, named by its place."""
    ids = read_texts(table.values[found["run_id"].position]) if "run_id" in found else ("",) * len(table)
    if all(ids):
        return ids
    return tuple(n or f"{table.row_word}-{i}" for n, i in zip(ids, table.row.tolist(), strict=True))


def _excluded(table: RawTable, found: Matches, what: str) -> Mask:
    names = run_names(table, found)
    named = np.array([n == what for n in names], dtype=bool)
    if named.any():
        return named
    if place := re.match(r"^(?:line|row)[: ]\s*(\d+)$", what.strip()):
        at = np.asarray(table.row == int(place[1]))
        if not at.any():
            raise UsageError(
                f"--exclude {what}: the rows of {table.source} are {table.row_word} {table.row.min()} to "
                f"{table.row.max()}."
            )
        return at
    if condition := _CONDITION.match(what):
        return _holds(table, found, *condition.groups())
    hint = f"A line is excluded by {table.row_word}:{table.row[0]}, a value by 'loss>20'."
    raise UnknownNameError("run", what, set(names), hint=hint)


def _asked_for(table: RawTable, found: Matches, only: Sequence[str]) -> Mask:
    conditions: dict[str, list[Mask]] = {}
    for text in only:
        parts = _CONDITION.match(text)
        if parts is None:
            raise UsageError(
                f"--only takes COLUMN=VALUE or COLUMN<VALUE, for example corpus=c4; got {text!r}."
            )
        column, sign, value = parts.groups()
        key = column if sign in ("=", "==") else text  # several values of one column add up
        conditions.setdefault(key, []).append(_holds(table, found, column, sign, value))
    keep = np.ones(len(table), dtype=bool)
    for masks in conditions.values():
        keep &= np.logical_or.reduce(masks)
    return keep


def _holds(table: RawTable, found: Matches, column: str, sign: str, value: str) -> Mask:
    """The rows where `column sign value`; a cell that is no number is neither above nor below one."""
    match = _column(table, found, column)
    if sign in _COMPARE:
        with np.errstate(invalid="ignore"):
            return np.asarray(_COMPARE[sign](column_values(table, match), _number(value, match)), dtype=bool)
    equal = _equals(table, match, value)
    if sign == "!=":
        return ~equal
    if not equal.any():
        raise UnknownNameError(f"value of {column}", value, sorted(set(_all_shown(table, match))))
    return equal


def _equals(table: RawTable, match: Match, value: str) -> Mask:
    """A number to nine digits, a text or true/false as written (without regard to case for true/false)."""
    cells = table.values[match.position]
    if not isinstance(cells, np.ndarray):
        lowered = value.strip().lower()
        is_mark = lowered in _TRUE | _FALSE
        words = _all_shown(table, match)
        same = np.array([w == value or (is_mark and w.lower() == lowered) for w in words], dtype=bool)
        if same.any():
            return same
    try:
        return np.isclose(column_values(table, match), _number(value, match), rtol=1e-9, atol=0)
    except UnitError:
        return np.zeros(len(table), dtype=bool)


def _all_shown(table: RawTable, match: Match) -> list[str]:
    """The cells of a column as one would write them in a condition."""
    cells = np.asarray(table.values[match.position], dtype=object).tolist()
    known = ("" if c is None or c != c else c for c in cells)
    return [f"{c:g}" if isinstance(c, float) else str(c).strip() for c in known]


def _number(value: str, match: Match) -> float:
    """The value asked for, in the unit of the column as we read it."""
    try:
        return float(value)
    except ValueError:
        return parse_quantity(value, match.name)


def _marked(table: RawTable, found: Matches, column: str) -> Mask:
    """The rows where a mark stands: true, 1, yes, x."""
    shown = _all_shown(table, _column(table, found, column))
    odd = next((text for text in shown if text.lower() not in _TRUE | _FALSE | EMPTY), None)
    if odd is not None:
        raise UsageError(
            f"--drop takes a column of true and false, and {column} holds {odd!r}; leave --drop out and say which rows "
            f"to keep or to leave out: {_say('--only', column, odd)} or {_say('--exclude', column, odd)} (in Python "
            "only=, exclude=)."
        )
    return np.array([text.lower() in _TRUE for text in shown], dtype=bool)


def _say(option: str, column: str, value: str) -> str:
    return f"{option} {shlex.quote(f'{column}={value}')}"


def _column(table: RawTable, found: Matches, column: str) -> Match:
    """The column of this name, ours or the file's; of one that is read as no quantity the plain cells."""
    if column not in table.headers and column not in found:
        raise UnknownNameError("column to select by", column, {*table.headers, *found})
    if column not in table.headers:
        return found[column]
    position = table.headers.index(column)
    plain = Match(name="extra", header=column, position=position)
    return next((m for m in found.values() if m.position == position), plain)


def without_crashed(table: RawTable, found: Matches) -> tuple[RawTable, tuple[str, ...], tuple[str, ...]]:
    """Without runs that their own table calls crashed and that have no loss; their names, and notes.

    A run that is called finished and has no loss stays, for the reader to refuse by name. One that stopped and has a
    loss stays too: whether it was far enough is the user's to say.
    """
    position = next((i for i, h in enumerate(table.headers) if fold_tail(h) in _STATES), None)
    if position is None or "loss" not in found:
        return table, (), ()
    states = [text.strip() for text in read_texts(table.values[position])]
    stopped = np.array([fold(s) in _STOPPED for s in states], dtype=bool)
    # a word, "diverged", is no loss either
    empty = ~np.isfinite(column_values(table, found["loss"])) & stopped
    if not stopped.any() or empty.all():
        return table, (), ()
    header, names, notes = table.headers[position], run_names(table, found), []
    gone = tuple(names[i] for i in np.flatnonzero(empty).tolist())
    if gone:
        said = ", ".join(dict.fromkeys(states[i] for i in np.flatnonzero(empty).tolist()))
        notes.append(f"left out {counted_runs(gone)} without a loss: {header} says {said}")
    kept = np.flatnonzero(stopped & ~empty).tolist()
    if kept:
        options = " ".join(_say("--exclude", header, s) for s in dict.fromkeys(states[i] for i in kept))
        notes.append(
            f"{counted_runs(tuple(names[i] for i in kept))} stopped early ({header}) and are read with the loss they "
            f"have; {options} leaves them out"
        )
    return table.select(np.flatnonzero(~empty)), gone, tuple(notes)


def counted_runs(names: tuple[str, ...]) -> str:
    """How many runs, and the names of the first."""
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"{counted(len(names), 'run')} ({shown})"


def after_the_start(table: RawTable, found: Matches) -> RawTable:
    """Without evaluations before the first step: rows of no tokens, no FLOPs, or of step 0 where tokens follow it."""
    start = np.zeros(len(table), dtype=bool)
    names = [n for n in ("n_tokens", "flops") if n in found] or (["step"] if "step" in found else [])
    for name in names:
        if not found[name].log_base:
            start |= column_values(table, found[name]) == 0
    return table if start.all() or not start.any() else table.select(np.flatnonzero(~start))


def last_rows(table: RawTable, found: Matches, *, planned: bool = False) -> RawTable:
    """Of training curves (rows that share a run and go on in steps or tokens) the last row of each run.

    An evaluation that a run logs every few steps leaves its cells empty between; the last one filled is the run's.
    A run whose losses end in NaN has diverged and keeps its last row, for the reader to refuse by name.
    """
    # how far a row's run had come: its step, else its tokens, else its FLOPs
    progress = next((found[n] for n in ("step", "n_tokens", "flops") if n in found), None)
    if progress is None:
        return table
    named = found.get("run_id")
    texts = read_texts(table.values[named.position]) if named else ()
    run = group_index(texts) if named else unnamed_curves(table, found)
    if run is None:
        return table
    position = column_values(table, progress)
    order = np.lexsort((np.arange(len(table)), position, run))
    same = np.diff(run[order]) == 0
    if not np.any(same & (np.diff(position[order]) > 0)):
        return table
    if "loss" in found and not planned:
        order = order[~_between_evaluations(table, found["loss"], run)[order]]
    return table.select(last_of_each(run, order))


def unnamed_curves(table: RawTable, found: Matches) -> NDArray[np.int64] | None:
    """The curve of each row where no column names runs: rows of one size with rising steps. None where rows are runs.

    A grid of sizes and steps looks alike. Curves show by what no sorted grid does: at one size and setting the steps
    begin anew and end elsewhere; or all begin with one small step and go on by equal ones.
    """
    sizes = [n for n in ("n_params", "n_params_active", "n_params_nonemb") if n in found]
    if "step" not in found or "run_id" in found or not sizes or len(table) < 2 * LEAST_CURVE:
        return None
    step = column_values(table, found["step"])
    keys = [column_values(table, found[n]) for n in (*sizes, "budget", "n_tokens_unique") if n in found]
    moving = {m.position for n, m in found.items() if n in ("step", "n_tokens", "flops", "loss")}
    for i, cells in enumerate(table.values):
        words = i not in moving and not isinstance(cells, np.ndarray)
        if words and np.isnan(try_numbers(cells, "extra")).all():
            keys.append(group_index(read_texts(cells)).astype(np.float64))  # a corpus, an optimizer
    setting = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    new = np.concatenate([[True], (np.diff(setting) != 0) | ~(np.diff(step) > 0)])
    first = np.flatnonzero(new)
    length = np.diff(first, append=len(table))
    long = length >= LEAST_CURVE
    if length[long].sum() < MOST_OF_A_TABLE * len(table) or np.count_nonzero(long) < 2:
        return None
    last = first + length - 1
    ends = {(int(setting[i]), float(step[i])) for i in last[long]}
    anew = np.count_nonzero(long) > len(np.unique(setting[last[long]]))
    if not (anew and len(ends) == np.count_nonzero(long)):
        starts, gaps = step[first[long]], np.diff(step)[~new[1:]]
        singular = not fold(table.headers[found["step"].position]).endswith("s")
        small = starts.max() <= min(2 * starts.min() + 1, SMALL_START * step[last[long]].min())
        if not (singular and small and gaps.max() <= 2 * gaps.min()):
            return None
    return np.cumsum(new) - 1


def _between_evaluations(table: RawTable, match: Match, run: NDArray[np.int64]) -> Mask:
    """Rows without a loss of runs that log it every few rows: they have one after such a row as well as before it."""
    loss = column_values(table, match)
    empty = np.isnan(loss)
    if not empty.any():
        return empty
    gaps = np.zeros(int(run.max()) + 1, dtype=bool)  # runs with an empty cell before a filled one
    last_filled = np.full(len(gaps), -1)
    filled = np.flatnonzero(~empty)
    np.maximum.at(last_filled, run[filled], filled)
    gaps[run[np.flatnonzero(empty & (np.arange(len(table)) < last_filled[run]))]] = True
    return np.asarray(empty & gaps[run])


def best_of_cells(table: RawTable, found: Matches) -> RawTable:
    """Of the rows of one (N, D, unique tokens, corpus) the one of the lowest loss; a diverged one never is.

    Steps, budget or FLOPs stand for the tokens where the table has none.
    """
    if "loss" not in found:
        return table
    sizes = ("n_params", "n_params_active", "n_params_nonemb", "n_tokens", "n_tokens_unique")
    keys = [n for n in sizes if n in found]
    keys += [n for n in ("flops", "budget", "step") if n in found and "n_tokens" not in found][:1]
    sizes_of = (np.maximum(column_values(table, found[n]), 1e-9) for n in keys)
    columns = [np.nan_to_num(np.round(np.log(values), 6)) for values in sizes_of]
    for position, header in enumerate(table.headers):
        if fold(header) in GROUPS:
            columns.append(group_index(read_texts(table.values[position])).astype(np.float64))
    loss = column_values(table, found["loss"])
    order = np.lexsort((np.where(np.isnan(loss), np.inf, loss), *columns))
    cell = np.stack(columns, axis=1)[order]
    first = np.concatenate([[True], np.any(np.diff(cell, axis=0) != 0, axis=1)])
    return table.select(np.sort(order[first]))
