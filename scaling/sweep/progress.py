"""Where a sweep stands: runs by state, work done in FLOPs, time left, and each run with its loss."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.blocks import MOST_DOUBTS, Blocks, Record, Section, Shown, Table, Text
from scaling.findings import LONGEST_SHORT
from scaling.jsonable import fields_of
from scaling.sweep.design import Design, PlannedRun, Unit
from scaling.sweep.queue import WorkItem, can_start_alone, trunk_steps
from scaling.sweep.store import FAILED, FINISHED, FREE, State, Store, read_tail
from scaling.translation import tr
from scaling.units import format_duration, format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    pass

UNDER_WAY = ("running", "stale", "preempted")  # at work, or left with a checkpoint


@dataclass(frozen=True, kw_only=True)
class Status(Shown):
    """Runs by state; work as a fraction of the design's FLOPs, the running ones with the steps they have done.

    reasons: why runs failed, by their ids.
    is_waiting: all that is left is held by workers of somebody else, or of a dead one whose lease has not run out.
    """

    states: dict[str, State]  # run_id → state
    work_flops: float
    done_flops: float
    name: str = ""  # of the sweep
    reasons: Mapping[str, str] = field(default_factory=dict)
    seconds_left: float | None = None
    is_waiting: bool = False
    under_way: Mapping[str, float] = field(
        default_factory=dict
    )  # run_id of a running one → share of its steps

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
        return sum(self.counts.get(s, 0) for s in FAILED)

    @property
    def fraction(self) -> float:
        return self.done_flops / self.work_flops if self.work_flops else 1.0

    @property
    def counts_in_words(self) -> str:
        """'6 done, 1 failed'."""
        return ", ".join(f"{n} {state}" for state, n in sorted(self.counts.items()))

    def to_dict(self) -> dict[str, Any]:
        failures = [{"run_id": i, "state": self.states[i], "reason": why} for i, why in self.reasons.items()]
        return {
            "kind": "sweep_status",
            "name": self.name,
            "n_runs": len(self.states),
            "states": self.counts,
            "work_flops": self.work_flops,
            "done_flops": self.done_flops,
            "fraction_done": self.fraction,
            "seconds_left": self.seconds_left,
            "failures": failures,
        }

    def records(self) -> list[Record]:
        """A row a run: run_id, state, and why it failed."""
        reasons = self.reasons
        return [{"run_id": i, "state": s, "reason": reasons.get(i)} for i, s in self.states.items()]

    def summary(self) -> Blocks:
        """Counts, and why runs failed."""
        is_told = "running" in self.counts and self.seconds_left is not None
        left = tr("; {time} left", time=format_duration(self.seconds_left or 0.0)) if is_told else ""
        line = tr(
            "{status.name}: {status.counts_in_words}; {percent} of the work done{left}",
            status=self, percent=format_percent(self.fraction), left=left,
        )  # fmt: skip
        return (Text(line), *self.failures())

    def failures(self) -> Blocks:
        """A line or two a run that failed: why; whole, and of all of them, as a section where that is more."""
        whole = [f"{run_id} {self.states[run_id]}: {why}" for run_id, why in self.reasons.items()]
        short = [text if len(text) <= LONGEST_SHORT else f"{text[:LONGEST_SHORT]} ..." for text in whole]
        if short == whole and len(whole) <= MOST_DOUBTS:
            return tuple(map(Text, whole))
        n = len(whole) - MOST_DOUBTS
        more = (Text(tr("and {n} more: --show failures", n=n), "faint"),) if n > 0 else ()
        section = Section("failures", tr("Failures"), lambda: tuple(map(Text, whole)))
        return (*map(Text, short[:MOST_DOUBTS]), *more, section)


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run of a sweep; its loss and the excess over the corpus's own entropy where it is finished."""

    run_id: str
    budget: float
    n_params: int
    n_tokens: int
    seed: int
    state: State
    loss: float | None
    loss_standard_error: float | None
    excess: float | None


@dataclass(frozen=True, kw_only=True)
class RunStates(Shown):
    """Every run of a sweep, as `scaling sweep show` lists them."""

    name: str
    store: Path
    runs: tuple[RunState, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "sweep_runs", **fields_of(self)}

    def records(self) -> list[Record]:
        """A row a run: budget in FLOPs, sizes, seed, state; loss and excess in nats/token where it is finished."""
        return [dict(vars(run)) for run in self.runs]

    def summary(self) -> Blocks:
        headers = (
            tr("run"), tr("budget"), tr("N"), tr("tokens D"), tr("seed"), tr("state"), tr("loss"), tr("excess"),
        )  # fmt: skip
        rows = [
            [
                r.run_id, format_flops(r.budget), format_params(r.n_params), format_tokens(r.n_tokens), str(r.seed),
                r.state, *("" if value is None else f"{value:.4f}" for value in (r.loss, r.excess)),
            ]
            for r in self.runs
        ]  # fmt: skip
        return (Table(headers=headers, rows=rows, indent=0),)


def list_runs(store: Store, design: Design) -> RunStates:
    """Every run of a design with its state and loss."""
    status, rows = look(store, design), []
    for run in design.runs:
        result = store.inspect(run.run_id).result or {}
        planned = {k: getattr(run, k) for k in ("run_id", "budget", "n_params", "n_tokens", "seed")}
        reached: dict[str, Any] = {k: result.get(k) for k in ("loss", "loss_standard_error", "excess")}
        rows.append(RunState(**planned, state=status.states[run.run_id], **reached))
    return RunStates(name=design.spec.name, store=store.root, runs=tuple(rows))


def look(store: Store, design: Design, known: dict[str, State] | None = None) -> Status:
    """The status of a design. `known` remembers finished runs between calls, so that they are not read again."""
    known = {} if known is None else known
    states: dict[str, State] = {}
    reasons: dict[str, str] = {}
    now = None
    for run in design.runs:
        if known.get(run.run_id) in FINISHED:
            states[run.run_id] = known[run.run_id]
            continue
        now = store.reading_time() if now is None else now
        record = store.inspect(run.run_id, now=now)
        states[run.run_id] = known[run.run_id] = record.state
        if record.state in FAILED:
            reasons[run.run_id] = str((record.failure or {}).get("reason", "unknown"))
    done, work = sum(_done_flops(store, unit, states) for unit in design.units), design.work_flops
    under_way = {
        r.run_id: _last_step(_metrics(store, r)) / r.n_steps
        for r in design.runs
        if states[r.run_id] == "running"
    }
    return Status(
        states=states,
        work_flops=work,
        done_flops=done,
        name=design.spec.name,
        reasons=reasons,
        under_way=under_way,
    )


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
        reached = run.n_steps if states[run.run_id] in FINISHED else 0
        if states[run.run_id] in UNDER_WAY:
            reached = _last_step(_metrics(store, run))
        trunk, decays = max(trunk, min(reached, branch)), decays + max(0, reached - branch)
    return (trunk + decays) * unit.runs[0].flops_per_step


def _metrics(store: Store, run: PlannedRun) -> Path:
    return store.run_dir(run.run_id) / "training" / "metrics.jsonl"


def _last_step(metrics: Path) -> int:
    """The step of the last whole line of a metrics file; 0 without one."""
    for line in reversed(read_tail(metrics).splitlines()):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0
