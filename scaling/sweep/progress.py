"""Where a sweep stands: runs by state, work done in FLOPs, time left."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.sweep.design import Design, Unit
from scaling.sweep.store import State, Store

FREE = ("pending", "stale", "preempted")
FINISHED = ("done", "diverged")


@dataclass(frozen=True, kw_only=True)
class Status:
    """Runs by state; work as a fraction of the design's FLOPs, the running ones with the steps they have done."""

    states: dict[str, State]  # run_id → state
    work_flops: float
    done_flops: float

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(self.states.values()))

    @property
    def n_finished(self) -> int:
        return sum(self.counts.get(s, 0) for s in FINISHED)

    @property
    def n_open(self) -> int:
        """Runs that are neither finished nor failed."""
        return len(self.states) - self.n_finished - self.n_failed

    @property
    def n_failed(self) -> int:
        return self.counts.get("failed", 0) + self.counts.get("oom", 0)

    @property
    def fraction(self) -> float:
        return self.done_flops / self.work_flops if self.work_flops else 1.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "n_runs": len(self.states),
            "states": self.counts,
            "work_flops": self.work_flops,
            "done_flops": self.done_flops,
            "fraction_done": self.fraction,
        }


def look(store: Store, design: Design, known: dict[str, State] | None = None) -> Status:
    """The status of a design. `known` remembers finished runs between calls, so that they are not read again."""
    known = {} if known is None else known
    states: dict[str, State] = {}
    now = None
    for run in design.runs:
        if known.get(run.run_id) in FINISHED:
            states[run.run_id] = known[run.run_id]
            continue
        now = store.reading_time() if now is None else now
        state = store.inspect(run.run_id, now=now).state
        states[run.run_id] = known[run.run_id] = state
    done = sum(_done_flops(store, unit, states) for unit in design.units)
    return Status(states=states, work_flops=design.work_flops, done_flops=done)


def free_units(store: Store, design: Design, status: Status) -> list[Unit]:
    """Units with a run to do and nobody at work on it."""
    units = []
    for unit in design.units:
        states = {status.states[r.run_id] for r in unit.runs}
        if states & set(FREE) and "running" not in states and not _trunk_is_held(store, unit):
            units.append(unit)
    return units


def _trunk_is_held(store: Store, unit: Unit) -> bool:
    if unit.runs[0].trunk_id is None:
        return False
    return store.trunks.inspect(unit.unit_id).state == "running"


def marginal_steps(unit: Unit) -> list[int]:
    """Steps that each run of a unit adds when the ones before it are done."""
    steps, reached = [], 0
    for run in unit.runs:
        if run.trunk_id is None:
            steps.append(run.n_steps)
            continue
        branch = run.n_steps - run.decay_steps
        steps.append(max(0, branch - reached) + run.decay_steps)
        reached = max(reached, branch)
    return steps


def _done_flops(store: Store, unit: Unit, states: dict[str, State]) -> float:
    total = 0.0
    for run, steps in zip(unit.runs, marginal_steps(unit)):
        if states[run.run_id] in FINISHED:
            total += steps * run.flops_per_step
        elif states[run.run_id] == "running":
            reached = _last_step(store.run_dir(run.run_id) / "training" / "metrics.jsonl")
            total += max(0, reached - (run.n_steps - steps)) * run.flops_per_step
    return total


def _last_step(metrics: Path) -> int:
    """The step of the last whole line of a metrics file; 0 without one."""
    try:
        with metrics.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 2048))
            lines = file.read().splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0
