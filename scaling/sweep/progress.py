"""Where a sweep stands: runs by state, work done in FLOPs, time left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.sweep.design import Design, PlannedRun, Unit
from scaling.sweep.queue import WorkItem, can_start_alone, trunk_steps
from scaling.sweep.store import FINISHED, FREE, State, Store

UNDER_WAY = ("running", "stale", "preempted")  # at work, or left with a checkpoint


@dataclass(frozen=True, kw_only=True)
class Status:
    """Runs by state; work as a fraction of the design's FLOPs, the running ones with the steps they have done.

    is_waiting: all that is left is held by workers of somebody else, or of a dead one whose lease has not run out.
    """

    states: dict[str, State]  # run_id → state
    work_flops: float
    done_flops: float
    is_waiting: bool = False

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


def free_items(store: Store, queue: Iterable[WorkItem], status: Status) -> Iterator[WorkItem]:
    """Items of which a run could be claimed now; looked for one by one, as it reads the store."""
    return (item for item in queue if any(_is_free(store, item, run, status) for run in item.runs))


def _is_free(store: Store, item: WorkItem, run: PlannedRun, status: Status) -> bool:
    if status.states[run.run_id] not in FREE:
        return False
    alone = can_start_alone(store, run)
    if item.index is not None or run.trunk_id is None:
        return alone
    return not alone and store.trunks.inspect(run.trunk_id).state != "running"


def _done_flops(store: Store, unit: Unit, states: dict[str, State]) -> float:
    """Of the trunk as far as it or the furthest run is, and of each decay."""
    trunk = decays = 0
    begun = {states[run.run_id] for run in unit.runs} - {"pending"}
    if begun - set(FINISHED) and unit.runs[0].trunk_id is not None:
        trunk = max(trunk_steps(store.trunks.run_dir(unit.unit_id)), default=0)
    for run in unit.runs:
        branch = 0 if run.trunk_id is None else run.n_steps - run.decay_steps
        reached = 0
        if states[run.run_id] in FINISHED:
            reached = run.n_steps
        elif states[run.run_id] in UNDER_WAY:
            reached = _last_step(store.run_dir(run.run_id) / "training" / "metrics.jsonl")
        trunk, decays = max(trunk, min(reached, branch)), decays + max(0, reached - branch)
    return (trunk + decays) * unit.runs[0].flops_per_step


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
