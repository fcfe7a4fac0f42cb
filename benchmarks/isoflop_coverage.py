"""Coverage of Approach 2's stated 95 % intervals in simulation: the exponent a, N* at 10x and 1000x, L* at 10x.

    python benchmarks/isoflop_coverage.py [replications]      # 1000: about 5 minutes of CPU

Per design and valley: coverage, and the share of replications in which the fit itself says that its intervals hold
(bias on the grid at most a quarter of a half-width). The surface behind the bias and the surface valleys is Approach 3
fitted to the same noisy runs, as for a user.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError
from scaling.fitting.isoflop.fit import VALLEYS, fit_isoflop
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.fitting.surface.fit import fit_parametric
from scaling.laws import ChinchillaLaw
from scaling.runs import Runs

CHINCHILLA = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
ASYMMETRIC = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.465, beta=0.155)
SYMMETRIC = ChinchillaLaw(E=1.69, A=400, B=400, alpha=0.31, beta=0.31)
QUANTITIES = ("a", "N* 10x", "N* 1000x", "L* 10x")


@dataclass(frozen=True, kw_only=True)
class Design:
    name: str
    law: ChinchillaLaw
    width: float  # grid on +- this factor about its centre
    drift: float = 1.0  # centre over D*, from 1 at the first budget to this at the last
    noise: float = 0.01  # of the loss
    budgets: int = 7
    points: int = 9
    scatter: float = 0.0  # of a run's FLOPs about its budget


DESIGNS = (
    Design(name="symmetric, centred 4x, 1 %", law=SYMMETRIC, width=4),
    Design(name="Chinchilla, centred 4x, 1 %", law=CHINCHILLA, width=4),
    Design(name="Chinchilla, centred 4x, 0.5 %, FLOPs off by 5 %", law=CHINCHILLA, width=4, noise=0.005, scatter=0.05),
    Design(name="Chinchilla, centred 4x, 2 %, 5 x 15 runs", law=CHINCHILLA, width=4, noise=0.02, budgets=5, points=15),
    Design(name="Chinchilla, centred 16x, 0.5 %", law=CHINCHILLA, width=16, noise=0.005),
    Design(name="Chinchilla, drift to 3x, 8x, 0.5 %", law=CHINCHILLA, width=8, drift=3, noise=0.005),
    Design(name="asymmetric, centred 8x, 0.5 %", law=ASYMMETRIC, width=8, noise=0.005),
    Design(name="asymmetric, drift to 3x, 8x, 0.5 %", law=ASYMMETRIC, width=8, drift=3, noise=0.005),
)  # fmt: skip


def simulate(design: Design, rng: np.random.Generator) -> Runs:
    law, nominal = design.law, np.logspace(18, 21, design.budgets)
    centre = np.geomspace(1, design.drift, design.budgets) * [law.allocate(c).n_tokens for c in nominal]
    n_tokens = np.outer(centre, np.logspace(-1, 1, design.points) ** math.log10(design.width))
    flops = nominal[:, None] * np.exp(design.scatter * rng.standard_normal(n_tokens.shape))
    n_params = flops / (6 * n_tokens)
    loss = law.loss(n_params, n_tokens) * np.exp(design.noise * rng.standard_normal(n_tokens.shape))
    budget = np.broadcast_to(nominal[:, None], n_tokens.shape)
    return Runs.from_arrays(
        n_params=n_params.ravel(),
        n_tokens=n_tokens.ravel(),
        loss=loss.ravel(),
        flops=flops.ravel(),
        budget=budget.ravel(),
    )


def covered(fit: IsoflopFit, law: ChinchillaLaw) -> dict[str, bool]:
    def n_star(flops: float) -> bool:
        low, high = fit.params_line.band(flops)
        return bool(low <= law.allocate(flops).n_params <= high)

    assert fit.params_exponent.interval is not None
    inside = {
        "a": fit.params_exponent.interval.contains(law.params_exponent),
        "N* 10x": n_star(1e22),
        "N* 1000x": n_star(1e24),
    }
    if fit.loss_frontier is not None:
        low, high = fit.loss_frontier.band(1e22, fit.level)
        best = law.allocate(1e22).loss
        assert best is not None
        inside["L* 10x"] = bool(low <= best <= high)
    return inside


def main(replications: int) -> None:
    print(f"| design | valley | {' | '.join(QUANTITIES)} | says it holds | budgets refused | no fit |")
    print("|---" * (5 + len(QUANTITIES)) + "|")
    for design in DESIGNS:
        rng = np.random.default_rng(20240404)
        hits: dict[str, dict[str, list[bool]]] = {v: defaultdict(list) for v in VALLEYS}
        holds: dict[str, list[bool]] = defaultdict(list)
        refused, failed = defaultdict(int), defaultdict(int)
        for _ in range(replications):
            runs = simulate(design, rng)
            surface = fit_parametric(runs, intervals=False).law
            for valley in VALLEYS:
                try:
                    fit = fit_isoflop(runs, valley=valley, surface=surface)
                except FitError:
                    failed[valley] += 1
                    continue
                for name, inside in covered(fit, design.law).items():
                    hits[valley][name].append(inside)
                holds[valley].append(fit.interval_holds is not False)
                refused[valley] += len(fit.refused)
        for valley in VALLEYS:
            cells = [f"{100 * np.mean(hits[valley][q]):.1f}" for q in QUANTITIES]
            share = refused[valley] / (replications * design.budgets)
            print(
                f"| {design.name} | {valley} | {' | '.join(cells)} | {100 * np.mean(holds[valley]):.0f} % | "
                f"{100 * share:.1f} % | {failed[valley]} |",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
