"""A plan: what to train, how sure that is and, computed when it is first read, what else was possible."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scaling.blocks import Blocks, Code, Record, Shown, Text, low_high
from scaling.findings import Finding
from scaling.jsonable import fields_of
from scaling.laws.base import Allocation, Law
from scaling.planning.allocation import AllocationProblem, Repetition, counts_non_embedding, origin_of
from scaling.planning.alternatives import (
    Inference,
    NearOptimum,
    OtherSize,
    alternatives,
    compare_lifetimes,
    off_optimum_curve,
    valley,
)
from scaling.planning.checks import data_sentence
from scaling.planning.cost import Budget, Cluster, Compute, Constraints, Cost
from scaling.planning.memory import MemoryPlan
from scaling.planning.shape import DEFAULT_VOCAB, Schedule, Shape
from scaling.planning.uncertainty import Ends, Intervals, Solved, Sweep, propose_sweeps
from scaling.translation import tr
from scaling.units import digits_by_error, format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    from scaling.planning.spread import LawSpread

SPREAD_TOLERANCE = 1e-3  # of N of another law: papers differ by a factor
COLUMNS = 100  # of a terminal

Format = Callable[..., str]


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
        """One sentence: N, D, tokens per parameter, loss; and its intervals.

        alone: no line about the law follows, so that the sentence says which N it means, if that takes no line more.
        """
        said = _sentence(self)
        if alone and origin_of(self.law).params_convention in ("total", "active"):
            longer = _sentence(self, say_which=True)
            said = longer if _n_lines(longer) == _n_lines(said) else said
        intervals = _interval_sentence(self.intervals)
        return (Text(said, style="strong"), *([Text(intervals)] if intervals else []))

    def summary(self, *, all_laws: bool = False, next_command: str = "", figures: bool = True) -> Blocks:
        """The answer first, then its doubts, then what else was possible and how to do it.

        Args:
            all_laws: list what every published law answers.
            next_command: what to run next.
            figures: also what to draw, which a terminal does not show.
        """
        from scaling.planning import summary as say

        doubts = [say.lines(*((tr("warning"), text) for text in self.warnings), warning=True)]
        budget = say.budget_text(self.compute, self.point, self.budget, serves=self.inference is not None)
        off_optimum = [(tr("off optimum"), say.near_optimum_text(self.valley, self.law))]
        if self.inference is not None and self.is_optimum:  # of given sizes the headline has said it
            off_optimum.append((tr("inference"), say.lifetime_text(self.inference)))
        repetition, lifetime = self.repetition, self.inference is not None and self.is_optimum
        data = say.repetition_text(repetition, self.point.n_tokens) if repetition else self.data
        next_runs = say.next_runs_text(self.sweeps, self.law, self.optimum, self.intervals)
        shape: tuple[say.Row, ...] = ()
        if self.shape is not None and self.exact_flops is not None:
            shape = tuple(say.shape_rows(self.shape, self.exact_flops, self.point.flops))
        curve = off_optimum_curve(self.law, self.optimum, self.reference) if figures else ()
        return (
            *self.headline(),
            Text(""),
            say.lines(
                (tr("budget"), budget),
                (tr("law"), say.law_text(self.law)),
                (tr("interval"), say.method_text(self.intervals)),
            ),
            *(doubts if self.warnings else []),
            *say.other_laws(self.spread, self.law, self.budget, self.constraints, listed=all_laws),
            say.lines(*off_optimum, (tr("data"), data)),
            *say.other_sizes(self.alternatives, self.optimum, is_optimum=self.is_optimum, lifetime=lifetime),
            *([say.off_optimum_figure(curve, self.optimum)] if curve else []),
            say.lines(*shape, *say.schedule_rows(self.schedule)),
            *(say.memory_blocks(self.memory) if self.memory else ()),
            say.lines(*say.cost_rows(self.cost, self.budget), (tr("next runs"), next_runs)),
            *([Code(next_command, label=tr("next"), indent=9)] if next_command else []),
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


# --- the headline ---


def _sentence(plan: Plan, *, say_which: bool = False) -> str:
    point, ends, budget = plan.point, plan.intervals, plan.budget
    flops = _by_error(point.flops, ends.flops, format_flops)
    n, d = (
        _by_error(point.n_params, ends.n_params, format_params),
        _by_error(point.n_tokens, ends.n_tokens, format_tokens),
    )
    size = tr("{n} {params} on {d} tokens", n=n, params=_counted_params(plan, say_which=say_which), d=d)
    per_param = _by_error(plan.tokens_per_param, ends.tokens_per_param, _plain)
    ratio = tr("{ratio} tokens per parameter", ratio=per_param)
    if budget.target_loss is not None:
        takes = tr("A loss of {budget.target_loss:g} takes {flops} FLOPs", budget=budget, flops=flops)
        return f"{takes}: {size}, {ratio}."
    loss = ""
    if point.loss is not None:
        loss = tr(", loss {loss} {unit}", loss=_loss(point.loss, ends.loss), unit=_loss_unit(plan.law))
    if budget.flops is None and plan.compute is None and plan.is_optimum:
        optimal = tr("{size} are compute-optimal at {flops} FLOPs", size=size, flops=flops)
        return f"{optimal}: {ratio}{loss}."
    if plan.is_optimum:
        return f"{size}: {ratio}{loss}."
    if plan.inference is not None:
        from scaling.planning.summary import lifetime_text

        return f"{size}: {ratio}{loss}; {lifetime_text(plan.inference)}."
    waste = ""
    if plan.wasted_compute:
        share = format_percent(plan.wasted_compute) if plan.wasted_compute < 0.995 else tr("over 99 %")
        waste = tr(", wasting {share} of the compute", share=share)
    return f"{size}: {ratio}{loss}{waste}. {_optimum_sentence(plan.optimum)}"


def _optimum_sentence(best: Allocation) -> str:
    flops, n, d = format_flops(best.flops), format_params(best.n_params), format_tokens(best.n_tokens)
    loss = "" if best.loss is None else tr(", loss {loss:.4g}", loss=best.loss)
    return tr("The optimum of {flops} FLOPs is {n} on {d}{loss}.", flops=flops, n=n, d=d, loss=loss)


def _counted_params(plan: Plan, *, say_which: bool) -> str:
    """'parameters', or what the law counts and what a checkpoint of the shape holds."""
    if counts_non_embedding(plan.law):
        total = "" if plan.shape is None else format_params(plan.shape.n_params_total)
        return tr("non-embedding parameters") + (tr(" ({n} in all)", n=total) if total else "")
    if not say_which:
        return tr("parameters")
    counts_total = origin_of(plan.law).params_convention == "total"
    return tr("total parameters") if counts_total else tr("active parameters")


def _loss_unit(law: Law) -> str:
    unit = origin_of(law).loss_unit
    return tr("(unit {unit})", unit=unit) if unit == "in doubt" else unit


def _n_lines(text: str) -> int:
    """Of a terminal, which parts no percentage from its number."""
    import textwrap

    whole = text.replace(" %", "_%")
    return len(textwrap.wrap(whole, COLUMNS, break_long_words=False, break_on_hyphens=False))


def _interval_sentence(ends: Intervals) -> str:
    if ends.level is None:
        return ""
    told = [
        (ends.n_params, format_params, tr("parameters")),
        (ends.n_tokens, format_tokens, tr("tokens")),
        (ends.tokens_per_param, _plain, tr("tokens/param")),
        (ends.flops, format_flops, tr("FLOPs")),
    ]
    texts = [f"{_range(e, formatter)} {unit}" for e, formatter, unit in told if e is not None]
    if ends.loss is not None:
        texts.append(tr("loss {range}", range=_range(ends.loss, None)))
    return f"{100 * ends.level:g} %: {', '.join(texts)}" if texts else ""


def _range(ends: Ends, formatter: Format | None) -> str:
    """'2.4B to 3.2B' with two digits of the half-width; unbounded ends in words."""
    low, high = ends
    if math.isinf(high) and low <= 0:
        return tr("unbounded (the runs do not determine it)")
    if math.isinf(high):
        return tr("{low} or more (no upper end)", low=formatter(low, 2) if formatter else f"{low:.3g}")
    if formatter is None:
        return tr("{low} to {high}", low=_loss(low, ends), high=_loss(high, ends))
    if low <= 0:
        return tr("{high} or less (no lower end)", high=formatter(high, 2))
    return tr("{low} to {high}", low=_by_error(low, ends, formatter), high=_by_error(high, ends, formatter))


def _by_error(value: float, ends: Ends | None, formatter: Format) -> str:
    """The value with two digits of its error, four at most; three digits where no error is known."""
    if ends is None:
        return formatter(value, 3)
    return formatter(value, min(4, digits_by_error(value, (ends[1] - ends[0]) / 2)))


def _loss(loss: float, ends: Ends | None) -> str:
    """The loss with two digits of its error, from one decimal to four; three decimals where no error is known."""
    if ends is None:
        return f"{loss:.3f}"
    half_width = (ends[1] - ends[0]) / 2
    if half_width <= 0 or math.isinf(half_width):
        return f"{loss:.4f}" if half_width <= 0 else f"{loss:.1f}"
    return f"{loss:.{min(4, max(1, 1 - math.floor(math.log10(half_width))))}f}"


def _plain(value: float, digits: int = 3) -> str:
    decimals = max(0, digits - 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"
