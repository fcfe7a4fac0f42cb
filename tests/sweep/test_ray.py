"""What is peculiar to Ray: resources that are not there, and its logs."""

from __future__ import annotations

import builtins
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from engines import REPOSITORY, need
from tiny_sweeps import TINY, tiny_values, write_toml

from scaling.errors import UsageError
from scaling.installing import extra_command
from scaling.sweep.executors import WorkerCommand
from scaling.sweep.executors.base import ExecutorError
from scaling.sweep.executors.ray import RayExecutor

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


def command(folder: Path) -> WorkerCommand:
    return WorkerCommand(store=folder, plan=folder / "plan.json", lease_timeout_s=60)


@pytest.mark.engine
def test_a_gpu_that_no_node_has_is_refused_at_once_with_what_there_is(tmp_path: Path) -> None:
    need("ray")
    started = time.monotonic()
    with pytest.raises(ExecutorError, match=r"asks for 1 CPU, 0\.5 GPU, and no node .* has: 2 CPU, 0 GPU"):
        RayExecutor(command=command(tmp_path), gpus_per_slot=0.5)
    assert time.monotonic() - started < 60  # and not for ever, as Ray would wait


@pytest.mark.engine
def test_the_slots_are_what_the_cluster_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("ray")
    executor = RayExecutor(command=command(tmp_path))
    assert (executor.gpus_per_slot, executor.default_slots()) == (0, 2)
    nodes = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 8.0}, {"CPU": 64.0}]
    monkeypatch.setattr(RayExecutor, "_nodes", lambda self: nodes)
    assert RayExecutor(command=command(tmp_path)).default_slots() == 2 + 3  # a whole GPU each
    assert RayExecutor(command=command(tmp_path), gpus_per_slot=0.1).default_slots() == 16 + 3
    assert RayExecutor(command=command(tmp_path), gpus_per_slot=0).default_slots() == 16 + 3 + 64


@pytest.mark.engine
def test_a_node_that_leaves_is_noticed_before_the_next_worker_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("ray")
    executor = RayExecutor(command=command(tmp_path))
    monkeypatch.setattr(RayExecutor, "_nodes", lambda self: [])
    with pytest.raises(ExecutorError, match="it has: no node"):
        executor.start(1, None)


def test_more_than_one_gpu_a_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got 2"):
        RayExecutor(command=command(tmp_path), gpus_per_slot=2)


def test_without_ray_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ExecutorError, match=re.escape(extra_command("ray"))):
        RayExecutor(command=command(tmp_path))


@pytest.mark.engine
@pytest.mark.slow
def test_a_sweep_on_ray_prints_what_a_local_one_prints(tmp_path: Path) -> None:
    """From the command line: no line of Ray's on either stream."""
    need("ray")
    spec = write_toml(tmp_path / "sweep.toml", TINY)
    scaling = [sys.executable, "-m", "scaling", "sweep", "run", str(spec), "--executor", "ray", "--quiet"]
    done = subprocess.run(scaling, capture_output=True, text=True, env=ENV, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("6 runs: 6 done; ")
    assert done.stdout.splitlines()[1:] == [
        f"table of runs: {tmp_path}/store/runs.csv", f"fit it:  scaling sweep fit {spec}",
    ]  # fmt: skip
    assert done.stderr == ""
    refused = subprocess.run(
        [*scaling, "--gpus-per-slot", "1", "--store", str(tmp_path / "another")],
        capture_output=True,
        text=True,
        env=ENV,
        check=False,
    )
    assert refused.returncode == 1
    assert "0 GPU" in refused.stderr


@pytest.mark.engine
@pytest.mark.slow
def test_ctrl_c_reaches_ray_workers_as_a_request_to_checkpoint(tmp_path: Path) -> None:
    """SIGINT to the whole process group, as a terminal sends it."""
    need("ray")
    values = tiny_values(grid={"budgets": [4e10], "optimum_flops": 4e10})
    spec = write_toml(tmp_path / "sweep.toml", values)
    scaling = [
        sys.executable,
        "-m",
        "scaling",
        "sweep",
        "run",
        str(spec),
        "--executor",
        "ray",
        "--slots",
        "2",
    ]
    process = subprocess.Popen(
        scaling, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, start_new_session=True
    )
    try:
        limit = time.monotonic() + 600  # only ends a hang
        while not list((tmp_path / "store" / "runs").glob("*/training/metrics.jsonl")):
            assert time.monotonic() < limit, "no run began"
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.splitlines()[-1].endswith(f"Go on with:  scaling sweep run {spec} --executor ray --slots 2")
    assert "Traceback" not in err
    assert list((tmp_path / "store" / "runs").glob("*/training/checkpoint.safetensors"))
