"""Measure what this machine's matrix product reaches, as a peak to plan with."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.files import write_text
from scaling.installing import extra_command
from scaling.jsonable import fields_of

MOST_REPEATS = 10_000
LEAST_SIZE = 512  # below, overheads and not the product are timed; 0.27 GFLOPs: 0.3 s even at 1 GFLOP/s
TRIALS = 3  # timings of each size when one is chosen: the best is what the machine can do
BUSY_SHARE = 0.7  # of its threads' time; a process that had less shared the machine
UNEVEN = 0.7  # median over best rate; steady machines lie above 0.9
# of the dense peak that a large product reaches on a usual GPU (A100 .85, H100 .80: stas00/ml-engineering, from
# memory): a rate that was measured, over this, is the peak that utilisation is a share of
ATTAINED = 0.8
SIZES = (LEAST_SIZE, 1024, 2048, 4096, 8192)  # a GPU needs the largest to show its rate


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """FLOP/s of an n x n matrix product: 2 n^3 FLOPs each time, the first (warm-up) not counted."""

    device: str
    library: str
    dtype: str
    size: int
    n_threads: int
    n_repeats: int
    seconds: float
    best_flops_per_s: float
    median_flops_per_s: float
    warnings: tuple[str, ...] = ()  # why the rate is not the machine's peak


def write_measurement(measurement: Measurement, path: Path) -> None:
    """Keep what was measured for `scaling plan --hardware FILE.json`."""
    told = {**fields_of(measurement), "peak_flops_per_s": measurement.best_flops_per_s / ATTAINED}
    write_text(path, json.dumps(told, indent=1) + "\n")


def read_measurement(path: str | Path) -> tuple[str, float]:
    """The device of a file of `scaling hardware measure -o`, and the peak to plan with.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is no such file.
    """
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        return str(told["device"]), float(told["peak_flops_per_s"])
    except FileNotFoundError as error:
        raise MissingFileError(
            f"there is no file {path}; write it: scaling hardware measure -o {path}."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no measurement; write one: scaling hardware measure -o {path}."
        ) from error


def measure_matmul(size: int | None = None, *, dtype: str = "float32", seconds: float = 2.0) -> Measurement:
    """Time NumPy's matrix product; without a size, the largest that can be repeated within `seconds`.

    Raises:
        UsageError: the type is not one NumPy computes with at speed.
    """
    import numpy as np

    if dtype != "float32":
        advice = f"take float32, or install torch: {extra_command('train')}"
        raise UsageError(f"NumPy has no fast {dtype} product; {advice}")
    rng = np.random.default_rng(0)

    def make_product(n: int) -> Callable[[], object]:
        a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
        out = np.empty((n, n), dtype=np.float32)
        return lambda: np.matmul(a, b, out=out)

    return timed(
        make_product,
        size=size,
        seconds=seconds,
        device=f"CPU ({platform.machine()})",
        library=f"NumPy {np.__version__}",
        dtype=dtype,
        n_threads=usable_threads(),
    )


def timed(
    make_product: Callable[[int], Callable[[], object]],
    *,
    size: int | None,
    seconds: float,
    device: str,
    library: str,
    dtype: str,
    n_threads: int,
) -> Measurement:
    """Repeat a product of n x n matrices for about `seconds` and rate the best and the median repetition."""
    size = _largest_size(make_product, seconds) if size is None else size
    product = make_product(size)
    product()  # warm-up
    durations: list[float] = []
    cpu_start, start = time.process_time(), time.perf_counter()
    while not durations or (time.perf_counter() - start < seconds and len(durations) < MOST_REPEATS):
        durations.append(_duration(product))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    flops = 2.0 * size**3
    best, median = flops / min(durations), flops / statistics.median(durations)
    share = cpu / (wall * n_threads) if device.startswith("CPU") else 1.0
    return Measurement(
        device=device,
        library=library,
        dtype=dtype,
        size=size,
        n_threads=n_threads,
        n_repeats=len(durations),
        seconds=wall,
        best_flops_per_s=best,
        median_flops_per_s=median,
        warnings=_doubts(size, share, n_threads, median / best),
    )


def _doubts(size: int, share: float, n_threads: int, evenness: float) -> tuple[str, ...]:
    """Why a rate may lie below the machine's peak."""
    doubts = []
    threads = "one thread" if n_threads == 1 else f"{n_threads} threads"
    if share < BUSY_SHARE:
        doubts.append(f"the machine is busy: this process had {100 * share:.0f} % of the time of {threads}")
    if evenness < UNEVEN:
        doubts.append(f"the repetitions are uneven: the median has {100 * evenness:.0f} % of the best rate")
    if size < LEAST_SIZE:
        doubts.append(f"a product of {size} x {size} is too small to show the peak")
    return tuple(doubts)


def _largest_size(make_product: Callable[[int], Callable[[], object]], seconds: float) -> int:
    """Double n from LEAST_SIZE while eight times the work still fits ten times into `seconds`."""
    size = SIZES[0]
    for size in SIZES:
        product = make_product(size)
        product()
        if 8 * min(_duration(product) for _ in range(TRIALS)) > seconds / 10:
            break
    return size


def _duration(product: Callable[[], object]) -> float:
    before = time.perf_counter()
    product()
    return time.perf_counter() - before


def usable_threads() -> int:
    limit = os.environ.get("OMP_NUM_THREADS", "")
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        available = os.cpu_count() or 1
    return min(int(limit), available) if limit.isdigit() and int(limit) > 0 else available
