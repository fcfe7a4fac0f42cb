"""Finished runs as a table: `Runs` for the fits, CSV and Parquet for everything else. Derived, never the truth."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from scaling.accounting import count_params, flops_per_token
from scaling.accounting.params import ParamCounts
from scaling.architecture import Architecture
from scaling.errors import DataError, Exit, is_fault_of_storage
from scaling.findings import Finding, warning
from scaling.runs import Convention, Runs
from scaling.sweep.design import Design, flops_of_a_token
from scaling.sweep.store import RunRecord, State, Store, StoreError, as_store, read_json

FLOPS_NAMES = {"6ND": "6ND", "exact_causal": "exact", "palm": "palm"}
_EXTRAS = (
    "n_params_total", "n_params_non_embedding", "flops_exact", "n_steps", "batch_tokens", "learning_rate",
    "warmup_steps", "seed", "loss_standard_error", "excess", "excess_standard_error", "bits_per_byte", "train_loss",
    "seconds_per_step",
)  # fmt: skip


class NothingFinishedError(DataError):
    """A sweep of which no run is finished yet."""


class NoStoreError(NothingFinishedError):
    """There is no store where the runs should be."""

    exit_code = Exit.CANNOT


def load_store_runs(
    store: Store | Path | str, design: Design | None = None, *, run_ids: Iterable[str] | None = None
) -> Runs:
    """The finished runs of a store as a table; diverged ones are left out and noted, as are those whose files cannot be
    read.

    Args:
        design: take the runs of this sweep. A store may hold others, of an earlier spec or another one.
        run_ids: take these runs; without it and a design, all but those of proofs, which no fit may see.
    Raises:
        NothingFinishedError: no run is finished.
        NoStoreError: there is no such store.
        DataError: the runs count N or C in different ways.
    Example:
        >>> import scaling
        >>> scaling.fit_isoflop(scaling.load_store_runs("store"))  # doctest: +SKIP
    """
    store = as_store(store)
    if not store.root.is_dir():
        raise NoStoreError(f"there is no store at {store.root}. Run the sweep first.")
    if run_ids is None and design is not None:
        run_ids = [run.run_id for run in design.runs]
    wanted = _own_run_ids(store) if run_ids is None else list(run_ids)
    records, notes = [], [] if run_ids is not None else _several_recipes(store)
    for run_id in wanted:
        try:
            record = store.finished(run_id)
        except (StoreError, OSError) as error:
            if is_fault_of_storage(error):
                raise
            notes.append(f"left out: {error}")
            continue
        if record is not None:
            records.append(record)
    done = [r for r in records if r.state == "done"]
    diverged = [r.run_id for r in records if r.state == "diverged"]
    if not done:
        counts = f"{len(wanted)} asked for, {len(diverged)} diverged"
        raise NothingFinishedError(f"{store.root} holds no finished run ({counts}). Run the sweep first.")
    rows = sorted((run_row(r) for r in done), key=lambda r: (r["budget"], r["n_params"], r["seed"]))
    conventions = {(r["params_convention"], r["flops_convention"]) for r in rows}
    if len(conventions) > 1:
        raise DataError(
            f"{store.root} holds runs counted in different ways: {sorted(conventions)}. "
            "Export one sweep: give its SPEC."
        )
    if diverged:
        notes.append(f"diverged, left out: {', '.join(diverged)}")
    return _to_runs(rows, source=str(store.root), notes=tuple(notes))


def unfinished_finding(design: Design, store: Store) -> Finding | None:
    """What a fit must say of a sweep that is not finished; None where it is."""
    n, n_left = (
        len(design.runs),
        sum(not (store.run_dir(r.run_id) / "result.json").exists() for r in design.runs),
    )
    said = f"{n_left} of {n} runs of this sweep are not finished: its law may still move."
    return warning(code="unfinished-sweep", message=said) if n_left else None


def _own_run_ids(store: Store) -> list[str]:
    """All but the runs of proofs (see `recorded`)."""
    proofs = {path.stem for path in (store.root / "proofs").glob("*.json")}
    return [run_id for run_id in store.run_ids() if run_id not in proofs]


def _several_recipes(store: Store) -> list[str]:
    """A note where the store was given specs that differ in more than their grid: one law through their runs means
    little."""
    specs = [read_json(path)["spec"] for path in (store.root / "plans").glob("*.json")]
    shared = ("corpus", "shape", "recipe", "schedule", "evaluation")
    n = len({json.dumps([spec.get(k) for k in shared], sort_keys=True) for spec in specs})
    said = f"the store holds runs of {n} different recipes; give the design to take those of one"
    return [said] if n > 1 else []


def run_row(record: RunRecord) -> dict[str, Any]:
    """One finished run: what it cost in the conventions of its sweep, and what it reached."""
    config, result = record.config, record.result or {}
    architecture, counts, exact = _counted(json.dumps(config["architecture"], sort_keys=True))
    conventions, schedule = config["conventions"], config["schedule"]
    n_params = counts.total if conventions["params"] == "total" else counts.non_embedding
    batch_tokens = config["batch_sequences"] * config["architecture"]["context_length"]
    n_tokens = schedule["n_steps"] * batch_tokens
    return {
        "run_id": record.run_id,
        "n_params": n_params,
        "n_tokens": n_tokens,
        "flops": flops_of_a_token(conventions["flops"], architecture, n_params) * n_tokens,
        "budget": config["budget"],
        "loss": result.get("loss"),
        "trunk_id": config.get("trunk_id") or record.run_id,
        "params_convention": conventions["params"],
        "flops_convention": FLOPS_NAMES[conventions["flops"]],
        "n_params_total": counts.total,
        "n_params_non_embedding": counts.non_embedding,
        "flops_exact": exact * n_tokens,
        "n_steps": schedule["n_steps"],
        "batch_tokens": batch_tokens,
        "learning_rate": config["optimizer"]["learning_rate"],
        "warmup_steps": schedule["warmup_steps"],
        "seed": config["seeds"]["weights"],
        **{k: result[k] for k in _EXTRAS if k in result and k != "n_params_non_embedding"},
    }


@lru_cache(maxsize=4096)
def _counted(architecture_json: str) -> tuple[Architecture, ParamCounts, float]:
    """A shape with its parameters and exact training FLOPs of a token; a store of 10^5 runs has few."""
    shape = Architecture.from_dict(json.loads(architecture_json))
    return shape, count_params(shape), flops_per_token(shape, convention="exact_causal")


def _to_runs(rows: list[dict[str, Any]], *, source: str, notes: tuple[str, ...]) -> Runs:
    def column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([np.nan if r.get(name) is None else r[name] for r in rows], dtype=np.float64)

    return Runs(
        n_params=column("n_params"),
        n_tokens=column("n_tokens"),
        flops=column("flops"),
        loss=column("loss"),
        budget=column("budget"),
        run_id=tuple(r["run_id"] for r in rows),
        trunk_id=tuple(r["trunk_id"] for r in rows),
        extras={k: column(k) for k in _EXTRAS if not np.isnan(column(k)).all()},
        convention=Convention(
            params=rows[0]["params_convention"], flops=rows[0]["flops_convention"], loss_unit="nats/token"
        ),
        source=source,
        notes=notes,
        row=np.arange(2, len(rows) + 2),  # as in the file that `save` writes
    )


def write_index(store: Store) -> dict[str, Path]:
    """Write STORE/runs.csv, and runs.parquet where pyarrow is installed, without runs of proofs (see `recorded`)."""
    runs = load_store_runs(store)
    written = {"csv": runs.save(store.root / "runs.csv", overwrite=True)}
    try:
        written["parquet"] = runs.save(store.root / "runs.parquet", overwrite=True)
    except (ImportError, DataError) as error:
        if "pyarrow" not in str(error):
            raise
    return written


def indexed_states(store: Store) -> dict[str, State]:
    """Runs that STORE/runs.csv knows to be done and whose result is there: a status need not read their folders."""
    path = store.root / "runs.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        header = file.readline()
        if not header.startswith("run_id,"):
            return {}
        ids = (line.split(",", 1)[0] for line in file)
        return {i: "done" for i in ids if os.path.exists(store.run_dir(i) / "result.json")}


def count_states(store: Store) -> dict[str, int]:
    """How many runs of a store are in which state; finished ones are taken from the index where there is one."""
    known = indexed_states(store)
    ids = store.run_ids()
    now = store.reading_time()
    return dict(Counter(str(known[i] if i in known else store.inspect(i, now=now).state) for i in ids))
