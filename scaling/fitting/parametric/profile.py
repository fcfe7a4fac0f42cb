"""Profile intervals: move one quantity away from its estimate, refit the rest, stop where the fit is too much worse.

Unlike estimate +- t standard errors they follow the curvature of the problem, do not cross bounds, and become
infinite where the runs do not determine a quantity. All ends of all quantities are solved as one batch.
Shapes: K quantities, 2K ends in the order (low, high) per quantity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.parametric.quantities import Quantity, as_targets, give_up
from scaling.fitting.parametric.sandwich import Linearisation
from scaling.fitting.parametric.solver import minimise, multiplier, within_bounds
from scaling.fitting.parametric.surface import LOWER, UPPER, Array

_ENOUGH = 1e-4  # of the rise in the objective at the end: the refit need not be better than the end
_CLOSE = 2e-4  # relative error allowed in z, so of the half-width
_NEAR = 3.0  # thresholds: a refit farther out than this is no neighbour of the end
_MAX_ROUNDS = 40
_LARGEST_EXPANSION = 4.0  # a quadratic guess may send the first steps of a flat profile anywhere
_FIRST_STEP = 3.0  # standard errors may be infinite: no first step beyond this many solver units


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfileEnds:
    """Ends in solver units, +-inf where the profile never crosses or could not be followed to its crossing."""

    ends: Array  # (K, 2)
    better: Array | None  # (5,) a point below the supposed minimum, if the search met one
    n_rounds: int


def profile_ends(
    fit: Linearisation, objective: float, quantities: Sequence[Quantity], errors: Array, thresholds: Array
) -> ProfileEnds:
    """Both ends of each quantity: where sqrt(2 (F(q) - F) / s2) reaches its threshold.

    Args:
        objective: F at the optimum.
        errors: (K,) classical standard errors, for the first guess.
        thresholds: (K,) z at the ends: t quantile x kappa.
    """
    search = _Search(fit, objective, quantities, errors, thresholds)
    for _ in range(_MAX_ROUNDS):
        search.round()
        if not search.open.size:
            break
    K = len(quantities)
    return ProfileEnds(
        ends=search.safe_ends().reshape(K, 2),
        better=search.better,
        n_rounds=search.n_rounds,
    )


class _Search:
    """A safeguarded Newton search on z(q) for each end. All arrays have one row an end."""

    def __init__(
        self,
        fit: Linearisation,
        objective: float,
        quantities: Sequence[Quantity],
        errors: Array,
        thresholds: Array,
    ) -> None:
        K = len(quantities)
        self.fit, self.objective, self.n_rounds = fit, objective, 0
        self.better: Array | None = None
        self.targets = as_targets(quantities).take(np.repeat(np.arange(K), 2))
        self.theta = np.tile(fit.theta, (2 * K, 1))
        self.centre = self.targets.value(self.theta)
        self.side = np.tile([-1.0, 1.0], K)
        self.threshold = np.repeat(thresholds, 2)
        limits = [give_up(q, c) for q, c in zip(quantities, self.centre[::2], strict=True)]
        self.limit = np.array(limits).reshape(-1)
        # a coordinate on its bound has no first-order error: start with a hundredth of the way to the limit
        self.least = np.minimum(0.01, 0.01 * np.abs(self.limit - self.centre))
        step = np.minimum(np.repeat(thresholds * errors, 2), _FIRST_STEP)
        step = np.where(step > 0, step, self.least)
        self.inner = self.centre.copy()  # the farthest value known to lie inside the interval,
        self.inner_theta = self.theta.copy()  # its refit, and d theta / dq there: where to start again from
        self.outer = self.limit.copy()  # the nearest known to lie outside, or the limit
        self.crossed = np.zeros(2 * K, dtype=bool)
        self.stride = np.full(2 * K, math.inf)  # from the inner value; short after a refit that failed
        self.q = self._clip(self.centre + self.side * step)
        self.ends = np.full(2 * K, math.nan)
        self.solved = np.zeros(2 * K, dtype=bool)
        room = (self.limit - self.centre) * self.side
        at_limit = room <= 0  # E = 0 is both the estimate and its lowest value
        self.ends[at_limit], self.solved[at_limit] = self.side[at_limit] * math.inf, True
        self.open = np.flatnonzero(~at_limit)
        inverse = fit.inverse
        slope = self.targets.gradient(self.theta)
        ahead = slope @ inverse
        self.inner_ahead = ahead / np.maximum(np.einsum("bi,bi->b", ahead, slope), 1e-300)[:, None]
        self._move(self.open, self.q[self.open], self.inner[self.open], self.inner_ahead[self.open])

    def round(self) -> None:
        """Refit at the current values, then move each end that is not there yet."""
        rows = self.open
        if not rows.size:
            return
        self.n_rounds += 1
        fit, targets = self.fit, self.targets.take(rows).at_values(self.q[rows])
        rise = 0.5 * fit.scale2 * self.threshold[rows] ** 2
        best = minimise(
            fit.data,
            self.theta[rows],
            fit.penalty,
            held=targets,
            enough=_ENOUGH * rise,
            tolerance=0.0,
            max_steps=30,
        )
        self._note_better(best.theta, best.objective, rise)
        z = np.sqrt(2 * np.maximum(best.objective - self.objective, 0.0) / fit.scale2)
        slope, ahead = multiplier(targets.gradient(best.theta), best.theta, best.gradient, best.curvature)
        self.theta[rows] = best.theta
        lost = (
            z > self.threshold[rows]
        ) & ~best.converged  # a refit that failed says nothing about its value
        self._bracket(rows, z, ahead, ~lost)
        done = np.abs(z - self.threshold[rows]) <= _CLOSE * self.threshold[rows]
        beyond = (z < self.threshold[rows]) & ((self.limit[rows] - self.q[rows]) * self.side[rows] <= 0)
        done |= self._collapsed(rows) & (z < _NEAR * self.threshold[rows]) & ~beyond
        self.ends[rows] = np.where(beyond, self.side[rows] * math.inf, self.q[rows])
        self.solved[rows] = done | beyond
        self._advance(rows, z, slope, ahead, lost)
        self.open = rows[~self.solved[rows]]

    def safe_ends(self) -> Array:
        """The ends found; where the search did not settle, a value known to lie outside, else infinity."""
        fallback = np.where(self.crossed & ~self._collapsed(slice(None)), self.outer, self.side * math.inf)
        return np.where(self.solved, self.ends, fallback)

    def _collapsed(self, rows: NDArray[np.int64] | slice) -> NDArray[np.bool_]:
        """Where the bracket has no width left."""
        width = np.abs(self.outer[rows] - self.inner[rows])
        narrow: NDArray[np.bool_] = width <= 1e-9 * np.maximum(np.abs(self.q[rows]), 1e-3)
        return narrow

    def _advance(
        self, rows: NDArray[np.int64], z: Array, slope: Array, ahead: Array, lost: NDArray[np.bool_]
    ) -> None:
        """Newton on z where it stays inside the bracket, bisection where not, a bounded expansion before crossing.

        Where the refit was lost or ended far up (another slope, perhaps), the next one starts from the inner value.
        """
        # near the estimate z may be a square root (an estimate on a bound), where Newton on z^2 is exact
        threshold, near = self.threshold[rows], z < 0.1 * self.threshold[rows]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            missing = np.where(near, (threshold**2 - z**2) / 2, (threshold - z) * z)
            newton = self.q[rows] + missing * self.fit.scale2 / slope
        q, inner, outer, side = self.q[rows], self.inner[rows], self.outer[rows], self.side[rows]
        reach = np.maximum(np.abs(q - self.centre[rows]), self.least[rows])
        farthest = self.centre[rows] + side * _LARGEST_EXPANSION * reach
        inside = (newton - inner) * side > 0
        newton = np.where(np.isfinite(newton) & inside, newton, farthest)
        capped = np.where(side > 0, np.minimum(newton, farthest), np.maximum(newton, farthest))
        bracketed = np.where((outer - newton) * side > 0, newton, (inner + outer) / 2)
        new = np.where(self.crossed[rows], bracketed, self._clip(capped, rows))
        self.stride[rows] = np.where(lost, np.abs(q - inner) / 4, 2 * self.stride[rows])
        new = inner + side * np.minimum((new - inner) * side, self.stride[rows])
        back = lost | (z > _NEAR * threshold)
        self.theta[rows[back]] = self.inner_theta[rows[back]]
        start = np.where(back, inner, q)
        ahead = np.where(back[:, None], self.inner_ahead[rows], ahead)
        going = ~self.solved[rows]
        self._move(rows[going], new[going], start[going], ahead[going])

    def _bracket(self, rows: NDArray[np.int64], z: Array, ahead: Array, known: NDArray[np.bool_]) -> None:
        q = self.q[rows]
        below = z < self.threshold[rows]
        inside, outside = rows[below], rows[~below & known]
        self.inner[inside], self.inner_theta[inside] = q[below], self.theta[inside]
        self.inner_ahead[inside] = ahead[below]
        self.outer[outside], self.crossed[outside] = q[~below & known], True

    def _move(self, rows: NDArray[np.int64], values: Array, start: Array, ahead: Array) -> None:
        """Step along the profile from `start` and bring the quantities exactly to their new values.

        Where no theta within the bounds has that value, a term of the law has shrunk to nothing (e^-30) without the
        fit getting worse: the end is infinite.
        """
        targets, old = self.targets.take(rows).at_values(values), self.theta[rows]
        move = ahead * (values - start)[:, None]
        new = targets.retract(np.clip(old + np.nan_to_num(move), LOWER, UPPER))
        new = np.where(within_bounds(new)[:, None], new, targets.retract(old))
        possible = within_bounds(new)
        self.theta[rows] = np.where(possible[:, None], new, old)
        self.q[rows] = np.where(possible, values, self.q[rows])
        lost = rows[~possible]
        self.ends[lost], self.solved[lost] = self.side[lost] * math.inf, True

    def _clip(self, q: Array, rows: NDArray[np.int64] | slice = slice(None)) -> Array:
        limit, side = self.limit[rows], self.side[rows]
        clipped: Array = np.where(side > 0, np.minimum(q, limit), np.maximum(q, limit))
        return clipped

    def _note_better(self, theta: Array, value: Array, rise: Array) -> None:
        i = int(np.argmin(value))
        if value[i] < self.objective - 1e-3 * rise[i]:
            self.better = theta[i]
