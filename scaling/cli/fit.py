"""`scaling fit`: a table of runs in, a scaling law with intervals out."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import json_safe, print_json
from scaling.cli.progress import waiting_for
from scaling.cli.tables import TableOptions, read_table, refuse_overwrite, table_options, write_file

if TYPE_CHECKING:
    from scaling.runs import Finding, Runs

METHODS = ("parametric", "isoflop", "envelope")
OBJECTIVES = ("huber", "least_squares", "log_least_squares", "asymmetric")
DEFAULT_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which fit is asked for."""

    method: str
    family: str
    objective: Any
    huber_delta: float | None
    valley: Any
    level: float
    seed: int

    def as_arguments(self) -> str:
        """The same fit as command-line text: what differs from the defaults."""
        words: list[str] = []
        for name, value, default in (
            ("--method", self.method, "parametric"),
            ("--law", self.family, "chinchilla"),
            ("--objective", self.objective, "huber"),
            ("--huber-delta", self.huber_delta, None),
            ("--valley", self.valley, "parabola"),
            ("--level", self.level, DEFAULT_LEVEL),
            ("--seed", self.seed, 0),
        ):
            words += (
                [name, f"{value:g}" if isinstance(value, float) else str(value)] if value != default else []
            )
        return shlex.join(words)


@click.command(epilog="Example: scaling fit runs.csv -o fit.json && scaling plan --flops 1e21 --law fit.json")
@table_options
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="parametric",
    show_default=True,
    help="Approach 3, 2 or 1 of Hoffmann et al. 2022.",
)
@click.option("--law", "family", default="chinchilla", show_default=True, help="Form of a parametric fit.")
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    default="huber",
    show_default=True,
    help="What a parametric fit minimises.",
)
@click.option(
    "--huber-delta",
    type=float,
    help="Huber threshold in log loss; default 1.345 robust sigma (Hoffmann et al.: 1e-3).",
)
@click.option(
    "--valley",
    type=click.Choice(["parabola", "quartic", "surface"]),
    default="parabola",
    show_default=True,
    help="Shape of an IsoFLOP valley.",
)
@click.option(
    "--level",
    type=click.FloatRange(0.5, 0.999),
    default=DEFAULT_LEVEL,
    show_default=True,
    help="Level of the intervals.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
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
    refuse_overwrite(force, output, picture)
    with waiting_for(f"reading {options.table}"):
        runs, left_out, shown_by_table = read_table(options)
    with waiting_for(f"fitting {len(runs)} rows"):
        result = fit_runs(runs, request)
        payload = json_safe(result.to_dict())
    findings = _merged(result, shown_by_table)
    payload["excluded"] = [*left_out, *payload.get("excluded", [])]
    payload["findings"] = json_safe([f.to_dict() for f in findings])
    if output:
        text = json.dumps({"schema_version": 1, "kind": "fit", **payload}, indent=1, allow_nan=False)
        write_file(output, text + "\n", force)
    if picture:
        _draw(result, runs, picture)
    if as_json:
        print_json(payload)
        return
    from scaling.cli import fit_text

    again = f"scaling fit {options.as_arguments()} {request.as_arguments()}".strip()
    fit_text.print_fit(result, runs, findings, left_out=left_out, law_file=output, command=again)


def fit_runs(runs: Runs, request: Request) -> Any:
    """The fit of any method. Each import stands where it is needed: a fit loads only its own code."""
    if request.method == "isoflop":
        from scaling.fitting.isoflop.fit import fit_isoflop

        return fit_isoflop(runs, valley=request.valley, level=request.level)
    if request.method == "envelope":
        from scaling.fitting.envelope.fit import fit_envelope

        return fit_envelope(runs, level=request.level)
    if request.family != "chinchilla":
        from scaling.fitting.generic.fit import fit_law
        from scaling.laws import find_family

        return fit_law(runs, find_family(request.family), seed=request.seed, level=request.level)
    from scaling.fitting.parametric.fit import fit_parametric, with_uncertainty

    surface = fit_parametric(
        runs,
        objective=request.objective,
        huber_delta=request.huber_delta,
        level=request.level,
        seed=request.seed,
    )
    return with_uncertainty(surface, seed=request.seed)


def _merged(result: Any, shown_by_table: tuple[Finding, ...]) -> list[Finding]:
    """What the fit found, then what the table itself shows, each once."""
    covered = {f.code for f in result.findings}
    if "far-off-runs" in covered:
        covered.add("outliers")
    if result.to_dict()["method"] == "isoflop":
        covered.add("edge-minimum")  # refused there, with the reason
    if "n_tokens_unique" in {i.name for i in result.law.family.inputs}:
        covered.add("repeated-data")  # this law knows repeated tokens from fresh ones
    return [*result.findings, *(f for f in shown_by_table if f.code not in covered)]


def _draw(result: Any, runs: Runs, path: Path) -> None:
    from scaling.plots import draw_fit

    with waiting_for(f"drawing {path}"):
        draw_fit(result, runs, path)
