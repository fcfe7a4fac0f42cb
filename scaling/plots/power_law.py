"""A law of one quantity as a picture: loss against parameters, tokens or compute, and what it says beyond the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import UsageError
from scaling.fitting.generic.result import LawFit
from scaling.fitting.prediction import loss_band
from scaling.plots import style
from scaling.runs import Runs
from scaling.runs.table import QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEYOND = 30.0  # times the largest value of the runs
POINTS = 80


def reads_one_quantity(fit: LawFit) -> bool:
    """Whether the law is a function of n_params, n_tokens or flops alone."""
    inputs = fit.law.family.inputs
    return len(inputs) == 1 and inputs[0].name in QUANTITIES


def plot_power_law(fit: LawFit, runs: Runs, *, ax: Axes | None = None) -> Axes:
    """Measured losses over the fitted line: solid where there were runs, dashed beyond, with the stated band.

    Conclude: does the line follow the runs at both ends, and how wide is the band where you extrapolate?
    """
    if not reads_one_quantity(fit):
        raise UsageError(
            f"the {fit.law.family.name} law reads several quantities; draw plot_residuals instead."
        )
    name = fit.law.family.inputs[0].name
    values = np.asarray(getattr(runs, name))
    low, high = float(values.min()), float(values.max())
    with style.axes_or_new(ax) as ax:
        style.quantity_axis(ax.xaxis, name)
        ax.plot(values, runs.loss, "o", color=style.INK, markersize=3.4, label=f"{len(runs)} runs", zorder=4)
        for start, end, line in ((low, high, "-"), (high, BEYOND * high, style.EXTRAPOLATED)):
            x = np.geomspace(start, end, POINTS)
            loss = fit.law.predict({name: x})["loss"]
            ax.plot(
                x,
                loss,
                color=style.FIT,
                linestyle=line,
                label=fit.law.family.formula if line == "-" else None,
            )
        x = np.geomspace(low, BEYOND * high, POINTS)
        band = loss_band(fit.law, {name: x})
        if band is not None:
            ax.fill_between(x, band[:, 0], band[:, 1], color=style.FIT, alpha=style.BAND_ALPHA, linewidth=0,
                            label=f"{100 * fit.level:g} % band")  # fmt: skip
        style.quantity_axis(ax.xaxis, name)  # again: its ticks follow the range drawn
        style.loss_axis(ax.yaxis, style.loss_unit(fit))
        ax.set_title("Runs and the fitted law")
        ax.legend(loc="upper right")
        return ax
