"""What the user has, as compute, and back: the time, money and energy of a run on a cluster.

C = count x peak x MFU x goodput x seconds. MFU is the share of the dense peak that model FLOPs (6 N D) reach while
steps run; goodput is the share of wall time in which steps run (restarts, evaluation and checkpoints are the rest).
Where nobody gives an MFU, the two together are what whole runs of such a size on such hardware reached
(`scaling.planning.utilisation`), over the default goodput; the MFU of tuned benchmarks stands beside it.
Prices are per accelerator-hour with their date; energy is the accelerators' board power, without hosts and cooling.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from scaling.arguments import is_number, require_kind, require_numbers, require_whole
from scaling.errors import PlanError, UsageError, shown
from scaling.findings import Finding
from scaling.planning.shape import DEFAULT_CONTEXT
from scaling.planning.utilisation import (
    LARGEST,
    MIDDLE_DEVICES,
    Calibration,
    estimate_utilisation,
    starvation,
)
from scaling.reference.hardware import Accelerator, find_accelerator
from scaling.translation import tr
from scaling.units import format_dollars, format_duration, format_flops, format_percent

# Llama 3 (Grattafiori et al. 2024, sec. 3.3.4) reports over 90 % effective training time
DEFAULT_GOODPUT = 0.9
SECONDS_PER_HOUR = 3600.0
JOULES_PER_KWH = 3.6e6
USUAL_PARAMS = 7e9  # the model that a cluster is rated for before a plan knows its own
TARGET_SECONDS = 30 * 86400.0  # a count that nobody gave is chosen to finish within 30 days

AMOUNTS = ("flops", "seconds", "dollars", "target_loss")
SIZES = ("n_params", "n_tokens")
EXAMPLES = (
    "flops=1e21, seconds=1e6 or dollars=25e3 with a cluster, target_loss=2.3, n_params=7e9 or n_tokens=1e12"
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One of flops, seconds (of the cluster), dollars or target_loss; or n_params or n_tokens, alone or with one more.

    With n_params and n_tokens both given the plan prices that run.
    Example:
        >>> import scaling
        >>> two_weeks = scaling.Budget(seconds=14 * 86400)
        >>> plan = scaling.plan_training(two_weeks, cluster=scaling.make_cluster("H100", count=64))
        >>> f"{plan.point.flops:.2e} FLOPs, {plan.point.n_params / 1e9:.1f}B parameters"
        '2.13e+22 FLOPs, 13.4B parameters'
    """

    flops: float | None = None
    seconds: float | None = None
    dollars: float | None = None
    target_loss: float | None = None
    n_params: float | None = None
    n_tokens: float | None = None

    def __post_init__(self) -> None:
        require_numbers(or_none=True, **{name: getattr(self, name) for name in (*AMOUNTS, *SIZES)})
        require_one_budget([name for name in (*AMOUNTS, *SIZES) if getattr(self, name) is not None])


def require_one_budget(
    given: Collection[str], *, names: Mapping[str, str] | None = None, examples: str = EXAMPLES
) -> None:
    """Raise UsageError unless these arguments make one budget; `names`: what the user calls them."""
    money, sizes = (
        [(names or {}).get(name, name) for name in kind if name in given] for kind in (AMOUNTS, SIZES)
    )
    if len(money) > 1:
        raise UsageError(f"give exactly one budget, got {' and '.join(money)}: leave all but one out.")
    if not money and not sizes:
        raise UsageError(f"give exactly one budget: {examples}.")
    if money and len(sizes) == 2:
        raise UsageError(f"{' and '.join(sizes)} fix the run already: leave one of them, or {money[0]}, out.")


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What the plan must respect. `inference_tokens` are served over the model's life at 2 N FLOPs each.

    Example:
        >>> import scaling
        >>> scarce = scaling.Constraints(unique_tokens=2e10)
        >>> plan = scaling.plan_training(1e21, constraints=scarce)
        >>> round(plan.repetition.epochs, 1)
        3.5
    """

    unique_tokens: float | None = None
    max_params: float | None = None
    max_memory_bytes: float | None = None  # per accelerator
    inference_tokens: float | None = None
    context_length: int = DEFAULT_CONTEXT
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        amounts = ("unique_tokens", "max_params", "max_memory_bytes", "inference_tokens")
        require_numbers(or_none=True, **{name: getattr(self, name) for name in amounts})
        require_whole(context_length=self.context_length)
        require_whole(or_none=True, vocab_size=self.vocab_size)


class Cluster(NamedTuple):
    """Accelerators to plan for, checked by `make_cluster`. No `n_accelerators` means that the plan chooses.

    An MFU that nobody gave is that of whole runs of `n_params` parameters (`for_run`) on so many devices (`on`).

    Example:
        >>> import scaling
        >>> a100s = scaling.make_cluster("A100", count=16)
        >>> a100s.n_accelerators, round(a100s.mfu_mid, 2), round(a100s.for_run(7e7, 2048).mfu_mid, 2)
        (16, 0.55, 0.25)
    """

    name: str
    peak_flops_per_s: float  # dense, per accelerator
    n_accelerators: int | None
    mfu_low: float
    mfu_mid: float
    mfu_high: float
    mfu_source: str
    goodput: float = DEFAULT_GOODPUT
    memory_bytes: float | None = None
    tdp_w: float | None = None
    price_usd_per_hour_low: float | None = None
    price_usd_per_hour_high: float | None = None
    price_date: str = ""
    findings: tuple[Finding, ...] = ()
    is_estimated: bool = False  # the MFU is that of whole runs
    starved: float = 0.0  # see `scaling.planning.utilisation`
    calibration: Calibration | None = None
    n_params: float = USUAL_PARAMS
    context_length: int = DEFAULT_CONTEXT
    tuned_mfu: tuple[float, float, float] | None = None  # of tuned benchmarks: least, median, most
    tuned_source: str = ""

    def __repr__(self) -> str:
        count = "" if self.n_accelerators is None else f"{self.n_accelerators} x "
        peak, shares = f"{self.peak_flops_per_s / 1e12:.4g} TFLOP/s", f"{format_percent(self.mfu_mid)} MFU"
        return f"<Cluster {count}{self.name}: {peak} each, {shares}, {format_percent(self.goodput)} goodput>"

    @property
    def notes(self) -> tuple[str, ...]:
        """The findings as sentences."""
        return tuple(f.message for f in self.findings)

    def flops_per_s(self, mfu: float) -> float:
        """Useful FLOP/s of one accelerator over wall time."""
        return self.peak_flops_per_s * mfu * self.goodput

    def for_run(self, n_params: float, context_length: int) -> Cluster:
        """The cluster with the MFU of such a run on its devices; a given MFU stays."""
        rated = self._replace(n_params=n_params, context_length=context_length)
        return rated.on(self.n_accelerators or MIDDLE_DEVICES)

    def on(self, n_devices: int) -> Cluster:
        """The cluster with the MFU that its run has on so many devices; a given MFU stays."""
        if not self.is_estimated:
            return self
        told = estimate_utilisation(
            self.n_params, self.context_length, n_devices, self.starved, self.calibration
        )
        low, mid, high = (min(share / DEFAULT_GOODPUT, LARGEST) for share in told)
        return self._replace(mfu_low=low, mfu_mid=mid, mfu_high=high)


class Cost(NamedTuple):
    """What a run takes. Triples are (low, mid, high) of the quantity itself, so low seconds go with high MFU."""

    accelerator: str
    n_accelerators: int
    is_chosen: bool  # the number was not given but chosen
    peak_flops_per_s: float
    mfu: tuple[float, float, float]
    mfu_source: str
    goodput: float
    accelerator_hours: tuple[float, float, float]
    seconds: tuple[float, float, float]
    price_usd_per_hour: tuple[float, float] | None
    price_date: str
    usd: tuple[float, float] | None  # both prices at mid MFU
    usd_extreme: tuple[float, float] | None  # low price at high MFU, high price at low MFU
    energy_kwh: tuple[float, float, float] | None
    tuned_mfu: tuple[float, float, float] | None = None  # of tuned benchmarks: least, median, most
    tuned_source: str = ""


def make_cluster(
    accelerator: Accelerator | str | None,
    *,
    count: int | None = None,
    mfu: float | None = None,
    goodput: float = DEFAULT_GOODPUT,
    price_usd_per_hour: float | None = None,
    peak_flops_per_s: float | None = None,
    memory_bytes: float | None = None,
    calibration: Calibration | None = None,
    name: str = "",
) -> Cluster:
    """Accelerators to plan for: a row of the table, with what the user knows better put in its place.

    Args:
        accelerator: a row of the table or its name ("H100"); None for a device that is not in it: give its peak.
        count: of accelerators; None lets the plan choose.
        mfu: model FLOPs utilisation, 0..1; None takes what whole runs of the plan's size and context reach.
        peak_flops_per_s: dense peak of one accelerator.
        calibration: what own runs say (`calibrate_utilisation`).
    Raises:
        UsageError: no peak is known, or a number is out of its range.
    Example:
        >>> make_cluster("H100", count=8, mfu=0.4).flops_per_s(0.4) / 1e12  # of one, over wall time
        356.04
    """
    a = find_accelerator(accelerator) if isinstance(accelerator, str) else accelerator
    if a is not None:
        require_kind("accelerator", a, Accelerator, 'Give its name, as "H100".')
    require_numbers(or_none=True, price_usd_per_hour=price_usd_per_hour, memory_bytes=memory_bytes)
    require_numbers(or_none=True, peak_flops_per_s=peak_flops_per_s)
    peak = peak_flops_per_s or (a.peak_flops_per_s if a else None)
    label = a.name if a else name
    if peak is None:
        device = label or "this device"
        raise UsageError(
            f"the peak of {device} is not known; give --peak-tflops (dense, per device), or measure it: scaling "
            "hardware measure -o FILE.json, then --hardware FILE.json."
        )
    _refuse_out_of_range(count, goodput, mfu)
    if calibration is not None:
        require_kind("calibration", calibration, Calibration, "Make one: calibrate_utilisation(runs).")
    given = mfu if mfu is not None else 0.0
    price = (price_usd_per_hour, price_usd_per_hour)
    if price_usd_per_hour is None and a is not None:
        price = (a.price_usd_per_hour_low, a.price_usd_per_hour_high)
    cluster = Cluster(
        name=label or "custom accelerator",
        peak_flops_per_s=peak,
        n_accelerators=count,
        mfu_low=given,
        mfu_mid=given,
        mfu_high=given,
        mfu_source="given" if mfu is not None else (calibration or Calibration()).source,
        goodput=goodput,
        memory_bytes=memory_bytes or (a.memory_bytes if a else None),
        tdp_w=a.tdp_w if a else None,
        price_usd_per_hour_low=price[0],
        price_usd_per_hour_high=price[1],
        price_date="given" if price_usd_per_hour is not None else (a.price_date if a else ""),
        findings=_peak_findings(a, peak_flops_per_s),
        is_estimated=mfu is None,
        starved=starvation(peak, a),
        calibration=calibration,
        tuned_mfu=_tuned(a),
        tuned_source=a.mfu_source if a else "",
    )
    return cluster.for_run(cluster.n_params, cluster.context_length)


def _tuned(a: Accelerator | None) -> tuple[float, float, float] | None:
    if a is None or a.mfu_low is None or a.mfu_mid is None or a.mfu_high is None:
        return None
    return a.mfu_low, a.mfu_mid, a.mfu_high


def _refuse_out_of_range(count: int | None, goodput: float, mfu: float | None) -> None:
    if count is not None and (not is_number(count) or not 1 <= count < math.inf):
        raise UsageError(f"the number of accelerators must be at least 1, got {shown(count)}.")
    if not is_number(goodput) or not 0 < goodput <= 1:
        raise UsageError(f"goodput must lie in (0, 1], got {shown(goodput)}; write 0.9 for 90 %.")
    if mfu is not None and (not is_number(mfu) or not 0 < mfu <= 1):
        raise UsageError(f"MFU must lie in (0, 1], got {shown(mfu)}; write 0.4 for 40 %.")


def _peak_findings(a: Accelerator | None, given: float | None) -> tuple[Finding, ...]:
    """Say so when a given peak looks like the figure with sparsity, twice what dense training can reach."""
    if a is None or given is None or a.peak_flops_per_s is None:
        return ()
    ratio = given / a.peak_flops_per_s
    if 1.9 < ratio < 2.1:
        said = tr(
            "{given:g} TFLOP/s is twice the dense bf16 peak of {name} ({peak_flops_per_s:g}): it looks like "
            "the figure with sparsity (or fp8), which dense bf16 training cannot reach",
            given=given / 1e12,
            name=a.name,
            peak_flops_per_s=a.peak_flops_per_s / 1e12,
        )
        short = tr("{given:g} TFLOP/s looks like the sparse peak, twice the dense one", given=given / 1e12)
        return (Finding(code="peak-with-sparsity", severity="warning", message=said, short=short),)
    return ()


def flops_from_time(cluster: Cluster, seconds: float) -> float:
    """count x peak x MFU x goodput x seconds at mid MFU; a count that is not given is 1."""
    return (cluster.n_accelerators or 1) * cluster.flops_per_s(cluster.mfu_mid) * seconds


def hours_from_dollars(cluster: Cluster, dollars: float) -> tuple[float, float, float]:
    """Accelerator-hours at the high price, at the geometric middle of both, and at the low price.

    Raises:
        PlanError: the table has no price for this accelerator.
    """
    low, high = cluster.price_usd_per_hour_low, cluster.price_usd_per_hour_high
    if low is None or high is None:
        advice = "give one in dollars per accelerator-hour with --price"
        raise PlanError(f"no price is known for {cluster.name}; {advice}.")
    return dollars / high, dollars / math.sqrt(low * high), dollars / low


def flops_from_hours(cluster: Cluster, accelerator_hours: float) -> float:
    """FLOPs of so many accelerator-hours at mid MFU."""
    return accelerator_hours * SECONDS_PER_HOUR * cluster.flops_per_s(cluster.mfu_mid)


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
    rate = tr(
        "{peak_flops_per_s:g} TFLOP/s dense x {mfu_mid} MFU x ",
        peak_flops_per_s=cluster.peak_flops_per_s / 1e12,
        mfu_mid=format_percent(cluster.mfu_mid),
    )
    rate += tr("{goodput} goodput", goodput=format_percent(cluster.goodput))
    if budget.seconds is not None:
        flops = flops_from_time(cluster, budget.seconds)
        low, high = (flops * mfu / cluster.mfu_mid for mfu in (cluster.mfu_low, cluster.mfu_high))
        used = f"{cluster.n_accelerators or 1} x {cluster.name} x {rate} x {format_duration(budget.seconds)}"
        return Compute(
            flops=flops,
            low=low,
            high=high,
            how=tr("{used} = {flops} FLOPs", used=used, flops=format_flops(flops)),
        )
    if budget.dollars is not None:
        hours = hours_from_dollars(cluster, budget.dollars)
        low, mid, high = (flops_from_hours(cluster, h) for h in hours)
        spent = tr(
            "{cluster} = {hours:,.0f} hours of {name}",
            cluster=_dollars_an_hour(cluster, budget.dollars),
            hours=hours[1],
            name=cluster.name,
        )
        return Compute(
            flops=mid,
            low=low,
            high=high,
            how=tr("{spent} x {rate} = {mid} FLOPs", spent=spent, rate=rate, mid=format_flops(mid)),
        )
    return None


def _dollars_an_hour(cluster: Cluster, dollars: float) -> str:
    low, high = cluster.price_usd_per_hour_low or 0.0, cluster.price_usd_per_hour_high or 0.0
    price = f"${math.sqrt(low * high):.2f}"
    if low != high:
        price += tr(
            " (${low:.2f} to ${high:.2f}, {price_date})",
            low=low,
            high=high,
            price_date=price_date_text(cluster.price_date),
        )
    return tr("{dollars} at {price} an hour", dollars=format_dollars(dollars), price=price)


def choose_count(cluster: Cluster, flops: float, least: int = 1) -> int:
    """The smallest power of two, at least 8 and `least`, that finishes within 30 days at mid MFU."""
    count = 1 << max(3, math.ceil(math.log2(max(least, 1))))
    while flops > count * cluster.flops_per_s(cluster.on(count).mfu_mid) * TARGET_SECONDS:
        count *= 2
    return count


def estimate_cost(cluster: Cluster, flops: float, *, least_count: int = 1) -> Cost:
    """Time at low, mid and high MFU, money at both prices, energy at board power.

    Example: 1e21 FLOPs on one H100 at 989e12 x 0.40 x 0.9 FLOP/s take 780 hours.
    """
    count, watts = cluster.n_accelerators or choose_count(cluster, flops, least_count), cluster.tdp_w
    is_chosen, cluster = cluster.n_accelerators is None, cluster.on(count)
    mfus = (cluster.mfu_low, cluster.mfu_mid, cluster.mfu_high)
    hours = low, mid, high = _three(
        flops / (cluster.flops_per_s(mfu) * SECONDS_PER_HOUR) for mfu in mfus[::-1]
    )
    price = None
    if cluster.price_usd_per_hour_low is not None and cluster.price_usd_per_hour_high is not None:
        price = cluster.price_usd_per_hour_low, cluster.price_usd_per_hour_high
    return Cost(
        accelerator=cluster.name,
        n_accelerators=count,
        is_chosen=is_chosen,
        peak_flops_per_s=cluster.peak_flops_per_s,
        mfu=mfus,
        mfu_source=cluster.mfu_source,
        goodput=cluster.goodput,
        accelerator_hours=hours,
        seconds=_three(h * SECONDS_PER_HOUR / count for h in hours),
        price_usd_per_hour=price,
        price_date=cluster.price_date,
        usd=None if price is None else (mid * price[0], mid * price[1]),
        usd_extreme=None if price is None else (low * price[0], high * price[1]),
        energy_kwh=None if watts is None else _three(estimate_energy_kwh(watts, h) for h in hours),
        tuned_mfu=cluster.tuned_mfu,
        tuned_source=cluster.tuned_source,
    )


def _three(values: Iterable[float]) -> tuple[float, float, float]:
    low, mid, high = values
    return low, mid, high


def price_date_text(date: str) -> str:
    """'prices of 2026-05', 'price given', 'prices without a date'."""
    if date == "given":
        return tr("price given")
    return tr("prices without a date") if date in ("", "undated") else tr("prices of {date}", date=date)


def estimate_energy_kwh(tdp_w: float, accelerator_hours: float) -> float:
    """Board power x time: 700 W for 24 h is 60.48 MJ, 16.8 kWh."""
    return tdp_w * accelerator_hours * SECONDS_PER_HOUR / JOULES_PER_KWH
