"""Is the noise of a fitted law equal? Against a regression by hand and planted noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import scaling
from scaling.fitting.diagnose import ResidualDiagnostics, diagnose_fit, equal_noise_test
from scaling.fitting.line_diagnostics import UNEQUAL
from scaling.fitting.power_law import fit_power_law
from scaling.laws import ChinchillaLaw
from scaling.reference.example import example_runs
from scaling.render.terminal import render_terminal
from scaling.runs import Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)


def planted(power: float, sd: float = 0.004, seed: int = 0) -> Runs:
    """120 runs over four decades of compute whose noise grows as C^power, `sd` at 1e20 FLOPs."""
    rng = np.random.default_rng(seed)
    flops = np.repeat(np.logspace(18, 22, 12), 10)
    n_params = np.sqrt(flops / 120) * np.tile(np.geomspace(0.25, 4, 10), 12)
    n_tokens = flops / 6 / n_params
    noise = sd * (flops / 1e20) ** power * rng.standard_normal(len(flops))
    return Runs.from_arrays(
        n_params=n_params, n_tokens=n_tokens, loss=LAW.loss(n_params, n_tokens) * np.exp(noise)
    )


def diagnosed(runs: Runs, **options: object) -> ResidualDiagnostics:
    found = diagnose_fit(scaling.fit_parametric(runs, **options), runs)
    assert isinstance(found, ResidualDiagnostics)
    return found


def test_equal_noise_test_is_the_regression_of_squared_residuals():
    rng = np.random.default_rng(1)
    terms, residual = rng.standard_normal((50, 2)), rng.standard_normal(50)
    design = np.column_stack([np.ones(50), terms])
    square = residual**2
    rest = square - design @ np.linalg.lstsq(design, square, rcond=None)[0]
    total, left = float(np.sum((square - square.mean()) ** 2)), float(rest @ rest)
    found = equal_noise_test(residual, terms)
    assert found is not None
    assert found.f == pytest.approx((total - left) / 2 / (left / 47), rel=1e-10)
    assert (found.dof_numerator, found.dof_denominator) == (2, 47)
    from scipy import stats

    assert found.p_value == pytest.approx(stats.f.sf(found.f, 2, 47), rel=1e-10)


def test_equal_noise_test_without_degrees_of_freedom_is_none():
    assert equal_noise_test(np.array([0.1, -0.1, 0.2]), np.ones((3, 2))) is None


def test_equal_noise_is_not_called_unequal():
    found = diagnosed(planted(0.0, seed=1))
    assert found.is_equal
    assert found.scatter is not None
    assert found.scatter.exponent.interval.contains(0.0)
    assert "Nothing speaks against equal noise." in render_terminal(found.summary())


def test_planted_growth_of_the_noise_is_found():
    found = diagnosed(planted(0.25))
    assert not found.is_equal
    assert found.scatter is not None
    assert found.scatter.exponent.interval.contains(0.25)
    assert not found.scatter.exponent.interval.contains(0.0)
    assert "The noise is not equal" in render_terminal(found.summary())


def test_noise_that_shrinks_with_compute_is_unequal_where_its_scatter_alone_says_so():
    found = diagnosed(planted(0.0, seed=1))
    assert found.scatter is not None
    shrinks = replace(
        found, scatter=fit_power_law(np.logspace(18, 22, 60), np.logspace(-2, -3, 60) * wobble(60))
    )
    assert found.equal_noise.p_value > UNEQUAL
    assert shrinks.scatter.exponent.interval.high < 0
    assert not shrinks.is_equal
    assert "The noise is not equal" in render_terminal(shrinks.summary())


def test_noise_is_unequal_below_the_threshold_of_the_lines():
    found = replace(diagnosed(planted(0.0, seed=1)), scatter=None)
    at = lambda p: replace(found, equal_noise=replace(found.equal_noise, p_value=p))  # noqa: E731
    assert not at(0.015).is_equal
    assert at(0.06).is_equal


def wobble(n: int) -> np.ndarray:
    return np.exp(np.random.default_rng(3).standard_normal(n))


def test_other_objective_and_single_runs_are_those_of_the_fit():
    runs = example_runs()
    fit = scaling.fit_parametric(runs)
    found = diagnose_fit(fit, runs)
    squares = scaling.fit_parametric(runs, objective="log_least_squares")
    assert found.other.params_exponent == pytest.approx(squares.params_exponent.value, rel=1e-6)
    one = found.influential
    without = runs.select(runs.row != one.row)
    refitted = scaling.fit_parametric(without, huber_delta=fit.objective.delta)
    assert fit.params_exponent.value + one.params_exponent_shift == pytest.approx(
        refitted.params_exponent.value, abs=1e-4
    )
    text = render_terminal(found.summary())
    assert f"a = {found.other.params_exponent:.4f} by least squares of log loss" in text
    assert f"run {one.run_id} (row {one.row}) moves a most: {refitted.params_exponent.value:.3f}" in text


def test_verdict_names_an_objective_and_a_run_that_move_the_exponent_out_of_its_interval():
    found = diagnosed(example_runs())
    a = found.params_exponent
    beyond = a.interval.high - a.value + 0.01
    moved = replace(found, influential=replace(found.influential, params_exponent_shift=beyond))
    assert "holds" in render_terminal(found.summary())
    assert "Without run" in render_terminal(moved.summary())
    other = replace(found.other, coefficients={**found.other.coefficients, "beta": 3.0})
    assert "Under another objective" in render_terminal(replace(found, other=other).summary())


def test_runs_without_noise_have_nothing_to_look_at():
    found = diagnosed(planted(0.0, sd=0.0))
    assert found.equal_noise is None
    assert "no noise to look at" in render_terminal(found.summary())


def test_another_law_says_what_it_does_not_know():
    runs = example_runs()
    found = diagnose_fit(scaling.fit_law(runs, "kaplan"), runs)
    assert (found.kappa, found.other, found.influential) == (None, None, None)
    assert "measured for a Chinchilla law" in render_terminal(found.summary())


def test_runs_that_the_fit_left_out_are_left_out_here():
    runs = example_runs()
    fit = replace(scaling.fit_parametric(runs), excluded=tuple(runs.run_id[:3]))
    assert diagnose_fit(fit, runs).n_runs == len(runs) - 3
