"""The sections of a plan in full: where it comes from, what else was possible, how to build it.

What stands before them is in `first_screen`; `Plan.summary` joins both. Each function takes the section that it tells
of, never the whole plan, so that nothing here imports `Plan`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from scaling.blocks import Blocks, Fields, Figure, Table
from scaling.laws.base import Allocation, Law
from scaling.laws.methods import method_in_words
from scaling.planning.allocation import Repetition, origin_of
from scaling.planning.alternatives import Inference, NearOptimum, OtherSize
from scaling.planning.cost import Budget, Compute, Constraints, Cost, price_date_text
from scaling.planning.memory import MemoryPlan
from scaling.planning.shape import Schedule, Shape
from scaling.planning.spread import LawAnswer, LawSpread, other_papers, other_papers_text
from scaling.planning.uncertainty import MOST_SHARE, Intervals, Sweep, least_run_flops, run_budgets
from scaling.planning.utilisation import WHOLE_RUNS
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
    if compute.how == "given" and serves:
        return tr("{flops} FLOPs for training and inference (6ND + 2N D_inf)", flops=flops)
    if compute.how == "given":
        return tr("{flops} FLOPs (C = 6ND)", flops=flops)
    if compute.low == compute.high:
        return compute.how
    ends = range_text((compute.low, compute.high), format_flops)
    if budget.dollars is not None:
        return compute.how + tr("; {ends} over the range of price", ends=ends)
    return compute.how + tr("; {ends} over the range of MFU", ends=ends)


def law_text(law: Law) -> str:
    """Name, source, and what N and C count."""
    origin = origin_of(law)
    if law.provenance is None:
        return f"{origin.name}: {law.family.formula}"
    counted = {
        "total": tr("total parameters"),
        "non_embedding": tr("non-embedding parameters"),
        "unknown": tr("what its runs call parameters"),
    }.get(origin.params_convention, origin.params_convention)
    # a fit's own runs, which have no status, may be mixtures, counted by their active parameters
    if origin.status and origin.params_convention in ("total", "non_embedding"):
        counted = tr("{counted} of dense models", counted=counted)
    return tr("{o.name}: {o.source}; N counts {counted}, {o.flops_text}", o=origin, counted=counted)


def method_text(ends: Intervals) -> str:
    """Level and method of the intervals, and what they assume."""
    if ends.level is None:
        return method_in_words(ends.method)
    return f"{100 * ends.level:g} %, {method_in_words(ends.method)}" + (
        f"; {ends.statement}" if ends.statement else ""
    )


def other_laws(spread: LawSpread, law: Law, budget: Budget, constraints: Constraints) -> Blocks:
    """What the other papers say, in a sentence, and every law in a table."""
    others = other_papers(spread, origin_of(law).name)
    if others is None:
        return (lines((tr("other laws"), tr("no other paper answers this"))),)
    headers = [tr("law"), tr("remark"), tr("params"), tr("tokens"), tr("FLOPs"), tr("D/N"), tr("loss")]
    blocks: list[Fields | Table] = [
        lines((tr("other laws"), other_papers_text(spread, others, budget, constraints))),
        _table(headers, [_law_row(a) for a in spread.answers], left=2),
    ]
    if converted := next((a.conversion for a in spread.answers if a.conversion), ""):
        converted = tr("converted N: {how}", how=converted)
        blocks.append(lines(("", converted + tr("; extrapolated: outside the range of that law's runs"))))
    return tuple(blocks)


def _law_row(answer: LawAnswer) -> tuple[str, ...]:
    remarks = {tr("converted N"): answer.conversion, tr("extrapolated"): not answer.inside}
    return (
        answer.name,
        ", ".join(remark for remark, applies in remarks.items() if applies),
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
    cost = f"{math.ceil(100 * near.worst)} %" if math.isfinite(near.worst) else tr("any")
    if near.measure == "wasted at equal compute":
        what = tr("wastes under {cost} of the compute", cost=cost)
    elif math.isfinite(near.worst):
        what = tr("costs under {cost} {near.measure}", cost=cost, near=near)
    else:
        what = tr("may miss the loss")
    low, high = format_params(near.n_params_low), format_params(near.n_params_high)
    ratios = tr("{near.ratio_low:g} to {near.ratio_high:g} of N*", near=near)
    return tr("any N from {low} to {high} ({ratios}) {what}", low=low, high=high, ratios=ratios, what=what)


def lifetime_text(i: Inference) -> str:
    """What the sizes save, or cost, once their tokens are served."""
    best, share = i.training_optimum, format_percent(abs(i.saved))
    return tr(
        "serving {served} tokens: {flops} FLOPs in all, {compared} than the training-optimal model of this loss ({n} "
        "on {d}, {best_flops})",
        served=format_tokens(i.inference_tokens),
        flops=format_flops(i.lifetime_flops),
        compared=tr("{share} less", share=share) if i.saved >= 0 else tr("{share} more", share=share),
        n=format_params(best.n_params),
        d=format_tokens(best.n_tokens),
        best_flops=format_flops(i.training_optimum_lifetime_flops),
    )


def repetition_text(r: Repetition, n_tokens: float) -> str:
    """How often the unique tokens are seen, and what the repeats are worth."""
    unique = tr("{tokens} unique tokens", tokens=format_tokens(r.unique_tokens))
    if r.epochs <= 1:
        return tr("{share} of the {unique}, no repetition", share=format_percent(r.epochs), unique=unique)
    text = tr("{epochs} epochs of {unique}", epochs=format_tokens(r.epochs), unique=unique)
    if r.effective_tokens < n_tokens:
        text += tr(", worth {tokens} fresh tokens", tokens=format_tokens(r.effective_tokens))
    return f"{text} ({r.source})"


def other_sizes(
    sizes: tuple[OtherSize, ...], optimum: Allocation, *, is_optimum: bool, lifetime: bool
) -> Blocks:
    """Smaller and larger models at equal loss."""
    if not sizes:
        return ()
    many = len(sizes) > MANY
    best = tr("N*") if is_optimum else tr("the optimum, {n}", n=format_params(optimum.n_params))
    said = tr("sizes as shares of {optimum}, trained until they reach its loss", optimum=best)
    extra = tr("extra lifetime compute") if lifetime else tr("extra compute")
    headers = [tr("share"), tr("params"), tr("tokens"), extra, tr("repaid by serving")]
    rows = [_size_row(a) for a in sizes]
    if many:
        said += tr("; wasted: at the optimum's own compute")
        headers.append(tr("wasted"))
        wasted = ("" if a.wasted_compute is None else f"{100 * a.wasted_compute:.1f} %" for a in sizes)
        rows = [(*row, share) for row, share in zip(rows, wasted, strict=True)]
    return lines((tr("over-train"), said)), _table(headers, rows)


def _size_row(a: OtherSize) -> tuple[str, ...]:
    if a.n_tokens is None or a.extra_compute is None:
        return f"{a.ratio:g}", format_params(a.n_params), tr("cannot reach it"), "", ""
    extra = extra_percent(a.extra_compute, "+")
    if a.extra_compute_interval is not None and a.ratio != 1:
        low, high = a.extra_compute_interval
        ends = tr("{low} to {high}", low=extra_percent(low), high=extra_percent(high))
        extra += f" ({ends if math.isfinite(high) else tr('{low} or more', low=extra_percent(low))})"
    served = "" if a.break_even_tokens is None else format_tokens(a.break_even_tokens)
    return f"{a.ratio:g}", format_params(a.n_params), format_tokens(a.n_tokens), extra, served


def extra_percent(share: float, sign: str = "") -> str:
    """0.0536 → 5.4 %; from ten times on, the factor."""
    if share >= 9.995:
        return f"x {format_flops(share + 1, 2) if share > 1e4 else f'{share + 1:,.0f}'}"
    percent = 100 * share
    return f"{percent:{sign}.{1 if abs(percent) < 9.995 else 0}f} %"


def off_optimum_figure(curve: tuple[tuple[float, float], ...], optimum: Allocation) -> Figure:
    """The cost of leaving the optimum as data."""
    n_params, extra = zip(*curve, strict=True)
    data = {"n_params": list(n_params), "extra_compute": list(extra), "optimum": [optimum.n_params]}
    n = format_params(optimum.n_params)
    alt = tr(
        "Extra compute of models of other sizes, trained to the loss of the optimum of {n} parameters", n=n
    )
    return Figure(kind="off-optimum", data=data, alt=alt)


# --- how to build it ---


def shape_rows(shape: Shape, exact_flops: float, flops: float) -> Iterator[Row]:
    """Layers, width, heads and MLP; the exact count and the exact FLOPs beside 6ND."""
    a = shape.architecture
    heads = tr("{a.n_heads} heads of {a.d_head}", a=a)
    heads += tr(" ({a.n_kv_heads} key-value)", a=a) if a.n_kv_heads != a.n_heads else ""
    vocabulary = tr("vocabulary {a.vocab_size:,}", a=a) + (tr(", tied") if a.tie_embeddings else "")
    layers = tr("{a.n_layers} layers, width {a.d_model:,}, {heads}, SwiGLU {a.d_ff:,}", a=a, heads=heads)
    yield tr("shape"), f"{layers}, {vocabulary}, " + tr("context {a.context_length:,}", a=a)
    error, share = 100 * shape.relative_error, format_percent(shape.vocabulary_share)
    count = tr("{s.n_params:,} parameters ({error:+.2f} % of N)", s=shape, error=error)
    count += tr(", {share} in the vocabulary", share=share)
    more = 100 * (exact_flops / flops - 1)
    exact = tr("exact FLOPs {flops} ({more:+.1f} % beside 6ND)", flops=format_flops(exact_flops), more=more)
    yield "", f"{count}; {exact}"


def schedule_rows(s: Schedule) -> Iterator[Row]:
    """Steps, batch, learning rate and warm-up, and each source with the range it was fitted on."""
    batch = format_tokens(s.batch_tokens)
    steps = tr(
        "{s.n_steps:,} steps of {s.batch_sequences:,} x {s.context_length:,} = {batch} tokens",
        s=s,
        batch=batch,
    )
    rate = tr("learning rate {s.learning_rate:g}, warm-up {s.warm_up_steps:,} steps; {s.decay}", s=s)
    yield tr("training"), f"{steps}, {rate}"
    for a in s.advice:
        values = [] if a.learning_rate is None else [tr("lr {rate:.2g}", rate=a.learning_rate)]
        if a.batch_tokens is not None:
            values.append(tr("batch {tokens}", tokens=format_tokens(a.batch_tokens, 2)))
        chosen = tr("chosen: ") if a.name == s.chosen else ""
        by = tr("{values} by {a.source}", values=", ".join(values), a=a)
        inside = tr("inside its range, {a.fitted_on}", a=a) if a.inside else ""
        yield "", f"{chosen}{by}; {inside or tr('OUTSIDE its range, {a.fitted_on}', a=a)}"
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
    total = format_bytes(memory.least.memory.total_bytes)
    least = tr(
        "least: {m.n_devices:,} ({m.label}, {total} each); micro-batch of one sequence",
        m=memory.least,
        total=total,
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
    hours, one = cost.accelerator_hours[1], low == high
    times = " / ".join(format_duration(s, 2) for s in (cost.seconds[1:2] if one else cost.seconds))
    mfus = " / ".join(f"{100 * m:.3g}" for m in ((mid,) if one else (high, mid, low)))
    source = tr("as whole runs of 17 laboratories") if cost.mfu_source == WHOLE_RUNS else cost.mfu_source
    at = tr("{times} at MFU {mfus} % ({source})", times=times, mfus=mfus, source=source)
    at += tr(" x goodput {goodput:g} %", goodput=100 * cost.goodput)
    on = tr("on {cost.n_accelerators:,} x {cost.accelerator}", cost=cost)
    on += tr(" (chosen: done in 30 days, and it fits)") if cost.is_chosen else ""
    spent = tr("{hours} accelerator-hours", hours=f"{hours:,.{0 if hours >= 100 else 1}f}")
    yield tr("time"), f"{at}, {on}; {spent}"
    if cost.tuned_mfu is not None and cost.mfu_source != "given":
        least, rule, most = (f"{100 * share:.3g}" for share in cost.tuned_mfu)
        yield (
            "",
            tr(
                "tuned benchmarks: {least} to {most} %, {rule} as a rule, without stops ({cost.tuned_source})",
                least=least,
                most=most,
                rule=rule,
                cost=cost,
            ),
        )
    yield tr("money"), _money(cost, budget)
    if cost.energy_kwh is not None:
        energy = format_energy(cost.energy_kwh[1])
        yield tr("energy"), tr("{energy} at board power, without hosts and cooling", energy=energy)


def _money(cost: Cost, budget: Budget) -> str:
    if cost.price_usd_per_hour is None or cost.usd is None or cost.usd_extreme is None:
        return tr(
            "no price is known for {cost.accelerator}; give one in dollars per accelerator-hour with --price",
            cost=cost,
        )
    cheap, dear = cost.price_usd_per_hour
    when = price_date_text(cost.price_date)
    if cheap == dear:
        usd = format_dollars(cost.usd[0])
        return tr("{usd} at ${price:.2f} an hour ({when})", usd=usd, price=cheap, when=when)
    ends = range_text(cost.usd, format_dollars)
    hourly = tr("${cheap:.2f} to ${dear:.2f} an hour ({when})", cheap=cheap, dear=dear, when=when)
    text = tr("{ends} at {hourly}", ends=ends, hourly=hourly)
    if budget.dollars is not None:
        usd = format_dollars(budget.dollars)
        return tr("{usd} at the middle price; this run costs {text}", usd=usd, text=text)
    if cost.mfu[0] != cost.mfu[2]:
        text += tr(
            "; {ends} over the range of MFU as well", ends=range_text(cost.usd_extreme, format_dollars)
        )
    return text


def range_text(ends: tuple[float, float], formatter: Callable[[float, int], str]) -> str:
    """'1.2B to 3.4B', two digits each."""
    return tr("{low} to {high}", low=formatter(ends[0], 2), high=formatter(ends[1], 2))


def format_energy(kwh: float) -> str:
    """546 kWh, 315 MWh."""
    if kwh >= 9.995e8:  # three digits of GWh
        return f"{format_tokens(kwh / 1e9)} TWh"
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
    if not sweeps:
        usual = tr("five sizes around N* at 1 % of the budget are usual")
        lacks = tr("no interval to shrink") if ends.level is None else tr("no draws to rank sweeps by")
        return tr("this law has {lacks}; {usual}", lacks=lacks, usual=usual)
    best = sweeps[0]
    if best.width_left > WORTHWHILE:
        share = format_percent(max(sweep.share_of_budget for sweep in sweeps))
        return tr(
            "no five runs for up to {share} of this compute would shrink the interval of N* by 5 %",
            share=share,
        )
    return tr(
        "{s.n_runs} runs of {flops} FLOPs, {sizes} parameters ({share} of the budget in all), would leave {left:.0f} "
        "% of the interval of N*, if the law holds",
        s=best,
        flops=format_flops(best.flops_per_run, 2),
        sizes=range_text((best.n_params[0], best.n_params[-1]), format_params),
        share=format_percent(best.share_of_budget),
        left=100 * best.width_left,
    )
