"""The one place that reaches the trainer, `scaling.lm`: runs of a sweep trained by it, and what is asked of it before a
sweep begins: what the corpus is, how fast this machine trains.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.architecture import Architecture
from scaling.errors import ChangedCorpusError, DataError
from scaling.sweep.design import Design, PlannedRun
from scaling.sweep.queue import newest_of_trunk, trunk_checkpoint
from scaling.sweep.spec import SpecError
from scaling.sweep.store import Store
from scaling.sweep.timing import Rate

if TYPE_CHECKING:
    from scaling.lm.run import RunResult, RunSpec, TrainingOptions

CHECKPOINT, RESULT = "checkpoint.safetensors", "result.json"
CHECKPOINT_EVERY_S = 15.0
GUESSED_FLOPS_PER_S = 5e9  # one slow CPU core on tiny models; only decides how often a checkpoint is written
MEASURED_STEPS = 12
SAME_CORPUS = 0.01  # a number in a spec may be rounded
THREADS_OF_A_SLOT = 1  # slots side by side beat threads inside a small model


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to train: what it is, and its folders. `deadline` is a time of time.monotonic.

    stops: where the trunk is to be kept on the way, so that other runs can branch off; its lease is then held.
    log, project: tools that follow the run live, and what they file it under.
    micro_batch: what memory is known to hold of this shape; None: as far as is known, the whole batch.
    """

    run: PlannedRun
    folder: Path
    trunk_folder: Path | None
    deadline: float | None
    should_stop: Callable[[], bool]
    stops: tuple[int, ...] = ()
    log: tuple[str, ...] = ()
    project: str = ""
    micro_batch: int | None = None

    @property
    def training(self) -> Path:
        """Where the trainer keeps its files; made where it is not there."""
        folder = self.folder / "training"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def newest_of_trunk(self) -> int | None:
        """The step of the trunk's newest checkpoint that this run can go on from."""
        return None if self.trunk_folder is None else newest_of_trunk(self.trunk_folder, self.run)


def train_job(job: Job) -> dict[str, Any]:
    """Train one run: from its own checkpoint or its trunk's newest one, whichever is further, else from the start."""
    while True:
        try:
            return _train([job])[0]
        except ChangedCorpusError:  # started over, it would be a run of another text under the same name
            raise
        except DataError as error:
            # something damaged costs the time since the checkpoint before, nothing else
            suspect = job.newest_of_trunk
            if not any(job.training.iterdir()) and suspect is None:
                raise
            # a plain print: a worker's stderr is a log file in the store, no terminal, and has nothing to render
            print(f"run {job.run.run_id}: {error} Starting it over.", file=sys.stderr)
            shutil.rmtree(job.training)
            if suspect is not None and job.trunk_folder is not None:
                trunk_checkpoint(job.trunk_folder, suspect).unlink(missing_ok=True)


def train_pack(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Train runs of one shape and length as one stacked model; those that resume from other steps, as another one."""
    results: dict[str, dict[str, Any]] = {}
    for pack in _resumable_together(jobs):
        if pack[0].should_stop() or any(r["status"] == "preempted" for r in results.values()):
            trained = [{"status": "preempted", "reason": "the worker was told to stop"} for _ in pack]
        else:
            trained = _train(pack)
        results |= {job.run.run_id: result for job, result in zip(pack, trained)}
    return [results[job.run.run_id] for job in jobs]


def _resumable_together(jobs: Sequence[Job]) -> list[list[Job]]:
    """Packs whose runs all hold a checkpoint of one step (or all have none, or all are trained already)."""
    from scaling.lm.checkpoint import checkpoint_steps

    packs: list[tuple[set[int], list[Job]]] = []
    for job in jobs:
        _begin(job)
        trained = (job.training / RESULT).exists()
        steps = {-1} if trained else set(checkpoint_steps(job.training).values()) or {0}
        for shared, pack in packs:
            if shared & steps:
                shared &= steps
                pack.append(job)
                break
        else:
            packs.append((steps, [job]))
    return [pack for _, pack in packs]


def _begin(job: Job) -> int:
    """The step a run will go on from, its trunk's newest checkpoint put in place where that is further than its own."""
    if (job.training / RESULT).exists():
        return job.run.n_steps
    own = job.training / CHECKPOINT
    at, best = _checkpoint_step(own) or 0, job.newest_of_trunk
    if best is None or best <= at or job.trunk_folder is None:
        return at
    _link(trunk_checkpoint(job.trunk_folder, best), own)
    return best


def _train(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """One run, or several stacked: from stop to stop, where the trunks get a checkpoint; then to the end."""
    started = time.perf_counter()
    from scaling.lm.training import train_packed

    specs, folders = [to_run_spec(job.run.config) for job in jobs], [job.training for job in jobs]
    first_step = min(_begin(job) for job in jobs)
    micro_batch = jobs[0].micro_batch if first_step == 0 else None  # a checkpoint says it itself
    for stop in (s for s in jobs[0].stops if s > first_step):
        options = _options(jobs, micro_batch=micro_batch, stop_after_step=stop)
        results = train_packed(specs, folders, options=options)
        for job, folder, result in zip(jobs, folders, results):
            if result.status == "preempted" and result.step == stop and job.trunk_folder is not None:
                _link(folder / CHECKPOINT, trunk_checkpoint(job.trunk_folder, stop))
        at_stop = all(str(r.reason).startswith("stop_after_step") for r in results)
        if not at_stop or jobs[0].should_stop():
            return [_record(r, job, len(jobs), first_step, started) for r, job in zip(results, jobs)]
        micro_batch = None
    results = train_packed(specs, folders, options=_options(jobs, micro_batch=micro_batch))
    return [_record(r, job, len(jobs), first_step, started) for r, job in zip(results, jobs)]


def _record(trained: RunResult, job: Job, n_packed: int, first_step: int, started: float) -> dict[str, Any]:
    """The trainer's result under the store's names, with the step it was begun at here and the seconds it took since
    (a pack: all its runs together)."""
    result = trained.to_dict()
    rate, tokens_per_step = result.get("tokens_per_s"), result["n_tokens"] / max(1, result["step"])
    return {
        **result,
        "run_id": job.run.run_id,
        "trunk_id": job.run.trunk_id,
        "seconds_per_step": tokens_per_step / rate if rate else None,
        "first_step": first_step,
        "worker_s": time.perf_counter() - started,
        **({"n_packed": n_packed} if n_packed > 1 else {}),
    }


def to_run_spec(config: Mapping[str, Any]) -> RunSpec:
    """The trainer's description of a run, from the configuration in the store."""
    from scaling.lm.recipes import Recipe, Schedule
    from scaling.lm.run import RunSpec

    optimizer = dict(config["optimizer"])
    recipe = Recipe(
        optimizer=optimizer.pop("name"),
        clip_norm=optimizer.pop("clip"),
        batch_size=config["batch_sequences"],
        **optimizer,  # the learning rate, the betas and the weight decay have the trainer's names
    )
    schedule = {k: v for k, v in config["schedule"].items() if k != "n_steps"}
    return RunSpec(
        architecture=Architecture.from_dict(config["architecture"]),
        corpus=config["corpus"],
        recipe=recipe,
        schedule=Schedule(**schedule),
        n_steps=config["schedule"]["n_steps"],
        init_seed=config["seeds"]["weights"],
        data_seed=config["seeds"]["data"],
        n_eval_windows=config["evaluation"]["windows"],
        precision=config["precision"],
    )


def _options(
    jobs: Sequence[Job], *, micro_batch: int | None = None, stop_after_step: int | None = None
) -> TrainingOptions:
    from scaling.lm.run import LogTo, TrainingOptions

    job = jobs[0]
    steps = int(CHECKPOINT_EVERY_S * GUESSED_FLOPS_PER_S / job.run.flops_per_step)
    store = job.folder.parent.parent
    names = tuple(j.run.run_id for j in jobs)
    return TrainingOptions(
        device=os.environ.get("SCALING_DEVICE", "auto"),
        micro_batch=micro_batch,
        checkpoint_every=max(20, steps),
        stop_after_step=stop_after_step,
        deadline_s=None if job.deadline is None else job.deadline - time.monotonic(),
        log_every=max(1, min(50, job.run.n_steps // 20)),
        log_to=LogTo(tools=job.log, folder=str(store), project=job.project, names=names) if job.log else None,
        exclusive=False,  # the claim of the store is the lock, and it can be taken back from a lost machine
    )


# --- trunks: checkpoints that runs share ---


def _link(source: Path, target: Path) -> None:
    """A second name for the file (checkpoints are replaced, never written into), under its final name at once."""
    # named at random: hosts share a store, and process ids
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    os.link(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # to rename one name of a file to another name of it does nothing


def _checkpoint_step(path: Path) -> int | None:
    """The step of a checkpoint; None where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            return int(json.loads((file.metadata() or {})["state"])["step"])
    except (SafetensorError, OSError, KeyError, ValueError):
        path.unlink(missing_ok=True)  # damaged: the run goes on from the trunk or from the start
        return None


# --- before a sweep: what is the corpus, how fast is this machine ---


def describe_corpus(name: str) -> tuple[int, float | None]:
    """Vocabulary size and number of distinct training tokens (None: unlimited)."""
    from scaling.lm.corpus import load_corpus

    corpus = load_corpus(name)
    return corpus.vocab_size, corpus.n_tokens_unique


def check_corpus(design: Design) -> None:
    """Compare what a spec says of its corpus with the corpus, where it is here.

    Raises:
        SpecError: the vocabulary or the number of distinct tokens is another one.
    """
    said = design.spec.corpus
    if said.vocab_size is None and said.n_tokens_unique is None:
        return  # they were read from it
    try:
        vocab_size, unique = describe_corpus(said.name)
    except DataError:
        return  # it is where the workers are, or nowhere: they say so
    pairs = {"vocab_size": (said.vocab_size, vocab_size), "n_tokens_unique": (said.n_tokens_unique, unique)}
    for key, (value, found) in pairs.items():
        if value is not None and found is not None and abs(value / found - 1) > SAME_CORPUS:
            raise SpecError(
                f"corpus.{key} is {value:g} in the spec, and {said.name} has {found:g}. Leave it out, or mend it."
            )


def refuse_other_corpus(store: Store, design: Design) -> None:
    """Refuse to add runs to finished ones of another text: a corpus prepared anew keeps its name, not its content."""
    from scaling.lm.corpus import load_corpus

    name = design.spec.corpus.name
    now = None
    for run in design.runs:
        record = store.finished(run.run_id)
        before = record.result.get("corpus") if record is not None and record.result else None
        if before is None:  # not finished, or recorded by an earlier version
            continue
        now = now or load_corpus(name).fingerprint
        if before != now:
            raise ChangedCorpusError(
                f"the corpus {name} is not the one that run {run.run_id} of this sweep was trained on: it was prepared "
                "anew. Bring that one back, or give this sweep another --store."
            )


def measure_rate(design: Design) -> Rate | None:
    """Seconds per step of the smallest, a middle and the largest model, a few steps each, and of a start.

    On one CPU thread from here on, as a slot trains.

    Raises:
        DataError: the corpus is not here.
    """
    import tempfile

    from scaling.lm.device import use_threads
    from scaling.lm.run import TrainingOptions
    from scaling.lm.training import train

    use_threads(THREADS_OF_A_SLOT)
    by_size = sorted({r.flops_per_step: r for r in design.runs}.items())
    chosen = {0, len(by_size) // 2, len(by_size) - 1}
    points, startups = [], []
    for i in sorted(chosen):
        flops, run = by_size[i]
        spec = to_run_spec(run.config)
        seconds = []
        for steps in (2, 2 + MEASURED_STEPS):  # the difference of two runs leaves start-up out
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                options = TrainingOptions(stop_after_step=min(steps, spec.n_steps), log_every=100)
                seconds.append(train(spec, Path(folder), options=options).wall_s)
        points.append((flops, max(seconds[1] - seconds[0], 1e-6) / MEASURED_STEPS))
        startups.append(max(0.0, time.perf_counter() - started - (2 + MEASURED_STEPS) * points[-1][1]))
    return Rate.from_points(points, startups)
