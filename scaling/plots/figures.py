"""Figures of blocks and of a plan, on axes, as SVG or in a file.

A block's figure is a kind and its arrays; each kind here says which keys it reads. A value that is infinite or
undefined leaves a gap.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scaling.arguments import require_kind, require_path
from scaling.blocks import Block, Figure, checked_blocks
from scaling.errors import UsageError
from scaling.files import whole_file
from scaling.planning.result import Plan
from scaling.plots import style
from scaling.translation import tr
from scaling.units import format_flops, format_params

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
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
    Example:
        >>> import scaling
        >>> figure = scaling.find_law("besiroglu").summary()[-1]
        >>> scaling.plots.draw_figure(figure).get_xscale()
        'log'
    """
    require_kind("figure", figure, Figure, "Take one of the blocks of a summary().")
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
    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_first_figure(scaling.plan_training(1e21).summary())
    """
    blocks = checked_blocks(blocks)
    for block in blocks:
        if isinstance(block, Figure):
            return draw_figure(block, ax=ax)
    raise UsageError(
        "there is nothing to draw: this result has no figure; scaling.plots draws a fit with its runs (draw_fit)."
    )


def figure_svg(figure: Figure) -> str:
    """The drawing as an <svg> element for a page: the same text for the same data, and no style for the page around.

    Example:
        >>> import scaling
        >>> scaling.plots.figure_svg(scaling.find_law("besiroglu").summary()[-1])[:4]
        '<svg'
    """
    require_kind("figure", figure, Figure, "Take one of the blocks of a summary().")
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
    own = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{own}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{own}-", svg).strip()


def check_picture(path: str | Path) -> None:
    """Refuse a file name whose suffix is no picture format, before any work.

    Raises:
        UsageError: it is none.
    """
    require_path("a picture", path)
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in style.new_drawing().canvas.get_supported_filetypes():
        raise UsageError(f"a picture is a .png, .pdf or .svg file; got {Path(path).name!r}.")


def save_picture(figure: Drawing, path: str | Path) -> None:
    """Write the figure; the suffix (png, pdf, svg) is the format.

    Raises:
        UsageError: a suffix that is no picture format, or a file that cannot be written.
    """
    check_picture(path)
    try:
        with style.context(), whole_file(Path(path)) as beside:  # resolution and fonts are settings of saving
            figure.savefig(beside)
    except OSError as error:
        raise UsageError(f"the picture {path} could not be written: {error.strerror}.") from error


def _compute_optimal(ax: Axes, data: Data) -> None:
    """N*(C) with its band; dashed beyond `fitted_flops` (the ends of the runs' compute) where that is told."""
    flops, n_params = data["flops"], data["n_params"]  # by rising compute
    points = data.get("point_n_params", n_params[:0])
    low, high = (clipped(data.get(end, n_params[:0])) for end in ("n_params_low", "n_params_high"))
    ax.set_yscale("log")
    style.flops_axis(ax.xaxis, tr("training compute (FLOPs)"))
    if np.isfinite(low).any() and np.isfinite(high).any():
        level = tr("{percent:g} % band", percent=100 * data["level"][0]) if "level" in data else tr("band")
        style.band(ax, flops, low, high, label=level)
    last = data["fitted_flops"][-1] if "fitted_flops" in data else np.inf
    style.known_then_beyond(ax, flops, n_params, last, label="N*")
    if len(points):
        style.marks(ax, data["point_flops"], points, label=tr("minima of the runs"), zorder=4)
    known = n_params[np.isfinite(n_params)]
    if len(known):
        shown = np.concatenate([n_params, points, low, high])
        shown = np.clip(shown, known.min() / ROOM, known.max() * ROOM)
        ax.set_ylim(np.nanmin(shown) / 1.2, np.nanmax(shown) * 1.2)
    style.params_axis(ax.yaxis, tr("optimal parameters N*"))
    ax.set_title(tr("Optimal size"))
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
    ax.set_ylabel(tr("extra compute at equal loss (%)"))
    ax.set_title(tr("The cost of leaving the optimum"))


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
    style.params_axis(ax.xaxis, tr("parameters"))


def plot_plan(plan: Plan, *, ax: Axes | None = None) -> Axes:
    """Extra compute at equal loss, and waste at equal compute, against N.

    Draws the rows of `plan.alternatives`; make the plan with `ratios=CURVE` for a smooth line. Shaded: the interval of
    N*; ticks at the foot: N* of the other published laws at the same compute.
    Example:
        >>> import scaling
        >>> axes = scaling.plots.plot_plan(scaling.plan_training(1e21, ratios=(0.25, 0.5, 1.0, 2.0)))
    """
    require_kind("plan", plan, Plan, "Make it by plan_training(flops).")
    with style.axes_or_new(ax, width=6.4, height=4.0) as ax:
        reached = [a for a in plan.alternatives if a.extra_compute is not None]
        _extra_compute_band(ax, plan)
        extra = [100 * (a.extra_compute or 0.0) for a in reached]
        label = "extra compute at equal loss"
        ax.plot([a.n_params for a in reached], extra, color=style.FIT, label=label)
        wasted = [
            (a.n_params, 100 * a.wasted_compute) for a in plan.alternatives if a.wasted_compute is not None
        ]
        if wasted and plan.inference is None:
            x, y = zip(*wasted, strict=True)
            ax.plot(x, y, color=style.ACCENT, linestyle="-.", label="wasted at equal compute")
        _mark_optimum(ax, plan)
        finish_costs(ax, [a.n_params for a in plan.alternatives])
        ax.set_ylabel("lifetime compute (%)" if plan.inference else "training compute (%)")
        ax.set_title(f"The cost of leaving the optimum of {format_flops(plan.optimum.flops)} FLOPs")
        ax.legend(loc="upper center", frameon=True, framealpha=0.9, edgecolor="none")
        return ax


def _extra_compute_band(ax: Axes, plan: Plan) -> None:
    """The interval of the extra compute, where the law has one."""
    banded = [a for a in plan.alternatives if a.extra_compute is not None and a.extra_compute_interval]
    if banded:
        ends = [a.extra_compute_interval or (0.0, 0.0) for a in banded]
        low, high = ([100 * min(e[i], 10.0) for e in ends] for i in (0, 1))
        style.band(ax, [a.n_params for a in banded], low, high)


def _mark_optimum(ax: Axes, plan: Plan) -> None:
    best = plan.optimum.n_params
    mark_optimum(ax, best)
    ends = plan.intervals.n_params
    if ends is not None and plan.is_optimum and math.isfinite(ends[1]) and ends[0] > 0:
        level = 100 * (plan.intervals.level or 0.0)
        ax.axvspan(
            ends[0], ends[1], color=style.MUTED, alpha=0.25, linewidth=0, label=f"{level:g} % interval of N*"
        )
    others = [a.n_params for a in plan.spread.answers if abs(a.n_params / best - 1) > 1e-6]
    ax.plot(others, [0.015] * len(others), "|", color=style.INK, transform=ax.get_xaxis_transform(),
            label="N* of other published laws", clip_on=True)  # fmt: skip


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Axes, Data], None]]] = {
    "compute-optimal": (("flops", "n_params"), _compute_optimal),
    "off-optimum": (("n_params", "extra_compute", "optimum"), _off_optimum),
}
