"""transformers' Trainer: folders with a trainer_state.json, also in checkpoint-*/.

N is as given, counted from the config.json beside the state, or from what the Trainer counted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaling.accounting import count_params
from scaling.architecture.huggingface import read_huggingface
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import DataError, MissingFileError, UsageError
from scaling.runs import Runs
from scaling.sweep.importers.logged import (
    ConventionError,
    LeftOut,
    LoggedRun,
    Params,
    as_number,
    rank,
    to_runs,
)
from scaling.sweep.importers.sizes import ToNats, listed, of_run, to_nats

ByRun = float | Mapping[str, float]
DEFAULT_LOSS = "eval_loss"
# relative; processes of one job exchange their counts as 32-bit floats, and padding is per cents
SAME_COUNT = 1e-4
ROUNDING = 2.0**-53  # of one addition of doubles, relative
EVALUATED = re.compile(r"eval_.+_loss")  # of one of several evaluation sets


@dataclass(frozen=True, kw_only=True)
class State:
    """A trainer_state.json. `history`: what was logged, each entry with its step."""

    path: Path
    run_id: str
    history: list[dict[str, Any]]
    step: int
    max_steps: int
    n_tokens: float  # seen; 0 where it was not counted
    flops: float


def from_hf_trainer(
    folder: str | Path,
    *,
    n_params: ByRun | None = None,
    params_convention: Params | None = None,
    n_tokens: ByRun | None = None,
    tokens_per_step: ByRun | None = None,
    n_steps: ByRun | None = None,
    loss_key: str | None = None,
    loss_unit: str | None = None,
    bytes_per_token: float | None = None,
) -> Runs:
    """Runs of transformers' Trainer: every folder below `folder` that holds a trainer_state.json.

    Args:
        n_params: of all runs, or by run (the folder's name). None counts the model of the config.json beside the
            state, else takes total_flos / (6 tokens), which leaves out lookup tables but not an untied head.
        params_convention: what n_params counts; must be given with it. Without it, which count to take
            (non_embedding where it can be known).
        n_tokens, tokens_per_step: where the log has no num_input_tokens_seen (include_num_input_tokens_seen=True
            records it).
        n_steps: planned, instead of the state's max_steps.
        loss_key: of the evaluation, where there are several sets (eval_web_loss); None takes eval_loss.
    Loss, step and tokens are those of the last evaluation; a run that was evaluated last before its end is left out,
    and so is one without evaluation, since its training loss is an average.
    """
    folder = Path(folder)
    if n_params is not None and params_convention is None:
        raise ConventionError(
            "say what n_params counts: params_convention (--params-convention) 'total', 'active' or 'non_embedding'."
        )
    if loss_key is not None:
        to_nats(loss_key, loss_unit, bytes_per_token)
    paths = sorted(folder.rglob("trainer_state.json"))
    if not paths:
        raise MissingFileError(f"no trainer_state.json below {folder}; give the output folder of a Trainer.")
    states = [_read(path, folder) for path in paths]
    loss_key = _loss_key(states, loss_key)
    unit, in_nats = to_nats(loss_key, loss_unit, bytes_per_token)
    logged: list[LoggedRun | LeftOut] = []
    conventions: dict[str, None] = {}
    notes: dict[str, None] = {} if loss_key == DEFAULT_LOSS else {f"the loss is {loss_key}": None}
    without: list[DataError] = []
    for state in states:
        try:
            run = _run(state, loss_key, in_nats, n_tokens, tokens_per_step, n_steps)
            if isinstance(run, LoggedRun) and (run.is_finished or n_params is not None):
                count = _count(state, n_params, params_convention)
                run = replace(run, n_params=count.n_params)
                conventions[count.convention] = None
                notes |= dict.fromkeys(count.notes)
        except DataError as error:
            without.append(error)
            run = LeftOut(name=state.run_id, why=str(error).removesuffix("."))
        logged.append(run)
    if without and not conventions:
        raise without[0]
    convention = next(iter(conventions)) if len(conventions) == 1 else "mixed"
    return to_runs(
        _one_each(logged),
        source=str(folder),
        params_convention=convention,
        loss_unit=unit,
        notes=tuple(notes),
    )


def _one_each(logged: list[LoggedRun | LeftOut]) -> list[LoggedRun | LeftOut]:
    """The best state of each run: its checkpoints are no logs of their own."""
    best: dict[str, LoggedRun | LeftOut] = {}
    for run in logged:
        name = run.run_id if isinstance(run, LoggedRun) else run.name
        other = best.get(name)
        if not isinstance(other, LoggedRun) or (isinstance(run, LoggedRun) and rank(run) >= rank(other)):
            best[name] = run
    return list(best.values())


def _read(path: Path, root: Path) -> State:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        history = state["log_history"]
        if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
            raise TypeError("log_history is no list of objects")
        step, max_steps = int(state["global_step"]), int(state.get("max_steps") or 0)
        n_tokens = float(state.get("num_input_tokens_seen") or 0)
        flops = float(state.get("total_flos") or 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is not a Trainer's state ({error!r}).") from error
    return State(
        path=path, run_id=_run_name(path.parent, root), history=history, step=step, max_steps=max_steps,
        n_tokens=n_tokens, flops=flops,
    )  # fmt: skip


def _run_name(folder: Path, root: Path) -> str:
    """The run of a folder: checkpoints belong to the run above them."""
    if folder.name.startswith("checkpoint-"):
        folder = folder.parent
    return folder.resolve().name if folder in (root, root.parent) else folder.relative_to(root).as_posix()


def _loss_key(states: list[State], asked: str | None) -> str:
    """The evaluation to take: as asked, else eval_loss, else the only one there is."""
    logged = {key for state in states for entry in state.history for key in entry}
    sets = sorted(key for key in logged if EVALUATED.fullmatch(key))
    if asked is not None:
        if asked not in logged:
            raise DataError(
                f"{states[0].path.parent} and the {len(states)} states like it have no {asked!r}; evaluated was "
                f"{listed(sets or logged)}."
            )
        return asked
    if DEFAULT_LOSS in logged:
        return DEFAULT_LOSS
    if len(sets) == 1:
        return sets[0]
    if sets:
        raise UsageError(
            f"{states[0].path} was evaluated on several sets: {', '.join(sets)}; say which is the loss: loss_key "
            "(--loss)."
        )
    raise DataError(
        f"{states[0].path} has no eval_loss; evaluate at the end (eval_strategy) and import again. It has "
        f"{listed(logged)}; loss_key (--loss) takes another."
    )


def _run(
    state: State,
    loss_key: str,
    in_nats: ToNats,
    n_tokens: ByRun | None,
    tokens_per_step: ByRun | None,
    n_steps: ByRun | None,
) -> LoggedRun | LeftOut:
    """The run at its last evaluation, its N left open."""
    evaluations = [entry for entry in state.history if loss_key in entry]
    if not evaluations:
        return LeftOut(name=state.run_id)
    last = evaluations[-1]
    step = as_number(last.get("step"))
    if not 0 <= step < 2**63:
        return LeftOut(name=state.run_id, why=f"the last evaluation has no step ({last.get('step')!r})")
    planned = state.max_steps or None if n_steps is None else int(of_run(n_steps, state.run_id, "n_steps"))
    seen = as_number(last.get("num_input_tokens_seen")) if state.n_tokens > 0 else math.nan
    if step == state.step and not seen > 0:
        seen = state.n_tokens
    if not seen > 0 and n_tokens is not None:
        seen = of_run(n_tokens, state.run_id, "n_tokens")
    if not seen > 0 and tokens_per_step is not None:
        seen = step * of_run(tokens_per_step, state.run_id, "tokens_per_step")
    run = LoggedRun(
        run_id=state.run_id,
        tool_id=state.run_id,
        n_params=math.nan,
        n_tokens=seen,
        loss=in_nats(as_number(last[loss_key])),
        step=int(step),
        last_step=max(int(step), state.step),
        n_steps_planned=planned,
    )
    if run.is_finished and not seen > 0:
        raise DataError(
            f"{state.path} does not record the tokens of step {int(step)} (num_input_tokens_seen is 0 or of another "
            "step); give tokens_per_step (--tokens-per-step)."
        )
    return run


@dataclass(frozen=True, kw_only=True)
class Count:
    """N, what it counts, and what is to be said of it."""

    n_params: float
    convention: str
    notes: tuple[str, ...] = ()


def _count(state: State, n_params: ByRun | None, convention: Params | None) -> Count:
    """N of a run: as given, else of the model beside its state, else by what the Trainer counted up to the end.

    Args:
        convention: which count; None takes non_embedding where it can be known.
    Raises:
        DataError: neither config.json nor counts say it.
    """
    if n_params is not None:
        return Count(n_params=of_run(n_params, state.run_id, "n_params"), convention=convention or "unknown")
    # the Trainer counts 6 x tokens x parameters outside nn.Embedding
    counted = state.flops > 0 and state.n_tokens > 0
    logged = state.flops / (FLOPS_PER_PARAM_TOKEN * state.n_tokens) if counted else None
    config = _config(state.path)
    if config is None:
        return _uncertain(state, logged, convention, "no config.json beside it")
    place, values = config
    try:
        model = read_huggingface(values, source=str(place))
    except (UsageError, DataError) as error:
        return _uncertain(state, logged, convention, str(error))
    counts, notes = count_params(model.architecture), model.notes
    if counts.idle and convention is None:
        raise DataError(
            f"{place} describes a mixture of experts of {counts.total} parameters, {counts.active} of them active: say "
            "which is N: params_convention (--params-convention) total or active."
        )
    expected = counts.non_embedding + counts.vocabulary_head
    if logged is not None and abs(logged / expected - 1) > SAME_COUNT:
        notes = (
            *notes,
            f"total_flos / (6 num_input_tokens_seen) is {logged:.10g}, and the model of config.json has "
            f"{expected:.10g} parameters outside lookup tables: padding is counted in one of the two; N is the model's",
        )
    count = {"total": counts.total, "active": counts.active}.get(convention or "", counts.non_embedding)
    return Count(n_params=float(count), convention=convention or "non_embedding", notes=notes)


def _config(state: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The config.json beside the state, or in a checkpoint below its folder or beside it."""
    beside = [state.parent, *sorted(state.parent.glob("checkpoint-*"))]
    if state.parent.name.startswith("checkpoint-"):
        beside += [state.parent.parent, *sorted(state.parent.parent.glob("checkpoint-*"))]
    for path in (folder / "config.json" for folder in beside):
        if path.is_file():
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise DataError(f"{path} is no configuration ({error}).") from error
            if not isinstance(values, dict):
                raise DataError(f"{path} is no configuration (it holds no object).")
            return path, values
    return None


def _uncertain(state: State, logged: float | None, convention: str | None, why: str) -> Count:
    """N by the Trainer's two counts alone, which do not say whether a vocabulary head is in it."""
    if logged is None:
        raise DataError(
            f"{state.path} has no total_flos and num_input_tokens_seen to count N by ({why}); give n_params (--params) "
            "and params_convention (--params-convention), or put the model's config.json beside it."
        )
    # Both counts are sums of whole numbers, rounded at most once a step; a fraction shows that one of them leaves out
    # what the other counts (padding, for one). Where rounding could hide it, nothing is shown.
    rounding = max(1e-6, logged * state.step * ROUNDING)
    if rounding > 0.25 or abs(logged - round(logged)) > rounding:
        raise DataError(
            f"{state.path}: total_flos / (6 num_input_tokens_seen) is {logged:.12g}, no whole number of parameters: "
            f"the two do not count the same tokens ({why}); give n_params (--params) and params_convention "
            "(--params-convention), or put the model's config.json beside it."
        )
    if convention in ("total", "active"):
        raise DataError(
            f"{state.path}: total_flos leaves out lookup tables, so the log does not say N of {convention} parameters "
            f"({why}); give n_params (--params), or put the model's config.json beside it."
        )
    if convention is not None:
        return Count(n_params=round(logged), convention=convention)
    note = (
        f"N is total_flos / (6 tokens), without lookup tables; whether an untied vocabulary head is in it is not known "
        f"({why}): where the head is tied, say --params-convention non_embedding"
    )
    return Count(n_params=round(logged), convention="unknown", notes=(note,))
