"""The sweep worth running, against the matrix formula of Gaussian conditioning."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from scaling.laws import ChinchillaLaw, Uncertainty
from scaling.planning.allocation import AllocationProblem, solve
from scaling.planning.cost import Constraints
from scaling.planning.plan import plan_training
from scaling.planning.uncertainty import N_SWEEP_DRAWS, NOISE_SD, propose_sweeps, thinned_draws
from scaling.reference import find_law


def test_width_left_is_that_of_gaussian_conditioning() -> None:
    law = find_law("besiroglu")
    point = solve(law, AllocationProblem(flops=1e22))
    sweep = propose_sweeps(law, point)[0]
    draws = thinned_draws(law, N_SWEEP_DRAWS)
    target = np.log([d.allocate(1e22).n_params for d in draws])
    runs = np.log([[d.loss(n, sweep.flops_per_run / 6 / n) for n in sweep.n_params] for d in draws])
    joint = np.cov(np.column_stack([target, runs]).T, bias=True)
    noise = NOISE_SD**2 * np.eye(sweep.n_runs)
    left = joint[0, 0] - joint[0, 1:] @ np.linalg.solve(joint[1:, 1:] + noise, joint[1:, 0])
    assert sweep.width_left == pytest.approx(math.sqrt(left / joint[0, 0]), rel=1e-6)


def test_sweeps_are_affordable_and_the_best_comes_first() -> None:
    law = find_law("besiroglu")
    sweeps = propose_sweeps(law, solve(law, AllocationProblem(flops=1e22)))
    assert [s.width_left for s in sweeps] == sorted(s.width_left for s in sweeps)
    for sweep in sweeps:
        assert 0 < sweep.width_left < 1
        assert sweep.share_of_budget <= 0.1 + 1e-12
        assert sweep.n_runs == len(sweep.n_params)


@pytest.mark.parametrize("flops", [1e15, 1e19, 3e19, 1e22])
def test_no_run_is_proposed_below_those_of_the_law(flops: float) -> None:
    """Runs of 2e12 FLOPs were proposed at a budget of 1e15; the law's own begin at 1.4e18."""
    law = find_law("besiroglu")
    sweeps = propose_sweeps(law, solve(law, AllocationProblem(flops=flops)))
    assert all(sweep.flops_per_run >= 1.397e18 for sweep in sweeps)
    assert all(sweep.share_of_budget <= 0.25 for sweep in sweeps)
    assert bool(sweeps) == (flops > 2.8e19)  # five runs at 1.4e18 are a quarter of that


def test_a_law_without_a_range_proposes_no_run_below_the_least_plan() -> None:
    law = replace(find_law("besiroglu"), provenance=None)
    assert all(
        sweep.flops_per_run >= 1e14
        for sweep in propose_sweeps(law, solve(law, AllocationProblem(flops=1e16)))
    )
    assert propose_sweeps(law, solve(law, AllocationProblem(flops=1e15))) == ()


@pytest.mark.parametrize(
    "constraints",
    [Constraints(unique_tokens=2e10), Constraints(inference_tokens=2e12)],
    ids=["unique", "served"],
)
def test_sweeps_are_for_the_interval_the_plan_shows(constraints: Constraints) -> None:
    """N* of the constrained problem: the target column is each draw's answer to it."""
    plan = plan_training(1e22, constraints=constraints)
    sweep = plan.sweeps[0]
    problem = AllocationProblem(
        flops=1e22,
        inference_tokens=constraints.inference_tokens or 0.0,
        inputs=(("n_tokens_unique", 2e10),) if constraints.unique_tokens else (),
        tolerance=2e-3,
        near=plan.point.n_params,
    )
    draws = thinned_draws(plan.law, N_SWEEP_DRAWS)
    target = np.log([solve(d, problem).n_params for d in draws])
    inputs = dict(problem.inputs)
    runs = np.log([[d.loss(n, sweep.flops_per_run / 6 / n, **inputs) for n in sweep.n_params] for d in draws])
    joint = np.cov(np.column_stack([target, runs]).T, bias=True)
    left = joint[0, 0] - joint[0, 1:] @ np.linalg.solve(joint[1:, 1:] + NOISE_SD**2 * np.eye(5), joint[1:, 0])
    assert sweep.width_left == pytest.approx(
        math.sqrt(left / joint[0, 0]), rel=0.02
    )  # other draws of the 400


def test_an_optimum_that_is_certain_leaves_nothing_to_shrink() -> None:
    rows = tuple((1.7 + 0.001 * i, 477.8, 2143.4, 0.347, 0.367) for i in range(40))  # only the floor varies
    law = ChinchillaLaw(
        E=1.72, A=477.8, B=2143.4, alpha=0.347, beta=0.367,
        uncertainty=Uncertainty(level=0.95, method="test", draws=rows),
    )  # fmt: skip
    point = solve(law, AllocationProblem(flops=1e22))
    assert propose_sweeps(law, point)[0].width_left == pytest.approx(1.0)
    assert propose_sweeps(law, point, target="loss")[0].width_left < 0.7


def test_a_law_without_draws_proposes_nothing() -> None:
    law = find_law("hoffmann")
    assert propose_sweeps(law, solve(law, AllocationProblem(flops=1e22))) == ()
