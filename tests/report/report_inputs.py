"""Tables for the report tests: runs of a planted law, and degenerate ones."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

E, A, B, ALPHA, BETA = 1.8, 482.0, 2085.0, 0.348, 0.366  # of Besiroglu et al. 2024, rounded
SIZES = np.geomspace(0.25, 4.0, 7)  # times the size of 20 tokens a parameter
HEADERS = ("run_id", "n_params", "n_tokens", "flops", "loss")
HOSTILE = (
    '<script>alert(1)</script>#let x = "\\',
    '"; #panic() //',
    "$x^2$ *b* _i_ `c` [l](http://x)",
    "A" * 300,
    "\u202eevil\u202c",
    "名前😀",
    "😀🚀👩‍👩‍👧",
    "| a | b |\n# h",
    "</td></table></section><h1>x",
    '#image("/etc/passwd")',
    "@ref <lab> = head",
    "\x1b[31mred\x07",
    "&lt;&amp; ]] >",
    "' onmouseover='x",
)

Row = Sequence[object]


def planted_loss(n: float, d: float) -> float:
    return float(E + A / n**ALPHA + B / d**BETA)


def planted(
    budgets: Iterable[float], sizes: Iterable[float] = tuple(SIZES), noise: float = 0.002, seed: int = 0
) -> list[Row]:
    """run_id, N, D, C and loss of a grid of equal compute, with this noise in log loss."""
    random, rows = np.random.default_rng(seed), []
    for flops in budgets:
        for size in sizes:
            n = float((flops / 120) ** 0.5 * size)
            d = float(flops / 6 / n)
            loss = planted_loss(n, d) * float(np.exp(noise * random.standard_normal()))
            rows.append((f"r{len(rows)}", n, d, flops, loss))
    return rows


def planted_optimum(flops: float) -> float:
    """N* of the planted law, by a search over sizes: no formula of ours."""
    sizes = np.geomspace(1e7, 1e13, 200_001)
    losses = E + A / sizes**ALPHA + B / (flops / 6 / sizes) ** BETA
    return float(sizes[int(np.argmin(losses))])


def training_curves(n_runs: int = 8, n_rows: int = 40) -> list[Row]:
    """Rows of training curves: run_id, N, D, C, loss, step."""
    random, rows = np.random.default_rng(0), []
    for i, n in enumerate(np.geomspace(1e7, 1e9, n_runs)):
        for step, d in enumerate(np.geomspace(2e8, 4e10, n_rows), 1):
            loss = planted_loss(n, d) * float(np.exp(0.001 * random.standard_normal()))
            rows.append((f"c{i}", float(n), float(d), float(6 * n * d), loss, step))
    return rows


def write_table(path: Path, rows: Iterable[Row], headers: Sequence[str] = HEADERS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(headers)
        writer.writerows(rows)
    return path
