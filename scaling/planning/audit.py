"""Compare trained models with compute-optimal ones: what the same compute, or the same loss, could have been.

Training compute is C = 6 N D with the parameters that compute on every token: of a mixture of experts the active ones.
Two questions with different answers:
- same compute: the law's N*, D* at C; `excess_loss` is the loss left on the table, `size_ratio` is N / N*;
- same loss: the cheapest C' that reaches the model's predicted loss; 1 - C'/C is the compute wasted.
Over-training on purpose (for cheap inference) is wasted compute here: the audit knows training only.
Where sources disagree on a model, or its published FLOPs are not its 6 N D, each other figure gets its verdict too.
Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3; the models' numbers are those of the reference table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from scaling.arguments import is_number, require_kind, require_numbers
from scaling.blocks import (
    Blocks,
    Fields,
    Record,
    Section,
    Shown,
    Table,
    Text,
    doubts_section,
    first_doubts,
    low_high,
    next_step,
)
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import LawError, PlanError, shown
from scaling.findings import Finding
from scaling.jsonable import fields_of
from scaling.laws.base import Allocation, Law
from scaling.planning.allocation import AllocationProblem, counts_non_embedding, has_surface, origin_of
from scaling.planning.checks import extrapolation, refuse_nonsense
from scaling.planning.uncertainty import Ends, intervals
from scaling.reference import PublishedModel, find_law, find_model
from scaling.reference.published import DEFAULT_LAW, LawLike, resolve_law
from scaling.translation import tr
from scaling.units import format_flops, format_interval, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    pass

RULE_OF_THUMB = "20:1"
NEAR_OPTIMAL = 0.06  # wasted compute of a model between .7 and 1.5 times N*: no one can aim better
NEAR_OPTIMAL_SIZE = 1.5  # the same as a ratio of sizes, for laws without a loss
CONFLICT = 1 / 3  # of 6ND: published FLOPs further off than this count something else, or other tokens

Verdict = Literal["under-trained", "near-optimal", "over-trained"]


class OtherFigure(NamedTuple):
    """What another source says of a model: other tokens, or another N for the compute of its tokens."""

    n_params: float
    n_tokens: float
    why: str


class FigureVerdict(NamedTuple):
    """The verdict under another figure."""

    figure: OtherFigure
    flops: float
    tokens_per_param_ratio: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What an audit needs to know.

    Args:
        n_params: those that compute on every token; of a mixture of experts the active ones.
        n_params_total: of a mixture of experts, those of all its experts; None for a dense model.
        published_flops: the training compute that its own source names, whatever that counts.
        figures: what other sources say.
    Example:
        >>> import scaling
        >>> llama = scaling.TrainedModel(name="Llama 3 8B", n_params=8e9, n_tokens=15e12)
        >>> scaling.audit_model(llama, "hoffmann").verdict
        'over-trained'
    """

    name: str
    n_params: float
    n_tokens: float
    n_params_total: float | None = None
    published_flops: float | None = None
    figures: tuple[OtherFigure, ...] = ()
    n_tokens_unique: float | None = None
    n_params_non_embedding: float | None = None
    kind: str = "decoder"
    status: str = ""

    def __post_init__(self) -> None:
        require_kind("name", self.name, str, "It names the model in the audit.")
        for name in ("n_params", "n_tokens"):
            if not is_number(value := getattr(self, name)) or not 0 < value < math.inf:
                raise PlanError(f"{self.name}: {name} must be positive and finite, got {shown(value)}.")
        require_numbers(
            or_none=True, n_tokens_unique=self.n_tokens_unique, published_flops=self.published_flops
        )
        require_numbers(or_none=True, n_params_non_embedding=self.n_params_non_embedding)
        total = self.n_params_total
        if total is not None and not is_number(total):
            raise PlanError(f"{self.name}: n_params_total must be a number, got {shown(total)}.")
        if total is not None and not self.n_params < total < math.inf:
            raise PlanError(
                f"{self.name}: the parameters in all must be more than the active {format_params(self.n_params)}, got "
                f"{format_params(total)}; a dense model has one count only."
            )


# Sizes and tokens as Hoffmann et al. 2022, table 1 print them (LaMDA: tokens seen, not the corpus of 2.81T).
DECK = (
    TrainedModel(name="LaMDA", n_params=137e9, n_tokens=168e9),
    TrainedModel(name="GPT-3", n_params=175e9, n_tokens=300e9),
    TrainedModel(name="Jurassic-1", n_params=178e9, n_tokens=300e9),
    TrainedModel(name="Gopher", n_params=280e9, n_tokens=300e9),
    TrainedModel(name="MT-NLG", n_params=530e9, n_tokens=270e9),
    TrainedModel(name="Chinchilla", n_params=70e9, n_tokens=1.4e12),
)


@dataclass(frozen=True, kw_only=True)
class Audit(Shown):
    """One model against the optimum. Losses are the law's predictions, None where the law gives none.

    Example:
        >>> import scaling
        >>> gopher = scaling.audit_model(scaling.TrainedModel(name="Gopher", n_params=280e9, n_tokens=300e9))
        >>> gopher.verdict, round(gopher.size_ratio, 1)
        ('under-trained', 4.1)
    """

    model: TrainedModel
    law: Law = field(repr=False)
    n_params: float  # as the law counts them
    flops: float
    tokens_per_param: float
    loss: float | None
    optimum: Allocation
    n_params_interval: Ends | None  # of the optimum's N
    rule_of_thumb: Allocation
    size_ratio: float  # N / N*
    tokens_per_param_ratio: float  # (D / N) / (D* / N*): below 1 is under-trained
    verdict: Verdict
    excess_loss: float | None  # L(N, D) - L*(C)
    cheapest_flops: float | None  # C' of the optimal model with the same loss
    wasted_compute_fraction: float | None  # 1 - C'/C
    readings: tuple[FigureVerdict, ...]  # of the other figures
    findings: tuple[Finding, ...]  # what cannot be compared

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings as sentences."""
        return tuple(f.message for f in self.findings)

    @property
    def disputes_tokens(self) -> bool:
        """Whether other sources name other tokens; else only the published FLOPs count something else than 6ND."""
        return any(r.figure.n_tokens != self.model.n_tokens for r in self.readings)

    @property
    def is_open(self) -> bool:
        """Whether another figure would say more than that the model is near-optimal, as this one does."""
        return any(not r.verdict == self.verdict == "near-optimal" for r in self.readings)

    @property
    def dispute(self) -> str:
        """One sentence on what other figures would say; empty where there are none."""
        if not self.readings:
            return ""
        pairs = [describe_reading(self, reading) for reading in self.readings]
        told = "; ".join(f"{said}{tr(' it is ')}{verdict}" for said, verdict in pairs)
        if self.disputes_tokens:
            tokens = format_tokens(self.model.n_tokens)
            return tr("its training tokens are disputed, {tokens} here: {told}", tokens=tokens, told=told)
        times = self.readings[0].flops / self.flops
        return tr("its published FLOPs are {times:.2g} times 6ND: {told}", times=times, told=told)

    @property
    def _dispute_in_short(self) -> str:
        verdicts = tr(" or ").join(dict.fromkeys(verdict_name(r.verdict) for r in self.readings))
        if self.conflict is None:
            return tr("tokens disputed: {verdicts}", verdicts=verdicts)
        is_open = len({r.verdict for r in self.readings}) > 1
        return tr("published FLOPs {times:.2g}x 6ND: {verdicts}", times=self.conflict,
                  verdicts=tr("the verdict is open") if is_open else verdicts)  # fmt: skip

    @property
    def conflict(self) -> float | None:
        """The published FLOPs over 6ND where they are further from it than rounding and attention explain."""
        ratio = (self.model.published_flops or self.flops) / self.flops
        return ratio if abs(ratio - 1) > CONFLICT else None

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """A disputed figure first."""
        disputed = Finding(
            code="disputed-figures", severity="warning", message=self.dispute, short=self._dispute_in_short
        )
        return (disputed, *self.findings) if self.dispute else self.findings

    def to_dict(self) -> dict[str, Any]:
        """The JSON of one model (docs/json.md): counts and FLOPs unrounded, fractions in 0..1."""
        ends, n_params_total = self.n_params_interval, self.model.n_params_total or self.model.n_params
        measures = (
            "tokens_per_param",
            "loss",
            "verdict",
            "size_ratio",
            "tokens_per_param_ratio",
            "excess_loss",
        )
        return {
            "name": self.model.name,
            "n_params": self.n_params,
            "n_params_total": n_params_total,
            "n_tokens": self.model.n_tokens,
            "flops": self.flops,
            "published_flops": self.model.published_flops,
            **{name: getattr(self, name) for name in measures},
            "cheapest_flops_for_the_same_loss": self.cheapest_flops,
            "wasted_compute_fraction": self.wasted_compute_fraction,
            "optimal": {
                **_point(self.optimum),
                "n_params_interval": ends and {"low": ends[0], "high": ends[1]},
            },
            "twenty_to_one": _point(self.rule_of_thumb),
            "other_figures": [
                {**fields_of(r.figure), **fields_of(r, leave_out=["figure"])} for r in self.readings
            ],
            "warnings": [f.message for f in self.all_findings],
            "findings": [f.to_dict() for f in self.all_findings],
        }

    def records(self) -> list[Record]:
        """One row: the model, the verdict, and the optimum of the same compute."""
        told = ("tokens_per_param", "verdict", "loss", "excess_loss", "size_ratio", "tokens_per_param_ratio")
        best = {f"optimal_{name}": value for name, value in self.optimum._asdict().items() if name != "flops"}
        return [
            {
                "name": self.model.name,
                "n_params": self.n_params,
                "n_params_total": self.model.n_params_total or self.model.n_params,
                "n_tokens": self.model.n_tokens,
                "flops": self.flops,
                **{name: getattr(self, name) for name in told},
                "cheapest_flops": self.cheapest_flops,
                "wasted_compute_fraction": self.wasted_compute_fraction,
                **best,
                **low_high("optimal_n_params", self.n_params_interval),
                "published_flops": self.model.published_flops,
            }
        ]

    def summary(self, *, next_command: str = "") -> Blocks:
        """The verdict and how sure it is, the model beside the optimum of its compute, and what to doubt."""
        findings = (*extrapolation([(self.model.name, self.flops)], self.law), *self.all_findings)
        return (
            Text(self._headline(), style="strong"),
            self._beside_the_optimum(),
            Fields(list(self._how_sure()), style="faint"),
            *first_doubts(findings),
            Section("models", tr("In full"), lambda: (self.detail(),)),
            Section("sources", tr("What is assumed"), lambda: (Text(assumptions((self,), self.law)),)),
            *doubts_section(findings),
            *next_step(next_command),
        )

    def _headline(self) -> str:
        name, times = self.model.name, plain(max(self.size_ratio, 1 / self.size_ratio))
        if self.verdict == "near-optimal":
            return tr("{name} is near-optimal for its compute.", name=name)
        if self.size_ratio > 1:
            return tr(
                "{name} is under-trained: {times} times too large for its compute.", name=name, times=times
            )
        return tr("{name} is over-trained: {times} times smaller than optimal.", name=name, times=times)

    def _beside_the_optimum(self) -> Table:
        best, rule = self.optimum, self.rule_of_thumb
        points = ((self.n_params, self.model.n_tokens), *((p.n_params, p.n_tokens) for p in (best, rule)))
        columns = [[format_params(n), format_tokens(d), plain(d / n)] for n, d in points]
        columns.insert(2, [self.interval, "", ""])
        if self.loss is not None and best.loss is not None:
            for column, text in zip(columns, (f"{self.loss:.3f}", f"{best.loss:.3f}", "", "")):
                column.append(text)
        level = self.law.uncertainty.level if self.law.uncertainty else 0.0
        headers = [tr("trained"), tr("optimal"), f"{100 * level:g} %", tr("20:1 rule")]
        if not self.interval:
            del headers[2], columns[2]
        names = (tr("parameters"), tr("tokens"), tr("tokens/param"), tr("loss"))
        return Table(["", *headers], list(zip(names, *columns)))

    @property
    def interval(self) -> str:
        """Of the optimal parameters, in words; "" for a law without one."""
        if self.n_params_interval is None:
            return ""
        said = format_interval(*self.n_params_interval, format_params).partition(": ")[2]
        low, _, high = said.partition(" to ")
        return tr("{low} to {high}", low=low, high=high) if high else said

    def _how_sure(self) -> Iterator[tuple[str, str]]:
        """What is wasted, and whether the doubt about the optimum could change the verdict."""
        if self.wasted_compute_fraction is not None:
            share, flops = format_percent(self.wasted_compute_fraction), format_flops(self.flops)
            text = tr("{share} of its {flops} FLOPs", share=share, flops=flops)
            if self.verdict == "over-trained":
                text += tr(", unless cheap serving repays it")
            yield tr("wasted"), text
        if self.model.published_flops is not None and self.conflict is not None:
            flops = format_flops(self.model.published_flops)
            yield (
                tr("published"),
                tr("{flops} FLOPs, {times:.2g} times 6ND", flops=flops, times=self.conflict),
            )
        if self.n_params_interval is None:
            yield tr("how sure"), tr("this law has no interval: compare with another --law")
        elif self.n_params_interval[0] <= self.n_params <= self.n_params_interval[1]:
            yield tr("how sure"), tr("its size lies within the interval of the optimum")
        else:
            yield tr("how sure"), tr("its size lies outside the interval of the optimum")
        if self.model.n_params_total is not None:
            total = format_params(self.model.n_params_total)
            yield tr("counted"), tr("its active parameters, of {total} in all", total=total)

    def detail(self) -> Fields:
        """The verdict in full, what the same compute or loss could have been, and what other figures say."""
        optimum, level = self.optimum, self.law.uncertainty.level if self.law.uncertainty else None
        best = tr("{n} on {d} tokens", n=format_params(optimum.n_params), d=format_tokens(optimum.n_tokens))
        if self.n_params_interval is not None and level is not None:
            ends = f"{100 * level:g} %: {self.interval}"
            best += tr(" (params {interval})", interval=ends)
        rows = [(tr("verdict"), self._verdict_text())]
        if self.model.n_params_total is not None:
            n, total = format_params(self.n_params), format_params(self.model.n_params_total)
            held = tr("{n} active parameters a token, of {total} in all", n=n, total=total)
            rows.append((tr("N"), held + tr(", which memory holds and the law does not know")))
        named = tr("disputed") if self.disputes_tokens else tr("published C")
        pairs = [describe_reading(self, reading) for reading in self.readings]
        rows += [("" if i else named, f"{said}: {verdict}") for i, (said, verdict) in enumerate(pairs)]
        per_param = optimum.n_tokens / optimum.n_params
        same = tr("{best}, {ratio:.3g} tokens per parameter", best=best, ratio=per_param)
        rows.append((tr("same compute"), same))
        return Fields([*rows, *self._loss_rows()])

    def _verdict_text(self) -> str:
        ratio, times = plain(self.tokens_per_param), plain(self.tokens_per_param_ratio)
        per_param = tr(
            "{verdict}: {ratio} tokens per parameter, {times} times the optimum",
            verdict=verdict_name(self.verdict),
            ratio=ratio,
            times=times,
        )
        if self.verdict == "near-optimal":
            return per_param
        if self.size_ratio > 1:
            return per_param + tr("; {times} times too large for its compute", times=plain(self.size_ratio))
        times = plain(1 / self.size_ratio)
        return per_param + tr("; {times} times smaller than optimal for its compute", times=times)

    def _loss_rows(self) -> list[tuple[str, str]]:
        """What the law predicts; nothing for a law that gives no loss."""
        rows = []
        if self.loss is not None and self.excess_loss is not None:
            best = self.loss - self.excess_loss
            left = tr(
                "{a.excess_loss:.3f} nats/token: {a.loss:.3f} predicted, {best:.3f} at the optimum",
                a=self,
                best=best,
            )
            rows.append((tr("loss left"), left))
        if self.cheapest_flops is not None and self.wasted_compute_fraction is not None:
            flops, share = format_flops(self.cheapest_flops), format_percent(self.wasted_compute_fraction)
            would_do = tr(
                "{flops} FLOPs would do: {share} of the compute is wasted", flops=flops, share=share
            )
            if self.verdict == "over-trained":
                would_do += tr(", unless it is repaid by cheap inference")
            rows.append((tr("same loss"), would_do))
        return rows


def assumptions(audits: Sequence[Audit], law: Law) -> str:
    """What is counted and how, in words."""
    source = f" ({law.provenance.source})" if law.provenance else ""
    any_mixture = any(a.model.n_params_total for a in audits)
    return tr(
        "C = 6 N D{conflict}, N the {counted}{mixture}. Law: {law}{source}. N*, D*: the best split of the same C. "
        "Trained: by how many times D/N misses the law's{disputed}. Wasted: the share of C that an optimal model of "
        "the same loss would not have needed (under 6 % is near). Loss +: above the optimum at the same C. Losses are "
        "the law's predictions in nats per token.",
        conflict=tr(" (!: its published FLOPs are others)") if any(a.conflict for a in audits) else "",
        counted=tr("non-embedding parameters") if counts_non_embedding(law) else tr("total parameters"),
        mixture=tr(" (of a mixture of experts: the active)") if any_mixture else "",
        law=origin_of(law).name,
        source=source,
        disputed=tr(" (?: its figures are disputed)") if any(a.is_open for a in audits) else "",
    )


def _point(a: Allocation) -> dict[str, Any]:
    return {**fields_of(a, leave_out=["flops"]), "tokens_per_param": a.n_tokens / a.n_params}


def plain(value: float, digits: int = 3) -> str:
    """A ratio: 1.72, 1,234, 5e12."""
    if value >= 1e7:
        return format_flops(value, digits)
    return f"{value:.{digits}g}" if value < 10**digits else f"{value:,.0f}"


def deck() -> tuple[TrainedModel, ...]:
    """The models of DECK with what the reference table says of their figures."""
    told = [from_published(find_model(m.name)) for m in DECK]
    return tuple(replace(m, figures=t.figures, published_flops=t.published_flops) for m, t in zip(DECK, told))


def audit_models(models: Iterable[TrainedModel], law: LawLike = DEFAULT_LAW) -> tuple[Audit, ...]:
    """Audit each model against the law and against 20 tokens per parameter."""
    return tuple(audit_model(model, law) for model in models)


def audit_model(model: TrainedModel, law: LawLike = DEFAULT_LAW) -> Audit:
    """Compare one model with the compute-optimal one.

    Raises:
        LawError: the law has no compute-optimal split (a law of N alone).
        PlanError: sizes that no language model has.
    Example:
        >>> gopher = audit_model(DECK[3])
        >>> gopher.verdict, round(gopher.size_ratio, 1), round(gopher.wasted_compute_fraction, 2)
        ('under-trained', 4.1, 0.5)
    """
    law = resolve_law(law)
    require_kind("model", model, TrainedModel, "Make one: TrainedModel(name=, n_params=, n_tokens=).")
    n_params, findings = _count_as(law, model)
    flops = FLOPS_PER_PARAM_TOKEN * n_params * model.n_tokens
    extra = _further_inputs(law, model)
    refuse_nonsense(Allocation(flops=flops, n_params=n_params, n_tokens=model.n_tokens, loss=None))
    optimum = law.allocate(flops, **extra)
    loss, cheapest = _loss_and_cheapest(law, n_params, model.n_tokens, extra)
    wasted = _wasted(cheapest, flops)
    # without its own parameters, another figure means those of the model, as the law counts them
    figures = (f._replace(n_params=n_params) if f.n_params == model.n_params else f for f in model.figures)
    return Audit(
        model=model,
        law=law,
        n_params=n_params,
        flops=flops,
        tokens_per_param=model.n_tokens / n_params,
        loss=loss,
        optimum=optimum,
        n_params_interval=intervals(law, AllocationProblem(flops=flops)).n_params if not extra else None,
        rule_of_thumb=find_law(RULE_OF_THUMB).allocate(flops),
        size_ratio=n_params / optimum.n_params,
        tokens_per_param_ratio=(model.n_tokens / n_params) / (optimum.n_tokens / optimum.n_params),
        verdict=_verdict(n_params / optimum.n_params, wasted),
        excess_loss=None if loss is None or optimum.loss is None else loss - optimum.loss,
        cheapest_flops=cheapest,
        wasted_compute_fraction=wasted,
        readings=tuple(_read_figure(law, figure, extra) for figure in figures),
        findings=findings,
    )


def verdict_name(verdict: Verdict) -> str:
    """The verdict in the language in use."""
    return {
        "under-trained": tr("under-trained"),
        "near-optimal": tr("near-optimal"),
        "over-trained": tr("over-trained"),
    }[verdict]


def describe_reading(audit: Audit, reading: FigureVerdict) -> tuple[str, str]:
    """What the other figure is, and the verdict it leads to: "with 432B tokens (...)", "5.9x under-trained"."""
    figure, ratio = reading.figure, reading.tokens_per_param_ratio
    what = tr("with {d} tokens", d=format_tokens(figure.n_tokens))
    if figure.n_tokens == audit.model.n_tokens:
        what = tr("with {n} parameters a token", n=format_params(figure.n_params))
    times = "" if reading.verdict == "near-optimal" else f"{1 / ratio if ratio < 1 else ratio:.2g}x "
    return f"{what} ({figure.why})", f"{times}{verdict_name(reading.verdict)}"


def _read_figure(law: Law, figure: OtherFigure, extra: dict[str, float]) -> FigureVerdict:
    n_params, n_tokens, _ = figure
    flops = FLOPS_PER_PARAM_TOKEN * n_params * n_tokens
    optimum = law.allocate(flops, **extra)
    _, cheapest = _loss_and_cheapest(law, n_params, n_tokens, extra)
    ratio = (n_tokens / n_params) / (optimum.n_tokens / optimum.n_params)
    verdict = _verdict(n_params / optimum.n_params, _wasted(cheapest, flops))
    return FigureVerdict(figure, flops, ratio, verdict)


def _figures(model: PublishedModel, n_params: float, n_tokens: float) -> tuple[OtherFigure, ...]:
    """Published FLOPs that are not 6ND, then the tokens that other sources name."""
    figures = [OtherFigure(n_params, tokens, why) for tokens, why in model.disputed_tokens]
    if model.flops is None:
        return tuple(figures)
    ratio = model.flops / (FLOPS_PER_PARAM_TOKEN * n_params * n_tokens)
    if abs(ratio - 1) <= CONFLICT:
        return tuple(figures)
    published = f"its published {format_flops(model.flops)} FLOPs"
    if model.flops_counts:
        return (*figures, OtherFigure(ratio * n_params, n_tokens, f"{published} count {model.flops_counts}"))
    return (OtherFigure(n_params, ratio * n_tokens, f"{published} over 6N"), *figures)


def from_published(model: PublishedModel) -> TrainedModel:
    """A row of the reference table as an audit takes it.

    Raises:
        PlanError: its tokens are not published.
    """
    if model.n_tokens is None:
        sizes = f"--params {format_params(model.n_params_active or model.n_params)}"
        sizes += f" --total-params {format_params(model.n_params)}" if model.n_params_active else ""
        raise PlanError(
            f"the training tokens of {model.name} are not published; say them instead of its name: "
            f"{sizes} --tokens 1T, if it was 1T."
        )
    n_params = model.n_params_active or model.n_params
    same = ("name", "n_tokens", "n_tokens_unique", "n_params_non_embedding", "kind", "status")
    return TrainedModel(
        n_params=n_params,
        n_params_total=model.n_params if model.n_params_active else None,
        published_flops=model.flops,
        figures=_figures(model, n_params, model.n_tokens),
        **{name: getattr(model, name) for name in same},
    )


def audit_to_dict(audit: Audit) -> dict[str, Any]:
    """The older name of `Audit.to_dict`."""
    return audit.to_dict()


def _count_as(law: Law, model: TrainedModel) -> tuple[float, tuple[Finding, ...]]:
    """Parameters as the law counts them, and what cannot be compared."""
    n_params, doubts = model.n_params, {}
    if counts_non_embedding(law):
        n_params = model.n_params_non_embedding or n_params
        if model.n_params_non_embedding is None:
            doubts["non-embedding-count-unknown"] = (
                tr(
                    "the law counts non-embedding parameters, of this model only the total is known; it is used"
                )
                if model.n_params_total is None
                else tr(
                    "the law counts non-embedding parameters, of this model only the active are known; they are used"
                )
            )
    if model.n_params_total is not None:
        doubts["mixture-of-experts"] = (
            tr("a mixture of experts: N is its active parameters, in a law fitted on dense models")
            if origin_of(law).status  # a published one
            else tr(
                "a mixture of experts: N is its active parameters, as the runs behind the law must count them too"
            )
        )
    elif model.kind != "decoder":
        doubts["not-a-decoder"] = f"an {model.kind}, in a law of decoders"
    if model.status == "unverified":
        doubts["unverified-numbers"] = tr("its numbers are not verified")
    short = {
        "non-embedding-count-unknown": tr("N may hold the vocabulary, which the law leaves out"),
        "mixture-of-experts": tr("a mixture of experts, N is its active parameters"),
    }
    return n_params, tuple(
        Finding(code=c, severity="warning", message=m, short=short.get(c, "")) for c, m in doubts.items()
    )


def _further_inputs(law: Law, model: TrainedModel) -> dict[str, float]:
    """Inputs beyond N and D that the law reads and the model has."""
    reads, unique = {i.name for i in law.family.inputs}, model.n_tokens_unique
    return {"n_tokens_unique": unique} if unique is not None and "n_tokens_unique" in reads else {}


def _loss_and_cheapest(
    law: Law, n_params: float, n_tokens: float, extra: dict[str, float]
) -> tuple[float | None, float | None]:
    """Predicted loss and the least compute that reaches it; None, None for a law that knows only the optimum."""
    if not has_surface(law):
        return None, None
    loss = float(law.loss(n_params, n_tokens, **extra))
    try:
        return loss, law.flops_for_loss(loss, **extra).flops
    except LawError:  # so close to the floor that no compute separates the two
        return loss, None


def _wasted(cheapest: float | None, flops: float) -> float | None:
    return None if cheapest is None else max(0.0, 1 - cheapest / flops)


def _verdict(size_ratio: float, wasted: float | None) -> Verdict:
    far = abs(math.log(size_ratio)) > math.log(NEAR_OPTIMAL_SIZE) if wasted is None else wasted > NEAR_OPTIMAL
    if not far:
        return "near-optimal"
    return "under-trained" if size_ratio > 1 else "over-trained"
