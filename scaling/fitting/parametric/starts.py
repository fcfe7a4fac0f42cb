"""Starting points by robust variable projection: on a grid of exponents the rest of the law is linear.

Given alpha and beta, the best E, A, B >= 0 follow from three normal equations. One 18 x 18 matrix of weighted inner
products holds them for all 64 cells of an 8 x 8 grid, so a start costs less than one step of the search it saves.
Source: Golub and Pereyra 1973 (variable projection). Ours differs: weights 1/L^2, so that the projection minimises
nearly the log residual, and Huber reweighting about the best cell, so that a few bad runs do not choose it.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from scaling.fitting.parametric.surface import LOWER, UPPER, Array, SurfaceData, residuals

GRID = np.geomspace(0.05, 2.4, 8)
N_STARTS = 6
START_ROWS = 4096  # a start needs no more; the search itself uses every run
_THRESHOLD = 1.345  # robust standard deviations, as the default objective
_SMALLEST_TERM = 1e-4  # of the loss: a term that a cell of the grid would rather have negative starts here


def starting_points(data: SurfaceData) -> Array:
    """(6, 5) starts: the best cell of the grid, then the best of each quarter of it, then the next best cells."""
    if data.n > START_ROWS:
        data = data.select(np.random.default_rng(0).choice(data.n, START_ROWS, replace=False))
    weight = np.exp(-2 * data.ln_loss)
    if data.fixed:
        return _given_fixed(data, weight)
    theta, misfit = _project(data, weight)
    size = np.abs(residuals(data.with_residual("log"), theta[int(np.argmin(misfit))]))
    scale = 1.4826 * float(np.median(size))
    if scale > 1e-9:  # else noise-free
        weight = weight * np.minimum(1.0, _THRESHOLD * scale / np.maximum(size, 1e-300))
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
