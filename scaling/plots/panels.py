"""The usual panels of a fit in one figure, and that figure in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.fitting.parametric.result import ParametricFit
from scaling.plots import style
from scaling.plots.envelope import plot_envelope
from scaling.plots.frontier import plot_frontier
from scaling.plots.isoflop import plot_isoflop
from scaling.plots.parametric import plot_parametric, plot_residuals, plot_slices
from scaling.plots.picture import check_picture, save_picture
from scaling.plots.power_law import plot_power_law, reads_one_quantity
from scaling.runs import Runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = (5.6, 3.9)  # inches


def fit_figure(fit: Any, runs: Runs) -> Figure:
    """Valleys and frontier (Approach 2), curves and frontier (1), map, slices, loss and residuals (3).

    Of a law of one quantity: the line over its runs, and residuals; of any other family residuals.

    `fit` is an IsoflopFit, EnvelopeFit, ParametricFit or LawFit of `runs`.
    """
    with style.context():
        if isinstance(fit, IsoflopFit):
            figure, axes = _panels(1, 2)
            plot_isoflop(fit, ax=axes[0])
            plot_frontier(fit, ax=axes[1])
        elif isinstance(fit, EnvelopeFit):
            figure, axes = _panels(1, 2)
            plot_envelope(fit, runs, ax=axes[0])
            plot_frontier(fit, ax=axes[1])
        elif isinstance(fit, ParametricFit):
            figure, axes = _panels(2, 2)
            plot_parametric(fit, ax=axes[0])
            plot_slices(fit, ax=axes[1])
            plot_frontier(fit, quantity="loss", ax=axes[2])
            plot_residuals(fit, ax=axes[3])
        elif reads_one_quantity(fit):
            figure, axes = _panels(1, 2)
            plot_power_law(fit, runs, ax=axes[0])
            plot_residuals(fit, runs, ax=axes[1])
        else:
            figure, axes = _panels(1, 1)
            plot_residuals(fit, runs, ax=axes[0])
    return figure


def draw_fit(fit: Any, runs: Runs, path: str | Path) -> None:
    """Write `fit_figure` to a file; its suffix (png, pdf, svg) is the format.

    Raises:
        UsageError: a suffix that is no picture format, or a file that cannot be written.
    """
    check_picture(path)
    save_picture(fit_figure(fit, runs), path)


def _panels(rows: int, columns: int) -> tuple[Figure, list[Any]]:
    # a bare Figure, not pyplot: no window, no global list of open figures
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.ravel())
