"""The figures of a fit and of its checks, as blocks: `fit_figures` gives those it has, and why others are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from scaling.blocks import Blocks, Figure, Text
from scaling.errors import ScalingError
from scaling.fitting.comparison import LawComparison
from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.fitting.extrapolation import Extrapolation
from scaling.fitting.figures.approaches import envelope_figure, isoflop_figure
from scaling.fitting.figures.checks import comparison_figure, exponent_drift_figure, hold_out_figure
from scaling.fitting.figures.optimum import optimum_figure
from scaling.fitting.figures.surface import (
    coefficients_figure,
    influence_figure,
    power_law_figure,
    reads_one_quantity,
    residuals_figure,
    slices_figure,
    surface_figure,
)
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.fitting.surface.result import ParametricFit
from scaling.laws.base import Law
from scaling.runs import Runs
from scaling.translation import tr

Builders = Iterator[tuple[str, Callable[[], Figure]]]


def fit_figures(
    fit: Any,
    runs: Runs,
    *,
    target_flops: float | None = None,
    others: Sequence[Law] = (),
    held_out: Extrapolation | None = None,
    compared: LawComparison | None = None,
    draws: Any = None,
) -> Blocks:
    """Every figure of a fit, in the order to read them; where one cannot be, a line that says why.

    Args:
        fit: an IsoflopFit, EnvelopeFit, ParametricFit or LawFit of `runs`.
        target_flops: the budget that is planned for: marked, with N* and D* in the titles.
        others: laws to draw beside the fit's own; best of the same count of parameters.
        held_out, compared: the checks of the same runs, drawn too.
        draws: coefficients of a `Bootstrap` by name, for the joint picture.
    Example:
        >>> from scaling.reference.example import example_runs
        >>> from scaling.fitting.surface.fit import fit_parametric
        >>> runs = example_runs()
        >>> [block.kind for block in fit_figures(fit_parametric(runs), runs) if hasattr(block, "kind")][:2]
        ['compute-optimal', 'loss-surface']
    """
    builders = [*_of_fit(fit, runs, target_flops, others, draws), *_of_checks(fit, held_out, compared)]
    return tuple(_or_reason(name, build) for name, build in builders)


def _of_fit(fit: Any, runs: Runs, target: float | None, others: Sequence[Law], draws: Any) -> Builders:
    beside: dict[str, Any] = {"target_flops": target, "others": others}
    if isinstance(fit, IsoflopFit):
        yield tr("the valleys"), partial(isoflop_figure, fit, **beside)
    elif isinstance(fit, EnvelopeFit):
        yield tr("the envelope"), partial(envelope_figure, fit, runs, **beside)
    elif reads_one_quantity(fit):
        yield tr("the line"), partial(power_law_figure, fit, runs)
        yield tr("the residuals"), partial(residuals_figure, fit, runs)
        return
    else:
        yield tr("the compute-optimal size"), partial(optimum_figure, fit, **beside)
    if isinstance(fit, ParametricFit):
        yield tr("the loss surface"), partial(surface_figure, fit, target_flops=target)
        yield tr("the losses at equal compute"), partial(slices_figure, fit)
    if isinstance(fit, (IsoflopFit, EnvelopeFit)):
        return
    loss = partial(optimum_figure, fit, quantities=("loss",), target_flops=target, runs=runs)
    yield tr("the loss at the optimum"), loss
    yield tr("the residuals"), partial(residuals_figure, fit, runs)
    if isinstance(fit, ParametricFit):
        yield tr("the influence of runs"), partial(influence_figure, fit)
        yield tr("the coefficients"), partial(coefficients_figure, fit, draws=draws, others=others)


def _of_checks(fit: Any, held_out: Extrapolation | None, compared: LawComparison | None) -> Builders:
    if held_out is not None:
        yield tr("the hold-out"), partial(hold_out_figure, held_out)
        yield tr("the rolling cut"), partial(exponent_drift_figure, held_out, fit.params_exponent)
    if compared is not None:
        yield tr("the comparison of laws"), partial(comparison_figure, compared)


def _or_reason(name: str, build: Callable[[], Figure]) -> Figure | Text:
    try:
        return build()
    except ScalingError as error:
        return Text(tr("No figure of {name}: {why}", name=name, why=str(error)), "faint")
