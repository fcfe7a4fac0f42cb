"""Fitted values as text: digits by their error, intervals whose ends may be open."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scaling.units import digits_by_error, format_flops, round_by_error

if TYPE_CHECKING:
    from scaling.fitting.results import Estimate, Interval


def rounded(estimate: Estimate, exact: bool = False) -> str:
    """A value with the digits its error leaves; `exact`: the runs have no noise, and what has no error is exact."""
    return _by_error(estimate.value, _error_of(estimate, exact))


def _error_of(estimate: Estimate, exact: bool) -> float:
    """The error that sets the digits: the standard error, else a quarter of the interval, else none or 0.1 %."""
    if estimate.standard_error is not None:
        return estimate.standard_error
    if estimate.interval is not None and estimate.interval.bounded:
        return estimate.interval.half_width / 2
    return 0.0 if exact else abs(estimate.value) * 1e-3


def _by_error(value: float, error: float) -> str:
    text = round_by_error(value, error)
    if float(text) == 0 != value:  # far below its own error: two digits of the value itself
        return f"{value:.2g}" if 1e-4 < abs(value) < 1e5 else format_flops(value, 2)
    longest = 7 if abs(value) >= 1e6 else 9
    if len(text) <= longest:
        return text
    mantissa, exponent = f"{value:.{digits_by_error(value, error) - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def error_text(estimate: Estimate) -> str:
    if estimate.standard_error is None:
        return "-"
    return _by_error(estimate.standard_error, estimate.standard_error)


def interval_text(interval: Interval | None, value: float) -> str:
    if interval is None:
        return "none"
    error = interval.half_width / 2 if interval.bounded else abs(value) * 0.05
    return span(interval, lambda x: _by_error(x, error))


def span(interval: Interval | None, formatter: Any) -> str:
    if interval is None:
        return "none"
    if not interval.bounded or interval.low <= 0:
        low_open, high_open = interval.low <= 0 or math.isinf(interval.low), math.isinf(interval.high)
        if low_open and high_open:
            return "unbounded"
        return f"over {formatter(interval.low)}" if high_open else f"up to {formatter(interval.high)}"
    return f"{formatter(interval.low)} to {formatter(interval.high)}"


def ends(estimate: Estimate) -> str:
    interval = estimate.interval
    return (
        ""
        if interval is None
        else f" ({100 * interval.level:g} %: {interval_text(interval, estimate.value)})"
    )


def power(coefficient: Estimate, exponent: Estimate) -> str:
    """k C^a with four digits each: enough to recompute a plan within 1 %."""
    return f"{coefficient.value:.4g} C^{exponent.value:.4f}"
