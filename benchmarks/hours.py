"""Printed beside published accelerator-hours of whole runs, and estimated beside measured peaks of memory.

    python benchmarks/hours.py            # both tables
    python benchmarks/hours.py --write    # put them into benchmarks/README.md
    python benchmarks/hours.py --fit      # the coefficients of planning/utilisation.py, and each laboratory left out

Every run of scaling/reference/training_hours.csv is planned from its parameters, tokens, context and devices alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scaling.accounting import estimate_memory
from scaling.planning.cost import Budget, Constraints, make_cluster
from scaling.planning.plan import plan_training
from scaling.planning.utilisation import (
    LABORATORY,
    MIDDLE_DEVICES,
    RUN,
    SPREAD,
    WIDTH_OVER_DEPTH,
    features,
    starvation,
)
from scaling.reference.hardware import find_accelerator
from scaling.reference.measured_runs import TrainingRun, measured_peaks, training_runs

README = Path(__file__).with_name("README.md")
START, END = "<!-- hours.py -->", "<!-- /hours.py -->"


def printed_hours(run: TrainingRun) -> tuple[float, float, float]:
    """What `scaling plan` prints for this run: low, middle and high."""
    plan = plan_training(
        Budget(n_params=run.n_params, n_tokens=run.n_tokens),
        cluster=make_cluster(run.accelerator, count=run.n_devices),
        constraints=Constraints(context_length=run.context_length),
    )
    return plan.cost.accelerator_hours


def hours_table() -> Iterator[str]:
    """A row a run, and how well all come out."""
    yield "| run | devices | published hours | printed | range | middle / published | within |"
    yield "|---|---|---|---|---|---|---|"
    ratios, inside, widths = [], [], []
    for run in training_runs():
        low, mid, high = printed_hours(run)
        ratios.append(mid / run.accelerator_hours)
        inside.append(low <= run.accelerator_hours <= high)
        widths.append(high / low)
        devices = f"{run.n_devices or ''} {run.accelerator}"
        yield (
            f"| {run.run} | {devices} | {run.accelerator_hours:,.0f} | {mid:,.0f} | {low:,.0f} to {high:,.0f} "
            f"| {ratios[-1]:.2f} | {'yes' if inside[-1] else 'no'} |"
        )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    yield ""
    yield (
        f"{len(ratios)} runs: geometric mean of middle / published {mean:.2f}; {sum(inside) / len(inside):.0%} within "
        f"the printed range; its width at most a factor of {max(widths):.2f}."
    )


def memory_table() -> Iterator[str]:
    """A row a measured peak; of the configurations that ran, how full they are said to be."""
    yield "| FSDP, bf16 | recomputation | estimated, GiB | measured | estimated / measured |"
    yield "|---|---|---|---|---|"
    shares = []
    for peak in measured_peaks():
        gib = estimate_memory(peak.architecture, **peak.set_up()).total_bytes / 2**30
        if peak.peak_gib is None:
            shares.append(gib / peak.device_gib)
            continue
        yield f"| {peak.run} | {peak.recomputation} | {gib:.1f} | {peak.peak_gib:.1f} | {gib / peak.peak_gib:.2f} |"
    yield ""
    yield (
        f"{sum(share <= 1 for share in shares)} of {len(shares)} configurations that llm-foundry ran on 80 GB are said "
        f"to fit, the fullest with {max(shares):.0%} of the memory."
    )


def regression() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln of the share of the peak that each run reached (attention added), what it is explained by, its laboratory."""
    y, x, laboratories = [], [], []
    for run in training_runs():
        accelerator = find_accelerator(run.accelerator)
        peak = accelerator.peak_flops_per_s
        assert peak is not None
        d_model = (WIDTH_OVER_DEPTH * run.n_params / 12) ** (1 / 3)
        reached = run.flops / (run.accelerator_hours * 3600 * peak)
        y.append(math.log(reached * (1 + run.context_length / (12 * d_model))))
        x.append(features(run.n_params, run.n_devices or MIDDLE_DEVICES, starvation(peak, accelerator)))
        laboratories.append(run.laboratory)
    return np.array(y), np.array(x), np.array(laboratories)


def covariance(laboratories: np.ndarray, between: float, within: float) -> np.ndarray:
    """Of runs with a deviation of their laboratory beside their own."""
    same = laboratories[:, None] == laboratories[None, :]
    return within**2 * np.eye(len(laboratories)) + between**2 * same


def fit_utilisation(keep: np.ndarray, between: float = LABORATORY, within: float = RUN) -> np.ndarray:
    """Coefficients by generalised least squares on the runs of the mask `keep`."""
    y, x, laboratories = regression()
    weighted = x[keep].T @ np.linalg.inv(covariance(laboratories[keep], between, within))
    return np.linalg.solve(weighted @ x[keep], weighted @ y[keep])


def restricted_likelihood(between: float, within: float) -> float:
    """ln of it, up to a constant, of the two standard deviations."""
    y, x, laboratories = regression()
    cov = covariance(laboratories, between, within)
    left = y - x @ fit_utilisation(np.ones(len(y), bool), between, within)
    determinants = np.linalg.slogdet(cov)[1] + np.linalg.slogdet(x.T @ np.linalg.solve(cov, x))[1]
    return -0.5 * float(left @ np.linalg.solve(cov, left) + determinants)


def left_out() -> np.ndarray:
    """ln of estimated over reached share of each run, by coefficients fitted without its laboratory."""
    y, x, laboratories = regression()
    told = np.empty(len(y))
    for laboratory in set(laboratories):
        told[laboratories == laboratory] = x[laboratories == laboratory] @ fit_utilisation(
            laboratories != laboratory
        )
    return told - y


def print_fit() -> None:
    grid = [(i / 100, j / 100) for i in range(10, 40) for j in range(15, 40)]
    between, within = max(grid, key=lambda pair: restricted_likelihood(*pair))
    print(f"LABORATORY, RUN = {between}, {within}")
    every = np.ones(len(training_runs()), bool)
    print("LEVEL, SMALL, STARVED, MANY =", fit_utilisation(every, between, within).round(4))
    deviations = left_out()
    inside, mean = np.mean(abs(deviations) < math.log(SPREAD)), math.exp(-deviations.mean())
    print(f"laboratories left out: {inside:.0%} within a factor of {SPREAD}, middle / published {mean:.2f}")


def main() -> None:
    if "--fit" in sys.argv[1:]:
        print_fit()
        return
    text = "\n".join((*hours_table(), "", *memory_table()))
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    README.write_text(f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
