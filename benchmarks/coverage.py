"""How often do nominal 95 % intervals of Approach 3 hold the truth? A simulation, design by design.

    python benchmarks/coverage.py                          # 1000 replications of every cell, two processes, ~20 min
    python benchmarks/coverage.py --replications 200 --designs 35 --noises gaussian-1
    python benchmarks/coverage.py --huber-delta 1e-3       # Hoffmann's objective

A cell is a surface x a grid of runs x a noise. Each replication draws new noise, fits, and asks for eight intervals:
E, alpha, beta, the exponent a of N*, and N* and L* at 10 and 1000 times the largest budget. Printed per cell and
method: mean coverage over the eight, the lowest and highest, and the width relative to the profile's.
`main` is what the library shows: the profile, or the jackknife where the test of budget effects rejects at 5 %.
With 1000 replications a coverage is known to +-1.4 points.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaling.errors import FitError
from scaling.fitting.surface.analysis import bare_analysis, choose_spread
from scaling.fitting.surface.chinchilla import centre
from scaling.fitting.surface.intervals import LowerMinimum, Spread
from scaling.fitting.surface.optimum import find_optimum
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.runs import Runs, load_runs

LEVEL = 0.95
SURFACES = {
    "chinchilla": ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
    "steep": ChinchillaLaw(E=1.8, A=1e5, B=3e7, alpha=0.62, beta=0.80),
    "asymmetric": ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.465, beta=0.155),
}
# runs: budgets x runs per budget; the grids people run: D within a factor of 8 of its optimum
DESIGNS = {
    "20": (np.geomspace(1e18, 1e20, 4), 5),
    "35": (np.geomspace(6e17, 1e20, 5), 7),
    "108": (np.geomspace(6e18, 3e21, 9), 12),
    "240": (np.geomspace(6e17, 3e21, 12), 20),
}
GRID_FACTOR = 8.0
NOISES = ("gaussian-0.5", "gaussian-1", "gaussian-2", "t3-1", "unequal-1", "budget-1")
QUANTITIES = ("E", "alpha", "beta", "a", "N* x10", "N* x1000", "L* x10", "L* x1000")
METHODS = ("main", "profile", "jackknife")


@dataclass(frozen=True)
class Cell:
    surface: str
    design: str
    noise: str


def make_grid(law: ChinchillaLaw, design: str, table: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n_params, n_tokens and nominal budget of each run."""
    if design == "epoch":  # the digitised Chinchilla runs, where the table is at hand
        runs = load_runs(table, params_convention="total")
        keep = np.array([str(v) != "True" for v in runs.extras["epoch_outlier"]])
        return runs.n_params[keep], runs.n_tokens[keep], runs.budget[keep]
    budgets, points = DESIGNS[design]
    factor = np.geomspace(1 / GRID_FACTOR, GRID_FACTOR, points)
    tokens = np.concatenate([law.allocate(c).n_tokens * factor for c in budgets])
    nominal = np.repeat(budgets, points)
    return nominal / (6 * tokens), tokens, nominal


def make_noise(kind: str, budget: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Errors of log loss."""
    family, _, percent = kind.rpartition("-")
    sd, n = float(percent) / 100, len(budget)
    if family == "gaussian":
        return sd * random.standard_normal(n)
    if family == "t3":  # heavy tails of the same standard deviation
        return sd * random.standard_t(3, n) / np.sqrt(3)
    if family == "unequal":  # small budgets three times as noisy as large ones
        rank = np.argsort(np.argsort(budget, kind="stable"), kind="stable") / max(n - 1, 1)
        scale = 3 - 2 * rank
        return sd * scale / np.sqrt(np.mean(scale**2)) * random.standard_normal(n)
    if family == "budget":  # half of the variance is shared by the runs of a budget
        _, label = np.unique(np.nan_to_num(budget), return_inverse=True)
        shared = random.standard_normal(label.max() + 1)[label]
        return sd * (shared + random.standard_normal(n)) / np.sqrt(2)
    raise SystemExit(f"unknown noise {kind!r}")


def truths(law: ChinchillaLaw, largest: float) -> np.ndarray:
    near, far = law.allocate(10 * largest), law.allocate(1000 * largest)
    exponents = [law.E, law.alpha, law.beta, law.params_exponent]
    return np.array([*exponents, near.n_params, far.n_params, near.loss, far.loss])


def fit_spread(runs: Runs, huber_delta: float | None) -> Spread:
    """What fit_parametric computes for its intervals, without alternatives and influence."""
    optimum = find_optimum(centre(runs.n_params, runs.n_tokens, runs.loss), "huber", huber_delta)
    return choose_spread(bare_analysis(optimum, runs, level=LEVEL), seed=0)[0]


def run_cell(task: tuple[Cell, int, int, float | None, Path]) -> dict[str, object]:
    cell, replications, seed, huber_delta, table = task
    law = SURFACES[cell.surface]
    N, D, budget = make_grid(law, cell.design, table)
    largest = float(np.max(6 * N * D))
    truth, planted = truths(law, largest), law.loss(N, D)
    random = np.random.default_rng(seed)
    names = [*METHODS, "bootstrap"] if huber_delta else list(METHODS)
    hits = {m: [] for m in names}
    widths = {m: [] for m in names}
    failed = mains = 0
    start = time.process_time()
    for _ in range(replications):
        loss = planted * np.exp(make_noise(cell.noise, budget, random))
        runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=loss, budget=budget)
        try:
            spread = fit_spread(runs, huber_delta)
            data = spread.fit.data
            asked = [data.coefficient(name) for name in ("E", "alpha", "beta")] + [data.exponent()]
            asked += [data.optimal_params(k * largest) for k in (10, 1000)]
            asked += [data.optimal_loss(k * largest) for k in (10, 1000)]
            found = {m: spread.estimates(asked, m) for m in spread.available()}
        except (LowerMinimum, FitError):
            failed += 1
            continue
        found["main"] = found[spread.main]
        mains += spread.main == "jackknife"
        for m in names:
            ends = np.array([(e.interval.low, e.interval.high) for e in found[m]])
            hits[m].append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                size = ends.copy()
                size[4:6] = np.log(size[4:6])
                widths[m].append(size[:, 1] - size[:, 0])
    result = {"cell": [cell.surface, cell.design, cell.noise], "replications": replications, "failed": failed}
    result |= {"jackknife_main": mains / replications, "cpu_s": time.process_time() - start, "methods": {}}
    base = np.median(np.array(widths["profile"]), axis=0)
    for m in names:
        relative = np.median(np.array(widths[m]), axis=0) / base
        result["methods"][m] = {
            "coverage": np.mean(hits[m], axis=0).tolist(),
            "relative_width": float(np.median(relative[np.isfinite(relative)])),
        }
    return result


def print_cell(result: dict) -> None:
    surface, design, noise = result["cell"]
    for method, found in result["methods"].items():
        coverage = 100 * np.array(found["coverage"])
        low, high = int(np.argmin(coverage)), int(np.argmax(coverage))
        name = f"{surface:<11}{design:>6} {noise:<13}" if method == "main" else " " * 31
        print(
            f"{name} {method:<10}{coverage.mean():6.1f}   {coverage[low]:5.1f} ({QUANTITIES[low]:<8})"
            f"{coverage[high]:6.1f} ({QUANTITIES[high]:<8}) {found['relative_width']:6.2f}",
            flush=True,
        )
    if result["failed"]:
        print(f"{'':31} {result['failed']} of {result['replications']} fits were refused")


def print_summary(results: list[dict]) -> None:
    print("\nover all cells and the eight quantities: mean, share within 93-97 %, lowest")
    for well_specified in (True, False):
        group = [r for r in results if r["cell"][2].startswith("budget") != well_specified]
        if not group:
            continue
        print("  noise independent between runs" if well_specified else "  noise shared within a budget")
        for method in group[0]["methods"]:
            values = 100 * np.array([r["methods"][method]["coverage"] for r in group]).ravel()
            inside = np.mean((values >= 93) & (values <= 97))
            print(f"    {method:<10} {values.mean():5.1f}  {100 * inside:4.0f} %  {values.min():5.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--surfaces", nargs="+", default=list(SURFACES), choices=SURFACES)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=[*DESIGNS, "epoch"])
    parser.add_argument("--noises", nargs="+", default=list(NOISES))
    parser.add_argument("--huber-delta", type=float, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--epoch-table", type=Path, default=Path("../shared/runs/epoch_chinchilla.csv"))
    parser.add_argument(
        "--json", type=Path, help="also write every number here; cells already there are not run again"
    )
    options = parser.parse_args()
    cells = [Cell(s, d, n) for s in options.surfaces for d in options.designs for n in options.noises]
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    done = {tuple(r["cell"]): r for r in known if r["replications"] == options.replications}
    tasks = [
        (c, options.replications, options.seed + i, options.huber_delta, options.epoch_table)
        for i, c in enumerate(cells)
        if (c.surface, c.design, c.noise) not in done
    ]
    print(
        f"{'surface':<11}{'runs':>6} {'noise, %':<13} {'method':<10}{'mean':>6}   {'lowest':<17}{'highest':<18}"
        f"{'width':>6}"
    )
    for result in done.values():
        print_cell(result)
    with multiprocessing.Pool(options.jobs) as pool:
        for result in pool.imap(run_cell, tasks):
            print_cell(result)
            done[tuple(result["cell"])] = result
            if options.json:
                options.json.write_text(json.dumps(list(done.values()), indent=1))
    print_summary(list(done.values()))


if __name__ == "__main__":
    main()
