"""A plan: what to train, how sure that is and, computed when it is first read, what else was possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from scaling.blocks import (
    MOST_DOUBTS,
    Blocks,
    Fields,
    Record,
    Section,
    Shown,
    Text,
    doubts_section,
    first_doubts,
    low_high,
    next_step,
)
from scaling.findings import Finding
from scaling.jsonable import fields_of
from scaling.laws.base import Allocation, Law
from scaling.planning import first_screen as first
from scaling.planning import summary as say
from scaling.planning.allocation import AllocationProblem, Repetition, counts_non_embedding, origin_of
from scaling.planning.alternatives import (
    Inference,
    NearOptimum,
    OtherSize,
    alternatives,
    compare_lifetimes,
    half_size,
    off_optimum_curve,
    valley,
)
from scaling.planning.checks import data_sentence
from scaling.planning.cost import Budget, Cluster, Compute, Constraints, Cost
from scaling.planning.first_screen import Estimate, by_error
from scaling.planning.memory import MemoryPlan
from scaling.planning.shape import DEFAULT_VOCAB, Schedule, Shape
from scaling.planning.uncertainty import Intervals, Solved, Sweep, propose_sweeps
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    from scaling.planning.spread import LawSpread

SPREAD_TOLERANCE = 1e-3  # of N of another law: papers differ by a factor
MOST_LINES = (
    12  # of quantities, things to do and doubts on a first screen, so that all of it can be seen at once
)
LABEL = 9  # characters of the longest name of a thing to do

Line: TypeAlias = tuple[
    int, str, Callable[[], str]
]  # how needed (0 most), name, text ("" where there is none)


@dataclass(frozen=True, kw_only=True)
class Plan(Shown):
    """A whole plan. `point` is what to train; the rest says how sure, at what cost, and what else was possible.

    The other laws, alternatives, next runs and exact FLOPs are computed when they are first read: half of a plan's
    time, and the two lines of `headline` need none of them.
    Example:
        >>> import scaling
        >>> plan = scaling.plan_training(1e21)
        >>> f"{plan.point.n_params:.3g}", f"{plan.point.n_tokens:.3g}", plan.shape.architecture.n_layers
        ('2.79e+09', '5.97e+10', 24)
    """

    law: Law = field(repr=False)  # with repetition priced in where tokens repeat
    budget: Budget
    constraints: Constraints
    cluster: Cluster
    cluster_given: bool
    compute: Compute | None
    ratios: tuple[float, ...]  # of N*, for the alternatives
    problem: AllocationProblem  # that the law solved
    point: Allocation
    is_optimum: bool  # False where a given size or a cap leaves the optimum
    optimum: Allocation  # the point itself, or the training optimum of the same 6 N D
    reference: AllocationProblem  # whose answer the optimum is
    wasted_compute: float | None  # of a point that is not the optimum
    intervals: Intervals
    findings: tuple[Finding, ...]
    repetition: Repetition | None
    shape: Shape | None
    schedule: Schedule
    memory: MemoryPlan | None
    cost: Cost
    solved: Solved | None = field(repr=False)  # each draw's answer, which serves several sections

    @property
    def tokens_per_param(self) -> float:
        return self.point.n_tokens / self.point.n_params

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings as sentences."""
        return tuple(f.message for f in self.findings)

    @property
    def data(self) -> str:
        """How the tokens compare with text that exists."""
        return data_sentence(self.point.n_tokens)

    @cached_property
    def spread(self) -> LawSpread:
        """Other laws' answers to the same question; where a cap or sizes decide, their optimum of the same compute."""
        from scaling.planning.spread import spread_of_laws, total_params
        from scaling.reference.published import published_laws

        question = self.reference._replace(inputs=(), tolerance=SPREAD_TOLERANCE)
        if self.is_optimum:
            question = self.problem._replace(inputs=(), max_params=math.inf, tolerance=SPREAD_TOLERANCE)
        vocab = self.constraints.vocab_size or DEFAULT_VOCAB
        if question.n_params is not None and counts_non_embedding(self.law):
            question = question._replace(n_params=total_params(question.n_params, vocab))
        laws, unique = published_laws(of_size_and_data=True), self.constraints.unique_tokens
        return spread_of_laws(laws, question, vocab, unique, same_question=self.is_optimum)

    @cached_property
    def valley(self) -> NearOptimum | None:
        """How little it costs to miss N* somewhat."""
        return valley(self.law, self.optimum, self.reference)

    @cached_property
    def alternatives(self) -> tuple[OtherSize, ...]:
        """Other sizes trained to the optimum's loss."""
        return alternatives(self.law, self.optimum, self.reference, self.ratios, self._solved_reference)

    @cached_property
    def inference(self) -> Inference | None:
        """What planning for inference saves."""
        return compare_lifetimes(self.law, self.point, self.problem)

    @cached_property
    def exact_flops(self) -> float | None:
        """Training FLOPs of the shape, attention counted; None without a shape."""
        from scaling.accounting.flops import count_flops

        return None if self.shape is None else count_flops(self.shape.architecture, self.point.n_tokens)

    @cached_property
    def sweeps(self) -> tuple[Sweep, ...]:
        """Small sweeps that would shrink the interval of N*, best first."""
        return propose_sweeps(self.law, self.optimum, self.reference, self._solved_reference)

    @property
    def _solved_reference(self) -> Solved | None:
        return self.solved if self.is_optimum else None

    def to_dict(self, *, next_command: str = "") -> dict[str, Any]:
        """The JSON of `scaling plan` (docs/json.md): null is not known, and an interval's end that is unbounded."""
        from scaling.planning.spread import other_papers

        compute, inference = self.compute, self.inference
        others = other_papers(self.spread, origin_of(self.law).name)
        return {
            "kind": "plan",
            "law": _law_to_dict(self.law),
            "budget": {
                "given": {name: v for name, v in fields_of(self.budget).items() if v is not None},
                "how": compute.how if compute else "the law",
                "flops_low": compute.low if compute else None,
                "flops_high": compute.high if compute else None,
            },
            "constraints": fields_of(self.constraints),
            **_point_to_dict(self.point),
            "is_optimum": self.is_optimum,
            "wasted_compute": self.wasted_compute,
            "optimum": _point_to_dict(self.optimum),
            "intervals": self.intervals.to_dict(),
            "warnings": list(self.warnings),
            "findings": [f.to_dict() for f in self.findings],
            "other_laws": [a.to_dict() for a in self.spread.answers],
            "other_laws_same_question": self.spread.same_question,
            "other_papers": others and others.to_dict(),
            "off_optimum": self.valley and fields_of(self.valley),
            "alternatives": [a.to_dict() for a in self.alternatives],
            "inference": inference
            and {
                **fields_of(inference, also=["saved"]),
                "training_optimum": _point_to_dict(inference.training_optimum),
            },
            "data": {"statement": self.data, "repetition": self.repetition and fields_of(self.repetition)},
            "architecture": self.shape and self.shape.to_dict(),
            "exact_flops": self.exact_flops,
            "schedule": fields_of(self.schedule),
            "memory": self.memory and self.memory.to_dict(),
            "cost": fields_of(self.cost),
            "next_runs": [fields_of(s) for s in self.sweeps],
            "next_command": next_command,
        }

    def brief(self) -> Blocks:
        return self.headline(alone=True)

    def records(self) -> list[Record]:
        """One row: what to train, its interval, shape, schedule, time, money and energy."""
        point, ends, cost, shape = self.point, self.intervals, self.cost, self.shape
        sizes = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size", "context_length")
        built = {name: getattr(shape.architecture, name) if shape else None for name in sizes}
        set_up = ("batch_tokens", "n_steps", "learning_rate", "warm_up_steps")
        return [
            {
                "law": origin_of(self.law).name,
                **point._asdict(),
                "tokens_per_param": self.tokens_per_param,
                "is_optimum": self.is_optimum,
                "wasted_compute_fraction": self.wasted_compute,
                "level": ends.level,
                **low_high("n_params", ends.n_params),
                **low_high("n_tokens", ends.n_tokens),
                **low_high("tokens_per_param", ends.tokens_per_param),
                **low_high("loss", ends.loss),
                **low_high("flops", ends.flops),
                "n_params_built": shape.n_params if shape else None,
                **built,
                **{name: getattr(self.schedule, name) for name in set_up},
                "accelerator": cost.accelerator,
                "n_accelerators": cost.n_accelerators,
                "accelerator_hours": cost.accelerator_hours[1],
                "seconds": cost.seconds[1],
                **low_high("seconds", cost.seconds[::2]),
                **low_high("usd", cost.usd),
                "energy_kwh": cost.energy_kwh[1] if cost.energy_kwh else None,
            }
        ]

    def headline(self, *, alone: bool = False) -> Blocks:
        """What to train, in a sentence.

        alone: nothing follows, so that it says which parameters, and the other quantities with their intervals too.
        """
        answer = Text(_answer(self, say_which=alone), style="strong")
        if not alone:
            return (answer,)
        rows, level = self._estimates, self.intervals.level
        values = [" ".join((e.name, e.value, e.unit)).strip() for e in rows[2:]]
        ends = [f"{e.name} {e.ends}" for e in rows if e.ends]
        told = "; ".join(
            [", ".join(values), *([f"{100 * level:g} %: {', '.join(ends)}"] if level and ends else [])]
        )
        return answer, Text(told)

    def summary(self, *, next_command: str = "", figures: bool = True) -> Blocks:
        """What to train, how sure that is, what others say, what it takes, what to doubt; the rest in sections.

        Args:
            next_command: what to run next.
            figures: also what to draw, which a terminal does not show.
        """
        from scaling.planning.spread import other_papers

        rows = self._estimates
        heading, papers = first.papers_column(
            self.spread, other_papers(self.spread, origin_of(self.law).name)
        )
        curve = off_optimum_curve(self.law, self.optimum, self.reference) if figures else ()
        doubts = first_doubts(self.findings)
        room = MOST_LINES - len(rows) - len(doubts) - (len(doubts) >= MOST_DOUBTS)
        # the answer is longer where it is no optimum, or names its parameters; the ends of FLOPs widen the table
        room -= (
            (not self.is_optimum) + counts_non_embedding(self.law) + 2 * (self.intervals.flops is not None)
        )
        told = _most_needed(_lines(self), room)
        return (
            *self.headline(),
            first.estimates_table(rows, self.law, self.intervals.level, heading, papers),
            *([Text("")] if len(told) < room else []),
            Fields(told, style="faint", width=LABEL),
            *doubts,
            *([say.off_optimum_figure(curve, self.optimum)] if curve else []),
            *self._sections(),
            *next_step(next_command),
        )

    @property
    def _estimates(self) -> tuple[Estimate, ...]:
        return first.estimates(self.point, self.intervals, self.budget, self.law)

    def _sections(self) -> Blocks:
        """What the first screen leaves out, computed when it is shown."""

        def sizes() -> Blocks:
            rows = [(tr("off optimum"), say.near_optimum_text(self.valley, self.law))]
            if self.inference is not None:
                rows.append((tr("inference"), say.lifetime_text(self.inference)))
            lifetime = self.inference is not None and self.is_optimum
            others = say.other_sizes(
                self.alternatives, self.optimum, is_optimum=self.is_optimum, lifetime=lifetime
            )
            return say.lines(*rows), *others

        def sources() -> Blocks:
            serves, r = self.inference is not None, self.repetition
            return (
                say.lines(
                    (tr("budget"), say.budget_text(self.compute, self.point, self.budget, serves=serves)),
                    (tr("law"), say.law_text(self.law)),
                    (tr("interval"), say.method_text(self.intervals)),
                    (
                        tr("next runs"),
                        say.next_runs_text(self.sweeps, self.law, self.optimum, self.intervals),
                    ),
                    (tr("data"), say.repetition_text(r, self.point.n_tokens) if r else self.data),
                ),
            )

        def build() -> Blocks:
            shape: tuple[say.Row, ...] = ()
            if self.shape is not None and self.exact_flops is not None:
                shape = tuple(say.shape_rows(self.shape, self.exact_flops, self.point.flops))
            return (say.lines(*shape, *say.schedule_rows(self.schedule)),)

        memory = self.memory
        return (
            Section(
                "laws",
                tr("What other laws say"),
                lambda: say.other_laws(self.spread, self.law, self.budget, self.constraints),
            ),
            Section("sizes", tr("Other sizes"), sizes),
            Section("build", tr("Shape and recipe"), build),
            *([Section("memory", tr("Memory"), lambda: say.memory_blocks(memory))] if memory else []),
            Section(
                "cost",
                tr("Time, money, energy"),
                lambda: (say.lines(*say.cost_rows(self.cost, self.budget)),),
            ),
            Section("sources", tr("Sources, intervals, data"), sources),
            *doubts_section(self.findings),
        )


def plan_to_dict(plan: Plan, *, next_command: str = "") -> dict[str, Any]:
    """The older name of `Plan.to_dict`."""
    return plan.to_dict(next_command=next_command)


def _point_to_dict(point: Allocation) -> dict[str, Any]:
    return {**fields_of(point), "tokens_per_param": point.n_tokens / point.n_params}


def _law_to_dict(law: Law) -> dict[str, Any]:
    """name, family, formula, coefficients, source, and what N, C and the loss count."""
    about = {"family": law.family.name, "formula": law.family.formula, "coefficients": law.coefficients}
    return {**about, **fields_of(origin_of(law), leave_out=("corpus", "note"))}


# --- the first screen ---


def _answer(plan: Plan, *, say_which: bool) -> str:
    """What to train; of sizes that are no optimum, what they waste and what the optimum is."""
    point, ends, budget = plan.point, plan.intervals, plan.budget
    flops = by_error(point.flops, ends.flops, format_flops)
    size = tr(
        "{n} {params} on {d} tokens",
        n=by_error(point.n_params, ends.n_params, format_params),
        params=_counted_params(plan.law, say_which=say_which),
        d=by_error(point.n_tokens, ends.n_tokens, format_tokens),
    )
    if budget.target_loss is not None:
        loss = f"{budget.target_loss:g}"
        said = tr("A loss of {loss} takes {flops} FLOPs: train {size}.", loss=loss, flops=flops, size=size)
    elif plan.compute is not None and plan.problem.inference_tokens:
        bought = format_flops(plan.compute.flops)
        said = tr("Train {size}: {flops} FLOPs with serving.", size=size, flops=bought)
    elif plan.compute is not None:
        said = tr("With {flops} FLOPs, train {size}.", flops=format_flops(plan.compute.flops), size=size)
    elif plan.is_optimum:
        said = tr("Train {size}: compute-optimal at {flops} FLOPs.", size=size, flops=flops)
    else:
        said = tr("Training {size} takes {flops} FLOPs.", size=size, flops=flops)
    return said if plan.is_optimum else f"{said} {_beside_the_optimum(plan)}"


def _beside_the_optimum(plan: Plan) -> str:
    served, best = plan.inference, plan.optimum if plan.inference is None else plan.inference.training_optimum
    n, d = format_params(best.n_params), format_tokens(best.n_tokens)
    if served is not None:
        share = format_percent(abs(served.saved))
        compared = tr("{share} less", share=share) if served.saved >= 0 else tr("{share} more", share=share)
        return tr(
            "With serving: {compared} than the optimum of its loss, {n} on {d}.", compared=compared, n=n, d=d
        )
    loss = "" if best.loss is None else tr(", loss {loss:.4g}", loss=best.loss)
    optimum = tr("the optimum is {n} on {d}{loss}.", n=n, d=d, loss=loss)
    if not plan.wasted_compute:
        return optimum[:1].upper() + optimum[1:]
    share = format_percent(plan.wasted_compute) if plan.wasted_compute < 0.995 else tr("over 99 %")
    return tr("That wastes {share} of the compute; ", share=share) + optimum


def _counted_params(law: Law, *, say_which: bool) -> str:
    """'parameters', or which of them the law counts."""
    if counts_non_embedding(law):
        return tr("non-embedding parameters")
    convention = origin_of(law).params_convention if say_which else ""
    if convention == "total":
        return tr("total parameters")
    return tr("active parameters") if convention == "active" else tr("parameters")


def _lines(plan: Plan) -> Iterator[Line]:
    """A line for each thing to do, in the order of a screen."""
    compute, repetition, shape = plan.compute, plan.repetition, plan.shape
    yield 1, tr("interval"), lambda: first.no_interval_line(plan.intervals, plan.law)
    if compute is not None and compute.how != "given":
        yield 1, tr("budget"), lambda: first.budget_line(compute, plan.budget)
    if repetition is not None:
        yield 1, tr("data"), lambda: first.repetition_line(repetition, plan.point.n_tokens)
    if plan.is_optimum:
        yield 4, tr("as good"), lambda: first.near_line(plan.valley)
        yield (
            3,
            tr("serving") if plan.inference else tr("if served"),
            lambda: first.serving_line(
                plan.inference, None if plan.inference else half_size(plan.law, plan.optimum, plan.reference)
            ),
        )
    if shape is not None:
        yield 2, tr("build"), lambda: first.shape_line(shape)
    yield 6, tr("recipe"), lambda: first.recipe_line(plan.schedule)
    yield 0, tr("run"), lambda: first.run_line(plan.cost, plan.memory, plan.budget)
    if plan.is_optimum:
        yield 5, tr("more runs"), lambda: first.more_runs_line(plan.sweeps, plan.law, plan.optimum)


def _most_needed(lines: Iterable[Line], room: int) -> list[tuple[str, str]]:
    """The lines there is room for, the less needed left out; the rest is never computed."""
    lines = list(lines)
    told: dict[int, tuple[str, str]] = {}
    for i, (_, label, text) in sorted(enumerate(lines), key=lambda pair: pair[1][0]):
        if len(told) < room and (said := text()):
            told[i] = (label, said)
    return [told[i] for i in sorted(told)]
