"""A sweep from Python: `plan_sweep`, `run_sweep`, `load_store_runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import TINY, tiny_spec, tiny_values, write_toml

import scaling
from scaling.errors import DataError, UnknownNameError, UsageError
from scaling.sweep.design import design_sweep, write_plan
from scaling.sweep.results import NothingFinishedError
from scaling.sweep.store import Store
from scaling.sweep.worker import add_runs

GONE = "corpora/gone"  # a corpus that is not on this machine


def test_a_sweep_is_run_and_read_in_two_calls(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    spec = write_toml(tmp_path / "sweep.toml", TINY)
    seen: list[int] = []
    report = scaling.run_sweep(
        spec, store=tmp_path / "store", executor="inline", on_progress=lambda s, _: seen.append(s.n_finished)
    )
    assert report.status.counts == {"done": 6}
    assert seen[-1] == 6
    runs = scaling.load_store_runs(tmp_path / "store")
    assert sorted(runs.run_id) == sorted(r.run_id for r in scaling.plan_sweep(spec).runs)


def test_a_finished_sweep_needs_neither_torch_nor_a_store_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_spec()
    store = Store(tmp_path)
    design = scaling.plan_sweep(spec)
    for run in design.runs:
        lease = store.claim(store.add(run.config))
        assert lease is not None
        store.finish(lease, {"status": "done", "loss": 2.0})
    monkeypatch.setattr("scaling.sweep.run.find_spec", lambda name: None)
    monkeypatch.setattr(Store, "require_writable", lambda self: pytest.fail("nothing is left to write"))
    assert scaling.run_sweep(spec, store=store).status.n_finished == len(design.runs)


def test_an_unknown_executor_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"slrum.*slurm"):
        scaling.run_sweep(tiny_spec(), store=tmp_path / "store", executor="slrum")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_slots": -3}, "n_slots must be at least 1"),
        ({"pack": 0}, "pack must be at least 1"),
        ({"deadline_s": float("nan")}, "deadline_s must be a number of seconds"),
        ({"deadline_s": -1.0}, "deadline_s must be a number of seconds"),
        ({"partition": "gpu"}, "a partition is Slurm's"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_made(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        scaling.run_sweep(tiny_spec(), store=tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def test_a_vocabulary_that_is_not_the_corpus_s_is_refused_before_a_run(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match=r"corpus\.vocab_size is 20 in the spec, and .* has 32"):
        scaling.run_sweep(tiny_spec(corpus={"vocab_size": 20}), store=tmp_path, executor="inline")


def test_the_table_of_a_store_holds_no_proof_and_no_other_sweep_where_a_design_is_given(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    first, second = (scaling.plan_sweep(tiny_spec(recipe={"learning_rate": rate})) for rate in (0.01, 0.02))
    proof = scaling.plan_sweep(tiny_spec(grid={"budgets": [3.2e8]}))
    with pytest.raises(NothingFinishedError, match="there is no store"):
        scaling.load_store_runs(tmp_path / "absent")
    for design in (first, second, proof):
        write_plan(store, design)
        for run in design.runs:
            lease = store.claim(store.add(run.config))
            assert lease is not None
            store.finish(lease, {"status": "done", "loss": 2.0})
    (tmp_path / "proofs").mkdir()
    for run in proof.runs:
        (tmp_path / "proofs" / f"{run.run_id}.json").write_text("{}")
    runs = scaling.load_store_runs(store, first)
    assert (set(runs.run_id), runs.notes) == ({r.run_id for r in first.runs}, ())
    both = scaling.load_store_runs(store)
    assert set(both.run_id) == {r.run_id for r in (*first.runs, *second.runs)}
    assert "runs of 2 different recipes" in both.notes[0]


@pytest.mark.parametrize("known_by", ["plan", "runs"])
def test_the_store_knows_the_vocabulary_of_a_corpus_that_is_not_here(tmp_path: Path, known_by: str) -> None:
    """Recorded results can be fitted without the text, which may not be passed on."""
    values = tiny_values(corpus={"name": GONE, "vocab_size": 48, "n_tokens_unique": 1e6})
    asked = scaling.load_sweep(write_toml(tmp_path / "sweep.toml", values))
    design = design_sweep(asked, vocab_size=48, n_tokens_unique=1e6)
    store = Store(tmp_path / "store")
    if known_by == "plan":
        write_plan(store, design)
    else:
        add_runs(store, design)
    del values["corpus"]["vocab_size"], values["corpus"]["n_tokens_unique"]
    spec = write_toml(tmp_path / "sweep.toml", values)
    found = scaling.plan_sweep(spec, store=store.root)
    assert {r.run_id for r in found.runs} == {r.run_id for r in design.runs}
    assert found.n_tokens_unique == (1e6 if known_by == "plan" else None)
    with pytest.raises(DataError, match=r"corpora/gone.*corpus\.vocab_size"):
        scaling.plan_sweep(spec, store=tmp_path / "empty")
