"""Which small sweep would shrink the interval of N* (or of the loss) most.

Each candidate is one IsoFLOP valley: five sizes around N* of a smaller budget. What it would teach is read off the
law's draws: over them ln L of a run co-varies with ln N* of the plan, and a Gaussian update with the runs' noise
gives the variance that is left (Bayesian linear design; linear in the draws, assuming the law). A run below the
compute of the law's own runs is not proposed: the law says nothing there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import NamedTuple

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.laws.base import Allocation, Law
from scaling.planning.allocation import AllocationProblem, has_surface, origin_of
from scaling.planning.uncertainty import Solved, solve_or_none, thinned_draws

SHARES = (0.002, 0.02)  # of the plan's compute, per run; five runs cost 1 and 10 %
MOST_SHARE = 0.25  # of the plan's compute, for all five, where the law's range asks for larger runs
LEAST_FLOPS = 1e14  # per run: below, a plan itself is refused as no language model
SPAN = 4.0  # sizes from N*/4 to 4 N*: the ends of most published grids
N_SIZES = 5
NOISE_SD = 0.005  # of ln loss: about the spread between seeds of small runs
LEAST_DRAWS = 20
N_DRAWS = 80  # a ratio of widths to about 10 %; more would be felt in the time of a plan


class Sweep(NamedTuple):
    """One valley of runs and what is expected to be left of the interval's width."""

    flops_per_run: float
    n_params: tuple[float, ...]
    n_runs: int
    share_of_budget: float
    target: str  # "n_params" | "loss"
    width_left: float  # of ln N* (or ln L): new half-width over old


def propose_sweeps(
    law: Law,
    point: Allocation,
    problem: AllocationProblem | None = None,
    solved: Solved | None = None,
    *,
    target: str = "n_params",
) -> tuple[Sweep, ...]:
    """Candidates, best first; empty for a law without draws or a loss surface, and where none is affordable.

    Args:
        problem: whose optimum the point is; None: the optimum of its compute.
        solved: each draw's answer to the problem, if at hand.
    """
    if law.uncertainty is None or len(law.uncertainty.draws) < LEAST_DRAWS or not has_surface(law):
        return ()
    problem = problem or AllocationProblem(flops=point.flops)
    inputs = dict(problem.inputs)
    budgets = run_budgets(law, point)
    valleys = [
        [(n, flops / (FLOPS_PER_PARAM_TOKEN * n)) for n in _sizes(law, flops, inputs)] for flops in budgets
    ]
    pairs = _solved_draws(law, point, problem, solved)
    columns = _log_predictions(pairs, point, target, [run for valley in valleys for run in valley], inputs)
    if not columns:
        return ()
    sweeps = [
        Sweep(
            flops_per_run=flops,
            n_params=tuple(n for n, _ in valley),
            n_runs=N_SIZES,
            share_of_budget=N_SIZES * flops / point.flops,
            target=target,
            width_left=_width_left([columns[0], *columns[1 + N_SIZES * i : 1 + N_SIZES * (i + 1)]]),
        )
        for i, (flops, valley) in enumerate(zip(budgets, valleys, strict=True))
    ]
    return tuple(sorted(sweeps, key=lambda s: s.width_left))


def least_run_flops(law: Law) -> float:
    """The least compute of a run that the law speaks about."""
    return max(LEAST_FLOPS, origin_of(law).fitted_range.get("flops", (0.0, 0.0))[0])


def run_budgets(law: Law, point: Allocation) -> list[float]:
    """FLOPs per run of each candidate: shares of the plan's, not below the law's range, and affordable."""
    least = least_run_flops(law)
    budgets = dict.fromkeys(max(share * point.flops, least) for share in SHARES)
    return [flops for flops in budgets if N_SIZES * flops <= MOST_SHARE * point.flops]


def _sizes(law: Law, flops: float, inputs: Mapping[str, float]) -> tuple[float, ...]:
    middle = law.allocate(flops, **inputs).n_params
    return tuple(middle * SPAN ** (2 * i / (N_SIZES - 1) - 1) for i in range(N_SIZES))


def _solved_draws(law: Law, point: Allocation, problem: AllocationProblem, solved: Solved | None) -> Solved:
    """At most N_DRAWS draws with their answers."""
    if solved is not None:
        n = min(N_DRAWS, len(solved))
        return [solved[i * len(solved) // n] for i in range(n)]
    near = problem if problem.is_plain else problem._replace(near=point.n_params, tolerance=2e-3)
    return [(draw, solve_or_none(draw, near)) for draw in thinned_draws(law, N_DRAWS)]


def _log_predictions(
    pairs: Solved,
    point: Allocation,
    target: str,
    runs: Sequence[tuple[float, float]],
    inputs: Mapping[str, float],
) -> list[list[float]]:
    """One column per quantity over the draws: the target first, then ln L of each run; [] when most draws fail."""
    rows = []
    for draw, best in pairs:
        if best is None:
            continue
        goal = best.n_params if target == "n_params" else draw.loss(point.n_params, point.n_tokens, **inputs)
        rows.append([math.log(goal), *(math.log(draw.loss(n, d, **inputs)) for n, d in runs)])
    return [list(column) for column in zip(*rows)] if len(rows) >= LEAST_DRAWS else []


def _width_left(columns: list[list[float]]) -> float:
    """sqrt(Var[target | runs] / Var[target]) by conditioning on one run after another."""
    n = len(columns)
    centred = [[v - sum(c) / len(c) for v in c] for c in columns]
    covariance = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            covariance[i][j] = sum(map(mul, centred[i], centred[j])) / len(centred[i])
            covariance[j][i] = covariance[i][j]
    before = covariance[0][0]
    if before <= 0:
        return 1.0
    for run in range(1, n):
        row = list(covariance[run])
        total = row[run] + NOISE_SD**2
        for i in range(n):
            for j in range(n):
                covariance[i][j] -= row[i] * row[j] / total
    return math.sqrt(max(0.0, covariance[0][0]) / before)
