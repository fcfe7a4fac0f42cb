"""Every result shows itself: briefly at a prompt, as HTML in a notebook, as rows of named columns."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scaling
from scaling.reference.example import example_curves, example_runs
from scaling.sweep.design import Design

SPEC = Path(__file__).parent / "sweep"
LINES, WIDTH = 12, 110


@cache
def results() -> dict[str, Any]:
    runs = example_runs()
    surface = scaling.fit_parametric(runs)
    return {
        "Runs": runs,
        "curves": scaling.Runs.from_arrays(**example_curves()),
        "ChinchillaLaw": scaling.find_law("besiroglu"),
        "FrontierLaw": scaling.find_law("llama3"),
        "published_laws": scaling.published_laws(),
        "ParametricFit": surface,
        "IsoflopFit": scaling.fit_isoflop(runs),
        "EnvelopeFit": scaling.fit_envelope(scaling.Runs.from_arrays(**example_curves())),
        "LawFit": scaling.fit_law(runs, "kaplan_floor"),
        "Bootstrap": scaling.bootstrap(surface, runs, n=50),
        "Prediction": scaling.predict_runs("besiroglu", runs),
        "PowerLawFit": scaling.fit_power_law(runs.flops, runs.n_params),
        "Extrapolation": scaling.evaluate_extrapolation(runs, intervals=False),
        "LawComparison": scaling.compare_laws(runs),
        "Plan": scaling.plan_training(1e21),
        "Audit": scaling.audit_model(scaling.TrainedModel(name="Gopher", n_params=280e9, n_tokens=300e9)),
    }


WITHOUT_PICTURE = ("Runs", "curves", "published_laws", "Bootstrap", "Prediction", "PowerLawFit", "Audit")
SMALL = {
    "Architecture": lambda: scaling.find_preset("llama-2-7b"),
    "Cluster": lambda: scaling.make_cluster("H100"),
    "Accelerator": lambda: scaling.find_accelerator("H100"),
    "Allocation": lambda: scaling.allocate_compute("besiroglu", 1e21),
    "Shape": lambda: scaling.choose_architecture(1e9),
    "Memory": lambda: scaling.estimate_memory(scaling.find_preset("gpt2")),
}


@pytest.mark.parametrize("name", [*results()])
def test_a_repr_is_short_and_names_its_class(name: str) -> None:
    result = results()[name]
    text = repr(result)
    assert text.startswith(f"<{type(result).__name__}>\n")
    assert len(text.splitlines()) <= LINES
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "array(" not in text
    assert "\x1b" not in text


def test_hardware_takes_one_line_with_its_peak() -> None:
    for name in ("Cluster", "Accelerator"):
        text = repr(SMALL[name]())
        assert text.startswith(f"<{name} ")
        assert "989 TFLOP/s" in text
        assert len(text) <= WIDTH


def test_a_frame_of_a_power_law_holds_its_numbers_unrounded() -> None:
    fit = results()["PowerLawFit"]
    frame = fit.to_frame().set_index("quantity")
    assert frame.loc["exponent", "value"] == fit.exponent.value
    assert frame.loc["coefficient", "high"] == fit.coefficient.interval.high


def test_a_prediction_is_plain_json_with_its_rows() -> None:
    import json

    found = results()["Prediction"]
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [row["predicted_loss"] for row in told["runs"]] == found.loss.tolist()
    assert told["summary"]["n_runs"] == len(found.loss)


@pytest.mark.parametrize("name", SMALL)
def test_the_repr_of_a_plain_value_fits_into_twelve_lines(name: str) -> None:
    assert len(repr(SMALL[name]())) <= LINES * 80


def test_the_repr_of_an_architecture_reads_back() -> None:
    for name in ("gpt2", "llama-2-7b", "t5-base", "bert-base"):
        shape = scaling.find_preset(name)
        assert eval(repr(shape), {"Architecture": scaling.Architecture}) == shape


def test_a_repr_holds_the_answer() -> None:
    assert "2.79B" in repr(results()["Plan"])
    assert "54 runs" in repr(results()["ParametricFit"])
    assert "54 runs of" in repr(results()["Runs"])
    assert "alpha = 0.34731" in repr(results()["ChinchillaLaw"])


@pytest.mark.parametrize("name", [*results()])
def test_a_notebook_shows_html(name: str) -> None:
    html = results()[name]._repr_html_()
    assert html.startswith('<div class="')
    assert "</div>" in html


@pytest.mark.parametrize("name", [*results()])
def test_a_picture_is_drawn_or_refused_in_words(name: str) -> None:
    import matplotlib.pyplot as plt

    if name in WITHOUT_PICTURE:
        with pytest.raises(scaling.ScalingError, match="nothing to draw"):
            results()[name].plot()
        return
    axes = results()[name].plot()
    assert axes.has_data()
    plt.close("all")


COLUMNS = {
    "Runs": ["run_id", "n_params", "n_tokens", "flops", "budget", "loss", "params_convention"],
    "ChinchillaLaw": ["law", "family", "coefficient", "value"],
    "published_laws": ["law", "family", "formula", "a", "source", "params_convention", "flops_convention"],
    "ParametricFit": ["quantity", "value", "standard_error", "low", "high", "level"],
    "IsoflopFit": ["quantity", "value", "standard_error", "low", "high", "level"],
    "EnvelopeFit": ["quantity", "value", "standard_error", "low", "high", "level"],
    "LawFit": ["quantity", "value", "standard_error", "low", "high", "level"],
    "Bootstrap": ["quantity", "value", "standard_error", "low", "high", "level"],
    "Prediction": [
        "run_id",
        "n_params",
        "n_tokens",
        "flops",
        "loss",
        "predicted_loss",
        "law_low",
        "law_high",
    ],
    "Extrapolation": ["flops", "n_fitted", "n_held_out", "mean_absolute_error", "largest_error"],
    "LawComparison": ["law", "objective", "n_coefficients", "residual_rms", "aicc"],
    "Plan": ["law", "flops", "n_params", "n_tokens", "loss", "tokens_per_param", "is_optimum"],
    "Audit": ["name", "n_params", "n_params_total", "n_tokens", "flops", "tokens_per_param", "verdict"],
}
ROWS = {"Runs": 54, "Prediction": 54, "Plan": 1, "Audit": 1, "published_laws": 27, "Extrapolation": 6}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_frame_has_its_documented_columns(name: str) -> None:
    frame = results()[name].to_frame()
    frame = frame.reset_index() if frame.index.name else frame  # a fit's rows have names
    assert list(frame.columns)[: len(COLUMNS[name])] == COLUMNS[name]
    assert len(frame) == ROWS.get(name, len(frame)) > 0
    assert list(frame.index) == list(range(len(frame)))


def test_frames_hold_the_unrounded_numbers_of_the_result() -> None:
    r = results()
    plan, (row,) = r["Plan"], r["Plan"].records()
    assert (row["n_params"], row["n_tokens"]) == (plan.point.n_params, plan.point.n_tokens)
    assert (row["n_params_low"], row["n_params_high"]) == plan.intervals.n_params
    assert row["usd_low"] == plan.cost.usd[0]
    fit = r["ParametricFit"].to_frame()
    assert fit.loc["alpha", "value"] == r["ParametricFit"].law.alpha
    assert fit.loc["alpha", "high"] == r["ParametricFit"].estimates["alpha"].interval.high
    predicted = r["Prediction"].to_frame()
    assert np.array_equal(predicted["predicted_loss"], r["Prediction"].loss)
    assert np.array_equal(predicted[["run_low", "run_high"]], r["Prediction"].prediction)
    assert r["Extrapolation"].records()[-1]["n_fitted"] == 54
    laws = scaling.published_laws().to_frame().set_index("law")
    assert laws.loc["hoffmann", "coefficient_alpha"] == scaling.find_law("hoffmann").coefficients["alpha"]
    assert math.isnan(laws.loc["kaplan", "coefficient_alpha"])


def test_the_rows_of_a_prediction_of_bare_numbers_have_no_runs() -> None:
    from dataclasses import replace

    bare = replace(results()["Prediction"], runs=None)
    assert "run_id" not in bare.to_frame().columns
    assert len(bare.to_frame()) == 54


def test_the_interval_a_law_shows_is_the_one_it_carries() -> None:
    law = scaling.find_law("besiroglu")
    band = law.uncertainty.band
    for i, log10_flops in enumerate(band.log10_flops):
        if 18 <= log10_flops <= 25:
            assert law._ends(10**log10_flops) == pytest.approx((band.n_params_low[i], band.n_params_high[i]))
    assert law._ends(10.0 ** (band.log10_flops[-1] + 1)) == (None, None)


def test_a_design_lists_its_runs(tmp_path: Path) -> None:
    from scaling.sweep.spec import template

    (tmp_path / "sweep.toml").write_text(template("first"))
    design = scaling.plan_sweep(tmp_path)
    assert isinstance(design, Design)
    frame = design.to_frame()
    assert list(frame["run_id"]) == [run.run_id for run in design.runs]
    assert list(frame.columns)[:6] == ["run_id", "trunk_id", "budget", "n_params", "n_tokens", "flops"]
    assert len(repr(design).splitlines()) <= 3
