"""The usual panels of a fit in one figure, and that figure in a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.errors import UsageError, shown
from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.fitting.generic.result import LawFit
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.fitting.parametric.result import ParametricFit
from scaling.fitting.results import Fit
from scaling.plots import style
from scaling.plots.approaches import plot_envelope, plot_isoflop
from scaling.plots.figures import check_picture, save_picture
from scaling.plots.fitted_law import (
    plot_parametric,
    plot_power_law,
    plot_residuals,
    plot_slices,
    reads_one_quantity,
)
from scaling.plots.frontier import plot_frontier
from scaling.runs import Runs
from scaling.runs.table import require_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = (5.6, 3.9)  # inches


def fit_figure(fit: Fit, runs: Runs) -> Figure:
    """Valleys and frontier (Approach 2), curves and frontier (1), map, slices, loss and residuals (3).

    Of a law of one quantity: the line over its runs, and residuals; of any other family residuals.

    `fit` is an IsoflopFit, EnvelopeFit, ParametricFit or LawFit of `runs`.
    Example:
        >>> import scaling
        >>> runs = scaling.example_runs()
        >>> len(scaling.plots.fit_figure(scaling.fit_parametric(runs), runs).axes) >= 4
        True
    """
    require_runs(runs, "a picture of a fit")
    panels = _panels(fit, runs)
    rows, columns = (2, 2) if len(panels) == 4 else (1, len(panels))
    with style.context():
        figure = style.new_drawing(PANEL[0] * columns, PANEL[1] * rows)
        for draw, ax in zip(panels, figure.subplots(rows, columns, squeeze=False).ravel(), strict=True):
            draw(ax=ax)
    return figure


def _panels(fit: Fit, runs: Runs) -> list[Callable[..., Axes]]:
    if isinstance(fit, IsoflopFit):
        return [partial(plot_isoflop, fit), partial(plot_frontier, fit)]
    if isinstance(fit, EnvelopeFit):
        return [partial(plot_envelope, fit, runs), partial(plot_frontier, fit)]
    if isinstance(fit, ParametricFit):
        loss = partial(plot_frontier, fit, quantity="loss")
        return [partial(plot_parametric, fit), partial(plot_slices, fit), loss, partial(plot_residuals, fit)]
    if not isinstance(fit, LawFit):
        how = "make it by fit_isoflop, fit_envelope, fit_parametric or fit_law"
        raise UsageError(f"a picture is of a fit, got {shown(fit)}; {how}.")
    residuals = partial(plot_residuals, fit, runs)
    return [partial(plot_power_law, fit, runs), residuals] if reads_one_quantity(fit) else [residuals]


def draw_fit(fit: Fit, runs: Runs, path: str | Path) -> None:
    """Write `fit_figure` to a file; its suffix (png, pdf, svg) is the format.

    Raises:
        UsageError: a suffix that is no picture format, or a file that cannot be written.
    Example:
        >>> import scaling
        >>> runs = scaling.example_runs()
        >>> scaling.plots.draw_fit(scaling.fit_isoflop(runs), runs, "fit.png")
    """
    check_picture(path)
    save_picture(fit_figure(fit, runs), path)
