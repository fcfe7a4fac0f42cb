"""Intervals of any quantity of a fit, by the method its runs call for.

Use which when (benchmarks/coverage.py measures all three):

- `profile`: the default. Threshold t x HC2/classical, so it bears unequal noise; infinite where the runs leave a
  quantity open. Assumes independent runs and a threshold of the objective not far below the noise.
- `jackknife`: noise shared within a budget or a trunk. Needs four groups; about half as wide again.
- `bootstrap`: pairs percentile, for objectives whose curvature says nothing (Hoffmann's delta = 1e-3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from scaling.arguments import is_one_of
from scaling.errors import FitError, UsageError, shown
from scaling.fitting.results import Estimate, Interval
from scaling.fitting.surface.groups import Groups
from scaling.fitting.surface.problem import Array, within_bounds
from scaling.fitting.surface.quantities import Quantity, as_targets, give_up, values_of
from scaling.fitting.surface.resample import Refits, jackknife_error, percentile_ends
from scaling.fitting.surface.sandwich import Errors, Linearisation, standard_errors
from scaling.fitting.surface.solver import minimise, multiplier

Method = Literal["profile", "jackknife", "bootstrap"]
METHODS: tuple[str, ...] = get_args(Method)
LARGEST_TO_PROFILE = 100_000  # runs; beyond, a profile is a straight line in z and costs seconds
_ENOUGH = 1e-4  # of the rise in the objective at the end: the refit need not be better than the end
_CLOSE = 2e-4  # relative error allowed in z, so of the half-width
_NEAR = 3.0  # thresholds: a refit farther out than this is no neighbour of the end
_MAX_ROUNDS = 40
_LARGEST_EXPANSION = 4.0  # a quadratic guess may send the first steps of a flat profile anywhere
_FIRST_STEP = 3.0  # standard errors may be infinite: no first step beyond this many solver units


class LowerMinimum(FitError):
    """A profile passed below the supposed minimum; theta (P,) is where."""

    def __init__(self, theta: Array) -> None:
        self.theta = theta
        super().__init__(
            "profiling met a lower objective than the fit's: the minimum is not unique. Fit again from there, or add "
            "runs at other n_params and n_tokens."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """What the uncertainty of a fit is read from."""

    fit: Linearisation
    objective: float
    level: float
    main: Method
    groups: Groups | None  # of the jackknife
    jackknife: Refits | None
    bootstrap: Refits | None

    @property
    def main_method(self) -> str:
        """Of the main intervals, in words."""
        if self.main == "jackknife" and self.jackknife is not None:
            return self.jackknife.kind
        if self.main == "bootstrap" and self.bootstrap is not None:
            return f"{self.bootstrap.kind}, percentile"
        return "profile, HC2 threshold"

    def noise_sd(self, level: float) -> float:
        """Of ln loss of one run about the law."""
        return self.fit.noise_half_width(level) / NormalDist().inv_cdf((1 + level) / 2)

    def available(self) -> tuple[Method, ...]:
        have: dict[Method, bool] = {
            "profile": True,
            "jackknife": self.jackknife is not None,
            "bootstrap": self.bootstrap is not None,
        }
        return tuple(m for m, there in have.items() if there)

    def estimates(
        self, quantities: Sequence[Quantity], method: Method | None = None, level: float | None = None
    ) -> list[Estimate]:
        """Value, standard error (in printed units, to first order) and interval of each quantity.

        Raises:
            FitError: the method was not computed for this fit.
        """
        method, level = self.main if method is None else method, self.level if level is None else level
        if not is_one_of(method, METHODS):
            raise UsageError(f"unknown interval method {shown(method)}; known: {', '.join(METHODS)}.")
        if not 0 < level < 1:
            raise UsageError(f"the level of an interval lies between 0 and 1, got {level}.")
        if method not in self.available():
            why = (
                "it needs four budgets"
                if method == "jackknife"
                else "call bootstrap(fit, runs) and use its result"
            )
            raise FitError(
                f"this fit has no {method} intervals: {why}. It has: {', '.join(self.available())}."
            )
        if self.fit.data.fixed:
            return self._given_fixed(quantities, method, level)
        return self._estimates(quantities, method, level)

    def _given_fixed(self, quantities: Sequence[Quantity], method: Method, level: float) -> list[Estimate]:
        """As `estimates`, conditional on the coefficients held: what they determine has a value alone."""
        values, moves = self.values(quantities), self.errors(quantities).classical > 0
        free = [q for q, moved in zip(quantities, moves, strict=True) if moved]
        found = iter(self._estimates(free, method, level) if free else [])
        return [
            next(found) if moved else Estimate(value=q.show(float(v)))
            for q, v, moved in zip(quantities, values, moves, strict=True)
        ]

    def _estimates(self, quantities: Sequence[Quantity], method: Method, level: float) -> list[Estimate]:
        values = self.values(quantities)
        ends, errors, name = self._ends(quantities, values, method, level)
        found = [
            _shown(q, float(v), float(e), (float(low), float(high)), level, name)
            for q, v, e, (low, high) in zip(quantities, values, errors, ends, strict=True)
        ]
        if method == "bootstrap":
            return self._with_drawn_errors(quantities, found)
        if method == "jackknife":
            return [
                self._estimates([q], "profile", level)[0] if e.standard_error is None else e
                for q, e in zip(quantities, found, strict=True)
            ]  # every refit on one bound (E = 0) is no sign that the runs know it: the profile says how far it goes
        return found

    def _with_drawn_errors(self, quantities: Sequence[Quantity], estimates: list[Estimate]) -> list[Estimate]:
        """Standard errors as the spread of the printed values themselves, which for A and B is skewed."""
        assert self.bootstrap is not None
        drawn = values_of(quantities, self.bootstrap.theta)
        shown = [np.array([q.show(v) for v in column]) for q, column in zip(quantities, drawn.T, strict=True)]
        errors = [float(np.std(s)) if np.isfinite(s).all() else None for s in shown]
        return [replace(e, standard_error=s) for e, s in zip(estimates, errors, strict=True)]

    def values(self, quantities: Sequence[Quantity]) -> Array:
        values: Array = values_of(quantities, self.fit.theta[None])[0]
        return values

    def errors(self, quantities: Sequence[Quantity]) -> Errors:
        theta = np.tile(self.fit.theta, (len(quantities), 1))
        return standard_errors(self.fit, as_targets(quantities).gradient(theta))

    def _ends(
        self, quantities: Sequence[Quantity], values: Array, method: Method, level: float
    ) -> tuple[Array, Array, str]:
        """Ends (K, 2) and standard errors (K,) in solver units, and the name of the method."""
        if method == "jackknife":
            assert self.jackknife is not None
            resampled = values_of(quantities, self.jackknife.theta)
            error = jackknife_error(resampled)
            half = stdtrit(len(resampled) - 1, (1 + level) / 2) * error
            return np.stack([values - half, values + half], axis=1), error, self.jackknife.kind
        if method == "bootstrap":
            assert self.bootstrap is not None
            resampled = values_of(quantities, self.bootstrap.theta)
            return (
                percentile_ends(resampled, level),
                resampled.std(axis=0),
                f"{self.bootstrap.kind}, percentile",
            )
        errors = self.errors(quantities)
        kappa = _usable_kappa(errors)
        dof = np.where(np.isfinite(errors.dof), errors.dof, self.fit.dof)
        threshold = stdtrit(dof, (1 + level) / 2) * kappa
        # with a coefficient held the others are near enough to linear, and a profile cannot move along a held surface
        straight = self.fit.data.n > LARGEST_TO_PROFILE or self.fit.data.fixed
        if straight or all(q.straight for q in quantities):
            half = threshold * errors.classical
            return np.stack([values - half, values + half], axis=1), errors.hc2, "HC2, t"
        found = profile_ends(self.fit, self.objective, quantities, errors.classical, threshold)
        if found.better is not None:
            raise LowerMinimum(found.better)
        return found.ends, errors.hc2, "profile, HC2 threshold"


def _usable_kappa(errors: Errors) -> Array:
    """HC2 over classical; a quantity held by a bound has neither, and takes the median of the others."""
    kappa = errors.kappa
    good = np.isfinite(kappa) & (kappa > 0)
    middle = float(np.median(kappa[good])) if good.any() else 1.0
    return np.where(good, kappa, middle)


def _shown(
    quantity: Quantity, value: float, error: float, ends: tuple[float, float], level: float, method: str
) -> Estimate:
    """From solver units to printed units. `show` rises, so the ends keep their order."""
    shown = quantity.show(value)
    step = 1e-5 * max(error, 1e-12)
    slope = (quantity.show(value + step) - quantity.show(value - step)) / (2 * step)
    low, high = min(quantity.show(ends[0]), shown), max(quantity.show(ends[1]), shown)
    known = math.isfinite(slope * error) and error > 0  # 0: held by a bound
    standard_error = slope * error if known else None
    return Estimate(
        value=shown,
        standard_error=standard_error,
        interval=Interval(low=low, high=high, level=level, method=method),
    )


def mirrored(estimate: Estimate, mirror: float) -> Estimate:
    """Of a quantity q, the estimate of mirror - q: tokens exponent = 1 - params exponent."""
    return _falling(estimate, lambda q: mirror - q, estimate.standard_error)


def inverted(estimate: Estimate, product: float) -> Estimate:
    """Of a quantity q > 0, the estimate of product / q: D* = (C/6) / N*."""
    value, error = product / estimate.value, estimate.standard_error
    relative = None if error is None else error / estimate.value * value
    return _falling(estimate, lambda q: product / q if q > 0 else math.inf, relative)


def _falling(estimate: Estimate, of: Callable[[float], float], error: float | None) -> Estimate:
    """The estimate of a falling function of a quantity: the ends change places."""
    ends = estimate.interval
    interval = replace(ends, low=of(ends.high), high=of(ends.low)) if ends else None
    return Estimate(value=of(estimate.value), standard_error=error, interval=interval)


# --- profile: move one quantity away from its estimate, refit the rest, stop where the fit is too much worse ---
#
# Unlike estimate +- t standard errors the ends follow the curvature of the problem, do not cross bounds, and become
# infinite where the runs do not determine a quantity. All ends of all quantities are solved as one batch.
# (31 quantities of 245 runs: 0.03 s, 0.35 s one after the other, as a scalar root finder would have to.)
# Shapes: K quantities, 2K ends in the order (low, high) per quantity.


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfileEnds:
    """Ends in solver units, +-inf where the profile never crosses or could not be followed to its crossing."""

    ends: Array  # (K, 2)
    better: Array | None  # (P,) a point below the supposed minimum, if the search met one
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
        slope, ahead = multiplier(
            fit.data, targets.gradient(best.theta), best.theta, best.gradient, best.curvature
        )
        self.theta[rows] = best.theta
        # a refit that failed says nothing about its value
        lost = (z > self.threshold[rows]) & ~best.converged
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
        data = self.fit.data
        move = ahead * (values - start)[:, None]
        new = targets.retract(np.clip(old + np.nan_to_num(move), data.lower, data.upper))
        new = np.where(within_bounds(data, new)[:, None], new, targets.retract(old))
        possible = within_bounds(data, new)
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
