"""Which runs decide the exponents: what leaving one out changes, and the few that lie far off the law.

One run at a time is first order, dtheta = (J'J)^-1 J_i psi_i / (m (1 - h_i)), refitted exactly for the largest.
Several bad runs hide each other, so those far off are also removed one after the other, worst first, with a refit
after each: the path shows how far the exponent moves. Nothing is ever dropped from the fit itself.
Source: Cook 1977; Belsley, Kuh and Welsch 1980 (leave-one-out formulas).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.surface.diagnostics import FAR_OFF, robust_scale
from scaling.fitting.surface.problem import HUBER_EFFICIENT, SQUARES, Array, Penalty, Problem, blocks
from scaling.fitting.surface.sandwich import Linearisation, linearise, standard_errors
from scaling.fitting.surface.solver import minimise
from scaling.runs import Runs

N_EXACT = 8  # runs refitted without; the rest is first order
MAX_REMOVED = 12
_ROUGH = 1e-7  # relative tolerance of the objective: three printed digits of a shift
LARGEST_TABLE = 20_000  # beyond, one run cannot matter and the path is not walked


@dataclass(frozen=True, kw_only=True)
class RunInfluence:
    """What leaving this run out changes."""

    row: int  # as Runs.row counts
    run_id: str
    leverage: float  # 0 to 1: share of the fit at this run that is its own loss
    residual: float  # ln(fit) - ln(loss), in robust standard deviations
    params_exponent_shift: float
    alpha_shift: float
    beta_shift: float


@dataclass(frozen=True, kw_only=True)
class Removal:
    """One step of the path: this run taken out too, and the exponent of N* then."""

    row: int
    run_id: str
    # in robust standard deviations, when it was taken out; below zero: the run is above the law
    residual: float
    params_exponent: float
    params_exponent_error: float  # HC2 standard error


@dataclass(frozen=True, kw_only=True)
class Influence:
    """The most influential runs (largest shift of the exponent of N* first), and the path without those far off."""

    runs: tuple[RunInfluence, ...]
    far_off: tuple[Removal, ...]
    params_exponent: float  # with every run
    params_exponent_error: float | None  # HC2 standard error; None where no run is far off


def measure_influence(fit: Linearisation, runs: Runs, *, adaptive: bool) -> Influence:
    """Leave-one-out shifts and the path without the runs that lie far off.

    Args:
        adaptive: the Huber threshold follows the robust scale, so it shrinks as bad runs leave.
    """
    alpha, beta = fit.theta[3], fit.theta[4]
    shift = _first_order(fit, _exponent_slope(fit))[0]
    top = np.argpartition(-np.abs(shift), min(N_EXACT, fit.data.n) - 1)[:N_EXACT]
    without = _without_each(fit, top)
    scale = max(robust_scale(fit.residual, fit.data.n_fitted), 1e-300)
    found = [
        RunInfluence(
            row=int(runs.row[i]),
            run_id=runs.run_id[i],
            leverage=float(fit.leverage[i]),
            residual=float(fit.residual[i] / scale),
            params_exponent_shift=float(theta[4] / (theta[3] + theta[4]) - beta / (alpha + beta)),
            alpha_shift=float(theta[3] - alpha),
            beta_shift=float(theta[4] - beta),
        )
        for i, theta in zip(top.tolist(), without, strict=True)
    ]
    found.sort(key=lambda r: -abs(r.params_exponent_shift))
    far_off = _walk(fit, runs, adaptive) if fit.data.n <= LARGEST_TABLE else []
    return Influence(
        runs=tuple(found),
        far_off=tuple(far_off),
        params_exponent=float(beta / (alpha + beta)),
        params_exponent_error=_exponent_error(fit) if far_off else None,
    )


def _exponent_slope(fit: Linearisation) -> Array:
    """(1, 5) gradient of a = beta / (alpha + beta)."""
    alpha, beta = fit.theta[3], fit.theta[4]
    gradient: Array = np.array([[0.0, 0.0, 0.0, -beta, alpha]]) / (alpha + beta) ** 2
    return gradient


def _exponent_error(fit: Linearisation) -> float:
    return float(standard_errors(fit, _exponent_slope(fit)).hc2[0])


def _first_order(fit: Linearisation, directions: Array) -> Array:
    """(K, n) change of each direction . theta when a run is left out."""
    along = directions @ fit.inverse
    change = np.empty((len(directions), fit.data.n))
    for rows in blocks(fit.data.n):
        weight = fit.psi[rows] / (fit.inside * (1 - fit.leverage[rows]))
        change[:, rows] = (along @ fit.data.jacobian(fit.theta, rows)) * weight
    return change


def _without_each(fit: Linearisation, chosen: NDArray[np.int64]) -> Array:
    """(len(chosen), 5) theta without each of these runs: refitted, or to first order in a large table."""
    start = np.tile(fit.theta, (len(chosen), 1))
    if fit.data.n > LARGEST_TABLE:
        few = fit.data.select(chosen)
        weight = fit.psi[chosen] / (fit.inside * (1 - fit.leverage[chosen]))
        return start + (fit.inverse @ few.jacobian(fit.theta) * weight).T
    counts = np.ones((len(chosen), fit.data.n))
    counts[np.arange(len(chosen)), chosen] = 0.0
    return minimise(fit.data, start, fit.penalty, counts=counts, tolerance=_ROUGH).theta


def _walk(fit: Linearisation, runs: Runs, adaptive: bool) -> list[Removal]:
    """Take out the worst run while it lies beyond FAR_OFF, refitting after each."""
    kept = np.arange(fit.data.n)
    path: list[Removal] = []
    # removal stops while a fit still has noise to judge by
    smallest = max(fit.data.n // 2, len(fit.theta) + 2)
    while len(path) < MAX_REMOVED and len(kept) > smallest:
        scale = robust_scale(fit.residual, fit.data.n_fitted)
        size = np.abs(fit.residual) / np.sqrt(1 - fit.leverage)
        worst = int(np.argmax(size))
        if scale < 1e-9 or size[worst] <= FAR_OFF * scale:
            break
        row = int(kept[worst])
        residual = float(fit.residual[worst] / scale)
        kept = np.delete(kept, worst)
        fit = _refit(
            fit.data.select(np.delete(np.arange(fit.data.n), worst)), fit.theta, fit.penalty, adaptive
        )
        exponent = float(fit.theta[4] / (fit.theta[3] + fit.theta[4]))
        removal = Removal(
            row=int(runs.row[row]),
            run_id=runs.run_id[row],
            residual=residual,
            params_exponent=exponent,
            params_exponent_error=_exponent_error(fit),
        )
        path.append(removal)
    return path


def _refit(data: Problem, theta: Array, penalty: Penalty, adaptive: bool) -> Linearisation:
    if adaptive:  # the threshold that fitting without these runs would have taken
        squares = minimise(data, theta[None], SQUARES, tolerance=_ROUGH).theta[0]
        scale = robust_scale(data.residuals(squares), data.n_fitted)
        penalty = Penalty(delta=HUBER_EFFICIENT * scale)
    return linearise(data, minimise(data, theta[None], penalty, tolerance=_ROUGH).theta[0], penalty)
