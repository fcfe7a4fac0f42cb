"""Runs of a few steps for the tests of training."""

from __future__ import annotations

from pathlib import Path

from scaling.architecture import Architecture
from scaling.lm.metrics import read_metrics
from scaling.lm.recipes import Recipe, Schedule
from scaling.lm.run import RunSpec, TrainingOptions

TINY = Architecture(n_layers=2, d_model=16, n_heads=2, vocab_size=32, context_length=16)
LLAMA = Architecture(
    n_layers=1, d_model=16, n_heads=4, n_kv_heads=2, d_ff=32, vocab_size=32, context_length=16, norm="rms",
    activation="swiglu", positions="rope", qkv_bias=False, attention_output_bias=False, mlp_bias=False,
    tie_embeddings=False,
)  # fmt: skip
EVERY_STEP = TrainingOptions(device="cpu", log_every=1)


def make_spec(**changes: object) -> RunSpec:
    values: dict = {
        "architecture": TINY,
        "corpus": "synthetic:bits=4",
        "recipe": Recipe(learning_rate=3e-3, batch_size=8),
        "schedule": Schedule(kind="wsd", warmup_steps=3),
        "n_steps": 30,
        "n_eval_windows": 32,
    }
    return RunSpec(**(values | changes))


def step_losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "train"]


def same_weights(a: Path, b: Path) -> bool:
    return (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
