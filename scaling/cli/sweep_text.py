"""What `scaling sweep` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import heading, paragraph, print_fields, print_table
from scaling.cli.sweep_hints import typed
from scaling.units import format_duration, format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    from scaling.findings import Finding
    from scaling.sweep.design import Design, PlannedRun
    from scaling.sweep.progress import Status
    from scaling.sweep.run import Report
    from scaling.sweep.store import Store
    from scaling.sweep.timing import Rate


def design_to_dict(
    design: Design, findings: Sequence[Finding], rate: Rate | None, n_slots: int
) -> dict[str, Any]:
    """The --json contract of `scaling sweep design`."""
    seconds = None if rate is None else rate.total_seconds(design.units, n_slots)
    return {
        "kind": "sweep_design",
        "name": design.spec.name,
        "n_runs": len(design.runs),
        "work_flops": design.work_flops,
        "independent_flops": design.independent_flops,
        "n_slots": n_slots,
        "wall_s": seconds,
        "findings": [f.to_dict() for f in findings],
        "runs": [
            {
                "run_id": r.run_id, "trunk_id": r.trunk_id, "budget": r.budget, "n_params": r.n_params,
                "n_tokens": r.n_tokens, "flops": r.flops, "n_steps": r.n_steps, "seed": r.seed,
                "architecture": r.config["architecture"],
                "learning_rate": r.config["optimizer"]["learning_rate"],
            }
            for r in design.runs
        ],
    }  # fmt: skip


def print_design(design: Design, findings: Sequence[Finding], rate: Rate | None, n_slots: int) -> None:
    """Grid, cost, findings, next command."""
    heading(f"Sweep {design.spec.name}: {len(design.runs)} runs at {len(design.spec.grid.budgets)} budgets")
    rows = []
    for r in design.runs:
        a = r.config["architecture"]
        seconds = "" if rate is None else format_duration(rate.run_seconds(r))
        rows.append([
            format_flops(r.budget), format_params(r.n_params), f"{a['d_model']} x {a['n_layers']}", str(a["d_ff"]),
            format_tokens(r.n_tokens), f"{r.n_tokens / r.n_params:.3g}", str(r.n_steps), _batch(design, r),
            f"{r.config['optimizer']['learning_rate']:.2g}", str(r.seed),
            f"{r.flops / r.budget - 1:+.1%}", seconds,
        ])  # fmt: skip
    print_table(
        [
            "budget",
            "N",
            "d x layers",
            "d_ff",
            "tokens D",
            "D/N",
            "steps",
            "batch",
            "lr",
            "seed",
            "missed",
            "alone",
        ],
        rows,
    )
    heading("Cost")
    print_fields(_cost(design, rate, n_slots))
    heading("Findings before anything is spent")
    if not findings:
        paragraph("none", "  ")
    for f in findings:
        paragraph(f"{f.severity}: {f.message} [{f.code}]", "  ")
    click.echo(f"\nRun it:  {typed('run')}")


def _batch(design: Design, run: PlannedRun) -> str:
    """Tokens of a step."""
    return format_tokens(run.config["batch_sequences"] * design.spec.corpus.context_length)


def _cost(design: Design, rate: Rate | None, n_slots: int) -> list[tuple[str, str]]:
    saved = design.independent_flops / design.work_flops
    shared = (
        f"; {format_percent(1 / saved)} of the same runs without shared trunks ({saved:.2f} times less)"
        if saved > 1.005
        else ""
    )
    grid = design.spec.grid
    fields = [
        ("compute", f"{format_flops(design.work_flops)} FLOPs to execute{shared}"),
        ("counted", f"C = {grid.flops}, N = {grid.params.replace('_', '-')} parameters"),
    ]
    size_error = max(abs(r.n_params / r.n_params_wanted - 1) for r in design.runs)
    budget_error = max(abs(r.flops / r.budget - 1) for r in design.runs)
    fields.append(
        ("hit", f"sizes within {size_error:.1%} of those wanted, budgets within {budget_error:.1%}")
    )
    if rate is not None:
        wall = rate.total_seconds(design.units, n_slots)
        fields.append(
            ("time here", f"{format_duration(wall)} on {n_slots} slots, from a few steps timed just now")
        )
    return fields


def runs_to_list(design: Design, store: Store, status: Status) -> list[dict[str, Any]]:
    rows = []
    for r in design.runs:
        result = store.inspect(r.run_id).result or {}
        rows.append({
            "run_id": r.run_id, "budget": r.budget, "n_params": r.n_params, "n_tokens": r.n_tokens, "seed": r.seed,
            "state": status.states[r.run_id], "loss": result.get("loss"),
            "loss_standard_error": result.get("loss_standard_error"), "excess": result.get("excess"),
        })  # fmt: skip
    return rows


def print_runs(rows: Sequence[dict[str, Any]]) -> None:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    print_table(
        ["run", "budget", "N", "tokens D", "seed", "state", "loss", "excess"],
        [
            [
                r["run_id"], format_flops(r["budget"]), format_params(r["n_params"]), format_tokens(r["n_tokens"]),
                str(r["seed"]), r["state"], number(r["loss"]), number(r["excess"]),
            ]
            for r in rows
        ],
    )  # fmt: skip


def status_to_dict(
    status: Status, store: Store, design: Design, seconds_left: float | None
) -> dict[str, Any]:
    failures = [
        {"run_id": i, "state": s, "reason": _failure(store, i)}
        for i, s in status.states.items()
        if s in ("failed", "oom")
    ]
    return {
        "kind": "sweep_status",
        "name": design.spec.name,
        **status.to_dict(),
        "seconds_left": seconds_left,
        "failures": failures,
    }


def status_lines(status: Status, store: Store, design: Design, seconds_left: float | None) -> list[str]:
    """Counts, why runs failed, and the command that goes on where nobody is at work."""
    counts = ", ".join(f"{n} {state}" for state, n in sorted(status.counts.items()))
    running = status.counts.get("running", 0)
    left = f"; {format_duration(seconds_left)} left" if running and seconds_left is not None else ""
    lines = [f"{design.spec.name}: {counts}; {format_percent(status.fraction)} of the work done{left}"]
    for run_id, state in status.states.items():
        if state in ("failed", "oom"):
            lines.append(f"{run_id} {state}: {_failure(store, run_id)}")
    if status.n_failed:
        lines.append(f"try them again:  {typed('retry')}")
    if status.n_open and not running:
        lines.append(f"nothing runs; go on with:  {typed('run')}")
    return lines


def _failure(store: Store, run_id: str) -> str:
    failure = store.inspect(run_id).failure or {}
    return str(failure.get("reason", "unknown"))


def print_report(report: Report, table: Path | None) -> None:
    status = report.status
    counts = ", ".join(f"{n} {state}" for state, n in sorted(status.counts.items()))
    n_lost = report.n_workers_lost
    lost = f"; {n_lost} worker{'s' * (n_lost > 1)} lost on the way" if n_lost else ""
    took = f"; {format_duration(report.wall_s)}" if report.wall_s else ", nothing to do"
    click.echo(f"{len(status.states)} runs: {counts}{took}{lost}")
    if table is not None:
        click.echo(f"table of runs: {table}")
    if status.counts.get("done"):
        click.echo(f"fit it:  {typed('fit')}")
