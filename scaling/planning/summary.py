"""The sections of a plan in words: where it comes from, what else was possible, how to build it.

`Plan.summary` joins them. Each function takes the section that it tells of, never the whole plan, so that nothing here
imports `Plan`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from scaling.blocks import Blocks, Fields, Figure, Table
from scaling.laws.base import Allocation, Law
from scaling.planning.allocation import Repetition, origin_of
from scaling.planning.alternatives import Inference, NearOptimum, OtherSize
from scaling.planning.cost import Budget, Compute, Constraints, Cost, price_date_text
from scaling.planning.memory import MemoryPlan
from scaling.planning.next_runs import MOST_SHARE, Sweep, least_run_flops, run_budgets
from scaling.planning.schedule import Schedule
from scaling.planning.shape import Shape
from scaling.planning.spread import LawAnswer, LawSpread, other_papers, other_papers_text
from scaling.planning.uncertainty import Intervals
from scaling.translation import tr
from scaling.units import (
    format_bytes,
    format_dollars,
    format_duration,
    format_flops,
    format_params,
    format_percent,
    format_tokens,
)

LABEL = 11  # columns of the names of lines
WORTHWHILE = 0.95  # of the interval's width: a sweep that leaves more is not worth naming
MANY = 4  # alternatives: beyond, the table says what each wastes too

Row = tuple[str, str]


def lines(*rows: Row, warning: bool = False) -> Fields:
    """Lines of a plan: names in their column, text beside them."""
    return Fields(rows, style="warning" if warning else "faint", indent=0, width=LABEL)


def _table(headers: list[str], rows: list[tuple[str, ...]], left: int = 1) -> Table:
    return Table(headers, rows, left=left, indent=LABEL + 2)


# --- where it comes from ---


def budget_text(compute: Compute | None, point: Allocation, budget: Budget, *, serves: bool) -> str:
    """What the compute is, how it was found, and its range."""
    if compute is None:
        return tr("{flops} FLOPs (C = 6ND), from the law", flops=format_flops(point.flops))
    flops = format_flops(compute.flops)
    if compute.how == "given":
        if serves:
            return tr("{flops} FLOPs for training and inference (6ND + 2N D_inf)", flops=flops)
        return tr("{flops} FLOPs (C = 6ND)", flops=flops)
    if compute.low == compute.high:
        return compute.how
    low, high = format_flops(compute.low, 2), format_flops(compute.high, 2)
    if budget.dollars is not None:
        return compute.how + tr("; {low} to {high} over the range of price", low=low, high=high)
    return compute.how + tr("; {low} to {high} over the range of MFU", low=low, high=high)


def law_text(law: Law) -> str:
    """Name, source, and what N and C count."""
    origin = origin_of(law)
    if law.provenance is None:
        return f"{origin.name}: {law.family.formula}"
    count = {
        "total": tr("total parameters"),
        "non_embedding": tr("non-embedding parameters"),
        "unknown": tr("what its runs call parameters"),
    }.get(origin.params_convention, origin.params_convention)
    is_published = bool(origin.status)  # a fit's own runs may be mixtures, counted by their active parameters
    dense = is_published and origin.params_convention in ("total", "non_embedding")
    return tr(
        "{name}: {source}; N counts {count}{of_dense_models}, {flops_text}",
        name=origin.name,
        source=origin.source,
        count=count,
        of_dense_models=tr(" of dense models") if dense else "",
        flops_text=origin.flops_text,
    )


def method_text(ends: Intervals) -> str:
    """Level and method of the intervals, and what they assume."""
    if ends.level is None:
        return ends.method
    return f"{100 * ends.level:g} %, {ends.method}" + (f"; {ends.statement}" if ends.statement else "")


def other_laws(
    spread: LawSpread, law: Law, budget: Budget, constraints: Constraints, *, listed: bool
) -> Iterator[Fields | Table]:
    """What the other papers say, in a line; `listed`: and every law in a table."""
    others = other_papers(spread, origin_of(law).name)
    if others is None:
        return
    text = other_papers_text(spread, others, budget, constraints)
    yield lines((tr("other laws"), text if listed else text + tr("; --law all lists them")))
    if not listed:
        return
    headers = [tr("law"), tr("remark"), tr("params"), tr("tokens"), tr("FLOPs"), tr("D/N"), tr("loss")]
    yield _table(headers, [_law_row(a) for a in spread.answers], left=2)
    if conversion := next((a.conversion for a in spread.answers if a.conversion), ""):
        said = tr(
            "converted N: {conversion}; extrapolated: outside the range of that law's runs",
            conversion=conversion,
        )
        yield lines(("", said))


def _law_row(answer: LawAnswer) -> tuple[str, ...]:
    remarks = [tr("converted N")] if answer.conversion else []
    remarks += [] if answer.inside else [tr("extrapolated")]
    return (
        answer.name,
        ", ".join(remarks),
        format_params(answer.n_params),
        format_tokens(answer.n_tokens),
        format_flops(answer.flops),
        f"{answer.tokens_per_param:.3g}",
        "" if answer.loss is None else f"{answer.loss:.3f}",
    )


# --- what else was possible ---


def near_optimum_text(near: NearOptimum | None, law: Law) -> str:
    """What a miss of N* costs."""
    if near is None:
        name = law.family.name
        return tr("the law {law} does not say what leaving it costs; --law besiroglu does", law=name)
    finite = math.isfinite(near.worst)
    cost = f"{math.ceil(100 * near.worst)} %" if finite else tr("any")
    if near.measure == "wasted at equal compute":
        what = tr("wastes under {cost} of the compute", cost=cost)
    else:
        what = tr("costs under {cost} {measure}", cost=cost, measure=near.measure)
        what = what if finite else tr("may miss the loss")
    return tr(
        "any N from {low} to {high} ({ratio_low:g} to {ratio_high:g} of N*) {what}",
        low=format_params(near.n_params_low),
        high=format_params(near.n_params_high),
        ratio_low=near.ratio_low,
        ratio_high=near.ratio_high,
        what=what,
    )


def lifetime_text(i: Inference) -> str:
    """What the sizes save, or cost, once their tokens are served."""
    share = format_percent(abs(i.saved))
    return tr(
        "serving {served} tokens: {flops} FLOPs in all, {compared} than the training-optimal model of this loss ({n} "
        "on {d}, {best_flops})",
        served=format_tokens(i.inference_tokens),
        flops=format_flops(i.lifetime_flops),
        compared=tr("{share} less", share=share) if i.saved >= 0 else tr("{share} more", share=share),
        n=format_params(i.training_optimum.n_params),
        d=format_tokens(i.training_optimum.n_tokens),
        best_flops=format_flops(i.training_optimum_lifetime_flops),
    )


def repetition_text(r: Repetition, n_tokens: float) -> str:
    """How often the unique tokens are seen, and what the repeats are worth."""
    unique = format_tokens(r.unique_tokens)
    if r.epochs <= 1:
        share = format_percent(r.epochs)
        return tr("{share} of the {unique} unique tokens, no repetition", share=share, unique=unique)
    worth = ""
    if r.effective_tokens < n_tokens:
        worth = tr(", worth {tokens} fresh tokens", tokens=format_tokens(r.effective_tokens))
    return tr(
        "{epochs} epochs of {unique} unique tokens{worth} ({source})",
        epochs=format_tokens(r.epochs),
        unique=unique,
        worth=worth,
        source=r.source,
    )


def other_sizes(
    sizes: tuple[OtherSize, ...], optimum: Allocation, *, is_optimum: bool, lifetime: bool
) -> Blocks:
    """Smaller and larger models at equal loss, as a table and as a figure's data."""
    if not sizes:
        return ()
    many = len(sizes) > MANY
    best = tr("N*") if is_optimum else tr("the optimum, {n}", n=format_params(optimum.n_params))
    said = tr("sizes as shares of {optimum}, trained until they reach its loss", optimum=best)
    said += tr("; wasted: at the optimum's own compute") if many else ""
    extra = tr("extra lifetime compute") if lifetime else tr("extra compute")
    headers = [tr("share"), tr("params"), tr("tokens"), extra, tr("repaid by serving")]
    rows = [_size_row(a) for a in sizes]
    if many:
        headers.append(tr("wasted"))
        rows = [(*r, _wasted(a.wasted_compute)) for r, a in zip(rows, sizes, strict=True)]
    return lines((tr("over-train"), said)), _table(headers, rows), _figure(sizes, optimum)


def _size_row(a: OtherSize) -> tuple[str, ...]:
    if a.n_tokens is None or a.extra_compute is None:
        return f"{a.ratio:g}", format_params(a.n_params), tr("cannot reach it"), "", ""
    extra = _extra(a.extra_compute, "+")
    if a.extra_compute_interval is not None and a.ratio != 1:
        low, high = a.extra_compute_interval
        ends = tr("{low} to {high}", low=_extra(low), high=_extra(high)) if math.isfinite(high) else ""
        extra += f" ({ends or tr('{low} or more', low=_extra(low))})"
    served = "" if a.break_even_tokens is None else format_tokens(a.break_even_tokens)
    return f"{a.ratio:g}", format_params(a.n_params), format_tokens(a.n_tokens), extra, served


def _extra(share: float, sign: str = "") -> str:
    """0.0536 → 5.4 %; from ten times on, the factor."""
    if share >= 9.995:
        return f"x {format_flops(share + 1, 2) if share > 1e4 else f'{share + 1:,.0f}'}"
    percent = 100 * share
    return f"{percent:{sign}.{1 if abs(percent) < 9.995 else 0}f} %"


def _wasted(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _figure(sizes: tuple[OtherSize, ...], optimum: Allocation) -> Figure:
    reached = [(a.n_params, a.extra_compute) for a in sizes if a.extra_compute is not None]
    return Figure(
        kind="off-optimum",
        data={
            "n_params": [n for n, _ in reached],
            "extra_compute": [extra for _, extra in reached],
            "optimum": [optimum.n_params],
        },
        alt=tr(
            "Extra compute of models of other sizes, trained to the loss of the optimum of {n} parameters",
            n=format_params(optimum.n_params),
        ),
    )


# --- how to build it ---


def shape_rows(shape: Shape, exact_flops: float, flops: float) -> Iterator[Row]:
    """Layers, width, heads and MLP; the exact count and the exact FLOPs beside 6ND."""
    a = shape.architecture
    heads = tr("{n} heads of {size}", n=a.n_heads, size=a.d_head)
    if a.n_kv_heads != a.n_heads:
        heads += tr(" ({n} key-value)", n=a.n_kv_heads)
    yield (
        tr("shape"),
        tr(
            "{n_layers} layers, width {width:,}, {heads}, SwiGLU {d_ff:,}, vocabulary {vocabulary:,}{tied}, "
            "context {context:,}",
            n_layers=a.n_layers,
            width=a.d_model,
            heads=heads,
            d_ff=a.d_ff,
            vocabulary=a.vocab_size,
            tied=tr(", tied") if a.tie_embeddings else "",
            context=a.context_length,
        ),
    )
    yield (
        "",
        tr(
            "{n_params:,} parameters ({error:+.2f} % of N), {share} in the vocabulary; exact FLOPs {flops} "
            "({more:+.1f} % beside 6ND)",
            n_params=shape.n_params,
            error=100 * shape.relative_error,
            share=format_percent(shape.vocabulary_share),
            flops=format_flops(exact_flops),
            more=100 * (exact_flops / flops - 1),
        ),
    )


def schedule_rows(s: Schedule) -> Iterator[Row]:
    """Steps, batch, learning rate and warm-up, and each source with the range it was fitted on."""
    yield (
        tr("training"),
        tr(
            "{n_steps:,} steps of {sequences:,} x {context:,} = {batch} tokens, learning rate {rate:g}, warm-up "
            "{warm_up:,} steps; {decay}",
            n_steps=s.n_steps,
            sequences=s.batch_sequences,
            context=s.context_length,
            batch=format_tokens(s.batch_tokens),
            rate=s.learning_rate,
            warm_up=s.warm_up_steps,
            decay=s.decay,
        ),
    )
    for advice in s.advice:
        said = [] if advice.learning_rate is None else [tr("lr {rate:.2g}", rate=advice.learning_rate)]
        if advice.batch_tokens is not None:
            said.append(tr("batch {tokens}", tokens=format_tokens(advice.batch_tokens, 2)))
        told = tr(
            "{values} by {source}; {inside} its range, {fitted_on}",
            values=", ".join(said),
            source=advice.source,
            inside=tr("inside") if advice.inside else tr("OUTSIDE"),
            fitted_on=advice.fitted_on,
        )
        yield "", (tr("chosen: ") if advice.name == s.chosen else "") + told
    yield "", tr("warm-up by {source}", source=s.warm_up_source)


def memory_blocks(memory: MemoryPlan) -> Blocks:
    """Memory per accelerator, line by line, under each way to share the model."""
    columns = (
        (tr("weights"), "weights_bytes"),
        (tr("grads"), "gradients_bytes"),
        (tr("optim"), "optimizer_bytes"),
        (tr("activ"), "activations_bytes"),
        (tr("logits"), "logits_bytes"),
        (tr("buffers"), "communication_bytes"),
        (tr("other"), "framework_bytes"),
        (tr("total"), "total_bytes"),
    )
    fits = {True: tr("yes"), False: tr("no"), None: "?"}
    rows = [
        (row.label, *(_gigabytes(getattr(row.memory, field)) for _, field in columns), fits[row.fits])
        for row in memory.rows
    ]
    headers = [tr("GB, 1 of {n:,}", n=memory.n_devices), *(name for name, _ in columns), tr("fits")]
    told = (lines((tr("memory"), memory.hint)), _table(headers, rows))
    if memory.least is None:
        return told
    least = tr(
        "least: {n:,} ({label}, {total} each); micro-batch of one sequence",
        n=memory.least.n_devices,
        label=memory.least.label,
        total=format_bytes(memory.least.memory.total_bytes),
    )
    return (*told, lines(("", least)))


def _gigabytes(n_bytes: int) -> str:
    value = n_bytes / 1e9
    if value >= 9999.5:
        return f"{value / 1000:,.0f}k"
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.05 or not value else f"{value:.2f}"


def cost_rows(cost: Cost, budget: Budget) -> Iterator[Row]:
    """Wall clock at high, mid and low MFU, money at both prices, energy."""
    low, mid, high = cost.mfu
    hours = cost.accelerator_hours[1]
    yield (
        tr("time"),
        tr(
            "{times} at MFU {mfus} % ({mfu_source}) x goodput {goodput:g} %, on {n:,} x {accelerator}{chosen}; {hours} "
            "accelerator-hours",
            times=" / ".join(
                format_duration(s, 2) for s in (cost.seconds if low != high else cost.seconds[1:2])
            ),
            mfus=" / ".join(f"{100 * m:.3g}" for m in ((high, mid, low) if low != high else (mid,))),
            mfu_source=cost.mfu_source,
            goodput=100 * cost.goodput,
            n=cost.n_accelerators,
            accelerator=cost.accelerator,
            chosen=tr(" (chosen: done in 30 days, and it fits)") if cost.is_chosen else "",
            hours=f"{hours:,.{0 if hours >= 100 else 1}f}",
        ),
    )
    yield tr("money"), _money(cost, budget)
    if cost.energy_kwh is not None:
        energy = _energy(cost.energy_kwh[1])
        yield tr("energy"), tr("{energy} at board power, without hosts and cooling", energy=energy)


def _money(cost: Cost, budget: Budget) -> str:
    if cost.price_usd_per_hour is None or cost.usd is None or cost.usd_extreme is None:
        return tr(
            "no price is known for {accelerator}; give one in dollars per accelerator-hour with --price",
            accelerator=cost.accelerator,
        )
    cheap, dear = cost.price_usd_per_hour
    when = price_date_text(cost.price_date)
    if cheap == dear:
        usd = format_dollars(cost.usd[0])
        return tr("{usd} at ${price:.2f} an hour ({when})", usd=usd, price=cheap, when=when)
    low, high = (format_dollars(usd, 2) for usd in cost.usd)
    text = tr(
        "{low} to {high} at ${cheap:.2f} to ${dear:.2f} an hour ({when})",
        low=low,
        high=high,
        cheap=cheap,
        dear=dear,
        when=when,
    )
    if budget.dollars is not None:
        usd = format_dollars(budget.dollars)
        return tr("{usd} at the middle price; this run costs {text}", usd=usd, text=text)
    if cost.mfu[0] != cost.mfu[2]:
        low, high = (format_dollars(usd, 2) for usd in cost.usd_extreme)
        text += tr("; {low} to {high} over the range of MFU as well", low=low, high=high)
    return text


def _energy(kwh: float) -> str:
    if kwh >= 1e6:
        return f"{kwh / 1e6:,.3g} GWh"
    return f"{kwh / 1e3:,.3g} MWh" if kwh >= 1e3 else f"{kwh:,.3g} kWh"


def next_runs_text(sweeps: tuple[Sweep, ...], law: Law, optimum: Allocation, ends: Intervals) -> str:
    """The sweep that would shrink the interval of N* most, or why none is proposed."""
    if not sweeps and not run_budgets(law, optimum):
        return tr(
            "five runs where this law begins ({least} FLOPs each) cost over {share} of this compute; fit a law of your "
            "own to smaller ones",
            least=format_flops(least_run_flops(law), 2),
            share=format_percent(MOST_SHARE),
        )
    if not sweeps and ends.level is None:
        return tr("this law has no interval to shrink; five sizes around N* at 1 % of the budget are usual")
    if not sweeps:
        return tr(
            "this law has no draws to rank sweeps by; five sizes around N* at 1 % of the budget are usual"
        )
    best = sweeps[0]
    if best.width_left > WORTHWHILE:
        return tr(
            "no five runs for up to {share} of this compute would shrink the interval of N* by 5 %",
            share=format_percent(max(sweep.share_of_budget for sweep in sweeps)),
        )
    return tr(
        "{n} runs of {flops} FLOPs, {low} to {high} parameters ({share} of the budget in all), would leave {left:.0f} "
        "% of the interval of N*, if the law holds",
        n=best.n_runs,
        flops=format_flops(best.flops_per_run, 2),
        low=format_params(best.n_params[0], 2),
        high=format_params(best.n_params[-1], 2),
        share=format_percent(best.share_of_budget),
        left=100 * best.width_left,
    )
