"""How our figures look: colours, sizes, and one way to print compute, parameters, tokens and loss on an axis.

Rules: markers are measured, lines are fitted, dashes are extrapolated, bands are stated intervals; one colour a budget,
dark = large. Every colour that means something has a contrast of at least 3:1 against the paper, and the accent is
lighter than every budget, so that a grey print and a colour-blind reader can tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from scaling.arguments import is_one_of, require_kind
from scaling.errors import UsageError
from scaling.units import format_params, format_tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "#ffffff"
INK = "#22252a"
MUTED = "#6b717a"  # remarks, other laws
GRID = "#e4e6ea"
FIT = "#1f4e79"  # the fitted line
ACCENT = "#df6420"  # minima, the frontier on a map, the target
# from little compute to much: teal, blue, navy; each step darker, the lightest 1.3 times darker than the accent
RAMP = ("#1b8287", "#1d6fa5", "#244f9e", "#1f2f7a", "#0b1638")
BAND_ALPHA = 0.18
EXTRAPOLATED: Any = (0, (4, 2.2))
UNBOUNDED: Any = (0, (1, 1.6))  # the line of an interval without an end
DASHES: tuple[Any, ...] = ((0, (6, 2)), (0, (2, 1.4)), (0, (6, 2, 1.2, 2)), (0, (1, 1.2)), (0, (9, 2, 2, 2)))
LOSS_TICKS = (0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
MOST_LOSS_TICKS = 9
MOST_TICKS = 8
# in each decade of a log axis, the densest that has room; the last for axes shorter than a factor 1.8
STEPS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 2, 3, 4, 5, 6, 8),
    tuple(i / 10 for i in range(10, 100, 2)),
)

SizeName = Literal["column", "page", "slide"]


class Size(NamedTuple):
    """Inches of a whole figure and of the axes of a panel that fills its width, half of it, a third; points of text."""

    width: float
    heights: tuple[float, float, float]  # of axes; titles, ticks and keys come on top
    font: float
    stacked: bool = False  # panels stand one below the other
    whole: float = 0.0  # inches: the height of a figure of one row, whatever its axes


# column: of a two-column paper, text of 7 to 8 pt; page: the text width of A4 or letter paper;
# slide: half of 13.3 x 7.5 inches, so that its text is twice as large where it fills one
SIZES: dict[str, Size] = {
    "column": Size(3.25, (1.85, 1.85, 1.85), 7.5, stacked=True),
    "page": Size(6.5, (2.7, 1.95, 1.6), 8.0),
    "slide": Size(6.67, (2.7, 2.4, 2.0), 9.0, whole=3.75),
}
LEAST_FONT = 7.0  # points
HEIGHT = 3.9  # inches: of a figure of one panel on axes of its own


def find_size(name: str) -> Size:
    """The size of that name.

    Raises:
        UsageError: another name.
    """
    if not is_one_of(name, SIZES):
        raise UsageError(f"a figure has the size {', '.join(get_args(SizeName))}; got {name!r}.")
    return SIZES[name]


def _settings(font: float) -> dict[str, Any]:
    small = max(font - 0.5, LEAST_FONT)
    return {
        "font.size": font,
        "axes.titlesize": font + 0.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": font,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelpad": 3.0,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": small,
        "ytick.labelsize": small,
        "xtick.direction": "out",
        "xtick.major.size": 3.0,
        "ytick.major.size": 3.0,
        "xtick.minor.size": 0.0,
        "ytick.minor.size": 0.0,
        "lines.linewidth": 1.4,
        "lines.markersize": 4.0,
        "lines.solid_capstyle": "round",
        "legend.fontsize": small,
        "legend.frameon": False,
        "legend.handlelength": 1.7,
        "legend.labelspacing": 0.3,
        "legend.columnspacing": 1.2,
        "legend.borderpad": 0.0,
        "figure.dpi": 120.0,
        "savefig.dpi": 220.0,
        "savefig.facecolor": PAPER,
        "svg.fonttype": "none",
        "svg.hashsalt": "scaling",
        "pdf.fonttype": 42,
    }


@contextmanager
def context(size: str = "page") -> Iterator[None]:
    """Our settings inside a `with` block; the caller's stay as they were.

    Only ours are put back. `matplotlib.rc_context` puts all back, `interactive` among them, which a notebook's backend
    turns on when the first figure loads it: switched off again, no later figure of the session would be shown.
    """
    import matplotlib

    settings: Any = _settings(find_size(size).font)
    before = {name: matplotlib.rcParams[name] for name in settings}
    matplotlib.rcParams.update(settings)
    try:
        yield
    finally:
        matplotlib.rcParams.update(before)


@contextmanager
def axes_or_new(ax: Axes | None, *, width: float = 0.0, height: float = 0.0) -> Iterator[Axes]:
    """The given axes, or those of a new figure of pyplot, which a notebook shows; under our settings."""
    if ax is not None:
        from matplotlib.axes import Axes as AnyAxes

        require_kind("ax", ax, AnyAxes, "Take one of plt.subplots(), or leave it out.")
    with context():
        if ax is None:
            import matplotlib.pyplot as plt

            size = (width or SIZES["page"].width, height or HEIGHT)
            _, ax = plt.subplots(figsize=size, layout="constrained")
        yield ax


def new_drawing(width: float = 6.5, height: float = HEIGHT, *, layout: Any = "constrained") -> Figure:
    """A bare figure, not one of pyplot's: no window, no global list of open figures."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def small() -> float:
    """Points of the smallest text."""
    import matplotlib

    size: float = matplotlib.rcParams["xtick.labelsize"]
    return size


# --- colours ---


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, 0 to 1 (WCAG 2.2)."""
    linear = []
    for i in (1, 3, 5):
        value = int(colour[i : i + 2], 16) / 255
        linear.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def budget_colours(n: int) -> list[str]:
    """n colours from light (small compute) to dark (large), of steadily falling lightness."""
    places = [i / (n - 1) * (len(RAMP) - 1) if n > 1 else len(RAMP) - 2 for i in range(n)]
    return [_between(min(int(place), len(RAMP) - 2), place) for place in places]


def _between(step: int, place: float) -> str:
    pairs = [(int(RAMP[step][i : i + 2], 16), int(RAMP[step + 1][i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * (place - step)):02x}" for a, b in pairs)


def budget_map() -> Any:
    """The same colours as a matplotlib colour map."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("budgets", list(RAMP))


def on_dark(colour: str, paper: str) -> str:
    """The colour of this hue that stands out from a dark paper as much as `colour` does from a white one."""
    import colorsys

    if colour == PAPER:
        return paper
    wanted = contrast(colour, PAPER) * (luminance(paper) + 0.05) - 0.05
    hue, _, saturation = colorsys.rgb_to_hls(*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    low, high, found = 0.0, 1.0, paper
    for _ in range(12):
        lightness = (low + high) / 2
        rgb = colorsys.hls_to_rgb(hue, lightness, min(saturation, 0.8))
        found = "#" + "".join(f"{round(255 * v):02x}" for v in rgb)
        low, high = (lightness, high) if luminance(found) < wanted else (low, lightness)
    return found


# --- letters ---


def with_glyphs(text: str) -> str:
    """The text with every character that our font lacks as its code point, U+1F680: no box, and no warning."""
    return (
        text
        if text.isascii()
        else "".join(c if c in "\n\t" or has_glyph(c) else f"U+{ord(c):X}" for c in text)
    )


@cache
def has_glyph(character: str) -> bool:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties(family="DejaVu Sans"))).get_char_index(ord(character)) != 0


# --- axes ---


def inches(ax: Axes) -> tuple[float, float]:
    """About the size of the axes in inches, before the last layout."""
    drawing: Any = ax.figure
    width, height = drawing.get_size_inches()
    place = ax.get_position()
    return float(place.width * width), float(place.height * height)


def _room(axis: Any) -> int:
    """How many ticks have room on an axis: a label of five letters each, or a line of text."""
    wide, high = inches(axis.axes)
    length, label = (wide, 4.2) if axis.axis_name == "x" else (high, 1.9)
    return max(2, int(length * 72 / (label * small())))


def flops_axis(axis: Any, label: str = "training compute (FLOPs)") -> None:
    """A log axis of compute with ticks at powers of ten, between them where there are too few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    _log(axis)
    room = _room(axis)
    few = _decades(axis) < 1.5
    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if few else (1,), numticks=min(room, 9)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: power_of_ten(v)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(label)


def loss_label(fit: Any) -> str:
    """'loss (nats/token)', the unit a fit's law predicts in; 'loss' alone where nobody knows it."""
    origin = fit.law.provenance if hasattr(fit, "law") else fit.provenance
    unit = origin.loss_unit if origin else "nats/token"
    return f"loss ({unit})" if "/" in unit else "loss"


def loss_axis(axis: Any, label: str) -> None:
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
    axis.set_label_text(label)


def params_axis(axis: Any, label: str = "parameters") -> None:
    """A log axis of n_params: 100M, 1B."""
    _counted(axis, format_params, label)


def tokens_axis(axis: Any, label: str = "training tokens") -> None:
    """A log axis of n_tokens: 10B, 1T."""
    _counted(axis, format_tokens, label)


def ratio_axis(axis: Any, label: str = "tokens per parameter") -> None:
    """A log axis of a plain ratio: 0.1, 1, 20."""
    _counted(axis, lambda v: f"{v:,.10g}", label)


def quantity_axis(axis: Any, name: str, *label: str) -> None:
    """The axis of n_params, n_tokens, tokens_per_param or flops."""
    axes = {
        "n_params": params_axis,
        "n_tokens": tokens_axis,
        "tokens_per_param": ratio_axis,
        "flops": flops_axis,
    }
    axes[name](axis, *label)


def _counted(axis: Any, formatter: Callable[[float], str], label: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    _log(axis)
    decades, room = _decades(axis), min(_room(axis), MOST_TICKS)
    fitting = [steps for steps in STEPS if decades * len(steps) <= room]
    axis.set_major_locator(LogLocator(base=10, subs=fitting[-1] if fitting else (1,), numticks=room))
    axis.set_major_formatter(FuncFormatter(lambda v, _: formatter(v)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(label)


def _decades(axis: Any) -> float:
    low, high = axis.get_view_interval()
    return math.log10(high / low) if 0 < low < high else 3.0


def _log(axis: Any) -> None:
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")


def power_of_ten(value: float) -> str:
    """3e+19 as 3x10^19 in mathtext, for a label in a figure."""
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = value / 10.0**exponent
    shown = f"{mantissa:.2g}"
    return rf"$10^{{{exponent}}}$" if shown == "1" else rf"${shown}\times10^{{{exponent}}}$"
