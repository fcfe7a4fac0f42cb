"""The point fit: several starts, the chosen objective, and a certificate that the minimum is one.

The starts come of robust variable projection: on a grid of exponents the rest of the law is linear.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from scaling.arguments import is_number, is_one_of
from scaling.errors import UsageError, shown
from scaling.fitting.results import Objective
from scaling.fitting.surface.chinchilla import LOWER, SQUARES, UPPER, Array, Penalty, SurfaceData, residuals
from scaling.fitting.surface.diagnostics import robust_scale
from scaling.fitting.surface.solver import Minimum, minimise
from scaling.jsonable import fields_of

ObjectiveName = Literal["huber", "least_squares", "log_least_squares", "asymmetric"]
OBJECTIVES: tuple[str, ...] = get_args(ObjectiveName)

HUBER_EFFICIENT = 1.345  # x robust scale: 95 % efficient under Gaussian noise (Huber 1981)
GRID = np.geomspace(0.05, 2.4, 8)
N_STARTS = 6
START_ROWS = 4096  # a start needs no more; the search itself uses every run
_SMALLEST_TERM = 1e-4  # of the loss: a term that a cell of the grid would rather have negative starts here
HUBER_HOFFMANN = 1e-3  # Hoffmann et al. 2022, eq. 3
OVER_PREDICTION = 10.0  # cost of lying above a run, PyPI chinchilla 0.2.0 `asymmetric_mae`
SMOOTHED_BELOW = 1e-3  # of the loss: the asymmetric absolute error has no derivative at zero
SMALLEST_DELTA = 1e-9  # noise-free runs have no robust scale
# A robust fit with less than this share of the scale before it: outliers were in that. With one to three of 36 losses
# doubled it is .1 to .3; by chance alone the least of 400 tables of 15 runs has .39, one in a hundred of 36 runs .83.
_SCALE_HELD_UP = 1 / 3
_MOST_RESCALINGS = 20
_SAME_MINIMUM = 1e-6  # relative difference of objectives
_TOLERANCE = 1e-12
_TOLERANCE_OF_SCALE = 1e-9  # moves the robust scale by less than 1e-6 of itself


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Why the optimum can be believed.

    decrement: decrease of the objective that a Newton step still predicts, relative to it; 0 = stationary.
    condition: condition number of the scaled Jacobian at the optimum; above 1e4 a direction is hardly determined.
    """

    converged: bool
    decrement: float
    n_starts: int
    n_agreeing: int
    n_steps: int
    condition: float

    @property
    def certified(self) -> bool:
        """Stationary, and reached from at least two starts."""
        return self.converged and self.n_agreeing >= min(2, self.n_starts)

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, also=("certified",))


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """theta (5,) at the minimum of `penalty` over `data`."""

    data: SurfaceData
    theta: Array
    value: float  # sum of rho in solver units
    penalty: Penalty
    name: ObjectiveName
    adaptive: bool  # delta followed the robust scale
    decrement: float
    converged: bool
    n_starts: int
    n_agreeing: int
    n_steps: int

    def objective(self) -> Objective:
        """In the units people quote: sum of Huber, or of squares, of log loss or of loss."""
        scale = 1.0 if self.data.log_residual else self.data.loss_scale**2
        if self.name in ("least_squares", "log_least_squares"):
            return Objective(name=self.name, value=2 * self.value * scale)
        return Objective(name=self.name, value=self.value * scale, delta=self.penalty.delta)


def check_objective(name: str, huber_delta: float | None) -> None:
    """Raise UsageError for an unknown objective or a threshold it does not take."""
    if not is_one_of(name, OBJECTIVES):
        raise UsageError(f"unknown objective {shown(name)}; known: {', '.join(OBJECTIVES)}.")
    if huber_delta is None:
        return
    if name != "huber":
        raise UsageError(
            f"huber_delta applies to the objective 'huber', not to {name!r}. Leave one of them out."
        )
    if not is_number(huber_delta) or not 0 < huber_delta < float("inf"):
        raise UsageError(
            f"huber_delta must be a positive number of log-loss units (Hoffmann: 0.001), got {shown(huber_delta)}."
        )


def find_optimum(
    data: SurfaceData,
    name: ObjectiveName = "huber",
    huber_delta: float | None = None,
    *,
    starts: Array | None = None,
) -> Optimum:
    """The minimum of the named objective.

    Args:
        huber_delta: None = 1.345 x the robust scale of the least-squares fit (of the robust fit, where outliers hold
            the former up), kept fixed afterwards.
        starts: (B, 5) to use instead of the projection grid; a fit known to be near needs one.
    """
    data = data.with_residual("raw" if name in ("least_squares", "asymmetric") else "log")
    if starts is None:
        starts = starting_points(data)
    if data.n > 2 * START_ROWS:
        return _find_in_large_table(data, name, huber_delta, starts)
    adaptive = name == "huber" and huber_delta is None
    penalty = _adaptive_penalty(data, starts) if adaptive else _penalty(name, huber_delta)
    return _best(data, minimise(data, starts, penalty, tolerance=_TOLERANCE), penalty, name, adaptive)


def _penalty(name: ObjectiveName, huber_delta: float | None) -> Penalty:
    if name == "huber":
        assert huber_delta is not None
        return Penalty(delta=huber_delta)
    if name == "asymmetric":
        return Penalty(delta=SMOOTHED_BELOW, over=OVER_PREDICTION)
    return SQUARES


def _adaptive_penalty(data: SurfaceData, starts: Array) -> Penalty:
    """Huber at 1.345 robust standard deviations of the least-squares fit, freed from outliers that move that fit.

    Squares chase a run that is far off and leave every residual large. So the scale is taken again from the robust
    fit while that lowers it much: three of 36 losses doubled give 0.14 at first and 0.009 in the end.
    """
    squares = minimise(data, starts[:1], SQUARES, tolerance=_TOLERANCE_OF_SCALE)
    if not squares.converged[0]:
        squares = minimise(data, starts, SQUARES, tolerance=_TOLERANCE)
    theta = squares.theta[int(np.argmin(squares.objective))]
    penalty = _penalty_at(data, theta)
    for _ in range(_MOST_RESCALINGS):
        theta = minimise(data, theta[None], penalty, tolerance=_TOLERANCE_OF_SCALE).theta[0]
        again = _penalty_at(data, theta)
        if again.delta > _SCALE_HELD_UP * penalty.delta:
            break
        penalty = again
    return penalty


def _penalty_at(data: SurfaceData, theta: Array) -> Penalty:
    scale = robust_scale(residuals(data, theta), data.n_fitted)
    return Penalty(delta=max(HUBER_EFFICIENT * scale, SMALLEST_DELTA))


def _find_in_large_table(
    data: SurfaceData, name: ObjectiveName, huber_delta: float | None, starts: Array
) -> Optimum:
    """Starts agree or not on a fixed random subset; the best goes on with every run. Linear in n."""
    subset = data.select(np.random.default_rng(0).choice(data.n, 2 * START_ROWS, replace=False))
    rough = find_optimum(subset, name, huber_delta, starts=starts)
    near = rough.theta[None]
    adaptive = rough.adaptive
    penalty = _adaptive_penalty(data, near) if adaptive else rough.penalty
    found = minimise(data, near, penalty, tolerance=_TOLERANCE)
    best = _best(data, found, penalty, name, adaptive)
    return replace(best, n_starts=rough.n_starts, n_agreeing=rough.n_agreeing)


def _best(
    data: SurfaceData, found: Minimum, penalty: Penalty, name: ObjectiveName, adaptive: bool
) -> Optimum:
    i = int(np.argmin(found.objective))
    value = float(found.objective[i])
    rounding = 1e-31 * data.n  # noise-free: every start ends in rounding error
    agreeing = found.objective <= value * (1 + _SAME_MINIMUM) + rounding
    return Optimum(
        data=data,
        theta=found.theta[i],
        value=value,
        penalty=penalty,
        name=name,
        adaptive=adaptive,
        decrement=float(found.decrement[i]) / max(value, rounding),
        converged=bool(found.converged[i]),
        n_starts=len(found.objective),
        n_agreeing=int(agreeing.sum()),
        n_steps=int(found.n_steps[i]),
    )


# --- where to start ---


def starting_points(data: SurfaceData) -> Array:
    """(6, 5) starts: the best cell of the grid, then the best of each quarter of it, then the next best cells.

    Given alpha and beta, the best E, A, B >= 0 follow from three normal equations. One 18 x 18 matrix of weighted inner
    products holds them for all 64 cells of an 8 x 8 grid, so a start costs less than one step of the search it saves.
    Source: Golub and Pereyra 1973 (variable projection). Ours differs: weights 1/L^2, so that the projection minimises
    nearly the log residual, and Huber reweighting about the best cell, so that a few bad runs do not choose it.
    """
    if data.n > START_ROWS:
        data = data.select(np.random.default_rng(0).choice(data.n, START_ROWS, replace=False))
    weight = np.exp(-2 * data.ln_loss)
    if data.fixed:
        return _given_fixed(data, weight)
    theta, misfit = _project(data, weight)
    size = np.abs(residuals(data.with_residual("log"), theta[int(np.argmin(misfit))]))
    scale = 1.4826 * float(np.median(size))
    if scale > 1e-9:  # else noise-free
        weight = weight * np.minimum(1.0, HUBER_EFFICIENT * scale / np.maximum(size, 1e-300))
        theta, misfit = _project(data, weight)
    return theta[_choose(misfit)]


def _given_fixed(data: SurfaceData, weight: Array) -> Array:
    """The best cells where coordinates are held: their terms go to the other side of the equations."""
    fixed = dict(data.fixed)
    root, scale = np.sqrt(weight), math.exp(float(np.median(data.ln_loss)))
    found = []
    for alpha, beta in itertools.product(*([fixed[i]] if i in fixed else GRID for i in (3, 4))):
        columns = np.stack([np.exp(-alpha * data.x), np.exp(-beta * data.y), np.ones(data.n)])
        known = {0: math.exp(fixed.get(0, 0.0)), 1: math.exp(fixed.get(1, 0.0)), 2: fixed.get(2, 0.0)}
        held, free = [i for i in range(3) if i in fixed], [i for i in range(3) if i not in fixed]
        rest = np.exp(data.ln_loss) - sum((known[i] * columns[i] for i in held), np.zeros(data.n))
        values = np.array([known[i] for i in range(3)])
        if free:
            solution = np.linalg.lstsq((columns[free] * root).T, rest * root, rcond=None)[0]
            values[free] = np.maximum(solution, _SMALLEST_TERM * scale)
        misfit = float(weight @ (np.exp(data.ln_loss) - values @ columns) ** 2)
        found.append((misfit, [math.log(values[0]), math.log(values[1]), values[2], alpha, beta]))
    best = sorted(found)[:N_STARTS]
    return data.with_fixed(np.clip(np.array([theta for _, theta in best]), LOWER, UPPER))


def _choose(misfit: Array) -> list[int]:
    """Cells to start from: spread over the grid, so that agreement between them means something."""
    order = [int(i) for i in np.argsort(misfit, kind="stable")]
    half = len(GRID) // 2
    quarter = {i: (i // len(GRID) // half, i % len(GRID) // half) for i in order}
    best = [next(i for i in order if quarter[i] == q) for q in itertools.product((0, 1), repeat=2)]
    chosen = list(dict.fromkeys([order[0], *best]))
    return chosen + [i for i in order if i not in chosen][: N_STARTS - len(chosen)]


def _project(data: SurfaceData, weight: Array) -> tuple[Array, Array]:
    """theta (64, 5) and weighted squared misfit (64,) of every cell (alpha, beta) of the grid."""
    k = len(GRID)
    rows = np.vstack(
        [
            np.exp(-np.outer(GRID, data.x)),
            np.exp(-np.outer(GRID, data.y)),
            np.ones(data.n),
            np.exp(data.ln_loss),
        ]
    )
    inner = (rows * weight) @ rows.T
    i, j = (index.ravel() for index in np.meshgrid(np.arange(k), np.arange(k), indexing="ij"))
    columns = np.stack([i, j + k, np.full(k * k, 2 * k)], axis=1)  # A, B, E
    gram = inner[columns[:, :, None], columns[:, None, :]]
    right = inner[columns, 2 * k + 1]
    coefficients, misfit = _nonnegative(gram, right, float(inner[2 * k + 1, 2 * k + 1]))
    scale = math.exp(float(np.median(data.ln_loss)))
    theta = np.column_stack(
        [
            np.log(np.maximum(coefficients[:, :2], _SMALLEST_TERM * scale)),
            coefficients[:, 2],
            GRID[i],
            GRID[j],
        ]
    )
    return np.clip(theta, LOWER, UPPER), misfit


def _nonnegative(gram: Array, right: Array, total: float) -> tuple[Array, Array]:
    """Least squares with coefficients >= 0: (M, 3) and misfit (M,). Cells with a negative one try every subset."""
    best, misfit = _solve_subset(gram, right, total, (0, 1, 2))
    bad = np.flatnonzero((best < 0).any(axis=1))
    if bad.size:
        best[bad], misfit[bad] = 0.0, math.inf
    for active in ((0, 1), (0, 2), (1, 2), (0,), (1,), (2,)) if bad.size else ():
        part, value = _solve_subset(gram[bad], right[bad], total, active)
        better = (part >= 0).all(axis=1) & (value < misfit[bad])
        misfit[bad] = np.where(better, value, misfit[bad])
        best[bad] = np.where(better[:, None], part, best[bad])
    return best, misfit


def _solve_subset(gram: Array, right: Array, total: float, active: tuple[int, ...]) -> tuple[Array, Array]:
    """The normal equations of some of the three columns, zero for the others."""
    index = np.array(active)
    part = gram[:, index[:, None], index]
    ridge = 1e-13 * part.diagonal(axis1=1, axis2=2).max(axis=1)
    known = right[:, index]
    solution = np.linalg.solve(part + ridge[:, None, None] * np.eye(len(active)), known[:, :, None])[:, :, 0]
    filled = np.zeros((len(gram), 3))
    filled[:, index] = solution
    return filled, total - (solution * known).sum(axis=1)
