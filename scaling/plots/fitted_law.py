"""A fitted law as pictures: a surface as a map and as slices at fixed compute (Approach 3), a law of one quantity as a
line, and what they miss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from scaling.arguments import require_kind
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import UsageError
from scaling.fitting.generic.result import LawFit
from scaling.fitting.parametric.result import ParametricFit
from scaling.fitting.prediction import loss_band, predicted_loss
from scaling.plots import style
from scaling.plots.frontier import draw_band, draw_optimum
from scaling.runs import Runs, cluster_budgets
from scaling.runs.table import QUANTITIES, require_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MAP_POINTS = 140
N_CONTOURS = 13
MOST_SLICES = 10
EDGE = 0.045  # of the panel: a contour's label nearer to its edge would be cut
BEYOND = 30.0  # times the largest compute or value of the runs
LINE_POINTS = 80
SLICE_TOLERANCE = 0.12  # runs this near a budget share its colour


def plot_parametric(fit: ParametricFit, *, ax: Axes | None = None) -> Axes:
    """The fitted loss over compute and model size, with the runs and the compute-optimal frontier.

    Conclude: do the runs lie on both sides of the frontier, over enough compute? Solid frontier: where there were
    runs; dashed: beyond.
    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_parametric(scaling.fit_parametric(scaling.example_runs()))
    """
    require_kind("fit", fit, ParametricFit, "Make it by fit_parametric(runs).")
    n_params, n_tokens, _ = fitted_runs(fit)
    flops = FLOPS_PER_PARAM_TOKEN * n_params * n_tokens
    with style.axes_or_new(ax, height=4.2) as ax:
        end = BEYOND * flops.max()
        x = np.geomspace(flops.min() / 1.8, end, MAP_POINTS)
        best = np.array([fit.law.allocate(float(c)).n_params for c in (x[0], end)])
        y = np.geomspace(
            min(n_params.min(), best.min()) / 1.8, max(n_params.max(), best.max()) * 1.8, MAP_POINTS
        )
        C, N = np.meshgrid(x, y)
        loss = fit.law.loss(N, C / (FLOPS_PER_PARAM_TOKEN * N))
        labels = _contours(ax, C, N, loss, fit.law.loss_floor)
        style.flops_axis(ax.xaxis)
        exponent = rf"$N^* \propto C^{{{fit.params_exponent.value:.3f}}}$"
        ends = (flops.min(), flops.max(), end)
        draw_optimum(ax, fit.law, ends, colour=style.ACCENT, linewidth=1.9, zorder=5, label=exponent)
        if fit.spread is not None:
            draw_band(ax, fit, "n_params", np.array([flops.min(), end]), colour=style.ACCENT, zorder=1.5)
        style.marks(ax, flops, n_params, "o", colour=style.INK, edge=0.3, markersize=2.6, zorder=4,
                    label=f"{len(n_params)} runs")  # fmt: skip
        ax.set_xlim(x[0], end)
        ax.set_ylim(y[0], y[-1])
        style.params_axis(ax.yaxis)
        _leave_out_cut(ax, labels)
        ax.grid(visible=False)
        ax.set_title(f"Fitted {style.loss_label(fit)} and compute-optimal size")
        ax.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none")
        return ax


def plot_slices(fit: ParametricFit, *, ax: Axes | None = None) -> Axes:
    """Measured losses against model size, one colour a budget, over the fitted surface at that budget.

    Conclude: does the surface follow the runs at every budget, or drift away at the small or the large ones?
    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_slices(scaling.fit_parametric(scaling.example_runs()))
    """
    require_kind("fit", fit, ParametricFit, "Make it by fit_parametric(runs).")
    n_params, n_tokens, loss = fitted_runs(fit)
    clusters = cluster_budgets(FLOPS_PER_PARAM_TOKEN * n_params * n_tokens, SLICE_TOLERANCE)
    sizes = np.array([len(clusters.members(i)) for i in range(len(clusters))])
    shown = np.sort(np.argsort(-sizes, kind="stable")[:MOST_SLICES])
    labels = _budget_labels([float(clusters.flops[i]) for i in shown])
    with style.axes_or_new(ax) as ax:
        ax.set_xscale("log")
        for i, colour, label in zip(shown, style.budget_colours(len(shown)), labels, strict=True):
            rows, budget = clusters.members(int(i)), float(clusters.flops[i])
            style.marks(ax, n_params[rows], loss[rows], "o", colour=colour, edge=0.4, label=label)
            N = np.geomspace(n_params[rows].min(), n_params[rows].max() * 1.0001, MAP_POINTS)
            ax.plot(N, fit.law.loss(N, budget / (FLOPS_PER_PARAM_TOKEN * N)), color=colour, linewidth=1.3)
            best = fit.law.allocate(budget)
            style.marks(ax, [best.n_params], [best.loss or math.nan], markersize=4.6, zorder=5)
        style.params_axis(ax.xaxis)
        ax.set_ylabel(style.loss_label(fit))
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


def reads_one_quantity(fit: LawFit) -> bool:
    """Whether the law is a function of n_params, n_tokens or flops alone."""
    inputs = fit.law.family.inputs
    return len(inputs) == 1 and inputs[0].name in QUANTITIES


def plot_power_law(fit: LawFit, runs: Runs, *, ax: Axes | None = None) -> Axes:
    """Measured losses over the fitted line: solid where there were runs, dashed beyond, with the stated band.

    Conclude: does the line follow the runs at both ends, and how wide is the band where you extrapolate?
    Example:
        >>> import scaling
        >>> runs = scaling.example_runs()
        >>> axes = scaling.plots.plot_power_law(scaling.fit_law(runs, "flops_power_law"), runs)
    """
    require_kind("fit", fit, LawFit, "Make it by fit_law(runs, family).")
    require_runs(runs, "plot_power_law")
    if not reads_one_quantity(fit):
        law = fit.law.family.name
        raise UsageError(f"the {law} law reads several quantities; draw plot_residuals instead.")
    name = fit.law.family.inputs[0].name
    values = np.asarray(getattr(runs, name))
    low, high = float(values.min()), float(values.max())
    with style.axes_or_new(ax) as ax:
        style.quantity_axis(ax.xaxis, name)
        ax.plot(values, runs.loss, "o", color=style.INK, markersize=3.4, label=f"{len(runs)} runs", zorder=4)
        x = style.points_along(low, high, BEYOND * high, LINE_POINTS)
        loss = fit.law.predict({name: x})["loss"]
        style.known_then_beyond(ax, x, loss, high, label=fit.law.family.formula)
        x = np.geomspace(low, BEYOND * high, LINE_POINTS)
        band = loss_band(fit.law, {name: x})
        if band is not None:
            style.band(ax, x, band[:, 0], band[:, 1], label=f"{100 * fit.level:g} % band")
        style.quantity_axis(ax.xaxis, name)  # again: its ticks follow the range drawn
        style.loss_axis(ax.yaxis, fit)
        ax.set_title("Runs and the fitted law")
        ax.legend(loc="upper right")
        return ax


def plot_residuals(fit: ParametricFit | LawFit, runs: Runs | None = None, *, ax: Axes | None = None) -> Axes:
    """Measured over fitted loss, per cent, against compute; colour is tokens per parameter, dark = many.

    Of a law of one quantity: against that one, in one colour.
    `runs` are other runs than the fitted ones (a hold-out); a LawFit carries none and needs them. Conclude: a trend
    with compute or with the ratio means the law's form is wrong here, and its intervals too narrow. The band holds
    95 % of the runs if the noise is Gaussian with the fit's robust scale.
    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_residuals(scaling.fit_parametric(scaling.example_runs()))
    """
    kinds = (ParametricFit, LawFit)
    require_kind("fit", fit, kinds, "Make it by fit_parametric(runs) or fit_law(runs, family).")
    if runs is not None:
        require_runs(runs, "plot_residuals")
    several = isinstance(fit, ParametricFit) or len(fit.law.family.inputs) > 1
    one = None if several else fit.law.family.inputs[0].name
    if runs is None:
        if not isinstance(fit, ParametricFit):
            raise UsageError("this fit does not carry its runs; pass them: plot_residuals(fit, runs).")
        n_params, n_tokens, loss = fitted_runs(fit)
        fitted = np.asarray(fit.law.loss(n_params, n_tokens))
    else:
        n_params, n_tokens, loss = runs.n_params, runs.n_tokens, runs.loss
        fitted = predicted_loss(fit.law, runs)
    flops, percent = FLOPS_PER_PARAM_TOKEN * n_params * n_tokens, 100 * (loss / fitted - 1)
    robust = fit.residuals.robust_scale if isinstance(fit, ParametricFit) else fit.residual_sd
    scale = 196 * robust

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
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("tokens", style.budget_colours(16))
        drawn = ax.scatter(flops, percent, c=ratio, cmap=colours, s=17, linewidth=0.3,
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
