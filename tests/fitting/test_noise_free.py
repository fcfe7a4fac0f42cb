"""Losses as close to a law as they are printed are called noise-free; measured ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.general_fit import fit_law
from scaling.laws import ChinchillaLaw
from scaling.runs import Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
OF_SCATTER = {"lack-of-fit", "pure-error", "far-off-runs", "budget-effects", "unequal-noise", "few-runs"}
OF_SCATTER |= {"objective-spread", "optimum-uncertain", "not-converged"}


def grid(noise: float, digits: int | None) -> Runs:
    N, D = (g.ravel() for g in np.meshgrid(np.geomspace(3e7, 3e10, 5), np.geomspace(5e8, 5e12, 6)))
    loss = LAW.loss(N, D) * np.exp(noise * np.random.default_rng(0).standard_normal(len(N)))
    return Runs.from_arrays(n_params=N, n_tokens=D, loss=loss if digits is None else np.round(loss, digits))


def codes(fit: object) -> set[str]:
    return {f.code for f in fit.findings}  # type: ignore[attr-defined]


@pytest.mark.parametrize("digits", [None, 9, 6, 5, 4])
def test_losses_of_a_formula_are_noise_free_to_their_printed_digits(digits: int | None) -> None:
    runs = grid(0.0, digits)
    for fit in (fit_parametric(runs), fit_law(runs, "chinchilla")):
        assert "noise-free" in codes(fit)
        assert not codes(fit) & OF_SCATTER
        assert fit.lack_of_fit is None
        assert fit.coefficients == pytest.approx(LAW.coefficients, rel=0.05)


@pytest.mark.parametrize("digits", [None, 6, 4, 3, 2])
def test_measured_losses_are_not(digits: int | None) -> None:
    runs = grid(0.002, digits)
    for fit in (fit_parametric(runs), fit_law(runs, "chinchilla")):
        assert "noise-free" not in codes(fit)
        assert fit.lack_of_fit is not None


def test_one_wrong_run_among_computed_ones_is_still_told() -> None:
    runs = grid(0.0, 5)
    loss = runs.loss.copy()
    loss[7] *= 1.2
    wrong = Runs.from_arrays(n_params=runs.n_params, n_tokens=runs.n_tokens, loss=loss)
    for fit in (fit_parametric(wrong), fit_law(wrong, "chinchilla")):
        assert "far-off-runs" in codes(fit)
        assert "noise-free" not in codes(fit)


def test_the_intervals_of_a_rounded_formula_stay() -> None:
    fit = fit_parametric(grid(0.0, 5))
    assert fit.intervals["alpha"] is not None
    assert fit.alternatives


def test_floors_of_zero_are_certified_in_every_family_that_has_one() -> None:
    x = np.geomspace(1e17, 1e22, 20)
    noise = np.exp(0.004 * np.random.default_rng(3).standard_normal(20))
    N, D = x[:20] ** 0.5, x[:20] ** 0.55
    bent = np.exp(0.8 - 0.05 * np.log(x / 1e19) - 0.002 * np.log(x / 1e19) ** 2) * noise  # falls ever faster
    for name, runs in (
        ("flops_power_law_floor", Runs.from_arrays(flops=x, loss=bent)),
        ("params_power_law_floor", Runs.from_arrays(n_params=N, loss=bent)),
        ("tokens_power_law_floor", Runs.from_arrays(n_tokens=D, loss=bent)),
        ("kaplan_floor", Runs.from_arrays(n_params=N, n_tokens=D * np.geomspace(3, 1, 20) ** 2, loss=bent)),
    ):
        for seed in (0, 1):
            fit = fit_law(runs, name, seed=seed)
            assert fit.at_bound[:1] == ("E",), name
            assert fit.certified, name
            (told,) = [f.message for f in fit.findings if f.code == "at-bound" and "no floor" in f.message]
            assert f"--law {name.removesuffix('_floor')}" in told


@pytest.mark.parametrize(("noise", "told"), [(0.0, True), (0.002, False)])
def test_valleys_of_a_formula_are_noise_free_too(noise: float, told: bool) -> None:
    C, spread = (g.ravel() for g in np.meshgrid([1e19, 1e20, 1e21, 1e22], np.geomspace(0.2, 5, 7)))
    N = np.array([LAW.allocate(float(c)).n_params for c in C]) * spread
    loss = LAW.loss(N, C / (6 * N)) * np.exp(noise * np.random.default_rng(0).standard_normal(len(N)))
    fit = fit_isoflop(Runs.from_arrays(n_params=N, flops=C, loss=np.round(loss, 5)))
    assert ("noise-free" in codes(fit)) == told
