"""Minimum and first crossing of a function of one number: a grid finds the place, scipy.optimize the digits.

The functions here may have several minima (losses that are noisy, or bend down beyond the runs), which a search from
one bracket would miss. Each takes an array of points and returns its values there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

MINIMUM_POINTS = 65
CROSSING_POINTS = 200
MINIMUM_TOLERANCE = 1e-9  # of the argument: values that differ by rounding alone tell no finer
CROSSING_TOLERANCE = 1e-13


def minimum_between(f: Function, low: float, high: float) -> float:
    """Where `f` is least in [low, high]: the best point of a grid, refined between its neighbours.

    Source: Brent 1973, Algorithms for Minimization without Derivatives, ch. 5 (scipy.optimize.minimize_scalar).

    Example:
        >>> round(minimum_between(lambda x: (x - 2) ** 2, 0.0, 10.0), 6)
        2.0
    """
    grid = np.linspace(low, high, MINIMUM_POINTS)
    best = int(np.argmin(f(grid)))
    centre = float(grid[best])  # steps from here, for the search's tolerance grows with its argument
    steps = grid[[max(best - 1, 0), min(best + 1, len(grid) - 1)]] - centre
    found = minimize_scalar(
        lambda step: float(f(np.array([centre + step]))[0]),
        bounds=steps,
        method="bounded",
        options={"xatol": MINIMUM_TOLERANCE},
    )
    return centre + float(found.x)


def first_crossing(f: Function, start: float, end: float) -> float:
    """First point from `start` towards `end` where `f` turns positive; infinite when it does not.

    Source: Brent 1973, ch. 4 (scipy.optimize.brentq).

    Example:
        >>> round(first_crossing(lambda x: x * x - 2, 0.0, 5.0), 6)
        1.414214
    """
    grid = np.linspace(start, end, CROSSING_POINTS)
    values = f(grid)
    if values[0] > 0:  # by rounding: an interval without noise has no width
        return start
    outside = np.flatnonzero(values > 0)
    if len(outside) == 0:
        return math.copysign(math.inf, end - start)
    ends = grid[outside[0] - 1], grid[outside[0]]
    return float(brentq(lambda at: float(f(np.array([at]))[0]), *ends, xtol=CROSSING_TOLERANCE))
