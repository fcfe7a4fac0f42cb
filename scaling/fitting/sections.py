"""What lies behind a fit, as blocks: tables of its coefficients and optima, how sure they are, how the runs scatter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from scaling.blocks import Blocks, Fields, Heading, Table, Text
from scaling.fitting.digits import error_text, interval_text, p_text, rounded, span
from scaling.fitting.results import Estimate, Fit, Objective
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    from scaling.fitting.surface.diagnostics import FTest, ResidualSummary

BEYOND = (1.0, 10.0, 100.0)  # times the largest budget of the runs: where the law is asked
NOISE_FREE = 1e-10  # of the loss: residuals below are rounding, and leave no error to print digits by
FEW_RUNS = 36  # below, a test that passes says little


def refusals(refused: Iterable[tuple[str, str]]) -> Blocks:
    """What has no number, each with its reason."""
    return tuple(Text(f"! {name}: {reason}", indent=2) for name, reason in refused)


def optimum_header() -> str:
    """The first header of `optimum_table`, by which a report knows it."""
    return tr("FLOPs (6ND)")


def optimum_table(fit: Fit) -> Blocks:
    """N*, D* and loss where the runs end and beyond, with every digit that their errors leave."""
    rows = []
    for factor in BEYOND:
        flops = float(f"{largest_budget(fit) * factor:.2g}")
        n, d, loss = (fit.estimate(q, flops=flops) for q in ("n_params", "n_tokens", "loss"))
        rows.append((format_flops(flops), *optimum_cells(n, d, loss)))
    level = percent(fit)
    return (
        Heading(tr("compute-optimal, where the runs end and beyond")),
        Table((optimum_header(), "N*", level, "D*", level, tr("loss"), level), rows),
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


def certainty(intervals: Sequence[tuple[str, str]], objective: Objective, certificate: str) -> Blocks:
    """How the intervals were made, the minimum and why it can be believed."""
    minimum = f"{objective_name(objective)}: {objective.value:.8g}; {certificate}"
    return Heading(tr("how sure")), Fields([*intervals, (tr("objective"), minimum)])


def scatter_and_tests(
    fit: Fit, residuals: ResidualSummary, tests: Sequence[tuple[str, FTest | None]]
) -> Fields:
    """How far the runs lie off the law, and tests of its form."""
    known = [f"{name} {p_text(test.p_value)}" for name, test in tests if test is not None]
    few = tr(" (few runs: a large p proves little)") if fit.n_runs < FEW_RUNS else ""
    rows = [(tr("residuals"), _scatter(residuals))]
    return Fields([*rows, *([(tr("tests"), "; ".join(known) + few)] if known else [])])


def fits_the_runs(residuals: ResidualSummary, test: FTest | None) -> str:
    """For a first screen: how far the runs lie off the law, and whether they reject its form."""
    from scaling.fitting.surface.diagnostics import LAW_REJECTED, rejected

    scatter = format_percent(residuals.robust_scale)
    if test is None:
        return tr("runs scatter {scatter} about it", scatter=scatter)
    if rejected(test):
        return tr(
            "runs scatter {scatter} about it and reject its form at {level} ({p})",
            scatter=scatter,
            level=format_percent(LAW_REJECTED),
            p=p_text(test.p_value),
        )
    return tr(
        "runs scatter {scatter} about it, no misfit found at {level} ({p})",
        scatter=scatter,
        level=format_percent(LAW_REJECTED),
        p=p_text(test.p_value),
    )


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
