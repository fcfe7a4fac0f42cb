"""Fit a law by name and predict other runs with it: what extrapolation and comparison share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import DataError, LawError, UsageError
from scaling.fitting.generic.fit import fit_law
from scaling.fitting.generic.result import LawFit
from scaling.fitting.generic.search import Problem
from scaling.fitting.power_law import half_width_factor
from scaling.laws.base import Law
from scaling.runs import Runs

Array = NDArray[np.float64]
Ends = Callable[[Runs], tuple[Array, Array]]
HOFFMANN_DELTA = 1e-3  # Hoffmann et al. 2022, eq. 3


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What to fit. `law` is a family name; `objective` a name of `fit_parametric`, or "hoffmann" (Huber at 1e-3)."""

    law: str = "chinchilla"
    objective: str = "huber"
    huber_delta: float | None = None
    intervals: bool = True
    level: float = 0.95
    seed: int = 0
    fixed: Mapping[str, float] = field(default_factory=dict)  # coefficients held at a value


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedFit:
    """A fitted law. `prediction_ends` gives the interval of new runs; None where the fit carries none."""

    law: Law
    settings: FitSettings
    n_runs: int
    n_coefficients: int
    residuals: Array  # ln(predicted) - ln(observed)
    prediction_ends: Ends | None
    certified: bool

    @property
    def params_exponent(self) -> float | None:
        """a of N* ~ C^a where the law has one exponent, else None."""
        try:
            value = getattr(self.law, "params_exponent", None)
        except LawError:
            return None
        return None if value is None else float(value)


def fit_named_law(runs: Runs, settings: FitSettings) -> NamedFit:
    """Fit by `fit_parametric` (chinchilla) or `fit_law` (any other family).

    Raises:
        FitError: the runs cannot determine the law.
        UsageError: an unknown law or objective, or an objective that only chinchilla has.
    """
    objective, delta = settings.objective, settings.huber_delta
    if objective == "hoffmann":
        objective, delta = "huber", HOFFMANN_DELTA
    if settings.law == "chinchilla":
        from scaling.fitting.parametric.fit import fit_parametric

        fit = fit_parametric(
            runs,
            objective=objective,  # type: ignore[arg-type]  # checked there
            huber_delta=delta,
            level=settings.level,
            intervals=settings.intervals,
            seed=settings.seed,
            fixed=settings.fixed,
        )
        ends = _parametric_ends(fit) if fit.spread is not None else None
        return _named(runs, settings, fit.law, fit.certificate.certified, ends)
    if delta is not None or objective not in ("huber", "log_least_squares"):
        raise UsageError(
            f"the {settings.law} law is fitted by huber or log_least_squares; got {settings.objective!r}, which only "
            "the chinchilla law takes."
        )
    general = fit_law(
        runs,
        settings.law,
        objective=objective,  # type: ignore[arg-type]  # checked there
        level=settings.level,
        seed=settings.seed,
        fixed=settings.fixed,
    )
    ends = (lambda other: _classical_ends(general, other)) if settings.intervals else None
    return _named(runs, settings, general.law, general.certified, ends)


def require_flops(runs: Runs, what: str) -> None:
    """Raise DataError where `what` orders runs by compute and the table has none."""
    if "flops" in runs.absent:
        raise DataError(
            f"{runs.source}: {what} goes by compute, and the table has no flops. Add the column, or leave this out."
        )


def predicted_loss(law: Law, runs: Runs) -> Array:
    """(n_runs,) loss of any family at the inputs that it reads.

    Raises:
        UsageError: the runs lack an input of the law.
    """
    columns = runs.columns()
    missing = [i.name for i in law.family.inputs if i.name not in columns]
    if missing:
        raise UsageError(
            f"the {law.family.name} law reads {', '.join(missing)}, which {runs.source} does not have."
        )
    inputs = {i.name: np.asarray(columns[i.name], dtype=np.float64) for i in law.family.inputs}
    return np.asarray(law.predict(inputs)["loss"], dtype=np.float64)


def optimum(law: Law, flops: float) -> tuple[float, float, float | None] | None:
    """(N*, D*, loss) at this budget, or None where the law has no interior optimum or needs more inputs."""
    try:
        best = law.allocate(flops)
    except (LawError, TypeError, KeyError):
        return None
    return best.n_params, best.n_tokens, best.loss


def _named(runs: Runs, settings: FitSettings, law: Law, certified: bool, ends: Ends | None) -> NamedFit:
    return NamedFit(
        law=law,
        settings=settings,
        n_runs=len(runs),
        n_coefficients=len(law.family.coefficients) - len(settings.fixed),
        residuals=np.log(predicted_loss(law, runs)) - np.log(runs.loss),
        prediction_ends=ends,
        certified=certified,
    )


def _parametric_ends(fit: Any) -> Ends:
    from scaling.fitting.parametric.prediction import predict

    def ends(runs: Runs) -> tuple[Array, Array]:
        band = predict(fit, runs).prediction
        assert band is not None
        return band[:, 0], band[:, 1]

    return ends


def _classical_ends(fit: LawFit, runs: Runs) -> tuple[Array, Array]:
    """Prediction interval of new runs: coefficient errors by the delta method, and the noise of one run."""
    family = fit.law.family
    theta = np.array([list(fit.coefficients.values())])
    columns = runs.columns()
    inputs = {i.name: np.asarray(columns[i.name], dtype=np.float64) for i in family.inputs}
    problem = Problem(family=family, inputs=inputs, ln_loss=np.log(runs.loss))
    rows = problem.log_jacobian(theta)[0]
    variance = np.einsum("ni,ij,nj->n", rows, fit.covariance, rows) + fit.residual_sd**2
    n_fitted = theta.shape[1] - len(fit.fixed)
    half = half_width_factor(fit.level, fit.n_runs - n_fitted) * np.sqrt(np.maximum(variance, 0.0))
    loss = predicted_loss(fit.law, runs)
    with np.errstate(over="ignore"):
        return loss * np.exp(-half), loss * np.exp(half)


def largest(values: Array) -> float:
    """The signed value of largest magnitude; nan of nothing."""
    return float(values[np.argmax(np.abs(values))]) if len(values) else math.nan
