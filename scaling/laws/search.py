"""One-dimensional searches in plain Python floats, for laws without a closed form.

Everything is searched in logarithms. A coarse scan of the whole range finds the valley (so a second local
minimum cannot mislead), golden-section search then refines it; inverses are bracketed root searches.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scaling.errors import LawError

LOG_SMALLEST = 0.0  # one parameter, one token
LOG_LARGEST = math.log(1e30)  # far beyond any model or corpus; a search that ends here found nothing
SCAN_STEP = 0.5  # in ln N: narrower than any valley of a power law with exponents below 3
GOLDEN = (math.sqrt(5) - 1) / 2


def minimise_scanned(f: Callable[[float], float], low: float, high: float) -> float | None:
    """Where f is least on [low, high]; None when that is at an end. Accurate to about 1e-8 in x."""
    n_steps = max(4, math.ceil((high - low) / SCAN_STEP))
    grid = [low + (high - low) * i / n_steps for i in range(n_steps + 1)]
    values = [f(x) for x in grid]
    best = min(range(len(grid)), key=values.__getitem__)
    if best in (0, n_steps):
        return None
    return golden_section(f, grid[best - 1], grid[best + 1])


def golden_section(f: Callable[[float], float], a: float, b: float, tolerance: float = 1e-9) -> float:
    """Minimum of a function with one valley on [a, b]."""
    c, d = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
    fc, fd = f(c), f(d)
    while b - a > tolerance:
        if fc < fd:
            b, d, fd = d, c, fc
            c = b - GOLDEN * (b - a)
            fc = f(c)
        else:
            a, c, fc = c, d, fd
            d = a + GOLDEN * (b - a)
            fd = f(d)
    return (a + b) / 2


def falling_root(excess: Callable[[float], float], low: float, high: float, what: str) -> float:
    """Where a falling function crosses zero; LawError, in which `what` is asked for, where it does not."""
    if excess(low) <= 0:
        raise LawError(f"{what} is above what the smallest run reaches; ask for a lower loss.")
    if excess(high) > 0:
        raise LawError(f"{what} is not reached at any size; ask for a higher loss.")
    return _root(excess, low, high)


def _root(f: Callable[[float], float], a: float, b: float) -> float:
    """A root of f between a and b, where its signs differ (Chandrupatla 1997: bisection or inverse quadratic)."""
    fa, fb = f(a), f(b)
    t = 0.5
    for _ in range(100):  # bisection alone needs about 55
        x = a + t * (b - a)
        fx = f(x)
        if (fx > 0) == (fa > 0):
            c, fc = a, fa
        else:
            c, fc, b, fb = b, fb, a, fa
        a, fa = x, fx
        best = a if abs(fa) < abs(fb) else b
        tolerance = 4e-16 * max(1.0, abs(best)) / max(abs(b - a), 1e-300)
        if fa == 0 or tolerance > 0.5:
            return best
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        if phi**2 < xi and (1 - phi) ** 2 < 1 - xi:
            t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        else:
            t = 0.5
        t = min(1 - tolerance, max(tolerance, t))
    return best
