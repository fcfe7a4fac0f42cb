"""Training: the same numbers after a kill, in a branch, in a pack, on two processes; and honest ends."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import EVERY_STEP, TINY, make_spec, same_weights, step_losses
from torch import nn

from scaling.errors import UsageError
from scaling.lm.checkpoint import CHECKPOINT_FILE
from scaling.lm.corpus import load_corpus
from scaling.lm.device import choose_device
from scaling.lm.evaluation import evaluate, load_validation_block
from scaling.lm.metrics import read_metrics
from scaling.lm.models import build_model, load_model
from scaling.lm.optim import gradient_norm
from scaling.lm.recipes import OptimizerName, Recipe, Schedule
from scaling.lm.run import RunResult, TrainingOptions
from scaling.lm.train_step import TrainStep
from scaling.lm.training import stop_signals, train, train_branches


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
    deadline = time.monotonic() + 600
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
    out, _ = process.communicate(timeout=600)
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
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},  # torchrun leaves its logs behind
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
    out = evaluate(zero, block, choose_device("cpu"))
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


def test_gradients_are_clipped_to_the_norm_of_the_recipe() -> None:
    from scaling.lm.distributed import Processes

    spec = make_spec(recipe=Recipe(learning_rate=1e-3, batch_size=8, clip_norm=0.01))
    train_step = TrainStep(
        [spec], choose_device("cpu"), Processes(), micro_batch=8, compile_loss=False, stack=False
    )
    _, norm = train_step.step(torch.arange(136).view(1, 8, 17) % 32, [1e-3])
    assert norm.item() > 0.1  # before clipping
    assert gradient_norm(train_step.members[0].parameters()).item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_reads_no_number_back_from_the_device(
    optimizer: OptimizerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling.lm.distributed import Processes

    spec = make_spec(recipe=Recipe(learning_rate=1e-3, batch_size=8, optimizer=optimizer))
    device = choose_device("cpu")
    train_step = TrainStep([spec], device, Processes(), micro_batch=4, compile_loss=False, stack=True)
    ids = torch.randint(0, 32, (1, 8, 17))
    train_step.step(ids, [1e-3])  # makes the state of the optimizers

    def wait(*_: object) -> None:
        raise AssertionError("a GPU would have to be waited for here")

    with monkeypatch.context() as patched:
        for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"):
            patched.setattr(torch.Tensor, name, wait)
        loss, norm = train_step.step(ids, [1e-3])
    assert loss.shape == norm.shape == (1,)
