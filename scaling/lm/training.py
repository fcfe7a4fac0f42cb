"""Train one run, or several of one shape packed together; stop, resume and branch without changing a number.

    result = train(RunSpec(architecture=..., corpus="synthetic", recipe=Recipe(...), n_steps=1000), "runs/first")

A run's folder holds config.json, metrics.jsonl, checkpoint.safetensors while it is under way, and at the end the
model (model.safetensors, architecture.json, and tokenizer.json when there is text) and result.json, whose presence
means done. Calling `train` again resumes, or returns the result at once. Resuming is bit-exact on the same device
with the same micro-batch and threads: the data order is a function of the step, and nothing else is random
(shown on CPUs; not every kernel of a GPU, flash attention's backward for one, repeats to the last bit).
"""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scaling.errors import UsageError
from scaling.lm.checkpoint import CHECKPOINT_FILE, copy_checkpoint
from scaling.lm.distributed import launched
from scaling.lm.folder import RESULT_FILE, hold_folders, read_result
from scaling.lm.loop import Loop
from scaling.lm.run import RunResult, RunSpec, TrainingOptions


def train(
    spec: RunSpec, folder: str | Path | None = None, *, options: TrainingOptions | None = None
) -> RunResult:
    """Train one run to its end, or to where it must stop.

    Args:
        folder: where checkpoints, metrics and the result go; None keeps nothing.
    Returns:
        The result; `status` is "done", "diverged" (a loss that is not finite, or after warm-up more than 1 above both
        ln V and the first loss), "oom" (one window does not fit) or "preempted" (SIGTERM, SIGUSR2, the deadline or
        stop_after_step; a checkpoint was written and the same call goes on from it).
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
    _check_pack(specs, paths, shard=options.shard)
    finished = [read_result(path, spec) for path, spec in zip(paths, specs)]
    if all(finished):
        return [r for r in finished if r is not None]
    here = [path for path in paths if path is not None]
    is_first = launched()[0] == 0  # of several processes of one run, the one that writes
    with hold_folders(here if options.exclusive and is_first else []):
        loop = Loop(specs, paths, options)
        try:
            with stop_signals(loop.request_stop, interrupt=options.stop_on_interrupt):
                return loop.finish(loop.run())
        finally:
            loop.close()


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


def _check_pack(specs: Sequence[RunSpec], paths: Sequence[Path | None], *, shard: bool) -> None:
    if not specs:
        raise UsageError("there is no run to train.")
    if len(paths) != len(specs):
        raise UsageError(f"packed runs need one folder each; got {len(paths)} for {len(specs)} runs.")
    if shard and len(specs) > 1:
        # the members are views of the stack, and sharding moves the weights away from under them
        raise UsageError(
            f"packed runs cannot be sharded; got shard=True for {len(specs)} runs. Train them one by one, or leave "
            "shard out."
        )
    shapes = {(s.architecture, s.n_steps, s.recipe.batch_size, s.precision) for s in specs}
    if len(shapes) > 1:
        raise UsageError("packed runs must agree in architecture, number of steps, batch size and precision.")


@contextmanager
def stop_signals(request: Callable[[str], None], *, interrupt: bool = False) -> Iterator[None]:
    """Call `request` with the name of a signal that asks for a stop; the handlers before come back at the end.

    SIGTERM and SIGUSR2 are what schedulers send before they kill.

    Args:
        interrupt: take Ctrl-C (SIGINT) too, once: the second does what it did before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    names = ("SIGTERM", "SIGUSR2", *(["SIGINT"] if interrupt else []))
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def handle(number: int, frame: object) -> None:
        request(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
