"""Which sharing fits, the least count, and the largest model of a memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.planning.memory import largest_params, least_devices, plan_memory
from scaling.planning.shape import choose_architecture

H100 = 80e9


def test_small_model_needs_no_sharding() -> None:
    a = choose_architecture(1e9).architecture
    plan = plan_memory(a, H100, 8, least_devices(a, 1e9, H100))
    assert plan.rows[0].fits
    assert plan.hint.startswith("DDP")
    assert plan.least_n_devices == 1


def test_seventy_billion_needs_all_of_it() -> None:
    shape = choose_architecture(70e9)
    least = least_devices(shape.architecture, 70e9, H100)
    assert least is not None
    assert least.n_devices >= 16 * 70e9 / H100  # 16 bytes a parameter in all
    plan = plan_memory(shape.architecture, H100, 512, least)
    assert [row.fits for row in plan.rows] == [False, False, False, True]
    assert "FSDP" in plan.hint


def test_too_few_devices_name_the_number_that_is_enough() -> None:
    shape = choose_architecture(70e9)
    least = least_devices(shape.architecture, 70e9, H100)
    plan = plan_memory(shape.architecture, H100, 2, least)
    assert not any(row.fits for row in plan.rows)
    assert least is not None
    assert plan.hint.startswith(f"does not fit on 2: at least {least.n_devices}")


def test_one_less_than_the_least_count_does_not_fit() -> None:
    shape = choose_architecture(13e9)
    least = least_devices(shape.architecture, 13e9, H100)
    assert least is not None
    fewer = plan_memory(shape.architecture, H100, least.n_devices // 2, least)
    assert not any(row.fits for row in fewer.rows)


@settings(max_examples=30, deadline=None)
@given(log10_n=st.floats(6, 12), log2_devices=st.integers(0, 12))
def test_all_devices_together_hold_at_least_the_model(log10_n: float, log2_devices: int) -> None:
    shape = choose_architecture(10**log10_n)
    n_devices = 2**log2_devices
    plan = plan_memory(shape.architecture, H100, n_devices, None)
    states = 16 * shape.n_params_total
    totals = [row.memory.total_bytes for row in plan.rows]
    assert all(n_devices * total >= states for total in totals)
    optimizer = [row.memory.model_states_bytes for row in plan.rows[:4]]
    assert optimizer == sorted(optimizer, reverse=True)  # each strategy shards more than the one before


def test_largest_model_of_a_memory_fits_and_a_larger_one_does_not() -> None:
    n = largest_params(24e9, 1, 2048)
    assert 8e8 < n < 24e9 / 16
    fits = choose_architecture(0.98 * n).architecture
    assert any(row.fits for row in plan_memory(fits, 24e9, 1, None).rows)
    assert largest_params(24e9, 8, 2048) > 4 * n
    assert largest_params(1e6, 1, 2048) == 0.0


def test_unknown_memory_is_said_so() -> None:
    a = choose_architecture(1e9).architecture
    plan = plan_memory(a, None, 8, None)
    assert {row.fits for row in plan.rows} == {None}
    assert "not known" in plan.hint


def test_lines_are_separate() -> None:
    row = plan_memory(choose_architecture(7e9).architecture, H100, 8, None).rows[3]
    memory = row.memory
    for line in ("weights", "gradients", "optimizer", "activations", "logits", "communication"):
        assert getattr(memory, f"{line}_bytes") > 0
    assert memory.total_bytes == pytest.approx(
        sum(v for k, v in memory.to_dict().items() if k != "total_bytes")
    )
