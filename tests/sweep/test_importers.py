"""Logs of other tools, written by these tools themselves: what is finished, once, with the sizes asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import falling

from scaling.errors import DataError, UsageError
from scaling.sweep.importers import (
    ConventionError,
    from_hf_trainer,
    from_mlflow,
    from_nanochat,
    from_tensorboard,
)
from scaling.sweep.importers.logged import LoggedRun, to_runs

TRAINER_LOGS = Path(__file__).parent / "hf_trainer"  # write.py there wrote them with transformers' Trainer
NARROW_NON_EMBEDDING, WIDE_NON_EMBEDDING = 888, 3312  # 12 d^2 + 13 d per GPT-2 layer, + 2 d for the last norm


# --- transformers ---


def test_hf_trainer_gives_the_last_checkpoint_of_each_finished_run() -> None:
    runs = from_hf_trainer(TRAINER_LOGS)
    assert runs.run_id == ("narrow", "wide")
    assert runs.n_params.tolist() == pytest.approx([NARROW_NON_EMBEDDING, WIDE_NON_EMBEDDING])
    assert runs.n_tokens.tolist() == [12 * 4 * 16] * 2
    assert runs.convention.params == "non_embedding"
    state = json.loads((TRAINER_LOGS / "wide" / "checkpoint-12" / "trainer_state.json").read_text())
    assert runs.loss[1] == [e["eval_loss"] for e in state["log_history"] if "eval_loss" in e][-1]
    assert any("stopped at step 6 of 12" in note for note in runs.notes)


def test_hf_trainer_takes_sizes_by_run_and_asks_what_they_count(tmp_path: Path) -> None:
    sizes = {"narrow": 1400.0, "wide": 4080.0, "stopped": 4080.0}
    runs = from_hf_trainer(TRAINER_LOGS, n_params=sizes, params_convention="total", tokens_per_step=100)
    assert runs.n_params.tolist() == [1400, 4080]
    assert runs.n_tokens[0] == 768  # the log says how many, and is believed
    with pytest.raises(ConventionError, match="params_convention"):
        from_hf_trainer(TRAINER_LOGS, n_params=1e6)
    with pytest.raises(UsageError, match="no entry for run 'stopped'"):
        from_hf_trainer(TRAINER_LOGS, n_params={"narrow": 1.0, "wide": 2.0}, params_convention="total")


def edited_state(folder: Path, **changes: Any) -> None:
    state = json.loads((TRAINER_LOGS / "wide" / "checkpoint-12" / "trainer_state.json").read_text())
    (folder / "trainer_state.json").write_text(json.dumps({**state, **changes}))


def test_hf_trainer_asks_for_what_the_log_does_not_say(tmp_path: Path) -> None:
    edited_state(tmp_path, num_input_tokens_seen=0, total_flos=0)  # as without include_num_input_tokens_seen
    with pytest.raises(DataError, match="tokens_per_step"):
        from_hf_trainer(tmp_path)
    with pytest.raises(DataError, match="n_params"):
        from_hf_trainer(tmp_path, tokens_per_step=64)
    runs = from_hf_trainer(tmp_path, tokens_per_step=64, n_params=1e6, params_convention="total")
    assert runs.flops[0] == pytest.approx(6 * 1e6 * 768)
    edited_state(tmp_path, log_history=[{"loss": 3.0, "step": 12}])
    with pytest.raises(DataError, match="no eval_loss"):
        from_hf_trainer(tmp_path)
    (tmp_path / "trainer_state.json").write_text("{}")
    with pytest.raises(DataError, match="not a Trainer's state"):
        from_hf_trainer(tmp_path)
    with pytest.raises(DataError, match=r"no trainer_state\.json"):
        from_hf_trainer(tmp_path / "nothing")


def test_hf_trainer_leaves_out_a_run_killed_before_its_first_evaluation(tmp_path: Path) -> None:
    for name in ("early", "wide"):
        (tmp_path / name).mkdir()
    edited_state(tmp_path / "wide")
    edited_state(tmp_path / "early", log_history=[{"loss": 3.0, "step": 1}], global_step=1)
    runs = from_hf_trainer(tmp_path)
    assert runs.run_id == ("wide",)
    assert "no loss logged, left out: early" in runs.notes


# --- TensorBoard ---


def test_tensorboard_gives_the_last_loss_of_each_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    for name, last in (("a", 200), ("b", 200), ("stopped", 120)):
        with writer(str(tmp_path / name)) as log:
            for step in range(20, last + 1, 20):
                log.add_scalar("eval/loss", 4.0 - step / 100, step)
    sizes = {"a": 1e6, "b": 2e6, "stopped": 4e6}
    options = {"n_params": sizes, "params_convention": "total", "tokens_per_step": 500}
    runs = from_tensorboard(tmp_path, loss_tag="eval/loss", n_steps=200, **options)  # type: ignore[arg-type]
    assert runs.run_id == ("a", "b")
    assert runs.loss.tolist() == pytest.approx([2.0, 2.0])
    assert runs.n_tokens.tolist() == [100_000, 100_000]
    assert any("stopped at step 120 of 200" in note for note in runs.notes)
    with pytest.raises(DataError, match="it has eval/loss"):
        from_tensorboard(tmp_path, loss_tag="loss", **options)  # type: ignore[arg-type]
    with pytest.raises(ConventionError, match="what N counts"):
        from_tensorboard(tmp_path, loss_tag="eval/loss", n_params=1e6, tokens_per_step=1)
    with pytest.raises(UsageError, match="no entry for run 'b'"):
        from_tensorboard(
            tmp_path, loss_tag="eval/loss", n_params={"a": 1.0}, params_convention="total", tokens_per_step=1
        )


def test_tensorboard_leaves_out_what_has_no_loss_and_the_folder_of_add_hparams(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    with writer(str(tmp_path / "killed")) as log:
        log.add_scalar("train/loss", 9.0, 1)
    with writer(str(tmp_path / "whole")) as log:
        log.add_scalar("eval/loss", 2.0, 200)
        log.add_hparams({"lr": 0.1}, {"eval/loss": 2.0}, run_name="settings")
    runs = from_tensorboard(
        tmp_path, loss_tag="eval/loss", n_params=1e6, params_convention="total", tokens_per_step=500
    )
    assert runs.run_id == ("whole",)
    assert "no loss logged, left out: killed, whole/settings" in runs.notes


# --- MLflow ---


def log_to_mlflow(client: Any, experiment: str, name: str, last: int, status: str, **parameters: Any) -> None:
    run = client.create_run(experiment, run_name=name).info.run_id
    for key, value in parameters.items():
        client.log_param(run, key, value)
    for step, loss in falling(last):
        client.log_metric(run, "eval/loss", loss, step=step)
    if status != "RUNNING":
        client.set_terminated(run, status)


@pytest.fixture(scope="module", params=["folder", "sqlite"])
def mlflow_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local tracking store of either kind, written by mlflow."""
    pytest.importorskip("mlflow", reason="pip install 'isoflop[mlflow]'")
    from scaling.sweep.importers.mlflow import connect

    folder = tmp_path_factory.mktemp("mlflow")
    path = folder / "mlruns" if request.param == "folder" else folder / "mlflow.db"
    client = connect(path.as_uri() if request.param == "folder" else f"sqlite:///{path}")
    experiment = client.create_experiment("sweep", artifact_location=(folder / "artifacts").as_uri())
    log_to_mlflow(client, experiment, "big", 100, "FAILED", n_params=2_000_000)
    log_to_mlflow(client, experiment, "small", 200, "FINISHED", n_params=1_000_000)
    log_to_mlflow(client, experiment, "big", 200, "FINISHED", n_params=2_000_000)
    log_to_mlflow(client, experiment, "going", 140, "RUNNING", n_params=1_000_000, seed=1)
    log_to_mlflow(client, experiment, "silent", 0, "FINISHED", n_params=1_000_000, seed=2)
    return path


def test_mlflow_gives_each_finished_run_once(mlflow_store: Path) -> None:
    options: dict[str, Any] = {"n_params": "n_params", "params_convention": "total", "tokens_per_step": 500}
    runs = from_mlflow(mlflow_store, loss_key="eval/loss", experiment="sweep", **options)
    assert dict(zip(runs.run_id, runs.n_params)) == {"big": 2e6, "small": 1e6}
    assert runs.loss.tolist() == pytest.approx([2.0, 2.0])
    assert "going at step 140" in " ".join(runs.notes)
    assert "no loss logged, left out: silent" in runs.notes
    with pytest.raises(DataError, match=r"no experiment 'other'; it has .*sweep"):
        from_mlflow(mlflow_store, loss_key="eval/loss", experiment="other", **options)
    with pytest.raises(DataError, match="no run has logged the metric 'val'"):
        from_mlflow(mlflow_store, loss_key="val", **options)
    with pytest.raises(ConventionError, match="what N counts"):
        from_mlflow(mlflow_store, loss_key="eval/loss", n_params="n_params", tokens_per_step=1)


def test_mlflow_says_when_there_is_no_store(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install 'isoflop[mlflow]'")
    options: dict[str, Any] = {
        "loss_key": "x",
        "n_params": 1.0,
        "params_convention": "total",
        "tokens_per_step": 1,
    }
    with pytest.raises(DataError, match="no MLflow store at"):
        from_mlflow(tmp_path / "mlflow.db", **options)
    assert not (tmp_path / "mlflow.db").exists(), "reading creates nothing"
    (tmp_path / "notes.db").write_text("no database")
    with pytest.raises(DataError, match="cannot be read as an MLflow store"):
        from_mlflow(tmp_path / "notes.db", **options)


# --- what all share ---


def run(run_id: str, step: int, **more: Any) -> LoggedRun:
    return LoggedRun(run_id=run_id, n_params=1e6, n_tokens=step * 1e3, loss=2.0 + 1 / step, step=step, **more)


def test_a_finished_log_is_taken_before_one_that_got_farther_without_ending() -> None:
    logs = [run("a", 100, ended_well=True), run("a", 150, ended_well=False), run("b", 90), run("b", 90)]
    runs = to_runs(logs, source="x", params_convention="total")
    assert (runs.run_id, runs.step.tolist()) == (("a", "b"), [100, 90])  # type: ignore[union-attr]


def test_two_ends_under_one_name_are_two_runs_and_refused() -> None:
    """An IsoFLOP table named by size once lost all but its longest budget."""
    ends = [run("20M", n, n_steps_planned=n, ended_well=True) for n in (100, 200)]
    with pytest.raises(DataError, match=r"two finished logs are named '20M'.*Export the column ID"):
        to_runs(ends, source="x", params_convention="total")
    relaunched = [
        run("20M", 100, ended_well=True),
        run("20M", 100, ended_well=True),
        run("20M", 60, ended_well=False),
    ]
    assert to_runs(relaunched, source="x", params_convention="total").step.tolist() == [100]  # type: ignore[union-attr]


def test_different_runs_of_one_name_are_kept_apart() -> None:
    logs = [run("gpt", 100, identity="gpt 1"), run("gpt", 100, identity="gpt 2")]
    assert to_runs(logs, source="x", params_convention="total").run_id == ("gpt", "gpt-2")


# --- nanochat ---


# the header that runs/scaling_laws.sh wrote in January 2026
NANOCHAT = (
    "flops_budget,depth,model_dim,params_wte,params_value_embeds,params_lm_head,params_transformer,params_scalars,"
    "params_total,num_iterations,tokens_trained,val_bpb,core_score,train_time_sec\n"
    "1e18,8,512,16777216,8388608,16777216,25165824,24,67108888,1500,786432000,0.95,0.05,600\n"
    "1e18,10,640,20971520,10485760,20971520,49152000,30,101580830,1100,576716800,0.94,0.06,600\n"
    "1e18,12,768,0,0,0,0,0,0,0,0,0.0,0.0,3\n"
)


def test_a_wrong_number_of_nanochat_is_told_by_its_line_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    head = "flops_budget,depth,params_total,tokens_trained,val_bpb"
    path.write_text(f"{head}\n1e18,8,0,0,0\n1e18,10,69000000,2400000000,1.06\n1e18,12,69000000,-5,1.05\n")
    with pytest.raises(
        DataError, match=r"results\.csv, line 4, column tokens_trained: '-5' is no number above 0"
    ):
        from_nanochat(path, bytes_per_token=4.8)
    for wrong in (-4.8, 0.0, float("nan"), 4800.0):
        with pytest.raises(UsageError, match="3 to 6 for most tokenizers"):
            from_nanochat(path, bytes_per_token=wrong)


def test_nanochat_rows_of_zeros_are_crashed_runs(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(NANOCHAT)
    runs = from_nanochat(path, bytes_per_token=4.0)
    assert len(runs) == 2
    assert runs.loss[0] == pytest.approx(0.95 * math.log(2) * 4)
    assert any("crashed, left out: d12" in note for note in runs.notes)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a results"):
        from_nanochat(path, bytes_per_token=4.0)


@pytest.mark.parametrize("went_on", [False, True])
def test_the_last_event_counts_in_whatever_order_the_files_of_a_run_are_read(
    tmp_path: Path, went_on: bool
) -> None:
    """A run that went on has two event files; TensorBoard reads them by name, and names may sort the wrong way."""
    pytest.importorskip("tensorboard", reason="pip install 'isoflop[logs]'")
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for suffix, step in ((".9", 100), (".10", 200)):  # ".10" is read first
        writer = EventFileWriter(str(tmp_path / "r"), filename_suffix=suffix)
        if went_on:  # as SummaryWriter(purge_step=...) begins: what stands behind that step was lost
            start = SessionLog(status=SessionLog.START)
            writer.add_event(Event(wall_time=step, step=step - 50, session_log=start))
        tags = {"eval/loss": 4.0 - step / 100, "n_tokens": 32.0 * step, "n_params": 1000.0, "n_steps": 200.0}
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in tags.items()]
        writer.add_event(Event(wall_time=step, step=step, summary=Summary(value=values)))
        writer.close()
    for old in (tmp_path / "r").iterdir():
        old.rename(old.parent / f"events.out.tfevents.1{old.suffix}")
    logged = from_tensorboard(
        tmp_path, loss_tag="eval/loss", n_params="n_params", params_convention="total",
        n_tokens="n_tokens", n_steps="n_steps",
    )  # fmt: skip
    assert logged.loss.tolist() == [2.0]
    assert logged.n_tokens.tolist() == [6400.0]


def test_what_is_no_mlflow_store_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """MLflow itself makes a database of an empty file, and names its retries at length where no server answers."""
    pytest.importorskip("mlflow")
    options: dict[str, Any] = {
        "loss_key": "v",
        "n_params": 1.0,
        "params_convention": "total",
        "n_tokens": 1.0,
    }
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(DataError, match="neither a folder nor an SQLite file"):
        from_mlflow(empty, **options)
    assert empty.stat().st_size == 0
    with pytest.raises(DataError, match="holds no MLflow experiment"):
        from_mlflow(tmp_path, **options)
