"""A plan and an audit as figures: the cost of leaving the optimum, what other papers say, trained models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scaling.blocks import Blocks, Figure, Text
from scaling.errors import LawError, PlanError, ScalingError, UsageError
from scaling.planning.alternatives import CURVE, alternatives
from scaling.planning.audit import RULE_OF_THUMB, Audit
from scaling.planning.spread import other_papers
from scaling.reference import find_law
from scaling.translation import tr
from scaling.units import format_flops, format_params

if TYPE_CHECKING:
    from scaling.planning.result import Plan

Columns = dict[str, Any]

LINE_POINTS = 24  # of N*(C) behind an audit
ROOM = 4.0  # times the least and most compute of the models: where that line ends
HIGHEST = 10.0  # extra compute above is cut here: nobody goes there


def plan_figures(plan: Plan) -> Blocks:
    """The figures of a plan; where one cannot be, a line that says why."""
    blocks: list[Figure | Text] = []
    for name, build in ((tr("the cost of leaving the optimum"), off_optimum_figure),
                        (tr("the published laws"), law_spread_figure)):  # fmt: skip
        try:
            blocks.append(build(plan))
        except ScalingError as error:
            blocks.append(Text(tr("No figure of {name}: {why}", name=name, why=str(error)), "faint"))
    return tuple(blocks)


def off_optimum_figure(plan: Plan) -> Figure:
    """Extra compute at equal loss, and waste at equal compute, over model size, with the interval of N*.

    Rows are those of `plan.alternatives` where these are many, else a dense curve.

    Raises:
        UsageError: the law knows only its optimum.
    """
    sizes = plan.alternatives
    if len(sizes) < len(CURVE):
        sizes = alternatives(plan.law, plan.optimum, plan.reference, CURVE)
    if not sizes:
        raise UsageError(
            tr("this law knows only its optimum, so there is no curve to draw: plan with --law besiroglu.")
        )
    reached = [a for a in sizes if a.extra_compute is not None]
    data: Columns = {
        "n_params": [a.n_params for a in reached],
        "extra_compute": [a.extra_compute for a in reached],
        "optimum": [plan.optimum.n_params],
        "lifetime": [float(plan.inference is not None)],
    }
    if all(a.extra_compute_interval for a in reached):
        ends = [a.extra_compute_interval or (0.0, 0.0) for a in reached]
        data["extra_compute_low"] = [min(low, HIGHEST) for low, _ in ends]
        data["extra_compute_high"] = [min(high, HIGHEST) for _, high in ends]
    wasted = [a.wasted_compute for a in reached]
    if plan.inference is None and all(w is not None for w in wasted):
        data["wasted_compute"] = wasted
    interval = plan.intervals.n_params
    if interval is not None and plan.is_optimum and math.isfinite(interval[1]) and interval[0] > 0:
        data |= {
            "optimum_low": [interval[0]],
            "optimum_high": [interval[1]],
            "level": [plan.intervals.level or 0.95],
        }
    others = [a.n_params for a in plan.spread.answers if abs(a.n_params / plan.optimum.n_params - 1) > 1e-6]
    data |= {"other_n_params": others} if others else {}
    n = format_params(plan.optimum.n_params)
    alt = tr(
        "Extra compute of models of other sizes, trained to the loss of the optimum of {n} parameters", n=n
    )
    caption = tr(
        "What another size costs: trained until it reaches the optimum's loss (line), or at the optimum's compute."
    )
    return Figure("off-optimum", data, alt, caption, (_off_title(plan),))


def _off_title(plan: Plan) -> str:
    near = plan.valley
    flops = format_flops(plan.optimum.flops)
    if near is None or not math.isfinite(near.worst):
        return tr("The cost of leaving the optimum of {flops} FLOPs", flops=flops)
    low, high = format_params(near.n_params_low), format_params(near.n_params_high)
    said = tr(
        "From {low} to {high} at most {worst} % is lost",
        low=low,
        high=high,
        worst=math.ceil(100 * near.worst),
    )
    return said + "\n" + tr("{flops} FLOPs, N* = {n}", flops=flops, n=format_params(plan.optimum.n_params))


def law_spread_figure(plan: Plan) -> Figure:
    """What each published law answers to the plan's question.

    Raises:
        UsageError: no other law answers it.
    """
    answers = plan.spread.answers
    if not answers:
        raise UsageError("no published law answers this question: there is nothing to compare with.")
    data: Columns = {
        "law": [a.name for a in answers],
        "n_params": [a.n_params for a in answers],
        "n_tokens": [a.n_tokens for a in answers],
        "flops": [a.flops for a in answers],
        "inside": [float(a.inside) for a in answers],
        "converted": [float(bool(a.conversion)) for a in answers],
        "own_n_params": [plan.optimum.n_params],
    }
    interval = plan.intervals.n_params
    if interval is not None and plan.is_optimum:
        data |= {"own_low": [interval[0]], "own_high": [interval[1]], "level": [plan.intervals.level or 0.95]}
    name = plan.law.provenance.name if plan.law.provenance else plan.law.family.name
    papers = other_papers(plan.spread, name)
    title = tr("What the published laws answer")
    if papers is not None:
        data |= {"papers_low": [papers.n_params_low], "papers_high": [papers.n_params_high]}
        low, high = format_params(papers.n_params_low, 2), format_params(papers.n_params_high, 2)
        title = tr("Half of {n} other papers say {low} to {high}", n=papers.n_papers, low=low, high=high)
    title += "\n" + tr("this plan: {n}", n=format_params(plan.optimum.n_params))
    caption = tr(
        "N* by each published law for the same question; hollow: asked beyond the range of its runs. Laws that count "
        "parameters without the embedding are converted to total parameters."
    )
    return Figure("law-spread", data, title.replace("\n", "; ") + ".", caption, (title,))


def audit_figure(audits: Sequence[Audit]) -> Figure:
    """Trained models in compute and size over the line of the optimal size, with its band.

    Raises:
        UsageError: no models, or a law without a line of compute alone.
    """
    if not audits:
        raise UsageError("there is no model to draw: name one.")
    law, flops = audits[0].law, [a.flops for a in audits]
    low, high = min(flops) / ROOM, max(flops) * ROOM
    budgets = [low * (high / low) ** (i / (LINE_POINTS - 1)) for i in range(LINE_POINTS)]
    try:
        line = [law.allocate(c).n_params for c in budgets]
    except (LawError, TypeError, KeyError) as error:
        raise UsageError(f"the law {law.family.name} draws no line over compute alone: {error}") from error
    rule = find_law(RULE_OF_THUMB)
    data: Columns = {
        "model": [a.model.name for a in audits],
        "flops": flops,
        "n_params": [a.n_params for a in audits],
        "n_tokens": [a.model.n_tokens for a in audits],
        "size_ratio": [a.size_ratio for a in audits],
        "verdict": [a.verdict for a in audits],
        "line_flops": budgets,
        "line_n_params": line,
        "rule_n_params": [rule.allocate(c).n_params for c in budgets],
    }
    data |= _band(audits[0], budgets)
    near = sum(a.verdict == "near-optimal" for a in audits)
    worst = max(audits, key=lambda a: abs(math.log(a.size_ratio)))
    title = tr("{near} of {n} models are near the optimum of their compute", near=near, n=len(audits))
    title += "\n" + tr(
        "furthest: {name}, {ratio:.2g} times N*", name=worst.model.name, ratio=worst.size_ratio
    )
    alt = title.replace("\n", "; ") + "."
    caption = tr("Trained models over the size that the law holds for optimal: above the line too large for their "
                 "compute (under-trained), below it too small (over-trained, cheaper to serve).")  # fmt: skip
    return Figure("audit", data, alt, caption, (title,))


def _band(audit: Audit, budgets: Sequence[float]) -> Columns:
    """The interval of N* at each budget, where the law states one."""
    from scaling.planning.allocation import AllocationProblem
    from scaling.planning.uncertainty import intervals

    try:
        found = [intervals(audit.law, AllocationProblem(flops=c)) for c in budgets[:: len(budgets) - 1]]
        if any(i.n_params is None for i in found):
            return {}
        ends = [intervals(audit.law, AllocationProblem(flops=c)).n_params or (0.0, math.inf) for c in budgets]
    except (LawError, PlanError):
        return {}
    low, high = zip(*ends, strict=True)
    return {"line_low": list(low), "line_high": list(high), "level": [found[0].level or 0.95]}
