"""The CSV files that the web page of Weights & Biases exports: the table of runs, and the lines of a panel."""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scaling.errors import DataError, MissingFileError
from scaling.sweep.importers.logged import LeftOut, as_number
from scaling.sweep.importers.moments import Point, at_last_step
from scaling.sweep.importers.sizes import Log, Sizes, listed
from scaling.sweep.importers.wandb_files import OWN_COUNTER, flat

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


def csv_logs(
    path: Path, loss_key: str, step_key: str, sizes: Sizes
) -> tuple[list[Log | LeftOut], tuple[str, ...]]:
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
        raise MissingFileError(f"there is no W&B folder or CSV at {path}.") from error
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
        return (
            ast.Constant(float(node.id)) if isinstance(node, ast.Name) and node.id in ("nan", "inf") else node
        )

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
) -> tuple[list[Log | LeftOut], tuple[str, ...]]:
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
    fraction = next(
        (row[axis_name] for row in rows if not as_number(row.get(axis_name, 0)).is_integer()), None
    )
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
    logs: list[Log | LeftOut] = []
    for run, history in histories.items():
        points = history.get(loss_key, [])
        if not points:
            logs.append(LeftOut(name=run))
            continue
        axis = [Point(p.step, p.time, float(p.step)) for p in points]
        moment = at_last_step(
            {**{k: v for k, v in history.items() if v}, header[0]: axis},
            loss_key, growing=sizes.growing, constant=sizes.constant,
        )  # fmt: skip
        logs.append(
            Log(
                name=run, identity=run, values=moment.values, unsure=moment.unsure, step=moment.step,
                loss=moment.loss, last_step=moment.last_step if moment.went_on else None,
            )
        )  # fmt: skip
    ends = (NO_END,) if sizes.n_steps is None else ()
    said = f"the panel shows averages of several points or runs, not single losses: {', '.join(averages)}"
    return logs, ((f"steps are the panel's x axis, {header[0]!r}", *ends) + ((said,) if averages else ()))


def _is_average(row: dict[str, str], name: str) -> bool:
    """Whether least and greatest value stand apart from the value itself."""
    least, greatest = (as_number(row.get(f"{name}{end}", row[name])) for end in RANGE)
    return least < greatest
