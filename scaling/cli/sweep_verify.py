"""`scaling sweep verify`: train what the sweep's law plans at a larger budget, beside two rules of thumb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scaling.cli.output import heading, note, paragraph, print_json, print_table
from scaling.units import format_flops, format_params, format_tokens


def verify_sweep(
    planned: Any,
    kept: Any,
    *,
    budget: float | None,
    without: tuple[str, ...],
    slots: int,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Fit, plan, train, compare, print."""
    from scaling.cli.sweep_progress import (
        EXIT_INTERRUPTED,
        ProgressLine,
        executor_of,
        interrupted_by_sigterm,
        require_torch,
        typed_again,
    )
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.fitting.parametric.fit import fit_parametric
    from scaling.sweep.execute import Supervisor
    from scaling.sweep.results import load_store_runs
    from scaling.sweep.verify import EXTRAPOLATION, KAPLAN, TWENTY, plan_proof, true_entropy

    runs = load_store_runs(kept, run_ids=[r.run_id for r in planned.runs])
    optimum = fit_isoflop(runs)
    surface = fit_parametric(runs)
    names = {"20-tokens": TWENTY, "kaplan": KAPLAN}
    proof = plan_proof(
        planned,
        optimum,
        budget or EXTRAPOLATION * planned.spec.grid.budgets[-1],
        without=[names[w] for w in without],
    )
    if dry_run:
        _print_plan(proof)
        return 0
    require_torch("local")
    line = ProgressLine(enabled=not quiet, design=proof.design)
    supervisor = Supervisor(
        store=kept,
        design=proof.design,
        executor=executor_of("local", kept, proof.design, partition=None),
        n_slots=slots,
        on_progress=line.show,
    )
    try:
        with interrupted_by_sigterm():
            report = supervisor.run()
    except KeyboardInterrupt:
        line.close()
        click.echo(
            f"interrupted; every run has kept its last checkpoint. Go on with:  {typed_again()}", err=True
        )
        return EXIT_INTERRUPTED
    line.close()
    rows = _rows(proof, kept, surface)
    floor = {"fitted_E": surface.law.coefficients.get("E"), "true_entropy": true_entropy(runs)}
    if as_json:
        print_json(
            {
                "kind": "sweep_proof",
                "budget": proof.budget,
                "rows": rows,
                "left_out": dict(proof.left_out),
                **floor,
            }
        )
    else:
        _print_proof(proof, rows, runs, floor)
    return 4 if report.status.n_failed else 0


def _rows(proof: Any, kept: Any, surface: Any) -> list[dict[str, Any]]:
    """One row an advice: what was trained, predicted (with the interval of a new run) and measured."""
    from scaling.fitting.parametric.prediction import predict
    from scaling.sweep.results import load_store_runs

    measured = load_store_runs(kept, run_ids=[r.run_id for r in proof.design.runs])
    predicted = predict(surface, measured)
    at = {run_id: i for i, run_id in enumerate(measured.run_id)}
    rows = []
    for name, run_id in proof.run_ids.items():
        if run_id not in at:
            continue
        i = at[run_id]
        band = None if predicted.prediction is None else [float(v) for v in predicted.prediction[i]]
        rows.append(
            {
                "advice": name,
                "run_id": run_id,
                "n_params": float(measured.n_params[i]),
                "n_tokens": float(measured.n_tokens[i]),
                "loss": float(measured.loss[i]),
                "predicted_loss": float(predicted.loss[i]),
                "prediction_interval": band,
            }
        )
    return sorted(rows, key=lambda r: r["loss"])


def _print_plan(proof: Any) -> None:
    heading(f"The proof at {format_flops(proof.budget)} FLOPs would train")
    runs = {r.run_id: r for r in proof.design.runs}
    print_table(
        ["advice", "N", "tokens D", "steps"],
        [
            [name, format_params(runs[i].n_params), format_tokens(runs[i].n_tokens), str(runs[i].n_steps)]
            for name, i in proof.run_ids.items()
        ],
    )
    for name, why in proof.left_out.items():
        note(f"{name} is left out: {why}")


def _print_proof(proof: Any, rows: list[dict[str, Any]], runs: Any, floor: dict[str, float | None]) -> None:
    times = proof.budget / (runs.flops if runs.budget is None else runs.budget).max()
    heading(f"The proof at {format_flops(proof.budget)} FLOPs, {times:.3g} times the sweep's largest budget")
    table = []
    for r in rows:
        band = r["prediction_interval"]
        interval = "" if band is None else f"{band[0]:.3f} to {band[1]:.3f}"
        table.append(
            [
                r["advice"], format_params(r["n_params"]), format_tokens(r["n_tokens"]), f"{r['loss']:.4f}",
                f"{r['predicted_loss']:.4f}", interval,
            ]
        )  # fmt: skip
    print_table(["advice", "N", "tokens D", "measured loss", "predicted", "95 % for one run"], table)
    click.echo()
    if len(rows) > 1:
        gap = rows[1]["loss"] - rows[0]["loss"]
        paragraph(f"Lowest: {rows[0]['advice']}, by {gap:.4f} nats/token over {rows[1]['advice']}.")
    if floor["true_entropy"] is not None and floor["fitted_E"] is not None:
        paragraph(
            f"Floor: fitted E = {floor['fitted_E']:.3f}; the true entropy of the corpus on the validation tokens is "
            f"{floor['true_entropy']:.4f} nats/token."
        )
    for name, why in proof.left_out.items():
        note(f"{name} is left out: {why}")


@click.command(epilog="Try: scaling sweep verify sweep.toml --budget 1e12 --dry-run")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--store", type=click.Path(path_type=Path), help="Folder of the runs  [default: store, beside the spec]."
)
@click.option("--budget", metavar="FLOPS", help="Of the proof  [default: 10 times the largest of the sweep].")
@click.option(
    "--without",
    type=click.Choice(["20-tokens", "kaplan"]),
    multiple=True,
    help="A rule of thumb not to train.",
)
@click.option("--slots", type=click.IntRange(1), help="Runs at once  [default: the CPU cores].")
@click.option("--dry-run", is_flag=True, help="Only say what would be trained.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    spec: Path,
    store: Path | None,
    budget: str | None,
    without: tuple[str, ...],
    slots: int | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Prove the law: train what it plans at a larger budget, beside 20 tokens per parameter and Kaplan's advice."""
    from scaling.cli.sweep import design_of, store_of
    from scaling.sweep.timing import usable_cores
    from scaling.units import parse_flops

    return verify_sweep(
        design_of(spec),
        store_of(spec, store),
        budget=None if budget is None else parse_flops(budget),
        without=without,
        slots=slots or usable_cores(),
        dry_run=dry_run,
        as_json=as_json,
        quiet=quiet,
    )
