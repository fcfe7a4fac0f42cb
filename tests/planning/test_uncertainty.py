"""Intervals of a plan: the band of the optimum, draws for the rest, and ends that the runs do not determine."""

from __future__ import annotations

import math
import random

import pytest

from scaling.laws import ChinchillaLaw, OptimumBand, Uncertainty
from scaling.planning.allocation import AllocationProblem
from scaling.planning.uncertainty import at_budget, intervals
from scaling.reference import find_law

BAND = OptimumBand(
    log10_flops=(18.0, 20.0, 22.0),
    n_params_low=(1e8, 1e9, 1e10),
    n_params_high=(2e8, 4e9, math.inf),
    loss_low=(3.0, 2.6, 2.2),
    loss_high=(3.1, 2.8, 2.5),
)


def _law(**uncertainty: object) -> ChinchillaLaw:
    given = Uncertainty(level=0.95, method="test", **uncertainty)  # type: ignore[arg-type]
    return ChinchillaLaw(E=1.81722, A=477.826, B=2143.42, alpha=0.347310, beta=0.367172, uncertainty=given)


def _draws(n: int, sd: float) -> tuple[tuple[float, ...], ...]:
    """Draws whose exponents vary around the law's, the terms held at N = 1e9 and D = 2e10."""
    rng = random.Random(0)
    rows = []
    for _ in range(n):
        alpha, beta = 0.347310 * math.exp(rng.gauss(0, sd)), 0.367172 * math.exp(rng.gauss(0, sd))
        A = 477.826 * 1e9 ** (alpha - 0.347310)
        B = 2143.42 * 2e10 ** (beta - 0.367172)
        rows.append((1.81722, A, B, alpha, beta))
    return tuple(rows)


def test_default_law_reproduces_its_published_interval() -> None:
    """At 5.76e23: N* 73B (51 to 112B), tokens per parameter 17.8 (7.7 to 36), from 4000 pairs resamples."""
    found = intervals(find_law("besiroglu"), AllocationProblem(flops=5.76e23))
    assert found.level == 0.95
    assert found.n_params == pytest.approx((51e9, 112e9), rel=0.03)  # resampling error of a percentile
    assert found.tokens_per_param == pytest.approx((7.7, 36), rel=0.04)
    assert found.n_tokens == pytest.approx((5.76e23 / 6 / 112e9, 5.76e23 / 6 / 51e9), rel=0.03)


def test_the_band_keeps_its_distance_from_the_optimum_between_two_budgets_of_its_grid() -> None:
    """Planted: N* x/ 1.2 and L* +- 0.3 % at budgets two decades apart; so it is at every budget between."""
    law = _law()
    best = [law.allocate(10.0**c) for c in BAND.log10_flops]
    band = BAND._replace(
        n_params_low=tuple(p.n_params / 1.2 for p in best),
        n_params_high=tuple(p.n_params * 1.2 for p in best),
        loss_low=tuple(p.loss * 0.997 for p in best),
        loss_high=tuple(p.loss * 1.003 for p in best),
    )
    for flops in (1.5e18, 1e19, 7e20):
        found, at = intervals(_law(band=band), AllocationProblem(flops=flops)), law.allocate(flops)
        assert found.n_params == pytest.approx((at.n_params / 1.2, at.n_params * 1.2))
        assert found.loss == pytest.approx((at.loss * 0.997, at.loss * 1.003))


def test_the_loss_of_a_plan_lies_inside_its_interval_at_every_budget() -> None:
    law = find_law("besiroglu")
    for tenth in range(150, 300):
        found, at = (
            intervals(law, AllocationProblem(flops=10 ** (tenth / 10))),
            law.allocate(10 ** (tenth / 10)),
        )
        assert found.loss is not None
        assert found.n_params is not None
        assert found.loss[0] < at.loss < found.loss[1]
        assert found.n_params[0] < at.n_params < found.n_params[1]


def test_an_infinite_end_of_the_band_stays_infinite() -> None:
    found = intervals(_law(band=BAND), AllocationProblem(flops=1e21))
    assert found.n_params is not None
    assert found.n_params[1] == math.inf
    assert found.n_tokens is not None
    assert found.n_tokens[0] == 0.0


def test_beyond_the_band_draws_take_over_or_nothing_does() -> None:
    assert at_budget(_law(band=BAND), 1e25) is None
    with_draws = intervals(_law(band=BAND, draws=_draws(200, 0.05)), AllocationProblem(flops=1e25))
    assert "draws" in with_draws.method
    assert with_draws.n_params is not None
    without = intervals(_law(band=BAND), AllocationProblem(flops=1e25))
    assert without.level is None
    assert "covers the optimum" in without.method


def test_a_law_without_uncertainty_says_so() -> None:
    found = intervals(find_law("20:1"), AllocationProblem(flops=1e21))
    assert found.level is None
    assert "no interval published" in found.method


def test_draws_give_an_interval_only_to_what_is_not_given() -> None:
    law = _law(draws=_draws(300, 0.05))
    by_size = intervals(law, AllocationProblem(n_params=7e9))
    assert by_size.n_params is None
    assert by_size.n_tokens is not None
    assert by_size.flops is not None
    both = intervals(law, AllocationProblem(n_params=7e9, flops=1e21))
    assert both.n_tokens is None
    assert both.tokens_per_param is None
    assert both.loss is not None
    target = intervals(law, AllocationProblem(target_loss=2.2))
    assert target.loss is None
    assert target.flops is not None


def test_draws_that_cannot_reach_the_loss_leave_the_end_open() -> None:
    rows = [
        (floor, 477.826, 2143.42, 0.34731, 0.367172) for floor in (1.7, 1.8, 1.9, 1.95) for _ in range(25)
    ]
    found = intervals(_law(draws=tuple(rows)), AllocationProblem(target_loss=1.92))
    assert found.flops is not None
    assert math.isfinite(found.flops[0])
    assert found.flops[1] == math.inf


def test_wider_draws_give_wider_intervals() -> None:
    narrow, wide = (
        intervals(_law(draws=_draws(300, sd)), AllocationProblem(target_loss=2.2)).flops
        for sd in (0.02, 0.06)
    )
    assert narrow is not None
    assert wide is not None
    assert math.log(wide[1] / wide[0]) > 2 * math.log(narrow[1] / narrow[0])


@pytest.mark.parametrize(
    "problem", [AllocationProblem(n_params=7e9), AllocationProblem(target_loss=2.2, inference_tokens=1e12)]
)
def test_the_method_tells_how_many_draws_were_taken(problem: AllocationProblem) -> None:
    assert intervals(_law(draws=_draws(400, 0.05)), problem).method.startswith("percentiles of 400 draws (")
    assert intervals(_law(draws=_draws(900, 0.05)), problem).method.startswith(
        "percentiles of 400 of 900 draws ("
    )


def test_a_quantity_that_a_constraint_fixes_has_no_interval() -> None:
    capped = intervals(_law(draws=_draws(300, 0.05)), AllocationProblem(flops=1e21, max_params=1e6))
    assert (capped.n_params, capped.n_tokens, capped.tokens_per_param) == (None, None, None)
    assert capped.loss is not None


def test_a_plan_between_grid_budgets_gives_the_interval_that_the_fit_itself_would() -> None:
    """The band of fit.json against the profile of the fit at the same budget, for N* and L*."""
    import numpy as np

    from scaling.fitting.surface.fit import fit_parametric
    from scaling.runs import Runs

    truth = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
    N, D = (g.ravel() for g in np.meshgrid(np.geomspace(2e7, 3e9, 7), np.geomspace(1e9, 1e11, 8)))
    loss = truth.loss(N, D) * np.exp(0.005 * np.random.default_rng(1).standard_normal(len(N)))
    fit = fit_parametric(Runs.from_arrays(n_params=N, n_tokens=D, loss=loss))
    for flops in (2.1e18, 3e20, 6.3e23):
        planned = intervals(fit.law, AllocationProblem(flops=flops))
        for ends, name in ((planned.n_params, "n_params"), (planned.loss, "loss")):
            own = fit.interval(name, flops=flops)
            assert ends is not None
            # half a decade of linear interpolation of the half-width
            assert ends[0] == pytest.approx(own.low, abs=0.04 * (own.high - own.low))
            assert ends[1] == pytest.approx(own.high, abs=0.04 * (own.high - own.low))
