"""Fitted numbers as text: with the digits their errors leave, and intervals whose ends may be open."""

from __future__ import annotations

import math
from collections.abc import Callable

from scaling.fitting.results import Estimate, Interval
from scaling.translation import tr
from scaling.units import (
    digits_by_error,
    format_flops,
    format_params,
    round_by_error,
)

TWO_DIGITS_UP_TO = (
    35  # of the first two digits of an error (Particle Data Group 2024, sec. 5.3): else one is enough
)
LEAST_DIGITS, MOST_DIGITS = 2, 3  # of a number of parameters or tokens on a first screen
LOPSIDED = 0.02  # nats per token: two decimals tell the sides of a longer one apart
LEAST_LOSS_ERROR = 1e-3  # nats per token that a first screen tells apart: seeds differ by more
SYMMETRIC = 1.25  # the longer side of an interval over the shorter one, up to which one number tells both


def rounded(estimate: Estimate, exact: bool = False) -> str:
    """A value with the digits its error leaves; `exact`: the runs have no noise, and what has no error is exact."""
    return by_error(estimate.value, _error_of(estimate, exact))


def _error_of(estimate: Estimate, exact: bool) -> float:
    """The error that sets the digits: the standard error, else a quarter of the interval, else none or 0.1 %."""
    if estimate.standard_error is not None:
        return estimate.standard_error
    if estimate.interval is not None and estimate.interval.bounded:
        return estimate.interval.half_width / 2
    return 0.0 if exact else abs(estimate.value) * 1e-3


def by_error(value: float, error: float, digits: int = 2) -> str:
    text = round_by_error(value, error, digits)
    if float(text) == 0 != value:  # far below its own error: two digits of the value itself
        return f"{value:.2g}" if 1e-4 < abs(value) < 1e5 else format_flops(value, 2)
    longest = 7 if abs(value) >= 1e6 else 9
    if len(text) <= longest:
        return text
    mantissa, exponent = f"{value:.{digits_by_error(value, error, digits) - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def error_text(estimate: Estimate) -> str:
    if estimate.standard_error is None:
        return "-"
    return by_error(estimate.standard_error, estimate.standard_error)


def interval_text(interval: Interval | None, value: float) -> str:
    if interval is None:
        return tr("none")
    error = interval.half_width / 2 if interval.bounded else abs(value) * 0.05
    return span(interval, lambda x: by_error(x, error))


def span(interval: Interval | None, formatter: Callable[[float], str]) -> str:
    if interval is None:
        return tr("none")
    low_open, high_open = interval.low <= 0, math.isinf(interval.high)
    if low_open and high_open:
        return tr("unbounded")
    if low_open:
        return tr("up to {high}", high=formatter(interval.high))
    if high_open:
        return tr("over {low}", low=formatter(interval.low))
    return tr("{low} to {high}", low=formatter(interval.low), high=formatter(interval.high))


def ends(estimate: Estimate) -> str:
    """The interval behind a value: " (95 %: 0.48 to 0.52)"."""
    if estimate.interval is None:
        return ""
    return f" ({100 * estimate.interval.level:g} %: {interval_text(estimate.interval, estimate.value)})"


def power(coefficient: Estimate, exponent: Estimate) -> str:
    """k C^a with four digits each: enough to recompute a plan within 1 %."""
    return f"{coefficient.value:.4g} C^{exponent.value:.4f}"


def signed_percent(value: float | None, sign: str = "+") -> str:
    """A fraction in percent with two decimals; nothing where there is none."""
    return "" if value is None else f"{100 * value:{sign}.2f} %"


def p_text(value: float) -> str:
    return "p < 1e-16" if value < 1e-16 else f"p = {value:.2g}"


# --- for a first screen: no more digits than a reader takes in ---


def brief(estimate: Estimate, exact: bool = False, most_decimals: int = 3) -> str:
    """0.511 (0.491 to 0.529): one or two digits of the half-width decide, and `most_decimals`."""
    interval = estimate.interval
    if interval is None or not interval.bounded:
        behind = "" if interval is None else f" ({interval_text(interval, estimate.value)})"
        error = _error_of(estimate, exact)
        return _decimals(estimate.value, by_error(estimate.value, error), most_decimals) + behind
    error, digits = interval.half_width, _digits_of(interval.half_width)
    numbers = (estimate.value, interval.low, interval.high)
    value, low, high = (_decimals(x, by_error(x, error, digits), most_decimals) for x in numbers)
    return value if low == high else tr("{value} ({low} to {high})", value=value, low=low, high=high)


def _decimals(value: float, text: str, most: int) -> str:
    """The text of a value, or the value with `most` decimals where the text has more of them."""
    shorter = "e" not in text and len(text.partition(".")[2]) > most and abs(value) >= 10.0**-most
    return f"{value:.{most}f}" if shorter else text


def brief_count(estimate: Estimate) -> str:
    """4.9B (4.3 to 5.6), of parameters or tokens: the ends in the unit of the value where they share it."""
    interval = estimate.interval
    if interval is None or not interval.bounded or interval.half_width == 0:
        behind = "" if interval is None else f" ({span(interval, format_params)})"
        return format_params(estimate.value) + behind
    error, digits = interval.half_width, _digits_of(interval.half_width)

    def form(value: float) -> str:
        shown = digits_by_error(value, error, digits)
        return format_params(value, min(MOST_DIGITS, max(LEAST_DIGITS, shown)))

    value, *both = map(form, (estimate.value, interval.low, interval.high))
    unit = value[-1] if value[-1].isalpha() else ""
    if unit and all(end.endswith(unit) for end in both) and interval.low > 0:
        return f"{value} ({span(interval, lambda x: form(x).removesuffix(unit))})"
    return f"{value} ({span(interval, form)})"


def brief_loss(estimate: Estimate) -> str:
    """2.198 ±0.013; 2.23 +0.04-0.06 where the interval is lopsided."""
    interval = estimate.interval
    if interval is None or not interval.bounded or not interval.contains(estimate.value):
        return brief(estimate)
    if interval.low <= 0:  # a loss is not negative: the runs say nothing of it
        return f"{estimate.value:.2f} ({tr('open')})"
    up, down = interval.high - estimate.value, estimate.value - interval.low
    if max(up, down) > SYMMETRIC * min(up, down) and max(up, down) > LOPSIDED:
        return f"{estimate.value:.2f} +{up:.2f}-{down:.2f}"
    error = max(interval.half_width, LEAST_LOSS_ERROR)  # rounded up, where smaller
    digits = _digits_of(error) if error > 10 * LEAST_LOSS_ERROR else 1
    return f"{by_error(estimate.value, error, digits)} ±{by_error(error, error, digits)}"


def _digits_of(error: float) -> int:
    return 2 if error > 0 and int(f"{error:.1e}"[:3].replace(".", "")) <= TWO_DIGITS_UP_TO else 1


MOST_DIGITS_OF_A_COUNT = 4


def digits_of(estimate: Estimate) -> int:
    """Of a count (parameters, tokens): as many as its interval leaves, two at least; three without an interval."""
    if estimate.interval is None or not estimate.interval.bounded or estimate.interval.half_width <= 0:
        return 3
    return min(MOST_DIGITS_OF_A_COUNT, max(2, digits_by_error(estimate.value, estimate.interval.half_width)))
