"""Wide tables: one run a cell becomes one run a row, by what the user says the column names are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scaling.errors import DataError, UsageError
from scaling.runs.raw_table import read_numbers
from scaling.runs.read import read_table
from scaling.runs.wide import looks_wide, option_for_runs

BUDGETS = "dim \\ budget,1e18,3e18,1e19\nd512,3.40,3.30,3.22\nd1024,3.50,,3.10\n"
PANEL = (
    '"Step","70M_1024 - test/lm_loss","70M_1024 - test/lm_loss__MIN","70M_1024 - test/lm_loss__MAX",'
    '"70M_1024 - _step","1B_2048 - test/lm_loss","1B_2048 - tokens"\n'
    "1,3.5,3.4,3.6,1,2.9,1e9\n2,3.3,3.2,3.4,2,,\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "wide.csv"
    path.write_text(text)
    return path


def long(data: Any, spec: str) -> dict[str, list[Any]]:
    table = read_table(data, wide=spec)
    return {h: list(v) for h, v in zip(table.headers, table.values, strict=True)}


def test_budgets_across_become_a_column_and_empty_cells_are_no_runs(tmp_path):
    path = write(tmp_path, BUDGETS)
    found = long(path, "budget")
    assert found["dim"] == ["d512", "d512", "d512", "d1024", "d1024"]
    assert found["budget"] == ["1e18", "3e18", "1e19", "1e18", "1e19"]
    assert found["loss"] == ["3.40", "3.30", "3.22", "3.50", "3.10"]
    assert len(set(found["run_id"])) == 5  # each cell is a run of its own, not a point of a curve
    table = read_table(path, wide="budget")
    assert table.row.tolist() == [2, 2, 2, 3, 3]
    assert any("3 columns of 2 lines were read as 5 rows" in note for note in table.notes)


@pytest.mark.parametrize(
    ("header", "spec", "name", "values"),
    [
        ("N,1e18 FLOPs,3 EFLOP", "flops", "flops", [1e18, 3e18]),
        ("N,loss@1e18,loss@3e18", "budget", "budget", [1e18, 3e18]),
        ("N,C=1e18,C=3e18", "budget", "budget", [1e18, 3e18]),
        ("N,1e18 (loss),3e18 (loss)", "budget", "budget", [1e18, 3e18]),
        ("N \\ budget (EFLOPs),1,3", "budget", "budget", [1e18, 3e18]),
        ("N,1,3", "budget (EFLOPs)", "budget", [1e18, 3e18]),
        ("N,10B,20B tokens", "n_tokens", "n_tokens", [1e10, 2e10]),
        ("N,10,20", "tokens (B)", "n_tokens", [1e10, 2e10]),
        ("budget,70M,1B params", "n_params", "n_params", [7e7, 1e9]),
        ("budget,70M,1B", "size", "n_params", [7e7, 1e9]),
        ("N,tokens_1e10,tokens_2e10", "n_tokens", "n_tokens", [1e10, 2e10]),
    ],
)
def test_a_name_is_read_with_its_unit_and_words(tmp_path, header, spec, name, values):
    table = read_table(write(tmp_path, f"{header}\n1e8,3.4,3.3\n"), wide=spec)
    position = table.headers.index(name)
    assert read_numbers(table, position, name, optional=False).tolist() == pytest.approx(values)


def test_the_first_column_and_the_cells_can_be_named(tmp_path):
    path = write(tmp_path, ",1e18,3e18\n10M,1.1,1.0\n")
    found = long(path, "n_params/budget=val_bpb")
    assert (found["n_params"], found["val_bpb"]) == (["10M", "10M"], ["1.1", "1.0"])


def test_other_columns_are_repeated_and_their_numbers_no_budgets(tmp_path):
    found = long(write(tmp_path, "N,1e18,3e18,seed,layer_12\n1e8,3.4,3.3,7,x\n"), "budget")
    assert (found["seed"], found["layer_12"]) == (["7", "7"], ["x", "x"])


def test_names_that_are_words_are_melted_all(tmp_path):
    found = long(write(tmp_path, "N,c4,pile\n1e8,3.4,3.3\n"), "corpus")
    assert found["corpus"] == ["c4", "pile"]


def test_a_panel_of_wandb_becomes_curves(tmp_path):
    found = long(write(tmp_path, PANEL), "run")
    assert found["Step"] == ["1", "1", "2"]
    assert found["run_id"] == ["70M_1024", "1B_2048", "70M_1024"]
    assert found["test/lm_loss"] == ["3.5", "2.9", "3.3"]  # the means; MIN, MAX and _step are left out
    assert found["tokens"] == [None, "1e9", None]
    assert not any("__M" in name or "_step" in name for name in found)


def test_a_pattern_takes_sizes_out_of_run_names(tmp_path):
    found = long(write(tmp_path, PANEL), "{n_params}_{width}")
    assert found["n_params"] == ["70M", "1B", "70M"]
    assert found["width"] == ["1024", "2048", "1024"]
    assert found["run_id"] == ["70M_1024", "1B_2048", "70M_1024"]
    assert long(write(tmp_path, "N,loss@1e18,loss@3e18\n1,3.4,3.3\n"), "loss@{budget}")["budget"] == [
        "1e18",
        "3e18",
    ]


def test_a_frame_is_melted_too():
    frame = pd.DataFrame({"n_params": [1e8, 2e8], "1e18": [3.4, None], "3e18": [3.3, 3.2]})
    found = long(frame, "budget")
    assert found["n_params"] == [1e8, 1e8, 2e8]
    assert found["loss"] == [3.4, 3.3, 3.2]
    assert found["run_id"][0] == "100000000 1e18"


@pytest.mark.parametrize(
    ("text", "spec", "says"),
    [
        (BUDGETS, "", "says what the column names are"),
        (BUDGETS, "run", "reads columns named 'RUN - METRIC'"),
        (BUDGETS, "n_tokens/", "says what the column names are"),
        ("N,a,b\n1,2,3\n", "budget", "no column name is a value of budget; they are N, a, b"),
        ("N,a,b\n1,2,3\n", "{n_params}_x", "no column name is like"),
        ("N,a,b\n1,2,3\n", "{a}{b}", "set parts apart"),
        ("corpus,c4,pile\n1,2,3\n", "corpus", "two columns named 'corpus'"),
        ("N,1e18,3e18\n1,,\n", "budget", "every cell below 1e18, 3e18 is empty"),
    ],
)
def test_a_wide_table_that_does_not_fit_its_words_is_refused(tmp_path, text, spec, says):
    with pytest.raises(UsageError, match=says):
        read_table(write(tmp_path, text), wide=spec)


@pytest.mark.parametrize(
    ("header", "option"),
    [
        ("dim,1e18,3e18,1e19", "--wide budget"),
        ("N,1B,10B", "--wide n_tokens"),
        ("budget,70M,1B", "--wide n_params"),
        ("Step,a - loss,a - loss__MIN,b - loss", "--wide run"),
        ("Step,a - loss,b - loss", "--wide run"),
        ("N,D,loss", ""),
        ("run,lr,1e18,loss,a,b", ""),
    ],
)
def test_a_wide_table_is_known_by_its_names(tmp_path, header, option):
    cells = ",".join("3" for _ in header.split(","))
    assert looks_wide(read_table(write(tmp_path, f"{header}\n{cells}\n"))) == option


def test_sizes_down_and_sizes_in_the_names_of_runs_are_known(tmp_path):
    down = read_table(write(tmp_path, "dim \\ budget,1e18,3e18\n22.5M,3.4,3.3\n45M,3.3,3.2\n"))
    assert looks_wide(down) == "--wide n_params/budget"
    widths = read_table(write(tmp_path, "dim \\ budget,1e18,3e18\n1024,3.4,3.3\n2048,3.3,3.2\n"))
    assert looks_wide(widths) == "--wide budget"
    panel = (
        "Step,70M_1024 - loss,70M_1024 - loss__MIN,1.3B_2048 - loss,1.3B_2048 - loss__MIN\n1,3,3,2.9,2.9\n"
    )
    assert looks_wide(read_table(write(tmp_path, panel))) == "--wide '{n_params}_{rest}'"
    assert option_for_runs(["70M", "1.3B"]) == "--wide '{n_params}'"
    assert option_for_runs(["70M_a", "big"]) == "--wide run"


def test_a_header_of_numbers_names_the_option(tmp_path):
    with pytest.raises(DataError, match=r"line 1 holds numbers.*--wide n_params/budget \(in Python wide=\)"):
        read_table(write(tmp_path, ",1e18,3e18\n10M,3.4,3.3\n"))
