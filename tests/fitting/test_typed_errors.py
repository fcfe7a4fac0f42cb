"""Something else than Runs, in the place of Runs, is told in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import scaling
from scaling.errors import FitError, UsageError
from scaling.reference.example import example_runs

FRAME = pd.DataFrame({"n_params": [1e8], "n_tokens": [2e9], "loss": [3.0]})


@pytest.mark.parametrize(
    "function",
    [
        scaling.fit_parametric,
        scaling.fit_isoflop,
        scaling.fit_envelope,
        scaling.evaluate_extrapolation,
        scaling.compare_laws,
        scaling.check_runs,
        lambda runs: scaling.fit_law(runs, "kaplan"),
        lambda runs: scaling.predict_runs(scaling.find_law("besiroglu"), runs),
    ],
)
def test_a_frame_in_the_place_of_runs_names_load_runs(function: Callable[[Any], Any]) -> None:
    with pytest.raises(
        UsageError, match=r"takes Runs; got DataFrame. Read the table first: load_runs\(table\)"
    ):
        function(FRAME)


def test_a_fit_in_the_place_of_runs_is_told() -> None:
    runs = example_runs()
    fit = scaling.fit_parametric(runs, intervals=False)
    with pytest.raises(
        UsageError, match=r"evaluate_extrapolation takes Runs; got ParametricFit\. Give the Runs first"
    ):
        scaling.evaluate_extrapolation(fit, runs)


def test_words_in_a_power_law_are_a_fit_error() -> None:
    with pytest.raises(FitError, match="positive finite numbers as x; could not convert"):
        scaling.fit_power_law(["a", "b", "c"], [1.0, 2.0, 3.0])


def test_allocate_compute_is_public() -> None:
    law = scaling.find_law("besiroglu")
    assert scaling.allocate_compute(law, 5.76e23).n_params == law.allocate(5.76e23).n_params
