"""A tiny run of transformers' Trainer that logs to W&B (offline), MLflow and TensorBoard at once, and may kill itself.

    python train_logged.py FOLDER NAME WIDTH [STEP]     # at STEP it kills itself, as a node that is lost

Called again it goes on from its last checkpoint, as the job script of a cluster does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

CONTEXT, BATCH, STEPS, SAVED_EVERY, EVALUATED_EVERY = 16, 4, 24, 8, 4


def train(folder: Path, name: str, width: int, killed_at: int | None) -> None:
    os.environ |= {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_PROJECT": "sweep", "WANDB_DIR": str(folder),
        "WANDB_RUN_ID": f"id-{name}", "WANDB_RESUME": "allow",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_EXPERIMENT_NAME": "sweep", "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard" / name),
    }  # fmt: skip
    logging.disable(logging.WARNING)
    import mlflow
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    class Killed(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == killed_at:
                mlflow.flush_async_logging()  # the Trainer hands MLflow its metrics in the background: no race with them
                os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=32, n_positions=CONTEXT, n_embd=width, n_layer=1, n_head=2)
    ids = torch.randint(0, 32, (STEPS * BATCH, CONTEXT))
    rows = [{"input_ids": i, "labels": i} for i in ids]
    output = folder / "trainer" / name
    arguments = TrainingArguments(
        output_dir=str(output), run_name=name, max_steps=STEPS, per_device_train_batch_size=BATCH,
        eval_strategy="steps", eval_steps=EVALUATED_EVERY, save_steps=SAVED_EVERY, logging_steps=2,
        report_to=["wandb", "mlflow", "tensorboard"], include_num_input_tokens_seen="all", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model=GPT2LMHeadModel(config), args=arguments, train_dataset=rows, eval_dataset=rows[:16],
        callbacks=[Killed()],
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=any(output.glob("checkpoint-*")))


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else None)
