"""Weights & Biases (extra `wandb`): offline runs, CSV files that the web page exports, or runs of its API.

A run has its id; launches of one id are parts of one run. One that was cut and launched anew under another id has the
same name and configuration. The web page exports two kinds of CSV: the table of runs, and the lines of a panel.
"""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Unpack

from scaling.errors import DataError, UsageError
from scaling.runs import Runs
from scaling.sweep.importers.logged import NO_LOSS, LeftOut, as_number
from scaling.sweep.importers.moments import Point
from scaling.sweep.importers.sizes import Log, Logs, SizeOptions, Sizes, listed
from scaling.sweep.importers.wandb_files import (
    OWN_COUNTER,
    ask_of_other_launches,
    flat,
    log_of_rows,
    of_calls,
    offline_logs,
)  # fmt: skip

FIRST_ROWS = 100  # of a history, to see how it counts
# as W&B's table and panels show a summary of a metric that is not its last value
OF_THE_WHOLE_RUN = re.compile(r"(?i)(\s*\((min|max|mean|avg|average|best|first)\.?\)|\.(min|max|mean|best))$")
CALLS = (
    "steps are calls of log(), counted by W&B itself: where a training step makes several, --step-key names a counter "
    "of steps"
)


def from_wandb(
    source: str | Path | Iterable[Any],
    *,
    loss_key: str,
    step_key: str = OWN_COUNTER,
    **options: Unpack[SizeOptions],
) -> Runs:
    """Runs from W&B: the last `loss_key` of each run that finished.

    Args:
        source: a folder with offline runs anywhere below it; a CSV exported from the table of runs or from a panel
            with lines; or runs of the API, `wandb.Api().runs("entity/project")`.
        options: n_params, params_convention and the other fields of `Sizes`; a name is that of a configuration value
            ("model.n_params" for nested ones) or of a logged one.
        step_key: what counts steps, where it is not W&B's own counter ("train/global_step" of transformers). A panel
            has its x axis.
    """
    sizes = Sizes(**options)
    if extreme := OF_THE_WHOLE_RUN.search(loss_key):
        raise UsageError(
            f"{loss_key!r} is of a whole run, not of its end: take {loss_key[: extreme.start()].strip()!r} (--loss)."
        )
    notes: tuple[str, ...] = ()
    found: set[str] = set()
    where = str(source) if isinstance(source, str | Path) else "the W&B API"
    if not isinstance(source, str | Path):
        logs = [_from_api(run, loss_key, step_key, sizes, found) for run in source]
    elif Path(source).is_dir():
        logs = offline_logs(Path(source), loss_key, step_key, sizes, found)
    else:
        logs, notes = csv_logs(Path(source), loss_key, step_key, sizes)
    if all(isinstance(log, LeftOut) and log.why == NO_LOSS for log in logs):
        names = listed(name for name in found if not name.startswith("_"))
        raise DataError(
            f"{where}: none of {len(logs)} runs has logged {loss_key!r}"
            + (f"; they have {names}. Say which is the loss: --loss." if found else ".")
        )
    logs = ask_of_other_launches(logs, sizes)
    if sizes.tokens_per_step is not None and any(isinstance(log, Log) and log.counts_calls for log in logs):
        notes += (CALLS,)
    return sizes.runs(logs, loss_key=loss_key, source=where, notes=notes)


def _from_api(run: Any, loss_key: str, step_key: str, sizes: Sizes, found: set[str]) -> Log | LeftOut:
    """A run of wandb.Api(): id, name, state, config, summary, scan_history."""
    name, summary = str(run.name), flat(dict(run.summary))
    settings = flat({k: v for k, v in dict(run.config).items() if not k.startswith("_")})
    rows = _api_rows(run, loss_key, {step_key, *sizes.growing})
    moment, last = sizes.at_last_row(rows, loss_key, step_key)
    found |= last.keys() | summary.keys()
    if moment is None:
        return LeftOut(name=name)
    if step_key in moment.unsure:
        return LeftOut(name=name, why=f"{step_key} {moment.unsure[step_key]}")
    calls = step_key == OWN_COUNTER and _counts_calls(run)
    if why := of_calls(calls, int(calls), {**summary, **last}, step_key, sizes):
        return LeftOut(name=name, why=why)
    return log_of_rows(
        moment, last, sizes, offset=int(calls), name=name, summary=summary, settings=settings, tool_id=str(run.id),
        is_finished=run.state == "finished", counts_calls=calls,
    )  # fmt: skip


def _counts_calls(run: Any) -> bool:
    """Whether the first rows stand at steps 0, 1, 2 ...: calls of log(), where no step was given."""
    own = [int(row[OWN_COUNTER]) for row in islice(run.scan_history(keys=[OWN_COUNTER]), FIRST_ROWS)]
    return len(own) > 1 and own == list(range(len(own)))


def _api_rows(run: Any, loss_key: str, wanted: set[str]) -> Iterator[dict[str, Any]]:
    """The history in order of W&B's own counter: the rows with the loss, those with the wanted values, and whole ones
    from the last of these before the last loss on.

    The server gives only rows that hold every key asked for, and what is logged in calls of its own shares none: so
    each key is asked for by itself. A long history is not asked for whole.
    """
    rows: dict[int, dict[str, Any]] = {}
    latest: dict[str, list[int]] = {}
    for key in (loss_key, *sorted(wanted - {OWN_COUNTER, loss_key})):
        for row in run.scan_history(keys=[key, OWN_COUNTER]):
            if row.get(key) is not None:
                step = int(row[OWN_COUNTER])
                rows.setdefault(step, {OWN_COUNTER: step})[key] = row[key]
                latest.setdefault(key, []).append(step)
    if loss_key not in latest:
        return
    end = max(latest[loss_key])
    before = [max((s for s in steps if s <= end), default=end) for steps in latest.values()]
    whole_from = min(before)
    ends_there = (run.summary.get(OWN_COUNTER) or end) <= end
    if whole_from < end or not ends_there:
        for row in run.scan_history(keys=None, min_step=whole_from):
            if row[OWN_COUNTER] >= whole_from:
                rows.setdefault(int(row[OWN_COUNTER]), {}).update(
                    (k, v) for k, v in row.items() if v is not None
                )
    yield from (rows[step] for step in sorted(rows))


JOIN = " - "  # between the run and the metric in the header of a panel's column
TABLE_COUNTS_CALLS = (
    "_step counts calls of log() from 0 where no step was given, so that 100 calls stand there as 99: --step-key names "
    "a counter of steps"
)
NO_END = "a panel does not say whether a run ended: --steps leaves out those that stopped before"
TIME = re.compile(r"\btime\b|(^|_)(timestamp|runtime|seconds|hours|minutes)$|^date")  # the x axis of a panel
RANGE = ("__MIN", "__MAX")  # of the points, or runs, that the value beside is an average of
TABLE_IS_OF_THE_END = (
    "a table of runs holds the last value of each column: where a run was evaluated before its end, tokens and steps "
    "are of a later moment than the loss (import entity/project itself, which has every step)"
)


def csv_logs(path: Path, loss_key: str, step_key: str, sizes: Sizes) -> tuple[Logs, tuple[str, ...]]:
    """The runs of an exported CSV of either kind, and notes about it."""
    header, rows = _read(path)
    steps_matter = sizes.tokens_per_step is not None or sizes.n_steps is not None
    counts_calls = (TABLE_COUNTS_CALLS,) if step_key == OWN_COUNTER and steps_matter else ()
    of_table = (TABLE_IS_OF_THE_END, *counts_calls)
    if "Name" in header:
        if loss_key not in header:
            raise DataError(f"{path} needs the columns Name and {loss_key}; it has {listed(header)}.")
        return list(_of_table(rows, loss_key, step_key)), of_table
    if {"name", "summary", "config"} <= set(header):
        opened = [_opened(row) for row in rows]
        return list(_of_table(opened, loss_key, step_key)), of_table
    if any(JOIN in name for name in header[1:]):
        return _of_panel(path, header, rows, loss_key, sizes)
    raise DataError(
        f"{path} needs the columns Name and {loss_key} (a table of runs), or columns named 'run{JOIN}metric' (the "
        f"lines of a panel); it has {listed(header)}."
    )


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    csv.field_size_limit(sys.maxsize)  # configurations may be long
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or [])
            if twice := sorted({name for name in header if header.count(name) > 1}):
                raise DataError(
                    f"{path} has several columns named {', '.join(map(repr, twice))}: which is which run is not known; "
                    "name the runs apart, or import entity/project itself."
                )
            rows = [{k: v for k, v in row.items() if k is not None and v} for row in reader]
            return header, rows
    except FileNotFoundError as error:
        raise DataError(f"there is no W&B folder or CSV at {path}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV exported from W&B ({error}).") from error


def _opened(row: dict[str, str]) -> dict[str, str] | LeftOut:
    """A row of the script in W&B's guide that exports a project: name, summary and config as Python writes them."""
    values: dict[str, str] = {"Name": row.get("name", "")}
    for column in ("summary", "config"):
        try:
            tree: Any = _with_floats(ast.parse(row.get(column, "{}"), mode="eval"))
            values |= {k: str(v) for k, v in flat(ast.literal_eval(tree)).items()}
        except (ValueError, SyntaxError, AttributeError, RecursionError) as error:
            return LeftOut(
                name=values["Name"],
                why=f"its column {column} is no dictionary of plain values ({error}: the table of runs of the web "
                "page, or entity/project itself, has them)",
            )
    return values


def _with_floats(tree: ast.AST) -> ast.AST:
    """Names nan and inf, as Python prints such numbers, made the numbers themselves."""

    def number(node: Any) -> Any:
        named = isinstance(node, ast.Name) and node.id in ("nan", "inf")
        return ast.Constant(float(node.id)) if named else node

    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            setattr(node, name, [number(v) for v in value] if isinstance(value, list) else number(value))
    return tree


def _of_table(
    rows: Iterable[dict[str, str] | LeftOut], loss_key: str, step_key: str
) -> Iterator[Log | LeftOut]:
    """One row a run: Name, State, then configuration and last values. Two rows of one name are two runs."""
    for k, row in enumerate(rows):
        if isinstance(row, LeftOut):
            yield row
            continue
        name = row.get("Name", "")
        if loss_key not in row:
            yield LeftOut(name=name)
            continue
        step = as_number(row.get(step_key, 0))
        if not abs(step) < 2**63:
            yield LeftOut(name=name, why=f"{step_key} is {row[step_key]!r}, which is no number")
            continue
        loss = as_number(row[loss_key])
        if row[loss_key].strip().lower() not in NOT_FINITE and loss != loss:
            yield LeftOut(name=name, why=f"{loss_key} is {row[loss_key]!r}, which is no number")
            continue
        yield Log(
            name=name,
            identity=row.get("ID", name),
            tool_id=row.get("ID", f"row {k}"),
            values=row,
            step=int(step),
            loss=loss,
            is_finished=row["State"] == "finished" if "State" in row else None,
        )


NOT_FINITE = ("nan", "-nan", "inf", "-inf", "infinity", "-infinity")  # a run that diverged


def _of_panel(
    path: Path, header: list[str], rows: list[dict[str, str]], loss_key: str, sizes: Sizes
) -> tuple[Logs, tuple[str, ...]]:
    """The lines of a panel: its x axis, then 'run - metric' with its least and greatest value beside."""
    columns = {name: name.rsplit(JOIN, 1) for name in header[1:] if JOIN in name and not name.endswith(RANGE)}
    for name in columns:
        if name.endswith(f"{JOIN}{loss_key}"):  # a metric may hold the separator itself
            columns[name] = [name.removesuffix(f"{JOIN}{loss_key}"), loss_key]
    if all(metric != loss_key for _, metric in columns.values()):
        raise DataError(
            f"{path} has no line of {loss_key!r}; it has {listed(metric for _, metric in columns.values())}. Say which "
            "is the loss: --loss."
        )
    axis_name = header[0]
    over_time = TIME.search(axis_name.lower()) is not None
    steps = (row.get(axis_name, 0) for row in rows)
    fraction = next((step for step in steps if not as_number(step).is_integer()), None)
    if over_time or fraction is not None:
        what = "over time" if over_time else f"over fractions ({fraction})"
        raise DataError(
            f"{path} shows {axis_name!r} on its x axis, {what}, which are no steps: export the panel with Step, or a "
            "counter of steps, as its x axis."
        )
    histories: dict[str, dict[str, list[Point]]] = {}
    averages: list[str] = []
    for name, (run, metric) in columns.items():
        points = [
            Point(int(as_number(row[header[0]])), float(k), as_number(row[name]))
            for k, row in enumerate(rows)
            if name in row and abs(as_number(row.get(header[0]))) < 2**63
        ]
        histories.setdefault(run, {})[metric] = points
        if metric == loss_key and points and _is_average(rows[int(points[-1].time)], name):
            averages.append(run)
    logs: Logs = []
    for run, history in histories.items():
        points = history.get(loss_key, [])
        if not points:
            logs.append(LeftOut(name=run))
            continue
        axis = [Point(p.step, p.time, float(p.step)) for p in points]
        moment = sizes.at_last_step({**{k: v for k, v in history.items() if v}, header[0]: axis}, loss_key)
        logs.append(Log.at(moment, name=run, identity=run))
    ends = (NO_END,) if sizes.n_steps is None else ()
    said = f"the panel shows averages of several points or runs, not single losses: {', '.join(averages)}"
    return logs, ((f"steps are the panel's x axis, {header[0]!r}", *ends) + ((said,) if averages else ()))


def _is_average(row: dict[str, str], name: str) -> bool:
    """Whether least and greatest value stand apart from the value itself."""
    least, greatest = (as_number(row.get(f"{name}{end}", row[name])) for end in RANGE)
    return least < greatest
