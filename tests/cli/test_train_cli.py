"""scaling train, tokenize and corpus, as a new user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scaling.cli import cli
from scaling.errors import ScalingError, UsageError
from scaling.runs import load_runs


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def test_tokenizer_is_trained_used_and_explained(tmp_path: Path) -> None:
    text = tmp_path / "book.txt"
    text.write_text("low lower lowest newest widest " * 20)
    out = str(tmp_path / "tok.json")
    trained = run("tokenize", "train", str(text), "--vocab-size", "270", "--out", out)
    assert trained.exit_code == 0
    assert "270 entries, hash " in trained.stdout
    assert isinstance(run("tokenize", "train", str(text), "--out", out).exception, UsageError)
    encoded = json.loads(run("tokenize", "encode", "lower", "--tokenizer", out, "--json").stdout)
    ids = [str(i) for i in encoded["ids"]]
    assert run("tokenize", "decode", *ids, "--tokenizer", out).stdout == "lower\n"
    explained = run("tokenize", "explain", "low lower lowest", "--vocab-size", "261", "--show", "all").stdout
    assert "1     l     o      lo         3  256" in explained
    assert "merge 2  low" in explained


def test_a_character_vocabulary_takes_no_size(tmp_path: Path) -> None:
    text = tmp_path / "book.txt"
    text.write_text("low lower lowest")
    command = ["tokenize", "train", str(text), "--kind", "char", "--out", str(tmp_path / "tok.json")]
    refused = run(*command, "--vocab-size", "3")
    assert isinstance(refused.exception, UsageError)
    assert "--vocab-size is for --kind bpe" in str(refused.exception)
    assert "9 entries" in run(*command).stdout  # eight characters and the end of text


def test_corpus_is_prepared_shown_and_checked(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"document {i} says {i * i}"}) for i in range(300)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    out = str(tmp_path / "corpus")
    prepared = run("corpus", "prepare", str(tmp_path / "docs.jsonl"), "--tokenizer", "byte", "--out", out)
    assert prepared.exit_code == 0, prepared.exception
    assert "train" in prepared.stdout
    assert json.loads(run("corpus", "show", out, "--json").stdout)["vocab_size"] == 257
    assert run("corpus", "check", out).stdout == f"{out}: 2 shards are as they were prepared\n"


def test_gpt3_mixture_is_printed_and_recomputed() -> None:
    out = run("corpus", "mixture").stdout
    row = next(line for line in out.splitlines() if "WebText2" in line)
    assert row.split() == ["WebText2", "19B", "22%", "2.9", "3.47", "3.31", "to", "3.65", "NO"]
    shares = run(
        "corpus", "mixture", "--share", "a:3:10B", "--share", "b:1:1B", "--tokens", "8B", "--json"
    ).stdout
    assert [s["epochs"] for s in json.loads(shares)["mixture"]] == [0.6, 2.0]


def test_entropy_of_the_synthetic_language_is_shown() -> None:
    shown = json.loads(run("corpus", "show", "synthetic:bits=7,seed=0", "--json").stdout)
    assert shown["entropy_nats_per_token"] == pytest.approx(1.48212, abs=1e-5)


def test_training_reports_its_loss_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = str(tmp_path / "run")
    command = [
        "train",
        "--preset",
        "tiny",
        "--corpus",
        "synthetic:bits=4",
        "--tokens",
        "2048",
        "--batch-size",
        "2",
    ]
    trained = run(*command, "--out", out, "--device", "cpu", "--json")
    assert trained.exit_code == 0, trained.exception
    result = json.loads(trained.stdout)
    assert (result["status"], result["step"], result["n_tokens"]) == ("done", 4, 2048)
    assert isinstance(run(*command, "--out", out).exception, UsageError)
    again = run("train", "--resume", out, "--device", "cpu")
    assert "nats/token on the validation block" in again.stdout
    assert "excess" in again.stdout


WISH = ("train", "--corpus", "synthetic:bits=4", "--tokens", "2048", "--batch-size", "2", "--device", "cpu")


def test_another_number_of_threads_and_a_run_that_never_began_are_told(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from scaling.architecture import Architecture
    from scaling.lm.recipes import Recipe
    from scaling.lm.run import RunSpec, TrainingOptions
    from scaling.lm.training import train

    before = torch.get_num_threads()
    folder = tmp_path / "run"
    tiny = Architecture(n_layers=1, d_model=16, n_heads=2, vocab_size=256, context_length=16)
    recipe = Recipe(learning_rate=1e-3, batch_size=4)
    spec = RunSpec(architecture=tiny, corpus="synthetic", recipe=recipe, n_steps=6, n_eval_windows=4)
    train(spec, folder, options=TrainingOptions(device="cpu", stop_after_step=3))
    try:
        result = run("train", "--resume", str(folder), "--threads", str(before + 1))
    finally:
        torch.set_num_threads(before)
    assert result.exit_code == 0, result.output
    assert f"begun with {before} CPU threads, going on with {before + 1}" in " ".join(result.output.split())
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "train.lock").write_text("{}")
    result = run("train", "--resume", str(tmp_path / "killed"))
    assert "no run was begun in" in str(result.exception)


def test_a_stopped_run_ends_130_and_names_the_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from scaling.lm import loop

    monkeypatch.setattr(loop.Loop, "_must_stop", lambda run: True)  # as after SIGTERM
    stopped = run(*WISH, "--out", str(tmp_path / "run"))
    assert stopped.exit_code == 130, stopped.output
    assert f"\nscaling train --resume {tmp_path / 'run'}\n" in stopped.stderr
    monkeypatch.undo()
    assert run("train", "--resume", str(tmp_path / "run"), "--device", "cpu").exit_code == 0


def test_a_run_is_followed_live_and_can_be_imported(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'isoflop[logs]'")
    trained = run(*WISH, "--out", str(tmp_path / "first"), "--log", "tensorboard", "--json")
    assert trained.exit_code == 0, trained.exception
    table = tmp_path / "runs.csv"
    imported = run(
        "sweep", "import", "tensorboard", str(tmp_path / "tensorboard"), "-o", str(table), "--params", "n_params",
        "--params-convention", "total", "--tokens", "n_tokens",
    )  # fmt: skip
    assert imported.exit_code == 0, imported.exception
    result, runs = json.loads(trained.stdout), load_runs(table)
    assert (runs.run_id, runs.n_params[0], runs.n_tokens[0]) == (("first",), result["n_params"], 2048)
    assert runs.loss[0] == pytest.approx(result["loss"], rel=1e-6)  # TensorBoard keeps float32


@pytest.mark.slow
@pytest.mark.parametrize("length", [["--tokens", "2048"], ["--minutes", "0.01"]], ids=["tokens", "minutes"])
def test_two_processes_plan_one_run_and_one_of_them_speaks(length: list[str], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    launch = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "scaling",
        "train",
    ]
    wish = [
        "--corpus",
        "synthetic:bits=4",
        "--shard",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
        *length,
    ]
    done = subprocess.run(
        [sys.executable, *launch, *wish],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},  # torchrun leaves its logs behind
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("nats/token") == 2  # the loss and the excess, once
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]["batch_size"] % 2 == 0


def test_the_first_use_of_stdlib_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scaling.lm.corpus import corpora

    def stopped() -> Path:
        raise UsageError("not in this test")

    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    monkeypatch.setattr(corpora, "prepare_stdlib", stopped)
    shown = run("corpus", "show", "stdlib")
    assert "preparing the corpus stdlib, once" in " ".join(shown.stderr.split())
    trained = run("train", "--corpus", "stdlib", "--tokens", "1M")
    assert "preparing the corpus stdlib, once" in " ".join(trained.stderr.split())


def test_a_diverged_run_ends_1_and_says_what_to_change(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    diverged = run(*WISH, "--learning-rate", "1e30", "--out", str(tmp_path / "run"))
    assert diverged.exit_code == 1, diverged.output
    assert "diverged: " in diverged.stderr
    assert "lower --learning-rate" in " ".join(diverged.stderr.split())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "--corpus", "synthetic"], "say how long to train"),
        (["train", "--corpus", "synthetic", "--tokens", "1M", "--minutes", "1"], "say how long to train"),
        (["train", "--corpus", "nowhere", "--tokens", "1M"], "no corpus 'nowhere'"),
        (["train", "--preset", "gtp2", "--tokens", "1M"], "gpt2"),
        (["train", "--minutes", "0"], "--minutes must be a number above 0; got 0"),
        (["train", "--minutes", "-1"], "--minutes must be a number above 0; got -1"),
        (["train", "--minutes", "nan"], "--minutes must be a number above 0; got nan"),
        (["train", "--tokens", "1M", "--learning-rate", "0"], "--learning-rate must be a number above 0"),
        (["train", "--tokens", "1M", "--learning-rate", "inf"], "--learning-rate must be a number above 0"),
        (["train", "--tokens", "1M", "--batch-size", "-3"], "--batch-size must be a number above 0; got -3"),
        (["train", "--tokens", "1M", "--seed", "-1"], "--seed must be 0 or more"),
        (
            ["train", "--tokens", "20k", "--warmup", "1000"],
            "a warm-up of 1000 steps leaves none of the run's",
        ),
        (["train", "--tokens", "20k", "--context", "1"], "no token of a window of 1 counts"),
        (["corpus", "mixture", "--share", "web:1"], "name:weight:tokens"),
        (["tokenize", "explain", "x", "--tokenizer", "byte"], "no merges to explain"),
    ],
)
def test_wrong_requests_are_explained(args: list[str], message: str) -> None:
    pytest.importorskip("torch")
    result = run(*args)
    assert isinstance(result.exception, ScalingError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("option", "value", "limit"),
    [
        ("--seed", "9" * 30, "9223372036854775807"),
        ("--threads", "100000", "1024"),  # torch crashed
        ("--context", "1000000000", "1000000"),
        ("--minutes", "1e300", "1000000"),
    ],
)
def test_numbers_beyond_any_machine_are_refused(option: str, value: str, limit: str) -> None:
    result = run("train", "--tokens", "1M", option, value)
    assert result.exit_code == 2
    assert f"is not in the range x<={limit}" in result.stderr


def test_a_run_that_is_resumed_takes_no_other_plan(tmp_path: Path) -> None:
    from scaling.architecture import Architecture
    from scaling.lm import Recipe, RunSpec, TrainingOptions, train

    shape = Architecture(n_layers=1, d_model=16, n_heads=2, vocab_size=32, context_length=16)
    recipe = Recipe(learning_rate=1e-3, batch_size=2)
    spec = RunSpec(architecture=shape, corpus="synthetic:bits=4", recipe=recipe, n_steps=4, n_eval_windows=2)
    train(spec, tmp_path, options=TrainingOptions(device="cpu", stop_after_step=2))
    asked = run(
        "train", "--resume", str(tmp_path), "--learning-rate", "1", "--tokens", "99M", "--threads", "1"
    )
    assert isinstance(asked.exception, UsageError)
    assert "--tokens, --learning-rate cannot be changed" in str(asked.exception)
    assert not (tmp_path / "result.json").exists()


def test_a_shape_that_can_only_be_counted_is_refused_before_a_run_is_announced(tmp_path: Path) -> None:
    refused = run("train", "--preset", "chinchilla", "--tokens", "1M", "--out", str(tmp_path / "run"))
    assert isinstance(refused.exception, UsageError)
    assert "can be counted but not built" in str(refused.exception)
    assert "parameters" not in refused.stderr


def test_options_of_a_run_reach_it_and_repeated_data_is_told(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"document {i} says {i * i}"}) for i in range(300)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    corpus, out = str(tmp_path / "corpus"), tmp_path / "run"
    run("corpus", "prepare", str(tmp_path / "docs.jsonl"), "--tokenizer", "byte", "--out", corpus)
    trained = run(
        "train", "--corpus", corpus, "--tokens", "40k", "--batch-size", "8", "--context", "32", "--warmup", "7",
        "--weight-decay", "0.3", "--precision", "float32", "--eval-every", "50", "--out", str(out), "--json",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.exception
    config = json.loads((out / "config.json").read_text())
    assert config["architecture"]["context_length"] == 32
    assert config["schedule"]["warmup_steps"] == 7
    assert config["recipe"]["weight_decay"] == 0.3
    assert config["precision"] == "float32"
    kinds = [json.loads(line)["kind"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("evaluation") == 1 + (40_000 // 256 - 1) // 50
    result = json.loads(trained.stdout)
    assert result["epochs"] > 4
    assert f"is read {result['epochs']:.3g} times; beyond 4" in " ".join(trained.stderr.split())
