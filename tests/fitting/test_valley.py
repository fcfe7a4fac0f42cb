"""One IsoFLOP valley: its minimum, the interval of it, and the refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling.fitting.isoflop.valley import fit_polynomial_valley, fit_surface_valley

X = np.linspace(20.0, 24.0, 9)


def parabola(x: np.ndarray, minimum: float = 22.3) -> np.ndarray:
    return 2.5 + 0.04 * (x - minimum) ** 2


def fit(x: np.ndarray, loss: np.ndarray, degree: int = 2, level: float = 0.95, min_runs: int = 4):
    return fit_polynomial_valley(x, loss, degree=degree, level=level, min_runs=min_runs)


@pytest.mark.parametrize("degree", [2, 4])
def test_exact_parabola_has_its_vertex_and_an_interval_of_no_width(degree: int) -> None:
    valley = fit(X, parabola(X), degree)
    assert valley.refused is None
    assert valley.minimum == pytest.approx(22.3, abs=1e-9)
    assert valley.loss == pytest.approx(2.5, abs=1e-12)
    # rounding of the losses (1e-16) over the square root of the curvature
    assert valley.minimum_high - valley.minimum_low < 1e-5


def test_quartic_finds_the_minimum_of_a_quartic_where_a_parabola_does_not() -> None:
    c = np.array([2.5, 0.0, 0.04, 0.01, 0.001])
    loss = np.polynomial.polynomial.polyval(X - 22.0, c)
    assert fit(X, loss, 4).minimum == pytest.approx(22.0, abs=1e-7)
    assert abs(fit(X, loss, 2).minimum - 22.0) > 0.1


def test_interval_of_the_vertex_covers_at_its_level() -> None:
    rng = np.random.default_rng(7)
    valleys = [fit(X, parabola(X) + 0.01 * rng.standard_normal(len(X))) for _ in range(2000)]
    inside = np.mean([v.minimum_low <= 22.3 <= v.minimum_high for v in valleys])
    at_loss = np.mean([v.loss_low <= 2.5 <= v.loss_high for v in valleys])
    assert 0.935 < inside < 0.965  # Fieller is exact: 3 standard errors of .95 in 2000
    # the minimum of a noisy valley lies below the valley at the true minimum: a little under nominal
    assert 0.92 < at_loss < 0.965


def test_interval_of_the_quartic_covers_at_its_level() -> None:
    rng = np.random.default_rng(11)
    x = np.linspace(20, 24, 25)
    valleys = [fit(x, parabola(x) + 0.01 * rng.standard_normal(len(x)), 4) for _ in range(600)]
    inside = np.mean([v.minimum_low <= 22.3 <= v.minimum_high for v in valleys if v.refused is None])
    assert 0.92 < inside < 0.98  # 3 standard errors of .95 in 600


def test_minimum_beyond_the_sizes_is_refused_with_the_run_that_brackets_it() -> None:
    valley = fit(X, parabola(X, minimum=25.0))
    assert valley.refused is not None
    assert valley.refused.code == "not-bracketed"
    assert "more tokens" in valley.refused.reason
    assert valley.refused.next_x == pytest.approx(26.0)  # the edge 24 mirrored in the vertex 25
    below = fit(X, parabola(X, minimum=19.0)).refused
    assert below is not None
    assert "fewer tokens" in below.reason
    assert below.next_x == pytest.approx(18.0)


def test_proposed_run_lies_at_least_a_doubling_beyond_the_edge() -> None:
    refused = fit(X, parabola(X, minimum=24.01)).refused
    assert refused is not None
    assert refused.next_x == pytest.approx(24.0 + math.log(2))


def test_hill_is_wrong_curvature_and_points_downhill() -> None:
    valley = fit(X, 2.5 - 0.02 * (X - 21.5) ** 2)
    assert valley.refused is not None
    assert valley.refused.code == "wrong-curvature"
    assert valley.refused.next_x is not None
    assert valley.refused.next_x > 24.0
    assert math.isnan(valley.minimum)


def test_noise_without_a_valley_is_flat() -> None:
    rng = np.random.default_rng(5)
    codes = [
        v.refused.code
        for v in (fit(X, 2.5 + 0.01 * rng.standard_normal(len(X))) for _ in range(100))
        if v.refused is not None
    ]
    assert len(codes) > 90  # a one-sided test of the curvature at 5 %
    assert set(codes) == {"flat", "wrong-curvature", "not-bracketed"}


def test_equal_losses_are_flat() -> None:
    refused = fit(X, np.full(len(X), 2.5)).refused
    assert refused is not None
    assert refused.code == "flat"


def test_too_few_runs_and_too_few_sizes_are_told_apart() -> None:
    few = fit(X[:3], parabola(X[:3])).refused
    assert few is not None
    assert (few.code, few.reason) == ("too-few-runs", "3 runs; a parabola valley needs 4")
    twice = np.array([21.0, 21.0, 22.0, 22.0])
    same = fit(twice, parabola(twice)).refused
    assert same is not None
    assert same.code == "too-few-sizes"


def test_without_degrees_of_freedom_the_minimum_stands_and_its_interval_has_no_end() -> None:
    valley = fit(X[::4], parabola(X[::4]), min_runs=3)
    assert valley.refused is None
    assert valley.minimum == pytest.approx(22.3)
    assert (valley.minimum_low, valley.minimum_high) == (-math.inf, math.inf)


def test_shallow_valley_has_an_infinite_end_on_the_open_side() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(20, 22.6, 8)
    ends = [
        (v.minimum_low, v.minimum_high)
        for v in (fit(x, parabola(x, 22.3) + 0.02 * rng.standard_normal(8)) for _ in range(200))
        if v.refused is None
    ]
    assert any(math.isinf(high) and math.isfinite(low) for low, high in ends)


def test_ends_are_within_reach_or_infinite() -> None:
    """A curvature at the edge of its test puts an end at e^1000 tokens: that is no end."""
    rng = np.random.default_rng(4)
    x = np.linspace(20, 22.6, 8)
    valleys = [fit(x, parabola(x, 21.3) + 0.02 * rng.standard_normal(8), level=0.9) for _ in range(3000)]
    finite = [e for v in valleys for e in (v.minimum_low, v.minimum_high) if math.isfinite(e)]
    assert max(abs(e - 21.3) for e in finite) < 51
    assert any(math.isinf(v.minimum_high) for v in valleys)


def test_surface_valley_finds_the_shift_of_its_shape_without_bias() -> None:
    def shape(x: np.ndarray) -> np.ndarray:
        return 1.7 + np.exp(-0.3 * (x - 21)) + 0.4 * np.exp(0.45 * (x - 21))

    best = 21 + math.log(0.3 / 0.18) / 0.75  # where both slopes cancel
    x = np.linspace(19.5, 24, 7)
    valley = fit_surface_valley(x, shape(x - 0.4) + 0.05, shape=shape, start=best, level=0.95, min_runs=3)
    assert valley.minimum == pytest.approx(best + 0.4, abs=1e-8)
    assert valley.loss == pytest.approx(float(shape(np.array(best))) + 0.05, abs=1e-9)


def test_interval_of_the_surface_valley_covers_at_its_level() -> None:
    def shape(x: np.ndarray) -> np.ndarray:
        return 1.7 + np.exp(-0.3 * (x - 21)) + 0.4 * np.exp(0.45 * (x - 21))

    best = 21 + math.log(0.3 / 0.18) / 0.75
    rng = np.random.default_rng(3)
    x = np.linspace(20, 23.5, 7)
    inside = [
        v.minimum_low <= best <= v.minimum_high
        for v in (
            fit_surface_valley(
                x, shape(x) + 0.01 * rng.standard_normal(7), shape=shape, start=best, level=0.95, min_runs=3
            )
            for _ in range(600)
        )
    ]
    assert 0.92 < np.mean(inside) < 0.98  # 3 standard errors of .95 in 600
