"""How often do nominal 95 % intervals of a law of any family hold the truth? Planted laws, as benchmarks/coverage.py.

    python benchmarks/family_coverage.py                       # 200 tables a cell, 2 CPU minutes
    python benchmarks/family_coverage.py --replications 1000

A cell is a planted law x a noise, on 8 sizes x 8 numbers of tokens. Each table is fitted by `fit_law` and asked for
every coefficient, and for N* and the loss at ten times its largest budget. With 200 tables a coverage is known to 3
points.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from typing import Any

import numpy as np

from scaling import Runs, fit_law
from scaling.laws import DataConstrainedLaw, KaplanFloorLaw, KaplanLaw, OverTrainingLaw

N, D = (g.ravel() for g in np.meshgrid(np.logspace(7.5, 10, 8), np.logspace(9, 11.5, 8)))
UNIQUE = np.minimum(D, 2e10)
LAWS = {
    "kaplan": KaplanLaw(alpha_N=0.076, alpha_D=0.095, N_c=8.8e13, D_c=5.4e13),
    "kaplan_floor": KaplanFloorLaw(E=1.5, alpha_N=0.2, alpha_D=0.25, N_c=2e9, D_c=3e10),
    "over_training": OverTrainingLaw(E=1.7, a=1000.0, b=3000.0, eta=0.18),
    "data_constrained": DataConstrainedLaw(
        E=1.87, A=521, B=1488, alpha=0.353, beta=0.353, R_D=15.4, R_N=5.31
    ),
}
NOISES = ("equal 0.5 %", "unequal 0.2 to 1 %", "t3 0.5 %")
TEN_TIMES = 10 * 6 * float((N * D).max())


def noise_of(kind: str, random: np.random.Generator) -> np.ndarray:
    normal = random.standard_normal(len(N))
    if kind.startswith("equal"):
        return 0.005 * normal
    if kind.startswith("t3"):
        return 0.005 / np.sqrt(3) * random.standard_t(3, len(N))
    rank = np.argsort(np.argsort(N * D)) / (len(N) - 1)  # dear runs scatter less
    return (0.01 - 0.008 * rank) * normal


def asked(law: Any, fit: Any) -> dict[str, tuple[float, Any]]:
    """Truth and interval of each quantity."""
    found = {name: (value, fit.estimates[name].interval) for name, value in law.coefficients.items()}
    if "n_tokens_unique" not in (i.name for i in law.family.inputs):
        best = law.allocate(TEN_TIMES)
        for name in ("n_params", "loss"):
            found[f"{name} x10"] = (getattr(best, name), fit.estimate(name, flops=TEN_TIMES).interval)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replications", type=int, default=200)
    n = parser.parse_args().replications
    print(f"{'law':<18}{'noise':<20}{'mean':>6}  {'lowest':<22}{'highest':<22}{'ms a fit':>8}")
    for name, law in LAWS.items():
        extra = {"n_tokens_unique": UNIQUE} if name == "data_constrained" else {}
        exact = law.loss(N, D, **extra)
        for kind in NOISES:
            held: dict[str, list[bool]] = defaultdict(list)
            begun = time.process_time()
            for seed in range(n):
                scatter = np.exp(noise_of(kind, np.random.default_rng(seed)))
                runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=exact * scatter, **extra)
                for quantity, (truth, interval) in asked(law, fit_law(runs, name)).items():
                    held[quantity].append(interval is not None and interval.low <= truth <= interval.high)
            ms = 1000 * (time.process_time() - begun) / n
            share = {quantity: 100 * float(np.mean(hits)) for quantity, hits in held.items()}
            low, high = min(share, key=share.__getitem__), max(share, key=share.__getitem__)
            mean = np.mean(list(share.values()))
            print(f"{name:<18}{kind:<20}{mean:6.1f}  {f'{share[low]:.1f} ({low})':<22}"
                  f"{f'{share[high]:.1f} ({high})':<22}{ms:8.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
