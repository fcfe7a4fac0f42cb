"""What a model costs, in closed form: parameters, FLOPs, memory. No torch, no NumPy."""

from __future__ import annotations

from scaling.accounting.activations import Precision, Recomputation
from scaling.accounting.flops import (
    CONVENTIONS,
    PHASES,
    Convention,
    FlopParts,
    Phase,
    count_flops,
    count_generation_flops,
    flop_parts,
    flops_per_token,
)
from scaling.accounting.memory import (
    FRAMEWORK_BYTES,
    PRECISIONS,
    RECOMPUTATIONS,
    STRATEGIES,
    Memory,
    Strategy,
    count_kv_cache,
    estimate_inference_memory,
    estimate_memory,
    split_by_tensor_parallel,
)
from scaling.accounting.params import ParamCounts, count_params

__all__ = [
    "CONVENTIONS",
    "FRAMEWORK_BYTES",
    "PHASES",
    "PRECISIONS",
    "RECOMPUTATIONS",
    "STRATEGIES",
    "Convention",
    "FlopParts",
    "Memory",
    "ParamCounts",
    "Phase",
    "Precision",
    "Recomputation",
    "Strategy",
    "count_flops",
    "count_generation_flops",
    "count_kv_cache",
    "count_params",
    "estimate_inference_memory",
    "estimate_memory",
    "flop_parts",
    "flops_per_token",
    "split_by_tensor_parallel",
]
