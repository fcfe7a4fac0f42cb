"""Panels of Approaches 1 and 2 and of the compute-optimal line: valleys, training curves, N*, D*, D*/N*, L* over C."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.plots import marks, style
from scaling.plots.marks import Label, Values
from scaling.translation import tr
from scaling.units import format_params

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    Draw = Callable[[Axes, "Data"], None]

Data = Mapping[str, NDArray[Any]]

ROOM = 8.0  # an axis ends this far beyond its values
STUB = 2.5  # times a minimum: how far an interval without an end is drawn
NARROW = 1.1  # inches of axes: no room for the names of other laws
MOST_SIZES = 6  # named on an envelope
RISE = 1.06  # an axis of loss ends so far beyond its values


def loss_label(data: Data) -> str:
    """'loss (nats/token)'; 'loss' alone where nobody knows the unit."""
    unit = str(data["loss_unit"][0]) if "loss_unit" in data else "nats/token"
    return tr("loss ({unit})", unit=unit) if "/" in unit else tr("loss")


# --- Approach 2 ---


def draw_valleys(ax: Axes, data: Data, *, x: str = "n_params") -> None:
    """Loss against model size (or tokens), one valley a budget, with its minimum and the minimum's interval."""
    colours = style.budget_colours(len(data["budget"]))
    ax.set_xscale("log")
    loss = data["run_loss"]
    ends = _loss_ends(np.append(marks.near_minima(data["run_budget"], loss), data["minimum_loss"]))
    ax.set_ylim(*ends)
    ax.set_ylabel(loss_label(data))
    labels = []
    for i, colour in enumerate(colours):
        _runs_of_budget(ax, data, i, colour, x)
        labels.append(_curve_of_budget(ax, data, i, colour, x))
    _minima(ax, data, x)
    shown = np.concatenate([data[f"run_{x}"], data[f"next_{x}"]])
    ax.set_xlim(np.nanmin(shown) / 1.2, np.nanmax(shown) * 1.2)
    style.quantity_axis(ax.xaxis, x, {"n_params": tr("parameters"), "n_tokens": tr("training tokens")}[x])
    marks.arrows(ax, data[f"run_{x}"], loss, ends)
    marks.label_ends(ax, labels)
    marks.key(ax)


def _loss_ends(loss: Values) -> tuple[float, float]:
    """The part of a loss axis to show: outliers, far beyond the quartiles, do not flatten the rest."""
    low, high = marks.fences(loss, log=True)
    room = 0.06 * (high - low) or 0.01 * high
    return low - room, high + room


def _runs_of_budget(ax: Axes, data: Data, i: int, colour: str, x: str) -> None:
    rows = data["run_budget"] == i
    refused = np.isnan(data["minimum_loss"][i])
    face, edge, width = (style.PAPER, colour, 0.9) if refused else (colour, style.PAPER, 0.3)
    look: Any = {
        "markerfacecolor": face,
        "markeredgecolor": edge,
        "markeredgewidth": width,
        "markersize": 3.2,
    }
    ax.plot(data[f"run_{x}"][rows], data["run_loss"][rows], "o", color=colour, zorder=3, **look)


def _curve_of_budget(ax: Axes, data: Data, i: int, colour: str, x: str) -> Label:
    """The fitted curve: solid over the runs, dashed on to a run to add, dotted where no minimum was found in it."""
    rows, runs = data["curve_budget"] == i, data["run_budget"] == i
    at, loss = data[f"curve_{x}"][rows], data["curve_loss"][rows]
    name = style.power_of_ten(float(f"{data['budget'][i]:.2g}"))
    if not np.isfinite(loss).any():
        return marks.end_in_view(ax, data[f"run_{x}"][runs], data["run_loss"][runs], name, colour)
    tried = data[f"run_{x}"][runs]
    inside = (at >= tried.min() * 0.999) & (at <= tried.max() * 1.001)
    refused = np.isnan(data["minimum_loss"][i])
    line = style.UNBOUNDED if refused else "-"
    ax.plot(at[inside], loss[inside], color=colour, linestyle=line, linewidth=1.1, zorder=2)
    if refused and np.isfinite(data["next_loss"][i]):
        beyond = np.where(inside, np.nan, loss)
        ax.plot(at, beyond, color=colour, linestyle=style.EXTRAPOLATED, linewidth=1.0, zorder=2)
        cross: Any = {"markersize": 5, "markeredgewidth": 1.3, "zorder": 4}
        first = i == np.flatnonzero(np.isfinite(data["next_loss"]))[0]
        name_once = tr("a run to add") if first else None
        ax.plot([data[f"next_{x}"][i]], [data["next_loss"][i]], "x", color=colour, label=name_once, **cross)
    if not inside.any():  # so few sizes that no point of the curve lies between them
        return marks.end_in_view(ax, tried, data["run_loss"][runs], name, colour)
    return marks.end_in_view(ax, at[inside], loss[inside], name, colour)


def _minima(ax: Axes, data: Data, x: str) -> None:
    """Diamonds at the minima; bars are their intervals, an end beyond the runs is cut there, with an arrow."""
    told: set[str] = set()  # names that the key has already

    def once(name: str) -> str | None:
        new = name not in told
        told.add(name)
        return name if new else None

    for i in np.flatnonzero(np.isfinite(data["minimum_loss"])):
        low, high = data[f"minimum_{x}_low"][i], data[f"minimum_{x}_high"][i]
        loss, tried = data["minimum_loss"][i], data[f"run_{x}"][data["run_budget"] == i]
        ends = [max(low, tried.min()), min(high, tried.max())]
        for cut, end, arrow in ((low < ends[0], ends[0], "<"), (high > ends[1], ends[1], ">")):
            if cut:
                beyond = once(tr("goes on beyond the runs"))
                ax.plot([end], [loss], arrow, color=style.ACCENT, markersize=5, zorder=5, label=beyond)
        is_open = not (np.isfinite(high) and low > 0)
        look: Any = {"linewidth": 1.8, "zorder": 5}
        if is_open:
            look |= {"linestyle": style.UNBOUNDED, "label": once(tr("interval without an end"))}
        ax.plot(ends, [loss] * 2, color=style.PAPER, linewidth=3.4, zorder=4.8)
        ax.plot(ends, [loss] * 2, color=style.ACCENT, **look)
        name = once(tr("minimum, {level:g} %", level=100 * data["level"][0]))
        # a dark rim: in grey the accent is no other than the small budgets
        marks.marks(
            ax,
            [data[f"minimum_{x}"][i]],
            [loss],
            markersize=5.2,
            edge=0.9,
            rim=style.INK,
            zorder=6,
            label=name,
        )


# --- Approach 1 ---


def draw_envelope(ax: Axes, data: Data) -> None:
    """Training curves, thin, under their lower envelope, coloured by the size that wins there."""
    ax.set_xscale("log")
    flops, loss, best = data["envelope_flops"], data["envelope_loss"], data["envelope_n_params"]
    if "curve_flops" in data:
        _training_curves(ax, data)
    sizes = np.unique(best)
    labels = []
    named = np.unique(np.linspace(0, len(sizes) - 1, min(len(sizes), MOST_SIZES)).astype(int))
    for i, (size, colour) in enumerate(zip(sizes, style.budget_colours(len(sizes)), strict=True)):
        won = np.where(best == size, loss, np.nan)
        ax.plot(flops, won, color=colour, linewidth=2.6, solid_capstyle="butt", zorder=3)
        if i in named:
            rows = np.flatnonzero(best == size)
            middle = rows[len(rows) // 2]
            labels.append(Label(flops[middle], loss[middle], format_params(float(size), 2), colour))
    marks.marks(ax, data["crossing_flops"], data["crossing_loss"], markersize=4.6, edge=0.8, zorder=4,
                label=tr("the best size changes"))  # fmt: skip
    ax.set_ylim(loss.min() / 1.04, loss.max() * RISE)
    ax.set_xlim(flops.min() / 1.2, flops.max() * 1.2)
    style.flops_axis(ax.xaxis, tr("training compute (FLOPs)"))
    style.loss_axis(ax.yaxis, loss_label(data))
    for label in labels:  # above their stretch of the envelope, where no other curve can be lower
        ax.annotate(label.text, (label.x, label.y), (0, -3), textcoords="offset points", ha="right", va="top",
                    color=label.colour, fontsize=style.small())  # fmt: skip
    if len(np.unique(data.get("curve_run", []))) < data.get("n_curves", [0])[0]:
        n, total = len(np.unique(data["curve_run"])), int(data["n_curves"][0])
        marks.remark(ax, tr("{n:,} of {total:,} curves drawn", n=n, total=total))
    marks.key(ax)


def _training_curves(ax: Axes, data: Data) -> None:
    from matplotlib.collections import LineCollection

    run = data["curve_run"]
    points = np.column_stack([data["curve_flops"], data["curve_loss"]])
    segments = np.split(points, np.flatnonzero(np.diff(run)) + 1)
    ax.add_collection(LineCollection(segments, colors=style.MUTED, linewidths=0.5, alpha=0.6, zorder=1))


# --- the compute-optimal line ---


def optimum_panels(data: Data) -> list[Draw]:
    """A panel for each quantity that the data holds."""
    return [
        partial(draw_optimum, quantity=q) for q in ("n_params", "n_tokens", "tokens_per_param") if q in data
    ] + ([draw_optimal_loss] if "loss" in data else [])


def draw_optimum(ax: Axes, data: Data, *, quantity: str = "n_params") -> None:
    """N*(C) or D*(C) with its band; dashed beyond `fitted_flops`, the ends of the runs' compute."""
    flops, value = data["flops"], data[quantity]
    ax.set_yscale("log")
    last = data["fitted_flops"][-1] if "fitted_flops" in data else np.inf
    low, high = _band(ax, data, quantity)
    others = f"other_{quantity}" in data and style.inches(ax)[0] >= NARROW
    if others:
        _other_lines(ax, data, quantity)
    marks.known_then_beyond(ax, flops, value, last, linewidth=1.8)
    _points(ax, data, quantity)
    known = value[np.isfinite(value)]
    if len(known):
        shown = np.concatenate([
            value, data.get(f"point_{quantity}", value[:0]), low, high, data.get(f"other_{quantity}", value[:0])
        ])  # fmt: skip
        shown = np.clip(shown, known.min() / ROOM, known.max() * ROOM)
        ax.set_ylim(np.nanmin(shown) / 1.2, np.nanmax(shown) * 1.2)
        ax.set_xlim(np.nanmin(flops) / 1.3, np.nanmax(flops))
    _target(ax, data, quantity)
    _compute_axis(ax)
    names = {"n_params": tr("optimal parameters N*"), "n_tokens": tr("optimal tokens D*"),
             "tokens_per_param": tr("tokens per parameter D*/N*")}  # fmt: skip
    style.quantity_axis(ax.yaxis, quantity, names[quantity])
    if others:
        marks.label_ends(ax, _names_of_others(data, quantity))
    marks.key(ax)


def _compute_axis(ax: Axes) -> None:
    style.flops_axis(ax.xaxis, tr("training compute (FLOPs)"))


def _band(ax: Axes, data: Data, quantity: str) -> tuple[Values, Values]:
    """The stated interval, where there is one; its ends."""
    none = data[quantity][:0]
    low, high = (data.get(f"{quantity}_{end}", none) for end in ("low", "high"))
    if quantity != "loss":
        low, high = marks.clipped_ends(low), marks.clipped_ends(high)
    if np.isfinite(low).any() and np.isfinite(high).any():
        told = tr("{percent:g} % band", percent=100 * data["level"][0]) if "level" in data else tr("band")
        marks.band(ax, data["flops"], low, high, label=told)
    return low, high


def _points(ax: Axes, data: Data, quantity: str) -> None:
    """What was measured, with its interval; one without an end as a dotted stub, or it would cross the picture."""
    points = data.get(f"point_{quantity}", ())
    if not len(points):
        return
    low, high = (data.get(f"point_{quantity}_{end}") for end in ("low", "high"))
    told = False
    for i, (flops, value) in enumerate(zip(data["point_flops"], points, strict=True)):
        if low is None or high is None or np.isnan(low[i]):
            continue
        bounded = low[i] > 0 and np.isfinite(high[i])
        room = ROOM if bounded else STUB
        ends = [max(low[i], value / room), min(high[i], value * room)]
        name = None if bounded or told else tr("interval without an end")
        told = told or not bounded
        line = "-" if bounded else style.UNBOUNDED
        ax.plot([flops] * 2, ends, color=style.ACCENT, linewidth=1.3, linestyle=line, zorder=3, label=name)
    marks.marks(
        ax, data["point_flops"], points, label=tr("minima of the runs"), markersize=4.8, edge=0.8, zorder=4
    )


def _other_laws(data: Data) -> list[str]:
    return list(dict.fromkeys(data["other_law"])) if "other_law" in data else []


def _other_lines(ax: Axes, data: Data, quantity: str) -> None:
    for name, dashes in zip(_other_laws(data), style.DASHES, strict=False):
        rows = data["other_law"] == name
        look: Any = {"color": style.MUTED, "linewidth": 0.9, "linestyle": dashes, "zorder": 1.5}
        ax.plot(data["other_flops"][rows], data[f"other_{quantity}"][rows], **look)


def _names_of_others(data: Data, quantity: str) -> list[Label]:
    """Each other law's name at the end of its line, and this law's."""
    labels = []
    for name in _other_laws(data):
        last = np.flatnonzero(data["other_law"] == name)[-1]
        at = data["other_flops"][last], data[f"other_{quantity}"][last]
        labels.append(Label(*at, str(name)[:22], style.MUTED))
    return [*labels, Label(data["flops"][-1], data[quantity][-1], tr("this fit"), style.FIT)]


def _target(ax: Axes, data: Data, quantity: str) -> None:
    """The budget that is planned for: a hollow star with its interval, and the compute it stands at."""
    if f"target_{quantity}" not in data:
        return
    flops, value = data["target_flops"][0], data[f"target_{quantity}"][0]
    ax.axvline(flops, color=style.ACCENT, linewidth=0.8, linestyle=style.UNBOUNDED, zorder=1)
    if f"target_{quantity}_low" in data:
        ends = [data[f"target_{quantity}_{end}"][0] for end in ("low", "high")]
        ax.plot(
            [flops] * 2,
            np.clip(ends, value / ROOM, value * ROOM),
            color=style.ACCENT,
            linewidth=1.8,
            zorder=5,
        )
    look: Any = {"markersize": 9, "markerfacecolor": style.PAPER, "markeredgecolor": style.ACCENT}
    ax.plot(
        [flops], [value], "*", color=style.ACCENT, markeredgewidth=1.3, zorder=6, label=tr("target"), **look
    )


def draw_optimal_loss(ax: Axes, data: Data) -> None:
    """L*(C) with its band, over the losses of the runs."""
    flops, loss = data["flops"], data["loss"]
    last = data["fitted_flops"][-1] if "fitted_flops" in data else np.inf
    low, high = data.get("loss_low"), data.get("loss_high")
    if low is not None and high is not None and np.isfinite(low).all() and np.isfinite(high).all():
        _band(ax, data, "loss")
    seen = data.get("run_loss", loss[:0])
    top = marks.fences(seen, log=True)[1] if len(seen) else float(np.nanmax(loss))
    bottom = min(float(np.nanmin(loss)), float(seen.min()) if len(seen) else np.inf)
    ends = bottom / 1.02, max(top, float(np.nanmax(loss))) * 1.02
    ax.set_ylim(*ends)
    ax.set_xscale("log")
    _compute_axis(ax)
    if len(seen):
        within = seen <= ends[1]
        marks.runs(ax, data["run_flops"][within], seen[within], colour=style.MUTED, label=tr("runs"))
    marks.known_then_beyond(ax, flops, loss, last, linewidth=1.8, zorder=4)
    if "point_loss" in data:
        marks.marks(ax, data["point_flops"], data["point_loss"], label=tr("minima of the runs"), zorder=5)
    ax.set_xlim(min(flops.min(), data.get("run_flops", flops).min()) / 1.3, flops.max())
    _target(ax, data, "loss")
    ax.set_ylim(*ends)
    _compute_axis(ax)
    if len(seen):
        marks.arrows(ax, data["run_flops"], seen, ends)
        marks.told_thinned(ax, len(seen))
    style.loss_axis(ax.yaxis, loss_label(data))
    marks.key(ax)
