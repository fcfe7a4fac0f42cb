"""A job without network, cut after 60 of 100 steps, that went on under the same W&B id: `make.py FIRST LAST CODE`."""

from __future__ import annotations

import os
import sys

import wandb

first, last, code = map(int, sys.argv[1:])
os.makedirs("logs", exist_ok=True)
os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
run = wandb.init(
    project="p", id="abc123", name="m10", config={"n_params": 1e6, "batch": 1000}, dir="logs", resume="allow"
)
for step in range(first, last + 1):
    run.log({"eval/loss" if step % 10 == 0 else "train/loss": 5 - 0.02 * step})
run.finish(exit_code=code)
