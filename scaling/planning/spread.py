"""What the published laws answer to the same question: the spread that no interval of one law contains.

Each law solves the plan's own problem (its budget or loss, tokens to serve, unique tokens). Where a cap or given sizes
leave the optimum, every law would be held at the same sizes; then each says its optimum of the same compute instead.
Laws that count non-embedding parameters are converted to total parameters by adding the vocabulary of a model of that
size (the plan's own shape rules), and say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from scaling.errors import LawError, PlanError
from scaling.jsonable import fields_of
from scaling.laws.base import Law
from scaling.planning.allocation import (
    AllocationProblem,
    counts_non_embedding,
    has_surface,
    needs_repetition,
    origin_of,
    solve_with_repetition,
)
from scaling.planning.cost import Budget, Constraints
from scaling.planning.numerics import percentile
from scaling.planning.shape import DEFAULT_VOCAB, TIE_ABOVE, aspect_ratio
from scaling.translation import tr, tr_n
from scaling.units import format_flops, format_params

if TYPE_CHECKING:
    from pandas import DataFrame

SUBSETS = ("sardana-le",)  # the same authors' fits on their runs up to 100, 250 or 500 tokens per parameter


class LawAnswer(NamedTuple):
    """One law's answer; N counts total parameters, `flops` is its training compute."""

    name: str
    source: str
    flops: float
    n_params: float
    n_tokens: float
    loss: float | None
    paper: str
    conversion: str  # "" or how N was brought to total parameters
    inside: bool  # whether the compute lies in the law's fitted range (True where none is published)

    @property
    def tokens_per_param(self) -> float:
        return self.n_tokens / self.n_params

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, also=["tokens_per_param"])


class LawSpread(NamedTuple):
    """The answers by rising N* (D* where N is given), and the papers that have none."""

    question: AllocationProblem
    same_question: bool  # False: the plan has a cap or given sizes, and the laws were asked for the optimum
    answers: tuple[LawAnswer, ...]
    silent: tuple[str, ...]  # papers none of whose laws answers

    def to_frame(self) -> DataFrame:
        """A row a law: its name, source, FLOPs, parameters, tokens, their ratio and the loss, unrounded."""
        import pandas as pd

        return pd.DataFrame([answer.to_dict() for answer in self.answers]).rename(columns={"name": "law"})


class OtherPapers(NamedTuple):
    """What the papers that published another law say: each paper has one vote, its laws' median.

    `low` and `high` are the middle half of the papers.
    """

    n_papers: int
    n_params_low: float
    n_params_high: float
    n_tokens_low: float
    n_tokens_high: float
    flops_low: float
    flops_high: float
    least: LawAnswer  # of all their laws
    most: LawAnswer
    n_silent: int  # papers without an answer

    def to_dict(self) -> dict[str, Any]:
        return {**fields_of(self), "least": self.least.name, "most": self.most.name}


def spread_of_laws(
    laws: Sequence[Law],
    question: AllocationProblem,
    vocab_size: int = DEFAULT_VOCAB,
    unique_tokens: float | None = None,
    *,
    same_question: bool = True,
) -> LawSpread:
    """Each law's N*, D*, C and loss for the question, whose `n_params` counts total parameters."""
    found = (_answer(law, question, vocab_size, unique_tokens) for law in laws)
    by = "n_params" if question.n_params is None else "n_tokens"
    answers = tuple(sorted((a for a in found if a is not None), key=attrgetter(by)))
    heard = {a.paper for a in answers}
    silent = tuple(p for p in dict.fromkeys(map(paper_of, laws)) if p not in heard)
    return LawSpread(question, same_question, answers, silent)


def other_papers(spread: LawSpread, name: str) -> OtherPapers | None:
    """The spread between papers, without the paper of the law called `name`; None where no other is left.

    Laws are not independent: variants of one fit share their runs, so they count once. Fits on a part of a paper's
    runs are left out.
    """
    laws = [a for a in spread.answers if not a.name.startswith(SUBSETS)]
    own = {a.paper for a in spread.answers if a.name == name}
    laws = [a for a in laws if a.paper not in own]
    papers = {a.paper: [b for b in laws if b.paper == a.paper] for a in laws}
    if not papers:
        return None

    def middle_half(quantity: str) -> tuple[float, float]:
        votes = sorted(percentile(map(attrgetter(quantity), answers), 0.5) for answers in papers.values())
        skipped = len(votes) // 4
        return votes[skipped], votes[-1 - skipped]

    n_params, n_tokens, flops = map(middle_half, ("n_params", "n_tokens", "flops"))
    return OtherPapers(len(papers), *n_params, *n_tokens, *flops, laws[0], laws[-1], len(spread.silent))


def other_papers_text(
    spread: LawSpread, others: OtherPapers, budget: Budget, constraints: Constraints
) -> str:
    """What the papers were asked, the middle half of their answers, and the ends of all."""
    asked, question = _asked(spread, budget, constraints), spread.question
    by_tokens = question.n_params is not None
    params, tokens = (others.n_params_low, others.n_params_high), (others.n_tokens_low, others.n_tokens_high)
    low, high = (format_params(end, 2) for end in (tokens if by_tokens else params))
    papers = tr("the middle half of {o.n_papers} other papers, one vote each", o=others)
    text = asked + tr("{papers}, says {low} to {high}", papers=papers, low=low, high=high)
    if asked:
        text += tr(" tokens") if by_tokens else tr(" parameters")
    if not question.flops:
        low, high = format_flops(others.flops_low, 2), format_flops(others.flops_high, 2)
        text += tr(" and {low} to {high} FLOPs", low=low, high=high)
    ends = (a.n_tokens if by_tokens else a.n_params for a in (others.least, others.most))
    least, most = (format_params(value, 2) for value in ends)
    text += tr("; all, {least} ({o.least.name}) to {most} ({o.most.name})", least=least, most=most, o=others)
    if others.n_silent:
        text += tr_n("; {n} more has no answer to this", "; {n} more have no answer to this", others.n_silent)
    return text


def _asked(spread: LawSpread, budget: Budget, constraints: Constraints) -> str:
    """What the papers were asked; nothing where it is the plan's plain budget."""
    question = spread.question
    if not spread.same_question:
        flops = format_flops(question.flops or 0.0)
        if budget.n_params or budget.n_tokens:
            return tr("about the optimum of {flops} FLOPs without the given sizes, ", flops=flops)
        return tr("about the optimum of {flops} FLOPs without the cap, ", flops=flops)
    if question.target_loss is not None:
        return tr("asked for the same loss, each on its own data and tokenizer, ")
    if question.inference_tokens or constraints.unique_tokens or not question.flops:
        return tr("asked the same, ")
    return ""


def total_params(n_params_without_vocabulary: float, vocab_size: int) -> float:
    """Total parameters of a model with this many outside the vocabulary, by the plan's shape rules."""
    n = n_params_without_vocabulary
    width: float = (n * aspect_ratio(n) / 12) ** (1 / 3)  # 12 L d^2 = N
    matrix = vocab_size * width
    return n + matrix * (1 if matrix > TIE_ABOVE * n else 2)


def _answer(
    law: Law, question: AllocationProblem, vocab_size: int, unique_tokens: float | None
) -> LawAnswer | None:
    converts = counts_non_embedding(law)
    try:
        if converts and question.n_params is not None:
            question = question._replace(n_params=_without_vocabulary(question.n_params, vocab_size))
        best = solve_with_repetition(law, question, unique_tokens)[2]
    except (LawError, PlanError, TypeError):  # TypeError: a family that needs further inputs
        return None
    origin = origin_of(law)
    if needs_repetition(best, unique_tokens) and not has_surface(law):
        return None  # a frontier does not know what repeated tokens are worth
    low, high = origin.fitted_range.get("flops", (0.0, math.inf))
    return LawAnswer(
        name=origin.name,
        source=origin.source,
        flops=best.flops,
        n_params=total_params(best.n_params, vocab_size) if converts else best.n_params,
        n_tokens=best.n_tokens,
        loss=best.loss if origin.loss_unit == "nats/token" else None,
        paper=paper_of(law),
        conversion=tr("non-embedding N + a vocabulary of {vocab_size:,}", vocab_size=vocab_size)
        if converts
        else "",
        inside=low <= best.flops <= high,
    )


def _without_vocabulary(n_params: float, vocab_size: int) -> float:
    """Inverse of `total_params`, by bisection: it jumps where the embedding stops being tied."""
    low, high = math.log(n_params) - 10, math.log(n_params)
    if total_params(math.exp(low), vocab_size) > n_params:
        raise PlanError("a vocabulary of this size is larger than the model.")
    for _ in range(30):
        middle = (low + high) / 2
        above = total_params(math.exp(middle), vocab_size) > n_params
        low, high = (low, middle) if above else (middle, high)
    return math.exp(low)


def paper_of(law: Law) -> str:
    """The arXiv number in the law's source, the source itself, or the name of its family."""
    if law.provenance is None:  # several families cite one paper
        return law.family.name
    _, mark, rest = law.provenance.source.partition("arXiv:")
    return rest[:10] if mark else law.provenance.source
