"""What a worker does: take the longest free unit, train its runs in order, write what came of each; then the next.

A worker knows nothing of the others but the store. It can be killed at any moment: its leases go stale (or are given
back by whoever started it), and the next worker resumes from the last checkpoint.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaling.sweep.design import Design, PlannedRun, Unit
from scaling.sweep.store import Lease, Store, StoreError
from scaling.sweep.timing import Rate

FINISHED = ("done", "diverged")
STDERR_TAIL = 4000  # characters of a traceback kept in the store


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to train: what it is, and its folders. `deadline_s` is counted from now."""

    run: PlannedRun
    folder: Path
    trunk_folder: Path | None
    deadline_s: float | None
    should_stop: Callable[[], bool]


Trainer = Callable[[Job], Mapping[str, Any]]
"""Trains or resumes a run and returns its result; `status` is done, diverged, oom or preempted (stopped, resumable)."""


@dataclass
class Heartbeat:
    """Keeps leases alive from a thread; interrupts the training when one of them was taken over."""

    store: Store
    interval_s: float
    leases: dict[str, tuple[Store, Lease]] = field(default_factory=dict)
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
                del self.leases[key]

    def _beat(self) -> None:
        while not self._stop.wait(self.interval_s):
            with self._lock:
                held = list(self.leases.values())
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
    """One worker's pass over a design. `stopped` says that it was told to stop (or its time is up)."""

    store: Store
    design: Design
    train: Trainer
    owner: str
    deadline: float | None = None  # on time.monotonic
    stopped: bool = False

    def work(self) -> int:
        """Do all units that are free; the number of runs finished."""
        heartbeat = Heartbeat(store=self.store, interval_s=self.store.lease_timeout_s / 4)
        heartbeat.start()
        n_done = 0
        try:
            for unit in self.design.units:
                if self.stopped:
                    break
                n_done += self._unit(unit, heartbeat)
        finally:
            heartbeat.stop()
        return n_done

    def _unit(self, unit: Unit, heartbeat: Heartbeat) -> int:
        """A trunk under its lease, or a single run."""
        if all(self._finished(run) for run in unit.runs):
            return 0
        if unit.runs[0].trunk_id is None:
            return self._run(unit.runs[0], None, heartbeat)
        trunks = self.store.trunks
        lease = trunks.claim(unit.unit_id, owner=self.owner)
        if lease is None:
            return 0
        n_done = 0
        with heartbeat.keep(trunks, lease):
            for run in unit.runs:
                if not self.stopped and trunks.holds(lease):
                    n_done += self._run(run, trunks.run_dir(unit.unit_id), heartbeat)
        trunks.release(lease, "the worker has done what it could of this trunk")
        return n_done

    def _run(self, run: PlannedRun, trunk_folder: Path | None, heartbeat: Heartbeat) -> int:
        left = None if self.deadline is None else self.deadline - time.monotonic()
        if left is not None and left < self._seconds(run):
            return 0  # it could not end in time; a shorter one may
        lease = self.store.claim(run.run_id, owner=self.owner)
        if lease is None:
            return 0
        job = Job(
            run=run,
            folder=self.store.run_dir(run.run_id),
            trunk_folder=trunk_folder,
            deadline_s=left,
            should_stop=lambda: self.stopped,
        )
        heartbeat.lost = False
        with heartbeat.keep(self.store, lease):
            try:
                result = self.train(job)
            except (KeyboardInterrupt, SystemExit):
                self.store.release(lease, "the worker was told to stop")
                raise
            except (OSError, ImportError):
                # a full disk, a lost mount, no torch: no fault of the run, which stays free; this worker ends
                with suppress(OSError):
                    self.store.release(lease, "its worker could not read, write or import")
                raise
            except Exception as error:  # a run may fail in any way: the store says why, the others go on
                self.store.fail(lease, "failed", _one_line(error), traceback.format_exc()[-STDERR_TAIL:])
                return 0
        return self._conclude(lease, result, lost=heartbeat.lost)

    def _conclude(self, lease: Lease, result: Mapping[str, Any], *, lost: bool) -> int:
        status = result["status"]
        if status in FINISHED:
            self.store.finish(lease, result)
            return 1
        if status == "preempted":
            self.stopped = self.stopped or not lost  # not lost: told to stop, or out of time
            self.store.release(lease, str(result.get("reason") or "stopped"))
            return 0
        self.store.fail(lease, "oom", str(result.get("reason") or "out of memory"))
        return 0

    def _finished(self, run: PlannedRun) -> bool:
        folder = self.store.run_dir(run.run_id)
        return (folder / "result.json").exists()

    def _seconds(self, run: PlannedRun) -> float:
        """Predicted from the runs done so far; 0 while nothing is known."""
        rate = Rate.from_store(self.store, self.design)
        return 0.0 if rate is None else rate.seconds(run.n_steps, run.flops_per_step)


def add_runs(store: Store, design: Design) -> None:
    """Record every run and trunk of the design in the store; those there already stay as they are."""
    from scaling.sweep.design import trunk_config

    for run in design.runs:
        store.add(run.config)
        if run.trunk_id is not None:
            store.trunks.add(trunk_config(run.config))


def _one_line(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    return text.splitlines()[0][:500]
