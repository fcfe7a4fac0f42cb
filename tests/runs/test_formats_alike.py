"""One table, written in every format, is read as the same cells."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.runs.raw_table import RawTable
from scaling.runs.read import read_table

POSITIVE = st.floats(min_value=1e-3, max_value=1e25)
NAMES = st.text(alphabet="abcxyz-0123456789é", min_size=1, max_size=8).filter(lambda t: not t.isdigit())
ROW = st.tuples(st.integers(10**3, 10**13), POSITIVE, st.one_of(st.none(), st.floats(0.1, 20)))
HEADERS = ["n_params", "tokens (B)", "val loss"]


def _markdown(frame: pd.DataFrame, path: Path) -> None:
    rows = [
        list(frame),
        ["---"] * frame.shape[1],
        *frame.astype(object).where(frame.notna(), "").to_numpy().tolist(),
    ]
    path.write_text("".join(f"| {' | '.join(map(str, row))} |\n" for row in rows), encoding="utf-8")


def _json(frame: pd.DataFrame, path: Path) -> None:
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    path.write_text(json.dumps(records))


WRITERS = {
    "runs.csv": lambda frame, path: frame.to_csv(path, index=False),
    "runs.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "semicolons.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "pipes.csv": lambda frame, path: frame.to_csv(path, index=False, sep="|"),
    "utf16.csv": lambda frame, path: frame.to_csv(path, index=False, encoding="utf-16"),
    "indexed.csv": lambda frame, path: frame.to_csv(path),
    "runs.csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "runs.json": _json,
    "runs.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True, double_precision=15),
    "split.json": lambda frame, path: frame.to_json(path, orient="split", double_precision=15),
    "runs.md": _markdown,
}
if importlib.util.find_spec("pyarrow"):
    WRITERS["runs.parquet"] = lambda frame, path: frame.to_parquet(path)
if importlib.util.find_spec("openpyxl"):
    WRITERS["runs.xlsx"] = lambda frame, path: frame.to_excel(path, index=False)


def cells(table: RawTable, header: str) -> list[object]:
    return list(table.values[table.headers.index(header)])


def number(cell: object) -> float:
    return math.nan if cell is None or cell == "" else float(str(cell))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=8), data=st.data())
def test_every_format_gives_the_same_cells(tmp_path, rows, data):
    names = data.draw(st.lists(NAMES, min_size=len(rows), max_size=len(rows)))
    frame = pd.DataFrame(rows, columns=HEADERS).assign(run=names)
    frame["val loss"] = frame["val loss"].astype(float)
    for file_name, write in WRITERS.items():
        path = tmp_path / file_name
        write(frame, path)
        table = read_table(path)
        assert [h for h in table.headers if h] == [*HEADERS, "run"], file_name
        assert [str(c) for c in cells(table, "run")] == names, file_name
        for header in HEADERS:
            got = [number(c) for c in cells(table, header)]
            assert got == pytest.approx(frame[header].tolist(), rel=1e-9, nan_ok=True), (file_name, header)
