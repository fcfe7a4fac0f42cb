"""What share of the dense peak whole training runs reach, by size, context, devices and accelerator.

    6ND / (accelerator-hours x peak) = exp(a + b ln(1 + N_0/N) + c s + d ln(n/256)) / (1 + T / (12 d_model))

Small models (N_0 = 5e8) wait for launches and memory. s in [0, 1] is how starved the accelerator is: by how much its
peak outgrew its memory bandwidth and its links since the A100 80GB, which generation decides. n devices wait for each
other. Attention over T tokens is work that 6ND does not count, T / (12 d_model) of it in a causal model of width
d_model = (128 N / 12)^(1/3), whose width is 128 times its depth.

The coefficients were fitted on the whole runs of scaling/reference/training_hours.csv by generalised least squares,
each laboratory with a deviation of its own (standard deviation LABORATORY) beside that of a run (RUN); `python
benchmarks/hours.py --fit` prints them. The range is as wide as runs of laboratories that the fit has not seen are
spread: a factor of 1.7 to each side holds 87 % of them. Own runs (`calibrate_utilisation`) move the middle and narrow
the range as far as a laboratory's runs resemble each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scaling.arguments import require_kind, require_numbers, require_whole
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import DataError, UsageError
from scaling.reference.hardware import Accelerator, find_accelerator
from scaling.units import format_flops

LEVEL, SMALL, STARVED, MANY = (
    -0.822,
    -0.317,
    -0.519,
    -0.0658,
)  # a, b, c, d; standard errors .09, .11, .12, .04
LABORATORY, RUN = 0.20, 0.26  # standard deviations of ln utilisation, by restricted maximum likelihood
SPREAD = 1.7  # of a run of an unknown laboratory, to each side
SMALL_PARAMS = 5e8  # N_0
WHOLE_RUNS = "as whole runs of 17 laboratories"
MIDDLE_DEVICES, MOST_DEVICES = 256, 16384  # the largest number of devices in the table
WIDTH_OVER_DEPTH = 128
A100_FLOPS_PER_BYTE = 153, 520  # of its memory (312e12 / 2.039e12) and of its links (312e12 / 600e9)
UNKNOWN_STARVED = 0.5  # a device that is in no table
LEAST_REACHED = 1e-4  # less is a slip in the units of a log
SECONDS_PER_HOUR = 3600.0
LARGEST = 0.75  # of the peak as MFU; no run of the table, and no tuned benchmark, comes to more


class Utilisation(NamedTuple):
    """Shares of the dense peak over wall time, stops and all."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What own runs say: ln of the factor on the middle, and the factor to each side that its range keeps.

    Example:
        >>> import scaling
        >>> run = scaling.OwnRun(n_params=1e9, n_tokens=2e10, accelerator="A100", accelerator_hours=300, n_devices=8)
        >>> calibration = scaling.calibrate_utilisation([run])
        >>> round(calibration.factor, 2), round(calibration.spread, 2)
        (0.92, 1.64)
    """

    factor: float = 1.0
    spread: float = SPREAD
    n_runs: int = 0

    def __post_init__(self) -> None:
        require_numbers(factor=self.factor, spread=self.spread)
        require_whole(n_runs=self.n_runs)

    @property
    def source(self) -> str:
        """Of whom it is."""
        if not self.n_runs:
            return WHOLE_RUNS
        return f"as {self.n_runs} own run{'s' if self.n_runs > 1 else ''} and whole runs of 17 laboratories"


@dataclass(frozen=True, kw_only=True)
class OwnRun:
    """A training run with its hours: of all accelerators together, stops included.

    Example:
        >>> import scaling
        >>> run = scaling.OwnRun(n_params=1e9, n_tokens=2e10, accelerator="H100", accelerator_hours=120)
        >>> run.n_devices, run.context_length
        (1, 2048)
    """

    n_params: float
    n_tokens: float
    accelerator: Accelerator | str
    accelerator_hours: float
    n_devices: int = 1
    context_length: int = 2048

    def __post_init__(self) -> None:
        amounts = ("n_params", "n_tokens", "accelerator_hours")
        require_numbers(**{name: getattr(self, name) for name in amounts})
        require_whole(n_devices=self.n_devices, context_length=self.context_length)
        require_kind("accelerator", self.accelerator, (str, Accelerator), 'Give its name, as "H100".')


def starvation(peak_flops_per_s: float, accelerator: Accelerator | None) -> float:
    """s: 0 as an A100 80GB, 1 where memory and links feed half as many FLOPs as there, or less."""
    if accelerator is None:
        return UNKNOWN_STARVED
    paths = accelerator.memory_bandwidth_bytes_per_s, accelerator.interconnect_bytes_per_s
    told = [
        min(1.0, max(0.0, math.log2(peak_flops_per_s / path / of_a100)))
        for path, of_a100 in zip(paths, A100_FLOPS_PER_BYTE)
        if path
    ]
    return sum(told) / len(told) if told else UNKNOWN_STARVED


def estimate_utilisation(
    n_params: float,
    context_length: int,
    n_devices: int,
    starved: float,
    calibration: Calibration | None = None,
) -> Utilisation:
    """The share of the peak that 6ND is, over wall time; see the module for the formula."""
    c = calibration or Calibration()
    x = features(n_params, n_devices, starved)
    d_model = (WIDTH_OVER_DEPTH * n_params / 12) ** (1 / 3)
    mid = c.factor * math.exp(sum(map(math.prod, zip((LEVEL, SMALL, STARVED, MANY), x))))
    mid /= 1 + context_length / (12 * d_model)
    return Utilisation(mid / c.spread, mid, mid * c.spread)


def features(n_params: float, n_devices: int, starved: float) -> tuple[float, float, float, float]:
    """What the coefficients multiply."""
    devices = min(max(n_devices, 1), MOST_DEVICES)
    return 1.0, math.log1p(SMALL_PARAMS / n_params), starved, math.log(devices / MIDDLE_DEVICES)


def calibrate_utilisation(runs: Sequence[OwnRun], *, peak_flops_per_s: float | None = None) -> Calibration:
    """Move the middle to own runs, and narrow the range, as far as so many runs tell of a laboratory.

    The mean deviation of n runs is believed with weight n LABORATORY^2 / (n LABORATORY^2 + RUN^2); what is left of the
    doubt about the laboratory, and that about a run, make the range.

    Args:
        peak_flops_per_s: of the accelerators whose peak no table knows (a CPU that was measured).
    Raises:
        UsageError: an accelerator whose peak is not known.
        DataError: no run, or hours that mean more than the peak or next to none of it.
    Example:
        >>> import scaling
        >>> scaling.calibrate_utilisation([]).n_runs
        Traceback (most recent call last):
        scaling.errors.DataError: no run to calibrate on; give at least one with its hours.
    """
    require_kind("runs", runs, (list, tuple), "Give OwnRuns, or read them: read_own_runs(path).")
    for run in runs:
        require_kind("a run", run, OwnRun, "Give OwnRuns, or read them: read_own_runs(path).")
    require_numbers(or_none=True, peak_flops_per_s=peak_flops_per_s)
    deviations = [_deviation(run, peak_flops_per_s) for run in runs]
    if not deviations:
        raise DataError("no run to calibrate on; give at least one with its hours.")
    n, prior, noise = len(deviations), LABORATORY**2, RUN**2
    believed = n * prior / (n * prior + noise)
    left = noise + prior * (1 - believed)
    factor = math.exp(believed * sum(deviations) / n)
    spread = SPREAD ** math.sqrt(left / (prior + noise))
    return Calibration(factor=factor, spread=spread, n_runs=n)


def _deviation(run: OwnRun, measured_peak: float | None) -> float:
    """ln of what the run reached over what is estimated for it."""
    accelerator = find_accelerator(run.accelerator) if isinstance(run.accelerator, str) else run.accelerator
    peak = accelerator.peak_flops_per_s or measured_peak
    if peak is None:
        raise UsageError(
            f"the peak of {accelerator.name} is not known, so its hours say nothing of a share of it; measure it "
            "(scaling hardware measure -o FILE.json) and plan with --hardware FILE.json, or give --peak-tflops."
        )
    flops = FLOPS_PER_PARAM_TOKEN * run.n_params * run.n_tokens
    reached = flops / (run.accelerator_hours * SECONDS_PER_HOUR * peak)
    if not LEAST_REACHED < reached < 1:
        raise DataError(
            f"{run.accelerator_hours:,.4g} hours of {accelerator.name} for {format_flops(flops)} FLOPs (6ND) would be "
            f"{reached:.3g} of its peak; check hours, parameters and tokens."
        )
    starved = starvation(peak, accelerator)
    told = estimate_utilisation(run.n_params, run.context_length, run.n_devices, starved)
    return math.log(reached / told.mid)
