"""`scaling fit --by COLUMN`: each group on its own, in one table; and rows of curves taken as asked."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from scaling.cli import cli, run
from scaling.laws import ChinchillaLaw

LAWS = {
    "web": ChinchillaLaw(E=1.7, A=400, B=1500, alpha=0.34, beta=0.36),
    "code": ChinchillaLaw(E=0.9, A=150, B=4000, alpha=0.3, beta=0.41),
}


def call(*args: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two corpora of 25 runs on laws of their own, one of three runs, one row that names none."""
    rng = np.random.default_rng(0)
    lines = ["corpus,n_params,n_tokens,loss"]
    for corpus, law in LAWS.items():
        for N in np.geomspace(1e8, 1e10, 5):
            for D in np.geomspace(2e9, 1e12, 5):
                lines.append(
                    f"{corpus},{N:.6g},{D:.6g},{law.loss(N, D) * np.exp(0.002 * rng.standard_normal()):.6g}"
                )
    lines += [f"tiny,{N:.3g},{20 * N:.3g},{3 - 0.1 * i:.3g}" for i, N in enumerate((1e8, 2e8, 3e8))]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_each_group_is_fitted_as_if_alone(table: Path) -> None:
    told = json.loads(call("fit", table, "--by", "corpus", "--json"))
    assert (told["kind"], told["by"], list(told["groups"])) == ("fits", "corpus", ["web", "code", "tiny"])
    for corpus, law in LAWS.items():
        alone = json.loads(call("fit", table, "--only", f"corpus={corpus}", "--json"))
        assert told["groups"][corpus]["coefficients"] == alone["coefficients"]
        assert alone["coefficients"]["E"] == pytest.approx(law.E, abs=0.06)  # noise of 0.2 %
        assert "mixed-corpora" not in {f["code"] for f in told["groups"][corpus]["findings"]}
    assert told["groups"]["tiny"]["refused"].endswith("n_tokens.")
    assert told["groups"]["tiny"]["n_runs"] == 3


def test_one_row_a_group_and_the_small_ones_are_named(table: Path) -> None:
    text = call("fit", table, "--by", "corpus")
    assert re.match(
        r"N\* grows as C\^0\.\d{3} \(\w+\) to C\^0\.\d{3} \(\w+\), over 2 groups of corpus\.\n", text
    )
    header, *rows = [line.split() for line in text.splitlines() if line.startswith("  ") and ":" not in line]
    assert header[:2] == ["corpus", "runs"]
    assert [row[:2] for row in rows if row[0] in LAWS] == [["web", "25"], ["code", "25"]]
    assert "1 group not fitted: --show groups" in text
    assert "tiny: not fitted." in call("fit", table, "--by", "corpus", "--show", "groups")
    next_command = text.splitlines()[-1].removeprefix("next  scaling ")
    assert call(*shlex.split(next_command)).startswith("N* grows as ")


def test_a_table_of_groups_has_a_row_a_group_with_its_exponent(table: Path) -> None:
    import io

    import pandas as pd

    told = json.loads(call("fit", table, "--by", "corpus", "--json"))["groups"]
    frame = pd.read_csv(io.StringIO(call("fit", table, "--by", "corpus", "--csv"))).set_index("corpus")
    assert list(frame.index) == ["web", "code", "tiny"]
    for name in LAWS:
        assert frame.loc[name, "params_exponent"] == pytest.approx(told[name]["params_exponent"]["value"])
        assert frame.loc[name, "E_low"] == pytest.approx(told[name]["intervals"]["E"]["low"])
    assert frame.loc["tiny", "refused"] == told["tiny"]["refused"]


def test_many_groups_stand_on_twenty_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    law, lines = LAWS["web"], ["a corpus of a long name,n_params,n_tokens,loss"]
    for k in range(16):
        for N in (1e8, 3e8, 1e9, 3e9):
            for D in (2e9, 2e10, 2e11):
                noise = 1 + 1e-3 * np.sin(N * D * (k + 1))
                lines.append(f"the group number {k} of all,{N:.6g},{D:.6g},{law.loss(N, D) * noise:.6g}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    for width in (72, 80, 100, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = call("fit", "runs.csv", "--by", "a corpus of a long name").splitlines()
        assert len(shown) <= 20, "\n".join(shown)
        assert max(map(len, shown)) <= width
    assert "and 7 more: --show groups" in "\n".join(shown)


def test_a_group_of_no_name_and_numbers_are_groups_too(table: Path) -> None:
    lines = table.read_text().splitlines()
    table.write_text(
        "\n".join(
            [lines[0] + ",vocab", *(f"{line},{32000 if 'web' in line else ''}" for line in lines[1:51])]
        )
    )
    told = json.loads(call("fit", table, "--by", "vocab", "--json"))
    assert set(told["groups"]) == {"32000", "(none)"}


def test_every_method_takes_groups(table: Path) -> None:
    told = json.loads(
        call("fit", table, "--by", "corpus", "--law", "params_power_law", "--fix", "alpha=0.1", "--json")
    )
    assert told["groups"]["web"]["fixed"] == {"alpha": 0.1}
    assert "0.1" in call("fit", table, "--by", "corpus", "--law", "params_power_law", "--fix", "alpha=0.1")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--by corpse", "did you mean: corpus"),
        ("--by corpus -o x.json", "--only corpus=VALUE"),
        ("--by corpus --compare-laws", "--only corpus=VALUE"),
        ("--by corpus --only corpus=tiny", "no group of corpus can be fitted"),
    ],
)
def test_groups_that_cannot_be_are_one_line(
    table: Path, words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fit", str(table), *words.split()]) in (1, 2, 3)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert told in errors[0]


def test_a_column_of_measurements_is_no_column_of_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "flops,loss\n" + "".join(f"{1e18 * 1.1**i:.6g},{3 - 0.001 * i:.6g}\n" for i in range(150))
    )
    assert run(["fit", str(path), "--by", "loss"]) == 2
    assert "150 different values" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--method", "isoflop"], ["--law", "kaplan"], []])
def test_every_row_is_obeyed_by_every_method(tmp_path: Path, words: list[str]) -> None:
    law, rows = LAWS["web"], ["run_id,n_params,n_tokens,loss"]
    for C in (1e19, 1e20, 1e21):
        for ratio in np.geomspace(3, 160, 7):
            N = (C / (6 * ratio)) ** 0.5
            rows += [
                f"{C:g}-{ratio:.3g},{N:.6g},{s * N * ratio:.6g},{law.loss(N, s * N * ratio):.5g}"
                for s in (0.97, 1)
            ]
    path = tmp_path / "curves.csv"
    path.write_text("\n".join(rows) + "\n")
    for option, n_runs in (("--every-row", 42), ("--final", 21)):
        fit = json.loads(call("fit", path, *words, option, "--json"))
        assert fit["n_runs"] == n_runs
