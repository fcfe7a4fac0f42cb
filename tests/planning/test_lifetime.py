"""Newton's optimum with served tokens against a search that knows only the loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import LawError
from scaling.laws import ChinchillaLaw
from scaling.planning.allocation import cheapest_for_loss, params_for_flops
from scaling.planning.numerics import minimise_log

LAW = ChinchillaLaw(E=1.81722, A=477.826, B=2143.42, alpha=0.347310, beta=0.367172)
_exponents = st.floats(0.1, 1.2)


@given(log10_c=st.floats(16, 27), log10_served=st.floats(5, 17), alpha=_exponents, beta=_exponents)
def test_no_other_size_has_less_loss(log10_c: float, log10_served: float, alpha: float, beta: float) -> None:
    law = ChinchillaLaw(E=1.8, A=0.4 * 1e9**alpha, B=0.4 * 2e10**beta, alpha=alpha, beta=beta)
    flops, served = 10**log10_c, 10**log10_served
    found = params_for_flops(law, flops, served)

    def loss(n_params: float) -> float:
        return float(law.loss(n_params, (flops / n_params - 2 * served) / 6))

    for n_params in (found * 0.999, found * 1.001):
        assert 2 * served * n_params >= flops or loss(found) <= loss(n_params) * (1 + 1e-9)


@given(gap=st.floats(0.01, 3), log10_served=st.floats(3, 17), alpha=_exponents, beta=_exponents)
def test_no_other_size_is_cheaper(gap: float, log10_served: float, alpha: float, beta: float) -> None:
    law = ChinchillaLaw(E=1.8, A=0.4 * 1e9**alpha, B=0.4 * 2e10**beta, alpha=alpha, beta=beta)
    loss, served = 1.8 + gap, 10**log10_served
    found, n_tokens = cheapest_for_loss(law, loss, served)
    assert law.loss(found, n_tokens) == pytest.approx(loss, rel=1e-9)

    def cost(n_params: float) -> float:
        return n_params * (6 * law.tokens_for_loss(n_params, loss) + 2 * served)

    assert cost(found) <= cost(found * 1.001) * (1 + 1e-9)
    try:
        smaller = cost(found * 0.999)
    except LawError:  # too small for this loss
        return
    assert cost(found) <= smaller * (1 + 1e-9)


def test_it_is_the_size_that_a_search_finds() -> None:
    def cost(n_params: float) -> float:
        return n_params * (6 * LAW.tokens_for_loss(n_params, 2.0) + 2 * 2e12)

    best = LAW.flops_for_loss(2.0).n_params
    low = (LAW.A / (2.0 - LAW.E)) ** (1 / LAW.alpha) * 1.001
    assert cheapest_for_loss(LAW, 2.0, 2e12)[0] == pytest.approx(minimise_log(cost, low, best), rel=1e-6)


def test_serving_nothing_is_the_training_optimum() -> None:
    assert params_for_flops(LAW, 1e21, 1e-3) == pytest.approx(LAW.allocate(1e21).n_params, rel=1e-9)
    best = LAW.flops_for_loss(2.2)
    assert cheapest_for_loss(LAW, 2.2, 1e-3) == pytest.approx((best.n_params, best.n_tokens), rel=1e-6)


def test_a_loss_below_the_floor_is_refused() -> None:
    with pytest.raises(LawError, match="floor"):
        cheapest_for_loss(LAW, 1.5, 1e12)
