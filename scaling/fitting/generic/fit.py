"""Fit any law family to runs: the same search for a five-coefficient Chinchilla law and for one over other inputs.

Use which when: `fit_parametric` for the Chinchilla law (certified optimum, intervals that cover); `fit_law` for
every other family. Intervals here are classical t intervals from the curvature at the optimum, in logs for a positive
coefficient: they assume the law and equal independent noise, and say nothing about other basins. The law carries draws
of its coefficients, from which a plan or a prediction made with it has its intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, LawError, UsageError
from scaling.fitting.fixed import check_fixed, condition_text
from scaling.fitting.generic import doubts
from scaling.fitting.generic.doubts import NOISE_FREE
from scaling.fitting.generic.result import LawFit
from scaling.fitting.generic.search import Found, Problem, bounds, polish, search
from scaling.fitting.parametric.diagnostics import FTest, lies_on_law, robust_scale
from scaling.fitting.prediction import read_inputs
from scaling.fitting.results import Objective
from scaling.laws.base import Law, LawFamily, Provenance, Uncertainty
from scaling.runs import Runs
from scaling.runs.table import require_runs
from scaling.translation import counted

Array = NDArray[np.float64]
HUBER_THRESHOLD = 1.345  # robust standard deviations: 95 % efficient under Gaussian noise (Huber 1981)


def fit_law(
    runs: Runs,
    law: str | LawFamily,
    *,
    objective: Literal["huber", "log_least_squares"] = "huber",
    level: float = 0.95,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
) -> LawFit:
    """Fit a law family by Huber on log loss (threshold 1.345 robust sigma) or least squares on log loss.

    Args:
        runs: must have every input of the family as a column (`runs.columns()`), and needs no other.
        law: a family or its name, with an output `loss`.
        seed: of the random starts.
        fixed: coefficients to hold, {"E": 1.6}: the others are fitted, and their intervals hold given these.
    Raises:
        FitError: a missing input, too few runs, or no start with a finite misfit.
        UsageError: a family without a loss, an unknown objective, a level outside (0, 1), a coefficient that cannot
            be held at its value.
    """
    require_runs(runs, "fit_law")
    family = _family(law)
    if objective not in ("huber", "log_least_squares"):
        raise UsageError(f"fit_law minimises huber or log_least_squares; got {objective!r}.")
    if not 0 < level < 1:
        raise UsageError(f"the level of an interval lies between 0 and 1; got {level!r}.")
    squares = _problem(runs, family, fixed)
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
    return _result(runs, problem, found, objective=objective, level=level, seed=seed)


def _family(law: str | LawFamily) -> LawFamily:
    from scaling.laws import find_family

    family = find_family(law) if isinstance(law, str) else law
    if "loss" not in family.outputs or "n_params" in family.outputs:
        raise UsageError(
            f"the {family.name} law does not predict the loss of a run. Fit it through its minima: fit_isoflop or "
            "fit_envelope."
        )
    return family


def _problem(runs: Runs, family: LawFamily, fixed: Mapping[str, float] | None) -> Problem:
    runs.require_losses()
    held = check_fixed(family, fixed, runs)
    runs.require([i.name for i in family.inputs], f"the {family.name} law")
    columns = runs.columns()
    missing = [i.name for i in family.inputs if i.name not in columns]
    if missing:
        raise FitError(
            f"the {family.name} law reads {', '.join(missing)}, which {runs.source} does not have. Say which column "
            f"holds it, --column {missing[0]}=NAME (in Python columns=), or fit another law."
        )
    inputs = read_inputs(family, runs)
    for i in family.inputs:
        bad = np.flatnonzero(~((inputs[i.name] > i.low) & (inputs[i.name] < i.high)))
        if len(bad):
            raise FitError(
                f"{runs.source}, row {runs.row[bad[0]]}: {i.name} = {inputs[i.name][bad[0]]:g} is not known or outside "
                f"what the {family.name} law reads. Leave out these {len(bad)} rows (runs.select)."
            )
    n_free = len(family.coefficients) - len(held)
    if len(runs) <= n_free:
        raise FitError(
            f"{runs.source} has {counted(len(runs), 'run')} and the {family.name} law has {n_free} "
            "coefficients; a fit needs at least one run more. Add runs."
        )
    if np.ptp(np.log(runs.loss)) < 1e-9:
        raise FitError(f"{runs.source}: all losses equal {runs.loss[0]:g}; there is nothing to fit.")
    return Problem(family=family, inputs=inputs, ln_loss=np.log(runs.loss), fixed=held)


def _robust_scale(problem: Problem, theta: Array) -> float:
    return robust_scale(problem.residuals(theta[None])[0], problem.n_free)


def _result(runs: Runs, problem: Problem, found: Found, *, objective: str, level: float, seed: int) -> LawFit:
    family, theta = problem.family, found.theta
    r, dof = problem.residuals(theta[None])[0], len(problem.ln_loss) - problem.n_free
    on_bound = _on_bound(family, theta) & ~problem.fixed_mask
    at_bound = tuple(name for name, on in zip(family.names, on_bound, strict=True) if on)
    held = on_bound | problem.fixed_mask
    covariance, condition = doubts.covariance(problem, theta, held)
    residuals = doubts.summarise_residuals(problem, theta, runs)
    noisy = residuals.robust_scale > NOISE_FREE
    on_law = lies_on_law(runs.loss, residuals.robust_scale, residuals.largest)
    test = doubts.lack_of_fit_test(problem, theta, held, runs) if noisy and not on_law else None
    delta = None if math.isinf(problem.delta) else problem.delta
    return LawFit(
        law=_law(runs, problem, theta, held, level=level, seed=seed, noisy=noisy, test=test),
        objective=Objective(name=objective, value=found.objective * (2 if delta is None else 1), delta=delta),
        n_runs=len(r),
        level=level,
        estimates=doubts.estimates(family, theta, np.sqrt(np.diag(covariance)), held, level=level, dof=dof),
        statement=doubts.statement(test, problem),
        residuals=residuals,
        residual_sum_of_squares=float(r @ r),
        lack_of_fit=test,
        converged=found.converged or on_law,  # below rounding there is nothing left to descend
        n_starts=found.n_starts,
        n_agreeing=found.n_agreeing,
        condition=condition,
        at_bound=at_bound,
        findings=tuple(
            doubts.findings(
                runs, r, found, condition, at_bound, residuals, test, law=family.name, on_law=on_law
            )
        ),
        covariance=covariance,
        fixed=problem.fixed,
        source=runs.source,
    )


def _on_bound(family: LawFamily, theta: Array) -> NDArray[np.bool_]:
    """Which coefficients a bound of their range holds."""
    low, high = bounds(family)
    near = 1e-6 * np.maximum(np.abs(theta), 1e-12)
    held: NDArray[np.bool_] = (theta <= low + near) | (theta >= high - near)
    return held


def _law(
    runs: Runs, problem: Problem, theta: Array, held: NDArray[np.bool_], *, level: float, seed: int, noisy: bool,
    test: FTest | None,
) -> Law:  # fmt: skip
    """The law with draws of its coefficients, so that plans and predictions made from it have intervals."""
    family = problem.family
    uncertainty = None
    if noisy:
        uncertainty = Uncertainty(
            level=level,
            method="classical t",
            statement=doubts.statement(test, problem),
            draws=doubts.draws(problem, theta, held, seed),
            draws_method="t draws, classical covariance",
            residual_sd=doubts.noise_sd(problem.residuals(theta[None])[0], problem.n_free, level),
        )
    try:
        return family.make(
            **dict(zip(family.names, theta.tolist(), strict=True)),
            provenance=_provenance(runs, problem),
            uncertainty=uncertainty,
        )
    except LawError as error:
        raise FitError(
            f"the {family.name} law does not describe {runs.source}: {error} Fit another law."
        ) from error


def _provenance(runs: Runs, problem: Problem) -> Provenance:
    family = problem.family

    def ends(values: Array) -> tuple[float, float]:
        return float(values.min()), float(values.max())

    # a law of N and D has budgets of 6 N D; one that reads FLOPs has those of its table
    reads_flops = "flops" in (i.name for i in family.inputs)
    flops = runs.flops if reads_flops else FLOPS_PER_PARAM_TOKEN * runs.n_params * runs.n_tokens
    columns = {"flops": flops, "n_params": runs.n_params, "n_tokens": runs.n_tokens}
    columns = {name: values for name, values in columns.items() if name not in runs.absent}
    return Provenance(
        name=runs.source,
        source=f"{family.name} law fitted to {len(runs)} runs of {runs.source}",
        params_convention=runs.convention.params,
        flops_convention=runs.convention.flops,
        loss_unit=runs.convention.loss_unit,
        flops_over_6nd=(1.0, 1.0) if runs.absent else ends(runs.flops / flops),
        fitted_range={k: ends(v) for k, v in columns.items()},
        note=condition_text(problem.fixed),
        status="fitted",
    )
