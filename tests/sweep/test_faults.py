"""What goes wrong in a sweep: runs that fail, disks that fill, files that are damaged. The rest goes on."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_spec
from running import ForkExecutor, losses, plan, run_forked, run_inline

from scaling.sweep.design import Design, with_budgets
from scaling.sweep.execute import Supervisor
from scaling.sweep.executors import Ended
from scaling.sweep.files import StoreError
from scaling.sweep.loop import Job
from scaling.sweep.progress import look
from scaling.sweep.results import load_store_runs
from scaling.sweep.store import Store

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


def a_file_for_a_folder(folder: Path) -> None:
    folder.write_text("")


def a_folder_for_its_result(folder: Path) -> None:
    (folder / "result.json").mkdir(parents=True)


def a_damaged_result(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "result.json").write_text('{"loss": 1.')


def a_damaged_configuration(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("")


def a_file_for_its_training_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "training").write_text("")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (a_file_for_a_folder, "is not a folder"),
        (a_folder_for_its_result, "Is a directory"),
        (a_damaged_result, "result.json is damaged"),
        (a_damaged_configuration, "config.json is damaged"),
        (a_file_for_its_training_folder, "FileExistsError"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_run_whose_own_files_are_broken_fails_alone_and_is_done_when_they_are_mended(
    damage: Callable[[Path], None],
    says: str,
    tmp_path: Path,
    undisturbed: tuple[Design, dict[str, float]],
) -> None:
    design, expected = undisturbed
    bad = design.units[0].runs[0].run_id  # first in the longest trunk: the others of it must not wait for it
    store = Store(tmp_path)
    store.runs_dir.mkdir()
    damage(store.run_dir(bad))
    report = run_forked(store, design, n_slots=2)
    assert report.status.counts == {"done": len(design.runs) - 1, "failed": 1}
    assert says in (store.inspect(bad).failure or {})["reason"]
    assert set(load_store_runs(store, run_ids=list(expected)).run_id) == set(expected) - {bad}
    store.run_dir(bad).rename(tmp_path / "moved-away")
    run_inline(store, design)
    assert losses(store, design) == expected


def test_the_runs_of_a_trunk_whose_folder_is_broken_are_trained_without_it(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, expected = undisturbed
    store = Store(tmp_path)
    store.trunks.runs_dir.mkdir()
    store.trunks.run_dir(design.units[0].unit_id).write_text("no folder")
    run_inline(store, design)
    assert losses(store, design) == expected


def test_a_run_whose_folder_is_deleted_while_it_trains_is_done_again(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.sweep import worker

    design, expected = undisturbed
    victim = design.runs[0].run_id
    train, deleted = worker.train_job, []

    def delete_after_training(job: Job) -> dict[str, Any]:
        result = train(job)
        if job.run.run_id == victim and not deleted:
            shutil.rmtree(job.folder)
            deleted.append(victim)
        return result

    monkeypatch.setattr(worker, "train_job", delete_after_training)
    store = Store(tmp_path)
    report = run_inline(store, design)
    assert deleted
    assert report.status.counts == {"done": len(design.runs)}
    assert losses(store, design) == expected


def test_runs_that_can_never_be_claimed_end_the_sweep_with_the_reason(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that looks usable and is not (a file system that squashes root): nothing can be written about it."""
    design, _ = undisturbed
    bad = design.runs[0].run_id
    claim = Store.claim

    def refuse(self: Store, run_id: str, **options: Any) -> Any:
        if run_id == bad:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.run_dir(run_id)))
        return claim(self, run_id, **options)

    monkeypatch.setattr(Store, "claim", refuse)
    store = Store(tmp_path)
    with pytest.raises(PermissionError, match=bad):
        run_inline(store, design)
    assert look(store, design).counts == {"done": len(design.runs) - 1, "pending": 1}


def test_only_faults_of_the_disk_are_the_stores(tmp_path: Path) -> None:
    """Real errors: a full device, and files that are missing or folders, from Python and from safetensors."""
    import torch

    from scaling.errors import StorageError, is_fault_of_storage
    from scaling.lm.files import write_tensors

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
    from scaling.sweep.worker import _link

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
