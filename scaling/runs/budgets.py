"""Group runs by training compute, by tolerance and not by rounding (1.5e19 is not 2.4e19)."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.runs.table import Runs

# Digitised tables scatter by a few per cent about the nominal budget; published grids step by 1.6 or more.
DEFAULT_TOLERANCE = 0.1
MANY = 5000  # beyond so many values (a table of curves) those closer than width / FINEST go together at once
FINEST = 256


@dataclass(frozen=True, kw_only=True)
class BudgetClusters:
    """Budgets in rising order and the budget of each run."""

    flops: NDArray[np.float64]  # (n_budgets,) nominal FLOPs, rising
    labels: NDArray[np.int64]  # (n_runs,) index into `flops`; -1 = belongs to no budget

    def __len__(self) -> int:
        return len(self.flops)

    def members(self, index: int) -> NDArray[np.int64]:
        """Positions of the runs of budget `index`."""
        return np.flatnonzero(self.labels == index)


def cluster_budgets(flops: ArrayLike, tolerance: float = DEFAULT_TOLERANCE) -> BudgetClusters:
    """Group compute values so that all of a group lie within `tolerance` of its centre.

    Complete linkage on log C: neighbours are merged, closest first, while the group's largest value is at most
    (1 + tolerance)^2 times its smallest. A chain of values, each near the next, is therefore never one budget,
    and the result does not depend on the order of the rows. The nominal value of a group is its median.

    Args:
        flops: (n_runs,) training FLOPs > 0; NaN = not known, gets the label -1.
        tolerance: relative half-width of a group, > 0; below 0.25 for grids that step by 1.6.
    Raises:
        UsageError: tolerance is not a finite number above zero.
    Example:
        >>> cluster_budgets([1.5e19, 2.4e19, 1.52e19]).labels.tolist()
        [0, 1, 0]
    """
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise UsageError(
            f"the budget tolerance must be a finite number above zero; got {tolerance!r}. Try 0.1."
        )
    values = np.asarray(flops, dtype=np.float64).ravel()
    labels = np.full(values.shape, -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(values) & (values > 0))
    if not known.size:
        return BudgetClusters(flops=np.empty(0), labels=labels)
    ordered = known[np.argsort(values[known], kind="stable")]
    starts = _group_starts(np.log(values[ordered]), 2 * math.log1p(tolerance))
    groups = np.split(ordered, starts[1:])
    for k, members in enumerate(groups):
        labels[members] = k
    return BudgetClusters(flops=np.array([np.median(values[g]) for g in groups]), labels=labels)


def assign_budgets(runs: Runs, tolerance: float = DEFAULT_TOLERANCE) -> BudgetClusters:
    """Budgets of a table: its `budget` column where it has one (empty = no budget), else its FLOPs clustered."""
    return cluster_budgets(runs.flops if runs.budget is None else runs.budget, tolerance)


def _group_starts(x: NDArray[np.float64], width: float) -> list[int]:
    """First position of each group of the sorted values `x`, no group wider than `width`."""
    gaps = np.flatnonzero(np.diff(x) > width) + 1  # such a gap is never inside a group
    edges = [0, *gaps.tolist(), len(x)]
    starts: list[int] = []
    for first, end in pairwise(edges):
        segment = x[first:end]
        whole = segment[-1] - segment[0] <= width
        starts += [first] if whole else [first + s for s in _complete_linkage(segment, width)]
    return starts


def _complete_linkage(x: NDArray[np.float64], width: float) -> list[int]:
    """First positions of the groups: merge neighbours, smallest merged span first, while it is <= width."""
    atoms = _atoms(x, width / FINEST)
    low, high = x[atoms].tolist(), x[[*(a - 1 for a in atoms[1:]), len(x) - 1]].tolist()
    n = len(atoms)
    left, right = list(range(-1, n - 1)), [*range(1, n), -1]
    heap = [(high[i + 1] - low[i], i, i + 1, high[i], high[i + 1]) for i in range(n - 1)]
    alive = [True] * n
    heapq.heapify(heap)
    while heap and heap[0][0] <= width:
        _, i, j, high_i, high_j = heapq.heappop(heap)
        if not (alive[i] and alive[j] and high[i] == high_i and high[j] == high_j):
            continue  # one of the two has grown since
        high[i], alive[j], right[i] = high[j], False, right[j]
        if right[i] >= 0:
            left[right[i]] = i
        for a, b in ((left[i], i), (i, right[i])):
            if a >= 0 and b >= 0:
                heapq.heappush(heap, (high[b] - low[a], a, b, high[a], high[b]))
    return [atoms[i] for i in range(n) if alive[i]]


def _atoms(x: NDArray[np.float64], step: float) -> list[int]:
    """First positions of the runs of values that are always together: equal ones, or within a step when many."""
    place = x if len(x) <= MANY else np.floor((x - x[0]) / step)
    return [0, *(np.flatnonzero(np.diff(place) > 0) + 1).tolist()]
