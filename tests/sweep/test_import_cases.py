"""Logs that were once imported wrongly, each as a user met it: what `scaling sweep import` writes and says today."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaling.cli import run
from scaling.runs import Runs, load_runs
from scaling.sweep.importers import from_wandb

CASES = Path(__file__).parents[1] / "cases"
LOGGED_SIZES = ("--params", "n_params", "--params-convention", "total", "--tokens", "n_tokens")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def imported(*arguments: str, code: int = 0) -> Runs | None:
    """The table that the command writes."""
    assert run(["sweep", "import", *arguments, "-o", "runs.csv", "--force"]) == code
    return load_runs("runs.csv") if code == 0 else None


def words(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on stderr, its lines joined."""
    return " ".join(capsys.readouterr().err.split())


def copied(case: str) -> None:
    shutil.copytree(CASES / case, ".", dirs_exist_ok=True)


# --- 01: evaluated every 500 steps, ended at step 1200 ---


def write_state(folder: Path, history: list[dict[str, Any]], *, steps: int = 1200, **changes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "global_step": steps, "max_steps": steps, "num_input_tokens_seen": steps * 1000,
        "total_flos": 6 * 1_000_000 * steps * 1000, "log_history": history,
    }  # fmt: skip
    (folder / "trainer_state.json").write_text(json.dumps({**state, **changes}))


def test_a_trainer_evaluated_before_its_end_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    history = [{"eval_loss": 4.2, "step": 500}, {"eval_loss": 3.9, "step": 1000}, {"loss": 3.9, "step": 1200}]
    write_state(Path("out/small"), history)
    imported("hf-trainer", "out", code=3)
    assert "small evaluated last at step 1000 of 1200" in words(capsys)
    write_state(Path("out/whole"), [*history, {"eval_loss": 3.8, "step": 1200}])
    runs = imported("hf-trainer", "out")
    assert runs is not None
    assert (runs.run_id, runs.n_tokens.tolist(), runs.loss.tolist()) == (("whole",), [1.2e6], [3.8])
    assert "small evaluated last at step 1000 of 1200" in words(capsys)


def test_what_the_message_says_takes_the_last_evaluation_with_its_own_tokens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_state(Path("out/small"), [{"eval_loss": 3.9, "step": 1000}])
    imported("hf-trainer", "out", "--steps", "1000", code=3)
    assert "--tokens-per-step" in words(capsys)  # the state counts those of step 1200
    runs = imported("hf-trainer", "out", "--steps", "1000", "--tokens-per-step", "1000")
    assert runs is not None
    assert (runs.n_tokens.tolist(), runs.step.tolist(), runs.loss.tolist()) == ([1e6], [1000.0], [3.9])


# --- 03: an untied head ---


def test_the_head_of_an_untied_model_is_not_in_its_non_embedding_parameters() -> None:
    copied("logs-03-hf-untied-head-in-N")
    per_layer = 4 * 32 * 32 + 3 * 32 * 64 + 2 * 32  # attention, gated MLP, two norms
    non_embedding, vocabulary = 2 * per_layer + 32, 500 * 32
    assert non_embedding == 20_640
    for told, N in (((), non_embedding), (("--params-convention", "total"), non_embedding + 2 * vocabulary)):
        runs = imported("hf-trainer", "out", *told)
        assert runs is not None
        assert runs.n_params.tolist() == [N]
        assert runs.convention.params == (told[-1] if told else "non_embedding")


def test_without_the_configuration_nobody_says_that_the_head_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    copied("logs-03-hf-untied-head-in-N")
    Path("out/checkpoint-60/config.json").unlink()
    runs = imported("hf-trainer", "out")
    assert runs is not None
    assert (runs.n_params.tolist(), runs.convention.params) == ([36_640.0], "unknown")
    assert "untied vocabulary head" in words(capsys)
    runs = imported("hf-trainer", "out", "--params-convention", "non_embedding")
    assert runs is not None
    assert runs.convention.params == "non_embedding"
    imported("hf-trainer", "out", "--params-convention", "total", code=3)
    assert "leaves out lookup tables" in words(capsys)


def test_a_fraction_for_n_shows_that_two_counts_are_not_of_the_same_tokens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    history = [{"eval_loss": 3.0, "step": 10}]
    write_state(Path("out"), history, steps=10, num_input_tokens_seen=9973)  # padding is not counted
    imported("hf-trainer", "out", code=3)
    assert "no whole number of parameters" in words(capsys)
    shutil.copy(CASES / "logs-03-hf-untied-head-in-N" / "out" / "checkpoint-60" / "config.json", "out")
    runs = imported("hf-trainer", "out")
    assert runs is not None
    assert (runs.n_params.tolist(), runs.n_tokens.tolist()) == ([20_640], [9973])
    assert "padding is counted in one of the two" in words(capsys)


# --- 04: two parts of one W&B id ---


@pytest.fixture(scope="module")
def two_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("wandb", reason="pip install 'isoflop[wandb]'")
    folder = tmp_path_factory.mktemp("two-parts")
    script = CASES / "logs-04-wandb-offline-two-parts" / "make.py"
    # without what wandb leaves in the environment of a process that has used it: its service
    alone = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    for part in (("1", "60", "1"), ("61", "100", "0")):
        subprocess.run([sys.executable, script, *part], check=True, cwd=folder, env=alone)
        time.sleep(1.1)  # W&B names the folder of a run by the second
    return folder / "logs"


TWO_PARTS = ("--params", "n_params", "--params-convention", "total", "--tokens-per-step", "batch")


def test_two_parts_of_a_run_that_count_from_0_again_are_not_taken_for_the_second(
    two_parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported("wandb", str(two_parts), *TWO_PARTS, code=3)
    said = words(capsys)
    assert "2 parts of run abc123 count _step from the start again (60 + 40): say --steps 100" in said
    for remedy in (("--steps", "100"), ()):
        tokens = TWO_PARTS if remedy else (*TWO_PARTS[:4], "--tokens", "100k")
        runs = imported("wandb", str(two_parts), *tokens, *remedy)
        assert runs is not None
        assert (runs.run_id, runs.n_tokens.tolist()) == (("m10",), [100_000])
        assert runs.loss.tolist() == pytest.approx([3.0])


# --- 06: two finished runs of one name ---


def test_two_finished_runs_of_one_name_in_mlflow_are_two_runs() -> None:
    pytest.importorskip("mlflow", reason="pip install 'isoflop[mlflow]'")
    from scaling.sweep.importers.mlflow import connect

    client = connect(Path("runs").resolve().as_uri())
    experiment = client.create_experiment("sizes")
    for tokens, end in ((1e7, 4.0), (2e7, 3.7)):
        name = client.create_run(experiment, run_name="gpt-small").info.run_id
        client.log_param(name, "n_params", 1_000_000)
        for s in range(1, 11):
            client.log_metric(name, "eval_loss", end + 0.1 * (10 - s), step=s)
            client.log_metric(name, "n_tokens", tokens * s / 10, step=s)
        client.set_terminated(name)
    runs = imported("mlflow", "runs", "--loss", "eval_loss", *LOGGED_SIZES)
    assert runs is not None
    assert runs.run_id == ("gpt-small", "gpt-small-2")
    assert (runs.n_tokens.tolist(), runs.loss.tolist()) == ([1e7, 2e7], [4.0, 3.7])


# --- 08: the step in a call of its own ---


class LoggedApart:
    """An API run whose eval/loss and step are in two log() calls: scan_history gives rows that hold every key."""

    name, id, state = "apart", "r1", "finished"
    config: dict[str, Any] = {"n_params": 1e6}  # noqa: RUF012
    summary: dict[str, Any] = {}  # noqa: RUF012

    def scan_history(self, keys: list[str] | None = None, **_: Any) -> Iterator[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for i in range(1, 11):
            rows.append({"trainer/global_step": i * 100, "train/loss": 3.0})
            if i % 5 == 0:
                rows.append({"eval/loss": 5 - 0.1 * i})
        for n, row in enumerate(rows):
            row["_step"] = n
            if keys is None or all(k in row for k in keys):
                yield row if keys is None else {k: row[k] for k in keys}


def test_a_loss_logged_apart_from_its_step_has_the_last_step_before_it() -> None:
    runs = from_wandb(
        [LoggedApart()], loss_key="eval/loss", step_key="trainer/global_step", n_params="n_params",
        params_convention="total", tokens_per_step=1000,
    )  # fmt: skip
    assert (runs.step.tolist(), runs.n_tokens.tolist(), runs.loss.tolist()) == ([1000], [1e6], [4.0])


# --- 09: TensorBoard's other way of writing scalars ---


def test_scalars_that_tensorboard_keeps_as_tensors_are_scalars() -> None:
    pytest.importorskip("tensorboard", reason="pip install 'isoflop[logs]'")
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    for name, N, end in (("small", 1e6, 3.8), ("large", 2e6, 3.6), ("old", 4e6, 3.5)):
        with writer(f"logs/{name}") as log:
            log.add_text("settings", "no number", 0)
            for step in (100, 200):
                values = {"eval/loss": end + (200 - step) / 1000, "n_tokens": step * 1000.0, "n_params": N}
                for tag, value in values.items():
                    log.add_scalar(tag, value, step, new_style=name != "old")
    runs = imported("tensorboard", "logs", *LOGGED_SIZES)
    assert runs is not None
    assert runs.run_id == ("large", "old", "small")
    assert runs.n_params.tolist() == [2e6, 4e6, 1e6]
    assert runs.n_tokens.tolist() == [200_000] * 3
    assert runs.loss.tolist() == pytest.approx([3.6, 3.5, 3.8], rel=1e-7)  # 32-bit floats


# --- 11: a loss that is no number ---


def test_a_loss_that_is_no_number_leaves_its_run_out_and_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    copied("logs-11-loss-is-no-number")
    runs = imported("wandb", "export.csv", *LOGGED_SIZES)
    assert runs is not None
    assert (runs.run_id, runs.loss.tolist()) == (("s2",), [3.5])
    assert "eval/loss is '-', which is no number, left out: s1" in words(capsys)
    imported("hf-trainer", "out", code=3)
    assert "the last loss is not a number, left out: out" in words(capsys)


@pytest.mark.parametrize("value", [None, "NaN", "-", True, [3.5], "3.5e999"])
def test_a_trainer_whose_loss_is_no_number_is_left_out(
    value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_state(Path("out/odd"), [{"eval_loss": value, "step": 1200}])
    write_state(Path("out/whole"), [{"eval_loss": 3.5, "step": 1200}])
    runs = imported("hf-trainer", "out")
    assert runs is not None
    assert runs.run_id == ("whole",)
    assert "the last loss is not a number, left out: odd" in words(capsys)


# --- 15: several evaluation sets ---


def test_of_several_evaluation_sets_one_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    copied("logs-15-hf-several-evaluation-sets")
    imported("hf-trainer", "out", code=2)
    said = words(capsys)
    assert "eval_code_loss, eval_web_loss" in said
    assert "--loss" in said
    runs = imported("hf-trainer", "out", "--loss", "eval_web_loss")
    assert runs is not None
    assert runs.loss.tolist() == [3.5]
    imported("hf-trainer", "out", "--loss", "eval_books_loss", code=3)
    assert "evaluated was eval_code_loss, eval_web_loss" in words(capsys)


# --- nanochat's forks ---


def test_a_fork_of_nanochat_is_asked_which_column_is_n_and_keeps_its_budgets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    copied("tables-26-nanochat-table-of-a-mixture")
    imported("nanochat", "input.csv", "--bytes-per-token", "4.5", code=2)
    assert "active_params, total_params, scaling_params" in words(capsys)
    runs = imported("nanochat", "input.csv", "--bytes-per-token", "4.5", "--params", "active_params")
    assert runs is not None
    assert len(runs) == 25
    assert runs.budget is not None
    assert sorted(set(runs.budget.tolist())) == [1e18, 3e18, 1e19, 3e19, 1e20]
    assert (runs.flops / runs.budget).tolist() == pytest.approx([1.0] * 25, rel=1e-6)  # C = 6 active D
    assert runs.convention.params == "active"
    runs = imported(
        "nanochat",
        "input.csv",
        "--bytes-per-token",
        "4.5",
        "--params",
        "active_params",
        "--params-convention",
        "total",
    )
    assert runs is not None
    assert runs.convention.params == "total"
