"""Sweeps that run out of time, workers that are preempted or never start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from running import ForkExecutor, losses, run_forked, run_inline

from scaling.sweep.design import Design
from scaling.sweep.executors import Ended
from scaling.sweep.progress import look
from scaling.sweep.run import Supervisor
from scaling.sweep.store import Store

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")


def test_workers_that_still_queue_when_all_is_done_are_cancelled(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class Crowded(ForkExecutor):
        """One worker starts; the others wait in a queue for ever."""

        queued: int = 0

        def start(self, n_workers: int, deadline_s: float | None) -> None:
            super().start(1, deadline_s)
            self.queued += n_workers - 1

        def n_alive(self) -> int:
            return super().n_alive() + self.queued

        def stop(self) -> None:
            super().stop()
            self.queued = 0

    from scaling.sweep import run

    monkeypatch.setattr(run, "LAST_WORKERS_S", 0.1)
    design, expected = undisturbed
    store = Store(tmp_path)
    executor = Crowded(store, design)
    report = Supervisor(store=store, design=design, executor=executor, n_slots=3, poll_s=0.01).run()
    assert not report.interrupted
    assert executor.queued == 0
    assert losses(store, design) == expected


def test_the_deadline_leaves_a_resumable_sweep(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path)
    report = run_forked(store, design, n_slots=2, deadline_s=0.3)
    assert report.interrupted
    assert not look(store, design).counts.get("running")
    run_inline(store, design)
    assert losses(store, design) == expected


def test_a_preempted_worker_does_not_end_a_sweep_that_has_time_left(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    """Told to stop, a worker checkpoints and ends with exit code 0: another takes its place until the deadline."""
    design, expected = undisturbed
    store = Store(tmp_path)
    told: list[int] = []

    def tell(executor: ForkExecutor) -> None:
        running = [p for p in executor.processes.values() if p.is_alive()]
        if running and not told and look(store, design).counts.get("running"):
            running[0].terminate()
            told.append(running[0].pid)

    report = run_forked(store, design, n_slots=1, deadline_s=600.0, on_progress=tell)
    assert told
    assert not report.interrupted
    assert losses(store, design) == expected


def test_nothing_is_started_that_cannot_end_before_the_deadline(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the speed known from a finished run, a deadline too near for any other starts no worker at all."""
    from scaling.sweep.timing import Rate

    design, _ = undisturbed
    store = Store(tmp_path)
    slow = Rate(points=((1.0, 1000.0),))
    monkeypatch.setattr(Rate, "from_store", classmethod(lambda cls, store, design, known: slow))
    executor = ForkExecutor(store, design)
    supervisor = Supervisor(
        store=store, design=design, executor=executor, n_slots=2, deadline_s=100.0, poll_s=0.01
    )
    report = supervisor.run()
    assert report.interrupted
    assert executor.n_started == 0
    assert report.wall_s < 50


@dataclass
class Sleeping:
    """Workers that do nothing until they are stopped, which kills them."""

    owners: list[str] = field(default_factory=list)
    stopped: bool = False
    name: str = "sleeping"

    def default_slots(self) -> int:
        return 1

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        self.owners += [f"sleeper-{i}" for i in range(n_workers)]

    def n_alive(self) -> int:
        return len(self.owners)

    def ended(self) -> list[Ended]:
        gone, self.owners = (self.owners, []) if self.stopped else ([], self.owners)
        return [Ended(owner=owner, exit_code=-15) for owner in gone]

    def stop(self) -> None:
        self.stopped = True


def test_workers_stopped_by_the_deadline_are_not_lost(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    executor, (design, _) = Sleeping(), undisturbed
    report = Supervisor(
        store=Store(tmp_path), design=design, executor=executor, n_slots=2, deadline_s=0.1, poll_s=0.01
    ).run()
    assert executor.stopped
    assert (report.interrupted, report.n_workers_lost) == (True, 0)
