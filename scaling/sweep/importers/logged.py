"""What all importers share: a run as its tool logged it, what it counts, and the table of the finished ones.

Of several logs of one run a finished one is taken before an unfinished one, then the one that got farthest, then the
last. A run that has not reached its planned end is left out and named in `Runs.notes`: its loss is too high, and a
fit would take it for a fact. So is one that was killed before it had logged a loss; importers give its name alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np

from scaling.errors import DataError, UsageError
from scaling.runs import Convention, Runs

Params = Literal["total", "non_embedding"]
Known = float | str | Mapping[str, float]
"""A number for all runs, a number for each by its name, or the name of a value that each run has logged itself."""

MOST_NAMED = 12


class ConventionError(UsageError):
    """Nobody has said what a number counts, and the log does not say either."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """One run as a tool has it.

    Args:
        identity: the same for several logs of one run.
        values: its configuration and the last of everything it logged, by name.
        step, loss: the last that has a loss.
        is_finished: whether the tool saw it end well; None where it does not say.
    """

    name: str
    identity: str
    values: Mapping[str, Any]
    step: int
    loss: float
    is_finished: bool | None = None


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """The end of one run with its sizes. n_steps_planned, ended_well None: the log does not say."""

    run_id: str
    n_params: float
    n_tokens: float
    loss: float
    step: int
    n_steps_planned: int | None = None
    ended_well: bool | None = None
    flops: float | None = None
    identity: str | None = None  # of the run, where its name is not; several logs of one run share it

    @property
    def is_finished(self) -> bool:
        """By its planned steps where they are known: a run may be killed after its last one."""
        if self.n_steps_planned is not None:
            return self.step >= self.n_steps_planned
        return self.ended_well is not False


class Told(TypedDict, total=False):
    """The fields of `Sizes`, as every importer of logged values takes them."""

    n_params: Known | None
    params_convention: Params | None
    n_tokens: Known | None
    tokens_per_step: Known | None
    n_steps: Known | None
    flops: Known | None
    flops_convention: str | None


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How N, D and C of every run are known.

    Args:
        n_params: N; what it counts is params_convention.
        n_tokens: D at the end, or
        tokens_per_step: D per step of the log.
        n_steps: planned; runs that stopped earlier are left out. None goes by how the tool says the run ended.
        flops: C, counted as flops_convention says; None takes 6ND.
    """

    n_params: Known | None = None
    params_convention: Params | None = None
    n_tokens: Known | None = None
    tokens_per_step: Known | None = None
    n_steps: Known | None = None
    flops: Known | None = None
    flops_convention: str | None = None

    def __post_init__(self) -> None:
        if self.n_params is None:
            raise UsageError(
                "the log does not say which value is N: give n_params (--params), a number or the name of a value."
            )
        if self.params_convention is None:
            raise ConventionError(
                "say what N counts: params_convention (--params-convention) 'total' or 'non_embedding'; it moves the "
                "exponent of N* by up to a third."
            )
        if (self.n_tokens is None) == (self.tokens_per_step is None):
            raise UsageError(
                "say how many tokens a run has seen: n_tokens (--tokens) or tokens_per_step (--tokens-per-step), "
                "one of them, a number or the name of a value."
            )
        if self.flops is not None and self.flops_convention is None:
            raise ConventionError(
                "say how flops are counted: flops_convention (--flops-convention), '6ND', 'exact' or 'source'."
            )

    def of(self, log: Log) -> LoggedRun:
        """The sizes of one run."""
        assert self.n_params is not None
        tokens = (
            known(self.n_tokens, log, "n_tokens")
            if self.n_tokens is not None
            else log.step * known(self.tokens_per_step or 0.0, log, "tokens_per_step")
        )
        return LoggedRun(
            run_id=log.name,
            identity=log.identity,
            n_params=known(self.n_params, log, "n_params"),
            n_tokens=tokens,
            flops=None if self.flops is None else known(self.flops, log, "flops"),
            loss=log.loss,
            step=log.step,
            n_steps_planned=None if self.n_steps is None else int(known(self.n_steps, log, "n_steps")),
            ended_well=log.is_finished,
        )

    def runs(self, logs: Iterable[Log | str], *, source: str, notes: tuple[str, ...] = ()) -> Runs:
        """The table of the finished runs; of a run that has logged no loss, `logs` has the name alone."""
        assert self.params_convention is not None
        return to_runs(
            [log if isinstance(log, str) else self.of(log) for log in logs],
            source=source,
            params_convention=self.params_convention,
            flops_convention=self.flops_convention or "6ND",
            notes=notes,
        )


def known(value: Known, log: Log, what: str) -> float:
    """The number of one run."""
    if isinstance(value, Mapping):
        return of_run(value, log.name, what)
    if not isinstance(value, str):
        return float(value)
    if value not in log.values:
        listed = ", ".join(sorted(map(str, log.values))[:MOST_NAMED]) or "no value"
        raise DataError(f"run {log.name!r} has logged no {value!r} for {what}; it has {listed}.")
    try:
        return float(log.values[value])
    except (TypeError, ValueError) as error:
        raise DataError(
            f"run {log.name!r}: {value} is {log.values[value]!r}; {what} must be a number."
        ) from error


def of_run(values: Any, run_id: str, name: str) -> float:
    """A number for all runs, or the run's own."""
    if not isinstance(values, Mapping):
        return float(values)
    if run_id not in values:
        raise UsageError(f"{name} has no entry for run {run_id!r}; it has {', '.join(map(str, values))}.")
    return float(values[run_id])


def to_runs(
    logged: Iterable[LoggedRun | str],
    *,
    source: str,
    params_convention: Params,
    flops_convention: str = "6ND",
    notes: tuple[str, ...] = (),
) -> Runs:
    """One row a run: the best of its logs; unfinished runs and those without a loss (a name alone) left out.

    Raises:
        DataError: nothing is finished.
    """
    best: dict[str, LoggedRun] = {}
    again: list[str] = []
    silent: list[str] = []
    for run in logged:
        if isinstance(run, str):
            silent.append(run)
            continue
        other = best.get(run.identity or run.run_id)
        if other is not None and other.n_params != run.n_params:
            raise DataError(
                f"{source}: two logs are named {run.run_id!r}, one of {other.n_params:g} parameters and one of "
                f"{run.n_params:g}: they are different runs. Export the column ID too, or name them apart."
            )
        if other is not None and _are_two(other, run):
            raise DataError(
                f"{source}: two finished logs are named {run.run_id!r}, one of {other.n_tokens:g} tokens in "
                f"{other.step} steps and one of {run.n_tokens:g} in {run.step}: they are different runs. Export the "
                "column ID too, or name them apart."
            )
        if other is not None:
            again.append(run.run_id)
        if other is None or _rank(run) >= _rank(other):
            best[run.identity or run.run_id] = run
    names = {r.run_id for r in best.values()}
    again += [name for name in silent if name in names]
    silent = [name for name in silent if name not in names]
    finished = [r for r in best.values() if r.is_finished and math.isfinite(r.loss)]
    diverged = [r.run_id for r in best.values() if r.is_finished and not math.isfinite(r.loss)]
    cut = [_how_far(r) for r in best.values() if not r.is_finished]
    if not finished:
        raise DataError(f"{source} holds no finished run ({len(cut)} unfinished). {'; '.join(cut[:3])}")
    said = [f"unfinished, left out: {'; '.join(cut)}"] if cut else []
    if silent:
        said.append(f"no loss logged, left out: {', '.join(dict.fromkeys(silent))}")
    if diverged:
        said.append(f"the last loss is not a number, left out: {', '.join(diverged)}")
    if again:
        said.append(f"{len(again)} further logs of the same runs left out: {', '.join(dict.fromkeys(again))}")
    flops = [r.flops for r in finished]
    return Runs.from_arrays(
        n_params=np.array([r.n_params for r in finished]),
        n_tokens=np.array([r.n_tokens for r in finished]),
        loss=np.array([r.loss for r in finished]),
        step=np.array([r.step for r in finished], dtype=np.float64),
        flops=None if None in flops else np.array(flops, dtype=np.float64),
        run_id=_distinct([r.run_id for r in finished]),
        convention=Convention(params=params_convention, flops=flops_convention, loss_unit="nats/token"),
        source=source,
        notes=(*notes, *said),
    )


def _are_two(run: LoggedRun, other: LoggedRun) -> bool:
    """Whether both reached an end that the log says, and not the same one."""
    if run.identity is not None and run.identity != run.run_id:
        return False  # the tool itself says that they are one
    ended = all(r.is_finished and (r.n_steps_planned is not None or r.ended_well) for r in (run, other))
    return ended and run.step != other.step


def _rank(run: LoggedRun) -> tuple[bool, int, float]:
    return run.is_finished, run.step, run.n_tokens


def _how_far(run: LoggedRun) -> str:
    planned = "" if run.n_steps_planned is None else f" of {run.n_steps_planned}"
    return f"{run.run_id} at step {run.step}{planned}"


def _distinct(names: list[str]) -> list[str]:
    """Runs of one name that are not one run get a number."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return out
