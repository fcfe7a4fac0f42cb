"""Run a sweep: keep as many workers alive as there is work for, give back what dead ones held, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from scaling.errors import is_fault_of_storage
from scaling.sweep.design import Design
from scaling.sweep.executors.base import Ended, Executor
from scaling.sweep.files import StoreError
from scaling.sweep.loop import add_runs
from scaling.sweep.packs import pack_units
from scaling.sweep.pieces import Piece, cut_pieces, steps_left
from scaling.sweep.progress import FINISHED, FREE, Status, free_pieces, look
from scaling.sweep.store import State, Store
from scaling.sweep.timing import Rate, Took

POLL_S = 0.25
POLL_SHARE = 0.05  # most of the time that looking at the store may take: the cores are the workers'
LONGEST_POLL_S = 10.0  # so that a dead worker's slot is not idle for longer
LAST_WORKERS_S = (
    5.0  # when all is done, for workers to see it; then those that still wait in a queue are cancelled
)
FRUITLESS_STARTS = (
    6  # workers in a row that failed, or were killed before they held a run: something is wrong
)
DEATHS_OF_ONE_RUN = 8  # a run that takes its worker down so often without finishing is given up


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a sweep ended. interrupted: by the user or the deadline; `resume` goes on."""

    status: Status
    wall_s: float
    interrupted: bool
    n_workers_lost: int


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
    _took: dict[str, Took] = field(default_factory=dict)
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
        status = look(self.store, self.design, self._known)
        return Report(
            status=status,
            wall_s=time.monotonic() - started,
            interrupted=interrupted,
            n_workers_lost=self._n_lost,
        )

    def _supervise(self, started: float) -> bool:
        """True when the deadline ended it."""
        closing = False  # the time left is too short for anything that is still free
        finished_at: float | None = None
        pieces = cut_pieces(pack_units(self.design.units, self.pack))
        while True:
            elapsed = time.monotonic() - started
            left = None if self.deadline_s is None else self.deadline_s - elapsed
            before = sum(s in FINISHED for s in self._known.values())
            ended = self.executor.ended()
            fruitless, n_at_work = self._bury(ended)
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
                    self.executor.stop()
                    self._bury(self.executor.ended(), told_to_stop=True)
                    return False
            n_idle = max(0, self.n_slots - n_alive)
            n_wanted = len(list(islice(free_pieces(self.store, pieces, status), n_idle)))
            if left is not None and n_wanted > 0:
                free = free_pieces(self.store, pieces, status)
                closing = closing or not self._some_can_end(free, status, left)
            if left is not None and (left <= 0 or (closing and n_alive == 0)):
                self.executor.stop()
                self._bury(self.executor.ended(), told_to_stop=True)
                return True
            looked_s = time.monotonic() - started - elapsed - told_s
            if n_wanted > 0 and not closing:
                self.executor.start(n_wanted, left)
            time.sleep(pause_s(looked_s, left, self.poll_s))

    def _some_can_end(self, free: Iterable[Piece], status: Status, left_s: float) -> bool:
        """Whether a free run can end in the time left, predicted as the workers predict it."""
        rate = Rate.from_store(self.store, self.design, self._took)
        runs = (run for piece in free for run in piece.runs if status.states[run.run_id] in FREE)
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
