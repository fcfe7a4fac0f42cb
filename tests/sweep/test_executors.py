"""One test for every executor, against the real engine: same losses, nothing lost to a kill, a stop, a deadline."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines import REPOSITORY, need
from tiny_sweeps import tiny_spec

from scaling.sweep.design import Design, design_sweep, write_plan
from scaling.sweep.executors import InlineExecutor, LocalExecutor, WorkerCommand
from scaling.sweep.progress import Status, look
from scaling.sweep.results import load_store_runs
from scaling.sweep.run import Supervisor
from scaling.sweep.store import Store

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")

LEASE_TIMEOUT_S = 20
ENGINES = [
    pytest.param("local", marks=pytest.mark.slow),
    pytest.param("slurm", marks=[pytest.mark.engine, pytest.mark.slow]),
    pytest.param("ray", marks=[pytest.mark.engine, pytest.mark.slow]),
]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an engine that answers; its workers import the package from where this test does."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    need(request.param)
    return str(request.param)


def make(engine: str, store: Store, design: Design) -> Any:
    command = WorkerCommand(
        store=store.root, plan=write_plan(store, design), lease_timeout_s=store.lease_timeout_s
    )
    if engine == "inline":
        return InlineExecutor(command=command)
    if engine == "local":
        return LocalExecutor(command=command)
    if engine == "slurm":
        from scaling.sweep.executors.slurm import SlurmExecutor

        return SlurmExecutor(command=command, grace_s=60)
    from scaling.sweep.executors.ray import RayExecutor

    return RayExecutor(command=command)


def kill_one(engine: str, executor: Any) -> None:
    """End a worker as a crash or an administrator would."""
    if engine == "local":
        next(iter(executor.processes.values())).kill()
    if engine == "slurm":
        os.kill(process_of_slurm_job(next(iter(executor.jobs))), signal.SIGKILL)
    if engine == "ray":
        import ray

        ray.cancel(next(iter(executor.tasks.values())), force=True)


def process_of_slurm_job(job_id: str) -> int:
    """The worker itself, on this one node. (scancel --signal=KILL would first tell it to stop: no crash.)"""
    root, _, task = job_id.partition("_")
    job = [f"SLURM_ARRAY_JOB_ID={root}", f"SLURM_ARRAY_TASK_ID={task}"] if task else [f"SLURM_JOB_ID={root}"]
    wanted = {line.encode() for line in job}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
            command = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if b"submitit.core._submit" in command and b"python" in command[0] and wanted <= set(environment):
            return int(path.name)
    raise AssertionError(f"no process of Slurm job {job_id} on this node")


def supervise(
    executor: Any,
    store: Store,
    design: Design,
    on_progress: Callable[[Status, float], None] | None = None,
    **more: Any,
) -> Supervisor:
    return Supervisor(
        store=store, design=design, executor=executor, n_slots=2, poll_s=0.2, on_progress=on_progress, **more
    )


def losses(store: Store) -> dict[str, float]:
    runs = load_store_runs(store)
    return dict(zip(runs.run_id, runs.loss.tolist()))


@pytest.fixture(scope="module")
def design() -> Design:
    """Long enough to be caught in the middle of a run."""
    return design_sweep(
        tiny_spec(grid={"budgets": [3e8, 6e8], "sizes_per_budget": 2, "optimum_flops": 4e8}), vocab_size=32
    )


@pytest.fixture(scope="module")
def undisturbed(design: Design, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What one worker in this process reaches, one run after the other."""
    store = Store(tmp_path_factory.mktemp("inline"))
    report = supervise(make("inline", store, design), store, design).run()
    assert report.status.counts == {"done": len(design.runs)}
    return losses(store)


def test_a_sweep_with_a_killed_worker_gives_the_losses_of_an_undisturbed_one_bit_for_bit(
    engine: str,
    design: Design,
    undisturbed: dict[str, float],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    store = Store(tmp_path, lease_timeout_s=LEASE_TIMEOUT_S)
    executor = make(engine, store, design)
    killed = False

    def kill(status: Status, elapsed_s: float) -> None:
        nonlocal killed
        if not killed and executor.n_alive() and status.counts.get("running"):
            kill_one(engine, executor)
            killed = True

    report = supervise(executor, store, design, kill).run()
    assert killed
    assert report.n_workers_lost >= 1
    assert report.status.counts == {"done": len(design.runs)}
    assert losses(store) == undisturbed
    assert capfd.readouterr() == ("", ""), "engines say nothing on the terminal"


def test_an_interrupted_sweep_holds_nothing_and_can_be_resumed(
    engine: str, design: Design, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    store = Store(tmp_path, lease_timeout_s=LEASE_TIMEOUT_S)
    executor = make(engine, store, design)

    def interrupt(status: Status, elapsed_s: float) -> None:
        if any(store.runs_dir.glob("*/training/metrics.jsonl")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervise(executor, store, design, interrupt).run()
    status = look(store, design)
    assert status.n_open > 0, "too fast to be interrupted"
    assert not status.counts.get("running")
    assert executor.n_alive() == 0
    assert list(store.runs_dir.glob("*/training/checkpoint.safetensors")), (
        "told to stop, a worker checkpoints"
    )
    supervise(make("inline", store, design), store, design).run()
    assert losses(store) == undisturbed


def test_the_deadline_ends_a_sweep_that_can_be_resumed(engine: str, tmp_path: Path) -> None:
    long = design_sweep(tiny_spec(grid={"budgets": [4e10], "optimum_flops": 4e10}), vocab_size=32)
    store = Store(tmp_path, lease_timeout_s=LEASE_TIMEOUT_S)
    executor = make(engine, store, long)
    report = supervise(executor, store, long, deadline_s=8.0).run()
    assert report.interrupted
    assert report.wall_s < 600  # and not until its runs are done
    status = look(store, long)
    assert status.n_finished == 0
    assert not status.counts.get("running")
