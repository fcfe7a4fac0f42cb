"""What a plan says first: each quantity with its interval and what other papers say, and a line for each thing to do.

Each function takes the part that it tells of, never the whole plan, so that nothing here imports `Plan`. The parts in
full are in `summary`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from scaling.blocks import Table
from scaling.laws.base import Allocation, Law
from scaling.planning.allocation import Repetition, origin_of
from scaling.planning.alternatives import Inference, NearOptimum, OtherSize
from scaling.planning.cost import Budget, Compute, Cost
from scaling.planning.memory import MemoryPlan
from scaling.planning.shape import Schedule, Shape
from scaling.planning.spread import LawSpread, OtherPapers
from scaling.planning.summary import WORTHWHILE, extra_percent, format_energy, range_text
from scaling.planning.uncertainty import MOST_SHARE, Ends, Intervals, Sweep, run_budgets
from scaling.translation import tr
from scaling.units import (
    digits_by_error,
    format_bytes,
    format_dollars,
    format_duration,
    format_flops,
    format_params,
    format_percent,
    format_tokens,
)

LONGEST_LAW = 20  # characters of a name that heads a column: the path of a fit may be longer

Format = Callable[..., str]


class Estimate(NamedTuple):
    """A quantity of the plan, in words."""

    quantity: str  # as the JSON calls it
    name: str
    value: str
    ends: str  # "" where it is given, or where no interval is known
    unit: str = ""


def estimates(point: Allocation, ends: Intervals, budget: Budget, law: Law) -> tuple[Estimate, ...]:
    """Parameters, tokens and their ratio; the loss where it is not given; the compute where it follows."""
    n, d = point.n_params, point.n_tokens
    rows = [
        _estimate("n_params", tr("parameters"), n, ends.n_params, format_params),
        _estimate("n_tokens", tr("tokens"), d, ends.n_tokens, format_tokens),
        _estimate("tokens_per_param", tr("tokens/param"), d / n, ends.tokens_per_param, plain),
    ]
    if point.loss is not None and budget.target_loss is None:
        unit = origin_of(law).loss_unit
        shown = tr("unit {unit}", unit=unit) if unit == "in doubt" else unit
        loss = _estimate("loss", tr("loss"), point.loss, ends.loss, None)
        rows.append(loss._replace(unit=shown))
    if ends.flops is not None:
        rows.append(_estimate("flops", tr("FLOPs"), point.flops, ends.flops, format_flops))
    return tuple(rows)


def _estimate(
    quantity: str, name: str, value: float, ends: Ends | None, formatter: Format | None
) -> Estimate:
    told = _loss(value, ends) if formatter is None else by_error(value, ends, formatter)
    return Estimate(quantity, name, told, "" if ends is None else _range_by_error(ends, formatter))


def estimates_table(
    rows: Sequence[Estimate], law: Law, level: float | None, heading: str, papers: Mapping[str, str]
) -> Table:
    """The law's answer, its interval, and what the other papers say, whose column `heading` names."""
    origin = origin_of(law)
    name = origin.name if len(origin.name) <= LONGEST_LAW else tr("this law")
    headers, columns = [""], [[row.name for row in rows]]
    headers.append(name)
    columns.append([row.value for row in rows])
    if level is not None and any(row.ends for row in rows):
        headers.append(f"{100 * level:g} %")
        columns.append([row.ends for row in rows])
    headers.append(heading)
    columns.append([_unit(row, origin.corpus) or papers.get(row.quantity, "") for row in rows])
    return Table(headers, list(zip(*columns, strict=True)), remarks=1)


def _unit(row: Estimate, corpus: str) -> str:
    return tr("{unit} on {corpus}", unit=row.unit, corpus=corpus) if row.unit and corpus else row.unit


def papers_column(spread: LawSpread, others: OtherPapers | None) -> tuple[str, dict[str, str]]:
    """What the other papers say, each with one vote: the heading, and the middle half (and all) of each quantity."""
    if others is None:
        return "", {}
    heading = tr("{n} other papers: half (all)", n=others.n_papers)
    if not spread.same_question:
        heading = tr("{n} papers' optimum: half (all)", n=others.n_papers)
    by = "n_params" if spread.question.n_params is None else "n_tokens"
    cells = {}
    for quantity, formatter in (
        ("n_params", format_params),
        ("n_tokens", format_tokens),
        ("flops", format_flops),
    ):
        if getattr(spread.question, quantity) is None:  # else it is given
            low, high = (getattr(others, f"{quantity}_{end}") for end in ("low", "high"))
            cells[quantity] = range_text((low, high), formatter)
    cells[by] += f" ({range_text((getattr(others.least, by), getattr(others.most, by)), format_params)})"
    return heading, cells


def _range_by_error(ends: Ends, formatter: Format | None) -> str:
    """'2.4B to 3.2B' with two digits of the half-width; an end that the runs do not determine is left out."""
    low, high = ends
    if math.isinf(high) and low <= 0:
        return tr("unbounded")
    if math.isinf(high):
        return tr("{low} or more", low=formatter(low, 2) if formatter else f"{low:.3g}")
    if formatter is None:
        return tr("{low} to {high}", low=_loss(low, ends), high=_loss(high, ends))
    if low <= 0:
        return tr("{high} or less", high=formatter(high, 2))
    return tr("{low} to {high}", low=by_error(low, ends, formatter), high=by_error(high, ends, formatter))


def by_error(value: float, ends: Ends | None, formatter: Format) -> str:
    """The value with two digits of its error, four at most; three digits where no error is known."""
    if ends is None:
        return formatter(value, 3)
    return formatter(value, min(4, digits_by_error(value, (ends[1] - ends[0]) / 2)))


def _loss(loss: float, ends: Ends | None) -> str:
    """The loss with two digits of its error, from one decimal to four; three decimals where no error is known."""
    if ends is None:
        return f"{loss:.3f}"
    half_width = (ends[1] - ends[0]) / 2
    if half_width <= 0 or math.isinf(half_width):
        return f"{loss:.4f}" if half_width <= 0 else f"{loss:.1f}"
    return f"{loss:.{min(4, max(1, 1 - math.floor(math.log10(half_width))))}f}"


def plain(value: float, digits: int = 3) -> str:
    """A ratio: 21.4, 1,070, 3.85M."""
    if value >= 1e5:
        return format_tokens(value, digits)
    decimals = max(0, digits - 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


# --- a line for each thing ---


def budget_line(compute: Compute, budget: Budget) -> str:
    """The compute that time or money buys, and its range."""
    flops = format_flops(compute.flops)
    bought = format_dollars(budget.dollars) if budget.dollars is not None else ""
    bought = bought or format_duration(budget.seconds or 0.0)
    text = tr("{bought} = {flops} FLOPs", bought=bought, flops=flops)
    if compute.low == compute.high:
        return text
    ends = range_text((compute.low, compute.high), format_flops)
    by_price = tr("{ends} by price", ends=ends)
    return f"{text} ({by_price if budget.dollars is not None else tr('{ends} by utilization', ends=ends)})"


def repetition_line(repetition: Repetition, n_tokens: float) -> str:
    """How often the unique tokens are seen, and what that is worth."""
    epochs, unique = format_tokens(repetition.epochs), format_tokens(repetition.unique_tokens)
    if repetition.epochs <= 1:
        share = format_percent(repetition.epochs)
        return tr("{share} of the {unique} tokens you have, no repeats", share=share, unique=unique)
    text = tr("{epochs} epochs of {unique} tokens", epochs=epochs, unique=unique)
    if repetition.effective_tokens < n_tokens:
        text += tr(", worth {n} fresh ones", n=format_tokens(repetition.effective_tokens))
    return text


def near_line(near: NearOptimum | None) -> str:
    """Which sizes are as good as the optimum."""
    if near is None:
        return tr("this law does not say what other sizes cost")
    low, high = format_params(near.n_params_low), format_params(near.n_params_high)
    if not math.isfinite(near.worst):
        return tr("{low} to {high} parameters may miss the loss", low=low, high=high)
    cost = f"{math.ceil(100 * near.worst)} %"
    if near.measure == "wasted at equal compute":
        return tr(
            "{low} to {high} parameters waste under {cost} of the compute", low=low, high=high, cost=cost
        )
    return tr("{low} to {high} parameters cost under {cost} more compute", low=low, high=high, cost=cost)


def serving_line(served: Inference | None, smaller: OtherSize | None) -> str:
    """What the tokens to serve change; where none are named, what a smaller model costs and when that is repaid."""
    if served is not None:
        flops, share = format_flops(served.lifetime_flops), format_percent(abs(served.saved))
        if served.saved >= 0:
            return tr("{flops} FLOPs in all, {share} below the training optimum", flops=flops, share=share)
        return tr("{flops} FLOPs in all, {share} above the training optimum", flops=flops, share=share)
    if smaller is None or smaller.break_even_tokens is None:
        return ""
    return tr(
        "{n} on {d} tokens: {extra} compute, repaid by serving {served}",
        n=format_params(smaller.n_params, 2),
        d=format_tokens(smaller.n_tokens or 0.0),
        extra=extra_percent(smaller.extra_compute or 0.0, "+"),
        served=format_tokens(smaller.break_even_tokens, 2),
    )


def shape_line(shape: Shape) -> str:
    """Layers, width, heads and MLP, and what that counts."""
    return tr(
        "{a.n_layers} layers x {a.d_model:,}, {a.n_heads} heads, MLP {a.d_ff:,}: {n} parameters",
        a=shape.architecture,
        n=format_params(shape.n_params_total),
    )


def recipe_line(schedule: Schedule) -> str:
    """Steps, batch and learning rate, and whether their source covers so large a run."""
    tokens = format_tokens(schedule.batch_tokens)
    text = tr("{s.n_steps:,} steps of {tokens} tokens, lr {s.learning_rate:g}", s=schedule, tokens=tokens)
    return text if schedule.advice[0].inside else text + tr(" (extrapolated)")


def run_line(cost: Cost, memory: MemoryPlan | None, budget: Budget) -> str:
    """Hardware with the memory that it takes, time, money and energy."""
    text = tr("{cost.n_accelerators:,} x {cost.accelerator}", cost=cost)
    if memory is not None:
        row = next((row for row in memory.rows if row.fits), None)
        if row is not None:
            text += tr(", {size} each", size=format_bytes(row.memory.total_bytes))
        elif memory.memory_bytes is not None:
            text += tr(", too small")
    parts = [f"{text}: {_times(cost)}", *_money(cost, budget)]
    if cost.energy_kwh is not None:
        parts.append(format_energy(cost.energy_kwh[1]))
    return ", ".join(parts)


def _times(cost: Cost) -> str:
    """'4.1 days (3.5 to 6.3)', with the unit of each where they differ."""
    low, mid, high = (format_duration(seconds, 2) for seconds in cost.seconds)
    if cost.mfu[0] == cost.mfu[2]:
        return mid
    if len({duration.partition(" ")[2] for duration in (low, mid, high)}) == 1:
        low, high = low.partition(" ")[0], high.partition(" ")[0]
    return f"{mid} ({tr('{low} to {high}', low=low, high=high)})"


def _money(cost: Cost, budget: Budget) -> list[str]:
    if cost.usd is None:
        return [tr("price not known")]
    if cost.usd[0] == cost.usd[1]:
        return [format_dollars(cost.usd[0])]
    return [range_text(cost.usd, format_dollars)]


def more_runs_line(sweeps: Sequence[Sweep], law: Law, optimum: Allocation) -> str:
    """The small runs that would shrink the interval most, or that none pays; "" where nobody can say."""
    if not sweeps and not run_budgets(law, optimum):
        share = format_percent(MOST_SHARE)
        return tr("five would cost over {share} of this compute: fit smaller ones", share=share)
    if not sweeps:
        return ""
    best = sweeps[0]
    if best.width_left > WORTHWHILE:
        share = format_percent(max(sweep.share_of_budget for sweep in sweeps))
        return tr("no five for up to {share} of it would cut the interval by 5 %", share=share)
    return tr(
        "{s.n_runs} of {flops} FLOPs ({share} of it) cut the interval by {less:.0f} %",
        s=best,
        flops=format_flops(best.flops_per_run, 2),
        share=format_percent(best.share_of_budget),
        less=100 * (1 - best.width_left),
    )


def no_interval_line(ends: Intervals, law: Law) -> str:
    """Why the table has no interval; "" where it has one."""
    if ends.level is not None:
        return ""
    if law.uncertainty is None:
        return tr("not published for this law: go by the other papers")
    return tr("not known for this question: the law has one for budgets only")
