"""Training: the same numbers after a kill, in a branch, in a pack, on two processes; and honest ends."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from small_runs import EVERY_STEP, LLAMA, TINY, make_spec, same_weights, step_losses
from torch import nn

from scaling.architecture import Architecture
from scaling.errors import DataError, ScalingError, UsageError
from scaling.lm.checkpoint import CHECKPOINT_FILE
from scaling.lm.corpus import load_corpus
from scaling.lm.evaluation import evaluate, load_validation_block
from scaling.lm.lanes import Lanes
from scaling.lm.learner import Learner
from scaling.lm.metrics import MetricsLog, read_metrics
from scaling.lm.models import build_model, load_model
from scaling.lm.optim import gradient_norm
from scaling.lm.recipes import OptimizerName, Recipe, Schedule
from scaling.lm.run import RunResult, RunSpec, TrainingOptions
from scaling.lm.signals import stop_signals
from scaling.lm.training import train, train_branches, train_packed


def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    spec = make_spec()
    whole = train(spec, tmp_path / "whole", options=EVERY_STEP)
    stop = TrainingOptions(device="cpu", log_every=1, stop_after_step=17)
    assert train(spec, tmp_path / "parts", options=stop).status == "preempted"
    resumed = train(spec, tmp_path / "parts", options=EVERY_STEP)
    assert resumed.loss == whole.loss
    assert step_losses(tmp_path / "parts") == step_losses(tmp_path / "whole")
    assert same_weights(tmp_path / "parts", tmp_path / "whole")
    assert not (tmp_path / "parts" / CHECKPOINT_FILE).exists()
    assert train(spec, tmp_path / "parts") == resumed  # done: the result is read, nothing runs


def test_a_stop_between_two_lines_of_metrics_changes_neither(tmp_path: Path) -> None:
    spec, every_ten = make_spec(), {"device": "cpu", "log_every": 10}
    train(spec, tmp_path / "whole", options=TrainingOptions(**every_ten))
    train(spec, tmp_path / "parts", options=TrainingOptions(**every_ten, stop_after_step=17))
    train(spec, tmp_path / "parts", options=TrainingOptions(**every_ten))
    assert step_losses(tmp_path / "parts") == step_losses(tmp_path / "whole")
    assert len(step_losses(tmp_path / "whole")) == 3


KILLED = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_training import make_spec
from scaling.lm.run import TrainingOptions
from scaling.lm.training import train
print(train(make_spec(n_steps={n_steps}), {folder!r}, options=TrainingOptions(device="cpu", log_every=1, checkpoint_every=20)).status)
"""


def start(folder: Path, n_steps: int) -> subprocess.Popen[str]:
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(folder), n_steps=n_steps)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the metrics hold this step. The deadline only ends a hang: importing torch on a busy machine takes a minute."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        path = folder / "metrics.jsonl"
        if path.exists() and any(line["step"] >= step for line in read_metrics(path)):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached; the process returned {process.poll()}")


@pytest.mark.slow
def test_killed_at_sixty_of_a_hundred_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = train(make_spec(n_steps=100), tmp_path / "whole", options=EVERY_STEP)
    process = start(tmp_path / "killed", 100_000)  # killed long before its end; its folder is thrown away
    wait_for_step(tmp_path / "killed", 45, process)
    process.kill()
    process.wait()
    assert (tmp_path / "killed" / CHECKPOINT_FILE).exists()
    # the run that is compared: 100 steps, killed by SIGKILL right after its checkpoint at 60
    code = KILLED.replace("checkpoint_every=20", "checkpoint_every=60").format(
        tests=str(Path(__file__).parent), folder=str(tmp_path / "parts"), n_steps=100
    )
    hook = "import scaling.lm.loop as t, os\nold = t.Loop.save\nt.Loop.save = lambda s: (old(s), os.kill(os.getpid(), 9))\n"
    killed = subprocess.run([sys.executable, "-c", hook + code], check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = train(make_spec(n_steps=100), tmp_path / "parts", options=EVERY_STEP)
    assert resumed.loss == whole.loss
    assert step_losses(tmp_path / "parts") == step_losses(tmp_path / "whole")
    assert same_weights(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR2"])
def test_signals_checkpoint_and_stop(name: str, tmp_path: Path) -> None:
    process = start(tmp_path, 1_000_000)
    wait_for_step(tmp_path, 3, process)
    process.send_signal(getattr(signal, name))
    out, _ = process.communicate(timeout=300)
    assert out.strip() == "preempted"
    assert (tmp_path / CHECKPOINT_FILE).exists()


def test_an_interrupt_asks_for_a_stop_where_that_is_wanted_and_the_second_one_ends() -> None:
    asked: list[str] = []
    with stop_signals(asked.append, interrupt=True):
        signal.raise_signal(signal.SIGINT)
        assert asked == ["SIGINT"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with stop_signals(asked.append), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert asked == ["SIGINT"]


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import torch as files

    spec, save = make_spec(), files.save_file
    saving = TrainingOptions(device="cpu", checkpoint_every=10, log_every=1)

    def full(tensors: dict, path: Path, metadata: dict | None = None) -> None:
        if metadata is None or json.loads(metadata["state"])["step"] > 10:
            path.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save(tensors, path, metadata=metadata)

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(ScalingError, match=r"could not be written to .*No space left"):
        train(spec, tmp_path, options=saving)
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKPOINT_FILE, "config.json", "metrics.jsonl"]
    monkeypatch.undo()
    assert train(spec, tmp_path, options=saving).loss == train(spec, options=EVERY_STEP).loss


def test_branches_of_one_trunk_equal_runs_from_scratch(tmp_path: Path) -> None:
    spec = make_spec()
    branches = train_branches(spec, [20, 30], tmp_path / "branches", options=EVERY_STEP)
    assert [b.n_tokens for b in branches] == [20 * 128, 30 * 128]
    assert branches[0].trunk_id == branches[1].trunk_id
    for n_steps, branch in zip((20, 30), branches):
        alone = train(spec.replace(n_steps=n_steps), tmp_path / f"alone-{n_steps}", options=EVERY_STEP)
        assert (alone.loss, alone.run_id, alone.trunk_id) == (branch.loss, branch.run_id, branch.trunk_id)
        assert same_weights(tmp_path / f"alone-{n_steps}", tmp_path / "branches" / f"steps-{n_steps}")
    with pytest.raises(UsageError, match="wsd"):
        train_branches(make_spec(schedule=Schedule(kind="cosine")), [10, 20], tmp_path / "x")


@pytest.mark.parametrize("stop", [None, 22], ids=["trunk done", "trunk further on"])
def test_a_shorter_branch_can_be_added_later(stop: int | None, tmp_path: Path) -> None:
    spec, options = make_spec(), TrainingOptions(device="cpu", log_every=1, stop_after_step=stop)
    train_branches(spec, [30], tmp_path, options=options)
    added = train_branches(spec, [10, 30], tmp_path, options=EVERY_STEP)
    assert [r.status for r in added] == ["done", "done"]
    assert added[0].loss == train(spec.replace(n_steps=10), options=EVERY_STEP).loss
    assert added[1].loss == train(spec, options=EVERY_STEP).loss


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


def test_a_flipped_byte_of_a_checkpoint_is_told_and_costs_one_interval(tmp_path: Path) -> None:
    spec = make_spec()
    saving = TrainingOptions(device="cpu", checkpoint_every=10, stop_after_step=20)
    train(spec, tmp_path, options=saving)
    content = bytearray((tmp_path / CHECKPOINT_FILE).read_bytes())
    content[-5] ^= 1
    (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    leftover = tmp_path / f".{CHECKPOINT_FILE}.99.tmp"  # of a process killed while it wrote
    leftover.touch()
    with pytest.raises(DataError, match=r"is damaged: .* Delete it; the run then goes on from step 10"):
        train(spec, tmp_path, options=EVERY_STEP)
    (tmp_path / CHECKPOINT_FILE).unlink()
    assert train(spec, tmp_path, options=EVERY_STEP).loss == train(spec, options=EVERY_STEP).loss
    assert not leftover.exists()


def pack_specs(architecture: Architecture = TINY) -> list[RunSpec]:
    recipes = [
        Recipe(learning_rate=1e-3 * (k + 1), batch_size=8, optimizer="muon" if k == 2 else "adamw")
        for k in range(3)
    ]
    return [
        make_spec(architecture=architecture, init_seed=k, data_seed=5 + k, recipe=recipe)
        for k, recipe in enumerate(recipes)
    ]


@pytest.mark.parametrize("architecture", [TINY, LLAMA], ids=["gpt2", "llama"])
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


def test_an_error_in_a_lane_is_raised_when_all_have_ended(two_threads: None) -> None:
    ended = []

    def fail() -> None:
        raise torch.OutOfMemoryError("first")

    def work() -> None:
        time.sleep(0.05)
        ended.append(torch.get_num_threads())

    with pytest.raises(torch.OutOfMemoryError, match="first"):
        Lanes().run([fail, work])
    assert ended == [1]
    assert torch.get_num_threads() == 2


def test_a_packed_run_can_be_finished_alone(tmp_path: Path) -> None:
    specs = [make_spec(init_seed=k) for k in range(2)]
    folders = [tmp_path / "0", tmp_path / "1"]
    train_packed(specs, folders, options=TrainingOptions(device="cpu", log_every=1, stop_after_step=15))
    finished = train(specs[1], folders[1], options=EVERY_STEP)
    assert finished.loss == pytest.approx(train(specs[1]).loss, abs=2e-4)  # rounding of batched matmuls


def test_accumulation_does_not_change_the_step() -> None:
    whole, parts = (train(make_spec(), options=TrainingOptions(device="cpu", micro_batch=m)) for m in (8, 3))
    assert parts.loss == pytest.approx(whole.loss, abs=1e-4)  # float32 sums in another order


def test_diverging_runs_end_as_diverged(tmp_path: Path) -> None:
    spec = make_spec(recipe=Recipe(learning_rate=1e6, batch_size=8, clip_norm=1e9))
    result = train(spec, tmp_path, options=EVERY_STEP)
    assert (result.status, result.loss) == ("diverged", None)
    assert "not finite" in str(result.reason) or "above ln V" in str(result.reason)
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "diverged"
    assert train(spec, tmp_path) == result


def test_a_diverged_member_leaves_the_rest_of_the_pack_alone() -> None:
    good, bad = make_spec(), make_spec(recipe=Recipe(learning_rate=1e6, batch_size=8, clip_norm=1e9))
    results = train_packed([good, bad], options=EVERY_STEP)
    assert [r.status for r in results] == ["done", "diverged"]
    assert results[0].loss == pytest.approx(train(good, options=EVERY_STEP).loss, abs=2e-4)


def test_memory_running_out_halves_the_micro_batch_and_keeps_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scaling.lm.losses import NextTokenLoss

    plain = train(make_spec(), options=TrainingOptions(device="cpu", micro_batch=2))
    forward = NextTokenLoss.forward

    def small_memory(self, ids, scale):
        if len(ids) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids, scale)

    monkeypatch.setattr(NextTokenLoss, "forward", small_memory)
    result = train(make_spec(), options=TrainingOptions(device="cpu"))
    assert (result.status, result.micro_batch) == ("done", 2)
    assert result.loss == pytest.approx(
        plain.loss, abs=1e-5
    )  # the same micro-batches: float32 rounding at most
    monkeypatch.setattr(NextTokenLoss, "forward", lambda *a: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    assert train(make_spec(), options=TrainingOptions(device="cpu")).status == "oom"


def test_a_compiler_that_fails_is_left_aside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def broken(*arguments: object) -> None:
        raise TorchDynamoException("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda module, **options: broken)
    options = TrainingOptions(device="cpu", compile=True, log_every=1)
    assert train(make_spec(), tmp_path, options=options).loss == train(make_spec(), options=EVERY_STEP).loss
    assert "no C++ compiler" in read_metrics(tmp_path / "metrics.jsonl")[0]["reason"]


def test_deadline_checkpoints(tmp_path: Path) -> None:
    result = train(make_spec(n_steps=10**6), tmp_path, options=TrainingOptions(device="cpu", deadline_s=0.05))
    assert (result.status, result.loss) == ("preempted", None)
    assert "deadline" in str(result.reason)
    assert (tmp_path / CHECKPOINT_FILE).exists()


DISTRIBUTED = """
import sys, json, dataclasses, torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_training import make_spec
from scaling.lm.run import TrainingOptions
from scaling.lm.training import train
out = train(make_spec(n_steps=12), {folder!r}, options=TrainingOptions(device="cpu", log_every=1, shard={shard}, micro_batch=2))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True], ids=["ddp", "fsdp2"])
def test_two_processes_give_the_loss_of_one(shard: bool, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        DISTRIBUTED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "two"), shard=shard)
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one = train(make_spec(n_steps=12), tmp_path / "one", options=EVERY_STEP)
    two = RunResult.from_dict(json.loads((tmp_path / "two" / "result.json").read_text()))
    assert two.loss == pytest.approx(one.loss, abs=1e-4)  # sums of halves round differently
    np.testing.assert_allclose(step_losses(tmp_path / "two"), step_losses(tmp_path / "one"), atol=1e-4)
    assert load_model(tmp_path / "two").architecture == TINY


def test_loss_falls_towards_the_known_entropy() -> None:
    spec = make_spec(
        n_steps=150, recipe=Recipe(learning_rate=1e-2, batch_size=16), schedule=Schedule(warmup_steps=10)
    )
    result = train(spec, options=TrainingOptions(device="cpu"))
    corpus = load_corpus("synthetic:bits=4")
    assert result.loss < math.log(32) - 1.0
    # the excess is measured on the same tokens: its error is far below that of the loss minus E
    assert result.excess == pytest.approx(
        result.loss - corpus.language.entropy().value, abs=4 * result.loss_standard_error
    )
    assert result.excess > 0


def test_evaluation_of_an_untrained_model_is_ln_v_and_skips_the_first_word() -> None:
    block = load_validation_block(load_corpus("synthetic:bits=4"), 16, 8)
    assert not block.counted[:, 0].any()
    assert block.counted[:, 1:].all()
    zero = build_model(TINY)
    nn.init.zeros_(zero.tokens.weight)
    out = evaluate(zero, block, device=torch.device("cpu"), dtype=torch.float32)
    assert out.loss == pytest.approx(math.log(32), abs=1e-6)
    assert out.n_tokens == 8 * 15


def test_validation_block_does_not_depend_on_seeds_and_bytes_are_counted(tmp_path: Path) -> None:
    from test_corpus import make_documents

    from scaling.lm.corpus import prepare_corpus
    from scaling.lm.tokenization import ByteTokenizer

    prepare_corpus(make_documents(), tmp_path / "c", ByteTokenizer(), source="t", validation_fraction=0.2)
    spec = make_spec(architecture=TINY.replace(vocab_size=257), corpus=str(tmp_path / "c"))
    result = train(spec, tmp_path / "run", options=EVERY_STEP)
    block = load_validation_block(load_corpus(tmp_path / "c"), 16, 32)
    assert block.n_bytes is not None
    expected = result.loss / math.log(2) * block.counted.sum() / block.n_bytes
    assert result.bits_per_byte == pytest.approx(expected, rel=1e-9)
    assert (tmp_path / "run" / "tokenizer.json").exists()
    assert result.excess is None


def test_wrong_folders_and_vocabularies_are_refused(tmp_path: Path) -> None:
    train(make_spec(), tmp_path / "a", options=EVERY_STEP)
    with pytest.raises(UsageError, match="holds the finished run"):
        train(make_spec(data_seed=1), tmp_path / "a")
    train(make_spec(), tmp_path / "b", options=TrainingOptions(device="cpu", stop_after_step=5))
    with pytest.raises(DataError, match="belongs to run"):
        train(make_spec(data_seed=1), tmp_path / "b")
    (tmp_path / "b" / CHECKPOINT_FILE).write_bytes(b"torn")
    with pytest.raises(DataError, match="not a readable checkpoint"):
        train(make_spec(), tmp_path / "b")
    with pytest.raises(UsageError, match="set vocab_size to at least 256"):
        train(make_spec(corpus="synthetic:bits=7"))
    with pytest.raises(UsageError, match="packed runs must agree"):
        train_packed([make_spec(), make_spec(n_steps=31)])


def test_the_folder_of_another_run_is_not_overwritten(tmp_path: Path) -> None:
    train(make_spec(), tmp_path, options=TrainingOptions(device="cpu", stop_after_step=5))
    (tmp_path / CHECKPOINT_FILE).unlink()
    config = (tmp_path / "config.json").read_text()
    with pytest.raises(UsageError, match="holds the unfinished run"):
        train(make_spec(data_seed=1), tmp_path, options=EVERY_STEP)
    assert (tmp_path / "config.json").read_text() == config
    assert train(make_spec(), tmp_path, options=EVERY_STEP).status == "done"


def test_a_run_does_not_go_on_with_a_corpus_prepared_anew(tmp_path: Path) -> None:
    from scaling.lm.corpus import prepare_corpus
    from scaling.lm.corpus.documents import Document
    from scaling.lm.tokenization import ByteTokenizer

    def prepare(word: str) -> None:
        documents = [Document(text=f"{word} {k} and {k * k}. " * 30, origin=str(k)) for k in range(40)]
        prepare_corpus(
            documents, tmp_path / "data", ByteTokenizer(), source=word, validation_fraction=0.3, force=True
        )

    prepare("seven")
    spec = make_spec(
        architecture=TINY.replace(vocab_size=257), corpus=str(tmp_path / "data"), n_eval_windows=8
    )
    train(spec, tmp_path / "run", options=TrainingOptions(device="cpu", stop_after_step=5))
    before = (tmp_path / "run" / CHECKPOINT_FILE).read_bytes()
    prepare("eight")
    with pytest.raises(DataError, match=r"is not the one .* was trained on"):
        train(spec, tmp_path / "run", options=EVERY_STEP)
    assert (tmp_path / "run" / CHECKPOINT_FILE).read_bytes() == before
    prepare("seven")
    done = train(spec, tmp_path / "run", options=EVERY_STEP)
    assert done.status == "done"
    prepare("eight")
    with pytest.raises(DataError, match="trained on another corpus"):
        train(spec, tmp_path / "run", options=EVERY_STEP)
    shutil.rmtree(tmp_path / "data")  # nothing to compare with: the result is what there is
    assert train(spec, tmp_path / "run", options=EVERY_STEP) == done


def test_a_folder_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    lock, name = tmp_path / "train.lock", socket.gethostname()
    living = {"pid": os.getpid(), "host": name, "started": None}
    lock.write_text(json.dumps(living))
    with pytest.raises(UsageError, match=f"is being trained by process {os.getpid()} on {name}"):
        train(make_spec(), tmp_path, options=EVERY_STEP)
    lock.write_text(json.dumps(living | {"host": "elsewhere"}))
    with pytest.raises(UsageError, match=r"on elsewhere; .* If that process is gone, delete"):
        train(make_spec(), tmp_path, options=EVERY_STEP)
    assert lock.exists()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock.write_text(json.dumps(living | {"pid": gone.pid}))
    assert train(make_spec(), tmp_path, options=EVERY_STEP).status == "done"
    assert not lock.exists()


def test_spec_survives_json_and_its_identity_is_its_content() -> None:
    spec = make_spec()
    again = RunSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.run_id == spec.run_id != spec.replace(init_seed=1).run_id
    assert (
        spec.trunk_id == spec.replace(n_steps=60).trunk_id != spec.replace(n_steps=60, data_seed=1).trunk_id
    )
    cosine = spec.replace(schedule=Schedule(kind="cosine"))
    assert cosine.trunk_id == cosine.run_id
    with pytest.raises(UsageError, match="decoder"):
        make_spec(
            architecture=Architecture(
                kind="encoder", n_layers=1, d_model=16, n_heads=2, vocab_size=32, context_length=16
            )
        )


def test_torn_metrics_lines_are_dropped_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    log = MetricsLog(path, resume_step=2)
    log.write(step=3, loss=float("nan"))
    log.close()
    assert read_metrics(path) == [{"step": 1}, {"step": 2}, {"step": 3, "loss": None}]


def test_gradients_are_clipped_to_the_norm_of_the_recipe() -> None:
    from scaling.lm.device import choose_device
    from scaling.lm.distributed import Processes

    spec = make_spec(recipe=Recipe(learning_rate=1e-3, batch_size=8, clip_norm=0.01))
    learner = Learner(
        [spec], choose_device("cpu"), Processes(), micro_batch=8, compile_loss=False, stack=False
    )
    _, norm = learner.step(torch.arange(136).view(1, 8, 17) % 32, [1e-3])
    assert norm.item() > 0.1  # before clipping
    assert gradient_norm(learner.members[0].parameters()).item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_reads_no_number_back_from_the_device(
    optimizer: OptimizerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.lm.device import choose_device
    from scaling.lm.distributed import Processes

    spec = make_spec(recipe=Recipe(learning_rate=1e-3, batch_size=8, optimizer=optimizer))
    device = choose_device("cpu")
    learner = Learner([spec], device, Processes(), micro_batch=4, compile_loss=False, stack=True)
    ids = torch.randint(0, 32, (1, 8, 17))
    learner.step(ids, [1e-3])  # makes the state of the optimizers

    def wait(*_: object) -> None:
        raise AssertionError("a GPU would have to be waited for here")

    with monkeypatch.context() as patched:
        for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"):
            patched.setattr(torch.Tensor, name, wait)
        loss, norm = learner.step(ids, [1e-3])
    assert loss.shape == norm.shape == (1,)
