"""`scaling laws`: what it prints, its JSON, and how it refuses."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from scaling.cli import run
from scaling.cli.laws import laws
from scaling.laws import ChinchillaLaw, law_from_dict, write_law
from scaling.reference import find_law, law_names


def out(*args):
    result = CliRunner().invoke(laws, args)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_shows_every_law_within_100_columns():
    lines = out("list").splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[1 : 1 + len(law_names())]] == list(law_names())
    assert "besiroglu            chinchilla" in lines[1]


def test_list_json_has_unrounded_coefficients_and_conventions():
    payload = json.loads(out("list", "--json"))
    assert (payload["schema_version"], payload["default"]) == (1, "besiroglu")
    row = next(r for r in payload["laws"] if r["name"] == "hoffmann")
    assert row["coefficients"] == find_law("hoffmann").coefficients
    assert (row["params_convention"], row["flops_convention"]) == ("total", "6ND")
    assert row["fitted_range"]["flops"] == [6e18, 3e21]


@pytest.mark.parametrize("name", law_names())
def test_show_fits_100_columns_for_every_law(name):
    text = out("show", name)
    assert max(map(len, text.splitlines())) <= 100
    assert "Where it comes from" in text
    assert "nan" not in text


def test_show_prints_the_optimum_with_its_interval():
    text = out("show", "besiroglu")
    assert "N* ~ C^0.514, D* ~ C^0.486" in text
    assert "1e21  2.79B  59.7B  21.4  2.304" in text
    assert "pairs bootstrap" in text


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
