"""Panels of a fitted loss: map, slices, a law of one quantity, residuals, quantiles, influence, joint coefficients."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.plots import marks, style
from scaling.plots.marks import Label, Values
from scaling.plots.optimum import Data, loss_label
from scaling.translation import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scaling.plots.optimum import Draw

N_CONTOURS = 11
NORMAL_95 = 1.96
N_BINS = 10  # of a running median
FEWEST_TO_BIN = 40  # runs: fewer show a trend themselves
TALLEST = 8.0  # robust deviations that a panel of residuals shows
DOWN_WEIGHTED = 0.5  # Huber weight below which a run is hollow
QUANTILES_95 = 5.991  # of chi-squared with 2 degrees of freedom: Gaussian contour of 95 %
QUANTILES_50 = 1.386
MOST_DRAWS = 200  # more hide each other, and each is 60 bytes of a page
LONGEST_ID = 18
SIGNS = ("X", "P", "s", "v", "^")  # of published laws


def draw_surface(ax: Axes, data: Data) -> None:
    """Contours of the loss over compute and size, named at the edge, with the runs and the optimal size."""

    x, y = np.unique(data["grid_flops"]), np.unique(data["grid_n_params"])
    loss = data["grid_loss"].reshape(len(y), len(x))
    ax.set_xscale("log")
    ax.set_yscale("log")
    excess = loss - data["floor"][0]
    low, high = np.log(excess.min()), np.log(np.quantile(excess, 0.85))
    levels = np.unique(np.round(data["floor"][0] + np.exp(np.linspace(low, high, N_CONTOURS + 1)[1:]), 2))
    colours = style.budget_colours(len(levels))[::-1]
    drawn = ax.contour(x, y, loss, levels=levels, colors=colours, linewidths=0.8)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    flops, n_params = data["flops"], data["n_params"]
    if "n_params_low" in data:
        ends = (marks.clipped_ends(data[f"n_params_{end}"]) for end in ("low", "high"))
        marks.band(ax, flops, *ends, colour=style.ACCENT, zorder=2)
    for colour, width in ((style.PAPER, 3.6), (style.ACCENT, 2.0)):
        told = {"label": tr("N*")} if colour == style.ACCENT else {}
        last = data["fitted_flops"][-1]
        marks.known_then_beyond(ax, flops, n_params, last, colour=colour, linewidth=width, zorder=4, **told)
    marks.runs(ax, data["run_flops"], data["run_n_params"], size=2.8, zorder=5, label=tr("runs"))
    _target(ax, data)
    style.flops_axis(ax.xaxis, tr("training compute (FLOPs)"))
    style.params_axis(ax.yaxis, tr("parameters"))
    ax.grid(visible=False)
    _name_contours(ax, drawn, levels, colours)
    marks.told_thinned(ax, len(data["run_flops"]))
    marks.remark(ax, tr("on the right: {loss}", loss=loss_label(data)))
    marks.key(ax)


def _target(ax: Axes, data: Data) -> None:
    if "target_n_params" in data:
        look: Any = {"markersize": 10, "markerfacecolor": style.PAPER, "markeredgecolor": style.ACCENT}
        at = [data["target_flops"][0]], [data["target_n_params"][0]]
        ax.plot(*at, "*", color=style.ACCENT, markeredgewidth=1.4, zorder=6, label=tr("target"), **look)


def _name_contours(ax: Axes, drawn: Any, levels: Values, colours: list[str]) -> None:
    """The loss of each contour where it leaves the picture on the right, below the optimum: there none cross."""
    right = ax.get_xlim()[1]
    labels = []
    for level, colour, path in zip(levels, colours, drawn.get_paths(), strict=True):
        points = path.vertices
        at_edge = points[points[:, 0] > right * 0.985] if len(points) else points
        for place in (np.argmin, np.argmax):
            if len(at_edge):
                x, y = at_edge[int(place(at_edge[:, 1]))]
                labels.append(Label(float(x), float(y), f"{level:.2f}", colour))
    unique = {(label.text, round(np.log10(label.y), 1)): label for label in labels}
    marks.label_ends(ax, list(unique.values()))


def draw_slices(ax: Axes, data: Data) -> None:
    """Measured losses against size over the fitted surface, one colour a budget, named at the end of its line."""
    ax.set_xscale("log")
    loss = data["run_loss"]
    low, high = marks.fences(marks.near_minima(data["run_budget"], loss), log=True)
    room = 0.06 * (high - low) or 0.01 * high
    ax.set_ylim(low - room, high + room)
    labels, n_budgets, names = [], len(data["budget"]), _budget_names(data["budget"])
    drawn = marks.thinned(data["run_n_params"], loss)
    kept = np.isin(np.arange(len(loss)), drawn)
    for i, colour in enumerate(style.budget_colours(n_budgets)):
        rows, curve = kept & (data["run_budget"] == i), data["curve_budget"] == i
        marks.runs(ax, data["run_n_params"][rows], loss[rows], colour=colour, size=3.4, zorder=3)
        x, y = data["curve_n_params"][curve], data["curve_loss"][curve]
        ax.plot(x, y, color=colour, linewidth=1.2)
        labels.append(marks.end_in_view(ax, x, y, names[i], colour))
    told = tr("optimum of the law")
    marks.marks(ax, data["best_n_params"], data["best_loss"], markersize=5.2, edge=0.9, zorder=5, label=told)
    shown = np.concatenate([data["run_n_params"], data["best_n_params"]])
    ax.set_xlim(shown.min() / 1.3, shown.max() * 1.3)
    style.params_axis(ax.xaxis, tr("parameters"))
    ax.set_ylabel(loss_label(data))
    marks.arrows(ax, data["run_n_params"], loss, (low - room, high + room))
    marks.told_thinned(ax, len(loss))
    marks.label_ends(ax, labels)
    marks.key(ax)


def _budget_names(budgets: Values) -> list[str]:
    """With one digit, or with two where one does not tell them apart."""
    for digits in (1, 2):
        names = [style.power_of_ten(float(f"{c:.{digits}g}")) for c in budgets]
        if len(set(names)) == len(names):
            break
    return names


def draw_power_law(ax: Axes, data: Data) -> None:
    """Measured losses over a law of one quantity: solid where there were runs, dashed beyond, with the stated band."""
    name, x = str(data["quantity"][0]), data["x"]
    ax.set_yscale("log")
    ax.set_xscale("log")
    if "loss_low" in data:
        told = tr("{percent:g} % band", percent=100 * data["level"][0])
        marks.band(ax, x, data["loss_low"], data["loss_high"], label=told)
    marks.known_then_beyond(ax, x, data["loss"], data["fitted_x"][-1], label=tr("law"), linewidth=1.8)
    seen = data["run_loss"]
    low, high = marks.fences(seen, log=True)
    ends = min(low, data["loss"].min()) / 1.02, max(high, data["loss"].max()) * 1.02
    inside = (seen >= ends[0]) & (seen <= ends[1])
    marks.runs(ax, data["run_x"][inside], seen[inside], size=3.0, zorder=3, label=tr("runs"))
    ax.set_ylim(*ends)
    ax.set_xlim(x.min() / 1.2, x.max())
    names = {"n_params": tr("parameters"), "n_tokens": tr("training tokens"),
             "flops": tr("training compute (FLOPs)")}  # fmt: skip
    style.quantity_axis(ax.xaxis, name, names[name])
    style.loss_axis(ax.yaxis, loss_label(data))
    marks.arrows(ax, data["run_x"], seen, ends)
    marks.told_thinned(ax, len(seen))
    marks.key(ax)


# --- residuals ---


def residual_panels(data: Data) -> list[Draw]:
    """Against each quantity that the runs have, then the quantiles."""
    names = [name for name in ("n_params", "n_tokens", "flops") if f"run_{name}" in data]
    first = [partial(draw_residuals, quantity=name) for name in names]
    return [*first, *([draw_quantiles] if "qq_gaussian" in data else [])]


def draw_residuals(ax: Axes, data: Data, *, quantity: str) -> None:
    """Measured over fitted loss, per cent; hollow are runs that the fit holds for outliers."""
    x, percent = data[f"run_{quantity}"], data["run_residual_percent"]
    scale = float(data["robust_scale_percent"][0])
    most = min(max(TALLEST * scale, 1e-9), 1.08 * np.abs(percent).max() or 1.0)
    ax.set_xscale("log")
    ax.set_ylim(-most, most)
    wide = NORMAL_95 * scale
    ax.axhspan(-wide, wide, color=style.FIT, alpha=style.BAND_ALPHA, linewidth=0)
    ax.axhline(0, color=style.FIT, linewidth=1.0)
    weight = data.get("run_weight", np.ones_like(percent))
    inside = np.flatnonzero(np.abs(percent) <= most)
    shown = inside[marks.thinned(x[inside], percent[inside])]
    light = weight[shown] < DOWN_WEIGHTED
    full, hollow = shown[~light], shown[light]
    marks.runs(ax, x[full], percent[full], size=3.0, zorder=3)
    look: Any = {"markerfacecolor": "none", "markeredgewidth": 0.7, "markersize": 3.0}
    ax.plot(x[hollow], percent[hollow], "o", color=style.INK, zorder=3, **look)
    _running_median(ax, x, percent)
    ax.set_xlim(x.min() / 1.2, x.max() * 1.2)
    names = {"n_params": tr("parameters"), "n_tokens": tr("training tokens"),
             "flops": tr("training compute (FLOPs)")}  # fmt: skip
    style.quantity_axis(ax.xaxis, quantity, names[quantity])
    ax.set_ylabel(tr("measured / fitted − 1 (%)"))
    marks.arrows(ax, x, percent, (-most, most), " %")
    marks.told_thinned(ax, len(inside))


def _running_median(ax: Axes, x: Values, y: Values) -> None:
    """A trend that the eye would miss: the median of each tenth of the runs."""
    if len(x) < FEWEST_TO_BIN:
        return
    parts = np.array_split(np.argsort(x, kind="stable"), N_BINS)
    centres = [float(np.exp(np.mean(np.log(x[part])))) for part in parts]
    middles = [float(np.median(y[part])) for part in parts]
    ax.plot(centres, middles, color=style.PAPER, linewidth=3.0, zorder=3.8)
    ax.plot(centres, middles, color=style.ACCENT, linewidth=1.6, zorder=4)


def draw_quantiles(ax: Axes, data: Data) -> None:
    """Residuals in robust deviations against a Gaussian's quantiles: on the line, the noise is what is assumed."""
    x, y = data["qq_gaussian"], data["qq_residual"]
    most = min(TALLEST, 1.05 * max(float(np.abs(y).max()), float(np.abs(x).max())))
    ends = np.array([-4.0, 4.0])
    ax.plot(ends, ends, color=style.FIT, linewidth=1.2)
    inside = np.abs(y) <= most
    marks.marks(ax, x[inside], y[inside], "o", colour=style.INK, edge=0.0, markersize=2.2, zorder=3)
    ax.set_ylim(-most, most)
    ax.set_xlim(1.12 * x.min(), 1.12 * x.max())
    ax.set_xlabel(tr("quantile of a Gaussian"))
    ax.set_ylabel(tr("residual (robust deviations)"))
    marks.arrows(ax, x, y, (-most, most))


# --- influence ---


def influence_panels(data: Data) -> list[Draw]:
    return [draw_influence, *([draw_removals] if len(data["removed_exponent"]) else [])]


def draw_influence(ax: Axes, data: Data) -> None:
    """The exponent without each run, the one that moves it most on top, over two standard errors about all runs'."""
    names, without = list(data["run_id"]), data["exponent_without"]
    _exponent_of_all(ax, data, vertical=True)
    at = np.arange(len(names))[::-1]
    ax.hlines(at, data["exponent"][0], without, color=style.MUTED, linewidth=1.0)
    marks.marks(ax, without, at, "o", colour=style.ACCENT, markersize=5, zorder=3)
    ax.set_yticks(at, [_short(name) for name in names])
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(tr("exponent a without the run"))
    ax.xaxis.set_major_locator(_few_ticks())


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_ID else f"{name[: LONGEST_ID - 1]}…"


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, steps=[1, 2, 5, 10])


def _exponent_of_all(ax: Axes, data: Data, *, vertical: bool) -> None:
    value = float(data["exponent"][0])
    (ax.axvline if vertical else ax.axhline)(value, color=style.FIT, linewidth=1.2)
    if "exponent_error" in data:
        half = 2 * float(data["exponent_error"][0])
        span = ax.axvspan if vertical else ax.axhspan
        span(value - half, value + half, color=style.FIT, alpha=style.BAND_ALPHA, linewidth=0)


def draw_removals(ax: Axes, data: Data) -> None:
    """The exponent as the worst runs are taken out one after the other, with its standard errors."""
    from matplotlib.ticker import MaxNLocator

    values, errors = data["removed_exponent"], data["removed_error"]
    at = np.arange(1, len(values) + 1)
    _exponent_of_all(ax, data, vertical=False)
    ax.errorbar(at, values, yerr=2 * errors, color=style.ACCENT, linewidth=1.2, elinewidth=1.0, zorder=2)
    marks.marks(ax, at, values, "o", markersize=5, zorder=3)
    ax.set_xlim(0.5, len(values) + 0.5)
    ax.set_xlabel(tr("runs far off taken out"))
    ax.set_ylabel(tr("exponent a (± 2 errors)"))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(_few_ticks())


# --- joint coefficients ---


def coefficient_panels(data: Data) -> list[Draw]:
    return [
        partial(draw_pair, x="alpha", y="beta", key=True),
        partial(draw_pair, x="alpha", y="A"),
        partial(draw_pair, x="a", y="E"),
    ]


def draw_pair(ax: Axes, data: Data, *, x: str, y: str, key: bool = False) -> None:
    """Refits of two coefficients, with the contours of a Gaussian, the fit, and published laws where they lie near.

    Args:
        key: name the marks, once for all panels: a law has the same mark in each.
    """
    draws = [_coefficient(data, "draw", name) for name in (x, y)]
    fit = [float(_coefficient(data, "fit", name)[0]) for name in (x, y)]
    shown = marks.thinned(draws[0], draws[1], MOST_DRAWS)
    ax.set_yscale("log" if y == "A" else "linear")
    dots: Any = {"markersize": 1.8, "alpha": 0.45, "markeredgewidth": 0}
    ax.plot(draws[0][shown], draws[1][shown], "o", color=style.FIT, zorder=1, **dots)
    if x == "alpha" and y == "beta":
        a = fit[1] / (fit[0] + fit[1])
        ends = np.quantile(draws[0], [0.002, 0.998])
        ax.plot(
            ends, ends * a / (1 - a), color=style.INK, linewidth=0.9, linestyle=style.EXTRAPOLATED, zorder=2
        )
    marks.marks(ax, [fit[0]], [fit[1]], markersize=6, edge=0.9, zorder=5, label=tr("fit"))
    symbols = {"alpha": r"$\alpha$", "beta": r"$\beta$", "a": tr("a of N*"), "A": "A", "E": "E"}
    ax.set_xlabel(symbols[x])
    ends_x, ends_y = _limits(draws[0]), _limits(draws[1], log=y == "A")
    ax.set_ylabel(symbols[y])
    inside = (draws[0] > ends_x[0]) & (draws[0] < ends_x[1]) & (draws[1] > ends_y[0]) & (draws[1] < ends_y[1])
    if inside.sum() > 2:  # refits on a bound, far off, would stretch the contours of all others
        _gaussian(ax, [draw[inside] for draw in draws], log=y == "A")
    _published(ax, data, (x, y), ends_x, ends_y)
    if beyond := int((~inside).sum()):
        marks.remark(ax, tr("{n} of {total} dots beyond the picture", n=beyond, total=len(inside)))
    if key:
        marks.key(ax)
    ax.xaxis.set_major_locator(_few_ticks())


def _coefficient(data: Data, of: str, name: str) -> Values:
    if name == "a":
        alpha, beta = data[f"{of}_alpha"], data[f"{of}_beta"]
        return np.asarray(beta / (alpha + beta))
    return np.asarray(data[f"{of}_{name}"], dtype=np.float64)


def _limits(values: Values, *, log: bool = False) -> tuple[float, float]:
    """Where nine in ten draws lie, and half of that beyond on each side: 99 in 100 of a Gaussian."""
    low, high = np.quantile(np.log(values) if log else values, [0.05, 0.95])
    room = 0.5 * (high - low)
    ends = (low - room, high + room)
    return (float(np.exp(ends[0])), float(np.exp(ends[1]))) if log else (float(ends[0]), float(ends[1]))


def _gaussian(ax: Axes, draws: list[Values], *, log: bool) -> None:
    """Contours that hold half and 95 % of a Gaussian with the covariance of the draws."""
    x, y = draws[0], np.log(draws[1]) if log else draws[1]
    centre, turn = np.array([x.mean(), y.mean()]), np.linspace(0, 2 * np.pi, 60)
    values, vectors = np.linalg.eigh(np.cov(x, y))
    circle = vectors @ (np.sqrt(np.maximum(values, 0))[:, None] * np.stack([np.cos(turn), np.sin(turn)]))
    for reach in (QUANTILES_50, QUANTILES_95):
        at = centre[:, None] + np.sqrt(reach) * circle
        ax.plot(at[0], np.exp(at[1]) if log else at[1], color=style.FIT, linewidth=1.1, zorder=3)


def _published(
    ax: Axes, data: Data, pair: tuple[str, str], xs: tuple[float, float], ys: tuple[float, float]
) -> None:
    """Marks of the published laws, those in or near the picture; how many lie outside is said."""
    ax.set_xlim(*xs)
    ax.set_ylim(*ys)
    names = [str(name)[:18] for name in data.get("other_law", ())]
    if not names:
        return
    x, y = (_coefficient(data, "other", name) for name in pair)
    inside = (x > xs[0]) & (x < xs[1]) & (y > ys[0]) & (y < ys[1])
    for marker, name, at_x, at_y, near in zip(SIGNS, names, x, y, inside, strict=False):
        at = ([at_x], [at_y]) if near else ([], [])  # named all the same: another panel may show it
        marks.marks(ax, *at, marker, colour=style.INK, markersize=6, zorder=4, label=name)
    if outside := int((~inside[: len(SIGNS)]).sum()):
        marks.remark(ax, tr("{n} published laws lie outside", n=outside))
