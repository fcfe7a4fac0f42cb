"""Approaches 1 and 2 as pictures: training curves with their envelope, and valleys with their minima."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.arguments import require_kind, require_known
from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.fitting.isoflop.result import BudgetMinimum, IsoflopFit
from scaling.plots import style
from scaling.runs import Runs
from scaling.runs.table import group_index, require_runs
from scaling.units import format_params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_POINTS = 160
MOST_CURVES = 400
POINTS_PER_CURVE = 300


def plot_isoflop(
    fit: IsoflopFit, *, x: Literal["n_params", "n_tokens"] = "n_params", ax: Axes | None = None
) -> Axes:
    """Loss against model size (or tokens), one valley a budget, with its minimum and the minimum's interval.

    Conclude: are the valleys well covered on both sides, and do their minima move to larger models as compute grows?
    Refused budgets are hollow and dotted, with a cross at the run that would bracket them.
    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_isoflop(scaling.fit_isoflop(scaling.example_runs()), x="n_tokens")
    """
    require_kind("fit", fit, IsoflopFit, "Make it by fit_isoflop(runs).")
    require_known("x", x, ("n_params", "n_tokens"))
    with style.axes_or_new(ax) as ax:
        colours = style.budget_colours(len(fit.budgets))
        for budget, colour in zip(fit.budgets, colours, strict=True):
            _valley(ax, budget, colour, x)
        _minima(ax, fit, x)
        style.quantity_axis(ax.xaxis, x)
        ax.set_ylabel(style.loss_label(fit))
        ax.set_title(f"IsoFLOP valleys ({fit.valley})")
        _legend(ax, fit, colours)
        return ax


def _valley(ax: Axes, budget: BudgetMinimum, colour: str, x: str) -> None:
    refused, runs = budget.refused is not None, budget.runs
    face, edge, width = ("white", colour, 0.9) if refused else (colour, "white", 0.4)
    look: Any = {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width}
    ax.plot(getattr(runs, x), runs.loss, "o", color=colour, zorder=3, **look)
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
        style.marks(ax, [estimate.value], [loss.value], markersize=4.6, zorder=6)


def _legend(ax: Axes, fit: IsoflopFit, colours: list[str]) -> None:
    """Budgets beside the axes, in the order of their valleys from top to bottom."""
    from matplotlib.lines import Line2D

    minimum: Any = {"color": style.ACCENT, "marker": "D", "markersize": 4.6, "markeredgecolor": "white"}
    signs: list[tuple[str, Any]] = [(f"minimum, {100 * fit.level:g} %", minimum)]
    for budget, colour in zip(fit.budgets, colours, strict=True):
        look = {"color": colour, "marker": "o", "linestyle": "-"}
        if budget.refused is not None:
            look |= {"markerfacecolor": "white", "linestyle": ":"}
        name = style.power_of_ten(budget.flops) + (" refused" if budget.refused is not None else "")
        signs.append((name, look))
    if any(b.refused and b.refused.next_run for b in fit.budgets):
        cross = {"marker": "x", "linestyle": "", "markersize": 6, "markeredgewidth": 1.4}
        signs.append(("a run to add", {"color": style.INK, **cross}))
    if any(not b.n_params.interval.bounded for b in fit.used if b.n_params and b.n_params.interval):
        open_end = {"color": style.ACCENT, "linestyle": style.UNBOUNDED, "linewidth": 1.6}
        signs.append(("interval without an end", open_end))
    if any(b.ends_beyond for b in fit.used):
        arrow = {"color": style.ACCENT, "marker": ">", "markersize": 5, "linestyle": ""}
        signs.append(("goes on beyond the runs", arrow))
    handles = [Line2D([], [], **look) for _, look in signs]
    beside: Any = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    ax.legend(handles, [name for name, _ in signs], title="budget (FLOPs)", **beside)


def plot_envelope(fit: EnvelopeFit, curves: Runs | None = None, *, ax: Axes | None = None) -> Axes:
    """The lower envelope of the training curves, coloured by the size that wins, and where the best size changes.

    `curves` are drawn thin behind it, thinned to 400 curves of 300 points. Conclude: does every size win somewhere
    between two others, or do the curves end before they cross?
    Example:
        >>> import scaling
        >>> from scaling.reference.example import example_curves
        >>> curves = scaling.Runs.from_arrays(**example_curves())
        >>> axes = scaling.plots.plot_envelope(scaling.fit_envelope(curves), curves)
    """
    require_kind("fit", fit, EnvelopeFit, "Make it by fit_envelope(curves).")
    if curves is not None:
        require_runs(curves, "plot_envelope")
    with style.axes_or_new(ax) as ax:
        ax.set_xscale("log")
        sizes = np.unique(fit.n_params)
        if curves is not None:
            _curves(ax, curves)
        for size, colour in zip(sizes, style.budget_colours(len(sizes)), strict=True):
            won = np.where(fit.n_params == size, fit.loss, np.nan)
            ax.plot(fit.flops, won, color=colour, linewidth=2.4, solid_capstyle="butt", zorder=3)
        height = np.interp(fit.crossing_flops, fit.flops, fit.loss)
        style.marks(ax, fit.crossing_flops, height, markersize=4.4, zorder=4, label="the best size changes")
        style.flops_axis(ax.xaxis)
        ax.set_ylim(fit.loss.min() / 1.03, fit.loss.max() * 1.06)
        style.loss_axis(ax.yaxis, fit)
        ax.set_title(f"Envelope of {fit.n_runs} training curves")
        _size_legend(ax, sizes)
        return ax


def _curves(ax: Axes, curves: Runs) -> None:
    from matplotlib.collections import LineCollection

    run = group_index(curves.run_id)
    order = np.lexsort((curves.flops, run))
    starts = np.flatnonzero(np.diff(run[order], prepend=-1))
    segments = []
    for rows in np.split(order, starts[1:])[:: max(1, len(starts) // MOST_CURVES)]:
        thin = rows[np.linspace(0, len(rows) - 1, min(len(rows), POINTS_PER_CURVE)).astype(int)]
        segments.append(np.column_stack([curves.flops[thin], curves.loss[thin]]))
    ax.add_collection(LineCollection(segments, colors="0.72", linewidths=0.8, zorder=1))


def _size_legend(ax: Axes, sizes: np.ndarray) -> None:
    """A few of the sizes, smallest on top as their stretches are."""
    from matplotlib.lines import Line2D

    shown = np.unique(np.linspace(0, len(sizes) - 1, min(len(sizes), 7)).astype(int))
    colours = style.budget_colours(len(sizes))
    handles = [Line2D([], [], color=colours[i], linewidth=2.4) for i in shown]
    mark = Line2D([], [], color=style.ACCENT, marker="D", linestyle="", markersize=4.4)
    ax.legend(
        [*handles, mark],
        [*(format_params(float(sizes[i])) for i in shown), "best size changes"],
        title="best size (parameters)",
        loc="upper right",
    )
