"""A plan as text for a terminal of 100 columns: the answer first, then its doubts, then how to do it."""

from __future__ import annotations

import math
from collections.abc import Callable

import click

from scaling.cli.output import WIDTH, heading, print_table, printable, styled, wrap
from scaling.cli.plan_build import (
    LABEL,
    line,
    print_cost,
    print_memory,
    print_schedule,
    print_shape,
    sweep_text,
)
from scaling.laws.base import Allocation
from scaling.planning.alternatives import Alternative
from scaling.planning.plan import Inference, Plan
from scaling.planning.spread import LawAnswer, OtherPapers, law_name, other_papers
from scaling.planning.uncertainty import Ends
from scaling.units import (
    digits_by_error,
    format_flops,
    format_params,
    format_percent,
    format_tokens,
)

Format = Callable[..., str]


def print_headline(plan: Plan, *, alone: bool) -> None:
    """One sentence: N, D, tokens per parameter, loss; and its intervals.

    alone: no line about the law follows, so that the sentence says which N it means.
    """
    said, origin = wrap(_sentence(plan)), plan.law.provenance
    if alone and origin is not None and origin.params_convention in ("total", "active"):
        longer = wrap(_sentence(plan, which=f"{origin.params_convention} "))
        said = longer if longer.count("\n") == said.count("\n") else said  # no further line for one word
    click.echo(styled(said, bold=True))
    intervals = _interval_sentence(plan)
    if intervals:
        click.echo(wrap(intervals))


def print_plan(plan: Plan, *, all_laws: bool, explain: bool, next_command: str) -> None:
    """Everything after the headline, in the order of the contract."""
    click.echo()
    line("budget", _budget_text(plan))
    line("law", _law_text(plan))
    line("interval", _method_text(plan))
    for text in plan.warnings:
        line("warning", text, fg="yellow")
    _print_laws(plan, all_laws)
    if plan.valley is not None:
        line("off optimum", _valley_text(plan))
    else:
        line(
            "off optimum",
            f"the law {plan.law.family.name} does not say what leaving it costs; --law besiroglu does",
        )
    _print_inference(plan)
    line("data", _data_text(plan))
    _print_alternatives(plan)
    print_shape(plan)
    print_schedule(plan)
    print_memory(plan)
    print_cost(plan)
    line("next runs", sweep_text(plan))
    _print_next(next_command)
    if explain:
        _print_explanation(plan)


def _print_next(command: str) -> None:
    """Commands to copy: a long line breaks behind && only, where a shell reads on."""
    first, _, second = printable(command).partition(" && ")
    lines = [f"{first} &&", second] if second and len(command) + LABEL >= WIDTH else [printable(command)]
    indent = " " * (LABEL - 3)
    click.echo(styled("next", dim=True) + indent + f"\n    {indent}".join(lines))


# --- the answer ---


def _sentence(plan: Plan, which: str = "") -> str:
    point, ends = plan.point, plan.intervals
    n = _by_error(point.n_params, ends.n_params, format_params)
    d = _by_error(point.n_tokens, ends.n_tokens, format_tokens)
    flops = _by_error(point.flops, ends.flops, format_flops)
    size = f"{n} {which}{_counted_params(plan)} on {d} tokens"
    ratio = f"{_by_error(plan.tokens_per_param, ends.tokens_per_param, _plain)} tokens per parameter"
    loss = "" if point.loss is None else f", loss {_loss(point.loss, ends.loss)} {_unit(plan)}"
    budget = plan.budget
    if budget.target_loss is not None:
        return f"A loss of {budget.target_loss:g} takes {flops} FLOPs: {size}, {ratio}."
    if budget.flops is None and plan.compute is None and plan.is_optimum:
        return f"{size} are compute-optimal at {flops} FLOPs: {ratio}{loss}."
    if plan.inference is not None and not plan.is_optimum:
        return f"{size}: {ratio}{loss}; {_lifetime_text(plan.inference)}."
    if not plan.is_optimum:
        waste = f", wasting {_share(plan.wasted_compute)} of the compute" if plan.wasted_compute else ""
        return f"{size}: {ratio}{loss}{waste}. {_optimum_text(plan.optimum, plan)}"
    return f"{size}: {ratio}{loss}."


def _lifetime_text(i: Inference) -> str:
    """What the sizes save, or cost, once their tokens are served."""
    best = i.training_optimum
    return (
        f"serving {format_tokens(i.inference_tokens)} tokens: {format_flops(i.lifetime_flops)} FLOPs in all, "
        f"{format_percent(abs(i.saved))} {'less' if i.saved >= 0 else 'more'} than the training-optimal model of this "
        f"loss ({format_params(best.n_params)} on {format_tokens(best.n_tokens)}, "
        f"{format_flops(i.training_optimum_lifetime_flops)})"
    )


def _counted_params(plan: Plan) -> str:
    """'parameters', or what the law counts and what a checkpoint of the shape holds."""
    if plan.law.provenance is None or plan.law.provenance.params_convention != "non_embedding":
        return "parameters"
    total = "" if plan.shape is None else f" ({format_params(plan.shape.n_params_total)} in all)"
    return f"non-embedding parameters{total}"


def _share(fraction: float) -> str:
    return format_percent(fraction) if fraction < 0.995 else "over 99 %"


def _optimum_text(best: Allocation, plan: Plan) -> str:
    loss = "" if best.loss is None else f", loss {best.loss:.4g}"
    return (
        f"The optimum of {format_flops(best.flops)} FLOPs is {format_params(best.n_params)} on "
        f"{format_tokens(best.n_tokens)}{loss}."
    )


def _interval_sentence(plan: Plan) -> str:
    ends = plan.intervals
    if ends.level is None:
        return ""
    parts = [
        (ends.n_params, format_params, "parameters"),
        (ends.n_tokens, format_tokens, "tokens"),
        (ends.tokens_per_param, _plain, "tokens/param"),
        (ends.flops, format_flops, "FLOPs"),
    ]
    texts = [f"{_range(e, formatter)} {unit}" for e, formatter, unit in parts if e is not None]
    if ends.loss is not None:
        texts.append(f"loss {_range(ends.loss, None)}")
    return f"{100 * ends.level:g} %: {', '.join(texts)}" if texts else ""


def _range(ends: Ends, formatter: Format | None) -> str:
    """'2.4B to 3.2B' with two digits of the half-width; unbounded ends in words."""
    low, high = ends
    if math.isinf(high) and low <= 0:
        return "unbounded (the runs do not determine it)"
    if math.isinf(high):
        return f"{formatter(low, 2) if formatter else f'{low:.3g}'} or more (no upper end)"
    if formatter is None:
        return f"{_loss(low, ends)} to {_loss(high, ends)}"
    if low <= 0:
        return f"{formatter(high, 2)} or less (no lower end)"
    return f"{_by_error(low, ends, formatter)} to {_by_error(high, ends, formatter)}"


def _by_error(value: float, ends: Ends | None, formatter: Format) -> str:
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


def _plain(value: float, digits: int = 3) -> str:
    decimals = max(0, digits - 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


def _unit(plan: Plan) -> str:
    unit = plan.law.provenance.loss_unit if plan.law.provenance else "nats/token"
    return f"(unit {unit})" if unit == "in doubt" else unit


# --- where it comes from ---


def _budget_text(plan: Plan) -> str:
    compute = plan.compute
    if compute is None:
        return f"{format_flops(plan.point.flops)} FLOPs (C = 6ND), from the law"
    if compute.how == "given":
        pays = " for training and inference (6ND + 2N D_inf)" if plan.inference else " (C = 6ND)"
        return f"{format_flops(compute.flops)} FLOPs{pays}"
    ends = "price" if plan.budget.dollars is not None else "MFU"
    spread = (
        ""
        if compute.low == compute.high
        else (f"; {format_flops(compute.low, 2)} to {format_flops(compute.high, 2)} over the range of {ends}")
    )
    return compute.how + spread


def _law_text(plan: Plan) -> str:
    origin = plan.law.provenance
    if origin is None:
        return f"{law_name(plan.law)}: {plan.law.family.formula}"
    count = {
        "total": "total parameters",
        "non_embedding": "non-embedding parameters",
        "unknown": "what its runs call parameters",
    }.get(origin.params_convention, origin.params_convention)
    is_published = bool(origin.status)  # a fit's own runs may be mixtures, counted by their active parameters
    dense = (
        " of dense models" if is_published and origin.params_convention in ("total", "non_embedding") else ""
    )
    return f"{origin.name}: {origin.source}; N counts {count}{dense}, {origin.flops_text}"


def _method_text(plan: Plan) -> str:
    ends = plan.intervals
    if ends.level is None:
        return ends.method
    return f"{100 * ends.level:g} %, {ends.method}" + (f"; {ends.statement}" if ends.statement else "")


def _print_laws(plan: Plan, all_laws: bool) -> None:
    others = other_papers(plan.spread, law_name(plan.law))
    if others is None:
        return
    line("other laws", _others_text(plan, others) + ("" if all_laws else "; --law all lists them"))
    if all_laws:
        print_table(
            ["law", "remark", "params", "tokens", "FLOPs", "D/N", "loss"],
            [_law_row(a) for a in plan.spread.answers],
            indent=" " * (LABEL + 1),
            left=2,
        )
        if conversion := next((a.conversion for a in plan.spread.answers if a.conversion), ""):
            line("", f"converted N: {conversion}; extrapolated: outside the range of that law's runs")


def _others_text(plan: Plan, others: OtherPapers) -> str:
    """What the papers were asked, the middle half of their answers, and the ends of all."""
    question, constraints = plan.spread.question, plan.constraints
    papers = f"the middle half of {others.n_papers} other papers, one vote each, says"
    asked = ""
    if not plan.spread.same_question:
        sizes = plan.budget.n_params or plan.budget.n_tokens
        left = "the given sizes" if sizes else "the cap"
        asked = f"about the optimum of {format_flops(plan.optimum.flops)} FLOPs without {left}, "
    elif question.target_loss is not None:
        asked = "asked for the same loss, each on its own data and tokenizer, "
    elif question.inference_tokens or constraints.unique_tokens or not question.flops:
        asked = "asked the same, "
    by_tokens = question.n_params is not None
    low, high = (
        (others.n_tokens_low, others.n_tokens_high)
        if by_tokens
        else (others.n_params_low, others.n_params_high)
    )
    text = f"{asked}{papers} {format_params(low, 2)} to {format_params(high, 2)}"
    if asked:
        text += " tokens" if by_tokens else " parameters"
    if not question.flops:
        text += f" and {format_flops(others.flops_low, 2)} to {format_flops(others.flops_high, 2)} FLOPs"
    ends = (a.n_tokens if by_tokens else a.n_params for a in (others.least, others.most))
    least, most = (format_params(value, 2) for value in ends)
    text += f"; all, {least} ({others.least.name}) to {most} ({others.most.name})"
    if others.n_silent:
        text += f"; {others.n_silent} more {'has' if others.n_silent == 1 else 'have'} no answer to this"
    return text


def _law_row(answer: LawAnswer) -> tuple[str, ...]:
    remarks = ("converted N" if answer.conversion else "", "" if answer.inside else "extrapolated")
    remark = ", ".join(text for text in remarks if text)
    return (
        answer.name,
        remark,
        format_params(answer.n_params),
        format_tokens(answer.n_tokens),
        format_flops(answer.flops),
        f"{answer.tokens_per_param:.3g}",
        "" if answer.loss is None else f"{answer.loss:.3f}",
    )


# --- alternatives ---


def _valley_text(plan: Plan) -> str:
    v = plan.valley
    assert v is not None
    cost = f"{math.ceil(100 * v.worst)} %" if math.isfinite(v.worst) else "any"
    if v.measure == "wasted at equal compute":
        what = f"wastes under {cost} of the compute"
    else:
        what = f"costs under {cost} {v.measure}" if math.isfinite(v.worst) else "may miss the loss"
    return (
        f"any N from {format_params(v.n_params_low)} to {format_params(v.n_params_high)} "
        f"({v.ratio_low:g} to {v.ratio_high:g} of N*) {what}"
    )


def _print_inference(plan: Plan) -> None:
    if plan.inference is not None and plan.is_optimum:  # of given sizes the headline has said it
        line("inference", _lifetime_text(plan.inference))


def _data_text(plan: Plan) -> str:
    r = plan.repetition
    if r is None:
        return plan.data
    if r.epochs <= 1:
        return (
            f"{format_percent(r.epochs)} of the {format_tokens(r.unique_tokens)} unique tokens, no repetition"
        )
    worth = (
        f", worth {format_tokens(r.effective_tokens)} fresh tokens"
        if r.effective_tokens < plan.point.n_tokens
        else ""
    )
    return f"{format_tokens(r.epochs)} epochs of {format_tokens(r.unique_tokens)} unique tokens{worth} ({r.source})"


def _print_alternatives(plan: Plan) -> None:
    if not plan.alternatives:
        return
    reference = "N*" if plan.is_optimum else f"the optimum, {format_params(plan.optimum.n_params)}"
    lifetime = "lifetime compute" if plan.inference and plan.is_optimum else "compute"
    long = len(plan.alternatives) > 4
    last = "; wasted: at the optimum's own compute" if long else ""
    line("over-train", f"sizes as shares of {reference}, trained until they reach its loss{last}")
    headers = ["share", "params", "tokens", f"extra {lifetime}", "repaid by serving"]
    rows = [_alternative_row(a) for a in plan.alternatives]
    if long:
        headers.append("wasted")
        rows = [(*r, _wasted(a.wasted_compute)) for r, a in zip(rows, plan.alternatives, strict=True)]
    print_table(headers, rows, indent=" " * (LABEL + 1))


def _alternative_row(a: Alternative) -> tuple[str, ...]:
    if a.n_tokens is None or a.extra_compute is None:
        return f"{a.ratio:g}", format_params(a.n_params), "cannot reach it", "", ""
    extra = _extra(a.extra_compute, "+")
    if a.extra_compute_interval is not None and a.ratio != 1:
        low, high = a.extra_compute_interval
        extra += f" ({_extra(low)} to {_extra(high)})" if math.isfinite(high) else f" ({_extra(low)} or more)"
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


def _print_explanation(plan: Plan) -> None:
    from scaling.planning.explain import explain_plan

    heading("How it was computed")
    for step in explain_plan(plan):
        click.echo(wrap(f"{step.title}: {step.formula}", " " * 6, "  "))
        click.echo(wrap(step.numbers, " " * 6))
