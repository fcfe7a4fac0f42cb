"""The plan as plain JSON types: the contract of `scaling plan --json` (docs/json.md). Numbers are unrounded.

null means not known; an interval end of null is unbounded (the runs do not determine it).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from scaling.laws.base import Allocation, Law
from scaling.planning.alternatives import Alternative
from scaling.planning.memory import MemoryRow
from scaling.planning.plan import Plan
from scaling.planning.shape import Shape
from scaling.planning.spread import law_name, other_papers
from scaling.planning.uncertainty import Intervals

QUANTITIES = ("n_params", "n_tokens", "tokens_per_param", "loss", "flops")


def plan_to_dict(plan: Plan, *, next_command: str = "") -> dict[str, Any]:
    """Every section of the plan; infinities are left for the printer, which writes null."""
    point = plan.point
    return {
        "kind": "plan",
        "law": law_to_contract(plan.law),
        "budget": _budget(plan),
        "constraints": asdict(plan.constraints),
        "flops": point.flops,
        "n_params": point.n_params,
        "n_tokens": point.n_tokens,
        "tokens_per_param": plan.tokens_per_param,
        "loss": point.loss,
        "is_optimum": plan.is_optimum,
        "wasted_compute": plan.wasted_compute,
        "optimum": _allocation(plan.optimum),
        "intervals": _intervals(plan.intervals),
        "warnings": list(plan.warnings),
        "other_laws": [{**a._asdict(), "tokens_per_param": a.tokens_per_param} for a in plan.spread.answers],
        "other_laws_same_question": plan.spread.same_question,
        "other_papers": _other_papers(plan),
        "off_optimum": None if plan.valley is None else plan.valley._asdict(),
        "alternatives": [_alternative(a) for a in plan.alternatives],
        "inference": _inference(plan),
        "data": {
            "statement": plan.data,
            "repetition": None if plan.repetition is None else plan.repetition._asdict(),
        },
        "architecture": None if plan.shape is None else _architecture(plan.shape),
        "exact_flops": plan.exact_flops,
        "schedule": {**plan.schedule._asdict(), "advice": [a._asdict() for a in plan.schedule.advice]},
        "memory": _memory(plan),
        "cost": plan.cost._asdict(),
        "next_runs": [s._asdict() for s in plan.sweeps],
        "next_command": next_command,
    }


def _intervals(found: Intervals) -> dict[str, Any]:
    """Ends by name. An end of 0 or infinity is unbounded, null; null for the whole is a quantity that is given."""
    said = found._asdict()
    for name in QUANTITIES:
        ends = said[name]
        said[name] = None if ends is None else {"low": ends[0] or None, "high": _finite(ends[1])}
    return said


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _other_papers(plan: Plan) -> dict[str, Any] | None:
    others = other_papers(plan.spread, law_name(plan.law))
    if others is None:
        return None
    return {**others._asdict(), "least": others.least.name, "most": others.most.name}


def _alternative(a: Alternative) -> dict[str, Any]:
    ends = a.extra_compute_interval
    interval = None if ends is None else {"low": _finite(ends[0]), "high": _finite(ends[1])}
    return {**a._asdict(), "extra_compute_interval": interval}


def law_to_contract(law: Law) -> dict[str, Any]:
    """name, family, formula, coefficients, source, and what N, C and the loss count."""
    origin = law.provenance
    return {
        "name": law_name(law),
        "family": law.family.name,
        "formula": law.family.formula,
        "coefficients": dict(law.coefficients),
        "source": origin.source if origin else law.family.cite,
        "params_convention": origin.params_convention if origin else "unknown",
        "flops_convention": origin.flops_convention if origin else "6ND",
        "flops_over_6nd": list(origin.flops_over_6nd) if origin else [1.0, 1.0],
        "loss_unit": origin.loss_unit if origin else "nats/token",
        "fitted_range": {k: list(v) for k, v in origin.fitted_range.items()} if origin else {},
        "status": origin.status if origin else "",
    }


def _budget(plan: Plan) -> dict[str, Any]:
    given = {name: value for name, value in asdict(plan.budget).items() if value is not None}
    compute = plan.compute
    return {
        "given": given,
        "how": compute.how if compute else "the law",
        "flops_low": compute.low if compute else None,
        "flops_high": compute.high if compute else None,
    }


def _allocation(point: Allocation) -> dict[str, Any]:
    return {**point._asdict(), "tokens_per_param": point.n_tokens / point.n_params}


def _architecture(shape: Shape) -> dict[str, Any]:
    return {
        **shape.architecture.to_dict(),
        "n_params": shape.n_params,
        "n_params_total": shape.n_params_total,
        "n_params_wanted": shape.n_params_wanted,
        "relative_error": shape.relative_error,
        "vocabulary_share": shape.vocabulary_share,
        "notes": list(shape.notes),
    }


def _inference(plan: Plan) -> dict[str, Any] | None:
    if plan.inference is None:
        return None
    return {
        "inference_tokens": plan.inference.inference_tokens,
        "lifetime_flops": plan.inference.lifetime_flops,
        "saved": plan.inference.saved,
        "training_optimum": _allocation(plan.inference.training_optimum),
        "training_optimum_lifetime_flops": plan.inference.training_optimum_lifetime_flops,
    }


def _memory(plan: Plan) -> dict[str, Any] | None:
    memory = plan.memory
    if memory is None:
        return None
    return {
        "memory_bytes": memory.memory_bytes,
        "n_devices": memory.n_devices,
        "rows": [_memory_row(row) for row in memory.rows],
        "least_n_devices": memory.least_count,
        "least": None if memory.least is None else _memory_row(memory.least),
        "hint": memory.hint,
    }


def _memory_row(row: MemoryRow) -> dict[str, Any]:
    return {
        "strategy": row.strategy,
        "recomputation": row.recomputation,
        "tensor_parallel": row.tensor_parallel,
        "n_devices": row.n_devices,
        "fits": row.fits,
        **row.memory.to_dict(),
    }
