"""The law that Approaches 1 and 2 hand to the planner: N*(C), L*(C) and their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from scaling.errors import FitError
from scaling.fitting.loss_frontier import LossFrontier
from scaling.fitting.power_law import PowerLawFit
from scaling.laws.base import SAME_FLOPS, Allocation, OptimumBand, Provenance, Uncertainty
from scaling.laws.frontier import FrontierLaw
from scaling.runs import Runs

# budgets at which the law states its band: from a laptop's second to far beyond any run
BAND_LOG10_FLOPS = tuple(float(v) for v in np.arange(8.0, 30.25, 0.5))


class Conversion(NamedTuple):
    """From C as a table counts it to 6 N D at the optimum: 6 N* D* = e^ln_factor C^power."""

    ln_factor: float
    power: float

    def flops(self, own: float) -> float:
        """6 N* D* of the budget that the table calls `own`."""
        return math.exp(self.ln_factor + self.power * math.log(own))


def conversion(params_line: PowerLawFit, tokens_line: PowerLawFit, ends: tuple[float, float]) -> Conversion:
    """From the two lines; the identity where C is 6ND already, as far as tables print it."""
    ln_factor = math.log(6 * params_line.coefficient.value) + math.log(tokens_line.coefficient.value)
    found = Conversion(ln_factor, params_line.exponent.value + tokens_line.exponent.value)
    same = all(abs(math.log(found.flops(c) / c)) <= SAME_FLOPS for c in ends)
    return Conversion(0.0, 1.0) if same else found


def allocate_by_lines(
    params_line: PowerLawFit, tokens_line: PowerLawFit, loss_frontier: LossFrontier | None, flops: float
) -> Allocation:
    """N*, D* and L* at a budget counted as the table counts it."""
    return Allocation(
        flops=flops,
        n_params=float(params_line.predict(flops)),
        n_tokens=float(tokens_line.predict(flops)),
        loss=None if loss_frontier is None else float(loss_frontier.predict(flops)),
    )


def frontier_law(
    runs: Runs,
    approach: str,
    params_line: PowerLawFit,
    tokens_line: PowerLawFit,
    loss_frontier: LossFrontier | None,
    *,
    fitted_range: Mapping[str, tuple[float, float]],
    statement: str,
) -> FrontierLaw:
    """A FrontierLaw with provenance and band, its C and D* those of C = 6 N D.

    A table may count C otherwise (attention, the embedding, another N). Its lines N* = k C^a and D* = k' C^b then have
    6 N* D* = 6 k k' C^(a+b), and in x = 6 N* D* the law is N* = k (x / (6 k k'))^(a/(a+b)), D* = x / (6 N*).

    Args:
        fitted_range: with `flops` as the table counts them.
    Raises:
        FitError: an exponent lies outside (0, 1), so that N* or D* would shrink with compute.
    """
    c = conversion(params_line, tokens_line, fitted_range["flops"])
    a = params_line.exponent.value / c.power
    if not 0 < a < 1:
        raise FitError(
            f"{approach} on {runs.source} gives N* ~ C^{a:.3g}, but both N* and D* must grow with compute "
            "(an exponent between 0 and 1). Look at the minima, add budgets or sizes, or fit Approach 3."
        )
    loss = {}
    if loss_frontier is not None:
        loss = {
            "L_floor": loss_frontier.L_floor,
            "C_c": c.flops(loss_frontier.C_c),
            "gamma": loss_frontier.gamma / c.power,
        }
    own_ends = fitted_range["flops"]
    flops_ends = (c.flops(own_ends[0]), c.flops(own_ends[1]))
    ratios = sorted(own / flops for own, flops in zip(own_ends, flops_ends, strict=True))
    return FrontierLaw(
        k=math.exp(math.log(params_line.coefficient.value) - a * c.ln_factor),
        a=a,
        **loss,
        provenance=Provenance(
            name=runs.source,
            source=f"{approach} on {runs.source}",
            params_convention=runs.convention.params,
            flops_convention=runs.convention.flops,
            flops_over_6nd=(ratios[0], ratios[1]),
            loss_unit=runs.convention.loss_unit,
            fitted_range={**fitted_range, "flops": flops_ends},
            status="fitted",
        ),
        uncertainty=_uncertainty(params_line, loss_frontier, statement, c),
    )


def _uncertainty(
    line: PowerLawFit, loss_frontier: LossFrontier | None, statement: str, c: Conversion
) -> Uncertainty:
    """The bands of N*(C) and L*(C); a loss that is not known lies between 0 and inf."""
    grid = np.array(BAND_LOG10_FLOPS)  # of 6 N D
    flops = np.exp((grid * math.log(10) - c.ln_factor) / c.power)
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
