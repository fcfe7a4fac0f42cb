"""How often the 95 % intervals of a log-log line's exponent cover it: plain, HC3 and Huber's, with few points and many.

    python benchmarks/line_bands.py            # some four minutes

Points lie evenly over four decades of x; y = x^0.5 with noise of ln y that is even, grows twentyfold from one end to
the other, or is even but for one point in ten ten times as far off. No line here needs statsmodels' own tests: what is
measured is `scaling.fit_power_law`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from scaling.fitting.power_law import fit_power_law

NOISE: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "even": lambda rng, n: rng.standard_normal(n),
    "growing": lambda rng, n: rng.standard_normal(n) * np.geomspace(0.2, 4, n),
    "one in ten far off": lambda rng, n: rng.standard_normal(n) * np.where(rng.random(n) < 0.1, 10, 1),
}
BANDS = {"plain": {}, "HC3": {"covariance": "HC3"}, "Huber": {"method": "huber"}}


def measure(n: int, noise: str, repeats: int) -> dict[str, tuple[float, float, float]]:
    """Share of intervals that cover, mean half-width and root mean square error of the exponent, by band."""
    rng = np.random.default_rng(n)
    x = np.logspace(18, 22, n)
    found: dict[str, list[tuple[bool, float, float]]] = {name: [] for name in BANDS}
    for _ in range(repeats):
        y = x**0.5 * np.exp(0.03 * NOISE[noise](rng, n))
        for name, options in BANDS.items():
            exponent = fit_power_law(x, y, **options).exponent
            found[name].append((exponent.interval.contains(0.5), exponent.interval.half_width, exponent.value - 0.5))
    return {name: (np.mean(c), np.mean(w), np.sqrt(np.mean(np.square(e)))) for name, (c, w, e) in
            ((name, zip(*rows)) for name, rows in found.items())}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    print("noise               points   covers: " + "  ".join(f"{b:>6}" for b in BANDS), end="")
    print("   half-width: " + "  ".join(f"{b:>6}" for b in BANDS), "  rms error: plain  Huber")
    for noise in NOISE:
        for n in (4, 5, 7, 10, 20, 40):
            rows = measure(n, noise, repeats)
            covers = "  ".join(f"{rows[b][0]:6.3f}" for b in BANDS)
            widths = "  ".join(f"{rows[b][1]:6.4f}" for b in BANDS)
            print(f"{noise:20s}{n:6d}           {covers}               {widths}             "
                  f"{rows['plain'][2]:6.4f} {rows['Huber'][2]:6.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
