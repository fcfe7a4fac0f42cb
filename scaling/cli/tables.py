"""How every command that takes a table of runs reads it: the same options, the same checks, the same words."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.completers import complete_column, complete_column_and_value, complete_renaming
from scaling.errors import DataError, MissingFileError, UnitError, UsageError
from scaling.files import write_text
from scaling.units import parse_number, parse_tokens

if TYPE_CHECKING:
    from scaling.findings import Finding
    from scaling.runs import Runs
    from scaling.runs.raw_table import Reading


class Number(click.FloatRange):
    """A number of a range, written as other quantities are: 4.5 or 4,5."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = float(value)
        except ValueError:
            try:
                number = parse_number(value, example="4.5" if self.max is None else "0.9")
            except UnitError as error:
                self.fail(str(error), param, ctx)
        return super().convert(number, param, ctx)


READING = (
    "--params-convention", "--flops-convention", "--loss-unit", "--bytes-per-token", "--column", "--wide", "--decimal",
    "--tokens-per-step",
)  # fmt: skip
ROWS = ("--drop", "--exclude", "--only", "--best-of-cell", "--final", "--anyway")
HEADINGS = {"Reading the table": READING, "Which rows": ROWS}  # of every command that takes one
_DECLARATIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--params-convention", type=click.Choice(["total", "active", "non_embedding"]),
                 help="Which parameters the table counts, if it does not say."),
    click.option("--flops-convention", metavar="CONVENTION",
                 help="How the table counts FLOPs, if it does not say: 6ND, exact, ..."),
    click.option("--loss-unit", metavar="UNIT",
                 help="Unit of the loss, if not nats/token: bits/token, bits/byte, nats/byte, perplexity, other."),
    click.option("--bytes-per-token", type=Number(min=0, min_open=True), metavar="BYTES",
                 help="Of the tokenizer: turns a loss per byte into one per token."),
    click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", shell_complete=complete_renaming,
                 help="Read a column under another name: --column n_params=size; --column budget= reads none as "
                 "budget. Repeatable."),
    click.option("--wide", metavar="WHAT",
                 help="Columns of a wide table are WHAT: budget, n_params, n_tokens; run (W&B's panel export)."),
    click.option("--decimal", type=click.Choice(["comma", "point"]),
                 help="The decimal sign of the cells, where 5,556 could be either and nothing tells."),
    click.option("--tokens-per-step", metavar="TOKENS",
                 help="Tokens are steps times this, where the table has steps and no tokens."),
    click.option("--drop", multiple=True, metavar="COLUMN", shell_complete=complete_column,
                 help="Leave out rows where this column is true (an outlier mark). Repeatable."),
    click.option("--exclude", multiple=True, metavar="RUN_ID",
                 help="Leave out this run, a line (line:12) or the rows where a column is so: 'loss>20'. Repeatable."),
    click.option("--only", multiple=True, metavar="COLUMN=VALUE", shell_complete=complete_column_and_value,
                 help="Keep rows where this column has this value: --only corpus=c4, 'n_params<1e9'. Repeatable: "
                 "several values of one column add up, several columns must all hold."),
    click.option("--best-of-cell", is_flag=True,
                 help="Of the runs of one n_params and n_tokens (a grid of learning rates) take the lowest loss."),
    click.option("--final/--every-row", "final", default=None,
                 help="Of training curves (several rows a run) take the last row of each run, or every row.  "
                 "[default: the last for a parametric or isoflop fit, every row else]"),
    click.option("--anyway", is_flag=True, help="Go on with a table whose numbers cannot be right."),
)  # fmt: skip

_NAME_READ = re.compile(r"read \S+ as \S+")


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which table, and how it is to be read."""

    table: Path
    params_convention: str | None = None
    flops_convention: str | None = None
    loss_unit: str | None = None
    bytes_per_token: float | None = None
    wide: str | None = None
    decimal: str | None = None
    tokens_per_step: str | None = None
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    best_of_cell: bool = False
    final: bool | None = None
    anyway: bool = False

    def as_arguments(self) -> str:
        """The same reading as command-line text, for the next command to propose."""
        words = [str(self.table)]
        for name in [f.name for f in fields(self) if f.name != "table"]:
            value = getattr(self, name)
            option = "--" + ("column" if name == "columns" else name).replace("_", "-")
            if name == "final":
                words += [] if value is None else ["--final" if value else "--every-row"]
            elif isinstance(value, tuple):
                words += [word for one in value for word in (option, one)]
            elif isinstance(value, bool):
                words += [option] if value else []
            elif value is not None:
                words += [option, str(value)]
        return shlex.join(words)


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
class RunsTable:
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
) -> RunsTable:
    """The runs asked for.

    `final`: of training curves take the last row of each run unless told otherwise. `planned`: losses may be missing.
    `inputs`: what the law uses; the table need not have more.

    Raises:
        DataError: the table has faults after which no number means anything (and --anyway was not given).
    """
    from scaling.reference.loss_units import check_loss_unit
    from scaling.render.terminal import note
    from scaling.runs import check_runs
    from scaling.runs.load import read_runs, text_headers
    from scaling.runs.read import read_table as read_raw

    _refuse_other_files(options.table)
    final = final if options.final is None else options.final
    reading = table_reading(options, final=final, planned=planned, inputs=inputs)
    raw = read_raw(options.table, text_headers=text_headers(reading.columns), wide=options.wide)
    loaded = read_runs(raw, reading)
    runs = loaded.runs
    for text in runs.notes if planned else told_notes(runs):
        note(text)
    reduced = [_reduced(loaded.n_curve_rows)] if loaded.n_curve_rows else []
    findings = check_runs(runs, inputs or None)
    if options.loss_unit is None and (unit := check_loss_unit(runs.final() if runs.is_curves else runs)):
        findings = (unit, *(f for f in findings if f.code != unit.code))
    faults = [f for f in findings if f.severity == "error"]
    if faults and not options.anyway:
        raise DataError(
            f"{options.table} cannot be right: {' '.join(f.message for f in faults)} Mend the table, or pass --anyway.",
            remedies=[r for f in faults for r in f.remedies],
        )
    return RunsTable(runs=runs, left_out=list(loaded.left_out), findings=(*reduced, *findings))


def told_notes(runs: Runs) -> list[str]:
    """What the reader of a fit is told above it; how parameters are counted stands in its findings and under `data`."""
    from scaling.runs.conventions import OPEN_COUNT, READ_AS_TOTAL

    told = [text for text in runs.notes if OPEN_COUNT not in text and READ_AS_TOTAL not in text]
    names = [text for text in told if _NAME_READ.fullmatch(text)]  # one note of all names, not a line each
    joined = [", ".join([*names[:1], *(text.removeprefix("read ") for text in names[1:])])] if names else []
    return [*joined, *(text for text in told if text not in names)]


def _refuse_other_files(path: Path) -> None:
    """A law or the spec of a sweep where a table of runs is wanted: told with what each is good for."""
    quoted = shlex.quote(str(path))
    if path.suffix == ".toml":
        raise DataError(
            f"{path} is no table of runs; if it is the spec of a sweep: `scaling sweep fit {quoted}` fits its runs."
        )
    if path.suffix == ".json" and path.is_file():
        with suppress(ValueError, OSError):
            held = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(held, dict) and held.get("kind") in ("fit", "law"):
                raise DataError(
                    f"{path} holds a law, no table of runs; it is for `scaling plan --flops 1e21 --law {quoted}` or "
                    f"`scaling predict {quoted} RUNS`."
                )


def table_reading(
    options: TableOptions, *, final: bool, planned: bool, inputs: Collection[str] | None
) -> Reading:
    from scaling.runs.raw_table import Reading

    own = {"columns", "tokens_per_step", "final"}
    same = {f.name for f in fields(Reading)} & {f.name for f in fields(options)} - own
    return Reading(
        columns=_renamed(options.columns),
        tokens_per_step=None if options.tokens_per_step is None else parse_tokens(options.tokens_per_step),
        final=final,
        planned=planned,
        inputs=inputs,
        **{name: getattr(options, name) for name in same},
    )


def _reduced(n_curve_rows: int) -> Finding:
    from scaling.findings import Finding
    from scaling.translation import counted

    return Finding(
        code="curves-reduced",
        short="of training curves the last row of each run is used (--every-row)",
        severity="note",
        message="the table holds training curves: the last row of each is used, and not the "
        f"{counted(n_curve_rows, 'row')} before, of a learning rate not yet decayed. --every-row uses all rows, "
        "--method envelope fits the curves.",
        source="Hoffmann et al. 2022, arXiv:2203.15556, appendix B",
    )


def _renamed(columns: tuple[str, ...]) -> dict[str, str | None] | None:
    renamed: dict[str, str | None] = {}
    for pair in columns:
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours.strip():
            raise UsageError(f"--column takes OURS=THEIRS, for example n_params=size; got {pair!r}.")
        renamed[ours.strip()] = theirs.strip() or None
    return renamed or None


# --- files a command writes ---


def refuse_overwrite(force: bool, *paths: Path | None) -> None:
    """Say at once, before any work, that a file is in the way or a folder is missing."""
    for path in filter(None, paths):
        if path.exists() and not force:
            raise UsageError(f"{path} exists; pass --force to overwrite it, or name another file.")
        if not path.parent.is_dir():
            raise MissingFileError(f"the folder {path.parent} does not exist; make it first.")


def write_file(path: Path, text: str, force: bool) -> None:
    """Write whole or not at all."""
    refuse_overwrite(force, path)
    write_text(path, text)
