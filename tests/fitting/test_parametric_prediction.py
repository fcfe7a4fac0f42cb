"""Predicted losses of a table, and that no table of valid runs breaks the fit."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scaling.errors import FitError
from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.prediction import predict
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.runs import Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)


def noisy_runs(n=120, noise=0.01, seed=0):
    random = np.random.default_rng(seed)
    N, D = (
        np.exp(random.uniform(np.log(2e7), np.log(3e9), n)),
        np.exp(random.uniform(np.log(1e9), np.log(1e11), n)),
    )
    return Runs.from_arrays(
        n_params=N, n_tokens=D, loss=LAW.loss(N, D) * np.exp(noise * random.standard_normal(n))
    )


@pytest.fixture(scope="module")
def fit():
    return fit_parametric(noisy_runs())


def test_prediction_is_the_law_and_its_band_holds_new_runs(fit):
    new = noisy_runs(n=400, seed=1)
    found = predict(fit, new)
    assert found.loss == pytest.approx(fit.law.loss(new.n_params, new.n_tokens))
    low, high = found.prediction.T
    inside = np.mean((new.loss >= low) & (new.loss <= high))
    assert 0.9 <= inside <= 0.995  # the half-width is the 115th of 120 residuals: 95 +- 4 %
    truth = LAW.loss(new.n_params, new.n_tokens)
    low, high = found.confidence.T
    assert np.mean((truth >= low) & (truth <= high)) > 0.8  # one fit: its errors at all points go together
    assert found.scores()["inside_interval_fraction"] == pytest.approx(inside)
    assert found.scores()["mean_absolute_error_fraction"] == pytest.approx(
        np.mean(np.abs(found.loss / new.loss - 1))
    )


def test_confidence_bands_of_the_table_agree_with_profiles(fit):
    runs = noisy_runs(n=5, seed=2)
    found = predict(fit, runs)
    for i in range(5):
        profile = fit.interval(
            "loss", n_params=float(runs.n_params[i]), n_tokens=float(runs.n_tokens[i]), method=None
        )
        # first order against profile: widths within 5 % for losses inside the range
        assert found.confidence[i, 1] - found.confidence[i, 0] == pytest.approx(
            profile.high - profile.low, rel=0.05
        )


def test_noise_of_few_runs_is_wider_than_of_many():
    few, many = fit_parametric(noisy_runs(n=12, seed=5)), fit_parametric(noisy_runs(n=200, seed=5))
    assert many.spread.fit.noise_half_width(0.95) == pytest.approx(0.0196, rel=0.25)
    assert few.spread.fit.noise_half_width(0.95) > 0.0196 * 0.8


def test_noise_free_fit_predicts_without_a_band():
    N, D = (g.ravel() for g in np.meshgrid(np.geomspace(2e7, 3e9, 5), np.geomspace(1e9, 1e11, 5)))
    runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=LAW.loss(N, D))
    found = predict(fit_parametric(runs), runs)
    assert found.prediction is None
    assert found.scores()["largest_error_fraction"] == pytest.approx(0, abs=1e-9)


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
@given(
    st.lists(
        st.tuples(st.floats(1e6, 1e12, allow_subnormal=False), st.floats(1e6, 1e14), st.floats(1e-3, 50)),
        min_size=1,
        max_size=14,
    )
)
def test_any_valid_table_is_fitted_or_refused_never_nan(rows):
    N, D, loss = (np.array(c) for c in zip(*rows, strict=True))
    runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=loss)
    try:
        fit = fit_parametric(runs)
    except FitError as error:
        assert str(error).endswith(".")
        return
    assert all(math.isfinite(v) for v in fit.coefficients.values())
    assert 0 < fit.params_exponent.value < 1
    interval = fit.params_exponent.interval
    assert interval is None or 0 <= interval.low <= fit.params_exponent.value <= interval.high <= 1
    json.dumps(fit.to_dict()["certificate"], allow_nan=False)
