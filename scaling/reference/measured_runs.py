"""What whole training runs took, as published: accelerator-hours and peaks of memory, each row with its source."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from scaling.architecture import PRESETS, Architecture
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.reference.tables import from_row, read_table

HOURS = "training_hours.csv"
PEAKS = "memory_measured.csv"


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
    status: (
        str  # agreed (a public table that cites the page has the same) | partly (second-hand) | from memory
    )
    source: str

    @property
    def flops(self) -> float:
        """6ND."""
        return FLOPS_PER_PARAM_TOKEN * self.n_params * self.n_tokens


class MeasuredPeak(NamedTuple):
    """One configuration under FSDP with bf16 matrix products, and its peak; None where it is only known that it ran."""

    run: str
    preset: str  # of the architecture; "" for a GPT of the sizes that follow
    n_layers: int | None
    d_model: int | None
    n_heads: int | None
    vocab_size: int | None
    batch_size: int
    context_length: int
    n_devices: int
    tensor_parallel: int
    recomputation: str
    compiled: str  # yes | no
    fused_loss: str  # yes | no
    device_gib: float
    peak_gib: float | None
    source: str

    @property
    def architecture(self) -> Architecture:
        if self.preset:
            return PRESETS[self.preset]
        sizes = ("n_layers", "d_model", "n_heads", "vocab_size", "context_length")
        return Architecture(**{name: getattr(self, name) for name in sizes})

    def set_up(self) -> dict[str, Any]:
        """The arguments of `estimate_memory`."""
        same = ("batch_size", "context_length", "n_devices", "tensor_parallel", "recomputation")
        return {
            **{name: getattr(self, name) for name in same},
            "compiled": self.compiled == "yes",
            "fused_loss": self.fused_loss == "yes",
            "strategy": "fsdp",
            "precision": "bf16_autocast",
        }


@cache
def training_runs() -> tuple[TrainingRun, ...]:
    """Every run of the table of hours, in its order."""
    return tuple(from_row(TrainingRun, row) for row in read_table(HOURS))


@cache
def measured_peaks() -> tuple[MeasuredPeak, ...]:
    """Every configuration of the table of memory, in its order."""
    return tuple(from_row(MeasuredPeak, row) for row in read_table(PEAKS))
