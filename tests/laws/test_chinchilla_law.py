"""The Chinchilla law against hand-worked algebra, finite differences and a brute-force search."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import LawError
from scaling.laws import ChinchillaLaw

SYMMETRIC = ChinchillaLaw(E=2.0, A=100.0, B=100.0, alpha=0.5, beta=0.5)


def test_symmetric_law_splits_the_budget_evenly():
    best = SYMMETRIC.allocate(6e20)  # N D = 1e20, so N = D = 1e10 by symmetry
    assert best.n_params == pytest.approx(1e10, rel=1e-12)
    assert best.n_tokens == pytest.approx(1e10, rel=1e-12)
    assert best.loss == pytest.approx(2.0 + 2 * 100 / 1e5, rel=1e-14)


laws = st.builds(
    ChinchillaLaw,
    E=st.floats(0, 3),
    A=st.floats(1, 1e6),
    B=st.floats(1, 1e6),
    alpha=st.floats(0.1, 1.0),
    beta=st.floats(0.1, 1.0),
)


@given(law=laws, log10_flops=st.floats(15, 28))
def test_flops_for_loss_inverts_allocate(law, log10_flops):
    best = law.allocate(10**log10_flops)
    if best.loss - law.E < 1e-6 * max(law.E, 1):  # below that the subtraction itself has no digits left
        return
    again = law.flops_for_loss(best.loss)
    # error of L - E, amplified by (alpha + beta) / (alpha beta) <= 20
    tolerance = 50 * 2.2e-16 * best.loss / (best.loss - law.E) * 20 + 1e-9
    assert math.log(again.flops) == pytest.approx(math.log(best.flops), abs=tolerance)


def test_tokens_and_params_for_loss_invert_the_loss():
    law = ChinchillaLaw(E=1.8, A=480, B=2100, alpha=0.347, beta=0.367)
    target = law.loss(7e9, 1e12)
    assert law.tokens_for_loss(7e9, target) == pytest.approx(1e12, rel=1e-9)
    assert law.params_for_loss(1e12, target) == pytest.approx(7e9, rel=1e-9)


@pytest.mark.parametrize(
    "ask",
    [
        lambda law: law.flops_for_loss(2.0),
        lambda law: law.flops_for_loss(1.0),
        lambda law: law.tokens_for_loss(1e9, 2.0001),
        lambda law: law.params_for_loss(1e9, 2.0001),
    ],
)
def test_a_loss_at_or_below_what_is_reachable_is_refused(ask):
    with pytest.raises(LawError, match="is not above"):
        ask(SYMMETRIC)


@pytest.mark.parametrize("name", ["A", "B", "alpha", "beta"])
def test_a_law_without_interior_optimum_cannot_allocate(name):
    values = {**SYMMETRIC.coefficients, name: 0.0}
    with pytest.raises(LawError, match=rf"no compute-optimal split.*{name} = 0"):
        ChinchillaLaw(**values).allocate(1e21)


@pytest.mark.parametrize("name", ["E", "A", "B", "alpha", "beta"])
def test_a_negative_coefficient_is_refused(name):
    with pytest.raises(LawError, match=rf"zero or more, got {name} = -1"):
        ChinchillaLaw(**{**SYMMETRIC.coefficients, name: -1.0})


@pytest.mark.parametrize("bad", [math.nan, math.inf, "1", None])
def test_coefficients_must_be_finite_numbers(bad):
    with pytest.raises(LawError, match="coefficient A of a chinchilla law must be a finite number"):
        ChinchillaLaw(E=1, A=bad, B=1, alpha=1, beta=1)


@pytest.mark.parametrize("bad", [0.0, -1e20, math.nan, math.inf])
def test_a_budget_must_be_positive_and_finite(bad):
    with pytest.raises(LawError, match="flops must be positive"):
        SYMMETRIC.allocate(bad)


def test_arrays_and_floats_agree():
    np = pytest.importorskip("numpy")
    n, d = np.array([1e8, 1e10]), np.array([1e10, 1e12])
    assert SYMMETRIC.loss(n, d).tolist() == [SYMMETRIC.loss(1e8, 1e10), SYMMETRIC.loss(1e10, 1e12)]
    assert SYMMETRIC.gradient(n, d)["alpha"][1] == SYMMETRIC.gradient(1e10, 1e12)["alpha"]


def test_an_input_the_law_would_ignore_is_refused():
    for ask in (
        lambda: SYMMETRIC.loss(1e9, 1e10, n_tokens_unique=1e9),
        lambda: SYMMETRIC.gradient(1e9, 1e10, n_tokens_unique=1e9),
        lambda: SYMMETRIC.allocate(1e21, n_tokens_unique=1e9),
        lambda: SYMMETRIC.flops_for_loss(2.1, n_tokens_unique=1e9),
    ):
        with pytest.raises(LawError, match="does not read n_tokens_unique"):
            ask()
    assert SYMMETRIC.allocate(1e21, n_tokens_unique=None) == SYMMETRIC.allocate(1e21)
