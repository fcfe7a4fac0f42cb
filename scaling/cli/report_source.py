"""What `scaling report` is given: a table of runs, a sweep's folder or store, or a law; read into one `Source`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scaling.blocks import Blocks, Fields
from scaling.cli.tables import RunsTable, TableOptions, read_table
from scaling.errors import DataError
from scaling.findings import Finding
from scaling.report.language import told_again
from scaling.translation import tr

if TYPE_CHECKING:
    from scaling.laws.base import Law
    from scaling.runs import Runs
    from scaling.sweep.design import Design
    from scaling.sweep.store import Store

SPEC = "sweep.toml"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a report is made of: a table, or a law alone; and what else is known of it."""

    kind: Literal["table", "sweep", "law"]
    folder: Path  # whose git commit is told
    files: Mapping[str, Path] = field(default_factory=dict)  # by the name to show
    table: RunsTable | None = None
    curves: Runs | None = None
    law: Law | None = None
    findings: tuple[Finding, ...] = ()  # of a law file
    told: Blocks = ()
    pictures: Blocks = ()
    spec: Path | None = None
    vocab_size: int | None = None


def read_source(options: TableOptions, inputs: Collection[str]) -> Source:
    """The source at the path, whichever of the three it is.

    Args:
        inputs: what the law that was asked for reads of a run; () where none was.
    Raises:
        DataError: a folder that is neither a sweep nor a store, or a table that cannot be read.
    """
    path = options.table
    if path.is_dir() or path.suffix == ".toml":
        return _sweep(path)
    if path.suffix == ".json" and (law := _law_file(path)) is not None:
        return law
    table = read_table(options, final=True, inputs=inputs)
    reduced = any(f.code == "curves-reduced" for f in table.findings)
    return Source(
        kind="table",
        folder=path.parent,
        files={path.name: path},
        table=table,
        curves=_curves(options) if reduced else None,
    )


def _curves(options: TableOptions) -> Runs:
    """The table again with every row of its training curves; what is to be noted was noted when it was read first."""
    from scaling.cli.tables import table_reading
    from scaling.runs.load import read_runs, text_headers
    from scaling.runs.read import read_table as read_raw

    reading = table_reading(options, final=False, planned=False, inputs=None)
    raw = read_raw(options.table, text_headers=text_headers(reading.columns), wide=options.wide)
    return read_runs(raw, reading).runs


# --- a law alone ---


def _law_file(path: Path) -> Source | None:
    """The law of a fit or law file; None where the file is something else, a table in JSON perhaps."""
    from scaling.laws.io import load_law

    told = _told_by(path)
    if told is None:
        return None
    law = _in_the_readers_language(load_law(path))
    return Source(
        kind="law",
        folder=path.parent,
        files={path.name: path},
        law=law,
        findings=tuple(_findings(told.get("findings", []))),
    )


def is_law_file(path: Path) -> bool:
    """Whether the file holds a fit or a law."""
    return path.suffix == ".json" and _told_by(path) is not None


def _told_by(path: Path) -> dict[str, Any] | None:
    """The JSON of a fit or law file; None where it is something else."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and told.get("kind") in ("fit", "law") else None


def _in_the_readers_language(law: Law) -> Law:
    """What the file says of its law in words, which was written in English."""
    said, known = law.provenance, law.uncertainty
    if said is not None:
        said = said._replace(name=told_again(said.name), source=told_again(said.source))
    if known is not None:
        known = known._replace(statement=told_again(known.statement))
    return replace(law, provenance=said, uncertainty=known)


def _findings(rows: Any) -> list[Finding]:
    """The findings of a fit file; those that this version cannot read are left out."""
    names = set(Finding.__dataclass_fields__)
    known = [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []
    found = []
    for row in known:
        told: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k in names
        }
        if {"code", "severity", "message"} <= told.keys():
            words = {name: told_again(told[name]) for name in ("message", "short") if told.get(name)}
            found.append(Finding(**told | words))
    return found


# --- a sweep ---


def _sweep(path: Path) -> Source:
    """A folder with a spec, its store or its recorded table; or a store by itself."""
    folder = path if path.is_dir() else path.parent
    spec = folder / SPEC if path.is_dir() else path
    if not spec.is_file():
        return _store_alone(folder)
    from scaling.cli.sweep_options import store_of

    store = store_of(spec, None)
    design = _design(spec, store)
    if store.root.is_dir():
        return _of_store(folder, spec, store, design)
    table = folder / "runs.csv"
    if not table.is_file():
        raise DataError(
            f"{folder} has a spec and no runs yet. Run the sweep first: scaling sweep run {folder}."
        )
    # a model of 1,000 parameters is no mistaken unit in a table that a sweep wrote
    read = read_table(TableOptions(table=table, anyway=True), final=True)
    return Source(
        kind="sweep",
        folder=folder,
        files={spec.name: spec, table.name: table},
        table=read,
        told=_told(design, len(read.runs)),
        spec=spec,
        vocab_size=None if design is None else design.vocab_size,
    )


def _design(spec: Path, store: Store) -> Design | None:
    """The runs of the spec; None where its corpus is not here, nor known to the store."""
    from scaling.sweep.run import plan_sweep
    from scaling.sweep.spec import load_sweep

    read = load_sweep(spec)
    try:
        return plan_sweep(read, store=store if store.root.is_dir() else None)
    except DataError:
        return None


def _of_store(folder: Path, spec: Path, store: Store, design: Design | None) -> Source:
    from scaling.sweep.figures import progress_figure
    from scaling.sweep.progress import look
    from scaling.sweep.results import load_store_runs, unfinished_finding

    runs = load_store_runs(store, design)
    findings: tuple[Finding, ...] = ()
    told = _told(design, len(runs))
    pictures: Blocks = ()
    if design is not None:
        status = look(store, design)
        told, pictures = (*told, *status.summary()), (progress_figure(status, design),)
        unfinished = unfinished_finding(design, store)
        findings = (unfinished,) if unfinished is not None else ()
    return Source(
        kind="sweep",
        folder=folder,
        files={spec.name: spec},
        table=_table(runs, findings),
        curves=store_curves(store, runs),
        told=told,
        pictures=pictures,
        spec=spec,
        vocab_size=None if design is None else design.vocab_size,
    )


def store_curves(store: Store, runs: Runs) -> Runs | None:
    """The training losses along each finished run, its trunk's first; None where the store kept none."""
    rows: list[tuple[int, float, float, float]] = []  # position of the run, step, tokens, loss
    trunks = runs.trunk_id or runs.run_id
    for i, (run_id, trunk_id) in enumerate(zip(runs.run_id, trunks, strict=True)):
        own = _training_losses(store.run_dir(run_id))
        begun = own[0][0] if own else 0.0
        before = [] if trunk_id == run_id else _training_losses(store.trunks.run_dir(trunk_id))
        rows += [(i, *row) for row in (*(r for r in before if r[0] < begun), *own)]
    if not rows:
        return None
    import numpy as np

    at = np.array([row[0] for row in rows])
    step, n_tokens, loss = np.array([row[1:] for row in rows], dtype=np.float64).T
    return replace(
        runs,
        n_params=runs.n_params[at],
        n_tokens=n_tokens,
        flops=(runs.flops / runs.n_tokens)[at] * n_tokens,
        loss=loss,
        run_id=tuple(runs.run_id[i] for i in at),
        trunk_id=None if runs.trunk_id is None else tuple(trunks[i] for i in at),
        step=step,
        budget=None,
        n_tokens_unique=None,
        extras={},
        notes=(
            tr(
                "The curves are losses of single training batches, most of them before the learning rate "
                "decayed: they lie above what a run that ended there would reach."
            ),
        ),
        row=np.arange(1, len(rows) + 1),
    )


def _training_losses(folder: Path) -> list[tuple[float, float, float]]:
    """Step, tokens and loss of each line of a run's metrics; lines that hold none, or are torn, are left out."""
    path, found = folder / "training" / "metrics.jsonl", []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
            row = float(line["step"]), float(line["n_tokens"]), float(line["loss"])
        except (ValueError, KeyError, TypeError):
            continue
        if line.get("kind") == "train" and min(row) > 0:
            found.append(row)
    return found


def _store_alone(folder: Path) -> Source:
    from scaling.sweep.results import load_store_runs
    from scaling.sweep.store import as_store

    if not (folder / "runs").is_dir():
        raise DataError(
            f"{folder} is no sweep: it has neither {SPEC} nor runs/. Give a sweep's folder, or a table."
        )
    return Source(kind="sweep", folder=folder, table=_table(load_store_runs(as_store(folder)), ()))


def _table(runs: Runs, findings: tuple[Finding, ...]) -> RunsTable:
    """The store's own runs as a table; their sizes are no mistaken units, however small."""
    from scaling.runs import check_runs

    return RunsTable(runs=runs, left_out=[], findings=(*findings, *check_runs(runs)))


def _told(design: Design | None, n_finished: int) -> Blocks:
    if design is None:
        return ()
    done = tr("{n} of {planned} runs finished", n=n_finished, planned=len(design.runs))
    return (Fields([(tr("sweep"), design.spec.name), (tr("progress"), done)]),)
