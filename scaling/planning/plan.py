"""Law + budget → plan: allocation with intervals, doubts, alternatives, a shape, a schedule, memory, time and money."""

from __future__ import annotations

import math
from typing import NamedTuple

from scaling.accounting.flops import count_flops
from scaling.errors import PlanError
from scaling.laws.base import Allocation, Law
from scaling.planning import checks
from scaling.planning.allocation import (
    Problem,
    has_surface,
    lifetime_flops,
    solve,
    solve_with_repetition,
)
from scaling.planning.alternatives import (
    SMALLER,
    Alternative,
    Valley,
    alternatives,
    training_optimum,
    valley,
    wasted_compute,
)
from scaling.planning.budget import Budget, Compute, Constraints, buy_compute, make_problem
from scaling.planning.cost import Cluster, Cost, choose_count, estimate_cost, make_cluster
from scaling.planning.memory import MemoryPlan, least_devices, plan_memory
from scaling.planning.memory_cap import cap_by_memory, with_memory
from scaling.planning.next_runs import Sweep, propose_sweeps
from scaling.planning.repetition import (
    CHEAP_EPOCHS,
    Repetition,
    describe_repetition,
    needs_repetition,
)
from scaling.planning.schedule import Schedule, choose_schedule
from scaling.planning.shape import DEFAULT_VOCAB, Count, Shape, choose_architecture
from scaling.planning.spread import Spread, counts_non_embedding, spread_of_laws, total_params
from scaling.planning.uncertainty import Intervals, Solved, intervals, solve_draws
from scaling.reference.hardware import find_accelerator
from scaling.reference.published import DEFAULT_LAW, find_law, published_laws
from scaling.units import format_params

DEFAULT_ACCELERATOR = "H100"
SPREAD_TOLERANCE = 1e-3  # of N of another law: papers differ by a factor
TENSOR_PARALLEL_MOST = 8  # accelerators of one host, which can share one sequence


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


class Plan(NamedTuple):
    """A whole plan. `point` is what to train; the rest says how sure, at what cost, and what else was possible."""

    law: Law
    budget: Budget
    constraints: Constraints
    cluster: Cluster
    cluster_given: bool
    compute: Compute | None
    point: Allocation
    is_optimum: bool  # False where a given size or a cap leaves the optimum
    optimum: Allocation  # the point itself, or the training optimum of the same 6 N D
    wasted_compute: float | None  # of a point that is not the optimum
    intervals: Intervals
    warnings: tuple[str, ...]
    spread: Spread
    valley: Valley | None
    alternatives: tuple[Alternative, ...]
    repetition: Repetition | None
    inference: Inference | None
    shape: Shape | None
    exact_flops: float | None
    schedule: Schedule
    memory: MemoryPlan | None
    cost: Cost
    sweeps: tuple[Sweep, ...]
    data: str

    @property
    def tokens_per_param(self) -> float:
        return self.point.n_tokens / self.point.n_params


def plan_training(
    budget: Budget | float,
    law: Law | None = None,
    *,
    cluster: Cluster | None = None,
    constraints: Constraints | None = None,
    ratios: tuple[float, ...] = SMALLER,
) -> Plan:
    """Turn a budget into a plan.

    Args:
        budget: FLOPs, or a `Budget`.
        law: default "besiroglu", with the uncertainty that is packaged with it.
        cluster: accelerators; None plans for H100s in a number that finishes within 30 days.
        ratios: of N*, for the alternatives at equal loss.
    Raises:
        UsageError: not exactly one budget.
        PlanError: nonsense (a budget that means 90 parameters), or constraints that leave nothing to train.
        LawError: the law has no answer (a loss below its floor).
    Example:
        >>> plan = plan_training(5.76e23)
        >>> 6e10 < plan.point.n_params < 8e10
        True
    """
    given = budget if isinstance(budget, Budget) else Budget(flops=float(budget))
    constraints = constraints or Constraints()
    law = law or find_law(DEFAULT_LAW)
    hardware = cluster or make_cluster(find_accelerator(DEFAULT_ACCELERATOR))
    if constraints.max_memory_bytes is not None:
        hardware = with_memory(hardware, constraints.max_memory_bytes, given=cluster is not None)
    compute = buy_compute(given, hardware)
    problem = make_problem(given, constraints, compute)
    notes = hardware.notes
    if constraints.max_memory_bytes is not None and problem.is_free:
        problem, note = cap_by_memory(law, problem, hardware, constraints)
        notes += note
    request = _Request(given, constraints, hardware, cluster is not None, compute, ratios, notes)
    return _complete(request, _answer(law, problem, constraints.unique_tokens))


class _Request(NamedTuple):
    """What was asked."""

    budget: Budget
    constraints: Constraints
    cluster: Cluster
    cluster_given: bool
    compute: Compute | None
    ratios: tuple[float, ...]
    notes: tuple[str, ...]


class _Answer(NamedTuple):
    """What to train, and what it is measured against."""

    law: Law  # with repetition priced in where tokens repeat
    problem: Problem
    point: Allocation
    is_optimum: bool
    optimum: Allocation
    reference: Problem  # whose optimum that is
    solved: Solved | None  # each draw's answer, which serves two sections


def _answer(law: Law, problem: Problem, unique_tokens: float | None) -> _Answer:
    used, problem, point = solve_with_repetition(law, problem, unique_tokens)
    checks.refuse_nonsense(point, unique_tokens if problem.inputs else None, problem.inference_tokens)
    if unique_tokens is None:
        checks.refuse_beyond_the_web(point)
    is_optimum, optimum, reference = _reference(used, problem, point)
    solved = solve_draws(used, problem) if problem.is_free and not problem.is_plain else None
    return _Answer(used, problem, point, is_optimum, optimum, reference, solved)


def _complete(request: _Request, answer: _Answer) -> Plan:
    """Every section of the plan for the answer."""
    constraints, unique = request.constraints, request.constraints.unique_tokens
    law, point, optimum, reference = answer.law, answer.point, answer.optimum, answer.reference
    shape, shape_notes = _shape(law, point, constraints)
    memory, cost = _memory_and_cost(request.cluster, point, shape)
    checks.refuse_endless(cost, point.flops, choose_count(request.cluster, point.flops))
    schedule = _schedule(point, shape, constraints)
    ends = intervals(law, answer.problem, answer.solved)
    return Plan(
        law=law,
        budget=request.budget,
        constraints=constraints,
        cluster=request.cluster,
        cluster_given=request.cluster_given,
        compute=request.compute,
        point=point,
        is_optimum=answer.is_optimum,
        optimum=optimum,
        wasted_compute=None if answer.is_optimum or point.loss is None else _waste(law, point, reference),
        intervals=ends,
        warnings=(
            *checks.range_warnings(law, point, has_interval=ends.level is not None),
            *checks.unit_warnings(law),
            *checks.flops_warnings(law, point),
            *request.notes,
            *checks.size_warnings(point, cost),
            *_repetition_warnings(law, point, unique),
            *checks.data_warnings(point.n_tokens, unique),
            *shape_notes,
            *_hardware_warnings(memory, cost, schedule),
        ),
        spread=_spread(answer, constraints),
        valley=valley(law, optimum, reference),
        alternatives=alternatives(
            law, optimum, reference, request.ratios, answer.solved if answer.is_optimum else None
        ),
        repetition=_repetition(law, point, unique),
        inference=_inference(law, point, answer.problem),
        shape=shape,
        exact_flops=None if shape is None else count_flops(shape.architecture, point.n_tokens),
        schedule=schedule,
        memory=memory,
        cost=cost,
        sweeps=propose_sweeps(law, optimum, reference, answer.solved if answer.is_optimum else None),
        data=checks.data_sentence(point.n_tokens),
    )


def _reference(law: Law, problem: Problem, point: Allocation) -> tuple[bool, Allocation, Problem]:
    """Whether the point is the optimum of its problem, and what alternatives are measured against."""
    capped = problem.n_params is None and point.n_params >= problem.max_params * (1 - 1e-9)
    if problem.is_free and not capped:
        return True, point, problem._replace(max_params=math.inf)
    training = Problem(flops=point.flops, inputs=problem.inputs)
    alone = not capped and problem.flops is None and problem.target_loss is None
    if alone and (problem.n_params is None or problem.n_tokens is None):
        return True, point, training._replace(inference_tokens=problem.inference_tokens)
    return False, solve(law, training), training


def _spread(answer: _Answer, constraints: Constraints) -> Spread:
    """The other laws' answers to the same question; to the optimum of the same compute where a cap or sizes decide."""
    question = answer.reference._replace(inputs=(), tolerance=SPREAD_TOLERANCE)
    if answer.is_optimum:
        question = answer.problem._replace(inputs=(), max_params=math.inf, tolerance=SPREAD_TOLERANCE)
    vocab = constraints.vocab_size or DEFAULT_VOCAB
    if question.n_params is not None and counts_non_embedding(answer.law):
        question = question._replace(n_params=total_params(question.n_params, vocab))
    laws = published_laws(of_size_and_data=True)
    return spread_of_laws(laws, question, vocab, constraints.unique_tokens, same_question=answer.is_optimum)


def _waste(law: Law, point: Allocation, reference: Problem) -> float | None:
    return wasted_compute(law, point, reference) if has_surface(law) else None


def _shape(law: Law, point: Allocation, constraints: Constraints) -> tuple[Shape | None, tuple[str, ...]]:
    """The shape, or the reason why none exists."""
    non_embedding = counts_non_embedding(law)
    count: Count = "non_embedding" if non_embedding else "total"
    try:
        shape = choose_architecture(
            point.n_params,
            vocab_size=constraints.vocab_size,
            context_length=constraints.context_length,
            count=count,
        )
    except PlanError as error:
        return None, (f"no shape: {error}",)
    notes = tuple(f"shape: {note}" for note in shape.notes)
    if non_embedding:
        notes = (
            "this law counts non-embedding parameters: the model has "
            f"{format_params(shape.n_params_total)} in all, and 6ND leaves its vocabulary out",
            *notes,
        )
    return shape, notes


def _memory_and_cost(
    cluster: Cluster, point: Allocation, shape: Shape | None
) -> tuple[MemoryPlan | None, Cost]:
    """The count that nobody gave is enough for the time and for the memory."""
    if shape is None:
        return None, estimate_cost(cluster, point.flops)
    least = least_devices(shape.architecture, shape.n_params_total, cluster.memory_bytes)
    cost = estimate_cost(cluster, point.flops, least_count=least.n_devices if least else 1)
    return plan_memory(shape.architecture, cluster.memory_bytes, cost.n_accelerators, least), cost


def _hardware_warnings(memory: MemoryPlan | None, cost: Cost, schedule: Schedule) -> tuple[str, ...]:
    """A model that does not fit, and more accelerators than the batch can feed."""
    warnings = []
    if memory is not None and memory.memory_bytes is not None and not any(row.fits for row in memory.rows):
        warnings.append(f"memory: {memory.hint}.")
    if cost.n_accelerators > schedule.batch_sequences * TENSOR_PARALLEL_MOST:
        warnings.append(
            f"a batch of {schedule.batch_sequences:,} sequences feeds at most "
            f"{schedule.batch_sequences * TENSOR_PARALLEL_MOST:,} accelerators at tensor parallelism "
            f"{TENSOR_PARALLEL_MOST}, and the plan has {cost.n_accelerators:,}: it will take longer than this."
        )
    return tuple(warnings)


def _schedule(point: Allocation, shape: Shape | None, constraints: Constraints) -> Schedule:
    body = point.n_params if shape is None else shape.n_params_total * (1 - shape.vocabulary_share)
    return choose_schedule(
        point.n_params,
        point.n_tokens,
        point.loss,
        context_length=constraints.context_length,
        n_params_without_vocabulary=body,
    )


def _repetition(law: Law, point: Allocation, unique_tokens: float | None) -> Repetition | None:
    return None if unique_tokens is None else describe_repetition(law, point, unique_tokens)


def _repetition_warnings(law: Law, point: Allocation, unique_tokens: float | None) -> tuple[str, ...]:
    if unique_tokens is None or not needs_repetition(point, unique_tokens):
        return ()
    epochs = point.n_tokens / unique_tokens
    times = checks.format_count(epochs)
    if not has_surface(law):
        return (
            f"data: this plan sees each token {times} times, and the law {law.family.name} does not say what that "
            "costs; plan with --law besiroglu to price it.",
        )
    if epochs <= CHEAP_EPOCHS:
        return ()
    return (
        f"data: {times} epochs; beyond {CHEAP_EPOCHS:g} a repeated token is worth visibly less than a fresh one.",
    )


def _inference(law: Law, point: Allocation, problem: Problem) -> Inference | None:
    if not problem.inference_tokens:
        return None
    best = training_optimum(law, point, problem)
    if best is None:
        return None
    return Inference(
        inference_tokens=problem.inference_tokens,
        lifetime_flops=lifetime_flops(point, problem.inference_tokens),
        training_optimum=best,
        training_optimum_lifetime_flops=lifetime_flops(best, problem.inference_tokens),
    )
