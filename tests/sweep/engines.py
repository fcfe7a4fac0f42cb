"""Real engines for the executor tests: a missing one fails in CI, and elsewhere is a skip that says what is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def need(engine: str) -> None:
    """Have this engine answer, or skip (in CI: fail) with the reason."""
    if engine == "slurm":
        _need_slurm()
    if engine == "ray":
        _need_ray()


def lacking(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def _need_slurm() -> None:
    """A Slurm that is here, or in CI one that the script starts."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        subprocess.run([str(REPOSITORY / "scripts" / "one_node_slurm.sh")], check=True)
    try:
        import submitit  # noqa: F401

        found = subprocess.run(
            ["sinfo", "--noheader"], capture_output=True, text=True, check=False, timeout=120
        )
        if found.returncode == 0 and found.stdout.strip():
            return
        why = found.stderr.strip() or "no nodes"
    except (FileNotFoundError, ImportError) as error:
        why = str(error)
    lacking(f"no Slurm answers here ({why}); scripts/one_node_slurm.sh starts one")


def _need_ray() -> None:
    """A Ray of two CPUs and no GPU, started here unless this process has one already."""
    from scaling.sweep.executors.ray import QUIET

    os.environ.update(QUIET)
    try:
        import ray
    except ImportError as error:
        lacking(f"no Ray here ({error}): pip install 'isoflop[ray]'")
    if not ray.is_initialized():
        ray.init(address="local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False,
                 logging_level="ERROR", object_store_memory=2**27)  # fmt: skip
