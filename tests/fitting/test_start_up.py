"""What a process that fits loads: never the two statistics packages that cost more than the fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scaling.laws import ChinchillaLaw

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("scipy.stats", "statsmodels", "matplotlib", "torch")
LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
RUNS = ROOT / "scaling" / "reference" / "example_runs.csv"


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training curves of eight sizes on a Chinchilla surface, for Approach 1."""
    path = tmp_path_factory.mktemp("curves") / "curves.csv"
    rows = ["run_id,n_params,n_tokens,loss"]
    for n in np.geomspace(3e7, 1e10, 8):
        for d in 20 * n * np.geomspace(0.03, 15, 60):
            rows.append(f"r{n:.0f},{n:.6g},{d:.6g},{float(LAW.loss(n, d)):.6f}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    "options", [[], ["--method", "isoflop"], ["--method", "envelope"], ["--law", "kaplan"]]
)
def test_a_fit_loads_neither_scipy_stats_nor_statsmodels(options: list[str], curves: Path) -> None:
    table = curves if "envelope" in options else RUNS
    code = (
        f"from scaling.cli import run; import sys; status = run({['fit', str(table), *options]!r})\n"
        f"print('HEAVY', status, *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1].split() == ["HEAVY", "0"], done.stdout + done.stderr
