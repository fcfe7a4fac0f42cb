"""`scaling fit`, `predict` and `demo` as a user calls them."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from scaling.cli import cli, run
from scaling.reference.example import PLANTED_LAW, example_runs_text


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(example_runs_text())
    return path


def call(*args: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_parametric_json_holds_the_contract(table: Path) -> None:
    fit = json.loads(call("fit", table, "--json"))
    assert fit["schema_version"] == 1
    assert fit["method"] == "parametric"
    assert set(fit["coefficients"]) == {"E", "A", "B", "alpha", "beta"}
    assert fit["objective"]["name"] == "huber"
    assert fit["n_runs"] == 54
    assert set(fit["standard_errors"]) == set(fit["intervals"]) == set(fit["coefficients"])
    for exponent in ("params_exponent", "tokens_exponent"):
        assert {"value", "interval"} <= set(fit[exponent])
    assert fit["findings"] == [] or {"code", "severity", "message"} <= set(fit["findings"][0])
    assert fit["excluded"] == []
    assert fit["law"]["family"] == "chinchilla"


def test_planted_coefficients_lie_inside_their_intervals(table: Path) -> None:
    fit = json.loads(call("fit", table, "--json"))
    for name, interval in fit["intervals"].items():
        assert interval["low"] <= getattr(PLANTED_LAW, name) <= interval["high"]


def test_isoflop_json_holds_the_contract(table: Path) -> None:
    fit = json.loads(call("fit", table, "--method", "isoflop", "--json"))
    assert [b["flops"] for b in fit["budgets"]] == pytest.approx(
        [1e18, 3e18, 1e19, 3e19, 1e20, 3e20], rel=0.01
    )
    for key in ("flops", "n_params", "n_tokens", "loss", "intervals", "refused"):
        assert key in fit["budgets"][0]
    for key in ("params_exponent", "tokens_exponent", "params_coefficient", "tokens_coefficient"):
        assert fit[key]["value"] > 0
    planted = PLANTED_LAW.params_exponent
    assert fit["params_exponent"]["interval"]["low"] <= planted <= fit["params_exponent"]["interval"]["high"]


@pytest.mark.parametrize("method", ["parametric", "isoflop"])
def test_a_written_fit_plans_with_intervals(table: Path, tmp_path: Path, method: str) -> None:
    law = tmp_path / "fit.json"
    call("fit", table, "--method", method, "-o", law)
    plan = json.loads(call("plan", "--flops", "1e21", "--law", law, "--json"))
    truth = PLANTED_LAW.allocate(1e21)
    interval = plan["intervals"]["n_params"]
    low, high = (interval["low"], interval["high"]) if isinstance(interval, dict) else interval
    assert low <= truth.n_params <= high
    assert plan["n_params"] == pytest.approx(
        truth.n_params, rel=0.3
    )  # 0.5 % noise, three times the largest budget


def test_envelope_of_curves(tmp_path: Path) -> None:
    import pandas as pd

    from scaling.reference.example import example_curves

    curves = tmp_path / "curves.csv"
    pd.DataFrame(example_curves()).to_csv(curves, index=False)
    fit = json.loads(call("fit", curves, "--method", "envelope", "--json"))
    assert fit["params_exponent"]["value"] == pytest.approx(PLANTED_LAW.params_exponent, abs=0.02)


def test_text_gives_the_claim_and_the_law_first_and_the_next_command_last(table: Path) -> None:
    lines = call("fit", table).splitlines()
    assert lines[0].startswith("N* grows as C^0.5")
    assert lines[1].startswith("L(N, D) = ")
    assert lines[-1].startswith("next  scaling fit ")
    assert max(map(len, lines[:-1])) <= 100


def test_dropped_and_excluded_runs_are_told(table: Path) -> None:
    fit = json.loads(call("fit", table, "--exclude", "1e18-20.5M", "--json"))
    assert fit["n_runs"] == 53
    assert fit["excluded"] == ["1e18-20.5M"]


def test_predict_sums_up_and_covers_its_own_runs(table: Path, tmp_path: Path) -> None:
    law = tmp_path / "fit.json"
    call("fit", table, "-o", law)
    told = json.loads(call("predict", law, table, "--json"))
    assert len(told["runs"]) == 54
    assert told["summary"]["mean_absolute_error_fraction"] < 0.01  # noise of 0.5 %
    assert told["summary"]["inside_interval_fraction"] > 0.85
    row = told["runs"][0]
    assert (
        row["prediction_interval"]["low"]
        < row["interval"]["low"]
        < row["predicted_loss"]
        < row["interval"]["high"]
    )


def test_demo_shows_the_truth_inside_most_intervals() -> None:
    text = call("demo", "--show", "all")
    assert text.count("inside") >= 10  # of eleven
    assert "generated (not trained)" in text


def test_demo_writes_a_table_and_does_not_overwrite_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    call("demo", "--write", path)
    assert path.read_text() == example_runs_text()
    assert run(["demo", "--write", str(path)]) == 2
    assert "pass --force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "code", "message"),
    [
        ("", 3, "empty"),
        ("n_params,n_tokens,loss\n", 3, "no runs"),
        ("n_params,loss\n1e9,2.0\n", 3, "n_tokens"),
        ("n_params,n_tokens,loss\n1e9,1e10,2.0\n1e9,oops,2.1\n", 3, "line 3, column n_tokens"),
        ("n_params,n_tokens,loss\n1e9,1e10,nan\n", 3, "loss"),
        ("n_params,n_tokens,loss\n1e9,-1e10,2\n", 3, "n_tokens"),
        (
            "n_params,n_tokens,loss\n1e9,1e10,2\n2e9,1e10,2\n1e9,2e10,2\n2e9,2e10,2\n4e9,1e10,2\n4e9,4e10,2\n",
            3,
            "loss",
        ),
        ("n_params,n_tokens,loss\n" + "1e9,1e10,2.5\n2e9,1e10,2.4\n3e9,4e10,2.3\n", 3, "runs"),
    ],
    ids=["empty", "header-only", "no-tokens", "text", "nan", "negative", "equal-losses", "three-runs"],
)
def test_bad_tables_are_one_line_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str, code: int, message: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(rows)
    assert run(["fit", str(path)]) == code
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def test_a_missing_table_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fit", str(tmp_path / "none.csv")]) in (1, 2, 3)
    assert "none.csv" in capsys.readouterr().err


def test_an_existing_output_is_not_overwritten(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    law = tmp_path / "fit.json"
    law.write_text("keep me")
    assert run(["fit", str(table), "-o", str(law)]) == 2
    assert law.read_text() == "keep me"
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "fit"}', '{"schema_version": 9, "kind": "law"}'])
def test_a_damaged_fit_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    law = tmp_path / "fit.json"
    law.write_text(text)
    assert run(["plan", "--flops", "1e21", "--law", str(law)]) == 3
    assert str(law) in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_plot_is_written(table: Path, tmp_path: Path, ending: str) -> None:
    picture = tmp_path / f"fit.{ending}"
    call("fit", table, "--plot", picture)
    assert picture.stat().st_size > 5000


def test_unknown_command_names_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fitt", "x"]) == 2
    assert "Did you mean fit" in capsys.readouterr().err


def test_planned_runs_are_predicted_without_a_loss(table: Path, tmp_path: Path) -> None:
    planned = tmp_path / "planned.csv"
    planned.write_text("run_id,n_params,n_tokens\nsmall,1e9,2e10\nlarge,8e9,1.6e11\n")
    law = tmp_path / "fit.json"
    call("fit", table, "-o", law)
    told = json.loads(call("predict", law, planned, "--json"))
    assert told["summary"]["n_measured"] == 0
    assert told["summary"]["mean_absolute_error_fraction"] is None
    for row in told["runs"]:
        truth = PLANTED_LAW.loss(row["n_params"], row["n_tokens"])
        assert row["loss"] is None
        assert row["error_fraction"] is None
        assert row["prediction_interval"]["low"] < truth < row["prediction_interval"]["high"]
    text = call("predict", law, planned)
    assert " ".join(text.split()).startswith(f"{law} on 2 planned runs, none of them trained yet")
    assert "95 % of a run" in text


def test_a_half_measured_table_sums_up_the_measured_part(tmp_path: Path) -> None:
    path = tmp_path / "half.csv"
    path.write_text("run_id,n_params,n_tokens,loss\na,1e9,2e10,2.53\nb,8e9,1.6e11,\n")
    told = json.loads(call("predict", "besiroglu", path, "--json"))
    assert (told["summary"]["n_runs"], told["summary"]["n_measured"]) == (2, 1)
    assert told["summary"]["mean_absolute_error_fraction"] == abs(told["runs"][0]["error_fraction"])


def test_a_prediction_of_the_default_law_holds_the_scatter_of_a_run() -> None:
    """95 % of the 240 runs of that law lie within its half-width of 1.96 x .00695 in ln loss."""
    from scaling.reference import find_law

    uncertainty = find_law("besiroglu").uncertainty
    assert uncertainty is not None
    assert uncertainty.residual_sd == pytest.approx(0.00695, rel=1e-3)


def test_the_scatter_of_the_default_law_is_that_of_its_runs(shared_runs: Path) -> None:
    import numpy as np

    from scaling.reference import find_law
    from scaling.runs import load_runs

    runs = load_runs(shared_runs / "epoch_chinchilla.csv")
    runs = runs.select(~runs.extras["epoch_outlier"].astype(bool))
    law = find_law("besiroglu")
    residual = np.abs(np.log(law.loss(runs.n_params, runs.n_tokens) / runs.loss))
    assert np.mean(residual <= 1.96 * law.uncertainty.residual_sd) == pytest.approx(0.95, abs=0.01)


def test_planned_runs_are_not_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "planned.csv"
    path.write_text("n_params,n_tokens\n1e9,2e10\n")
    assert run(["fit", str(path)]) == 3
    assert "loss" in capsys.readouterr().err


def test_names_in_a_table_cannot_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    rows = example_runs_text().splitlines()
    bad = rows[5].replace(rows[5].split(",")[0], "a\x1b]0;title\x07\x1b[31mb")
    cells = bad.split(",")
    cells[-1] = "9.9"  # far off the law, so that it is named
    path.write_text("\n".join([*rows[:5], ",".join(cells), *rows[6:]]) + "\n")
    for words in (("fit", path), ("predict", "besiroglu", path)):
        result = CliRunner().invoke(cli, [str(w) for w in words], color=True)
        whole = CliRunner().invoke(cli, [*(str(w) for w in words), "--show", "all"], color=True).stdout
        assert "\\x1b]0;title" in whole
        assert "\x1b]" not in whole
        assert "\x1b]" not in result.stdout
    assert run(["fit", str(path), "--exclude", "nothing like it"]) == 2
    assert run(["fit", str(path), "--only", "run_id=a\x1b[31m"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def shown_coefficients(tmp_path: Path, noise: float, *options: str) -> dict[str, str]:
    """The values `scaling fit` prints for runs of a true law, each loss off by a part `noise` of itself."""
    rng = np.random.default_rng(0)
    rows = ["n_params,n_tokens,loss"]
    for flops in (1e18, 1e19, 1e20, 1e21):
        for shift in (0.25, 0.5, 1, 2, 4):
            N = (flops / 120) ** 0.5 * shift
            D = flops / 6 / N
            L = (1.7 + 380 / N**0.34 + 1700 / D**0.36) * math.exp(noise * rng.normal())
            rows.append(f"{N:.16g},{D:.16g},{L:.16g}")
    path = tmp_path / f"noise-{noise}.csv"
    path.write_text("\n".join(rows) + "\n")
    words = [line.split() for line in call("fit", path, *options, "--show", "coefficients").splitlines()]
    return {line[0]: line[1] for line in words if line and line[0] in ("E", "A", "B", "alpha", "beta")}


@pytest.mark.parametrize("options", [(), ("--law", "chinchilla")])
def test_no_coefficient_is_printed_with_fewer_digits_because_its_error_is_smaller(tmp_path, options):
    shown = [shown_coefficients(tmp_path, noise, *options) for noise in (0.0, 1e-8, 1e-5, 1e-3)]
    assert shown[0] == {
        "E": "1.70000",
        "A": "380.000",
        "B": "1700.00",
        "alpha": "0.340000",
        "beta": "0.360000",
    }
    for less, more in itertools.pairwise(shown):
        for name, text in less.items():
            assert len(text.rstrip(".")) >= len(more[name].rstrip("."))


def test_a_prediction_and_the_demo_stand_on_twenty_lines_with_the_score_first(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call("fit", "runs.csv", "-o", "fit.json")
    score = json.loads(call("predict", "fit.json", table, "--json"))["summary"]
    for width in (72, 80, 100, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        for words in (("predict", "fit.json", "runs.csv"), ("predict", "besiroglu", "runs.csv"), ("demo",)):
            lines = call(*words).splitlines()
            assert len(lines) <= 20, "\n".join(lines)
            assert max(map(len, lines)) <= width
    first = " ".join(call("predict", "fit.json", "runs.csv").split())
    error = 100 * score["mean_absolute_error_fraction"]
    assert first.startswith(f"fit.json on 54 runs: mean absolute error {error:.2g} %, bias")


def test_tables_to_paste_hold_what_the_json_holds(table: Path, tmp_path: Path) -> None:
    import io

    import pandas as pd

    law = tmp_path / "fit.json"
    told = json.loads(call("fit", table, "--json"))
    frame = pd.read_csv(io.StringIO(call("fit", table, "--csv", "-o", law))).set_index("quantity")
    assert frame["value"][["E", "alpha"]].to_dict() == pytest.approx(
        {name: told["coefficients"][name] for name in ("E", "alpha")}
    )
    assert frame.loc["params_exponent", "low"] == pytest.approx(told["params_exponent"]["interval"]["low"])
    runs = json.loads(call("predict", law, table, "--json"))["runs"]
    rows = pd.read_csv(io.StringIO(call("predict", law, table, "--csv")))
    assert rows["run_id"].tolist() == [run["run_id"] for run in runs]
    assert rows["predicted_loss"].tolist() == pytest.approx([run["predicted_loss"] for run in runs])
    assert "| params_exponent |" in call("fit", table, "--table", "markdown")


def test_the_next_command_works_of_a_table_from_a_pipe_and_beside_a_fit_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fit.json").write_text("precious")
    said = CliRunner().invoke(cli, ["fit", "-"], input=example_runs_text(), catch_exceptions=False).stdout
    assert "save it as runs.csv for the next command" in said
    assert len(said.splitlines()) <= 20
    Path("runs.csv").write_text(example_runs_text())
    (first,) = [line.removeprefix("next").strip() for line in said.splitlines() if line.startswith("next")]
    for command in first.split(" && "):
        assert run(command.split()[1:]) == 0
    assert Path("fit.json").read_text() == "precious"
    assert "scaling fit runs.csv -o fit-3.json && " in call("fit", "runs.csv")  # fit-2.json was written


def test_a_prediction_that_the_runs_refute_is_doubted_and_leads_to_a_fit_of_them(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    dear = pd.read_csv(table).assign(loss=lambda t: 1.2 * t["loss"])  # 20 % above: outside every interval
    dear.to_csv("dear.csv", index=False)
    told = call("predict", "besiroglu", "dear.csv")
    first = next(line for line in told.splitlines() if line.lstrip().startswith("!"))
    assert "this law is not that of these runs: fit one to them" in first
    assert "0 % of the runs lie inside their 95 % intervals" in call(
        "predict", "besiroglu", "dear.csv", "--show", "all"
    )
    assert "scaling fit dear.csv" in told
    assert "scaling plan" not in told
    assert call("fit", "dear.csv")
    call("fit", table, "-o", "own.json")
    held = call("predict", "own.json", table)
    assert "fit one to them" not in held
    assert "scaling plan" in held
    by_errors = call("predict", "hoffmann", "dear.csv", "--show", "all")  # it has no intervals to be held to
    assert "the law is off by" in by_errors
