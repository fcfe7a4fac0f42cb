"""The loss on a fixed validation block, with its standard error, in nats per token and bits per byte.

On the synthetic corpus the excess over the truth is measured on the same tokens: the noise of which tokens were
drawn cancels, and what is left is the model's own distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from scaling.errors import DataError
from scaling.lm.corpus import Corpus
from scaling.lm.device import Device, TaskThreads
from scaling.lm.losses import linear_cross_entropy_rows
from scaling.lm.models import Transformer

_WINDOWS_PER_PASS = 32
EVALUATED = ("loss", "loss_standard_error", "bits_per_byte", "excess", "excess_standard_error")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean over the block; standard errors treat windows as independent (tokens of one window are not)."""

    loss: float
    loss_standard_error: float
    bits_per_byte: float | None
    excess: float | None
    excess_standard_error: float | None
    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class ValidationBlock:
    """The windows every run of a sweep is measured on."""

    ids: NDArray[np.int64]  # (n_windows, context_length + 1)
    counted: NDArray[np.bool_]  # (n_windows, context_length): targets that count
    true_log_p: NDArray[np.float64] | None  # (n_windows, context_length), NaN where not counted
    n_bytes: int | None


def load_validation_block(corpus: Corpus, context_length: int, n_windows: int) -> ValidationBlock:
    """The first `n_windows` of the validation windows (all of them when there are fewer), the same for every seed."""
    windows = corpus.validation_windows(context_length)
    available = windows.n_windows
    n = n_windows if available is None else min(n_windows, available)
    if n < 2:
        raise DataError(
            f"the validation split of {corpus.name} has {n} window; a standard error needs 2. Use more text."
        )
    ids = windows.windows(0, n)
    truth = corpus.true_log_probabilities(ids)
    counted = np.ones((n, context_length), dtype=bool) if truth is None else ~np.isnan(truth)
    if not counted.any(axis=1).all():
        raise DataError(
            f"no token of a window of {context_length} counts in {corpus.name}: its first word has no known odds. "
            "Use a longer context."
        )
    return ValidationBlock(ids=ids, counted=counted, true_log_p=truth, n_bytes=corpus.count_bytes(ids[:, 1:]))


def token_losses(model: Transformer, ids: NDArray[np.int64], device: Device) -> NDArray[np.float64]:
    """-ln p of every target, (n_windows, context_length)."""
    parts = torch.split(torch.as_tensor(ids, device=device.device), _WINDOWS_PER_PASS)
    tasks = [partial(_window_losses, model, part, device) for part in parts]
    rows = TaskThreads().run(tasks) if device.device.type == "cpu" else [task() for task in tasks]
    return np.concatenate([row.cpu().double().numpy() for row in rows])


@torch.no_grad()
def _window_losses(model: Transformer, ids: torch.Tensor, device: Device) -> torch.Tensor:
    with device.autocast():
        states = model.states(ids[:, :-1])
    # the head in float32: the loss is the product of the run, and is measured only now and then
    losses = linear_cross_entropy_rows(
        model.head_inputs(states.float()).flatten(0, 1), model.head_weight.float(), ids[:, 1:].flatten()
    )
    return losses.view(len(ids), -1)


def evaluate(model: Transformer, block: ValidationBlock, device: Device) -> Evaluation:
    """Loss of the model on the block."""
    losses = token_losses(model, block.ids, device)
    loss, error = _mean(losses, block.counted)
    excess = excess_error = None
    if block.true_log_p is not None:
        excess, excess_error = _mean(losses + np.where(block.counted, block.true_log_p, 0.0), block.counted)
    bits = float(losses[block.counted].sum()) / math.log(2) / block.n_bytes if block.n_bytes else None
    return Evaluation(
        loss=loss,
        loss_standard_error=error,
        bits_per_byte=bits,
        excess=excess,
        excess_standard_error=excess_error,
        n_tokens=int(block.counted.sum()),
    )


def _mean(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean over counted tokens, and its standard error from the spread of window means."""
    per_window = np.where(counted, values, 0.0).sum(1) / counted.sum(1)
    return float(per_window.mean()), float(per_window.std(ddof=1) / math.sqrt(len(per_window)))
