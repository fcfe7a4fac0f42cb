"""Train one run, or several of one shape packed together; stop, resume and branch without changing a number.

    result = train(RunSpec(architecture=..., corpus="synthetic", recipe=Recipe(...), n_steps=1000), "runs/first")

A run's folder holds config.json, metrics.jsonl, checkpoint.safetensors while it is under way, and at the end the
model (model.safetensors, architecture.json, and tokenizer.json when there is text) and result.json, whose presence
means done. Calling `train` again resumes, or returns the result at once. Resuming is bit-exact on the same device
with the same micro-batch and threads: the data order is a function of the step, and nothing else is random.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scaling.accounting import count_params, flops_per_token
from scaling.errors import DataError, UsageError
from scaling.lm.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoint,
    checkpoint_steps,
    collect_tensors,
    copy_checkpoint,
    read_checkpoint,
    remove_checkpoints,
    remove_leftovers,
    restore_tensors,
    write_checkpoint,
)
from scaling.lm.corpus import Corpus, SyntheticCorpus, load_corpus
from scaling.lm.device import Device, choose_device, keep_memory
from scaling.lm.distributed import join_processes
from scaling.lm.evaluation import Evaluation, ValidationBlock, evaluate, load_validation_block
from scaling.lm.learner import Learner
from scaling.lm.lock import hold_folders
from scaling.lm.metrics import MetricsLog, Progress
from scaling.lm.models import Transformer, build_model, load_weights, save_model
from scaling.lm.run import RunResult, RunSpec, Status, TrainingOptions
from scaling.lm.tokenization import save_tokenizer

CONFIG_FILE, RESULT_FILE, METRICS_FILE = "config.json", "result.json", "metrics.jsonl"
RUNAWAY_NATS = 1.0  # above ln V: worse than knowing nothing, by a margin no healthy run shows after warm-up


def train(
    spec: RunSpec, folder: str | Path | None = None, *, options: TrainingOptions | None = None
) -> RunResult:
    """Train one run to its end, or to where it must stop.

    Args:
        folder: where checkpoints, metrics and the result go; None keeps nothing.
    Returns:
        The result; `status` is "done", "diverged" (a loss that is not finite, or above ln V + 1 after warm-up),
        "oom" (one window does not fit) or "preempted" (SIGTERM, SIGUSR2, the deadline or stop_after_step; a
        checkpoint was written and the same call goes on from it).
    """
    return train_packed([spec], None if folder is None else [folder], options=options)[0]


def train_packed(
    specs: Sequence[RunSpec],
    folders: Sequence[str | Path] | None = None,
    *,
    options: TrainingOptions | None = None,
) -> list[RunResult]:
    """Train K runs of one shape as one stacked model; each result is that of the single run, up to rounding.

    Args:
        specs: equal architecture, number of steps and batch size; seeds, learning rates, optimizers may differ.
        folders: one per run.
    """
    options = options or TrainingOptions()
    paths = [None] * len(specs) if folders is None else [Path(f) for f in folders]
    _check_pack(specs, paths)
    finished = [_read_result(path, spec) for path, spec in zip(paths, specs)]
    if all(finished):
        return [r for r in finished if r is not None]
    here = [path for path in paths if path is not None]
    is_first = os.environ.get("RANK", "0") == "0"  # of several processes of one run, the one that writes
    with hold_folders(here if options.exclusive and is_first else []):
        run = _Run(specs, paths, options)
        with _stop_signals(run):
            return run.finish(run.loop())


def train_branches(
    spec: RunSpec, n_steps: Sequence[int], folder: str | Path, *, options: TrainingOptions | None = None
) -> list[RunResult]:
    """Runs of several lengths from one trunk: the flat part is trained once, each length adds its decay.

    Every result equals that of `train(spec.replace(n_steps=n))` from scratch, bit for bit. They share `trunk_id`:
    treat them as one cluster when fitting.

    Args:
        spec: its schedule must be wsd; its own n_steps is not used.
    """
    if spec.schedule.kind != "wsd":
        raise UsageError(
            f"branches need the wsd schedule, whose flat part runs share; got {spec.schedule.kind!r}."
        )
    options, folder = options or TrainingOptions(), Path(folder)
    lengths = sorted(set(n_steps))
    if not lengths:
        raise UsageError("branches need at least one length; n_steps is empty.")
    trunk = spec.replace(n_steps=lengths[-1])
    results: list[RunResult] = []
    trunk_folder = folder / f"steps-{lengths[-1]}"
    for length in lengths:
        branch, branch_folder = spec.replace(n_steps=length), folder / f"steps-{length}"
        if length != lengths[-1] and not (branch_folder / RESULT_FILE).exists():
            start = branch.schedule.decay_start(length)
            reached = train(trunk, trunk_folder, options=dataclasses.replace(options, stop_after_step=start))
            if reached.step < start or (reached.step == start and reached.status in ("diverged", "oom")):
                return [*results, reached]
            branch_folder.mkdir(parents=True, exist_ok=True)
            if not (branch_folder / CHECKPOINT_FILE).exists():
                # a trunk that is finished or further on may hold none so early: the branch then starts from scratch
                copy_checkpoint(trunk_folder, branch_folder, last_step=start)
        results.append(train(branch, branch_folder, options=options))
        if results[-1].status == "preempted":
            return results
    return results


class _Run:
    """The loop over steps and what it keeps: learner, logs, clocks."""

    def __init__(
        self, specs: Sequence[RunSpec], paths: Sequence[Path | None], options: TrainingOptions
    ) -> None:
        self.specs, self.paths, self.options = specs, paths, options
        self.spec = specs[0]
        self.processes = join_processes(shard=options.shard)
        self.device = choose_device(options.device, self.spec.precision)
        if self.device.device.type == "cpu":
            keep_memory()
        self.corpora = [load_corpus(s.corpus) for s in specs]
        for corpus in self.corpora:
            _check_vocabulary(self.spec, corpus)
        context = self.spec.architecture.context_length
        self.windows = [_window_source(c, s, self.device) for c, s in zip(self.corpora, specs)]
        self.blocks = _validation_blocks(specs, self.corpora, context)
        self.learner = self._build_learner()
        self.start_step = self.step = self._restore()
        first = self.processes.is_first
        self.logs = [
            MetricsLog(p / METRICS_FILE if p is not None and first else None, resume_step=self.step)
            for p in paths
        ]
        self.progress = Progress(self.spec.n_steps, enabled=options.progress and first)
        self.stop_requested: str | None = None
        self.diverged: list[str | None] = [None] * len(specs)
        self.window_losses: list[torch.Tensor] = []
        self.window_norms: list[torch.Tensor] = []
        self.train_loss = [math.nan] * len(specs)
        self.started = self.window_started = time.perf_counter()
        self.training_s = 0.0

    def _build_learner(self) -> Learner:
        batch = self.spec.recipe.batch_size
        if batch % self.processes.count:
            raise UsageError(
                f"a batch of {batch} windows cannot be shared by {self.processes.count} processes."
            )
        local = batch // self.processes.count
        on_gpu = self.device.device.type == "cuda"
        micro_batch = min(self.options.micro_batch or local, local)
        compile_loss = on_gpu if self.options.compile is None else self.options.compile
        return Learner(
            self.specs,
            self.device,
            self.processes,
            micro_batch=micro_batch,
            compile_loss=compile_loss,
            stack=on_gpu if self.options.stack is None else self.options.stack,
        )

    def _restore(self) -> int:
        """Load checkpoints; returns the step to go on from."""
        found = self._find_checkpoints()
        for checkpoint, member, optimizers in zip(found, self.learner.members, self.learner.optimizers):
            if checkpoint is not None:
                restore_tensors(member, optimizers, checkpoint)
                if self.options.micro_batch is None:
                    self.learner.micro_batch = int(checkpoint.state["micro_batch"])
        for path, spec in zip(self.paths, self.specs):
            if path is not None and self.processes.is_first:
                _check_owner(path, spec)
                path.mkdir(parents=True, exist_ok=True)
                _write_json(path / CONFIG_FILE, {"schema_version": 1, "kind": "run", **spec.to_dict()})
                remove_leftovers(path)
        return found[0].step if found[0] is not None else 0

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
        found = []
        for path, spec in zip(self.paths, self.specs):
            # with no common step this pack was killed during its first save: it starts over
            checkpoint = read_checkpoint(path, spec, step=common) if path is not None and common else None
            found.append(checkpoint)
        return found

    # ---- the loop ----------------------------------------------------------------------------------------------

    def loop(self) -> Status:
        """Steps until the end or a reason to stop."""
        options, n_steps = self.options, self.spec.n_steps
        last = min(n_steps, options.stop_after_step or n_steps)
        while self.step < last:
            if not self._try_step():
                return "oom"
            self.step += 1
            if self.step % options.log_every == 0 or self.step == last:
                self._look()
                if all(self.diverged):
                    return "diverged"
            if options.eval_every and self.step % options.eval_every == 0 and self.step < n_steps:
                self._log_evaluations(self.evaluate())
            if options.checkpoint_every and self.step % options.checkpoint_every == 0 and self.step < n_steps:
                self.save()
            if self.step < n_steps and self._must_stop():
                self.save()
                return "preempted"
        if self.step < n_steps:
            self.stop_requested = self.stop_requested or f"stop_after_step {self.options.stop_after_step}"
            self.save()
            return "preempted"
        return "done"

    def _try_step(self) -> bool:
        """One step; halves the micro-batch when memory runs out, until it fits."""
        rates = [s.learning_rate(self.step) if not d else 0.0 for s, d in zip(self.specs, self.diverged)]
        while True:
            try:
                losses, norms = self.learner.step(self._batch(), rates)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if not self.learner.halve_micro_batch():
                    return False
                for log in self.logs:
                    log.write(kind="micro_batch", step=self.step, micro_batch=self.learner.micro_batch)
                continue
            if self.step == self.start_step and self.learner.compile_failure:
                for log in self.logs:
                    log.write(kind="compile_failure", step=self.step, reason=self.learner.compile_failure)
            self.window_losses.append(losses)
            self.window_norms.append(norms)
            return True

    def _batch(self) -> torch.Tensor:
        """This process's windows of the current step, (K, B, T + 1)."""
        rows = self.learner.rows_per_process
        first = self.step * self.spec.recipe.batch_size + self.processes.rank * rows
        parts = [source(first, rows) for source in self.windows]
        return torch.stack(parts) if len(parts) > 1 else parts[0][None]

    def _look(self) -> None:
        """Read the losses of the last steps (the only wait for the device), log them, judge them."""
        losses = self.processes.mean(torch.stack(self.window_losses)).double().cpu().numpy()
        norms = torch.stack(self.window_norms).double().cpu().numpy()
        n = len(self.window_losses)
        self.window_losses, self.window_norms = [], []
        now = time.perf_counter()
        elapsed, self.window_started = now - self.window_started, now
        self.training_s += elapsed
        rate = n * self.spec.tokens_per_step / elapsed
        for k, (log, spec) in enumerate(zip(self.logs, self.specs)):
            self.train_loss[k] = float(losses[:, k].mean())
            log.write(
                kind="train",
                step=self.step,
                n_tokens=self.step * spec.tokens_per_step,
                loss=self.train_loss[k],
                learning_rate=spec.learning_rate(self.step - 1),
                gradient_norm=float(norms[:, k].mean()),
                tokens_per_s=rate * len(self.specs),
                mfu=self._mfu(rate * len(self.specs)),
                wall_s=now - self.started,
            )
            self.diverged[k] = self.diverged[k] or self._judge(losses[:, k], norms[:, k])
        remaining = (self.spec.n_steps - self.step) * elapsed / n
        self.progress.show(self.step, float(np.mean(self.train_loss)), rate * len(self.specs), remaining)

    def _judge(self, losses: np.ndarray[Any, Any], norms: np.ndarray[Any, Any]) -> str | None:
        """Why the run has diverged, or None."""
        if not (np.isfinite(losses).all() and np.isfinite(norms).all()):
            return f"the loss or the gradient is not finite by step {self.step}"
        ceiling = math.log(self.spec.architecture.vocab_size) + RUNAWAY_NATS
        if self.step > self.spec.schedule.warmup_steps + self.options.log_every and losses.mean() > ceiling:
            return f"the training loss is {losses.mean():.2f} by step {self.step}, above ln V + 1 = {ceiling:.2f}"
        return None

    def _must_stop(self) -> bool:
        deadline = self.options.deadline_s
        if deadline is not None and time.perf_counter() - self.started > deadline:
            self.stop_requested = self.stop_requested or f"the deadline of {deadline:g} s"
        return self.processes.any(self.stop_requested is not None)

    def _mfu(self, tokens_per_s: float) -> float | None:
        peak = self.device.peak_flops_per_s
        return flops_per_token(self.spec.architecture) * tokens_per_s / peak if peak else None

    # ---- results -----------------------------------------------------------------------------------------------

    def evaluate(self) -> list[Evaluation]:
        """Every member on its validation block."""
        device, dtype = self.device.device, self.device.dtype
        started = time.perf_counter()
        models = [self._whole_model(k) for k in range(len(self.specs))]
        out = [evaluate(m, b, device=device, dtype=dtype) for m, b in zip(models, self.blocks)]
        self.window_started += time.perf_counter() - started  # not training time
        return out

    def _log_evaluations(self, evaluations: Sequence[Evaluation]) -> None:
        for log, evaluation in zip(self.logs, evaluations):
            log.write(kind="evaluation", step=self.step, **dataclasses.asdict(evaluation))

    def save(self) -> None:
        """Write a checkpoint of every member."""
        for path, spec, member, optimizers in zip(
            self.paths, self.specs, self.learner.members, self.learner.optimizers
        ):
            if path is not None:
                tensors = collect_tensors(member, optimizers)  # every process takes part: shards are gathered
                if self.processes.is_first:
                    write_checkpoint(
                        path, tensors, spec, step=self.step, micro_batch=self.learner.micro_batch
                    )

    def finish(self, status: Status) -> list[RunResult]:
        """Evaluate what can be, write models and results, close the logs."""
        ended = status in ("done", "diverged")
        evaluations: list[Evaluation | None] = [None] * len(self.specs)
        if status == "done":
            evaluations = list(self.evaluate())
            self._log_evaluations([e for e in evaluations if e is not None])
        results = [self._result(k, status, evaluations[k]) for k in range(len(self.specs))]
        for k, (path, result) in enumerate(zip(self.paths, results)):
            if path is None:
                continue
            model = self._whole_model(k) if result.status == "done" else None
            if self.processes.is_first and ended:
                self._write_end(path, result, model, self.corpora[k])
        for path in self.paths:  # only now: a kill before leaves every member of a pack its checkpoint
            if path is not None and self.processes.is_first and ended:
                remove_checkpoints(path)
        for log in self.logs:
            log.close()
        self.progress.close()
        return results

    def _whole_model(self, k: int) -> Transformer:
        """Member k with all its weights here; gathered when they are sharded (every process takes part)."""
        member = self.learner.members[k]
        if not self.processes.shard:
            return member
        gathered = collect_tensors(member, [])
        whole = build_model(self.spec.architecture, device=self.device.device)
        load_weights(whole, {name.removeprefix("model."): t for name, t in gathered.items()})
        return whole

    def _write_end(self, path: Path, result: RunResult, model: Transformer | None, corpus: Corpus) -> None:
        if model is not None:
            save_model(model, path)
            if corpus.tokenizer is not None:
                save_tokenizer(corpus.tokenizer, path / "tokenizer.json")
        _write_json(path / RESULT_FILE, result.to_dict())

    def _result(self, k: int, status: Status, evaluation: Evaluation | None) -> RunResult:
        spec, reason = self.specs[k], self.diverged[k]
        if status == "done" and (reason or evaluation is None or not math.isfinite(evaluation.loss)):
            status, evaluation = "diverged", None
            reason = reason or "the final loss is not finite"
        if status == "preempted":
            reason = self.stop_requested
        if status == "oom":
            reason = (
                f"one window of {spec.architecture.context_length} tokens does not fit on {self.device.name}"
            )
        steps_done = self.step - self.start_step
        rate = steps_done * spec.tokens_per_step / self.training_s if self.training_s > 0 else None
        counts = count_params(spec.architecture)
        n_tokens = self.step * spec.tokens_per_step
        return RunResult(
            run_id=spec.run_id,
            trunk_id=spec.trunk_id,
            status=status,
            reason=reason,
            step=self.step,
            n_params=counts.total,
            n_params_non_embedding=counts.non_embedding,
            n_tokens=n_tokens,
            flops=flops_per_token(spec.architecture) * n_tokens,
            loss=evaluation.loss if evaluation else None,
            loss_standard_error=evaluation.loss_standard_error if evaluation else None,
            bits_per_byte=evaluation.bits_per_byte if evaluation else None,
            excess=evaluation.excess if evaluation else None,
            excess_standard_error=evaluation.excess_standard_error if evaluation else None,
            train_loss=self.train_loss[k] if math.isfinite(self.train_loss[k]) else None,
            tokens_per_s=rate,
            mfu=self._mfu(rate * len(self.specs)) if rate else None,
            wall_s=time.perf_counter() - self.started,
            micro_batch=self.learner.micro_batch,
            device=self.device.name,
            precision=self.device.precision,
        )


def _check_pack(specs: Sequence[RunSpec], paths: Sequence[Path | None]) -> None:
    if not specs:
        raise UsageError("there is no run to train.")
    if len(paths) != len(specs):
        raise UsageError(f"packed runs need one folder each; got {len(paths)} for {len(specs)} runs.")
    shapes = {(s.architecture, s.n_steps, s.recipe.batch_size, s.precision) for s in specs}
    if len(shapes) > 1:
        raise UsageError("packed runs must agree in architecture, number of steps, batch size and precision.")


def _check_vocabulary(spec: RunSpec, corpus: Corpus) -> None:
    if corpus.vocab_size > spec.architecture.vocab_size:
        raise UsageError(
            f"the corpus {corpus.name} has {corpus.vocab_size} token ids but the model only "
            f"{spec.architecture.vocab_size}; set vocab_size to at least {corpus.vocab_size}."
        )


def _window_source(corpus: Corpus, spec: RunSpec, device: Device) -> Any:
    """A function (first, count) → windows on the device."""
    context = spec.architecture.context_length
    if isinstance(corpus, SyntheticCorpus) and device.device.type == "cuda":
        from scaling.lm.corpus.synthetic_torch import TorchSyntheticLanguage

        stream = corpus.training_windows(context, seed=spec.data_seed).stream
        language = TorchSyntheticLanguage(corpus.language, device.device)
        return lambda first, count: language.windows(first, count, context + 1, stream=stream)
    windows = corpus.training_windows(context, seed=spec.data_seed)

    def read(first: int, count: int) -> torch.Tensor:
        ids = torch.from_numpy(windows.windows(first, count))
        return ids.pin_memory().to(device.device, non_blocking=True) if device.device.type == "cuda" else ids

    return read


def _validation_blocks(
    specs: Sequence[RunSpec], corpora: Sequence[Corpus], context: int
) -> list[ValidationBlock]:
    blocks: dict[tuple[str, int], ValidationBlock] = {}
    for spec, corpus in zip(specs, corpora):
        key = (spec.corpus, spec.n_eval_windows)
        if key not in blocks:
            blocks[key] = load_validation_block(corpus, context, spec.n_eval_windows)
    return [blocks[spec.corpus, spec.n_eval_windows] for spec in specs]


def _read_result(path: Path | None, spec: RunSpec) -> RunResult | None:
    """The result of a finished run in this folder."""
    if path is None or not (path / RESULT_FILE).exists():
        return None
    try:
        result = RunResult.from_dict(json.loads((path / RESULT_FILE).read_text(encoding="utf-8")))
    except (ValueError, KeyError) as error:
        raise DataError(f"{path / RESULT_FILE} is damaged ({error!r}). Delete it to run again.") from error
    if result.run_id != spec.run_id:
        raise UsageError(
            f"{path} holds the finished run {result.run_id}, not {spec.run_id}. Use another folder."
        )
    return result


def _check_owner(path: Path, spec: RunSpec) -> None:
    """Refuse the folder of another run."""
    if not (path / CONFIG_FILE).exists():
        return
    try:
        values = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8"))
        kept = RunSpec.from_dict({k: v for k, v in values.items() if k not in ("schema_version", "kind")})
    except ValueError as error:
        raise DataError(f"{path / CONFIG_FILE} is damaged ({error}). Use another folder.") from error
    if kept.run_id != spec.run_id:
        raise UsageError(
            f"{path} holds the unfinished run {kept.run_id}, not {spec.run_id}. Use another folder."
        )


def _write_json(path: Path, values: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextmanager
def _stop_signals(run: _Run) -> Iterator[None]:
    """SIGTERM and SIGUSR2 ask for a checkpoint and a stop, for as long as the run lasts."""
    names = [n for n in ("SIGTERM", "SIGUSR2") if hasattr(signal, n)]
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def request(number: int, frame: object) -> None:
        run.stop_requested = signal.Signals(number).name

    before = {name: signal.signal(getattr(signal, name), request) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
