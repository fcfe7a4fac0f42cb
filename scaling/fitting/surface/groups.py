"""Which runs share a fate: a budget (one schedule, one day, one hyper-parameter setting) or a trunk.

Groups are what the jackknife leaves out and what the cluster bootstrap draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.surface.problem import Array
from scaling.runs import Runs, assign_budgets, cluster_budgets
from scaling.runs.table import group_index
from scaling.translation import counted, tr
from scaling.units import format_flops

MIN_RUNS_PER_GROUP = 5  # a smaller budget says too little on its own when it is left out
MIN_GROUPS = 4  # below, t_{G-1} intervals are too wide to use
_LARGEST_TABLE_TO_CLUSTER = 5_000  # beyond, ten groups of equal size
_QUANTILE_GROUPS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """A label per run, 0 .. n_groups - 1, and what a group is."""

    labels: NDArray[np.int64]
    kind: str  # "budget" or "trunk"
    centres: tuple[float, ...] = ()  # FLOPs of each budget
    named: bool = False  # by the table, not by us from runs of near compute

    @property
    def n_groups(self) -> int:
        return int(self.labels.max()) + 1

    def in_words(self) -> str:
        """How many, of what, and whether the table says so: "10 groups of near compute, 2.2e18 to 1.1e22 FLOPs"."""
        if not self.centres:
            return counted(self.n_groups, self.kind)
        low, high = format_flops(min(self.centres), 2), format_flops(max(self.centres), 2)
        if self.named:
            return tr("{n} budgets of the table, {low} to {high} FLOPs", n=self.n_groups, low=low, high=high)
        return tr("{n} groups of near compute, {low} to {high} FLOPs; the table names no budgets", n=self.n_groups,
                  low=low, high=high)  # fmt: skip

    @property
    def enough(self) -> bool:
        return self.n_groups >= MIN_GROUPS


def trunks(runs: Runs) -> Groups | None:
    """Groups of rows that share a trunk or are checkpoints of one run; None where every row stands alone."""
    if len(set(runs.clusters)) == len(runs):  # the usual case, without an index of a million names
        return None
    labels = group_index(runs.clusters)
    return Groups(labels=labels, kind="trunk") if int(labels.max()) + 1 < len(runs) else None


def budgets(runs: Runs) -> Groups:
    """Groups of similar training compute, each of at least five runs (smaller ones join their nearest neighbour)."""
    ln_flops = np.log(runs.flops)
    named = runs.budget is not None and bool(np.isfinite(runs.budget).mean() >= 0.5)
    if named:
        nominal = np.log(assign_budgets(runs).flops)
        labels = _nearest(ln_flops, nominal)  # runs without a nominal budget join the nearest
    elif len(runs) <= _LARGEST_TABLE_TO_CLUSTER:
        labels = cluster_budgets(runs.flops).labels
    else:
        edges = np.quantile(ln_flops, np.arange(1, _QUANTILE_GROUPS) / _QUANTILE_GROUPS)
        labels = np.searchsorted(edges, ln_flops)
    labels = _merge_small(labels, ln_flops)
    means = np.bincount(labels, weights=ln_flops) / np.bincount(labels)
    return Groups(labels=labels, kind="budget", centres=tuple(np.exp(means).tolist()), named=named)


def _nearest(values: Array, centres: Array) -> NDArray[np.int64]:
    """Index of the nearest of the rising `centres`, in n log G."""
    middles = (centres[1:] + centres[:-1]) / 2
    return np.searchsorted(middles, values).astype(np.int64)


def _merge_small(labels: NDArray[np.int64], ln_flops: Array) -> NDArray[np.int64]:
    """Join groups of under five runs with the neighbour whose centre is nearest, smallest first."""
    used, labels = np.unique(labels, return_inverse=True)
    sizes = np.bincount(labels).tolist()
    centres = (np.bincount(labels, weights=ln_flops) / sizes).tolist()
    order = np.argsort(centres).tolist()
    members = [[k] for k in order]
    sizes, centres = [sizes[k] for k in order], [centres[k] for k in order]
    while len(sizes) > 1 and min(sizes) < MIN_RUNS_PER_GROUP:
        i = sizes.index(min(sizes))
        j = min(
            (j for j in (i - 1, i + 1) if 0 <= j < len(sizes)), key=lambda j: abs(centres[j] - centres[i])
        )
        low, high = min(i, j), max(i, j)
        total = sizes[low] + sizes[high]
        centres[low] = (centres[low] * sizes[low] + centres[high] * sizes[high]) / total
        members[low] += members[high]
        sizes[low] = total
        del members[high], sizes[high], centres[high]
    final = np.empty(len(used), dtype=np.int64)
    for new, old in enumerate(members):
        final[old] = new
    return final[labels]
