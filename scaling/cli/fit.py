"""`scaling fit`: a table of runs in, a scaling law with intervals out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Blocks
from scaling.cli.completers import complete_column, complete_family
from scaling.cli.fit_options import (
    DEFAULT_LEVEL,
    METHODS,
    OBJECTIVES,
    OF_A_LOSS,
    VALLEYS,
    FitOptions,
    compare,
    fit_runs,
    hold_out,
    parse_held,
    without_floor,
)
from scaling.cli.help import Command
from scaling.cli.output import Output, give, output_options
from scaling.cli.pictures import picture_options, refuse_picture, write_picture
from scaling.cli.progress import waiting_for
from scaling.cli.tables import (
    HEADINGS,
    Number,
    RunsTable,
    TableOptions,
    read_table,
    refuse_overwrite,
    table_options,
    told_notes,
    write_file,
)
from scaling.errors import FitError, ScalingError, UsageError
from scaling.findings import gravest_first
from scaling.jsonable import jsonable
from scaling.translation import tr
from scaling.units import format_flops

if TYPE_CHECKING:
    from pandas import DataFrame

    from scaling.findings import Finding
    from scaling.fitting.by_group import Groups
    from scaling.fitting.comparison import LawComparison
    from scaling.fitting.diagnose import ResidualDiagnostics
    from scaling.fitting.extrapolation import Extrapolation
    from scaling.fitting.line_diagnostics import LinesDiagnostics
    from scaling.fitting.results import Fit
    from scaling.runs import Runs

# of the first screen of any method, and of --by
SECTIONS = (
    "coefficients",
    "residuals",
    "comparison",
    "valleys",
    "curves",
    "holdout",
    "diagnostics",
    "data",
    "doubts",
    "groups",
)
FILLED_BY = {
    "comparison": "--compare-laws",
    "holdout": "--holdout-above FLOPS",
    "diagnostics": "--diagnostics",
    "valleys": "--method isoflop",
    "curves": "--method envelope",
    "groups": "--by COLUMN",
}
# what a table shows that a fit of this method deals with: refused with the reason, or what it is made of
COVERED = {
    "parametric": {"few-sizes-in-budget"},  # one surface through all runs needs no valley
    "law": {"few-sizes-in-budget"},
    "isoflop": {"edge-minimum"},
    "envelope": {"checkpoints", "unfinished-decay"},
}

OF_THE_FIT = {
    "Law and method": (
        "--method", "--law", "--fix", "--objective", "--huber-delta", "--valley", "--min-runs-per-budget", "--by",
    ),
    "Intervals and checks": ("--bootstrap", "--level", "--seed", "--holdout-above", "--compare-laws", "--diagnostics"),
}  # fmt: skip


@click.command(
    cls=Command,
    headings={**OF_THE_FIT, **HEADINGS},
    epilog="Example: scaling fit runs.csv -o fit.json && scaling plan --flops 1e21 --law fit.json",
)
@table_options
@click.option(
    "--method",
    type=click.Choice(METHODS),
    help="Approach 3, 2 or 1 of Hoffmann et al. 2022.  [default: parametric]",
)
@click.option(
    "--law",
    metavar="FAMILY",
    shell_complete=complete_family,
    help=f"Form of a parametric fit: {', '.join(OF_A_LOSS)}.  [default: chinchilla; of a table with one of parameters, "
    "tokens and FLOPs that one's power law with floor]",
)
@click.option(
    "--fix",
    "fixed",
    multiple=True,
    metavar="NAME=VALUE",
    help="Hold a coefficient of the law and fit the others: --fix E=1.6. Repeatable.",
)
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    help="What a parametric fit minimises.  [default: huber]",
)
@click.option(
    "--huber-delta",
    type=Number(min=0, min_open=True),
    metavar="DELTA",
    help="Huber threshold in log loss; default 1.345 robust sigma (Hoffmann et al.: 1e-3).",
)
@click.option(
    "--bootstrap",
    "n_resamples",
    type=click.IntRange(100, 100_000),
    metavar="N",
    help="Also resample the runs N times (4000 is usual): percentile intervals beside the others.",
)
@click.option(
    "--holdout-above",
    "held_out",
    multiple=True,
    metavar="FLOPS",
    help="Also fit the runs up to FLOPS and print the error on the dearer ones. Repeatable; 'rolling' cuts between "
    "the table's budgets.",
)
@click.option(
    "--compare-laws",
    "compare",
    is_flag=True,
    help="Also fit other laws and objectives, and print their hold-out error and how far they disagree.",
)
@click.option(
    "--diagnostics",
    is_flag=True,
    help="Also check the fit by robust and heteroscedasticity-consistent lines, and say which point moves it most.",
)
@click.option("--valley", type=click.Choice(VALLEYS), help="Shape of an IsoFLOP valley.  [default: parabola]")
@click.option(
    "--min-runs-per-budget",
    type=click.IntRange(min=3),
    metavar="N",
    help="Fewer runs make no valley.  [default: 4; quartic 6, surface 3]",
)
@click.option(
    "--level",
    type=Number(0.5, 0.999),
    metavar="LEVEL",
    default=DEFAULT_LEVEL,
    show_default=True,
    help="Level of the intervals.",
)
@click.option(
    "--seed", type=int, metavar="N", help="Seed of the bootstrap and of random starts.  [default: 0]"
)
@click.option(
    "--by",
    metavar="COLUMN",
    shell_complete=complete_column,
    help="Fit each group of this column (a corpus, a tokenizer) and print one table of the fits.",
)
@click.option(
    "-o",
    "--output",
    "law_file",
    metavar="FILE.json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the fit; --law reads it.",
)
@picture_options("the fit and the checks asked for", force=False)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@output_options(*SECTIONS, filled_by=FILLED_BY)
def fit(
    options: TableOptions,
    by: str | None,
    law_file: Path | None,
    picture: Path | None,
    diagnostics: bool,
    size: str,
    force: bool,
    output: Output,
    **given: Any,
) -> None:
    """Fit a scaling law to RUNS: a table (CSV, JSON, xlsx, Parquet ...; - is standard input) of runs."""
    diagnostics |= "diagnostics" in output.show
    by_default = given["method"] is None and given["law"] is None
    given |= {"method": given["method"] or "parametric", "fixed": parse_held(given["fixed"])}
    chosen = FitOptions(**given)
    if options.final and not chosen.fits_final_rows:
        raise UsageError("--method envelope fits whole training curves; leave --final out.")
    if by is not None and (law_file or picture or diagnostics or chosen.held_out or chosen.compare):
        raise UsageError(
            f"--by prints one table of fits and takes no -o, --plot, --diagnostics, --holdout-above or --compare-laws. "
            f"Fit one group with them: --only {by}=VALUE."
        )
    refuse_overwrite(force, law_file)
    refuse_picture(picture, force)
    with waiting_for(f"reading {options.table}"):
        inputs = () if by_default else chosen.inputs
        table = read_table(options, final=chosen.fits_final_rows, inputs=inputs)
    if by_default and table.runs.absent:
        chosen, table = fit_of_one_quantity(chosen, table)
    again, piped = saved_first(options)
    if by is not None:
        groups = fit_groups(table, chosen, by)
        command = _command(again, chosen)
        give(output, lambda: groups.summary(command), groups.to_dict, groups.to_frame)
        return
    found = fit_table(table, chosen, every_row=options.final is False)
    if diagnostics:
        found = replace(found, diagnosed=diagnose(found))
    if law_file:
        write_fit(found, law_file, force)
    if picture:
        draw(found, picture, size, resampled=chosen.n_resamples is not None)
    written = [str(law_file)] if law_file else []  # the picture has been told, with what it shows
    further = partial(next_command, found, again, chosen, law_file)
    told = [*told_notes(table.runs), *([f"wrote {picture}", "what it shows"] if picture else [])]
    blocks = partial(found.blocks, written=written, told=told, beside=piped)
    give(output, lambda: blocks(further()), found.to_dict, found.to_frame)


@dataclass(frozen=True, kw_only=True)
class TableFit:
    """A fit of a table, with what the table shows beside it and the checks that were asked for."""

    fit: Fit
    table: RunsTable
    findings: Sequence[Finding]  # of the fit, then of the table
    held_out: Extrapolation | None
    compared: LawComparison | None
    diagnosed: LinesDiagnostics | ResidualDiagnostics | None = None

    def to_dict(self) -> dict[str, Any]:
        checks = {"extrapolation": self.held_out, "comparison": self.compared, "diagnostics": self.diagnosed}
        return {
            **self.fit.to_dict(),
            "excluded": [*self.table.left_out, *self.fit.excluded],
            "findings": jsonable(self.findings),
            **{name: jsonable(check) for name, check in checks.items() if check},
        }

    def to_frame(self) -> DataFrame:
        """A row a coefficient and exponent, named."""
        return self.fit.to_frame().reset_index()

    def blocks(
        self,
        next_command: str = "",
        written: Sequence[str] = (),
        *,
        beside: Sequence[tuple[str, str]] = (),
        sections: Blocks = (),
        told: Sequence[str] = (),
    ) -> Blocks:
        from scaling.fitting.summary import summarise_fit

        return summarise_fit(
            self.fit,
            runs=self.table.runs,
            left_out=self.table.left_out,
            findings=self.findings,
            held_out=self.held_out,
            compared=self.compared,
            diagnosed=self.diagnosed,
            beside=beside,
            written=written,
            sections=sections,
            next_command=next_command,
            told=told,
            figures=False,
        )


def fit_table(table: RunsTable, options: FitOptions, *, every_row: bool = False) -> TableFit:
    """The fit that was asked for and its checks; `every_row`: rows of training curves are runs."""
    runs = table.runs
    with waiting_for(f"fitting {len(runs)} rows"):
        fit = _fit(table, options, every_row)
    with waiting_for("fitting again without the dearest runs"):
        held_out = hold_out(runs, options, every_row=every_row)
        compared = compare(runs, options, every_row=every_row)
    findings = _with_the_count(_merged(fit, table.findings), runs, options)
    return TableFit(fit=fit, table=table, findings=findings, held_out=held_out, compared=compared)


def diagnose(found: TableFit) -> LinesDiagnostics | ResidualDiagnostics:
    """What --diagnostics adds; loads statsmodels."""
    with waiting_for("checking the fit"):
        from scaling.fitting.diagnose import diagnose_fit

        return diagnose_fit(found.fit, found.table.runs)


def write_fit(found: TableFit, path: Path, force: bool) -> None:
    """The JSON of the fit, which --law reads."""
    write_file(path, json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n", force)


def draw(
    found: TableFit, path: Path, size: str = "page", *, silent: bool = False, resampled: bool = False
) -> None:
    """The usual figures of the fit, and those of the checks that were asked for."""
    from scaling.plots.results import usual_figures

    asked_for = {"influence": found.diagnosed is not None, "coefficients": resampled}

    runs, checks = found.table.runs, {"held_out": found.held_out, "compared": found.compared}
    with waiting_for(f"drawing {path}"):
        figures = usual_figures(
            found.fit, runs, also=[k for k, wanted in asked_for.items() if wanted], **checks
        )
    write_picture(figures, path, size, silent=silent)


def _fit(table: RunsTable, options: FitOptions, every_row: bool) -> Fit:
    """The fit alone; an error about rows or columns that were chosen for the user says how to choose others."""
    try:
        fit = fit_runs(table.runs, options, every_row=every_row)
    except FitError as error:
        if alone := next((f for f in table.findings if f.code == "one-quantity"), None):
            raise FitError(
                f"{error} T{alone.message[1:]}", remedies=(*error.remedies, *alone.remedies)
            ) from error
        if not any(f.code == "curves-reduced" for f in table.findings):
            raise
        raise FitError(
            f"{error} These are the last rows of training curves: --method envelope fits the curves, --every-row takes "
            "every row for a run.",
            remedies=(*error.remedies, "--method envelope", "--every-row"),
        ) from error
    provenance = fit.law.provenance
    if provenance is None or not any(f.code == "loss-unit" for f in table.findings):
        return fit
    # the losses look like another unit: the law is no longer said to be in nats/token
    return replace(fit, law=replace(fit.law, provenance=provenance._replace(loss_unit="in doubt")))


def fit_of_one_quantity(options: FitOptions, table: RunsTable) -> tuple[FitOptions, RunsTable]:
    """The options and the table where the table holds one quantity beside the loss: that one's power law with floor."""
    from scaling.findings import Finding
    from scaling.runs.columns import near_columns
    from scaling.runs.table import ONE_INPUT_LAWS

    (present,) = sorted(table.runs.columns().keys() & ONE_INPUT_LAWS.keys())
    law = ONE_INPUT_LAWS[present]
    missing = [name for name in ONE_INPUT_LAWS if name in table.runs.absent]
    near = [f"{name}={header}" for name in missing for header in near_columns(name, table.runs.extras)]
    column = shlex.quote(near[0]) if near else f"{missing[0]}=COLUMN"
    question = (
        tr("Is one of them {header}? Then say", header=near[0].partition("=")[2])
        if near
        else tr("If another column holds one, say")
    )
    has_steps = "n_tokens" in missing and table.runs.step is not None
    of_steps = tr("; the table has steps: --tokens-per-step NUMBER makes tokens of them") if has_steps else ""
    chosen = Finding(
        code="one-quantity",
        short=tr("the table holds {present} alone: fitted by its power law with a floor", present=present),
        severity="warning" if near else "note",
        message=tr(
            "the table holds {present} and the loss, and no {missing}: fitted by the power law of {present} with a "
            "floor (--law {law}). {question} --column {column}{of_steps}.",
            present=present,
            missing=tr(" and no ").join(missing),
            law=law,
            question=question,
            column=column,
            of_steps=of_steps,
        ),
        remedies=tuple(f"--column {shlex.quote(pair)}" for pair in near),
    )
    return replace(options, law=law), replace(table, findings=(chosen, *table.findings))


def _merged(fit: Fit, shown_by_table: Sequence[Finding]) -> list[Finding]:
    """What the fit found, then what the table itself shows, each once."""
    covered = {f.code for f in fit.findings} | COVERED.get(fit.method, set())
    if "far-off-runs" in covered:
        covered.add("outliers")
    if "n_tokens_unique" in {i.name for i in fit.law.family.inputs}:
        covered.add("repeated-data")  # this law knows repeated tokens from fresh ones
    return [*fit.findings, *(f for f in shown_by_table if f.code not in covered)]


def _with_the_count(findings: list[Finding], runs: Runs, options: FitOptions) -> list[Finding]:
    """How far the exponent hangs on what N counts, where the table does not say: in place of what it did elsewhere."""
    if options.method == "envelope" or options.family != "chinchilla":
        return findings
    from scaling.fitting.embeddings import embedding_finding

    found = embedding_finding(runs)
    if found is None:
        return findings
    general = next((f for f in findings if f.code == "unknown-convention"), None)
    if general is None:
        return [*findings, found]
    return [replace(found, severity=general.severity) if f is general else f for f in findings]


# --- what to do next: commands to copy ---


def _command(options: TableOptions, chosen: FitOptions) -> str:
    return f"scaling fit {options.as_arguments()} {chosen.as_arguments()}".strip()


def free_name(name: str) -> str:
    """The name, or with a number where a file has it: what a command writes is not to be refused."""
    path, others = Path(name), (Path(name).with_stem(f"{Path(name).stem}-{i}") for i in count(2))
    return str(path if not path.exists() else next(other for other in others if not other.exists()))


def saved_first(options: TableOptions) -> tuple[TableOptions, list[tuple[str, str]]]:
    """The options of the next command, and what it asks for: what was piped in cannot be read again."""
    if str(options.table) != "-":
        return options, []
    name = free_name("runs.csv")
    said = tr("it came by a pipe; save it as {name} for the next command", name=name)
    return replace(options, table=Path(name)), [(tr("table"), said)]


def next_command(found: TableFit, options: TableOptions, chosen: FitOptions, written: Path | None) -> str:
    """The fit that mends the gravest doubt, of another law or other rows; else this one in a file, and its use."""
    fit = found.fit
    if bare := without_floor(chosen, fit):
        return _command(options, bare)
    if other := _mended(found.findings, options, chosen):
        return other
    from scaling.fitting.sections import largest_budget

    law_file = free_name("fit.json") if written is None else shlex.quote(str(written))
    flops = format_flops(float(f"{10 * largest_budget(fit):.1g}")) if fit.has_optimum else ""
    if flops and _can_plan(fit, float(flops)):
        use = f"scaling plan --flops {flops} --law {law_file}"
    else:  # a law of one quantity splits no budget, but says what loss other runs reach
        use = f"scaling predict {law_file} {options.as_arguments()}"
    return use if written else f"{_command(options, chosen)} -o {law_file} && {use}"


def _mended(findings: Sequence[Finding], options: TableOptions, chosen: FitOptions) -> str:
    """The same command with the first remedy that fits another law or other rows; "" where no doubt has one."""
    remedy = next((f.other_fit for f in gravest_first(findings) if f.severity != "note" and f.other_fit), "")
    if not remedy or remedy in _command(options, chosen) or (remedy == "--final" and options.final is False):
        return ""  # taken already, or every row was asked for
    another_law = remedy.startswith(("--method ", "--law "))  # options of the one fitted may not suit it
    fitted = _command(options, FitOptions() if another_law else chosen)
    return f"{fitted} {remedy.removeprefix('--method parametric ')}"


def _can_plan(fit: Fit, flops: float) -> bool:
    """Whether the law splits a budget into a model: one with an exponent at its bound asks for 1e47 parameters."""
    from scaling.planning import Budget, plan_training

    try:
        plan_training(Budget(flops=flops), law=fit.law)
    except ScalingError:
        return False
    return True


def fit_groups(table: RunsTable, options: FitOptions, column: str) -> Groups:
    """--by: the fit of each group, and what its own rows show."""
    from scaling.fitting.by_group import fit_by
    from scaling.runs import check_runs

    with waiting_for(f"fitting the groups of {column}"):
        return fit_by(
            table.runs,
            column,
            # what is left of curves was asked for: the last rows are chosen by now
            lambda runs: _fit(replace(table, runs=runs), options, every_row=runs.is_curves),
            lambda fit, runs: _merged(fit, check_runs(runs, options.inputs)),
        )
