"""How far the exponent of N* would move if the N of a table left the embeddings out.

In models under 50M parameters the embedding is a third of N and more, so the same runs give another exponent under
another count; where a table does not say which it has, the reader must know what hangs on it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import ScalingError
from scaling.findings import Finding
from scaling.fitting.surface.fit import fit_parametric
from scaling.runs import Runs
from scaling.runs.names import fold
from scaling.runs.rows import extra_numbers
from scaling.translation import tr

Array = NDArray[np.float64]

SMALL = 50e6  # parameters, below which the count of the embedding moves exponents
# N_total = N + 47491 N^(1/3): the embedding of 32k tokens in models of aspect ratio 39 (Pearce and Song 2024, eq. 4).
OMEGA = 47_491.0
LEAST_REST = 0.02  # of N that is no embedding in the smallest model


def embedding_finding(runs: Runs) -> Finding | None:
    """A finding where the table does not say what N counts and its models are small; None elsewhere.

    Fits the runs twice by the Chinchilla form: as they stand, and with N and C = 6 N D without a usual embedding.
    """
    convention = runs.convention
    bare_name = fold(runs.read_from.get("n_params", "n_params")) == "n_params"
    open_question = convention.params == "unknown" or (convention.params_assumed and bare_name)
    if runs.absent or not open_question or float(runs.n_params.min()) >= SMALL:
        return None
    counted = extra_numbers(runs, "n_params_nonemb")
    if counted is not None and not bool(np.all((counted > 0) & (counted <= runs.n_params))):
        counted = None  # not known in every row
    bare = without_embedding(runs.n_params) if counted is None else counted
    if counted is None and float((bare / runs.n_params).min()) < LEAST_REST:
        return None  # so small a model has no such vocabulary: byte or character models
    other = replace(runs, n_params=bare, flops=FLOPS_PER_PARAM_TOKEN * bare * runs.n_tokens, budget=None)
    try:
        first, second = (fit_parametric(r, intervals=False).law.params_exponent for r in (runs, other))
    except ScalingError:
        return None  # runs that cannot determine the exponent leave nothing to move
    if not (math.isfinite(first) and math.isfinite(second)):
        return None
    if counted is None:
        message = tr(
            "the table does not say whether n_params counts embeddings, and its models are small. If it "
            "does, leaving them out would move the exponent of N* from {first:.2f} to {second:.2f} (with 32k "
            "tokens).",
            first=first,
            second=second,
        )
    else:
        message = tr(
            "the table counts parameters with embeddings and without, and its models are small: leaving them "
            "out, as n_params_nonemb does, moves the exponent of N* from {first:.2f} to {second:.2f}.",
            first=first,
            second=second,
        )
    return Finding(
        code="embedding-count",
        short=tr(
            "does N count embeddings? Without, the exponent is {second:.2f}, not {first:.2f}",
            second=second,
            first=first,
        ),
        severity="note",
        message=tr(
            "{message} Say which it is: --params-convention total or non_embedding (in Python "
            "params_convention=).",
            message=message,
        ),
        source="Pearce and Song 2024, arXiv:2406.12907, eq. 4",
        remedies=("--params-convention total", "--params-convention non_embedding"),
    )


def without_embedding(n_params: Array) -> Array:
    """N that solves N + OMEGA N^(1/3) = n_params: the one real root x = N^(1/3) of x^3 + OMEGA x - n_params.

    Source: the hyperbolic form of Cardano's solution.
    """
    scale = math.sqrt(OMEGA / 3)
    x = 2 * scale * np.sinh(np.arcsinh(n_params / (2 * scale**3)) / 3)
    return np.asarray(x**3)
