"""The options of `scaling fit` that a finding sends one to, and those that would mean nothing."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from scaling.cli import cli, run
from scaling.cli.fit import _mended
from scaling.cli.fit_options import FitOptions
from scaling.cli.tables import TableOptions
from scaling.findings import warning
from scaling.laws import FAMILIES
from scaling.reference.example import PLANTED_LAW, example_curves, example_runs_text


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(example_runs_text())
    return path


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """Ten sizes at four lengths each, 40 curves of eight rows; only the last row of a curve lies on the law."""
    rng = np.random.default_rng(0)
    rows = []
    for size in np.logspace(7.5, 9.5, 10):
        for ratio in (5, 20, 80, 320):
            for share in np.linspace(0.3, 1, 8):
                loss = PLANTED_LAW.loss(size, ratio * size * share) * np.exp(0.003 * rng.standard_normal())
                late = 1.0 if share == 1 else 1.03  # before its decay a run is worse
                rows.append((f"{size:.3g}-{ratio}", size, ratio * size * share, loss * late))
    path = tmp_path / "curves.csv"
    pd.DataFrame(rows, columns=["run_id", "n_params", "n_tokens", "loss"]).to_csv(path, index=False)
    return path


def call(*args: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def codes(fit: dict) -> list[str]:
    return [f["code"] for f in fit["findings"]]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--method isoflop --objective huber", "--objective belongs to --method parametric"),
        ("--method isoflop --law kaplan", "--law belongs"),
        ("--method isoflop --huber-delta 1e-3", "--huber-delta belongs"),
        ("--method isoflop --seed 0", "--seed belongs"),
        ("--method envelope --bootstrap 200", "--bootstrap belongs"),
        ("--method isoflop --holdout-above 1e19", "--holdout-above belongs"),
        ("--method isoflop --compare-laws", "--compare-laws belongs"),
        ("--valley parabola", "--valley belongs to --method isoflop"),
        ("--min-runs-per-budget 5", "--min-runs-per-budget belongs"),
        (
            "--law kaplan --objective least_squares",
            "--law kaplan is fitted by --objective huber or log_least",
        ),
        ("--law kaplan --huber-delta 1e-3", "--huber-delta is for the chinchilla law"),
        ("--law kaplan --bootstrap 200", "--bootstrap is for the chinchilla law"),
        ("--objective least_squares --huber-delta 1e-3", "huber_delta applies"),
        ("--method envelope --final", "leave --final out"),
    ],
)
def test_an_option_that_would_change_nothing_is_a_usage_error(
    table: Path, capsys: pytest.CaptureFixture[str], words: str, named: str
) -> None:
    assert run(["fit", str(table), *words.split()]) == 2
    assert named in capsys.readouterr().err


def test_the_next_command_repeats_what_was_given_and_nothing_else(table: Path) -> None:
    last = call("fit", table, "--objective", "log_least_squares", "--only", "budget=1e18",
                "--only", "budget=3e18", "--only", "budget=1e19").splitlines()[-1]  # fmt: skip
    assert "--only budget=1e18 --only budget=3e18 --only budget=1e19 --objective log_least_squares -o" in last


def test_objective_reaches_the_other_families(table: Path) -> None:
    fit = json.loads(
        call("fit", table, "--law", "kaplan_floor", "--objective", "log_least_squares", "--json")
    )
    assert fit["objective"]["name"] == "log_least_squares"


def test_help_lists_every_family_with_a_loss() -> None:
    text = " ".join(call("fit", "--help").split())
    assert all(name in text for name in FAMILIES if name != "frontier")


def test_of_curves_the_last_rows_are_fitted_and_told(curves: Path) -> None:
    fit = json.loads(call("fit", curves, "--json"))
    assert fit["n_runs"] == 40
    assert "curves-reduced" in codes(fit)
    assert "checkpoints" not in codes(fit)
    low, high = (fit["params_exponent"]["interval"][k] for k in ("low", "high"))
    assert low <= PLANTED_LAW.params_exponent <= high
    same = json.loads(call("fit", curves, "--final", "--json"))
    assert same["coefficients"] == fit["coefficients"]


def test_every_row_of_curves_is_fitted_on_request_with_a_warning(curves: Path) -> None:
    fit = json.loads(call("fit", curves, "--every-row", "--json"))
    assert fit["n_runs"] == 320
    assert {"curves", "checkpoints"} <= set(codes(fit))


def test_last_rows_that_determine_nothing_say_how_to_fit_the_curves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "curves.csv"
    frame = pd.DataFrame(example_curves())
    last = frame.groupby("run_id").n_tokens.transform("max")
    frame[frame.n_tokens * 2000 >= last].to_csv(path, index=False)
    code = run(["fit", str(path)])
    error = capsys.readouterr().err
    if code == 0:
        pytest.fail("the last rows of curves of one length should not determine a law")
    assert "--method envelope fits the curves, --every-row" in error


def test_an_envelope_is_not_told_to_take_last_rows(tmp_path: Path) -> None:
    """Nor that all its rows have one ratio, which holds for its last rows only."""
    path = tmp_path / "curves.csv"
    pd.DataFrame(example_curves()).to_csv(path, index=False)
    assert {"checkpoints", "single-ratio"}.isdisjoint(
        codes(json.loads(call("fit", path, "--method", "envelope", "--json")))
    )


def test_bootstrap_stands_beside_the_other_intervals(table: Path) -> None:
    fit = json.loads(call("fit", table, "--bootstrap", "300", "--json"))
    assert fit["intervals_beside"]["bootstrap"]["params_exponent"]["interval"]["low"] < 0.51
    assert fit["standard_errors_method"] == "bootstrap"
    assert "pairs bootstrap of runs" in call("fit", table, "--bootstrap", "300", "--show", "coefficients")


def test_hold_out_errors_at_the_asked_and_at_rolling_cut_offs(table: Path) -> None:
    one = json.loads(call("fit", table, "--holdout-above", "5e19", "--json"))["extrapolation"]
    (cut,) = one["cut_offs"]
    assert (cut["flops"], cut["n_held_out"]) == (5e19, 18)
    assert cut["mean_absolute_error"] < 0.01  # noise of 0.5 %
    rolling = json.loads(call("fit", table, "--holdout-above", "rolling", "--json"))["extrapolation"]
    assert len(rolling["cut_offs"]) == 5  # between the six budgets
    told = [c["mean_absolute_error"] for c in rolling["cut_offs"] if c["refused"] is None]
    least, most = (f"{100 * end:.2g} %" for end in (min(told), max(told)))
    text = call("fit", table, "--holdout-above", "rolling")
    assert f"over {len(told)} cuts the dearer runs are missed by {least} to {most}; at least" in " ".join(
        text.split()
    )
    text = call("fit", table, "--holdout-above", "rolling", "--show", "all")
    assert "Fitted up to a budget, asked for the dearer runs" in text
    once = " ".join(call("fit", table, "--holdout-above", "5e19").split())
    assert (
        f"the 18 runs above 5e19 FLOPs are missed by {100 * cut['mean_absolute_error']:.2g} % on average"
        in once
    )
    assert max(len(line) for line in text.splitlines() if not line.startswith("next")) <= 100


def test_laws_are_compared_on_request(table: Path) -> None:
    found = json.loads(call("fit", table, "--compare-laws", "--json"))["comparison"]
    assert {r["law"] for r in found["rows"]} == {"chinchilla", "kaplan_floor", "over_training"}
    assert found["n_held_out"] == 10  # a fifth of 54 runs, rounded up
    low, high = found["spread"]["n_params"]
    assert low < high
    best = found["rows"][0]
    told = f"{best['law']} predicts the dearest runs best ({100 * best['held_out_mean_error']:.2g} %)"
    assert told in " ".join(call("fit", table, "--compare-laws").split())
    text = call("fit", table, "--compare-laws", "--show", "all")
    assert "No interval of" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("next")) <= 100


def test_only_keeps_the_rows_of_a_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = example_runs_text().splitlines()
    path = tmp_path / "two.csv"
    path.write_text(
        "\n".join([f"{header},corpus", *(f"{r},{'a' if i < 54 else 'b'}" for i, r in enumerate(rows + rows))])
    )
    fit = json.loads(call("fit", path, "--only", "corpus=a", "--json"))
    assert fit["n_runs"] == 54
    assert "mixed-corpora" not in codes(fit)
    capsys.readouterr()
    assert run(["fit", str(path), "--only", "corpus=c"]) == 2
    assert "unknown value of corpus 'c'; " in capsys.readouterr().err
    assert run(["fit", str(path), "--only", "corpse=a"]) == 2
    assert "did you mean: corpus" in capsys.readouterr().err
    assert run(["fit", str(path), "--only", "corpus"]) == 2
    assert "takes COLUMN=VALUE" in capsys.readouterr().err


def test_fewer_runs_a_budget_can_be_asked_for(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fit", str(table), "--method", "isoflop", "--min-runs-per-budget", "10"]) == 3
    error = capsys.readouterr().err
    assert "--min-runs-per-budget 9" in error
    assert "and 4 more" in error  # six budgets are refused and two reasons shown
    call("fit", table, "--method", "isoflop", "--min-runs-per-budget", "9")


def test_warnings_stand_on_the_first_screen_before_notes(tmp_path: Path) -> None:
    rows = example_runs_text().splitlines()
    cells = rows[20].split(",")
    place = rows[0].split(",").index("loss")
    cells[place] = str(1.5 * float(cells[place]))
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([*rows[:20], ",".join(cells), *rows[21:]]) + "\n")
    doubts = [line for line in call("fit", path).splitlines() if " - " in line[:7]]
    assert re.match(r"   ! - 1 of 54 runs lies far off: without it N\* grows as C\^0\.51\d$", doubts[0])
    assert not any("!" in line for line in doubts[1:])
    assert "far off" not in call("fit", path, "--exclude", cells[0])
    assert "far-off-runs: " in call("fit", path, "--show", "doubts")


def test_losses_in_bits_are_told_once_unless_the_unit_is_stated(tmp_path: Path) -> None:
    rows = [line.split(",") for line in example_runs_text().splitlines()]
    place = rows[0].index("loss")
    path = tmp_path / "bits.csv"
    bits = [[*r[:place], str(float(r[place]) / np.log(2)), *r[place + 1 :]] for r in rows[1:]]
    path.write_text("\n".join(",".join(r) for r in [rows[0], *bits]) + "\n")
    assert codes(json.loads(call("fit", path, "--json"))).count("loss-unit") == 1
    told = json.loads(call("fit", path, "--loss-unit", "bits/token", "--json"))
    assert "loss-unit" not in codes(told)
    assert told["coefficients"]["E"] == pytest.approx(PLANTED_LAW.E, abs=0.1)
    assert "loss-unit" not in codes(json.loads(call("fit", path, "--loss-unit", "nats/token", "--json")))


def test_flops_counted_otherwise_are_said_and_planned_in_6nd(tmp_path: Path) -> None:
    rows = [line.split(",") for line in example_runs_text().splitlines()]
    at = rows[0].index("flops")
    more = [[*r[:at], str(1.5 * float(r[at])), *r[at + 1 :]] for r in rows[1:]]
    path = tmp_path / "own.csv"
    budget = rows[0].index("budget")
    kept = [[c for i, c in enumerate(r) if i != budget] for r in [rows[0], *more]]
    path.write_text("\n".join(",".join(r) for r in kept) + "\n")
    text = call("fit", path, "--show", "all")
    assert "C is the table's own count (say --flops-convention), 1.5 times 6ND" in " ".join(text.split())
    assert "own count, 1.5 times 6 n_params n_tokens; the budgets" in " ".join(text.split())
    plain = tmp_path / "plain.csv"
    plain.write_text(example_runs_text())
    optimum = [line for line in text.splitlines() if line.startswith("  3e20 ")]
    assert optimum == [
        line for line in call("fit", plain, "--show", "all").splitlines() if line.startswith("  3e20 ")
    ]


@pytest.fixture
def repeated(tmp_path: Path) -> Path:
    """The example with most of its tokens seen more than once, and two budgets of three sizes."""
    path = tmp_path / "repeated.csv"
    table = pd.read_csv(io.StringIO(example_runs_text()))
    tokens = next(name for name in table.columns if "tokens" in name)
    pd.DataFrame({**table, "unique_tokens": table[tokens] / 4}).to_csv(path, index=False)
    return path


def test_the_doubt_that_overturns_the_answer_comes_first_and_its_remedy_is_next(repeated: Path) -> None:
    text = call("fit", repeated)
    first = next(line for line in text.splitlines() if line.strip().startswith("!"))
    assert "repeat their data" in first
    assert text.splitlines()[-1].endswith(f"fit {repeated} --law data_constrained")
    written = call("fit", repeated, "--law", "data_constrained")
    assert "repeat their data" not in written


def test_a_remedy_that_was_taken_is_not_proposed_again(table: Path) -> None:
    found = warning(code="x", message="x", remedies=("--best-of-cell",))
    options = TableOptions(table=table)
    assert _mended([found], options, FitOptions()) == f"scaling fit {table} --best-of-cell"
    assert _mended([found], replace(options, best_of_cell=True), FitOptions()) == ""
    assert _mended([replace(found, severity="note")], options, FitOptions()) == ""


def test_a_surface_through_all_runs_has_no_doubt_about_valleys(table: Path, tmp_path: Path) -> None:
    thin = tmp_path / "thin.csv"
    runs = pd.read_csv(table)
    runs.iloc[6:].to_csv(thin, index=False)  # of the first budget three sizes are left
    of_valleys = json.loads(call("fit", thin, "--method", "isoflop", "--json"))
    assert "few-sizes-in-budget" in codes(of_valleys)
    assert "few-sizes-in-budget" not in codes(json.loads(call("fit", thin, "--json")))
