"""`scaling laws`: what it prints, its JSON, and how it refuses."""

from __future__ import annotations

import json
from io import StringIO

import pandas as pd
import pytest
from click.testing import CliRunner

from scaling.cli import run
from scaling.cli.laws import laws
from scaling.laws import ChinchillaLaw, law_from_dict
from scaling.reference import find_law, law_names, write_law


def out(*args):
    result = CliRunner().invoke(laws, args)
    assert result.exit_code == 0, result.output
    return result.stdout


WIDTHS = (72, 80, 100, 140)


def test_list_has_one_line_a_law_at_every_width(monkeypatch):
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        lines = out("list").splitlines()
        assert max(map(len, lines)) <= width
        assert [line.split()[0] for line in lines[2 : 2 + len(law_names())]] == list(law_names())
        assert max(map(len, out("list", "--show", "all").splitlines())) <= width
    assert lines[2].split()[:4] == ["besiroglu", "2.79B", "59.7B", "21.4"]


def test_the_form_of_each_law_and_what_n_counts_are_a_section_away(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    forms = {line.split()[0]: line for line in out("list", "--show", "forms").splitlines() if line.strip()}
    assert "verified  kaplan " in forms["kaplan-nd"]
    assert "non-embedding" in forms["kaplan-nd"]
    assert forms["besiroglu"].rstrip().endswith("L = E + A/N^alpha + B/D^beta")


def test_csv_has_one_row_a_law_with_the_numbers_of_the_json():
    table = pd.read_csv(StringIO(out("list", "--csv"))).set_index("name")
    for law in json.loads(out("list", "--json"))["laws"]:
        row = table.loc[law["name"]]
        assert {k: row[k] for k in law["coefficients"] if law["coefficients"][k] is not None} == {
            k: v for k, v in law["coefficients"].items() if v is not None
        }
    assert table.loc["hoffmann", "fitted_flops_high"] == 3e21
    optimum = pd.read_csv(StringIO(out("show", "besiroglu", "--csv"))).set_index("flops")
    assert optimum.loc[1e21, "n_params"] == find_law("besiroglu").allocate(1e21).n_params
    assert optimum.loc[1e21, "n_params_low"] < optimum.loc[1e21, "n_params"]
    assert pd.read_csv(StringIO(out("show", "kaplan-n", "--csv"))).empty  # of one quantity


def test_list_json_has_unrounded_coefficients_and_conventions():
    payload = json.loads(out("list", "--json"))
    assert (payload["schema_version"], payload["default"]) == (1, "besiroglu")
    row = next(r for r in payload["laws"] if r["name"] == "hoffmann")
    assert row["coefficients"] == find_law("hoffmann").coefficients
    assert (row["params_convention"], row["flops_convention"]) == ("total", "6ND")
    assert row["fitted_range"]["flops"] == [6e18, 3e21]


@pytest.mark.parametrize("name", law_names())
def test_show_has_at_most_twenty_lines_for_every_law(name, monkeypatch):
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        lines = out("show", name).splitlines()
        assert len(lines) <= 20
        assert max(map(len, lines)) <= width
        whole = out("show", name, "--show", "all")
        assert max(map(len, whole.splitlines())) <= width
    assert "Where it comes from" in whole
    assert find_law(name).provenance.source in " ".join(whole.split())
    assert "nan" not in whole


def test_show_prints_the_optimum_with_its_interval():
    text = out("show", "besiroglu")
    assert "N* ~ C^0.514, D* ~ C^0.486" in text
    assert "1e21  2.79B  59.7B  21.4  2.304" in text
    assert "N counts total parameters" in text
    assert "pairs bootstrap" in out("show", "besiroglu", "--show", "source")


def test_show_json_is_a_law_file(tmp_path):
    assert law_from_dict(json.loads(out("show", "muennighoff", "--json"))) == find_law("muennighoff")
    mine = ChinchillaLaw(E=1.0, A=100.0, B=100.0, alpha=0.3, beta=0.3)
    write_law(mine, tmp_path / "fit.json")
    assert law_from_dict(json.loads(out("show", str(tmp_path / "fit.json"), "--json"))) == mine
    assert "not recorded" in out("show", str(tmp_path / "fit.json"))


def test_an_unknown_law_exits_2_with_near_names(capsys):
    assert run(["laws", "show", "besirglu"]) == 2
    assert "did you mean: besiroglu" in capsys.readouterr().err


def test_a_damaged_file_exits_3(tmp_path, capsys):
    (tmp_path / "fit.json").write_text("{")
    assert run(["laws", "show", str(tmp_path / "fit.json")]) == 3
    assert "is damaged" in capsys.readouterr().err
