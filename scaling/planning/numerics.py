"""Numerical tools of the planner in plain floats: a one-dimensional minimum, a root, a percentile with infinities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from scaling.errors import PlanError
from scaling.laws.search import GOLDEN, golden_section

MOST_STEPS = 100
NEWTON_TOLERANCE = 1e-12  # of a logarithm


def minimise_log(
    objective: Callable[[float], float], low: float, high: float, *, n_grid: int = 33, tolerance: float = 1e-9
) -> float:
    """The x in [low, high] that minimises `objective`, searched in ln x: a grid first, then golden section.

    The objective may be inf where there is no answer. `tolerance` is in ln x.
    """
    start, end = math.log(low), math.log(high)
    step = (end - start) / (n_grid - 1)
    values = [objective(math.exp(start + i * step)) for i in range(n_grid)]
    best = min(range(n_grid), key=values.__getitem__)
    left, right = max(start, start + (best - 1) * step), min(end, start + (best + 1) * step)
    return math.exp(golden_section(lambda t: objective(math.exp(t)), left, right, tolerance))


_FAR = 1e3  # times the guess: beyond, a minimum is not near it


def minimise_near(objective: Callable[[float], float], guess: float, *, tolerance: float) -> float:
    """The x near `guess` that minimises a smooth `objective` with one valley, in about ten evaluations.

    Three points in ln x walk downhill until they bracket the valley; parabolas through them then find its foot, with
    a golden-section step where a parabola is no use (an inf among the three). For draws, whose minima lie near the
    point's; `minimise_log` needs no guess.
    """
    step = 0.4

    def f(t: float) -> float:
        return objective(math.exp(t))

    left, middle, right = math.log(guess) - step, math.log(guess), math.log(guess) + step
    f_left, f_middle, f_right = f(left), f(middle), f(right)
    if min(f_left, f_middle, f_right) == math.inf:  # nowhere to walk from: look over the whole range
        return minimise_log(objective, guess / _FAR, guess * _FAR, tolerance=tolerance)
    while step < math.log(_FAR):
        if f_middle <= f_left and f_middle <= f_right and f_middle < math.inf:
            break
        step *= 1.5
        if f_left < f_right:
            right, f_right, middle, f_middle = middle, f_middle, left, f_left
            left = middle - step
            f_left = f(left)
        else:
            left, f_left, middle, f_middle = middle, f_middle, right, f_right
            right = middle + step
            f_right = f(right)
    while right - left > tolerance:
        new = _foot(left, middle, right, f_left, f_middle, f_right)
        if abs(new - middle) < tolerance / 2:
            return math.exp(new)
        f_new = f(new)
        if f_new <= f_middle:
            left, f_left, right, f_right = (
                (middle, f_middle, right, f_right) if new > middle else (left, f_left, middle, f_middle)
            )
            middle, f_middle = new, f_new
        elif new > middle:
            right, f_right = new, f_new
        else:
            left, f_left = new, f_new
    return math.exp(middle)


def _foot(a: float, b: float, c: float, fa: float, fb: float, fc: float) -> float:
    """Foot of the parabola through three points; a golden-section point of the wider side where it has none inside."""
    if fa < math.inf and fc < math.inf:
        p, q = (b - a) * (fb - fc), (b - c) * (fb - fa)
        if p != q:
            foot = b - 0.5 * ((b - a) * p - (b - c) * q) / (p - q)
            if a < foot < c:
                return foot
    return b + (1 - GOLDEN) * (c - b if c - b > b - a else a - b)


def newton(value_and_slope: Callable[[float], tuple[float, float]], start: float) -> float:
    """Root of a rising function that is curved one way only: Newton's steps arrive from anywhere.

    Raises:
        PlanError: no root within floating point.
    """
    x = start
    for _ in range(MOST_STEPS):
        value, slope = value_and_slope(x)
        x -= value / slope
        if abs(value) < NEWTON_TOLERANCE * slope * max(1.0, abs(x)):
            return x
    raise PlanError("the optimum with so many inference tokens is out of reach; give fewer of them.")


def solve_log(
    function: Callable[[float], float], target: float, start: float, *, tolerance: float = 1e-12
) -> float:
    """The x with function(x) = target for an increasing positive function: secant in log-log, guarded by bisection.

    Exact after two steps where the function is a power law. Raises ValueError if no x in 1e-60..1e60 gives the target.
    """
    goal, x = math.log(target), math.log(start)
    low, high = math.log(1e-60), math.log(1e60)
    slope = 0.5  # N*(C) and D*(C) grow roughly like the square root of C
    error = math.log(function(math.exp(x))) - goal
    for _ in range(200):
        if abs(error) <= tolerance:
            return math.exp(x)
        low, high = (x, high) if error < 0 else (low, x)
        new = x - error / slope
        if not low < new < high:
            new = (low + high) / 2
        if abs(new - x) <= 1e-14 * abs(x):
            break
        new_error = math.log(function(math.exp(new))) - goal
        slope = max((new_error - error) / (new - x), 1e-3)
        x, error = new, new_error
    if abs(error) <= 1e-6:  # as near as floats come
        return math.exp(x)
    raise ValueError(f"no x gives {target:g}")


def percentile(values: Iterable[float], fraction: float) -> float:
    """Linear-interpolation percentile that keeps infinite ends infinite; NaN where there are no values."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    share = position - below
    if share == 0 or ordered[below] == ordered[above]:
        return ordered[below]
    if math.isinf(ordered[below]) or math.isinf(ordered[above]):
        return ordered[above] if math.isinf(ordered[above]) else ordered[below]
    return ordered[below] + share * (ordered[above] - ordered[below])
