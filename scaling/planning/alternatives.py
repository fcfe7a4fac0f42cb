"""What leaving the optimum costs: smaller models trained longer at equal loss, and the valley around N*.

Two questions with different answers:
- equal compute: at 6 N D = C, N = k N* reaches a loss that an optimal model reaches with C'; 1 - C'/C is wasted.
- equal loss: N = k N* trained until it reaches L*; C_k/C* - 1 is the extra compute, and 2 (N* - N) D_inf of
  serving repays it after D_inf tokens.
Source: Hoffmann et al. 2022 sec. 3; Sardana et al. 2024, arXiv:2401.00448; de Vries 2023 (equal loss).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from scaling.compute import FLOPS_PER_PARAM_SERVED, FLOPS_PER_PARAM_TOKEN
from scaling.errors import LawError
from scaling.jsonable import fields_of
from scaling.laws.base import Allocation, Law
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.planning.allocation import (
    AllocationProblem,
    at,
    has_surface,
    lifetime_flops,
    solve,
    tokens_for_loss,
)
from scaling.planning.uncertainty import N_DRAWS, Ends, Solved, solve_draws, thinned_rows, two_sided

SMALLER = (0.7, 0.5, 0.25)  # of N*
WIDER = (0.1, 0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
CURVE = tuple(10 ** (i / 40) for i in range(-28, 29))  # 0.2 to 5, for a picture
VALLEY = (0.7, 1.5)  # of N*


class OtherSize(NamedTuple):
    """A model of `ratio` N* trained until it reaches the optimum's loss; None where no amount of tokens does."""

    ratio: float
    n_params: float
    n_tokens: float | None = None
    flops: float | None = None
    extra_compute: float | None = None  # C_k / C* - 1
    extra_compute_interval: Ends | None = None
    break_even_tokens: float | None = None  # inference tokens that repay the extra training; None for N >= N*
    wasted_compute: float | None = None  # at equal compute: 1 - C'/C

    def to_dict(self) -> dict[str, Any]:
        said, ends = fields_of(self), "extra_compute_interval"
        return {**said, ends: said[ends] and dict(zip(("low", "high"), said[ends], strict=True))}


class NearOptimum(NamedTuple):
    """Between n_params_low and n_params_high at most `worst` of the compute is lost."""

    n_params_low: float
    n_params_high: float
    ratio_low: float
    ratio_high: float
    worst: float
    measure: str  # "wasted at equal compute" | "more compute at equal loss" | "more lifetime compute at equal loss"


class Inference(NamedTuple):
    """What planning for inference saves against the training-optimal model of the same loss."""

    inference_tokens: float
    lifetime_flops: float
    training_optimum: Allocation
    training_optimum_lifetime_flops: float

    @property
    def saved(self) -> float:
        """Share of the lifetime compute saved."""
        return 1 - self.lifetime_flops / self.training_optimum_lifetime_flops


def wasted_compute(law: Law, point: Allocation, problem: AllocationProblem) -> float | None:
    """The share of 6 N D that an optimal model reaching the same loss would not have needed; None where none does.

    Example: besiroglu at 1e21, N = N*/2: 0.156.
    """
    cheapest = training_optimum(law, point, problem)
    return None if cheapest is None else max(0.0, 1 - cheapest.flops / point.flops)


def _wasted_at(law: Law, optimum: Allocation, ratio: float, problem: AllocationProblem) -> float | None:
    """The same for ratio x N* on the optimum's compute."""
    n_params = ratio * optimum.n_params
    n_tokens = optimum.flops / (FLOPS_PER_PARAM_TOKEN * n_params)
    return wasted_compute(law, at(law, n_params, n_tokens, problem), problem)


def equal_loss(law: Law, optimum: Allocation, ratio: float, problem: AllocationProblem) -> Allocation | None:
    """ratio x N* trained until it reaches the optimum's loss, or None when it cannot."""
    assert optimum.loss is not None
    n_params = ratio * optimum.n_params
    try:
        n_tokens = tokens_for_loss(law, n_params, optimum.loss, dict(problem.inputs))
    except LawError:
        return None
    return at(law, n_params, n_tokens, problem)


def break_even_tokens(optimum: Allocation, smaller: Allocation) -> float | None:
    """Inference tokens after which the smaller model has cost less in all: 6 (N'D' - N D) = 2 (N - N') D_inf."""
    saved_per_token = FLOPS_PER_PARAM_SERVED * (optimum.n_params - smaller.n_params)
    return (smaller.flops - optimum.flops) / saved_per_token if saved_per_token > 0 else None


def alternatives(
    law: Law,
    optimum: Allocation,
    problem: AllocationProblem,
    ratios: tuple[float, ...] = SMALLER,
    solved: Solved | None = None,
) -> tuple[OtherSize, ...]:
    """One row per ratio of N*, with intervals of the extra compute from the law's draws (`solved`, if at hand)."""
    if optimum.loss is None or not has_surface(law):
        return ()
    spreads = _extra_compute_draws(law, problem, ratios, solved) if problem.is_free else {}
    return tuple(_alternative(law, optimum, ratio, problem, spreads.get(ratio)) for ratio in ratios)


def half_size(law: Law, optimum: Allocation, problem: AllocationProblem) -> OtherSize | None:
    """The row of N*/2 without its interval; None where the law says nothing of it, or it cannot reach the loss."""
    if optimum.loss is None or not has_surface(law):
        return None
    other = _alternative(law, optimum, 0.5, problem, None)
    return None if other.n_tokens is None else other


def off_optimum_curve(
    law: Law, optimum: Allocation, problem: AllocationProblem
) -> tuple[tuple[float, float], ...]:
    """N and the extra compute that reaches the optimum's loss at it, densely, where any number of tokens does."""
    if optimum.loss is None or not has_surface(law):
        return ()
    reached = ((ratio, equal_loss(law, optimum, ratio, problem)) for ratio in CURVE)
    return tuple(
        (ratio * optimum.n_params, _extra(optimum, point, problem)) for ratio, point in reached if point
    )


def _alternative(
    law: Law, optimum: Allocation, ratio: float, problem: AllocationProblem, interval: Ends | None
) -> OtherSize:
    other = OtherSize(
        ratio=ratio,
        n_params=ratio * optimum.n_params,
        extra_compute_interval=interval,
        wasted_compute=_wasted_at(law, optimum, ratio, problem),
    )
    point = equal_loss(law, optimum, ratio, problem)
    if point is None:
        return other
    reached = other._replace(n_tokens=point.n_tokens, flops=point.flops)
    extra, repaid = _extra(optimum, point, problem), break_even_tokens(optimum, point)
    return reached._replace(extra_compute=extra, break_even_tokens=repaid)


def _extra(optimum: Allocation, point: Allocation, problem: AllocationProblem) -> float:
    served = problem.inference_tokens
    return lifetime_flops(point, served) / lifetime_flops(optimum, served) - 1


def _extra_compute_draws(
    law: Law, problem: AllocationProblem, ratios: tuple[float, ...], solved: Solved | None
) -> dict[float, Ends]:
    """Ends of C_k/C* - 1 where each draw has its own optimum."""
    if law.uncertainty is None or not law.uncertainty.draws:
        return {}
    if isinstance(law, ChinchillaLaw) and not problem.inference_tokens:
        i, j = law.family.names.index("alpha"), law.family.names.index("beta")
        exponents = [(draw[i], draw[j]) for draw in thinned_rows(law, N_DRAWS)]
        values = {ratio: [extra_compute_closed(ratio, *both) for both in exponents] for ratio in ratios}
    else:
        pairs = solve_draws(law, problem) if solved is None else solved
        known = [(draw, best) for draw, best in pairs if best is not None and best.loss is not None]
        values = {ratio: [_extra_of_draw(*pair, ratio, problem) for pair in known] for ratio in ratios}
    return {ratio: two_sided(v, law.uncertainty.level) for ratio, v in values.items() if v}


def _extra_of_draw(law: Law, best: Allocation, ratio: float, problem: AllocationProblem) -> float:
    """C_k/C* - 1, lifetime compute where tokens are served, inf where no number of tokens is enough."""
    if isinstance(law, ChinchillaLaw):
        balance = law.A * best.n_params**-law.alpha / (law.B * best.n_tokens**-law.beta)
        n_tokens = best.n_tokens * tokens_ratio(ratio, law.alpha, law.beta, balance)
        point = best._replace(n_params=ratio * best.n_params, n_tokens=n_tokens)
        return _extra(best, point, problem)
    return _extra_of(law, best, ratio, problem)


def _extra_of(law: Law, best: Allocation, ratio: float, problem: AllocationProblem) -> float:
    reached = equal_loss(law, best, ratio, problem)
    return math.inf if reached is None else _extra(best, reached, problem)


def tokens_ratio(ratio: float, alpha: float, beta: float, balance: float) -> float:
    """D_k/D with which k N parameters reach the loss of N on D: (1 + balance (1 - k^-alpha))^(-1/beta); or inf.

    `balance` is (A/N^alpha) / (B/D^beta), which is beta/alpha at the training optimum.
    """
    left = 1 + balance * (1 - ratio**-alpha)
    return math.inf if left <= 0 else float(left ** (-1 / beta))


def extra_compute_closed(ratio: float, alpha: float, beta: float) -> float:
    """C_k/C* - 1 at equal loss for E + A/N^alpha + B/D^beta; it depends on the exponents alone.

    At the optimum alpha A/N^alpha = beta B/D^beta; inf where no number of tokens is enough.
    Example:
        >>> round(extra_compute_closed(0.5, 0.34731, 0.367172), 4)
        0.2599
    """
    return ratio * tokens_ratio(ratio, alpha, beta, beta / alpha) - 1


def valley(law: Law, optimum: Allocation, problem: AllocationProblem) -> NearOptimum | None:
    """The most useful sentence of a planner: how little it costs to miss N* by this much."""
    if optimum.loss is None or not has_surface(law):
        return None
    if problem.inference_tokens or problem.inputs:
        costs = [_extra_of(law, optimum, ratio, problem) for ratio in VALLEY]
        measure = f"more {'lifetime ' if problem.inference_tokens else ''}compute at equal loss"
    else:
        costs = [_wasted_at(law, optimum, ratio, problem) or 0.0 for ratio in VALLEY]
        measure = "wasted at equal compute"
    low, high = (ratio * optimum.n_params for ratio in VALLEY)
    return NearOptimum(low, high, *VALLEY, max(0.0, *costs), measure)


def training_optimum(law: Law, point: Allocation, problem: AllocationProblem) -> Allocation | None:
    """What the plan would be without inference tokens and caps at the same loss; None where the search finds none."""
    if point.loss is None or not has_surface(law):
        return None
    try:
        return solve(law, AllocationProblem(target_loss=point.loss, inputs=problem.inputs))
    except LawError:  # thousands of epochs: few sizes reach the loss at all
        return None


def compare_lifetimes(law: Law, point: Allocation, problem: AllocationProblem) -> Inference | None:
    """The point and the training optimum of its loss over the model's life; None where nothing is served."""
    served = problem.inference_tokens
    best = training_optimum(law, point, problem) if served else None
    if best is None:
        return None
    return Inference(served, lifetime_flops(point, served), best, lifetime_flops(best, served))
