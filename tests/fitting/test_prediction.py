"""What a table of predictions calls its runs, and when it says that a law is not theirs."""

from __future__ import annotations

from scipy import stats

from scaling.fitting.prediction import _chance_of_at_most, short_names


def test_long_names_stay_apart_and_within_their_width() -> None:
    names = [f"width2048_depth{d}_batch512_lr{lr}_seed0" for d in (16, 24) for lr in ("3e-4", "1e-3")]
    shown = short_names(names, 21)
    assert len(set(shown)) == len(names)
    assert max(map(len, shown)) <= 21
    assert "depth16" in shown[0]
    assert "3e-4" in shown[0]


def test_names_that_differ_where_they_are_cut_are_numbered() -> None:
    names = [f"{'a' * 20}{i}{'b' * 20}" for i in range(3)]
    shown = short_names(names, 21)
    assert len(set(shown)) == 3
    assert max(map(len, shown)) <= 21


def test_short_names_are_left_alone() -> None:
    assert short_names(["run_1", "run_2"], 21) == ["run_1", "run_2"]


def test_chance_of_so_few_inside_is_the_binomial_distribution() -> None:
    for k, n, p in ((0, 5, 0.95), (40, 50, 0.95), (3, 3, 0.8)):
        assert abs(_chance_of_at_most(k, n, p) - stats.binom.cdf(k, n, p)) < 1e-12
