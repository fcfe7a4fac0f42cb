"""Approach 1 as a picture: training curves and the envelope below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.plots import style
from scaling.runs import Runs
from scaling.runs.table import group_index

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CURVES = 400
POINTS_PER_CURVE = 300


def plot_envelope(fit: EnvelopeFit, curves: Runs | None = None, *, ax: Axes | None = None) -> Axes:
    """The lower envelope of the training curves, coloured by the size that wins, and where the best size changes.

    `curves` are drawn thin behind it, thinned to 400 curves of 300 points. Conclude: does every size win somewhere
    between two others, or do the curves end before they cross?
    """
    with style.axes_or_new(ax) as ax:
        ax.set_xscale("log")
        sizes = np.unique(fit.n_params)
        if curves is not None:
            _curves(ax, curves)
        for size, colour in zip(sizes, style.budget_colours(len(sizes)), strict=True):
            won = np.where(fit.n_params == size, fit.loss, np.nan)
            ax.plot(fit.flops, won, color=colour, linewidth=2.4, solid_capstyle="butt", zorder=3)
        height = np.interp(fit.crossing_flops, fit.flops, fit.loss)
        ax.plot(fit.crossing_flops, height, "D", color=style.ACCENT, markersize=4.4, markeredgecolor="white",
                markeredgewidth=0.6, zorder=4, label="the best size changes")  # fmt: skip
        style.flops_axis(ax.xaxis)
        ax.set_ylim(fit.loss.min() / 1.03, fit.loss.max() * 1.06)
        style.loss_axis(ax.yaxis, style.loss_unit(fit))
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

    from scaling.units import format_params

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
