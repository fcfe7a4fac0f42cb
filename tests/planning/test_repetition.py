"""Fewer unique tokens than the optimum wants."""

from __future__ import annotations

import re

import pytest

from scaling.errors import LawError, PlanError
from scaling.planning.allocation import tokens_for_loss, with_decays
from scaling.planning.cost import Budget, Constraints
from scaling.planning.plan import plan_training
from scaling.reference import find_law
from scaling.render.terminal import render_terminal


def test_enough_tokens_change_nothing() -> None:
    free = plan_training(1e21)
    ample = plan_training(1e21, constraints=Constraints(unique_tokens=1e12))
    assert ample.point == free.point
    assert ample.repetition is not None
    assert ample.repetition.epochs < 1


def test_scarce_tokens_raise_the_loss_and_are_repeated() -> None:
    free = plan_training(1e22)
    losses = [free.point.loss]
    for unique in (1e11, 5e10, 1e10):
        plan = plan_training(1e22, constraints=Constraints(unique_tokens=unique))
        assert plan.repetition is not None
        assert plan.repetition.epochs == pytest.approx(plan.point.n_tokens / unique)
        assert plan.repetition.effective_tokens < plan.point.n_tokens
        losses.append(plan.point.loss)
    assert losses == sorted(losses)


def test_repeated_plan_beats_its_neighbours() -> None:
    plan = plan_training(1e22, constraints=Constraints(unique_tokens=2e10))
    law = with_decays(plan.law)
    assert plan.point.loss is not None
    for ratio in (0.9, 1.1):
        n = ratio * plan.point.n_params
        assert law.loss(n, 1e22 / 6 / n, n_tokens_unique=2e10) > plan.point.loss


def test_muennighoff_prefers_epochs_to_parameters() -> None:
    """Their finding: with repetition, D is scaled faster than N beyond the Chinchilla optimum of the same compute."""
    free = plan_training(1e22)
    plan = plan_training(1e22, constraints=Constraints(unique_tokens=2e10))
    assert plan.point.n_params < free.point.n_params
    assert plan.point.n_tokens > free.point.n_tokens


def test_many_epochs_are_a_warning() -> None:
    plan = plan_training(1e22, constraints=Constraints(unique_tokens=2e10))
    assert any("epochs" in text for text in plan.warnings)


def test_intervals_come_from_draws_with_the_decays() -> None:
    plan = plan_training(1e22, constraints=Constraints(unique_tokens=2e10))
    assert plan.intervals.n_params is not None
    assert plan.intervals.n_params[0] < plan.point.n_params < plan.intervals.n_params[1]


def test_laws_that_do_not_know_repetition_say_so() -> None:
    with pytest.raises(PlanError, match="repeated token"):
        plan_training(1e22, find_law("gadre-c4"), constraints=Constraints(unique_tokens=1e9))
    frontier = plan_training(1e22, find_law("20:1"), constraints=Constraints(unique_tokens=1e9))
    assert any("does not say what that costs" in text for text in frontier.warnings)


def test_target_loss_with_scarce_tokens_costs_more() -> None:
    free = plan_training(Budget(target_loss=2.2))
    scarce = plan_training(Budget(target_loss=2.2), constraints=Constraints(unique_tokens=3e10))
    assert scarce.point.flops > free.point.flops
    assert scarce.point.loss == pytest.approx(2.2, abs=1e-6)


@pytest.mark.parametrize(("n_params", "loss"), [(3e9, 2.35), (3e9, 2.28), (3e9, 2.6), (2e10, 2.25)])
def test_closed_form_of_the_tokens_is_the_laws_own_search(n_params: float, loss: float) -> None:
    law = with_decays(find_law("besiroglu"))
    found = tokens_for_loss(law, n_params, loss, {"n_tokens_unique": 2e10})
    assert law.loss(n_params, found, n_tokens_unique=2e10) == pytest.approx(loss, abs=1e-9)
    assert found == pytest.approx(law.tokens_for_loss(n_params, loss, n_tokens_unique=2e10), rel=1e-6)


def test_losses_beyond_any_number_of_epochs_are_refused() -> None:
    law = with_decays(find_law("besiroglu"))
    with pytest.raises(LawError, match="no number of epochs"):
        tokens_for_loss(law, 3e9, 2.1, {"n_tokens_unique": 2e10})


def test_one_number_of_epochs_is_said_everywhere() -> None:
    plan = plan_training(1e21, "besiroglu", constraints=Constraints(unique_tokens=1e9, max_params=1e9))
    assert plan.repetition is not None
    said = set(re.findall(r"([\d.]+) epochs", render_terminal(plan.summary(), width=100)))
    assert said == {f"{plan.repetition.epochs:.3g}"}
