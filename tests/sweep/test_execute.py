"""Running sweeps: the same result undisturbed, killed 50 times, stopped and resumed, two at once, half failing."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_spec

from scaling.sweep.design import Design, design_sweep, with_budgets
from scaling.sweep.execute import Report, Supervisor
from scaling.sweep.executors import Ended, InlineExecutor, WorkerCommand
from scaling.sweep.loop import Job
from scaling.sweep.plan_file import write_plan
from scaling.sweep.progress import Status, look
from scaling.sweep.results import count_states, export_results, import_results, load_store_runs, write_index
from scaling.sweep.spec import SweepSpec
from scaling.sweep.store import Store, StoreError

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")

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

    def default_slots(self) -> int:
        return 4

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        from scaling.sweep.worker import run_worker

        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        for _ in range(n_workers):
            owner = f"fork-{id(self)}-{self.n_started}"
            self.n_started += 1
            options = {"owner": owner, "deadline": deadline, "pack": self.pack}
            process = fork.Process(target=run_worker, args=(self.store, self.design), kwargs=options)
            process.start()
            self.processes[owner] = process

    def n_alive(self) -> int:
        return len(self.processes)

    def ended(self) -> list[Ended]:
        gone = {o: p.exitcode for o, p in self.processes.items() if not p.is_alive()}
        for owner in gone:
            self.processes.pop(owner).join()
        return [Ended(owner=o, exit_code=code) for o, code in gone.items()]

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(10)


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
    on_progress: Callable[[ForkExecutor], None] | None = None,
    **options: Any,
) -> Report:
    executor = ForkExecutor(store, design)

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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Design, dict[str, float]]:
    """The tiny sweep trained in one go, one run after the other."""
    design = plan(tiny_spec(grid={"budgets": [4e7, 8e7, 1.6e8]}))
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    report = run_inline(store, design)
    assert report.status.counts == {"done": len(design.runs)}
    return design, losses(store, design)


@pytest.mark.slow
def test_fifty_kills_change_no_loss_by_one_bit(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    rng = random.Random(0)
    n_kills = n_sweeps = 0
    while n_kills < 50:
        next_kill = [time.monotonic()]

        def kill(executor: ForkExecutor, next_kill: list[float] = next_kill) -> None:
            nonlocal n_kills
            alive = [p for p in executor.processes.values() if p.is_alive()]
            if alive and n_kills < 50 and time.monotonic() > next_kill[0]:
                rng.choice(alive).kill()
                n_kills += 1
                next_kill[0] = time.monotonic() + rng.uniform(0.0, 0.6)

        store = Store(tmp_path / str(n_sweeps))
        report = run_forked(store, design, on_progress=kill, deaths_of_one_run=10_000)
        assert report.status.counts == {"done": len(design.runs)}
        assert losses(store, design) == expected
        assert sorted(store.run_ids()) == sorted(r.run_id for r in design.runs)
        n_sweeps += 1
    assert n_kills == 50


def test_a_design_without_trunks_gives_the_same_losses_as_with_them(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    """Each branch trained from scratch, its trunk deleted, equals the branch that started from the trunk."""
    design, expected = undisturbed
    longest = max(design.runs, key=lambda r: r.n_steps)
    alone = plan(with_budgets(design.spec, [longest.budget]))
    store = Store(tmp_path)
    run_inline(store, alone)
    assert losses(store, alone) == {r.run_id: expected[r.run_id] for r in alone.runs}


def test_two_sweeps_on_one_store_do_nothing_twice(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path)
    reports: list[Report] = []
    threads = [
        threading.Thread(target=lambda: reports.append(run_forked(store, design, n_slots=2)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.status.counts for r in reports] == [{"done": len(design.runs)}] * 2
    assert losses(store, design) == expected
    assert all(store.record(r.run_id).attempts == 1 for r in design.runs)


def test_adding_a_budget_reuses_every_finished_run(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path)
    smaller = plan(with_budgets(design.spec, design.spec.grid.budgets[:2]))
    run_inline(store, smaller)
    before = {r.run_id: (store.run_dir(r.run_id) / "result.json").stat().st_mtime_ns for r in smaller.runs}
    run_inline(store, design)
    assert losses(store, design) == expected
    after = {i: (store.run_dir(i) / "result.json").stat().st_mtime_ns for i in before}
    assert after == before


def test_damaged_checkpoints_cost_time_only(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path)
    run_inline(store, plan(with_budgets(design.spec, design.spec.grid.budgets[:2])))
    checkpoints = sorted(store.trunks.runs_dir.glob("*/step-*.safetensors"))
    assert checkpoints
    for path in checkpoints:
        path.write_bytes(path.read_bytes()[:100])
    largest = [r for r in design.runs if r.budget == design.spec.grid.budgets[-1]]
    for run in largest[:1]:
        training = store.run_dir(store.add(run.config)) / "training"
        training.mkdir()
        (training / "checkpoint.safetensors").write_bytes(b"torn")
    run_inline(store, design)
    assert losses(store, design) == expected


def test_a_run_that_always_fails_does_not_stop_the_others(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.sweep import worker

    design, expected = undisturbed
    bad = design.runs[0].run_id
    train = worker.train_job

    def fail_one(job: Job) -> dict[str, Any]:
        if job.run.run_id == bad:
            raise ValueError("planted")
        return train(job)

    monkeypatch.setattr(worker, "train_job", fail_one)
    store = Store(tmp_path)
    report = run_inline(store, design)
    assert report.status.counts == {"done": len(design.runs) - 1, "failed": 1}
    failure = store.record(bad).failure or {}
    assert failure["reason"] == "ValueError: planted"
    assert "fail_one" in failure["stderr_tail"]
    assert bad not in set(load_store_runs(store).run_id)
    monkeypatch.undo()
    store.free_failed([bad])
    run_inline(store, design)
    assert losses(store, design) == expected


def test_a_run_that_takes_its_worker_down_is_given_up(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.sweep import worker

    design, _ = undisturbed
    bad = design.runs[0].run_id
    train = worker.train_job
    monkeypatch.setattr(worker, "train_job", lambda job: os._exit(9) if job.run.run_id == bad else train(job))
    report = run_forked(Store(tmp_path), design, n_slots=2, deaths_of_one_run=3)
    assert report.status.states[bad] == "failed"
    assert report.status.counts["done"] == len(design.runs) - 1


@pytest.mark.parametrize("exit_code", [1, -9])
def test_workers_that_can_do_nothing_end_the_sweep_with_what_they_said(
    tmp_path: Path, exit_code: int
) -> None:
    @dataclass
    class Broken(ForkExecutor):
        def start(self, n_workers: int, deadline_s: float | None) -> None:
            self.n_started += n_workers

        def ended(self) -> list[Ended]:
            n, self.n_started = self.n_started, 0
            return [
                Ended(owner=str(i), exit_code=exit_code, stderr_tail="No space left on device")
                for i in range(n)
            ]

    design, store = plan(tiny_spec()), Store(tmp_path)
    supervisor = Supervisor(store=store, design=design, executor=Broken(store, design), n_slots=2, poll_s=0.0)
    with pytest.raises(StoreError, match="No space left on device"):
        supervisor.run()


def test_a_full_disk_ends_the_sweep_and_fails_no_run(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of over 8 kB cannot be written (EFBIG stands for ENOSPC), so every checkpoint fails, but no small record."""
    import resource

    from scaling.sweep import worker

    def work(*arguments: Any, **options: Any) -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        return run_worker(*arguments, **options)

    run_worker = worker.run_worker
    monkeypatch.setattr(worker, "run_worker", work)
    design, expected = undisturbed
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="workers ended without finishing a run"):
        run_forked(store, design, n_slots=2)
    status = look(store, design)
    assert not status.n_failed
    assert not status.counts.get("running")
    monkeypatch.undo()
    run_inline(store, design)
    assert losses(store, design) == expected


def test_a_store_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time stands still on a read-only store: leases of dead workers would never be taken back."""
    design, _ = undisturbed
    store = Store(tmp_path)
    run_id = store.add(design.runs[0].config)
    assert store.claim(run_id, owner="dead") is not None

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(
        Path, "touch", refuse
    )  # root may write anywhere, so the file system's answer is imitated
    with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\)"):
        run_forked(store, design)


def test_a_spec_edited_mid_way_leaves_the_sweep_under_way_alone_and_shares_its_runs(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    """While the small sweep runs, a budget is added and the larger one started beside it on the same store."""
    design, expected = undisturbed
    store = Store(tmp_path)
    smaller = plan(with_budgets(design.spec, design.spec.grid.budgets[:2]))
    larger: list[Report] = []
    edited = threading.Thread(target=lambda: larger.append(run_forked(store, design, n_slots=2)))

    def edit(executor: ForkExecutor) -> None:
        if not edited.ident and look(store, smaller).counts.get("running"):
            edited.start()

    first = run_forked(store, smaller, n_slots=2, on_progress=edit)
    edited.join()
    assert first.status.counts == {"done": len(smaller.runs)}
    assert larger[0].status.counts == {"done": len(design.runs)}
    assert losses(store, design) == expected
    assert all(store.record(r.run_id).attempts == 1 for r in smaller.runs)


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

    from scaling.sweep import execute

    monkeypatch.setattr(execute, "LAST_WORKERS_S", 0.1)
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
    report = run_forked(store, design, n_slots=2, deadline_s=0.6)
    assert report.interrupted
    assert report.wall_s < 15
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
    monkeypatch.setattr(Rate, "from_store", classmethod(lambda cls, store, design: slow))
    executor = ForkExecutor(store, design)
    supervisor = Supervisor(
        store=store, design=design, executor=executor, n_slots=2, deadline_s=100.0, poll_s=0.01
    )
    report = supervisor.run()
    assert report.interrupted
    assert executor.n_started == 0
    assert report.wall_s < 50


def test_results_can_be_exported_and_taken_back(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path / "store")
    run_inline(store, design)
    table, n = export_results(store, [r.run_id for r in design.runs], tmp_path / "recorded")
    assert n == len(design.runs)
    again = Store(tmp_path / "again")
    again.root.mkdir()
    assert import_results(again, tmp_path / "recorded") == n
    assert losses(again, design) == expected
    first, second = load_store_runs(store), load_store_runs(again)
    assert first.run_id == second.run_id
    assert (first.loss == second.loss).all()
    assert first.convention.flops == "6ND"
    assert len(set(first.trunk_id or ())) < len(first)
    assert table.read_text().startswith("run_id,n_params")
    # a result that was moved away is not done, whatever the index says
    write_index(again)
    first_id = design.runs[0].run_id
    (again.run_dir(first_id) / "result.json").unlink()
    assert count_states(again)["done"] == n - 1


def test_a_sweep_is_followed_live_where_its_spec_says_so(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    """What TensorBoard has recorded is the table of the sweep, and no run is another for it."""
    pytest.importorskip("tensorboard", reason="pip install 'isoflop[logs]'")
    from dataclasses import replace

    from scaling.sweep.importers import from_tensorboard

    design, expected = undisturbed
    store = Store(tmp_path)
    run_inline(store, replace(design, spec=replace(design.spec, log=("tensorboard",))))
    assert losses(store, design) == expected
    logged = from_tensorboard(
        tmp_path / "tensorboard", loss_tag="eval/loss", n_params="n_params", params_convention="total",
        n_tokens="n_tokens", n_steps="n_steps",
    )  # fmt: skip
    table = load_store_runs(store)
    assert dict(zip(logged.run_id, logged.loss)) == pytest.approx(expected, rel=1e-6)  # float32
    assert dict(zip(logged.run_id, logged.n_tokens)) == dict(zip(table.run_id, table.n_tokens))
    assert dict(zip(logged.run_id, logged.n_params)) == dict(zip(table.run_id, table.n_params))
