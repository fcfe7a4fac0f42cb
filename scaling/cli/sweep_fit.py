"""`scaling sweep fit`: from finished runs to valleys, a law and a plan, in one go."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from scaling.cli.output import heading, note
from scaling.cli.sweep_options import SPEC, STORE, design_of, finished_runs, next_command, store_of
from scaling.errors import PlanError

PLANNED_TIMES = 10.0  # the largest budget of the sweep: as far as `scaling sweep verify` goes


@click.command(epilog="Try: scaling sweep fit sweep.toml")
@SPEC
@STORE
@click.option(
    "--method", type=click.Choice(["isoflop", "parametric"]), default="isoflop", show_default=True,
    help="Approach 2 or 3 of Hoffmann et al. 2022.",
)  # fmt: skip
@click.option("--budget", metavar="FLOPS", help="To plan  [default: 10 times the largest of the sweep].")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for runs.csv, law.json and valleys.png  [default: the store].",
)  # fmt: skip
def fit(spec: Path, store: Path | None, method: str, budget: str | None, output: Path | None) -> None:
    """Fit the finished runs, draw the valleys, and plan a larger budget with the law.

    Writes runs.csv, law.json and valleys.png, anew each time: the same as `scaling fit` on the table and
    `scaling plan --law` on what that writes.
    """
    from scaling.cli.fit import fit as fit_table
    from scaling.cli.plan import plan
    from scaling.sweep.results import unfinished_finding
    from scaling.units import parse_flops

    kept = store_of(spec, store)
    planned = design_of(spec, kept)
    runs = finished_runs(planned, kept)
    if unfinished := unfinished_finding(planned, kept):
        note(unfinished.message)
    folder = _folder(kept, output)
    table, law, picture = (folder / name for name in ("runs.csv", "law.json", "valleys.png"))
    runs.save(table, overwrite=True)
    flops = PLANNED_TIMES * planned.spec.grid.budgets[-1] if budget is None else parse_flops(budget)
    words = [str(table), "--method", method, "-o", str(law), "--plot", str(picture), "--force"]
    words += ["--anyway"]  # a model of 1,000 parameters is no mistaken unit in a table that the store wrote
    fit_table.main(words, standalone_mode=False)
    heading(f"Plan for {flops:.3g} FLOPs")
    wish = ["--flops", f"{flops:g}", "--law", str(law), "--vocab", str(planned.vocab_size), "--quiet"]
    try:
        plan.main(wish, standalone_mode=False)
    except PlanError as error:  # the law and its picture stand
        note(f"no plan: {error}")
    click.echo(f"\nlaw: {law}\nvalleys: {picture}\nprove it:  {next_command('verify')}")


def _folder(kept: Any, output: Path | None) -> Path:
    """Where the files go; a store that can only be read is fitted all the same."""
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        return output
    if kept.is_writable():
        return Path(kept.root)
    folder = Path(tempfile.mkdtemp(prefix="scaling-fit-"))
    note(f"{kept.root} cannot be written: the table, law and picture are in {folder} (--output chooses).")
    return folder
