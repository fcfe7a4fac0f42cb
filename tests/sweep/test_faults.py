"""Runs that fail: each alone, with its reason, while the others go on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import ForkExecutor, losses, plan, run_forked, run_inline
from tiny_sweeps import tiny_spec

from scaling.errors import ChangedCorpusError
from scaling.sweep.design import Design, with_budgets
from scaling.sweep.executors import Ended
from scaling.sweep.progress import look
from scaling.sweep.results import load_store_runs
from scaling.sweep.run import Supervisor
from scaling.sweep.store import Store, StoreError
from scaling.sweep.train_run import Job, refuse_other_corpus

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")


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


def test_workers_killed_at_work_are_judged_by_their_runs_not_as_workers_that_can_do_nothing(
    tmp_path: Path,
) -> None:
    """Two in three are killed before they hold a run, by a full machine say: the third shows that workers can work."""

    @dataclass
    class Killed(ForkExecutor):
        def start(self, n_workers: int, deadline_s: float | None) -> None:
            self.n_started += 1

        def ended(self) -> list[Ended]:
            owners = [f"{self.n_started}-{i}" for i in range(3)]
            free = [r.run_id for r in design.runs if store.record(r.run_id).state == "pending"]
            if self.n_started and free:
                store.claim(free[0], owner=owners[0])
            return [Ended(owner=o, exit_code=-9) for o in owners] if self.n_started else []

    design, store = plan(tiny_spec()), Store(tmp_path)
    supervisor = Supervisor(
        store=store, design=design, executor=Killed(store, design), n_slots=1, poll_s=0.0, deaths_of_one_run=1
    )
    assert supervisor.run().status.counts == {"failed": len(design.runs)}


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


def test_a_micro_batch_that_memory_does_not_hold_is_tried_once_per_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for 3 of 8 windows: the first run is halved to 4, then 2; the other runs of its shape begin with 2."""
    import torch

    from scaling.lm.train_step import TrainStep

    step, refused = TrainStep.step, []

    def short_of_memory(self: TrainStep, *arguments: Any) -> Any:
        if self.micro_batch > 3:
            refused.append(self.micro_batch)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, *arguments)

    monkeypatch.setattr(TrainStep, "step", short_of_memory)
    spec = tiny_spec(
        grid={"budgets": [4e7], "sizes_per_budget": 1},
        seeds={"replicates": 3, "replicate_budgets": [4e7]},
        schedule={"kind": "cosine", "warmup_steps": 2},
    )
    design, store = plan(spec), Store(tmp_path)
    assert run_inline(store, design).status.counts == {"done": 3}
    assert refused == [8, 4]


def test_a_run_whose_corpus_has_changed_fails_and_keeps_its_checkpoints(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike damage, which is trained anew: that would give a run of another text under the same name."""
    from scaling.lm import loop

    design, _ = undisturbed
    store = Store(tmp_path)
    smaller = plan(with_budgets(design.spec, design.spec.grid.budgets[:2]))
    run_inline(store, smaller)
    kept = sorted(store.trunks.runs_dir.glob("*/step-*.safetensors"))
    assert kept
    batches = loop.Batches

    def of_another_text(*arguments: Any) -> Any:
        made = batches(*arguments)
        made.fingerprints = ["another text" for _ in made.fingerprints]
        return made

    monkeypatch.setattr(loop, "Batches", of_another_text)
    larger = [r for r in design.runs if r.budget == design.spec.grid.budgets[-1]]
    report = run_inline(store, design)
    shared = [r for r in larger if any(p.parent.name == r.trunk_id for p in kept)]
    assert {report.status.states[r.run_id] for r in shared} == {"failed"}
    assert "is not the one" in (store.inspect(shared[0].run_id).failure or {})["reason"]
    assert all(path.exists() for path in kept)


def test_runs_are_not_added_to_those_of_another_text(
    tmp_path: Path, undisturbed: tuple[Design, dict[str, float]]
) -> None:
    design, _ = undisturbed
    store = Store(tmp_path)
    run_inline(store, design)
    refuse_other_corpus(store, design)
    path = store.run_dir(design.runs[0].run_id) / "result.json"
    result = json.loads(path.read_text())
    assert result["corpus"]
    path.write_text(json.dumps(result | {"corpus": "another text"}))
    with pytest.raises(ChangedCorpusError, match="was prepared anew"):
        refuse_other_corpus(store, design)
