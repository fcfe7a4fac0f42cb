"""Where a sweep stands, as a figure: each planned run in compute and size, by what became of it."""

from __future__ import annotations

from typing import Any

from scaling.blocks import Figure
from scaling.errors import UsageError
from scaling.sweep.design import Design
from scaling.sweep.progress import UNDER_WAY, Status
from scaling.sweep.store import FAILED, FINISHED, State
from scaling.translation import tr
from scaling.units import format_duration, format_percent


def progress_figure(status: Status, design: Design) -> Figure:
    """The runs of a design by their state.

    Raises:
        UsageError: the design plans no run.
    """
    if not design.runs:
        raise UsageError("this sweep plans no run: there is nothing to draw.")
    data: dict[str, Any] = {
        "run_id": [run.run_id for run in design.runs],
        "flops": [float(run.budget) for run in design.runs],
        "n_params": [float(run.n_params) for run in design.runs],
        "n_tokens": [float(run.n_tokens) for run in design.runs],
        "state": [_shown(status.states[run.run_id]) for run in design.runs],
    }
    title = tr("{done} of {n} runs done, {share} of the compute", done=status.n_finished, n=len(design.runs),
               share=format_percent(status.fraction))  # fmt: skip
    said = []
    if status.seconds_left is not None and status.n_open:
        said.append(tr("{time} left", time=format_duration(status.seconds_left)))
    if status.n_failed:
        said.append(tr("{n} failed", n=status.n_failed))
    title += f"\n{', '.join(said)}" if said else ""
    caption = tr("The planned runs of the sweep in compute and model size, by what became of them.")
    return Figure("sweep", data, title.replace("\n", "; ") + ".", caption, (title,))


def _shown(state: State) -> str:
    if state in FINISHED:
        return "finished"
    if state in FAILED:
        return "failed"
    return "under way" if state in UNDER_WAY else "open"
