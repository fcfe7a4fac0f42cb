"""Runs from the logs of other tools. What a log does not say (N, tokens per step, what N counts) is asked for.

Use which when:

- `from_wandb`: Weights & Biases: offline runs, an exported CSV, or runs of its API (extra `wandb`).
- `from_mlflow`: MLflow: a tracking store, local or on a server (extra `mlflow`).
- `from_tensorboard`: folders with event files (extra `logs`).
- `from_hf_trainer`: folders of transformers' Trainer (trainer_state.json, also in checkpoint-*/).
- `from_nanochat`: nanochat's results.csv of its scaling script, whose crashed runs stand as rows of zeros.

All of them give one row a run, the last finished of several logs of it; what is left out stands in `Runs.notes`.
"""

from scaling.sweep.importers.hf_trainer import from_hf_trainer
from scaling.sweep.importers.logged import ConventionError
from scaling.sweep.importers.mlflow import from_mlflow
from scaling.sweep.importers.nanochat import from_nanochat
from scaling.sweep.importers.tensorboard import from_tensorboard
from scaling.sweep.importers.wandb import from_wandb

__all__ = [
    "ConventionError", "from_hf_trainer", "from_mlflow", "from_nanochat", "from_tensorboard", "from_wandb",
]  # fmt: skip
