"""`--explain`: the numbers put into the formulas give what the plan says."""

from __future__ import annotations

import re

import pytest

from scaling.planning.cost import Budget
from scaling.planning.explain import explain_plan
from scaling.planning.plan import plan_training
from scaling.reference import find_law


def test_explanation_puts_the_numbers_in() -> None:
    steps = {step.title: step for step in explain_plan(plan_training(1e21))}
    assert "= 0.5139" in steps["exponent"].numbers
    assert "2.3045" in steps["loss"].numbers
    assert "kWh" in steps["energy"].numbers


def _worked_out(numbers: str) -> tuple[float, float]:
    """Both sides of 'expression = result, ...' of a derivation."""
    left, _, right = numbers.partition(" = ")
    expression = left.replace(",", "").replace("^", "**").replace(" x ", " * ")
    return float(eval(expression)), float(right.split(", ")[0].replace(",", ""))


@pytest.mark.parametrize("flops", [1e19, 1e21, 5.76e23])
def test_explained_numbers_give_what_the_plan_says(flops: float) -> None:
    """Learning rate, shape and exact FLOPs, worked out from the text alone; tied and untied, grouped queries or not."""
    plan = plan_training(flops)
    steps = {step.title: step for step in explain_plan(plan)}
    assert plan.shape is not None
    for title, said in (
        ("learning rate", plan.schedule.advice[0].learning_rate),
        ("shape", plan.shape.n_params_total),
        ("exact FLOPs", plan.exact_flops),
    ):
        worked_out, printed = _worked_out(steps[title].numbers)
        assert worked_out == pytest.approx(said, rel=1e-3)  # four digits are printed
        assert printed == pytest.approx(said, rel=1e-3)


def test_explained_memory_adds_up_to_the_row_to_take() -> None:
    plan = plan_training(1e21)
    said = next(step.numbers for step in explain_plan(plan) if step.title == "memory")
    units = {"MB": 1e6, "GB": 1e9}
    parts = [float(v) * units[u] for v, u in re.findall(r"([\d.]+) ([MG]B)", said)]
    assert plan.memory is not None
    assert sum(parts[:-1]) == pytest.approx(parts[-1], rel=0.01)  # three digits are printed
    assert parts[-1] == pytest.approx(
        next(r for r in plan.memory.rows if r.fits).memory.total_bytes, rel=5e-3
    )


def test_explained_interval_says_whether_band_or_draws_gave_it() -> None:
    def said(budget: Budget) -> str:
        return next(
            f"{s.formula} {s.numbers}" for s in explain_plan(plan_training(budget)) if s.title == "interval"
        )

    assert "law's band" in said(Budget(flops=1e21))
    assert "N* 2.42B to 3.29B" in said(Budget(flops=1e21))
    assert "2.5 % and 97.5 % of 400 draws" in said(Budget(target_loss=2.0))
    assert not any(s.title == "interval" for s in explain_plan(plan_training(1e21, find_law("hoffmann"))))
