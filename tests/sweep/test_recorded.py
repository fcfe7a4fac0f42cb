"""Exported results: what comes back into a store is what was exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaling.sweep.recorded import import_results
from scaling.sweep.store import Store, StoreError, run_id_of


def exported(folder: Path, learning_rate: float) -> Path:
    """A run's exported result."""
    config = {"optimizer": {"learning_rate": learning_rate}}
    path = folder / "results" / f"{run_id_of(config)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"config": config, "result": {"status": "done", "loss": 2.0}}))
    return path


def test_an_edited_result_is_refused_by_name_and_nothing_is_put(tmp_path: Path) -> None:
    exported(tmp_path, 0.01)
    edited = exported(tmp_path, 0.02)
    edited.write_text(edited.read_text().replace("0.02", "0.03"))
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError, match=f"{edited.name} holds the configuration of run"):
        import_results(store, tmp_path)
    assert store.run_ids() == []


@pytest.mark.parametrize("key", ["config", "result"])
def test_a_file_that_is_no_result_is_refused_by_what_it_lacks(tmp_path: Path, key: str) -> None:
    path = exported(tmp_path, 0.01)
    recorded = json.loads(path.read_text())
    del recorded[key]
    path.write_text(json.dumps(recorded))
    with pytest.raises(StoreError, match=f'{path.name} is no exported result: it lacks "{key}"'):
        import_results(Store(tmp_path / "store"), tmp_path)
