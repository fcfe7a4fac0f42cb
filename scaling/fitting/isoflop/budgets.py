"""The runs of each budget as one valley sees them: moved to the nominal budget, on the axis ln(tokens)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.fitting.isoflop.valley import (
    Shape,
    Valley,
    fit_polynomial_valley,
    fit_surface_valley,
)
from scaling.fitting.one_dimension import minimum_between
from scaling.laws.base import Law
from scaling.runs import BudgetClusters, Runs

Array = NDArray[np.float64]
ValleyKind = Literal["parabola", "quartic", "surface"]

SAME_BUDGET = 1e-6  # relative distance to the nominal budget below which nothing is moved


@dataclass(frozen=True, kw_only=True, eq=False)
class BudgetRuns:
    """Runs of one budget. Where `moved`, N and D are scaled so that C is nominal, and the loss with them.

    C / (N D) is 6 for 6ND counting; for exact counting it changes along the valley, and `ln_factor` holds it as a
    polynomial: ln(C / (N D)) = sum of ln_factor[k] (ln D - centre)^k.
    """

    flops: float
    rows: NDArray[np.int64]  # positions in the table
    n_params: Array
    n_tokens: Array
    loss: Array
    measured_loss: Array
    moved: bool
    centre: float
    ln_factor: Array  # one coefficient where C / (N D) is constant, else three

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def x(self) -> Array:
        return np.log(self.n_tokens)

    def ln_params(self, x: Array) -> Array:
        """ln N of the model that spends this budget on exp(x) tokens."""
        return np.asarray(math.log(self.flops) - x - polynomial.polyval(x - self.centre, self.ln_factor))

    def point_at(self, x: float) -> tuple[float, float]:
        """(n_params, n_tokens) of this budget at ln(tokens) = x; infinite x gives (0, inf) or (inf, 0)."""
        if math.isinf(x):
            return (0.0, math.inf) if x > 0 else (math.inf, 0.0)
        return math.exp(float(self.ln_params(np.asarray(x)))), math.exp(x)

    def shape(self, law: Law) -> Shape:
        """The law's loss along this budget, as a function of ln(tokens)."""

        def along(x: Array) -> Array:
            x = np.asarray(x, dtype=np.float64)
            return np.asarray(law.loss(np.exp(self.ln_params(x)), np.exp(x)), dtype=np.float64)

        return along

    def surface_minimum(self, law: Law) -> float:
        """ln(tokens) of the law's minimum on this budget.

        In closed form where C / (N D) is constant, else searched three decades either side of the runs.
        """
        if len(self.ln_factor) == 1:
            product = math.exp(math.log(self.flops) - float(self.ln_factor[0]))
            return math.log(law.allocate(FLOPS_PER_PARAM_TOKEN * product).n_tokens)
        reach = math.log(1000.0)
        return minimum_between(self.shape(law), self.x.min() - reach, self.x.max() + reach)


def budget_runs(runs: Runs, clusters: BudgetClusters, law: Law | None) -> list[BudgetRuns]:
    """One group per budget in rising order; without a law nothing is moved."""
    return [_group(runs, clusters.members(i), float(clusters.flops[i]), law) for i in range(len(clusters))]


def fit_budget_valley(
    group: BudgetRuns, kind: ValleyKind, law: Law | None, *, level: float | None, min_runs: int
) -> Valley:
    """The valley of this kind through the runs of one budget; `law` is needed for kind `surface` only."""
    if kind == "surface" and law is not None and level is not None:
        return fit_surface_valley(
            group.x,
            group.loss,
            shape=group.shape(law),
            start=group.surface_minimum(law),
            level=level,
            min_runs=min_runs,
        )
    degree = 2 if kind == "parabola" else 4
    return fit_polynomial_valley(group.x, group.loss, degree=degree, level=level, min_runs=min_runs)


def _group(runs: Runs, rows: NDArray[np.int64], flops: float, law: Law | None) -> BudgetRuns:
    n_params, n_tokens, loss = runs.n_params[rows], runs.n_tokens[rows], runs.loss[rows]
    measured = loss
    # same D/N at the nominal budget: N and D both take half of the change of C. Moving along the ratio changes
    # the loss by what the surface says compute is worth there, to first order whichever way the split goes.
    step = np.sqrt(flops / runs.flops[rows])
    moved = law is not None and bool(np.any(np.abs(step**2 - 1) > SAME_BUDGET))
    if law is not None and moved:
        before = np.asarray(law.loss(n_params, n_tokens))
        n_params, n_tokens = n_params * step, n_tokens * step
        loss = loss + np.asarray(law.loss(n_params, n_tokens)) - before
    x = np.log(n_tokens)
    centre = float(x.mean())
    ln_k = np.log(flops if moved else runs.flops[rows]) - np.log(n_params) - x
    return BudgetRuns(
        flops=flops,
        rows=rows,
        n_params=n_params,
        n_tokens=n_tokens,
        loss=loss,
        measured_loss=measured,
        moved=moved,
        centre=centre,
        ln_factor=_ln_factor(ln_k, x - centre),
    )


def _ln_factor(ln_k: Array, x: Array) -> Array:
    """ln(C / (N D)) as a parabola in x; its mean where it is constant to six digits or there are too few sizes."""
    if np.ptp(ln_k) < 1e-6 or len(np.unique(x)) < 4:
        return np.array([ln_k.mean()])
    return np.asarray(polynomial.polyfit(x, ln_k, 2))
