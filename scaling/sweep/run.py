"""A sweep in one call: its design from the corpus, and every run of it trained somewhere.

design = plan_sweep("sweep.toml")
report = run_sweep(design, store="store")
fit = fit_isoflop(load_store_runs("store", design))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from scaling.errors import DataError, UnknownNameError, UsageError
from scaling.sweep import EXECUTORS
from scaling.sweep.design import Design, design_sweep
from scaling.sweep.execute import Report, Supervisor
from scaling.sweep.executors import Executor, InlineExecutor, LocalExecutor, WorkerCommand
from scaling.sweep.plan_file import known_corpus, write_plan
from scaling.sweep.progress import Status, look
from scaling.sweep.spec import SweepSpec, load_sweep
from scaling.sweep.store import Store, as_store


def plan_sweep(spec: SweepSpec | Path | str, *, store: Store | Path | str | None = None) -> Design:
    """Every run of a spec, with the vocabulary and the number of distinct tokens of its corpus.

    Args:
        spec: or the path of a sweep.toml or its folder.
        store: asked where the corpus is not here, as with recorded results of one that may not be passed on.
    Raises:
        SpecError: the spec cannot be read, or asks for what cannot be built.
        DataError: the corpus is neither here, nor in the spec, nor known to the store.
    """
    spec = spec if isinstance(spec, SweepSpec) else load_sweep(spec)
    vocab_size, unique = spec.corpus.vocab_size, spec.corpus.n_tokens_unique
    if vocab_size is None:
        vocab_size, found = _corpus_facts(spec.corpus.name, None if store is None else as_store(store))
        unique = found if unique is None else unique
    return design_sweep(spec, vocab_size=vocab_size, n_tokens_unique=unique)


def _corpus_facts(name: str, store: Store | None) -> tuple[int, float | None]:
    from scaling.sweep.worker import describe_corpus

    try:
        return describe_corpus(name)
    except DataError as error:
        known = None if store is None else known_corpus(store, name)
        if known is None:
            raise DataError(
                f"{error} To work with recorded results only, give corpus.vocab_size and corpus.n_tokens_unique in the "
                "spec."
            ) from error
        return known


def run_sweep(
    spec: Design | SweepSpec | Path | str,
    *,
    store: Store | Path | str,
    executor: str | Executor = "local",
    n_slots: int | None = None,
    gpus_per_slot: float | None = None,
    pack: int = 1,
    deadline_s: float | None = None,
    partition: str | None = None,
    log: str | Sequence[str] = (),
    on_progress: Callable[[Status, float], None] | None = None,
) -> Report:
    """Train everything the spec asks for and the store lacks; call it again to go on after any interruption.

    A sweep whose runs are all finished needs neither torch nor a store that can be written.

    Args:
        spec: or its design, or the path of a sweep.toml or its folder.
        store: folder of the runs, made if it is not there.
        executor: local, inline, slurm or ray; or one that is ready, which takes gpus_per_slot, pack and partition as
            it was made.
        n_slots: workers at once; the executor's own default unless given (local: the CPU cores, or 4 a GPU).
        gpus_per_slot: .25: four workers share a GPU; 0: none.
        pack: runs of one shape and length that a worker trains as one stacked model.
        deadline_s: start nothing that cannot end by then, in seconds from now; what is running stops resumably.
        partition: of Slurm.
        log: tools that follow the runs live (tensorboard, wandb, mlflow), instead of the spec's.
        on_progress: called again and again with the status and the seconds since the start.
    Raises:
        UsageError: a number is out of range, torch is missing here, or the executor cannot do what was asked.
        StoreError: the store cannot be written, or workers fail again and again, with what they said.
        ChangedCorpusError: finished runs of the store were trained on another text of that name.
        KeyboardInterrupt: passed on, after every worker has checkpointed and stopped.
    """
    if isinstance(executor, str) and executor not in EXECUTORS:
        raise UnknownNameError("executor", executor, EXECUTORS)
    _check_numbers(n_slots=n_slots, pack=pack, deadline_s=deadline_s)
    if partition is not None and executor != "slurm":
        raise UsageError(f"a partition is Slurm's; the executor is {executor!r}.")
    log = (log,) if isinstance(log, str) else tuple(log)
    kept = as_store(store)
    design = spec if isinstance(spec, Design) else plan_sweep(spec, store=kept)
    done = nothing_to_do(kept, design)
    if done is not None:
        return done
    if executor in ("local", "inline"):
        require_torch()
    kept.require_writable()
    from scaling.sweep.worker import check_corpus, refuse_other_corpus

    check_corpus(design)
    refuse_other_corpus(kept, design)
    if log:
        design = replace(design, spec=replace(design.spec, log=log))
    if isinstance(executor, str):
        command = WorkerCommand(
            store=kept.root, plan=write_plan(kept, design), lease_timeout_s=kept.lease_timeout_s, pack=pack
        )
        executor = _make_executor(executor, command, gpus_per_slot=gpus_per_slot, partition=partition)
    return Supervisor(
        store=kept,
        design=design,
        executor=executor,
        n_slots=n_slots or executor.default_slots(),
        deadline_s=deadline_s,
        on_progress=on_progress,
        pack=pack,
    ).run()


def _check_numbers(*, n_slots: int | None, pack: int, deadline_s: float | None) -> None:
    if n_slots is not None and n_slots < 1:
        raise UsageError(f"n_slots must be at least 1, got {n_slots}.")
    if pack < 1:
        raise UsageError(f"pack must be at least 1, got {pack}.")
    if deadline_s is not None and not (math.isfinite(deadline_s) and deadline_s > 0):
        raise UsageError(f"deadline_s must be a number of seconds above zero, got {deadline_s}.")


def nothing_to_do(store: Store, design: Design) -> Report | None:
    """The report of a sweep that is finished; None where runs are left."""
    status = look(store, design)
    if status.n_finished < len(design.runs):
        return None
    return Report(status=status, wall_s=0.0, interrupted=False, n_workers_lost=0)


def require_torch() -> None:
    """Say at once what is missing where the training is to run; on a cluster its nodes may have what we lack."""
    if find_spec("torch") is None:
        raise UsageError("training needs torch: pip install 'isoflop[train]'.")


def _make_executor(
    name: str, command: WorkerCommand, *, gpus_per_slot: float | None, partition: str | None
) -> Executor:
    """The executor by name; the heavy ones are imported only here."""
    if name == "inline":
        return InlineExecutor(command=command)
    if name == "slurm":
        return _slurm(command, partition, gpus_per_slot)
    if name == "ray":
        from scaling.sweep.executors.ray import RayExecutor

        return RayExecutor(command=command, gpus_per_slot=gpus_per_slot)
    return _local(command, gpus_per_slot)


def _local(command: WorkerCommand, gpus_per_slot: float | None) -> Executor:
    from scaling.sweep.executors.local import GPUS_PER_SLOT, visible_gpus

    if gpus_per_slot is not None and not 0 <= gpus_per_slot <= 1:
        raise UsageError(
            f"a local worker trains on one GPU or a share of it: --gpus-per-slot 0 to 1, got {gpus_per_slot:g}."
        )
    gpus = () if gpus_per_slot == 0 else visible_gpus()
    if gpus_per_slot and not gpus:
        raise UsageError(
            "this machine shows no GPU (or torch is a CPU build); leave --gpus-per-slot out to train on CPUs."
        )
    share = GPUS_PER_SLOT if gpus_per_slot is None else gpus_per_slot
    return LocalExecutor(command=command, gpus=gpus, gpus_per_slot=share)


def _slurm(command: WorkerCommand, partition: str | None, gpus_per_slot: float | None) -> Executor:
    from scaling.sweep.executors.slurm import SlurmExecutor

    if gpus_per_slot is not None and gpus_per_slot not in (0, 1):
        raise UsageError(
            f"Slurm gives a job whole GPUs: --gpus-per-slot 1 (or 0), got {gpus_per_slot:g}. "
            "Fill one with --pack instead."
        )
    parameters = {"gpus_per_node": 1} if gpus_per_slot else {}
    return SlurmExecutor(command=command, partition=partition, parameters=parameters)
