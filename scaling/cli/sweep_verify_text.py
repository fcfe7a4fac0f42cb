"""What `scaling sweep verify` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scaling.accounting import count_params
from scaling.architecture import Architecture
from scaling.cli.output import heading, note, paragraph, print_table
from scaling.sweep.verify import KAPLAN
from scaling.units import format_duration, format_flops, format_params, format_tokens

if TYPE_CHECKING:
    from scaling.runs import Runs
    from scaling.sweep.design import PlannedRun
    from scaling.sweep.timing import Rate
    from scaling.sweep.verify import Proof


def plan_to_dict(proof: Proof, rate: Rate | None, n_slots: int) -> dict[str, Any]:
    """The --json contract of a dry run."""
    design = proof.design
    return {
        "kind": "sweep_proof_plan",
        "budget": proof.budget,
        "work_flops": design.work_flops,
        "n_slots": n_slots,
        "wall_s": None if rate is None else rate.total_seconds(design.units, n_slots),
        "runs": [
            {
                "advice": name, "run_id": r.run_id, "n_params": r.n_params,
                "n_params_non_embedding": non_embedding(r), "n_tokens": r.n_tokens,
                "n_steps": r.n_steps, "flops": r.flops, "work_flops": r.n_steps * r.flops_per_step,
                "seconds": None if rate is None else rate.seconds(r.n_steps, r.flops_per_step),
            }
            for name, r in _advised(proof)
        ],
        "left_out": dict(proof.left_out),
    }  # fmt: skip


def print_plan(proof: Proof, rate: Rate | None, n_slots: int) -> None:
    heading(f"The proof at {format_flops(proof.budget)} FLOPs would train")
    rows = [
        [
            name, format_params(r.n_params), format_tokens(r.n_tokens), str(r.n_steps),
            format_flops(r.n_steps * r.flops_per_step),
            "" if rate is None else format_duration(rate.seconds(r.n_steps, r.flops_per_step)),
        ]
        for name, r in _advised(proof)
    ]  # fmt: skip
    print_table(["advice", "N", "tokens D", "steps", "FLOPs to execute", "alone"], rows)
    design = proof.design
    cost = f"In all {format_flops(design.work_flops)} FLOPs to execute"
    if rate is not None:
        wall = format_duration(rate.total_seconds(design.units, n_slots))
        cost += f"; {wall} on {n_slots} slots here, from a few steps timed just now"
    paragraph(f"{cost}.")
    _kaplans_count(proof)
    _left_out(proof)


def print_proof(proof: Proof, rows: list[dict[str, Any]], runs: Runs, floor: dict[str, float | None]) -> None:
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
    _kaplans_count(proof)
    _left_out(proof)


def _advised(proof: Proof) -> list[tuple[str, PlannedRun]]:
    """Each advice with the run that follows it."""
    runs = {r.run_id: r for r in proof.design.runs}
    return [(name, runs[run_id]) for name, run_id in proof.run_ids.items()]


def non_embedding(run: PlannedRun) -> int:
    return count_params(Architecture.from_dict(dict(run.config["architecture"]))).non_embedding


def _kaplans_count(proof: Proof) -> None:
    """Say that this size is another than N."""
    run = dict(_advised(proof)).get(KAPLAN)
    if run is not None:
        paragraph(
            f"Kaplan et al. count parameters without embeddings and ask for {format_params(run.n_params_wanted)}: this "
            f"model has {format_params(non_embedding(run))} of them."
        )


def _left_out(proof: Proof) -> None:
    for name, why in proof.left_out.items():
        note(f"{name} is left out: {why}")
