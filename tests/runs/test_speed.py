"""Tables of 10^6 rows load in bounded memory, and a small table imports nothing heavy. Times: benchmarks/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# VmHWM is this program's own peak; ru_maxrss would start at that of the process which forked it.
# A table of final losses takes 366 to 393 (pandas alone 372), curves less; the room is for other builds of pandas and
# malloc: one more copy of a column is 8.
LIMIT_MIB = 430

PROBE = """
import sys
from scaling.runs import check_runs, load_runs
runs = load_runs(sys.argv[1])
check_runs(runs)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(len(runs), int(peak) / 1024, "pandas" in sys.modules)
"""


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10^6 rows: 100 runs of 10^4 steps."""
    path = tmp_path_factory.mktemp("curves") / "curves.csv"
    D = np.arange(1, 10_001) * 524_288.0
    with path.open("w") as file:
        file.write("run_id,n_params,step,n_tokens,loss\n")
        for r, N in enumerate(np.geomspace(1e7, 1e10, 100)):
            tail = [f"{d:.0f},{v:.5f}" for d, v in zip(D, 1.7 + 400 / N**0.34 + 400 / D**0.28, strict=True)]
            file.writelines(f"run-{r},{N:.0f},{step},{t}\n" for step, t in enumerate(tail, 1))
    return path


@pytest.fixture(scope="module")
def final_losses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10^6 runs of one row each, no two alike, with twelve columns of numbers and text."""
    path = tmp_path_factory.mktemp("final") / "runs.csv"
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(
            "run_id,n_params,n_tokens,loss,lr,seed,batch_tokens,warmup_steps,d_model,host,note,score\n"
        )
        for start in range(0, 1_000_000, 50_000):
            u = rng.random((50_000, 6)).tolist()
            file.writelines(
                f"run-{start + i},{10 ** (7 + 3 * a):.0f},{10 ** (10 + 2 * b):.0f},{2 + c:.6f},{d / 100:.6g},"
                f"{i % 5},{2 ** (16 + i % 6)},{i % 2000},{64 * (1 + i % 64)},host{i % 97},"
                f"{'' if i % 3 else 'fine'},{f:.6f}\n"
                for i, (a, b, c, d, _, f) in enumerate(u)
            )
    return path


def _probe(path: Path) -> list[str]:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc, which this system lacks")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path)], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("table", ["curves", "final_losses"])
def test_a_million_rows_stay_in_bounded_memory(table: str, request: pytest.FixtureRequest) -> None:
    n_rows, peak_mib, _ = _probe(request.getfixturevalue(table))
    assert int(n_rows) == 1_000_000
    assert float(peak_mib) < LIMIT_MIB


def test_a_small_table_does_not_import_pandas(tmp_path: Path) -> None:
    path = tmp_path / "small.csv"
    path.write_text("n_params,n_tokens,loss\n" + "".join(f"{i}e6,{i}e8,{3 + 1 / i}\n" for i in range(1, 246)))
    assert _probe(path)[2] == "False"
