"""`scaling count`: what it prints, its JSON, and how it refuses."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from scaling.accounting import CONVENTIONS, count_flops, count_params, estimate_memory
from scaling.architecture import PRESETS
from scaling.cli import run
from scaling.cli.count import count


def _json(*args: str) -> dict[str, Any]:
    result = CliRunner().invoke(count, [*args, "--json"])
    assert result.exit_code == 0, result.output
    payload: dict[str, Any] = json.loads(result.output)
    return payload


@pytest.mark.parametrize("width", [72, 80, 100, 140])
@pytest.mark.parametrize(
    "args",
    [
        ["gpt2", "--tokens", "300B"],
        ["llama-3.1-405b"],
        ["t5-11b"],
        ["bert"],
        ["--list"],
        ["deepseek-v3"],
        ["mixtral-8x7b", "--tokens", "300B"],
    ],
)
def test_the_whole_text_fits_the_screen(args: list[str], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = CliRunner().invoke(count, [*args, "--show", "all"])
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.output.splitlines()) <= width


def test_sections_show_exact_counts_with_separators() -> None:
    output = CliRunner().invoke(count, ["gpt2", "--show", "parameters,flops"]).output
    assert "token embedding   38,597,376     31 %" in output
    assert "The token embedding is also the head." in output
    assert "total            124,439,808     124M" in output
    assert "non-embedding     85,056,000    85.1M  Kaplan et al.'s N" in output
    assert "chinchilla       Hoffmann et al., appendix F                 1.09e9" in output
    assert "Training memory" not in output


def test_every_row_of_the_memory_tables_is_a_section_away() -> None:
    output = CliRunner().invoke(count, ["gpt2", "--show", "training,inference"]).output
    assert [
        word for word in ("zero1", "zero2", "fsdp, recomp.", "KV cache", "framework") if word not in output
    ] == []


def test_csv_has_the_presets_one_a_row_with_the_counts_of_the_json() -> None:
    table = pd.read_csv(StringIO(CliRunner().invoke(count, ["--list", "--csv"]).output))
    listed = json.loads(CliRunner().invoke(count, ["--list", "--json"]).output)["presets"]
    assert list(table["name"]) == [row["name"] for row in listed]
    assert list(table["n_params"]) == [row["n_params"] for row in listed]
    one = pd.read_csv(StringIO(CliRunner().invoke(count, ["mixtral-8x7b", "--csv"]).output))
    both = pd.concat([table[table["name"] == "mixtral-8x7b"], one])  # tables of models go below each other
    assert both["n_params_active"].nunique() == both["d_ff_expert"].nunique() == 1


def test_json_holds_what_the_library_returns() -> None:
    payload = _json("gpt2", "--tokens", "300B", "--batch", "4")
    a = PRESETS["gpt2"]
    assert payload["schema_version"] == 1
    assert payload["name"] == "gpt2"
    assert payload["architecture"] == a.to_dict()
    assert payload["params"] == count_params(a).to_dict()
    assert set(payload["flops"]) == set(CONVENTIONS)
    assert payload["flops"]["six_n"] == count_flops(a, 300e9, convention="six_n")
    assert payload["flops_per_token"]["palm"]["train"] == count_flops(a, 1, convention="palm")
    row = next(
        r for r in payload["memory"]["training"] if r["strategy"] == "fsdp" and r["recomputation"] == "full"
    )
    expected = estimate_memory(a, batch_size=4, n_devices=8, strategy="fsdp", recomputation="full").to_dict()
    assert {k: row[k] for k in expected} == expected
    assert (
        payload["memory"]["inference"]["kv_cache_bytes"]
        == 4 * 1024 * 2 * payload["kv_cache_numbers_per_token"]
    )


def test_sizes_describe_a_model_and_change_a_preset() -> None:
    sizes = [
        "--n-layers",
        "12",
        "--d-model",
        "768",
        "--n-heads",
        "12",
        "--vocab-size",
        "50,257",
        "--context",
        "1024",
    ]
    assert _json(*sizes)["params"] == _json("gpt2")["params"]
    assert _json("gpt2", "--n-layers", "24")["architecture"]["n_layers"] == 24
    changed = _json("gpt2", "--set", "tie_embeddings=false", "--set", "norm=rms", "--set", "norm_eps=1e-6")
    assert changed["architecture"]["norm"] == "rms"
    assert changed["params"]["head"] == 50257 * 768


def test_heads_are_a_list() -> None:
    assert _json("bert", "--set", "heads=mlm")["architecture"]["heads"] == ["mlm"]
    assert _json("bert", "--set", "heads=")["params"]["head"] == 0
    assert _json("bert", "--set", "heads=nsp, mlm")["params"]["total"] == 110_106_428


def test_model_is_read_from_its_own_json_and_from_a_plans(tmp_path: Path) -> None:
    path = tmp_path / "shape.json"
    path.write_text(json.dumps(_json("llama-3-8b")))
    assert _json(str(path))["params"]["total"] == 8_030_261_248
    path.write_text(json.dumps({"architecture": {**PRESETS["gpt2"].to_dict(), "n_params": 1, "notes": []}}))
    assert _json(str(path))["params"]["total"] == 124_439_808


def test_tensor_parallel_and_a_longer_context_without_learned_positions() -> None:
    payload = _json("llama-3-8b", "--tensor-parallel", "4", "--devices", "16", "--context", "131072")
    first = payload["memory"]["training"][0]
    assert first["n_devices"] == 4
    assert first["weights_bytes"] == pytest.approx(2 * 8.03e9 / 4, rel=1e-3)
    assert payload["context_length"] == 131072


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "give a preset"),
        (["gpt-6"], "unknown preset 'gpt-6'; did you mean"),
        (
            ["--n-layers", "2"],
            "an architecture needs d_model, n_heads, vocab_size, context_length; got n_layers",
        ),
        (
            ["gpt2", "--context", "4096"],
            "beyond the 1,024 learned positions; give the architecture context_length=4096",
        ),
        (["gpt2", "--n-heads", "7"], "n_heads must divide d_model, got d_model 768 and n_heads 7"),
        (["gpt2", "--batch", "0"], "--batch: number must be"),
        (["gpt2", "--n-layers", "1.5"], "--n-layers must be a whole number, got '1.5'"),
        (["gpt2", "--n-layers", "-3"], "--n-layers: number must be"),
        (["gpt2", "--set", "n_layer=3"], "unknown architecture field 'n_layer'; did you mean: n_layers"),
        (["gpt2", "--set", "d_ff"], "--set takes FIELD=VALUE, got 'd_ff'"),
        (["gpt2", "--set", "d_ff=inf"], "d_ff must be a whole number >= 1, got inf"),
        (["gpt2", "--set", "norm_eps=nan"], "norm_eps must be a number > 0, got nan"),
        (["gpt2", "--tokens", "7B params"], "tokens"),
        (["gpt2", "--tokens", "nan"], "not a number of tokens"),
        (["--n-layers", "abc"], "--n-layers: 'abc' is not a number; write for example 12, 4096 or 32k."),
        (["gpt2", "--precision", "fp9"], "unknown precision 'fp9'"),
        (["gpt2", "--devices", "6", "--tensor-parallel", "4"], "tensor_parallel 4 must divide n_devices 6"),
        (
            ["meta-llama/Llama-3"],
            "names on a hub are not looked up; fetch its config.json and give that file",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["count", *args]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("text", ["", "[]", "{", '{"architecture": 3}', '{"n_layers": "two"}', "null"])
def test_a_damaged_architecture_file_is_told_as_damaged_content(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "shape.json"
    path.write_text(text)
    assert run(["count", str(path)]) == 3
    assert capsys.readouterr().err.startswith("error: ")


def test_a_missing_architecture_file_cannot_be_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["count", "missing.json"]) == 1
    assert "cannot read the architecture file 'missing.json': No such file" in capsys.readouterr().err
