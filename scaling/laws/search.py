"""Allocation and inverses for laws without a closed form: one-dimensional searches in plain Python floats.

Everything is searched in logarithms. A coarse scan of the whole range finds the valley (so a second local
minimum cannot mislead), golden-section search then refines it; inverses are bracketed root searches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import LawError
from scaling.laws.base import Allocation
from scaling.laws.form import require_positive

if TYPE_CHECKING:
    from scaling.laws.base import Law

LOG_SMALLEST = 0.0  # one parameter, one token
LOG_LARGEST = math.log(1e30)  # far beyond any model or corpus; a search that ends here found nothing
SCAN_STEP = 0.5  # in ln N: narrower than any valley of a power law with exponents below 3
GOLDEN = (math.sqrt(5) - 1) / 2


def allocate_by_search(law: Law, flops: float, **inputs: Any) -> Allocation:
    """Minimise law.loss(N, C / (6 N)) over ln N between one parameter and one token.

    Raises:
        LawError: the loss keeps falling towards an end of the range: no interior optimum.
    """
    require_positive(flops=flops)
    log_product = math.log(flops / FLOPS_PER_PARAM_TOKEN)

    def loss_at(log_n: float) -> float:
        return float(law.loss(math.exp(log_n), math.exp(log_product - log_n), **inputs))

    if log_product <= 2 * SCAN_STEP:
        raise LawError(f"{flops:g} FLOPs do not train one parameter on one token; give a larger budget.")
    log_n = minimise_scanned(loss_at, LOG_SMALLEST, log_product)
    if log_n is None:
        raise LawError(
            f"this {law.family.name} law has no compute-optimal split at {flops:g} FLOPs: its loss is least at an end "
            "of the range. Use a law in which both N and D matter."
        )
    n_params = math.exp(log_n)
    n_tokens = flops / (FLOPS_PER_PARAM_TOKEN * n_params)
    return Allocation(flops=flops, n_params=n_params, n_tokens=n_tokens, loss=loss_at(log_n))


def flops_for_loss_by_search(law: Law, loss: float, **inputs: Any) -> Allocation:
    """The budget whose best allocation just reaches `loss`, by a search in ln C."""
    _require_above_floor(law, loss)
    low, high = math.log(FLOPS_PER_PARAM_TOKEN) + 3 * SCAN_STEP, 2 * LOG_LARGEST

    def excess(log_flops: float) -> float:
        best = law.allocate(math.exp(log_flops), **inputs).loss
        assert best is not None  # only frontier laws lack a loss, and they have a closed form
        return best - loss

    log_flops = _falling_root(excess, low, high, f"a loss of {loss:g}{_given(inputs)}")
    return law.allocate(math.exp(log_flops), **inputs)


def tokens_for_loss_by_search(law: Law, n_params: float, loss: float, **inputs: Any) -> float:
    """D with law.loss(n_params, D) = loss, by a search in ln D."""
    require_positive(n_params=n_params)
    _require_above_floor(law, loss)
    what = f"a loss of {loss:g} with {n_params:.3g} parameters{_given(inputs)}"
    log_d = _falling_root(
        lambda log_d: float(law.loss(n_params, math.exp(log_d), **inputs)) - loss,
        LOG_SMALLEST,
        LOG_LARGEST,
        what,
    )
    return math.exp(log_d)


def params_for_loss_by_search(law: Law, n_tokens: float, loss: float, **inputs: Any) -> float:
    """The smallest N with law.loss(N, n_tokens) = loss, by a search in ln N."""
    require_positive(n_tokens=n_tokens)
    _require_above_floor(law, loss)
    what = f"a loss of {loss:g} on {n_tokens:.3g} tokens{_given(inputs)}"
    log_n = _falling_root(
        lambda log_n: float(law.loss(math.exp(log_n), n_tokens, **inputs)) - loss,
        LOG_SMALLEST,
        LOG_LARGEST,
        what,
    )
    return math.exp(log_n)


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


def _falling_root(excess: Callable[[float], float], low: float, high: float, what: str) -> float:
    """Where a falling function crosses zero."""
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


def _given(inputs: dict[str, Any]) -> str:
    """The further inputs, for an error message."""
    return "".join(f" and {name} = {value:.3g}" for name, value in inputs.items() if value is not None)


def _require_above_floor(law: Law, loss: float) -> None:
    if not law.loss_floor < loss < math.inf:
        raise LawError(
            f"a loss of {loss:g} is not above the law's floor {law.loss_floor:.4f}. Ask for a higher loss."
        )
