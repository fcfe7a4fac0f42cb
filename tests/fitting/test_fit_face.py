"""Every fit shows one face: the same assertions over all four results."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from scaling.blocks import Callout, Figure, Section, Shown, Text, screen
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, UsageError
from scaling.findings import warning
from scaling.fitting.comparison import compare_laws
from scaling.fitting.envelope.fit import fit_envelope
from scaling.fitting.extrapolation import evaluate_extrapolation
from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.fitting.prediction import predict_runs
from scaling.fitting.results import Fit
from scaling.fitting.summary import N_DRAWN, summarise_fit
from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.general_fit import fit_law
from scaling.laws import ChinchillaLaw, load_law
from scaling.render.terminal import render_terminal
from scaling.runs import Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
FACES = [("parametric", 3), ("law", 3), ("isoflop", 2), ("envelope", 1)]
each_fit = pytest.mark.parametrize(("method", "approach"), FACES)


@cache
def valleys() -> Runs:
    """Five budgets of seven sizes about the optimum, with 0.2 % of noise."""
    C, spread = (g.ravel() for g in np.meshgrid(np.geomspace(1e18, 1e21, 5), np.geomspace(0.2, 5, 7)))
    N = np.array([LAW.allocate(float(c)).n_params for c in C]) * spread
    D = C / (FLOPS_PER_PARAM_TOKEN * N)
    loss = LAW.loss(N, D) * np.exp(0.002 * np.random.default_rng(0).standard_normal(len(N)))
    return Runs.from_arrays(n_params=N, n_tokens=D, flops=C, loss=loss)


def curves() -> Runs:
    """Six sizes, each seen at 60 points of its training."""
    N = np.repeat(np.geomspace(1e7, 3e9, 6), 60)
    D = np.tile(np.geomspace(1e8, 3e11, 60), 6)
    names = [f"run {i // 60}" for i in range(len(N))]
    return Runs.from_arrays(n_params=N, n_tokens=D, loss=LAW.loss(N, D), run_id=names)


@cache
def fit_of(method: str) -> Fit:
    fit: Fit  # a type checker refuses a result that does not show the face
    if method == "parametric":
        fit = fit_parametric(valleys())
    elif method == "law":
        fit = fit_law(valleys(), "kaplan")
    elif method == "isoflop":
        fit = fit_isoflop(valleys())
    else:
        fit = fit_envelope(curves())
    return fit


@each_fit
def test_a_fit_says_its_approach_and_how_its_intervals_were_made(method: str, approach: int) -> None:
    fit = fit_of(method)
    assert (fit.method, fit.approach) == (method, approach)
    assert fit.interval_method
    assert fit.interval_method != method
    assert 0 < fit.level < 1
    assert fit.n_runs == (6 if method == "envelope" else len(valleys()))
    assert isinstance(fit.excluded, tuple)
    assert fit.at_bound == ()
    assert dict(fit.fixed) == {}


@each_fit
def test_exponents_add_up_to_one_and_lie_near_the_planted_ones(method: str, approach: int) -> None:
    fit = fit_of(method)
    assert fit.params_exponent is not None
    assert fit.tokens_exponent is not None
    assert fit.params_exponent.value + fit.tokens_exponent.value == pytest.approx(1, abs=1e-6)
    if method != "law":  # Kaplan's form has no floor, and another exponent
        assert fit.params_exponent.value == pytest.approx(LAW.params_exponent, abs=0.03)
    interval = fit.params_exponent.interval
    assert interval is not None
    assert interval.low <= fit.params_exponent.value <= interval.high


@each_fit
def test_estimates_are_the_laws_optimum_of_a_budget_of_6nd(method: str, approach: int) -> None:
    fit = fit_of(method)
    best = fit.law.allocate(3e20)
    for quantity in ("n_params", "n_tokens", "loss"):
        found = fit.estimate(quantity, flops=3e20)
        assert found.value == pytest.approx(getattr(best, quantity), rel=1e-6), quantity
        assert found.interval is not None
        assert found.interval.low <= found.value <= found.interval.high
    assert fit.has_optimum
    with pytest.raises(UsageError, match="n_layers"):
        fit.estimate("n_layers", flops=3e20)


@each_fit
def test_summary_leads_with_the_claim_and_ends_with_every_finding(method: str, approach: int) -> None:
    fit = fit_of(method)
    blocks = fit.summary()
    assert blocks[: len(fit.lead())] == fit.lead()
    (doubts,) = [b for b in blocks if isinstance(b, Section) and b.name == "doubts"]
    told = [b.code for b in doubts.blocks() if isinstance(b, Callout)]
    assert sorted(told) == sorted(f.code for f in fit.findings)
    assert isinstance(fit, Shown)
    assert render_terminal(fit.summary()).startswith("N* grows as C^")


@each_fit
def test_a_fit_says_on_one_screen_what_it_says_in_a_notebook(method: str, approach: int) -> None:
    fit = fit_of(method)
    sections = [b for b in fit.summary() if isinstance(b, Section)]
    html = fit._repr_html_()  # type: ignore[attr-defined]
    assert all(f"<summary>{s.title}</summary>" in html for s in sections)
    assert len(render_terminal(screen(fit.summary()), width=72).splitlines()) <= 20


@each_fit
def test_the_figure_runs_from_the_least_budget_to_a_hundred_times_the_largest(
    method: str, approach: int
) -> None:
    fit = fit_of(method)
    (figure,) = [b for b in fit.summary() if isinstance(b, Figure)]
    assert figure.kind == "compute-optimal"
    assert figure.alt
    keys = {"flops", "n_params", "n_params_low", "n_params_high"}
    points = {"point_flops", "point_n_params"} if method in ("isoflop", "envelope") else set()
    assert set(figure.data) == keys | points | {"fitted_flops", "level"}
    assert list(figure.data["fitted_flops"]) == list(
        fit.law.provenance.fitted_range["flops"]
    )  # dashed beyond
    assert {len(figure.data[key]) for key in keys} == {N_DRAWN}
    low, high = fit.law.provenance.fitted_range["flops"]  # type: ignore[union-attr]
    assert (figure.data["flops"][0], figure.data["flops"][-1]) == pytest.approx((low, 100 * high))
    for i in (0, 20, 39):
        best = fit.law.allocate(figure.data["flops"][i]).n_params
        assert figure.data["n_params"][i] == pytest.approx(best, rel=1e-6)
        assert figure.data["n_params_low"][i] <= best * (1 + 1e-6)
        assert figure.data["n_params_high"][i] >= best * (1 - 1e-6)
    for flops, n_params in zip(*(figure.data[key] for key in sorted(points)), strict=True) if points else ():
        assert n_params == pytest.approx(
            fit.law.allocate(flops).n_params, rel=0.3
        )  # of a crossing or minimum


@each_fit
def test_json_has_the_keys_of_every_fit_and_no_infinite_number(method: str, approach: int) -> None:
    told = fit_of(method).to_dict()
    assert {k: told[k] for k in ("schema_version", "kind", "approach", "method")} == {
        "schema_version": 1, "kind": "fit", "approach": approach, "method": method,
    }  # fmt: skip
    assert {"law", "n_runs", "interval_method", "findings", "excluded"} <= set(told)
    json.dumps(told, allow_nan=False)


@each_fit
def test_a_written_fit_is_read_as_its_law(method: str, approach: int, tmp_path: Path) -> None:
    fit = fit_of(method)
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fit.to_dict(), allow_nan=False))
    assert load_law(path).coefficients == fit.law.coefficients


@each_fit
def test_frame_has_a_row_a_coefficient_and_exponent(method: str, approach: int) -> None:
    fit = fit_of(method)
    frame = fit.to_frame().reset_index()
    assert list(frame.columns) == ["quantity", "value", "standard_error", "low", "high", "level"]
    assert list(frame["quantity"]) == [*fit.estimates, "params_exponent", "tokens_exponent"]
    assert frame.set_index("quantity").loc["params_exponent", "value"] == fit.params_exponent.value  # type: ignore[union-attr]
    assert (frame["low"] <= frame["high"]).all()


@each_fit
def test_replace_makes_a_fit_of_the_same_face(method: str, approach: int) -> None:
    other = replace(fit_of(method), level=0.5)
    assert (other.level, other.method) == (0.5, method)


def test_a_summary_for_a_table_says_where_the_runs_are_from_and_what_to_do_next() -> None:
    fit = fit_of("parametric")
    checks = {
        "held_out": evaluate_extrapolation(valleys(), intervals=False),
        "compared": compare_laws(valleys(), ("chinchilla",), objectives=("huber",)),
    }
    blocks = summarise_fit(
        fit, runs=valleys(), left_out=["a", "b"], next_command="scaling plan", figures=False, **checks
    )
    text = " ".join(render_terminal(blocks).split())
    for said in (
        checks["held_out"].verdict(),
        checks["compared"].verdict(),
        "Fitted up to a budget",
        "spread: a ",
        "left out 2 runs: a, b",
        "N counts parameters",
    ):
        assert said in text
    assert text.endswith("next scaling plan")
    assert not [b for b in blocks if isinstance(b, Figure)]


def test_without_intervals_the_figure_has_the_optimum_alone() -> None:
    (figure,) = [b for b in fit_parametric(valleys(), intervals=False).summary() if isinstance(b, Figure)]
    assert set(figure.data) == {"flops", "n_params", "fitted_flops", "level"}
    assert all(math.isfinite(n) for n in figure.data["n_params"])


def test_two_valleys_give_no_loss_along_the_lines_and_say_why() -> None:
    runs = valleys()
    fit = fit_isoflop(runs.select(runs.flops < 1e19))
    with pytest.raises(FitError, match="takes 4 minima"):
        fit.estimate("loss", flops=1e20)


def test_a_prediction_says_its_errors_and_what_its_interval_is_of() -> None:
    first, fields = predict_runs(fit_of("parametric").law, valleys()).summary()
    assert isinstance(first, Text)
    assert first.text.startswith("35 runs: mean absolute error")
    assert [name for name, _ in fields.rows] == ["covered", "interval"]  # type: ignore[union-attr]


def test_a_fit_file_of_the_first_release_is_still_read() -> None:
    law = load_law(Path(__file__).parent / "fit_before_faces.json")
    assert law.family.name == "chinchilla"
    assert law.allocate(1e21).n_params == pytest.approx(2.6e9, rel=0.3)
    assert law.uncertainty is not None


def test_a_first_screen_leaves_room_for_the_notes_above_it_and_drops_no_answer() -> None:
    doubts = [warning(code=f"d{i}", message=f"doubt {i}: " + "word " * 20) for i in range(5)]
    fit, lines = fit_of("parametric"), {}
    for n_notes in (0, 2, 4):
        told = ["a note"] * n_notes
        blocks = summarise_fit(
            fit, runs=valleys(), findings=doubts, told=told, next_command="scaling plan", figures=False
        )
        text = render_terminal(screen(blocks), width=72)
        lines[n_notes] = len(text.split("\n"))
        assert lines[n_notes] + n_notes <= 20
        assert text.startswith("N* grows")
        assert "doubt 0" in text
        assert "scaling plan" in text
    assert lines[0] > lines[4]
