"""What a finished training run says, and what it says to do next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaling.lm.run import RunResult
from scaling.render.terminal import render_terminal

DONE = RunResult(
    run_id="a", trunk_id="b", status="done", reason=None, step=651, n_params=1_328_256, n_params_non_embedding=804_096,
    n_tokens=999_936, flops=8e12, loss=5.0592, loss_standard_error=0.069, bits_per_byte=2.131, excess=None,
    excess_standard_error=None, train_loss=4.9, tokens_per_s=962.0, mfu=0.4, wall_s=1000.0, micro_batch=6,
    device="cpu", precision="float32",
)  # fmt: skip


@pytest.mark.parametrize("width", [72, 80, 100, 140])
def test_a_run_says_its_loss_with_its_error_and_what_to_do_with_the_model(width: int) -> None:
    lines = render_terminal(DONE.summary("runs/my tiny"), width=width).splitlines()
    assert lines[1].startswith("loss     5.059 ± 0.069 nats/token")
    assert lines[-1] == "next  scaling generate 'runs/my tiny'"
    assert max(map(len, lines)) <= width


def test_a_run_of_a_synthetic_language_or_one_that_stopped_offers_no_text() -> None:
    synthetic = replace(DONE, excess=0.1, excess_standard_error=0.01)
    for result in (synthetic, replace(DONE, status="preempted", reason="SIGTERM")):
        assert "scaling generate" not in render_terminal(result.summary("runs/x"))
