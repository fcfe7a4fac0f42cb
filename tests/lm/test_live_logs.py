"""Live logs: what a tool has recorded of a run is what the importer of that tool reads back; a failing one harms none."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest
from test_training import make_spec, step_losses

from scaling.errors import UnknownNameError
from scaling.lm import live_logs
from scaling.lm.run import LOG_TOOLS, LogTo, RunSpec, TrainingOptions
from scaling.lm.train_step import TrainStep
from scaling.lm.training import train, train_packed
from scaling.runs import Runs
from scaling.sweep import spec as sweep_spec
from scaling.sweep.importers import from_mlflow, from_tensorboard, from_wandb

SPEC = make_spec(n_steps=12)
SIZES: dict[str, Any] = {
    "n_params": "n_params", "params_convention": "total", "n_tokens": "n_tokens", "n_steps": "n_steps",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=LOG_TOOLS)
def tool(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"needs {request.param}: pip install '.[test]'")
    return str(request.param)


def options(tool: str, folder: Path, **more: Any) -> TrainingOptions:
    names = more.pop("names", ("first",))
    log_to = LogTo(tools=(tool,), folder=str(folder / "logs"), names=names)
    return TrainingOptions(device="cpu", log_every=3, log_to=log_to, **more)


def read_back(tool: str, folder: Path, loss: str = "eval/loss") -> Runs:
    logs = folder / "logs"
    if tool == "tensorboard":
        return from_tensorboard(logs / "tensorboard", loss_tag=loss, **SIZES)
    if tool == "mlflow":
        return from_mlflow(logs / "mlflow.db", loss_key=loss, experiment="scaling", **SIZES)
    import wandb

    wandb.teardown()  # waits until the file is whole
    return from_wandb(logs, loss_key=loss, **SIZES)


def test_what_a_tool_recorded_is_what_its_importer_reads(tool: str, tmp_path: Path) -> None:
    result = train(SPEC, tmp_path / "run", options=options(tool, tmp_path))
    runs = read_back(tool, tmp_path)
    assert runs.run_id == ("first",)
    # TensorBoard keeps float32
    assert runs.loss[0] == pytest.approx(result.loss, rel=1e-6 if tool == "tensorboard" else 0)
    assert (runs.n_params[0], runs.n_tokens[0]) == (result.n_params, result.n_tokens)
    train_losses = read_back(tool, tmp_path, "train/loss")
    assert train_losses.loss[0] == pytest.approx(step_losses(tmp_path / "run")[-1], rel=1e-6)


def test_a_run_that_was_stopped_is_one_run_when_it_has_gone_on(tool: str, tmp_path: Path) -> None:
    from scaling.errors import DataError

    stopped = train(SPEC, tmp_path / "run", options=options(tool, tmp_path, stop_after_step=7))
    assert stopped.status == "preempted"
    with pytest.raises(DataError, match=r"no finished run|has a scalar|no run below|has logged"):
        read_back(tool, tmp_path)
    result = train(SPEC, tmp_path / "run", options=options(tool, tmp_path))
    runs = read_back(tool, tmp_path)
    assert runs.run_id == ("first",)
    assert runs.loss[0] == pytest.approx(result.loss, rel=1e-6)


def test_runs_of_a_pack_are_runs_of_the_tool(tool: str, tmp_path: Path) -> None:
    specs = [SPEC, SPEC.replace(init_seed=1)]
    places = [tmp_path / "a", tmp_path / "b"]
    results = train_packed(specs, places, options=options(tool, tmp_path, names=("a", "b")))
    runs = read_back(tool, tmp_path)
    assert dict(zip(runs.run_id, runs.loss)) == pytest.approx(
        {name: r.loss for name, r in zip(("a", "b"), results)}, rel=1e-6
    )


def test_a_run_that_fails_is_marked_as_failed(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    kind = {
        "tensorboard": live_logs.TensorBoardLog,
        "wandb": live_logs.WandbLog,
        "mlflow": live_logs.MlflowLog,
    }[tool]
    close = kind.close

    def remember(self: Any, status: str) -> None:
        closed.append(status)
        close(self, status)

    def fail(self: TrainStep, *arguments: object) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(kind, "close", remember)
    monkeypatch.setattr(TrainStep, "step", fail)
    with pytest.raises(ValueError, match="planted"):
        train(SPEC, tmp_path / "run", options=options(tool, tmp_path))
    assert closed == ["failed"]


class Broken:
    """A tool that fails when it is opened, when it is written to, or when it is closed."""

    def __init__(self, when: str) -> None:
        self.when = when

    def __call__(self, *arguments: object) -> Broken:
        self._fail("open")
        return self

    def log(self, values: object, step: int) -> None:
        self._fail("log")

    def close(self, status: str) -> None:
        self._fail("close")

    def _fail(self, at: str) -> None:
        if at == self.when:
            raise RuntimeError("no route to host\nand a long story")


@pytest.mark.parametrize("when", ["open", "log", "close"])
def test_a_tool_that_fails_is_said_once_and_changes_no_number(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live_logs, "WandbLog", Broken(when))
    result = train(SPEC, tmp_path / "logged", options=options("wandb", tmp_path))
    told = capsys.readouterr().err
    assert told == "note: logging to wandb failed (no route to host); the run goes on without it.\n"
    plain = train(
        SPEC, tmp_path / "plain", options=dataclasses.replace(options("wandb", tmp_path), log_to=None)
    )
    assert result.loss == plain.loss
    assert step_losses(tmp_path / "logged") == step_losses(tmp_path / "plain")


def test_a_server_that_does_not_answer_is_left_aside_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow", reason="pip install 'isoflop[mlflow]'")
    with socket.socket() as closed:
        closed.bind(
            ("127.0.0.1", 0)
        )  # bound, not listening: a port that refuses, and that no neighbour can take
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert train(SPEC, tmp_path / "run", options=options("mlflow", tmp_path)).status == "done"
    assert "logging to mlflow failed" in capsys.readouterr().err


def test_only_known_tools_are_asked() -> None:
    with pytest.raises(UnknownNameError, match="tensorboard"):
        LogTo(tools=("tensorbord",), folder="x")
    assert sweep_spec.LOG_TOOLS == LOG_TOOLS


def test_settings_hold_every_field_of_a_run() -> None:
    settings = live_logs.run_settings(SPEC)
    assert settings["n_params"] == SPEC.n_params
    assert settings["recipe.learning_rate"] == SPEC.recipe.learning_rate
    rebuilt: dict[str, Any] = {k: v for k, v in settings.items() if "." not in k}
    for section in ("architecture", "recipe", "schedule"):
        start = f"{section}."
        rebuilt[section] = {k.removeprefix(start): v for k, v in settings.items() if k.startswith(start)}
    described = {k: v for k, v in rebuilt.items() if k not in ("n_params", "flops", "tokens_per_step")}
    assert RunSpec.from_dict(described) == SPEC
