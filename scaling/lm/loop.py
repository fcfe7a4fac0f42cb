"""The loop over steps of one run, or of K packed ones: what it starts from, when it stops, what it leaves."""

# K runs, B windows of each, T tokens

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaling.accounting import count_params, flops_per_token
from scaling.errors import ChangedCorpusError, UsageError
from scaling.jsonable import fields_of
from scaling.lm.checkpoint import (
    Checkpoint,
    checkpoint_steps,
    collect_tensors,
    read_checkpoint,
    remove_checkpoints,
    restore_tensors,
    write_checkpoint,
)
from scaling.lm.corpus import Corpus, SyntheticCorpus, load_corpus
from scaling.lm.corpus.corpora import epochs_of
from scaling.lm.device import Device, choose_device, free_memory_bytes, keep_memory
from scaling.lm.distributed import Vote, join_processes
from scaling.lm.evaluation import EVALUATED, Evaluation, ValidationBlock, evaluate, load_validation_block
from scaling.lm.folder import METRICS_FILE, take_folder, write_end
from scaling.lm.metrics import TrainingMetrics
from scaling.lm.models import Transformer, build_model, load_weights
from scaling.lm.run import RunResult, RunSpec, Status, TrainingOptions
from scaling.lm.train_step import TrainStep
from scaling.units import format_bytes, format_params


class Loop:
    """One step, its data and its metrics. `run` goes to the end or to a reason to stop; `finish` leaves the results."""

    def __init__(
        self, specs: Sequence[RunSpec], paths: Sequence[Path | None], options: TrainingOptions
    ) -> None:
        self.specs, self.paths, self.options = specs, paths, options
        self.spec = specs[0]
        self.processes = join_processes(shard=options.shard)
        self.device = choose_device(options.device, self.spec.precision)
        if self.device.device.type == "cpu":
            keep_memory()
        self.batches = Batches(specs, self.device)
        self.train_step = self._build_train_step()
        found = self._find_checkpoints()
        self._check_corpora(found)
        self.step = found[0].step if found[0] is not None else 0
        # of several processes of one run the first writes
        self.written = [path if self.processes.is_first else None for path in paths]
        for path, spec in zip(self.written, specs):
            if path is not None:
                take_folder(path, spec)
        files = [path / METRICS_FILE if path is not None else None for path in self.written]
        self.metrics = TrainingMetrics(
            specs, files, self.device, self.processes, step=self.step, options=options
        )
        self._restore(found)
        self.stop_requested: str | None = None
        self._stop_vote = Vote(self.processes)

    # ---- the start ---------------------------------------------------------------------------------------------

    def _build_train_step(self) -> TrainStep:
        batch, options = self.spec.recipe.batch_size, self.options
        local, left = divmod(batch, self.processes.count)
        if left:
            raise UsageError(
                f"a batch of {batch} windows cannot be shared by {self.processes.count} processes."
            )
        self._check_memory()
        on_gpu = self.device.device.type == "cuda"
        try:
            return TrainStep(
                self.specs,
                self.device,
                self.processes,
                micro_batch=min(options.micro_batch or local, local),
                compile_loss=on_gpu if options.compile is None else options.compile,
                stack=on_gpu if options.stack is None else options.stack,
            )
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise UsageError(f"the model cannot be built: {self._needs()}, and memory ran out.") from error

    def _check_memory(self) -> None:
        """Refuse a model that cannot train here, before it fills the memory."""
        free = free_memory_bytes(self.device.device)
        if free is not None and self._state_bytes() > free:
            raise UsageError(
                f"the model cannot be trained here: {self._needs()}, and {format_bytes(free)} are free. Choose a "
                "smaller shape or a larger device."
            )

    def _state_bytes(self) -> float:
        """Weights, gradients and optimizer state in float32: the least a device must hold (Muon keeps one moment)."""
        moments = 1 if self.spec.recipe.optimizer == "muon" else 2
        per_param = 4 * (2 + moments) / (self.processes.count if self.processes.shard else 1)
        return len(self.specs) * self.spec.n_params * max(4.0, per_param)

    def _needs(self) -> str:
        return (
            f"{format_params(self.spec.n_params)} parameters need {format_bytes(self._state_bytes())} for weights, "
            "gradients and optimizer"
        )

    def _find_checkpoints(self) -> list[Checkpoint | None]:
        """The newest checkpoint of every member; in a pack, those of the newest step that all members hold."""
        if len(self.specs) == 1:
            return [read_checkpoint(p, s) if p is not None else None for p, s in zip(self.paths, self.specs)]
        held = [set(checkpoint_steps(p).values()) if p is not None else set() for p in self.paths]
        common = max(set.intersection(*held), default=0)
        if common == 0 and any(len(steps) > 1 for steps in held):
            at = [max(steps, default=0) for steps in held]
            raise UsageError(
                f"packed runs must resume from one step; their checkpoints are at {at}. Train them one by one."
            )
        # with no common step this pack was killed during its first save: it starts over
        return [
            read_checkpoint(path, spec, step=common) if path is not None and common else None
            for path, spec in zip(self.paths, self.specs)
        ]

    def _check_corpora(self, found: Sequence[Checkpoint | None]) -> None:
        """Refuse to go on with other data than before."""
        for checkpoint, spec, fingerprint in zip(found, self.specs, self.batches.fingerprints):
            # a checkpoint of an earlier version has none
            if checkpoint is not None and checkpoint.state.get("corpus", fingerprint) != fingerprint:
                raise ChangedCorpusError(
                    f"the corpus {spec.corpus} is not the one {checkpoint.path} was trained on: it was prepared anew. "
                    "Bring that one back, or start over in another folder."
                )

    def _restore(self, found: Sequence[Checkpoint | None]) -> None:
        """Put checkpoints back into the models, their optimizers and the metrics."""
        train_step = self.train_step
        for checkpoint, member, optimizers in zip(found, train_step.members, train_step.optimizers):
            if checkpoint is not None:
                restore_tensors(member, optimizers, checkpoint)
                if self.options.micro_batch is None:
                    train_step.micro_batch = int(checkpoint.state["micro_batch"])
        self.metrics.restore([c.tensors for c in found if c is not None])

    # ---- the steps ---------------------------------------------------------------------------------------------

    def run(self) -> Status:
        """Steps until the end or a reason to stop."""
        options, n_steps = self.options, self.spec.n_steps
        last = min(n_steps, options.stop_after_step or n_steps)
        while self.step < last:
            if not self._try_step():
                return "oom"
            self.step += 1
            if self.step % options.log_every == 0 or self.step == n_steps:
                self.metrics.read(self.step)
                if all(self.metrics.diverged):
                    return "diverged"
            if options.eval_every and self.step % options.eval_every == 0 and self.step < n_steps:
                self.evaluate()
            if options.checkpoint_every and self.step % options.checkpoint_every == 0 and self.step < n_steps:
                self.save()
            if self.step < n_steps and self._must_stop():
                self.save()
                return "preempted"
        if self.step < n_steps:
            self.stop_requested = self.stop_requested or f"stop_after_step {options.stop_after_step}"
            self.save()
            return "preempted"
        return "done"

    def _try_step(self) -> bool:
        """One step; halves the micro-batch when memory runs out, until it fits."""
        runs = zip(self.specs, self.metrics.diverged)
        rates = [0.0 if diverged else spec.learning_rate(self.step) for spec, diverged in runs]
        while True:
            try:
                losses, norms = self.train_step.step(self._windows(), rates)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if not self.train_step.halve_micro_batch():
                    return False
                self.metrics.log(kind="micro_batch", step=self.step, micro_batch=self.train_step.micro_batch)
                continue
            failure = self.train_step.graphs.compile_failure
            if failure and self.step == self.metrics.first_step:
                self.metrics.log(kind="compile_failure", step=self.step, reason=failure)
            self.metrics.add(losses, norms)
            return True

    def _windows(self) -> torch.Tensor:
        """This process's windows of the current step, (K, B, T + 1)."""
        rows, before = self.train_step.rows_per_process, self.step * self.spec.recipe.batch_size
        return self.batches.windows(before + self.processes.rank * rows, rows)

    def request_stop(self, reason: str) -> None:
        """Checkpoint and stop after the current step."""
        self.stop_requested = self.stop_requested or reason

    def _must_stop(self) -> bool:
        deadline = self.options.deadline_s
        if deadline is not None and self.metrics.wall_s > deadline:
            self.request_stop(f"the deadline of {deadline:g} s")
        return self._stop_vote.cast(self.stop_requested is not None)

    def save(self) -> None:
        """Write a checkpoint of every member."""
        train_step, seen = self.train_step, self.metrics.tensors()
        with self.metrics.pause():
            for k, (path, spec) in enumerate(zip(self.paths, self.specs)):
                if path is None:
                    continue
                # every process takes part: shards are gathered
                tensors = collect_tensors(train_step.members[k], train_step.optimizers[k]) | seen[k]
                if self.processes.is_first:
                    write_checkpoint(
                        path,
                        tensors,
                        spec,
                        step=self.step,
                        micro_batch=train_step.micro_batch,
                        corpus=self.batches.fingerprints[k],
                    )

    # ---- the results -------------------------------------------------------------------------------------------

    def evaluate(self) -> list[Evaluation]:
        """Every member on its validation block, logged."""
        with self.metrics.pause():
            models = [self._whole_model(k) for k in range(len(self.specs))]
            out = [evaluate(model, block, self.device) for model, block in zip(models, self.batches.blocks)]
        self.metrics.log([fields_of(e) for e in out], kind="evaluation", step=self.step)
        return out

    def finish(self, status: Status) -> list[RunResult]:
        """Evaluate what can be, write models and results, close the logs."""
        ended = status in ("done", "diverged")
        evaluations = self.evaluate() if status == "done" else [None] * len(self.specs)
        results = [self._result(k, status, evaluation) for k, evaluation in enumerate(evaluations)]
        for k, (path, result) in enumerate(zip(self.written, results)):
            # every process takes part: shards are gathered
            model = self._whole_model(k) if result.status == "done" and self.paths[k] is not None else None
            if path is not None and ended:
                write_end(path, result, model, self.batches.corpora[k])
        for path in self.written:  # only now: a kill before leaves every member of a pack its checkpoint
            if path is not None and ended:
                remove_checkpoints(path)
        self.metrics.close([result.status for result in results])
        return results

    def close(self) -> None:
        """After an error: tell the logs that the runs have failed."""
        self.metrics.close(["failed"] * len(self.specs))

    def _whole_model(self, k: int) -> Transformer:
        """Member k with all its weights here; gathered when they are sharded (every process takes part)."""
        member = self.train_step.members[k]
        if not self.processes.shard:
            return member
        gathered = collect_tensors(member, [])
        whole = build_model(self.spec.architecture, device=self.device.device)
        load_weights(whole, {name.removeprefix("model."): t for name, t in gathered.items()})
        return whole

    def _result(self, k: int, status: Status, evaluation: Evaluation | None) -> RunResult:
        spec, train_loss = self.specs[k], self.metrics.train_loss[k]
        status, reason = self._end_of(k, status, evaluation)
        measured: dict[str, Any] = {
            name: getattr(evaluation, name) if evaluation is not None and status == "done" else None
            for name in EVALUATED
        }
        counts, n_tokens = count_params(spec.architecture), self.step * spec.tokens_per_step
        rate = self.metrics.tokens_per_s(self.step)
        drawn = epochs_of(self.batches.corpora[k], n_tokens) if n_tokens else ()
        return RunResult(
            run_id=spec.run_id,
            trunk_id=spec.trunk_id,
            status=status,
            reason=reason,
            step=self.step,
            n_params=counts.total,
            n_params_non_embedding=counts.non_embedding,
            n_tokens=n_tokens,
            # of a branch too, its trunk included: what the same loss costs from scratch, which is what a law is fitted
            # on; that several branches paid for one trunk is a saving of the sweep, not of the run
            flops=flops_per_token(spec.architecture) * n_tokens,
            **measured,
            train_loss=train_loss if math.isfinite(train_loss) else None,
            tokens_per_s=rate,
            mfu=self.metrics.mfu(rate * len(self.specs)) if rate else None,
            wall_s=self.metrics.wall_s,
            micro_batch=self.train_step.micro_batch,
            device=self.device.name,
            precision=self.device.precision,
            corpus=self.batches.fingerprints[k],
            epochs=max((s.epochs for s in drawn), default=None),
        )

    def _end_of(self, k: int, status: Status, evaluation: Evaluation | None) -> tuple[Status, str | None]:
        """How member k ended, and why it is not done."""
        if status == "oom":
            context = self.spec.architecture.context_length
            return status, f"one window of {context} tokens does not fit on {self.device.name}"
        if status == "preempted":
            return status, self.stop_requested
        why = self.metrics.diverged[k]
        if evaluation is not None and why is None and math.isfinite(evaluation.loss):
            return "done", None
        return "diverged", why or "the final loss is not finite"


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class Batches:
    """The corpora of the runs. Which windows a step reads follows from its number and the seed alone."""

    def __init__(self, specs: Sequence[RunSpec], device: Device) -> None:
        names = {s.corpus: load_corpus(s.corpus) for s in specs}
        self.corpora = [names[s.corpus] for s in specs]
        for spec, corpus in zip(specs, self.corpora):
            _check_vocabulary(spec, corpus)
        self._sources = [_window_source(c, s, device) for c, s in zip(self.corpora, specs)]
        self.blocks = _validation_blocks(specs, self.corpora)
        prints = {name: corpus.fingerprint for name, corpus in names.items()}
        self.fingerprints = [prints[s.corpus] for s in specs]

    def windows(self, first: int, count: int) -> Tensor:
        """`count` windows of every run from number `first` of its order on, (K, B, T + 1), on the device."""
        return torch.stack([source(first, count) for source in self._sources])


def _check_vocabulary(spec: RunSpec, corpus: Corpus) -> None:
    if corpus.vocab_size > spec.architecture.vocab_size:
        raise UsageError(
            f"the corpus {corpus.name} has {corpus.vocab_size} token ids but the model only "
            f"{spec.architecture.vocab_size}; set vocab_size to at least {corpus.vocab_size}."
        )


def _window_source(corpus: Corpus, spec: RunSpec, device: Device) -> Callable[[int, int], Tensor]:
    """A function (first, count) → windows on the device."""
    context = spec.architecture.context_length
    if isinstance(corpus, SyntheticCorpus) and device.device.type == "cuda":
        from scaling.lm.corpus.synthetic_torch import TorchSyntheticLanguage

        stream = corpus.training_windows(context, seed=spec.data_seed).stream
        language = TorchSyntheticLanguage(corpus.language, device.device)
        return lambda first, count: language.windows(first, count, context + 1, stream=stream)
    windows = corpus.training_windows(context, seed=spec.data_seed)

    def read(first: int, count: int) -> Tensor:
        ids = torch.from_numpy(windows.windows(first, count))
        return ids.pin_memory().to(device.device, non_blocking=True) if device.device.type == "cuda" else ids

    return read


def _validation_blocks(specs: Sequence[RunSpec], corpora: Sequence[Corpus]) -> list[ValidationBlock]:
    """The block of every run; one object for those that share it."""
    context = specs[0].architecture.context_length
    keys = [(spec.corpus, spec.n_eval_windows) for spec in specs]
    by_key = dict(zip(keys, corpora))
    blocks = {key: load_validation_block(corpus, context, key[1]) for key, corpus in by_key.items()}
    return [blocks[key] for key in keys]
