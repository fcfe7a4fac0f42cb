"""A sweep in one call: its design from the corpus, and every run of it trained somewhere.

design = plan_sweep("sweep.toml")
report = run_sweep(design, store="store")
fit = fit_isoflop(load_store_runs("store", design))
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from scaling.blocks import Blocks, Record, Shown, Text
from scaling.errors import DataError, UnknownNameError, UsageError, is_fault_of_storage
from scaling.installing import extra_command
from scaling.sweep import EXECUTORS
from scaling.sweep.design import Design, design_sweep, known_corpus, write_plan
from scaling.sweep.executors import Ended, Executor, InlineExecutor, LocalExecutor, WorkerCommand
from scaling.sweep.progress import Status, free_items, look
from scaling.sweep.queue import WorkItem, steps_left, work_queue
from scaling.sweep.spec import SweepSpec, load_sweep
from scaling.sweep.store import FINISHED, FREE, State, Store, StoreError, as_store
from scaling.sweep.timing import Rate, RunTiming
from scaling.sweep.train_run import check_corpus, describe_corpus, refuse_other_corpus
from scaling.sweep.worker import add_runs
from scaling.translation import tr, tr_n
from scaling.units import format_duration

POLL_S = 0.25
POLL_SHARE = 0.05  # most of the time that looking at the store may take: the cores are the workers'
LONGEST_POLL_S = 10.0  # so that a dead worker's slot is not idle for longer
LAST_WORKERS_S = 5.0  # when all is done, for workers to see it; then those that wait in a queue are cancelled
FRUITLESS_STARTS = (
    6  # workers in a row that failed, or were killed before they held a run: something is wrong
)
DEATHS_OF_ONE_RUN = 8  # a run that takes its worker down so often without finishing is given up


@dataclass(frozen=True, kw_only=True)
class Report(Shown):
    """How a sweep ended. interrupted: by the user or the deadline; `resume` goes on."""

    status: Status
    wall_s: float = 0.0
    interrupted: bool = False
    n_workers_lost: int = 0

    def records(self) -> list[Record]:
        """A row a run: run_id, state, and why it failed."""
        return self.status.records()

    def summary(self) -> Blocks:
        n, counts = len(self.status.states), self.status.counts_in_words
        time = f"; {format_duration(self.wall_s)}" if self.wall_s else tr(", nothing to do")
        lost = ""
        if self.n_workers_lost:
            lost = tr_n("; {n} worker lost on the way", "; {n} workers lost on the way", self.n_workers_lost)
        return (Text(tr("{n} runs: {counts}{time}{lost}", n=n, counts=counts, time=time, lost=lost)),)


def plan_sweep(spec: SweepSpec | Path | str, *, store: Store | Path | str | None = None) -> Design:
    """Every run of a spec, with the vocabulary and the number of distinct tokens of its corpus.

    Args:
        spec: or the path of a sweep.toml or its folder.
        store: asked where the corpus is not here, as with recorded results of one that may not be passed on.
    Raises:
        SpecError: the spec cannot be read, or asks for what cannot be built.
        DataError: the corpus is neither here, nor in the spec, nor known to the store.
    Example:
        >>> import scaling
        >>> from pathlib import Path
        >>> from scaling.sweep.spec import template
        >>> _ = Path("sweep.toml").write_text(template("first"))
        >>> design = scaling.plan_sweep("sweep.toml")
        >>> len(design.runs), design.to_frame()["budget"].nunique()
        (38, 6)
    """
    spec = spec if isinstance(spec, SweepSpec) else load_sweep(spec)
    vocab_size, unique = spec.corpus.vocab_size, spec.corpus.n_tokens_unique
    if vocab_size is None:
        vocab_size, found = _corpus_facts(spec.corpus.name, None if store is None else as_store(store))
        unique = found if unique is None else unique
    return design_sweep(spec, vocab_size=vocab_size, n_tokens_unique=unique)


def _corpus_facts(name: str, store: Store | None) -> tuple[int, float | None]:
    try:
        return describe_corpus(name)
    except DataError as error:
        known = None if store is None else known_corpus(store, name)
        if known is None:
            raise DataError(
                f"{error} To work with recorded results only, give corpus.vocab_size and corpus.n_tokens_unique in the "
                "spec."
            ) from error
        return known


def _refuse_windows() -> None:
    """Workers are started in groups of processes and stopped by signals, neither of which Windows has."""
    if sys.platform == "win32":
        raise UsageError(
            "a sweep does not run on Windows, which has not the signals that stop its workers. Run it in WSL: `wsl "
            "--install`, then install scaling there and call the same command; what is finished in the store is kept. "
            "Designing, fitting and showing a sweep work here."
        )


def run_sweep(
    spec: Design | SweepSpec | Path | str,
    *,
    store: Store | Path | str,
    executor: str | Executor = "local",
    n_slots: int | None = None,
    gpus_per_slot: float | None = None,
    pack: int = 1,
    deadline_s: float | None = None,
    partition: str | None = None,
    log: str | Sequence[str] = (),
    on_progress: Callable[[Status, float], None] | None = None,
) -> Report:
    """Train everything the spec asks for and the store lacks; call it again to go on after any interruption.

    A sweep whose runs are all finished needs neither torch nor a store that can be written.

    Args:
        spec: or its design, or the path of a sweep.toml or its folder.
        store: folder of the runs, made if it is not there.
        executor: local, inline, slurm or ray; or one that is ready, which takes gpus_per_slot, pack and partition as
            it was made.
        n_slots: workers at once; the executor's own default unless given (local: the CPU cores, or 4 a GPU).
        gpus_per_slot: .25: four workers share a GPU; 0: none.
        pack: runs of one shape and length that a worker trains as one stacked model.
        deadline_s: start nothing that cannot end by then, in seconds from now; what is running stops resumably.
        partition: of Slurm.
        log: tools that follow the runs live (tensorboard, wandb, mlflow), instead of the spec's.
        on_progress: called again and again with the status and the seconds since the start.
    Raises:
        UsageError: a number is out of range, torch is missing here, or the executor cannot do what was asked.
        StoreError: the store cannot be written, or workers fail again and again, with what they said.
        ChangedCorpusError: finished runs of the store were trained on another text of that name.
        KeyboardInterrupt: passed on, after every worker has checkpointed and stopped.
    Example:
        >>> import scaling
        >>> scaling.run_sweep("sweep.toml", store="store")  # doctest: +SKIP
    """
    if isinstance(executor, str) and executor not in EXECUTORS:
        raise UnknownNameError("executor", executor, EXECUTORS)
    _check_numbers(n_slots=n_slots, pack=pack, deadline_s=deadline_s)
    if partition is not None and executor != "slurm":
        raise UsageError(f"a partition is Slurm's; the executor is {executor!r}.")
    log = (log,) if isinstance(log, str) else tuple(log)
    kept = as_store(store)
    design = spec if isinstance(spec, Design) else plan_sweep(spec, store=kept)
    done = nothing_to_do(kept, design)
    if done is not None:
        return done
    _refuse_windows()
    if executor in ("local", "inline"):
        require_torch()
    kept.require_writable()
    check_corpus(design)
    refuse_other_corpus(kept, design)
    if log:
        design = replace(design, spec=replace(design.spec, log=log))
    if isinstance(executor, str):
        command = WorkerCommand(
            store=kept.root, plan=write_plan(kept, design), lease_timeout_s=kept.lease_timeout_s, pack=pack
        )
        executor = _make_executor(executor, command, gpus_per_slot=gpus_per_slot, partition=partition)
    return Supervisor(
        store=kept,
        design=design,
        executor=executor,
        n_slots=n_slots or executor.default_slots(),
        deadline_s=deadline_s,
        on_progress=on_progress,
        pack=pack,
    ).run()


def _check_numbers(*, n_slots: int | None, pack: int, deadline_s: float | None) -> None:
    if n_slots is not None and n_slots < 1:
        raise UsageError(f"n_slots must be at least 1, got {n_slots}.")
    if pack < 1:
        raise UsageError(f"pack must be at least 1, got {pack}.")
    if deadline_s is not None and not (math.isfinite(deadline_s) and deadline_s > 0):
        raise UsageError(f"deadline_s must be a number of seconds above zero, got {deadline_s}.")


def nothing_to_do(store: Store, design: Design) -> Report | None:
    """The report of a sweep that is finished; None where runs are left."""
    status = look(store, design)
    return Report(status=status) if status.n_finished == len(design.runs) else None


def require_torch() -> None:
    """Say at once what is missing where the training is to run; on a cluster its nodes may have what we lack."""
    if find_spec("torch") is None:
        raise UsageError(f"training needs torch: {extra_command('train')}")


def _make_executor(
    name: str, command: WorkerCommand, *, gpus_per_slot: float | None, partition: str | None
) -> Executor:
    """The executor by name; the heavy ones are imported only here."""
    if name == "inline":
        return InlineExecutor(command=command)
    if name == "slurm":
        return _slurm(command, partition, gpus_per_slot)
    if name == "ray":
        from scaling.sweep.executors.ray import RayExecutor

        return RayExecutor(command=command, gpus_per_slot=gpus_per_slot)
    return _local(command, gpus_per_slot)


def _local(command: WorkerCommand, gpus_per_slot: float | None) -> Executor:
    from scaling.sweep.executors.local import GPUS_PER_SLOT, visible_gpus

    if gpus_per_slot is not None and not 0 <= gpus_per_slot <= 1:
        raise UsageError(
            f"a local worker trains on one GPU or a share of it: --gpus-per-slot 0 to 1, got {gpus_per_slot:g}."
        )
    gpus = () if gpus_per_slot == 0 else visible_gpus()
    if gpus_per_slot and not gpus:
        raise UsageError(
            "this machine shows no GPU (or torch is a CPU build); leave --gpus-per-slot out to train on CPUs."
        )
    share = GPUS_PER_SLOT if gpus_per_slot is None else gpus_per_slot
    return LocalExecutor(command=command, gpus=gpus, gpus_per_slot=share)


def _slurm(command: WorkerCommand, partition: str | None, gpus_per_slot: float | None) -> Executor:
    from scaling.sweep.executors.slurm import SlurmExecutor

    if gpus_per_slot is not None and gpus_per_slot not in (0, 1):
        raise UsageError(
            f"Slurm gives a job whole GPUs: --gpus-per-slot 1 (or 0), got {gpus_per_slot:g}. "
            "Fill one with --pack instead."
        )
    parameters = {"gpus_per_node": 1} if gpus_per_slot else {}
    return SlurmExecutor(command=command, partition=partition, parameters=parameters)


@dataclass
class Supervisor:
    """One sweep under way.

    Args:
        on_progress: called about twice a second with the status and the seconds since the start.
        pack: runs of one shape that each worker trains as one stacked model.
        deadline_s: workers start nothing that cannot end by then, and stop resumably when it comes.
    """

    store: Store
    design: Design
    executor: Executor
    n_slots: int
    deadline_s: float | None = None
    on_progress: Callable[[Status, float], None] | None = None
    pack: int = 1
    poll_s: float = POLL_S
    deaths_of_one_run: int = DEATHS_OF_ONE_RUN
    _known: dict[str, State] = field(default_factory=dict)
    _timings: dict[str, RunTiming] = field(default_factory=dict)
    _deaths: dict[str, int] = field(default_factory=dict)
    _fruitless: int = 0
    _n_lost: int = 0
    _tail: str = ""

    def run(self) -> Report:
        """Until everything is done, failed, or out of time.

        Raises:
            StoreError: the store cannot be written, any more or at all; or workers end at once, again and again,
                without doing anything, with what they said last.
            KeyboardInterrupt: passed on after all workers have checkpointed and stopped.
        """
        self.store.require_writable()
        add_runs(self.store, self.design)
        started = time.monotonic()
        try:
            interrupted = self._supervise(started)
        except BaseException as error:
            self.executor.stop()
            with suppress(OSError):  # on a full disk leases stay, and go stale
                self._bury(self.executor.ended(), told_to_stop=True)
            if is_fault_of_storage(error):
                raise StoreError(
                    f"{self.store.root}: {getattr(error, 'strerror', None) or error}. What is finished is safe: make "
                    "room or mend the disk, and run the same command again."
                ) from error
            raise
        status, wall_s = look(self.store, self.design, self._known), time.monotonic() - started
        return Report(status=status, wall_s=wall_s, interrupted=interrupted, n_workers_lost=self._n_lost)

    def _supervise(self, started: float) -> bool:
        """True when the deadline ended it."""
        closing = False  # the time left is too short for anything that is still free
        finished_at: float | None = None
        queue = work_queue(self.design.units, self.pack)
        while True:
            elapsed = time.monotonic() - started
            left = None if self.deadline_s is None else self.deadline_s - elapsed
            before = sum(s in FINISHED for s in self._known.values())
            fruitless, n_at_work = self._bury(self.executor.ended())
            status = look(self.store, self.design, self._known)
            self._judge(fruitless, progressed=n_at_work > 0 or status.n_finished > before)
            n_alive = self.executor.n_alive()
            telling = time.monotonic()
            if self.on_progress is not None:
                all_held = status.n_open > 0 and status.counts.get("running", 0) == status.n_open
                self.on_progress(replace(status, is_waiting=all_held and n_alive == 0), elapsed)
            told_s = time.monotonic() - telling
            if not status.n_open:  # else: free, or in the hands of workers that may not be ours
                finished_at = elapsed if finished_at is None else finished_at
                if n_alive == 0 or elapsed - finished_at > LAST_WORKERS_S:
                    self._stop()
                    return False
            n_idle = max(0, self.n_slots - n_alive)
            n_wanted = len(list(islice(free_items(self.store, queue, status), n_idle)))
            if left is not None and n_wanted > 0:
                free = free_items(self.store, queue, status)
                closing = closing or not self._some_can_end(free, status, left)
            if left is not None and (left <= 0 or (closing and n_alive == 0)):
                self._stop()
                return True
            looked_s = time.monotonic() - started - elapsed - told_s
            if n_wanted > 0 and not closing:
                self.executor.start(n_wanted, left)
            time.sleep(pause_s(looked_s, left, self.poll_s))

    def _stop(self) -> None:
        self.executor.stop()
        self._bury(self.executor.ended(), told_to_stop=True)

    def _some_can_end(self, free: Iterable[WorkItem], status: Status, left_s: float) -> bool:
        """Whether a free run can end in the time left, predicted as the workers predict it."""
        rate = Rate.from_store(self.store, self.design, self._timings)
        runs = (run for item in free for run in item.runs if status.states[run.run_id] in FREE)
        return rate is None or any(rate.run_seconds(r, steps_left(self.store, r)) <= left_s for r in runs)

    def _bury(self, ended: list[Ended], *, told_to_stop: bool = False) -> tuple[int, int]:
        """Give back what ended workers held; give up a run that keeps taking its worker down.

        A worker that was told to stop is not lost, however it ended.

        Returns how many failed of themselves or were killed before they held anything, and how many were killed at
        work on a run: whose deaths are counted run by run.
        """
        fruitless = n_at_work = 0
        trunks = {r.trunk_id for r in self.design.runs if r.trunk_id is not None} if ended else set()
        for worker in ended:
            reason = f"its worker ended with exit code {worker.exit_code}"
            open_runs = [i for i in self._known if self._known[i] not in FINISHED]
            held = self.store.release_dead(worker.owner, reason, worker.stderr_tail, run_ids=open_runs)
            for run_id in held:
                self._deaths[run_id] = self._deaths.get(run_id, 0) + 1
                if self._deaths[run_id] >= self.deaths_of_one_run:
                    self._give_up(run_id, reason, worker.stderr_tail)
            self.store.trunks.release_dead(worker.owner, reason, run_ids=trunks)
            if worker.exit_code != 0 and not told_to_stop:
                self._n_lost += 1
                self._tail = worker.stderr_tail or self._tail
                # where nobody knows how a worker ended (a cluster that preempts), it may have given back in time
                fruitless += worker.exit_code is not None and (not worker.was_killed or not held)
                n_at_work += worker.was_killed and bool(held)
        return fruitless, n_at_work

    def _give_up(self, run_id: str, reason: str, stderr_tail: str) -> None:
        lease = self.store.claim(run_id, owner="supervisor")
        if lease is not None:
            self.store.fail(lease, "failed", f"{reason}, {self.deaths_of_one_run} times", stderr_tail)

    def _judge(self, fruitless: int, *, progressed: bool) -> None:
        """Stop when workers only start and end: a missing package, a full disk, a store that cannot be written."""
        self._fruitless = fruitless + (0 if progressed else self._fruitless)
        if self._fruitless >= FRUITLESS_STARTS:
            said = self._tail.strip().splitlines()
            raise StoreError(
                f"{self._fruitless} workers ended without finishing a run; the last one said: "
                f"{said[-1] if said else 'nothing'}. Repair that and run the same command again."
            )


def pause_s(looked_s: float, left_s: float | None, poll_s: float) -> float:
    """Seconds until the next look at the store, of which one takes `looked_s`: not beyond the deadline."""
    pause = max(poll_s, min(looked_s * (1 / POLL_SHARE - 1), LONGEST_POLL_S))
    return pause if left_s is None else min(pause, max(left_s, poll_s))
