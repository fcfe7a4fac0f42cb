"""Disks that fill or can only be read, files that are torn or damaged, hosts that meet: nothing is lost by them."""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import ForkExecutor, losses, plan, run_forked, run_inline

from scaling.sweep.design import Design, with_budgets
from scaling.sweep.progress import look
from scaling.sweep.run import Supervisor
from scaling.sweep.store import Store, StoreError

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")


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


def test_only_faults_of_the_disk_are_the_stores(tmp_path: Path) -> None:
    """Real errors: a full device, and files that are missing or folders, from Python and from safetensors."""
    import torch

    from scaling.errors import StorageError, is_fault_of_storage
    from scaling.lm.models.build import write_tensors

    with pytest.raises(OSError, match="No space") as full:
        Path("/dev/full").write_text("x")
    assert is_fault_of_storage(full.value)
    assert is_fault_of_storage(StorageError("I/O error: No space left on device (os error 28)"))
    with pytest.raises(IsADirectoryError) as folder:
        tmp_path.write_text("")
    assert not is_fault_of_storage(folder.value)
    with pytest.raises(StorageError, match="os error") as missing:
        write_tensors({"a": torch.zeros(1)}, tmp_path / "absent" / "x.safetensors")
    assert not is_fault_of_storage(missing.value)


def test_two_hosts_that_link_one_checkpoint_at_once_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other host, whose process has our number, does all of its linking inside ours."""
    from scaling.sweep.train_run import _link

    source, target = tmp_path / "checkpoint", tmp_path / "step-5"
    source.write_text("weights")
    replace = os.replace

    def other_host_first(*paths: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        _link(source, target)
        replace(*paths)

    monkeypatch.setattr(os, "replace", other_host_first)
    _link(source, target)
    assert target.read_text() == "weights"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "step-5"]


def test_lines_torn_by_a_kill_are_passed_over_and_written_anew(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    """Every worker is killed in the middle of a run, and the line it was writing left in half."""
    design, expected = undisturbed
    store = Store(tmp_path)

    def kill_all(executor: ForkExecutor) -> None:
        if any(p.stat().st_size for p in store.runs_dir.glob("*/training/metrics.jsonl")):
            for process in executor.processes.values():
                process.kill()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_forked(store, design, on_progress=kill_all)
    torn = list(store.runs_dir.glob("*/training/metrics.jsonl"))
    for path in torn:
        path.write_text(path.read_text() + '{"kind": "train", "step": 1, "lo')
    assert torn
    assert look(store, design).n_open > 0
    run_inline(store, design)
    assert losses(store, design) == expected
    for path in torn:
        assert all(json.loads(line)["kind"] for line in path.read_text().splitlines())


def test_a_disk_that_fills_under_the_supervisor_is_one_sentence_that_says_what_to_do(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path)

    def full(self: Store, *arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(executor: ForkExecutor) -> None:
        if executor.processes:
            monkeypatch.setattr(Store, "release_dead", full)

    with pytest.raises(StoreError, match=r"No space left on device\. What is finished is safe: make room"):
        run_forked(store, design, on_progress=fill)
    monkeypatch.undo()
    run_inline(Store(tmp_path, lease_timeout_s=1.0), design)
    assert losses(store, design) == expected


def test_workers_whose_clocks_are_hours_apart_take_nothing_from_each_other(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.sweep import worker

    run_worker, now = worker.run_worker, time.time
    hours = iter((-7, 0, 3, 12))

    def elsewhere(*arguments: Any, shift_s: float, **options: Any) -> int:
        time.time = lambda: now() + shift_s  # in the fork
        return run_worker(*arguments, **options)

    @dataclass
    class Scattered(ForkExecutor):
        def start(self, n_workers: int, deadline_s: float | None) -> None:
            for _ in range(n_workers):
                shifted = functools.partial(elsewhere, shift_s=3600.0 * next(hours, 1))
                monkeypatch.setattr(worker, "run_worker", shifted)
                super().start(1, deadline_s)

    design, expected = undisturbed
    store = Store(tmp_path, lease_timeout_s=20.0)
    executor = Scattered(store, design)
    Supervisor(store=store, design=design, executor=executor, n_slots=4, poll_s=0.01).run()
    assert executor.n_started >= 4
    assert losses(store, design) == expected
    assert all(store.record(r.run_id).attempts == 1 for r in design.runs)
