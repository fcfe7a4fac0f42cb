"""Figures of blocks on axes, as SVG, or in a file: one way to draw each kind of picture, from its data alone.

A block's figure is a kind and its columns; each kind here says which it needs and what panels it has. A value that is
infinite or undefined leaves a gap.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaling.arguments import require_kind, require_path
from scaling.blocks import Block, Figure, checked_blocks
from scaling.errors import StorageError, UsageError
from scaling.files import whole_file
from scaling.plots import checks, decoding, optimum, planning, style, surface
from scaling.plots.optimum import Data
from scaling.plots.sheets import Panel, draw_panel, sheet
from scaling.translation import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from scaling.plots.optimum import Draw

PICTURES = (".png", ".pdf", ".svg")
DARK_PAPER = "#16181c"


class Kind(NamedTuple):
    """What a kind of figure is called, which columns it needs, and its panels."""

    name: Callable[[], str]  # the title of a figure that claims nothing
    needs: tuple[str, ...]
    panels: Callable[[Data], Sequence[Draw]]
    per_row: tuple[str, float] = ("", 0.0)  # a column of names down the side, and inches that each takes


def _only(draw: Draw) -> Callable[[Data], Sequence[Draw]]:
    return lambda _: (draw,)


def _isoflop(data: Data) -> Sequence[Draw]:
    return (optimum.draw_valleys, *optimum.optimum_panels(data))


def _envelope(data: Data) -> Sequence[Draw]:
    return (optimum.draw_envelope, *optimum.optimum_panels(data))


_KINDS: dict[str, Kind] = {
    "audit": Kind(lambda: tr("Models against their optimum"),
                  ("flops", "n_params", "model", "verdict", "size_ratio", "line_flops", "line_n_params",
                   "rule_n_params"), _only(planning.draw_audit)),
    "beam-tree": Kind(lambda: tr("Beam search"),
                      ("node_step", "node_parent", "node_piece", "node_logprob", "node_status"),
                      _only(decoding.draw_beam_tree), ("leaf", 0.22)),
    "coefficients": Kind(lambda: tr("Coefficients that hang together"),
                         ("draw_alpha", "draw_beta", "draw_A", "draw_E", "fit_alpha", "fit_beta", "fit_A", "fit_E"),
                         surface.coefficient_panels),
    "comparison": Kind(lambda: tr("Laws and objectives"), ("law", "objective", "n_params", "target_flops"),
                       _only(checks.draw_comparison), ("law", 0.3)),
    "compute-optimal": Kind(lambda: tr("Optimal size"), ("flops",), optimum.optimum_panels),
    "envelope": Kind(lambda: tr("Training curves"),
                     ("envelope_flops", "envelope_n_params", "envelope_loss", "crossing_flops", "crossing_loss"),
                     _envelope),
    "exponent-drift": Kind(lambda: tr("Rolling cut"), ("cut_flops", "cut_exponent"), _only(checks.draw_drift)),
    "hold-out": Kind(lambda: tr("Hold-out"), ("run_loss", "run_predicted", "cut_flops"), checks.hold_out_panels),
    "influence": Kind(lambda: tr("Influence of runs"),
                      ("run_id", "exponent_without", "exponent", "removed_exponent", "removed_error"),
                      surface.influence_panels),
    "isoflop": Kind(lambda: tr("IsoFLOP valleys"), ("budget", "run_budget", "run_loss", "minimum_loss", "level"),
                    _isoflop),
    "law-spread": Kind(lambda: tr("Published laws"), ("law", "n_params", "inside", "own_n_params"),
                       _only(checks.draw_spread), ("law", 0.122)),
    "loss-slices": Kind(lambda: tr("Losses at equal compute"), ("budget", "run_budget", "run_loss", "curve_loss"),
                        _only(surface.draw_slices)),
    "loss-surface": Kind(lambda: tr("Loss surface"),
                         ("grid_flops", "grid_n_params", "grid_loss", "floor", "flops", "n_params", "run_flops"),
                         _only(surface.draw_surface)),
    "next-token": Kind(lambda: tr("The next token"),
                       ("bar", "bar_temperature", "bar_piece", "bar_probability", "temperature", "n_top_k",
                        "n_nucleus"), decoding.next_token_panels, ("bar", 0.17)),
    "off-optimum": Kind(lambda: tr("The cost of leaving the optimum"), ("n_params", "extra_compute", "optimum"),
                        _only(planning.draw_off_optimum)),
    "power-law": Kind(lambda: tr("Law of one quantity"), ("quantity", "x", "loss", "fitted_x", "run_x", "run_loss"),
                      _only(surface.draw_power_law)),
    "prediction": Kind(lambda: tr("Predicted losses"), ("quantity", "run_x", "run_loss", "run_predicted"),
                       checks.prediction_panels),
    "residuals": Kind(lambda: tr("Residuals"), ("run_residual_percent", "robust_scale_percent"),
                      surface.residual_panels),
    "sweep": Kind(lambda: tr("Progress of the sweep"), ("flops", "n_params", "state"), _only(planning.draw_sweep)),
}  # fmt: skip


def panels_of(figure: Figure) -> list[Panel]:
    """The panels of a block's figure.

    Raises:
        UsageError: a kind that is none of ours, or one without the columns it needs.
    """
    if figure.kind not in _KINDS:
        raise UsageError(f"a figure is one of {', '.join(_KINDS)}; got {figure.kind!r}.")
    kind = _KINDS[figure.kind]
    missing = [key for key in kind.needs if key not in figure.data]
    if missing:
        raise UsageError(
            f"a figure of {figure.kind} needs {', '.join(kind.needs)}; {', '.join(missing)} is missing."
        )
    data = {key: _column(values) for key, values in figure.data.items()}
    draws = kind.panels(data)
    if not draws:
        raise UsageError(f"a figure of {figure.kind} needs n_params, n_tokens or loss; n_params is missing.")
    titles = [*map(style.with_glyphs, figure.titles or (kind.name(),)), *[""] * len(draws)]
    names, inches = kind.per_row
    least = inches * len(data.get(names, ()))
    return [Panel(draw, data, title, least) for draw, title in zip(draws, titles, strict=False)]


def _column(values: Sequence[float] | Sequence[str]) -> Any:
    if len(values) > 0 and isinstance(values[0], str):
        return np.asarray([style.with_glyphs(str(name)) for name in values], dtype=str)
    return np.asarray(values, dtype=np.float64)


def draw_figure(figure: Figure, *, ax: Axes | None = None) -> Axes:
    """Draw a block's figure, on `ax` or on axes of its own; several panels share the place of `ax` side by side.

    Returns:
        The axes of the first panel.

    Raises:
        UsageError: a kind that is none of ours, or one without the columns it needs.

    Example:
        >>> import scaling
        >>> figure = scaling.find_law("besiroglu").summary()[-1]
        >>> scaling.plots.draw_figure(figure).get_xscale()
        'log'
    """
    require_kind("figure", figure, Figure, "Take one of the blocks of a summary().")
    panels = panels_of(figure)
    with style.axes_or_new(ax) as ax:
        axes = [ax] if len(panels) == 1 else _shared(ax, len(panels))
        for panel, at in zip(panels, axes, strict=True):
            draw_panel(panel, at)
        return axes[0]


def _shared(ax: Axes, n: int) -> list[Axes]:
    """n axes in the place of one."""
    place, drawing = ax.get_subplotspec(), ax.figure
    if place is None:
        raise UsageError(
            f"this figure has {n} panels and needs axes of a grid: give it one of plt.subplots()."
        )
    ax.remove()
    grid = place.subgridspec(1, n)
    return [drawing.add_subplot(grid[i]) for i in range(n)]


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


# --- pages ---


def _checked(figures: Sequence[Figure]) -> Sequence[Figure]:
    """The figures as a tuple; raises for anything else."""
    how = "Take those of a summary()."
    require_kind("figures", figures, (list, tuple), how)
    for figure in figures:
        require_kind("each figure", figure, Figure, how)
    return figures


def compose(figures: Sequence[Figure], *, size: str = "page") -> Drawing:
    """All panels of some figures on one sheet: those of one figure side by side, figures of one panel two in a row.

    Args:
        size: column (3.25 inches wide, panels one below the other), page (6.5) or slide (16:9 for one row).

    Raises:
        UsageError: an unknown size, no figure, or one that cannot be drawn.

    Example:
        >>> import scaling
        >>> drawing = scaling.plots.compose([scaling.find_law("besiroglu").summary()[-1]], size="column")
    """
    figures = _checked(figures)
    return sheet([panels_of(figure) for figure in figures], size)


def draw_figures(figures: Sequence[Figure], path: str | Path, *, size: str = "page") -> list[Path]:
    """Write figures: to a picture all of them on one sheet, to a folder each in an SVG file named by its kind.

    Args:
        path: a .png, .pdf or .svg file, or a folder, which is made.
        size: column, page or slide.

    Returns:
        The files written.

    Raises:
        UsageError: a suffix that is no picture, no figure.
        StorageError: a file that cannot be written.

    Example:
        >>> import scaling
        >>> [str(path) for path in scaling.plots.draw_figures([scaling.find_law("besiroglu").summary()[-1]], "law.svg")]
        ['law.svg']
    """
    figures = _checked(figures)
    require_path("a picture", path)
    path = Path(path)
    if path.suffix:
        check_picture(path)
        save_picture(compose(figures, size=size), path, size=size)
        return [path]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder {path} could not be made: {error.strerror}.") from error
    names = [figure.kind for figure in figures]
    written = []
    for i, figure in enumerate(figures):
        same = names[:i].count(figure.kind)
        file = path / f"{figure.kind}{f'-{same + 1}' if same else ''}.svg"
        save_picture(compose([figure], size=size), file, size=size)
        written.append(file)
    return written


def names_of(figures: Sequence[Figure]) -> str:
    """What some figures show, for the line that says what was written: "IsoFLOP valleys, Hold-out"."""
    return ", ".join(dict.fromkeys(_KINDS[figure.kind].name() for figure in figures))


def figure_svg(figure: Figure, *, size: str = "page", dark_too: bool = False) -> str:
    """The drawing as an <svg> element for a page: the same text for the same data, and no style for the page around.

    Args:
        dark_too: on a dark page its colours are those that stand out there as the light ones do on white; for HTML.

    Example:
        >>> import scaling
        >>> scaling.plots.figure_svg(scaling.find_law("besiroglu").summary()[-1])[:4]
        '<svg'
    """
    require_kind("figure", figure, Figure, "Take one of the blocks of a summary().")
    drawing = compose([figure], size=size)
    file = io.StringIO()
    with style.context(size):
        drawing.savefig(file, format="svg", metadata=_NO_METADATA)
    svg = _for_a_page(file.getvalue())
    return light_and_dark(svg) if dark_too else svg


_NO_METADATA: Mapping[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def _for_a_page(svg: str) -> str:
    """Without what would reach beyond the picture: its style sheet, and names another picture has too."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = svg.replace("<svg ", '<svg style="stroke-linejoin: round; stroke-linecap: butt" ', 1)
    own = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    used = list(dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)))
    names = {name: f"{own}-{i}" for i, name in enumerate(used)}
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", svg)
    svg = re.sub(r'(url\(#|href="#)([^)"]+)', lambda m: m[1] + names[m[2]], svg)
    svg = _MARKS.sub(_one_style, svg)
    return re.sub(r"<[^>]+>", lambda tag: _DIGITS.sub(r"\1", tag[0]), svg).strip()


_DIGITS = re.compile(r"(\d\.\d\d)\d+")  # of coordinates: a hundredth of a point is enough
_MARKS = re.compile(r'<g (clip-path="[^"]+")>\s*((?:<use [^>]*/>\s*)+)</g>')


def _one_style(marks_of_a_line: re.Match[str]) -> str:
    """The marks of a line share a style: told once, a picture of many runs is half as large."""
    clip, uses = marks_of_a_line.groups()
    styles = set(re.findall(r' style="([^"]*)"', uses))
    if len(styles) != 1:
        return marks_of_a_line[0]
    plain = re.sub(r' style="[^"]*"', "", uses)
    return f'<g {clip} style="{styles.pop()}">{plain}</g>'


def light_and_dark(svg: str) -> str:
    """Colours as variables of the picture, each light or dark as the page is (CSS light-dark)."""
    colours = list(dict.fromkeys(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg)))
    names = {colour: f"--c{i}" for i, colour in enumerate(colours)}
    svg = re.sub(r"(fill|stroke): (#[0-9a-f]{6})", lambda m: f"{m[1]}: var({names[m[2]]})", svg)
    said = "; ".join(
        f"{names[colour]}: light-dark({colour}, {style.on_dark(colour, DARK_PAPER)})" for colour in colours
    )
    return svg.replace('style="', f'style="{said}; fill: var({names.get(style.INK, "--c0")}); ', 1)


# --- files ---


def check_picture(path: str | Path) -> None:
    """Refuse a file name whose suffix is no picture format, before any work.

    Raises:
        UsageError: it is none.
    """
    require_path("a picture", path)
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in style.new_drawing().canvas.get_supported_filetypes():
        raise UsageError(f"a picture is a .png, .pdf or .svg file; got {Path(path).name!r}.")


def save_picture(figure: Drawing, path: str | Path, *, size: str = "page") -> None:
    """Write the figure; the suffix (png, pdf, svg) is the format. The same figure gives the same bytes.

    Raises:
        UsageError: a suffix that is no picture format.
        StorageError: a file that cannot be written.
    """
    check_picture(path)
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(Path(path).suffix.lower())
    try:
        with (
            style.context(size),
            whole_file(Path(path)) as beside,
        ):  # resolution and fonts are settings of saving
            figure.savefig(beside, metadata=undated)
    except OSError as error:
        raise StorageError(f"the picture {path} could not be written: {error.strerror}.") from error
