"""The plan as a picture: what it costs to leave N*."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scaling.planning.plan import Plan
from scaling.units import format_flops, format_params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIGHEST = 100.0  # per cent; beyond that no one would go


def plot_plan(plan: Plan, *, ax: Axes | None = None) -> Axes:
    """Extra compute at equal loss, and waste at equal compute, against N.

    Draws the rows of `plan.alternatives`; make the plan with `ratios=CURVE` for a smooth line. Shaded: the interval of
    N*; ticks at the foot: N* of the other published laws at the same compute.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    reached = [a for a in plan.alternatives if a.extra_compute is not None]
    sizes = [a.n_params for a in reached]
    banded = [a for a in reached if a.extra_compute_interval is not None]
    if banded:
        ends = [a.extra_compute_interval or (0.0, 0.0) for a in banded]
        low, high = ([100 * min(e[i], 10.0) for e in ends] for i in (0, 1))
        ax.fill_between([a.n_params for a in banded], low, high, color="#3b6ea5", alpha=0.25, linewidth=0)
    ax.plot(
        sizes,
        [100 * (a.extra_compute or 0.0) for a in reached],
        color="#1f4e79",
        label="extra compute at equal loss",
    )
    wasted = [(a.n_params, 100 * a.wasted_compute) for a in plan.alternatives if a.wasted_compute is not None]
    if wasted and plan.inference is None:
        ax.plot(*zip(*wasted), color="#8c510a", linestyle=(0, (5, 2)), label="wasted at equal compute")
    _mark_optimum(ax, plan)
    ax.set_xscale("log")
    ax.set_ylim(0, HIGHEST)
    if plan.alternatives:
        ax.set_xlim(plan.alternatives[0].n_params, plan.alternatives[-1].n_params)
    ax.set_xlabel("parameters")
    ax.set_ylabel("lifetime compute (%)" if plan.inference else "training compute (%)")
    ax.set_title(f"The cost of leaving the optimum of {format_flops(plan.optimum.flops)} FLOPs", fontsize=10)
    ax.xaxis.set_major_formatter(lambda x, _: format_params(x, 2))
    ax.xaxis.set_minor_formatter(lambda x, _: format_params(x, 1) if _leading_digit(x) in (2, 5) else "")
    ax.legend(loc="upper center", fontsize=8, framealpha=1.0, edgecolor="none")
    return ax


def _mark_optimum(ax: Axes, plan: Plan) -> None:
    best = plan.optimum.n_params
    ax.axvline(best, color="black", linewidth=0.8)
    ax.annotate(
        f" N* = {format_params(best)}", (best, 0.5), xycoords=("data", "axes fraction"), fontsize=8, rotation=90,
        ha="right", va="center",
    )  # fmt: skip
    ends = plan.intervals.n_params
    if ends is not None and plan.is_optimum and math.isfinite(ends[1]) and ends[0] > 0:
        level = 100 * (plan.intervals.level or 0.0)
        ax.axvspan(
            ends[0], ends[1], color="0.6", alpha=0.25, linewidth=0, label=f"{level:g} % interval of N*"
        )
    others = [a.n_params for a in plan.spread.answers if abs(a.n_params / best - 1) > 1e-6]
    ax.plot(others, [0.015] * len(others), "|", color="0.25", transform=ax.get_xaxis_transform(),
            label="N* of other published laws", clip_on=True)  # fmt: skip


def _leading_digit(x: float) -> int:
    return int(f"{x:.0e}"[0])
