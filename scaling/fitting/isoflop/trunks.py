"""Approach 2 on branches of shared trunks: the exponent of N* with one trunk left out at a time.

Branches of one trunk share most of their training, so the minima of several budgets err together, which the t interval
of a line through them does not know. Source: Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans,
ch. 3. Ours differs: what is left out is a trunk, not a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scaling.fitting.line import half_width_factor
from scaling.fitting.parametric.groups import trunks
from scaling.fitting.results import Estimate, Interval
from scaling.runs import Runs


def exponent_by_trunk(
    runs: Runs, value: float, exponent: Callable[[Runs], float | None], level: float
) -> Estimate | None:
    """`value` with the jackknife's error and t interval; None without trunks, or where one cannot be done without.

    Args:
        exponent: of N* from a part of the runs; None where too few budgets keep a minimum.
    """
    groups = trunks(runs)
    if groups is None or groups.n_groups < 3:
        return None
    left_out = [exponent(runs.select(groups.labels != k)) for k in range(groups.n_groups)]
    found = np.array([a for a in left_out if a is not None])
    g = groups.n_groups
    if len(found) < g:
        return None
    error = math.sqrt((g - 1) / g * float(np.sum((found - found.mean()) ** 2)))
    half = half_width_factor(level, g - 1) * error
    method = f"jackknife, one of {g} trunks left out"
    interval = Interval(low=value - half, high=value + half, level=level, method=method)
    return Estimate(value=value, standard_error=error, interval=interval)
