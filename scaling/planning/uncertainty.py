"""Carry a law's uncertainty to a plan.

Use which when: the optimum of a plain budget takes the law's own band (profile intervals of the fit, interpolated in
ln C); anything else (a given N or D, a target loss, inference tokens, alternatives) is solved again for each draw of
the coefficients, and percentiles of the answers are the interval. A law without uncertainty gives no interval.

`propose_sweeps` says which small sweep would shrink the interval of N* (or of the loss) most. Each candidate is one
IsoFLOP valley: five sizes around N* of a smaller budget. What it would teach is read off the law's draws: over them
ln L of a run co-varies with ln N* of the plan, and a Gaussian update with the runs' noise gives the variance that is
left (Bayesian linear design; linear in the draws, assuming the law). A run below the compute of the law's own runs is
not proposed: the law says nothing there.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from operator import mul
from typing import Any, NamedTuple, TypeVar

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import LawError, PlanError
from scaling.jsonable import jsonable
from scaling.laws.base import Allocation, Law
from scaling.planning.allocation import AllocationProblem, has_surface, origin_of, solve
from scaling.planning.numerics import percentile

Ends = tuple[float, float]  # low, high; 0 and inf where the runs do not determine it

N_DRAWS = 400  # percentiles at 2.5 % rest on 10 draws a side
DRAW_TOLERANCE = 2e-3  # of ln N of a draw's own optimum, where it is searched

Row = TypeVar("Row")


class Intervals(NamedTuple):
    """Interval ends of a plan's quantities; None where the quantity is given, not estimated."""

    level: float | None
    method: str
    statement: str
    n_params: Ends | None = None
    n_tokens: Ends | None = None
    tokens_per_param: Ends | None = None
    loss: Ends | None = None
    flops: Ends | None = None

    def to_dict(self) -> dict[str, Any]:
        """An end of 0 or infinity is unbounded, null; null for the whole is a quantity that is given."""

        told: dict[str, Any] = self._asdict()
        pairs = {name: ends for name, ends in told.items() if isinstance(ends, tuple)}
        return told | {n: {"low": low or None, "high": jsonable(high)} for n, (low, high) in pairs.items()}


Solved = list[tuple[Law, Allocation | None]]  # each draw with its answer, None where it has none


def intervals(law: Law, problem: AllocationProblem, solved: Solved | None = None) -> Intervals:
    """Intervals of the answer to `problem` from the law's band or draws (`solved`: from `solve_draws`, if at hand)."""
    uncertainty = law.uncertainty
    if uncertainty is None or (uncertainty.band is None and not uncertainty.draws):
        return Intervals(level=None, method="no interval published for this law", statement="")
    if problem.is_plain and problem.flops and math.isinf(problem.max_params):
        ends = at_budget(law, problem.flops)
        if ends is not None:
            return _from_band(law, problem.flops, *ends)
    if not uncertainty.draws:
        why = f"the law's interval ({uncertainty.method}) covers the optimum of a budget only"
        return Intervals(level=None, method=f"no interval: {why}", statement="")
    return _from_draws(law, problem, solved)


def at_budget(law: Law, flops: float) -> tuple[Ends, Ends] | None:
    """Ends of N* and L* at a budget from the law's band; None outside its grid, or for a law without a band.

    Between two budgets of the grid the distance of an end from the optimum, in logs, is linear in ln C. The ends
    themselves are not: L* is so convex that a straight line between two of its lower ends passes above it.
    """
    band = law.uncertainty.band if law.uncertainty else None
    if band is None or not band.log10_flops:
        return None
    grid, x = band.log10_flops, math.log10(flops)
    if not grid[0] <= x <= grid[-1]:
        return None
    i = min(max(bisect_right(grid, x) - 1, 0), max(len(grid) - 2, 0))
    j = min(i + 1, len(grid) - 1)
    share = (x - grid[i]) / (grid[j] - grid[i]) if j > i else 0.0
    here, left, right = law.allocate(flops), law.allocate(10.0 ** grid[i]), law.allocate(10.0 ** grid[j])

    def ends(low: Sequence[float], high: Sequence[float], *centres: float | None) -> Ends:
        return _between((low[i], low[j]), share, centres), _between((high[i], high[j]), share, centres)

    n_params = ends(band.n_params_low, band.n_params_high, here.n_params, left.n_params, right.n_params)
    return n_params, ends(band.loss_low, band.loss_high, here.loss, left.loss, right.loss)


def _between(ends: Ends, share: float, centres: Sequence[float | None]) -> float:
    """The end at `share` of the way; 0 or inf where one of the two is, since nothing bounds it in between."""
    left, right = ends
    if share == 0 or share == 1:
        return right if share else left
    if math.isinf(left) or math.isinf(right):
        return math.inf
    at, at_left, at_right = centres
    if at is None or at_left is None or at_right is None or min(left, right) <= 0:
        return 0.0
    return at * math.exp((1 - share) * math.log(left / at_left) + share * math.log(right / at_right))


def _from_band(law: Law, flops: float, n_params: Ends, loss: Ends) -> Intervals:
    """D = C / (6 N) and D/N = C / (6 N^2) fall as N grows, so their ends swap."""
    assert law.uncertainty is not None
    product, (low, high) = flops / FLOPS_PER_PARAM_TOKEN, n_params

    def tokens(by_high: float, by_low: float) -> Ends:
        return product / by_high, product / by_low if by_low else math.inf

    return Intervals(
        level=law.uncertainty.level,
        method=law.uncertainty.method,
        statement=law.uncertainty.statement,
        n_params=n_params,
        n_tokens=tokens(high, low),
        tokens_per_param=tokens(high * high, low * low),
        loss=loss,
    )


def _from_draws(law: Law, problem: AllocationProblem, solved: Solved | None) -> Intervals:
    assert law.uncertainty is not None
    points = [point for _, point in (solve_draws(law, problem) if solved is None else solved)]
    level, n_all = law.uncertainty.level, len(law.uncertainty.draws)
    taken = f"{n_all} draws" if len(points) == n_all else f"{len(points)} of {n_all} draws"
    given_loss = problem.target_loss is not None
    sizes_given = sum(x is not None for x in (problem.n_params, problem.n_tokens))
    # With a budget, or with both sizes, arithmetic fixes N and D and only the loss depends on the law.
    fixed = sizes_given == 2 or (sizes_given == 1 and problem.flops is not None)

    def ends(value: Callable[[Allocation], float | None]) -> Ends | None:
        values = [None if p is None else value(p) for p in points]
        if all(v is None for v in values):
            return None
        # A draw without an answer (its floor lies above the target, say) counts as unbounded.
        low, high = two_sided([math.inf if v is None else v for v in values], level)
        fixed_by_a_constraint = math.isfinite(high) and high - low <= 1e-9 * abs(high)  # --max-params, say
        return None if fixed_by_a_constraint else (low, high)

    return Intervals(
        level=level,
        method=f"percentiles of {taken} ({law.uncertainty.draws_method or law.uncertainty.method})",
        statement=law.uncertainty.statement,
        n_params=None if fixed or problem.n_params else ends(lambda p: p.n_params),
        n_tokens=None if fixed or problem.n_tokens else ends(lambda p: p.n_tokens),
        tokens_per_param=None if fixed else ends(lambda p: p.n_tokens / p.n_params),
        loss=None if given_loss else ends(lambda p: p.loss),
        flops=ends(lambda p: p.flops) if problem.flops is None and not fixed else None,
    )


def two_sided(values: Sequence[float], level: float) -> Ends:
    """Percentiles (1 - level)/2 and (1 + level)/2."""
    return percentile(values, (1 - level) / 2), percentile(values, (1 + level) / 2)


def thinned_rows(law: Law, n_most: int) -> list[tuple[float, ...]]:
    """At most `n_most` of the law's coefficient draws, evenly spread over their order."""
    return _thinned(law.uncertainty.draws if law.uncertainty else (), n_most)


def _thinned(rows: Sequence[Row], n_most: int) -> list[Row]:
    n = min(n_most, len(rows))
    return [rows[i * len(rows) // n] for i in range(n)]


def thinned_draws(law: Law, n_most: int) -> list[Law]:
    """The same as laws."""
    return [law.with_coefficients(row) for row in thinned_rows(law, n_most)]


def solve_draws(law: Law, problem: AllocationProblem) -> Solved:
    """Each draw with its answer to the problem."""
    if problem.is_free and not problem.is_plain:
        point = solve_or_none(law, problem)
        problem = problem._replace(near=point and point.n_params, tolerance=DRAW_TOLERANCE)
    return [(draw, solve_or_none(draw, problem)) for draw in thinned_draws(law, N_DRAWS)]


def solve_or_none(law: Law, problem: AllocationProblem) -> Allocation | None:
    """The answer, or None where a draw has none."""
    try:
        return solve(law, problem)
    except (LawError, PlanError):
        return None


# --- which runs would shrink an interval ---

SHARES = (0.002, 0.02)  # of the plan's compute, per run; five runs cost 1 and 10 %
MOST_SHARE = 0.25  # of the plan's compute, for all five, where the law's range asks for larger runs
LEAST_FLOPS = 1e14  # per run: below, a plan itself is refused as no language model
SPAN = 4.0  # sizes from N*/4 to 4 N*: the ends of most published grids
N_SIZES = 5
NOISE_SD = 0.005  # of ln loss: about the spread between seeds of small runs
LEAST_DRAWS = 20
N_SWEEP_DRAWS = 80  # a ratio of widths to about 10 %; more would be felt in the time of a plan


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
    valleys = [_valley(law, flops, inputs) for flops in budgets]
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


def _valley(law: Law, flops: float, inputs: Mapping[str, float]) -> list[tuple[float, float]]:
    """N and D of the runs of one valley."""
    middle = law.allocate(flops, **inputs).n_params
    sizes = (middle * SPAN ** (2 * i / (N_SIZES - 1) - 1) for i in range(N_SIZES))
    return [(n, flops / (FLOPS_PER_PARAM_TOKEN * n)) for n in sizes]


def _solved_draws(law: Law, point: Allocation, problem: AllocationProblem, solved: Solved | None) -> Solved:
    """At most N_SWEEP_DRAWS draws with their answers."""
    if solved is not None:
        return _thinned(solved, N_SWEEP_DRAWS)
    near = problem if problem.is_plain else problem._replace(near=point.n_params, tolerance=DRAW_TOLERANCE)
    return [(draw, solve_or_none(draw, near)) for draw in thinned_draws(law, N_SWEEP_DRAWS)]


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
    means = [sum(c) / len(c) for c in columns]
    centred = [[v - mean for v in c] for c, mean in zip(columns, means, strict=True)]
    covariance = [[sum(map(mul, a, b)) / len(a) for b in centred] for a in centred]
    if (before := covariance[0][0]) <= 0:
        return 1.0
    for run in range(1, len(columns)):
        row = covariance[run]
        total = row[run] + NOISE_SD**2
        covariance = [[c - a * b / total for b, c in zip(row, line)] for a, line in zip(row, covariance)]
    return math.sqrt(max(0.0, covariance[0][0]) / before)
