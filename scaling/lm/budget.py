"""From a budget ("a tiny model, this corpus, two minutes") to a RunSpec: shape by name, recipe, number of steps."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from scaling.architecture import Architecture, find_preset
from scaling.errors import UsageError
from scaling.lm.recipes import Recipe, Schedule, ScheduleKind, choose_recipe
from scaling.lm.run import Precision, RunSpec, TrainingOptions

WARMUP_FRACTION = 0.05
_PROBE_STEPS = 4
_EVAL_WINDOWS, _EVAL_SHARE = 256, 0.1  # a tenth of the tokens, forward only: at most 3 % of the time
_SPARE = 0.92  # of the time goes to steps; the rest to the start, the evaluation and a slower machine


def choose_shape(preset: str, *, vocab_size: int, context_length: int | None = None) -> Architecture:
    """A published or named shape ("tiny", "mini", "gpt2") with the vocabulary of the corpus.

    Raises:
        UsageError: no such shape, or one that is there to be counted only.
    """
    from scaling.lm.models.transformer import check_buildable

    shape = find_preset(preset)
    check_buildable(shape)
    return shape.replace(vocab_size=vocab_size, context_length=context_length or shape.context_length)


def plan_run(
    architecture: Architecture,
    corpus: str,
    *,
    n_tokens: float | None = None,
    seconds: float | None = None,
    recipe: str = "steplaw",
    schedule: str = "wsd",
    changes: dict[str, Any] | None = None,
    warmup_steps: int | None = None,
    precision: Precision = "auto",
    seed: int = 0,
    options: TrainingOptions | None = None,
) -> RunSpec:
    """A run of `n_tokens`, or of as many tokens as this machine trains on in `seconds` (measured by a few steps).

    Args:
        recipe: a name of `scaling.lm.recipes.RECIPES`; the batch it asks for is capped so that at least 50 steps
            remain.
        changes: fields of Recipe that override the rule.
        warmup_steps: None is a twentieth of the steps.
    """
    if (n_tokens is None) == (seconds is None):
        raise UsageError("a run needs either a number of tokens or a time, not both.")
    if n_tokens is None:
        assert seconds is not None
        n_tokens = _SPARE * seconds * measure_speed(architecture, corpus, options=options)
    from scaling.lm.distributed import launched

    context = architecture.context_length
    n_tokens = max(n_tokens, context)
    chosen = choose_recipe(recipe, architecture, n_tokens=n_tokens)
    most = max(1, int(n_tokens / context / 50))
    _, n_processes = launched()  # each takes as many windows of a batch
    per_process = max(1, round(min(chosen.batch_size, most) / n_processes))
    chosen = dataclasses.replace(chosen, **{"batch_size": per_process * n_processes, **(changes or {})})
    n_steps = max(1, round(n_tokens / (chosen.batch_size * context)))
    warmup = round(WARMUP_FRACTION * n_steps) if warmup_steps is None else warmup_steps
    if warmup >= n_steps > 1:
        raise UsageError(
            f"a warm-up of {warmup} steps leaves none of the run's {n_steps}; shorten it, or train longer."
        )
    return RunSpec(
        architecture=architecture,
        corpus=corpus,
        recipe=chosen,
        schedule=Schedule(kind=cast(ScheduleKind, schedule), warmup_steps=warmup),
        n_steps=n_steps,
        precision=precision,
        init_seed=seed,
        data_seed=seed,
        n_eval_windows=int(min(_EVAL_WINDOWS, max(16, _EVAL_SHARE * n_tokens / context))),
    )


def measure_speed(
    architecture: Architecture, corpus: str, *, options: TrainingOptions | None = None
) -> float:
    """Training tokens per second of this machine for this shape, from a few throw-away steps."""
    from scaling.lm.distributed import join_processes
    from scaling.lm.training import train

    options = options or TrainingOptions()
    processes = join_processes(shard=options.shard)
    probe = RunSpec(
        architecture=architecture,
        corpus=corpus,
        recipe=Recipe(learning_rate=0.0, batch_size=4 * processes.count),
        n_steps=_PROBE_STEPS + 1,
        n_eval_windows=2,
    )
    quiet = dataclasses.replace(
        options, progress=False, log_every=1, stop_after_step=None, eval_every=None, stop_on_interrupt=False
    )
    train(dataclasses.replace(probe, n_steps=1), options=quiet)  # warms caches and compiles
    measured = train(probe, options=quiet)
    if measured.status == "preempted" and options.deadline_s is None:
        raise KeyboardInterrupt(measured.reason)  # SIGTERM: nothing is begun that could stop
    if measured.tokens_per_s is None:
        raise UsageError("the speed of this machine could not be measured; give --tokens instead of a time.")
    return processes.mean_of(measured.tokens_per_s)  # all must plan the same run
