"""Hold-out extrapolation and comparison of laws as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scaling.arguments import require_kind
from scaling.errors import UsageError
from scaling.fitting.comparison import LawComparison
from scaling.fitting.extrapolation import Extrapolation
from scaling.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_extrapolation(result: Extrapolation, *, ax: Axes | None = None) -> Axes:
    """Error on the held-out runs against the cut-off: mean and largest, with the share inside their interval.

    Conclude: how far off are predictions for runs dearer than any fitted one, and do stated intervals admit it?
    Example:
        >>> import scaling
        >>> held_out = scaling.evaluate_extrapolation(scaling.example_runs(), intervals=False)
        >>> axes = scaling.plots.plot_extrapolation(held_out)
    """
    require_kind("result", result, Extrapolation, "Make it by evaluate_extrapolation(runs).")
    cuts = result.usable
    x = [c.flops for c in cuts]
    with style.axes_or_new(ax) as ax:
        largest = [100 * abs(c.largest_error or 0.0) for c in cuts]
        mean = [100 * (c.mean_absolute_error or 0.0) for c in cuts]
        ax.vlines(x, mean, largest, color=style.MUTED, linewidth=0.8)
        ax.plot(x, largest, "v", color=style.MUTED, label="largest error")
        ax.plot(x, mean, "o-", color=style.FIT, label="mean absolute error")
        style.flops_axis(ax.xaxis, "fitted on runs up to (FLOPs)")
        ax.set_ylim(0, 1.22 * max(largest))
        ax.set_ylabel("error on dearer runs (%)")
        ax.set_title("Extrapolation to runs that the fit did not see")
        for c, top in zip(cuts, largest, strict=True):
            if c.inside_fraction is not None:
                ax.annotate(f"{100 * c.inside_fraction:.0f}%", (c.flops, top), xytext=(0, 5),
                            textcoords="offset points", ha="center", fontsize=7.5, color=style.ACCENT)  # fmt: skip
        if any(c.inside_fraction is not None for c in cuts):
            note = f"share inside their {100 * result.level:g} % interval"
            ax.plot([], [], " ", label=note)
        legend = ax.legend(loc="upper right")
        if len(legend.get_texts()) > 2:
            legend.get_texts()[2].set_color(style.ACCENT)
        return ax


def plot_exponent_drift(result: Extrapolation, *, ax: Axes | None = None) -> Axes:
    """The exponent a of N* ~ C^a against the cut-off, and that of all runs.

    Conclude: an exponent that still drifts as dearer runs are let in will drift beyond them too.
    Example:
        >>> import scaling
        >>> held_out = scaling.evaluate_extrapolation(scaling.example_runs(), intervals=False)
        >>> axes = scaling.plots.plot_exponent_drift(held_out)
    """
    require_kind("result", result, Extrapolation, "Make it by evaluate_extrapolation(runs).")
    known = [c for c in (*result.usable, result.all_runs) if c.params_exponent is not None]
    if not known:
        lacks = f"the {result.law} law has no single exponent of N*"
        raise UsageError(f"{lacks}; draw plot_extrapolation instead.")
    with style.axes_or_new(ax, height=3.0) as ax:
        x, y = [c.flops for c in known], [c.params_exponent or 0.0 for c in known]
        ax.axhline(y[-1], color=style.FIT, linewidth=0.9, linestyle=style.EXTRAPOLATED)
        ax.plot(x, y, "o-", color=style.FIT)
        ax.plot(x[-1:], y[-1:], "D", color=style.ACCENT, label=f"all runs: {y[-1]:.3f}", zorder=4)
        style.flops_axis(ax.xaxis, "fitted on runs up to (FLOPs)")
        ax.set_ylabel("exponent a of N*")
        ax.set_title("Does the exponent settle?")
        ax.legend(loc="best")
        return ax


def plot_comparison(result: LawComparison, *, ax: Axes | None = None) -> Axes:
    """N* at the target budget under each law and objective, best predictor on top, with its hold-out error.

    Conclude: the width of the cloud is the doubt that no interval of a single fit shows.
    Example:
        >>> import scaling
        >>> compared = scaling.compare_laws(scaling.example_runs(), ["chinchilla"], objectives=["huber"])
        >>> axes = scaling.plots.plot_comparison(compared)
    """
    require_kind("result", result, LawComparison, "Make it by compare_laws(runs).")
    rows = [r for r in result.rows if r.n_params is not None]
    if not rows:
        raise UsageError(
            "none of the compared laws has an optimum at the target budget: there is nothing to draw."
        )
    with style.axes_or_new(ax, height=0.9 + 0.32 * len(rows)) as ax:
        y = np.arange(len(rows))[::-1]
        x = np.array([r.n_params for r in rows], dtype=np.float64)
        ax.set_xscale("log")
        ax.axvspan(x.min(), x.max(), color=style.FIT, alpha=style.BAND_ALPHA / 1.6, linewidth=0)
        laws = sorted({r.law for r in rows})
        marks = dict(zip(laws, ("o", "s", "^", "D", "v", "P", "X"), strict=False))
        for row, height, value in zip(rows, y, x, strict=True):
            ax.plot([value], [height], marks.get(row.law, "o"), color=style.FIT, markersize=5.5)
            if row.held_out_mean_error is not None:
                ax.annotate(f"{100 * row.held_out_mean_error:.2f}%", (1.01, height), fontsize=8, va="center",
                            xycoords=("axes fraction", "data"), annotation_clip=False)  # fmt: skip
        ax.set_yticks(y, [f"{r.law}, {r.objective.replace('_', ' ')}" for r in rows])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_xlim(x.min() / 1.25, x.max() * 1.25)
        ax.grid(axis="y", visible=False)
        style.params_axis(ax.xaxis, f"N* at {style.power_of_ten(float(f'{result.target_flops:.2g}'))} FLOPs")
        ax.set_title("Laws and objectives on the same runs")
        ax.annotate("hold-out\nerror", (1.01, 1.0), xycoords="axes fraction", fontsize=7.5, color=style.MUTED,
                    va="bottom", annotation_clip=False)  # fmt: skip
        return ax
