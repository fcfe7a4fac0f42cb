"""What a fit says, as blocks: the law, what to doubt, how sure it is; its numbers with the digits their errors leave.

Every result describes itself by `lead` and `body`, built of the pieces here. `FitFace` puts them together for any of
them; `summarise_fit` adds what only the reader of a table knows: the runs, checks on them, how to go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scaling.blocks import (
    Blocks,
    Code,
    Fields,
    Figure,
    Heading,
    Record,
    Shown,
    Table,
    Text,
    finding_callouts,
)
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, LawError
from scaling.findings import Finding, gravest_first
from scaling.fitting.results import Estimate, Fit, Interval, Objective
from scaling.runs.checks import quantities_read
from scaling.translation import counted, tr
from scaling.units import (
    digits_by_error,
    format_flops,
    format_params,
    format_percent,
    format_tokens,
    round_by_error,
)

if TYPE_CHECKING:
    from scaling.fitting.parametric.diagnostics import FTest, ResidualSummary
    from scaling.runs import Runs

BEYOND = (1.0, 10.0, 100.0)  # times the largest budget of the runs: where the law is asked
N_DRAWN = 40  # budgets of a figure, from the least of the runs to a hundred times the largest
SHOWN_FINDINGS = 12
NAMED = 6  # runs left out
OWN_COUNT = 0.005  # C / 6ND further than this from 1 is another count, not rounding
NOISE_FREE = 1e-10  # of the loss: residuals below are rounding, and leave no error to print digits by
FEW_RUNS = 36  # below, a test that passes says little


class FitFace(Shown):
    """What every fit shows in the same way: `Fit` says what it needs of the result it is mixed into."""

    @property
    def has_optimum(self: Fit) -> bool:
        """Whether a budget alone gives a compute-optimal split."""
        try:
            self.law.allocate(1e20)
        except (LawError, TypeError, KeyError):  # no interior optimum; inputs beside N and D
            return False
        return True

    @property
    def measured_optima(self) -> tuple[tuple[float, float], ...]:
        """(flops, n_params) of what the law's lines go through, C = 6 N D; () where no optimum was measured."""
        return ()

    def summary(self: Fit) -> Blocks:
        """What the fit says by itself, answer first."""
        figure = compute_optimal_figure(self)
        drawn = (figure,) if figure else ()
        return (*self.lead(), *_doubts(self.findings), *self.body(), *drawn, *_findings(self.findings))

    def brief(self: Fit) -> Blocks:
        """The law and how sure it is; the figure of a summary asks for forty intervals."""
        return (*self.lead(), *_doubts(self.findings), *self.body())

    def records(self: Fit) -> list[Record]:
        """A row a coefficient and exponent: quantity, value, standard_error, low, high, level."""
        exponents = {"params_exponent": self.params_exponent, "tokens_exponent": self.tokens_exponent}
        known = {name: e for name, e in {**self.estimates, **exponents}.items() if e is not None}
        return [{"quantity": name, **e.record(), "level": self.level} for name, e in known.items()]


def summarise_fit(
    fit: Fit,
    *,
    runs: Runs | None = None,
    left_out: Sequence[str] = (),
    findings: Sequence[Finding] | None = None,
    held_out: Shown | None = None,
    compared: Shown | None = None,
    next_command: str = "",
    figures: bool = True,
) -> Blocks:
    """What `scaling fit` shows.

    Args:
        runs: the table that was fitted; left_out: ids of its runs that were not.
        findings: of the fit and of its table; those of the fit unless given.
        held_out, compared: an `Extrapolation` and a `LawComparison` of the same runs.
        next_command: what to do with the fit.
        figures: also what to draw, which a terminal does not show and some laws take a second for.
    """
    doubts = fit.findings if findings is None else findings
    figure = compute_optimal_figure(fit) if figures else None
    return (
        *fit.lead(),
        *_doubts(doubts),
        *fit.body(),
        *((figure,) if figure else ()),
        *(held_out.summary() if held_out else ()),
        *(compared.summary() if compared else ()),
        *(_about_runs(fit, runs, left_out) if runs is not None else ()),
        *_findings(doubts, SHOWN_FINDINGS),
        *((Text(""), Code(next_command, tr("next"), indent=2, one_line=True)) if next_command else ()),
    )


def compute_optimal_figure(fit: Fit) -> Figure | None:
    """N* over budgets as data; None where the law has no compute-optimal power of C, or says not where it was fitted.

    Without intervals it has no n_params_low and n_params_high; an end that the runs leave open is 0 or infinite.
    """
    known = fit.law.provenance.fitted_range.get("flops") if fit.law.provenance else None
    if fit.params_exponent is None or known is None or not fit.has_optimum:
        return None
    budgets = [float(c) for c in np.geomspace(known[0], BEYOND[-1] * known[1], N_DRAWN)]
    data: dict[str, list[float]] = {"flops": budgets}
    try:
        found = [fit.estimate("n_params", flops=c) for c in budgets]
    except FitError:  # no intervals: noise-free runs
        found = [Estimate(value=fit.law.allocate(c).n_params) for c in budgets]
    data["n_params"] = [e.value for e in found]
    data["fitted_flops"], data["level"] = list(known), [fit.level]
    intervals = [e.interval for e in found if e.interval]
    if len(intervals) == len(found):
        data["n_params_low"] = [max(i.low, 0.0) for i in intervals]
        data["n_params_high"] = [i.high for i in intervals]
    if fit.measured_optima:
        data["point_flops"], data["point_n_params"] = map(list, zip(*fit.measured_optima, strict=True))
    alt = tr(
        "Compute-optimal parameters N* over training FLOPs from {low} to {high}: N* grows as C^{exponent:.3f}.",
        low=format_flops(budgets[0]),
        high=format_flops(budgets[-1]),
        exponent=fit.params_exponent.value,
    )
    return Figure(
        "compute-optimal", data, alt, tr("The compute-optimal model size, {how}.", how=percent(fit))
    )


# --- sections ---


def _doubts(findings: Sequence[Finding]) -> Blocks:
    """One line right under the law: nobody should have to scroll to learn that it is in doubt."""
    grave = [f.code for f in findings if f.severity != "note"]
    codes = ", ".join(dict.fromkeys(grave))
    said = tr(
        "{warnings}: {codes} (the text stands under findings)",
        warnings=counted(len(grave), "warning"),
        codes=codes,
    )
    return (Text(said, "warning"),) if grave else ()


def _findings(findings: Iterable[Finding], most: int | None = None) -> Blocks:
    """Errors and warnings first, each with its source."""
    ranked = gravest_first(findings)
    shown = ranked[:most]
    hidden = len(ranked) - len(shown)
    more = Text(tr("and {n} more: --json has all of them", n=hidden), indent=7)
    lead = (Heading(tr("findings")),) if ranked else ()
    return (*lead, *finding_callouts(shown), *((more,) if hidden else ()))


def refusals(refused: Iterable[tuple[str, str]]) -> Blocks:
    """What has no number, each with its reason."""
    return tuple(Text(f"! {name}: {reason}", indent=2) for name, reason in refused)


def optimum_table(fit: Fit) -> Blocks:
    """N*, D* and loss where the runs end and beyond."""
    rows = []
    for factor in BEYOND:
        flops = float(f"{largest_budget(fit) * factor:.2g}")
        n, d, loss = (fit.estimate(q, flops=flops) for q in ("n_params", "n_tokens", "loss"))
        rows.append((format_flops(flops), *optimum_cells(n, d, loss)))
    level = percent(fit)
    return (
        Heading(tr("compute-optimal, where the runs end and beyond")),
        Table(("FLOPs (6ND)", "N*", level, "D*", level, tr("loss"), level), rows),
    )


def optimum_cells(n_params: Estimate, n_tokens: Estimate, loss: Estimate) -> tuple[str, ...]:
    """N*, D* and the loss there, each with its interval."""
    return (
        format_params(n_params.value),
        span(n_params.interval, format_params),
        format_tokens(n_tokens.value),
        span(n_tokens.interval, format_tokens),
        rounded(loss),
        interval_text(loss.interval, loss.value),
    )


def coefficient_table(
    fit: Fit, *, exact: bool, errors: str = "", more: Sequence[tuple[str, Estimate]] = ()
) -> Blocks:
    """Value, error and interval of each coefficient; of one that was held its value as given. `errors`: whose."""
    rows = [
        (name, f"{fit.fixed[name]:g}", "-", tr("held"))
        if name in fit.fixed
        else (name, rounded(e, exact), error_text(e), interval_text(e.interval, e.value))
        for name, e in (*fit.estimates.items(), *more)
    ]
    headers = ("", tr("value"), errors or tr("std. error"), tr("{level} interval", level=percent(fit)))
    return Heading(tr("coefficients")), Table(headers, rows)


def certainty(
    fit: Fit,
    intervals: Sequence[tuple[str, str]],
    objective: Objective,
    certificate: str,
    residuals: ResidualSummary,
    tests: Sequence[tuple[str, FTest | None]],
) -> Blocks:
    """How sure: the intervals, the minimum and why it can be believed, the scatter, and tests of the form."""
    minimum = f"{objective_name(objective)}: {objective.value:.8g}; {certificate}"
    fields = [*intervals, (tr("objective"), minimum), (tr("residuals"), _scatter(residuals))]
    known = [f"{name} p {_p(test.p_value)}" for name, test in tests if test is not None]
    few = tr(" (few runs: a large p proves little)") if fit.n_runs < FEW_RUNS else ""
    fields += [(tr("tests"), "; ".join(known) + few)] if known else []
    return Heading(tr("how sure")), Fields(fields)


def _scatter(residuals: ResidualSummary) -> str:
    said = tr(
        "{robust} of the loss (robust), largest {largest}",
        robust=format_percent(residuals.robust_scale),
        largest=format_percent(abs(residuals.largest)),
    )
    pure = residuals.pure_error
    if pure is None:
        return said
    deviation = format_percent(pure.standard_deviation)
    return said + tr(
        "; between repeats of {cells} {deviation}", cells=counted(pure.n_cells, "cell"), deviation=deviation
    )


def objective_name(objective: Objective) -> str:
    delta = "" if objective.delta is None else f", delta {objective.delta:.2g}"
    named = {
        "huber": tr("Huber on log loss"),
        "hoffmann": tr("Huber 1e-3 (Hoffmann)"),
        "log_least_squares": tr("least squares of log loss"),
        "least_squares": tr("least squares of loss"),
        "asymmetric": tr("asymmetric, over-prediction x10"),
    }
    return named.get(objective.name, objective.name) + delta


def largest_budget(fit: Fit) -> float:
    """Of the runs, as budgets of the law count: 6ND, whatever the table counts."""
    assert fit.law.provenance is not None  # every fit says where its law is from
    return fit.law.provenance.fitted_range["flops"][1]


def percent(fit: Fit) -> str:
    """The level of the intervals."""
    return f"{100 * fit.level:g} %"


def _about_runs(fit: Fit, runs: Runs, left_out: Sequence[str]) -> Blocks:
    """Where the runs are from, and of N, D and C what the law reads: over which range, counted how."""
    reads = quantities_read(runs, [i.name for i in fit.law.family.inputs] if fit.method == "law" else None)
    shown = {"n_params": ("N", format_params), "n_tokens": ("D", format_tokens), "flops": ("C", format_flops)}
    ranges = [
        f"{letter} {form(float(getattr(runs, k).min()))} to {form(float(getattr(runs, k).max()))}"
        for k, (letter, form) in shown.items()
        if k in reads
    ]
    how = [_params_counted(runs)] if "n_params" in reads else []
    how += [_flops_counted(runs)] if "flops" in reads else []
    fields = [
        (tr("from"), runs.source),
        (tr("range"), ", ".join(ranges)),
        (tr("counting"), "; ".join([*how, tr("loss in {unit}", unit=runs.convention.loss_unit)])),
    ]
    if left_out:
        names = ", ".join(left_out[:NAMED]) + (" ..." if len(left_out) > NAMED else "")
        fields.append((tr("left out"), f"{counted(len(left_out), 'run')}: {names}"))
    return Heading(tr("runs")), Fields(fields)


def _params_counted(runs: Runs) -> str:
    counts = {
        "total": tr("total parameters"),
        "non_embedding": tr("non-embedding parameters"),
        "active": tr("active parameters"),
    }.get(runs.convention.params, tr("parameters of unknown count (say --params-convention)"))
    by_name = tr(" (by its name alone)") if runs.convention.params_assumed else ""
    return tr("N counts {what}", what=counts) + by_name


def _flops_counted(runs: Runs) -> str:
    how = {
        "unknown": tr("C is the table's own count (say --flops-convention)"),
        "source": tr("C is as its source counts"),
        "exact": tr("C is exact"),
    }.get(runs.convention.flops, tr("C is {count}", count=runs.convention.flops))
    if runs.absent:
        return how
    ratio = runs.flops / runs.n_params
    ratio /= FLOPS_PER_PARAM_TOKEN * runs.n_tokens
    if ratio.max() < 1 + OWN_COUNT and ratio.min() > 1 - OWN_COUNT:
        return how
    low, high = (f"{v:.3g}" for v in (ratio.min(), ratio.max()))
    times = low if low == high else tr("{low} to {high}", low=low, high=high)
    return tr("{how}, {times} times 6ND", how=how, times=times)


# --- numbers: digits by their error, intervals whose ends may be open ---


def rounded(estimate: Estimate, exact: bool = False) -> str:
    """A value with the digits its error leaves; `exact`: the runs have no noise, and what has no error is exact."""
    return _by_error(estimate.value, _error_of(estimate, exact))


def _error_of(estimate: Estimate, exact: bool) -> float:
    """The error that sets the digits: the standard error, else a quarter of the interval, else none or 0.1 %."""
    if estimate.standard_error is not None:
        return estimate.standard_error
    if estimate.interval is not None and estimate.interval.bounded:
        return estimate.interval.half_width / 2
    return 0.0 if exact else abs(estimate.value) * 1e-3


def _by_error(value: float, error: float) -> str:
    text = round_by_error(value, error)
    if float(text) == 0 != value:  # far below its own error: two digits of the value itself
        return f"{value:.2g}" if 1e-4 < abs(value) < 1e5 else format_flops(value, 2)
    longest = 7 if abs(value) >= 1e6 else 9
    if len(text) <= longest:
        return text
    mantissa, exponent = f"{value:.{digits_by_error(value, error) - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def error_text(estimate: Estimate) -> str:
    if estimate.standard_error is None:
        return "-"
    return _by_error(estimate.standard_error, estimate.standard_error)


def interval_text(interval: Interval | None, value: float) -> str:
    if interval is None:
        return tr("none")
    error = interval.half_width / 2 if interval.bounded else abs(value) * 0.05
    return span(interval, lambda x: _by_error(x, error))


def span(interval: Interval | None, formatter: Callable[[float], str]) -> str:
    if interval is None:
        return tr("none")
    low_open, high_open = interval.low <= 0, math.isinf(interval.high)
    if low_open and high_open:
        return tr("unbounded")
    if low_open:
        return tr("up to {high}", high=formatter(interval.high))
    if high_open:
        return tr("over {low}", low=formatter(interval.low))
    return tr("{low} to {high}", low=formatter(interval.low), high=formatter(interval.high))


def ends(estimate: Estimate) -> str:
    """The interval behind a value: " (95 %: 0.48 to 0.52)"."""
    if estimate.interval is None:
        return ""
    return f" ({100 * estimate.interval.level:g} %: {interval_text(estimate.interval, estimate.value)})"


def power(coefficient: Estimate, exponent: Estimate) -> str:
    """k C^a with four digits each: enough to recompute a plan within 1 %."""
    return f"{coefficient.value:.4g} C^{exponent.value:.4f}"


def signed_percent(value: float | None, sign: str = "+") -> str:
    """A fraction in percent with two decimals; nothing where there is none."""
    return "" if value is None else f"{100 * value:{sign}.2f} %"


def _p(value: float) -> str:
    return "< 1e-16" if value < 1e-16 else f"= {value:.2g}"
