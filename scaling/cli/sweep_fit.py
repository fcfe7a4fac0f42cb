"""`scaling sweep fit`: from finished runs to valleys, a law and a plan, in one go."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from scaling.blocks import Heading
from scaling.cli.help import Command
from scaling.cli.sweep_options import SPEC, STORE, design_of, finished_runs, store_of
from scaling.cli.sweep_options import next_command as sweep_command
from scaling.errors import PlanError, of_option
from scaling.render.terminal import note, say, show, warn
from scaling.translation import tr

if TYPE_CHECKING:
    from scaling.laws.base import Law
    from scaling.runs import Runs
    from scaling.sweep.store import Store

PLANNED_TIMES = 10.0  # the largest budget of the sweep: as far as `scaling sweep verify` goes


@click.command(
    cls=Command,
    sections={"Fit and plan": ("--method", "--budget", "--store")},
    epilog="Try: scaling sweep fit sweep.toml",
)
@SPEC
@STORE
@click.option(
    "--method", type=click.Choice(["isoflop", "parametric"]), default="isoflop", show_default=True,
    help="Approach 2 or 3 of Hoffmann et al. 2022.",
)  # fmt: skip
@click.option("--budget", metavar="FLOPS", help="To plan  [default: 10 times the largest of the sweep].")
@click.option(
    "-o", "--output", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for runs.csv, law.json and valleys.png  [default: the store].",
)  # fmt: skip
def fit(
    spec: Path,
    store: Path | None,
    method: Literal["isoflop", "parametric"],
    budget: str | None,
    output: Path | None,
) -> None:
    """Fit the finished runs, draw the valleys, and plan a larger budget with the law.

    Writes runs.csv, law.json and valleys.png, anew each time: the same as `scaling fit` on the table and
    `scaling plan --law` on what that writes.
    """
    from scaling.sweep.results import unfinished_finding
    from scaling.units import parse_flops

    opened = store_of(spec, store)
    planned = design_of(spec, opened)
    runs = finished_runs(planned, opened)
    if unfinished := unfinished_finding(planned, opened):
        note(unfinished.message)
    folder = _folder(opened, output)
    flops = (
        PLANNED_TIMES * planned.spec.grid.budgets[-1]
        if budget is None
        else of_option("--budget", parse_flops, budget)
    )
    law = _fit_table(runs, method, folder)
    show(Heading(tr("Plan for {flops:.3g} FLOPs", flops=flops)))
    try:
        _show_plan(law, flops, planned.vocab_size)
    except PlanError as error:  # the law and its picture stand
        note(f"no plan: {error}")
    say(
        f"\nlaw: {folder / 'law.json'}\nvalleys: {folder / 'valleys.png'}\nprove it:  {sweep_command('verify')}"
    )


def _fit_table(runs: Runs, method: Literal["isoflop", "parametric"], folder: Path) -> Law:
    """Write the table of runs, the law fitted to it and the picture, and show the fit."""
    from scaling.cli.fit import draw, fit_table, next_command, write_fit
    from scaling.cli.fit_options import FitOptions
    from scaling.cli.tables import TableOptions, read_table

    table, law, picture = (folder / name for name in ("runs.csv", "law.json", "valleys.png"))
    runs.save(table, overwrite=True)
    # a model of 1,000 parameters is no mistaken unit in a table that the store wrote
    reading, chosen = TableOptions(table=table, anyway=True), FitOptions(method=method)
    found = fit_table(read_table(reading, final=True, inputs=chosen.inputs), chosen)
    write_fit(found, law, force=True)
    draw(found, picture)
    show(*found.blocks(next_command(found.fit, reading, chosen, law)))
    return found.fit.law


def _show_plan(law: Law, flops: float, vocab_size: int) -> None:
    from scaling.planning import Budget, Constraints, plan_training

    plan = plan_training(Budget(flops=flops), law, constraints=Constraints(vocab_size=vocab_size))
    show(*plan.headline(alone=True))
    for text in plan.warnings:
        warn(text)


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
