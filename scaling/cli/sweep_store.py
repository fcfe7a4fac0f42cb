"""What every `scaling sweep` command begins with: the design of its spec, its store, and the runs finished there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scaling.cli.output import note
from scaling.cli.sweep_hints import typed

if TYPE_CHECKING:
    from scaling.findings import Finding
    from scaling.runs import Runs
    from scaling.sweep.design import Design
    from scaling.sweep.store import Store
    from scaling.sweep.timing import Rate


def design_of(spec_path: Path, store: Store | None = None) -> Design:
    """The runs of a spec; the store is asked where the corpus is not here."""
    from scaling.cli.corpus import tell_preparation
    from scaling.sweep.run import plan_sweep
    from scaling.sweep.spec import load_sweep

    spec = load_sweep(spec_path)
    tell_preparation(spec.corpus.name)
    return plan_sweep(spec, store=store)


def store_of(spec_path: Path, store: Path | None, lease_timeout_s: float | None = None) -> Store:
    from scaling.sweep.store import LEASE_TIMEOUT_S, Store

    folder = spec_path if spec_path.is_dir() else spec_path.parent
    return Store((store or folder / "store").resolve(), lease_timeout_s=lease_timeout_s or LEASE_TIMEOUT_S)


def measured_rate(planned: Design) -> Rate | None:
    """A few steps timed here; None where the corpus is not here, which is said."""
    from scaling.errors import DataError
    from scaling.sweep.run import require_torch
    from scaling.sweep.train_run import measure_rate

    require_torch()
    try:
        return measure_rate(planned)
    except DataError as error:
        note(f"no times: {error}")
        return None


def finished_runs(planned: Design, kept: Store) -> Runs:
    """The table of the spec's own runs, those left out noted; an error that says how to get some."""
    from scaling.sweep.results import NothingFinishedError, load_store_runs

    try:
        runs = load_store_runs(kept, run_ids=[r.run_id for r in planned.runs])
    except NothingFinishedError as error:
        raise NothingFinishedError(f"{error} That is:  {typed('run')}") from error
    for text in runs.notes:
        note(text)
    return runs


def unfinished_finding(planned: Design, kept: Store) -> Finding | None:
    """What a fit must say of a sweep that is not finished; None where it is."""
    from scaling.findings import Finding

    n_left = sum(not (kept.run_dir(run.run_id) / "result.json").exists() for run in planned.runs)
    if not n_left:
        return None
    return Finding(
        code="unfinished-sweep",
        severity="warning",
        message=f"{n_left} of {len(planned.runs)} runs of this sweep are not finished: its law may still move.",
    )
