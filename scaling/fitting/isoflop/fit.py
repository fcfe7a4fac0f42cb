"""Approach 2: one valley of loss against tokens per budget, then lines through the minima.

Use which when: Approach 2 needs runs in groups of equal compute and assumes little about the loss away from the
optimum. Approach 3 (`fit_parametric`) uses every run, predicts losses, and extrapolates better where its form holds.
Approach 1 (`fit_envelope`) is for training curves without such groups. `isoflop.valley` says which valley to take.

Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.2. Ours differs: losses of runs that miss their budget are
moved to it along the fitted surface; minima that the runs do not bracket are refused; the bias of the valley's shape
on this very grid is estimated and compared with the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scaling.arguments import is_one_of, require_flags, require_level, require_numbers, require_whole
from scaling.errors import FitError, LawError, UsageError, shown
from scaling.findings import Finding
from scaling.fitting.frontier_law import fit_loss_frontier, frontier_law
from scaling.fitting.isoflop.bias import GridBias, estimate_grid_bias
from scaling.fitting.isoflop.budgets import (
    BudgetRuns,
    ValleyKind,
    budget_runs,
    fit_budget_valley,
)
from scaling.fitting.isoflop.findings import (
    curves_reduced,
    isoflop_findings,
    no_minima_message,
    shape_trusted,
    trunk_finding,
)
from scaling.fitting.isoflop.result import BudgetMinimum, IsoflopFit, NextRun, RefusedBudget
from scaling.fitting.isoflop.valley import FARTHEST, Valley, valley_kind
from scaling.fitting.power_law import PowerLawFit, fit_line, half_width_factor, power_law_from_line
from scaling.fitting.prediction import predicted_loss
from scaling.fitting.results import Estimate, Interval
from scaling.fitting.surface.diagnostics import lies_on_law, noise_free_finding, robust_scale
from scaling.fitting.surface.groups import trunks
from scaling.fitting.surface.resample import jackknife_error
from scaling.laws.base import Law
from scaling.reference.published import LawLike, resolve_law
from scaling.runs import Runs, assign_budgets
from scaling.runs.budgets import DEFAULT_TOLERANCE
from scaling.runs.table import require_runs
from scaling.translation import tr

VALLEYS: tuple[ValleyKind, ...] = ("parabola", "quartic", "surface")
MIN_RUNS: dict[ValleyKind, int] = {"parabola": 4, "quartic": 6, "surface": 3}


def fit_isoflop(
    runs: Runs,
    *,
    valley: ValleyKind = "parabola",
    level: float = 0.95,
    tolerance: float = DEFAULT_TOLERANCE,
    min_runs_per_budget: int | None = None,
    surface: LawLike | None = None,
    require_bracket: bool = True,
    every_row: bool = False,
) -> IsoflopFit:
    """Find the loss minimum of each budget and how it moves with compute: N* = k C^a, D* = k' C^b.

    Args:
        runs: final losses; of training curves the last row of each run is used, unless `every_row` is asked for.
        valley: parabola, quartic or surface.
        level: of every interval, between 0 and 1.
        tolerance: how far (as a fraction) runs of one budget may lie from its centre; see `cluster_budgets`.
        min_runs_per_budget: below it a budget is refused; 4 (parabola), 6 (quartic), 3 (surface) unless given.
        surface: L(N, D) that moves losses to the nominal budget, shapes `surface` valleys and measures the bias;
            Approach 3 on the same runs unless given.
        require_bracket: False keeps minima that lie beyond the sampled sizes, which are extrapolated, in the lines.
    Raises:
        FitError: fewer than two budgets have a bracketed minimum; the message says what each one lacks.
        UsageError: unknown valley, level outside (0, 1), fewer than 3 runs per budget asked for.
    Example:
        >>> import scaling
        >>> fit = scaling.fit_isoflop(scaling.example_runs())
        >>> round(fit.params_exponent.value, 2), len(fit.used)
        (0.51, 6)
    """
    _check_arguments(valley, level, min_runs_per_budget)
    require_numbers(tolerance=tolerance)
    require_flags(require_bracket=require_bracket, every_row=every_row)
    require_runs(runs, "fit_isoflop")
    runs.require(("n_params", "flops"), "Approach 2 (fit_isoflop, --method isoflop)")
    runs.require_losses()
    findings: list[Finding] = []
    if runs.is_curves and not every_row:
        findings.append(curves_reduced(runs))
        runs = runs.final()
    clusters = assign_budgets(runs, tolerance)
    if len(clusters) < 2:
        raise FitError(
            f"Approach 2 compares budgets and {runs.source} has {len(clusters)}. Add runs at a second budget, "
            "or fit Approach 3: --method parametric (in Python fit_parametric)."
        )
    law, failure = (resolve_law(surface), "") if surface is not None else _fit_surface(runs)
    if law is None and valley == "surface":
        raise FitError(f"valleys from the surface need an Approach 3 fit, which failed: {failure}")
    minimum = min_runs_per_budget or MIN_RUNS[valley]

    def minima(part: Runs) -> tuple[BudgetMinimum, ...]:
        groups = budget_runs(part, assign_budgets(part, tolerance), law)
        valleys = [fit_budget_valley(g, valley, law, level=level, min_runs=minimum) for g in groups]
        if not require_bracket:
            valleys = [_without_bracket(v) for v in valleys]
        return tuple(_minimum(g, v, level) for g, v in zip(groups, valleys, strict=True))

    budgets = minima(runs)
    if sum(b.refused is None for b in budgets) < 2:
        raise FitError(no_minima_message(runs, budgets))
    outside = np.flatnonzero(clusters.labels < 0)
    fit = _through_minima(runs, budgets, valley=valley, level=level, surface=law)
    by_trunk = exponent_by_trunk(
        runs, fit.params_exponent.value, lambda part: _exponent(minima(part), level), level
    )
    found = isoflop_findings(runs, budgets, fit.bias, failure)
    found += _noise_free(runs, law)
    found += [] if by_trunk is None else [trunk_finding(runs, fit.params_exponent, by_trunk)]
    return replace(
        fit,
        by_trunk=by_trunk,
        findings=(*findings, *found),
        excluded=tuple(runs.run_id[i] for i in outside),
    )


def _through_minima(
    runs: Runs, budgets: tuple[BudgetMinimum, ...], *, valley: ValleyKind, level: float, surface: Law | None
) -> IsoflopFit:
    """The lines through the minima, the law they make, and the bias of the valley's shape."""
    used = [b for b in budgets if b.refused is None]
    params_line, tokens_line = (_line(used, name, level) for name in ("n_params", "n_tokens"))
    loss_frontier = fit_loss_frontier(
        np.array([b.flops for b in used]), np.array([b.loss.value for b in used if b.loss])
    )
    bias = None
    if surface is not None and valley != "surface":  # that one is unbiased where the surface is right
        bias = estimate_grid_bias(surface, [b.runs for b in used], valley, params_line)
    law = frontier_law(
        runs,
        tr("Approach 2 ({valley})", valley=valley_kind(valley)),
        params_line,
        tokens_line,
        loss_frontier,
        fitted_range={
            "flops": (used[0].flops, used[-1].flops),
            "n_params": _range(used, "n_params"),
            "n_tokens": _range(used, "n_tokens"),
        },
        statement=_statement(valley, bias),
    )
    return IsoflopFit(
        valley=valley,
        level=level,
        budgets=budgets,
        params_line=params_line,
        tokens_line=tokens_line,
        loss_frontier=loss_frontier,
        bias=bias,
        law=law,
        surface=surface,
        n_runs=len(runs),
        n_runs_used=sum(b.n_runs for b in used),
        findings=(),
        source=runs.source,
        convention=runs.convention,
    )


def _check_arguments(valley: ValleyKind, level: float, min_runs: int | None) -> None:
    if not is_one_of(valley, VALLEYS):
        raise UsageError(f"a valley is fitted as {', '.join(VALLEYS)}; got {shown(valley)}.")
    require_level(level)
    require_whole(or_none=True, min_runs_per_budget=min_runs)
    if min_runs is not None and min_runs < 3:
        raise UsageError(f"a valley needs at least 3 runs; got min_runs_per_budget={min_runs}.")


def _fit_surface(runs: Runs) -> tuple[Law | None, str]:
    """The Approach 3 law of the same runs, or why there is none."""
    from scaling.fitting.surface.fit import fit_parametric

    try:
        law = fit_parametric(runs, intervals=False).law
        law.allocate(float(runs.flops.max()))  # a surface without an interior optimum has no valleys
        return law, ""
    except (FitError, LawError) as error:
        return None, str(error)


def _noise_free(runs: Runs, surface: Law | None) -> list[Finding]:
    """A note where the runs lie on the surface as closely as their losses are printed."""
    if surface is None:
        return []
    residual = np.log(predicted_loss(surface, runs) / runs.loss)
    scale = robust_scale(residual, len(surface.family.coefficients))
    on_law = lies_on_law(runs.loss, scale, float(np.abs(residual).max()))
    return [noise_free_finding(scale)] if on_law else []


def _without_bracket(valley: Valley) -> Valley:
    """The valley with its extrapolated minimum; one e^50 away stays refused."""
    if valley.refused is None or valley.refused.code != "not-bracketed" or valley.refused.next_x is None:
        return valley
    if abs(valley.minimum - valley.refused.next_x) > FARTHEST:
        return valley
    return replace(valley, refused=None)


def _minimum(group: BudgetRuns, valley: Valley, level: float) -> BudgetMinimum:
    """The valley's minimum in N, D and loss, or its refusal with the run that would bracket it."""
    bare = BudgetMinimum(flops=group.flops, valley=valley, runs=group)
    if (refused := valley.refused) is not None:
        next_run = None
        if refused.next_x is not None:
            n, d = group.point_at(refused.next_x)
            next_run = NextRun(n_params=n, n_tokens=d)
        return replace(
            bare, refused=RefusedBudget(code=refused.code, reason=refused.reason, next_run=next_run)
        )
    profiled = "shift" if valley.kind == "surface" else "vertex (Fieller)"
    method = f"profile of the {profiled}, t with {valley.dof} degrees of freedom"

    def estimate(value: float, low: float, high: float, error: float) -> Estimate:
        interval = Interval(low=low, high=high, level=level, method=method)
        return Estimate(
            value=value, standard_error=error if math.isfinite(error) else None, interval=interval
        )

    n, d = group.point_at(valley.minimum)
    n_high, d_low = group.point_at(valley.minimum_low)
    n_low, d_high = group.point_at(valley.minimum_high)
    return replace(
        bare,
        n_params=estimate(n, n_low, n_high, n * valley.minimum_error),
        n_tokens=estimate(d, d_low, d_high, d * valley.minimum_error),
        loss=estimate(valley.loss, valley.loss_low, valley.loss_high, valley.loss_error),
    )


def _exponent(budgets: tuple[BudgetMinimum, ...], level: float) -> float | None:
    """Of N*, or None where fewer than two minima are left."""
    used = [b for b in budgets if b.refused is None]
    return _line(used, "n_params", level).exponent.value if len(used) > 1 else None


def exponent_by_trunk(
    runs: Runs, value: float, exponent: Callable[[Runs], float | None], level: float
) -> Estimate | None:
    """`value` with the jackknife's error and t interval; None without trunks, or where one cannot be done without.

    Branches of one trunk share most of their training, so the minima of several budgets err together, which the t
    interval of a line through them does not know. Source: Efron 1982, The Jackknife, the Bootstrap and Other
    Resampling Plans, ch. 3. Ours differs: what is left out is a trunk, not a run.

    Args:
        exponent: of N* from a part of the runs; None where too few budgets keep a minimum.
    """
    groups = trunks(runs)
    if groups is None or groups.n_groups < 3:
        return None
    left_out = [exponent(runs.select(groups.labels != k)) for k in range(groups.n_groups)]
    found = np.array([a for a in left_out if a is not None])
    g = groups.n_groups
    if len(found) < g:
        return None
    error = float(jackknife_error(found))
    half = half_width_factor(level, g - 1) * error
    method = f"jackknife, one of {g} trunks left out"
    interval = Interval(low=value - half, high=value + half, level=level, method=method)
    return Estimate(value=value, standard_error=error, interval=interval)


def _line(used: list[BudgetMinimum], name: str, level: float) -> PowerLawFit:
    ln_c = np.log([b.flops for b in used])
    ln_y = np.log([getattr(b, name).value for b in used])
    return power_law_from_line(fit_line(ln_c, ln_y), ln_c, level)


def _range(used: list[BudgetMinimum], name: str) -> tuple[float, float]:
    columns = [getattr(b.runs, name) for b in used]
    return min(float(c.min()) for c in columns), max(float(c.max()) for c in columns)


def _statement(valley: ValleyKind, bias: GridBias | None) -> str:
    lead = tr("statistical only: scatter of the minima about a straight line")
    if valley == "surface":
        return f"{lead}; {shape_trusted()}"
    return lead if bias is None else f"{lead}; {bias.statement}"
