"""Cap a plan by the memory of its accelerators: the largest model that trains in it."""

from __future__ import annotations

from scaling.errors import PlanError
from scaling.laws.base import Law
from scaling.planning.allocation import Problem, solve_with_repetition
from scaling.planning.budget import Constraints
from scaling.planning.checks import LEAST_PARAMS
from scaling.planning.cost import Cluster, choose_count
from scaling.planning.memory import largest_params, least_devices
from scaling.planning.shape import choose_architecture
from scaling.units import format_bytes, format_params


def with_memory(cluster: Cluster, memory_bytes: float, *, given: bool) -> Cluster:
    """The cluster with this memory on each accelerator, which its name then says."""
    if memory_bytes == cluster.memory_bytes:
        return cluster
    name = f"{cluster.name} at {format_bytes(memory_bytes)}"
    note = f"hardware: not named, so time and money are those of {name}; name yours with --hardware"
    return cluster._replace(
        name=name, memory_bytes=memory_bytes, notes=cluster.notes if given else (*cluster.notes, note)
    )


def cap_by_memory(
    law: Law, problem: Problem, cluster: Cluster, constraints: Constraints
) -> tuple[Problem, tuple[str, ...]]:
    """Cap N by what trains in the memory of the cluster, or of as many accelerators as the plan would choose."""
    assert cluster.memory_bytes is not None
    context, vocab = constraints.context_length, constraints.vocab_size
    wanted = solve_with_repetition(law, problem, constraints.unique_tokens)[2]
    count = cluster.n_accelerators
    if count is None:
        if _trains_somewhere(wanted.n_params, cluster.memory_bytes, constraints):
            return problem, ()
        count = choose_count(cluster, wanted.flops)
    largest = largest_params(cluster.memory_bytes, count, context, vocab)
    if largest < LEAST_PARAMS:
        raise PlanError(f"{_on_each(cluster.memory_bytes, count)} hold no model worth training; give more.")
    note = (
        f"memory: {_on_each(cluster.memory_bytes, count)} hold at most "
        f"{format_params(largest)} parameters in training (fully sharded, activations recomputed)"
    )
    capped = problem._replace(max_params=min(problem.max_params, largest))
    return capped, (note,) if wanted.n_params > largest else ()


def _on_each(memory_bytes: float, count: int) -> str:
    memory = format_bytes(memory_bytes)
    return f"{memory} on one accelerator" if count == 1 else f"{memory} on each of {count:,} accelerators"


def _trains_somewhere(n_params: float, memory_bytes: float, constraints: Constraints) -> bool:
    """Whether some number of accelerators of this memory trains a model of this size."""
    try:
        shape = choose_architecture(
            n_params, vocab_size=constraints.vocab_size, context_length=constraints.context_length
        )
    except PlanError:  # no shape, so nothing to cap: the plan says why
        return True
    return least_devices(shape.architecture, shape.n_params_total, memory_bytes) is not None
