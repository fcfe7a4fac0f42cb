"""Approach 3 as pictures: the fitted surface as a map, as slices at fixed compute, and what it misses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import UsageError
from scaling.fitting.generic.result import LawFit
from scaling.fitting.named_fit import predicted_loss
from scaling.fitting.parametric.result import ParametricFit
from scaling.plots import style
from scaling.runs import Runs, cluster_budgets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MAP_POINTS = 140
ASKED_POINTS = 13  # budgets at which the fit is asked for its interval: 5 ms each
N_CONTOURS = 13
MOST_SLICES = 10
EDGE = 0.045  # of the panel: a contour's label nearer to its edge would be cut
SLICE_TOLERANCE = 0.12  # runs this near a budget share its colour


def plot_parametric(fit: ParametricFit, *, ax: Axes | None = None) -> Axes:
    """The fitted loss over compute and model size, with the runs and the compute-optimal frontier.

    Conclude: do the runs lie on both sides of the frontier, over enough compute? Solid frontier: where there were
    runs; dashed: beyond.
    """
    n_params, n_tokens, _ = fitted_runs(fit)
    flops = 6 * n_params * n_tokens
    with style.axes_or_new(ax, height=4.2) as ax:
        end = 30 * flops.max()
        x = np.geomspace(flops.min() / 1.8, end, MAP_POINTS)
        best = np.array([fit.law.allocate(float(c)).n_params for c in (x[0], end)])
        y = np.geomspace(
            min(n_params.min(), best.min()) / 1.8, max(n_params.max(), best.max()) * 1.8, MAP_POINTS
        )
        C, N = np.meshgrid(x, y)
        loss = fit.law.loss(N, C / (6 * N))
        labels = _contours(ax, C, N, loss, fit.law.loss_floor)
        style.flops_axis(ax.xaxis)
        _frontier(ax, fit, flops, end)
        ax.plot(n_params * 6 * n_tokens, n_params, "o", color=style.INK, markersize=2.6, markeredgecolor="white",
                markeredgewidth=0.3, zorder=4, label=f"{len(n_params)} runs")  # fmt: skip
        ax.set_xlim(x[0], end)
        ax.set_ylim(y[0], y[-1])
        style.params_axis(ax.yaxis)
        _leave_out_cut(ax, labels)
        ax.grid(visible=False)
        ax.set_title(f"Fitted {style.loss_label(style.loss_unit(fit))} and compute-optimal size")
        ax.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none")
        return ax


def plot_slices(fit: ParametricFit, *, ax: Axes | None = None) -> Axes:
    """Measured losses against model size, one colour a budget, over the fitted surface at that budget.

    Conclude: does the surface follow the runs at every budget, or drift away at the small or the large ones?
    """
    n_params, n_tokens, loss = fitted_runs(fit)
    clusters = cluster_budgets(6 * n_params * n_tokens, SLICE_TOLERANCE)
    sizes = np.array([len(clusters.members(i)) for i in range(len(clusters))])
    shown = np.sort(np.argsort(-sizes, kind="stable")[:MOST_SLICES])
    labels = _budget_labels([float(clusters.flops[i]) for i in shown])
    with style.axes_or_new(ax) as ax:
        ax.set_xscale("log")
        for i, colour, label in zip(shown, style.budget_colours(len(shown)), labels, strict=True):
            rows, budget = clusters.members(int(i)), float(clusters.flops[i])
            ax.plot(n_params[rows], loss[rows], "o", color=colour, markeredgecolor="white", markeredgewidth=0.4,
                    label=label)  # fmt: skip
            N = np.geomspace(n_params[rows].min(), n_params[rows].max() * 1.0001, MAP_POINTS)
            ax.plot(N, fit.law.loss(N, budget / (6 * N)), color=colour, linewidth=1.3)
            best = fit.law.allocate(budget)
            ax.plot([best.n_params], [best.loss or math.nan], "D", color=style.ACCENT, markersize=4.6,
                    markeredgecolor="white", markeredgewidth=0.6, zorder=5)  # fmt: skip
        style.params_axis(ax.xaxis)
        ax.set_ylabel(style.loss_label(style.loss_unit(fit)))
        ax.set_title("Runs and the fitted law at equal compute")
        ax.legend(title="FLOPs, about", loc="center left", bbox_to_anchor=(1.0, 0.5))
        return ax


def _budget_labels(budgets: list[float]) -> list[str]:
    """With one digit, or with two where one does not tell them apart."""
    for digits in (1, 2):
        labels = [style.power_of_ten(float(f"{b:.{digits}g}")) for b in budgets]
        if len(set(labels)) == len(labels):
            break
    return labels


def plot_residuals(fit: ParametricFit | LawFit, runs: Runs | None = None, *, ax: Axes | None = None) -> Axes:
    """Measured over fitted loss, per cent, against compute; colour is tokens per parameter, dark = many.

    Of a law of one quantity: against that one, in one colour.
    `runs` are other runs than the fitted ones (a hold-out); a LawFit carries none and needs them. Conclude: a trend
    with compute or with the ratio means the law's form is wrong here, and its intervals too narrow. The band holds
    95 % of the runs if the noise is Gaussian with the fit's robust scale.
    """
    one = (
        None
        if isinstance(fit, ParametricFit) or len(fit.law.family.inputs) > 1
        else fit.law.family.inputs[0].name
    )
    if runs is None:
        if not isinstance(fit, ParametricFit):
            raise UsageError("this fit does not carry its runs; pass them: plot_residuals(fit, runs).")
        n_params, n_tokens, loss = fitted_runs(fit)
        fitted = np.asarray(fit.law.loss(n_params, n_tokens))
    else:
        n_params, n_tokens, loss = runs.n_params, runs.n_tokens, runs.loss
        fitted = predicted_loss(fit.law, runs)
    percent = 100 * (loss / fitted - 1)
    robust = fit.residuals.robust_scale if isinstance(fit, ParametricFit) else fit.residual_sd
    scale = 196 * robust
    import matplotlib

    with style.axes_or_new(ax, height=3.2) as ax:
        ax.axhspan(-scale, scale, color=style.FIT, alpha=style.BAND_ALPHA / 1.6, linewidth=0)
        ax.axhline(0, color=style.FIT, linewidth=1.0)
        ax.set_ylabel("measured / fitted loss − 1 (%)")
        ax.set_title("What the law misses")
        if one is not None:
            assert runs is not None
            ax.plot(getattr(runs, one), percent, "o", color=style.INK, markersize=3.4, zorder=3)
            style.quantity_axis(ax.xaxis, one)
            return ax
        ratio = np.log10(n_tokens / n_params)
        colours = matplotlib.colors.LinearSegmentedColormap.from_list("tokens", style.budget_colours(16))
        drawn = ax.scatter(6 * n_params * n_tokens, percent, c=ratio, cmap=colours, s=17, linewidth=0.3,
                           edgecolor="white", zorder=3)  # fmt: skip
        style.flops_axis(ax.xaxis)
        bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.02, 0.0, 0.025, 1.0)))
        bar.set_ticks([t for t in range(-2, 6) if ratio.min() <= t <= ratio.max()])
        bar.ax.yaxis.set_major_formatter(lambda v, _: f"{10.0**v:g}")
        bar.set_label("tokens per parameter")
        bar.outline.set_visible(False)
        return ax


def fitted_runs(fit: ParametricFit) -> tuple[Array, Array, Array]:
    """n_params, n_tokens and loss of the runs a fit carries."""
    data = fit.optimum.data
    return (
        np.exp(data.x + data.ln_params_centre),
        np.exp(data.y + data.ln_tokens_centre),
        np.exp(data.ln_loss) * data.loss_scale,
    )


def _contours(ax: Axes, C: Array, N: Array, loss: Array, floor: float) -> list[Text]:
    """Contours evenly spaced in log(loss - floor), so that they do not crowd where models are small; their labels."""
    excess = loss - floor
    low, high = np.log(excess.min()), np.log(np.quantile(excess, 0.8))
    levels = np.unique(np.round(floor + np.exp(np.linspace(low, high, N_CONTOURS)), 2))
    shades = [style.budget_colours(len(levels))[::-1][i] for i in range(len(levels))]
    lines = ax.contour(C, N, loss, levels=levels, colors=shades, linewidths=0.9)
    labels: list[Text] = ax.clabel(lines, fmt="%.2f", fontsize=7, inline=False)
    for label in labels:
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    return labels


def _leave_out_cut(ax: Axes, labels: list[Text]) -> None:
    """Take away the labels that the edge of the panel would cut."""
    for label in labels:
        x, y = ax.transAxes.inverted().transform(ax.transData.transform(label.get_position()))
        if not (EDGE < x < 1 - EDGE and EDGE < y < 1 - EDGE):
            label.remove()


def _frontier(ax: Axes, fit: ParametricFit, flops: Array, end: float) -> None:
    inside, beyond = np.geomspace(flops.min(), flops.max(), 40), np.geomspace(flops.max(), end, 20)
    for part, linestyle in ((inside, "-"), (beyond, style.EXTRAPOLATED)):
        best = [fit.law.allocate(float(c)).n_params for c in part]
        label = rf"$N^* \propto C^{{{fit.params_exponent.value:.3f}}}$" if linestyle == "-" else None
        ax.plot(part, best, color=style.ACCENT, linestyle=linestyle, linewidth=1.9, zorder=5, label=label)
    if fit.spread is None:
        return
    at = np.geomspace(flops.min(), end, ASKED_POINTS)
    intervals = [fit.interval("n_params", flops=float(c)) for c in at]
    low = np.array([max(i.low, 1.0) for i in intervals])
    high = np.array([min(i.high, 1e18) if math.isfinite(i.high) else 1e18 for i in intervals])
    ax.fill_between(at, low, high, color=style.ACCENT, alpha=style.BAND_ALPHA, linewidth=0, zorder=1.5,
                    label=f"{100 * fit.level:g} % band")  # fmt: skip
