"""Sweeps run in this process or in forks of it, for the tests."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scaling.sweep.design import Design, design_sweep, write_plan
from scaling.sweep.executors import Ended, InlineExecutor, WorkerCommand
from scaling.sweep.progress import Status
from scaling.sweep.run import Report, Supervisor
from scaling.sweep.spec import SweepSpec
from scaling.sweep.store import Store

fork = multiprocessing.get_context("fork")


@dataclass
class ForkExecutor:
    """Workers as forks of this process, where torch is loaded already: starting one takes milliseconds."""

    store: Store
    design: Design
    name: str = "fork"
    pack: int = 1
    processes: dict[str, Any] = field(default_factory=dict)
    n_started: int = 0
    n_killed: int = 0
    life: Callable[[int], int | None] = lambda n_killed: (
        None
    )  # of the next worker, in calls; None: to the end

    def default_slots(self) -> int:
        return 4

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        from scaling.sweep.worker import run_worker

        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        for _ in range(n_workers):
            owner = f"fork-{id(self)}-{self.n_started}"
            self.n_started += 1
            options = {"owner": owner, "deadline": deadline, "pack": self.pack}
            process = fork.Process(
                target=doomed,
                args=(self.life(self.n_killed), run_worker, self.store, self.design),
                kwargs=options,
            )
            process.start()
            self.processes[owner] = process

    def n_alive(self) -> int:
        return len(self.processes)

    def ended(self) -> list[Ended]:
        gone = {o: p.exitcode for o, p in self.processes.items() if not p.is_alive()}
        for owner in gone:
            self.processes.pop(owner).join()
        self.n_killed += sum(code == -signal.SIGKILL for code in gone.values())
        return [Ended(owner=o, exit_code=code) for o, code in gone.items()]

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(10)


def doomed(life: int | None, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Do the work, and die by SIGKILL at the `life`-th call of any function: a moment no load on the machine shifts."""
    left = life

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if life is not None:
        sys.setprofile(count)
    work(*args, **options)


def n_calls(work: Callable[[], Any]) -> int:
    """Events of sys.setprofile in this thread while it does the work, as `doomed` counts them."""
    n = 0

    def count(*_: Any) -> None:
        nonlocal n
        n += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return n


def plan(spec: SweepSpec) -> Design:
    return design_sweep(spec, vocab_size=32)


def run_inline(store: Store, design: Design) -> Report:
    command = WorkerCommand(store=store.root, plan=write_plan(store, design), lease_timeout_s=60)
    return Supervisor(
        store=store, design=design, executor=InlineExecutor(command=command), n_slots=1, poll_s=0.01
    ).run()


def run_forked(
    store: Store,
    design: Design,
    *,
    n_slots: int = 4,
    executor: ForkExecutor | None = None,
    on_progress: Callable[[ForkExecutor], None] | None = None,
    **options: Any,
) -> Report:
    executor = executor or ForkExecutor(store, design)

    def show(status: Status, elapsed_s: float) -> None:
        if on_progress is not None:
            on_progress(executor)

    supervisor = Supervisor(
        store=store,
        design=design,
        executor=executor,
        n_slots=n_slots,
        poll_s=0.01,
        on_progress=show,
        **options,
    )
    return supervisor.run()


def losses(store: Store, design: Design) -> dict[str, float]:
    found = {}
    for run in design.runs:
        result = json.loads((store.run_dir(run.run_id) / "result.json").read_text())
        found[run.run_id] = result["loss"]
    return found
