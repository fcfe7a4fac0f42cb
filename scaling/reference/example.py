"""Example runs whose true law is known: generated, not trained. `scaling demo` fits them and shows the truth beside it.

Six IsoFLOP budgets from 1e18 to 3e20, nine sizes each over a factor of sixteen around the optimum, log-normal noise
of 0.5 % in the loss (about the spread between seeds of small runs). `example_runs.csv` is `write_example_runs` at the
default seed; a test holds the two together.
"""

from __future__ import annotations

import csv
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.laws.chinchilla import ChinchillaLaw

if TYPE_CHECKING:
    from scaling.runs import Runs

PLANTED_LAW = ChinchillaLaw(E=1.80, A=450.0, B=1800.0, alpha=0.345, beta=0.360)
BUDGETS = (1e18, 3e18, 1e19, 3e19, 1e20, 3e20)
SIZES_PER_BUDGET = 9
HALF_RANGE = 4.0  # sizes run from N*/4 to 4 N*
NOISE_SD = 0.005  # of ln(loss)
SEED = 20220329  # the day Hoffmann et al. appeared
COLUMNS = ("run_id", "n_params", "n_tokens", "flops", "budget", "loss")


def example_rows(seed: int = SEED) -> list[dict[str, str]]:
    """The example runs as text, one dictionary a row: what stands in the CSV."""
    import numpy as np

    rng = np.random.default_rng(seed)
    rows = []
    for budget in BUDGETS:
        optimum = PLANTED_LAW.allocate(budget).n_params
        for n_params in optimum * HALF_RANGE ** np.linspace(-1, 1, SIZES_PER_BUDGET):
            n_params = round(n_params, -5)
            n_tokens = round(budget / (FLOPS_PER_PARAM_TOKEN * n_params), -6)
            loss = PLANTED_LAW.loss(n_params, n_tokens) * np.exp(rng.normal(0, NOISE_SD))
            run_id = f"{budget:.0e}-{n_params / 1e6:.1f}M".replace("e+", "e")
            flops = FLOPS_PER_PARAM_TOKEN * n_params * n_tokens
            texts = (f"{n_params:.0f}", f"{n_tokens:.0f}", f"{flops:.6e}", f"{budget:.0e}", f"{loss:.5f}")
            rows.append(dict(zip(COLUMNS, (run_id, *texts), strict=True)))
    return rows


def write_example_runs(path: Path, seed: int = SEED) -> None:
    """Write the example runs as CSV. N counts total parameters, C = 6ND, loss in nats/token."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(example_rows(seed))


def example_runs_text() -> str:
    """The packaged CSV."""
    return resources.files("scaling.reference").joinpath("example_runs.csv").read_text(encoding="utf-8")


def example_runs() -> Runs:
    """The packaged runs: N total, C = 6ND, loss in nats/token.

    Example:
        >>> import scaling
        >>> runs = scaling.example_runs()
        >>> len(runs), runs.convention.params
        (54, 'total')
    """
    from scaling.runs import load_runs

    with resources.as_file(resources.files("scaling.reference").joinpath("example_runs.csv")) as path:
        return load_runs(path, params_convention="total", flops_convention="6ND")


def example_curves(seed: int = SEED) -> dict[str, Any]:
    """Training curves of thirteen sizes under the planted law, as columns for `Runs.from_arrays`.

    Each runs from 1e17 to 1e21 FLOPs, 200 checkpoints, with noise of a tenth of NOISE_SD (a curve is smooth).
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    sizes = np.repeat(np.geomspace(1e7, 5e9, 13), 200)
    n_tokens = np.tile(np.geomspace(1e17, 1e21, 200), 13) / (FLOPS_PER_PARAM_TOKEN * sizes)
    noise = np.exp(rng.normal(0, NOISE_SD / 10, len(sizes)))
    run_id = [f"{n / 1e6:.0f}M" for n in sizes]
    loss = PLANTED_LAW.loss(sizes, n_tokens) * noise
    return {"n_params": sizes, "n_tokens": n_tokens, "loss": loss, "run_id": run_id}
