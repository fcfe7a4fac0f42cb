"""Compute-optimal size, tokens or loss against compute, with the band and the minima behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from scaling.arguments import require_kind, require_known, require_numbers
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import UsageError
from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.laws.base import Law, OptimumBand
from scaling.plots import style
from scaling.plots.figures import ROOM, clipped
from scaling.reference.published import LawLike, resolve_law

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Quantity = Literal["n_params", "n_tokens", "loss"]
LABELS = {"n_params": "optimal parameters N*", "n_tokens": "optimal tokens D*"}
TITLES = {"n_params": "Optimal size", "n_tokens": "Optimal tokens", "loss": "Loss at the optimum"}
BEYOND = 1000.0  # how far past the runs the line goes, unless told
GRID_POINTS = 60
ASKED_POINTS = 13  # a fit is asked for its interval at so many budgets: 5 ms each
STUB = 2.5  # times a minimum: how far an interval without an end is drawn


def plot_frontier(
    fit: LawLike,
    *,
    quantity: Quantity = "n_params",
    to_flops: float | None = None,
    others: Sequence[LawLike] = (),
    ax: Axes | None = None,
) -> Axes:
    """N*(C), D*(C) or L*(C): solid where there were runs, dashed beyond, with the stated band.

    Args:
        fit: any fit, whose minima are drawn too, or a law: its published name, its file, or itself.
        to_flops: right end; 1000 times the largest fitted budget unless given.
        others: laws drawn thin for comparison, labelled by their provenance: ("hoffmann", "kaplan").
    Conclude: how far does the band widen at the budget you plan for?
    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_frontier("besiroglu", to_flops=1e26, others=["hoffmann", "kaplan"])
    """
    require_known("quantity", quantity, get_args(Quantity))
    require_numbers(or_none=True, to_flops=to_flops)
    require_kind("others", others, (list, tuple), 'Give laws: ("hoffmann", "kaplan").')
    law, compared = resolve_law(fit), [resolve_law(other) for other in others]
    fit = fit if hasattr(fit, "law") else law
    low, high = _range(law)
    end = BEYOND * high if to_flops is None else to_flops
    if not end > low:
        raise UsageError(f"the frontier is drawn from {low:.3g} FLOPs upwards; got to_flops={end:.3g}.")
    whole = np.geomspace(low, end, GRID_POINTS)
    with style.axes_or_new(ax) as ax:
        style.flops_axis(ax.xaxis)
        if quantity != "loss":
            ax.set_yscale("log")
        draw_band(ax, fit, quantity, whole)
        draw_optimum(ax, law, (low, high, end), quantity=quantity, label=_label(fit, quantity))
        for other, shade in zip(compared, ("0.35", "0.5", "0.62", "0.72"), strict=False):
            name = other.provenance.name if other.provenance else other.family.name
            ax.plot(whole, _values(other, quantity, whole), color=shade, linewidth=0.9, label=name)
        if quantity != "loss":  # else an infinite end of a band would flatten the line
            line = _values(law, quantity, whole[[0, -1]])
            bottom, top = ax.get_ylim()
            ax.set_ylim(max(bottom, line.min() / ROOM), min(top, line.max() * ROOM))
        _points(ax, fit, quantity)
        if quantity == "loss":
            ax.set_ylabel(f"{style.loss_label(fit)} at the optimum")
        else:
            style.quantity_axis(ax.yaxis, quantity, LABELS[quantity])
        ax.set_xlim(low / 1.6, end)
        ax.set_title(TITLES[quantity])
        ax.legend(loc="upper left" if quantity != "loss" else "upper right")
        return ax


def draw_optimum(
    ax: Axes, law: Law, flops: tuple[float, float, float], *, quantity: Quantity = "n_params", **look: Any
) -> None:
    """The line of a law from the first budget: solid to the second, where there were runs, dashed to the last."""
    low, high, end = flops
    x = style.points_along(low, high, end, GRID_POINTS)
    style.known_then_beyond(ax, x, _values(law, quantity, x), high, **look)


def _range(law: Law) -> tuple[float, float]:
    known = law.provenance.fitted_range.get("flops") if law.provenance else None
    return known or (1e18, 1e21)


def _values(law: Law, quantity: Quantity, flops: np.ndarray) -> np.ndarray:
    values = [getattr(law.allocate(float(c)), quantity) for c in flops]
    if any(v is None for v in values):
        known = "this law knows the compute-optimal split but not its loss"
        raise UsageError(f"{known}; draw n_params or n_tokens.")
    return np.array(values, dtype=np.float64)


def draw_band(ax: Axes, fit: Any, quantity: Quantity, flops: np.ndarray, **look: Any) -> None:
    """The stated band: of the fit where it answers for any budget, else the law's own, interpolated in log C."""
    law: Law = fit if isinstance(fit, Law) else fit.law
    if getattr(fit, "spread", None) is not None:
        flops = np.geomspace(flops[0], flops[-1], ASKED_POINTS)
        intervals = [fit.interval(quantity, flops=float(c)) for c in flops]
        low, high = np.array([i.low for i in intervals]), np.array([i.high for i in intervals])
        level = fit.level
    elif law.uncertainty is not None and law.uncertainty.band is not None:
        low, high = _law_band(law.uncertainty.band, quantity, flops)
        level = law.uncertainty.level
    else:
        return
    if quantity != "loss":
        low, high = clipped(low), clipped(high)
    elif np.isinf(low).any() or np.isinf(high).any():
        return
    style.band(ax, flops, low, high, label=f"{100 * level:g} % band", **look)


def _law_band(band: OptimumBand, quantity: Quantity, flops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the band; NaN, which is not drawn, at budgets for which the law states none."""

    def at(values: Iterable[float]) -> np.ndarray:
        x = np.log10(flops)
        return np.asarray(np.interp(x, band.log10_flops, list(values), left=math.nan, right=math.nan))

    if quantity == "loss":
        return at(band.loss_low), at(band.loss_high)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.exp(at(np.log(band.n_params_low))), np.exp(at(np.log(band.n_params_high)))
        if quantity == "n_params":
            return low, high
        return flops / (FLOPS_PER_PARAM_TOKEN * high), flops / (FLOPS_PER_PARAM_TOKEN * low)


def _points(ax: Axes, fit: Any, quantity: Quantity) -> None:
    look: dict[str, Any] = {"edge": 0.5, "zorder": 4}
    if isinstance(fit, EnvelopeFit) and quantity != "loss":
        y = fit.crossing_n_params if quantity == "n_params" else fit.crossing_n_tokens
        # the law's C, whatever the table counts
        x = FLOPS_PER_PARAM_TOKEN * fit.crossing_n_params * fit.crossing_n_tokens
        style.marks(ax, x, y, label="change of the best size", **look)
    if not isinstance(fit, IsoflopFit):
        return
    low_edge, high_edge = ax.get_ylim()
    drawn = [low_edge, high_edge]
    told = False
    for i, budget in enumerate(fit.used):
        estimate = getattr(budget, quantity)
        assert budget.n_params is not None
        assert budget.n_tokens is not None
        flops = FLOPS_PER_PARAM_TOKEN * budget.n_params.value * budget.n_tokens.value  # the law's C, as above
        ends = [estimate.interval.low, estimate.interval.high]
        bounded = ends[0] > 0 and math.isfinite(ends[1])
        if quantity == "loss":
            ends = [max(ends[0], low_edge), min(ends[1], high_edge)]
        else:  # an interval without an end as a stub, or it would cross the whole picture
            room = ROOM if bounded else STUB
            ends = [max(ends[0], estimate.value / room), min(ends[1], estimate.value * room)]
            drawn += ends
        line: Any = "-" if bounded else style.UNBOUNDED
        name = None if bounded or told else "interval without an end"
        told = told or not bounded
        ax.plot([flops] * 2, ends, color=style.ACCENT, linewidth=1.2, linestyle=line, zorder=3, label=name)
        label = f"minima, {100 * fit.level:g} % each" if i == 0 else None
        style.marks(ax, [flops], [estimate.value], label=label, **look)
    margin = 1.0 if quantity == "loss" else 1.08
    ax.set_ylim(min(low_edge, min(drawn) / margin), max(high_edge, max(drawn) * margin))


def _label(fit: Any, quantity: Quantity) -> str:
    if quantity == "loss":
        return "L*"
    name, symbol = ("params_exponent", "N*") if quantity == "n_params" else ("tokens_exponent", "D*")
    value = getattr(fit, name, None)
    number = getattr(value, "value", value)
    return symbol if number is None else rf"{symbol} $\propto C^{{{number:.3f}}}$"
