"""Which GPUs a local sweep uses and how its workers share them. No GPU is needed: only environments are looked at."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import tiny_spec

from scaling.sweep.design import design_sweep, write_plan
from scaling.sweep.executors import LocalExecutor, WorkerCommand
from scaling.sweep.executors.local import visible_gpus
from scaling.sweep.store import Store
from scaling.sweep.timing import usable_cores
from scaling.sweep.worker import add_runs


def torch_has_version(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only torch has: it asks for the versions of others while it is imported, and keeps what it is told."""
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: version if name == "torch" else real(name)
    )


@pytest.fixture(autouse=True)
def a_cuda_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_has_version("2.13.0+cu130", monkeypatch)
    for name in ("CUDA_VISIBLE_DEVICES", "SCALING_DEVICE"):
        monkeypatch.delenv(name, raising=False)


def fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_the_gpus_are_those_of_the_driver_unless_the_environment_names_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, "printf '0\\n1\\n'")
    assert visible_gpus() == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-8f2")
    assert visible_gpus() == ("3", "GPU-8f2")
    for nothing in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert visible_gpus() == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SCALING_DEVICE", "cpu")
    assert visible_gpus() == ()


def test_no_driver_or_a_cpu_build_of_torch_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, "echo 'Driver not loaded' >&2; exit 9")
    assert visible_gpus() == ()
    fake_nvidia_smi(tmp_path, monkeypatch, "echo 0")
    assert visible_gpus() == ("0",)
    torch_has_version("2.13.0+cpu", monkeypatch)
    assert visible_gpus() == ()


def started_with(
    executor: LocalExecutor, n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, str]]:
    """The environments that workers are started with; the processes themselves only wait."""
    environments: list[dict[str, str]] = []
    real = subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        environments.append(options["env"])
        return real([sys.executable, "-c", "import time; time.sleep(3600)"], **options)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", start)
        executor.start(n_workers, None)
    return environments


def test_workers_are_spread_over_the_gpus_and_a_new_one_takes_the_emptiest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = WorkerCommand(store=tmp_path, plan=tmp_path / "plan.json", lease_timeout_s=60)
    executor = LocalExecutor(command=command, gpus=("0", "1"), gpus_per_slot=0.25, grace_s=5)
    assert executor.default_slots() == 8
    try:
        environments = started_with(executor, 6, monkeypatch)
        assert Counter(e["CUDA_VISIBLE_DEVICES"] for e in environments) == {"0": 3, "1": 3}
        on_gpu_1 = [o for o, gpu in executor._gpu_of.items() if gpu == "1"]
        for owner in on_gpu_1[:2]:
            executor.processes[owner].kill()
            executor.processes[owner].wait()
        assert {w.owner for w in executor.ended()} == set(on_gpu_1[:2])
        assert [e["CUDA_VISIBLE_DEVICES"] for e in started_with(executor, 2, monkeypatch)] == ["1", "1"]
    finally:
        executor.stop()


def test_without_gpus_there_is_a_slot_a_core_and_no_device_is_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = WorkerCommand(store=tmp_path, plan=tmp_path / "plan.json", lease_timeout_s=60)
    for share, forced in ((0.25, None), (0.0, "cpu")):
        executor = LocalExecutor(command=command, gpus_per_slot=share, grace_s=5)
        assert executor.default_slots() == usable_cores()
        try:
            (environment,) = started_with(executor, 1, monkeypatch)
            assert environment.get("SCALING_DEVICE") == forced
            assert environment["OMP_NUM_THREADS"] == "1"
        finally:
            executor.stop()


def test_a_worker_stops_with_a_checkpoint_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    """It once went on alone, and starting the sweep again put more workers beside it."""
    pytest.importorskip("torch")
    design = design_sweep(tiny_spec(grid={"budgets": [1e11, 2e11], "optimum_flops": 4e8}), vocab_size=32)
    store = Store(tmp_path)
    add_runs(store, design)
    command = WorkerCommand(store=tmp_path, plan=write_plan(store, design), lease_timeout_s=1.0)
    worker = shlex.join([sys.executable, "-m", "scaling.sweep.worker", *command.arguments("w")])
    shell = subprocess.Popen(
        ["sh", "-c", f"{worker} --parent $$ & wait"], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    wait_for(lambda: any(p.stat().st_size for p in tmp_path.glob("runs/*/training/metrics.jsonl")))
    shell.kill()
    shell.wait()
    wait_for(lambda: any(r.state == "preempted" for r in store.records()))
    assert list(tmp_path.glob("runs/*/training/checkpoint.safetensors"))


def wait_for(there: Callable[[], bool], limit_s: float = 600.0) -> None:
    """The limit only ends a hang: importing torch on a busy machine takes a minute."""
    limit = time.monotonic() + limit_s
    while not there():
        assert time.monotonic() < limit
        time.sleep(0.02)
