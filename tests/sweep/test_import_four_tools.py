"""One sweep that logged to Weights & Biases, MLflow, TensorBoard and its Trainer at once, killed and gone on: the four
imports are one table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scaling.cli import run
from scaling.runs import load_runs

pytestmark = [pytest.mark.slow, pytest.mark.oracle]
SCRIPT = Path(__file__).parent / "train_logged.py"
STEPS, TOKENS = 24, 24 * 4 * 16
NON_EMBEDDING = {
    "narrow": 888,
    "wide": 3312,
    "early": 888,
}  # 12 d^2 + 13 d of a GPT-2 layer, 2 d of the last norm


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of 24 steps: "wide" was lost at step 15 and went on from 8, "early" was lost at step 10 for good."""
    for module in ("transformers", "accelerate", "wandb", "mlflow", "tensorboard"):
        pytest.importorskip(module, reason="pip install 'isoflop[test,oracle]'")
    folder = tmp_path_factory.mktemp("logs")
    # without what the tools leave in the environment of a process that has used them
    ours = ("WANDB", "MLFLOW", "TENSORBOARD")
    alone = {name: value for name, value in os.environ.items() if not any(tool in name for tool in ours)}
    for name, width, killed_at in (
        ("narrow", 8, None),
        ("wide", 16, 15),
        ("wide", 16, None),
        ("early", 8, 10),
    ):
        command = [sys.executable, str(SCRIPT), str(folder), name, str(width)]
        command += [] if killed_at is None else [str(killed_at)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
        assert done.returncode == (0 if killed_at is None else -signal.SIGKILL), done.stderr[-2000:]
    sizes = "".join(f"{name},{N}\n" for name, N in NON_EMBEDDING.items())
    (folder / "sizes.csv").write_text(f"run,n_params\n{sizes}")
    return folder


def imported(logs: Path, tool: str, source: str, *options: str) -> list[tuple[object, ...]]:
    """The rows of a table, in order of their names."""
    table = logs / f"{tool}.csv"
    assert run(["sweep", "import", tool, str(logs / source), "-o", str(table), "--force", *options]) == 0
    runs = load_runs(table)
    assert runs.convention.params == "non_embedding"
    assert runs.step is not None
    columns = (runs.run_id, runs.n_params, runs.n_tokens, runs.flops, runs.step, runs.loss)
    return sorted(zip(*(list(column) for column in columns)))


def test_four_tools_that_logged_one_sweep_give_one_table(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ("--params-convention", "non_embedding", "--sizes", str(logs / "sizes.csv"))
    reported = ("--tokens", "train/num_input_tokens_seen", *told)
    trainer = imported(logs, "hf-trainer", "trainer")  # counts the model of its config.json
    assert [row[:5] for row in trainer] == [
        (name, N, TOKENS, 6.0 * N * TOKENS, STEPS) for name, N in NON_EMBEDDING.items() if name != "early"
    ]
    assert "early at step 8 of 24" in capsys.readouterr().err
    assert imported(logs, "wandb", "wandb", "--step-key", "train/global_step", *reported) == trainer
    assert "early" in capsys.readouterr().err
    mlflow = ("--loss", "eval_loss", "--tokens", "num_input_tokens_seen", *told)
    assert imported(logs, "mlflow", "mlflow.db", *mlflow) == trainer
    assert "unfinished, left out: early at step 8" in capsys.readouterr().err
    # event files do not say how a run ended: the planned steps do
    assert imported(logs, "tensorboard", "tensorboard", "--steps", str(STEPS), *reported) == trainer
    assert "early at step 8 of 24" in capsys.readouterr().err
    with_early = imported(logs, "tensorboard", "tensorboard", *reported)
    assert [row for row in with_early if row[0] != "early"] == trainer
    assert "does not record whether a run ended" in " ".join(capsys.readouterr().err.split())
