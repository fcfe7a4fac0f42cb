"""What stands on the axes: marks, bands, lines, titles that claim, labels beside their lines, keys below the axes.

No text of these stands over data: labels of lines stand right of the axes, keys below them, and what was clipped is
said at the edge that clipped it.
"""

from __future__ import annotations

import math
import textwrap
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.plots import style
from scaling.translation import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float64]

MOST_MARKS = 1000  # of a panel: more only darken it, and make the file large
FENCE = (
    3.0  # times the distance of the quartiles beyond them: further off is an outlier (Tukey 1977, "far out")
)
MOST_CLIPPED = 0.06  # of the values: where more lie beyond the fences they are not outliers but the data
ARROWS = {"^": "\N{BLACK UP-POINTING TRIANGLE}", "v": "\N{BLACK DOWN-POINTING TRIANGLE}"}
NEAR = 1.2  # times the lowest loss of a budget
LETTER, BOLD = 0.53, 0.6  # width of an average letter, in its size
LINE = 1.25  # height of a line, in its size
NUMBER = "number"  # marks the text of the number to conclude from
SPILL = 0.5  # inches that a title may go beyond its axes, where the margin is


def marks(
    ax: Axes,
    x: Any,
    y: Any,
    marker: str = "D",
    *,
    colour: str = style.ACCENT,
    edge: float = 0.6,
    rim: str = style.PAPER,
    **look: Any,
) -> None:
    """What was measured or found: filled marks with a rim of paper, so that they part where they crowd."""
    ax.plot(x, y, marker, color=colour, markeredgecolor=rim, markeredgewidth=edge, **look)


def runs(ax: Axes, x: Values, y: Values, *, colour: str = style.INK, size: float = 2.6, **look: Any) -> None:
    """The marks of runs, thinned where there are more than anyone can see; `told_thinned` says so."""
    shown = thinned(x, y)
    rim = 0.3 if len(shown) < MOST_MARKS / 4 else 0.0
    marks(ax, x[shown], y[shown], "o", colour=colour, edge=rim, markersize=size, **look)


def told_thinned(ax: Axes, n: int) -> None:
    """Below the x label, where not all of n runs are drawn: how many are."""
    if n > MOST_MARKS:
        remark(ax, tr("{n:,} of {total:,} runs drawn", n=MOST_MARKS, total=n))


def thinned(x: Values, y: Values, most: int = MOST_MARKS) -> NDArray[np.int64]:
    """Positions of at most `most` points that keep the look: evenly along x, with the extremes of y."""
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(known) <= most:
        return known
    by_y = known[np.argsort(y[known], kind="stable")]
    ends = np.concatenate([by_y[: most // 20], by_y[-(most // 20) :]])
    by_x = known[np.argsort(x[known], kind="stable")]
    even = by_x[np.linspace(0, len(by_x) - 1, most - len(ends)).astype(np.int64)]
    return np.unique(np.concatenate([ends, even]))


def band(ax: Axes, x: Any, low: Any, high: Any, *, colour: str = style.FIT, **look: Any) -> None:
    """A stated interval around a line; NaN leaves a gap."""
    ax.fill_between(x, low, high, color=colour, alpha=style.BAND_ALPHA, linewidth=0, **look)


def known_then_beyond(ax: Axes, x: Any, y: Any, last: float, *, colour: str = style.FIT, **look: Any) -> None:
    """A fitted line over rising x: solid up to `last`, where there were runs, dashed beyond."""
    n_known = bisect_right(x, last * (1 + 1e-9))
    joint = max(n_known - 1, 0)
    ax.plot(x[:n_known], y[:n_known], color=colour, **look)
    if n_known < len(x):
        ax.plot(x[joint:], y[joint:], color=colour, linestyle=style.EXTRAPOLATED, **{**look, "label": None})


def clipped_ends(ends: Values) -> Values:
    """Ends of a band for a log axis: one at 0 or infinity leaves the picture, an undefined one leaves a gap."""
    return np.clip(ends, 1e-3, 1e30)


# --- outliers ---


def fences(values: Values, *, log: bool = False) -> tuple[float, float]:
    """The range that a picture shows of values: all of them, or those inside Tukey's outer fences."""
    known = values[np.isfinite(values)]
    if not len(known):
        return (0.0, 1.0)
    at = np.log(known) if log else known
    first, third = np.quantile(at, [0.25, 0.75])
    reach = FENCE * (third - first)
    inside = (at >= first - reach) & (at <= third + reach)
    kept = known if np.mean(~inside) > MOST_CLIPPED or not reach else known[inside]
    return float(kept.min()), float(kept.max())


def near_minima(budget: Values, loss: Values) -> Values:
    """The losses within 20 % of the lowest of their budget: a valley is read there, and what is dearer flattens it."""
    lowest = {b: loss[budget == b].min() for b in np.unique(budget)}
    return loss[loss <= NEAR * np.array([lowest[b] for b in budget])]


def arrows(ax: Axes, x: Values, y: Values, ends: tuple[float, float], unit: str = "") -> None:
    """Marks at the edge for what lies beyond `ends` on the y axis; below the axes how many, and how far off."""
    place: Any = {"transform": ax.get_xaxis_transform(), "clip_on": False, "zorder": 6, "markersize": 5}
    for beyond, edge, marker, farthest in (
        (y > ends[1], 1.0, "^", np.max),
        (y < ends[0], 0.0, "v", np.min),
    ):
        if n := int(beyond.sum()):
            marks(ax, x[beyond], np.full(n, edge), marker, colour=style.INK, **place)
            value = f"{farthest(y[beyond]):.3g}{unit}"
            what = tr("{n} beyond the picture, to {value}", n=n, value=value)
            remark(ax, f"{ARROWS[marker]} {what}")


# --- words ---


def claim(ax: Axes, title: str, *, margin: float = 0.0) -> None:
    """The title says what to conclude; what stands behind a line break is the number to conclude from.

    Args:
        margin: inches beside the axes over which it may go on.
    """
    said, _, rest = title.partition("\n")
    lines = textwrap.wrap(rest, _letters(ax, LETTER, margin)) if rest else []
    ax.set_title("\n".join(textwrap.wrap(said, _letters(ax, BOLD * (1 + 1 / style.small()), margin))),
                 parse_math=False, linespacing=LINE, pad=5 + len(lines) * style.small() * LINE)  # fmt: skip
    if lines:
        number = ax.annotate("\n".join(lines), (0, 1), xycoords="axes fraction", xytext=(0, 4),
                             textcoords="offset points", ha="left", va="bottom", fontsize=style.small(),
                             linespacing=LINE, gid=NUMBER, annotation_clip=False, parse_math=False)  # fmt: skip
        number.set_in_layout(False)  # the title stands above it and makes room for both


def begin_at_left(ax: Axes, x: float) -> None:
    """Move the title and its number to x, in widths of the axes: to where the panel begins, left of its labels."""
    title = ax._left_title  # type: ignore[attr-defined]  # matplotlib has no public name for it
    title.set_x(x)
    for text in ax.texts:
        if text.get_gid() == NUMBER:
            text.xy = (x, 1)  # type: ignore[attr-defined]
    if legend := ax.get_legend():
        legend.set_bbox_to_anchor((x, 0), transform=_below(ax))


def _letters(ax: Axes, letter: float = LETTER, margin: float = 0.0) -> int:
    """How many letters of a title fit above the axes and the margin beside them."""
    return max(18, int((style.inches(ax)[0] + margin + SPILL) * 72 / (letter * style.small())))


def remark(ax: Axes, text: str) -> None:
    """A remark on the whole panel, below its x label."""
    lines = "\n".join(textwrap.wrap(text, _letters(ax) - 4))
    ax.set_xlabel(f"{ax.get_xlabel()}\n{lines}".lstrip("\n"))


def key(ax: Axes) -> None:
    """The legend, below the axes: never over data."""
    handles, names = ax.get_legend_handles_labels()
    if not handles:
        return
    room = _letters(ax) - 6
    wide = max(1, min(len(names), room // (max(map(len, names)) + 6)))
    ax.legend(handles, names, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=_below(ax), ncols=wide,
              borderaxespad=0.0)  # fmt: skip


def _below(ax: Axes) -> Any:
    """Axes coordinates moved below the x label."""
    from matplotlib.transforms import ScaledTranslation

    down = -(style.small() * (3.4 + 1.2 * ax.get_xlabel().count("\n")) + 4) / 72
    return ax.transAxes + ScaledTranslation(0, down, ax.figure.dpi_scale_trans)


class Label(NamedTuple):
    """A name for the line that ends at (x, y)."""

    x: float
    y: float
    text: str
    colour: str = style.INK


def label_ends(ax: Axes, labels: Sequence[Label]) -> None:
    """The names of lines right of the axes, level with where each line ends, apart from each other.

    To be called when the limits are set. Where they do not all fit, every second, third ... is left out.
    """
    if not labels:
        return
    gap = 1.2 * style.small() / (72 * style.inches(ax)[1])
    labels = [label for label in labels if math.isfinite(label.y)]
    heights = [float(_share(ax, label.y)) for label in labels]
    order = sorted(range(len(labels)), key=heights.__getitem__)
    most = max(1, int(1.0 / gap))
    kept = [order[i] for i in np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).astype(int))]
    places = spread([min(max(heights[i], 0.02), 0.97) for i in kept], gap)
    for i, place in zip(kept, places, strict=True):
        label = labels[i]
        # a line that leaves the picture is named where it does
        at = _inside(label.x, ax.get_xlim()), _inside(label.y, ax.get_ylim())
        line = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 0,
                "relpos": (0, 0.5)}  # fmt: skip
        ax.annotate(label.text, at, xycoords="data", xytext=(1.03, place),
                    textcoords="axes fraction", va="center", ha="left", color=label.colour,
                    fontsize=style.small(), arrowprops=line, annotation_clip=False)  # fmt: skip


def _inside(value: float, ends: tuple[float, float]) -> float:
    return min(max(value, min(ends)), max(ends))


def end_in_view(ax: Axes, x: Values, y: Values, text: str, colour: str) -> Label:
    """The label of a line at its right end, or where it leaves the picture before."""
    low, high = ax.get_ylim()
    shown = np.flatnonzero((y >= low) & (y <= high) & np.isfinite(x))
    at = shown[np.argmax(x[shown])] if len(shown) else int(np.argmax(x))
    return Label(float(x[at]), float(np.clip(y[at], low, high)), text, colour)


def _share(ax: Axes, y: float) -> Any:
    """Where y stands between the ends of the axis, 0 to 1."""
    low, high = ax.get_ylim()
    if ax.get_yscale() == "log":
        return np.log(max(y, 1e-300) / low) / np.log(high / low)
    return (y - low) / (high - low)


def spread(places: Sequence[float], gap: float, high: float = 0.97) -> list[float]:
    """The rising places moved apart to `gap` at least, each as little as a pass up and a pass down allow."""
    moved = list(places)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    if moved and moved[-1] > high:
        moved[-1] = high
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - gap)
    return moved
