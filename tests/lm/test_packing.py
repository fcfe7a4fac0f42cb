"""Packs and threads: every run of them ends as it would alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import EVERY_STEP, LLAMA, TINY, make_spec, same_weights, step_losses

from scaling.architecture import Architecture
from scaling.errors import UsageError
from scaling.lm.device import TaskThreads
from scaling.lm.recipes import Recipe
from scaling.lm.run import RunSpec, TrainingOptions
from scaling.lm.training import train, train_packed


@pytest.mark.parametrize("step", [10, 20])
def test_a_pack_killed_between_two_saves_resumes(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.lm import loop

    specs, options = [make_spec(init_seed=k) for k in range(2)], TrainingOptions(device="cpu", log_every=1)
    whole = train_packed(specs, options=options)
    folders, write = [tmp_path / "0", tmp_path / "1"], loop.write_checkpoint

    def killed(folder: Path, *arguments: Any, **state: Any) -> None:
        if folder == folders[1] and state["step"] == step:
            raise KeyboardInterrupt
        write(folder, *arguments, **state)

    monkeypatch.setattr(loop, "write_checkpoint", killed)
    saving = TrainingOptions(device="cpu", log_every=1, checkpoint_every=10)
    with pytest.raises(KeyboardInterrupt):
        train_packed(specs, folders, options=saving)
    monkeypatch.undo()
    assert [r.loss for r in train_packed(specs, folders, options=saving)] == [r.loss for r in whole]
    assert not list(tmp_path.glob("*/checkpoint*"))


def pack_specs(architecture: Architecture = TINY) -> list[RunSpec]:
    recipes = [
        Recipe(learning_rate=1e-3 * (k + 1), batch_size=8, optimizer="muon" if k == 2 else "adamw")
        for k in range(3)
    ]
    return [
        make_spec(architecture=architecture, init_seed=k, data_seed=5 + k, recipe=recipe)
        for k, recipe in enumerate(recipes)
    ]


SEGMENTS = [TINY.replace(n_segments=n) for n in (1, 2, 16)]  # 16: as many as a window has tokens


@pytest.mark.parametrize(
    "architecture", [TINY, LLAMA, *SEGMENTS], ids=["gpt2", "llama", "segment", "2 segments", "16 segments"]
)
def test_stacked_runs_equal_single_runs(architecture: Architecture, tmp_path: Path) -> None:
    specs, stacked = pack_specs(architecture), TrainingOptions(device="cpu", log_every=1, stack=True)
    packed = train_packed(specs, [tmp_path / f"p{k}" for k in range(3)], options=stacked)
    for k, (spec, result) in enumerate(zip(specs, packed)):
        single = train(spec, tmp_path / f"s{k}", options=EVERY_STEP)
        # batched and plain matmuls round differently: float32, 30 steps
        assert result.loss == pytest.approx(single.loss, abs=2e-4)
        ours, theirs = step_losses(tmp_path / f"p{k}"), step_losses(tmp_path / f"s{k}")
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
        assert ours[0] == pytest.approx(theirs[0], abs=1e-6)


def test_runs_packed_on_a_cpu_are_the_single_runs_bit_for_bit(tmp_path: Path) -> None:
    specs = pack_specs()
    train_packed(specs, [tmp_path / f"p{k}" for k in range(3)], options=EVERY_STEP)
    for k, spec in enumerate(specs):
        train(spec, tmp_path / f"s{k}", options=EVERY_STEP)
        assert step_losses(tmp_path / f"p{k}") == step_losses(tmp_path / f"s{k}")
        assert same_weights(tmp_path / f"p{k}", tmp_path / f"s{k}")


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("n_runs", [1, 2, 3])
def test_two_threads_change_rounding_only_and_the_same_way_each_time(
    n_runs: int, tmp_path: Path, two_threads: None
) -> None:
    specs = pack_specs()[:n_runs]
    folders = [[tmp_path / f"{name}{k}" for k in range(n_runs)] for name in ("once", "again")]
    for names in folders:
        train_packed(specs, names, options=EVERY_STEP)
    torch.set_num_threads(1)
    for k, spec in enumerate(specs):
        train(spec, tmp_path / f"one{k}", options=EVERY_STEP)
        once, again, one = (tmp_path / f"{name}{k}" for name in ("once", "again", "one"))
        assert same_weights(once, again)
        np.testing.assert_allclose(step_losses(once), step_losses(one), atol=2e-4)


def test_an_error_in_a_thread_is_raised_when_all_have_ended(two_threads: None) -> None:
    ended = []

    def fail() -> None:
        raise torch.OutOfMemoryError("first")

    def work() -> None:
        time.sleep(0.05)
        ended.append(torch.get_num_threads())

    with pytest.raises(torch.OutOfMemoryError, match="first"):
        TaskThreads().run([fail, work])
    assert ended == [1]
    assert torch.get_num_threads() == 2


def test_a_packed_run_can_be_finished_alone(tmp_path: Path) -> None:
    specs = [make_spec(init_seed=k) for k in range(2)]
    folders = [tmp_path / "0", tmp_path / "1"]
    train_packed(specs, folders, options=TrainingOptions(device="cpu", log_every=1, stop_after_step=15))
    finished = train(specs[1], folders[1], options=EVERY_STEP)
    assert finished.loss == pytest.approx(train(specs[1]).loss, abs=2e-4)  # rounding of batched matmuls


def test_a_diverged_member_leaves_the_rest_of_the_pack_alone() -> None:
    good, bad = make_spec(), make_spec(recipe=Recipe(learning_rate=1e6, batch_size=8, clip_norm=1e9))
    results = train_packed([good, bad], options=EVERY_STEP)
    assert [r.status for r in results] == ["done", "diverged"]
    assert results[0].loss == pytest.approx(train(good, options=EVERY_STEP).loss, abs=2e-4)


def test_a_pack_cannot_be_sharded(monkeypatch: pytest.MonkeyPatch) -> None:
    specs, sharded = [make_spec(init_seed=k) for k in range(2)], TrainingOptions(device="cpu", shard=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("scaling.lm.training.Loop", None)  # nothing is built, and no process joined
    with pytest.raises(UsageError, match=r"packed runs cannot be sharded; got shard=True for 2 runs\. Train"):
        train_packed(specs, options=sharded)
