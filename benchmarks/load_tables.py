"""CPU seconds and peak memory of reading 10^6 rows, by this version and by others beside it.

    python benchmarks/load_tables.py [--beside PYTHON_OF_ANOTHER_VERSION ...]

Tables: 100 training curves of 10^4 steps, and 10^6 runs of twelve columns. Each is loaded and checked in a process of
its own, the versions in turn, three times; the least CPU time and the most memory are printed. Pandas' own reader
stands beside.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

OURS = """
import sys
from scaling.runs import check_runs, load_runs
check_runs(load_runs(sys.argv[1]))
"""
PANDAS = "import sys, pandas; pandas.read_csv(sys.argv[1])"
PEAK = "print(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
TURNS = 3


def write_curves(path: Path) -> None:
    D = np.arange(1, 10_001) * 524_288.0
    with path.open("w") as file:
        file.write("run_id,n_params,step,n_tokens,loss\n")
        for r, N in enumerate(np.geomspace(1e7, 1e10, 100)):
            loss = 1.7 + 400 / N**0.34 + 400 / D**0.28
            file.writelines(f"run-{r},{N:.0f},{i + 1},{D[i]:.0f},{v:.5f}\n" for i, v in enumerate(loss))


def write_final_losses(path: Path) -> None:
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(
            "run_id,n_params,n_tokens,loss,lr,seed,batch_tokens,warmup_steps,d_model,host,note,score\n"
        )
        for i, (a, b, c, d, e) in enumerate(rng.random((1_000_000, 5)).tolist()):
            file.write(
                f"run-{i},{10 ** (7 + 3 * a):.0f},{10 ** (10 + 2 * b):.0f},{2 + c:.6f},{d / 100:.6g},{i % 5},"
                f"{2 ** (16 + i % 6)},{i % 2000},{64 * (1 + i % 64)},host{i % 97},{'' if i % 3 else 'fine'},{e:.6f}\n"
            )


def measure(python: str, code: str, table: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [python, "-c", code + "\n" + PEAK, str(table)], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, int(done.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--beside", action="append", default=[], help="Python of an environment with another version"
    )
    versions = {"this version": (sys.executable, OURS)}
    versions |= {f"beside {i}": (python, OURS) for i, python in enumerate(parser.parse_args().beside, 1)}
    versions["pandas.read_csv alone"] = (sys.executable, PANDAS)
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("curves", write_curves), ("final losses", write_final_losses)):
            table = Path(folder) / f"{name.replace(' ', '_')}.csv"
            write(table)
            taken: dict[str, list[tuple[float, float]]] = {version: [] for version in versions}
            for _ in range(TURNS):
                for version, (python, code) in versions.items():
                    taken[version].append(measure(python, code, table))
            for version, pairs in taken.items():
                print(
                    f"{name:13} {version:22} {min(p[0] for p in pairs):5.2f} s  {max(p[1] for p in pairs):5.0f} MiB"
                )


if __name__ == "__main__":
    main()
