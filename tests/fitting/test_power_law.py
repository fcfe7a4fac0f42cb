"""Straight lines in log-log: against statsmodels, against planted exponents, and on bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling.errors import FitError, UsageError
from scaling.fitting.power_law import fit_line, fit_power_law, power_law_from_line


def noisy_line(seed: int = 0, n: int = 12, sd: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.logspace(18, 22, n)
    return x, 0.3 * x**0.5 * np.exp(sd * rng.standard_normal(n))


def test_exact_line_gives_back_exponent_and_coefficient() -> None:
    x = np.logspace(18, 21, 5)
    fit = fit_power_law(x, 0.3 * x**0.537)
    assert fit.exponent.value == pytest.approx(0.537, abs=1e-12)
    assert fit.coefficient.value == pytest.approx(0.3, rel=1e-9)  # ln C is near 45: 1e-12 of it is 5e-11


@pytest.mark.parametrize("method", ["ols", "wls"])
def test_closed_form_and_statsmodels_agree_to_twelve_digits(method: str) -> None:
    x, y = noisy_line()
    weights = np.linspace(1, 3, len(x)) if method == "wls" else None
    line = fit_line(np.log(x), np.log(y), weights)
    ours = power_law_from_line(line, np.log(x), 0.95)
    theirs = fit_power_law(x, y, method=method, weights=weights)  # type: ignore[arg-type]
    for name in ("exponent", "coefficient"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.value == pytest.approx(b.value, rel=1e-10)
        assert a.standard_error == pytest.approx(b.standard_error, rel=1e-10)
        assert a.interval.low == pytest.approx(b.interval.low, rel=1e-10)


@pytest.mark.parametrize("kind", ["confidence", "prediction"])
def test_bands_are_those_of_statsmodels_get_prediction(kind: str) -> None:
    from statsmodels.regression.linear_model import OLS

    x, y = noisy_line(3)
    design = np.column_stack([np.ones_like(x), np.log(x)])
    frame = OLS(np.log(y), design).fit().get_prediction([[1.0, math.log(1e24)]])
    expected = frame.conf_int(obs=kind == "prediction", alpha=0.05)[0]
    low, high = fit_power_law(x, y).band(1e24, kind)  # type: ignore[arg-type]
    assert np.log([low, high]) == pytest.approx(expected, rel=1e-9)


def test_robust_line_ignores_one_wild_point_that_moves_ols() -> None:
    x, y = noisy_line(1, sd=0.01)
    y[-1] *= 5
    robust, plain = fit_power_law(x, y, method="huber"), fit_power_law(x, y)
    assert robust.exponent.value == pytest.approx(0.5, abs=0.01)  # 1 % noise over four decades
    assert plain.exponent.value > 0.55


@pytest.mark.filterwarnings("error")
def test_robust_line_through_most_points_exactly_says_nothing_on_the_way() -> None:
    x = np.logspace(18, 21, 9)
    y = x**0.5
    y[4] *= 2
    assert fit_power_law(x, y, method="huber").predict(1e21) == pytest.approx(10**10.5, rel=1e-6)


def test_robust_line_through_exact_points_is_exact() -> None:
    x = np.logspace(18, 21, 6)
    assert fit_power_law(x, 2 * x**0.5, method="huber").exponent.value == pytest.approx(0.5, abs=1e-9)


def test_intervals_of_the_exponent_cover_at_their_level() -> None:
    hits = sum(
        fit.exponent.interval.contains(0.5)
        for fit in (
            power_law_from_line(fit_line(np.log(x), np.log(y)), np.log(x), 0.95)
            for x, y in (noisy_line(seed, n=6) for seed in range(2000))
        )
    )
    assert 0.935 < hits / 2000 < 0.965  # 3 standard errors of a proportion of .95 in 2000


def test_two_points_give_a_line_and_an_interval_without_ends() -> None:
    fit = fit_power_law([1e18, 1e20], [1e9, 1e10])
    assert fit.exponent.value == pytest.approx(0.5)
    assert fit.exponent.interval is not None
    assert (fit.exponent.interval.low, fit.exponent.interval.high) == (-math.inf, math.inf)
    assert fit.exponent.standard_error is None
    assert fit.estimate(1e24).interval.high == math.inf  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1e18], [1e9], "needs 2 distinct values of x, got 1"),
        ([], [], "needs 2 distinct values of x, got 0"),
        ([1e18, 1e18], [1e9, 2e9], r"got 1 \(2 points\)"),
        ([1e18, -1.0], [1e9, 2e9], r"x\[1\] is -1"),
        ([1e18, 1e19], [1e9, float("nan")], r"y\[1\] is nan"),
        ([1e18, 1e19], [1e9], "as many y as x"),
        ([1e18, 1.000001e18], [1e9, 2e9], "do not set an exponent"),
    ],
)
def test_bad_points_are_refused_by_place(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(FitError, match=message):
        fit_power_law(x, y)


def test_unknown_method_weights_and_level_are_usage_errors() -> None:
    x, y = noisy_line()
    with pytest.raises(UsageError, match="ols, wls, huber"):
        fit_power_law(x, y, method="ransac")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="weights go with"):
        fit_power_law(x, y, weights=np.ones_like(x))
    with pytest.raises(UsageError, match="between 0 and 1"):
        fit_power_law(x, y, level=95)
    with pytest.raises(UsageError, match="confidence"):
        fit_power_law(x, y).band(1e20, "both")  # type: ignore[arg-type]
