"""The price of leaving the optimum, against published figures and a worked balance."""

from __future__ import annotations

import pytest

from scaling.laws import ChinchillaLaw, FrontierLaw
from scaling.planning.allocation import AllocationProblem, at, lifetime_flops, solve
from scaling.planning.alternatives import (
    alternatives,
    break_even_tokens,
    equal_loss,
    extra_compute_closed,
    valley,
    wasted_compute,
)
from scaling.reference import find_law

LAW = ChinchillaLaw(E=1.81722, A=477.826, B=2143.42, alpha=0.347310, beta=0.367172)
PROBLEM = AllocationProblem(flops=1e21)
OPTIMUM = solve(LAW, PROBLEM)


@pytest.mark.parametrize(
    ("ratio", "percent"),
    [(0.5, 15.6), (0.7, 4.4), (1.5, 5.7), (2.0, 15.7), (0.25, 48.0), (4.0, 49.0), (0.1, 82.0)],
)
def test_wasted_compute_at_1e21(ratio: float, percent: float) -> None:
    n = ratio * OPTIMUM.n_params
    wasted = wasted_compute(LAW, at(LAW, n, 1e21 / 6 / n, PROBLEM), PROBLEM)
    assert wasted is not None
    assert 100 * wasted == pytest.approx(percent, abs=0.05 if percent < 20 else 0.5)  # digits printed


def test_the_optimum_wastes_nothing() -> None:
    assert wasted_compute(LAW, OPTIMUM, PROBLEM) == pytest.approx(0, abs=1e-12)


def test_valley_says_under_six_percent() -> None:
    found = valley(LAW, OPTIMUM, PROBLEM)
    assert found is not None
    assert 0.05 < found.worst < 0.06
    assert found.n_params_low == pytest.approx(0.7 * OPTIMUM.n_params)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.7, 1.5, 3.0])
def test_closed_form_of_the_extra_compute_is_the_search(ratio: float) -> None:
    point = equal_loss(LAW, OPTIMUM, ratio, PROBLEM)
    assert point is not None
    assert point.loss == pytest.approx(OPTIMUM.loss, abs=1e-12)
    assert extra_compute_closed(ratio, LAW.alpha, LAW.beta) == pytest.approx(
        point.flops / OPTIMUM.flops - 1, rel=1e-9
    )


def test_at_the_break_even_both_have_cost_the_same() -> None:
    small = equal_loss(LAW, OPTIMUM, 0.5, PROBLEM)
    assert small is not None
    served = break_even_tokens(OPTIMUM, small)
    assert served is not None
    assert lifetime_flops(small, served) == pytest.approx(lifetime_flops(OPTIMUM, served), rel=1e-12)


def test_a_model_too_small_for_the_loss_is_said_so() -> None:
    (row,) = alternatives(LAW, OPTIMUM, PROBLEM, ratios=(0.05,))
    assert row.n_tokens is None
    assert row.extra_compute is None
    assert row.wasted_compute is not None
    assert row.wasted_compute > 0.9


def test_intervals_of_the_extra_compute_contain_it() -> None:
    law = find_law("besiroglu")
    for row in alternatives(law, solve(law, PROBLEM), PROBLEM):
        assert row.extra_compute is not None
        assert row.extra_compute_interval is not None
        assert row.extra_compute_interval[0] < row.extra_compute < row.extra_compute_interval[1]


def test_frontier_law_has_no_alternatives() -> None:
    law = FrontierLaw.from_tokens_per_param(20)
    best = solve(law, PROBLEM)
    assert alternatives(law, best, PROBLEM) == ()
    assert valley(law, best, PROBLEM) is None
