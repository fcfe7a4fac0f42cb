"""The numbers of the first page, worked out here again from what the package ships: coefficients, draws, runs.

Plain NumPy and SciPy, no function of ours but the loaders. They are compared with what the commands give that the page
quotes; that the page quotes what its commands print is tested in tests/test_docs.py.
"""

from __future__ import annotations

import json
import math
from importlib import resources

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import brentq, least_squares

from scaling.cli import cli
from scaling.reference.example import example_curves, example_runs

FLOPS = 1e21
ORDER = ("E", "A", "B", "alpha", "beta")


def answered(command: str) -> dict:
    """What a command says as JSON."""
    result = CliRunner().invoke(cli, [*command.split(), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def ends(estimate: dict) -> tuple[float, float]:
    return estimate["interval"]["low"], estimate["interval"]["high"]


@pytest.fixture(scope="module")
def plan() -> dict:
    return answered(f"plan --flops {FLOPS:g}")


@pytest.fixture(scope="module")
def exponents() -> dict:
    return answered("demo")["params_exponent"]


@pytest.fixture(scope="module")
def shipped() -> dict:
    """besiroglu.json, read as JSON."""
    return json.loads(
        resources.files("scaling.reference").joinpath("besiroglu.json").read_text(encoding="utf-8")
    )


@pytest.fixture(scope="module")
def law(shipped: dict) -> tuple[float, ...]:
    return tuple(shipped["coefficients"][name] for name in ORDER)


def loss(law, n_params, n_tokens):
    E, A, B, alpha, beta = law
    return E + A / n_params**alpha + B / n_tokens**beta


def optimum(law, flops):
    """Hoffmann et al. 2022, eq. 4: N* = G (C/6)^(beta/(alpha+beta)), G = (alpha A / (beta B))^(1/(alpha+beta))."""
    _, A, B, alpha, beta = law
    n_params = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    return n_params, flops / 6 / n_params


def test_the_default_law_is_the_published_refit_to_the_digits_it_is_known_to(law) -> None:
    """Besiroglu et al. 2024, table 1: E 1.8172 (s.e. .026), A 482.01 (124.6), B 2085.43 (1293.2), alpha .3478 (.0155),
    beta .3658 (.0208); the certified minimum lies a small part of a standard error beside their values."""
    published = (1.8172, 482.01, 2085.43, 0.3478, 0.3658)
    errors = (0.026, 124.6, 1293.2, 0.0155, 0.0208)
    for ours, theirs, error in zip(law, published, errors):
        assert abs(ours - theirs) < 0.1 * error
    assert law[4] / (law[3] + law[4]) == pytest.approx(0.5139, abs=5e-5)  # the exponent of N*


def test_the_first_answer_follows_from_the_shipped_coefficients(law, plan) -> None:
    n_params, n_tokens = optimum(law, FLOPS)
    assert plan["n_params"] == pytest.approx(n_params, rel=1e-9)
    assert plan["n_tokens"] == pytest.approx(n_tokens, rel=1e-9)
    assert plan["tokens_per_param"] == pytest.approx(n_tokens / n_params, rel=1e-9)
    assert plan["loss"] == pytest.approx(loss(law, n_params, n_tokens), rel=1e-9)


def test_the_first_interval_is_that_of_the_shipped_draws(shipped, law, plan) -> None:
    """400 draws stand for the 4000 of the interval: their 2.5 % points scatter by about a sixth of a half-width."""
    draws = np.array(shipped["uncertainty"]["draws"])
    N = np.array([optimum(d, FLOPS)[0] for d in draws])
    D = FLOPS / 6 / N
    L = np.array([loss(d, *optimum(d, FLOPS)) for d in draws])
    drawn = {"n_params": N, "n_tokens": D, "tokens_per_param": D / N, "loss": L}
    for name, values in drawn.items():
        low, high = plan["intervals"][name]["low"], plan["intervals"][name]["high"]
        room = 0.12 * (high - low)
        assert np.percentile(values, [2.5, 97.5]) == pytest.approx([low, high], abs=room)
        assert low < np.median(values) < high


def wasted_at(law, n_params: float) -> float:
    """Per cent of the compute that the optimal model of the same loss would not have needed."""
    reached = loss(law, n_params, FLOPS / 6 / n_params)

    def too_good(ln_c: float) -> float:
        return reached - loss(law, *optimum(law, math.exp(ln_c)))

    return 100 * (1 - math.exp(brentq(too_good, math.log(1e19), math.log(1e22))) / FLOPS)


def test_the_cheap_range_off_the_optimum_wastes_what_it_says(law, plan) -> None:
    off, (best, _) = plan["off_optimum"], optimum(law, FLOPS)
    shares = off["ratio_low"], off["ratio_high"]
    assert [off["n_params_low"], off["n_params_high"]] == pytest.approx([s * best for s in shares], rel=1e-9)
    assert max(wasted_at(law, share * best) for share in shares) == pytest.approx(
        100 * off["worst"], rel=1e-6
    )


def test_the_true_exponent_of_the_example_runs_is_told(exponents) -> None:
    """Planted: L = 1.80 + 450 / N^.345 + 1800 / D^.360, so that N* grows as C^(.360 / .705)."""
    assert len(exponents) == 3
    for told in exponents.values():
        assert told["truth"] == pytest.approx(0.360 / 0.705, rel=1e-9)
        assert told["interval"]["low"] < told["truth"] < told["interval"]["high"]
        assert told["interval"]["low"] < told["value"] < told["interval"]["high"]
        assert told["inside"]


def test_approach_1_is_the_line_through_the_cheapest_model_at_each_budget(exponents) -> None:
    curves = example_curves()
    sizes = np.unique(curves["n_params"])
    ln_c = np.linspace(math.log(3e17), math.log(3e20), 400)
    losses = []
    for n in sizes:
        rows = curves["n_params"] == n
        losses.append(np.interp(ln_c, np.log(6 * n * curves["n_tokens"][rows]), curves["loss"][rows]))
    best = sizes[np.argmin(losses, axis=0)]
    value = exponents["envelope"]["value"]
    # thirteen sizes a factor of 1.7 apart: the staircase of the cheapest one leaves .02 to the slope
    assert np.polyfit(ln_c, np.log(best), 1)[0] == pytest.approx(value, abs=0.02)


def test_approach_2_is_the_line_through_the_vertices_of_parabolas(exponents) -> None:
    runs = example_runs()
    vertices, budgets = [], np.unique(runs.budget)
    for budget in budgets:
        rows = runs.budget == budget
        a, b, _ = np.polyfit(np.log(runs.n_params[rows]), runs.loss[rows], 2)
        vertices.append(-b / (2 * a))
    value, (low, high) = exponents["isoflop"]["value"], ends(exponents["isoflop"])
    plain = np.polyfit(np.log(budgets), vertices, 1)[0]
    assert plain == pytest.approx(
        value, abs=0.3 * (high - low)
    )  # theirs: ours weighs minima and knows the curvature
    assert low < plain < high


def test_approach_3_is_the_surface_through_the_example_runs(exponents) -> None:
    runs = example_runs()
    ln_n, ln_d, ln_l = np.log(runs.n_params), np.log(runs.n_tokens), np.log(runs.loss)

    def residuals(t):
        a, b, e, alpha, beta = t
        return np.log(np.exp(a - alpha * ln_n) + np.exp(b - beta * ln_d) + math.exp(e)) - ln_l

    start = [math.log(400), math.log(400), math.log(1.7), 0.3, 0.3]
    found = least_squares(
        residuals, start, x_scale=[1, 1, 0.1, 0.05, 0.05], xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    *_, alpha, beta = found.x
    value, (low, high) = exponents["parametric"]["value"], ends(exponents["parametric"])
    assert beta / (alpha + beta) == pytest.approx(
        value, abs=0.1 * (high - low)
    )  # Huber's objective, not squares
