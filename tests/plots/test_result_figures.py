"""Figures of results as data: what a figure holds is what the result says, and its title is computed from it."""

from __future__ import annotations

import math
import re
from statistics import NormalDist

import numpy as np
import pytest

from scaling.blocks import Figure, Text
from scaling.errors import UsageError
from scaling.fitting.extrapolation import evaluate_extrapolation
from scaling.fitting.figures import fit_figures
from scaling.fitting.figures.approaches import isoflop_figure
from scaling.fitting.figures.checks import exponent_drift_figure, hold_out_figure, prediction_figure
from scaling.fitting.figures.optimum import laws_beside, optimum_figure
from scaling.fitting.figures.surface import coefficients_figure, influence_figure, residuals_figure
from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.fitting.prediction import predict_runs
from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.general_fit import fit_law
from scaling.fitting.surface.result import ParametricFit
from scaling.laws import ChinchillaLaw
from scaling.planning.audit import audit_models, deck
from scaling.planning.figures import audit_figure, law_spread_figure, off_optimum_figure, plan_figures
from scaling.planning.plan import plan_training
from scaling.plots import compose, figure_svg
from scaling.plots.figures import names_of, panels_of
from scaling.plots.results import usual_figures
from scaling.reference import find_law
from scaling.runs import Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
TARGET = 1e23


def planted(noise: float = 0.004, n_budgets: int = 5, n_sizes: int = 9) -> Runs:
    rng = np.random.default_rng(0)
    rows = []
    for c in np.logspace(18, 21, n_budgets):
        best = LAW.allocate(float(c)).n_params
        rows += [(n, c / (6 * n), c) for n in best * np.logspace(-0.7, 0.7, n_sizes)]
    n, d, c = (np.array(v) for v in zip(*rows, strict=True))
    loss = LAW.loss(n, d) * np.exp(noise * rng.standard_normal(len(n)))
    return Runs.from_arrays(n_params=n, n_tokens=d, flops=c, loss=loss, budget=c)


@pytest.fixture(scope="module")
def runs() -> Runs:
    return planted()


@pytest.fixture(scope="module")
def fit(runs: Runs) -> ParametricFit:
    return fit_parametric(runs)


def test_the_title_of_a_line_is_its_exponent_and_the_number_its_target(runs: Runs) -> None:
    fit = fit_isoflop(runs)
    title = optimum_figure(fit, target_flops=TARGET).titles[0]
    found = re.fullmatch(
        r"N\* grows as C\^([\d.]+) ± ([\d.]+)\n1e23 FLOPs: N\* = (\S+)B \(\S+ to \S+\)", title
    )
    assert found is not None
    exponent = fit.params_exponent
    assert float(found[1]) == pytest.approx(exponent.value, abs=0.006)
    assert exponent.interval is not None
    assert float(found[2]) == pytest.approx(exponent.interval.half_width, rel=0.06)
    assert float(found[3]) == pytest.approx(fit.estimate("n_params", flops=TARGET).value / 1e9, rel=0.006)


@pytest.mark.parametrize("method", ["isoflop", "parametric"])
def test_a_line_and_its_band_are_those_of_the_fit(runs: Runs, method: str) -> None:
    fit = fit_isoflop(runs) if method == "isoflop" else fit_parametric(runs)
    data = optimum_figure(fit, quantities=("n_params", "n_tokens", "tokens_per_param")).data
    for i, flops in enumerate(data["flops"]):
        best = fit.law.allocate(float(flops))
        assert data["n_params"][i] == pytest.approx(best.n_params, rel=1e-6)
        assert data["tokens_per_param"][i] == pytest.approx(best.n_tokens / best.n_params, rel=1e-6)
        interval = fit.estimate("n_tokens", flops=float(flops)).interval
        assert interval is not None
        assert data["n_tokens_low"][i] == pytest.approx(interval.low, rel=0.01)  # interpolated in log-log
        assert data["n_tokens_high"][i] == pytest.approx(interval.high, rel=0.01)
    assert data["flops"][-1] == pytest.approx(1e23, rel=1e-6)


def test_other_laws_stand_beside_the_fit_with_what_they_answer(fit: ParametricFit) -> None:
    hoffmann = find_law("hoffmann")
    data = optimum_figure(fit, others=[hoffmann]).data
    assert set(data["other_law"]) == {"hoffmann"}
    for flops, n_params in zip(data["other_flops"], data["other_n_params"], strict=True):
        assert n_params == hoffmann.allocate(float(flops)).n_params


def test_laws_beside_a_fit_count_alike_and_are_one_a_paper(fit: ParametricFit) -> None:
    found = laws_beside(fit)
    papers = [re.findall(r"arXiv:(\S{10})", law.provenance.source)[0] for law in found if law.provenance]
    assert len(papers) == len(set(papers)) >= 2
    assert all(law.provenance and law.provenance.params_convention == "total" for law in found)


def test_valleys_hold_every_run_and_nothing_for_a_refused_minimum(runs: Runs) -> None:
    edge = runs.budget == runs.budget.max()  # type: ignore[union-attr]
    best = LAW.allocate(1e21).n_params
    few = runs.select(np.flatnonzero(~edge | (runs.n_params > 1.3 * best)))
    fit = fit_isoflop(few, min_runs_per_budget=3, surface=LAW)
    data = isoflop_figure(fit).data
    assert sorted(data["run_loss"]) == sorted(few.loss.tolist())
    refused = [budget.refused is not None for budget in fit.budgets]
    assert [math.isnan(float(loss)) for loss in data["minimum_loss"]] == refused
    assert any(refused)


def test_residuals_are_measured_over_fitted_and_weights_those_of_huber(
    fit: ParametricFit, runs: Runs
) -> None:
    data = residuals_figure(fit, runs).data
    ratio = runs.loss / fit.law.loss(runs.n_params, runs.n_tokens)
    assert list(data["run_residual_percent"]) == pytest.approx(list(100 * (ratio - 1)))
    delta = fit.objective.delta
    assert delta is not None
    assert list(data["run_weight"]) == pytest.approx([min(1, delta / abs(math.log(r))) for r in ratio])


def test_quantiles_are_those_of_a_gaussian_of_the_robust_scale(fit: ParametricFit, runs: Runs) -> None:
    data = residuals_figure(fit).data
    n = len(runs)
    assert data["qq_gaussian"][0] == pytest.approx(NormalDist().inv_cdf(0.5 / n))
    scale = 100 * fit.residuals.robust_scale
    assert data["qq_residual"][-1] == pytest.approx(max(data["run_residual_percent"]) / scale)


def test_the_first_panel_of_a_hold_out_shows_unseen_runs_with_their_intervals(runs: Runs) -> None:
    result = evaluate_extrapolation(runs, cuts=[5e19, 3e20])
    figure = hold_out_figure(result)
    cut = result.cut_offs[1]  # one budget of five held out: a fifth
    dearest = runs.loss[runs.flops > 3e20]
    assert sorted(figure.data["run_loss"]) == sorted(dearest.tolist())
    off = np.array(figure.data["run_predicted"]) / np.array(figure.data["run_loss"]) - 1  # type: ignore[operator]
    assert np.abs(off).mean() == pytest.approx(cut.mean_absolute_error)
    low, high, seen = (np.array(figure.data[key]) for key in ("run_low", "run_high", "run_loss"))
    assert np.mean((seen >= low) & (seen <= high)) == cut.inside_fraction
    assert f"asked for {cut.n_held_out} dearer runs" in figure.titles[0]
    assert len(panels_of(figure)) == 2
    assert len(panels_of(hold_out_figure(evaluate_extrapolation(runs, cuts=[3e20])))) == 1


def test_the_rolling_cut_says_how_far_the_exponent_moves(runs: Runs, fit: ParametricFit) -> None:
    result = evaluate_extrapolation(runs, cuts=[5e19, 3e20], intervals=False)
    figure = exponent_drift_figure(result, fit.params_exponent)
    assert result.exponent_drift is not None
    assert figure.titles[0].startswith(f"Dearer runs move a by {result.exponent_drift:+.3f}")
    assert fit.params_exponent.interval is not None
    assert list(figure.data["exponent_low"]) == [fit.params_exponent.interval.low]


def test_influence_holds_the_exponent_without_each_run(fit: ParametricFit, runs: Runs) -> None:
    data = influence_figure(fit).data
    first = list(runs.run_id).index(str(data["run_id"][0]))
    without = fit_parametric(runs.select(np.delete(np.arange(len(runs)), first)), intervals=False)
    assert float(data["exponent_without"][0]) == pytest.approx(without.params_exponent.value, abs=2e-3)


def test_refits_of_the_coefficients_scatter_about_the_fit(fit: ParametricFit) -> None:
    data = coefficients_figure(fit, others=[find_law("hoffmann"), find_law("kaplan")]).data
    assert np.median(np.asarray(data["draw_alpha"])) == pytest.approx(fit.law.alpha, abs=0.05)
    assert list(data["other_law"]) == ["hoffmann"]  # the other is of another form
    with pytest.raises(UsageError, match="chinchilla law's coefficients; this one is kaplan"):
        coefficients_figure(fit_law(planted(), "kaplan"))


def test_predictions_stand_against_what_was_measured(fit: ParametricFit, runs: Runs) -> None:
    figure = prediction_figure(predict_runs(fit.law, runs), runs)
    assert list(figure.data["run_loss"]) == runs.loss.tolist()
    assert figure.titles[0].startswith("The law predicts these runs to 0.")


def test_the_cost_of_leaving_the_optimum_is_that_of_the_plan() -> None:
    plan = plan_training(1e21)
    data = off_optimum_figure(plan).data
    assert list(data["optimum"]) == [plan.optimum.n_params]
    half = next(a for a in plan.alternatives if a.ratio == 0.5)
    cost = np.interp(
        np.log(half.n_params), np.log(np.asarray(data["n_params"])), np.asarray(data["extra_compute"])
    )
    assert cost == pytest.approx(half.extra_compute, rel=0.01)


def test_the_spread_of_laws_is_that_of_the_plan() -> None:
    plan = plan_training(1e21)
    data = law_spread_figure(plan).data
    assert list(data["n_params"]) == [a.n_params for a in plan.spread.answers]
    assert list(data["law"]) == [a.name for a in plan.spread.answers]


def test_an_audit_stands_over_the_line_of_its_law() -> None:
    law = find_law("besiroglu")
    audits = audit_models(deck(), law)
    figure = audit_figure(audits)
    assert list(figure.data["verdict"]) == [a.verdict for a in audits]
    at = [law.allocate(float(c)).n_params for c in figure.data["line_flops"]]
    assert list(figure.data["line_n_params"]) == at
    assert figure.titles[0].startswith("1 of 6 models are near the optimum")
    with pytest.raises(UsageError, match="no model to draw"):
        audit_figure([])


def test_a_plan_by_a_law_of_the_split_alone_says_what_it_cannot_draw() -> None:
    blocks = plan_figures(plan_training(1e21, find_law("llama3")))
    said = [block.text for block in blocks if isinstance(block, Text)]
    assert said == [
        "No figure of the cost of leaving the optimum: this law knows only its optimum, so there is no curve to draw: "
        "plan with --law besiroglu."
    ]


@pytest.mark.parametrize(
    ("name", "drawn", "missing"),
    [
        ("noise-free", 5, ["noise-free", "no noise"]),
        ("no intervals", 5, ["influence of single runs", "without intervals"]),
        ("one quantity", 2, []),
        ("kaplan", 3, []),
    ],
)
def test_degenerate_fits_draw_what_they_have_and_say_what_is_missing(
    name: str, drawn: int, missing: list[str]
) -> None:
    runs = planted(0.0) if name == "noise-free" else planted()
    fits = {
        "noise-free": lambda: fit_parametric(runs),
        "no intervals": lambda: fit_parametric(runs, intervals=False),
        "one quantity": lambda: fit_law(runs, "flops_power_law_floor"),
        "kaplan": lambda: fit_law(runs, "kaplan_floor"),
    }
    blocks = fit_figures(fits[name](), runs, target_flops=TARGET)
    figures = [block for block in blocks if isinstance(block, Figure)]
    reasons = [block.text for block in blocks if isinstance(block, Text)]
    assert len(figures) == drawn
    assert len(reasons) == len(missing)
    assert all(why in reason for why, reason in zip(missing, reasons, strict=True))
    for figure in figures:
        assert figure_svg(figure).startswith("<svg")
        assert figure.alt
        assert figure.caption


def test_a_law_without_an_optimum_says_that_it_has_no_line(runs: Runs) -> None:
    with pytest.raises(UsageError, match="params_power_law has no compute-optimal line to draw"):
        optimum_figure(fit_law(runs, "params_power_law"))
    with pytest.raises(UsageError, match="not its loss"):
        optimum_figure(find_law("llama3"), quantities=("loss",))


def test_a_hundred_thousand_runs_are_thinned_and_it_is_said() -> None:
    n = 100_000
    random = np.random.default_rng(0)
    data = {
        "run_n_params": np.exp(random.uniform(18, 23, n)).tolist(),
        "run_residual_percent": random.normal(size=n).tolist(),
        "robust_scale_percent": [1.0],
    }
    figure = Figure("residuals", data, "residuals")
    (ax,) = compose([figure]).axes
    assert sum(len(line.get_xdata()) for line in ax.get_lines() if line.get_marker() == "o") <= 1000
    assert "1,000 of 100,000 runs drawn" in ax.get_xlabel()
    assert len(figure_svg(figure)) < 200_000


def test_what_a_fit_draws_by_default_holds_the_checks_that_were_asked_for(
    runs: Runs, fit: ParametricFit
) -> None:
    held_out = evaluate_extrapolation(runs, cuts=[3e20], intervals=False)
    kinds = [figure.kind for figure in usual_figures(fit, runs, held_out=held_out)]
    assert kinds[-2:] == ["hold-out", "exponent-drift"]
    assert "hold-out" not in [figure.kind for figure in usual_figures(fit, runs)]
    assert names_of(usual_figures(fit_isoflop(runs), runs)) == "IsoFLOP valleys"
