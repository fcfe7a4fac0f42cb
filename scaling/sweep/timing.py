"""How long runs take on this machine: from a short measurement before a sweep, from its finished runs during it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from statistics import median
from typing import Any

from scaling.sweep.design import Design, PlannedRun, Unit
from scaling.sweep.store import Store, StoreError, read_json


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds per step at several FLOPs per step, rising; in between interpolated in the logarithms.

    Beyond the measured range a step costs in proportion to its FLOPs above it, and the smallest measured time below.

    startup_s: of a run beside its steps and its evaluation: model, data, checkpoints.
    """

    points: tuple[tuple[float, float], ...]
    startup_s: float = 0.0

    @classmethod
    def from_points(
        cls, points: Iterable[tuple[float, float]], startups: Iterable[float] = ()
    ) -> Rate | None:
        """Median seconds of each FLOPs per step, and of the start-ups; None without any point."""
        by_flops: dict[float, list[float]] = {}
        for flops, seconds in points:
            if flops > 0 and seconds > 0:
                by_flops.setdefault(flops, []).append(seconds)
        medians = tuple((f, sorted(s)[len(s) // 2]) for f, s in sorted(by_flops.items()))
        return cls(points=medians, startup_s=median(list(startups) or [0.0])) if medians else None

    @classmethod
    def from_store(
        cls, store: Store, design: Design, known: dict[str, RunTiming] | None = None
    ) -> Rate | None:
        """From the finished runs of the design. `known` remembers what they took between calls."""
        known = {} if known is None else known
        for run in design.runs:
            path = f"{store.runs_dir}{os.sep}{run.run_id}{os.sep}result.json"
            if run.run_id not in known and os.path.exists(path):
                with suppress(StoreError, OSError):
                    known[run.run_id] = RunTiming.of(run, read_json(path))
        found = [(r.flops_per_step, known[r.run_id]) for r in design.runs if r.run_id in known]
        startups = [took.startup_s for _, took in found if took.startup_s is not None]
        return cls.from_points(((flops, took.seconds_per_step) for flops, took in found), startups)

    def seconds_per_step(self, flops_per_step: float) -> float:
        (low, at_low), (high, at_high) = self.points[0], self.points[-1]
        if flops_per_step <= low:
            return at_low
        if flops_per_step >= high:
            return at_high * flops_per_step / high
        for (f0, s0), (f1, s1) in zip(self.points, self.points[1:]):
            if f0 <= flops_per_step <= f1:
                t = math.log(flops_per_step / f0) / math.log(f1 / f0)
                return math.exp((1 - t) * math.log(s0) + t * math.log(s1))
        raise AssertionError(flops_per_step)

    def seconds(self, n_steps: float, flops_per_step: float) -> float:
        return n_steps * self.seconds_per_step(flops_per_step)

    def run_seconds(self, run: PlannedRun, n_steps: float | None = None) -> float:
        """Of the run's last `n_steps` (None: all) with its start-up and the evaluation at its end."""
        steps = run.n_steps if n_steps is None else n_steps
        return self.startup_s + self.seconds(steps + evaluation_steps(run), run.flops_per_step)

    def total_seconds(self, units: Sequence[Unit], n_slots: int) -> float:
        """Wall time of the units on slots that each take the longest item that is there, as the workers do."""
        slots = [0.0] * max(1, n_slots)  # when each is free
        coming: list[tuple[float, float]] = []  # branches: when they can start, and how long they take
        there = [(-self.run_seconds(unit.runs[-1]), i) for i, unit in enumerate(units)]  # longest first
        heapify(there)
        while there or coming:
            now = heappop(slots)
            while coming and (coming[0][0] <= now or not there):
                at, seconds = heappop(coming)
                now = max(now, at)
                heappush(there, (-seconds, -1))
            longest, i = heappop(there)
            for run in units[i].runs[:-1] if i >= 0 else ():
                decay = self.run_seconds(run, run.decay_steps)
                heappush(coming, (now + self.run_seconds(run) - decay, decay))
            heappush(slots, now - longest)
        return max(slots)


@dataclass(frozen=True, kw_only=True)
class RunTiming:
    """What a finished run took. startup_s: None where its result does not say (a pack, an earlier version)."""

    seconds_per_step: float
    startup_s: float | None

    @classmethod
    def of(cls, run: PlannedRun, result: Mapping[str, Any]) -> RunTiming:
        """From its result: all its time less its steps and its evaluation."""
        per_step = result.get("seconds_per_step") or 0.0
        if "first_step" not in result or "n_packed" in result:
            return cls(seconds_per_step=per_step, startup_s=None)
        steps = result["step"] - result["first_step"] + evaluation_steps(run)
        return cls(seconds_per_step=per_step, startup_s=max(0.0, result["worker_s"] - steps * per_step))


def evaluation_steps(run: PlannedRun) -> float:
    """The evaluation of a run in training steps of equal cost: forward only, a third of a step's FLOPs a window."""
    return float(run.config["evaluation"]["windows"] / (3 * run.config["batch_sequences"]))


def memory_bytes() -> int:
    """Main memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def usable_cores() -> int:
    """CPU cores this process may use (fewer than the machine has under taskset, Slurm or a container)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
