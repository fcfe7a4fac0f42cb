"""Wall time of a sweep against a shell loop over a nanoGPT-like script: the same grid, start-up included.

    python benchmarks/sweep_wall.py --rounds 2                # the peer uses all cores: quiet machines only
    python benchmarks/sweep_wall.py --rounds 2 --threads 1    # busy machines, where two threads fall below one

The peer is what one writes first: a loop of processes, each importing torch, building nanoGPT's model (re-created from
torch's own modules, as in training_speed.py, with the same width, depth and MLP), reading batches from a token file,
training all its steps on all cores, and evaluating 256 windows. Ours runs the same shapes, batch and steps with its
default settings: a slot a core, budgets of one size sharing a trunk, 256 validation windows, checkpoints and store.

On a busy machine wall time measures how many processes compete, ours with two against one: the CPU seconds beside it
do not. `--scale 4` makes every run four times as long, so that start-up counts less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """
schema_version = 1
name = "wall"
[corpus]
name = "synthetic:bits=7,seed=0"
context_length = 64
[grid]
budgets = [{budgets}]
sizes_per_budget = 3
size_ratio = 1.7
optimum_flops = {optimum_flops}
optimum_params = 20e3
[shape]
n_layers = 2
n_heads = 2
[shape.architecture]
norm = "layer"
norm_bias = true
activation = "gelu"
positions = "learned"
qkv_bias = true
attention_output_bias = true
mlp_bias = true
[recipe]
batch_tokens = 1024
learning_rate = 0.005
reference_params = 14e3
[schedule]
warmup_steps = 10
[evaluation]
windows = 256
"""


def write_spec(path: Path, scale: float) -> None:
    """The grid, its budgets `scale` times as large on the same sizes."""
    budgets = ", ".join(f"{b * scale:g}" for b in (1e10, 2e10, 4e10))
    path.write_text(SPEC.format(budgets=budgets, optimum_flops=f"{1e10 * scale:g}"))


def cpu_s() -> float:
    """Of all processes started here that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def loop(folder: Path, threads: int | None) -> tuple[float, float]:
    """The peer: one process a run, one after the other. Wall and CPU seconds."""
    from scaling.sweep.design import design_sweep
    from scaling.sweep.spec import load_sweep

    design = design_sweep(load_sweep(folder / "sweep.toml"), vocab_size=256)
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    env |= {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    started, before = time.perf_counter(), cpu_s()
    for run in design.runs:
        shape = {**run.config["architecture"], "batch": run.config["batch_sequences"], "steps": run.n_steps}
        subprocess.run(
            [sys.executable, __file__, "--peer", json.dumps(shape), "--folder", str(folder)],
            check=True,
            env=env,
            stdout=subprocess.DEVNULL,
        )
    return time.perf_counter() - started, cpu_s() - before


def sweep(folder: Path) -> tuple[float, float]:
    started, before = time.perf_counter(), cpu_s()
    store = folder / f"store-{time.time_ns()}"
    command = [sys.executable, "-m", "scaling", "sweep", "run", str(folder / "sweep.toml"), "--quiet"]
    subprocess.run([*command, "--store", str(store)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started, cpu_s() - before


def peer(shape: dict[str, int], folder: Path) -> None:
    """One run of the shell loop, as nanoGPT's train.py does it."""
    import math

    import numpy as np
    import torch
    from torch import nn
    from training_speed import Peer

    V, T, d = shape["vocab_size"], shape["context_length"], shape["d_model"]
    torch.manual_seed(0)
    model = Peer(shape["n_layers"], d, shape["n_heads"], T, V)
    for block in model.h:  # our MLP widths are not always 4 d
        block.up, block.down = nn.Linear(d, shape["d_ff"]), nn.Linear(shape["d_ff"], d)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=5e-3, betas=(0.9, 0.95))
    data = np.memmap(folder / "train.bin", dtype=np.uint16, mode="r")

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        at = torch.randint(len(data) - T - 1, (shape["batch"],))
        rows = torch.stack([torch.from_numpy(data[i : i + T + 1].astype(np.int64)) for i in at.tolist()])
        return rows[:, :-1], rows[:, 1:]

    for step in range(shape["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 + math.cos(math.pi * step / shape["steps"])) / 2
        loss = model(*batch())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        print(sum(model(*batch()).item() for _ in range(256 // shape["batch"])) / (256 // shape["batch"]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of the budgets")
    parser.add_argument("--threads", type=int, help="of the peer  [default: all cores]")
    parser.add_argument("--peer", help="internal: train one run of the peer")
    parser.add_argument("--folder", type=Path)
    a = parser.parse_args()
    if a.peer:
        peer(json.loads(a.peer), a.folder)
        return
    import numpy as np

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_spec(folder / "sweep.toml", a.scale)
        np.random.default_rng(0).integers(0, 256, 2_000_000, dtype=np.uint16).tofile(folder / "train.bin")
        for _ in range(a.rounds):  # in turn, so that both meet the same machine
            (wall, cpu), (peer_wall, peer_cpu) = sweep(folder), loop(folder, a.threads)
            print(
                f"wall: sweep {wall:.1f} s, shell loop {peer_wall:.1f} s, ratio {wall / peer_wall:.2f} (target 0.6); "
                f"CPU: {cpu:.1f} s, {peer_cpu:.1f} s, ratio {cpu / peer_cpu:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
