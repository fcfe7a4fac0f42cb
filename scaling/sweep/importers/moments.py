"""The moment of a run's last loss: what else was logged at that point, and what was not.

Use which when: `at_last_row` for tools that log rows in order, several to a step (Weights & Biases); `at_last_step`
for those that log every value with its own step (TensorBoard, MLflow).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from scaling.sweep.importers.logged import as_number

ONE_STEP = 1  # some loops count a step before they log it, some after: no sign that training went on


class Point(NamedTuple):
    """One logged value."""

    step: int
    time: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The last loss of a run and what was logged with it.

    `went_on`: training went further after it. `began_again`: where its steps count from the start again, if they do.
    """

    step: int
    loss: float
    values: Mapping[str, Any]
    unsure: Mapping[str, str]
    last_step: int
    went_on: bool
    began_again: str = ""


def at_last_row(
    rows: Iterable[Mapping[str, Any]],
    loss_key: str,
    *,
    step_key: str,
    growing: Collection[str],
    constant: Collection[str],
) -> tuple[Moment | None, dict[str, Any]]:
    """The moment of the last row with the loss, and the last of every value of the run.

    A value logged before the loss, in a row of its own, is of the same moment as long as nothing was logged anew
    between the two: a second train/loss says that training went on.

    Args:
        growing: names whose value must be of that moment; constant: names a run has one value of.
    """
    wanted = {step_key, *growing}
    followed: dict[str, dict[str, Any]] = {}  # by name, what was logged from its last row on
    stale: set[str] = set()
    last: dict[str, Any] = {}
    several: dict[str, list[Any]] = {}
    found: dict[str, Any] | None = None
    loss: Any = None
    unsure: dict[str, str] = {}
    since_loss: dict[str, Any] = {}
    went_on = False
    fell: dict[str, str] = {}
    counted: dict[str, tuple[float, float]] = {}  # by name, its step and value
    for row in rows:
        shown = {k: v for k, v in row.items() if v is not None}
        logged = {k: v for k, v in shown.items() if not k.startswith("_")}
        last |= shown
        for name in wanted:
            if name in shown:
                followed[name] = dict(logged)
                stale.discard(name)
            elif name in followed and _is_news(logged, followed[name]):
                stale.add(name)
        _follow(last, shown, step_key, growing, counted, fell)
        for name in constant:
            if name in shown and shown[name] not in several.setdefault(name, []):
                several[name].append(shown[name])
        if loss_key in shown:
            found, loss, since_loss, went_on = dict(last), shown[loss_key], dict(logged), False
            unsure = {**dict.fromkeys(stale, "was logged before the last loss, and training went on"), **fell}
        elif found is not None and _is_news(logged, since_loss):
            went_on = True
    if found is None:
        return None, last
    unsure |= {
        name: "was first logged after the last loss" for name in growing if name in last.keys() - found.keys()
    }
    unsure |= {name: _takes(values) for name, values in several.items() if len(values) > 1}
    step, end = _step(found.get(step_key)), _step(last.get(step_key))
    if step is None:
        there = "is no number there" if step_key in found else "was never logged before the loss"
        unsure[step_key] = f"{there}; it has {', '.join(sorted(k for k in last)[:12])}"
    return (
        Moment(
            step=step or 0,
            loss=as_number(loss),
            values={k: v for k, v in found.items() if k in wanted},
            unsure=unsure,
            last_step=max(step or 0, end or 0),
            went_on=went_on if step_key == "_step" else (end or 0) > (step or 0) + ONE_STEP,
        ),
        last,
    )


def _follow(
    last: Mapping[str, Any],
    shown: Mapping[str, Any],
    step_key: str,
    growing: Collection[str],
    counted: dict[str, tuple[float, float]],
    fell: dict[str, str],
) -> None:
    """Takes in the counters of a row; `fell` says which of them fall while the step rises.

    A step of the run's own that falls to where it began counts from the start again too; one that falls less far goes
    on from a checkpoint.
    """
    step = as_number(last.get(step_key))
    for name in growing:
        if name in shown:
            value = as_number(shown[name])
            at, before = counted.get(name, (math.nan, math.nan))
            if value < before and step > at:
                fell.setdefault(name, _fell(before, value, f"from {step_key} {at:g} to {step:g}"))
            counted[name] = (step, value)
    if step_key in shown:
        first, before = counted.setdefault(step_key, (step, step))
        if step < before and step <= first:
            fell.setdefault(
                step_key,
                f"falls from {before:g} to {step:g} in one run: it counts from the start again where the run went on "
                "(--step-key names another counter, --tokens or --sizes says D)",
            )
        counted[step_key] = (first, step)


def _is_news(logged: Mapping[str, Any], seen: dict[str, Any]) -> bool:
    """Whether a name was logged again with another value; `seen` takes in what is logged."""
    again = any(name in seen and seen[name] != value for name, value in logged.items())
    seen.update(logged)
    return again


def at_last_step(
    history: Mapping[str, list[Point]], loss_key: str, *, growing: Collection[str], constant: Collection[str]
) -> Moment:
    """The moment of the highest step with the loss; of a step done twice the later value counts.

    Args:
        history: the points of the loss, of `growing` and of `constant`; of other names at least the last one.
    """
    losses = history[loss_key]
    loss = _latest(losses)
    values: dict[str, Any] = {}
    unsure: dict[str, str] = {}
    last_step = max(_latest(points).step for points in history.values() if points)
    went_on = last_step > loss.step + ONE_STEP
    for name, points in history.items():
        there = [p for p in points if p.step == loss.step]
        values[name] = _latest(there or points).value
        if name in growing:
            why = _of_one_step(there, loss, losses) if there else _elsewhere(points, loss, went_on)
            why = _falls(points, loss.step) or why
            if why:
                unsure[name] = why
        if name in constant and len(distinct := list(dict.fromkeys(p.value for p in points))) > 1:
            unsure[name] = _takes(distinct)
    again = [_again(history[name]) for name in (loss_key, *growing) if name in history]
    lost = max(again, key=lambda found: (found is not None and not found.passed, found is not None))
    if lost is not None and not lost.passed:
        unsure[loss_key] = (
            f"begins again after step {lost.before}, at step {lost.after}, and ends before it: of two trainings in one "
            "log nobody can say which is the run (give each a log of its own)"
        )
    return Moment(
        step=loss.step, loss=loss.value, values=values, unsure=unsure, last_step=last_step, went_on=went_on,
        began_again="" if lost is None else f"after step {lost.before}, at step {lost.after}",
    )  # fmt: skip


def _of_one_step(there: list[Point], loss: Point, losses: list[Point]) -> str:
    """Why the latest of several values at the step of the last loss may be of another moment, by their times.

    Where no step is logged every point stands at step 0; an epoch for a step holds many moments too.
    """
    if len({p.value for p in there}) == 1:
        return ""
    after = [p for p in there if p.time > loss.time]
    same_time = {p.value for p in there if p.time == loss.time}
    done_twice = len({p.step for p in losses}) > 1 and len(there) == sum(p.step == loss.step for p in losses)
    if len(same_time) < 2 and (not after or done_twice):
        return ""
    return (
        f"was logged {len(there)} times at step {loss.step} as the last loss was, {len(after)} of them after it: "
        "which is of its moment is not known (log with a step of its own, or say --tokens as a number, or --sizes)"
    )


def _elsewhere(points: list[Point], loss: Point, went_on: bool) -> str:
    """Why a value that was not logged at the step of the last loss is not of its moment."""
    if len({p.value for p in points}) > 1:
        return (
            f"was logged up to step {max(p.step for p in points)}, but not at step {loss.step} with the last loss "
            "(--tokens-per-step, or a number, says it)"
        )
    if points[0].step > loss.step + ONE_STEP or went_on:
        return f"was logged once, at step {points[0].step}, and the last loss is of step {loss.step}"
    return ""


def _falls(points: list[Point], end: int) -> str:
    """Why a counter is none of the whole run: it falls while the step rises, up to the step `end`."""
    kept: list[Point] = []  # without what a launch from an earlier checkpoint did again
    for point in sorted(points, key=lambda p: (p.time, p.step)):
        while kept and kept[-1].step >= point.step:
            kept.pop()
        kept.append(point)
    for before, after in pairwise(p for p in kept if p.step <= end):
        if after.value < before.value:
            return _fell(before.value, after.value, f"from step {before.step} to {after.step}")
    return ""


def _fell(before: float, after: float, where: str) -> str:
    return (
        f"falls from {before:g} to {after:g} {where}: it counts from the start again where the run went on "
        "(--tokens-per-step, --tokens as a number, or --sizes with n_tokens says D)"
    )


class Again(NamedTuple):
    """Steps that begin again: the highest before, the first after. `passed`: they got as far as before."""

    before: int
    after: int
    passed: bool


def _again(points: list[Point]) -> Again | None:
    """Where a later launch counts steps from the start again. One late point by itself is none: a last word."""
    in_time = sorted(points, key=lambda p: (p.time, p.step))
    first, highest = in_time[0].step, in_time[0].step
    for k, point in enumerate(in_time):
        later = in_time[k:]
        if point.step < highest and len(later) > 1:
            end = max(p.step for p in later)
            if point.step <= first or end < highest:
                return Again(highest, point.step, end >= highest)
        highest = max(highest, point.step)
    return None


def of_the_end(
    moment: Moment, names: Collection[str], logged: Collection[str], elsewhere: Collection[str]
) -> dict[str, str]:
    """Why values that stand beside the log once (configuration, summary) are not of an earlier last loss."""
    if not moment.went_on:
        return {}
    return {
        name: f"is said once for the whole run, which was evaluated last at step {moment.step} of {moment.last_step} "
        "(--tokens as a number, or --sizes, says it for that step)"
        for name in names
        if name in elsewhere and name not in logged
    }


def _latest(points: list[Point]) -> Point:
    return sorted(points, key=lambda p: (p.step, p.time))[-1]  # the later written of two that are equal


def _takes(values: list[Any]) -> str:
    return f"takes several values in one run ({', '.join(str(v) for v in values[:3])})"


def _step(value: Any) -> int | None:
    number = as_number(value)
    return int(number) if abs(number) < 2**63 else None  # neither NaN nor infinite
