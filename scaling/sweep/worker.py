"""The worker: `python -m scaling.sweep.worker --store STORE --plan PLAN`.

It takes the longest item of the work that is free, trains it, writes what came of it; then the next. It needs only the
store and the plan (the spec as JSON, kept in the store), so any scheduler can start it anywhere, and a second start of
the same command does no harm. It knows nothing of the others but the store. It can be killed at any moment: its leases
go stale (or are given back by whoever started it), and the next worker resumes from the last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from scaling.errors import ScalingError, is_fault_of_storage
from scaling.installing import extra_command
from scaling.sweep.design import Design, PlannedRun, Unit, branch_step, read_plan, trunk_config
from scaling.sweep.queue import WorkItem, can_start_alone, steps_left, work_queue
from scaling.sweep.store import FAILED, FINISHED, LEASE_TIMEOUT_S, Lease, Store, StoreError, run_id_of
from scaling.sweep.timing import Rate, RunTiming
from scaling.sweep.train_run import THREADS_OF_A_SLOT, Job, train_job, train_pack

STDERR_TAIL = 4000  # characters of a traceback kept in the store
GATHERING_S = 0.5  # to claim all runs of a pack takes some milliseconds each

Trainer = Callable[[Job], Mapping[str, Any]]
"""Trains or resumes a run and returns its result; `status` is done, diverged, oom or preempted (stopped, resumable)."""
PackTrainer = Callable[[Sequence[Job]], Sequence[Mapping[str, Any]]]
"""The same for several runs of one shape and length."""
Claim = tuple[Lease, Job]


@dataclass
class Heartbeat:
    """Keeps leases alive from a thread; interrupts the training when one of them was taken over.

    parent: the process that started this one and has to outlive it; when it is gone, the training is interrupted too.
    """

    store: Store
    interval_s: float
    leases: dict[str, tuple[Store, Lease]] = field(default_factory=dict)
    parent: int | None = None
    lost: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        threading.Thread(target=self._beat, daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    @contextmanager
    def keep(self, store: Store, lease: Lease) -> Iterator[None]:
        """Keep `lease` alive inside the block."""
        key = f"{store.folder}/{lease.run_id}"
        with self._lock:
            self.leases[key] = store, lease
        try:
            yield
        finally:
            with self._lock:
                self.leases.pop(key, None)  # a run of a pack is kept twice when it is tried alone

    def _beat(self) -> None:
        while not self._stop.wait(self.interval_s):
            with self._lock:
                held = list(self.leases.values())
            if self.parent is not None and os.getppid() != self.parent:
                self.parent = None  # said once
                os.kill(os.getpid(), signal.SIGTERM)
            for store, lease in held:
                try:
                    store.heartbeat(lease)
                except StoreError:
                    self.lost = True
                    os.kill(os.getpid(), signal.SIGTERM)  # the trainer checkpoints and returns
                except OSError:
                    continue  # a file system that hiccups; the lease times out if it stays away


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
    _timings: dict[str, RunTiming] = field(default_factory=dict)

    def work(self) -> int:
        """Take items, longest first, until none is left that could be taken; the number of runs finished."""
        heartbeat = Heartbeat(store=self.store, interval_s=self.store.lease_timeout_s / 4, parent=self.parent)
        heartbeat.start()
        queue = work_queue(self.design.units, self.pack)
        n_done = 0
        try:
            while not self.stopped:
                n_more = self._take_longest(queue, heartbeat)
                if n_more is None:
                    break
                n_done += n_more
        finally:
            heartbeat.stop()
        if self.trouble is not None:
            raise self.trouble
        return n_done

    def _take_longest(self, queue: list[WorkItem], heartbeat: Heartbeat) -> int | None:
        """Train the first item of which something can be claimed; None: there is none, or no time is left.

        Those that are over go.
        """
        if self.deadline is not None:
            if self.deadline <= time.monotonic():
                return None
            self._rate = Rate.from_store(self.store, self.design, self._timings)
        for item in list(reversed(queue) if self._knows_no_times else queue):
            if all(self._is_over(run) for run in item.runs):
                queue.remove(item)
                continue
            take = self._trunks if item.index is None else self._branches
            n_done = take(item, heartbeat)
            if n_done is not None:
                return n_done
        return None

    @property
    def _knows_no_times(self) -> bool:
        """Whether there is a deadline, and no run yet to judge by: then the shortest first, the likeliest to end."""
        return self.deadline is not None and self._rate is None

    def _branches(self, item: WorkItem, heartbeat: Heartbeat) -> int | None:
        """Runs of one length that can start by themselves."""
        ready = [run for run in item.runs if not self._is_over(run) and can_start_alone(self.store, run)]
        return self._runs([(run, ()) for run in ready], heartbeat)

    def _trunks(self, item: WorkItem, heartbeat: Heartbeat) -> int | None:
        """Trunks of one shape, each under its lease, with the longest run that is left and can end in time."""
        wanted = [unit for unit in item.units if any(self._needs_trunk(run) for run in unit.runs)]
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
                claims.append((lease, self._job(run, stops)))
            elif not claims and len(runs) > 1:
                time.sleep(GATHERING_S)
        return self._train(claims, heartbeat) if claims else None

    def _job(self, run: PlannedRun, stops: tuple[int, ...]) -> Job:
        spec, trunks, trunk_id = self.design.spec, self.store.trunks, run.trunk_id
        folder = None
        if trunk_id is not None and not trunks.inspect(trunk_id).is_broken:
            folder = trunks.run_dir(trunk_id)
        return Job(
            run=run, folder=self.store.run_dir(run.run_id), trunk_folder=folder,
            deadline=self.deadline, should_stop=lambda: self.stopped, stops=stops, log=spec.log, project=spec.name,
        )  # fmt: skip

    def _train(self, claims: Sequence[Claim], heartbeat: Heartbeat) -> int:
        known = known_micro_batch(self.store, self.design, claims[0][1].run, n_packed=len(claims))
        jobs = [replace(job, micro_batch=known) for _, job in claims]
        heartbeat.lost = False
        with ExitStack() as kept:
            for lease, _ in claims:
                kept.enter_context(heartbeat.keep(self.store, lease))
            try:
                if len(jobs) == 1:
                    results: Sequence[Mapping[str, Any]] = [self.train(jobs[0])]
                else:
                    assert self.train_pack is not None
                    results = self.train_pack(jobs)
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
                return self._fail(claims[0][0], error)
            if len(claims) > 1 and any(r["status"] == "oom" for r in results):
                return self._one_by_one(claims, heartbeat)
            lost = heartbeat.lost
        return sum(self._conclude(lease, r, lost=lost) for (lease, _), r in zip(claims, results))

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

    def _fail(self, lease: Lease, error: Exception) -> int:
        """Say in the store why a run failed; that is no run finished."""
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:500]
        self.store.fail(lease, "failed", reason, traceback.format_exc()[-STDERR_TAIL:])
        return 0

    def _conclude(self, lease: Lease, result: Mapping[str, Any], *, lost: bool) -> int:
        status = result["status"]
        if status in FINISHED:
            try:
                self.store.finish(lease, result)
            except OSError as error:
                if is_fault_of_storage(error):
                    raise
                return self._fail(lease, error)
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


# --- the process ---


def main(arguments: list[str] | None = None) -> int:
    """Work until nothing is free. Exit code 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m scaling.sweep.worker")
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--plan", required=True, type=Path)
    parser.add_argument("--owner", default=f"{socket.gethostname()}:{os.getpid()}")
    parser.add_argument("--deadline-at", type=float, default=None, help="on the clock of the store")
    parser.add_argument("--lease-timeout-s", type=float, default=LEASE_TIMEOUT_S)
    parser.add_argument("--pack", type=int, default=1, help="runs of one shape trained as one stacked model")
    parser.add_argument("--parent", type=int, help="the process id without which this worker stops")
    a = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS_OF_A_SLOT))
    store = Store(a.store, lease_timeout_s=a.lease_timeout_s)
    try:
        deadline = None if a.deadline_at is None else time.monotonic() + a.deadline_at - store.now()
        plan = read_plan(a.plan)
        return run_worker(store, plan, owner=a.owner, deadline=deadline, pack=a.pack, parent=a.parent)
    except (ScalingError, OSError, ImportError) as error:
        cure = f"; training needs {extra_command('train')}" if isinstance(error, ImportError) else ""
        # a plain print: stderr is a log file, no terminal; the supervisor tells its last line
        print(f"error: {error}{cure}", file=sys.stderr)
        return 1


def run_worker(
    store: Store,
    design: Design,
    *,
    owner: str,
    deadline: float | None = None,
    pack: int = 1,
    parent: int | None = None,
) -> int:
    """Work on the design until nothing is free; SIGTERM, SIGUSR2 and the end of `parent` checkpoint and stop."""
    worker = Worker(
        store=store, design=design, owner=owner, train=train_job, train_pack=train_pack, pack=pack,
        deadline=deadline, parent=parent,
    )  # fmt: skip

    def stop(number: int, frame: FrameType | None) -> None:
        worker.stopped = True

    # while a run trains, the trainer's own handlers are in place
    before = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        worker.work()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


if __name__ == "__main__":
    sys.exit(main())
