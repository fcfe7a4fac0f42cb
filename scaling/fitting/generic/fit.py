"""Fit any law family to runs: the same search for a five-coefficient Chinchilla law and for one over other inputs.

Use which when: `fit_parametric` for the Chinchilla law (certified optimum, intervals that cover); `fit_law` for
every other family. Intervals here are classical t intervals from the curvature at the optimum: they assume the law
and equal independent noise, and say nothing about other basins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scaling.errors import FitError, LawError, UsageError
from scaling.fitting.generic.search import Found, Problem, bounds, polish, search
from scaling.fitting.line import half_width_factor
from scaling.fitting.results import Estimate, Interval, Objective
from scaling.laws.base import Law, LawFamily, Provenance
from scaling.runs import Finding, Runs
from scaling.runs.findings import counted

Array = NDArray[np.float64]
HUBER_THRESHOLD = 1.345  # robust standard deviations: 95 % efficient under Gaussian noise (Huber 1981)
MAD_TO_SD = 1.4826
ILL_CONDITIONED = 1e7  # of the scaled Jacobian: beyond, some direction is not determined by these runs
NOISE_FREE = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class LawFit:
    """A law of any family with classical intervals; `converged`, `n_agreeing`, `condition` say how far to trust it."""

    law: Law
    objective: Objective
    n_runs: int
    level: float
    estimates: Mapping[str, Estimate]
    residual_sd: float  # robust scale of log loss
    residual_sum_of_squares: float  # of log loss
    converged: bool
    n_starts: int
    n_agreeing: int
    condition: float
    at_bound: tuple[str, ...]
    findings: tuple[Finding, ...]
    covariance: Array  # (P, P) of the coefficients
    source: str
    excluded: tuple[str, ...] = ()
    method: str = "law"

    @property
    def coefficients(self) -> dict[str, float]:
        return self.law.coefficients

    @property
    def certified(self) -> bool:
        return self.converged and self.n_agreeing >= 2

    def to_dict(self) -> dict[str, Any]:
        from scaling.laws.io import law_to_dict

        return {
            "schema_version": 1,
            "kind": "fit",
            "method": self.method,
            "law": law_to_dict(self.law),
            "coefficients": self.coefficients,
            "objective": self.objective.to_dict(),
            "n_runs": self.n_runs,
            "standard_errors": {k: e.standard_error for k, e in self.estimates.items()},
            "intervals": {k: e.interval.to_dict() if e.interval else None for k, e in self.estimates.items()},
            "certificate": {
                "certified": self.certified,
                "converged": self.converged,
                "n_starts": self.n_starts,
                "n_agreeing": self.n_agreeing,
                "condition": self.condition if math.isfinite(self.condition) else None,
            },
            "at_bound": list(self.at_bound),
            "residual_sd_ln": self.residual_sd,
            "level": self.level,
            "findings": [f.to_dict() for f in self.findings],
            "excluded": list(self.excluded),
            "source": self.source,
        }


def fit_law(
    runs: Runs,
    law: str | LawFamily,
    *,
    objective: Literal["huber", "log_least_squares"] = "huber",
    level: float = 0.95,
    seed: int = 0,
) -> LawFit:
    """Fit a law family by Huber on log loss (threshold 1.345 robust sigma) or least squares on log loss.

    Args:
        runs: must have every input of the family as a column (`runs.columns()`).
        law: a family or its name, with an output `loss`.
        seed: of the random starts.
    Raises:
        FitError: a missing input, too few runs, or no start with a finite misfit.
        UsageError: a family without a loss, an unknown objective, a level outside (0, 1).
    """
    family = _family(law)
    if objective not in ("huber", "log_least_squares"):
        raise UsageError(f"fit_law minimises huber or log_least_squares; got {objective!r}.")
    if not 0 < level < 1:
        raise UsageError(f"the level of an interval lies between 0 and 1; got {level!r}.")
    squares = _problem(runs, family)
    found = search(squares, seed)
    if not math.isfinite(found.objective):
        raise FitError(
            f"no start of the {family.name} law gives finite losses on {runs.source}. Check the columns "
            f"{', '.join(i.name for i in family.inputs)}."
        )
    problem = squares
    scale = _robust_scale(problem, found.theta)
    if objective == "huber" and scale > NOISE_FREE:
        problem = replace(squares, delta=HUBER_THRESHOLD * scale)
        refined = polish(problem, found.theta[None])
        found = replace(refined, n_starts=found.n_starts, n_agreeing=found.n_agreeing)
    return _result(runs, problem, found, objective, level)


def _family(law: str | LawFamily) -> LawFamily:
    from scaling.laws import find_family

    family = find_family(law) if isinstance(law, str) else law
    if "loss" not in family.outputs or "n_params" in family.outputs:
        raise UsageError(
            f"the {family.name} law does not predict the loss of a run. Fit it through its minima: fit_isoflop or "
            "fit_envelope."
        )
    return family


def _problem(runs: Runs, family: LawFamily) -> Problem:
    columns = runs.columns()
    missing = [i.name for i in family.inputs if i.name not in columns]
    if missing:
        raise FitError(
            f"the {family.name} law reads {', '.join(missing)}, which {runs.source} does not have. Add the column, "
            "or fit another law."
        )
    inputs = {i.name: np.asarray(columns[i.name], dtype=np.float64) for i in family.inputs}
    for i in family.inputs:
        bad = np.flatnonzero(~((inputs[i.name] > i.low) & (inputs[i.name] < i.high)))
        if len(bad):
            raise FitError(
                f"{runs.source}, row {runs.row[bad[0]]}: {i.name} = {inputs[i.name][bad[0]]:g} is not known or outside "
                f"what the {family.name} law reads. Leave out these {len(bad)} rows (runs.select)."
            )
    if len(runs) <= len(family.coefficients):
        raise FitError(
            f"{runs.source} has {counted(len(runs), 'run')} and the {family.name} law has {len(family.coefficients)} "
            "coefficients; a fit needs at least one run more. Add runs."
        )
    if np.ptp(np.log(runs.loss)) < 1e-9:
        raise FitError(f"{runs.source}: all losses equal {runs.loss[0]:g}; there is nothing to fit.")
    return Problem(family=family, inputs=inputs, ln_loss=np.log(runs.loss))


def _robust_scale(problem: Problem, theta: Array) -> float:
    r = problem.residuals(theta[None])[0]
    n, p = len(r), len(theta)
    return MAD_TO_SD * float(np.median(np.abs(r))) * math.sqrt(n / max(n - p, 1))


def _result(runs: Runs, problem: Problem, found: Found, objective: str, level: float) -> LawFit:
    family, theta = problem.family, found.theta
    n, p = len(problem.ln_loss), len(theta)
    r = problem.residuals(theta[None])[0]
    low, high = bounds(family)
    near = 1e-6 * np.maximum(np.abs(theta), 1e-12)
    held = (theta <= low + near) | (theta >= high - near)
    covariance, condition = _covariance(problem, theta, held, r)
    errors = np.sqrt(np.diag(covariance))
    t = half_width_factor(level, n - p)
    estimates = {
        name: Estimate(
            value=float(theta[i]),
            standard_error=float(errors[i]) if not held[i] else None,
            interval=None
            if held[i]
            else Interval(
                low=float(theta[i] - t * errors[i]),
                high=float(theta[i] + t * errors[i]),
                level=level,
                method="classical t",
            ),
        )
        for i, name in enumerate(family.names)
    }
    at_bound = tuple(name for name, h in zip(family.names, held, strict=True) if h)
    try:
        law = family.make(
            **dict(zip(family.names, theta.tolist(), strict=True)), provenance=_provenance(runs, family)
        )
    except LawError as error:
        raise FitError(
            f"the {family.name} law does not describe {runs.source}: {error} Fit another law."
        ) from error
    value = found.objective * (2 if math.isinf(problem.delta) else 1)
    return LawFit(
        law=law,
        objective=Objective(
            name=objective, value=value, delta=None if math.isinf(problem.delta) else problem.delta
        ),
        n_runs=n,
        level=level,
        estimates=estimates,
        residual_sd=_robust_scale(problem, theta),
        residual_sum_of_squares=float(r @ r),
        converged=found.converged,
        n_starts=found.n_starts,
        n_agreeing=found.n_agreeing,
        condition=condition,
        at_bound=at_bound,
        findings=tuple(_findings(found, condition, at_bound)),
        covariance=covariance,
        source=runs.source,
    )


def _covariance(problem: Problem, theta: Array, held: NDArray[np.bool_], r: Array) -> tuple[Array, float]:
    """Classical Huber covariance of the free coefficients, and the condition number of their scaled Jacobian.

    Source: Huber 1981, sec. 7.6: (sum psi^2 / (n - p)) / m^2 times (J'J)^-1, m the share of small residuals.
    """
    p, n = len(theta), len(r)
    covariance = np.zeros((p, p))
    j = problem.log_jacobian(theta[None])[0][:, ~held]
    if not j.size:
        return covariance, math.inf
    length = np.linalg.norm(j, axis=0)
    length[length == 0] = 1.0
    scaled = j / length
    singular = np.linalg.svd(scaled, compute_uv=False)
    condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else math.inf
    psi = np.clip(r, -problem.delta, problem.delta)
    share = float(np.mean(np.abs(r) <= problem.delta))
    variance = float(psi @ psi) / max(n - p, 1) / max(share, 1e-3) ** 2
    free = np.linalg.pinv(scaled.T @ scaled, rcond=1e-15) * variance / np.outer(length, length)
    covariance[np.ix_(~held, ~held)] = free
    return covariance, condition


def _provenance(runs: Runs, family: LawFamily) -> Provenance:
    def ends(values: Array) -> tuple[float, float]:
        return float(values.min()), float(values.max())

    return Provenance(
        name=runs.source,
        source=f"{family.name} law fitted to {len(runs)} runs of {runs.source}",
        params_convention=runs.convention.params,
        flops_convention=runs.convention.flops,
        loss_unit=runs.convention.loss_unit,
        fitted_range={k: ends(getattr(runs, k)) for k in ("flops", "n_params", "n_tokens")},
        status="fitted",
    )


def _findings(found: Found, condition: float, at_bound: tuple[str, ...]) -> list[Finding]:
    findings = []
    if not found.converged or found.n_agreeing < 2:
        message = (
            f"{found.n_agreeing} of {found.n_starts} starts reached the best minimum"
            f"{'' if found.converged else ', which is not stationary'}: another one may be better. Try another seed."
        )
        findings.append(Finding(code="optimum-uncertain", severity="warning", message=message))
    if condition > ILL_CONDITIONED:
        message = (
            "these runs leave a direction of the coefficients open: near the runs predictions still hold."
        )
        findings.append(Finding(code="ill-conditioned", severity="warning", message=message))
    if at_bound:
        message = f"{', '.join(at_bound)} ended at a bound of its range and has no interval."
        findings.append(Finding(code="at-bound", severity="warning", message=message))
    return findings
