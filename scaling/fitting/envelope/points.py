"""The lower envelope of many training curves: which model size is best at each compute. Arrays in, arrays out.

Cost is linear in the rows: one sort, one averaging pass, one interpolation pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

GRID_POINTS = 1500  # Hoffmann et al. 2022, sec. 3.1
MIN_GRID_POINTS = 300
CELLS_PER_DECADE = (
    50  # noisy rows closer than this (4.7 % of C) are averaged: curves are straight over such a step
)
MIN_COMMON_POINTS = 8  # of the grid, on which both curves exist
WINDOW = math.log(
    6.0
)  # in ln C, either side of a crossing: the lead of one curve over another is a parabola there
PAIR_RATIO = 1.5  # of two sizes whose curves are compared
MOST_FLIPS = (
    0.25  # of the points on the wrong side of a crossing; two curves that noise alone orders have half
)
# Both curves must go on for a factor 1.5 of compute beyond their crossing. Where a curve ends at about the crossing,
# noise decides whether the crossing is seen, and only those that come early are: a bias.
END_MARGIN = math.log(1.5)
CHUNK = 2_000_000  # interpolated points held at once: 100 MB


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The lowest curve at each compute of a grid. `run` is -1 where no curve passes."""

    ln_flops: Array  # (n_points,) rising, evenly spaced
    loss: Array
    run: Integers  # index of the winning run
    n_curves: Integers  # curves that pass at this compute


def lower_envelope(run: Integers, ln_flops: Array, loss: Array) -> Envelope:
    """Envelope of the curves `loss` against `ln_flops`, rows in any order; `run` is 0, 1, 2 ... (n_rows,)."""
    n_runs = int(run.max()) + 1
    low, high = float(ln_flops.min()), float(ln_flops.max())
    n_points = int(np.clip(4_000_000 // n_runs, MIN_GRID_POINTS, GRID_POINTS))
    grid = np.linspace(low, high, n_points)
    run, ln_flops, loss = _averaged(run, ln_flops, loss, low)
    lowest, winner = np.full(n_points, np.inf), np.full(n_points, -1, dtype=np.int64)
    count = np.zeros(n_points, dtype=np.int64)
    for segment, at, value in _on_grid(run, ln_flops, loss, grid):
        np.minimum.at(lowest, at, value)
        wins = value == lowest[at]
        winner[at[wins]] = run[segment[wins]]
        count += np.bincount(at, minlength=n_points)
    return Envelope(ln_flops=grid, loss=lowest, run=winner, n_curves=count)


def size_curves(run: Integers, ln_flops: Array, loss: Array, row_of_run: Integers, grid: Array) -> Array:
    """(n_sizes, n_points) the lowest curve of each size; inf where it has none.

    `row_of_run` gives the row of each run's size, -1 = leave out.
    """
    keep = row_of_run[run] >= 0
    run, ln_flops, loss = _averaged(run[keep], ln_flops[keep], loss[keep], float(grid[0]))
    table = np.full((int(row_of_run.max()) + 1) * len(grid), np.inf)
    for segment, at, value in _on_grid(run, ln_flops, loss, grid):
        np.minimum.at(table, row_of_run[run[segment]] * len(grid) + at, value)
    return table.reshape(-1, len(grid))


def _on_grid(
    run: Integers, ln_flops: Array, loss: Array, grid: Array
) -> Iterator[tuple[Integers, Integers, Array]]:
    """Curves interpolated at the points of the grid that they pass: (row before, grid point, loss), in chunks."""
    left = np.flatnonzero(run[1:] == run[:-1])
    first = np.searchsorted(grid, ln_flops[left], side="left")
    covered = np.searchsorted(grid, ln_flops[left + 1], side="left") - first
    ends_here = np.append(run[1:] != run[:-1], True)[left + 1]
    covered += ends_here & (np.take(grid, first + covered, mode="clip") == ln_flops[left + 1])
    cuts = np.flatnonzero(np.diff(np.cumsum(covered) // CHUNK)) + 1
    for part in np.split(np.arange(len(left)), cuts):
        n = covered[part]
        segment = np.repeat(left[part], n)
        at = np.repeat(first[part] - (np.cumsum(n) - n), n) + np.arange(len(segment))
        share = (grid[at] - ln_flops[segment]) / (ln_flops[segment + 1] - ln_flops[segment])
        yield segment, at, loss[segment] + share * (loss[segment + 1] - loss[segment])


def _averaged(run: Integers, ln_flops: Array, loss: Array, low: float) -> tuple[Integers, Array, Array]:
    """Rows sorted by run and compute, those of one run in one cell of compute replaced by their mean."""
    if not np.all((run[1:] > run[:-1]) | ((run[1:] == run[:-1]) & (ln_flops[1:] >= ln_flops[:-1]))):
        order = np.lexsort((ln_flops, run))
        run, ln_flops, loss = run[order], ln_flops[order], loss[order]
    cell = np.floor((ln_flops - low) * (CELLS_PER_DECADE / np.log(10))).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, (run[1:] != run[:-1]) | (cell[1:] != cell[:-1])])
    size = np.diff(np.r_[starts, len(run)])
    mean_x = np.add.reduceat(ln_flops, starts) / size
    return run[starts], mean_x, np.add.reduceat(loss, starts) / size


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """Where a larger size becomes the better one: between `smaller` and `larger` the optimum passes there."""

    ln_flops: Array  # rising
    smaller: Array  # n_params
    larger: Array
    at_end: int  # pairs left out because a curve begins or ends at about the crossing
    unclear: int  # pairs left out because noise hides which of the two is better

    @property
    def ln_params(self) -> Array:
        """ln of the geometric mean: two sizes with the same loss lie either side of the minimum."""
        return (np.log(self.smaller) + np.log(self.larger)) / 2


def find_crossings(sizes: Array, curves: Array, grid: Array) -> Crossings:
    """Crossings of each size with the next one at least 1.5 times larger; `curves` is (n_sizes, n_points).

    Two at a time, not by the winner among all sizes: the smallest size has rivals on one side only, so that noise
    lets it lose too early, and the largest win too late.
    """
    found, at_end, unclear = [], 0, 0
    for i, j in _pairs(sizes):
        both = np.isfinite(curves[i]) & np.isfinite(curves[j])
        x, lead = grid[both], curves[j][both] - curves[i][both]  # > 0 while the smaller one is better
        crossing = _crossing(x, lead) if len(x) >= MIN_COMMON_POINTS else None
        if crossing is None or not x[0] + END_MARGIN < crossing < x[-1] - END_MARGIN:
            at_end += 1
        elif np.mean((lead > 0) != (x < crossing)) > MOST_FLIPS:
            unclear += 1
        else:
            found.append((crossing, sizes[i], sizes[j]))
    table = np.array(sorted(found)).reshape(-1, 3)
    return Crossings(
        ln_flops=table[:, 0], smaller=table[:, 1], larger=table[:, 2], at_end=at_end, unclear=unclear
    )


def _crossing(x: Array, lead: Array) -> float | None:
    """Where `lead` falls through zero: the root of a parabola fitted about the place where the signs change.

    The fit and not the signs decide: where a curve ends soon after the crossing, flips of sign beyond its end are
    missing, and counting the rest would put the crossing too early.
    """
    n = int(np.sum(lead > 0))
    about = x[min(n, len(x) - 1)]
    near = np.abs(x - about) < WINDOW
    if int(near.sum()) < MIN_COMMON_POINTS:
        return None
    centre = float(x[near].mean())
    c = np.polynomial.polynomial.polyfit(x[near] - centre, lead[near], 2)
    roots = np.roots(c[::-1]) if abs(c[2]) > 1e-12 * abs(c[1]) else np.array([-c[0] / c[1]])
    real = np.real(roots[np.abs(np.imag(roots)) < 1e-9])
    falling = real[c[1] + 2 * c[2] * real < 0]
    return float(centre + falling[0]) if len(falling) else None


def _pairs(sizes: Array) -> list[tuple[int, int]]:
    """Each size with the first one at least 1.5 times larger: closer ones differ by less than their noise."""
    partner = np.searchsorted(sizes, PAIR_RATIO * sizes * (1 - 1e-9))
    return [(i, int(j)) for i, j in enumerate(partner) if j < len(sizes)]
