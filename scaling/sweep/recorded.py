"""A sweep as one commits or sends it: one small JSON a run, no checkpoints; and back into a store.

    FOLDER/results/<run_id>.json          a run of the sweep: its configuration and its result
    FOLDER/results/proof/<run_id>.json    a run of its proof, beyond the budgets of the sweep
    FOLDER/runs.csv                       the table of the sweep's own runs

Runs of a proof are told apart by their place here, and in a store by STORE/proofs/<run_id>.json, which says which
sweep they prove and whose advice they follow. No table of the sweep holds them, so no fit of it sees what it predicts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.files import write_text
from scaling.runs import Runs
from scaling.sweep.store import Store, StoreError, check_result, read_json, run_id_of
from scaling.sweep.verify import Proof

PROOF_FOLDER = "proof"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What was written or taken back. table: None where none was written."""

    n_results: int
    n_proof: int
    table: Path | None = None


def record_proof(store: Store, proof: Proof) -> None:
    """Mark the runs of a proof in the store, before they are trained."""
    for run in proof.design.runs:
        advice = [name for name, advised in proof.advised.items() if advised.run_id == run.run_id]
        _mark(store, run.run_id, {"sweep": proof.design.spec.name, "budget": proof.budget, "advice": advice})


def proof_marks(store: Store, name: str | None = None) -> dict[str, dict[str, Any]]:
    """run_id → which sweep it proves (all, or the sweep of that name), at what budget, by whose advice."""
    marks = {path.stem: read_json(path) for path in sorted((store.root / "proofs").glob("*.json"))}
    return {i: m for i, m in marks.items() if name is None or m.get("sweep") == name}


def export_results(store: Store, runs: Runs, run_ids: Iterable[str], folder: Path, *, name: str) -> Recorded:
    """Write results/, results/proof/ and runs.csv.

    Args:
        runs: the table of the sweep's finished runs.
        run_ids: of the sweep; diverged runs are results too, though no rows of the table.
        name: of the sweep, whose proof is written beside it.
    """
    results, proof = folder / "results", folder / "results" / PROOF_FOLDER
    results.mkdir(parents=True, exist_ok=True)
    n_results = sum(_export(store, run_id, results, {}) for run_id in run_ids)
    marks = proof_marks(store, name)
    if marks:
        proof.mkdir(exist_ok=True)
    n_proof = sum(_export(store, run_id, proof, {"proof": mark}) for run_id, mark in marks.items())
    table = Path(runs.save(folder / "runs.csv", overwrite=True))
    return Recorded(n_results=n_results, n_proof=n_proof, table=table)


def import_results(store: Store, folder: Path) -> Recorded:
    """Put exported results into a store, so that a recorded sweep can be extended without training it again.

    Raises:
        StoreError: a file is no exported result, or not the one of its name; nothing is put then.
    """
    places = folder / "results", folder / "results" / PROOF_FOLDER
    read = [[_read(path) for path in sorted(place.glob("*.json"))] for place in places]
    n_results, n_proof = (sum(_import(store, recorded) for recorded in of_place) for of_place in read)
    return Recorded(n_results=n_results, n_proof=n_proof)


def _export(store: Store, run_id: str, folder: Path, more: Mapping[str, Any]) -> bool:
    """Whether the run is finished, hence written."""
    record = store.inspect(run_id)
    if record.result is None:
        return False
    names = {"run_id": run_id, "trunk_id": record.config.get("trunk_id")}
    both = {"config": record.config, "result": {**record.result, **names}, **more}
    (folder / f"{run_id}.json").write_text(json.dumps(both, indent=1, sort_keys=True) + "\n")
    return True


def _read(path: Path) -> dict[str, Any]:
    """An exported result whose configuration is the one that its file is named by."""
    recorded = read_json(path)
    for key in ("config", "result"):
        if not isinstance(recorded.get(key), dict):
            raise StoreError(
                f'{path} is no exported result: it lacks "{key}". Export it again, or move it away.'
            )
    check_result(recorded["result"], path)
    run_id = run_id_of(recorded["config"])
    if run_id != path.stem:
        raise StoreError(
            f"{path} holds the configuration of run {run_id}, not of the run it is named by: it was edited or renamed. "
            "Bring the exported file back, or move it away."
        )
    return recorded


def _import(store: Store, recorded: Mapping[str, Any]) -> bool:
    """Whether the store lacked the result."""
    run_id = store.add(recorded["config"])
    if "proof" in recorded:
        _mark(store, run_id, recorded["proof"])
    lease = store.claim(run_id, owner="import")
    return lease is not None and store.finish(lease, recorded["result"])


def _mark(store: Store, run_id: str, mark: Mapping[str, Any]) -> None:
    path = store.root / "proofs" / f"{run_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(mark, indent=1, sort_keys=True) + "\n")
