"""`scaling sweep fit`: from finished runs to valleys, a law and a plan, in one go."""

from __future__ import annotations

from pathlib import Path

import click

from scaling.cli.output import heading

PLANNED_TIMES = 10.0  # the largest budget of the sweep: as far as `scaling sweep verify` goes


@click.command(epilog="Try: scaling sweep fit sweep.toml")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--store", type=click.Path(path_type=Path), help="Folder of the runs  [default: store, beside the spec]."
)
@click.option(
    "--method", type=click.Choice(["isoflop", "parametric"]), default="isoflop", show_default=True,
    help="Approach 2 or 3 of Hoffmann et al. 2022.",
)  # fmt: skip
@click.option("--budget", metavar="FLOPS", help="To plan  [default: 10 times the largest of the sweep].")
def fit(spec: Path, store: Path | None, method: str, budget: str | None) -> None:
    """Fit the finished runs, draw the valleys, and plan a larger budget with the law.

    Writes runs.csv, law.json and valleys.png into the store, anew each time: the same as `scaling fit` on its table and
    `scaling plan --law` on what that writes.
    """
    from scaling.cli.fit import fit as fit_table
    from scaling.cli.plan import plan
    from scaling.cli.sweep import design_of, store_of
    from scaling.sweep.results import load_store_runs
    from scaling.units import parse_flops

    planned, kept = design_of(spec), store_of(spec, store)
    table, law, picture = (kept.root / name for name in ("runs.csv", "law.json", "valleys.png"))
    load_store_runs(kept, run_ids=[r.run_id for r in planned.runs]).save(table, overwrite=True)
    flops = PLANNED_TIMES * planned.spec.grid.budgets[-1] if budget is None else parse_flops(budget)
    words = [str(table), "--method", method, "-o", str(law), "--plot", str(picture), "--force"]
    fit_table.main(words, standalone_mode=False)
    heading(f"Plan for {flops:.3g} FLOPs")
    wish = ["--flops", f"{flops:g}", "--law", str(law), "--vocab", str(planned.vocab_size), "--quiet"]
    plan.main(wish, standalone_mode=False)
    click.echo(f"\nlaw: {law}\nvalleys: {picture}\nprove it:  scaling sweep verify {spec}")
