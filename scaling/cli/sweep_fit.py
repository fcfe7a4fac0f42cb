"""`scaling sweep fit`: from finished runs to valleys, a law and a plan, in one go."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from scaling.blocks import Blocks, Callout, Code, Section
from scaling.cli.help import Command
from scaling.cli.output import Output, give, output_options
from scaling.cli.sweep_options import FEWER_RUNS, SPEC, STORE, design_of, finished_runs, store_of
from scaling.cli.sweep_options import next_command as sweep_command
from scaling.errors import PlanError, of_option
from scaling.render.terminal import note
from scaling.translation import counted, tr
from scaling.units import format_flops

if TYPE_CHECKING:
    from scaling.cli.fit import TableFit
    from scaling.cli.fit_options import FitOptions
    from scaling.laws.base import Law
    from scaling.planning.result import Plan
    from scaling.runs import Runs
    from scaling.sweep.design import Design
    from scaling.sweep.store import Store

FILES = {"runs": "runs.csv", "law": "law.json", "valleys": "valleys.png"}
PLANNED_TIMES = 10.0  # the largest budget of the sweep: as far as `scaling sweep verify` goes


@click.command(
    cls=Command,
    headings={"Fit and plan": ("--method", "--min-runs-per-budget", "--budget", "--store")},
    epilog="Try: scaling sweep fit sweep.toml",
)
@SPEC
@STORE
@click.option(
    "--method", type=click.Choice(["isoflop", "parametric"]), default="isoflop", show_default=True,
    help="Approach 2 or 3 of Hoffmann et al. 2022.",
)  # fmt: skip
@FEWER_RUNS
@click.option("--budget", metavar="FLOPS", help="To plan  [default: 10 times the largest of the sweep].")
@click.option(
    "-o", "--output", "where", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for runs.csv, law.json and valleys.png  [default: the store].",
)  # fmt: skip
@output_options("valleys", "coefficients", "residuals", "comparison", "plan", "data", "doubts")
def fit(
    spec: Path,
    store: Path | None,
    method: Literal["isoflop", "parametric"],
    min_runs_per_budget: int | None,
    budget: str | None,
    where: Path | None,
    output: Output,
) -> None:
    """Fit the finished runs, draw the valleys, and plan a larger budget with the law.

    Writes runs.csv, law.json and valleys.png, anew each time: the same as `scaling fit` on the table and
    `scaling plan --law` on what that writes.
    """
    from scaling.cli.fit_options import FitOptions
    from scaling.sweep.results import unfinished_finding
    from scaling.units import parse_flops

    opened = store_of(spec, store)
    planned = design_of(spec, opened)
    runs = finished_runs(planned, opened)
    if unfinished := unfinished_finding(planned, opened):
        note(unfinished.message)
    folder = _folder(opened, where)
    flops = (
        PLANNED_TIMES * planned.spec.grid.budgets[-1]
        if budget is None
        else of_option("--budget", parse_flops, budget)
    )
    chosen = FitOptions(method=method, min_runs_per_budget=min_runs_per_budget)
    found = _fit_table(runs, chosen, folder)
    plan = _plan(found.fit.law, flops, planned.vocab_size)
    files = {name: str(folder / file) for name, file in FILES.items()}
    rows = [(tr("trained"), _trained(planned, runs)), *([(tr("plan"), _planned(plan))] if plan else [])]
    fewer = f" --min-runs-per-budget {min_runs_per_budget}" if min_runs_per_budget else ""
    lacks_runs = plan is None and budget is None  # a budget that was given may be too small; ours is not
    rows += [(tr("plan"), _more_runs(planned))] if lacks_runs else []

    def blocks() -> Blocks:
        written = tr("{names} in {folder}", names=", ".join(FILES.values()), folder=folder)
        again = f"scaling plan --flops {format_flops(flops)} --law {shlex.quote(files['law'])}"
        section = Section("plan", tr("The plan"), lambda: (*_plan_blocks(plan), Code(again)))
        then = sweep_command("run") if lacks_runs else sweep_command("verify") + fewer
        return found.blocks(then, [written], beside=rows, sections=(section,))

    def payload() -> dict[str, Any]:
        return {**found.to_dict(), "plan": plan and plan.to_dict(), "files": files}

    give(output, blocks, payload, found.to_frame)


def _fit_table(runs: Runs, chosen: FitOptions, folder: Path) -> TableFit:
    """The fit, after writing the table of runs, the law fitted to it and the picture."""
    from scaling.cli.fit import draw, fit_table, write_fit
    from scaling.cli.tables import TableOptions, read_table

    table, law, picture = (folder / name for name in FILES.values())
    runs.save(table, overwrite=True)
    # a model of 1,000 parameters is no mistaken unit in a table that the store wrote
    reading = TableOptions(table=table, anyway=True)
    found = fit_table(read_table(reading, final=True, inputs=chosen.inputs), chosen)
    write_fit(found, law, force=True)
    draw(found, picture, silent=True)
    return found


def _plan(law: Law, flops: float, vocab_size: int) -> Plan | None:
    """What the law says of the budget; None, and why, where that is no model: the law and its picture stand."""
    from scaling.planning import Budget, Constraints, plan_training

    try:
        plan: Plan = plan_training(Budget(flops=flops), law, constraints=Constraints(vocab_size=vocab_size))
    except PlanError as error:
        note(f"no plan: {error}")
        return None
    return plan


def _plan_blocks(plan: Plan | None) -> Blocks:
    if plan is None:
        return ()
    return (*plan.headline(), *(Callout(text, "warning") for text in plan.warnings))


def _trained(design: Design, runs: Runs) -> str:
    from scaling.units import format_params

    sizes = (format_params(float(end)) for end in (runs.n_params.min(), runs.n_params.max()))
    return tr(
        "{runs} of {name}, {low} to {high} parameters, on {corpus}",
        runs=counted(len(runs), "run"),
        name=design.spec.name,
        low=next(sizes),
        high=next(sizes),
        corpus=design.spec.corpus.name,
    )


def _more_runs(design: Design) -> str:
    """What a law without a plan lacks: a longer stretch of compute to hold its exponents."""
    budgets = design.spec.grid.budgets
    return tr(
        "none: this law plans no model; add {flops} to the grid's budgets in the spec, then run it again",
        flops=format_flops(float(f"{PLANNED_TIMES * budgets[-1]:.1g}")),
    )


def _planned(plan: Plan) -> str:
    from scaling.units import format_params, format_tokens

    said = tr(
        "{n} parameters on {d} tokens for {flops} FLOPs",
        n=format_params(plan.point.n_params),
        d=format_tokens(plan.point.n_tokens),
        flops=format_flops(plan.point.flops),
    )
    return said if plan.point.loss is None else tr("{said}: loss {loss:.3f}", said=said, loss=plan.point.loss)


def _folder(store: Store, output: Path | None) -> Path:
    """Where the files go; a store that can only be read is fitted all the same."""
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        return output
    if store.is_writable():
        return store.root
    folder = Path(tempfile.mkdtemp(prefix="scaling-fit-"))
    note(f"{store.root} cannot be written: the table, law and picture are in {folder} (--output chooses).")
    return folder
