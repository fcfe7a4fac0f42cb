"""`scaling sweep` from the command line: what is printed, exit codes, and the careless user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaling.cli import run
from scaling.installing import extra_command
from sweeps import SPEC, invoke


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(SPEC)
    return path


def test_init_writes_a_spec_that_design_accepts(tmp_path: Path) -> None:
    invoke("init", str(tmp_path / "first"))
    printed = invoke("design", str(tmp_path / "first"), "--no-measure")
    assert "Sweep first: 38 runs at 6 budgets" in printed
    assert "of the same runs without shared trunks" in printed
    assert run(["sweep", "init", str(tmp_path / "first")]) == 2  # it exists


def test_design_as_json_holds_what_is_printed(spec: Path) -> None:
    design = json.loads(invoke("design", str(spec), "--no-measure", "--json"))
    assert (design["schema_version"], design["kind"], design["n_runs"]) == (1, "sweep_design", 6)
    assert design["wall_s"] is None
    assert design["work_flops"] < design["independent_flops"]
    assert {f["code"] for f in design["findings"]} >= {"few-budgets", "few-sizes"}
    assert all(r["flops"] / r["budget"] == pytest.approx(1, abs=0.02) for r in design["runs"])


def test_run_then_show_status_export_and_fit_table(spec: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    printed = invoke("run", str(spec), "--executor", "inline", "--quiet")
    assert "6 runs: 6 done" in printed
    assert f"fit it:  scaling sweep fit {spec}" in printed
    assert "tiny: 6 done; 100 % of the work done" in invoke("status", str(spec))
    picture = tmp_path / "status.svg"
    assert f"wrote {picture}: Progress of the sweep" in invoke("status", str(spec), "--plot", str(picture))
    status = json.loads(invoke("status", str(spec), "--json"))
    assert "6 of 6 runs done, 100 % of the compute" in picture.read_text()
    assert run(["sweep", "status", str(spec), "--plot", str(picture)]) == 2  # it exists
    assert run(["sweep", "status", str(tmp_path / "store"), "--plot", str(tmp_path / "of-a-store.svg")]) == 2
    assert (status["states"], status["fraction_done"]) == ({"done": 6}, 1.0)
    watched = invoke("status", str(spec), "--json", "--watch").splitlines()
    assert [json.loads(line)["kind"] for line in watched] == ["sweep_status"]
    shown = json.loads(invoke("show", str(spec), "--json"))
    assert (shown["schema_version"], shown["kind"]) == (1, "sweep_runs")
    assert all(r["state"] == "done" and r["loss"] > 0 for r in shown["runs"])
    assert "6 results" in invoke("export", str(spec), "-o", str(tmp_path / "out"))
    assert len(list((tmp_path / "out" / "results").glob("*.json"))) == 6
    again = tmp_path / "again"
    assert "put 6 results" in invoke("restore", str(tmp_path / "out"), "--store", str(again))
    assert "tiny: 6 done" in invoke("status", str(spec), "--store", str(again))
    for place in (tmp_path / "store", tmp_path):
        assert "store/runs.csv" in invoke("index", str(place))
    assert "no run has failed" in invoke("retry", str(spec))
    assert "6 runs: 6 done" in invoke("run", str(spec), "--executor", "inline", "--quiet")


def test_a_failed_run_gives_exit_code_4_and_its_reason(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from scaling.sweep import worker

    def fail(job: object) -> dict[str, object]:
        raise ValueError("planted")

    monkeypatch.setattr(worker, "train_job", fail)
    assert run(["sweep", "run", str(spec), "--executor", "inline", "--quiet"]) == 4
    assert "6 runs failed" in capsys.readouterr().err
    assert run(["sweep", "status", str(spec)]) == 0
    printed = capsys.readouterr().out
    assert "ValueError: planted" in printed
    assert f"try them again:  scaling sweep retry {spec}\n" in printed
    assert run(["sweep", "export", str(spec), "-o", str(spec.parent / "out")]) == 3
    assert not (spec.parent / "out").exists(), "refused before anything is written"
    assert "6 runs are free again" in invoke("retry", str(spec))


def test_a_missing_torch_is_said_before_any_run_is_begun(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from scaling.sweep import run as sweep_run

    monkeypatch.setattr(sweep_run, "find_spec", lambda name: None)
    assert run(["sweep", "run", str(spec)]) == 2
    assert extra_command("train") in capsys.readouterr().err
    assert not (spec.parent / "store").exists()
    assert run(["sweep", "design", str(spec), "--no-measure"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "kill"])
def test_an_interrupt_leaves_a_resumable_sweep_and_prints_the_command(spec: Path, number: int) -> None:
    """Real processes: the parent is told to stop while its workers train; the same command finishes the sweep."""
    pytest.importorskip("torch")
    spec.write_text(
        SPEC.replace("[4e7, 8e7]", "[4e8, 8e8]").replace("optimum_flops = 4e7", "optimum_flops = 4e8")
    )
    command = [sys.executable, "-m", "scaling", "sweep", "run", str(spec), "--slots", "2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    limit = time.monotonic() + 600  # only ends a hang
    while not list((spec.parent / "store" / "runs").glob("*/training/metrics.jsonl")):
        assert time.monotonic() < limit, "no run began"
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert f"Go on with:  scaling sweep run {spec} --slots 2\n" in err
    states = json.loads(invoke("status", str(spec), "--json"))["states"]
    assert "running" not in states
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 runs: 6 done" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["design", "absent.toml"], 1, "scaling sweep init"),
        (["run", "absent.toml"], 1, "scaling sweep init"),
        (["verify", "absent.toml"], 1, "scaling sweep init"),
        (["run", "absent.toml", "--executor", "kubernetes"], 2, "'slurm', 'ray'"),
        (["run", "absent.toml", "--lease-timeout", "1s"], 2, "at least 4 s"),
        (["run", "absent.toml", "--deadline", "soon"], 2, "90min"),
        (["retry", "absent.toml"], 1, "scaling sweep init"),
        (["index", "absent"], 1, "no store at absent"),
        (["restore", "absent"], 1, "scaling sweep export"),
        (["import", "nanochat", "x.csv", "-o", "y.csv"], 1, "there is no x.csv"),
        (["import", "tensorboard", "x", "-o", "y.csv"], 2, "--params"),
        (["import", "hf-trainer", "x", "-o", "y.csv"], 1, "trainer_state.json"),
        (["import", "hf-trainer", "x", "-o", "y.csv", "--params", "n_params"], 2, "not a number"),
        (["import", "wandb", "x", "-o", "y.csv", "--params", "1M"], 2, "--params-convention"),
        (
            ["import", "wandb", "x", "-o", "y.csv", "--params", "1M", "--params-convention", "total"],
            2,
            "--tokens",
        ),
        (
            ["import", "nanochat", "x.csv", "-o", "y.csv", "--bytes-per-token", "3"],
            1,
            "there is no x.csv",
        ),
        (
            ["import", "nanochat", "x.csv", "-o", "y.csv", "--steps", "3"],
            2,
            "--steps says nothing about nanochat",
        ),
        (
            ["import", "hf-trainer", "x", "-o", "y.csv", "--step-key", "v"],
            2,
            "--step-key says nothing about hf-trainer",
        ),
        (["import", "neptune", "x", "-o", "y.csv"], 2, "wandb"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_do(
    arguments: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    assert run(["sweep", *arguments]) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("executor", ["local", "slurm"])
def test_a_share_of_a_gpu_that_cannot_be_had_is_refused(
    spec: Path, executor: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run(["sweep", "run", str(spec), "--executor", executor, "--gpus-per-slot", "0.5", "--quiet"]) == 2
    assert {"local": "shows no GPU", "slurm": "whole GPUs"}[executor] in capsys.readouterr().err


def test_status_before_any_run_says_how_to_start(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sweep", "status", str(spec)]) == 1
    assert "scaling sweep run" in capsys.readouterr().err


def test_a_missing_file_of_sizes_is_no_mistake_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs"
    log.mkdir()
    command = ["import", "tensorboard", str(log), "-o", str(tmp_path / "runs.csv"), "--sizes", "absent.csv"]
    assert run(["sweep", *command]) == 1
    assert "absent.csv" in capsys.readouterr().err
