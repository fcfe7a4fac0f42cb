"""The picture of a sweep under way: every planned run, by what became of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scaling.errors import UsageError
from scaling.plots import compose
from scaling.sweep.figures import progress_figure
from scaling.sweep.progress import Status


def design(*states: str) -> tuple[Status, Any]:
    runs = [
        SimpleNamespace(run_id=f"r{i}", budget=10.0 ** (15 + i % 3), n_params=1e6 * (i + 1), n_tokens=1e8)
        for i in range(len(states))
    ]
    known: Any = {run.run_id: state for run, state in zip(runs, states, strict=True)}
    return Status(states=known, work_flops=8.0, done_flops=2.0, seconds_left=90.0), SimpleNamespace(runs=runs)


def test_runs_are_drawn_by_state_and_the_title_says_how_far_it_is() -> None:
    figure = progress_figure(*design("done", "running", "pending", "failed", "oom"))
    assert list(figure.data["state"]) == ["finished", "under way", "open", "failed", "failed"]
    assert figure.titles[0].startswith("1 of 5 runs done, 25 % of the compute")
    assert "2 failed" in figure.titles[0]
    (ax,) = compose([figure]).axes
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["finished: 1", "under way: 1", "not begun: 1", "failed: 2"]


def test_a_sweep_without_runs_has_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="plans no run"):
        progress_figure(*design())
