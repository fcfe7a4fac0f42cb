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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scaling.errors import is_fault_of_storage
from scaling.sweep.design import Design, PlannedRun, Unit, trunk_config
from scaling.sweep.files import StoreError
from scaling.sweep.packs import pack_units
from scaling.sweep.store import Lease, Store, run_id_of
from scaling.sweep.timing import Rate

FINISHED = ("done", "diverged")
STDERR_TAIL = 4000  # characters of a traceback kept in the store
GATHERING_S = 0.5  # to claim all runs of a pack takes some milliseconds each


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to train: what it is, and its folders. `deadline` is a time of time.monotonic.

    log, project: tools that follow the run live, and what they file it under.
    micro_batch: what memory is known to hold of this shape; None: as far as is known, the whole batch.
    """

    run: PlannedRun
    folder: Path
    trunk_folder: Path | None
    deadline: float | None
    should_stop: Callable[[], bool]
    log: tuple[str, ...] = ()
    project: str = ""
    micro_batch: int | None = None


Trainer = Callable[[Job], Mapping[str, Any]]
"""Trains or resumes a run and returns its result; `status` is done, diverged, oom or preempted (stopped, resumable)."""
PackTrainer = Callable[[Sequence[Job]], Sequence[Mapping[str, Any]]]
"""The same for several runs of one shape and length."""
Claim = tuple[Lease, Job]


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
                self.leases.pop(key, None)  # a run of a pack is kept twice when it is tried alone

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
    """One worker's pass over a design. `stopped` says that it was told to stop (or its time is up).

    pack: most runs of one shape and length that are trained as one stacked model, by `train_pack`.
    trouble: why a run could not be claimed though its folder looks usable; raised when all else is done.
    """

    store: Store
    design: Design
    train: Trainer
    owner: str
    train_pack: PackTrainer | None = None
    pack: int = 1
    deadline: float | None = None  # on time.monotonic
    stopped: bool = False
    trouble: OSError | None = None

    def work(self) -> int:
        """Do all units that are free; the number of runs finished."""
        heartbeat = Heartbeat(store=self.store, interval_s=self.store.lease_timeout_s / 4)
        heartbeat.start()
        n_done = 0
        try:
            for units in pack_units(self.design.units, self.pack):
                if self.stopped:
                    break
                n_done += self._units(units, heartbeat)
        finally:
            heartbeat.stop()
        if self.trouble is not None:
            raise self.trouble
        return n_done

    def _units(self, units: Sequence[Unit], heartbeat: Heartbeat) -> int:
        """Units of one shape, each trunk under its lease: length by length."""
        wanted = [unit for unit in units if not all(self._finished(run) for run in unit.runs)]
        n_done = 0
        with ExitStack() as leases:
            held: list[tuple[Unit, Lease | None]] = []
            for unit in wanted:
                lease = self._hold_trunk(unit, heartbeat, leases)
                if lease is not None or self._has_no_trunk(unit):
                    held.append((unit, lease))
                elif not held and len(wanted) > 1:
                    time.sleep(GATHERING_S)  # another worker is taking this pack just now: leave it whole
            for runs in zip(*(unit.runs for unit, _ in held)):
                mine = [
                    (run, None if lease is None else self.store.trunks.run_dir(unit.unit_id))
                    for run, (unit, lease) in zip(runs, held)
                    if lease is None or self.store.trunks.holds(lease)
                ]
                if not self.stopped:
                    n_done += self._runs(mine, heartbeat)
        return n_done

    def _hold_trunk(self, unit: Unit, heartbeat: Heartbeat, leases: ExitStack) -> Lease | None:
        """The lease of a unit's trunk, kept alive until `leases` closes. None: another has it, or there is no trunk."""
        if unit.runs[0].trunk_id is None:
            return None
        trunks = self.store.trunks
        lease = self._claim(trunks, trunk_config(unit.runs[0].config))
        if lease is not None:
            leases.callback(trunks.release, lease, "the worker has done what it could of this trunk")
            leases.enter_context(heartbeat.keep(trunks, lease))
        return lease

    def _has_no_trunk(self, unit: Unit) -> bool:
        """No runs that share, or a trunk whose folder cannot be used: each is then trained from its start."""
        return unit.runs[0].trunk_id is None or self.store.trunks.inspect(unit.unit_id).is_broken

    def _claim(self, store: Store, config: Mapping[str, Any]) -> Lease | None:
        """Claim a run or trunk, whose folder is made anew if somebody has removed it."""
        try:
            _add(store, config)
            return store.claim(run_id_of(config), owner=self.owner)
        except OSError as error:
            if is_fault_of_storage(error):
                raise
            self.trouble = error
            return None

    def _runs(self, runs: Sequence[tuple[PlannedRun, Path | None]], heartbeat: Heartbeat) -> int:
        """Claim runs of one length (each with the folder of its trunk) and train them together."""
        left = None if self.deadline is None else self.deadline - time.monotonic()
        claims: list[Claim] = []
        for run, trunk_folder in runs:
            if left is not None and left < self._seconds(run):
                continue  # it could not end in time; a shorter one may
            lease = self._claim(self.store, run.config)
            if lease is not None:
                job = Job(
                    run=run,
                    folder=self.store.run_dir(run.run_id),
                    trunk_folder=trunk_folder,
                    deadline=self.deadline,
                    should_stop=lambda: self.stopped,
                    log=self.design.spec.log,
                    project=self.design.spec.name,
                )
                claims.append((lease, job))
        return self._train(claims, heartbeat) if claims else 0

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

    def _finished(self, run: PlannedRun) -> bool:
        return os.path.exists(self.store.run_dir(run.run_id) / "result.json")

    def _seconds(self, run: PlannedRun) -> float:
        """Predicted from the runs done so far; 0 while nothing is known."""
        rate = Rate.from_store(self.store, self.design)
        return 0.0 if rate is None else rate.seconds(run.n_steps, run.flops_per_step)


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
