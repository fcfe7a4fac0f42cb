"""The bootstrap, and what a law carries of its fit."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from scaling.errors import FitError, UsageError
from scaling.fitting.prediction import predict_runs
from scaling.fitting.surface.fit import bootstrap, fit_parametric, law_uncertainty, with_uncertainty
from scaling.fitting.surface.problem import Penalty
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.laws.io import load_law
from scaling.planning import Budget, plan_training
from scaling.reference.example import write_example_runs
from scaling.runs import Runs, load_runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)


def noisy_runs(n_sizes=7, n_tokens=8, noise=0.005, seed=1, **columns):
    N, D = (
        g.ravel() for g in np.meshgrid(np.geomspace(2e7, 3e9, n_sizes), np.geomspace(1e9, 1e11, n_tokens))
    )
    loss = LAW.loss(N, D) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(N)))
    return Runs.from_arrays(n_params=N, n_tokens=D, loss=loss, **columns)


@pytest.fixture(scope="module")
def runs():
    return noisy_runs()


@pytest.fixture(scope="module")
def fit(runs):
    return fit_parametric(runs)


def test_bootstrap_agrees_with_refitting_each_resample(runs, fit):
    boot = bootstrap(fit, runs, n=3, seed=5)
    random = np.random.default_rng(5)
    draws = random.integers(0, len(runs), size=(3, len(runs)))
    delta = fit.objective.delta
    for i, rows in enumerate(draws):
        direct = fit_parametric(runs.select(rows), huber_delta=delta, intervals=False)
        assert boot.coefficients["alpha"][i] == pytest.approx(direct.law.alpha, rel=1e-4)
        assert boot.coefficients["E"][i] == pytest.approx(direct.coefficients["E"], rel=1e-4)


def test_bootstrap_is_reproducible_and_close_to_the_profile(runs, fit):
    first, again = bootstrap(fit, runs, n=500, seed=2), bootstrap(fit, runs, n=500, seed=2)
    assert np.array_equal(first.coefficients["beta"], again.coefficients["beta"])
    assert first.n == 500
    profile = fit.interval("params_exponent", method="profile")
    percentile = first.interval("params_exponent")
    # same noise model, 500 resamples: widths agree within a third
    assert percentile.half_width == pytest.approx(profile.half_width, rel=0.33)
    assert percentile.method == "pairs bootstrap of runs, percentile"


def test_bootstrap_draws_whole_trunks():
    names = [f"t{i % 9}" for i in range(56)]
    runs = noisy_runs(trunk_id=names)
    boot = bootstrap(fit_parametric(runs), runs, n=50)
    assert boot.kind == "pairs bootstrap of trunks"


def test_bootstrap_refuses_other_runs_and_wrong_numbers(runs, fit):
    with pytest.raises(UsageError, match="runs the fit was made from"):
        bootstrap(fit, noisy_runs(seed=9))
    with pytest.raises(UsageError, match="at least 2 resamples"):
        bootstrap(fit, runs, n=0)
    with pytest.raises(UsageError, match="unknown cluster"):
        bootstrap(fit, runs, cluster="day")
    with pytest.raises(UsageError, match="names no trunks"):
        bootstrap(fit, runs, cluster="trunk")


def test_law_carries_a_band_that_holds_the_planted_optimum(fit):
    uncertainty = law_uncertainty(fit)
    band = uncertainty.band
    assert (band.log10_flops[0], band.log10_flops[-1]) == (15, 30)
    for i, log10_flops in enumerate(band.log10_flops):
        planted = LAW.allocate(10**log10_flops)
        assert band.n_params_low[i] < planted.n_params < band.n_params_high[i]
        assert band.loss_low[i] < planted.loss < band.loss_high[i]
    assert len(uncertainty.draws) == 400
    assert 0.003 < uncertainty.residual_sd < 0.008  # planted 0.005, 56 runs


def test_draws_spread_like_the_main_interval(fit):
    draws = np.array(law_uncertainty(fit).draws)
    exponent = draws[:, 4] / (draws[:, 3] + draws[:, 4])
    low, high = np.percentile(exponent, [2.5, 97.5])
    assert (high - low) / 2 == pytest.approx(fit.params_exponent.interval.half_width, rel=0.35)  # 400 draws


def test_draws_follow_the_jackknife_where_budgets_differ():
    budgets = np.repeat([1e18, 3e18, 1e19, 3e19, 1e20, 3e20], 9)
    tokens = np.sqrt(budgets / 6 * 20) * np.tile(np.geomspace(0.2, 5, 9), 6)
    sizes = budgets / (6 * tokens)
    random = np.random.default_rng(3)
    shared = np.repeat(random.standard_normal(6), 9) * 0.01
    loss = LAW.loss(sizes, tokens) * np.exp(shared + 0.003 * random.standard_normal(54))
    fit = fit_parametric(Runs.from_arrays(n_params=sizes, n_tokens=tokens, loss=loss, budget=budgets))
    assert fit.interval_method == "jackknife by budget"
    uncertainty = law_uncertainty(fit)
    assert uncertainty.draws_method == "t draws, jackknife by budget"
    draws = np.array(uncertainty.draws)
    assert (draws > 0).all(axis=0)[1:].all()
    exponent = draws[:, 4] / (draws[:, 3] + draws[:, 4])
    low, high = np.percentile(exponent, [2.5, 97.5])
    assert (high - low) / 2 == pytest.approx(fit.params_exponent.interval.half_width, rel=0.35)  # 400 draws


def test_fit_json_brings_its_uncertainty_to_a_plan(fit, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fit.to_dict()))
    law = load_law(str(path))
    assert law.coefficients == pytest.approx(fit.coefficients)
    assert law.uncertainty.method == fit.interval_method
    assert len(law.uncertainty.draws) == 400


def test_python_plans_and_predicts_with_the_intervals_that_the_command_line_has(tmp_path):
    """The command writes fit.json and reads it; Python takes the fit as it is."""
    write_example_runs(tmp_path / "runs.csv")
    command = [sys.executable, "-m", "scaling"]
    run = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    run([*command, "fit", "runs.csv", "-o", "fit.json"])
    told = json.loads(run([*command, "plan", "--flops", "1e22", "--law", "fit.json", "--json"]).stdout)
    predicted = json.loads(run([*command, "predict", "fit.json", "runs.csv", "--json"]).stdout)
    runs = load_runs(tmp_path / "runs.csv")
    fit = fit_parametric(runs)
    plan = plan_training(Budget(flops=1e22), law=fit).to_dict()
    for quantity in ("n_params", "n_tokens", "loss"):
        assert plan["intervals"][quantity] == pytest.approx(told["intervals"][quantity])
    ours = predict_runs(fit, runs)
    assert ours.prediction is not None
    wanted = predicted["runs"][0]["prediction_interval"]
    assert ours.prediction[0] == pytest.approx([wanted["low"], wanted["high"]])


def test_noise_free_fit_has_no_uncertainty_to_give():
    N, D = (g.ravel() for g in np.meshgrid(np.geomspace(2e7, 3e9, 5), np.geomspace(1e9, 1e11, 5)))
    fit = fit_parametric(Runs.from_arrays(n_params=N, n_tokens=D, loss=LAW.loss(N, D)))
    assert with_uncertainty(fit) is fit
    with pytest.raises(FitError, match="no intervals"):
        law_uncertainty(fit)


def test_penalty_of_the_bootstrap_is_the_fits_own(fit):
    assert fit.optimum.penalty == Penalty(delta=fit.objective.delta)


@pytest.mark.parametrize(("factor", "severity"), [(2.0, "warning"), (1.06, "note")])
def test_a_run_that_widens_the_interval_or_is_grossly_off_is_a_warning(factor: float, severity: str) -> None:
    """The exponent alone does not tell: Huber holds it, and the interval doubles."""
    runs = noisy_runs(noise=0.003, seed=3)
    middle = len(runs) // 2
    loss = runs.loss.copy()
    loss[middle] *= factor
    fit = fit_parametric(replace(runs, loss=loss))
    (found,) = [f for f in fit.findings if f.code == "far-off-runs"]
    assert found.severity == severity
    assert fit.influence is not None
    assert fit.influence.far_off[0].row == middle + 1
    assert fit.influence.far_off[-1].params_exponent_error <= 1.02 * fit.influence.params_exponent_error


def test_a_small_table_says_what_its_main_interval_cannot_see():
    budget, spread = np.repeat([1e18, 5e18, 2.5e19, 1e20], 5), np.tile(np.geomspace(0.3, 3, 5), 4)
    N = 0.1 * np.sqrt(budget) * spread
    loss = LAW.loss(N, budget / (6 * N)) * np.exp(0.005 * np.random.default_rng(1).standard_normal(20))
    fit = fit_parametric(Runs.from_arrays(n_params=N, n_tokens=budget / (6 * N), loss=loss, budget=budget))
    assert fit.spread.main == "profile"
    few = next(f for f in fit.findings if f.code == "few-runs")
    assert "share some of their noise" in few.message
    assert "jackknife beside it" in few.message
