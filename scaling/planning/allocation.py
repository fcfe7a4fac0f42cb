"""Split compute between parameters and tokens under constraints, for any law.

Use which when: `solve` answers every kind of problem; a plain budget on a plain law is `law.allocate(flops)`.
The compute of a problem is C = 6 N D + 2 N D_inf: training, and D_inf tokens served over the model's life.
With fewer unique tokens than the optimum wants, repeats are worth less: the decay of a token's worth (R_D* = 15.4
repetitions) and of an excess parameter's (R_N* = 5.3) come from Muennighoff et al. 2023; level and exponents stay those
of the law in use, since the authors say that their own level is off.
Source: Hoffmann et al. 2022 (allocation), Sardana et al. 2024, arXiv:2401.00448, eq. 3 (inference),
Muennighoff et al. 2023, arXiv:2305.16264 (repeated tokens).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

from scaling.compute import FLOPS_PER_PARAM_SERVED, FLOPS_PER_PARAM_TOKEN
from scaling.errors import LawError, PlanError, UsageError
from scaling.laws.base import Allocation, Law, Provenance
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.laws.data_constrained import DataConstrainedLaw
from scaling.planning.numerics import minimise_log, minimise_near, newton, solve_log
from scaling.reference.published import LawLike, find_law, resolve_law
from scaling.units import format_flops, format_params, format_tokens

# "up to 4 epochs ... negligible changes to loss compared to having unique data" (Muennighoff et al., abstract)
CHEAP_EPOCHS = 4.0


class AllocationProblem(NamedTuple):
    """What is known (one of flops, target_loss, n_params, n_tokens; or n_params or n_tokens with one more).

    `flops` pays for training and, with `inference_tokens`, for serving them too. `max_params` caps N.
    """

    flops: float | None = None
    target_loss: float | None = None
    n_params: float | None = None
    n_tokens: float | None = None
    inference_tokens: float = 0.0
    max_params: float = math.inf
    inputs: tuple[tuple[str, float], ...] = ()  # further inputs of the law: (("n_tokens_unique", 2e11),)
    tolerance: float = 1e-9  # of a search, in ln N; draws of an interval need less than the point
    near: float | None = None  # a guess of N; draws start from the point's

    @property
    def is_free(self) -> bool:
        """Whether the law, not the user, chooses both N and D."""
        return self.n_params is None and self.n_tokens is None

    @property
    def is_plain(self) -> bool:
        """A budget or a loss and nothing else: the law's own closed form answers it."""
        return self.is_free and not self.inference_tokens and not self.inputs


def allocate_compute(law: LawLike, flops: float) -> Allocation:
    """Split a compute budget between parameters and tokens at minimum loss.

    Minimises law.loss(N, D) subject to 6 N D = flops; with constraints, take `plan_training`.

    Args:
        law: any law of size and data: a published name, a fit, its file, or a law; N is counted as the law counts it.
        flops: training budget, forward and backward, > 0.
    Returns:
        Allocation with n_params, n_tokens (real, not rounded) and loss in nats/token, None where the law knows none.
    Raises:
        LawError: the law has no interior optimum (A, B, alpha or beta is not positive), or flops is not positive.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, eq. 4, in closed form for E + A/N^alpha + B/D^beta; a search in
    ln N for other forms.
    Example:
        >>> round(allocate_compute("besiroglu", 5.76e23).n_params / 1e9)
        73
    """
    return resolve_law(law).allocate(flops)


def solve(law: Law, problem: AllocationProblem) -> Allocation:
    """The allocation that answers the problem; `flops` of the result is the training compute 6 N D.

    Raises:
        UsageError: more is given than can hold at once.
        PlanError: the constraints leave nothing to train.
        LawError: the law has no answer (a loss below its floor, a frontier law asked for a loss).
    """
    given = [problem.n_params, problem.n_tokens, problem.flops or problem.target_loss]
    if sum(g is not None for g in given) == 3 or (problem.flops and problem.target_loss):
        raise UsageError("parameters, tokens and a budget together are one too many: leave one out.")
    if not any(given):
        raise UsageError(
            "no budget is given: give FLOPs, hardware and time, dollars, a loss, parameters or tokens."
        )
    try:
        point = _solve(law, problem)
    except (OverflowError, ZeroDivisionError) as error:
        raise LawError(
            f"this {law.family.name} law gives no number here: its runs leave a coefficient so open that the answer is "
            "beyond floating point. Fit it to runs at more sizes and budgets, or plan with another law."
        ) from error
    if point.n_params <= problem.max_params * (1 + 1e-9):
        return point
    if problem.n_params is None and (problem.n_tokens is None or given[2] is None):
        return _solve(law, problem._replace(n_params=problem.max_params))
    n_params, most = format_params(point.n_params), format_params(problem.max_params)
    raise PlanError(
        f"this run has {n_params} parameters, more than the {most} allowed. Raise --max-params, or leave one of the "
        "given quantities out."
    )


def solve_with_repetition(
    law: Law, problem: AllocationProblem, unique_tokens: float | None
) -> tuple[Law, AllocationProblem, Allocation]:
    """Solve as if tokens were fresh; when that needs more than there are, solve again with repetition priced in.

    Returns the law and the problem that were solved last, and the answer.
    """
    point = solve(law, problem)
    if unique_tokens is None or not needs_repetition(point, unique_tokens) or not has_surface(law):
        return law, problem, point
    law = with_decays(law)
    problem = problem._replace(inputs=(("n_tokens_unique", unique_tokens),))
    return law, problem, solve(law, problem)


def _solve(law: Law, problem: AllocationProblem) -> Allocation:
    n, d = problem.n_params, problem.n_tokens
    if n is not None and d is not None:
        return at(law, n, d, problem)
    if n is not None and problem.flops is not None:
        return at(law, n, _affordable_tokens(problem.flops, n, problem.inference_tokens), problem)
    if d is not None and problem.flops is not None:
        return at(law, problem.flops / flops_per_param(d, problem.inference_tokens), d, problem)
    inputs = dict(problem.inputs)
    if n is not None and problem.target_loss is not None:
        return at(law, n, tokens_for_loss(law, n, problem.target_loss, inputs), problem)
    if d is not None and problem.target_loss is not None:
        return at(law, law.params_for_loss(d, problem.target_loss, **inputs), d, problem)
    if n is not None or d is not None:
        return _on_optimum(law, problem)
    return _best_for_flops(law, problem) if problem.flops is not None else _best_for_loss(law, problem)


def at(law: Law, n_params: float, n_tokens: float, problem: AllocationProblem) -> Allocation:
    """The allocation at a given N and D; loss None where the law knows only the optimum (a frontier)."""
    loss = float(law.loss(n_params, n_tokens, **dict(problem.inputs))) if has_surface(law) else None
    return Allocation(FLOPS_PER_PARAM_TOKEN * n_params * n_tokens, n_params, n_tokens, loss)


def origin_of(law: Law) -> Provenance:
    """Where the law comes from and what it counts; of a law that does not say, its family and nothing known."""
    return law.provenance or Provenance(name=law.family.name, source=law.family.cite)


def counts_non_embedding(law: Law) -> bool:
    """Whether N of the law leaves the vocabulary out."""
    return origin_of(law).params_convention == "non_embedding"


def has_surface(law: Law) -> bool:
    """Whether the law gives a loss for any N and D, not only on its optimum."""
    return {"n_params", "n_tokens"} <= {i.name for i in law.family.inputs}


def flops_per_param(n_tokens: float, inference_tokens: float) -> float:
    """6 D + 2 D_inf: each parameter's share of training and serving."""
    return FLOPS_PER_PARAM_TOKEN * n_tokens + FLOPS_PER_PARAM_SERVED * inference_tokens


def lifetime_flops(point: Allocation, inference_tokens: float) -> float:
    """6 N D + 2 N D_inf."""
    return point.n_params * flops_per_param(point.n_tokens, inference_tokens)


def _affordable_tokens(flops: float, n_params: float, inference_tokens: float) -> float:
    n_tokens = (flops / n_params - FLOPS_PER_PARAM_SERVED * inference_tokens) / FLOPS_PER_PARAM_TOKEN
    if n_tokens <= 0:
        raise PlanError(
            f"serving {format_tokens(inference_tokens)} tokens with {format_params(n_params)} parameters takes "
            f"{format_flops(FLOPS_PER_PARAM_SERVED * n_params * inference_tokens)} FLOPs, more than the whole budget "
            f"of {format_flops(flops)}. Give a larger budget, a smaller model or fewer inference tokens."
        )
    return n_tokens


def _best_for_flops(law: Law, problem: AllocationProblem) -> Allocation:
    """Least loss with 6 N D + 2 N D_inf = C."""
    assert problem.flops is not None
    flops, served, inputs = problem.flops, problem.inference_tokens, dict(problem.inputs)
    if _has_newton(law, problem):
        n_params = params_for_flops(law, flops, served)
        return at(law, n_params, _affordable_tokens(flops, n_params, served), problem)
    fresh = allocate_compute(law, flops)
    if not _needs_search(law, problem, fresh):
        return fresh

    def loss(n_params: float) -> float:
        n_tokens = (flops / n_params - FLOPS_PER_PARAM_SERVED * served) / FLOPS_PER_PARAM_TOKEN
        return float(law.loss(n_params, n_tokens, **inputs)) if n_tokens > 0 else math.inf

    most = flops / (FLOPS_PER_PARAM_SERVED * served) * (1 - 1e-9) if served else math.inf
    n_params = _minimise(loss, fresh, problem, most)
    return at(law, n_params, _affordable_tokens(flops, n_params, served), problem)


def _best_for_loss(law: Law, problem: AllocationProblem) -> Allocation:
    """Least 6 N D + 2 N D_inf that reaches the loss (Sardana et al. 2024, eq. 3)."""
    assert problem.target_loss is not None
    target, served, inputs = problem.target_loss, problem.inference_tokens, dict(problem.inputs)
    if _has_newton(law, problem):
        n, d = cheapest_for_loss(law, target, served)
        return Allocation(flops=FLOPS_PER_PARAM_TOKEN * n * d, n_params=n, n_tokens=d, loss=target)
    fresh = law.flops_for_loss(target)
    if not _needs_search(law, problem, fresh):
        return fresh

    def cost(n_params: float) -> float:
        try:
            n_tokens = tokens_for_loss(law, n_params, target, inputs)
        except LawError:  # too small a model for this loss, whatever the tokens
            return math.inf
        return n_params * flops_per_param(n_tokens, served)

    n_params = _minimise(cost, fresh, problem)
    if cost(n_params) == math.inf:
        unique = inputs.get("n_tokens_unique")
        raise LawError(
            f"no size reaches a loss of {target:.4g} on {format_tokens(unique)} unique tokens, however often they are "
            "repeated. Give more --unique-tokens or a higher loss."
            if unique
            else f"no size reaches a loss of {target:.4g} under this law. Give a higher loss."
        )
    return at(law, n_params, tokens_for_loss(law, n_params, target, inputs), problem)


def _has_newton(law: Law, problem: AllocationProblem) -> TypeGuard[ChinchillaLaw]:
    """Whether serving is all that the problem adds to a Chinchilla law."""
    return isinstance(law, ChinchillaLaw) and bool(problem.inference_tokens) and not problem.inputs


def _needs_search(law: Law, problem: AllocationProblem, fresh: Allocation) -> bool:
    """Whether the optimum of fresh tokens without serving is not the answer already."""
    unique = dict(problem.inputs).get("n_tokens_unique", math.inf if not problem.inputs else 0.0)
    if not problem.inference_tokens and fresh.n_tokens <= unique:
        return False
    if not has_surface(law):
        raise PlanError(
            f"the law {law.family.name} knows only the training optimum and cannot plan with inference tokens. "
            "Take a law L(N, D): --law besiroglu, hoffmann or your own parametric fit."
        )
    return True


def _minimise(
    objective: Callable[[float], float], fresh: Allocation, problem: AllocationProblem, most: float = math.inf
) -> float:
    """N of the least objective: near the guess where there is one, else around the optimum of fresh tokens."""
    if problem.near is not None:
        return minimise_near(objective, problem.near, tolerance=problem.tolerance)
    # serving only lowers N, repeats move it both ways
    high = min(most, fresh.n_params * (100 if problem.inputs else 1))
    low = min(fresh.n_params, high) / 1e3
    return minimise_log(objective, low, high, n_grid=21, tolerance=problem.tolerance)


def _on_optimum(law: Law, problem: AllocationProblem) -> Allocation:
    """The optimum whose N (or D) is the given one: the other follows from the law."""
    given = "n_params" if problem.n_params is not None else "n_tokens"
    target: float = getattr(problem, given)
    free = problem._replace(n_params=None, n_tokens=None)
    searched = bool(problem.inference_tokens or problem.inputs)

    def size(flops: float) -> float:
        return float(getattr(_best_for_flops(law, free._replace(flops=flops)), given))

    try:
        flops = solve_log(size, target, start=120 * target**2, tolerance=1e-7 if searched else 1e-12)
    except (ValueError, OverflowError) as error:
        what = f"{format_params(target)} {'parameters' if given == 'n_params' else 'tokens'}"
        raise PlanError(f"no budget makes {what} compute-optimal under this law.") from error
    best = _best_for_flops(law, free._replace(flops=flops))._replace(**{given: target})
    point = at(law, best.n_params, best.n_tokens, problem)
    return point if has_surface(law) else point._replace(loss=best.loss)


# --- tokens are served as well: least 6 N D + 2 N S, for L = E + u + v, u = A/N^alpha, v = B/D^beta ---
#
# Both questions (least loss of a compute, least compute of a loss) have the same condition
#     D (r - 1) = S / 3,  r = alpha u / (beta v),
# which without serving says r = 1, Hoffmann's optimum. In the logarithm that each function names, the condition is
# nearly a straight line, rising and curved one way only, so Newton's method arrives from anywhere, in about five steps.
# Source: Sardana et al. 2024, arXiv:2401.00448, eq. 3 (they search; the condition is its derivative).


def params_for_flops(law: ChinchillaLaw, flops: float, served: float) -> float:
    """N of the least loss with 6 N D + 2 N S = flops, searched in y = ln D.

    With N = C / (6 D + 2 S) the condition is (1 - alpha) ln N + (1 + beta) y = ln(beta B / (alpha A)) + ln(C/6).
    Raises:
        LawError: the law has no interior optimum.
    """
    start = math.log(law.allocate(flops).n_tokens)
    goal = math.log(law.beta * law.B / (law.alpha * law.A)) + math.log(flops / FLOPS_PER_PARAM_TOKEN)

    def value_and_slope(y: float) -> tuple[float, float]:
        training = FLOPS_PER_PARAM_TOKEN * math.exp(y)
        whole = training + FLOPS_PER_PARAM_SERVED * served
        value = (1 - law.alpha) * math.log(flops / whole) + (1 + law.beta) * y - goal
        return value, 1 + law.beta - (1 - law.alpha) * training / whole

    n_tokens = math.exp(newton(value_and_slope, start))
    return flops / flops_per_param(n_tokens, served)


def cheapest_for_loss(law: ChinchillaLaw, loss: float, served: float) -> tuple[float, float]:
    """N and D of the least 6 N D + 2 N S that reaches the loss, searched in y = ln(r - 1).

    With u = (L - E) beta r / (alpha + beta r) and v = (L - E) alpha / (alpha + beta r) the condition is
    ln D + y = ln(S / 3).
    Raises:
        LawError: the loss lies below the floor.
    """
    A, B, alpha, beta, gap = law.A, law.B, law.alpha, law.beta, loss - law.E
    if min(A, B, alpha, beta, gap) <= 0:
        law.flops_for_loss(loss)  # raises, saying why
    constant = math.log(B / (gap * alpha)) / beta - math.log(served / 3)

    def value_and_slope(y: float) -> tuple[float, float]:
        excess = math.exp(y)
        sum_ = alpha + beta + beta * excess
        return constant + math.log(sum_) / beta + y, 1 + excess / sum_

    at_training_optimum = -constant - math.log(alpha + beta) / beta  # ln(S / 3 D): to the right of the root
    r = 1 + math.exp(newton(value_and_slope, min(at_training_optimum, -constant * beta / (1 + beta))))
    share = gap / (alpha + beta * r)
    return float((A / (beta * r * share)) ** (1 / alpha)), float((B / (alpha * share)) ** (1 / beta))


# --- tokens are seen more than once ---


class Repetition(NamedTuple):
    """How often the unique tokens are seen, and what the repeats are worth."""

    unique_tokens: float
    epochs: float
    effective_tokens: float  # fresh tokens that would teach as much
    source: str


def needs_repetition(point: Allocation, unique_tokens: float | None) -> bool:
    """Whether the plan sees some token twice."""
    return unique_tokens is not None and point.n_tokens > unique_tokens * (1 + 1e-9)


def with_decays(law: Law) -> Law:
    """The law with repeated tokens priced in; its band, which holds for fresh tokens only, is dropped.

    Raises:
        PlanError: the law has no form in which the worth of a repeated token is known.
    """
    if isinstance(law, DataConstrainedLaw):
        return law
    if not isinstance(law, ChinchillaLaw):
        raise PlanError(
            f"the law {law.family.name} does not say what a repeated token is worth. Plan with a law "
            "E + A/N^alpha + B/D^beta (besiroglu, hoffmann, your own parametric fit), or with more unique tokens."
        )
    decays = {name: find_law("muennighoff").coefficients[name] for name in ("R_D", "R_N")}
    uncertainty = law.uncertainty
    if uncertainty is not None:
        draws = tuple((*draw, *decays.values()) for draw in uncertainty.draws)
        uncertainty = uncertainty._replace(band=None, draws=draws)
    return DataConstrainedLaw(
        **law.coefficients, **decays, provenance=law.provenance, uncertainty=uncertainty
    )


def describe_repetition(law: Law, point: Allocation, unique_tokens: float | None) -> Repetition | None:
    """Epochs and the fresh tokens they are worth: D' = U (1 + R* (1 - e^(-(epochs - 1)/R*)))."""
    if unique_tokens is None:
        return None
    epochs, effective = point.n_tokens / unique_tokens, point.n_tokens
    if isinstance(law, DataConstrainedLaw) and epochs > 1:
        effective = unique_tokens * (1 + law.R_D * (1 - math.exp(-(epochs - 1) / law.R_D)))
    source = "Muennighoff et al. 2023, arXiv:2305.16264: decays R_D* and R_N*; level and exponents of the law in use"
    return Repetition(unique_tokens, epochs, effective, source)


def tokens_for_loss(law: Law, n_params: float, loss: float, inputs: dict[str, Any]) -> float:
    """law.tokens_for_loss, in closed form where tokens are repeated (the law itself bisects, too slow for draws).

    With D > U the loss is L(N, U) - B/U^beta + B/D'^beta, so D' and then D follow.
    Raises:
        LawError: no number of epochs reaches the loss.
    """
    unique = inputs.get("n_tokens_unique")
    if unique is None or not isinstance(law, DataConstrainedLaw):
        return law.tokens_for_loss(n_params, loss, **inputs)
    first_epoch = float(law.loss(n_params, unique, n_tokens_unique=unique))
    if loss >= first_epoch:
        return law.tokens_for_loss(n_params, loss, **inputs)
    by_data = loss - first_epoch + law.B * unique**-law.beta
    worth = (law.B / by_data) ** (1 / law.beta) / unique - 1 if by_data > 0 else math.inf
    if worth >= law.R_D:
        size = f"{format_params(n_params)} parameters"
        epochs = f"no number of epochs of {format_tokens(unique)} tokens"
        raise LawError(f"{epochs} brings {size} to a loss of {loss:.4g}.")
    return float(unique * (1 - law.R_D * math.log1p(-worth / law.R_D)))
