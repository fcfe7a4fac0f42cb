"""`scaling fit`: a table of runs in, a scaling law with intervals out."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import json_safe, print_json
from scaling.cli.progress import waiting_for
from scaling.cli.tables import Table, TableOptions, read_table, refuse_overwrite, table_options, write_file
from scaling.errors import FitError, UsageError
from scaling.laws import FAMILIES
from scaling.units import parse_flops

if TYPE_CHECKING:
    from scaling.fitting.comparison import LawComparison
    from scaling.fitting.extrapolation import Extrapolation
    from scaling.runs import Finding, Runs

METHODS = ("parametric", "isoflop", "envelope")
OBJECTIVES = ("huber", "least_squares", "log_least_squares", "asymmetric")
OTHER_OBJECTIVES = ("huber", "log_least_squares")  # of the families beside chinchilla
VALLEYS = ("parabola", "quartic", "surface")
OF_A_LOSS = tuple(name for name in FAMILIES if name != "frontier")  # that one knows the split, not the loss
DEFAULT_LEVEL = 0.95
ROLLING = "rolling"

# option → the methods it means something to; elsewhere it is a mistake, not a default
TAKEN_BY = {
    "law": ("parametric",),
    "objective": ("parametric",),
    "huber_delta": ("parametric",),
    "n_resamples": ("parametric",),
    "seed": ("parametric",),
    "held_out": ("parametric",),
    "compare": ("parametric",),
    "valley": ("isoflop",),
    "min_runs_per_budget": ("isoflop",),
}
OPTION = {
    "n_resamples": "--bootstrap",
    "held_out": "--holdout-above",
    "compare": "--compare-laws",
}  # where it is not the name of the field


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which fit is asked for. None = not given: the default of the method."""

    method: str
    level: float
    law: str | None = None
    objective: Any = None
    huber_delta: float | None = None
    n_resamples: int | None = None
    seed: int | None = None
    held_out: tuple[str, ...] = ()
    compare: bool = False
    valley: Any = None
    min_runs_per_budget: int | None = None

    def __post_init__(self) -> None:
        for name, methods in TAKEN_BY.items():
            if _given(getattr(self, name)) and self.method not in methods:
                raise UsageError(
                    f"{_option(name)} belongs to --method {' or '.join(methods)}; --method {self.method} does not "
                    "take it. Leave it out, or choose the other method."
                )
        if self.family == "chinchilla":
            return
        if self.objective not in (None, *OTHER_OBJECTIVES):
            raise UsageError(
                f"--law {self.family} is fitted by --objective {' or '.join(OTHER_OBJECTIVES)}; {self.objective} is "
                "for the chinchilla law."
            )
        for name in ("huber_delta", "n_resamples"):
            if _given(getattr(self, name)):
                raise UsageError(
                    f"{_option(name)} is for the chinchilla law; --law {self.family} does not take it."
                )

    @property
    def family(self) -> str:
        return self.law or "chinchilla"

    @property
    def fits_final_rows(self) -> bool:
        """Training curves are used whole by an envelope only."""
        return self.method != "envelope"

    def as_arguments(self) -> str:
        """The same fit as command-line text: what was given."""
        words = [] if self.method == "parametric" else ["--method", self.method]
        for name in ("law", "objective", "huber_delta", "valley", "min_runs_per_budget", "seed"):
            value = getattr(self, name)
            if value is not None:
                words += [_option(name), f"{value:g}" if isinstance(value, float) else str(value)]
        words += [] if self.level == DEFAULT_LEVEL else ["--level", f"{self.level:g}"]
        return shlex.join(words)


def _given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _option(name: str) -> str:
    return OPTION.get(name, "--" + name.replace("_", "-"))


@click.command(epilog="Example: scaling fit runs.csv -o fit.json && scaling plan --flops 1e21 --law fit.json")
@table_options
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="parametric",
    show_default=True,
    help="Approach 3, 2 or 1 of Hoffmann et al. 2022.",
)
@click.option(
    "--law",
    metavar="FAMILY",
    help=f"Form of a parametric fit: {', '.join(OF_A_LOSS)}.  [default: chinchilla]",
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
    type=click.FloatRange(0.5, 0.999),
    default=DEFAULT_LEVEL,
    show_default=True,
    help="Level of the intervals.",
)
@click.option("--seed", type=int, help="Seed of the bootstrap and of random starts.  [default: 0]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the fit; --law reads it."
)
@click.option(
    "--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the fit (png, svg, pdf)."
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def fit(
    options: TableOptions, output: Path | None, picture: Path | None, force: bool, as_json: bool, **asked: Any
) -> None:  # fmt: skip
    """Fit a scaling law to RUNS: a CSV, JSONL or Parquet table with parameters, tokens (or FLOPs) and loss."""
    request = Request(**asked)
    if options.final and not request.fits_final_rows:
        raise UsageError("--method envelope fits whole training curves; leave --final out.")
    refuse_overwrite(force, output, picture)
    with waiting_for(f"reading {options.table}"):
        table = read_table(options, final=request.fits_final_rows)
    with waiting_for(f"fitting {len(table.runs)} rows"):
        result = _without_doubtful_unit(fit_table(table, request), table)
        payload = json_safe(result.to_dict())
    with waiting_for("fitting again without the dearest runs"):
        held_out, compared = hold_out(table.runs, request), compare(table.runs, request)
    findings = _merged(result, table.findings)
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

    again = f"scaling fit {options.as_arguments()} {request.as_arguments()}".strip()
    fit_text.print_fit(result, table, findings, held_out, compared, law_file=output, command=again)


def fit_table(table: Table, request: Request) -> Any:
    """The fit of any method; an error about the last rows of curves says how to fit more of them."""
    try:
        return fit_runs(table.runs, request)
    except FitError as error:
        if not any(f.code == "curves-reduced" for f in table.findings):
            raise
        raise FitError(
            f"{error} These are the last rows of training curves: --method envelope fits the curves, --every-row takes "
            "every row for a run."
        ) from error


def fit_runs(runs: Runs, request: Request) -> Any:
    """The fit of any method. Each import stands where it is needed: a fit loads only its own code."""
    if request.method == "isoflop":
        from scaling.fitting.isoflop.fit import fit_isoflop

        valley: Any = request.valley or "parabola"
        return fit_isoflop(
            runs, valley=valley, level=request.level, min_runs_per_budget=request.min_runs_per_budget
        )
    if request.method == "envelope":
        from scaling.fitting.envelope.fit import fit_envelope

        return fit_envelope(runs, level=request.level)
    objective: Any = request.objective or "huber"
    seed = request.seed or 0
    if request.family != "chinchilla":
        from scaling.fitting.generic.fit import fit_law
        from scaling.laws import find_family

        family = find_family(request.family)
        return fit_law(runs, family, objective=objective, seed=seed, level=request.level)
    from scaling.fitting.parametric.fit import fit_parametric, with_uncertainty

    surface = fit_parametric(
        runs,
        objective=objective,
        huber_delta=request.huber_delta,
        level=request.level,
        n_resamples=request.n_resamples,
        seed=seed,
    )
    return with_uncertainty(surface, seed=seed)


def hold_out(runs: Runs, request: Request) -> Extrapolation | None:
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
    )


def compare(runs: Runs, request: Request) -> LawComparison | None:
    """Other laws and objectives on the same runs, and the asked law where it is not among them."""
    if not request.compare:
        return None
    from scaling.fitting.comparison import DEFAULT_LAWS, compare_laws

    return compare_laws(runs, tuple(dict.fromkeys((*DEFAULT_LAWS, request.family))), seed=request.seed or 0)


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
