"""What all importers share: the end of a run as its tool logged it, and the table of the finished ones.

Two logs are of one run where the tool's own id says so. Where the ids differ, the same name and settings make a
relaunch of it: then a finished log stands for those that were cut, but two finished ones are two runs. A run that has
not reached its planned end, or was evaluated for the last time before it, is left out and named in `Runs.notes`: its
loss is too high, and a fit would take it for a fact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.errors import DataError, UsageError
from scaling.runs import Convention, Runs

Params = Literal["total", "active", "non_embedding"]
NO_LOSS = "no loss logged"

MOST_NAMED = 12


class ConventionError(UsageError):
    """Nobody has said what a number counts, and the log does not say either."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A run that cannot be a row, and why: it stands in the notes as "`why`, left out: `name`"."""

    name: str
    why: str = NO_LOSS


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """The last evaluation of one run with its sizes: loss, step and tokens are of one moment.

    Args:
        last_step: of the whole log; above `step` where training went on after the last evaluation.
        n_steps_planned, ended_well: None where the log does not say.
        identity: of the run, where its name is not; several logs of one run share it.
        tool_id: the tool's own, which decides over name and identity.
        remark: about the log, said where the run is left out: that its file is damaged.
    """

    run_id: str
    n_params: float
    n_tokens: float
    loss: float
    step: int
    last_step: int | None = None
    n_steps_planned: int | None = None
    ended_well: bool | None = None
    flops: float | None = None
    budget: float | None = None
    identity: str | None = None
    tool_id: str | None = None
    remark: str = ""

    @property
    def is_finished(self) -> bool:
        """By its planned steps where they are known: a run may be killed after its last one."""
        if self.n_steps_planned is not None:
            return self.step >= self.n_steps_planned
        return self.ended_well is not False and not self.went_on

    @property
    def went_on(self) -> bool:
        """Whether it was trained further after its last evaluation."""
        return self.last_step is not None and self.last_step > self.step

    @property
    def reached_its_end(self) -> bool:
        """Whether training did, evaluated there or not."""
        if self.n_steps_planned is not None:
            return max(self.step, self.last_step or 0) >= self.n_steps_planned
        return self.ended_well is not False


def as_number(value: object) -> float:
    """A logged value as a number; NaN for what is none ('-', null, a word)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def to_runs(
    logged: Iterable[LoggedRun | LeftOut],
    *,
    source: str,
    params_convention: str,
    flops_convention: str = "6ND",
    loss_unit: str = "nats/token",
    notes: tuple[str, ...] = (),
) -> Runs:
    """One row a run; unfinished runs, further logs of a run and those without a loss left out and named.

    Raises:
        DataError: nothing is finished.
    """
    all_logs = list(logged)
    kept, again = _once([r for r in all_logs if isinstance(r, LoggedRun)], source)
    names = {r.run_id for r in kept}
    left_out = [r for r in all_logs if isinstance(r, LeftOut)]
    again += [r.name for r in left_out if r.why == NO_LOSS and r.name in names]
    left_out = [r for r in left_out if r.why != NO_LOSS or r.name not in names]
    finished = [r for r in kept if r.is_finished and math.isfinite(r.loss)]
    said = _said(kept, left_out, again)
    if not finished:
        n_cut = sum(not r.is_finished for r in kept)
        raise DataError(f"{source} holds no finished run ({n_cut} unfinished). {'; '.join(said)}")
    flops = [r.flops for r in finished]
    budgets = [math.nan if r.budget is None else r.budget for r in finished]
    return Runs.from_arrays(
        n_params=np.array([r.n_params for r in finished]),
        n_tokens=np.array([r.n_tokens for r in finished]),
        loss=np.array([r.loss for r in finished]),
        step=np.array([r.step for r in finished], dtype=np.float64),
        flops=None if None in flops else np.array(flops, dtype=np.float64),
        budget=None if np.isnan(budgets).all() else np.array(budgets),
        run_id=_distinct([r.run_id for r in finished]),
        convention=Convention(params=params_convention, flops=flops_convention, loss_unit=loss_unit),
        source=source,
        notes=(*notes, *said),
    )


def _once(logged: list[LoggedRun], source: str) -> tuple[list[LoggedRun], list[str]]:
    """Each run once, by its best log, and the names of the further logs."""
    best: dict[str, LoggedRun] = {}
    again: list[str] = []
    for run in logged:
        key = run.tool_id or run.identity or run.run_id
        other = best.get(key)
        if other is not None:
            _refuse_two(other, run, source)
            again.append(run.run_id)
        if other is None or rank(run) >= rank(other):
            best[key] = run
    launches: dict[str, list[LoggedRun]] = {}
    for run in best.values():
        launches.setdefault(run.identity or run.run_id, []).append(run)
    kept: list[LoggedRun] = []
    for same in launches.values():
        ended = [r for r in same if r.is_finished] or [max(same, key=rank)]
        kept += ended
        again += [r.run_id for r in same if not any(r is e for e in ended)]
    return kept, again


def _refuse_two(run: LoggedRun, other: LoggedRun, source: str) -> None:
    """Two logs under one key must be of one run: of one size, and not two different ends."""
    if abs(other.n_params - run.n_params) > 0:  # not where one is not known (NaN)
        raise DataError(
            f"{source}: two logs are named {run.run_id!r}, one of {run.n_params:g} parameters and one of "
            f"{other.n_params:g}: they are different runs. Export the column ID too, or name them apart."
        )
    ends = [(r.step, r.n_tokens, r.loss) for r in (run, other)]
    ended = all(r.is_finished and (r.n_steps_planned is not None or r.ended_well) for r in (run, other))
    if run.tool_id is None and ended and ends[0] != ends[1]:
        told = " and one of ".join(f"{D:g} tokens in {step} steps (loss {loss:g})" for step, D, loss in ends)
        raise DataError(
            f"{source}: two finished logs are named {run.run_id!r}, one of {told}: they are different runs. Export "
            "the column ID too, or name them apart."
        )


def rank(run: LoggedRun) -> tuple[bool, int, float]:
    return run.is_finished, run.step, run.n_tokens


def _said(kept: list[LoggedRun], left_out: list[LeftOut], again: list[str]) -> list[str]:
    """The notes: who is left out and why, and which runs share a name."""
    finished = [r for r in kept if r.is_finished]
    cut = [r for r in kept if not r.is_finished]
    reasons: dict[str, list[str]] = {
        "unfinished": [_how_far(r) for r in cut if not r.reached_its_end],
        "evaluated before the end (--steps takes what got that far)": [
            _how_far(r) for r in cut if r.reached_its_end
        ],
    }
    for run in left_out:
        reasons.setdefault(run.why, []).append(run.name)
    reasons["the last loss is not a number"] = [r.run_id for r in finished if not math.isfinite(r.loss)]
    said = []
    for why, names in reasons.items():
        if names:
            separator = "; " if any(" at step " in name for name in names) else ", "
            said.append(f"{why}, left out: {separator.join(dict.fromkeys(names))}")
    if again:
        said.append(f"{len(again)} further logs of the same runs left out: {', '.join(dict.fromkeys(again))}")
    shared = dict.fromkeys(r.run_id for r in finished if sum(r.run_id == o.run_id for o in finished) > 1)
    if shared:
        said.append(f"several finished runs share a name and are numbered: {', '.join(shared)}")
    return said


def _how_far(run: LoggedRun) -> str:
    """How far a run got, and of how many steps where that is known."""
    end = run.last_step if run.n_steps_planned is None and run.went_on else run.n_steps_planned
    of_all = "" if end is None else f" of {end}"
    last = "evaluated last " if run.went_on else ""
    return f"{run.run_id} {last}at step {run.step}{of_all}{run.remark}"


def _distinct(names: list[str]) -> list[str]:
    """Runs of one name that are not one run get a number that no other run has."""
    taken, out = set(names), []
    seen: set[str] = set()
    for name in names:
        own, k = name, 2
        while own in seen or (own != name and own in taken):
            own, k = f"{name}-{k}", k + 1
        seen.add(own)
        out.append(own)
    return out
