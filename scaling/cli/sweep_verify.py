"""`scaling sweep verify`: train what the sweep's law plans at a larger budget, beside two rules of thumb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import print_json
from scaling.cli.sweep_hints import typed_again
from scaling.cli.sweep_options import RunOptions, run_options
from scaling.cli.sweep_progress import EXIT_INTERRUPTED
from scaling.cli.sweep_run import EXIT_ALL_DIVERGED, EXIT_SOME_FAILED, all_diverged, train
from scaling.cli.sweep_store import design_of, finished_runs, measured_rate, store_of, unfinished_finding

if TYPE_CHECKING:
    from scaling.cli.sweep_verify_text import Basis, Doubts
    from scaling.findings import Finding
    from scaling.fitting.parametric.result import ParametricFit
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
    from scaling.cli.sweep_verify_text import Basis
    from scaling.fitting.isoflop.fit import fit_isoflop
    from scaling.fitting.parametric.fit import fit_parametric
    from scaling.sweep.verify import EXTRAPOLATION, KAPLAN, TWENTY, plan_proof
    from scaling.units import parse_flops

    kept = store_of(spec, store, options.lease_timeout_s)
    planned = design_of(spec, kept)
    runs = finished_runs(planned, kept)
    law, surface = fit_isoflop(runs), fit_parametric(runs)
    names = {"20-tokens": TWENTY, "kaplan": KAPLAN}
    proof = plan_proof(
        planned,
        law,
        EXTRAPOLATION * planned.spec.grid.budgets[-1] if budget is None else parse_flops(budget),
        without=[names[w] for w in without],
    )
    unfinished = unfinished_finding(planned, kept)
    doubts = _doubts(proof, law.findings, surface.findings, (unfinished,) if unfinished else ())
    if dry_run:
        _tell_plan(proof, doubts, options, measure=measure, as_json=as_json)
        return 0
    return _prove(
        proof, kept, Basis(runs=runs, valleys=law, surface=surface, doubts=doubts), options, as_json=as_json
    )


def _doubts(proof: Proof, *of_law: tuple[Finding, ...]) -> Doubts:
    """Of the law (its valleys and its surface) and of the runs that prove it, errors first."""
    order = ("error", "warning", "note")
    law = {(f.code, f.message): f for findings in of_law for f in findings}
    return {
        "law": sorted(law.values(), key=lambda f: order.index(f.severity)),
        "proof": sorted(proof.findings, key=lambda f: order.index(f.severity)),
    }


def _tell_plan(proof: Proof, doubts: Doubts, options: RunOptions, *, measure: bool, as_json: bool) -> None:
    from scaling.cli.sweep_verify_text import plan_to_dict, print_plan
    from scaling.sweep.timing import usable_cores

    n_slots = options.slots or usable_cores()
    rate = measured_rate(proof.design) if measure else None
    if as_json:
        print_json(plan_to_dict(proof, doubts, rate, n_slots))
    else:
        print_plan(proof, doubts, rate, n_slots)


def _prove(proof: Proof, kept: Store, basis: Basis, options: RunOptions, *, as_json: bool) -> int:
    """Train, compare, print. The runs of a proof stay in the store, marked: no fit of the sweep takes them."""
    from scaling.cli.sweep_verify_text import print_proof, proof_to_dict
    from scaling.sweep.recorded import record_proof

    if kept.is_writable():
        record_proof(kept, proof)
    report = train(proof.design, kept, options)
    if report is None:
        return EXIT_INTERRUPTED
    rows = _rows(proof, kept, basis.surface) if report.status.counts.get("done") else []
    if as_json:
        print_json(proof_to_dict(proof, rows, basis))
    elif rows:
        print_proof(proof, rows, basis)
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
                "loss": (loss := float(measured.loss[i])),
                "predicted_loss": float(predicted.loss[i]),
                "prediction_interval": band,
                "inside": None if band is None else band[0] <= loss <= band[1],
            }
        )
    return sorted(rows, key=lambda r: r["loss"])
