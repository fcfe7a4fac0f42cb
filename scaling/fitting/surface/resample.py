"""Refits on other selections of the same runs: leave-one-group-out jackknife and pairs bootstrap.

Use which when: the jackknife by budget is the only interval that survives noise shared within a budget; the pairs
bootstrap of runs (or of trunks) makes clouds for plots and needs no model of the noise, but assumes that runs (or
trunks) are independent. Shapes: B refits, theta (B, P), counts (B, n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling.errors import UsageError
from scaling.fitting.surface.groups import Groups
from scaling.fitting.surface.problem import Array, Penalty, Problem
from scaling.fitting.surface.solver import minimise
from scaling.progress import tracked
from scaling.translation import tr

Mask = NDArray[np.bool_]
_CELLS_AT_ONCE = 40_000  # counts in one call of the solver: larger leaves the processor's cache
_TOLERANCE_SQUARES, _TOLERANCE_HUBER = 1e-7, 1e-8  # relative, far below the spread between resamples
_MAX_STEPS = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Refits:
    """theta of each refit and whether it converged."""

    theta: Array  # (B, P)
    converged: Mask  # (B,)
    kind: str  # "pairs bootstrap of runs", "jackknife by budget"

    @property
    def unconverged_fraction(self) -> float:
        return 1.0 - float(np.mean(self.converged))


def jackknife(data: Problem, theta: Array, penalty: Penalty, groups: Groups) -> Refits:
    """One refit per group, with that group left out."""
    G = groups.n_groups
    found = [
        _refit(data, theta, penalty, (groups.labels != np.arange(G)[rows, None]).astype(np.float64))
        for rows in tracked(_chunks(G, data.n), tr("refits"))
    ]
    return _joined(found, f"jackknife by {groups.kind}")


def jackknife_error(values: Array) -> Array:
    """(K,) jackknife standard error of quantities (G, K)."""
    G = len(values)
    deviation = values - values.mean(axis=0)
    error: Array = np.sqrt((G - 1) / G * (deviation**2).sum(axis=0))
    return error


def pairs_bootstrap(
    data: Problem, theta: Array, penalty: Penalty, n: int, seed: int, groups: Groups | None = None
) -> Refits:
    """n refits to runs drawn with replacement; whole groups are drawn where `groups` is given.

    Source: Efron 1979; Freedman 1981 (pairs). Each resample starts from the fit and is a vector of counts, so that
    repeated runs cost nothing.
    """
    if n < 2:
        raise UsageError(f"the bootstrap needs at least 2 resamples, got {n}; 1000 to 4000 are usual.")
    random = np.random.default_rng(seed)
    units = data.n if groups is None else groups.n_groups
    found = []
    for rows in tracked(_chunks(n, data.n), tr("resamples")):
        B = rows.stop - rows.start
        drawn = random.integers(0, units, size=(B, units)) + (np.arange(B) * units)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=B * units).reshape(B, units).astype(np.float64)
        found.append(_refit(data, theta, penalty, counts if groups is None else counts[:, groups.labels]))
    unit = "runs" if groups is None else f"{groups.kind}s"
    return _joined(found, f"pairs bootstrap of {unit}")


def percentile_ends(values: Array, level: float) -> Array:
    """(K, 2) percentile interval of resampled quantities (B, K)."""
    tail = 50 * (1 - level)
    return np.percentile(values, [tail, 100 - tail], axis=0).T


def _refit(data: Problem, theta: Array, penalty: Penalty, counts: Array) -> tuple[Array, Mask]:
    tolerance = _TOLERANCE_SQUARES if math.isinf(penalty.delta) else _TOLERANCE_HUBER
    found = minimise(
        data,
        np.tile(theta, (len(counts), 1)),
        penalty,
        counts=counts,
        tolerance=tolerance,
        max_steps=_MAX_STEPS,
    )
    return found.theta, found.converged


def _chunks(B: int, n: int) -> list[slice]:
    size = max(1, _CELLS_AT_ONCE // n)
    return [slice(i, min(i + size, B)) for i in range(0, B, size)]


def _joined(found: list[tuple[Array, Mask]], kind: str) -> Refits:
    return Refits(
        theta=np.concatenate([f[0] for f in found]),
        converged=np.concatenate([f[1] for f in found]),
        kind=kind,
    )
