"""Coefficients held at a value: the others are at their best given it, in every family."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.errors import FitError, UnknownNameError, UsageError
from scaling.fitting.extrapolation import evaluate_extrapolation
from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.general_fit import fit_law
from scaling.laws import FAMILIES, ChinchillaLaw, find_family, law_from_dict
from scaling.runs import Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)


def grid(noise: float = 0.003, seed: int = 0) -> Runs:
    N, D = (g.ravel() for g in np.meshgrid(np.geomspace(3e7, 3e10, 6), np.geomspace(5e8, 5e12, 6)))
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(N)))
    return Runs.from_arrays(n_params=N, n_tokens=D, loss=LAW.loss(N, D) * scatter)


def objective(runs: Runs, c: dict[str, float], delta: float) -> float:
    """Huber of log loss, written anew."""
    fitted = c["E"] + c["A"] * runs.n_params ** -c["alpha"] + c["B"] * runs.n_tokens ** -c["beta"]
    r = np.abs(np.log(fitted) - np.log(runs.loss))
    return float(np.sum(np.minimum(r, delta) * (r - np.minimum(r, delta) / 2)))


@pytest.mark.parametrize(
    "fixed",
    [
        {"E": 1.6}, {"A": 300.0}, {"B": 500.0}, {"alpha": 0.3}, {"beta": 0.31}, {"E": 1.7, "alpha": 0.33},
        {"alpha": 0.34, "beta": 0.28}, {"A": 406.4, "alpha": 0.34}, {"E": 1.69, "A": 406.4, "B": 410.7},
    ],
    ids=str,
)  # fmt: skip
def test_no_move_of_the_other_chinchilla_coefficients_lowers_the_objective(fixed: dict[str, float]) -> None:
    runs = grid()
    fit = fit_parametric(runs, fixed=fixed)
    best, delta = fit.coefficients, fit.objective.delta
    assert delta is not None
    assert {name: best[name] for name in fixed} == fixed
    assert fit.certificate.converged
    assert fit.objective.value == pytest.approx(objective(runs, best, delta), rel=1e-9)
    for name in set(best) - set(fixed):
        for factor in (1 - 1e-3, 1 + 1e-3):
            assert objective(runs, {**best, name: best[name] * factor}, delta) > fit.objective.value
    assert fit.objective.value >= objective(runs, fit_parametric(runs).coefficients, delta) * (1 - 1e-9)


@pytest.mark.parametrize(
    "fixed", [{"E": 1.65}, {"A": 350.0}, {"beta": 0.3}, {"E": 1.7, "beta": 0.29}], ids=str
)
def test_both_solvers_agree_on_a_held_chinchilla_law(fixed: dict[str, float]) -> None:
    runs = grid()
    exact = fit_parametric(runs, objective="log_least_squares", fixed=fixed, intervals=False)
    general = fit_law(runs, "chinchilla", objective="log_least_squares", fixed=fixed)
    assert general.coefficients == pytest.approx(exact.coefficients, rel=1e-4)


@pytest.mark.slow
def test_the_truth_held_narrows_the_intervals_which_then_cover_as_often() -> None:
    inside, narrower = 0, 0
    for seed in range(30):
        runs = grid(seed=seed)
        held = fit_parametric(runs, fixed={"E": 1.69}).intervals["alpha"]
        free = fit_parametric(runs).intervals["alpha"]
        assert held is not None
        assert free is not None
        inside += held.contains(LAW.alpha)
        narrower += held.half_width < free.half_width
    assert inside >= 25  # of 30 at 95 %: fewer has a chance of 1 in 300
    assert narrower >= 27


def test_a_held_value_has_no_interval_and_the_statement_names_it() -> None:
    fit = fit_parametric(grid(), fixed={"E": 1.6, "alpha": 0.3})
    assert fit.intervals["E"] is None
    assert fit.standard_errors["alpha"] is None
    assert fit.intervals["A"] is not None
    assert "given E = 1.6, alpha = 0.3" in fit.statement
    assert fit.to_dict()["fixed"] == {"E": 1.6, "alpha": 0.3}
    draws = np.array(fit.law.uncertainty.draws)  # type: ignore[union-attr]
    assert np.ptp(draws[:, 0]) < 1e-9
    assert np.ptp(draws[:, 3]) == 0
    assert np.ptp(draws[:, 1]) > 0
    with pytest.raises(UsageError, match="no interval"):
        fit.interval("E")


def test_what_the_held_coefficients_determine_has_a_value_alone() -> None:
    fit = fit_parametric(grid(), fixed={"alpha": 0.34, "beta": 0.28})
    assert fit.params_exponent.value == pytest.approx(0.28 / 0.62)
    assert fit.params_exponent.interval is None
    assert fit.estimate("loss", flops=1e21).interval is not None


def test_every_family_holds_each_of_its_coefficients() -> None:
    for name in FAMILIES:
        family = find_family(name)
        if "n_params" in family.outputs or name == "frontier":
            continue
        runs = grid()
        inputs = {i.name for i in family.inputs}
        if not inputs <= set(runs.columns()):
            runs = Runs.from_arrays(
                n_params=runs.n_params,
                n_tokens=runs.n_tokens,
                loss=runs.loss,
                n_tokens_unique=runs.n_tokens / 2,
            )
        free = fit_law(runs, family)
        for coefficient in family.names:
            value = free.coefficients[coefficient]
            if coefficient == "E" and value >= runs.loss.min():
                continue  # a law of one quantity on runs that differ in two
            held = fit_law(runs, family, fixed={coefficient: value})
            assert held.coefficients[coefficient] == value
            assert held.estimates[coefficient].interval is None
            # given its own best value the others are where they were
            assert held.residual_sum_of_squares == pytest.approx(free.residual_sum_of_squares, rel=0.02), (
                name,
                coefficient,
            )
            assert f"given {coefficient} = " in held.statement


def test_fewer_levels_and_runs_are_enough_for_fewer_coefficients() -> None:
    N, D = (g.ravel() for g in np.meshgrid([1e8, 1e10], np.geomspace(1e9, 1e12, 5)))
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(10))
    runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=LAW.loss(N, D) * noise)
    with pytest.raises(FitError, match="distinct n_params"):
        fit_parametric(runs)
    assert fit_parametric(runs, fixed={"alpha": 0.34}).law.beta == pytest.approx(0.28, abs=0.03)


def test_a_hold_out_holds_the_coefficient_in_every_fit() -> None:
    runs = grid()
    free = evaluate_extrapolation(runs, cuts=[1e21], intervals=False)
    held = evaluate_extrapolation(runs, cuts=[1e21], intervals=False, fixed={"alpha": 0.5})
    assert held.cut_offs[0].params_exponent != free.cut_offs[0].params_exponent
    assert (held.cut_offs[0].mean_absolute_error or 0) > (free.cut_offs[0].mean_absolute_error or 0)


def test_a_law_with_a_held_coefficient_is_written_and_read() -> None:
    fit = fit_law(grid(), "kaplan_floor", fixed={"E": 1.5})
    again = law_from_dict(fit.to_dict()["law"])
    assert again.coefficients["E"] == 1.5
    assert again.provenance is not None
    assert again.provenance.note == "given E = 1.5"


def test_a_coefficient_that_cannot_be_held_is_refused() -> None:
    runs = grid()
    for fit in (
        lambda fixed: fit_parametric(runs, fixed=fixed),
        lambda fixed: fit_law(runs, "chinchilla", fixed=fixed),
    ):
        with pytest.raises(UnknownNameError, match="gamma"):
            fit({"gamma": 1.0})
        with pytest.raises(UsageError, match="lies between"):
            fit({"alpha": 5.0})
        with pytest.raises(UsageError, match="lies between"):
            fit({"alpha": float("nan")})
        with pytest.raises(UsageError, match="not below the lowest loss"):
            fit({"E": 19.0})
        with pytest.raises(UsageError, match="every coefficient"):
            fit(dict(LAW.coefficients))
