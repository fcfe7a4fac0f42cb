"""One worker in this very process: for debugging (tracebacks, breakpoints) and for tests."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from scaling.sweep.executors.base import Ended, WorkerCommand
from scaling.sweep.store import Store


@dataclass
class InlineExecutor:
    """`start` returns when the work is done; Ctrl-C interrupts the run, which resumes from its last checkpoint."""

    command: WorkerCommand
    name: str = "inline"
    _ended: list[Ended] = field(default_factory=list)

    def default_slots(self) -> int:
        return 1

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        from scaling.sweep.plan_file import read_plan
        from scaling.sweep.worker import run_worker

        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        store = Store(self.command.store, lease_timeout_s=self.command.lease_timeout_s)
        code = 1
        try:
            plan = read_plan(self.command.plan)
            code = run_worker(store, plan, owner="inline", deadline=deadline, pack=self.command.pack)
        finally:  # also after Ctrl-C: what it held is given back
            self._ended.append(Ended(owner="inline", exit_code=code))

    def n_alive(self) -> int:
        return 0

    def ended(self) -> list[Ended]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Nothing runs outside `start`."""
