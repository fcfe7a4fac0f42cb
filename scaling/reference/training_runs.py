"""Whole training runs with their published accelerator-hours, each row with its source."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.reference.tables import from_row, read_table

TABLE = "training_hours.csv"


class TrainingRun(NamedTuple):
    """One run. `n_params` are those that compute on every token; None means not published."""

    run: str
    laboratory: str
    n_params: float
    n_tokens: float
    context_length: int
    n_devices: int | None
    accelerator: str  # an id of the table of accelerators
    accelerator_hours: float
    hours_of: str  # whole run (stops included) | steps only | throughput (tokens a second, of the whole run)
    status: str  # verified | partly | from memory
    source: str

    @property
    def flops(self) -> float:
        """6ND."""
        return FLOPS_PER_PARAM_TOKEN * self.n_params * self.n_tokens


@cache
def training_runs() -> tuple[TrainingRun, ...]:
    """Every run of the table, in its order."""
    return tuple(from_row(TrainingRun, row) for row in read_table(TABLE))
