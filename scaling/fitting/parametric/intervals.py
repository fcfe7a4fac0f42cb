"""Intervals of any quantity of a fit, by the method its runs call for.

Use which when (benchmarks/coverage.py measures all three):

- `profile`: the default. Threshold t x HC2/classical, so it bears unequal noise; infinite where the runs leave a
  quantity open. Assumes independent runs and a threshold of the objective not far below the noise.
- `jackknife`: noise shared within a budget or a trunk. Needs four groups; about half as wide again.
- `bootstrap`: pairs percentile, for objectives whose curvature says nothing (Hoffmann's delta = 1e-3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from scaling.errors import FitError, UsageError
from scaling.fitting.distributions import t_quantile
from scaling.fitting.parametric.groups import Groups
from scaling.fitting.parametric.profile import profile_ends
from scaling.fitting.parametric.quantities import Quantity, as_targets, values_of
from scaling.fitting.parametric.resample import Refits, jackknife_error, percentile_ends
from scaling.fitting.parametric.sandwich import Errors, Linearisation, standard_errors
from scaling.fitting.parametric.surface import Array
from scaling.fitting.results import Estimate, Interval

Method = Literal["profile", "jackknife", "bootstrap"]
METHODS: tuple[str, ...] = get_args(Method)
LARGEST_TO_PROFILE = 100_000  # runs; beyond, a profile is a straight line in z and costs seconds


class LowerMinimum(FitError):
    """A profile passed below the supposed minimum; theta (5,) is where."""

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
        method, level = method or self.main, level or self.level
        if method not in METHODS:
            raise UsageError(f"unknown interval method {method!r}; known: {', '.join(METHODS)}.")
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
            half = t_quantile((1 + level) / 2, len(resampled) - 1) * error
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
        threshold = np.array([t_quantile((1 + level) / 2, float(v)) for v in dof]) * kappa
        # with a coefficient held the others are near enough to linear, and a profile cannot move along a held surface
        if self.fit.data.n > LARGEST_TO_PROFILE or self.fit.data.fixed:
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
    interval = estimate.interval
    if interval is not None:
        low, high = mirror - interval.high, mirror - interval.low
        interval = Interval(low=low, high=high, level=interval.level, method=interval.method)
    return Estimate(value=mirror - estimate.value, standard_error=estimate.standard_error, interval=interval)


def inverted(estimate: Estimate, product: float) -> Estimate:
    """Of a quantity q > 0, the estimate of product / q: D* = (C/6) / N*."""
    value = product / estimate.value
    interval, error = estimate.interval, estimate.standard_error
    if interval is not None:
        low = product / interval.high if interval.high > 0 else math.inf
        high = product / interval.low if interval.low > 0 else math.inf
        interval = Interval(low=low, high=high, level=interval.level, method=interval.method)
    relative = None if error is None else error / estimate.value * value
    return Estimate(value=value, standard_error=relative, interval=interval)
