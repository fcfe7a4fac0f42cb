"""Panels of plans, audits and sweeps: the cost of leaving the optimum, trained models, where a sweep stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.plots import marks, style
from scaling.plots.marks import Label
from scaling.plots.optimum import Data
from scaling.translation import tr
from scaling.units import format_params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 20  # sizes, which are then marked: the line between them is no curve
HIGHEST = 100.0  # per cent of extra compute; beyond that no one would go
MOST_NAMED = 14  # models
SIGNS = {"under-trained": "^", "near-optimal": "o", "over-trained": "v"}
STATES = (("finished", "o"), ("under way", "D"), ("open", "s"), ("failed", "X"))


def draw_off_optimum(ax: Axes, data: Data) -> None:
    """The cost of leaving the optimum, in per cent, over model size."""
    best = data["optimum"][:1]
    added = best[~np.isin(best, data["n_params"])]  # where it costs nothing
    n_params, extra = np.append(data["n_params"], added), np.append(data["extra_compute"], 0 * added)
    order = np.argsort(n_params, kind="stable")
    n_params, percent = n_params[order], 100 * extra[order]
    _interval(ax, data)
    if "extra_compute_low" in data:
        ends = (np.clip(100 * np.append(data[f"extra_compute_{end}"], 0 * added)[order], 0, 10 * HIGHEST)
                for end in ("low", "high"))  # fmt: skip
        marks.band(ax, n_params, *ends)
    ax.plot(n_params, percent, color=style.FIT, linewidth=1.8, label=tr("at equal loss"))
    if len(n_params) <= FEW:
        marks.marks(ax, n_params, percent, "o", colour=style.FIT, zorder=3)
    if "wasted_compute" in data:
        ax.plot(data["n_params"], 100 * data["wasted_compute"], color=style.ACCENT, linestyle=style.DASHES[2],
                linewidth=1.6, label=tr("wasted at equal compute"))  # fmt: skip
    ax.set_ylim(0, HIGHEST)
    if len(n_params):
        ax.set_xlim(n_params.min(), n_params.max())
    for size in best:
        ax.axvline(size, color=style.INK, linewidth=0.9)
        ax.annotate(f"N* = {format_params(float(size))}", (size, 1), xycoords=("data", "axes fraction"),
                    xytext=(3, -3), textcoords="offset points", fontsize=style.small(), ha="left",
                    va="top")  # fmt: skip
    style.params_axis(ax.xaxis, tr("parameters"))
    ax.set_ylabel(
        tr("lifetime compute (%)") if data.get("lifetime", [0])[0] else tr("extra training compute (%)")
    )
    if "other_n_params" in data:
        others = data["other_n_params"]
        ax.plot(others, [0.02] * len(others), "|", color=style.INK, markersize=7, markeredgewidth=1.2,
                transform=ax.get_xaxis_transform(), label=tr("N* of other published laws"))  # fmt: skip
    marks.key(ax)


def _interval(ax: Axes, data: Data) -> None:
    """The interval of N*."""
    if "optimum_low" in data:
        told = tr("{level:g} % interval of N*", level=100 * data["level"][0])
        ends = data["optimum_low"][0], data["optimum_high"][0]
        ax.axvspan(*ends, color=style.MUTED, alpha=0.22, linewidth=0, label=told)


def draw_audit(ax: Axes, data: Data) -> None:
    """Trained models in compute and size over the line of the optimal size: above it too large, below too small."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    if "line_low" in data:
        ends = (marks.clipped_ends(data[f"line_{end}"]) for end in ("low", "high"))
        marks.band(ax, data["line_flops"], *ends, label=tr("{level:g} % band", level=100 * data["level"][0]))
    ax.plot(
        data["line_flops"], data["line_n_params"], color=style.FIT, linewidth=1.8, label=tr("N* of the law")
    )
    rule = {"color": style.MUTED, "linewidth": 1.0, "linestyle": style.EXTRAPOLATED}
    ax.plot(data["line_flops"], data["rule_n_params"], label=tr("20 tokens per parameter"), **rule)
    flops, n_params, verdicts = data["flops"], data["n_params"], data["verdict"]
    names = {"under-trained": tr("under-trained"), "near-optimal": tr("near-optimal"),
             "over-trained": tr("over-trained")}  # fmt: skip
    for verdict, marker in SIGNS.items():
        rows = verdicts == verdict
        colour = style.INK if verdict == "near-optimal" else style.ACCENT
        if rows.any():
            told = names[verdict]
            marks.marks(
                ax, flops[rows], n_params[rows], marker, colour=colour, markersize=6, zorder=4, label=told
            )
    ax.set_xlim(data["line_flops"].min(), data["line_flops"].max())
    shown = np.concatenate([n_params, data["line_n_params"]])
    ax.set_ylim(shown.min() / 1.4, shown.max() * 1.4)
    style.flops_axis(ax.xaxis, tr("training compute (FLOPs)"))
    style.params_axis(ax.yaxis, tr("parameters"))
    chosen = np.arange(len(flops))
    if len(flops) > MOST_NAMED:  # those furthest from the line
        chosen = np.argsort(-np.abs(np.log(data["size_ratio"])), kind="stable")[:MOST_NAMED]
        marks.remark(ax, tr("{n} of {total} models named", n=MOST_NAMED, total=len(flops)))
    labels = [Label(float(flops[i]), float(n_params[i]), str(data["model"][i])[:22]) for i in chosen]
    marks.label_ends(ax, labels)
    marks.key(ax)


def draw_sweep(ax: Axes, data: Data) -> None:
    """The runs of a sweep in compute and size, by what became of them."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    names = {
        "finished": tr("finished"),
        "under way": tr("under way"),
        "open": tr("not begun"),
        "failed": tr("failed"),
    }
    colours = {"finished": style.FIT, "under way": style.ACCENT, "open": style.MUTED, "failed": style.INK}
    for state, marker in STATES:
        rows = data["state"] == state
        if rows.any():
            told = f"{names[state]}: {int(rows.sum())}"
            look: Any = {"markerfacecolor": style.PAPER} if state == "open" else {}
            edge = colours[state] if state == "open" else style.PAPER
            ax.plot(data["flops"][rows], data["n_params"][rows], marker, color=colours[state], label=told,
                    markersize=5.5, markeredgecolor=edge, markeredgewidth=0.9, **look)  # fmt: skip
    for name in ("flops", "n_params"):
        values = data[name]
        (ax.set_xlim if name == "flops" else ax.set_ylim)(values.min() / 1.5, values.max() * 1.5)
    style.flops_axis(ax.xaxis, tr("training compute (FLOPs)"))
    style.params_axis(ax.yaxis, tr("parameters"))
    marks.key(ax)
