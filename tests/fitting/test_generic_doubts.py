"""How sure a fit of any family says it is."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from scaling.cli import cli
from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.general_fit import fit_law
from scaling.fitting.surface.law_fit import LawFit
from scaling.fitting.surface.prediction import predict
from scaling.laws import ChinchillaLaw, KaplanFloorLaw, OverTrainingLaw, find_family
from scaling.laws.base import Law
from scaling.runs import Runs, check_runs

CHINCHILLA = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
OVER_TRAINING = OverTrainingLaw(E=1.7, a=1000.0, b=3000.0, eta=0.18)
N, D = (g.ravel() for g in np.meshgrid(np.logspace(7.5, 10, 8), np.logspace(9, 11.5, 8)))


def runs_on(law: Law, noise: float = 0.005, seed: int = 0, copies: int = 1) -> Runs:
    n, d = np.tile(N, copies), np.tile(D, copies)
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return Runs.from_arrays(n_params=n, n_tokens=d, loss=law.loss(n, d) * scatter)


@pytest.fixture(scope="module")
def fit() -> LawFit:
    return fit_law(runs_on(OVER_TRAINING), "over_training")


def codes(fit: LawFit) -> set[str]:
    return {f.code for f in fit.findings}


def test_a_law_of_the_wrong_form_is_named_and_the_right_one_is_not(fit: LawFit) -> None:
    wrong = fit_law(runs_on(CHINCHILLA), "kaplan")
    assert "lack-of-fit" in codes(wrong)
    assert "reject the law" in wrong.statement
    assert wrong.residuals.standard_deviation > 0.02  # 4 % on noise of 0.5 %
    assert "lack-of-fit" not in codes(fit)
    assert fit.residuals.standard_deviation == pytest.approx(0.005, rel=0.2)  # 60 degrees of freedom


def test_the_lack_of_fit_test_is_sized_right() -> None:
    """p is uniform where the law is true: of 40 tables about four have p under .1, nine would be one chance in 100."""
    p = [
        fit_law(runs_on(OVER_TRAINING, seed=s), "over_training", objective="log_least_squares").lack_of_fit
        for s in range(40)
    ]
    assert 0 < sum(test.p_value < 0.2 for test in p if test) < 17
    assert sum(test.p_value < 0.1 for test in p if test) < 9


def test_few_runs_are_said_to_be_few() -> None:
    runs = runs_on(OVER_TRAINING)
    assert "few-runs" in codes(fit_law(runs.select(np.arange(0, 64, 3)), "over_training"))


def test_positive_coefficients_have_intervals_in_logs() -> None:
    """N_c of Kaplan's law is known to a factor: an end below zero would be no end."""
    fit = fit_law(runs_on(CHINCHILLA), "kaplan")
    for name in ("N_c", "D_c", "alpha_N"):
        e = fit.estimates[name]
        assert e.interval is not None
        assert e.standard_error is not None
        assert 0 < e.interval.low < e.value < e.interval.high
        # a profile bends, but about a half-width each way in logs
        up, down = math.log(e.interval.high / e.value), math.log(e.value / e.interval.low)
        assert 0.5 < up / down < 2
        assert 1.2 < up / (e.standard_error / e.value) < 4


def test_draws_spread_as_the_errors_of_the_loss_say(fit: LawFit) -> None:
    """ln L at a point of the design: draws in search coordinates against the delta method on printed ones."""
    assert fit.law.uncertainty is not None
    draws = np.array(fit.law.uncertainty.draws)
    assert draws.shape == (400, 4)
    family = find_family("over_training")
    x = {"n_params": np.array([1e9]), "n_tokens": np.array([5e10])}
    drawn = np.log(family.predict(draws, x)[:, 0, 0])
    point = Runs.from_arrays(n_params=[1e9], n_tokens=[5e10], loss=[2.5])
    band = predict(fit, point).confidence
    assert band is not None
    error = math.log(band[0, 1] / band[0, 0]) / 2 / 2.0  # t of 60 degrees of freedom
    assert drawn.std() == pytest.approx(error, rel=0.2)  # 400 draws: 3.5 % is one sd


def test_a_written_fit_plans_and_predicts_with_intervals(fit: LawFit, tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fit.to_dict()))
    runs_on(OVER_TRAINING, seed=7).save(tmp_path / "new.csv")

    def call(*words: str) -> dict:
        result = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    plan = call("plan", "--flops", "1e21", "--law", str(path))
    truth = OVER_TRAINING.allocate(1e21)
    interval = plan["intervals"]["n_params"]
    assert interval["low"] < truth.n_params < interval["high"]
    told = call("predict", str(path), str(tmp_path / "new.csv"))
    assert told["summary"]["inside_interval_fraction"] > 0.85


def test_optimum_at_a_budget_has_percentiles_of_the_draws(fit: LawFit) -> None:
    found = fit.estimate("n_params", flops=1e21)
    truth = OVER_TRAINING.allocate(1e21).n_params
    assert found.interval is not None
    assert found.interval.low < truth < found.interval.high
    assert found.interval.high / found.interval.low < 2


def test_noise_free_runs_carry_no_draws_and_no_tests() -> None:
    fit = fit_law(
        runs_on(KaplanFloorLaw(E=1.5, alpha_N=0.3, alpha_D=0.3, N_c=1e8, D_c=1e9), noise=0.0), "kaplan_floor"
    )
    assert fit.law.uncertainty is None
    assert fit.lack_of_fit is None


@pytest.mark.parametrize("general", [True, False])
def test_copies_of_a_row_are_not_replicates(general: bool) -> None:
    """Eight rows given twice and one seed more: the pure error is that of the seed, one degree of freedom."""
    runs = runs_on(CHINCHILLA)
    rows = np.r_[np.arange(64), np.arange(8), 20]
    loss = runs.loss[rows].copy()
    loss[-1] *= 1.01
    table = replace(runs.select(rows), loss=loss, run_id=tuple(map(str, range(len(rows)))))
    residuals = (fit_law(table, "chinchilla") if general else fit_parametric(table)).residuals
    assert residuals.pure_error is not None
    assert residuals.pure_error.dof == 1
    assert residuals.pure_error.standard_deviation == pytest.approx(math.log(1.01) / math.sqrt(2), rel=1e-6)
    told = {f.code: f.message for f in check_runs(table)}
    assert "pure error 0.7 % of the loss, 1 degree of freedom" in told["replicated-cells"]
    copies = runs.select(np.r_[np.arange(64), np.arange(8)])
    assert fit_parametric(copies).residuals.pure_error is None


def test_a_table_that_counts_flops_otherwise_is_planned_in_6nd() -> None:
    """C = 1.5 x 6 N D: budgets of a law of N and D are 6 N D, and the range says so."""
    runs = runs_on(OVER_TRAINING)
    own = fit_law(replace(runs, flops=1.5 * runs.flops), "over_training").law.provenance
    plain = fit_law(runs, "over_training").law.provenance
    assert own is not None
    assert plain is not None
    assert own.flops_over_6nd == pytest.approx((1.5, 1.5))
    assert own.fitted_range["flops"] == pytest.approx(plain.fitted_range["flops"])
    of_compute = fit_law(replace(runs, flops=1.5 * runs.flops), "flops_power_law_floor").law.provenance
    assert of_compute is not None
    assert of_compute.fitted_range["flops"][1] == pytest.approx(1.5 * plain.fitted_range["flops"][1])
