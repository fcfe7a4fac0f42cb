"""Approach 2 as pictures: the valleys, and what their minima say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.fitting.isoflop.result import BudgetMinimum, IsoflopFit
from scaling.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_POINTS = 160


def plot_isoflop(
    fit: IsoflopFit, *, x: Literal["n_params", "n_tokens"] = "n_params", ax: Axes | None = None
) -> Axes:
    """Loss against model size (or tokens), one valley a budget, with its minimum and the minimum's interval.

    Conclude: are the valleys well covered on both sides, and do their minima move to larger models as compute grows?
    Refused budgets are hollow and dotted, with a cross at the run that would bracket them.
    """
    with style.axes_or_new(ax) as ax:
        colours = style.budget_colours(len(fit.budgets))
        for budget, colour in zip(fit.budgets, colours, strict=True):
            _valley(ax, budget, colour, x)
        _minima(ax, fit, x)
        (style.params_axis if x == "n_params" else style.tokens_axis)(ax.xaxis)
        ax.set_ylabel(style.loss_label(style.loss_unit(fit)))
        ax.set_title(f"IsoFLOP valleys ({fit.valley})")
        _legend(ax, fit, colours)
        return ax


def _valley(ax: Axes, budget: BudgetMinimum, colour: str, x: str) -> None:
    refused = budget.refused is not None
    runs = budget.runs
    ax.plot(
        getattr(runs, x),
        runs.loss,
        "o",
        color=colour,
        markerfacecolor="white" if refused else colour,
        markeredgecolor=colour if refused else "white",
        markeredgewidth=0.9 if refused else 0.4,
        zorder=3,
    )
    at = np.linspace(runs.x.min(), runs.x.max(), CURVE_POINTS)
    _curve(ax, budget, at, colour, x, (0, (1, 1.6)) if refused else "-")
    next_run = budget.refused.next_run if budget.refused else None
    if next_run is None or not np.isfinite(budget.valley.curve(runs.x)).all():
        return
    target = math.log(next_run.n_tokens)
    edge = runs.x.max() if target > runs.x.max() else runs.x.min()
    _curve(ax, budget, np.linspace(edge, target, 60), colour, x, style.EXTRAPOLATED)
    loss = float(np.asarray(budget.valley.curve(np.asarray(target))))
    ax.plot([getattr(next_run, x)], [loss], "x", color=colour, markersize=6, markeredgewidth=1.4, zorder=4)


def _curve(ax: Axes, budget: BudgetMinimum, at: np.ndarray, colour: str, x: str, linestyle: object) -> None:
    along = np.exp(at) if x == "n_tokens" else np.exp(budget.runs.ln_params(at))
    ax.plot(along, budget.valley.curve(at), color=colour, linestyle=linestyle, linewidth=1.3, zorder=2)


def _minima(ax: Axes, fit: IsoflopFit, x: str) -> None:
    """Diamonds at the minima; bars are their intervals, an end beyond the runs is cut there, with an arrow."""
    for budget in fit.used:
        estimate, loss = getattr(budget, x), budget.loss
        assert estimate is not None
        assert loss is not None
        low, high = estimate.interval.low, estimate.interval.high
        sampled = getattr(budget.runs, x)
        ends = [max(low, float(sampled.min())), min(high, float(sampled.max()))]
        for cut, end, arrow in ((low < ends[0], ends[0], "<"), (high > ends[1], ends[1], ">")):
            if cut:
                ax.plot([end], [loss.value], arrow, color=style.ACCENT, markersize=5, zorder=5)
        line: Any = "-" if estimate.interval.bounded and low > 0 else style.UNBOUNDED
        ax.plot(ends, [loss.value] * 2, color=style.ACCENT, linewidth=1.6, linestyle=line, zorder=5)
        ax.plot(
            [estimate.value], [loss.value], "D", color=style.ACCENT, markersize=4.6, markeredgecolor="white",
            markeredgewidth=0.6, zorder=6,
        )  # fmt: skip


def _legend(ax: Axes, fit: IsoflopFit, colours: list[str]) -> None:
    """Budgets beside the axes, in the order of their valleys from top to bottom."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=style.ACCENT, marker="D", markersize=4.6, markeredgecolor="white")]
    labels = [f"minimum, {100 * fit.level:g} %"]
    for budget, colour in zip(fit.budgets, colours, strict=True):
        refused = budget.refused is not None
        face = "white" if refused else colour
        handles.append(
            Line2D([], [], color=colour, marker="o", markerfacecolor=face, linestyle=":" if refused else "-")
        )
        labels.append(style.power_of_ten(budget.flops) + (" refused" if refused else ""))
    if any(b.refused and b.refused.next_run for b in fit.budgets):
        handles.append(
            Line2D([], [], color=style.INK, marker="x", linestyle="", markersize=6, markeredgewidth=1.4)
        )
        labels.append("a run to add")
    if any(not b.n_params.interval.bounded for b in fit.used if b.n_params and b.n_params.interval):
        handles.append(Line2D([], [], color=style.ACCENT, linestyle=style.UNBOUNDED, linewidth=1.6))
        labels.append("interval without an end")
    if any(b.ends_beyond for b in fit.used):
        handles.append(Line2D([], [], color=style.ACCENT, marker=">", markersize=5, linestyle=""))
        labels.append("goes on beyond the runs")
    ax.legend(handles, labels, title="budget (FLOPs)", loc="center left", bbox_to_anchor=(1.0, 0.5))
