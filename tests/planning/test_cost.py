"""Time, money and energy in hand-worked units."""

from __future__ import annotations

import pytest

from scaling.errors import PlanError, UsageError
from scaling.planning.cost import (
    choose_count,
    estimate_cost,
    estimate_energy_kwh,
    flops_from_time,
    hours_from_dollars,
    make_cluster,
)
from scaling.planning.utilisation import SPREAD
from scaling.reference import accelerators, find_accelerator

DAY = 86400.0


def test_energy_of_a_kilowatt_for_an_hour_is_a_kilowatt_hour() -> None:
    """The units that other calculators get wrong by 1000."""
    assert estimate_energy_kwh(1000.0, 1.0) == pytest.approx(1.0)
    assert estimate_energy_kwh(700.0, 24.0) == pytest.approx(16.8)


def test_eight_h100_for_a_day_use_134_kwh() -> None:
    cluster = make_cluster(find_accelerator("H100"), count=8, mfu=0.4)
    cost = estimate_cost(cluster, flops_from_time(cluster, DAY))
    assert cost.energy_kwh is not None
    assert cost.energy_kwh[1] == pytest.approx(8 * 0.7 * 24)


def test_time_to_flops_and_back() -> None:
    cluster = make_cluster(find_accelerator("H100"), count=8, mfu=0.4, goodput=0.9)
    flops = flops_from_time(cluster, 14 * DAY)
    assert flops == pytest.approx(8 * 989e12 * 0.4 * 0.9 * 14 * DAY)
    assert estimate_cost(cluster, flops).seconds[1] == pytest.approx(14 * DAY)


def test_dollars_to_hours_and_back() -> None:
    cluster = make_cluster(find_accelerator("H100"), price_usd_per_hour=2.5, mfu=0.4)
    low, mid, high = hours_from_dollars(cluster, 25_000)
    assert low == mid == high == pytest.approx(10_000)
    cost = estimate_cost(cluster, 10_000 * 3600 * cluster.flops_per_s(0.4))
    assert cost.usd == pytest.approx((25_000, 25_000))


def test_without_a_price_the_table_gives_a_dated_range() -> None:
    cluster = make_cluster(find_accelerator("H100"))
    low, mid, high = hours_from_dollars(cluster, 25_000)
    assert low < mid < high
    cost = estimate_cost(cluster, 1e21)
    assert cost.price_date
    assert cost.usd is not None
    assert cost.usd[0] < cost.usd[1]


def test_low_mfu_takes_longer_and_costs_more() -> None:
    cost = estimate_cost(make_cluster(find_accelerator("H100"), count=8), 1e21)
    assert cost.tuned_mfu == (0.26, 0.40, 0.46)  # llm-foundry's tables
    assert cost.mfu[1] < cost.tuned_mfu[1]
    assert cost.seconds[0] < cost.seconds[1] < cost.seconds[2]
    assert (
        cost.seconds[2] / cost.seconds[1] == pytest.approx(cost.mfu[1] / cost.mfu[0]) == pytest.approx(SPREAD)
    )
    assert cost.usd is not None
    assert cost.usd_extreme is not None
    assert cost.usd_extreme[0] < cost.usd[0] < cost.usd[1] < cost.usd_extreme[1]


def test_peaks_are_dense() -> None:
    """H100 1979, MI300X 2615 and RTX 5090 838 are figures with sparsity."""
    for name, tflops in (("H100", 989), ("MI300X", 1307), ("RTX 5090", 209.5)):
        assert make_cluster(find_accelerator(name)).peak_flops_per_s == pytest.approx(tflops * 1e12, rel=1e-3)


def test_a_sparse_peak_given_by_hand_is_questioned() -> None:
    assert "sparsity" in make_cluster(find_accelerator("H100"), peak_flops_per_s=1979e12).notes[0]
    assert make_cluster(find_accelerator("H100"), peak_flops_per_s=900e12).notes == ()


def test_a_chosen_count_finishes_in_thirty_days() -> None:
    cluster = make_cluster(find_accelerator("H100"))
    for flops in (1e18, 1e22, 5.76e23, 1e26):
        cost = estimate_cost(cluster, flops)
        assert cost.is_chosen
        assert cost.seconds[1] <= 30 * DAY
        assert cost.n_accelerators & (cost.n_accelerators - 1) == 0
    assert choose_count(cluster, 1e18, least=100) == 128


def test_every_accelerator_of_the_table_plans_or_says_what_is_missing() -> None:
    for accelerator in accelerators():
        if accelerator.peak_flops_per_s is None:
            with pytest.raises(UsageError, match="--peak-tflops"):
                make_cluster(accelerator)
            continue
        cost = estimate_cost(make_cluster(accelerator), 1e21)
        assert 0 < cost.accelerator_hours[0] <= cost.accelerator_hours[1] <= cost.accelerator_hours[2]
        assert 0.05 < cost.mfu[0] <= cost.mfu[1] <= cost.mfu[2] < 0.8


def test_a_device_outside_the_table_takes_its_peak() -> None:
    cluster = make_cluster(None, name="Foo9000", peak_flops_per_s=1e15, count=4)
    assert cluster.name == "Foo9000"
    assert cluster.tuned_mfu is None
    assert make_cluster("H100", count=4).mfu_mid < cluster.mfu_mid < make_cluster("A100", count=4).mfu_mid
    with pytest.raises(PlanError, match="--price"):
        hours_from_dollars(cluster, 1000)


@pytest.mark.parametrize(
    "wrong", [{"mfu": 40.0}, {"mfu": 0.0}, {"goodput": 1.5}, {"count": 0}, {"peak_flops_per_s": float("inf")}]
)
def test_impossible_clusters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        make_cluster(find_accelerator("H100"), **wrong)  # type: ignore[arg-type]
