"""Recipes (optimizer, learning rate, batch) and schedules (its course over the steps). No torch here.

Use which when:

- `Recipe(learning_rate=..., batch_size=...)`: you know what you want.
- steplaw: fitted on 3700 dense runs of 60M-1B parameters; the best published guess of both numbers from N and D.
- deepseek: both from the compute budget alone; fitted at 1e17-2e19 FLOPs.
- marin: batch from a fixed number of steps, learning rate from batch and width.

All are extrapolated when used below 20M parameters, where the best batch is 8k to 64k tokens; two or three learning
rates tried at the smallest size are worth more than any of them. Never mix recipes within one fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from scaling.accounting import count_params, flops_per_token
from scaling.architecture import Architecture
from scaling.errors import UnknownNameError, UsageError
from scaling.reference.batch_laws import deepseek_settings, step_law_settings

OptimizerName = Literal["adamw", "muon"]
ScheduleKind = Literal["cosine", "wsd", "linear", "constant"]
RECIPES = ("steplaw", "deepseek", "marin")
MAX_LEARNING_RATE = 0.01  # marin's cap; the laws ask for more at very small sizes


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How weights are updated.

    Args:
        learning_rate: peak.
        batch_size: windows per step (times the context length in tokens).
        optimizer: "adamw" for all weights, or "muon" for the matrices of the blocks with AdamW for the rest.
        weight_decay: of matrices and embeddings; norms and biases are not decayed.
        clip_norm: largest global norm of the gradient.
        momentum: of Muon.
    """

    learning_rate: float
    batch_size: int
    name: str = "custom"
    optimizer: OptimizerName = "adamw"
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    momentum: float = 0.95

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate >= 0):
            raise UsageError(f"the learning rate must be a number >= 0; got {self.learning_rate}.")
        if self.batch_size < 1:
            raise UsageError(f"the batch size must be at least 1 window; got {self.batch_size}.")
        if self.optimizer not in ("adamw", "muon"):
            raise UnknownNameError("optimizer", self.optimizer, ("adamw", "muon"))
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and 0 <= self.momentum < 1):
            raise UsageError(
                f"betas and momentum lie in [0, 1); got {self.beta1}, {self.beta2}, {self.momentum}."
            )
        if self.clip_norm <= 0 or self.weight_decay < 0:
            raise UsageError("clip_norm must be > 0 and weight_decay >= 0.")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Course of the learning rate: linear warm-up, then by kind.

    wsd holds the peak and falls in the last `decay_fraction` of the steps as 1 - sqrt(t), which matches a cosine
    of the same length (Haegele et al. 2024, arXiv:2405.18392): runs of several lengths share its flat trunk.

    t counts from 1, so the last step has the final rate. With final_fraction 0, the default, that step moves nothing:
    one batch of a run, the price of ending at the formula's end whatever the length. (They count from 0.)
    """

    kind: ScheduleKind = "cosine"
    warmup_steps: int = 0
    final_fraction: float = 0.0  # learning rate at the end over the peak
    decay_fraction: float = 0.2  # wsd only

    def __post_init__(self) -> None:
        if self.kind not in ("cosine", "wsd", "linear", "constant"):
            raise UnknownNameError("schedule", self.kind, ("cosine", "wsd", "linear", "constant"))
        if self.warmup_steps < 0 or not 0 <= self.final_fraction <= 1 or not 0 < self.decay_fraction <= 1:
            raise UsageError(
                "a schedule needs warmup_steps >= 0, final_fraction in 0..1 and decay_fraction in (0, 1]."
            )

    def decay_start(self, n_steps: int) -> int:
        """First step whose learning rate depends on `n_steps`."""
        if self.kind == "wsd":
            return n_steps - max(1, round(self.decay_fraction * n_steps))
        return n_steps if self.kind == "constant" else min(self.warmup_steps, n_steps)

    def factor(self, step: int, n_steps: int) -> float:
        """Learning rate of step 0 .. n_steps - 1 over the peak."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        start = self.decay_start(n_steps)
        if step < start or self.kind == "constant":
            return 1.0
        t = (step - start + 1) / (n_steps - start)
        shapes = {"cosine": (1 + math.cos(math.pi * t)) / 2, "linear": 1 - t, "wsd": 1 - math.sqrt(t)}
        return self.final_fraction + (1 - self.final_fraction) * shapes[self.kind]


def choose_recipe(name: str, architecture: Architecture, *, n_tokens: float, **changes: Any) -> Recipe:
    """The learning rate and batch a published rule gives for a model trained on `n_tokens`.

    Args:
        name: one of `RECIPES`.
        changes: fields of `Recipe` to set after the rule.
    Source:
        steplaw, deepseek: `scaling.reference.batch_laws`, N non-embedding. marin: 2^16 steps with at least 8 windows,
        lr = .33 sqrt(batch) / d_model, beta2 = max(.95, .98^(batch / 128)) (marin-community/marin, isoflop sweeps).
        Learning rates are capped at .01, as marin does.
    """
    context = architecture.context_length
    if n_tokens < context:
        raise UsageError(f"a run needs at least one window of {context} tokens; got {n_tokens:g}.")
    beta2 = 0.95
    if name == "steplaw":
        n_params = count_params(architecture).non_embedding
        learning_rate, batch_tokens = step_law_settings(n_params, n_tokens)
        batch_size = round(batch_tokens / context)
    elif name == "deepseek":
        flops = flops_per_token(architecture) * n_tokens
        learning_rate, batch_tokens = deepseek_settings(flops)
        batch_size = round(batch_tokens / context)
    elif name == "marin":
        batch_size = max(8, 2 ** round(math.log2(max(1.0, n_tokens / (2**16 * context)))))
        learning_rate = 0.33 * math.sqrt(batch_size) / architecture.d_model
        beta2 = max(0.95, 0.98 ** (batch_size / 128))
    else:
        raise UnknownNameError("recipe", name, RECIPES)
    learning_rate = min(MAX_LEARNING_RATE, learning_rate)
    recipe = Recipe(name=name, learning_rate=learning_rate, batch_size=max(1, batch_size), beta2=beta2)
    return replace(recipe, **changes)
