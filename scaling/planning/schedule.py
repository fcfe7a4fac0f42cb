"""Batch size, learning rate and warm-up: what published laws say, each with its source and the range it was fitted on.

Use which when: the Step Law knows N and D separately and is fitted on more runs, so it is the plan's choice; the
DeepSeek law knows C only and is shown beside it. Outside their range both are extrapolations, and said to be.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scaling.reference.batch_laws import DEEPSEEK, STEP_LAW, deepseek_settings, step_law_settings

KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361, eq. 1.4"
WARM_UP_SOURCE = "Porian et al. 2024, arXiv:2406.19146: N tokens; ours: at most 10 % of D"
DECAY = "decay to a tenth by the last step (Hoffmann et al. 2022, app. B: a schedule longer than the run costs loss)"
WARM_UP_MOST = 0.1


class Advice(NamedTuple):
    """One published law's learning rate and batch (either may be missing) for this run."""

    name: str
    source: str
    fitted_on: str
    inside: bool  # whether the run lies in the fitted range
    learning_rate: float | None
    batch_tokens: float | None


class Schedule(NamedTuple):
    """What to set. `batch_tokens` is a whole number of sequences, near the chosen law's value."""

    context_length: int
    batch_sequences: int
    batch_tokens: int
    n_steps: int
    learning_rate: float
    warm_up_steps: int
    warm_up_tokens: float
    warm_up_source: str
    decay: str
    chosen: str
    n_params_without_vocabulary: float  # the N of the chosen law
    advice: tuple[Advice, ...]


def step_law(n_params_without_vocabulary: float, n_tokens: float) -> Advice:
    """From N without the vocabulary, and D."""
    n, d = n_params_without_vocabulary, n_tokens
    inside = 6e7 <= n <= 1.1e9 and 2e9 <= d <= 1e11
    fitted_on = "N 60M to 1B, D 2B to 100B tokens, context 2048"
    return Advice("Step Law", STEP_LAW, fitted_on, inside, *step_law_settings(n, d))


def deepseek_law(flops: float) -> Advice:
    """From C = M D without the vocabulary, near 6 N D."""
    inside = 1e17 <= flops <= 2e19
    return Advice("DeepSeek", DEEPSEEK, "C 1e17 to 2e19 FLOPs", inside, *deepseek_settings(flops))


def critical_batch(loss: float) -> Advice:
    """B_crit = 2.1e8 / L^(1/0.21) tokens: above it, more data per step saves little time."""
    return Advice(
        name="critical batch",
        source=KAPLAN,
        fitted_on="losses 2.2 to 5 nats/token on WebText2",
        inside=2.2 <= loss <= 5,
        learning_rate=None,
        batch_tokens=2.1e8 * loss ** (-1 / 0.21),
    )


def choose_schedule(
    n_params: float,
    n_tokens: float,
    loss: float | None,
    *,
    context_length: int,
    n_params_without_vocabulary: float | None = None,
) -> Schedule:
    """Steps, batch, learning rate and warm-up for N parameters on D tokens.

    The batch is the Step Law's, in sequences rounded to 2^k or 3 2^k, and never more than a hundredth of D.
    """
    body = n_params_without_vocabulary or n_params
    chosen = step_law(body, n_tokens)
    others = [deepseek_law(6 * n_params * n_tokens)] + ([] if loss is None else [critical_batch(loss)])
    assert chosen.batch_tokens is not None
    assert chosen.learning_rate is not None
    most = max(1.0, n_tokens / 100 / context_length)
    sequences = round_sequences(min(chosen.batch_tokens / context_length, most))
    batch = sequences * context_length
    n_steps = max(1, math.ceil(n_tokens / batch))
    warm_up = min(n_params, WARM_UP_MOST * n_tokens)
    return Schedule(
        context_length=context_length,
        batch_sequences=sequences,
        batch_tokens=batch,
        n_steps=n_steps,
        learning_rate=float(f"{chosen.learning_rate:.2g}"),
        warm_up_steps=max(1, round(warm_up / batch)),
        warm_up_tokens=warm_up,
        warm_up_source=WARM_UP_SOURCE,
        decay=DECAY,
        chosen=chosen.name,
        n_params_without_vocabulary=body,
        advice=(chosen, *others),
    )


def round_sequences(sequences: float) -> int:
    """The nearest (in ratio) of 1, 2, 3, 4, 6, 8, 12, 16, ...: splits evenly over devices and accumulation steps."""
    if sequences <= 1:
        return 1
    k = math.floor(math.log2(sequences))
    candidates = [2**k, 2 ** (k + 1)] + ([3 * 2 ** (k - 1)] if k >= 1 else [])
    return int(min(candidates, key=lambda c: abs(math.log(c / sequences))))
