"""How sure a fit of any family is: errors and draws of its coefficients, tests of its form, and findings.

Everything is to first order at the optimum: classical errors assume the law and equal independent noise.
Shapes: n runs, P coefficients.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scaling.findings import Finding
from scaling.fitting.fixed import FLOOR, condition_text, no_floor
from scaling.fitting.generic.search import Found, Problem
from scaling.fitting.parametric.diagnostics import (
    FTest,
    ResidualSummary,
    added_terms_f,
    noise_free_finding,
    pure_error,
    robust_scale,
)
from scaling.fitting.power_law import half_width_factor
from scaling.fitting.results import Estimate, Interval
from scaling.laws.base import LawFamily
from scaling.runs import Runs
from scaling.runs.rows import cell_names
from scaling.runs.table import QUANTITIES

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
N_DRAWS = 400
ILL_CONDITIONED = 1e7  # of the scaled Jacobian: beyond, some direction is not determined by these runs
LAW_REJECTED = 0.01  # p of the lack-of-fit test below which the law is called wrong for these runs
FEW_RUNS = 36  # below, a test that passes says little
NOISE_FREE = 1e-10  # robust scale of log loss below which residuals are rounding
FAR_OFF = 5.0  # robust standard deviations
NAMED = 5  # runs named in one message
MOST_LOG_ERROR = 300.0  # e^300: beyond, an end of an interval is 0 or infinite
ENOUGH_FOR_QUANTILES = 60  # runs: from here the noise is read off the residuals instead of assumed Gaussian


def covariance(
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


def estimates(
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


def draws(problem: Problem, theta: Array, held: Mask, seed: int) -> tuple[tuple[float, ...], ...]:
    """(N_DRAWS, P) coefficients drawn from Student's t about the optimum, in the coordinates of the search."""
    spread, _ = covariance(problem, theta, held, "search")
    values, vectors = np.linalg.eigh(spread)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    random = np.random.default_rng(seed)
    dof = max(len(problem.ln_loss) - problem.n_free, 1)
    stretch = np.sqrt(dof / random.chisquare(dof, N_DRAWS))
    step = random.standard_normal((N_DRAWS, len(theta))) @ root.T * stretch[:, None]
    drawn = problem.coefficients(problem.search_point(theta[None]) + step)
    return tuple(tuple(row) for row in drawn[np.isfinite(drawn).all(axis=1)].tolist())


def summarise_residuals(problem: Problem, theta: Array, runs: Runs) -> ResidualSummary:
    r, p = problem.residuals(theta[None])[0], problem.n_free
    worst = int(np.argmax(np.abs(r)))
    same_inputs = all(name in QUANTITIES for name in problem.inputs)
    first, last = (
        cell_names(runs)[i] for i in (0, -1)
    )  # of a table of one quantity that one tells cells apart
    return ResidualSummary(
        robust_scale=robust_scale(r, p),
        standard_deviation=math.sqrt(float(r @ r) / max(len(r) - p, 1)),
        # runs of one N and D are replicates only for a law that reads nothing else
        pure_error=pure_error(
            np.log(getattr(runs, first)), np.log(getattr(runs, last)), problem.ln_loss, r, p
        )
        if same_inputs
        else None,
        largest=float(r[worst]),
        largest_row=int(runs.row[worst]),
    )


def noise_sd(residual: Array, n_fitted: int, level: float) -> float:
    """Standard deviation whose normal interval holds a share `level` of single runs: what one run adds to a prediction.

    From 60 runs the split-conformal quantile of the residuals decides, below their root mean square and Student's t.
    """
    from scaling.fitting.distributions import normal_quantile, t_quantile

    n = len(residual)
    dof = max(n - n_fitted, 1)
    inflated = math.sqrt(n / dof)  # residuals are smaller than the noise by what was fitted
    if n >= ENOUGH_FOR_QUANTILES:
        rank = min(math.ceil((n + 1) * level), n) - 1
        half = float(np.partition(np.abs(residual), rank)[rank])
    else:
        half = t_quantile((1 + level) / 2, dof) * float(np.sqrt(np.mean(residual**2)))
    return half * inflated / normal_quantile((1 + level) / 2)


def lack_of_fit_test(problem: Problem, theta: Array, held: Mask, runs: Runs) -> FTest | None:
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


def statement(lack_of_fit: FTest | None, problem: Problem) -> str:
    """One sentence: what the intervals assume."""
    condition = condition_text(problem.fixed)
    assumed = (
        f"statistical only, assuming the law and equal independent noise{condition and f', {condition}'}"
    )
    if rejected(lack_of_fit):
        return f"{assumed}; these runs reject the law, so the truth may lie outside"
    return assumed


def rejected(test: FTest | None) -> bool:
    return test is not None and test.p_value < LAW_REJECTED


def findings(
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
        message = (
            f"{found.n_agreeing} of {found.n_starts} starts reached the best minimum"
            f"{'' if found.converged else ', which is not stationary'}: another one may be better. Try another seed "
            "(--seed)."
        )
        yield Finding(code="optimum-uncertain", severity="warning", message=message)
    if condition > ILL_CONDITIONED:
        message = (
            "these runs leave a direction of the coefficients open: near the runs predictions still hold."
        )
        yield Finding(code="ill-conditioned", severity="warning", message=message)
    if FLOOR in at_bound:
        yield no_floor(law)
    if others := [name for name in at_bound if name != FLOOR]:
        message = f"{', '.join(others)} ended at a bound of its range and has no interval."
        yield Finding(code="at-bound", severity="warning", message=message)
    if on_law:  # tests and comparisons of scatter would weigh rounding
        return
    yield from _far_off(runs, residual, residuals.robust_scale)
    if test is not None and rejected(test):
        message = (
            f"the law does not fit these runs (lack-of-fit test p = {test.p_value:.1g}): intervals are statistical "
            "only, assuming the law. See the hold-out error: --holdout-above rolling (in Python "
            "evaluate_extrapolation) and the spread between laws: --compare-laws (in Python compare_laws)."
        )
        yield Finding(code="lack-of-fit", severity="warning", message=message)
    pure = residuals.pure_error
    if pure is not None and pure.test is not None and pure.test.p_value < LAW_REJECTED:
        message = (
            f"replicates scatter by {100 * pure.standard_deviation:.2g} %, runs about the law by "
            f"{100 * residuals.standard_deviation:.2g} %: the law misses more than noise."
        )
        yield Finding(code="pure-error", severity="warning", message=message)
    if len(runs) < FEW_RUNS:
        message = f"{len(runs)} runs: with fewer than {FEW_RUNS} the tests have little power: a pass is not evidence."
        yield Finding(code="few-runs", severity="note", message=message)


def _far_off(runs: Runs, residual: Array, scale: float) -> Iterator[Finding]:
    far = np.flatnonzero(np.abs(residual) > FAR_OFF * max(scale, 1e-9))
    if not far.size:
        return
    worst = far[np.argsort(-np.abs(residual[far]), kind="stable")][:NAMED]
    listed = ", ".join(f"{runs.run_id[i]} (row {runs.row[i]})" for i in worst.tolist())
    lie = "lies" if far.size == 1 else "lie"
    without = " ".join(f"--exclude {shlex.quote(runs.run_id[i])}" for i in worst.tolist())
    yield Finding(
        code="far-off-runs",
        severity="warning",
        message=f"{far.size} of {len(runs)} runs {lie} more than {FAR_OFF:g} robust standard deviations off the law: "
        f"{listed}{' ...' if far.size > NAMED else ''}. Fit without {'it' if far.size == 1 else 'them'} too: {without} "
        "(in Python exclude=); none was dropped.",
        source="Besiroglu et al. 2024, arXiv:2404.10102",
        rows=tuple(int(runs.row[i]) for i in worst.tolist()),
    )
