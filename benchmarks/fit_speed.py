"""Speed and accuracy of Approach 3 beside its peers, on the same runs, in CPU seconds of one thread.

    python benchmarks/fit_speed.py                       # ours, PyPI chinchilla, simple-scaling-laws, a SciPy grid
    python benchmarks/fit_speed.py --full-grid           # all 4500 starts of the SciPy grid (minutes), not a sample
    python benchmarks/fit_speed.py --only ours scaling   # ours alone, and how cost grows to a million runs

Peers that are not installed are named and left out; benchmarks/README.md says how to install them in an environment
of their own. The objective is Hoffmann's (sum of Huber, threshold 1e-3, of the difference of log losses) or, where a
peer minimises squares of the loss, that; "above" is the distance from the certified minimum of the same objective.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import functools
import itertools
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scaling.fitting.surface.fit import bootstrap, fit_parametric, with_uncertainty
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.runs import Runs, load_runs

HUBER_DELTA = 1e-3
EPOCH = Path("../shared/runs/epoch_chinchilla.csv")
# Hoffmann et al. 2022, app. D.2: log A, log B, log E, alpha, beta
GRID = (range(0, 30, 5), range(0, 30, 5), (-1, -0.5, 0, 0.5, 1), (0, 0.5, 1, 1.5, 2), (0, 0.5, 1, 1.5, 2))
GRID_SAMPLE = 30  # every 30th start unless --full-grid
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def cpu_s() -> float:
    """CPU seconds of this process and the children it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(call: Callable[[], object], repeat: int = 1) -> tuple[object, float]:
    """Result and the least CPU time of several calls: a shared machine only ever adds."""
    times = []
    for _ in range(repeat):
        start = cpu_s()
        result = call()
        times.append(cpu_s() - start)
    return result, min(times)


def load_table(path: Path) -> Runs:
    """The digitised Chinchilla runs without the five outliers, or 240 simulated runs where they are not at hand."""
    if path.exists():
        runs = load_runs(path, params_convention="total")
        return runs.select(np.array([str(v) != "True" for v in runs.extras["epoch_outlier"]]))
    print(f"{path} is not here: 240 simulated runs instead")
    return simulated_runs(240)


def simulated_runs(n: int, seed: int = 0) -> Runs:
    law = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
    random = np.random.default_rng(seed)
    N = np.exp(random.uniform(np.log(5e7), np.log(1.6e10), n))
    D = np.exp(random.uniform(np.log(8e8), np.log(3e11), n))
    loss = law.loss(N, D) * np.exp(0.007 * random.standard_t(4, n))
    return Runs.from_arrays(n_params=N, n_tokens=D, loss=loss)


def hoffmann_objective(runs: Runs, coefficients: dict[str, float]) -> float:
    loss = ChinchillaLaw(**coefficients).loss(runs.n_params, runs.n_tokens)
    size = np.abs(np.log(loss / runs.loss))
    inside = np.minimum(size, HUBER_DELTA)
    return float((inside * (size - inside / 2)).sum())


def squares_of_loss(runs: Runs, coefficients: dict[str, float]) -> float:
    return float(((ChinchillaLaw(**coefficients).loss(runs.n_params, runs.n_tokens) - runs.loss) ** 2).sum())


def row(who: str, seconds: float, coefficients: dict[str, float], value: float, best: float) -> None:
    alpha, beta = float(coefficients["alpha"]), float(coefficients["beta"])
    shown = "  ".join(f"{float(coefficients[k]):.6g}" for k in ("E", "A", "B", "alpha", "beta"))
    print(
        f"{who:<44}{seconds:10.4f}  {value:.12g}  {value / best - 1:+.1e}  a {beta / (alpha + beta):.5f}  {shown}"
    )


def time_ours(runs: Runs) -> tuple[float, float]:
    """Prints our rows; returns the minima that the peers are measured against."""
    fit, seconds = timed(lambda: fit_parametric(runs, huber_delta=HUBER_DELTA, intervals=False), 20)
    best = hoffmann_objective(runs, fit.coefficients)
    row("ours, delta 1e-3, certified", seconds, fit.coefficients, best, best)
    squares, seconds = timed(lambda: fit_parametric(runs, objective="least_squares", intervals=False), 20)
    least = squares_of_loss(runs, squares.coefficients)
    row("ours, squares of the loss, certified", seconds, squares.coefficients, least, least)
    _, seconds = timed(lambda: fit_parametric(runs, intervals=False), 20)
    print(f"{'ours, default objective, certified':<44}{seconds:10.4f}")
    default, seconds = timed(lambda: fit_parametric(runs), 10)
    print(f"{'ours, default, every interval and test':<44}{seconds:10.4f}")
    _, seconds = timed(lambda: with_uncertainty(default), 3)
    print(f"{'ours, band and 400 draws for fit.json':<44}{seconds:10.4f}")
    for name, options in (
        ("squares of log loss", {"objective": "log_least_squares"}),
        ("default", {}),
        ("delta 1e-3", {"huber_delta": HUBER_DELTA}),
    ):
        fitted = fit_parametric(runs, **options)
        boot, seconds = timed(lambda f=fitted: bootstrap(f, runs, n=4000), 2)
        errors = ", ".join(f"{k} {v:.4g}" for k, v in boot.standard_errors.items())
        print(f"{f'ours, 4000 bootstrap resamples, {name}':<44}{seconds:10.4f}  standard errors {errors}")
    return best, least


def time_chinchilla(runs: Runs, best: float) -> None:
    try:
        from chinchilla import Chinchilla
        from chinchilla._metrics import log_huber
    except ImportError as error:
        print(f"PyPI chinchilla is not installed here ({error})")
        return
    axes = {"e": (-0.5, 1), "a": (3, 9), "b": (3, 9), "alpha": (0.2, 0.6), "beta": (0.2, 0.6)}
    with tempfile.TemporaryDirectory() as folder:
        peer = Chinchilla(
            folder,
            param_grid={name: np.linspace(*ends, 3) for name, ends in axes.items()},
            seed_ranges={"C": (1e18, 1e22), "N_to_D": (1, 100)},
            loss_fn=functools.partial(log_huber, delta=HUBER_DELTA),
            log_level=50,
        )
        for N, D, C, L in zip(runs.n_params, runs.n_tokens, runs.flops, runs.loss, strict=True):
            peer.append(N=N, D=D, C=C, loss=L)
        _, seconds = timed(peer.fit)
        found = {name: float(getattr(peer, name)) for name in ("E", "A", "B", "alpha", "beta")}
    row("PyPI chinchilla 0.2.0, 3^5 grid", seconds, found, hoffmann_objective(runs, found), best)


def time_simple_scaling_laws(runs: Runs, least: float) -> None:
    try:
        import simple_scaling_laws
    except ImportError as error:
        print(f"simple-scaling-laws is not installed here ({error})")
        return
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "runs.csv"
        lines = ["training_run_id,model_size__n,dataset_size__d,test_loss__ce"]
        columns = (runs.run_id, runs.n_params, runs.n_tokens, runs.loss)
        lines += [f"{i},{N!r},{D!r},{L!r}" for i, N, D, L in zip(*(list(c) for c in columns), strict=True)]
        table.write_text("\n".join(lines).replace("np.float64(", "").replace(")", ""))
        for n_draws in (50, 1000):
            model, seconds = timed(lambda n=n_draws: simple_scaling_laws.fit(str(table), n_draws=n, seed=0))
            raw = model.params("test_loss__ce")
            # its amplitudes are at the geometric mean of each predictor
            A = raw["A"] * np.exp(raw["alpha"] * np.log(runs.n_params).mean())
            B = raw["B"] * np.exp(raw["beta"] * np.log(runs.n_tokens).mean())
            found = {"E": raw["E"], "A": A, "B": B, "alpha": raw["alpha"], "beta": raw["beta"]}
            name = f"simple-scaling-laws 0.2.0, {n_draws} draws"
            row(name, seconds, found, squares_of_loss(runs, found), least)


def time_scipy_grid(runs: Runs, best: float, full: bool) -> None:
    """L-BFGS-B from Hoffmann's grid with numerical gradients, as in the notebook of Besiroglu et al. 2024."""
    from scipy.optimize import minimize

    ln_N, ln_D, ln_L = np.log(runs.n_params), np.log(runs.n_tokens), np.log(runs.loss)

    def objective(p: np.ndarray) -> float:
        terms = np.stack([p[0] - p[3] * ln_N, p[1] - p[4] * ln_D, np.full_like(ln_N, p[2])])
        top = terms.max(axis=0)
        size = np.abs(top + np.log(np.exp(terms - top).sum(axis=0)) - ln_L)
        inside = np.minimum(size, HUBER_DELTA)
        return float((inside * (size - inside / 2)).sum())

    starts = list(itertools.product(*GRID))
    chosen = starts if full else starts[::GRID_SAMPLE]
    found, seconds = timed(lambda: [minimize(objective, s, method="L-BFGS-B") for s in chosen])
    top = min(found, key=lambda r: r.fun)
    values = [r.fun for r in found]
    reached = np.mean(np.array(values) < best * (1 + 1e-3))
    coefficients = dict(zip(("A", "B", "E"), np.exp(top.x[:3]), strict=True)) | {
        "alpha": top.x[3],
        "beta": top.x[4],
    }
    name = f"SciPy L-BFGS-B, {len(starts)} starts" + ("" if full else f" (x{GRID_SAMPLE})")
    row(name, seconds * len(starts) / len(chosen), coefficients, top.fun, best)
    print(f"{'':44}{100 * reached:9.1f} % of the starts come within 0.1 % of the minimum")


def time_scaling() -> None:
    """CPU time and peak memory by number of runs, each in a process of its own."""
    print("\nruns        certified fit, s   every interval and test, s   peak memory, MB")
    for n in SIZES:
        text = subprocess.run(
            [sys.executable, __file__, "--one-size", str(n)], capture_output=True, text=True, check=True
        ).stdout
        point, everything, memory = map(float, text.split())
        print(f"{n:<12,}{point:12.3f}{everything:26.3f}{memory:26.0f}", flush=True)


def one_size(n: int) -> None:
    runs = simulated_runs(n)
    _, point = timed(lambda: fit_parametric(runs, intervals=False))
    _, everything = timed(lambda: fit_parametric(runs))
    print(point, everything, peak_memory_mb())


def peak_memory_mb() -> float:
    """Of this process alone: ru_maxrss also remembers the parent that forked it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(t for t in status.read_text().splitlines() if t.startswith("VmHWM"))
        return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ("ours", "chinchilla", "simple-scaling-laws", "scipy", "scaling")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--table", type=Path, default=EPOCH)
    parser.add_argument("--full-grid", action="store_true")
    parser.add_argument("--one-size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_size:
        one_size(options.one_size)
        return
    runs = load_table(options.table)
    print(
        f"{len(runs)} runs of {runs.source}\n{'':44}{'CPU s':>10}  objective  above  exponent  E A B alpha beta"
    )
    best, least = time_ours(runs)
    if "chinchilla" in options.only:
        time_chinchilla(runs, best)
    if "simple-scaling-laws" in options.only:
        time_simple_scaling_laws(runs, least)
    if "scipy" in options.only:
        time_scipy_grid(runs, best, options.full_grid)
    if "scaling" in options.only:
        time_scaling()


if __name__ == "__main__":
    main()
