"""When a run counts as diverged: its losses are given here, so what must come out is known."""

from __future__ import annotations

import math

import torch
from small_runs import EVERY_STEP, TINY, make_spec

from scaling.lm.device import choose_device
from scaling.lm.distributed import Processes
from scaling.lm.metrics import TrainingMetrics
from scaling.lm.recipes import Schedule
from scaling.lm.run import RunSpec

LN_V = math.log(TINY.vocab_size)  # 3.47


def metrics_of(specs: list[RunSpec], *, step: int = 0) -> TrainingMetrics:
    device = choose_device("cpu")
    return TrainingMetrics(specs, [None] * len(specs), device, Processes(), step=step, options=EVERY_STEP)


def give(metrics: TrainingMetrics, losses: list[list[float]], *, first_step: int = 1) -> list[str | None]:
    for step, each in enumerate(losses, first_step):
        metrics.add(torch.tensor(each), torch.ones(len(each)))
        metrics.read(step)
    return metrics.diverged


def test_a_run_that_starts_above_ln_v_and_falls_has_not_diverged() -> None:
    start = LN_V + 9.0  # as a wide post-norm model with tied embeddings
    falling = [[start - 0.1 * step] for step in range(30)]  # never below ln V + 1
    metrics = metrics_of([make_spec()])
    assert give(metrics, falling) == [None]
    (reason,) = give(metrics, [[start + 1.1]], first_step=31)
    assert f"above the first loss + 1 = {start + 1:.2f}" in str(reason)


def test_a_run_that_starts_at_ln_v_has_diverged_above_ln_v_and_1() -> None:
    assert give(metrics_of([make_spec()]), [[LN_V - 0.5]] * 5 + [[LN_V + 0.9]]) == [None]
    (reason,) = give(metrics_of([make_spec()]), [[LN_V - 0.5]] * 5 + [[LN_V + 1.1]])
    assert f"above ln V + 1 = {LN_V + 1:.2f}" in str(reason)


def test_the_first_loss_outlives_a_stop() -> None:
    start = LN_V + 9.0
    before = metrics_of([make_spec()])
    give(before, [[start]] * 10)
    after = metrics_of([make_spec()], step=10)
    after.restore(before.tensors())
    assert give(after, [[start + 0.5]], first_step=11) == [None]
    assert give(after, [[start + 1.5]], first_step=12) != [None]


def test_each_member_of_a_pack_is_judged_by_its_own_warm_up() -> None:
    short, long = (make_spec(schedule=Schedule(kind="wsd", warmup_steps=w)) for w in (3, 20))
    losses = [[LN_V, LN_V]] * 9 + [[LN_V + 2, LN_V + 2]]
    for specs in ([short, long], [long, short]):
        reasons = give(metrics_of(specs), losses)
        assert [reason is not None for reason in reasons] == [spec is short for spec in specs]
