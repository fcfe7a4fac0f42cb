"""The store at size: 100,000 finished runs indexed, a status from it, and what a sweep costs besides training steps.

python benchmarks/sweep_store.py                # index and status at 10^5 runs
python benchmarks/sweep_store.py --overhead     # a sweep of 30-second runs: time in training steps against everything
python benchmarks/sweep_store.py --overhead --seeds 3    # the same grid with three seeds: 24 runs

Time in training steps is from the runs' own logs, from the first step to the last: without start-up, evaluation and
store. A checkpoint written in between, one in some 15 s, counts as a step there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from scaling.sweep.design import Design, design_sweep, grid_cells, with_budgets, write_plan
from scaling.sweep.executors import LocalExecutor, WorkerCommand
from scaling.sweep.results import write_index
from scaling.sweep.run import Supervisor
from scaling.sweep.spec import SweepSpec, sweep_from_dict
from scaling.sweep.store import Store, read_json, run_id_of
from scaling.sweep.train_run import measure_rate

BASE = {
    "schema_version": 1,
    "name": "bench",
    "corpus": {"name": "synthetic:bits=7,seed=0", "context_length": 64, "vocab_size": 256},
    "grid": {
        "budgets": [4e10, 8e10],
        "sizes_per_budget": 4,
        "size_ratio": 1.6,
        "optimum_flops": 3e10,
        "optimum_params": 14e3,
    },
    "shape": {"n_layers": 2, "n_heads": 2},
    "recipe": {"batch_tokens": 1024, "learning_rate": 0.01, "reference_params": 14e3},
    "schedule": {"warmup_steps": 15},
}


def fill(store: Store, n_runs: int) -> list[str]:
    """Finished runs, written as plain files: the writing is not what is measured."""
    spec: SweepSpec = sweep_from_dict(BASE)
    config = dict(design_sweep(spec, vocab_size=256).runs[0].config)
    result = {"status": "done", "loss": 2.5, "loss_standard_error": 0.01, "seconds_per_step": 0.01}
    ids = []
    for seed in range(n_runs):
        config["seeds"] = {"weights": seed, "data": seed}
        run_id = run_id_of(config)
        folder = store.run_dir(run_id)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "lease-1.json").write_text('{"owner": "x"}')
        (folder / "result.json").write_text(json.dumps({**result, "loss": 2.5 + seed / n_runs}))
        ids.append(run_id)
    return ids


def measure_index(n_runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        fill(store, n_runs)
        started = time.perf_counter(), time.process_time()
        write_index(store)
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        print(f"index of {n_runs} runs: {wall:.1f} s wall, {cpu:.1f} s CPU (target 60 s)")
        started, before = time.perf_counter(), os.times()
        command = [sys.executable, "-m", "scaling", "sweep", "status", str(store.root)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        wall, spent = time.perf_counter() - started, os.times()
        cpu = sum(spent[2:4]) - sum(before[2:4])
        print(f"scaling sweep status: {wall:.2f} s wall, {cpu:.2f} s CPU (target 2 s): {said}")


def runs_of_seconds(seconds: float, n_seeds: int) -> Design:
    """BASE with budgets such that its runs take so long on average, by a few steps timed here and now; every run with
    `n_seeds` seeds.
    """
    spec = sweep_from_dict(BASE)
    design = design_sweep(spec, vocab_size=256)
    rate = measure_rate(design)
    assert rate is not None
    # a trunk counts once
    mean = rate.total_seconds(design.units, n_slots=1) / len(design.runs)
    budgets = [float(f"{b * seconds / mean:.2g}") for b in spec.grid.budgets]
    # the same sizes: only the runs get longer
    grid = replace(spec.grid, optimum_flops=spec.grid.optimum_flops * seconds / mean)
    longer = with_budgets(replace(spec, grid=grid), budgets)
    cells = [cell._replace(seed=seed) for seed in range(n_seeds) for cell in grid_cells(longer)]
    return design_sweep(longer, vocab_size=256, cells=cells)


def measure_overhead(n_slots: int, seconds: float, n_seeds: int) -> None:
    """Seconds of training steps, summed over runs, against slots x wall; the rest by what it was spent on."""
    design = runs_of_seconds(seconds, n_seeds)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        command = WorkerCommand(store=store.root, plan=write_plan(store, design), lease_timeout_s=60)
        executor = LocalExecutor(command=command)
        started = time.time()
        report = Supervisor(store=store, design=design, executor=executor, n_slots=n_slots).run()
        in_steps = [seconds_in_steps(store.run_dir(r.run_id)) for r in design.runs]
        spans = slot_spans(store, design)
    ended, steps, slots_s = started + report.wall_s, sum(in_steps), n_slots * report.wall_s
    busy = sum(end - start for runs in spans.values() for start, end in runs)
    before = sum(runs[0][0] - started for runs in spans.values())
    tail = sum(ended - runs[-1][1] for runs in spans.values())
    print(
        f"{len(design.runs)} runs on {n_slots} slots: {report.wall_s:.1f} s, {steps:.1f} s of steps; a run trains"
    )
    print(f"{min(in_steps):.0f} to {max(in_steps):.0f} s (a branch of a trunk its own steps only)")
    print(f"outside of steps: {1 - steps / (slots_s - tail):.1%} of the time until a slot has no work left")
    for name, spent in {
        "in runs: model, data, evaluation, checkpoints at branches": busy - steps,
        "before the first run: start of the processes, import of torch": before,
        "between runs: the store": slots_s - busy - before - tail,
        "after the last run: slots without work (not counted above)": tail,
    }.items():
        print(f"  {spent / slots_s:6.1%}  {name}")


def slot_spans(store: Store, design: Design) -> dict[str, list[tuple[float, float]]]:
    """When each worker was at work on runs, by the clock of the file system."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for run in design.runs:
        folder = store.run_dir(run.run_id)
        end = (folder / "result.json").stat().st_mtime
        span = end - read_json(folder / "result.json")["worker_s"], end
        spans.setdefault(read_json(folder / "lease-1.json")["owner"], []).append(span)
    return {owner: sorted(runs) for owner, runs in spans.items()}


def seconds_in_steps(run: Path) -> float:
    """From the metrics: a line says how long its call of the trainer has been at steps; each call begins at 0 again."""
    total = before = 0.0
    for line in (run / "training" / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["kind"] == "train":
            total += row["wall_s"] - (before if row["wall_s"] > before else 0.0)
            before = row["wall_s"]
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30, help="of a run, for --overhead")
    parser.add_argument("--seeds", type=int, default=1, help="of every run, for --overhead")
    a = parser.parse_args()
    if a.overhead:
        measure_overhead(a.slots, a.seconds, a.seeds)
    else:
        measure_index(a.runs)
