"""`scaling fit --diagnostics`: the same fit, and what a robust line, unequal noise and single points would change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import scaling
from scaling.cli import cli

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "scaling" / "reference" / "example_runs.csv"


def output(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["fit", str(RUNS), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("method", ["parametric", "isoflop"])
def test_the_screen_gives_the_verdict_of_diagnostics_and_a_section_the_numbers(method):
    plain, diagnosed = output("--method", method), output("--method", method, "--diagnostics")
    whole = output("--method", method, "--diagnostics", "--show", "diagnostics")
    verdict = whole.strip().splitlines()[1]
    assert verdict in diagnosed.replace("\n            ", " ")
    assert verdict not in plain
    assert plain.splitlines()[:6] == diagnosed.splitlines()[:6], "the fit itself is the same"
    assert "influence" in whole


def test_a_section_of_diagnostics_is_made_when_asked_for_and_others_say_the_option_that_they_need():
    assert output("--show", "diagnostics") == output("--diagnostics", "--show", "diagnostics")
    for section, option in (("valleys", "--method isoflop"), ("comparison", "--compare-laws")):
        method = () if section == "valleys" else ("--method", "isoflop")
        assert (
            output(*method, "--show", section).strip() == f"nothing to show of: {section}; it needs {option}"
        )
    both = output("--show", "residuals", "--show", "data")
    assert both == output("--show", "residuals,data")


def test_json_holds_the_numbers_of_the_python_function():
    said = json.loads(output("--method", "isoflop", "--diagnostics", "--json"))
    runs = scaling.load_runs(RUNS)
    found = scaling.diagnose_fit(scaling.fit_isoflop(runs), runs)
    assert said["diagnostics"]["kind"] == "lines"
    line = said["diagnostics"]["lines"][0]
    assert line["robust"]["exponent"]["value"] == pytest.approx(
        found.lines[0].robust.exponent.value, rel=1e-12
    )
    assert line["hc3"]["covariance"] == "HC3"
    assert [p["x"] for p in line["points"]] == [p.x for p in found.lines[0].points]
    without = json.loads(output("--method", "isoflop", "--json"))
    assert {k: v for k, v in said.items() if k != "diagnostics"} == without


def test_json_of_a_parametric_fit_says_that_its_diagnostics_are_of_residuals():
    said = json.loads(output("--diagnostics", "--json"))["diagnostics"]
    assert said["kind"] == "residuals"
    assert said["influential"]["run_id"] in output("--diagnostics", "--show", "diagnostics")


def test_a_plan_reads_a_fit_written_with_diagnostics(tmp_path):
    law = tmp_path / "fit.json"
    output("--method", "isoflop", "--diagnostics", "-o", str(law))
    result = CliRunner().invoke(cli, ["plan", "--flops", "1e21", "--law", str(law)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "diagnostics" in json.loads(law.read_text())


def test_by_takes_no_diagnostics_and_the_remedy_works(tmp_path):
    table = tmp_path / "runs.csv"
    lines = RUNS.read_text().splitlines()
    table.write_text("\n".join([lines[0] + ",corpus", *(row + ",web" for row in lines[1:])]) + "\n")
    from scaling.errors import UsageError

    with pytest.raises(UsageError, match=r"takes no -o, --plot, --diagnostics.*--only corpus=VALUE"):
        CliRunner().invoke(
            cli,
            ["fit", str(table), "--by", "corpus", "--diagnostics"],
            catch_exceptions=False,
            standalone_mode=False,
        )
    result = CliRunner().invoke(
        cli, ["fit", str(table), "--only", "corpus=web", "--diagnostics"], catch_exceptions=False
    )
    assert "  noise" in result.stdout


@pytest.mark.parametrize(("options", "loaded"), [([], "False"), (["--diagnostics"], "True")])
def test_statsmodels_is_loaded_for_diagnostics_alone(options, loaded):
    code = (
        f"from scaling.cli import run; import sys; run({['fit', str(RUNS), *options]!r})\n"
        "print('LOADED', 'statsmodels' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == f"LOADED {loaded}"
