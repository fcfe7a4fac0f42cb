"""`scaling sweep verify`: train what the sweep's law plans at a larger budget, beside two rules of thumb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import print_json
from scaling.cli.sweep_hints import typed_again
from scaling.cli.sweep_options import RunOptions, run_options
from scaling.cli.sweep_progress import EXIT_INTERRUPTED, require_torch
from scaling.cli.sweep_run import EXIT_ALL_DIVERGED, EXIT_SOME_FAILED, all_diverged, train

if TYPE_CHECKING:
    from scaling.fitting.parametric.result import ParametricFit
    from scaling.runs import Runs
    from scaling.sweep.design import Design
    from scaling.sweep.store import Store
    from scaling.sweep.verify import Proof


@click.command(epilog="Try: scaling sweep verify sweep.toml --budget 1e12 --dry-run")
@run_options
@click.option("--budget", metavar="FLOPS", help="Of the proof  [default: 10 times the largest of the sweep].")
@click.option(
    "--without",
    type=click.Choice(["20-tokens", "kaplan"]),
    multiple=True,
    help="A rule of thumb not to train.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be trained, and what that costs here.")
@click.option("--measure/--no-measure", default=True, help="In a dry run: time a few steps, for the hours.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    spec: Path,
    store: Path | None,
    options: RunOptions,
    budget: str | None,
    without: tuple[str, ...],
    dry_run: bool,
    measure: bool,
    as_json: bool,
) -> int:
    """Prove the law: train what it plans at a larger budget, beside 20 tokens per parameter and Kaplan's advice."""
    from scaling.cli.sweep import design_of, finished_runs, store_of
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.sweep.verify import EXTRAPOLATION, KAPLAN, TWENTY, plan_proof
    from scaling.units import parse_flops

    planned, kept = design_of(spec), store_of(spec, store, options.lease_timeout_s)
    runs = finished_runs(planned, kept)
    names = {"20-tokens": TWENTY, "kaplan": KAPLAN}
    proof = plan_proof(
        planned,
        fit_isoflop(runs),
        EXTRAPOLATION * planned.spec.grid.budgets[-1] if budget is None else parse_flops(budget),
        without=[names[w] for w in without],
    )
    if dry_run:
        _tell_plan(proof, options, measure=measure, as_json=as_json)
        return 0
    return _prove(proof, kept, runs, options, as_json=as_json)


def _tell_plan(proof: Proof, options: RunOptions, *, measure: bool, as_json: bool) -> None:
    from scaling.cli.sweep_verify_text import plan_to_dict, print_plan
    from scaling.sweep.timing import Rate, usable_cores

    n_slots, rate = options.slots or usable_cores(), None
    if measure:
        from scaling.sweep.worker import measure_rate

        require_torch("local")
        rate = Rate.from_points(measure_rate(proof.design))
    if as_json:
        print_json(plan_to_dict(proof, rate, n_slots))
    else:
        print_plan(proof, rate, n_slots)


def _prove(proof: Proof, kept: Store, runs: Runs, options: RunOptions, *, as_json: bool) -> int:
    """Train, compare, print. The runs of a proof stay in the store, marked: no fit of the sweep takes them."""
    from scaling.cli.sweep_verify_text import print_proof
    from scaling.fitting.parametric.fit import fit_parametric
    from scaling.sweep.recorded import record_proof
    from scaling.sweep.verify import true_entropy

    surface = fit_parametric(runs)
    if kept.is_writable():
        record_proof(kept, proof)
    report = train(proof.design, kept, options)
    if report is None:
        return EXIT_INTERRUPTED
    rows = _rows(proof, kept, surface) if report.status.counts.get("done") else []
    floor = {"fitted_E": surface.law.coefficients.get("E"), "true_entropy": true_entropy(runs)}
    if as_json:
        left_out = dict(proof.left_out)
        print_json(
            {"kind": "sweep_proof", "budget": proof.budget, "rows": rows, "left_out": left_out, **floor}
        )
    elif rows:
        print_proof(proof, rows, runs, floor)
    return _end_of(report, kept, proof.design)


def _end_of(report: Any, kept: Store, design: Design) -> int:
    """The exit code; on stderr, what is missing and the command that goes on."""
    for run_id, state in report.status.states.items():
        if state in ("failed", "oom"):
            reason = (kept.inspect(run_id).failure or {}).get("reason", "unknown")
            click.echo(f"{run_id} {state}: {reason}", err=True)
    if report.interrupted:
        click.echo(f"out of time; go on with:  {typed_again()}", err=True)
        return EXIT_INTERRUPTED
    if report.status.n_failed:
        return EXIT_SOME_FAILED
    return EXIT_ALL_DIVERGED if all_diverged(report.status) else 0


def _rows(proof: Proof, kept: Store, surface: ParametricFit) -> list[dict[str, Any]]:
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
                "n_params_non_embedding": float(measured.extras["n_params_non_embedding"][i]),
                "n_tokens": float(measured.n_tokens[i]),
                "loss": float(measured.loss[i]),
                "predicted_loss": float(predicted.loss[i]),
                "prediction_interval": band,
            }
        )
    return sorted(rows, key=lambda r: r["loss"])
