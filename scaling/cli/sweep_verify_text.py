"""What `scaling sweep verify` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scaling.accounting import count_params
from scaling.architecture import Architecture
from scaling.cli.output import heading, note, paragraph, print_table
from scaling.fitting.parametric.seed_noise import SeedNoise, seed_noise
from scaling.sweep.verify import KAPLAN, OURS, true_entropy
from scaling.units import format_duration, format_flops, format_params, format_tokens

if TYPE_CHECKING:
    from scaling.findings import Finding
    from scaling.fitting.isoflop.result import IsoflopFit
    from scaling.fitting.parametric.result import ParametricFit
    from scaling.runs import Runs
    from scaling.sweep.design import PlannedRun
    from scaling.sweep.timing import Rate
    from scaling.sweep.verify import Proof


Doubts = Mapping[str, Sequence["Finding"]]  # "law", "proof" → findings


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What the proof is set against: the sweep's runs, the valleys whose lines planned our model (Approach 2), the
    surface that predicts every model (Approach 3), and the doubts.
    """

    runs: Runs
    valleys: IsoflopFit
    surface: ParametricFit
    doubts: Doubts


def plan_to_dict(proof: Proof, doubts: Doubts, rate: Rate | None, n_slots: int) -> dict[str, Any]:
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
                "seconds": None if rate is None else rate.run_seconds(r),
            }
            for name, r in _advised(proof)
        ],
        "left_out": dict(proof.left_out),
        "findings": _findings_to_dict(doubts),
    }  # fmt: skip


def print_plan(proof: Proof, doubts: Doubts, rate: Rate | None, n_slots: int) -> None:
    heading(f"The proof at {format_flops(proof.budget)} FLOPs would train")
    rows = [
        [
            name, format_params(r.n_params), format_tokens(r.n_tokens), str(r.n_steps),
            format_flops(r.n_steps * r.flops_per_step),
            "" if rate is None else format_duration(rate.run_seconds(r)),
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
    _print_doubts(doubts)


def proof_to_dict(proof: Proof, rows: list[dict[str, Any]], basis: Basis) -> dict[str, Any]:
    """The --json contract of a proof."""
    noise, floor = seed_noise(basis.surface), basis.surface.estimates["E"]
    return {
        "kind": "sweep_proof",
        "budget": proof.budget,
        "rows": rows,
        "planned": planned_loss(proof.budget, rows, basis.valleys),
        "lowest": [r["advice"] for r in _lowest(rows, noise)],
        "seed_noise": {
            "ln_loss_standard_deviation": noise.standard_deviation, "dof": noise.dof, "source": noise.source,
            "gap": noise.gap(rows[0]["loss"]) if rows else None, "level": noise.level,
        },
        "left_out": dict(proof.left_out),
        "fitted_E": floor.value,
        "fitted_E_interval": None if floor.interval is None else [floor.interval.low, floor.interval.high],
        "true_entropy": true_entropy(basis.runs),
        "findings": _findings_to_dict(basis.doubts),
    }  # fmt: skip


def print_proof(proof: Proof, rows: list[dict[str, Any]], basis: Basis) -> None:
    runs = basis.runs
    times = proof.budget / (runs.flops if runs.budget is None else runs.budget).max()
    heading(f"The proof at {format_flops(proof.budget)} FLOPs, {times:.3g} times the sweep's largest budget")
    table = []
    for r in rows:
        band = r["prediction_interval"]
        interval = (
            ""
            if band is None
            else f"{band[0]:.3f} to {band[1]:.3f}, {'inside' if r['inside'] else 'OUTSIDE'}"
        )
        table.append(
            [
                r["advice"], format_params(r["n_params"]), format_tokens(r["n_tokens"]), f"{r['loss']:.4f}",
                f"{r['predicted_loss']:.4f}", interval,
            ]
        )  # fmt: skip
    level = f"{100 * basis.surface.level:g} %"
    print_table(["advice", "N", "tokens D", "measured loss", "Approach 3", f"{level} for one run"], table)
    click.echo()
    if (planned := planned_loss(proof.budget, rows, basis.valleys)) is not None:
        low, high = planned["curve_interval"]
        beyond = "inside" if planned["inside_curve"] else "outside"
        paragraph(
            "The lines through the valleys (Approach 2), which planned our model, put the lowest loss of this budget "
            f"at {planned['loss']:.4f}, {100 * basis.valleys.level:g} % {low:.3f} to {high:.3f} for the curve, without "
            f"the noise of one run; measured {planned['measured']:.4f}, {planned['error']:+.1%}: {beyond}."
        )
    if len(rows) > 1:
        paragraph(verdict(rows, seed_noise(basis.surface)))
    paragraph(_floor(basis))
    _kaplans_count(proof)
    _left_out(proof)
    _print_doubts(basis.doubts)


def planned_loss(budget: float, rows: Sequence[Mapping[str, Any]], fit: IsoflopFit) -> dict[str, Any] | None:
    """The loss that the planning law expects of its own optimum, beside the one measured there.

    None without a frontier of losses (fewer than 4 valleys), or before our model is trained.
    """
    measured = next((r["loss"] for r in rows if r["advice"] == OURS), None)
    if fit.loss_frontier is None or measured is None:
        return None
    loss = float(fit.loss_frontier.predict(budget))
    low, high = (float(end) for end in fit.loss_frontier.band(budget, fit.level))
    return {
        "loss": loss, "curve_interval": [low, high], "measured": measured, "error": measured / loss - 1,
        "inside_curve": low <= measured <= high,
    }  # fmt: skip


def verdict(rows: list[dict[str, Any]], noise: SeedNoise) -> str:
    """Who is lowest, or that nobody is."""
    tied = _lowest(rows, noise)
    names = " and ".join(r["advice"] for r in tied)
    seeds = (
        f"two seeds of one model differ by up to {noise.gap(rows[0]['loss']):.4f} ({100 * noise.level:g} %, from "
        f"{noise.source}, {noise.dof} degree{'' if noise.dof == 1 else 's'} of freedom)"
    )
    if len({r["run_id"] for r in tied}) > 1:
        return (
            f"A tie of {names}: they differ by {tied[-1]['loss'] - tied[0]['loss']:.4f} nats/token; {seeds}."
        )
    if len(tied) == len(rows):
        return f"{names} ask for the same model."
    after = rows[len(tied)]
    gap = after["loss"] - rows[0]["loss"]
    return f"Lowest: {names}, by {gap:.4f} nats/token over {after['advice']}; {seeds}."


def _lowest(rows: list[dict[str, Any]], noise: SeedNoise) -> list[dict[str, Any]]:
    """The rows (sorted by loss) that noise does not tell from the first."""
    return [r for r in rows if r["loss"] - rows[0]["loss"] <= noise.gap(rows[0]["loss"])]


def _floor(basis: Basis) -> str:
    fitted, entropy = basis.surface.estimates["E"], true_entropy(basis.runs)
    text = f"Floor: fitted E = {fitted.value:.3f}"
    ends = fitted.interval
    if ends is not None:
        text += f" ({100 * ends.level:g} %: {ends.low:.3f} to {ends.high:.3f})"
    if entropy is None:
        return f"{text} nats/token."
    text += f"; the true entropy of the corpus on the validation tokens is {entropy:.4f} nats/token"
    return (
        f"{text}."
        if ends is None
        else f"{text}, {'inside' if ends.low <= entropy <= ends.high else 'OUTSIDE'}."
    )


def _findings_to_dict(doubts: Doubts) -> dict[str, list[dict[str, Any]]]:
    return {about: [f.to_dict() for f in findings] for about, findings in doubts.items()}


def _print_doubts(doubts: Doubts) -> None:
    """Errors and warnings; notes stand in the JSON."""
    told = [(about, f) for about, findings in doubts.items() for f in findings if f.severity != "note"]
    if told:
        heading("Doubts")
    for about, finding in told:
        paragraph(f"{about}, {finding.severity}: {finding.message} [{finding.code}]", "  ")


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
