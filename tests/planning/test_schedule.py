"""Batch, learning rate and warm-up against the laws they come from."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.planning.shape import choose_schedule, critical_batch, deepseek_law, round_sequences, step_law


def test_deepseek_law_at_their_seven_billion_run() -> None:
    """Their 7B on 2T tokens: lr 4.2e-4 and 2304 sequences of 4096 = 9.4M tokens; the law gives 3.8e-4 and 9.5M."""
    said = deepseek_law(72 * 30 * 4096**2 * 2e12)  # C = M D without the attention term
    assert said.batch_tokens == pytest.approx(9.4e6, rel=0.15)
    assert said.learning_rate == pytest.approx(4.2e-4, rel=0.15)


def test_step_law_by_hand() -> None:
    said = step_law(1e9, 1e11)
    assert said.learning_rate == pytest.approx(
        1.79 * math.exp(-0.713 * math.log(1e9) + 0.307 * math.log(1e11))
    )
    assert said.batch_tokens == pytest.approx(0.58 * 1e11**0.571)
    assert said.inside
    assert not step_law(7e10, 1.4e12).inside


def test_critical_batch_by_hand() -> None:
    """B* L^(-1/0.21) at L = 2.3: 2.1e8 / 52.8 = 4.0M tokens."""
    assert critical_batch(2.3).batch_tokens == pytest.approx(4.0e6, rel=0.02)


@given(st.floats(1, 1e7))
def test_sequences_are_rounded_to_even_splits(sequences: float) -> None:
    rounded = round_sequences(sequences)
    odd = rounded
    while odd % 2 == 0:
        odd //= 2
    assert odd in (1, 3)
    assert abs(math.log(rounded / sequences)) <= math.log(2) / 2


@given(log10_n=st.floats(4, 13), log10_d=st.floats(4, 16), context=st.integers(1, 100_000))
def test_steps_batch_and_warm_up_add_up(log10_n: float, log10_d: float, context: int) -> None:
    n, d = 10**log10_n, 10**log10_d
    schedule = choose_schedule(n, d, 2.0, context_length=context)
    assert schedule.batch_tokens == schedule.batch_sequences * context
    assert (schedule.n_steps - 1) * schedule.batch_tokens < d <= schedule.n_steps * schedule.batch_tokens
    assert 1 <= schedule.warm_up_steps <= max(1, schedule.n_steps)
    assert 0 < schedule.learning_rate < math.inf


def test_every_piece_of_advice_names_its_source_and_range() -> None:
    for advice in choose_schedule(1e9, 2e10, 2.5, context_length=2048).advice:
        assert "arXiv" in advice.source
        assert advice.fitted_on
