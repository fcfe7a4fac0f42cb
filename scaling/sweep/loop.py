"""What a worker does: take the longest piece that is free, train it, write what came of it; then the next.

A worker knows nothing of the others but the store. It can be killed at any moment: its leases go stale (or are given
back by whoever started it), and the next worker resumes from the last checkpoint.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scaling.errors import is_fault_of_storage
from scaling.sweep.design import Design, PlannedRun, Unit, branch_step, trunk_config
from scaling.sweep.heartbeat import Heartbeat
from scaling.sweep.packs import pack_units
from scaling.sweep.pieces import Piece, can_start_alone, cut_pieces, steps_left
from scaling.sweep.store import Lease, Store, run_id_of
from scaling.sweep.timing import Rate, Took

FINISHED = ("done", "diverged")
FAILED = ("failed", "oom")
STDERR_TAIL = 4000  # characters of a traceback kept in the store
GATHERING_S = 0.5  # to claim all runs of a pack takes some milliseconds each


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to train: what it is, and its folders. `deadline` is a time of time.monotonic.

    stops: where the trunk is to be kept on the way, so that other runs can branch off; its lease is then held.
    log, project: tools that follow the run live, and what they file it under.
    micro_batch: what memory is known to hold of this shape; None: as far as is known, the whole batch.
    """

    run: PlannedRun
    folder: Path
    trunk_folder: Path | None
    deadline: float | None
    should_stop: Callable[[], bool]
    stops: tuple[int, ...] = ()
    log: tuple[str, ...] = ()
    project: str = ""
    micro_batch: int | None = None


Trainer = Callable[[Job], Mapping[str, Any]]
"""Trains or resumes a run and returns its result; `status` is done, diverged, oom or preempted (stopped, resumable)."""
PackTrainer = Callable[[Sequence[Job]], Sequence[Mapping[str, Any]]]
"""The same for several runs of one shape and length."""
Claim = tuple[Lease, Job]


@dataclass
class Worker:
    """One worker's work on a design. `stopped` says that it was told to stop (or its time is up).

    pack: most runs of one shape and length that are trained as one stacked model, by `train_pack`.
    parent: the supervisor's process, without which the worker stops; None: it goes on by itself.
    trouble: why a run could not be claimed though its folder looks usable; raised when all else is done.
    """

    store: Store
    design: Design
    train: Trainer
    owner: str
    train_pack: PackTrainer | None = None
    pack: int = 1
    deadline: float | None = None  # on time.monotonic
    parent: int | None = None
    stopped: bool = False
    trouble: OSError | None = None
    _over: set[str] = field(default_factory=set)
    _rate: Rate | None = None  # as of the last look; only where there is a deadline
    _took: dict[str, Took] = field(default_factory=dict)

    def work(self) -> int:
        """Take pieces, longest first, until none is left that could be taken; the number of runs finished."""
        heartbeat = Heartbeat(store=self.store, interval_s=self.store.lease_timeout_s / 4, parent=self.parent)
        heartbeat.start()
        pieces = cut_pieces(pack_units(self.design.units, self.pack))
        n_done = 0
        try:
            while not self.stopped:
                n_more = self._take_longest(pieces, heartbeat)
                if n_more is None:
                    break
                n_done += n_more
        finally:
            heartbeat.stop()
        if self.trouble is not None:
            raise self.trouble
        return n_done

    def _take_longest(self, pieces: list[Piece], heartbeat: Heartbeat) -> int | None:
        """Train the first piece of which something can be claimed; None: there is none, or no time is left.

        Those that are over go.
        """
        if self.deadline is not None:
            if self.deadline <= time.monotonic():
                return None
            self._rate = Rate.from_store(self.store, self.design, self._took)
        for piece in list(reversed(pieces) if self._knows_no_times else pieces):
            if all(self._is_over(run) for run in piece.runs):
                pieces.remove(piece)
                continue
            n_done = (
                self._trunks(piece, heartbeat) if piece.index is None else self._branches(piece, heartbeat)
            )
            if n_done is not None:
                return n_done
        return None

    @property
    def _knows_no_times(self) -> bool:
        """Whether there is a deadline, and no run yet to judge by: then the shortest first, the likeliest to end."""
        return self.deadline is not None and self._rate is None

    def _branches(self, piece: Piece, heartbeat: Heartbeat) -> int | None:
        """Runs of one length that can start by themselves."""
        ready = [run for run in piece.runs if not self._is_over(run) and can_start_alone(self.store, run)]
        return self._runs([(run, ()) for run in ready], heartbeat)

    def _trunks(self, piece: Piece, heartbeat: Heartbeat) -> int | None:
        """Trunks of one shape, each under its lease, with the longest run that is left and can end in time."""
        wanted = [unit for unit in piece.units if any(self._needs_trunk(run) for run in unit.runs)]
        with ExitStack() as leases:
            held = []
            for unit in wanted:
                if self._hold_trunk(unit, heartbeat, leases):
                    held.append(unit)
                elif not held and len(wanted) > 1:
                    time.sleep(GATHERING_S)  # another worker is taking this pack just now: leave it whole
            by_length = list(zip(*(unit.runs for unit in held)))
            for runs in by_length if self._knows_no_times else reversed(by_length):
                stops = branching_points(held, last=branch_step(runs[0].config["schedule"]))
                mine = [(run, stops) for run in runs if self._needs_trunk(run)]
                n_done = self._runs(mine, heartbeat)
                if n_done is not None:
                    return n_done
        return None

    def _needs_trunk(self, run: PlannedRun) -> bool:
        return not self._is_over(run) and not can_start_alone(self.store, run)

    def _hold_trunk(self, unit: Unit, heartbeat: Heartbeat, leases: ExitStack) -> bool:
        """Claim a unit's trunk, and keep it alive until `leases` closes; False where another worker has it."""
        trunks = self.store.trunks
        lease = self._claim(trunks, trunk_config(unit.runs[0].config))
        if lease is None:
            return False
        leases.callback(trunks.release, lease, "the worker has done what it could of this trunk")
        leases.enter_context(heartbeat.keep(trunks, lease))
        return True

    def _claim(self, store: Store, config: Mapping[str, Any]) -> Lease | None:
        """Claim a run or trunk, whose folder is made anew if somebody has removed it."""
        try:
            _add(store, config)
            run_id = run_id_of(config)
            lease = store.claim(run_id, owner=self.owner)
            if lease is None and store.inspect(run_id).state in FAILED:
                self._over.add(run_id)
            return lease
        except OSError as error:
            if is_fault_of_storage(error):
                raise
            self.trouble = error
            return None

    def _runs(self, runs: Sequence[tuple[PlannedRun, tuple[int, ...]]], heartbeat: Heartbeat) -> int | None:
        """Claim runs of one length (each with the steps where its trunk is to be kept) and train them together.

        Returns how many were finished; None where none could be claimed.
        """
        left = None if self.deadline is None else self.deadline - time.monotonic()
        claims: list[Claim] = []
        for run, stops in runs:
            if left is not None and left < self._seconds(run):
                continue  # it could not end in time; a shorter one may
            lease = self._claim(self.store, run.config)
            if lease is not None:
                job = Job(
                    run=run,
                    folder=self.store.run_dir(run.run_id),
                    trunk_folder=self._trunk_folder(run),
                    deadline=self.deadline,
                    should_stop=lambda: self.stopped,
                    stops=stops,
                    log=self.design.spec.log,
                    project=self.design.spec.name,
                )
                claims.append((lease, job))
            elif not claims and len(runs) > 1:
                time.sleep(GATHERING_S)
        return self._train(claims, heartbeat) if claims else None

    def _trunk_folder(self, run: PlannedRun) -> Path | None:
        if run.trunk_id is None or self.store.trunks.inspect(run.trunk_id).is_broken:
            return None
        return self.store.trunks.run_dir(run.trunk_id)

    def _train(self, claims: Sequence[Claim], heartbeat: Heartbeat) -> int:
        known = known_micro_batch(self.store, self.design, claims[0][1].run, n_packed=len(claims))
        jobs = [replace(job, micro_batch=known) for _, job in claims]
        heartbeat.lost = False
        with ExitStack() as kept:
            for lease, _ in claims:
                kept.enter_context(heartbeat.keep(self.store, lease))
            try:
                results = [self.train(jobs[0])] if len(jobs) == 1 else self._train_packed(jobs)
            except (KeyboardInterrupt, SystemExit):
                self._release(claims, "the worker was told to stop")
                raise
            except Exception as error:
                if isinstance(error, ImportError) or is_fault_of_storage(error):
                    # a full disk, a lost mount, no torch: no fault of the run, which stays free; this worker ends
                    with suppress(OSError):
                        self._release(claims, "its worker could not read, write or import")
                    raise
                # a run may fail in any other way, its own files included: the store says why, the others go on
                if len(claims) > 1:
                    return self._one_by_one(claims, heartbeat)
                self.store.fail(
                    claims[0][0], "failed", _one_line(error), traceback.format_exc()[-STDERR_TAIL:]
                )
                return 0
            if len(claims) > 1 and any(r["status"] == "oom" for r in results):
                return self._one_by_one(claims, heartbeat)
            lost = heartbeat.lost
        return sum(self._conclude(lease, r, lost=lost) for (lease, _), r in zip(claims, results))

    def _train_packed(self, jobs: Sequence[Job]) -> Sequence[Mapping[str, Any]]:
        assert self.train_pack is not None
        return self.train_pack(jobs)

    def _one_by_one(self, claims: Sequence[Claim], heartbeat: Heartbeat) -> int:
        """A pack that failed, or did not fit: each run has its own end."""
        n_done = 0
        for claim in claims:
            if self.stopped:
                self._release([claim], "the worker was told to stop")
            else:
                n_done += self._train([claim], heartbeat)
        return n_done

    def _release(self, claims: Sequence[Claim], reason: str) -> None:
        for lease, _ in claims:
            self.store.release(lease, reason)

    def _conclude(self, lease: Lease, result: Mapping[str, Any], *, lost: bool) -> int:
        status = result["status"]
        if status in FINISHED:
            try:
                self.store.finish(lease, result)
            except OSError as error:
                if is_fault_of_storage(error):
                    raise
                self.store.fail(lease, "failed", _one_line(error), traceback.format_exc()[-STDERR_TAIL:])
                return 0
            return 1
        if status == "preempted":
            self.stopped = self.stopped or not lost  # not lost: told to stop, or out of time
            self.store.release(lease, str(result.get("reason") or "stopped"))
            return 0
        self.store.fail(lease, "oom", str(result.get("reason") or "out of memory"))
        return 0

    def _is_over(self, run: PlannedRun) -> bool:
        """Whether there is nothing left to do for a run: it has a result, or has failed."""
        if run.run_id not in self._over and os.path.exists(self.store.run_dir(run.run_id) / "result.json"):
            self._over.add(run.run_id)
        return run.run_id in self._over

    def _seconds(self, run: PlannedRun) -> float:
        """Predicted from the runs done so far; 0 while nothing is known."""
        if self._rate is None:
            return 0.0
        return self._rate.run_seconds(run, steps_left(self.store, run))


def branching_points(units: Sequence[Unit], *, last: int) -> tuple[int, ...]:
    """The steps up to `last` where runs of these units leave their trunks, rising."""
    steps = {branch_step(run.config["schedule"]) for unit in units for run in unit.runs}
    return tuple(sorted(step for step in steps if step <= last))


def known_micro_batch(store: Store, design: Design, run: PlannedRun, *, n_packed: int) -> int | None:
    """The smallest micro-batch to which finished runs of this shape were halved, packed alike; None: none was."""
    halved = []
    for other in design.runs:
        if all(other.config[k] == run.config[k] for k in ("architecture", "batch_sequences", "precision")):
            result = store.inspect(other.run_id).result or {}
            micro_batch = result.get("micro_batch") or run.config["batch_sequences"]
            if micro_batch < run.config["batch_sequences"] and result.get("n_packed", 1) == n_packed:
                halved.append(int(micro_batch))
    return min(halved, default=None)


def add_runs(store: Store, design: Design) -> None:
    """Record every run and trunk of the design in the store; those there already stay as they are."""
    for run in design.runs:
        _add(store, run.config)
        if run.trunk_id is not None:
            _add(store.trunks, trunk_config(run.config))


def _add(store: Store, config: Mapping[str, Any]) -> None:
    """Record a run; a folder of that name which cannot be used is left to `Store.inspect`."""
    try:
        store.add(config)
    except OSError as error:
        if is_fault_of_storage(error) or not os.path.lexists(store.run_dir(run_id_of(config))):
            raise


def _one_line(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    return text.splitlines()[0][:500]
