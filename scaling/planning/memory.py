"""Memory per accelerator under each way to share a model, whether it fits, and the least count on which it does."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from scaling.accounting.activations import Recomputation
from scaling.accounting.memory import Memory, Strategy, estimate_memory
from scaling.architecture import Architecture
from scaling.errors import PlanError, UsageError
from scaling.jsonable import fields_of
from scaling.planning.shape import choose_architecture
from scaling.translation import tr
from scaling.units import format_bytes

TIGHT = 0.9  # of the memory: allocators fragment 5 to 20 %
TENSOR_PARALLEL = (1, 2, 4, 8)  # within one host
STATE_BYTES = 16  # per parameter: bf16 weights and gradients, float32 master copy, two AdamW states
MOST_DEVICES = 2**22

LABELS: dict[Strategy, str] = {"ddp": "DDP", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "fsdp": "FSDP"}


class Sharding(NamedTuple):
    """One way to share the model over `n_devices`, micro-batch of one sequence."""

    strategy: Strategy
    recomputation: Recomputation
    tensor_parallel: int
    n_devices: int
    memory: Memory
    fits: bool | None  # None: the accelerator's memory is not known

    @property
    def label(self) -> str:
        name = LABELS[self.strategy]
        name += f" TP{self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        return name + {"full": " recompute", "selective": " selective"}.get(self.recomputation, "")

    def to_dict(self) -> dict[str, Any]:
        return {**fields_of(self, leave_out=["memory"]), **fields_of(self.memory, also=["total_bytes"])}


class MemoryPlan(NamedTuple):
    """All rows, the one to take, and the least count that trains the model at all."""

    memory_bytes: float | None
    n_devices: int
    rows: tuple[Sharding, ...]
    least: Sharding | None  # fully sharded, recomputed; None when the memory is not known or nothing fits
    hint: str

    @property
    def least_n_devices(self) -> int | None:
        return None if self.least is None else self.least.n_devices

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, also=["least_n_devices"])


def plan_memory(
    architecture: Architecture, memory_bytes: float | None, n_devices: int, least: Sharding | None
) -> MemoryPlan:
    """Rows for DDP, ZeRO-1, ZeRO-2 and FSDP; where none fits one more with selective recomputation, or with full
    recomputation and tensor parallelism."""
    rows = [_row(architecture, memory_bytes, n_devices, strategy, "none", 1) for strategy in LABELS]
    if memory_bytes is not None and not any(row.fits for row in rows):
        selective = _row(architecture, memory_bytes, n_devices, "fsdp", "selective", 1)
        rows.append(selective if selective.fits else _leanest(architecture, memory_bytes, n_devices))
    hint = _hint(rows, memory_bytes, n_devices, least)
    return MemoryPlan(memory_bytes, n_devices, tuple(rows), least, hint)


def least_devices(architecture: Architecture, n_params: float, memory_bytes: float | None) -> Sharding | None:
    """The least power of two of devices that trains the model fully sharded with recomputation.

    None where the memory is not known, or no number of devices is enough.
    """
    if memory_bytes is None:
        return None
    start = 2 ** math.floor(math.log2(max(1.0, STATE_BYTES * n_params / memory_bytes)))
    # sharding over 64 times as many leaves activations, logits and buffers as they are
    counts = (start * 2**doubling for doubling in range(7))
    enough = (_leanest(architecture, memory_bytes, n) for n in counts if n <= max(MOST_DEVICES, 4 * start))
    return next((row for row in enough if row.fits), None)


def largest_params(
    memory_bytes: float, n_devices: int, context_length: int, vocab_size: int | None = None
) -> float:
    """The largest model that trains on `n_devices` of this memory, within 1 %; 0 when not even 10,000 do."""
    low, high = math.log(1e4), math.log(n_devices * memory_bytes / STATE_BYTES * 1.2 + 2e4)

    def fits(log_n: float) -> bool:
        try:
            shape = choose_architecture(math.exp(log_n), vocab_size=vocab_size, context_length=context_length)
        except PlanError:  # the vocabulary alone is larger than the model
            return log_n < math.log(1e9)
        return bool(_leanest(shape.architecture, memory_bytes, n_devices).fits)

    if not fits(low):
        return 0.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return math.exp(low)


def _leanest(architecture: Architecture, memory_bytes: float, n_devices: int) -> Sharding:
    """FSDP with full recomputation and the least tensor parallelism that fits; the most where none does."""
    row = None
    for tensor_parallel in TENSOR_PARALLEL:
        if n_devices % tensor_parallel:
            continue
        try:
            row = _row(architecture, memory_bytes, n_devices, "fsdp", "full", tensor_parallel)
        except UsageError:  # heads or columns do not split this way
            continue
        if row.fits:
            return row
    assert row is not None  # tensor_parallel 1 always divides
    return row


def _row(
    architecture: Architecture,
    memory_bytes: float | None,
    n_devices: int,
    strategy: Strategy,
    recomputation: Recomputation,
    tensor_parallel: int,
) -> Sharding:
    how: Any = {
        "strategy": strategy,
        "recomputation": recomputation,
        "tensor_parallel": tensor_parallel,
        "n_devices": n_devices,
    }
    memory = estimate_memory(architecture, **how)
    fits = None if memory_bytes is None else memory.total_bytes <= memory_bytes
    return Sharding(**how, memory=memory, fits=fits)


def _hint(rows: list[Sharding], memory_bytes: float | None, n_devices: int, least: Sharding | None) -> str:
    if memory_bytes is None:
        return "the accelerator's memory is not known: give --max-memory to see what fits"
    chosen = next((row for row in rows if row.fits), None)
    if chosen is None:
        if least is None:
            return tr("no sharding of this kind fits: split layers into pipeline stages as well")
        return tr(
            "does not fit on {n_devices}: at least {least} are needed ({label})",
            n_devices=n_devices,
            least=least.n_devices,
            label=least.label,
        )
    tight = tr(", tight") if chosen.memory.total_bytes > TIGHT * memory_bytes else ""
    reason = {
        "ddp": tr("a whole replica fits on each"),
        "zero1": tr("shard the optimizer"),
        "zero2": tr("shard optimizer and gradients"),
        "fsdp": tr("shard everything"),
    }[chosen.strategy]
    if chosen.recomputation == "full":
        reason += tr(
            ", recompute activations (a third more FLOPs, which MFU does not count: say --mfu for what it leaves)"
        )
    if chosen.recomputation == "selective":
        reason += tr(
            ", recompute every other matrix product (a sixth more FLOPs, which MFU does not count: say --mfu for what "
            "it leaves)"
        )
    if chosen.tensor_parallel > 1:
        reason += tr(", split layers over {n} in a host", n=chosen.tensor_parallel)
    return tr(
        "{label}: {reason}; {used} of {memory}{tight}",
        label=chosen.label,
        reason=reason,
        used=format_bytes(chosen.memory.total_bytes),
        memory=format_bytes(memory_bytes),
        tight=tight,
    )
