"""Predicted losses of a table of runs under a fit of Approach 3, with bands by the fit's main method.

And how far two runs of one model may lie apart by their seeds alone: what a gap of losses must exceed to count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from scaling.fitting.prediction import Prediction, predicted_loss, read_inputs
from scaling.fitting.surface.intervals import Spread
from scaling.fitting.surface.law_fit import LawFit
from scaling.fitting.surface.problem import Array
from scaling.fitting.surface.resample import jackknife_error, percentile_ends
from scaling.fitting.surface.result import ParametricFit
from scaling.fitting.surface.sandwich import standard_errors
from scaling.runs import Runs


def predict(fit: ParametricFit | LawFit, runs: Runs) -> Prediction:
    """Loss of every run under the fitted law, with bands by the fit's main method (to first order in ln loss)."""
    loss = np.asarray(predicted_loss(fit.law, runs), dtype=np.float64)
    if fit.spread is None:
        return Prediction(
            loss=loss,
            confidence=None,
            prediction=None,
            level=fit.level,
            method="none",
            observed=runs.loss,
            runs=runs,
        )
    half = _confidence_half_widths(fit, fit.spread, runs)
    noise = fit.spread.fit.noise_half_width(fit.level)
    return Prediction(
        loss=loss,
        confidence=_around(loss, half),
        prediction=_around(loss, np.hypot(half, noise)),
        level=fit.level,
        method=f"{fit.interval_method}, first order",
        observed=runs.loss,
        runs=runs,
    )


def _confidence_half_widths(fit: ParametricFit | LawFit, spread: Spread, runs: Runs) -> Array:
    """(n,) half-widths in ln loss."""
    there = spread.fit.data.at(read_inputs(fit.law.family, runs), np.zeros(len(runs))).with_residual("log")
    t_level, parts = (1 + fit.level) / 2, []
    for start in range(0, len(runs), 1000):
        some = there.select(np.arange(start, min(start + 1000, len(runs))))
        if spread.main == "jackknife" and spread.jackknife is not None:
            refits = np.array([some.residuals(theta) for theta in spread.jackknife.theta])
            parts.append(stdtrit(len(refits) - 1, t_level) * jackknife_error(refits))
        elif spread.main == "bootstrap" and spread.bootstrap is not None:
            ends = percentile_ends(
                np.array([some.residuals(theta) for theta in spread.bootstrap.theta]), fit.level
            )
            parts.append((ends[:, 1] - ends[:, 0]) / 2)
        else:
            errors = standard_errors(spread.fit, some.jacobian(spread.fit.theta).T)
            parts.append(stdtrit(errors.dof, t_level) * errors.hc2)
    return np.concatenate(parts)


def _around(loss: Array, half: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.stack([loss * np.exp(-half), loss * np.exp(half)], axis=1)


@dataclass(frozen=True, kw_only=True)
class SeedNoise:
    """How far the losses of one model with two seeds lie apart.

    standard_deviation: of ln loss, of one run.
    """

    standard_deviation: float
    dof: int
    source: str
    level: float

    def gap(self, loss: float) -> float:
        """Nats/token that two seeds differ by at most, with the probability `level`."""
        t = float(stdtrit(self.dof, (1 + self.level) / 2))
        return loss * math.expm1(t * math.sqrt(2) * self.standard_deviation)


def seed_noise(surface: ParametricFit) -> SeedNoise:
    """From cells repeated with another seed; without any, from all that the law leaves over, which is more."""
    residuals, pure = surface.residuals, surface.residuals.pure_error
    if pure is not None:
        return SeedNoise(
            standard_deviation=pure.standard_deviation,
            dof=pure.dof,
            source="repeated cells",
            level=surface.level,
        )
    return SeedNoise(
        standard_deviation=residuals.standard_deviation,
        dof=max(1, surface.n_runs - len(surface.estimates)),
        source="residuals of the law",
        level=surface.level,
    )
