"""The noise of seeds, from replicates where there are any."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.prediction import SeedNoise, seed_noise
from scaling.runs import Runs


def test_two_seeds_differ_by_students_t_times_root_two_standard_deviations() -> None:
    noise = SeedNoise(standard_deviation=0.01, dof=2, source="repeated cells", level=0.95)
    assert noise.gap(2.0) == pytest.approx(2 * (np.exp(4.3027 * 2**0.5 * 0.01) - 1), rel=1e-4)  # t of 2 dof


@pytest.mark.parametrize(("n_seeds", "source"), [(2, "repeated cells"), (1, "residuals of the law")])
def test_noise_of_seeds_is_the_planted_one(n_seeds: int, source: str) -> None:
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 8), np.geomspace(1e8, 1e11, 8)))
    N, D = np.tile(N, n_seeds), np.tile(D, n_seeds)
    noise = np.random.default_rng(0).normal(0, 0.004, len(N))
    loss = (1.7 + 400 / N**0.34 + 410 / D**0.28) * np.exp(noise)
    found = seed_noise(fit_parametric(Runs.from_arrays(n_params=N, n_tokens=D, loss=loss)))
    assert found.source == source
    assert found.dof == (64 if n_seeds == 2 else 64 - 5)
    assert found.standard_deviation == pytest.approx(
        0.004, rel=0.3
    )  # 59 degrees of freedom: 9 % is one sigma
