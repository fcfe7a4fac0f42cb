"""`scaling fit` of tables that hold one quantity beside the loss, and of laws that read one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from scaling.cli import cli, run

CASES = Path(__file__).parents[1] / "cases"
LOSS_OF_COMPUTE = CASES / "tables-11-loss-of-compute-alone" / "input.csv"
LOSS_OF_PARAMS = CASES / "tables-13-nearest-name-nonsense" / "input.csv"
ONE_TOKEN_COUNT = CASES / "tables-14-next-step-that-cannot-work" / "input.csv"
ERROR_RATE = CASES / "tables-15-floor-at-zero-called-not-converged" / "input.csv"
OF_SIZES = {
    "few-sizes",
    "few-token-counts",
    "single-ratio",
    "unknown-convention",
    "edge-minimum",
    "own-flops",
}
OF_SIZES |= {"mixed-conventions", "embedding-heavy", "swapped-columns", "unit-slip", "few-sizes-in-budget"}


def call(*args: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def fitted(*args: object) -> dict:
    return json.loads(call("fit", *args, "--json"))


def codes(fit: dict) -> set[str]:
    return {f["code"] for f in fit["findings"]}


def last_command(text: str) -> list[list[str]]:
    """The words of each command of the line `next`."""
    line = text.splitlines()[-1]
    assert line.startswith("next  scaling ")
    return [shlex.split(part)[1:] for part in line.removeprefix("next").split("&&")]


def written(path: Path, header: str, *columns: np.ndarray) -> Path:
    rows = [",".join(f"{v:.6g}" for v in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_loss_against_compute_alone_is_fitted() -> None:
    fit = fitted(LOSS_OF_COMPUTE, "--law", "flops_power_law_floor")
    low, high = (fit["intervals"]["alpha"][end] for end in ("low", "high"))
    assert low <= 0.0915 <= high  # the planted exponent; its floor is 1.6
    assert fit["intervals"]["E"]["low"] <= 1.6 <= fit["intervals"]["E"]["high"]
    assert codes(fit) == {"few-runs"}
    assert set(fit["law"]["provenance"]["fitted_range"]) == {"flops"}


def test_loss_against_parameters_alone_needs_no_tokens() -> None:
    fit = fitted(LOSS_OF_PARAMS, "--law", "params_power_law_floor", "--params-convention", "total")
    assert fit["coefficients"]["alpha"] == pytest.approx(0.6, abs=1e-3)  # losses of five digits
    assert fit["coefficients"]["E"] == pytest.approx(0.4, abs=1e-4)
    assert codes(fit) == {"noise-free", "loss-unit"}


@pytest.mark.parametrize(("name", "law"), [("flops", "flops"), ("params", "params"), ("tokens", "tokens")])
def test_a_table_of_one_quantity_is_fitted_by_its_law_and_says_so(
    tmp_path: Path, name: str, law: str
) -> None:
    x = np.geomspace(1e18, 1e21, 12) if name == "flops" else np.geomspace(1e7, 1e10, 12)
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(12))
    table = written(tmp_path / "t.csv", f"{name},loss", x, (1.7 + (x[5] / x) ** 0.2) * noise)
    fit = fitted(table)
    assert fit["law"]["family"] == f"{law}_power_law_floor"
    assert fit["coefficients"] == fitted(table, "--law", f"{law}_power_law_floor")["coefficients"]
    (chosen,) = [f for f in fit["findings"] if f["code"] == "one-quantity"]
    assert f"--law {law}_power_law_floor" in chosen["message"]
    assert not codes(fit) & (OF_SIZES - {"unknown-convention"})


def test_a_law_that_reads_more_than_the_table_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--law", "chinchilla"], ["--method", "isoflop"], ["--law", "kaplan"]):
        assert run(["fit", str(LOSS_OF_COMPUTE), *words]) == 3
        assert "n_params" in capsys.readouterr().err


def test_nothing_is_said_of_inputs_that_the_law_does_not_read() -> None:
    assert not codes(fitted(ONE_TOKEN_COUNT, "--law", "params_power_law")) & (OF_SIZES | {"narrow-range"})
    words = ["fit", ONE_TOKEN_COUNT, "--law", "params_power_law", "--show"]
    assert "N 15.8M to 1.58B\n" in call(*words, "data")
    text = call("fit", ONE_TOKEN_COUNT, "--law", "params_power_law") + call(
        *words, "coefficients,residuals,doubts"
    )
    assert "token" not in text.replace("nats/token", "")


@pytest.mark.parametrize("table", [LOSS_OF_COMPUTE, ONE_TOKEN_COUNT, LOSS_OF_PARAMS])
def test_the_next_command_works(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [] if table != ONE_TOKEN_COUNT else ["--law", "params_power_law"]
    for command in last_command(call("fit", table, *words)):
        call(*command)
    assert last_command(call("fit", table, *words, "-o", "other.json"))[0][:2] == ["predict", "other.json"]


def test_plan_names_what_a_law_of_one_quantity_can_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    law = tmp_path / "fit.json"
    call("fit", ONE_TOKEN_COUNT, "--law", "params_power_law", "-o", law)
    assert run(["plan", "--flops", "1e22", "--law", str(law)]) == 1
    assert "scaling predict" in capsys.readouterr().err


def test_predictions_of_a_table_of_compute_show_compute_alone(tmp_path: Path) -> None:
    law = tmp_path / "fit.json"
    call("fit", LOSS_OF_COMPUTE, "-o", law)
    told = json.loads(call("predict", law, LOSS_OF_COMPUTE, "--json"))
    assert told["runs"][0]["n_params"] is None
    assert told["summary"]["mean_absolute_error_fraction"] < 1e-3  # noise of 0.04 %
    shown = call("predict", law, LOSS_OF_COMPUTE, "--show", "runs").splitlines()
    header = next(line for line in shown if "predicted" in line)
    assert header.split()[:3] == ["run", "C", "loss"]


@pytest.mark.parametrize("seed", [0, 7])
def test_a_floor_of_zero_is_a_certified_minimum_without_which_the_law_is_fitted(seed: int) -> None:
    words = [ERROR_RATE, "--column", "loss=error_rate", "--loss-unit", "other"]
    fit = fitted(*words, "--law", "flops_power_law_floor", "--seed", seed)
    assert fit["certificate"]["certified"]
    assert fit["coefficients"]["E"] == 0
    # profiled with scipy: 0.00034682 at E = 0, 0.00036222 at 0.01
    assert fit["objective"]["value"] == pytest.approx(0.00034682, abs=5e-9)
    assert "optimum-uncertain" not in codes(fit)
    (bound,) = [f["message"] for f in fit["findings"] if f["code"] == "at-bound"]
    assert "the runs show no floor" in bound
    assert "--law flops_power_law (" in bound
    text = call("fit", *words, "--law", "flops_power_law_floor", "--seed", seed)
    whole = call("fit", *words, "--law", "flops_power_law_floor", "--seed", seed, "--show", "all")
    assert "certified minimum, E on its bound" in whole
    assert "NOT CONVERGED" not in whole
    (command,) = last_command(text)
    assert command[-2:] == ["--seed", str(seed)] or "flops_power_law" in command
    bare = json.loads(call(*command, "--json"))
    assert bare["law"]["family"] == "flops_power_law"
    assert bare["coefficients"]["alpha"] == pytest.approx(fit["coefficients"]["alpha"], rel=1e-3)


def test_a_floor_of_zero_of_the_chinchilla_law_is_left_out_by_holding_it(tmp_path: Path) -> None:
    N, D = (g.ravel() for g in np.meshgrid(np.geomspace(1e8, 1e10, 5), np.geomspace(1e9, 1e12, 6)))
    noise = np.exp(0.003 * np.random.default_rng(1).standard_normal(len(N)))
    table = written(tmp_path / "t.csv", "n_params,n_tokens,loss", N, D, (20 / N**0.1 + 30 / D**0.12) * noise)
    text = call("fit", table)
    assert "certified minimum" in call("fit", table, "--show", "coefficients")
    assert "the runs show no floor" in " ".join(text.split())
    (command,) = last_command(text)
    assert command[-2:] == ["--fix", "E=0"]
    held, free = json.loads(call(*command, "--json")), fitted(table)
    # four coefficients instead of five: another robust scale, so a threshold 2 % apart
    assert held["coefficients"] == pytest.approx(free["coefficients"], rel=2e-3)
    assert "at-bound" not in codes(held)


def test_a_held_floor_is_shown_as_given_and_the_result_says_so() -> None:
    whole = call("fit", LOSS_OF_COMPUTE, "--fix", "E=1.6", "--show", "coefficients")
    assert ["E", "1.6", "-", "held"] in [line.split() for line in whole.splitlines()]
    assert "given E = 1.6" in " ".join(whole.split())
    text = call("fit", LOSS_OF_COMPUTE, "--fix", "E=1.6")
    assert "--fix E=1.6" in text.splitlines()[-1]
    fit = fitted(LOSS_OF_COMPUTE, "--fix", "E=1.6")
    assert fit["fixed"] == {"E": 1.6}
    assert fit["intervals"]["E"] is None
    assert fit["coefficients"]["alpha"] == pytest.approx(0.0915, abs=3e-4)  # four of its standard errors


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--fix F=1.6", "unknown coefficient"),
        ("--fix E=26", "lies between 0 and 20"),
        ("--fix E=-1", "lies between 0 and 20"),
        ("--fix E=2.9", "not below the lowest loss"),
        ("--fix E", "NAME=VALUE"),
        ("--fix E=1 --fix E=2", "twice"),
        ("--fix E=1 --fix x_c=1e21 --fix alpha=.1", "every coefficient"),
        ("--method isoflop --fix E=1.6", "--fix belongs to --method parametric"),
        ("--compare-laws --fix E=1.6", "leave one out"),
    ],
)
def test_a_coefficient_that_cannot_be_held_is_one_line(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fit", str(LOSS_OF_COMPUTE), *words.split()]) in (1, 2, 3)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert told in errors[0]


def test_smaller_errors_never_print_fewer_digits() -> None:
    text = call("fit", LOSS_OF_COMPUTE, "--fix", "E=1.6", "--show", "coefficients")
    (x_c,) = [line.split()[1] for line in text.splitlines() if line.split()[:1] == ["x_c"]]
    assert x_c == "1.2052e21"  # its standard error is 6.4e18
