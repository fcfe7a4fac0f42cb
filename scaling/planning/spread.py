"""What the published laws answer to the same question: the spread that no interval of one law contains.

Each law solves the plan's own problem (its budget or loss, tokens to serve, unique tokens). Where a cap or given sizes
leave the optimum, every law would be held at the same sizes; then each says its optimum of the same compute instead.
Laws that count non-embedding parameters are converted to total parameters by adding the vocabulary of a model of that
size (the plan's own shape rules), and say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from scaling.errors import LawError, PlanError
from scaling.laws.base import Law
from scaling.planning.allocation import Problem, has_surface, solve_with_repetition
from scaling.planning.numerics import percentile
from scaling.planning.repetition import needs_repetition
from scaling.planning.shape import DEFAULT_VOCAB, TIE_ABOVE, aspect_ratio

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


class Spread(NamedTuple):
    """The answers by rising N* (D* where N is given), and the papers that have none."""

    question: Problem
    same_question: bool  # False: the plan has a cap or given sizes, and the laws were asked for the optimum
    answers: tuple[LawAnswer, ...]
    silent: tuple[str, ...]  # papers none of whose laws answers


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


def law_name(law: Law) -> str:
    """The name of the law's provenance, or its family."""
    return law.provenance.name if law.provenance else law.family.name


def counts_non_embedding(law: Law) -> bool:
    """Whether N of the law leaves the vocabulary out."""
    return law.provenance is not None and law.provenance.params_convention == "non_embedding"


def spread_of_laws(
    laws: Iterable[Law],
    question: Problem,
    vocab_size: int = DEFAULT_VOCAB,
    unique_tokens: float | None = None,
    *,
    same_question: bool = True,
) -> Spread:
    """Each law's N*, D*, C and loss for the question, whose `n_params` counts total parameters."""
    answers, silent = [], []
    for law in laws:
        answer = _answer(law, question, vocab_size, unique_tokens)
        if answer is None:
            silent.append(_paper(law))
        else:
            answers.append(answer)
    given_size = question.n_params is not None
    answers.sort(key=lambda a: a.n_tokens if given_size else a.n_params)
    heard = {a.paper for a in answers}
    return Spread(
        question=question,
        same_question=same_question,
        answers=tuple(answers),
        silent=tuple(p for p in dict.fromkeys(silent) if p not in heard),
    )


def other_papers(spread: Spread, name: str) -> OtherPapers | None:
    """The spread between papers, without the paper of the law called `name`; None where no other is left.

    Laws are not independent: variants of one fit share their runs, so they count once. Fits on a part of a paper's
    runs are left out.
    """
    laws = [a for a in spread.answers if not a.name.startswith(SUBSETS)]
    own = {a.paper for a in laws if a.name == name}
    laws = [a for a in laws if a.paper not in own]
    papers = {a.paper: [b for b in laws if b.paper == a.paper] for a in laws}
    if not papers:
        return None

    def middle_half(value: Callable[[LawAnswer], float]) -> tuple[float, float]:
        votes = sorted(percentile(map(value, answers), 0.5) for answers in papers.values())
        skipped = len(votes) // 4
        return votes[skipped], votes[-1 - skipped]

    n_params = middle_half(lambda a: a.n_params)
    n_tokens = middle_half(lambda a: a.n_tokens)
    flops = middle_half(lambda a: a.flops)
    return OtherPapers(len(papers), *n_params, *n_tokens, *flops, laws[0], laws[-1], len(spread.silent))


def total_params(n_params_without_vocabulary: float, vocab_size: int) -> float:
    """Total parameters of a model with this many outside the vocabulary, by the plan's shape rules."""
    n = n_params_without_vocabulary
    width: float = (n * aspect_ratio(n) / 12) ** (1 / 3)  # 12 L d^2 = N
    matrix = vocab_size * width
    return n + matrix * (1 if matrix > TIE_ABOVE * n else 2)


def _answer(law: Law, question: Problem, vocab_size: int, unique_tokens: float | None) -> LawAnswer | None:
    converts = counts_non_embedding(law)
    try:
        if converts and question.n_params is not None:
            question = question._replace(n_params=_without_vocabulary(question.n_params, vocab_size))
        best = solve_with_repetition(law, question, unique_tokens)[2]
    except (LawError, PlanError, TypeError):  # TypeError: a family that needs further inputs
        return None
    origin = law.provenance
    if needs_repetition(best, unique_tokens) and not has_surface(law):
        return None  # a frontier does not know what repeated tokens are worth
    low, high = origin.fitted_range.get("flops", (0.0, math.inf)) if origin else (0.0, math.inf)
    return LawAnswer(
        name=law_name(law),
        source=origin.source if origin else law.family.cite,
        flops=best.flops,
        n_params=total_params(best.n_params, vocab_size) if converts else best.n_params,
        n_tokens=best.n_tokens,
        loss=best.loss if origin is None or origin.loss_unit == "nats/token" else None,
        paper=_paper(law),
        conversion=f"non-embedding N + a vocabulary of {vocab_size:,}" if converts else "",
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


def _paper(law: Law) -> str:
    """The arXiv number in the law's source, the source itself, or the name of its family."""
    if law.provenance is None:
        return law.family.name
    _, mark, rest = law.provenance.source.partition("arXiv:")
    return rest[:10] if mark else law.provenance.source
