"""Targets near what repeated tokens can reach, laws from runs that leave a coefficient open, losses in doubt."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from scaling.errors import LawError
from scaling.laws.kaplan import KaplanFloorLaw
from scaling.planning.allocation import AllocationProblem, solve, with_decays
from scaling.planning.checks import law_findings
from scaling.planning.numerics import minimise_near
from scaling.planning.uncertainty import intervals
from scaling.reference import find_law


def test_a_reachable_loss_on_few_unique_tokens_has_a_plan_and_an_open_interval() -> None:
    """1e23 FLOPs on 100B unique tokens reach 2.049; many draws of the law do not reach 2.05 at all near that size."""
    law = with_decays(find_law("besiroglu"))
    problem = AllocationProblem(target_loss=2.05, inputs=(("n_tokens_unique", 100e9),))
    point = solve(law, problem)
    assert law.loss(point.n_params, point.n_tokens, n_tokens_unique=100e9) == pytest.approx(2.05, abs=1e-9)
    found = intervals(law, problem)
    assert found.flops is not None
    assert found.flops[0] < point.flops < found.flops[1]


def test_a_loss_beyond_any_repetition_names_the_tokens_and_no_size() -> None:
    law = with_decays(find_law("besiroglu"))
    with pytest.raises(LawError, match=r"no size reaches a loss of 2\.1 on 10B unique tokens"):
        solve(law, AllocationProblem(target_loss=2.1, inputs=(("n_tokens_unique", 10e9),)))


def test_a_minimum_is_found_from_a_guess_where_there_is_no_answer() -> None:
    """Answers only beyond x = 50: the guess and its neighbours are all inf."""

    def objective(x: float) -> float:
        return math.inf if x < 50 else (math.log(x) - math.log(80)) ** 2

    assert minimise_near(objective, 1.0, tolerance=1e-6) == pytest.approx(80, rel=1e-4)


def test_a_law_whose_answer_is_beyond_floats_is_refused_in_a_sentence() -> None:
    """A fit to one budget may leave alpha_D near nothing: (N_c / N)^(alpha_N / alpha_D) overflows."""
    law = KaplanFloorLaw(E=1.0, N_c=1e14, D_c=1e13, alpha_N=1.5, alpha_D=0.005)
    with pytest.raises(LawError, match="outside what a plan can use"):
        law.tokens_for_loss(1e6, 3.0)


def test_a_law_of_doubtful_losses_says_so() -> None:
    law = find_law("besiroglu")
    assert law.provenance is not None
    point = law.allocate(1e20)
    assert not list(law_findings(law, point, has_interval=True))
    doubtful = replace(law, provenance=law.provenance._replace(loss_unit="in doubt"))
    (finding,) = law_findings(doubtful, point, has_interval=True)
    assert (finding.code, finding.severity) == ("loss-unit-in-doubt", "warning")
    assert "--loss-unit" in finding.message
