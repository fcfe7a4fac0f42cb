"""Writes the trainer_state.json and config.json files beside it with transformers' own Trainer (extra `oracle`): three tiny runs,
one stopped half way, as a preempted job leaves it.

    python tests/sweep/hf_trainer/write.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

HERE = Path(__file__).parent
CONTEXT, BATCH, STEPS = 16, 4, 12
WIDTHS = {"narrow": 8, "wide": 16, "stopped": 16}


class StopHalfWay(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= STEPS // 2


def train(name: str, width: int, folder: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=32, n_positions=CONTEXT, n_embd=width, n_layer=1, n_head=2)
    ids = torch.randint(0, 32, (64, CONTEXT))
    rows = [{"input_ids": i, "labels": i} for i in ids]
    arguments = TrainingArguments(
        output_dir=str(folder / name),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        eval_strategy="steps",
        eval_steps=6,
        save_steps=6,
        logging_steps=6,
        report_to=[],
        include_num_input_tokens_seen="all",
        use_cpu=True,
        disable_tqdm=True,
    )
    callbacks = [StopHalfWay()] if name == "stopped" else []
    Trainer(
        model=GPT2LMHeadModel(config),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows[:16],
        callbacks=callbacks,
    ).train()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name, width in WIDTHS.items():
            train(name, width, Path(folder))
        for path in sorted(
            p for name in ("trainer_state.json", "config.json") for p in Path(folder).rglob(name)
        ):
            target = HERE / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            print(target)
