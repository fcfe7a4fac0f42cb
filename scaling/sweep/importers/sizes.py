"""One run as a tool has it, how its N, D and C are known (numbers, or names of logged values), and the
unit of its loss: as given, else as its name says, and converted to nats per token.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from scaling.errors import DataError, UnitError, UsageError
from scaling.runs import Runs
from scaling.runs.conventions import LOSS_UNITS
from scaling.runs.names import PARSERS
from scaling.sweep.importers.logged import MOST_NAMED, ConventionError, LeftOut, LoggedRun, Params, to_runs
from scaling.sweep.importers.moments import Moment, Point, at_last_row, at_last_step, of_the_end
from scaling.units import parse_tokens

Known = float | str | Mapping[str, float]
"""A number for all runs, a number for each by its name, or the name of a value that each run has logged itself."""

MOST_BYTES_PER_TOKEN = 50.0  # no tokenizer comes near it
_SAID_BY_NAME = {
    "bits/byte": ("bpb", "bits_per_byte"),
    "bits/token": ("bits_per_token",),
    "nats/byte": ("nats_per_byte",),
    "perplexity": ("ppl", "perplexity"),
    "bits/character": ("bpc", "bits_per_char", "bits_per_character"),
}


@dataclass(frozen=True, kw_only=True)
class Log:
    """One run as a tool has it, at its last evaluation.

    Args:
        identity: the same for several launches of one run; `tool_id` is the tool's own and decides over it.
        values: its configuration and what it has logged, by name, as they were at the last loss.
        unsure: why a value is not known for that moment ("was logged last at step 900"), by name.
        step, loss: of the last evaluation; the loss is NaN where it is no number.
        last_step: of the whole log.
        is_finished: whether the tool saw it end well; None where it does not say.
        counts_calls: its steps are calls of W&B's log(), which a later launch counts from 0 again.
    """

    name: str
    identity: str
    values: Mapping[str, Any]
    step: int
    loss: float
    tool_id: str | None = None
    unsure: Mapping[str, str] = field(default_factory=dict)
    last_step: int | None = None
    is_finished: bool | None = None
    remark: str = ""
    counts_calls: bool = False

    @classmethod
    def at(cls, moment: Moment, *, offset: int = 0, **rest: Any) -> Log:
        """The run at this moment; `offset` is what its steps are short of."""
        last_step = moment.last_step + offset if moment.went_on else None
        given = {"values": moment.values, "unsure": moment.unsure, **rest}
        return cls(step=moment.step + offset, loss=moment.loss, last_step=last_step, **given)


Logs = list[Log | LeftOut]
ToNats = Callable[[float], float]


class SizeOptions(TypedDict, total=False):
    """The fields of `Sizes`, as every importer of logged values takes them."""

    n_params: Known | None
    params_convention: Params | None
    n_tokens: Known | None
    tokens_per_step: Known | None
    n_steps: Known | None
    flops: Known | None
    flops_convention: str | None
    loss_unit: str | None
    bytes_per_token: float | None


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How N, D and C of every run are known, and what the loss is in.

    Args:
        n_params: N; what it counts is params_convention.
        n_tokens: D at the end, or
        tokens_per_step: D per step of the log.
        n_steps: planned; runs that stopped earlier are left out. None goes by how the tool says the run ended.
        flops: C, counted as flops_convention says; None takes 6ND.
        loss_unit: None goes by the metric's name, else nats/token; per byte it needs bytes_per_token.
    """

    n_params: Known | None = None
    params_convention: Params | None = None
    n_tokens: Known | None = None
    tokens_per_step: Known | None = None
    n_steps: Known | None = None
    flops: Known | None = None
    flops_convention: str | None = None
    loss_unit: str | None = None
    bytes_per_token: float | None = None

    def __post_init__(self) -> None:
        if self.n_params is None:
            raise UsageError(
                "the log does not say which value is N: give n_params (--params), a number or the name of a value."
            )
        if self.params_convention is None:
            raise ConventionError(
                "say what N counts: params_convention (--params-convention) 'total', 'active' or 'non_embedding'; it "
                "moves the exponent of N* by up to a third."
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

    @property
    def growing(self) -> tuple[str, ...]:
        """Names of logged values that grow over a run: those of D and C."""
        return tuple(v for v in (self.n_tokens, self.flops) if isinstance(v, str))

    @property
    def constant(self) -> tuple[str, ...]:
        """Names of logged values that a run has one of."""
        return tuple(v for v in (self.n_params, self.tokens_per_step, self.n_steps) if isinstance(v, str))

    def at_last_step(self, history: Mapping[str, list[Point]], loss_key: str) -> Moment:
        return at_last_step(history, loss_key, growing=self.growing, constant=self.constant)

    def log_of_points(
        self, history: Mapping[str, list[Point]], loss_key: str, again: list[str], *, name: str,
        beside: Mapping[str, Any], remark: str = "", **rest: Any,
    ) -> Log | LeftOut:  # fmt: skip
        """A run at its last loss; `again` takes it in where its steps begin again. `beside`: what the log says once."""
        moment = self.at_last_step(history, loss_key)
        if loss_key in moment.unsure:
            return LeftOut(name=f"{name}{remark}", why=f"{loss_key} {moment.unsure[loss_key]}")
        if moment.began_again:
            again.append(f"{name} ({moment.began_again})")
        unsure = {**moment.unsure, **of_the_end(moment, self.growing, history, beside)}
        return Log.at(
            moment, name=name, values={**beside, **moment.values}, unsure=unsure, remark=remark, **rest
        )

    def at_last_row(
        self, rows: Iterable[Mapping[str, Any]], loss_key: str, step_key: str
    ) -> tuple[Moment | None, dict[str, Any]]:
        return at_last_row(rows, loss_key, step_key=step_key, growing=self.growing, constant=self.constant)

    def of(self, log: Log, in_nats: ToNats) -> LoggedRun | LeftOut:
        """The sizes of one run."""
        assert self.n_params is not None
        names = [name for name in (*self.growing, *self.constant) if name in log.unsure]
        why = f"{names[0]} {log.unsure[names[0]]}" if names else ""
        if isinstance(self.n_params, str) and self.n_params in log.unsure:
            return LeftOut(name=f"{log.name}{log.remark}", why=why)
        if self.tokens_per_step is not None and log.step <= 0:
            why = why or "the loss stands at step 0 alone, where tokens_per_step says nothing"
        run = LoggedRun(
            run_id=log.name,
            identity=log.identity,
            tool_id=log.tool_id,
            n_params=known(self.n_params, log, "n_params"),
            n_tokens=math.nan if why else self._tokens(log),
            flops=None if self.flops is None else math.nan if why else known(self.flops, log, "flops"),
            loss=in_nats(log.loss),
            step=log.step,
            last_step=log.last_step,
            n_steps_planned=None if self.n_steps is None else int(known(self.n_steps, log, "n_steps")),
            ended_well=log.is_finished,
            remark=log.remark,
        )
        return LeftOut(name=f"{log.name}{log.remark}", why=why) if why and run.reached_its_end else run

    def _tokens(self, log: Log) -> float:
        if self.n_tokens is not None:
            return known(self.n_tokens, log, "n_tokens")
        return log.step * known(self.tokens_per_step or 0.0, log, "tokens_per_step")

    def runs(
        self, logs: Iterable[Log | LeftOut], *, loss_key: str, source: str, notes: tuple[str, ...] = ()
    ) -> Runs:
        """The table of the finished runs; one whose sizes are not there is left out and named.

        Raises:
            DataError: no run has them.
        """
        assert self.params_convention is not None
        unit, in_nats = to_nats(loss_key, self.loss_unit, self.bytes_per_token)
        found: list[LoggedRun | LeftOut] = []
        without: list[DataError] = []
        for log in logs:
            try:
                found.append(log if isinstance(log, LeftOut) else self.of(log, in_nats))
            except DataError as error:
                without.append(error)
                found.append(LeftOut(name=log.name, why=_why(log.name, error)))
        if without and not any(isinstance(run, LoggedRun) for run in found):
            raise without[0]
        return to_runs(
            found,
            source=source,
            params_convention=self.params_convention,
            flops_convention=self.flops_convention or "6ND",
            loss_unit=unit,
            notes=notes,
        )


def _why(name: str, error: DataError) -> str:
    """What is wrong with a run, without its name and the list of what it has."""
    said = str(error).removeprefix(f"run {name!r}").lstrip(": ")
    return said.split("; it has")[0].removesuffix(".")


def known(value: Known, log: Log, what: str) -> float:
    """The number of one run."""
    if isinstance(value, Mapping):
        return of_run(value, log.name, what)
    if not isinstance(value, str):
        return float(value)
    if value not in log.values:
        raise DataError(
            f"run {log.name!r} has logged no {value!r} for {what}; it has {listed(map(str, log.values))}."
        )
    found = log.values[value]
    try:
        number = float(found)
    except (TypeError, ValueError):
        number = _with_unit(found, what)
    if not (math.isfinite(number) and number > 0):
        raise DataError(f"run {log.name!r}: {value} is {found!r}; {what} must be a number above 0.")
    return number


def _with_unit(found: Any, what: str) -> float:
    """A number with a unit, "124M"; NaN for what is none."""
    if not isinstance(found, str):
        return math.nan
    try:
        return PARSERS.get(what, parse_tokens)(found)
    except UnitError:
        return math.nan


def of_run(values: Any, run_id: str, name: str) -> float:
    """A number for all runs, or the run's own."""
    if not isinstance(values, Mapping):
        return float(values)
    if run_id not in values:
        raise UsageError(f"{name} has no entry for run {run_id!r}; it has {', '.join(map(str, values))}.")
    return float(values[run_id])


def listed(names: Iterable[str]) -> str:
    """Names for an error, sorted; what looks like a loss first, and not more than one reads."""
    found = sorted(set(names), key=lambda name: ("loss" not in name.lower(), name))
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more if found else "nothing"


def unit_of(name: str) -> str | None:
    """The unit that the name of a metric says by itself: "val/bpb" is in bits per byte."""
    folded = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    for unit, words in _SAID_BY_NAME.items():
        if any(re.search(rf"(^|_){word}(_|$)", folded) for word in words):
            return unit
    return None


def to_nats(name: str, unit: str | None, bytes_per_token: float | None) -> tuple[str, ToNats]:
    """The unit in which the loss `name` is kept, and the conversion to it.

    Raises:
        UsageError: a unit that needs bytes_per_token without it, or that cannot be converted.
    """
    if bytes_per_token is not None and not 0 < bytes_per_token <= MOST_BYTES_PER_TOKEN:
        raise UsageError(
            "bytes_per_token (--bytes-per-token) is how much text a token stands for, 3 to 6 for most tokenizers; got "
            f"{bytes_per_token:g}."
        )
    if unit is not None and unit not in LOSS_UNITS:
        raise UsageError(f"loss_unit (--loss-unit) is one of {', '.join(LOSS_UNITS)}; got {unit!r}.")
    unit = unit or unit_of(name) or "nats/token"
    if unit == "bits/character":
        raise UsageError(
            f"{name} is in bits per character, which no count of bytes converts; take a loss per token or byte with "
            "--loss, or keep it as it is with --loss-unit other (exponents only)."
        )
    if unit.endswith("/byte") and bytes_per_token is None:
        raise UsageError(
            f"{name} is in {unit.replace('/', ' per ')}: give bytes_per_token (--bytes-per-token) of its validation "
            "text, or say another --loss-unit."
        )
    if not unit.endswith("/byte") and bytes_per_token is not None:
        raise UsageError(
            f"{name} is read in {unit}, where bytes_per_token (--bytes-per-token) says nothing; leave it out or say "
            "--loss-unit bits/byte."
        )
    if unit == "perplexity":
        return "nats/token", lambda value: math.log(value) if value > 0 else math.nan
    factor = (math.log(2) if unit.startswith("bits") else 1.0) * (bytes_per_token or 1.0)
    return ("other" if unit == "other" else "nats/token"), lambda value: value * factor
