"""The Slurm executor on a real one-node Slurm (scripts/one_node_slurm.sh starts it)."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from engines import REPOSITORY, need
from tiny_sweeps import tiny_spec

from scaling.sweep.design import Design, design_sweep, write_plan
from scaling.sweep.executors import InlineExecutor, WorkerCommand
from scaling.sweep.executors.base import ExecutorError
from scaling.sweep.executors.slurm import SlurmExecutor
from scaling.sweep.progress import Status
from scaling.sweep.results import load_store_runs
from scaling.sweep.run import Supervisor
from scaling.sweep.store import Store, read_json


@pytest.fixture(scope="module")
def slurm() -> None:
    need("slurm")


def make(store: Store, design: Design, n_slots: int = 2) -> tuple[Supervisor, SlurmExecutor]:
    command = WorkerCommand(store=store.root, plan=write_plan(store, design), lease_timeout_s=20)
    executor = SlurmExecutor(command=command, grace_s=60)
    return Supervisor(store=store, design=design, executor=executor, n_slots=n_slots, poll_s=0.5), executor


def inline_losses(folder: Path, design: Design) -> dict[str, float]:
    store = Store(folder)
    command = WorkerCommand(store=store.root, plan=write_plan(store, design), lease_timeout_s=60)
    supervisor = Supervisor(store=store, design=design, executor=InlineExecutor(command=command), n_slots=1)
    supervisor.run()
    return losses(store)


def losses(store: Store) -> dict[str, float]:
    runs = load_store_runs(store)
    return dict(zip(runs.run_id, runs.loss.tolist()))


@pytest.fixture(autouse=True)
def from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs import the package from where this test does."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def slurm_says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.engine
@pytest.mark.slow
def test_preempted_and_requeued_jobs_lose_nothing(slurm: None, tmp_path: Path) -> None:
    """One job is told to checkpoint (as before its time limit), then one is requeued, as Slurm preempts by requeue.

    The requeued job starts again under its name and number; Slurm would hold it two minutes, which the test cuts short.
    """
    design = design_sweep(
        tiny_spec(grid={"budgets": [3e8, 6e8], "sizes_per_budget": 2, "optimum_flops": 4e8}), vocab_size=32
    )
    store = Store(tmp_path / "slurm")
    supervisor, executor = make(store, design, n_slots=1)
    struck: dict[str, str] = {}

    def strike(status: Status, elapsed_s: float) -> None:
        job = next(iter(executor.jobs), None)
        holds = any(r.owner == f"slurm-{job}" for r in store.records() if r.state == "running")
        if job is not None and holds and len(struck) == 0:
            slurm_says("scancel", "--signal=USR2", job)
            struck[job] = "told to checkpoint"
        elif job is not None and holds and job not in struck and len(struck) == 1:
            slurm_says("scontrol", "requeue", job)
            struck[job] = "requeued"
        elif (
            job is not None
            and struck.get(job) == "requeued"
            and "PENDING" in slurm_says("squeue", f"--jobs={job}", "--format=%T")
        ):
            with suppress(subprocess.CalledProcessError):  # Slurm may have started it in between
                slurm_says("scontrol", "update", f"JobId={job}", "StartTime=now")

    supervisor.on_progress = strike
    report = supervisor.run()
    assert list(struck.values()) == ["told to checkpoint", "requeued"]
    assert report.status.counts == {"done": len(design.runs)}
    requeued = list(struck)[1]
    assert requeued in {finisher(store, r.run_id) for r in design.runs}, "the requeued job went on itself"
    assert losses(store) == inline_losses(tmp_path / "inline", design)


def finisher(store: Store, run_id: str) -> str:
    """The job that held the last lease of a run."""
    newest = max(store.run_dir(run_id).glob("lease-*.json"), key=lambda p: int(p.stem.split("-")[1]))
    return str(read_json(newest)["owner"]).removeprefix("slurm-")


@pytest.mark.engine
def test_stopping_leaves_no_job_in_the_queue(slurm: None, tmp_path: Path) -> None:
    design = design_sweep(tiny_spec(), vocab_size=32)
    _, executor = make(Store(tmp_path), design)
    executor.start(2, None)
    ids = list(executor.jobs)
    executor.grace_s = 5
    executor.stop()
    assert {w.owner for w in executor.ended()} == {f"slurm-{i}" for i in ids}
    for _ in range(40):
        left = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i"], capture_output=True, text=True, check=True
        )
        if not set(ids) & set(left.stdout.split()):
            return
        time.sleep(0.5)
    pytest.fail(f"still queued: {left.stdout}")


def test_without_slurm_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = WorkerCommand(store=tmp_path, plan=tmp_path / "plan.json", lease_timeout_s=60)
    with pytest.raises(ExecutorError, match="--executor local"):
        SlurmExecutor(command=command)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"partition": "nope"}, "artition"),
        ({"parameters": {"gpus_per_node": 64}}, "64|onfiguration|generic resource|gres|GRES"),
    ],
)
@pytest.mark.parametrize("n_workers", [1, 2])
def test_what_slurm_refuses_is_said_with_what_to_change(
    slurm: None, tmp_path: Path, options: dict[str, Any], reason: str, n_workers: int
) -> None:
    command = WorkerCommand(store=tmp_path, plan=tmp_path / "plan.json", lease_timeout_s=60)
    with pytest.raises(ExecutorError, match=rf"(?s)refused.*({reason}).*change --partition"):
        SlurmExecutor(command=command, **options).start(n_workers, None)
