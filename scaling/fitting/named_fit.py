"""Fit a law by its name and ask it for other runs: what the command line, extrapolation and comparison share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scaling.arguments import is_one_of
from scaling.errors import DataError, LawError, UsageError, shown
from scaling.fitting.surface.law_fit import LawFit
from scaling.laws.base import Allocation, Law
from scaling.runs import Runs
from scaling.runs.table import require_runs

if TYPE_CHECKING:
    from scaling.fitting.surface.result import ParametricFit

Array = NDArray[np.float64]
HOFFMANN_DELTA = 1e-3  # Hoffmann et al. 2022, eq. 3


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What to fit. `law` is a family name; `objective` a name of `fit_parametric`, or "hoffmann" (Huber at 1e-3)."""

    law: str = "chinchilla"
    objective: str = "huber"
    huber_delta: float | None = None
    intervals: bool = True
    level: float = 0.95
    n_resamples: int | None = None
    seed: int = 0
    fixed: Mapping[str, float] = field(default_factory=dict)  # coefficients held at a value


def fit_named_law(runs: Runs, settings: FitSettings) -> ParametricFit | LawFit:
    """Fit by `fit_parametric` (chinchilla) or `fit_law` (any other family), each loaded where it is asked for.

    Raises:
        FitError: the runs cannot determine the law.
        UsageError: an unknown law or objective, or an objective that only chinchilla has.
    """
    objective, delta = settings.objective, settings.huber_delta
    if is_one_of(objective, ("hoffmann",)):
        objective, delta = "huber", HOFFMANN_DELTA
    if is_one_of(settings.law, ("chinchilla",)):
        from scaling.fitting.surface.fit import fit_parametric

        return fit_parametric(
            runs,
            objective=objective,  # type: ignore[arg-type]  # checked there
            huber_delta=delta,
            level=settings.level,
            intervals=settings.intervals,
            n_resamples=settings.n_resamples,
            seed=settings.seed,
            fixed=settings.fixed,
        )
    if delta is not None or not is_one_of(objective, ("huber", "log_least_squares")):
        raise UsageError(
            f"the {shown(settings.law)} law is fitted by huber or log_least_squares; got "
            f"{shown(settings.objective)}, which only the chinchilla law takes."
        )
    from scaling.fitting.surface.general_fit import fit_law

    return fit_law(
        runs,
        settings.law,
        objective=objective,  # type: ignore[arg-type]  # checked there
        level=settings.level,
        seed=settings.seed,
        fixed=settings.fixed,
    )


def ordered_by_flops(runs: Runs, function: str, what: str, *, every_row: bool) -> Runs:
    """The runs that `function` orders by compute: of training curves the last row of each, unless `every_row`.

    Raises:
        DataError: the table has no FLOPs.
    """
    require_runs(runs, function)
    if "flops" in runs.absent:
        raise DataError(
            f"{runs.source}: {what} goes by compute, and the table has no flops. Add the column, or leave this out."
        )
    return runs.final() if runs.is_curves and not every_row else runs


def params_exponent(law: Law) -> float | None:
    """a of N* ~ C^a where the law has one exponent, else None."""
    try:
        value = getattr(law, "params_exponent", None)
    except LawError:
        return None
    return None if value is None else float(value)


def optimum(law: Law, flops: float) -> Allocation | None:
    """N*, D* and loss at this budget, or None where the law has no interior optimum or needs more inputs."""
    try:
        return law.allocate(flops)
    except (LawError, TypeError, KeyError):
        return None


def prediction_ends(fit: ParametricFit | LawFit, runs: Runs) -> tuple[Array, Array] | None:
    """Both ends of the interval of each new run; None where the fit carries no intervals."""
    from scaling.fitting.surface.prediction import predict

    band = predict(fit, runs).prediction
    return None if band is None else (band[:, 0], band[:, 1])


def largest(values: Array) -> float:
    """The signed value of largest magnitude; nan of nothing."""
    return float(values[np.argmax(np.abs(values))]) if len(values) else math.nan
