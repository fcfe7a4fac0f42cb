"""Law + budget → plan: allocation with intervals, doubts, a shape, a schedule, memory, time and money."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from scaling.arguments import is_number, require_kind
from scaling.errors import PlanError, UsageError, shown
from scaling.findings import Finding
from scaling.laws.base import Allocation, Law
from scaling.planning import checks
from scaling.planning.allocation import (
    AllocationProblem,
    counts_non_embedding,
    describe_repetition,
    solve,
    solve_with_repetition,
)
from scaling.planning.alternatives import SMALLER, wasted_compute
from scaling.planning.cost import (
    Budget,
    Cluster,
    Compute,
    Constraints,
    Cost,
    buy_compute,
    choose_count,
    estimate_cost,
    make_cluster,
)
from scaling.planning.memory import MemoryPlan, largest_params, least_devices, plan_memory
from scaling.planning.result import Plan
from scaling.planning.shape import Count, Shape, choose_architecture, choose_schedule
from scaling.planning.uncertainty import Solved, intervals, solve_draws
from scaling.reference.hardware import find_accelerator
from scaling.reference.published import DEFAULT_LAW, LawLike, resolve_law
from scaling.translation import tr
from scaling.units import format_bytes, format_params

__all__ = ["DEFAULT_ACCELERATOR", "Plan", "plan_training"]

DEFAULT_ACCELERATOR = "H100"
ROUNDS, SETTLED = 20, 1e-9  # a round changes the utilisation a tenth as much as the one before


def plan_training(
    budget: Budget | float,
    law: LawLike = DEFAULT_LAW,
    *,
    cluster: Cluster | None = None,
    constraints: Constraints | None = None,
    ratios: tuple[float, ...] = SMALLER,
) -> Plan:
    """Turn a budget into a plan.

    Args:
        budget: FLOPs, or a `Budget`.
        law: a published name, a fit, its file, or a law; the default carries its uncertainty.
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
        >>> served = Constraints(inference_tokens=1e13)
        >>> plan_training(Budget(dollars=1e6), "hoffmann", constraints=served).law.provenance.name
        'hoffmann'
    """
    given = budget if isinstance(budget, Budget) else Budget(flops=budget)
    constraints = Constraints() if constraints is None else constraints
    law = resolve_law(law)
    hardware = make_cluster(find_accelerator(DEFAULT_ACCELERATOR)) if cluster is None else cluster
    _check_kinds(hardware, constraints, ratios)
    if constraints.max_memory_bytes is not None:
        hardware = _with_memory(hardware, constraints.max_memory_bytes, given=cluster is not None)
    hardware, compute, problem = _settle(law, given, hardware, constraints)
    findings = hardware.findings
    if constraints.max_memory_bytes is not None and problem.is_free:
        problem, capped = _cap_by_memory(law, problem, hardware, constraints)
        findings += capped
    answer = _answer(law, problem, constraints.unique_tokens)
    hardware = hardware.for_run(answer.point.n_params, constraints.context_length)
    return Plan(
        budget=given,
        constraints=constraints,
        cluster=hardware,
        cluster_given=cluster is not None,
        compute=compute,
        ratios=ratios,
        **answer._asdict(),
        **_sections(answer, constraints, hardware, findings),
    )


def _settle(
    law: Law, given: Budget, cluster: Cluster, constraints: Constraints
) -> tuple[Cluster, Compute | None, AllocationProblem]:
    """The compute that the budget buys, and the cluster at the utilisation of the run that this compute is of.

    Time and money buy more compute at a higher utilisation, and that depends on the size of the model, which depends on
    the compute: each round puts the size of the last one in.
    """
    for _ in range(ROUNDS):
        compute = buy_compute(given, cluster)
        problem = AllocationProblem(
            flops=None if compute is None else compute.flops,
            target_loss=given.target_loss,
            n_params=given.n_params,
            n_tokens=given.n_tokens,
            inference_tokens=constraints.inference_tokens or 0.0,
            max_params=constraints.max_params or math.inf,
        )
        if compute is None or given.flops is not None or not cluster.is_estimated:
            break
        point = solve_with_repetition(law, problem, constraints.unique_tokens)[2]
        rated = cluster.for_run(point.n_params, constraints.context_length)
        if given.dollars is not None and cluster.n_accelerators is None:
            rated = rated.on(choose_count(rated, compute.flops))
        settled = abs(rated.mfu_mid / cluster.mfu_mid - 1) < SETTLED
        cluster = rated
        if settled:
            break
    return cluster, compute, problem


def _check_kinds(cluster: Cluster, constraints: Constraints, ratios: tuple[float, ...]) -> None:
    require_kind("cluster", cluster, Cluster, 'Make one: make_cluster("H100", count=8).')
    require_kind("constraints", constraints, Constraints, "Make them: Constraints(unique_tokens=1e12).")
    require_kind("ratios", ratios, (tuple, list), "Give sizes as shares of N*: (0.25, 0.5).")
    if bad := [ratio for ratio in ratios if not is_number(ratio) or not 0 < ratio < math.inf]:
        raise UsageError(f"ratios are positive shares of N*, got {shown(bad[0])}.")


class _Answer(NamedTuple):
    """What to train, and what it is measured against: fields of the plan."""

    law: Law  # with repetition priced in where tokens repeat
    problem: AllocationProblem
    point: Allocation
    is_optimum: bool
    optimum: Allocation
    reference: AllocationProblem
    wasted_compute: float | None
    solved: Solved | None


def _answer(law: Law, problem: AllocationProblem, unique_tokens: float | None) -> _Answer:
    used, problem, point = solve_with_repetition(law, problem, unique_tokens)
    checks.refuse_nonsense(point, unique_tokens if problem.inputs else None, problem.inference_tokens)
    if unique_tokens is None:
        checks.refuse_beyond_the_web(point)
    is_optimum, optimum, reference = _reference(used, problem, point)
    wasted = None if is_optimum else wasted_compute(used, point, reference)
    solved = solve_draws(used, problem) if problem.is_free and not problem.is_plain else None
    return _Answer(used, problem, point, is_optimum, optimum, reference, wasted, solved)


def _sections(
    answer: _Answer, constraints: Constraints, cluster: Cluster, findings: tuple[Finding, ...]
) -> dict[str, Any]:
    """The sections that every reader of the plan needs, fields of it: the doubts about the answer, and how to do it."""
    law, point, unique_tokens = answer.law, answer.point, constraints.unique_tokens
    shape, shape_findings = _shape(law, point, constraints)
    memory, cost = _memory_and_cost(cluster, point, shape)
    checks.refuse_endless(cost, point.flops, choose_count(cluster, point.flops))
    body = point.n_params if shape is None else shape.n_params_total * (1 - shape.vocabulary_share)
    schedule = choose_schedule(
        point.n_params,
        point.n_tokens,
        point.loss,
        context_length=constraints.context_length,
        n_params_without_vocabulary=body,
    )
    ends = intervals(law, answer.problem, answer.solved)
    findings = (
        *checks.law_findings(law, point, has_interval=ends.level is not None),
        *findings,
        *checks.size_findings(point, cost),
        *checks.data_findings(law, point, unique_tokens),
        *shape_findings,
        *checks.hardware_findings(memory, cost, schedule),
    )
    repetition = describe_repetition(law, point, unique_tokens)
    found = {"intervals": ends, "findings": findings, "repetition": repetition}
    return {**found, "shape": shape, "schedule": schedule, "memory": memory, "cost": cost}


def _reference(
    law: Law, problem: AllocationProblem, point: Allocation
) -> tuple[bool, Allocation, AllocationProblem]:
    """Whether the point is the optimum of its problem, and what alternatives are measured against."""
    capped = problem.n_params is None and point.n_params >= problem.max_params * (1 - 1e-9)
    if problem.is_free and not capped:
        return True, point, problem._replace(max_params=math.inf)
    training = AllocationProblem(flops=point.flops, inputs=problem.inputs)
    alone = not capped and problem.flops is None and problem.target_loss is None
    if alone and (problem.n_params is None or problem.n_tokens is None):
        return True, point, training._replace(inference_tokens=problem.inference_tokens)
    return False, solve(law, training), training


def _shape(law: Law, point: Allocation, constraints: Constraints) -> tuple[Shape | None, tuple[Finding, ...]]:
    """The shape, or the reason why none exists."""
    without_vocabulary = counts_non_embedding(law)
    try:
        shape = _architecture(point.n_params, constraints, "non_embedding" if without_vocabulary else "total")
    except PlanError as error:
        said, short = (
            tr("no shape: {error}", error=error),
            tr("no shape of this size exists, so none of its memory is known"),
        )
        return None, (Finding(code="no-shape", severity="warning", message=said, short=short),)
    return shape, tuple(checks.shape_findings(shape, without_vocabulary=without_vocabulary))


def _architecture(n_params: float, constraints: Constraints, count: Count = "total") -> Shape:
    vocab, context = constraints.vocab_size, constraints.context_length
    return choose_architecture(n_params, vocab_size=vocab, context_length=context, count=count)


def _memory_and_cost(
    cluster: Cluster, point: Allocation, shape: Shape | None
) -> tuple[MemoryPlan | None, Cost]:
    """The count that nobody gave is enough for the time and for the memory."""
    if shape is None:
        return None, estimate_cost(cluster, point.flops)
    least = least_devices(shape.architecture, shape.n_params_total, cluster.memory_bytes)
    cost = estimate_cost(cluster, point.flops, least_count=least.n_devices if least else 1)
    return plan_memory(shape.architecture, cluster.memory_bytes, cost.n_accelerators, least), cost


# --- a plan capped by the memory of its accelerators: the largest model that trains in it ---


def _with_memory(cluster: Cluster, memory_bytes: float, *, given: bool) -> Cluster:
    """The cluster with this memory on each accelerator, which its name then says."""
    if memory_bytes == cluster.memory_bytes:
        return cluster
    name = tr("{name} at {memory_bytes}", name=cluster.name, memory_bytes=format_bytes(memory_bytes))
    said = tr(
        "hardware: not named, so time and money are those of {name}; name yours with --hardware", name=name
    )
    short = tr("time and money assume {name}: name yours with --hardware", name=cluster.name)
    finding = Finding(code="hardware-not-named", severity="warning", message=said, short=short)
    return cluster._replace(
        name=name,
        memory_bytes=memory_bytes,
        findings=cluster.findings if given else (*cluster.findings, finding),
    )


def _cap_by_memory(
    law: Law, problem: AllocationProblem, cluster: Cluster, constraints: Constraints
) -> tuple[AllocationProblem, tuple[Finding, ...]]:
    """Cap N by what trains in the memory of the cluster, or of as many accelerators as the plan would choose."""
    assert cluster.memory_bytes is not None
    context, vocab = constraints.context_length, constraints.vocab_size
    wanted = solve_with_repetition(law, problem, constraints.unique_tokens)[2]
    count = cluster.n_accelerators
    if count is None:
        if _trains_somewhere(wanted.n_params, cluster.memory_bytes, constraints):
            return problem, ()
        count = choose_count(cluster, wanted.flops)
    memory = format_bytes(cluster.memory_bytes)
    on_each = (
        tr("{memory} on one accelerator", memory=memory)
        if count == 1
        else tr("{memory} on each of {count:,} accelerators", memory=memory, count=count)
    )
    largest = largest_params(cluster.memory_bytes, count, context, vocab)
    if largest < checks.LEAST_PARAMS:
        raise PlanError(f"{on_each} hold no model worth training; give more.")
    said = tr(
        "memory: {on_each} hold at most {largest} parameters in training (fully sharded, activations "
        "recomputed)",
        on_each=on_each,
        largest=format_params(largest),
    )
    short = tr(
        "{on_each} train at most {largest} parameters", on_each=on_each, largest=format_params(largest)
    )
    finding = Finding(code="capped-by-memory", severity="warning", message=said, short=short)
    capped = problem._replace(max_params=min(problem.max_params, largest))
    return capped, (finding,) if wanted.n_params > largest else ()


def _trains_somewhere(n_params: float, memory_bytes: float, constraints: Constraints) -> bool:
    """Whether some number of accelerators of this memory trains a model of this size."""
    try:
        shape = _architecture(n_params, constraints)
    except PlanError:  # no shape, so nothing to cap: the plan says why
        return True
    return least_devices(shape.architecture, shape.n_params_total, memory_bytes) is not None
