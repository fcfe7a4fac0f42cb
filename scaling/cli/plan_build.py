"""The part of a plan's text that says how to build it: shape, training, memory, time, money, next runs."""

from __future__ import annotations

from typing import Any

import click

from scaling.cli.output import print_table, styled, wrap
from scaling.planning.cost import price_date_text
from scaling.planning.next_runs import MOST_SHARE, least_run_flops, run_budgets
from scaling.planning.plan import Plan
from scaling.units import (
    format_bytes,
    format_dollars,
    format_duration,
    format_flops,
    format_params,
    format_percent,
    format_tokens,
)

LABEL = 12  # columns of the name of a line
WORTHWHILE = 0.95  # of the interval's width: a sweep that leaves more is not worth naming


def print_shape(plan: Plan) -> None:
    """Layers, width, heads and MLP; the exact count and the exact FLOPs beside 6ND."""
    shape = plan.shape
    if shape is None:
        return
    a = shape.architecture
    heads = f"{a.n_heads} heads of {a.d_head}"
    if a.n_kv_heads != a.n_heads:
        heads += f" ({a.n_kv_heads} key-value)"
    tied = ", tied" if a.tie_embeddings else ""
    line(
        "shape",
        f"{a.n_layers} layers, width {a.d_model:,}, {heads}, SwiGLU {a.d_ff:,}, vocabulary {a.vocab_size:,}{tied}, "
        f"context {a.context_length:,}",
    )
    text = f"{shape.n_params:,} parameters ({100 * shape.relative_error:+.2f} % of N)"
    text += f", {format_percent(shape.vocabulary_share)} in the vocabulary"
    if plan.exact_flops is not None:
        ratio = plan.exact_flops / plan.point.flops - 1
        text += f"; exact FLOPs {format_flops(plan.exact_flops)} ({100 * ratio:+.1f} % beside 6ND)"
    line("", text)


def print_schedule(plan: Plan) -> None:
    """Steps, batch, learning rate and warm-up, and each source with the range it was fitted on."""
    s = plan.schedule
    line(
        "training",
        f"{s.n_steps:,} steps of {s.batch_sequences:,} x {s.context_length:,} = {format_tokens(s.batch_tokens)} "
        f"tokens, learning rate {s.learning_rate:g}, warm-up {s.warm_up_steps:,} steps; {s.decay}",
    )
    for advice in s.advice:
        said = [] if advice.learning_rate is None else [f"lr {advice.learning_rate:.2g}"]
        said += [] if advice.batch_tokens is None else [f"batch {format_tokens(advice.batch_tokens, 2)}"]
        chosen = "chosen: " if advice.name == s.chosen else ""
        outside = "inside" if advice.inside else "OUTSIDE"
        line("", f"{chosen}{', '.join(said)} by {advice.source}; {outside} its range, {advice.fitted_on}")
    line("", f"warm-up by {s.warm_up_source}")


def print_memory(plan: Plan) -> None:
    """Memory per accelerator, line by line, under each way to share the model."""
    memory = plan.memory
    if memory is None:
        return
    line("memory", memory.hint)
    columns = (
        ("weights", "weights_bytes"),
        ("grads", "gradients_bytes"),
        ("optim", "optimizer_bytes"),
        ("activ", "activations_bytes"),
        ("logits", "logits_bytes"),
        ("buffers", "communication_bytes"),
        ("other", "framework_bytes"),
    )
    rows = [
        (
            row.label,
            *(_gigabytes(getattr(row.memory, field)) for _, field in columns),
            _gigabytes(row.memory.total_bytes),
            {True: "yes", False: "no", None: "?"}[row.fits],
        )
        for row in memory.rows
    ]
    print_table(
        [f"GB, 1 of {memory.n_devices:,}", *(name for name, _ in columns), "total", "fits"],
        rows,
        indent=" " * (LABEL + 1),
    )
    if memory.least is not None:
        total = format_bytes(memory.least.memory.total_bytes)
        line(
            "",
            f"least: {memory.least.n_devices:,} ({memory.least.label}, {total} each); micro-batch of one sequence",
        )


def _gigabytes(n_bytes: int) -> str:
    value = n_bytes / 1e9
    if value >= 9999.5:
        return f"{value / 1000:,.0f}k"
    return (
        f"{value:,.0f}"
        if value >= 99.95
        else f"{value:.1f}"
        if value >= 0.05 or not value
        else f"{value:.2f}"
    )


def print_cost(plan: Plan) -> None:
    """Wall clock at high, mid and low MFU, money at both prices, energy."""
    cost = plan.cost
    low, mid, high = cost.mfu
    chosen = " (chosen: done in 30 days, and it fits)" if cost.is_chosen else ""
    times = " / ".join(format_duration(s, 2) for s in (cost.seconds if low != high else cost.seconds[1:2]))
    mfus = " / ".join(f"{100 * m:.3g}" for m in ((high, mid, low) if low != high else (mid,)))
    hours = cost.accelerator_hours[1]
    line(
        "time",
        f"{times} at MFU {mfus} % ({cost.mfu_source}) x goodput {100 * cost.goodput:g} %, on "
        f"{cost.n_accelerators:,} x {cost.accelerator}{chosen}; "
        f"{hours:,.{0 if hours >= 100 else 1}f} accelerator-hours",
    )
    line("money", _money(plan))
    if cost.energy_kwh is not None:
        line("energy", f"{_energy(cost.energy_kwh[1])} at board power, without hosts and cooling")


def _money(plan: Plan) -> str:
    cost = plan.cost
    if cost.price_usd_per_hour is None or cost.usd is None or cost.usd_extreme is None:
        return (
            f"no price is known for {cost.accelerator}; give one in dollars per accelerator-hour with --price"
        )
    cheap, dear = cost.price_usd_per_hour
    when = price_date_text(cost.price_date)
    if cheap == dear:
        return f"{format_dollars(cost.usd[0])} at ${cheap:.2f} an hour ({when})"
    ends = f"{format_dollars(cost.usd[0], 2)} to {format_dollars(cost.usd[1], 2)}"
    text = f"{ends} at ${cheap:.2f} to ${dear:.2f} an hour ({when})"
    if plan.budget.dollars is not None:
        return f"{format_dollars(plan.budget.dollars)} at the middle price; this run costs {text}"
    if cost.mfu[0] != cost.mfu[2]:
        ends = f"{format_dollars(cost.usd_extreme[0], 2)} to {format_dollars(cost.usd_extreme[1], 2)}"
        text += f"; {ends} over the range of MFU as well"
    return text


def _energy(kwh: float) -> str:
    return (
        f"{kwh / 1e6:,.3g} GWh"
        if kwh >= 1e6
        else f"{kwh / 1e3:,.3g} MWh"
        if kwh >= 1e3
        else f"{kwh:,.3g} kWh"
    )


def sweep_text(plan: Plan) -> str:
    """The sweep that would shrink the interval of N* most, or why none is proposed."""
    if not plan.sweeps:
        if not run_budgets(plan.law, plan.optimum):
            least = format_flops(least_run_flops(plan.law), 2)
            return (
                f"five runs where this law begins ({least} FLOPs each) cost over {format_percent(MOST_SHARE)} of this "
                "compute; fit a law of your own to smaller ones"
            )
        if plan.intervals.level is None:
            return "this law has no interval to shrink; five sizes around N* at 1 % of the budget are usual"
        return "this law has no draws to rank sweeps by; five sizes around N* at 1 % of the budget are usual"
    best = plan.sweeps[0]
    if best.width_left > WORTHWHILE:
        share = format_percent(max(sweep.share_of_budget for sweep in plan.sweeps))
        return f"no five runs for up to {share} of this compute would shrink the interval of N* by 5 %"
    sizes = f"{format_params(best.n_params[0], 2)} to {format_params(best.n_params[-1], 2)} parameters"
    return (
        f"{best.n_runs} runs of {format_flops(best.flops_per_run, 2)} FLOPs, {sizes} "
        f"({format_percent(best.share_of_budget)} of the budget in all), would leave {100 * best.width_left:.0f} % of "
        "the interval of N*, if the law holds"
    )


def line(name: str, text: str, **style: Any) -> None:
    """`name` in its column, `text` wrapped beside it."""
    body = wrap(text, " " * (LABEL + 1), f"{name:<{LABEL}} ")
    click.echo(styled(body[: len(name)], **(style or {"dim": True})) + body[len(name) :])
