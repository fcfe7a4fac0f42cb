"""Workers killed by another process, at moments that the worker has no part in: in system calls, in C, in any thread."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import ForkExecutor, losses, plan, run_forked, run_inline
from tiny_sweeps import tiny_spec

from scaling.sweep.store import Store

pytest.importorskip("torch", reason="training needs torch: pip install 'isoflop[train]'")
pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "pidfd_open"), reason="needs Linux")

N_KILLS = 50


@dataclass
class Hunted(ForkExecutor):
    """Forked workers whose process ids another process is told as they start, until enough have been killed."""

    killer: Any = None
    enough: int = N_KILLS

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        before = set(self.processes)
        super().start(n_workers, deadline_s)
        if self.n_killed < self.enough:
            for owner in self.processes.keys() - before:
                self.killer.stdin.write(f"{self.processes[owner].pid}\n")
            self.killer.stdin.flush()


@pytest.fixture
def killers() -> Iterator[list[subprocess.Popen[str]]]:
    """Killers to start in; they end with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for killer in started:
        assert killer.stdin
        killer.stdin.close()
        killer.wait()


@pytest.mark.slow
def test_fifty_kills_from_outside_change_no_loss_by_one_bit(
    tmp_path: Path, killers: list[subprocess.Popen[str]]
) -> None:
    """Sweeps on end until fifty workers have been killed; each life a random part of what a calm sweep takes here.

    The time only spreads the moments: on a machine of any speed, under any load, fifty kills end the test.
    """
    design = plan(tiny_spec(grid={"budgets": [4e7, 8e7, 1.6e8]}))
    calm = Store(tmp_path / "calm")
    begun = time.monotonic()
    run_inline(calm, design)
    longest_s = (time.monotonic() - begun) / 5
    expected = losses(calm, design)
    command = [sys.executable, str(Path(__file__).with_name("killer.py")), "0", str(longest_s)]
    killers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True))
    n_killed = n_sweeps = 0
    while n_killed < N_KILLS:
        store = Store(tmp_path / f"killed-{n_sweeps}")
        executor = Hunted(store, design, killer=killers[0], enough=N_KILLS - n_killed)
        report = run_forked(store, design, executor=executor, n_slots=2, deaths_of_one_run=10_000)
        assert report.status.counts == {"done": len(design.runs)}
        assert losses(store, design) == expected
        assert sorted(store.run_ids()) == sorted(r.run_id for r in design.runs)
        n_killed += executor.n_killed
        n_sweeps += 1
