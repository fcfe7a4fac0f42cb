"""What a sweep refuses before it starts a worker."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from scaling.errors import UsageError
from scaling.sweep.executors.base import WorkerCommand
from scaling.sweep.run import _make_executor
from scaling.sweep.store import Store, StoreError


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_file_system_without_hard_links_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    Store(tmp_path / "fine").require_writable()
    assert not list((tmp_path / "fine").glob(".link*"))

    def no_link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(StoreError, match=r"has no hard links .*give --store on another"):
        Store(tmp_path / "store").require_writable()
    assert not list((tmp_path / "store").glob(".link*"))


def test_a_local_worker_takes_one_gpu_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling.sweep.executors.local.visible_gpus", lambda: ("0", "1"))
    command = WorkerCommand(store=tmp_path, plan=tmp_path / "plan.json", lease_timeout_s=60, pack=1)
    with pytest.raises(UsageError, match="--gpus-per-slot 0 to 1, got 2"):
        _make_executor("local", command, gpus_per_slot=2, partition=None)


def test_the_one_node_slurm_counts_all_cpus() -> None:
    """nproc alone says 1 under OMP_NUM_THREADS=1."""
    script = Path(__file__).parents[2] / "scripts" / "one_node_slurm.sh"
    assert "CPUs=$(nproc --all) " in script.read_text()
