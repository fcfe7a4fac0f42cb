"""A tiny sweep for the command-line tests, and one whose law is planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from scaling.cli import cli
from scaling.laws import ChinchillaLaw

SPEC = """
schema_version = 1
name = "tiny"
[corpus]
name = "synthetic:bits=4,seed=0"
context_length = 16
[grid]
budgets = [4e7, 8e7]
sizes_per_budget = 3
size_ratio = 2.0
optimum_flops = 4e7
optimum_params = 2000
[shape]
d_head = 4
n_layers = 1
[recipe]
batch_tokens = 128
learning_rate = 0.01
reference_params = 1000
[schedule]
warmup_steps = 2
[evaluation]
windows = 8
"""


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["sweep", *arguments], standalone_mode=False, catch_exceptions=False)
    return result.output


def planted(folder: Path) -> Any:
    """The template's sweep in `folder` with the losses of a planted law, 20 tokens per parameter throughout: the design
    and the store."""
    from scaling.cli.sweep_options import design_of, store_of

    invoke("init", str(folder))
    design, store = design_of(folder), store_of(folder, None)
    finish(store, design)
    return design, store


def finish(store: Any, design: Any) -> None:
    """Give every run of a design the loss of the planted law, with 0.2 % of noise."""
    law = ChinchillaLaw(E=1.4, A=100.0, B=100.0 * 20**0.5, alpha=0.5, beta=0.5)
    for one in design.runs:
        lease = store.claim(store.add(one.config))
        noise = 1 + 0.001 * (int(one.run_id, 16) % 7 - 3)
        store.finish(lease, {"status": "done", "loss": noise * float(law.loss(one.n_params, one.n_tokens))})
