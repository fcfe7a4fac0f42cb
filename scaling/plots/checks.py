"""Panels that say how far to trust a law: predicted against seen, error by cut-off, rolling exponent, other laws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.plots import marks, style
from scaling.plots.optimum import Data, loss_label
from scaling.translation import tr
from scaling.units import format_params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scaling.plots.optimum import Draw

MANY_NAMES = 14  # down the side: they take the smallest letters
MOST_BARS = 200  # intervals of single runs: more are a smear
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def hold_out_panels(data: Data) -> list[Draw]:
    return [draw_predicted, *([draw_errors] if len(data["cut_flops"]) > 1 else [])]


def draw_predicted(ax: Axes, data: Data) -> None:
    """Predicted against measured loss, with intervals; on the line the prediction is right."""
    known = np.isfinite(data["run_loss"])
    if not known.any():
        draw_planned(ax, data)
        return
    seen, predicted = data["run_loss"][known], data["run_predicted"][known]
    low, high = marks.fences(np.concatenate([seen, predicted]), log=True)
    room = 0.05 * (high - low) or 0.01 * high
    ends = low - room, high + room
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.plot(ends, ends, color=style.INK, linewidth=0.9, label=tr("right"))
    if "run_low" in data and len(seen) <= MOST_BARS:
        below, above = data["run_low"][known], data["run_high"][known]
        told = tr("{level:g} % interval", level=100 * data["level"][0])
        ax.vlines(seen, np.maximum(below, 1e-9), np.minimum(above, 1e9), color=style.FIT, linewidth=0.9,
                  alpha=0.55, label=told)  # fmt: skip
    within = (seen <= ends[1]) & (predicted <= ends[1]) & (seen >= ends[0]) & (predicted >= ends[0])
    marks.runs(ax, seen[within], predicted[within], colour=style.ACCENT, size=3.6, zorder=3, label=tr("run"))
    ax.set_xlabel(tr("measured {loss}", loss=loss_label(data)))
    ax.set_ylabel(tr("predicted {loss}", loss=loss_label(data)))
    marks.told_thinned(ax, int(within.sum()))
    if n := int((~within).sum()):
        marks.remark(ax, tr("{n} of {total} runs beyond the picture", n=n, total=len(seen)))
    marks.key(ax)


def prediction_panels(data: Data) -> list[Draw]:
    """Where there are losses, the errors, on whose scale they can be read, and then the losses."""
    measured = np.isfinite(data["run_loss"]).any()
    return [draw_prediction_errors, draw_predicted] if measured else [draw_predicted]


def draw_prediction_errors(ax: Axes, data: Data) -> None:
    """Predicted over measured loss, per cent, with the interval of each run: on zero the prediction is right."""
    known = np.isfinite(data["run_loss"])
    name, x, seen = str(data["quantity"][0]), data["run_x"][known], data["run_loss"][known]
    percent = 100 * (data["run_predicted"][known] / seen - 1)
    low, high = marks.fences(percent)
    ax.set_xscale("log")
    ax.axhline(0, color=style.INK, linewidth=0.9, label=tr("right"))
    if "run_low" in data and len(seen) <= MOST_BARS:
        below, above = (100 * (data[f"run_{end}"][known] / seen - 1) for end in ("low", "high"))
        low, high = min(low, marks.fences(below)[0]), max(high, marks.fences(above)[1])
        ax.vlines(x, np.maximum(below, -100), np.minimum(above, 1e9), color=style.FIT, linewidth=0.9, alpha=0.55,
                  label=tr("{level:g} % interval", level=100 * data["level"][0]))  # fmt: skip
    room = 0.08 * (high - low) or 0.1
    ends = min(low, 0.0) - room, max(high, 0.0) + room
    ax.set_ylim(*ends)
    marks.runs(ax, x, percent, colour=style.ACCENT, size=3.6, zorder=3, label=tr("run"))
    ax.set_xlim(x.min() / 1.2, x.max() * 1.2)
    names = {"n_params": tr("parameters"), "n_tokens": tr("training tokens"),
             "flops": tr("training compute (FLOPs)")}  # fmt: skip
    style.quantity_axis(ax.xaxis, name, names[name])
    ax.set_ylabel(tr("predicted / measured − 1 (%)"))
    marks.arrows(ax, x, percent, ends, " %")
    marks.told_thinned(ax, len(x))
    marks.key(ax)


def draw_planned(ax: Axes, data: Data) -> None:
    """The predicted losses of runs that have none yet, over compute."""
    name, x, loss = str(data["quantity"][0]), data["run_x"], data["run_predicted"]
    if "run_low" in data:
        low, high = (np.clip(data[f"run_{end}"], 1e-9, 1e9) for end in ("low", "high"))
        ax.vlines(x, low, high, color=style.FIT, linewidth=0.9, alpha=0.6,
                  label=tr("{level:g} % interval", level=100 * data["level"][0]))  # fmt: skip
    marks.runs(ax, x, loss, colour=style.ACCENT, size=3.6, zorder=3, label=tr("planned run"))
    ax.set_xscale("log")
    if x.min() < x.max():
        ax.set_xlim(x.min() / 1.2, x.max() * 1.2)
    names = {"n_params": tr("parameters"), "n_tokens": tr("training tokens"),
             "flops": tr("training compute (FLOPs)")}  # fmt: skip
    style.quantity_axis(ax.xaxis, name, names[name])
    ax.set_ylabel(tr("predicted {loss}", loss=loss_label(data)))
    marks.told_thinned(ax, len(x))
    marks.key(ax)


def draw_errors(ax: Axes, data: Data) -> None:
    """Error on the held-out runs against the cut-off: mean and largest, with the share inside their interval."""
    x, mean, largest = (
        data[f"cut_{name}"] for name in ("flops", "mean_error_percent", "largest_error_percent")
    )
    ax.set_xscale("log")
    ax.vlines(x, mean, largest, color=style.MUTED, linewidth=0.9)
    ax.plot(x, largest, "v", color=style.MUTED, label=tr("largest error"))
    ax.plot(x, mean, "o-", color=style.FIT, label=tr("mean absolute error"))
    top = marks.fences(largest)[1]
    ax.set_ylim(0, 1.25 * top)
    inside = data["cut_inside_fraction"]
    for at, height, share in zip(x, largest, inside, strict=True):
        if np.isfinite(share) and height <= top:
            ax.annotate(f"{100 * share:.0f} %", (at, height), (0, 5), textcoords="offset points", ha="center",
                        fontsize=style.small(), color=style.INK)  # fmt: skip
    ax.set_xlim(x.min() / 1.5, x.max() * 1.5)
    style.flops_axis(ax.xaxis, tr("fitted on runs up to (FLOPs)"))
    ax.set_ylabel(tr("error on dearer runs (%)"))
    if np.isfinite(inside).any():
        said = tr("on top: share inside their {level:g} % interval", level=100 * data["level"][0])
        marks.remark(ax, said)
    marks.arrows(ax, x, largest, (0.0, 1.25 * top), " %")
    marks.key(ax)


def draw_drift(ax: Axes, data: Data) -> None:
    """The exponent a of N* ~ C^a against the cut-off, and that of all runs, with its interval."""
    x, y = data["cut_flops"], data["cut_exponent"]
    if "exponent_low" in data:
        told = tr("all runs, {level:g} %", level=100 * data["level"][0])
        ends = data["exponent_low"][0], data["exponent_high"][0]
        ax.axhspan(*ends, color=style.FIT, alpha=style.BAND_ALPHA, linewidth=0, label=told)
    ax.set_xscale("log")
    ax.plot(x, y, "o-", color=style.FIT, label=tr("runs up to the cut-off"))
    marks.marks(ax, x[-1:], y[-1:], markersize=6, edge=0.9, zorder=4, label=tr("all runs"))
    ax.set_xlim(x.min() / 1.5, x.max() * 1.5)
    style.flops_axis(ax.xaxis, tr("fitted on runs up to (FLOPs)"))
    ax.set_ylabel(tr("exponent a of N*"))
    marks.key(ax)


def draw_comparison(ax: Axes, data: Data) -> None:
    """N* at the target budget under each law and objective, best predictor on top, with its hold-out error."""
    laws, objectives, x = data["law"], data["objective"], data["n_params"]
    at = np.arange(len(x))[::-1]
    ax.set_xscale("log")
    ax.axvspan(x.min(), x.max(), color=style.FIT, alpha=style.BAND_ALPHA, linewidth=0)
    signs: dict[str, Any] = dict(zip(sorted(set(laws)), MARKERS, strict=False))
    for i, height in enumerate(at):
        look: Any = {"color": style.ACCENT if i == 0 else style.FIT, "markersize": 6}
        ax.plot([x[i]], [height], signs.get(laws[i], "o"), **look)
        if np.isfinite(data["held_out_error_percent"][i]):
            error = f"{data['held_out_error_percent'][i]:.2f} %"
            ax.annotate(error, (1.02, height), xycoords=("axes fraction", "data"), va="center",
                        fontsize=style.small(), annotation_clip=False)  # fmt: skip
    ax.set_yticks(at, [f"{law}, {objective}" for law, objective in zip(laws, objectives, strict=True)])
    ax.set_ylim(-0.6, len(x) - 0.4)
    room = max(1.1, (x.max() / x.min()) ** 0.1)
    ax.set_xlim(x.min() / room, x.max() * room)
    ax.grid(axis="y", visible=False)
    flops = style.power_of_ten(float(f"{data['target_flops'][0]:.2g}"))
    style.params_axis(ax.xaxis, tr("N* at {flops} FLOPs", flops=flops))
    marks.remark(ax, tr("on the right: hold-out error; on top the best"))


def draw_spread(ax: Axes, data: Data) -> None:
    """What each published law answers, by rising size, this plan's own on top; the band is its interval."""
    names, x = list(data["law"]), data["n_params"]
    at = np.arange(len(x))
    ax.set_xscale("log")
    own = float(data["own_n_params"][0])
    if "own_low" in data:
        ends = data["own_low"][0], data["own_high"][0]
        told = tr("{level:g} % interval of this plan", level=100 * data["level"][0])
        ax.axvspan(
            *np.clip(ends, own / 30, own * 30),
            color=style.FIT,
            alpha=style.BAND_ALPHA,
            linewidth=0,
            label=told,
        )
    if "papers_low" in data:
        half = {"color": style.ACCENT, "linewidth": 1.0, "linestyle": style.EXTRAPOLATED}
        ax.axvline(data["papers_low"][0], label=tr("half of the other papers"), **half)
        ax.axvline(data["papers_high"][0], **half)
    ax.axvline(own, color=style.FIT, linewidth=1.4, label=tr("this plan, {n}", n=format_params(own)))
    inside = data["inside"] > 0
    for rows, face, told in ((inside, style.ACCENT, tr("asked inside its runs' range")),
                             (~inside, style.PAPER, tr("extrapolated"))):  # fmt: skip
        if rows.any():
            look: Any = {"markerfacecolor": face, "markeredgecolor": style.ACCENT, "markersize": 4.6}
            ax.plot(x[rows], at[rows], "o", color=style.ACCENT, zorder=3, label=told, **look)
    ax.set_yticks(at, [str(name) for name in names])
    ax.tick_params(axis="y", length=0, labelsize=style.LEAST_FONT if len(x) > MANY_NAMES else None)
    ax.set_ylim(-0.7, len(x) - 0.3)
    low, high = min(x.min(), own), max(x.max(), own)
    ax.set_xlim(low / 1.3, high * 1.3)
    ax.grid(axis="y", visible=False)
    style.params_axis(ax.xaxis, tr("parameters N*"))
    marks.key(ax)
