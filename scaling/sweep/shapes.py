"""The architecture of each size of a sweep: one family, its width and depth by rule, its MLP width tuned to hit N.

`scaling.planning.choose_architecture` chooses a model one would deploy, in hardware multiples; a valley needs sizes
that change smoothly and hit their N, down to a few thousand parameters, so here the MLP width is a fine knob.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from scaling.accounting import count_params
from scaling.architecture import Architecture
from scaling.sweep.spec import MOST_PARAMS, ParamsConvention, ShapeSpec, SpecError, SweepSpec

TOLERANCE = 0.02  # of N
FAMILY: dict[str, Any] = {  # Llama's block; [shape.architecture] changes any of it
    "norm": "rms",
    "activation": "swiglu",
    "positions": "rope",
    "qkv_bias": False,
    "attention_output_bias": False,
    "mlp_bias": False,
    "tie_embeddings": True,
}
LEAST_ASPECT = 8.0
REFERENCE_PARAMS = 3e7  # where the spec's aspect_ratio holds; it grows as N^(1/4), as in planning.shape
NARROWEST_FF, WIDEST_FF = 0.4, 10.0  # d_ff / d_model


def choose_shape(
    spec: SweepSpec, n_params: float, *, vocab_size: int, params: ParamsConvention = "total"
) -> tuple[Architecture, int]:
    """The architecture nearest the rule whose N (counted as `params` says) is within 2 %, and that N.

    Raises:
        SpecError: no width and depth gives this N, mostly since the vocabulary alone is larger.
    """
    shape = spec.shape
    if n_params > MOST_PARAMS:  # its list of widths would have no end
        raise SpecError(
            f"a size of {n_params:.4g} parameters is above {MOST_PARAMS:g}; lower the largest budget, "
            "grid.sizes_per_budget or grid.size_ratio."
        )
    best: tuple[float, Architecture, int] | None = None
    for d_model in _widths(n_params, shape):
        for n_layers in range(1, 129) if shape.n_layers is None else (shape.n_layers,):
            build = partial(_architecture, spec, vocab_size, d_model, n_layers)
            first, second = (count_as(build(d_ff), params) for d_ff in (1, 2))
            exact = 1 + (n_params - first) / (second - first)  # N is linear in d_ff
            if exact < NARROWEST_FF * d_model:
                break  # deeper ones are narrower still
            if exact > WIDEST_FF * d_model:
                continue
            architecture, n = _round_ff(exact, n_params, build, params)
            penalty = _penalty(architecture, n / n_params - 1, n_params, shape)
            if abs(n / n_params - 1) <= TOLERANCE and (best is None or penalty < best[0]):
                best = penalty, architecture, n
    if best is None:
        raise SpecError(
            f"no shape has {n_params:.4g} parameters with a vocabulary of {vocab_size} "
            f"and {shape.n_heads or 'd_model / ' + str(shape.d_head)} heads; raise the smallest budget, or lower the "
            "vocabulary or shape.d_head."
        )
    return best[1], best[2]


def _widths(n_params: float, shape: ShapeSpec) -> list[int]:
    """Multiples of what the heads need (of about 64 from 512 on) around the width that 12 L d^2 = N gives."""
    if shape.n_layers is not None:
        middle = (n_params / (12 * shape.n_layers)) ** 0.5
    else:
        middle = (n_params * _aspect(n_params, shape) / 12) ** (1 / 3)
    grain = shape.d_head if shape.n_heads is None else 2 * shape.n_heads  # rope rotates pairs
    step = max(grain, 64 // grain * grain if middle >= 512 else 1)
    last = math.ceil(1.6 * middle / step)
    return [i * step for i in range(max(1, int(0.3 * middle / step)), max(2, last) + 1)]


def _aspect(n_params: float, shape: ShapeSpec) -> float:
    return float(max(LEAST_ASPECT, min(128.0, shape.aspect_ratio * (n_params / REFERENCE_PARAMS) ** 0.25)))


def _round_ff(
    exact: float, n_params: float, build: Callable[[int], Architecture], params: ParamsConvention
) -> tuple[Architecture, int]:
    """The roundest MLP width that still hits N within a quarter of the tolerance, else the nearest whole one."""
    for step in (64, 16, 8, 4, 2, 1):
        architecture = build(max(step, round(exact / step) * step))
        n = count_as(architecture, params)
        if step == 1 or abs(n / n_params - 1) <= TOLERANCE / 4:
            return architecture, n
    raise AssertionError(exact)


def _architecture(spec: SweepSpec, vocab_size: int, d_model: int, n_layers: int, d_ff: int) -> Architecture:
    return Architecture.from_dict(shape_fields(spec, vocab_size, d_model, n_layers, d_ff))


def shape_fields(spec: SweepSpec, vocab_size: int, d_model: int, n_layers: int, d_ff: int) -> dict[str, Any]:
    """The fields of the architecture that the sweep sets; they are part of a run's identity, defaults are not."""
    return {
        "n_layers": n_layers,
        "d_model": d_model,
        "n_heads": spec.shape.n_heads or d_model // spec.shape.d_head,
        "d_ff": d_ff,
        "vocab_size": vocab_size,
        "context_length": spec.corpus.context_length,
        **FAMILY,
        **spec.shape.architecture,
    }


def count_as(architecture: Architecture, params: str) -> int:
    """N in a convention."""
    counts = count_params(architecture)
    return counts.total if params == "total" else counts.non_embedding


def _penalty(a: Architecture, error: float, n_params: float, shape: ShapeSpec) -> float:
    """Distance from the rule, about 1 where the shape is off by a factor of 2 in aspect or 1.5 in MLP width."""
    target_ff = a.d_model * (8 / 3 if a.is_gated else 4)
    aspect = math.log2(a.d_model / a.n_layers / _aspect(n_params, shape)) if shape.n_layers is None else 0.0
    return aspect**2 + (math.log(a.d_ff / target_ff) / math.log(1.5)) ** 2 + (error / TOLERANCE) ** 2 / 4
