"""JSON in every orientation people write, and the same objects in Python, give one table."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scaling.errors import DataError
from scaling.runs import load_runs
from scaling.runs import read as reading
from scaling.runs.read import read_table

CASES = Path(__file__).parents[1] / "cases"
FRAME = pd.DataFrame({"n_params": [19494255, 38988510], "n_tokens": [8.5e9, 4.25e9], "loss": [3.41, 3.27]})
RECORDS = FRAME.to_dict("records")
NESTED = [{"arch": {"total_params": 1.9e7}, "train": {"tokens": 8.5e9 + i}, "val_bpc": 1.2} for i in range(2)]

ORIENTS: dict[str, str] = {
    o: FRAME.to_json(orient=o) for o in ("records", "columns", "index", "split", "table")
}
ORIENTS |= {
    "lines": FRAME.to_json(orient="records", lines=True),
    "laid out": json.dumps(RECORDS, indent=2),
    "objects one after the other": "\n".join(json.dumps(r, indent=1) for r in RECORDS),
    "under a key": json.dumps({"made": "July", "runs": RECORDS}),
    "under two keys": json.dumps({"results": {"runs": RECORDS, "seed": 1}}),
    "lists": json.dumps(FRAME.to_dict("list")),
    "rows": json.dumps([list(FRAME), *FRAME.to_numpy().tolist()]),
    "rows one a line": "\n".join(json.dumps(r) for r in [list(FRAME), *FRAME.to_numpy().tolist()]),
    "a table of W&B": json.dumps({"columns": list(FRAME), "data": FRAME.to_numpy().tolist()}),
    "with commas": ",\n".join(map(json.dumps, RECORDS)) + ",\n",
    "by number": json.dumps({str(i): r for i, r in enumerate(RECORDS)}),
    "by name": json.dumps({f"run-{i}": r for i, r in enumerate(RECORDS)}),
    "columns by name": FRAME.set_axis(["a", "b"]).to_json(),
}


def columns(data: Any) -> dict[str, list[Any]]:
    table = read_table(data)
    return {h: list(v) for h, v in zip(table.headers, table.values, strict=True)}


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".txt", ".csv", ".json.gz", ""])
@pytest.mark.parametrize("orient", ORIENTS)
def test_every_orientation_is_one_table_whatever_the_suffix(tmp_path, orient, suffix):
    path = tmp_path / f"runs{suffix}"
    data = ORIENTS[orient].encode()
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    found = columns(path)
    assert {name: found[name] for name in FRAME} == FRAME.to_dict("list")


def test_records_of_a_file_are_fitted_as_they_stand():
    runs = load_runs(CASES / "tables-23-json-list-of-records" / "input.json")
    assert len(runs) == 25
    assert (runs.n_params[0], runs.n_tokens[0], runs.loss[0]) == (19494255, 8549527438, 3.4169)


def test_lines_of_a_file_of_objects_keep_their_numbers(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"N": 1}\n\n{"N": 2}\n')
    assert read_table(path).row.tolist() == [1, 3]
    path.write_text('{\n"N": 1\n}\n{\n"N": 2\n}\n')
    assert read_table(path).row.tolist() == [1, 4]


def test_keys_inside_keys_become_names_with_points(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text("\n".join(map(json.dumps, NESTED)))
    assert columns(path) == {
        "arch.total_params": [1.9e7] * 2,
        "train.tokens": [8.5e9, 8.5e9 + 1],
        "val_bpc": [1.2, 1.2],
    }
    assert columns(NESTED) == columns(path)


def test_one_record_is_a_table_of_one_row(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"arch": {"params": 1e8}, "train": {"tokens": 2e9}}))
    assert columns(path) == {"arch.params": [1e8], "train.tokens": [2e9]}


def test_a_list_in_a_cell_stays_text_and_is_told(tmp_path):
    path = tmp_path / "runs.json"
    path.write_text('[{"N": 1, "losses": [3.2, 3.1]}]')
    table = read_table(path)
    assert table.values[1] == ["[3.2, 3.1]"]
    assert "losses: a list in a cell is read as text" in table.notes


def test_two_lists_of_records_are_asked_about_and_can_be_named(tmp_path):
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({"train": [{"N": 1}], "test": {"small": [{"N": 2}]}}))
    with pytest.raises(
        DataError, match=r"2 lists of records; name one of them: .*runs\.json#train, .*#test\.small"
    ):
        read_table(path)
    assert columns(f"{path}#test.small") == {"N": [2]}
    assert columns(Path(f"{path}#train")) == {"N": [1]}
    path.write_text(json.dumps({"a.b": [{"N": 3}], "a": {"c": [{"N": 4}]}}))
    assert columns(f"{path}#a.b") == {"N": [3]}
    path.write_text(json.dumps({"train": [{"N": 1}], "test": 2}))
    with pytest.raises(DataError, match="no 'tran' in it; it holds train, test"):
        read_table(f"{path}#tran")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "is empty"),
        ("[]", "empty list"),
        ("3", "no table"),
        ('[{"N": 1},\n{"N": }]', "line 2: not a JSON object"),
        ('{"a": {"b": 1}, "a.b": 2}', "two values of a record are named 'a.b'"),
        ("[" * 100_000, "not a JSON object"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path, text, says):
    path = tmp_path / "runs.json"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read_table(path)


def test_a_large_file_of_lines_is_read_like_a_small_one(tmp_path, monkeypatch):
    path = tmp_path / "runs.json"
    path.write_text("".join(json.dumps({"N": i, "m": {"loss": 3 + i}}) + "\n" for i in range(900)))
    small = columns(path)
    monkeypatch.setattr(reading, "SMALL_BYTES", 1 << 12)
    monkeypatch.setattr(reading, "SAMPLE_BYTES", 1 << 11)
    assert columns(path) == small
    assert small["m.loss"][-1] == 902


# --- the same in Python ---


class LikePolars:
    """The methods of polars.DataFrame that are asked for."""

    def get_column(self, name: str) -> list[Any]:
        return FRAME[name].tolist()

    def to_dict(self, as_series: bool = True) -> dict[str, list[Any]]:
        assert not as_series
        return FRAME.to_dict("list")


@pytest.mark.parametrize(
    "data",
    [
        RECORDS,
        tuple(RECORDS),
        {"runs": RECORDS},
        FRAME.to_dict("list"),
        FRAME.to_dict("index"),
        FRAME.to_records(index=False),
        FRAME.set_index("n_params"),
        FRAME.set_index(["n_params", "n_tokens"])["loss"],
        LikePolars(),
    ],
    ids=lambda d: type(d).__name__,
)
def test_tables_in_memory_are_read(data):
    found = columns(data)
    assert {name: np.asarray(found[name], dtype=float).tolist() for name in FRAME} == {
        name: FRAME[name].astype(float).tolist() for name in FRAME
    }


def test_tables_of_arrow_and_polars_are_read():
    arrow = pytest.importorskip("pyarrow").Table.from_pandas(FRAME)
    assert columns(arrow) == FRAME.to_dict("list")
    polars = pytest.importorskip("polars")
    assert columns(polars.DataFrame(FRAME.to_dict("list"))) == FRAME.to_dict("list")
    assert columns(polars.LazyFrame(FRAME.to_dict("list"))) == FRAME.to_dict("list")


def test_what_is_no_table_in_memory_is_refused():
    for data in ([], [1, 2], np.zeros((2, 2)), 3):
        with pytest.raises(DataError, match="takes a path or a DataFrame; got"):
            read_table(data)
