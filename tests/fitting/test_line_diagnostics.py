"""Robust lines, HC errors and influence: against printed numbers, formulas by hand and statsmodels itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import scaling
from scaling.errors import FitError, UsageError
from scaling.fitting.envelope.fit import EnvelopeFit, fit_envelope
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.fitting.line_diagnostics import (
    UNEQUAL,
    chance_of_ratio,
    diagnose_line,
    diagnose_lines,
    measure_line_influence,
)
from scaling.fitting.power_law import fit_power_law
from scaling.laws import ChinchillaLaw
from scaling.render.terminal import render_terminal
from scaling.runs import Runs

ROOT = Path(__file__).resolve().parents[2]
TRAINED = ("sweeps/quickstart/runs.csv", "sweeps/cpu-stdlib/runs.csv")  # runs that were trained here
PUBLIC = ("epoch_chinchilla", "mlscalefit_chinchilla", "llama3_isoflop")

# Anscombe 1973, The American Statistician 27, 17-21, the third data set: all points but (13, 12.74) lie on a line.
ANSCOMBE_X = np.array([10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5], dtype=float)
ANSCOMBE_Y = np.array([7.46, 6.77, 12.74, 7.11, 7.81, 8.84, 6.08, 5.39, 8.15, 6.42, 5.73])
X, Y = np.exp(ANSCOMBE_X), np.exp(ANSCOMBE_Y)  # a power law is his line in logs


def noisy_curves(seed: int = 0) -> Runs:
    """Training curves of twelve sizes with noise that a run keeps, for Approach 1."""
    law = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
    sizes = np.logspace(7.5, 10, 12)
    tokens = 300 * sizes[:, None] * np.logspace(-2.7, 0, 120)
    n_params = np.broadcast_to(sizes[:, None], tokens.shape).ravel()
    noise = np.repeat(0.003 * np.random.default_rng(seed).standard_normal(12), 120)
    loss = law.loss(n_params, tokens.ravel()) * np.exp(noise)
    names = np.repeat([f"size-{i}" for i in range(12)], 120)
    return Runs.from_arrays(n_params=n_params, n_tokens=tokens.ravel(), loss=loss, run_id=names)


def check_lines_are_those_of_fit_power_law(fit: IsoflopFit | EnvelopeFit) -> None:
    flops, n_params = (np.array(v) for v in zip(*fit.own_optima, strict=True))
    for line, y in ((fit.params_line, n_params), (fit.tokens_line, np.array(fit.own_tokens))):
        theirs = fit_power_law(flops, y)
        assert line.exponent.value == pytest.approx(theirs.exponent.value, rel=1e-12)
        assert line.line.intercept == pytest.approx(theirs.line.intercept, rel=1e-12)
        assert line.exponent.standard_error == pytest.approx(theirs.exponent.standard_error, rel=1e-11)
        assert line.line.intercept_variance == pytest.approx(theirs.line.intercept_variance, rel=1e-11)
        at = flops[-1] * np.array([1.0, 10.0, 1000.0])
        for kind in ("confidence", "prediction"):
            ours_ends, their_ends = line.band(at, kind), theirs.band(at, kind)  # type: ignore[arg-type]
            assert np.log(ours_ends) == pytest.approx(np.log(their_ends), rel=1e-12)


@pytest.mark.parametrize("table", TRAINED)
@pytest.mark.parametrize("valley", ["parabola", "quartic"])
def test_lines_of_approach_2_are_those_of_statsmodels(table, valley):
    check_lines_are_those_of_fit_power_law(
        scaling.fit_isoflop(scaling.load_runs(ROOT / table), valley=valley)
    )


@pytest.mark.parametrize("table", PUBLIC)
def test_lines_of_approach_2_through_public_runs_are_those_of_statsmodels(table, shared_runs):
    runs = scaling.load_runs(shared_runs / f"{table}.csv")
    check_lines_are_those_of_fit_power_law(scaling.fit_isoflop(runs))


def test_lines_of_approach_1_are_those_of_statsmodels():
    check_lines_are_those_of_fit_power_law(fit_envelope(noisy_curves()))


def test_plain_line_is_the_one_that_anscombe_printed():
    fit = fit_power_law(X, Y)
    assert fit.exponent.value == pytest.approx(0.500, abs=5e-4)
    assert fit.line.intercept == pytest.approx(3.0, abs=5e-3)
    assert fit.exponent.standard_error == pytest.approx(0.118, abs=5e-4)


def test_robust_line_is_the_one_that_anscombe_gives_for_all_but_one_point():
    robust = fit_power_law(X, Y, method="huber")
    assert robust.exponent.value == pytest.approx(0.346, abs=5e-3)  # y = 4 + 0.346 x
    assert robust.line.intercept == pytest.approx(4, abs=0.05)


def test_point_off_anscombes_line_has_the_influence_that_r_prints():
    points = measure_line_influence(X, Y)
    off = max(points, key=lambda p: abs(p.residual))
    assert math.log(off.x) == pytest.approx(13)
    assert off.cooks_distance == pytest.approx(1.3928, abs=5e-5)  # cooks.distance(lm(y3 ~ x3))[3]
    assert off.leverage == pytest.approx(1 / 11 + 16 / 110)
    assert off.exponent_without == pytest.approx(0.345, abs=5e-4)


def test_influence_is_what_leaving_each_point_out_changes():
    rng = np.random.default_rng(3)
    x = np.logspace(18, 22, 7)
    y = x**0.5 * np.exp(0.1 * rng.standard_normal(7))
    ln_x, ln_y = np.log(x), np.log(y)
    slope, intercept = np.polyfit(ln_x, ln_y, 1)
    fitted = slope * ln_x + intercept
    s2 = float(np.sum((ln_y - fitted) ** 2)) / 5
    for i, point in enumerate(measure_line_influence(x, y)):
        keep = np.arange(7) != i
        without, level = np.polyfit(ln_x[keep], ln_y[keep], 1)
        rest = without * ln_x + level
        own_s2 = float(np.sum((ln_y - rest)[keep] ** 2)) / 4
        error = math.sqrt(own_s2 / float(np.sum((ln_x - ln_x.mean()) ** 2)))
        assert point.exponent_without == pytest.approx(without, rel=1e-9)
        assert point.residual == pytest.approx(ln_y[i] - fitted[i], abs=1e-10)
        assert point.cooks_distance == pytest.approx(float(np.sum((fitted - rest) ** 2)) / (2 * s2), rel=1e-7)
        assert point.dfbetas == pytest.approx((slope - without) / error, rel=1e-7)


@pytest.mark.parametrize(("kind", "power"), [("HC0", 0), ("HC2", 1), ("HC3", 2)])
def test_heteroscedasticity_consistent_errors_follow_their_formula(kind, power):
    design = np.column_stack([np.ones_like(ANSCOMBE_X), ANSCOMBE_X])
    inverse = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ni,ij,nj->n", design, inverse, design)
    residual = ANSCOMBE_Y - design @ inverse @ design.T @ ANSCOMBE_Y
    meat = design.T @ (design * (residual**2 / (1 - leverage) ** power)[:, None])
    covariance = inverse @ meat @ inverse
    fit = fit_power_law(X, Y, covariance=kind)
    assert fit.exponent.standard_error == pytest.approx(math.sqrt(covariance[1, 1]), rel=1e-10)
    assert fit.line.intercept_variance == pytest.approx(covariance[0, 0], rel=1e-10)
    row = np.array([1.0, 20.0])
    assert float(fit.line.standard_error_at(20.0)) == pytest.approx(
        math.sqrt(row @ covariance @ row), rel=1e-10
    )
    assert fit.exponent.value == fit_power_law(X, Y).exponent.value
    assert fit.interval_method == f"{kind}, t, 9 degrees of freedom"


def test_hc3_band_is_that_of_statsmodels_with_robust_covariance():
    from statsmodels.regression.linear_model import OLS

    theirs = OLS(ANSCOMBE_Y, np.column_stack([np.ones_like(ANSCOMBE_X), ANSCOMBE_X])).fit(
        cov_type="HC3", use_t=True
    )
    expected = theirs.get_prediction([[1.0, 20.0]]).conf_int(alpha=0.1)[0]
    band = fit_power_law(X, Y, covariance="HC3", level=0.9).band(math.exp(20.0))
    assert np.log(band) == pytest.approx(expected, rel=1e-10)


def test_hc_errors_are_refused_where_one_point_sets_the_slope():
    with pytest.raises(FitError, match=r"without the point at x = 1e\+20"):
        fit_power_law([1e18, 1e18, 1e18, 1e20], [1e9, 1.1e9, 1.2e9, 1e10], covariance="HC3")
    assert fit_power_law([1e18, 1e18, 1e18, 1e20], [1e9, 1.1e9, 1.2e9, 1e10], covariance="classical")


def test_covariances_are_named_and_a_robust_line_takes_none():
    with pytest.raises(UsageError, match="classical, HC0, HC1, HC2, HC3; got 'HC4'"):
        fit_power_law(X, Y, covariance="HC4")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="errors of its own"):
        fit_power_law(X, Y, method="huber", covariance="HC3")


def test_influence_takes_four_points():
    with pytest.raises(FitError, match="takes 4 points, got 3"):
        measure_line_influence([1e18, 1e19, 1e20], [1e9, 3e9, 1.1e10])


def test_others_on_a_line_make_a_point_infinitely_influential():
    x = np.logspace(18, 21, 4)
    off = measure_line_influence(x, x**0.5 * np.array([1, 1, 1, 2.0]))[-1]
    assert off.exponent_without == pytest.approx(0.5)
    assert abs(off.dfbetas) > 1e6


def test_chance_is_the_share_of_lines_with_equal_noise():
    x = np.linspace(0, 1, 6)
    rng = np.random.default_rng(5)
    ratios = []
    for _ in range(300):
        y = np.exp(rng.standard_normal(6))
        errors = [
            fit_power_law(np.exp(x), y, covariance=c).exponent.standard_error for c in ("HC3", "classical")
        ]
        ratios.append(errors[0] / errors[1])
    middle = float(np.quantile(ratios, 0.7))
    assert chance_of_ratio(x, middle) == pytest.approx(0.3, abs=0.08)  # 3 errors of a share of .3 in 300
    assert chance_of_ratio(x + 40, middle) == pytest.approx(chance_of_ratio(7 * x, middle), abs=1e-12)


def test_growing_noise_is_told_from_equal_noise():
    x = np.logspace(18, 22, 12)
    away = np.abs(np.log(x / 1e20)) / 4  # the ends scatter most: a plain error is then too small

    def share_called_unequal(scale):
        noise = np.random.default_rng(0).standard_normal((20, 12)) * scale
        return np.mean([diagnose_line(x, x**0.5 * np.exp(0.02 * row)).hc3_chance < UNEQUAL for row in noise])

    assert share_called_unequal(1.0) <= 0.2  # 3 errors above .05 in 20
    assert share_called_unequal(away**3) > 0.5


def test_robust_line_far_from_the_plain_one_is_said_to_be():
    x = np.logspace(18, 22, 12)
    y = x**0.5 * np.exp(0.01 * np.random.default_rng(1).standard_normal(12))
    y[-1] *= 1.5
    line = diagnose_line(x, y)
    assert abs(line.robust.exponent.value - 0.5) < abs(line.plain.exponent.value - 0.5)
    assert line.robust_shift == pytest.approx(
        (line.robust.exponent.value - line.plain.exponent.value) / line.plain.exponent.standard_error
    )
    assert line.most_influential.x == pytest.approx(1e22)
    assert abs(line.most_influential.dfbetas) > line.influence_limit == pytest.approx(2 / math.sqrt(12))


def test_fit_of_budgets_is_diagnosed_by_the_budget_that_moves_it_most():
    fit = scaling.fit_isoflop(scaling.load_runs(ROOT / TRAINED[0]))
    found = diagnose_lines(fit)
    assert [line.quantity for line in found.lines] == ["n_params", "n_tokens"]
    plain = found.lines[0].plain
    assert plain.exponent.value == pytest.approx(fit.params_exponent.value, rel=1e-12)
    one = found.lines[0].most_influential
    kept = [(c, n) for c, n in fit.own_optima if c != one.x]
    without = np.polyfit(*np.log(np.array(kept).T), 1)[0]
    assert one.exponent_without == pytest.approx(without, rel=1e-9)
    assert all(
        abs(p.exponent_without - plain.exponent.value) <= abs(without - plain.exponent.value) + 1e-12
        for p in found.lines[0].points
    )
    text = render_terminal(found.summary())
    assert f"{without:.4f} without it" in text


def test_crossings_of_curves_are_named_as_such():
    found = diagnose_lines(fit_envelope(noisy_curves()))
    assert found.place == "crossing"
    assert "the crossing at" in render_terminal(found.summary())


def test_three_budgets_are_refused_with_what_to_add():
    runs = scaling.load_runs(ROOT / "scaling/reference/example_runs.csv")
    few = runs.select(runs.flops < 2e19)
    found = diagnose_lines(scaling.fit_isoflop(few))
    assert found.n_points == 3
    assert found.lines == ()
    assert "add budgets or sizes until it has 4" in render_terminal(found.summary())
    assert found.to_dict()["refused"] == found.refused
