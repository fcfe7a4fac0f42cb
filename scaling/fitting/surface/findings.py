"""What the reader of an Approach 3 fit must know before relying on it, as named findings."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from scaling.findings import Finding, Severity, error, gravest_first, note, warning
from scaling.fitting.fixed import FLOOR, no_floor
from scaling.fitting.results import Estimate
from scaling.fitting.surface.analysis import BUDGETS_DIFFER, Analysis, plain_estimates
from scaling.fitting.surface.diagnostics import (
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
from scaling.fitting.surface.intervals import Spread
from scaling.laws.methods import method_in_words
from scaling.translation import tr
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
        return tr("no interval: the runs lie on the law to rounding, so there is no noise to measure")
    if a.spread is None:
        return tr("no interval was asked for")
    by_group = a.groups.kind if a.spread.main == "jackknife" and a.groups else ""
    return statement(_independent(by_group), a.fixed, a.lack_of_fit)


def _independent(by_group: str) -> str:
    if by_group == "budget":
        return tr("independent budgets")
    return tr("independent trunks") if by_group else tr("independent runs")


def coordinates_at_bound(analysis: Analysis) -> tuple[str, ...]:
    """Names of coefficients that ended on a bound: the runs ask for less or more than the law allows."""
    theta, data = analysis.optimum.theta, analysis.optimum.data
    pinned = (theta <= data.lower + 1e-12) | (theta >= data.upper - 1e-12)
    pinned[[index for index, _ in data.fixed]] = False
    return tuple(name for name, at in zip(data.names, pinned, strict=True) if at)


def _about_optimum(a: Analysis) -> Iterator[Finding]:
    optimum = a.optimum
    if not optimum.converged and not a.on_law:  # below rounding there is nothing left to descend
        yield error(
            code="not-converged",
            short=tr("the search did not settle on a minimum: do not use this law"),
            message=tr("the search did not settle on a minimum; do not use this law"),
        )
    elif optimum.n_starts > 1 and optimum.n_agreeing < 2:
        message = tr(
            "only {n_agreeing} of {n_starts} starts reached the minimum; another may be lower",
            n_agreeing=optimum.n_agreeing,
            n_starts=optimum.n_starts,
        )
        yield warning(code="starts-disagree", message=message)
    for name in coordinates_at_bound(a):
        if name == FLOOR:
            yield no_floor(optimum.data.family.name)
            continue
        value = float(optimum.data.coefficients(optimum.theta)[name])
        own = value == optimum.theta[optimum.data.names.index(name)]  # else the limit is of its logarithm
        shown = tr("{value:g}, its limit", value=value) if own else tr("its limit")
        yield warning(
            code="at-bound",
            short=tr("{name} ended at {shown}: the runs do not determine it", name=name, shown=shown),
            message=tr(
                "{name} ended at {shown}: the runs do not determine it. {to_add}",
                name=name,
                shown=shown,
                to_add=_to_add(),
            ),
        )
    if a.linear.condition > FAR_CONDITION:
        message = tr(
            "a combination of coefficients is hardly determined (condition {condition:.1g}). {to_add}",
            condition=a.linear.condition,
            to_add=_to_add(),
        )
        yield warning(
            code="ill-conditioned",
            short=tr("the runs hardly tell some of the coefficients apart"),
            message=message,
        )
    if a.noise_free or a.on_law:
        yield noise_free_finding(a.residuals.robust_scale)


def _about_runs(a: Analysis) -> Iterator[Finding]:
    influence = a.influence
    if influence is not None and influence.far_off and not a.on_law:
        yield _far_off(a)
    worst = int(np.argmax(a.linear.leverage))
    if a.linear.leverage[worst] > HIGH_LEVERAGE and not a.on_law:
        row = int(a.runs.row[worst])
        message = tr(
            "run {run_id} (row {row}) has leverage {leverage:.2f}: the law passes through it whatever its "
            "loss. Repeat it or add runs nearby",
            run_id=a.runs.run_id[worst],
            row=row,
            leverage=a.linear.leverage[worst],
        )
        yield warning(
            code="high-leverage",
            short=tr("the law passes through run {run_id} whatever its loss", run_id=a.runs.run_id[worst]),
            message=message,
            rows=(row,),
        )
    if a.groups is not None and a.groups.kind == "trunk" and a.runs.is_curves:
        message = tr(
            "the table holds training curves; checkpoints before the end of decay are not final losses. Fit "
            "the last row of each run (--final (in Python runs.final())) if those differ in tokens per "
            "parameter"
        )
        yield warning(
            code="curves",
            short=tr("checkpoints of training curves are no final losses: see --final"),
            message=message,
            source="Hoffmann et al. 2022, app. B",
        )
    if a.groups is not None and a.groups.kind == "trunk":
        message = tr(
            "rows of one trunk are not independent: intervals leave out one of {n_groups} trunks",
            n_groups=a.groups.n_groups,
        )
        yield note(
            code="dependent-rows",
            short=tr(
                "rows that share a start of training are not independent: {n_groups} groups of them",
                n_groups=a.groups.n_groups,
            ),
            message=message,
            source="Choshen et al. 2024, arXiv:2410.11840",
        )


def _far_off(a: Analysis) -> Finding:
    """The runs far off the law, worst first, and how far the exponent moves without them."""
    assert a.influence is not None
    path = a.influence.far_off
    named = path[:NAMED]
    before, after = a.influence.params_exponent, named[-1].params_exponent
    listed = ", ".join(tr("{run_id} (row {row})", run_id=r.run_id, row=r.row) for r in named)
    sizes = sorted((abs(r.residual) for r in named), reverse=True)
    half = _half_width(a)
    lie, them = (tr("lies"), tr("it")) if len(named) == 1 else (tr("lie"), tr("them"))
    far = (
        f"{sizes[0]:.0f}" if len(named) == 1 else tr("{low:.0f} to {high:.0f}", low=sizes[-1], high=sizes[0])
    )
    message = tr(
        "{n_named} of {n_runs} runs {lie} {far} robust standard deviations off the law: {listed}. "
        "Without {them} the exponent of N* moves from {before:.3f} to {after:.3f}",
        n_named=len(named),
        n_runs=len(a.runs),
        lie=lie,
        far=far,
        listed=listed,
        them=them,
        before=before,
        after=after,
    )
    error, error_after = a.influence.params_exponent_error, named[-1].params_exponent_error
    widens = error is not None and error > WIDENED * error_after
    if error is not None and widens:
        message += tr(
            " and its standard error from {error} to {error_after}",
            error=round_by_error(error, error),
            error_after=round_by_error(error_after, error_after),
        )
    if len(path) > NAMED:
        message += tr(
            "; {named} more lie beyond {far_off:.0f}, and without all {n_path} it is {params_exponent:.3f}",
            named=len(path) - NAMED,
            far_off=FAR_OFF,
            n_path=len(path),
            params_exponent=path[-1].params_exponent,
        )
    moves = max(abs(r.params_exponent - before) for r in path) > 0.25 * half
    gross = sizes[0] * a.residuals.robust_scale > GROSS
    severity: Severity = "warning" if moves or widens or gross else "note"
    message += tr(". Check these runs; none was dropped")
    exponent = tr("N* grows as C^{params_exponent:.3f}", params_exponent=path[-1].params_exponent)
    short = tr(
        "{n_path} of {n_runs} runs {lie} far off: without {them} {exponent}",
        n_path=len(path),
        n_runs=len(a.runs),
        lie=lie,
        them=them,
        exponent=exponent,
    )
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
        verb = tr("lie off the law together") if p < SURE else tr("may lie off the law together")
        err = tr("err together") if p < SURE else tr("may err together")
        lead = tr("runs of one budget {verb}, not one by one (F test p = {p:.1g})", verb=verb, p=p)
        message = tr("{lead}: intervals leave out one budget at a time and are wider", lead=lead)
        if a.spread is not None and a.spread.groups is not None and a.spread.main == "jackknife":
            message += f" ({a.spread.groups.in_words()})"
        if a.spread is not None and a.spread.main != "jackknife":
            message = tr(
                "{lead}, which these intervals ignore; four budgets or more would be left out one at a time",
                lead=lead,
            )
        yield warning(
            code="budget-effects",
            short=tr("runs of one budget {err} (p = {p:.1g}, level {level:g} %)", err=err, p=p, level=level),
            message=message,
        )
    if a.kappa is not None and a.kappa > UNEQUAL_NOISE:
        message = tr(
            "noise is unequal between runs, or the law misfits (HC2 errors are {kappa:.2g} x the classical "
            "ones; the intervals use HC2)",
            kappa=a.kappa,
        )
        yield note(
            code="unequal-noise",
            short=tr("unequal noise: errors {kappa:.2f} times the usual ones (used here)", kappa=a.kappa),
            message=message,
        )
    if message := pure_error_message(a.residuals):
        yield warning(code="pure-error", short=pure_error_short(a.residuals), message=message)
    if a.spread is not None and (n := len(a.runs)) < FEW_RUNS:
        message = tr(
            "{n} runs: with fewer than {few_runs} runs the tests have little power: a pass is not evidence",
            n=n,
            few_runs=FEW_RUNS,
        )
        yield note(
            code="few-runs",
            short=tr("{n} runs are few: that the law passes its tests proves little", n=n),
            message=message + _shared_noise_note(a.spread),
        )
    yield from _objective_spread(a)


def _shared_noise_note(spread: Spread) -> str:
    """What the main interval would miss and these tests cannot see (simulated in benchmarks/coverage.py)."""
    if spread.main == "jackknife" or spread.jackknife is None:
        return ""
    return tr(
        ". If runs of a budget share some of their noise, a 95 % interval of the loss held in 87 % of simulated "
        "tables of 20 runs, and the jackknife beside it in 94 %"
    )


def _objective_spread(a: Analysis) -> Iterator[Finding]:
    if not a.alternatives:
        return
    exponents = [plain_estimates(o)["params_exponent"].value for o in a.alternatives]
    half = _half_width(a)
    if max(exponents) - min(exponents) > half and math.isfinite(half):
        message = tr(
            "the usual objectives give exponents of N* from {least:.3f} to {most:.3f} on these runs, further "
            "apart than the half-width of the profile interval, {half}",
            least=min(exponents),
            most=max(exponents),
            half=round_by_error(half, half),
        )
        yield note(
            code="objective-spread",
            short=tr(
                "other objectives give exponents {least:.3f} to {most:.3f}",
                least=min(exponents),
                most=max(exponents),
            ),
            message=message,
        )


def _about_intervals(a: Analysis) -> Iterator[Finding]:
    if a.spread is None:
        return
    if a.delta_below_noise:
        message = tr(
            "the Huber threshold {delta:g} is far below the scatter of the runs ({robust_scale:.2g}): "
            "profile intervals under-cover (57-93 %), so the {main} is used",
            delta=a.optimum.penalty.delta,
            robust_scale=a.residuals.robust_scale,
            main=method_in_words(a.spread.main),
        )
        yield note(
            code="fixed-delta",
            short=tr(
                "the Huber threshold is far below the noise: {main} intervals",
                main=method_in_words(a.spread.main),
            ),
            message=message,
        )
    if a.optimum.name == "asymmetric":
        message = tr(
            "over-prediction costs ten times as much: this is the lower edge of the runs, not their expected "
            "loss"
        )
        yield warning(
            code="asymmetric",
            short=tr("this is the lower edge of the runs, not their expected loss"),
            message=message,
        )
    for name, estimate in a.estimates[a.spread.main].items():
        interval = estimate.interval
        if interval is None:
            continue
        whole = name == "params_exponent" and (interval.low <= 0 or interval.high >= 1)
        if whole or not interval.bounded:
            side = tr("above") if interval.low > 0 else tr("on either side")
            message = tr(
                "the runs do not bound {name} {side}: its interval is infinite. {to_add}",
                name=name,
                side=side,
                to_add=_to_add(),
            )
            yield warning(
                code="unbounded-interval",
                short=tr("the runs do not bound {name} {side}", name=name, side=side),
                message=message,
            )
    for refits in (a.spread.jackknife, a.spread.bootstrap):
        if refits is not None and refits.unconverged_fraction > 0.01:
            message = tr(
                "{unconverged_fraction:.0f} % of the refits of the {kind} did not settle",
                unconverged_fraction=100 * refits.unconverged_fraction,
                kind=method_in_words(refits.kind),
            )
            yield warning(code="unconverged-refits", message=message)


def _to_add() -> str:
    return tr("Add runs at smaller and larger n_params and n_tokens")


def _half_width(a: Analysis) -> float:
    """Of the profile interval of the exponent: what the noise alone allows."""
    if a.spread is None:
        return math.inf
    estimates = a.estimates.get("profile", a.estimates[a.spread.main])
    if "params_exponent" in estimates:
        found = estimates["params_exponent"].interval
        return found.half_width if found else math.inf
    exponent = a.optimum.data.exponent()
    return math.inf if exponent is None else _half_of(a.spread.estimates([exponent], "profile")[0])


def _half_of(estimate: Estimate) -> float:
    return estimate.interval.half_width if estimate.interval else math.inf
