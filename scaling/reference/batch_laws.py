"""Learning rate and batch as published laws give them; the plan shows them and the recipes of training use them."""

from __future__ import annotations

from typing import NamedTuple

STEP_LAW = "Li et al. 2025, arXiv:2503.04715 (Step Law)"
DEEPSEEK = "DeepSeek-AI 2024, arXiv:2401.02954, eq. 1"


class PeakAndBatch(NamedTuple):
    """The peak learning rate, and the tokens of a step; neither rounded nor capped."""

    learning_rate: float
    batch_tokens: float


def step_law_settings(n_params_without_vocabulary: float, n_tokens: float) -> PeakAndBatch:
    """lr = 1.79 N^-0.713 D^0.307, B = 0.58 D^0.571 tokens; N without the vocabulary. Source: STEP_LAW."""
    learning_rate = 1.79 * n_params_without_vocabulary**-0.713 * n_tokens**0.307
    return PeakAndBatch(learning_rate, 0.58 * n_tokens**0.571)


def deepseek_settings(flops: float) -> PeakAndBatch:
    """lr = 0.3118 C^-0.1250, B = 0.2920 C^0.3271 tokens; C = M D without the vocabulary. Source: DEEPSEEK."""
    return PeakAndBatch(0.3118 * flops**-0.1250, 0.2920 * flops**0.3271)
