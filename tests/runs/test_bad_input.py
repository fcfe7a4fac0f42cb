"""Bad tables: each is refused with the file, the line, the column, the value, and what to do."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.errors import DataError, ScalingError
from scaling.runs import Runs, check_runs, load_runs, text_table
from scaling.runs import read as reading

HEADER = "n_params,n_tokens,loss\n"
GOOD = "1e8,2e9,3.1\n"


def refusal(path: Path, exit_code: int = 3) -> str:
    with pytest.raises(DataError) as caught:
        load_runs(path)
    message = str(caught.value)
    assert str(path) in message
    assert caught.value.exit_code == exit_code
    return message


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty; give a header line"),
        ("\n \n", "is empty"),
        (HEADER, "has column names but no runs"),
        ("1e8,2e9,3.1\n2e8,4e9,2.9\n", "line 1 holds numbers where the column names belong"),
        ("n_params,tokenz,loss\n" + GOOD, "no column for n_tokens"),
        ("n_prams,n_tokens,loss\n" + GOOD, "Is it n_prams? Then say --column n_params=n_prams"),
        ("n_params,n_tokens\n1e8,2e9\n", "no column for loss"),
        ("n_params,n_tokens,loss,loss\n1e8,2e9,3.1,3.1\n", "two columns are named 'loss'"),
        (HEADER + "1e8,2e9\n", "line 2: 2 cells under 3 column names"),
        (HEADER + GOOD + "1e8,2e9,3.1,7\n", "line 3: 4 cells under 3 column names"),
        (HEADER + GOOD + "many,2e9,3.1\n", "line 3, column n_params: 'many' is not a number"),
        (HEADER + GOOD + "1e8,2e9,3.1x\n", "line 3, column loss: '3.1x' is not a number"),
        (HEADER + GOOD + "1e8,2e9,nan\n", "line 3, column loss: is empty or NaN"),
        (HEADER + GOOD + "1e8,2e9,\n", "line 3, column loss: is empty or NaN"),
        (HEADER + GOOD + "1e8,2e9,inf\n", "line 3, column loss: 'inf' is not a finite number above zero"),
        (HEADER + GOOD + "1e8,-2e9,3\n", "line 3, column n_tokens: '-2e9' is not a finite number above zero"),
        (HEADER + GOOD + "0,2e9,3\n", "line 3, column n_params: '0' is not a finite number above zero"),
        (HEADER + GOOD + "1e8,2e9,-3\n", "line 3, column loss: '-3' is negative"),
        (HEADER + "1e8,2e9,-3\n" * 5, "4 more rows are alike"),
        (HEADER + "1e30,2e9,3\n", "more than any run; check the unit"),
        (HEADER + '1e8,"2e9,3.1\n' + GOOD, "line 2"),
        ("n_params,n_tokens,loss,flops\n1e8,2e9,3.1,\n", "line 2, column flops: is empty"),
        ("n_params,n_tokens,loss,step\n1e8,2e9,3.1,-4\n", "not a finite number zero or more"),
        (
            "params,model_size,n_tokens,loss\n1e8,2e8,1e9,3\n",
            "'params' and 'model_size' can each be read as n_params",
        ),
        (b"\xff\xfe" + HEADER.encode("utf-16-le"), "has column names but no runs"),
        (HEADER.encode() + "1e8,2e9,3.1,é".encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
        (HEADER.encode() + b"\x00\x01\x02", "line 2: a NUL byte"),
        ("a" * 3_000_000, "first line is longer than"),
    ],
)
def test_a_bad_csv_is_refused_by_place_and_remedy(tmp_path, content, says):
    assert says in refusal(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"n_params": 1e8,\n', "line 1: not a JSON object"),
        ("[1, 2]\n", "is not a JSON object"),
        ('{"n_params": true, "n_tokens": 2e9, "loss": 3}\n', "line 1, column n_params"),
        ('{"n_params": {"a": 1}, "n_tokens": 2e9, "loss": 3}\n', "no column for n_params"),
        ('{"n_params": 1e8, "n_tokens": 2e9, "loss": NaN}\n', "line 1, column loss: is empty or NaN"),
        ('{"n_params": 1e8, "n_tokens": 2e9, "loss": null}\n', "line 1, column loss: is empty or NaN"),
        ('{"n_params": 1e8, "n_tokens": 2e9}\n{"loss": 3}\n', "line 2, column n_params: is empty"),
        ('{"n_params": 1' + "0" * 400 + ', "n_tokens": 2e9, "loss": 3}\n', "line 1, column n_params"),
    ],
)
def test_bad_json_lines_are_refused(tmp_path, content, says):
    assert says in refusal(write(tmp_path, content, "t.jsonl"))


def test_what_is_no_table_is_refused(tmp_path):
    write(tmp_path, HEADER + GOOD, "mine.csv")
    assert "is a folder; name one table of runs" in refusal(tmp_path)
    assert "It holds mine.csv" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "absent.csv", exit_code=1)
    assert "has column names but no runs" in refusal(write(tmp_path, b"PK", "t.xlsx"))
    assert "damaged or cut-off gzip" in refusal(
        write(tmp_path, gzip.compress(HEADER.encode() * 99)[:-9], "t.csv.gz")
    )
    pytest.importorskip("pyarrow")
    assert "not a readable Parquet file" in refusal(write(tmp_path, b"PAR1 nothing", "t.parquet"))
    with pytest.raises(DataError, match="takes a path or a DataFrame; got int"):
        load_runs(3)
    with pytest.raises(DataError, match="s3 addresses are not read; download the table"):
        load_runs("s3://bucket/runs.csv")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = write(tmp_path, HEADER + GOOD)
    path.chmod(0)
    assert "cannot be read: Permission denied" in refusal(path)


def test_bad_frames_are_refused():
    with pytest.raises(DataError, match="DataFrame, row 2, column loss"):
        load_runs(pd.DataFrame({"n_params": [1e8, 2e8], "n_tokens": [2e9, 4e9], "loss": [3.0, None]}))
    with pytest.raises(DataError, match="holds no runs"):
        load_runs(pd.DataFrame({"n_params": [], "n_tokens": [], "loss": []}))
    with pytest.raises(DataError, match="row 1, column n_tokens"):
        load_runs(pd.DataFrame({"n_params": [1e8], "n_tokens": [pd.Timestamp("2024-01-01")], "loss": [3.0]}))
    twice = pd.DataFrame([[1e8, 2e9, 3.0, 3.0]], columns=["n_params", "n_tokens", "loss", "loss"])
    with pytest.raises(DataError, match="two columns are named 'loss'"):
        load_runs(twice)
    with pytest.raises(DataError, match="differ in length"):
        load_runs({"n_params": [1e8], "n_tokens": [2e9, 4e9], "loss": [3.0]})
    with pytest.raises(DataError, match="one value a run"):
        load_runs({"n_params": 1e8, "n_tokens": [2e9], "loss": [3.0]})


def test_a_table_of_a_billion_rows_is_refused_unread(tmp_path):
    path = write(tmp_path, HEADER + GOOD * 200_000)
    os.truncate(path, 12_000_000_000)  # a sparse file: takes no room on disk
    message = refusal(path)
    assert "1e+09 rows (12 GB)" in message
    assert "last row of each run" in message


def test_a_gzip_of_any_length_stops_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 16)
    path = write(tmp_path, gzip.compress((HEADER + GOOD * 500_000).encode()), "t.csv.gz")
    with pytest.raises(DataError, match="of text; at most"):
        load_runs(path, max_rows=100_000)
    assert len(load_runs(path)) == 500_000


# --- the large-file reader says the same as the small one ---


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1e8,2e9,x", "line 5003, column loss: 'x' is not a number"),
        ("1e8,2e9,nan", "line 5003, column loss: is empty or NaN"),
        ("1e8,2e9,-1", "line 5003, column loss: -1 is negative"),
        ("1e8,2e9,inf", "line 5003, column loss: inf is not a finite number"),
        ("1e8,2e9,3,4", "line 5003: 4 cells under 3 column names"),
        ("1e8,2e9", "line 5003, column loss: is empty or NaN"),
    ],
)
def test_large_files_are_refused_by_line_too(tmp_path, monkeypatch, row, says):
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 14)
    monkeypatch.setattr(reading, "SAMPLE_BYTES", 1 << 12)
    path = write(tmp_path, HEADER + GOOD * 5000 + "\n" + row + "\n" + GOOD * 10)
    assert says in refusal(path)


def test_large_and_small_files_read_alike(tmp_path, monkeypatch):
    rows = "".join(
        f"run {i // 10},{i % 10},{i + 1}M,{i + 1}e6,3.{i:04d},{'' if i % 3 else i + 1},x{i}\n"
        for i in range(900)
    )
    path = write(tmp_path, "run_id,step,n_params,n_tokens,loss,budget,tag\n" + rows)
    small = load_runs(path)
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 14)
    monkeypatch.setattr(reading, "SAMPLE_BYTES", 1 << 12)
    monkeypatch.setattr(text_table, "BLOCK_ROWS", 100)
    large = load_runs(path)
    assert large.run_id == small.run_id
    for name in ("n_params", "n_tokens", "loss", "step", "row"):
        assert getattr(large, name).tolist() == getattr(small, name).tolist()
    assert large.extras["tag"].tolist() == small.extras["tag"].tolist()
    assert str(large.budget) == str(small.budget)


# --- nothing but a ScalingError, whatever the file holds ---

CELL = st.one_of(
    st.sampled_from(
        ["1e8", "7B", "2e9", "3.1", "", "nan", "inf", "-1", "0", "1e400", "x", '"', "1,5", "True", "None"]
    ),
    st.text(max_size=8),
    st.floats().map(repr),
)
NAME = st.one_of(
    st.sampled_from(
        ["n_params", "n_tokens", "loss", "flops", "run_id", "step", "N", "D", "params (M)", "loss_unit"]
    ),
    st.text(max_size=6),
)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(st.lists(NAME, min_size=1, max_size=6), st.lists(st.lists(CELL, max_size=7), max_size=6))
def test_any_csv_gives_runs_or_a_scaling_error(tmp_path, names, rows):
    path = tmp_path / "any.csv"
    path.write_bytes("\n".join(map(",".join, [names, *rows])).encode("utf-8", "surrogatepass"))
    try:
        runs = load_runs(path)
    except ScalingError:
        return
    assert len(runs) > 0
    assert all((v > 0).all() for v in (runs.n_params, runs.n_tokens, runs.flops, runs.loss))
    check_runs(runs)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(st.binary(max_size=300), st.sampled_from(["x.csv", "x.jsonl", "x.csv.gz", "x.parquet", "x"]))
def test_any_bytes_give_a_scaling_error(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ScalingError):
        load_runs(path)


POSITIVE = st.floats(min_value=1e-3, max_value=1e15)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(POSITIVE, POSITIVE, st.floats(min_value=0.1, max_value=20)), min_size=1, max_size=30)
)
def test_check_runs_never_fails_on_valid_runs(rows):
    N, D, L = zip(*rows, strict=True)
    for finding in check_runs(Runs.from_arrays(n_params=N, n_tokens=D, loss=L)):
        assert finding.message
        assert not re.search(r"\bnan\b", finding.message)
