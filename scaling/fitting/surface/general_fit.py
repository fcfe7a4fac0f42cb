"""Fit any law family to runs: the same search for a five-coefficient Chinchilla law and for one over other inputs.

Use which when: `fit_parametric` for the Chinchilla law (certified optimum, intervals that cover); `fit_law` for
every other family. Intervals here are classical t intervals from the curvature at the optimum, in logs for a positive
coefficient: they assume the law and equal independent noise, and say nothing about other basins; everything about
errors is to first order at the optimum (n runs, P coefficients). The law carries draws
of its coefficients, from which a plan or a prediction made with it has its intervals.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scaling.arguments import is_one_of, require_level, require_whole
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, LawError, UsageError
from scaling.findings import Finding
from scaling.fitting.fixed import FLOOR, check_fixed, condition_text, no_floor
from scaling.fitting.power_law import half_width_factor
from scaling.fitting.prediction import read_inputs
from scaling.fitting.results import Estimate, Interval, Objective, provenance_of
from scaling.fitting.surface.diagnostics import (
    FAR_OFF,
    FEW_RUNS,
    NOISE_FREE,
    FTest,
    ResidualSummary,
    added_terms_f,
    lack_of_fit_message,
    lack_of_fit_short,
    lies_on_law,
    noise_free_finding,
    pure_error,
    pure_error_message,
    rejected,
    robust_scale,
    statement,
    summarise_residuals,
)
from scaling.fitting.surface.general import Found, Problem, bounds, polish, search
from scaling.fitting.surface.law_fit import LawFit
from scaling.fitting.surface.sandwich import noise_half_width
from scaling.laws.base import Law, LawFamily, Uncertainty
from scaling.runs import Runs
from scaling.runs.rows import cell_names
from scaling.runs.table import QUANTITIES, require_runs
from scaling.translation import counted, tr

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
N_DRAWS = 400
ILL_CONDITIONED = 1e7  # of the scaled Jacobian: beyond, some direction is not determined by these runs
NAMED = 5  # runs named in one message
MOST_LOG_ERROR = 300.0  # e^300: beyond, an end of an interval is 0 or infinite
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
    Example:
        >>> import scaling
        >>> fit = scaling.fit_law(scaling.example_runs(), "over_training")
        >>> f'{fit.estimate("n_params", flops=1e21).value:.2g}'
        '2.6e+09'
    """
    require_runs(runs, "fit_law")
    family = _family(law)
    if not is_one_of(objective, ("huber", "log_least_squares")):
        raise UsageError(f"fit_law minimises huber or log_least_squares; got {objective!r}.")
    require_level(level)
    require_whole(seed=seed)
    squares = _problem(runs, family, fixed)
    found = search(squares, seed)
    if not math.isfinite(found.objective):
        raise FitError(
            f"no start of the {family.name} law gives finite losses on {runs.source}. Check the columns "
            f"{', '.join(i.name for i in family.inputs)}."
        )
    problem = squares
    scale = robust_scale(problem.residuals(found.theta[None])[0], problem.n_free)
    if objective == "huber" and scale > NOISE_FREE:
        problem = replace(squares, delta=HUBER_THRESHOLD * scale)
        refined = polish(problem, found.theta[None])
        found = replace(refined, n_starts=found.n_starts, n_agreeing=found.n_agreeing)
    return _result(runs, problem, found, objective=objective, level=level, seed=seed)


def _family(law: str | LawFamily) -> LawFamily:
    from scaling.laws import find_family

    family = law if isinstance(law, LawFamily) else find_family(law)
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


def _result(runs: Runs, problem: Problem, found: Found, *, objective: str, level: float, seed: int) -> LawFit:
    family, theta = problem.family, found.theta
    r, dof = problem.residuals(theta[None])[0], len(problem.ln_loss) - problem.n_free
    on_bound = _on_bound(family, theta) & ~problem.fixed_mask
    at_bound = tuple(name for name, on in zip(family.names, on_bound, strict=True) if on)
    held = on_bound | problem.fixed_mask
    covariance, condition = _covariance(problem, theta, held)
    residuals = _summarise_residuals(problem, r, runs)
    noisy = residuals.robust_scale > NOISE_FREE
    on_law = lies_on_law(runs.loss, residuals.robust_scale, residuals.largest)
    test = _lack_of_fit_test(problem, theta, held, runs) if noisy and not on_law else None
    assumed = statement(tr("equal independent noise"), problem.fixed, test)
    delta = None if math.isinf(problem.delta) else problem.delta
    return LawFit(
        law=_law(runs, problem, theta, held, level=level, seed=seed, noisy=noisy, assumed=assumed),
        objective=Objective(name=objective, value=found.objective * (2 if delta is None else 1), delta=delta),
        n_runs=len(r),
        level=level,
        estimates=_estimates(family, theta, np.sqrt(np.diag(covariance)), held, level=level, dof=dof),
        statement=assumed,
        residuals=residuals,
        residual_sum_of_squares=float(r @ r),
        lack_of_fit=test,
        converged=found.converged or on_law,  # below rounding there is nothing left to descend
        n_starts=found.n_starts,
        n_agreeing=found.n_agreeing,
        condition=condition,
        at_bound=at_bound,
        findings=tuple(
            _findings(runs, r, found, condition, at_bound, residuals, test, law=family.name, on_law=on_law)
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
    assumed: str,
) -> Law:  # fmt: skip
    """The law with draws of its coefficients, so that plans and predictions made from it have intervals."""
    family = problem.family
    uncertainty = None
    if noisy:
        r = problem.residuals(theta[None])[0]
        uncertainty = Uncertainty(
            level=level,
            method="classical t",
            statement=assumed,
            draws=_draws(problem, theta, held, seed),
            draws_method="t draws, classical covariance",
            residual_sd=noise_half_width(r, problem.n_free, level) / NormalDist().inv_cdf((1 + level) / 2),
        )
    # a law of N and D has budgets of 6 N D; one that reads FLOPs has those of its table
    reads_flops = "flops" in (i.name for i in family.inputs)
    flops = runs.flops if reads_flops else FLOPS_PER_PARAM_TOKEN * runs.n_params * runs.n_tokens
    try:
        return family.make(
            **dict(zip(family.names, theta.tolist(), strict=True)),
            provenance=provenance_of(
                runs,
                flops,
                name=runs.source,
                source=tr(
                    "{name} law fitted to {n} runs of {source}",
                    name=family.name,
                    n=len(runs),
                    source=runs.source,
                ),
                note=condition_text(problem.fixed),
                status="fitted",
            ),
            uncertainty=uncertainty,
        )
    except LawError as error:
        raise FitError(
            f"the {family.name} law does not describe {runs.source}: {error} Fit another law."
        ) from error


# --- how sure it is: errors and draws of the coefficients, tests of the form, findings ---


def _covariance(
    problem: Problem, theta: Array, held: Mask, coordinates: str = "printed"
) -> tuple[Array, float]:
    """(P, P) classical Huber covariance of the free coefficients, and the condition number of their scaled Jacobian.

    `coordinates`: of the coefficients as printed, or of the search (logs at the reference inputs), where the fit is
    far closer to linear.
    Source: Huber 1981, sec. 7.6: (sum psi^2 / (n - p)) / m^2 times (J'J)^-1, m the share of small residuals.
    """
    p, n = len(theta), len(problem.ln_loss)
    free_dof = max(n - problem.n_free, 1)
    J = problem.log_jacobian(theta[None])[0]
    if coordinates == "search":
        J = J @ problem.chain(theta[None])[0]
    J = J[:, ~held]
    found = np.zeros((p, p))
    if not J.size:
        return found, math.inf
    length = np.linalg.norm(J, axis=0)
    length[length == 0] = 1.0
    scaled = J / length
    singular = np.linalg.svd(scaled, compute_uv=False)
    condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else math.inf
    r = problem.residuals(theta[None])[0]
    psi = np.clip(r, -problem.delta, problem.delta)
    share = float(np.mean(np.abs(r) <= problem.delta))
    variance = float(psi @ psi) / free_dof / max(share, 1e-3) ** 2
    free = np.linalg.pinv(scaled.T @ scaled, rcond=1e-15) * variance / np.outer(length, length)
    found[np.ix_(~held, ~held)] = free
    return found, condition


def _estimates(
    family: LawFamily, theta: Array, errors: Array, held: Mask, *, level: float, dof: int
) -> dict[str, Estimate]:
    """Each coefficient with its t interval: in logs where it is positive, so that no end is below zero.

    One that is `held`, by a bound or because it was asked for, has a value alone.
    """
    t = half_width_factor(level, dof)
    found = {}
    for coefficient, value, error, is_held in zip(
        family.coefficients, theta.tolist(), errors.tolist(), held.tolist(), strict=True
    ):
        if is_held:
            found[coefficient.name] = Estimate(value=value)
            continue
        low, high, method = value - t * error, value + t * error, "classical t"
        if coefficient.scale == "log" and value > 0:
            reach = t * error / value
            bounded = reach < MOST_LOG_ERROR
            low, high = (value * math.exp(-reach), value * math.exp(reach)) if bounded else (0.0, math.inf)
            method = "classical t, in logs"
        interval = Interval(low=low, high=high, level=level, method=method)
        found[coefficient.name] = Estimate(value=value, standard_error=error, interval=interval)
    return found


def _draws(problem: Problem, theta: Array, held: Mask, seed: int) -> tuple[tuple[float, ...], ...]:
    """(N_DRAWS, P) coefficients drawn from Student's t about the optimum, in the coordinates of the search."""
    spread, _ = _covariance(problem, theta, held, "search")
    values, vectors = np.linalg.eigh(spread)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    random = np.random.default_rng(seed)
    dof = max(len(problem.ln_loss) - problem.n_free, 1)
    stretch = np.sqrt(dof / random.chisquare(dof, N_DRAWS))
    step = random.standard_normal((N_DRAWS, len(theta))) @ root.T * stretch[:, None]
    drawn = problem.coefficients(problem.search_point(theta[None]) + step)
    return tuple(tuple(row) for row in drawn[np.isfinite(drawn).all(axis=1)].tolist())


def _summarise_residuals(problem: Problem, residual: Array, runs: Runs) -> ResidualSummary:
    pure = None
    if all(name in QUANTITIES for name in problem.inputs):
        # runs of one N and D are replicates only for a law that reads nothing else; of a table of one quantity that
        # one tells cells apart
        first, last = (np.log(getattr(runs, cell_names(runs)[i])) for i in (0, -1))
        pure = pure_error(first, last, problem.ln_loss, residual, problem.n_free)
    return summarise_residuals(residual, problem.n_free, pure, runs)


def _lack_of_fit_test(problem: Problem, theta: Array, held: Mask, runs: Runs) -> FTest | None:
    """Do second-order terms in the centred ln N and ln D explain what the law leaves? Linear ones too where it reads
    other inputs than N and D (a law of compute says that their split does not matter). Of a table of one quantity:
    terms of second and third order in that one."""
    x, y = (np.log(v) - np.log(v).mean() for v in (getattr(runs, cell_names(runs)[i]) for i in (0, -1)))
    terms = [x * x, x * y, y * y]
    if runs.absent:
        terms = [x * x, x**3]
    elif not {"n_params", "n_tokens"} <= set(problem.inputs):
        terms += [x, y]
    fitted = ~problem.fixed_mask
    J = np.where(held, 0.0, problem.log_jacobian(theta[None])[0])[:, fitted]
    columns = np.column_stack([J, *terms])
    psi = np.clip(problem.residuals(theta[None])[0], -problem.delta, problem.delta)
    return added_terms_f(
        columns.T @ columns, columns.T @ psi, int((~held).sum()), problem.n_free, len(psi), float(psi @ psi)
    )


def _findings(
    runs: Runs,
    residual: Array,
    found: Found,
    condition: float,
    at_bound: tuple[str, ...],
    residuals: ResidualSummary,
    test: FTest | None,
    *,
    law: str,
    on_law: bool,
) -> Iterator[Finding]:
    """What the reader must know before relying on the fit, as named findings."""
    if on_law or residuals.robust_scale < NOISE_FREE:
        yield noise_free_finding(residuals.robust_scale)
    if not on_law and (not found.converged or found.n_agreeing < 2):
        message = tr(
            "{n_agreeing} of {n_starts} starts reached the best minimum{stationary}: another one may be better. "
            "Try another seed (--seed).",
            n_agreeing=found.n_agreeing,
            n_starts=found.n_starts,
            stationary="" if found.converged else tr(", which is not stationary"),
        )
        yield Finding(
            code="optimum-uncertain",
            short=tr(
                "{n_agreeing} of {n_starts} starts reached the best minimum: try another --seed",
                n_agreeing=found.n_agreeing,
                n_starts=found.n_starts,
            ),
            severity="warning",
            message=message,
        )
    if condition > ILL_CONDITIONED:
        message = tr(
            "these runs leave a direction of the coefficients open: near the runs predictions still hold."
        )
        yield Finding(
            code="ill-conditioned",
            short=tr("the runs hardly tell some of the coefficients apart"),
            severity="warning",
            message=message,
        )
    if FLOOR in at_bound:
        yield no_floor(law)
    if others := [name for name in at_bound if name != FLOOR]:
        message = tr("{names} ended at a bound of its range and has no interval.", names=", ".join(others))
        yield Finding(
            code="at-bound",
            short=tr("{names} ended at a bound of its range, without interval", names=", ".join(others)),
            severity="warning",
            message=message,
        )
    if on_law:  # tests and comparisons of scatter would weigh rounding
        return
    yield from _far_off(runs, residual, residuals.robust_scale)
    if test is not None and rejected(test):
        yield Finding(
            code="lack-of-fit",
            short=lack_of_fit_short(test),
            severity="warning",
            message=lack_of_fit_message(test) + ".",
        )
    if message := pure_error_message(residuals):
        yield Finding(code="pure-error", severity="warning", message=message + ".")
    if len(runs) < FEW_RUNS:
        message = tr(
            "{n_runs} runs: with fewer than {few_runs} the tests have little power: a pass is not evidence.",
            n_runs=len(runs),
            few_runs=FEW_RUNS,
        )
        yield Finding(
            code="few-runs",
            short=tr("{n_runs} runs are few: that the law passes its tests proves little", n_runs=len(runs)),
            severity="note",
            message=message,
        )


def _far_off(runs: Runs, residual: Array, scale: float) -> Iterator[Finding]:
    far = np.flatnonzero(np.abs(residual) > FAR_OFF * max(scale, 1e-9))
    if not far.size:
        return
    worst = far[np.argsort(-np.abs(residual[far]), kind="stable")][:NAMED]
    listed = ", ".join(
        tr("{run_id} (row {row})", run_id=runs.run_id[i], row=runs.row[i]) for i in worst.tolist()
    )
    lie = tr("lies") if far.size == 1 else tr("lie")
    without = " ".join(f"--exclude {shlex.quote(runs.run_id[i])}" for i in worst.tolist())
    yield Finding(
        code="far-off-runs",
        short=tr(
            "{size} of {n_runs} runs {lie} far off the law: fit without, too (--exclude)",
            size=far.size,
            n_runs=len(runs),
            lie=lie,
        ),
        severity="warning",
        message=tr(
            "{size} of {n_runs} runs {lie} more than {far_off:g} robust standard deviations off the law: "
            "{listed}{more}. Fit without {them} too: {without} (in Python exclude=); none was dropped.",
            size=far.size,
            n_runs=len(runs),
            lie=lie,
            far_off=FAR_OFF,
            listed=listed,
            more=" ..." if far.size > NAMED else "",
            them=tr("it") if far.size == 1 else tr("them"),
            without=without,
        ),
        source="Besiroglu et al. 2024, arXiv:2404.10102",
        rows=tuple(int(runs.row[i]) for i in worst.tolist()),
    )
