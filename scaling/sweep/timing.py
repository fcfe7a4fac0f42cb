"""How long runs take on this machine: from a short measurement before a sweep, from its finished runs during it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scaling.sweep.design import Design, Unit
from scaling.sweep.files import StoreError, read_json
from scaling.sweep.store import Store


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds per step at several FLOPs per step, rising; in between interpolated in the logarithms.

    Beyond the measured range a step costs in proportion to its FLOPs above it, and the smallest measured time below.
    """

    points: tuple[tuple[float, float], ...]

    @classmethod
    def from_points(cls, points: Iterable[tuple[float, float]]) -> Rate | None:
        """Median seconds of each FLOPs per step; None without any point."""
        by_flops: dict[float, list[float]] = {}
        for flops, seconds in points:
            if flops > 0 and seconds > 0:
                by_flops.setdefault(flops, []).append(seconds)
        medians = tuple((f, sorted(s)[len(s) // 2]) for f, s in sorted(by_flops.items()))
        return cls(points=medians) if medians else None

    @classmethod
    def from_store(cls, store: Store, design: Design) -> Rate | None:
        """From the finished runs of the design."""
        points = []
        for run in design.runs:
            path = store.run_dir(run.run_id) / "result.json"
            if os.path.exists(path):
                try:
                    seconds = read_json(path).get("seconds_per_step")
                except (StoreError, OSError):
                    continue
                points.append((run.flops_per_step, seconds or 0.0))
        return cls.from_points(points)

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

    def total_seconds(self, units: Sequence[Unit], n_slots: int) -> float:
        """Wall time of the units on slots that each take the longest one left, as the workers do."""
        ends = [0.0] * max(1, n_slots)
        for unit in sorted(units, key=lambda u: -u.work_flops):
            first = min(range(len(ends)), key=ends.__getitem__)
            ends[first] += self.seconds(unit.n_steps, unit.runs[0].flops_per_step)
        return max(ends)


def usable_cores() -> int:
    """CPU cores this process may use (fewer than the machine has under taskset, Slurm or a container)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
