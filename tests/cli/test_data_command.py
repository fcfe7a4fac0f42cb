"""`scaling data`: what it prints, where it writes, and its exit codes."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from scaling.cli import run
from scaling.cli.data import data
from scaling.runs import load_runs
from scaling.runs import public_tables as tables

RAW = Path(__file__).resolve().parents[3] / "shared" / "raw" / "epoch_svg_extracted_data.csv"


def test_list_has_at_most_twenty_lines_and_fits_the_screen(monkeypatch):
    for width in (72, 80, 100, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        result = CliRunner().invoke(data, ["list"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) <= 20
        whole = CliRunner().invoke(data, ["list", "--show", "all"]).output
        assert all(len(line) <= width for line in whole.splitlines())
        for table in tables.PUBLIC_TABLES:
            assert table.id in result.output
        assert "licence none stated" in whole


def test_list_as_csv_has_one_row_a_table():
    listed = pd.read_csv(StringIO(CliRunner().invoke(data, ["list", "--csv"]).output))
    assert list(listed["sha256"]) == [t.sha256 for t in tables.PUBLIC_TABLES]


def test_list_as_json_has_sources_and_hashes():
    payload = json.loads(CliRunner().invoke(data, ["list", "--json"]).output)
    assert payload["schema_version"] == 1
    first = payload["tables"][0]
    assert first["id"] == "epoch-chinchilla"
    assert len(first["sha256"]) == 64
    assert first["url"].startswith("https://raw.githubusercontent.com/epoch-research/")


def test_an_unknown_table_is_wrong_usage(capsys):
    assert run(["data", "get", "epoch-chinchila"]) == 2
    assert "did you mean: epoch-chinchilla" in capsys.readouterr().err


def test_no_network_is_one_line_and_writes_nothing(tmp_path, capsys):
    pytest.importorskip("pooch")
    args = ["data", "get", "epoch-chinchilla", "--cache", str(tmp_path), "--base-url", "http://127.0.0.1:9"]
    assert run(args) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """A cache that holds Epoch's file already, so that no network is needed."""
    pytest.importorskip("pooch")
    if not RAW.is_file():
        pytest.skip("the raw copy of Epoch's file is not here")
    table = tables.find_table("epoch-chinchilla")
    (tmp_path / table.file_name).write_bytes(RAW.read_bytes())
    return tmp_path


def test_get_writes_a_table_that_loads(cached):
    result = CliRunner().invoke(data, ["get", "epoch-chinchilla", "--cache", str(cached)])
    assert result.exit_code == 0, result.output
    assert "245 runs" in result.output
    assert "SHA-256 verified" in result.output
    runs = load_runs(cached / "epoch-chinchilla.csv")
    assert len(runs.select(~runs.extras["epoch_outlier"])) == 240
    assert runs.convention.params == "total"


def test_get_does_not_overwrite_a_file_of_yours(cached, capsys):
    mine = cached / "mine.csv"
    mine.write_text("mine")
    args = ["data", "get", "epoch-chinchilla", "--cache", str(cached), "-o", str(mine)]
    assert run(args) == 3
    assert "exists already" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert run([*args, "--force"]) == 0
    assert len(load_runs(mine)) == 245


def test_get_as_json_names_the_file_and_its_convention(cached):
    result = CliRunner().invoke(data, ["get", "epoch-chinchilla", "--cache", str(cached), "--json"])
    payload = json.loads(result.stdout)
    assert payload["n_runs"] == 245
    assert payload["convention"] == {"params": "total", "flops": "6ND"}
    assert Path(payload["path"]).is_file()
