"""Pack how sure a fit is into its law, so that a plan made from fit.json has intervals without the runs.

The optimum N*(C), L*(C) keeps the ends of the fit's main intervals on a grid of budgets; anything else is propagated
by draws of the coefficients, made so that their spread is that of the main intervals.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scaling.errors import FitError
from scaling.fitting.results import Interval
from scaling.fitting.surface.intervals import Spread
from scaling.fitting.surface.problem import Array
from scaling.fitting.surface.resample import Refits, pairs_bootstrap
from scaling.fitting.surface.result import ParametricFit
from scaling.fitting.surface.sandwich import Linearisation, hc2_covariance
from scaling.laws.base import OptimumBand, Uncertainty

LOG10_FLOPS = tuple(c / 2 for c in range(30, 61))  # half decades: between them a plan interpolates
N_DRAWS = 400
LARGEST_TO_RESAMPLE = 4_000  # runs: beyond, draws come from the covariance


def with_uncertainty(fit: ParametricFit, *, n_draws: int = N_DRAWS, seed: int = 0) -> ParametricFit:
    """The same fit whose law carries its uncertainty. A fit without intervals is returned as it is."""
    if fit.spread is None:
        return fit
    return replace(fit, law=replace(fit.law, uncertainty=law_uncertainty(fit, n_draws=n_draws, seed=seed)))


def law_uncertainty(fit: ParametricFit, *, n_draws: int = N_DRAWS, seed: int = 0) -> Uncertainty:
    """Band of the optimum over 1e15 to 1e30 FLOPs, draws of the coefficients, and the scatter of one run.

    Raises:
        FitError: the fit carries no intervals.
    """
    spread = fit.spread
    if spread is None:
        raise FitError(
            "this fit carries no intervals, so its law has no uncertainty: noise-free, or intervals=False."
        )
    draws, method = draws_of(spread, seed, n_draws)
    return Uncertainty(
        level=fit.level,
        method=fit.interval_method,
        statement=fit.statement,
        band=_band(fit, spread),
        draws=draws,
        draws_method=method,
        residual_sd=spread.noise_sd(fit.level),
    )


def draws_of(spread: Spread, seed: int, n: int = N_DRAWS) -> tuple[tuple[tuple[float, ...], ...], str]:
    """Coefficients of the law in the order of its family, spread like the main intervals, and how they were made."""
    data = spread.fit.data
    theta, method = _draws(spread, n, seed)
    values = data.coefficients(theta)
    rows = np.stack([values[name] for name in data.family.names], axis=1)
    rows = rows[np.isfinite(rows).all(axis=1)]
    return tuple(tuple(row) for row in rows.tolist()), method


def _band(fit: ParametricFit, spread: Spread) -> OptimumBand:
    data = fit.optimum.data
    budgets = [10.0**c for c in LOG10_FLOPS]
    found = spread.estimates(
        [data.optimal_params(c) for c in budgets] + [data.optimal_loss(c) for c in budgets]
    )
    intervals = [e.interval or _point(e.value, fit) for e in found]
    sizes, losses = intervals[: len(budgets)], intervals[len(budgets) :]
    return OptimumBand(
        log10_flops=LOG10_FLOPS,
        n_params_low=tuple(i.low for i in sizes),
        n_params_high=tuple(i.high for i in sizes),
        loss_low=tuple(i.low for i in losses),
        loss_high=tuple(i.high for i in losses),
    )


def _point(value: float, fit: ParametricFit) -> Interval:
    """Of a quantity that the held coefficients determine."""
    return Interval(low=value, high=value, level=fit.level, method="held")


def _draws(spread: Spread, n: int, seed: int) -> tuple[Array, str]:
    """theta (n, P) spread like the main intervals, and how they were made."""
    random = np.random.default_rng(seed)
    if spread.main == "jackknife" and spread.jackknife is not None:
        return _jackknife_draws(spread.fit, spread.jackknife, n, random), f"t draws, {spread.jackknife.kind}"
    if spread.bootstrap is not None and len(spread.bootstrap.theta) >= n:
        return spread.bootstrap.theta[:n], spread.bootstrap.kind
    if spread.fit.data.n > LARGEST_TO_RESAMPLE:
        return _normal_draws(spread.fit, n, random), "normal draws, HC2 covariance"
    refits = pairs_bootstrap(spread.fit.data, spread.fit.theta, spread.fit.penalty, n, seed)
    return refits.theta, refits.kind


def _jackknife_draws(fit: Linearisation, refits: Refits, n: int, random: np.random.Generator) -> Array:
    """Student t with the jackknife covariance, in level and slopes, where the refits scatter evenly."""
    coordinates = fit.data.straightened(refits.theta)
    G = len(coordinates)
    deviations = coordinates - coordinates.mean(axis=0)
    normal = random.standard_normal((n, G)) @ deviations * np.sqrt((G - 1) / G)
    stretch = np.sqrt((G - 1) / random.chisquare(G - 1, n))
    move = normal * stretch[:, None]
    return fit.data.moved(np.tile(fit.theta, (n, 1)), move)


def _normal_draws(fit: Linearisation, n: int, random: np.random.Generator) -> Array:
    """Normal with the HC2 covariance, in level and slopes."""
    inverse = np.linalg.inv(fit.data.frame(fit.theta[None])[0])
    covariance = inverse @ hc2_covariance(fit) @ inverse.T
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    start, move = np.tile(fit.theta, (n, 1)), random.standard_normal((n, len(fit.theta))) @ root.T
    return fit.data.moved(start, move)
