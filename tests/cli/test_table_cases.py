"""Tables that were once misread or refused, each with its planted law: what a user calls, and the right answer.

Unless a test says otherwise the losses come from E = 1.7, A = 380, B = 1700, alpha = .34, beta = .36 and a little noise,
so the exponent a of N* is .36 / (.34 + .36) = .5143.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scaling.cli import cli, run

CASES = Path(__file__).resolve().parents[1] / "cases"
PLANTED_A = 0.36 / (0.34 + 0.36)
NOISE = 0.02  # the scatter of a at .1 % noise on 25 runs, generously


def case(number: int, name: str = "input.csv") -> Path:
    return next(CASES.glob(f"tables-{number:02}-*")) / name


def call(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args])


def fit(*args: object) -> dict:
    result = call("fit", *args, "--json")
    assert result.exit_code == 0, result.output or result.exception
    return json.loads(result.stdout)


def exponent(answer: dict) -> float:
    return answer["params_exponent"]["value"]


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str]:
    code = run([str(a) for a in args])
    return code, capsys.readouterr().err


def test_a_mixture_is_fitted_to_the_parameters_its_budgets_were_made_with() -> None:
    answer = fit(case(3))
    assert exponent(answer) == pytest.approx(PLANTED_A, abs=NOISE)
    assert answer["law"]["provenance"]["params_convention"] == "active"
    assert "active_params is N" in call("fit", case(3)).stderr
    valleys = fit(case(3), "--method", "isoflop")["budgets"][-1]
    assert valleys["flops"] == pytest.approx(1e20)
    assert valleys["n_params"] == pytest.approx(8.33e8, rel=0.05)
    assert valleys["n_tokens"] == pytest.approx(2.0e10, rel=0.05)


def test_the_total_parameters_of_a_mixture_are_read_at_the_budgets_of_the_table() -> None:
    valleys = fit(case(3), "--method", "isoflop", "--params-convention", "total")["budgets"][-1]
    assert valleys["flops"] == pytest.approx(1e20)
    assert valleys["n_params"] == pytest.approx(5.36e9, rel=0.08)


@pytest.mark.parametrize("options", [[], ["--column", "loss=val_perplexity"]])
def test_a_perplexity_under_any_prefix_asks_for_its_unit(capsys, options) -> None:
    code, error = refusal(capsys, "fit", case(5), *options)
    assert code == 3
    assert "--loss-unit perplexity" in error
    assert exponent(fit(case(5), *options, "--loss-unit", "perplexity")) == pytest.approx(
        PLANTED_A, abs=NOISE
    )


def test_bits_per_character_are_fitted_by_both_remedies(capsys) -> None:
    code, error = refusal(capsys, "fit", case(7))
    assert code == 3
    for unit in ("other", "bits/token"):
        assert f"--loss-unit {unit}" in error
        answer = fit(case(7), "--loss-unit", unit)
        assert answer["coefficients"]["alpha"] == pytest.approx(0.34, abs=0.02)
        assert answer["coefficients"]["beta"] == pytest.approx(0.36, abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        ["--exclude", "r3"],
        ["--exclude", "line:5"],
        ["--drop", "diverged"],
        ["--only", "diverged=false"],
        ["--exclude", "diverged=true"],
        ["--only", "loss<20"],
    ],
)
def test_a_diverged_run_can_be_left_out_in_every_way(options) -> None:
    result = call("fit", case(9), *options)
    assert result.exit_code == 0
    assert "left out 1 run (r3) as you asked" in result.stderr
    answer = fit(case(9), *options)
    assert answer["n_runs"] == 24
    assert answer["excluded"] == ["r3"]
    assert exponent(answer) == pytest.approx(PLANTED_A, abs=NOISE)


def test_tokens_below_a_path_are_read_and_a_loss_of_unknown_unit_is_asked_about(capsys) -> None:
    assert exponent(fit(case(13, "input2.csv"))) == pytest.approx(PLANTED_A, abs=NOISE)
    code, error = refusal(capsys, "fit", case(13, "input3.csv"))
    assert code == 3
    assert "val_bpc" in error
    assert "--loss-unit" in error


def test_a_rate_is_never_proposed_as_a_count(capsys) -> None:
    code, error = refusal(capsys, "fit", case(13), "--law", "chinchilla")
    assert code == 3
    assert "no column for n_tokens" in error
    assert "n_tokens=tokens_per_sec" not in error
    assert "--law params_power_law_floor" in error


@pytest.mark.parametrize("options", [[], ["--column", "flops=budget"]])
def test_isoflop_tables_without_sizes_are_fitted(options) -> None:
    answer = fit(case(16), "--method", "isoflop", *options)
    assert answer["tokens_exponent"]["value"] == pytest.approx(1 - PLANTED_A, abs=NOISE)
    at_1e20 = answer["budgets"][-1]
    assert at_1e20["n_tokens"] == pytest.approx(2.001e10, rel=0.05)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("input-pfdays.csv", []),
        ("input-pfdays.csv", ["--column", "flops=compute_pf_days"]),
        ("input-gflops.csv", []),
        ("input-gflops.csv", ["--column", "flops=total_gflops"]),
        ("input-p.csv", []),
        ("input-p.csv", ["--column", "flops=FLOPs (P)"]),
    ],
)
def test_flops_are_read_in_the_unit_of_their_header(name, options) -> None:
    answer = fit(case(17, name), *options)
    assert exponent(answer) == pytest.approx(PLANTED_A, abs=NOISE)
    assert answer["coefficients"]["E"] == pytest.approx(
        1.7, abs=0.05
    )  # would be the same in any unit of C ...
    assert answer["coefficients"]["beta"] == pytest.approx(0.36, abs=0.02)
    assert answer["coefficients"]["B"] == pytest.approx(1700, rel=0.5)  # ... this would not


def test_the_best_of_each_cell_of_a_grid_is_fitted_and_the_finding_names_the_way() -> None:
    every = fit(case(18))
    grid = next(f for f in every["findings"] if f["code"] == "hyperparameter-grid")
    assert "--best-of-cell" in grid["message"]
    assert grid["remedies"] == ["--best-of-cell"]
    best = fit(case(18), "--best-of-cell")
    assert best["n_runs"] == 20
    assert exponent(best) == pytest.approx(PLANTED_A, abs=0.05)
    assert not any(f["code"] == "hyperparameter-grid" for f in best["findings"])


def test_of_loss_and_perplexity_side_by_side_the_loss_is_read() -> None:
    assert exponent(fit(case(20))) == pytest.approx(PLANTED_A, abs=NOISE)
    assert "Loss as loss" in call("fit", case(20)).stderr


def test_tokens_are_steps_times_batch_times_length() -> None:
    assert exponent(fit(case(21))) == pytest.approx(PLANTED_A, abs=NOISE)
    assert "n_tokens = steps x batch_size x seq_len" in call("fit", case(21)).stderr


def test_the_table_of_a_fork_of_nanochat_is_fitted_to_active_parameters() -> None:
    answer = fit(case(26), "--loss-unit", "bits/byte", "--bytes-per-token", 4.5)
    assert exponent(answer) == pytest.approx(PLANTED_A, abs=NOISE)
    assert answer["law"]["provenance"]["params_convention"] == "active"


def test_images_are_fewer_than_parameters_and_that_is_a_warning() -> None:
    told = ("--column", "n_tokens=samples", "--column", "loss=error_rate", "--loss-unit", "other")
    answer = fit(case(27), *told)
    assert answer["coefficients"]["E"] == pytest.approx(0.15, abs=0.03)
    assert answer["coefficients"]["alpha"] == pytest.approx(0.45, abs=0.05)
    assert answer["coefficients"]["beta"] == pytest.approx(0.17, abs=0.03)
    swapped = next(f for f in answer["findings"] if f["code"] == "swapped-columns")
    assert swapped["severity"] == "warning"
