"""fit_law: every shipped family back from its own noise-free losses, and agreement with fit_parametric."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scaling.errors import FitError, UsageError
from scaling.fitting.surface.general import FamilyData
from scaling.fitting.surface.general_fit import fit_law
from scaling.fitting.surface.problem import Penalty
from scaling.laws import (
    ChinchillaLaw,
    DataConstrainedLaw,
    KaplanLaw,
    OverTrainingLaw,
    find_family,
    law_from_dict,
)
from scaling.laws.base import Law
from scaling.runs import Runs, load_runs

CHINCHILLA = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
N, D = (g.ravel() for g in np.meshgrid(np.logspace(7.5, 10, 8), np.logspace(9, 11.5, 8)))


def runs_on(law: Law, noise: float = 0.0, seed: int = 0, **columns: np.ndarray) -> Runs:
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(N)))
    return Runs.from_arrays(n_params=N, n_tokens=D, loss=law.loss(N, D, **columns) * scatter, **columns)


@pytest.mark.parametrize(
    "law",
    [
        CHINCHILLA,
        KaplanLaw(alpha_N=0.076, alpha_D=0.095, N_c=8.8e13, D_c=5.4e13),  # Kaplan et al. 2020, eq. 1.1-1.2
        OverTrainingLaw(E=1.7, a=1000.0, b=3000.0, eta=0.18),
    ],
)
def test_noise_free_coefficients_come_back(law: Law) -> None:
    fit = fit_law(runs_on(law), law.family)
    assert fit.coefficients == pytest.approx(law.coefficients, rel=1e-6)
    assert fit.certified


def test_data_constrained_law_reads_unique_tokens() -> None:
    law = DataConstrainedLaw(E=1.87, A=521, B=1488, alpha=0.353, beta=0.353, R_D=15.4, R_N=5.31)
    unique = np.minimum(D, 4e9)
    fit = fit_law(runs_on(law, n_tokens_unique=unique), "data_constrained")
    x = {"n_params": 3e9, "n_tokens": 5e10, "n_tokens_unique": 4e9}
    assert fit.law.predict(x)["loss"] == pytest.approx(law.predict(x)["loss"], rel=1e-5)


def test_least_squares_agree_with_fit_parametric_on_real_runs(shared_runs: Path) -> None:
    from scaling.fitting.surface.fit import fit_parametric

    runs = load_runs(shared_runs / "epoch_chinchilla.csv")
    general = fit_law(runs, "chinchilla", objective="log_least_squares")
    special = fit_parametric(runs, objective="log_least_squares", intervals=False)
    assert general.coefficients == pytest.approx(special.coefficients, rel=1e-4)
    assert general.objective.value == pytest.approx(special.objective.value, rel=1e-9)


@pytest.mark.parametrize("name", ["chinchilla", "kaplan_floor", "over_training", "data_constrained"])
def test_gradient_is_that_of_the_objective(name: str) -> None:
    family = find_family(name)
    inputs = {"n_params": N, "n_tokens": D, "n_tokens_unique": np.minimum(D, 2e10)}
    data = FamilyData(family=family, inputs=inputs, ln_loss=np.log(CHINCHILLA.loss(N, D)), held={},
                      terms=np.zeros((1, len(N))), seed=1, cells=None)  # fmt: skip

    def objective(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return data.normal_equations(z, Penalty(delta=0.05), None, np.zeros((len(z), 1)))[:2]

    z = data.search_point(family.starts(400, seed=1))
    z = z[np.all((z > data.lower) & (z < data.upper), axis=1)]
    z = z[np.argsort(objective(z)[0])[:3]]
    for j in range(z.shape[1]):
        step = np.zeros_like(z)
        step[:, j] = 1e-6
        numeric = (objective(z + step)[0] - objective(z - step)[0]) / 2e-6
        assert objective(z)[1][:, j] == pytest.approx(numeric, rel=1e-4, abs=1e-6)
    r, J = data.residuals(z[0]), data.jacobian(z[0])
    assert np.exp(r + data.ln_loss) == pytest.approx(
        family.make(**data.coefficients(z[0])).predict(inputs)["loss"]
    )
    for j in range(z.shape[1]):
        step = np.zeros(z.shape[1])
        step[j] = 1e-6
        numeric = (data.residuals(z[0] + step) - data.residuals(z[0] - step)) / 2e-6
        assert J[j] == pytest.approx(numeric, rel=1e-4, abs=1e-7)


def test_intervals_cover_with_equal_noise() -> None:
    hits = [
        fit.estimates["alpha"].interval.contains(0.34)  # type: ignore[union-attr]
        for fit in (fit_law(runs_on(CHINCHILLA, 0.01, seed), "chinchilla") for seed in range(25))
    ]
    assert np.mean(hits) > 0.81  # 3 standard errors below .95 in 25


def test_missing_input_few_runs_and_frontier_are_refused() -> None:
    runs = runs_on(CHINCHILLA)
    with pytest.raises(FitError, match="reads n_tokens_unique, which arrays does not have"):
        fit_law(runs, "data_constrained")
    with pytest.raises(FitError, match="5 runs and the chinchilla law has 5"):
        fit_law(runs.select(np.arange(5)), "chinchilla")
    with pytest.raises(UsageError, match="does not predict the loss of a run"):
        fit_law(runs, "frontier")
    with pytest.raises(UsageError, match="huber or log_least_squares"):
        fit_law(runs, "chinchilla", objective="absolute")  # type: ignore[arg-type]
    unknown = np.where(np.arange(len(N)) == 3, np.nan, D)
    with pytest.raises(FitError, match="row 4: n_tokens_unique = nan"):
        fit_law(
            Runs.from_arrays(n_params=N, n_tokens=D, loss=runs.loss, n_tokens_unique=unknown),
            "data_constrained",
        )


def test_json_round_trip() -> None:
    fit = fit_law(runs_on(CHINCHILLA, 0.01), "kaplan_floor")
    assert law_from_dict(json.loads(json.dumps(fit.to_dict(), allow_nan=False))) == fit.law
