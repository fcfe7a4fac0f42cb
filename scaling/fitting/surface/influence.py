"""Which runs decide the exponents: what leaving one out changes, and the few that lie far off the law.

One run at a time is first order, dtheta = (J'J)^-1 J_i psi_i / (m (1 - h_i)), refitted exactly for the largest.
Several bad runs hide each other, so those far off are also removed one after the other, worst first, with a refit
after each: the path shows how far the exponent moves. Nothing is ever dropped from the fit itself.
Source: Cook 1977; Belsley, Kuh and Welsch 1980 (leave-one-out formulas).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling.blocks import Blocks, Heading, Table
from scaling.fitting.surface.diagnostics import FAR_OFF, robust_scale
from scaling.fitting.surface.problem import HUBER_EFFICIENT, SQUARES, Array, Penalty, Problem, blocks
from scaling.fitting.surface.quantities import Quantity, as_targets, values_of
from scaling.fitting.surface.sandwich import Linearisation, linearise, standard_errors
from scaling.fitting.surface.solver import minimise
from scaling.runs import Runs
from scaling.translation import tr

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


def measure_influence(fit: Linearisation, runs: Runs, *, adaptive: bool) -> Influence | None:
    """Leave-one-out shifts and the path without the runs that lie far off; None for a law without an exponent.

    Args:
        adaptive: the Huber threshold follows the robust scale, so it shrinks as bad runs leave.
    """
    exponent = fit.data.exponent()
    if exponent is None:
        return None
    whole, named = _exponents(exponent, fit.theta[None])[0], fit.data.coefficients(fit.theta)
    shift = _first_order(fit, _exponent_slope(fit, exponent))[0]
    top = np.argpartition(-np.abs(shift), min(N_EXACT, fit.data.n) - 1)[:N_EXACT]
    without = _without_each(fit, top)
    scale = max(robust_scale(fit.residual, fit.data.n_fitted), 1e-300)
    found = [
        RunInfluence(
            row=int(runs.row[i]),
            run_id=runs.run_id[i],
            leverage=float(fit.leverage[i]),
            residual=float(fit.residual[i] / scale),
            params_exponent_shift=float(a - whole),
            **_shifts(named, fit.data.coefficients(theta)),
        )
        for i, theta, a in zip(top.tolist(), without, _exponents(exponent, without), strict=True)
    ]
    found.sort(key=lambda r: -abs(r.params_exponent_shift))
    far_off = _walk(fit, runs, adaptive, exponent) if fit.data.n <= LARGEST_TABLE else []
    return Influence(
        runs=tuple(found),
        far_off=tuple(far_off),
        params_exponent=float(whole),
        params_exponent_error=_exponent_error(fit, exponent) if far_off else None,
    )


def _shifts(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Of alpha and beta, where the law has them."""
    return {f"{name}_shift": float(after[name] - before[name]) if name in before else math.nan
            for name in ("alpha", "beta")}  # fmt: skip


def _exponents(exponent: Quantity, theta: Array) -> Array:
    """(B,) a at each theta (B, P)."""
    return np.array([exponent.show(float(q)) for q in values_of([exponent], theta)[:, 0]])


def _exponent_slope(fit: Linearisation, exponent: Quantity) -> Array:
    """(1, P) gradient of a as it is printed."""
    asked = as_targets([exponent])
    at, step = float(asked.value(fit.theta[None])[0]), 1e-3  # a difference of four points errs by step^4
    near, far = (exponent.show(at + h) - exponent.show(at - h) for h in (step, 2 * step))
    printed = (8 * near - far) / (12 * step)
    gradient: Array = printed * asked.gradient(fit.theta[None])
    return gradient


def _exponent_error(fit: Linearisation, exponent: Quantity) -> float:
    return float(standard_errors(fit, _exponent_slope(fit, exponent)).hc2[0])


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


def _walk(fit: Linearisation, runs: Runs, adaptive: bool, exponent: Quantity) -> list[Removal]:
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
        removal = Removal(
            row=int(runs.row[row]),
            run_id=runs.run_id[row],
            residual=residual,
            params_exponent=float(_exponents(exponent, fit.theta[None])[0]),
            params_exponent_error=_exponent_error(fit, exponent),
        )
        path.append(removal)
    return path


def _refit(data: Problem, theta: Array, penalty: Penalty, adaptive: bool) -> Linearisation:
    if adaptive:  # the threshold that fitting without these runs would have taken
        squares = minimise(data, theta[None], SQUARES, tolerance=_ROUGH).theta[0]
        scale = robust_scale(data.residuals(squares), data.n_fitted)
        penalty = Penalty(delta=HUBER_EFFICIENT * scale)
    return linearise(data, minimise(data, theta[None], penalty, tolerance=_ROUGH).theta[0], penalty)


def influence_table(influence: Influence | None) -> Blocks:
    """The runs that decide the exponent: what it would be without each."""
    if influence is None:
        return ()
    rows = [
        (r.run_id, f"{r.params_exponent_shift:+.4f}", f"{-r.residual:+.1f}", f"{r.leverage:.2f}")
        for r in influence.runs
    ]
    headers = (tr("without"), tr("a moves by"), tr("it lies above the law (robust sd)"), tr("leverage"))
    return Heading(tr("the runs that move the exponent most")), Table(headers, rows)
