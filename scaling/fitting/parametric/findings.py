"""What the reader of an Approach 3 fit must know before relying on it, as named findings."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from scaling.findings import Finding, Severity, error, gravest_first, note, warning
from scaling.fitting.fixed import FLOOR, no_floor
from scaling.fitting.parametric.analysis import BUDGETS_DIFFER, Analysis
from scaling.fitting.parametric.diagnostics import (
    FAR_OFF,
    FEW_RUNS,
    lack_of_fit_message,
    lack_of_fit_short,
    noise_free_finding,
    pure_error_message,
    pure_error_short,
    rejected,
    statement,
)
from scaling.fitting.parametric.intervals import Spread
from scaling.fitting.parametric.surface import COORDINATES, LOWER, UPPER
from scaling.units import round_by_error

SURE = 0.01  # p below which a test is worded as a fact
GROSS = 0.1  # of ln loss: a run so far off the law is a slip in the table, whatever it moves
WIDENED = 1.25  # times: by how much runs far off widen an interval before that is a warning
UNEQUAL_NOISE = 1.3  # kappa
NAMED = 5  # runs named in one message
FAR_CONDITION = 1e4
HIGH_LEVERAGE = 0.7


def collect_findings(analysis: Analysis) -> list[Finding]:
    """All that apply, gravest first."""
    found = [*_about_optimum(analysis), *_about_runs(analysis), *_about_intervals(analysis)]
    if not analysis.on_law:  # else rounding alone would set them off
        found += _about_fit(analysis)
    return gravest_first(found)


def assumption(a: Analysis) -> str:
    """One sentence: what the intervals assume."""
    if a.noise_free:
        return "no interval: the runs lie on the law to rounding, so there is no noise to measure"
    if a.spread is None:
        return "no interval was asked for"
    together = f"{a.groups.kind}s" if a.spread.main == "jackknife" and a.groups else "runs"
    return statement(f"independent {together}", a.fixed, a.lack_of_fit)


def coordinates_at_bound(analysis: Analysis) -> tuple[str, ...]:
    """Names of coefficients that ended on a bound: the runs ask for less or more than the law allows."""
    theta = analysis.optimum.theta
    pinned = (theta <= LOWER + 1e-12) | (theta >= UPPER - 1e-12)
    pinned[[index for index, _ in analysis.optimum.data.fixed]] = False
    names = {"ln_A": "A", "ln_B": "B"}
    return tuple(names.get(name, name) for name, at in zip(COORDINATES, pinned, strict=True) if at)


def _about_optimum(a: Analysis) -> Iterator[Finding]:
    optimum = a.optimum
    if not optimum.converged:
        yield error(
            code="not-converged",
            short="the search did not settle on a minimum: do not use this law",
            message="the search did not settle on a minimum; do not use this law",
        )
    elif optimum.n_starts > 1 and optimum.n_agreeing < 2:
        message = f"only {optimum.n_agreeing} of {optimum.n_starts} starts reached the minimum; another may be lower"
        yield warning(code="starts-disagree", message=message)
    for name in coordinates_at_bound(a):
        if name == FLOOR:
            yield no_floor("chinchilla")
            continue
        value = dict(zip(COORDINATES, optimum.theta, strict=True)).get(name)
        shown = "its limit" if value is None else f"{value:g}, its limit"
        yield warning(
            code="at-bound",
            short=f"{name} ended at {shown}: the runs do not determine it",
            message=f"{name} ended at {shown}: the runs do not determine it. {_TO_ADD}",
        )
    if a.linear.condition > FAR_CONDITION:
        message = f"a combination of coefficients is hardly determined (condition {a.linear.condition:.1g}). {_TO_ADD}"
        yield warning(
            code="ill-conditioned",
            short="the runs hardly tell some of the coefficients apart",
            message=message,
        )
    if a.noise_free or a.on_law:
        yield noise_free_finding(a.residuals.robust_scale)


def _about_runs(a: Analysis) -> Iterator[Finding]:
    influence = a.influence
    if influence is not None and influence.far_off and not a.on_law:
        yield _far_off(a)
    worst = int(np.argmax(a.linear.leverage))
    if a.linear.leverage[worst] > HIGH_LEVERAGE:
        row = int(a.runs.row[worst])
        message = (
            f"run {a.runs.run_id[worst]} (row {row}) has leverage {a.linear.leverage[worst]:.2f}: the law passes "
            "through it whatever its loss. Repeat it or add runs nearby"
        )
        yield warning(
            code="high-leverage",
            short=f"the law passes through run {a.runs.run_id[worst]} whatever its loss",
            message=message,
            rows=(row,),
        )
    if a.groups is not None and a.groups.kind == "trunk" and a.runs.is_curves:
        message = (
            "the table holds training curves; checkpoints before the end of decay are not final losses. "
            "Fit the last row of each run (--final (in Python runs.final())) if those differ in tokens per parameter"
        )
        yield warning(
            code="curves",
            short="checkpoints of training curves are no final losses: see --final",
            message=message,
            source="Hoffmann et al. 2022, app. B",
        )
    if a.groups is not None and a.groups.kind == "trunk":
        message = (
            f"rows of one trunk are not independent: intervals leave out one of {a.groups.n_groups} trunks"
        )
        yield note(
            code="dependent-rows",
            short=f"rows that share a start of training are not independent: {a.groups.n_groups} groups of them",
            message=message,
            source="Choshen et al. 2024, arXiv:2410.11840",
        )


def _far_off(a: Analysis) -> Finding:
    """The runs far off the law, worst first, and how far the exponent moves without them."""
    assert a.influence is not None
    path = a.influence.far_off
    named = path[:NAMED]
    before, after = a.influence.params_exponent, named[-1].params_exponent
    listed = ", ".join(f"{r.run_id} (row {r.row})" for r in named)
    sizes = sorted((abs(r.residual) for r in named), reverse=True)
    half = _half_width(a)
    lie, them = ("lies", "it") if len(named) == 1 else ("lie", "them")
    far = f"{sizes[0]:.0f}" if len(named) == 1 else f"{sizes[-1]:.0f} to {sizes[0]:.0f}"
    message = (
        f"{len(named)} of {len(a.runs)} runs {lie} {far} robust standard deviations off the law: {listed}. Without "
        f"{them} the exponent of N* moves from {before:.3f} to {after:.3f}"
    )
    error, error_after = a.influence.params_exponent_error, named[-1].params_exponent_error
    widens = error is not None and error > WIDENED * error_after
    if error is not None and widens:
        message += (
            f" and its standard error from {round_by_error(error, error)} to "
            f"{round_by_error(error_after, error_after)}"
        )
    if len(path) > NAMED:
        message += (
            f"; {len(path) - NAMED} more lie beyond {FAR_OFF:.0f}, and without all {len(path)} it is "
            f"{path[-1].params_exponent:.3f}"
        )
    moves = max(abs(r.params_exponent - before) for r in path) > 0.25 * half
    gross = sizes[0] * a.residuals.robust_scale > GROSS
    severity: Severity = "warning" if moves or widens or gross else "note"
    message += ". Check these runs; none was dropped"
    exponent = f"N* grows as C^{path[-1].params_exponent:.3f}"
    short = f"{len(path)} of {len(a.runs)} runs {lie} far off: without {them} {exponent}"
    return Finding(
        code="far-off-runs",
        short=short,
        severity=severity,
        message=message,
        source="Besiroglu et al. 2024",
        rows=tuple(r.row for r in named),
    )


def _about_fit(a: Analysis) -> Iterator[Finding]:
    if a.lack_of_fit is not None and rejected(a.lack_of_fit):
        yield warning(
            code="lack-of-fit",
            short=lack_of_fit_short(a.lack_of_fit),
            message=lack_of_fit_message(a.lack_of_fit),
        )
    if a.budget_effects is not None and a.budget_effects.p_value < BUDGETS_DIFFER:
        p = a.budget_effects.p_value
        level = 100 * (SURE if p < SURE else BUDGETS_DIFFER)
        verb = "lie off the law together" if p < SURE else "may lie off the law together"
        lead = f"runs of one budget {verb}, not one by one (F test p = {p:.1g})"
        message = f"{lead}: intervals leave out one budget at a time and are wider"
        if a.spread is not None and a.spread.main != "jackknife":
            message = (
                f"{lead}, which these intervals ignore; four budgets or more would be left out one at a time"
            )
        yield warning(
            code="budget-effects",
            short=f"runs of one budget {verb.replace('lie off the law', 'err')} (p = {p:.1g}, level {level:g} %)",
            message=message,
        )
    if a.kappa is not None and a.kappa > UNEQUAL_NOISE:
        message = (
            f"noise is unequal between runs, or the law misfits (HC2 errors are {a.kappa:.2g} x the classical ones; "
            "the intervals use HC2)"
        )
        yield note(
            code="unequal-noise",
            short=f"unequal noise: errors {a.kappa:.2f} times the usual ones (used here)",
            message=message,
        )
    if message := pure_error_message(a.residuals):
        yield warning(code="pure-error", short=pure_error_short(a.residuals), message=message)
    if a.spread is not None and (n := len(a.runs)) < FEW_RUNS:
        message = (
            f"{n} runs: with fewer than {FEW_RUNS} runs the tests have little power: a pass is not evidence"
        )
        yield note(
            code="few-runs",
            short=f"{n} runs are few: that the law passes its tests proves little",
            message=message + _shared_noise_note(a.spread),
        )
    yield from _objective_spread(a)


def _shared_noise_note(spread: Spread) -> str:
    """What the main interval would miss and these tests cannot see (simulated in benchmarks/coverage.py)."""
    if spread.main == "jackknife" or spread.jackknife is None:
        return ""
    return (
        ". If runs of a budget share some of their noise, a 95 % interval of the loss held in 87 % of simulated "
        "tables of 20 runs, and the jackknife beside it in 94 %"
    )


def _objective_spread(a: Analysis) -> Iterator[Finding]:
    if not a.alternatives:
        return
    exponents = [float(o.theta[4] / (o.theta[3] + o.theta[4])) for o in a.alternatives]
    half = _half_width(a)
    if max(exponents) - min(exponents) > half and math.isfinite(half):
        message = (
            f"the usual objectives give exponents of N* from {min(exponents):.3f} to {max(exponents):.3f} on these "
            f"runs, further apart than the half-width of the profile interval, {round_by_error(half, half)}"
        )
        yield note(
            code="objective-spread",
            short=f"other objectives give exponents {min(exponents):.3f} to {max(exponents):.3f}",
            message=message,
        )


def _about_intervals(a: Analysis) -> Iterator[Finding]:
    if a.spread is None:
        return
    if a.delta_below_noise:
        message = (
            f"the Huber threshold {a.optimum.penalty.delta:g} is far below the scatter of the runs "
            f"({a.residuals.robust_scale:.2g}): profile intervals under-cover (57-93 %), so the {a.spread.main} is used"
        )
        yield note(
            code="fixed-delta",
            short=f"the Huber threshold is far below the noise: {a.spread.main} intervals",
            message=message,
        )
    if a.optimum.name == "asymmetric":
        message = "over-prediction costs ten times as much: this is the lower edge of the runs, not their expected loss"
        yield warning(
            code="asymmetric",
            short="this is the lower edge of the runs, not their expected loss",
            message=message,
        )
    for name, estimate in a.estimates[a.spread.main].items():
        interval = estimate.interval
        if interval is None:
            continue
        whole = name == "params_exponent" and (interval.low <= 0 or interval.high >= 1)
        if whole or not interval.bounded:
            side = "above" if interval.low > 0 else "on either side"
            message = f"the runs do not bound {name} {side}: its interval is infinite. {_TO_ADD}"
            yield warning(
                code="unbounded-interval", short=f"the runs do not bound {name} {side}", message=message
            )
    for refits in (a.spread.jackknife, a.spread.bootstrap):
        if refits is not None and refits.unconverged_fraction > 0.01:
            message = (
                f"{100 * refits.unconverged_fraction:.0f} % of the refits of the {refits.kind} did not settle"
            )
            yield warning(code="unconverged-refits", message=message)


_TO_ADD = "Add runs at smaller and larger n_params and n_tokens"


def _half_width(a: Analysis) -> float:
    """Of the profile interval of the exponent: what the noise alone allows."""
    if a.spread is None:
        return math.inf
    found = a.estimates.get("profile", a.estimates[a.spread.main])["params_exponent"].interval
    return found.half_width if found else math.inf
