"""Sheets of panels: which stand in one row, and the margins that the text around each needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scaling.errors import UsageError
from scaling.plots import marks, optimum, style
from scaling.plots.optimum import Data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from scaling.plots.optimum import Draw

_MARGINS = (0.55, 0.2)  # inches left and right of axes, before they are measured
_PAD = 0.06  # inches around each panel
_LEADS = 0.54  # of the width of a slide: valleys or curves
_MUCH_NARROWER, _NARROWEST = 0.8, 0.5  # of the width taken for it; inches
_LEADING = (optimum.draw_valleys, optimum.draw_envelope)  # above the lines that they lead to


class Panel(NamedTuple):
    """One panel of a figure: how to draw it, from what, and what it claims."""

    draw: Draw
    data: Data
    title: str
    least: float = 0.0  # inches of its axes' height


def sheet(figures: Sequence[Sequence[Panel]], size: str) -> Drawing:
    """All panels of some figures on one sheet.

    Raises:
        UsageError: an unknown size, or no panel.
    """
    form = style.find_size(size)
    rows = _rows(figures, form)
    if not rows:
        raise UsageError("there is no figure to draw.")
    with style.context(size):
        drawing = style.new_drawing(form.width, sum(_height(form, row) for row in rows), layout="none")
        if form.whole and len(rows) == 1 and rows[0][0].draw in _LEADING and len(rows[0]) > 1:
            _lay_out_slide(drawing, rows[0], form)
        else:
            _lay_out(drawing, rows, [_draw_row(drawing, row, form) for row in rows], form)
    return drawing


def _height(form: style.Size, row: Sequence[Panel]) -> float:
    return max(form.heights[min(len(row), 3) - 1], *(panel.least for panel in row))


def _cells(form: style.Size, row: Sequence[Panel]) -> list[tuple[float, float]]:
    """Where each panel of a row begins, and its width, in inches: valleys and curves beside their lines take more."""
    shares = [1.4 if len(row) == 3 and panel.draw in _LEADING else 1.0 for panel in row]
    widths = [form.width * share / sum(shares) for share in shares]
    return [(sum(widths[:i]), width) for i, width in enumerate(widths)]


def _draw_row(drawing: Drawing, row: Sequence[Panel], form: style.Size) -> list[Axes]:
    """The panels of a row on axes of about the width they will have, and of just their height."""
    whole, made = drawing.get_figheight(), []
    for panel, (begins, width) in zip(row, _cells(form, row), strict=True):
        left, wide = begins + _MARGINS[0], width - sum(_MARGINS)
        ax = drawing.add_axes((left / form.width, 0.0, wide / form.width, _height(form, row) / whole))
        draw_panel(panel, ax)
        made.append(ax)
    return made


def _lay_out(
    drawing: Drawing, rows: Sequence[Sequence[Panel]], axes: Sequence[Sequence[Axes]], form: style.Size
) -> None:
    """Give each panel the margins that its text needs; axes of one row stand level, titles begin at the left.

    One measurement of each panel: half the time of matplotlib's constrained layout, and axes that keep their height.
    """
    cells = [_cells(form, row) for row in rows]
    margins = [[_fitted(drawing, panel, ax, cell[1]) for panel, ax, cell in zip(row, made, places, strict=True)]
               for row, made, places in zip(rows, axes, cells, strict=True)]  # fmt: skip
    tops = [max(m.top for m in row) for row in margins]
    bottoms = [max(m.bottom for m in row) for row in margins]
    heights = [_height(form, row) for row in rows]
    if form.whole and len(rows) == 1:
        heights = [max(form.whole - tops[0] - bottoms[0], *(panel.least for panel in rows[0]), 1.0)]
    y = whole = sum(tops) + sum(bottoms) + sum(heights)
    drawing.set_size_inches(form.width, whole)
    for made, row, places, top, bottom, height in zip(
        axes, margins, cells, tops, bottoms, heights, strict=True
    ):
        y -= top + height
        for ax, margin, (begins, cell) in zip(made, row, places, strict=True):
            _place(drawing, ax, margin, (begins, y, cell, height))
        y -= bottom


def _place(drawing: Drawing, ax: Axes, margin: Margins, box: tuple[float, float, float, float]) -> None:
    """Axes with their margins in a box: its left end and width with the margins, bottom and height without; inches."""
    (begins, bottom, cell, height), (width, whole) = box, drawing.get_size_inches()
    wide = max(cell - margin.left - margin.right, _NARROWEST)
    ax.set_position(((begins + margin.left) / width, bottom / whole, wide / width, height / whole))
    marks.begin_at_left(ax, (_PAD - margin.left) / wide)


def _lay_out_slide(drawing: Drawing, panels: Sequence[Panel], form: style.Size) -> None:
    """Valleys or curves on the left, the lines that they lead to below each other on the right: a slide is low."""
    left = _LEADS * form.width
    drawing.set_size_inches(form.width, form.whole)
    lead, *lines = panels
    boxes = [(lead, 0.0, left, form.heights[0])]
    boxes += [(panel, left, form.width - left, form.heights[0] / (1 + len(lines))) for panel in lines]
    made = []
    for panel, begins, cell, height in boxes:
        place = (begins + _MARGINS[0]) / form.width, 0.0, (cell - sum(_MARGINS)) / form.width
        ax = drawing.add_axes((*place, height / form.whole))
        draw_panel(panel, ax)
        if panel is not lead:
            ax.set_ylabel("")  # longer than these axes are high; the title names the quantity
        if panel is not lead and panel is not lines[-1]:  # the last one's key and axis say the same
            ax.set_xlabel("")
            if legend := ax.get_legend():
                legend.remove()
        made.append((ax, _margins(drawing, ax), begins, cell))
    ax, margin, begins, cell = made[0]
    _place(drawing, ax, margin, (begins, margin.bottom, cell, form.whole - margin.top - margin.bottom))
    taken = sum(margin.top + margin.bottom for _, margin, _, _ in made[1:])
    height, y = max((form.whole - taken) / len(lines), _NARROWEST), form.whole
    for ax, margin, begins, cell in made[1:]:
        y -= margin.top + height
        _place(drawing, ax, margin, (begins, y, cell, height))
        y -= margin.bottom


class Margins(NamedTuple):
    """Inches that titles, ticks, keys and labels take around axes."""

    left: float
    bottom: float
    right: float
    top: float


def _fitted(drawing: Drawing, panel: Panel, ax: Axes, cell: float) -> Margins:
    """The margins of a panel, drawn again where its axes are much narrower than they were taken for."""
    margins = _margins(drawing, ax)
    wide, taken = cell - margins.left - margins.right, cell - sum(_MARGINS)
    if wide > _MUCH_NARROWER * taken:
        return margins
    place = ax.get_position()
    ax.clear()
    ax.set_position((place.x0, place.y0, place.width * max(wide, _NARROWEST) / taken, place.height))
    draw_panel(panel, ax, margin=taken - max(wide, _NARROWEST))
    return _margins(drawing, ax)


def _margins(drawing: Drawing, ax: Axes) -> Margins:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # titles may be wider than the axes: they have the whole width of the panel
    canvas: Any = FigureCanvasAgg(drawing)
    inner: Any = ax.bbox
    outer: Any = ax.get_tightbbox(canvas.get_renderer(), for_layout_only=True)
    ends = (inner.x0 - outer.x0, inner.y0 - outer.y0, outer.x1 - inner.x1, outer.y1 - inner.y1)
    left, bottom, right, top = (max(end, 0.0) / drawing.dpi + _PAD for end in ends)
    return Margins(left, bottom, right, top)


def _rows(figures: Sequence[Sequence[Panel]], form: style.Size) -> list[list[Panel]]:
    """Panels by rows: a figure's own in one row (four in two), single ones paired with the next single one."""
    if form.stacked:
        return [[panel] for panels in figures for panel in panels]
    rows: list[list[Panel]] = []
    open_row = False
    for panels in figures:
        if len(panels) == 1 and open_row:
            rows[-1].append(panels[0])
            open_row = False
            continue
        open_row = len(panels) == 1
        rest = list(panels)
        if panels[0].draw in _LEADING and not form.whole:
            rows.append([rest.pop(0)])
        per_row = 2 if len(rest) == 4 else 3
        rows += [rest[i : i + per_row] for i in range(0, len(rest), per_row)]
    return rows


def draw_panel(panel: Panel, ax: Axes, *, margin: float = 0.0) -> None:
    """Draw a panel and its title, which may go on over a margin of so many inches beside the axes."""
    panel.draw(ax, panel.data)
    if panel.title:
        marks.claim(ax, panel.title, margin=margin)
