"""Bias of Approach 2 without noise: error of D* at 1e24 FLOPs, per cent, by surface, grid and valley.

    python benchmarks/isoflop_bias.py

Five budgets 1e17 to 1e21 and 15 points a budget on +- the width about D*, centred on it, offset by a factor 3, or
drifting from it to a factor 3. Minima beyond the points are kept (`require_bracket=False`), as a reader of the
published table would. `surface` takes its shape from the true law, so its column is the error of the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from scaling.fitting.isoflop.budgets import ValleyKind
from scaling.fitting.isoflop.fit import VALLEYS, fit_isoflop
from scaling.laws import ChinchillaLaw
from scaling.runs import Runs

SURFACES = {
    "symmetric": ChinchillaLaw(E=1.69, A=400, B=400, alpha=0.31, beta=0.31),
    "Chinchilla": ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
    "asymmetric": ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.465, beta=0.155),
}
BUDGETS = np.logspace(17, 21, 5)
POINTS = 15
TARGET = 1e24
WIDTHS = (2.0, 8.0, 16.0)
# factor of the grid's centre over D*, at the first and the last budget
GRIDS = {"centred": (1.0, 1.0), "3x offset": (3.0, 3.0), "drift to 3x": (1.0, 3.0)}


def noise_free_runs(law: ChinchillaLaw, width: float, ends: tuple[float, float]) -> Runs:
    centres = np.geomspace(*ends, len(BUDGETS)) * [law.allocate(c).n_tokens for c in BUDGETS]
    n_tokens = np.outer(centres, np.logspace(-1, 1, POINTS) ** math.log10(width))
    flops = np.broadcast_to(BUDGETS[:, None], n_tokens.shape)
    n_params = flops / (6 * n_tokens)
    return Runs.from_arrays(
        n_params=n_params.ravel(),
        n_tokens=n_tokens.ravel(),
        flops=flops.ravel(),
        budget=flops.ravel(),
        loss=law.loss(n_params, n_tokens).ravel(),
    )


def error_percent(law: ChinchillaLaw, runs: Runs, valley: ValleyKind) -> float:
    fit = fit_isoflop(runs, valley=valley, surface=law, require_bracket=False)
    return 100 * (float(fit.tokens_line.predict(TARGET)) / law.allocate(TARGET).n_tokens - 1)


def table() -> Iterator[tuple[str, float, dict[ValleyKind, list[float]]]]:
    """Surface, width, and by valley the errors on the three grids."""
    for name, law in SURFACES.items():
        for width in WIDTHS:
            grids = [noise_free_runs(law, width, ends) for ends in GRIDS.values()]
            yield name, width, {v: [error_percent(law, runs, v) for runs in grids] for v in VALLEYS}


def main() -> None:
    grids = " / ".join(GRIDS)
    print(f"| surface | grid | {' | '.join(f'{v}: {grids}' for v in VALLEYS)} |")
    print("|---" * (2 + len(VALLEYS)) + "|")
    for name, width, errors in table():
        cells = [" / ".join(f"{round(e, 2) + 0.0:+.2f}" for e in errors[v]) for v in VALLEYS]
        print(f"| {name} | {width:g}x | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
