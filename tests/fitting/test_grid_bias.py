"""The bias that a grid and the shape of a valley give Approach 2, against parabolas fitted by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.laws import ChinchillaLaw
from scaling.runs import Runs

LAWS = {
    "N falls faster": ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.465, beta=0.155),
    "D falls faster": ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.155, beta=0.465),
}
BUDGETS = np.logspace(17, 21, 5)
DRIFTS = (0.25, 1.0, 4.0)  # of the grid's centre against D*, from the first budget to the last


def grid(law: ChinchillaLaw, drift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N, D and C of fifteen runs a budget around a centre that drifts away from the optimum."""
    D = [
        law.allocate(c).n_tokens * drift ** (i / (len(BUDGETS) - 1)) * np.geomspace(1 / 8, 8, 15)
        for i, c in enumerate(BUDGETS)
    ]
    D_BR = np.array(D)
    C_BR = np.repeat(BUDGETS[:, None], 15, axis=1)
    return C_BR / (6 * D_BR), D_BR, C_BR


def line_by_parabolas(law: ChinchillaLaw, drift: float) -> np.ndarray:
    """Slope and height of ln N* on ln C, N* the vertex of a parabola through each budget's exact losses."""
    N, D, _ = grid(law, drift)
    vertices = []
    for n, d in zip(N, D):
        a, b, _ = np.polyfit(np.log(n), law.loss(n, d), 2)
        vertices.append(-b / (2 * a))
    return np.polyfit(np.log(BUDGETS), vertices, 1)


def exponent_by_parabolas(law: ChinchillaLaw, drift: float) -> float:
    return float(line_by_parabolas(law, drift)[0])


def ln_params_by_parabolas(law: ChinchillaLaw, drift: float, flops: float) -> float:
    """What the line of the vertices finds at a budget, over the law's own N*, in ln."""
    found = np.polyval(line_by_parabolas(law, drift), np.log(flops))
    return float(found - np.log(law.allocate(flops).n_params))


@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize("name", LAWS)
def test_the_bias_of_the_exponent_is_what_parabolas_find_minus_the_truth(name: str, drift: float) -> None:
    law = LAWS[name]
    N, D, C = (v.ravel() for v in grid(law, drift))
    noise = 1e-5 * np.random.default_rng(1).standard_normal(N.size)  # without any, no interval is given
    runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=law.loss(N, D) * np.exp(noise), flops=C, budget=C)
    fit = fit_isoflop(runs, valley="parabola", surface=law)
    truth = law.beta / (law.alpha + law.beta)
    bias = exponent_by_parabolas(law, drift) - truth

    assert fit.bias is not None
    assert fit.bias.params_exponent == pytest.approx(bias, rel=0.02, abs=2e-4)
    for at in fit.bias.at:
        assert at.ln_params == pytest.approx(ln_params_by_parabolas(law, drift, at.flops), rel=0.02, abs=2e-3)
    assert fit.params_exponent.value - truth == pytest.approx(bias, rel=0.05, abs=5e-4)
    assert f"moves the exponent of N* by {bias:+.3f}"[:-1] in fit.bias.statement


def test_the_bias_has_both_signs() -> None:
    """so that a sign exchanged cannot pass unseen"""
    found = {(name, drift): exponent_by_parabolas(law, drift) - law.beta / (law.alpha + law.beta)
             for name, law in LAWS.items() for drift in DRIFTS}  # fmt: skip
    assert min(found.values()) < -0.005
    assert max(found.values()) > 0.005
    sizes = [ln_params_by_parabolas(law, d, 10 * BUDGETS[-1]) for law in LAWS.values() for d in DRIFTS]
    assert min(sizes) < -0.05
    assert max(sizes) > 0.05
