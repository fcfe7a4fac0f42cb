"""How every command that takes a table of runs reads it: the same options, the same checks, the same words."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.errors import DataError, UnknownNameError, UsageError
from scaling.units import parse_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scaling.runs import Finding, Runs

_DECLARATIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--params-convention", type=click.Choice(["total", "non_embedding"]),
                 help="Which parameters the table counts, if it does not say."),
    click.option("--flops-convention", help="How the table counts FLOPs, if it does not say: 6ND, exact, ..."),
    click.option("--loss-unit", help="Unit of the loss, if not nats/token: bits/token, bits/byte, nats/byte, "
                 "perplexity, other."),
    click.option("--bytes-per-token", type=click.FloatRange(min=0, min_open=True),
                 help="Of the tokenizer: turns a loss per byte into one per token."),
    click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS",
                 help="Read a column under another name: --column n_params=size. Repeatable."),
    click.option("--drop", multiple=True, metavar="COLUMN",
                 help="Leave out rows where this column is true (an outlier mark). Repeatable."),
    click.option("--exclude", multiple=True, metavar="RUN_ID", help="Leave out this run. Repeatable."),
    click.option("--only", multiple=True, metavar="COLUMN=VALUE",
                 help="Keep rows where this column has this value: --only corpus=c4. Repeatable: several values of one "
                 "column add up, several columns must all hold."),
    click.option("--final/--every-row", "final", default=None,
                 help="Of training curves (several rows a run) take the last row of each run, or every row.  "
                 "[default: the last for a parametric or isoflop fit, every row else]"),
    click.option("--anyway", is_flag=True, help="Go on with a table whose numbers cannot be right."),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which table, and how it is to be read."""

    table: Path
    params_convention: str | None
    flops_convention: str | None
    loss_unit: str | None
    bytes_per_token: float | None
    columns: tuple[str, ...]
    drop: tuple[str, ...]
    exclude: tuple[str, ...]
    only: tuple[str, ...]
    final: bool | None
    anyway: bool

    def as_arguments(self) -> str:
        """The same reading as command-line text, for the next command to propose."""
        words = [str(self.table)]
        for name, value in (
            ("--params-convention", self.params_convention),
            ("--flops-convention", self.flops_convention),
            ("--loss-unit", self.loss_unit),
            ("--bytes-per-token", self.bytes_per_token),
        ):
            words += [name, str(value)] if value is not None else []
        for name, values in (
            ("--column", self.columns),
            ("--drop", self.drop),
            ("--exclude", self.exclude),
            ("--only", self.only),
        ):
            for value in values:
                words += [name, value]
        words += [] if self.final is None else ["--final" if self.final else "--every-row"]
        return shlex.join(words + (["--anyway"] if self.anyway else []))


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument RUNS and its options, handed over as one `options: TableOptions`."""
    names = [f.name for f in fields(TableOptions)]

    @wraps(command)
    def packed(**given: Any) -> Any:
        options = TableOptions(**{name: given.pop(name) for name in names})
        return command(options=options, **given)

    for declare in reversed(_DECLARATIONS):
        packed = declare(packed)
    result: Callable[..., Any] = click.argument("table", metavar="RUNS", type=click.Path(path_type=Path))(
        packed
    )
    return result


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of runs as asked for: what is left of it, what went, and what it shows by itself."""

    runs: Runs
    left_out: list[str]  # ids
    findings: tuple[Finding, ...]


def read_table(
    options: TableOptions,
    *,
    final: bool = False,
    planned: bool = False,
    inputs: Collection[str] | None = None,
) -> Table:
    """The runs asked for.

    `final`: of training curves take the last row of each run unless told otherwise. `planned`: losses may be missing.

    Raises:
        DataError: the table has faults after which no number means anything (and --anyway was not given).
    """
    from scaling.cli.output import note
    from scaling.reference.loss_units import check_loss_unit
    from scaling.runs import check_runs, load_runs

    runs = load_runs(
        options.table,
        params_convention=options.params_convention,
        flops_convention=options.flops_convention,
        loss_unit=options.loss_unit,
        bytes_per_token=options.bytes_per_token,
        columns=_renamed(options.columns),
        planned=planned,
        inputs=inputs,
    )
    for text in runs.notes:
        note(text)
    runs, left_out = leave_out(runs, options.drop, options.exclude, options.only)
    reduced: list[Finding] = []
    if runs.is_curves and (final if options.final is None else options.final):
        last = runs.final()
        reduced, runs = [_reduced(len(runs), len(last))], last
    findings = check_runs(runs, inputs or None)
    if options.loss_unit is None and (unit := check_loss_unit(runs.final() if runs.is_curves else runs)):
        findings = (unit, *(f for f in findings if f.code != unit.code))
    faults = [f.message for f in findings if f.severity == "error"]
    if faults and not options.anyway:
        raise DataError(
            f"{options.table} cannot be right: {' '.join(faults)} Mend the table, or pass --anyway."
        )
    return Table(runs=runs, left_out=left_out, findings=(*reduced, *findings))


def _reduced(n_rows: int, n_runs: int) -> Finding:
    from scaling.runs import Finding

    return Finding(
        code="curves-reduced",
        severity="note",
        message=f"the table holds {n_runs} training curves: the last row of each is used; the {n_rows - n_runs:,} "
        "rows before, taken while the learning rate had not decayed, are not. --every-row uses all rows, --method "
        "envelope fits the curves",
        source="Hoffmann et al. 2022, arXiv:2203.15556, appendix B",
    )


def leave_out(
    runs: Runs, drop: tuple[str, ...], exclude: tuple[str, ...], only: tuple[str, ...] = ()
) -> tuple[Runs, list[str]]:
    """The runs without marked rows and named runs, of these values only, and the ids that went."""
    import numpy as np

    keep = np.ones(len(runs), dtype=bool)
    for column in drop:
        if column not in runs.extras:
            raise UnknownNameError("column to drop by", column, runs.extras)
        marks = runs.extras[column]
        if marks.dtype != bool:
            raise UsageError(
                f"--drop {column}: the column must hold true and false; got {marks[0]!r}. Use --exclude RUN_ID or "
                "--only COLUMN=VALUE instead."
            )
        keep &= ~marks
    ids = np.array(runs.run_id, dtype=object)
    for name in exclude:
        if name not in runs.run_id:
            raise UnknownNameError("run", name, runs.run_id)
        keep &= ids != name
    asked: dict[str, list[str]] = {}
    for pair in only:
        column, equals, value = pair.partition("=")
        if not equals or not column.strip():
            raise UsageError(f"--only takes COLUMN=VALUE, for example corpus=c4; got {pair!r}.")
        asked.setdefault(column.strip(), []).append(value.strip())
    for column, values in asked.items():
        keep &= np.logical_or.reduce([_has_value(runs, column, value) for value in values])
    if not keep.any():
        raise DataError("--drop, --exclude and --only leave no runs; leave fewer out.")
    return (runs if keep.all() else runs.select(keep)), list(dict.fromkeys(str(i) for i in ids[~keep]))


def _has_value(runs: Runs, column: str, value: str) -> NDArray[np.bool_]:
    """The rows that hold this value: a number to nine digits, a text or true/false as written."""
    import numpy as np

    texts = {"run_id": runs.run_id, "trunk_id": runs.trunk_id}
    columns: dict[str, Any] = {**runs.extras, **runs.columns()}
    columns |= {k: np.array(v, dtype=object) for k, v in texts.items() if v is not None}
    if column not in columns:
        raise UnknownNameError("column to select by", column, columns)
    cells = columns[column]
    if cells.dtype.kind in "fiu":
        found = np.isclose(cells, parse_number(value), rtol=1e-9, atol=0)
    else:
        words = np.array([str(c) for c in cells.tolist()], dtype=object)
        wanted = value.capitalize() if cells.dtype == bool else value
        found = words == wanted
    if not found.any():
        known = sorted({f"{c:g}" if isinstance(c, float) else str(c) for c in cells.tolist()})
        raise UnknownNameError(f"value of {column}", value, known)
    return np.asarray(found, dtype=bool)


def _renamed(columns: tuple[str, ...]) -> dict[str, str] | None:
    renamed = {}
    for pair in columns:
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise UsageError(f"--column takes OURS=THEIRS, for example n_params=size; got {pair!r}.")
        renamed[ours.strip()] = theirs.strip()
    return renamed or None


# --- files a command writes ---


def refuse_overwrite(force: bool, *paths: Path | None) -> None:
    """Say at once, before any work, that a file is in the way or a folder is missing."""
    for path in filter(None, paths):
        if path.exists() and not force:
            raise UsageError(f"{path} exists; pass --force to overwrite it, or name another file.")
        if not path.parent.is_dir():
            raise UsageError(f"the folder {path.parent} does not exist; make it first.")


def write_file(path: Path, text: str, force: bool) -> None:
    """Write whole or not at all: beside the target, then renamed into place."""
    refuse_overwrite(force, path)
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
