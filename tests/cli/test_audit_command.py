"""`scaling audit`: what it prints, its JSON, and how it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from scaling.cli import run
from scaling.cli.audit import audit

CONFIGS = Path(__file__).resolve().parents[1] / "cases" / "tables-24-hugging-face-config"


def invoke(*args):
    result = CliRunner().invoke(audit, args)
    assert result.exit_code == 0, result.output
    return result


def test_default_audits_the_deck_within_100_columns():
    result = invoke("--show", "models")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    lines = lines[2:]  # below the title
    assert [line.split()[0] for line in lines[1:7]] == [
        "LaMDA",
        "GPT-3",
        "Jurassic-1",
        "Gopher",
        "MT-NLG",
        "Chinchilla",
    ]
    assert lines[4].split()[1:9] == ["280B", "300B", "5.04e23", "1.07", "68.3B", "1.23T", "64.8B", "17x"]
    assert (
        "every model lies outside the runs behind the law (1.4e18 to 1.3e22 FLOPs), by up to 66 times"
        in " ".join(invoke("--show", "doubts").stdout.split())
    )


def test_a_long_name_keeps_the_table_within_100_columns():
    result = invoke("jurassic-1-jumbo-178b", "llama 3 8b", "deepseek-v3")
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_one_model_gets_a_paragraph_with_its_interval():
    answer, *rest = invoke("gpt-3").stdout.splitlines()
    assert answer == "GPT-3 175B is under-trained: 3.26 times too large for its compute."
    screen = "\n".join(rest)
    assert "38.4B to 80.8B" in screen
    assert "its size lies outside the interval of the optimum" in screen
    assert "39 % of its 3.14e23 FLOPs" in screen
    text = " ".join(invoke("gpt-3", "--show", "models").stdout.split())
    assert "under-trained: 1.72 tokens per parameter, 0.0943 times the optimum; 3.26 times too large" in text
    assert "params 95 %" in text
    assert "of the compute is wasted" in text


def test_a_model_given_by_numbers():
    payload = json.loads(invoke("--params", "7B", "--tokens", "2T", "--json").stdout)
    (model,) = payload["models"]
    assert model["flops"] == 6 * 7e9 * 2e12
    assert model["verdict"] == "over-trained"
    assert model["optimal"]["n_params"] > 7e9
    assert 0 < model["wasted_compute_fraction"] < 1
    assert payload["law"]["name"] == "besiroglu"


def test_a_frontier_law_leaves_losses_out():
    payload = json.loads(invoke("gopher", "--law", "20:1", "--json").stdout)
    assert payload["models"][0]["excess_loss"] is None
    assert "-" in invoke("gopher", "--law", "20:1").stdout


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["gpt5"], 2, "unknown model 'gpt5'; did you mean"),
        (["--params", "7B"], 2, "give both"),
        (["--params", "7B", "--tokens", "2B params"], 2, "2B params"),
        (["--params", "0", "--tokens", "2T"], 2, ""),
        (["--total-params", "47B"], 2, "give both, such as --params 13B --total-params 47B --tokens 2T"),
        (
            ["--params", "47B", "--total-params", "13B", "--tokens", "2T"],
            1,
            "must be more than the active 47B",
        ),
        (["mixtral-8x7b"], 1, "--params 12.9B --total-params 46.7B --tokens 1T"),
        (["bart-base"], 1, "tokens of BART base are not published"),
        (["--params", "7B", "--tokens", "1e40"], 1, "Check the exponent"),
        (["--params", "7", "--tokens", "1e9"], 1, "not a language model"),
        (["--law", "besirglu"], 2, "did you mean: besiroglu"),
        (["--law", "kaplan-n"], 1, "cannot split a budget"),
    ],
)
def test_refusals_name_what_to_do(args, code, message, capsys):
    assert run(["audit", *args]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_lamdas_verdict_is_told_under_every_figure():
    first = " ".join(invoke("LaMDA 137B").stdout.split())
    assert "published FLOPs 2.6x 6ND: the verdict is open" in first
    assert "15x under?" in invoke("LaMDA 137B", "gpt-3").stdout
    result = invoke("LaMDA 137B", "--show", "all")
    assert max(map(len, result.stdout.splitlines())) <= 100
    text = " ".join(result.stdout.split())
    assert "with 432B tokens (its published 3.55e23 FLOPs over 6N): 5.8x under-trained" in text
    assert (
        "with 768B tokens (3M steps of 256k tokens, as a correction of a survey argued): 3.2x under-trained"
        in text
    )
    assert "with 2.81T tokens (the corpus of its own paper): near-optimal" in text
    (model,) = json.loads(invoke("LaMDA 137B", "--json").stdout)["models"]
    assert "432B" in model["warnings"][0]
    assert [f["verdict"] for f in model["other_figures"]] == [
        "under-trained",
        "under-trained",
        "near-optimal",
    ]


def test_lamda_shows_its_published_flops_beside_6nd():
    # Thoppilan et al. 2022 print 3.55e23; 6 x 137e9 x 168e9 (Hoffmann et al. 2022, table 1) is 1.38e23
    assert "published  3.55e23 FLOPs, 2.6 times 6ND" in invoke("lamda").stdout
    (row,) = json.loads(invoke("lamda", "--json").stdout)["models"]
    assert row["published_flops"] / row["flops"] == pytest.approx(3.55e23 / (6 * 137e9 * 168e9))
    told = invoke("--show", "models,sources").stdout
    assert "1.38e23!" in told
    assert "(!: its published FLOPs are others)" in " ".join(told.split())


def test_a_table_of_many_models_marks_the_disputed_and_tells_of_them_once():
    result = invoke()
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[1:7]}
    assert "15x under?" in rows["LaMDA"]
    assert "?" not in rows["Gopher"]
    told = " ".join(invoke("--show", "all").stdout.split())
    assert "LaMDA: its training tokens are disputed, 168B here: with 432B tokens" in told
    assert "(?: its figures are disputed)" in told
    assert "disputed" not in invoke("gpt-3", "--show", "all").stdout


def test_a_mixture_by_numbers_says_which_parameters_are_meant():
    given = ("--params", "13B", "--total-params", "47B", "--tokens", "2T")
    first = " ".join(invoke(*given).stdout.split())
    assert first.count("mixture of experts") == 1
    assert "its active parameters, of 47B in all" in first
    text = " ".join(invoke(*given, "--show", "all").stdout.split())
    assert "13B active parameters a token, of 47B in all" in text
    assert "N the total parameters (of a mixture of experts: the active)" in text
    (model,) = json.loads(
        invoke("--params", "13B", "--total-params", "47B", "--tokens", "2T", "--json").stdout
    )["models"]
    assert (model["n_params"], model["n_params_total"], model["flops"]) == (13e9, 47e9, 6 * 13e9 * 2e12)


def test_one_warning_serves_all_mixtures():
    text = " ".join(invoke("deepseek-v3", "dbrx", "olmoe-1b-7b", "--show", "doubts").stdout.split())
    assert "DeepSeek-V3, DBRX, OLMoE 1B-7B: a mixture of experts" in text
    assert text.count("dense models") == 1


def test_a_config_of_a_mixture_is_audited_by_its_active_parameters():
    result = invoke(str(CONFIGS / "config-moe.json"), "--tokens", "2T", "--show", "all")
    text = " ".join(result.stdout.split())
    assert "12.9B active parameters a token, of 46.7B in all" in text
    assert "N the total parameters (of a mixture of experts: the active)" in text
    (model,) = json.loads(invoke(str(CONFIGS / "config-moe.json"), "--tokens", "2T", "--json").stdout)[
        "models"
    ]
    assert (model["n_params"], model["n_params_total"]) == (12_879_925_248, 46_702_792_704)
    assert model["flops"] == 6 * 12_879_925_248 * 2e12
    numbers = ["--params", "12879925248", "--total-params", "46702792704", "--tokens", "2T", "--json"]
    (same,) = json.loads(invoke(*numbers).stdout)["models"]
    assert {**model, "name": ""} == {**same, "name": ""}


def test_a_dense_config_and_its_folder_are_audited_beside_models_of_the_table(tmp_path):
    folder = tmp_path / "my-llama"
    folder.mkdir()
    shutil.copy(CONFIGS / "config.json", folder)
    for given in (folder, folder / "config.json"):
        result = invoke(str(given), "gpt-3", "--tokens", "15T", "--json")
        mine, theirs = json.loads(result.stdout)["models"]
        assert (mine["name"], mine["n_params"], mine["n_tokens"]) == ("my-llama", 8_030_261_248, 15e12)
        assert mine["n_params_total"] == mine["n_params"]
        assert (theirs["name"], theirs["n_tokens"]) == ("GPT-3 175B", 300e9)


def test_a_law_of_non_embedding_parameters_counts_a_config_so():
    law = ["--law", "krajewski-dense", "--json"]
    (model,) = json.loads(invoke(str(CONFIGS / "config.json"), "--tokens", "2T", *law).stdout)["models"]
    assert model["flops"] == 6 * (8_030_261_248 - 2 * 128_256 * 4096) * 2e12
    assert not any("non-embedding" in text for text in model["warnings"])


def test_a_file_in_the_folder_does_not_stand_for_a_model_of_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt-3").mkdir()
    assert json.loads(invoke("gpt-3", "--json").stdout)["models"][0]["name"] == "GPT-3 175B"


@pytest.mark.parametrize(
    ("name", "more", "code", "message"),
    [
        ("config.json", [], 2, "not on how many tokens it was trained: add --tokens 2T"),
        ("none.json", ["--tokens", "2T"], 1, "cannot read the architecture file"),
        ("config.json", ["--params", "7B"], 2, "give both, such as --params 7B --tokens 2T"),
    ],
)
def test_a_config_is_refused_in_one_sentence_where_it_is_not_enough(name, more, code, message, capsys):
    assert run(["audit", str(CONFIGS / name), *more]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


TWELVE = (
    "gpt-3", "gopher", "llama-3-8b", "llama-3-70b", "llama-2-70b", "lamda-137b", "deepseek-v3", "dbrx", "olmoe-1b-7b",
    "gpt-3", "gopher", "llama-3-8b",
)  # fmt: skip


@pytest.mark.parametrize("models", [(), ("gpt-3",), ("LaMDA 137B",), ("deepseek-v3",), TWELVE[:2], TWELVE])
@pytest.mark.parametrize("law", ["besiroglu", "20:1", "krajewski-dense"])
@pytest.mark.parametrize("width", [72, 80, 100, 140])
def test_the_first_screen_has_at_most_20_lines(models, law, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = invoke(*models, "--law", law).stdout.splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= width


def test_the_table_to_paste_has_the_numbers_of_the_json():
    rows = invoke("--csv", "gpt-3", "llama 3 8b").stdout.splitlines()
    header = rows[0].split(",")
    models = json.loads(invoke("--json", "gpt-3", "llama 3 8b").stdout)["models"]
    for row, model in zip(rows[1:], models, strict=True):
        cells = dict(zip(header, row.split(","), strict=True))
        assert cells["name"] == model["name"]
        for name in ("n_params", "n_tokens", "flops", "loss", "size_ratio", "wasted_compute_fraction"):
            assert float(cells[name]) == model[name]
        assert float(cells["optimal_n_params_high"]) == model["optimal"]["n_params_interval"]["high"]


def test_what_to_do_next_runs_when_copied():
    import shlex

    for models in (["gopher", "--law", "20:1"], ["gpt-3", "llama-3-8b"], []):
        (line,) = [text for text in invoke(*models).stdout.splitlines() if text.startswith("next")]
        command = shlex.split(line.partition("next")[2])
        assert command[:2] == ["scaling", "plan"]
        assert run(command[1:]) == 0


def test_of_several_models_the_compute_to_plan_is_that_of_the_most_wasteful():
    models = json.loads(invoke("gpt-3", "llama-3-8b", "--json").stdout)["models"]
    most = max(models, key=lambda model: model["flops"] * model["wasted_compute_fraction"])
    assert f"scaling plan --flops {most['flops']:.4g}" in invoke("gpt-3", "llama-3-8b").stdout
