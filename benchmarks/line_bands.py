"""How often the 95 % intervals of a log-log line's exponent cover it: plain, HC3 and Huber's, with few points and many.

    python benchmarks/line_bands.py            # five minutes of CPU

Points lie evenly over four decades of x; y = x^0.5 with 3 % noise that is even, grows twentyfold from one end to the
other, or is even but for one point in ten, ten times as far off. Every line is `scaling.fit_power_law`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from scaling.fitting.power_law import fit_power_law

NOISE: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "even": lambda rng, n: rng.standard_normal(n),
    "growing": lambda rng, n: rng.standard_normal(n) * np.geomspace(0.2, 4, n),
    "one in ten far off": lambda rng, n: rng.standard_normal(n) * np.where(rng.random(n) < 0.1, 10, 1),
}
BANDS: dict[str, dict[str, Any]] = {"plain": {}, "HC3": {"covariance": "HC3"}, "Huber": {"method": "huber"}}
EXPONENT = 0.5


def measure(n: int, noise: str, repeats: int) -> dict[str, np.ndarray]:
    """By band: share of intervals that cover, median half-width, root mean square error of the exponent."""
    rng = np.random.default_rng(n)
    x = np.logspace(18, 22, n)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in BANDS}
    for _ in range(repeats):
        y = x**EXPONENT * np.exp(0.03 * NOISE[noise](rng, n))
        for name, options in BANDS.items():
            e = fit_power_law(x, y, **options).exponent
            assert e.interval is not None
            found[name].append((e.interval.contains(EXPONENT), e.interval.half_width, e.value - EXPONENT))
    columns = {name: np.array(rows).T for name, rows in found.items()}
    return {
        name: np.array([covers.mean(), np.median(half), np.sqrt(np.mean(error**2))])
        for name, (covers, half, error) in columns.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    print(
        "| noise | points | covers: plain | HC3 | Huber | half-width: plain | HC3 | Huber | error: plain | Huber |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for noise in NOISE:
        for n in (4, 5, 7, 10, 20, 40):
            rows = measure(n, noise, repeats)
            covers = [f"{rows[b][0]:.3f}" for b in BANDS]
            halves = [f"{rows[b][1]:.4f}" for b in BANDS]
            errors = [f"{rows[b][2]:.4f}" for b in ("plain", "Huber")]
            print("| " + " | ".join([noise, str(n), *covers, *halves, *errors]) + " |", flush=True)


if __name__ == "__main__":
    main()
