"""Predicted losses of a table of runs under a fit of Approach 3, with bands by the fit's main method."""

from __future__ import annotations

import numpy as np

from scaling.fitting.distributions import t_quantile
from scaling.fitting.parametric.quantities import loss_at, values_of
from scaling.fitting.parametric.resample import jackknife_error, percentile_ends
from scaling.fitting.parametric.result import ParametricFit
from scaling.fitting.parametric.sandwich import noise_half_width
from scaling.fitting.parametric.surface import Array
from scaling.fitting.prediction import Prediction
from scaling.runs import Runs


def predict(fit: ParametricFit, runs: Runs) -> Prediction:
    """Loss of every run under the fitted law, with bands by the fit's main method (to first order in ln loss)."""
    loss = np.asarray(fit.law.loss(runs.n_params, runs.n_tokens), dtype=np.float64)
    if fit.spread is None:
        return Prediction(
            loss=loss, confidence=None, prediction=None, level=fit.level, method="none", observed=runs.loss
        )
    half = _confidence_half_widths(fit, runs)
    noise = noise_half_width(fit.spread.fit, fit.level)
    return Prediction(
        loss=loss,
        confidence=_around(loss, half),
        prediction=_around(loss, np.hypot(half, noise)),
        level=fit.level,
        method=f"{fit.interval_method}, first order",
        observed=runs.loss,
    )


def _confidence_half_widths(fit: ParametricFit, runs: Runs) -> Array:
    """(n,) half-widths in ln loss."""
    spread = fit.spread
    assert spread is not None
    data, t_level = fit.optimum.data, (1 + fit.level) / 2
    parts = []
    for start in range(0, len(runs), 1000):
        rows = slice(start, start + 1000)
        points = [loss_at(data, N, D) for N, D in zip(runs.n_params[rows], runs.n_tokens[rows], strict=True)]
        value = spread.values(points)
        if spread.main == "jackknife" and spread.jackknife is not None:
            refits = np.log(values_of(points, spread.jackknife.theta))
            parts.append(t_quantile(t_level, len(refits) - 1) * jackknife_error(refits))
        elif spread.main == "bootstrap" and spread.bootstrap is not None:
            ends = np.log(percentile_ends(values_of(points, spread.bootstrap.theta), fit.level))
            parts.append((ends[:, 1] - ends[:, 0]) / 2)
        else:
            errors = spread.errors(points)
            t = np.array([t_quantile(t_level, float(v)) for v in errors.dof])
            parts.append(t * errors.hc2 / value)
    return np.concatenate(parts)


def _around(loss: Array, half: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.stack([loss * np.exp(-half), loss * np.exp(half)], axis=1)
