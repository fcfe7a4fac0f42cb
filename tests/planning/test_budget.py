"""Exactly one budget, and what each kind buys."""

from __future__ import annotations

import math

import pytest

from scaling.errors import UsageError
from scaling.planning.cost import Budget, Constraints, buy_compute, make_cluster
from scaling.planning.utilisation import SPREAD
from scaling.reference import find_accelerator

H100 = make_cluster(find_accelerator("H100"), count=8)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "exactly one budget: flops=1e21, seconds=1e6 or dollars=25e3 with a cluster"),
        ({"flops": 1e21, "dollars": 1e4}, "got flops and dollars"),
        ({"flops": 1e21, "seconds": 1e6}, "got flops and seconds"),
        ({"target_loss": 2.0, "flops": 1e21}, "got flops and target_loss"),
        (
            {"flops": 1e21, "n_params": 1e9, "n_tokens": 1e9},
            "n_params and n_tokens fix the run already: .* or flops, out",
        ),
        ({"flops": -1.0}, "positive finite"),
        ({"target_loss": math.nan}, "positive finite"),
        ({"n_params": math.inf}, "positive finite"),
    ],
)
def test_wrong_budgets_are_refused(given: dict[str, float], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Budget(**given)


@pytest.mark.parametrize(
    "given", [{"n_params": 7e9}, {"n_params": 7e9, "n_tokens": 1e12}, {"flops": 1e21, "n_tokens": 1e9}]
)
def test_sizes_stand_alone_or_beside_a_budget(given: dict[str, float]) -> None:
    assert Budget(**given)


def test_constraints_must_be_positive() -> None:
    with pytest.raises(UsageError, match="unique_tokens"):
        Constraints(unique_tokens=0.0)


def test_hardware_and_time_show_every_factor() -> None:
    compute = buy_compute(Budget(seconds=14 * 86400.0), H100)
    assert compute is not None
    assert compute.flops == pytest.approx(8 * 989e12 * H100.mfu_mid * 0.9 * 14 * 86400)
    assert compute.low / compute.flops == pytest.approx(1 / SPREAD)
    for factor in ("8 x H100", "989 TFLOP/s dense", "35 % MFU", "90 % goodput", "14 days"):
        assert factor in compute.how


def test_dollars_without_a_price_are_a_range_with_a_date() -> None:
    compute = buy_compute(Budget(dollars=25_000), H100)
    assert compute is not None
    assert compute.low < compute.flops < compute.high
    assert compute.high / compute.low == pytest.approx(5.00 / 1.99)
    assert "2026-05" in compute.how


def test_a_loss_is_no_amount_of_compute() -> None:
    assert buy_compute(Budget(target_loss=2.0), H100) is None
