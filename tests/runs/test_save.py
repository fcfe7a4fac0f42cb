"""Saved tables read back as they were: every number to the last bit, every convention."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.errors import DataError, UsageError
from scaling.runs import Convention, Runs, load_runs
from scaling.runs import write as saving

SUFFIXES = [".csv", ".jsonl", ".csv.gz", ".jsonl.gz", ".parquet"]


def same(a: Runs, b: Runs) -> None:
    for name in ("n_params", "n_tokens", "flops", "loss", "budget", "step", "n_tokens_unique"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert (a.run_id, a.trunk_id, a.convention) == (b.run_id, b.trunk_id, b.convention)
    assert list(a.extras) == list(b.extras)
    for name in a.extras:
        np.testing.assert_array_equal(a.extras[name], b.extras[name], err_msg=name)


def example() -> Runs:
    return Runs.from_arrays(
        n_params=[1e8 / 3, 2e8],
        n_tokens=[2e9, 4e9 / 7],
        flops=[1e18, 3e18],
        loss=[np.pi, 2.9],
        run_id=['a, "quoted"', "b\nline\rend"],
        trunk_id=["t", "t"],
        budget=[1e18, np.nan],
        step=[0, 10],
        convention=Convention(params="non_embedding", flops="exact", loss_unit="other"),
        extras={
            "lr": np.array([1e-3, np.nan]),
            "ok": np.array([True, False]),
            "corpus": np.array(["c4", ""], dtype=object),
        },
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_keeps_numbers_and_conventions(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    runs = example()
    same(load_runs(runs.save(tmp_path / f"runs{suffix}")), runs)


def test_a_frame_reads_back_too():
    runs = example()
    same(load_runs(runs.to_frame()), runs)


NUMBER = st.floats(min_value=1e-2, max_value=1e15)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(
    st.lists(
        st.tuples(NUMBER, NUMBER, st.floats(min_value=0.01, max_value=99), TEXT), min_size=1, max_size=8
    ),
    st.sampled_from([".csv", ".jsonl"]),
)
def test_any_runs_round_trip(tmp_path, rows, suffix):
    N, D, L, names = zip(*rows, strict=True)
    runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=L, run_id=[f"r{n}" for n in names])
    same(load_runs(runs.save(tmp_path / f"x{suffix}", overwrite=True)), runs)


def test_an_existing_file_stays_unless_told(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        example().save(path)
    assert path.read_text() == "mine"
    assert load_runs(example().save(path, overwrite=True)).convention.flops == "exact"


def test_another_suffix_or_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.csv, \.csv\.gz"):
        example().save(tmp_path / "runs.xlsx")
    with pytest.raises(DataError, match="is not a folder"):
        example().save(tmp_path / "absent" / "runs.csv")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = example().save(tmp_path / "runs.csv")
    before = path.read_bytes()

    def full(runs: Runs, to: Path, name: str) -> None:
        to.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(saving, "_write", full)
    with pytest.raises(DataError, match=r"No space left.*Nothing was changed"):
        example().save(path, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["runs.csv"]


def test_equal_runs_give_equal_bytes(tmp_path):
    files = [example().save(tmp_path / f"{i}.csv.gz") for i in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
