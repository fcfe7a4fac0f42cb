"""Figures of blocks: from a kind and its arrays to a drawing.

`scaling.blocks.Figure` says which arrays; each kind here says which keys it reads. A value that is missing, infinite or
undefined leaves a gap.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scaling.blocks import Block, Figure
from scaling.errors import UsageError
from scaling.plots import style
from scaling.units import format_params

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Data = Mapping[str, Values]

ROOM = 8.0  # an axis ends this far beyond its values
FEW = 20  # sizes, which are then marked: the line between them is no curve
HIGHEST = 100.0  # per cent of extra compute; beyond that no one would go


def draw_figure(figure: Figure, *, ax: Axes | None = None) -> Axes:
    """Draw a block's figure, on `ax` or on axes of its own.

    Raises:
        UsageError: a kind that is none of ours, or one without the arrays it needs.
    """
    if figure.kind not in _KINDS:
        raise UsageError(f"a figure is one of {', '.join(_KINDS)}; got {figure.kind!r}.")
    needed, draw = _KINDS[figure.kind]
    missing = [key for key in needed if key not in figure.data]
    if missing:
        raise UsageError(
            f"a figure of {figure.kind} needs {', '.join(needed)}; {', '.join(missing)} is missing."
        )
    with style.axes_or_new(ax) as ax:
        draw(ax, {key: np.asarray(values, dtype=np.float64) for key, values in figure.data.items()})
        return ax


def plot_first_figure(blocks: Iterable[Block], *, ax: Axes | None = None) -> Axes:
    """Draw the first figure among blocks.

    Raises:
        UsageError: there is none.
    """
    for block in blocks:
        if isinstance(block, Figure):
            return draw_figure(block, ax=ax)
    raise UsageError("there is nothing to draw: this result has no figure.")


def figure_svg(figure: Figure) -> str:
    """The drawing as an <svg> element for a page: the same text for the same data, and no style for the page around."""
    import matplotlib

    drawing = style.new_drawing()
    with style.context(), matplotlib.rc_context({"svg.hashsalt": "scaling"}):
        draw_figure(figure, ax=drawing.subplots())
        file = io.StringIO()
        drawing.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _for_a_page(file.getvalue())


def _for_a_page(svg: str) -> str:
    """Without what would reach beyond the picture: its style sheet, and names another picture has too."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = svg.replace("<svg ", '<svg style="stroke-linejoin: round; stroke-linecap: butt" ', 1)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{own}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{own}-", svg).strip()


def _compute_optimal(ax: Axes, data: Data) -> None:
    """N*(C) with its band; dashed beyond `fitted_flops` (the ends of the runs' compute) where that is told."""
    flops, n_params = data["flops"], data["n_params"]  # by rising compute
    points = data.get("point_n_params", n_params[:0])
    low, high = (clipped(data.get(end, n_params[:0])) for end in ("n_params_low", "n_params_high"))
    ax.set_yscale("log")
    style.flops_axis(ax.xaxis)
    if np.isfinite(low).any() and np.isfinite(high).any():
        style.band(
            ax, flops, low, high, label=f"{100 * data['level'][0]:g} % band" if "level" in data else "band"
        )
    last = data["fitted_flops"][-1] if "fitted_flops" in data else np.inf
    style.known_then_beyond(ax, flops, n_params, last, label="N*")
    if len(points):
        style.marks(ax, data["point_flops"], points, label="minima of the runs", zorder=4)
    known = n_params[np.isfinite(n_params)]
    if len(known):
        shown = np.concatenate([n_params, points, low, high])
        shown = np.clip(shown, known.min() / ROOM, known.max() * ROOM)
        ax.set_ylim(np.nanmin(shown) / 1.2, np.nanmax(shown) * 1.2)
    style.params_axis(ax.yaxis, "optimal parameters N*")
    ax.set_title("Optimal size")
    ax.legend(loc="upper left")


def clipped(ends: Values) -> Values:
    """Ends of a band for a log axis: one at 0 or infinity leaves the picture, an undefined one leaves a gap."""
    return np.clip(ends, 1e-3, 1e30)


def _off_optimum(ax: Axes, data: Data) -> None:
    """The cost of leaving the optimum, in per cent, over model size."""
    best = data["optimum"][:1]
    n_params, extra = np.append(data["n_params"], best), np.append(data["extra_compute"], 0 * best)
    order = np.argsort(n_params)
    n_params, percent = n_params[order], 100 * extra[order]
    ax.plot(n_params, percent, color=style.FIT)
    if len(n_params) <= FEW:
        style.marks(ax, n_params, percent, "o", colour=style.FIT, zorder=3)
    for size in best:
        mark_optimum(ax, float(size))
    finish_costs(ax, list(n_params))
    ax.set_ylabel("extra compute at equal loss (%)")
    ax.set_title("The cost of leaving the optimum")


def mark_optimum(ax: Axes, n_params: float) -> None:
    """A line at N*, named."""
    ax.axvline(n_params, color=style.INK, linewidth=0.8)
    ax.annotate(
        f" N* = {format_params(n_params)}", (n_params, 0.5), xycoords=("data", "axes fraction"), fontsize=8,
        rotation=90, ha="right", va="center",
    )  # fmt: skip


def finish_costs(ax: Axes, n_params: Sequence[float]) -> None:
    """Axes of costs over size: from nothing to twice the compute, over the sizes drawn."""
    ax.set_ylim(0, HIGHEST)
    if n_params:
        ax.set_xlim(min(n_params), max(n_params))
    style.params_axis(ax.xaxis)


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Axes, Data], None]]] = {
    "compute-optimal": (("flops", "n_params"), _compute_optimal),
    "off-optimum": (("n_params", "extra_compute", "optimum"), _off_optimum),
}
