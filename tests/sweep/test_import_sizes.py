"""N and D of a run: mixtures, runs that lack a size, columns that say what they count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaling.cli import run
from scaling.errors import DataError
from scaling.runs import load_runs
from scaling.sweep.importers import from_hf_trainer, from_mlflow, from_nanochat, from_wandb

MIXTURE = {
    "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8, "vocab_size": 500,
    "num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": False, "max_position_embeddings": 64,
}  # fmt: skip
EXPERT = 3 * 32 * 64
BLOCK = 4 * 32 * 32 + 4 * 32 + 2 * 32  # attention, router, two norms
ACTIVE = 2 * (BLOCK + 2 * EXPERT) + 32 + 2 * 500 * 32  # two of four experts; last norm, table and head
TOTAL = ACTIVE + 2 * 2 * EXPERT


def write_state(folder: Path, step: int = 10, *, tokens: int | None = 10_000, of: int = 10) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "global_step": step, "max_steps": of, "num_input_tokens_seen": tokens, "total_flos": 0,
        "log_history": [{"eval_loss": 4.0 - step / 100, "step": step}],
    }  # fmt: skip
    (folder / "trainer_state.json").write_text(json.dumps(state))
    (folder / "config.json").write_text(json.dumps(MIXTURE))


@pytest.mark.parametrize(("convention", "N"), [("active", ACTIVE), ("total", TOTAL)])
def test_the_count_of_a_mixture_is_that_of_the_convention_asked_for(
    tmp_path: Path, convention: str, N: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_state(tmp_path / "out")
    table = tmp_path / "runs.csv"
    command = ["sweep", "import", "hf-trainer", str(tmp_path / "out"), "-o", str(table)]
    assert run(command) == 3
    assert "--params-convention) total or active" in " ".join(capsys.readouterr().err.split())
    assert run([*command, "--params-convention", convention]) == 0
    runs = load_runs(table)
    assert (runs.n_params.tolist(), runs.convention.params) == ([N], convention)


def test_checkpoints_of_one_trainer_are_no_further_logs(tmp_path: Path) -> None:
    for step in (4, 8, 10):
        write_state(tmp_path / "out" / f"checkpoint-{step}", step)
    runs = from_hf_trainer(tmp_path, params_convention="active")
    assert (runs.step.tolist(), runs.notes) == ([10], ())


def test_a_trainer_whose_tokens_are_not_recorded_is_left_out_where_others_record_them(tmp_path: Path) -> None:
    write_state(tmp_path / "silent", tokens=None)
    with pytest.raises(DataError, match="--tokens-per-step"):
        from_hf_trainer(tmp_path, params_convention="active")
    write_state(tmp_path / "whole")
    runs = from_hf_trainer(tmp_path, params_convention="active")
    assert runs.run_id == ("whole",)
    assert any("does not record the tokens" in note and "left out: silent" in note for note in runs.notes)


def test_a_run_that_has_not_logged_a_size_is_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    told: dict[str, Any] = {"n_params": "n", "params_convention": "active", "n_tokens": "D"}
    path.write_text("Name,n,D,eval/loss\na,1e6,1e7,4\nb,,1e7,3.9\nc,1e6,many,3.9\n")
    runs = from_wandb(path, loss_key="eval/loss", **told)
    assert (runs.run_id, runs.convention.params) == (("a",), "active")
    assert "has logged no 'n' for n_params, left out: b" in runs.notes
    assert any("D is 'many'" in note and "left out: c" in note for note in runs.notes)
    path.write_text("Name,D,eval/loss\nb,1e7,3.9\n")
    with pytest.raises(DataError, match="run 'b' has logged no 'n' for n_params; it has eval/loss, D, Name"):
        from_wandb(path, loss_key="eval/loss", **told)


def test_a_run_of_mlflow_without_a_size_does_not_end_the_import(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install 'isoflop[mlflow]'")
    from scaling.sweep.importers.mlflow import connect

    client = connect((tmp_path / "mlruns").as_uri())
    experiment = client.create_experiment("e")
    for name in ("with", "without"):
        logged = client.create_run(experiment, run_name=name).info.run_id
        if name == "with":
            client.log_param(logged, "n_params", "1M")
        client.log_metric(logged, "eval_loss", 3.0, step=10)
        client.set_terminated(logged)
    runs = from_mlflow(
        tmp_path / "mlruns",
        loss_key="eval_loss",
        n_params="n_params",
        params_convention="total",
        tokens_per_step=10,
    )
    assert runs.run_id == ("with",)
    assert "has logged no 'n_params' for n_params, left out: without" in runs.notes


# --- nanochat: what a column counts, budgets, older logs ---


@pytest.mark.parametrize(
    ("column", "convention"),
    [
        ("params_total", "total"), ("num_params", "total"), ("params_transformer", "non_embedding"),
        ("active_params", "active"), ("params_active", "active"), ("num_scaling_params", "unknown"),
        ("scaling_params", "unknown"),
    ],
)  # fmt: skip
def test_the_convention_is_that_of_the_column(tmp_path: Path, column: str, convention: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(f"depth,{column},tokens_trained,val_loss\n8,42000000,3900000000,3.1\n")
    runs = from_nanochat(path, loss_key="val_loss", n_params=column)
    assert (runs.convention.params, runs.n_params.tolist()) == (convention, [4.2e7])


@pytest.mark.parametrize(("convention", "N"), [("total", 9e8), ("active", 3e8), ("non_embedding", 2e8)])
def test_of_several_columns_the_one_of_the_convention_asked_for_is_n(
    tmp_path: Path, convention: str, N: float
) -> None:
    path = tmp_path / "results.csv"
    path.write_text(
        "depth,params_total,params_active,params_transformer,tokens_trained,val_loss\n12,9e8,3e8,2e8,5e9,3.1\n"
    )
    runs = from_nanochat(path, loss_key="val_loss", params_convention=convention)
    assert (runs.n_params.tolist(), runs.convention.params) == ([N], convention)


@pytest.mark.parametrize("name", ["flops_budget", "target_flops", "compute_budget", "budget"])
def test_a_budget_is_kept_under_the_names_of_forks_and_compared_with_6ND(tmp_path: Path, name: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(
        f"{name},depth,n_params,tokens_trained,val_loss\n1e18,12,100000000,1600000000,3.1\n1e18,14,300000000,1000000,3.2\n"
    )
    runs = from_nanochat(path, loss_key="val_loss")
    assert runs.budget is not None
    assert runs.budget.tolist() == [1e18, 1e18]
    assert any(
        "6ND is far from the budget" in note and "1e18-d14 (0.0018 of it)" in note for note in runs.notes
    )
    assert not any("1e18-d12 (" in note for note in runs.notes)


def test_a_table_without_the_loss_is_said_before_bytes_per_token_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("target_flops,depth,n_params,tokens_trained,val_loss\n1e18,12,3e8,5e8,3.1\n")
    with pytest.raises(DataError, match=r"lacks val_bpb.*val_loss.*--loss"):
        from_nanochat(path)


def test_older_logs_of_nanochat_say_their_parameters_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "d12_train.log").write_text(
        "Number of parameters: 286,261,788 (scaling: 110,100,960)\n"
        "Calculated number of iterations from target data:param ratio: 2,000\n"
        "Total number of training tokens: 1,048,576,000\nStep 02000 | Validation bpb: 0.9510\n"
    )
    runs = from_nanochat(tmp_path, bytes_per_token=4.8)
    assert (runs.n_params.tolist(), runs.convention.params) == ([286_261_788], "total")
    runs = from_nanochat(tmp_path, bytes_per_token=4.8, n_params="num_scaling_params")
    assert runs.n_params.tolist() == [110_100_960]
