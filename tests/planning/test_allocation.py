"""The split of a budget against figures printed in papers, and its behaviour under constraints."""

from __future__ import annotations

import math

import pytest

import scaling
from scaling.errors import LawError, PlanError, UsageError
from scaling.laws import ChinchillaLaw, FrontierLaw
from scaling.planning.allocation import AllocationProblem, lifetime_flops, solve
from scaling.reference import find_law

BESIROGLU = ChinchillaLaw(E=1.81722, A=477.826, B=2143.42, alpha=0.347310, beta=0.367172)


@pytest.mark.parametrize(
    ("law", "flops", "n_params", "tokens_per_param"),
    [
        ("hoffmann-printed", 1e19, 0.23e9, 32),
        ("hoffmann-printed", 1e21, 1.82e9, 50),
        ("hoffmann-printed", 1e24, 41e9, 98),
        ("besiroglu-printed", 1e19, 0.26e9, 24),
        ("besiroglu-printed", 1e21, 2.78e9, 22),
        ("besiroglu-printed", 1e24, 96e9, 18),
        ("20:1", 1e19, 0.29e9, 20),
        ("20:1", 1e21, 2.89e9, 20),
        ("20:1", 1e24, 91e9, 20),
        ("llama3", 1e19, 0.35e9, 14),
        ("llama3", 1e21, 2.95e9, 19),
        ("llama3", 1e24, 72e9, 32),
    ],
)
def test_published_laws_give_their_known_optimum(
    law: str, flops: float, n_params: float, tokens_per_param: float
) -> None:
    best = solve(find_law(law), AllocationProblem(flops=flops))
    digits = 0.02 if n_params < 1e9 else 0.012  # two or three printed digits
    assert best.n_params == pytest.approx(n_params, rel=digits)
    assert best.n_tokens / best.n_params == pytest.approx(tokens_per_param, rel=0.03)


def test_inference_reproduces_the_example_of_sardana_et_al() -> None:
    """Figure 1: 13B with 2T inference tokens is 17 % (1.7e22 FLOPs) cheaper as a 7B; their coefficients (appendix)."""
    law = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.336, beta=0.283)
    big = solve(law, AllocationProblem(n_params=13e9))
    small = solve(law, AllocationProblem(target_loss=big.loss, inference_tokens=2e12))
    saved = lifetime_flops(big, 2e12) - lifetime_flops(small, 2e12)
    assert small.n_params == pytest.approx(7e9, rel=0.01)
    assert saved == pytest.approx(1.7e22, rel=0.01)
    assert saved / lifetime_flops(big, 2e12) == pytest.approx(0.17, abs=0.006)


def test_lifetime_optimum_beats_its_neighbours() -> None:
    best = solve(BESIROGLU, AllocationProblem(flops=1e23, inference_tokens=1e12))
    assert lifetime_flops(best, 1e12) == pytest.approx(1e23, rel=1e-9)
    for ratio in (0.98, 1.02):
        n = ratio * best.n_params
        d = (1e23 / n - 2e12) / 6
        assert BESIROGLU.loss(n, d) > best.loss


def test_cheapest_lifetime_for_a_loss_inverts_the_best_loss_of_a_lifetime() -> None:
    best = solve(BESIROGLU, AllocationProblem(flops=1e23, inference_tokens=1e12))
    back = solve(BESIROGLU, AllocationProblem(target_loss=best.loss, inference_tokens=1e12))
    assert back.n_params == pytest.approx(best.n_params, rel=1e-3)  # flat optimum
    assert lifetime_flops(back, 1e12) == pytest.approx(1e23, rel=1e-6)


@pytest.mark.parametrize("law", [BESIROGLU, FrontierLaw.from_tokens_per_param(20)])
def test_given_size_lies_on_the_optimum_of_its_own_budget(law: ChinchillaLaw | FrontierLaw) -> None:
    by_params = solve(law, AllocationProblem(n_params=7e9))
    again = solve(law, AllocationProblem(flops=by_params.flops))
    assert again.n_params == pytest.approx(7e9, rel=1e-9)
    by_tokens = solve(law, AllocationProblem(n_tokens=by_params.n_tokens))
    assert by_tokens.n_params == pytest.approx(7e9, rel=1e-9)


def test_size_and_budget_leave_the_tokens_to_arithmetic() -> None:
    point = solve(BESIROGLU, AllocationProblem(n_params=7e9, flops=1e21))
    assert point.n_tokens == pytest.approx(1e21 / 6 / 7e9)
    assert solve(BESIROGLU, AllocationProblem(n_tokens=1e11, flops=1e21)).n_params == pytest.approx(
        1e21 / 6e11
    )


def test_size_and_loss_leave_the_tokens_to_the_law() -> None:
    point = solve(BESIROGLU, AllocationProblem(n_params=7e9, target_loss=2.1))
    assert point.loss == pytest.approx(2.1, abs=1e-9)
    point = solve(BESIROGLU, AllocationProblem(n_tokens=3e11, target_loss=2.1))
    assert point.loss == pytest.approx(2.1, abs=1e-9)


def test_cap_on_the_size_binds_only_when_it_is_smaller() -> None:
    assert solve(BESIROGLU, AllocationProblem(flops=1e21, max_params=1e9)).n_params == 1e9
    assert solve(BESIROGLU, AllocationProblem(flops=1e21, max_params=1e10)).n_params == pytest.approx(
        2.79e9, rel=1e-2
    )
    capped = solve(BESIROGLU, AllocationProblem(target_loss=2.2, max_params=4e9))
    assert capped.n_params == 4e9
    assert capped.loss == pytest.approx(2.2, abs=1e-9)


def test_cap_on_the_size_with_given_sizes() -> None:
    assert solve(BESIROGLU, AllocationProblem(n_tokens=1e12, max_params=1e9)).n_params == 1e9
    for given in ({"n_params": 7e9}, {"n_tokens": 1e10, "flops": 1e21}, {"n_params": 7e9, "n_tokens": 1e12}):
        with pytest.raises(PlanError, match="more than the 1B"):
            solve(BESIROGLU, AllocationProblem(max_params=1e9, **given))


def test_cap_too_small_for_the_loss_is_refused() -> None:
    with pytest.raises(LawError, match="unlimited tokens"):
        solve(BESIROGLU, AllocationProblem(target_loss=2.0, max_params=1e8))


def test_loss_below_the_floor_is_refused() -> None:
    with pytest.raises(LawError, match=r"1\.5 is not above 1\.8172"):
        solve(BESIROGLU, AllocationProblem(target_loss=1.5))


def test_more_inference_than_the_budget_is_refused() -> None:
    with pytest.raises(PlanError, match="more than the whole budget"):
        solve(BESIROGLU, AllocationProblem(flops=1e20, n_params=7e9, inference_tokens=1e12))


def test_too_many_and_too_few_givens_are_refused() -> None:
    with pytest.raises(UsageError, match="one too many"):
        solve(BESIROGLU, AllocationProblem(flops=1e21, n_params=1e9, n_tokens=1e9))
    with pytest.raises(UsageError, match="one too many"):
        solve(BESIROGLU, AllocationProblem(flops=1e21, target_loss=2.0))
    with pytest.raises(UsageError, match="no budget"):
        solve(BESIROGLU, AllocationProblem())


def test_frontier_law_says_what_it_cannot_plan() -> None:
    law = FrontierLaw.from_tokens_per_param(20)
    assert solve(law, AllocationProblem(flops=1e21, n_params=1e9)).loss is None
    with pytest.raises(PlanError, match="only the training optimum"):
        solve(law, AllocationProblem(flops=1e21, inference_tokens=1e12))
    with pytest.raises(LawError, match="carries no loss"):
        solve(law, AllocationProblem(target_loss=2.0))


def test_inference_moves_the_optimum_down_and_never_up() -> None:
    sizes = [
        solve(BESIROGLU, AllocationProblem(target_loss=2.1, inference_tokens=served)).n_params
        for served in (0.0, 1e10, 1e11, 1e12, 1e13)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert math.isclose(sizes[0], BESIROGLU.flops_for_loss(2.1).n_params)


def test_allocate_compute_is_public_and_splits_a_budget_in_closed_form() -> None:
    """Hoffmann et al. 2022, eq. 4: G = (alpha A / (beta B))^(1/(alpha+beta)), N* = G (C/6)^(beta/(alpha+beta))."""
    law = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
    best = scaling.allocate_compute(law, 5.76e23)
    G = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62)
    assert best.n_params == pytest.approx(G * (5.76e23 / 6) ** (0.28 / 0.62), rel=1e-12)
    assert 6 * best.n_params * best.n_tokens == pytest.approx(5.76e23, rel=1e-12)
    with pytest.raises(LawError, match="flops must be positive"):
        scaling.allocate_compute(law, -1.0)
