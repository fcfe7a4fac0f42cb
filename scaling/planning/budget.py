"""What the user has, as a problem to solve: exactly one budget, any number of constraints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from scaling.errors import UsageError
from scaling.planning.allocation import Problem
from scaling.planning.cost import (
    Cluster,
    flops_from_hours,
    flops_from_time,
    hours_from_dollars,
    price_date_text,
)
from scaling.planning.shape import DEFAULT_CONTEXT
from scaling.units import format_dollars, format_duration, format_flops, format_percent

_OPTIONS = {
    "flops": "--flops",
    "seconds": "--time",
    "dollars": "--dollars",
    "target_loss": "--target-loss",
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One of flops, seconds (of the cluster), dollars or target_loss; or n_params or n_tokens, alone or with one more.

    With n_params and n_tokens both given the plan prices that run.
    """

    flops: float | None = None
    seconds: float | None = None
    dollars: float | None = None
    target_loss: float | None = None
    n_params: float | None = None
    n_tokens: float | None = None

    def __post_init__(self) -> None:
        for name in ("flops", "seconds", "dollars", "target_loss", "n_params", "n_tokens"):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise UsageError(f"{name} must be a positive finite number, got {value!r}.")
        money = [_OPTIONS[n] for n in _OPTIONS if getattr(self, n) is not None]
        sizes = [
            o for n, o in (("n_params", "--params"), ("n_tokens", "--tokens")) if getattr(self, n) is not None
        ]
        if len(money) > 1:
            raise UsageError(f"give exactly one budget, got {' and '.join(money)}: leave all but one out.")
        if not money and not sizes:
            raise UsageError(
                "give exactly one budget: --flops 1e21, --hardware 8xH100 --time 14d, --dollars 25k --hardware H100, "
                "--target-loss 2.3, --params 7B or --tokens 1T."
            )
        if money and len(sizes) == 2:
            raise UsageError(
                f"{' and '.join(sizes)} fix the run already: leave one of them, or {money[0]}, out."
            )


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What the plan must respect. `inference_tokens` are served over the model's life at 2 N FLOPs each."""

    unique_tokens: float | None = None
    max_params: float | None = None
    max_memory_bytes: float | None = None  # per accelerator
    inference_tokens: float | None = None
    context_length: int = DEFAULT_CONTEXT
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("unique_tokens", "max_params", "max_memory_bytes", "inference_tokens"):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise UsageError(f"{name} must be a positive finite number, got {value!r}.")


class Compute(NamedTuple):
    """The compute a budget buys: the middle, the ends where price or MFU is a range, and how it was found."""

    flops: float
    low: float
    high: float
    how: str


def buy_compute(budget: Budget, cluster: Cluster) -> Compute | None:
    """FLOPs of the budget on the cluster; None where the budget is not an amount of compute."""
    if budget.flops is not None:
        return Compute(flops=budget.flops, low=budget.flops, high=budget.flops, how="given")
    if budget.seconds is not None:
        flops = flops_from_time(cluster, budget.seconds)
        low, high = (flops * mfu / cluster.mfu_mid for mfu in (cluster.mfu_low, cluster.mfu_high))
        return Compute(flops=flops, low=low, high=high, how=_time_sentence(cluster, budget.seconds))
    if budget.dollars is not None:
        hours = hours_from_dollars(cluster, budget.dollars)
        low, mid, high = (flops_from_hours(cluster, h) for h in hours)
        return Compute(flops=mid, low=low, high=high, how=_dollar_sentence(cluster, budget.dollars, hours[1]))
    return None


def make_problem(budget: Budget, constraints: Constraints, compute: Compute | None) -> Problem:
    """The problem for `solve`."""
    return Problem(
        flops=None if compute is None else compute.flops,
        target_loss=budget.target_loss,
        n_params=budget.n_params,
        n_tokens=budget.n_tokens,
        inference_tokens=constraints.inference_tokens or 0.0,
        max_params=constraints.max_params or math.inf,
    )


def _rate(cluster: Cluster) -> str:
    return (
        f"{cluster.peak_flops_per_s / 1e12:g} TFLOP/s dense x {format_percent(cluster.mfu_mid)} MFU x "
        f"{format_percent(cluster.goodput)} goodput"
    )


def _time_sentence(cluster: Cluster, seconds: float) -> str:
    flops = format_flops(flops_from_time(cluster, seconds))
    count = cluster.n_accelerators or 1
    return f"{count} x {cluster.name} x {_rate(cluster)} x {format_duration(seconds)} = {flops} FLOPs"


def _dollar_sentence(cluster: Cluster, dollars: float, hours: float) -> str:
    low, high = cluster.price_usd_per_hour_low or 0.0, cluster.price_usd_per_hour_high or 0.0
    price = f"${math.sqrt(low * high):.2f}"
    if low != high:
        price += f" (${low:.2f} to ${high:.2f}, {price_date_text(cluster.price_date)})"
    flops = format_flops(flops_from_hours(cluster, hours))
    return (
        f"{format_dollars(dollars)} at {price} an hour = {hours:,.0f} hours of {cluster.name} "
        f"x {_rate(cluster)} = {flops} FLOPs"
    )
