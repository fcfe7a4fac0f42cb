"""`scaling fit`: a table of runs in, a scaling law with intervals out."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.fit_request import (
    DEFAULT_LEVEL,
    METHODS,
    OBJECTIVES,
    OF_A_LOSS,
    ROLLING,
    VALLEYS,
    Request,
    parse_held,
    request_without_floor,
)
from scaling.cli.output import json_safe, print_json
from scaling.cli.progress import waiting_for
from scaling.cli.tables import (
    Number,
    Table,
    TableOptions,
    read_table,
    refuse_overwrite,
    table_options,
    write_file,
)
from scaling.errors import FitError, UsageError
from scaling.units import parse_flops

if TYPE_CHECKING:
    from scaling.findings import Finding
    from scaling.fitting.comparison import LawComparison
    from scaling.fitting.extrapolation import Extrapolation
    from scaling.runs import Runs


@click.command(epilog="Example: scaling fit runs.csv -o fit.json && scaling plan --flops 1e21 --law fit.json")
@table_options
@click.option(
    "--method",
    type=click.Choice(METHODS),
    help="Approach 3, 2 or 1 of Hoffmann et al. 2022.  [default: parametric]",
)
@click.option(
    "--law",
    metavar="FAMILY",
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
    type=click.FloatRange(min=0, min_open=True),
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
    default=DEFAULT_LEVEL,
    show_default=True,
    help="Level of the intervals.",
)
@click.option("--seed", type=int, help="Seed of the bootstrap and of random starts.  [default: 0]")
@click.option(
    "--by",
    metavar="COLUMN",
    help="Fit each group of this column (a corpus, a tokenizer) and print one table of the fits.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the fit; --law reads it."
)
@click.option(
    "--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the fit (png, svg, pdf)."
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def fit(
    options: TableOptions,
    by: str | None,
    output: Path | None,
    picture: Path | None,
    force: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Fit a scaling law to RUNS: a table (CSV, JSON, xlsx, Parquet ...; - is standard input) of runs."""
    by_default = asked["method"] is None and asked["law"] is None
    asked |= {"method": asked["method"] or "parametric", "fixed": parse_held(asked["fixed"])}
    request = Request(**asked)
    if options.final and not request.fits_final_rows:
        raise UsageError("--method envelope fits whole training curves; leave --final out.")
    if by is not None and (output or picture or request.held_out or request.compare):
        raise UsageError(
            f"--by prints one table of fits and takes no -o, --plot, --holdout-above or --compare-laws. Fit one group "
            f"with them: --only {by}=VALUE."
        )
    refuse_overwrite(force, output, picture)
    with waiting_for(f"reading {options.table}"):
        inputs = () if by_default else request.inputs
        table = read_table(options, final=request.fits_final_rows, inputs=inputs)
    if by_default and table.runs.absent:
        request, table = _of_one_quantity(request, table)
    every_row = options.final is False
    if by is not None:
        _fit_groups(
            table, request, by, f"scaling fit {options.as_arguments()} {request.as_arguments()}", as_json
        )
        return
    with waiting_for(f"fitting {len(table.runs)} rows"):
        result = _without_doubtful_unit(fit_table(table, request, every_row), table)
        payload = json_safe(result.to_dict())
    with waiting_for("fitting again without the dearest runs"):
        held_out = hold_out(table.runs, request, every_row)
        compared = compare(table.runs, request, every_row)
    findings = _with_the_count(_merged(result, table.findings), table.runs, request)
    payload["excluded"] = [*table.left_out, *payload.get("excluded", [])]
    payload["findings"] = json_safe([f.to_dict() for f in findings])
    payload |= {"extrapolation": json_safe(held_out.to_dict())} if held_out else {}
    payload |= {"comparison": json_safe(compared.to_dict())} if compared else {}
    if output:
        text = json.dumps({"schema_version": 1, "kind": "fit", **payload}, indent=1, allow_nan=False)
        write_file(output, text + "\n", force)
    if picture:
        _draw(result, table, picture)
    if as_json:
        print_json(payload)
        return
    from scaling.cli import fit_text

    reading = options.as_arguments()
    bare = request_without_floor(request, result)
    following = fit_text.Following(
        law_file=output,
        fit_again=f"scaling fit {reading} {request.as_arguments()}".strip(),
        reading=reading,
        fit_without_floor=f"scaling fit {reading} {bare.as_arguments()}".strip() if bare else None,
    )
    fit_text.print_fit(result, table, findings, held_out, compared, following)


def _fit_groups(table: Table, request: Request, column: str, command: str, as_json: bool) -> None:
    from scaling.cli.fit_by import fit_by, print_groups, print_groups_json

    def fit_one(runs: Runs) -> Any:
        part = replace(table, runs=runs)
        every_row = runs.is_curves  # what is left of curves was asked for: the last rows are chosen by now
        return _without_doubtful_unit(fit_table(part, request, every_row), part)

    with waiting_for(f"fitting the groups of {column}"):
        groups = fit_by(table, request, column, fit_one, _merged)
    if as_json:
        print_groups_json(groups, column)
        return
    print_groups(groups, column, command.strip())


def _of_one_quantity(request: Request, table: Table) -> tuple[Request, Table]:
    """The request and the table where the table holds one quantity beside the loss: that one's power law with floor."""
    from scaling.findings import Finding
    from scaling.runs.columns import near_columns
    from scaling.runs.table import ONE_INPUT_LAWS

    (present,) = sorted(table.runs.columns().keys() & ONE_INPUT_LAWS.keys())
    law = ONE_INPUT_LAWS[present]
    missing = [name for name in ONE_INPUT_LAWS if name in table.runs.absent]
    near = [f"{name}={header}" for name in missing for header in near_columns(name, table.runs.extras)]
    say = shlex.quote(near[0]) if near else f"{missing[0]}=COLUMN"
    asked = (
        f"Is one of them {near[0].partition('=')[2]}? Then say"
        if near
        else "If another column holds one, say"
    )
    has_steps = "n_tokens" in missing and table.runs.step is not None
    of_steps = "; the table has steps: --tokens-per-step NUMBER makes tokens of them" if has_steps else ""
    chosen = Finding(
        code="one-quantity",
        severity="warning" if near else "note",
        message=f"the table holds {present} and the loss, and no {' and no '.join(missing)}: fitted by the power law "
        f"of {present} with a floor (--law {law}). {asked} --column {say}{of_steps}.",
        remedies=tuple(f"--column {shlex.quote(pair)}" for pair in near),
    )
    return replace(request, law=law), replace(table, findings=(chosen, *table.findings))


def fit_table(table: Table, request: Request, every_row: bool = False) -> Any:
    """The fit of any method; an error about rows or columns that were chosen for the user says how to choose others."""
    try:
        return fit_runs(table.runs, request, every_row)
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


def fit_runs(runs: Runs, request: Request, every_row: bool = False) -> Any:
    """The fit of any method. Each import stands where it is needed: a fit loads only its own code."""
    if request.method == "isoflop":
        from scaling.fitting.isoflop.fit import fit_isoflop

        valley: Any = request.valley or "parabola"
        return fit_isoflop(
            runs,
            valley=valley,
            level=request.level,
            min_runs_per_budget=request.min_runs_per_budget,
            every_row=every_row,
        )
    if request.method == "envelope":
        from scaling.fitting.envelope.fit import fit_envelope

        return fit_envelope(runs, level=request.level)
    objective: Any = request.objective or "huber"
    seed = request.seed or 0
    if request.family != "chinchilla":
        from scaling.fitting.generic.fit import fit_law

        return fit_law(
            runs,
            request.family,
            objective=objective,
            seed=seed,
            level=request.level,
            fixed=dict(request.fixed),
        )
    from scaling.fitting.parametric.fit import fit_parametric, with_uncertainty

    surface = fit_parametric(
        runs,
        objective=objective,
        huber_delta=request.huber_delta,
        level=request.level,
        n_resamples=request.n_resamples,
        seed=seed,
        fixed=dict(request.fixed),
    )
    return with_uncertainty(surface, seed=seed)


def hold_out(runs: Runs, request: Request, every_row: bool = False) -> Extrapolation | None:
    """The error on runs dearer than each cut-off that was asked for."""
    if not request.held_out:
        return None
    from scaling.fitting.extrapolation import evaluate_extrapolation

    return evaluate_extrapolation(
        runs,
        request.family,
        cuts=None if ROLLING in request.held_out else [parse_flops(c) for c in request.held_out],
        objective=request.objective or "huber",
        huber_delta=request.huber_delta,
        level=request.level,
        seed=request.seed or 0,
        fixed=dict(request.fixed),
        every_row=every_row,
    )


def compare(runs: Runs, request: Request, every_row: bool = False) -> LawComparison | None:
    """Other laws and objectives on the same runs, and the asked law where it is not among them."""
    if not request.compare:
        return None
    from scaling.fitting.comparison import DEFAULT_LAWS, compare_laws

    laws = tuple(dict.fromkeys((*DEFAULT_LAWS, request.family)))
    return compare_laws(runs, laws, seed=request.seed or 0, every_row=every_row)


def _merged(result: Any, shown_by_table: tuple[Finding, ...]) -> list[Finding]:
    """What the fit found, then what the table itself shows, each once."""
    covered = {f.code for f in result.findings}
    method = result.to_dict()["method"]
    if "far-off-runs" in covered:
        covered.add("outliers")
    if method == "isoflop":
        covered.add("edge-minimum")  # refused there, with the reason
    if method == "envelope":
        covered |= {"checkpoints", "unfinished-decay"}  # what an envelope is made of
    if "n_tokens_unique" in {i.name for i in result.law.family.inputs}:
        covered.add("repeated-data")  # this law knows repeated tokens from fresh ones
    return [*result.findings, *(f for f in shown_by_table if f.code not in covered)]


def _with_the_count(findings: list[Finding], runs: Runs, request: Request) -> list[Finding]:
    """How far the exponent hangs on what N counts, where the table does not say: in place of what it did elsewhere."""
    if request.method == "envelope" or request.family != "chinchilla":
        return findings
    from scaling.fitting.embeddings import embedding_finding

    found = embedding_finding(runs)
    if found is None:
        return findings
    general = next((f for f in findings if f.code == "unknown-convention"), None)
    if general is None:
        return [*findings, found]
    return [replace(found, severity=general.severity) if f is general else f for f in findings]


def _without_doubtful_unit(result: Any, table: Table) -> Any:
    """The fit, its law no longer said to be in nats/token where the losses look like another unit."""
    if not any(f.code == "loss-unit" for f in table.findings):
        return result
    provenance = result.law.provenance._replace(loss_unit="in doubt")
    return replace(result, law=replace(result.law, provenance=provenance))


def _draw(result: Any, table: Table, path: Path) -> None:
    from scaling.plots import draw_fit

    with waiting_for(f"drawing {path}"):
        draw_fit(result, table.runs, path)
