"""Derive the default law "besiroglu" and its uncertainty, and write scaling/reference/besiroglu.json.

Data: the 240 Chinchilla runs of Besiroglu et al. 2024 (their 245 digitised points less the five they drop), which
`scaling data get epoch-chinchilla` downloads. The law is the certified minimum of Hoffmann's objective (sum of Huber
with threshold 1e-3 of the difference of log losses); the interval is the percentile interval of a pairs bootstrap.

    python benchmarks/derive_default_law.py RUNS.csv [--n 4000] [--seed 0] [--output scaling/reference/besiroglu.json]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.surface.bootstrap import bootstrap
from scaling.fitting.surface.fit import fit_parametric, law_uncertainty
from scaling.laws import OptimumBand, Uncertainty
from scaling.reference import find_law, write_law
from scaling.runs import Runs, load_runs

HUBER_DELTA = 1e-3  # Hoffmann et al. 2022, sec. 3.3
LEVEL = 0.95
N_DRAWS = 400  # kept in the file: percentiles at 2.5 % rest on ten draws a side
LOG10_FLOPS = np.arange(15.0, 30.25, 0.5)
DIGITS = 9  # of band ends and draws; the coefficients keep all
OUTPUT = Path(__file__).resolve().parents[1] / "scaling" / "reference" / "besiroglu.json"

Array = NDArray[np.float64]


def load_besiroglu_runs(path: str) -> Runs:
    """The 240 runs: where the table marks the five outliers they are left out, else those of highest loss are."""
    runs = load_runs(path, params_convention="total", flops_convention="6ND", loss_unit="nats/token")
    if "epoch_outlier" in runs.extras:
        outlier = np.array([str(v).lower() in ("true", "1", "1.0") for v in runs.extras["epoch_outlier"]])
    else:
        outlier = runs.loss >= np.sort(runs.loss)[-5]
    return runs.select(~outlier)


def optimum(draws: Array, log10_flops: float) -> tuple[Array, Array]:
    """ln N* and L* of each draw (E, A, B, alpha, beta), as ChinchillaLaw.allocate has them."""
    E, A, B, alpha, beta = draws.T
    log_product = log10_flops * np.log(10) - np.log(6)
    ln_n = (np.log(alpha * A / (beta * B)) + beta * log_product) / (alpha + beta)
    return ln_n, E + A * np.exp(-alpha * ln_n) + B * np.exp(-beta * (log_product - ln_n))


def optimum_band(draws: Array) -> OptimumBand:
    """Percentile interval of N* and L* on the grid of budgets."""
    tails = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    columns: dict[str, list[float]] = {
        "n_params_low": [],
        "n_params_high": [],
        "loss_low": [],
        "loss_high": [],
    }
    for x in LOG10_FLOPS:
        ln_n, loss = optimum(draws, float(x))
        ends = (*np.exp(np.percentile(ln_n, tails)), *np.percentile(loss, tails))
        for column, end in zip(columns.values(), ends, strict=True):
            column.append(_rounded(end))
    return OptimumBand(
        log10_flops=tuple(map(float, LOG10_FLOPS)), **{k: tuple(v) for k, v in columns.items()}
    )


def derive(runs: Runs, n: int, seed: int) -> tuple[dict[str, float], Array, float]:
    """Coefficients at the certified minimum, n bootstrap draws of them (n, 5), and the scatter of one run."""
    fit = fit_parametric(runs, huber_delta=HUBER_DELTA)
    print(f"{len(runs)} runs, objective {fit.objective.value:.13g}")
    resampled = bootstrap(fit, runs, n, seed=seed, cluster="run")
    print(f"{n} resamples, {resampled.unconverged_fraction:.2%} not converged, standard errors:")
    print("  " + "  ".join(f"{k} {v:.4g}" for k, v in resampled.standard_errors.items() if v is not None))
    draws = np.stack([resampled.coefficients[k] for k in fit.law.coefficients], axis=1)
    scatter = law_uncertainty(fit).residual_sd
    assert scatter is not None
    return fit.law.coefficients, draws, scatter


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", help="table of the digitised Chinchilla runs")
    parser.add_argument("--n", type=int, default=4000, help="resamples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    runs = load_besiroglu_runs(arguments.runs)
    coefficients, draws, scatter = derive(runs, arguments.n, arguments.seed)
    every = max(1, arguments.n // N_DRAWS)
    law = find_law("besiroglu")
    uncertainty = Uncertainty(
        level=LEVEL,
        method=f"pairs bootstrap, percentile, {arguments.n} resamples of the {len(runs)} runs",
        statement="statistical only: assumes the form of the law and independent runs",
        band=optimum_band(draws),
        draws=tuple(tuple(_rounded(v) for v in row) for row in draws[::every]),
        draws_method=f"pairs bootstrap, every {every}th of the {arguments.n} resamples",
        residual_sd=_rounded(scatter),
    )
    law = replace(law.family.make(**coefficients, provenance=law.provenance), uncertainty=uncertainty)
    write_law(law, arguments.output)
    print(f"wrote {arguments.output}")


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


if __name__ == "__main__":
    main()
