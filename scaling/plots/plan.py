"""The plan as a picture: what it costs to leave N*."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scaling.planning.plan import Plan
from scaling.plots import style
from scaling.plots.figures import finish_costs, mark_optimum
from scaling.units import format_flops

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_plan(plan: Plan, *, ax: Axes | None = None) -> Axes:
    """Extra compute at equal loss, and waste at equal compute, against N.

    Draws the rows of `plan.alternatives`; make the plan with `ratios=CURVE` for a smooth line. Shaded: the interval of
    N*; ticks at the foot: N* of the other published laws at the same compute.
    """
    with style.axes_or_new(ax, width=6.4, height=4.0) as ax:
        reached = [a for a in plan.alternatives if a.extra_compute is not None]
        _band(ax, plan)
        extra = [100 * (a.extra_compute or 0.0) for a in reached]
        label = "extra compute at equal loss"
        ax.plot([a.n_params for a in reached], extra, color=style.FIT, label=label)
        wasted = [
            (a.n_params, 100 * a.wasted_compute) for a in plan.alternatives if a.wasted_compute is not None
        ]
        if wasted and plan.inference is None:
            x, y = zip(*wasted, strict=True)
            ax.plot(x, y, color=style.ACCENT, linestyle="-.", label="wasted at equal compute")
        _mark_optimum(ax, plan)
        finish_costs(ax, [a.n_params for a in plan.alternatives])
        ax.set_ylabel("lifetime compute (%)" if plan.inference else "training compute (%)")
        ax.set_title(f"The cost of leaving the optimum of {format_flops(plan.optimum.flops)} FLOPs")
        ax.legend(loc="upper center", frameon=True, framealpha=0.9, edgecolor="none")
        return ax


def _band(ax: Axes, plan: Plan) -> None:
    """The interval of the extra compute, where the law has one."""
    banded = [a for a in plan.alternatives if a.extra_compute is not None and a.extra_compute_interval]
    if banded:
        ends = [a.extra_compute_interval or (0.0, 0.0) for a in banded]
        low, high = ([100 * min(e[i], 10.0) for e in ends] for i in (0, 1))
        style.band(ax, [a.n_params for a in banded], low, high)


def _mark_optimum(ax: Axes, plan: Plan) -> None:
    best = plan.optimum.n_params
    mark_optimum(ax, best)
    ends = plan.intervals.n_params
    if ends is not None and plan.is_optimum and math.isfinite(ends[1]) and ends[0] > 0:
        level = 100 * (plan.intervals.level or 0.0)
        ax.axvspan(
            ends[0], ends[1], color=style.MUTED, alpha=0.25, linewidth=0, label=f"{level:g} % interval of N*"
        )
    others = [a.n_params for a in plan.spread.answers if abs(a.n_params / best - 1) > 1e-6]
    ax.plot(others, [0.015] * len(others), "|", color=style.INK, transform=ax.get_xaxis_transform(),
            label="N* of other published laws", clip_on=True)  # fmt: skip
