"""The law that Approaches 1 and 2 hand to the planner: N*(C), L*(C) and their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from scaling.errors import FitError
from scaling.fitting.loss_frontier import LossFrontier
from scaling.fitting.power_law import PowerLawFit
from scaling.laws.base import OptimumBand, Provenance, Uncertainty
from scaling.laws.frontier import FrontierLaw
from scaling.runs import Runs

# budgets at which the law states its band: from a laptop's second to far beyond any run
BAND_LOG10_FLOPS = tuple(float(v) for v in np.arange(8.0, 30.25, 0.5))


def frontier_law(
    runs: Runs,
    approach: str,
    params_line: PowerLawFit,
    loss_frontier: LossFrontier | None,
    *,
    fitted_range: Mapping[str, tuple[float, float]],
    statement: str,
) -> FrontierLaw:
    """A FrontierLaw with provenance and band.

    Raises:
        FitError: the exponent lies outside (0, 1), so that N* or D* would shrink with compute.
    """
    a = params_line.exponent.value
    if not 0 < a < 1:
        raise FitError(
            f"{approach} on {runs.source} gives N* ~ C^{a:.3g}, but both N* and D* must grow with compute "
            "(an exponent between 0 and 1). Look at the minima, add budgets or sizes, or fit Approach 3."
        )
    loss = {}
    if loss_frontier is not None:
        loss = {"L_floor": loss_frontier.L_floor, "C_c": loss_frontier.C_c, "gamma": loss_frontier.gamma}
    return FrontierLaw(
        k=params_line.coefficient.value,
        a=a,
        **loss,
        provenance=Provenance(
            name=runs.source,
            source=f"{approach} on {runs.source}",
            params_convention=runs.convention.params,
            flops_convention=runs.convention.flops,
            loss_unit=runs.convention.loss_unit,
            fitted_range=dict(fitted_range),
            status="fitted",
        ),
        uncertainty=_uncertainty(params_line, loss_frontier, statement),
    )


def _uncertainty(line: PowerLawFit, loss_frontier: LossFrontier | None, statement: str) -> Uncertainty:
    """The bands of N*(C) and L*(C); a loss that is not known lies between 0 and inf."""
    flops = 10.0 ** np.array(BAND_LOG10_FLOPS)
    low, high = line.band(flops)
    loss_low, loss_high = np.zeros_like(flops), np.full_like(flops, math.inf)
    if loss_frontier is not None:
        loss_low, loss_high = loss_frontier.band(flops, line.level)
    interval = line.exponent.interval
    return Uncertainty(
        level=line.level,
        method=f"line through the minima, {interval.method if interval else 'no interval'}",
        statement=statement,
        band=OptimumBand(
            log10_flops=BAND_LOG10_FLOPS,
            n_params_low=tuple(low.tolist()),
            n_params_high=tuple(high.tolist()),
            loss_low=tuple(loss_low.tolist()),
            loss_high=tuple(loss_high.tolist()),
        ),
    )
