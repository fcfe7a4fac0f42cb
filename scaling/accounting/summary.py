"""Everything `scaling count` prints, in one result: parameters, FLOPs in every convention, memory in every strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaling.accounting.activations import Recomputation
from scaling.accounting.flops import (
    CONVENTIONS,
    PHASES,
    Convention,
    FlopParts,
    Phase,
    flop_parts,
    flops_per_token,
)
from scaling.accounting.lengths import whole_lengths
from scaling.accounting.memory import (
    STRATEGIES,
    Memory,
    Strategy,
    count_kv_cache,
    estimate_inference_memory,
    estimate_memory,
)
from scaling.accounting.params import ParamCounts, count_params
from scaling.architecture import Architecture
from scaling.errors import UsageError

PLAIN_STACK_ONLY: tuple[Convention, ...] = ("deepseek", "chinchilla", "chinchilla_head", "chinchilla_body")


@dataclass(frozen=True, kw_only=True)
class MemoryRow:
    """Training memory of one device in one set-up."""

    n_devices: int
    strategy: Strategy
    recomputation: Recomputation
    memory: Memory


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """What a model costs.

    Args:
        flops_per_token: convention → phase → FLOPs of a token, averaged over a sequence.
        flops: convention → training FLOPs of `n_tokens`; empty without them.
        kv_cache_numbers_per_token: keys and values that one more token adds, of one sequence.
    """

    architecture: Architecture
    context_length: int
    batch_size: int
    n_tokens: float | None
    precision: str
    tensor_parallel: int
    params: ParamCounts
    flops_per_token: dict[Convention, dict[Phase, float]]
    train_parts: FlopParts
    flops: dict[Convention, float]
    training: tuple[MemoryRow, ...]
    inference: Memory
    kv_cache_numbers_per_token: int

    def to_dict(self) -> dict[str, Any]:
        """The contract of `scaling count --json`; every number unrounded, bytes on one device."""
        rows = [
            {
                "n_devices": r.n_devices,
                "strategy": r.strategy,
                "recomputation": r.recomputation,
                **r.memory.to_dict(),
            }
            for r in self.training
        ]
        return {
            "architecture": self.architecture.to_dict(),
            "context_length": self.context_length,
            "batch_size": self.batch_size,
            "n_tokens": self.n_tokens,
            "precision": self.precision,
            "tensor_parallel": self.tensor_parallel,
            "params": self.params.to_dict(),
            "flops_per_token": self.flops_per_token,
            "train_flops_per_token_by_part": {**self.train_parts._asdict(), "total": self.train_parts.total},
            "flops": self.flops,
            "memory": {"training": rows, "inference": self.inference.to_dict()},
            "kv_cache_numbers_per_token": self.kv_cache_numbers_per_token,
        }


def summarize_cost(
    architecture: Architecture,
    *,
    context_length: int | None = None,
    batch_size: int = 1,
    n_tokens: float | None = None,
    n_devices: int = 8,
    precision: str = "bf16_mixed",
    tensor_parallel: int = 1,
) -> ModelCost:
    """Count everything at once.

    Args:
        batch_size: sequences in a micro-batch of one replica; in inference, sequences at once.
        n_tokens: of a training run, for its FLOPs.
        n_devices: of the sharded rows; the first row is the least number of devices that tensor_parallel allows.
    """
    if n_tokens is not None and not n_tokens > 0:
        raise UsageError(f"n_tokens must be > 0, got {n_tokens}.")
    a = architecture
    context, _ = whole_lengths(a, context_length, None)
    plain = a.kind != "encoder_decoder" and not a.n_experts and not a.d_latent_kv
    covered = [c for c in CONVENTIONS if plain or c not in PLAIN_STACK_ONLY]
    phases = [p for p in PHASES if a.kind != "encoder" or p != "decode"]
    per_token = {
        c: {p: flops_per_token(a, phase=p, convention=c, context_length=context) for p in phases}
        for c in covered
    }

    def row(devices: int, strategy: Strategy, recomputation: Recomputation) -> MemoryRow:
        memory = estimate_memory(
            a,
            batch_size=batch_size,
            context_length=context,
            n_devices=devices,
            strategy=strategy,
            tensor_parallel=tensor_parallel,
            precision=precision,
            recomputation=recomputation,
        )
        return MemoryRow(n_devices=devices, strategy=strategy, recomputation=recomputation, memory=memory)

    rows = [row(tensor_parallel, "ddp", "none"), row(tensor_parallel, "ddp", "full")]
    if n_devices > tensor_parallel:
        rows += [row(n_devices, strategy, "none") for strategy in STRATEGIES]
        rows += [row(n_devices, "fsdp", "full")]
    return ModelCost(
        architecture=a,
        context_length=context,
        batch_size=batch_size,
        n_tokens=n_tokens,
        precision=precision,
        tensor_parallel=tensor_parallel,
        params=count_params(a),
        flops_per_token=per_token,
        train_parts=flop_parts(a, context_length=context),
        flops={} if n_tokens is None else {c: n_tokens * per_token[c]["train"] for c in covered},
        training=tuple(rows),
        inference=estimate_inference_memory(
            a, batch_size=batch_size, context_length=context, tensor_parallel=tensor_parallel
        ),
        kv_cache_numbers_per_token=count_kv_cache(a, context_length=1)
        // (2 if a.kind == "encoder_decoder" else 1),
    )
