"""How our figures look: one context, one colour rule, one way to print compute, parameters and tokens on an axis.

Rules: markers are measured, lines are fitted, dashes are extrapolated, bands are stated intervals; one colour a budget,
dark = large, so that a grey print keeps the order.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scaling.arguments import require_kind
from scaling.units import format_params, format_tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#22252a"
MUTED = "#878d96"
GRID = "#e7e9ec"
FIT = "#1f4e79"  # the fitted line
ACCENT = "#c1502e"  # minima, the frontier on a map
BAND_ALPHA = 0.16
EXTRAPOLATED = (0, (4, 2.2))
WIDTH, HEIGHT = 5.4, 3.7  # inches: one column
LOSS_TICKS = (0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
MOST_LOSS_TICKS = 9
UNBOUNDED: Any = (0, (1, 1.6))  # the line of an interval without an end
TIGHT = tuple(i / 10 for i in range(10, 100, 2))  # ticks of a log axis shorter than a factor 1.8

_RC: Any = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.direction": "out",
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.2,
    "lines.solid_capstyle": "round",
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.title_fontsize": 8.0,
    "legend.handlelength": 1.8,
    "figure.dpi": 120.0,
    "savefig.dpi": 200.0,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def context() -> Iterator[None]:
    """Our settings inside a `with` block; the caller's stay as they were."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


@contextmanager
def axes_or_new(ax: Axes | None, *, width: float = WIDTH, height: float = HEIGHT) -> Iterator[Axes]:
    """The given axes, or those of a new figure, under our settings."""
    if ax is not None:
        from matplotlib.axes import Axes as AnyAxes

        require_kind("ax", ax, AnyAxes, "Take one of plt.subplots(), or leave it out.")
    with context():
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(width, height), layout="constrained")
        yield ax


def new_drawing(width: float = WIDTH, height: float = HEIGHT) -> Figure:
    """A bare figure, not one of pyplot's: no window, no global list of open figures."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def marks(
    ax: Axes, x: Any, y: Any, marker: str = "D", *, colour: str = ACCENT, edge: float = 0.6, **look: Any
) -> None:
    """What was measured or found: filled marks with a white rim, so that they part where they crowd."""
    ax.plot(x, y, marker, color=colour, markeredgecolor="white", markeredgewidth=edge, **look)


def band(ax: Axes, x: Any, low: Any, high: Any, *, colour: str = FIT, **look: Any) -> None:
    """A stated interval around a line; NaN leaves a gap."""
    ax.fill_between(x, low, high, color=colour, alpha=BAND_ALPHA, linewidth=0, **look)


def known_then_beyond(ax: Axes, x: Any, y: Any, last: float, *, colour: str = FIT, **look: Any) -> None:
    """A fitted line over rising x: solid up to `last`, where there were runs, dashed beyond."""
    n_known = bisect_right(x, last)
    joint = max(n_known - 1, 0)
    ax.plot(x[:n_known], y[:n_known], color=colour, **look)
    if n_known < len(x):
        ax.plot(x[joint:], y[joint:], color=colour, linestyle=EXTRAPOLATED, **{**look, "label": None})


def points_along(low: float, joint: float, high: float, n: int) -> Any:
    """n points from `low` to `joint` at equal ratios, and n more from there to `high`, if that lies beyond."""
    import numpy as np

    known = np.geomspace(low, min(joint, high), n)
    return np.concatenate([known, np.geomspace(joint, high, n)[1:]]) if high > joint else known


def budget_colours(n: int) -> list[str]:
    """n colours from light (small compute) to dark (large), of steadily falling lightness."""
    import matplotlib
    from matplotlib.colors import to_hex

    shades = matplotlib.colormaps["YlGnBu"]
    low, high = 0.4, 0.98
    return [to_hex(shades(low + (high - low) * (i / (n - 1) if n > 1 else 1.0))) for i in range(n)]


def flops_axis(axis: Any, label: str = "training compute (FLOPs)") -> None:
    """A log axis of compute with ticks at powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    _log(axis)
    axis.set_major_locator(LogLocator(base=10, numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda v, _: rf"$10^{{{round(math.log10(v))}}}$"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(label)


def loss_label(fit: Any) -> str:
    """'loss (nats/token)', the unit a fit's law predicts in; 'loss' alone where nobody knows it."""
    origin = fit.law.provenance if hasattr(fit, "law") else fit.provenance
    unit = origin.loss_unit if origin else "nats/token"
    return f"loss ({unit})" if "/" in unit else "loss"


def loss_axis(axis: Any, fit: Any) -> None:
    """A log axis of loss, with some round numbers on it however short it is."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    _log(axis)
    low, high = axis.get_view_interval()
    shown = [v for v in LOSS_TICKS if low <= v <= high]
    every = -(-len(shown) // MOST_LOSS_TICKS)
    few = len(shown) < 3
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if few else FixedLocator(shown[::every]))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(loss_label(fit))


def params_axis(axis: Any, label: str = "parameters") -> None:
    """A log axis of n_params: 100M, 1B."""
    _counted(axis, format_params, label)


def tokens_axis(axis: Any, label: str = "training tokens") -> None:
    """A log axis of n_tokens: 10B, 1T."""
    _counted(axis, format_tokens, label)


def quantity_axis(axis: Any, name: str, *label: str) -> None:
    """The axis of n_params, n_tokens or flops."""
    {"n_params": params_axis, "n_tokens": tokens_axis, "flops": flops_axis}[name](axis, *label)


def _counted(axis: Any, formatter: Callable[[float], str], label: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    _log(axis)
    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if 0 < low < high else 3.0
    steps: tuple[float, ...] = (1,)
    for limit, subs in ((3.6, (1, 3)), (2.2, (1, 2, 5)), (0.9, (1, 2, 3, 4, 5, 6, 8)), (0.25, TIGHT)):
        steps = subs if decades < limit else steps
    axis.set_major_locator(LogLocator(base=10, subs=steps, numticks=14))
    axis.set_major_formatter(FuncFormatter(lambda v, _: formatter(v)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(label)


def _log(axis: Any) -> None:
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")


def power_of_ten(value: float) -> str:
    """3e+19 as 3x10^19 in mathtext, for a label in a figure."""
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = value / 10.0**exponent
    shown = f"{mantissa:.2g}"
    return rf"$10^{{{exponent}}}$" if shown == "1" else rf"${shown}\times10^{{{exponent}}}$"
