"""Approach 1: CPU time and memory against the number of curve rows, and coverage of the exponent's interval.

python benchmarks/envelope_speed.py [replications of the coverage table]      # 300: about a minute of CPU
"""

from __future__ import annotations

import sys
import time
import tracemalloc

import numpy as np

from scaling.fitting.envelope.fit import fit_envelope
from scaling.laws import ChinchillaLaw
from scaling.runs import Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
SHAPES = ((10, 1_000), (100, 1_000), (100, 10_000), (1_000, 1_000), (100_000, 10))  # curves x rows
NOISE = ((0.003, 0.0), (0.01, 0.0), (0.0, 0.001), (0.003, 0.003))  # of a row, of a whole run


def curves(n_sizes: int, n_rows: int, row_noise: float, run_noise: float, seed: int = 0) -> Runs:
    """Sizes 30M to 10B, each trained on up to 300 tokens per parameter, logged from 0.6 on."""
    rng = np.random.default_rng(seed)
    sizes = np.logspace(7.5, 10, n_sizes)
    n_tokens = 300 * sizes[:, None] * np.logspace(-2.7, 0, n_rows)
    noise = run_noise * rng.standard_normal((n_sizes, 1)) + row_noise * rng.standard_normal(n_tokens.shape)
    n_params = np.broadcast_to(sizes[:, None], n_tokens.shape).ravel()
    names = np.repeat([f"run-{i}" for i in range(n_sizes)], n_rows).tolist()
    loss = LAW.loss(n_params, n_tokens.ravel()) * np.exp(noise.ravel())
    return Runs.from_arrays(n_params=n_params, n_tokens=n_tokens.ravel(), loss=loss, run_id=names)


def speed() -> None:
    print("| curves | rows | CPU s | peak MB beyond the table |\n|---|---|---|---|")
    for n_sizes, n_rows in SHAPES:
        runs = curves(n_sizes, n_rows, 0.003, 0.0)
        times = []
        for _ in range(3):
            start = time.process_time()
            fit_envelope(runs)
            times.append(time.process_time() - start)
        tracemalloc.start()
        fit_envelope(runs)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        print(f"| {n_sizes:,} | {len(runs):,} | {np.median(times):.2f} | {peak:.0f} |", flush=True)


def coverage(replications: int) -> None:
    print("| sizes | noise of a row, a run | bias of a | sd of a | coverage of 95 % |\n|---|---|---|---|---|")
    for n_sizes in (8, 12, 20):
        for row_noise, run_noise in NOISE:
            fits = [
                fit_envelope(curves(n_sizes, 200, row_noise, run_noise, seed)) for seed in range(replications)
            ]
            a = np.array([f.params_exponent.value for f in fits])
            inside = [i.contains(LAW.params_exponent) for f in fits if (i := f.params_exponent.interval)]
            print(
                f"| {n_sizes} | {100 * row_noise:g} %, {100 * run_noise:g} % | {a.mean() - LAW.params_exponent:+.4f} | "
                f"{a.std():.4f} | {100 * np.mean(inside):.0f} % |",
                flush=True,
            )


if __name__ == "__main__":
    speed()
    print()
    coverage(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
