"""What `scaling fit` prints: the answer first, then how sure it is, then what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.estimate_text import ends, error_text, interval_text, power, rounded, span
from scaling.cli.fit_checks_text import print_checks
from scaling.cli.output import heading, paragraph, print_fields, print_table, styled, wrap
from scaling.errors import ScalingError
from scaling.translation import counted
from scaling.units import format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    from scaling.cli.tables import Table
    from scaling.findings import Finding
    from scaling.fitting.comparison import LawComparison
    from scaling.fitting.envelope.fit import EnvelopeFit
    from scaling.fitting.extrapolation import Extrapolation
    from scaling.fitting.generic.result import LawFit
    from scaling.fitting.isoflop.result import IsoflopFit
    from scaling.fitting.parametric.diagnostics import FTest, ResidualSummary
    from scaling.fitting.parametric.result import ParametricFit
    from scaling.fitting.results import Objective
    from scaling.runs import Runs

BEYOND = (1.0, 10.0, 100.0)  # times the largest budget of the runs: where the law is asked
SHOWN_FINDINGS = 12
OWN_COUNT = 0.005  # C / 6ND further than this from 1 is another count, not rounding
NOISE_FREE = 1e-10  # of the loss: residuals below are rounding, and leave no error to print digits by
FEW_RUNS = 36  # below, a test that passes says little
_OBJECTIVES = {
    "huber": "Huber on log loss",
    "hoffmann": "Huber 1e-3 (Hoffmann)",
    "log_least_squares": "least squares of log loss",
    "least_squares": "least squares of loss",
    "asymmetric": "asymmetric, over-prediction x10",
}


@dataclass(frozen=True, kw_only=True)
class Following:
    """What the next commands are made of."""

    law_file: Path | None  # where the fit was written
    fit_again: str  # the command that made this fit
    reading: str  # its table and how that is read
    fit_without_floor: str | None = None  # where the floor ended at zero


def print_fit(
    result: Any,
    table: Table,
    findings: Sequence[Finding],
    held_out: Extrapolation | None,
    compared: LawComparison | None,
    following: Following,
) -> None:
    """Print a fit of any method: the law, what to doubt, then everything else."""
    runs = table.runs
    printers: dict[str, tuple[Any, Any]] = {
        "parametric": (_parametric_law, _parametric),
        "isoflop": (_isoflop_law, _isoflop),
        "envelope": (_envelope_law, _envelope),
        "law": (_generic_law, _generic),
    }
    lead, body = printers[result.to_dict()["method"]]
    lead(result, runs)
    _warnings(findings)
    body(result, runs)
    print_checks(held_out, compared)
    _data(result, runs, table.left_out)
    print_findings(findings)
    _next(result, following)


def _warnings(findings: Sequence[Finding]) -> None:
    """One line right under the law: nobody should have to scroll to learn that it is in doubt."""
    codes = list(dict.fromkeys(f.code for f in findings if f.severity in ("error", "warning")))
    n = sum(f.severity in ("error", "warning") for f in findings)
    if codes:
        lead = f"{counted(n, 'warning')}: "
        text = wrap(f"{', '.join(codes)} (the text stands under findings)", " " * len(lead), lead)
        click.echo(styled(lead, fg="yellow", bold=True) + text.removeprefix(lead))


def _parametric_law(fit: ParametricFit, runs: Runs) -> None:
    exact = fit.residuals.robust_scale < NOISE_FREE
    c = {
        name: f"{fit.fixed[name]:g}" if name in fit.fixed else rounded(e, exact)
        for name, e in fit.estimates.items()
    }
    click.echo(
        f"L(N, D) = {c['E']} + {c['A']} / N^{c['alpha']} + {c['B']} / D^{c['beta']}   from {counted(len(runs), 'run')}"
    )
    a, b = fit.params_exponent, fit.tokens_exponent
    click.echo(f"N* grows as C^{rounded(a, exact)}{ends(a)}, D* as C^{rounded(b, exact)}{ends(b)}")


def _parametric(fit: ParametricFit, runs: Runs) -> None:
    a = fit.params_exponent
    if fit.spread is not None:
        heading("compute-optimal, where the runs end and beyond")
        _optimum_table(fit, _largest_budget(fit))
    heading("coefficients")
    rows = _coefficient_rows(fit)
    exact = fit.residuals.robust_scale < NOISE_FREE
    rows += [("a of N*", rounded(a, exact), error_text(a), interval_text(a.interval, a.value))]
    # the bootstrap's errors stand beside the main method's intervals
    whose = "bootstrap error" if fit.standard_errors_method == "bootstrap" else "std. error"
    print_table(["", "value", whose, f"{100 * fit.level:g} % interval"], rows)
    heading("how sure")
    print_fields(_certainty(fit))
    if fit.alternatives:
        heading("the exponent a under other objectives (who fits how changes the answer)")
        print_table(
            ["objective", "a", "E", "alpha", "beta"],
            [
                (_objective_name(alt.objective), f"{alt.params_exponent:.3f}",
                 *(f"{alt.coefficients[n]:.4f}" for n in ("E", "alpha", "beta")))
                for alt in fit.alternatives
            ],
        )  # fmt: skip


def _certainty(fit: ParametricFit) -> list[tuple[str, str]]:
    fields = [("interval", f"{fit.method}; {fit.statement}" if fit.statement else fit.method)]
    for method, estimates in fit.beside.items():
        if e := estimates.get("params_exponent"):
            named = e.interval.method if e.interval else method
            fields.append(("beside", f"{named}: a {interval_text(e.interval, e.value)}"))
    cert = fit.certificate
    state = "certified minimum" if cert.converged else "NOT CONVERGED"
    agree = f"{cert.n_agreeing} of {cert.n_starts} starts agree, condition {cert.condition:.2g}"
    fields.append(_objective_field(fit.objective, f"{state}, {agree}"))
    fields.append(_residual_field(fit.residuals))
    tests = [("lack of fit", fit.lack_of_fit), ("differences between budgets", fit.budget_effects)]
    return fields + _test_field(fit.n_runs, tests)


def _objective_field(objective: Objective, certificate: str) -> tuple[str, str]:
    return "objective", f"{_objective_name(objective)}: {objective.value:.8g}; {certificate}"


def _residual_field(residuals: ResidualSummary) -> tuple[str, str]:
    spread = f"{format_percent(residuals.robust_scale)} of the loss (robust), largest "
    spread += format_percent(abs(residuals.largest))
    if pure := residuals.pure_error:
        repeated = counted(pure.n_cells, "cell")
        spread += f"; between repeats of {repeated} {format_percent(pure.standard_deviation)}"
    return "residuals", spread


def _test_field(n_runs: int, tests: Sequence[tuple[str, FTest | None]]) -> list[tuple[str, str]]:
    found = [f"{name} p {_p(test.p_value)}" for name, test in tests if test is not None]
    few = " (few runs: a large p proves little)" if n_runs < FEW_RUNS else ""
    return [("tests", "; ".join(found) + few)] if found else []


def _optimum_table(fit: Any, largest: float) -> None:
    rows = []
    for factor in BEYOND:
        flops = float(f"{largest * factor:.2g}")
        n, d, loss = (fit.estimate(q, flops=flops) for q in ("n_params", "n_tokens", "loss"))
        rows.append(
            (format_flops(flops), format_params(n.value), span(n.interval, format_params), format_tokens(d.value),
             span(d.interval, format_tokens), rounded(loss), interval_text(loss.interval, loss.value))
        )  # fmt: skip
    percent = f"{100 * fit.level:g} %"
    print_table(["FLOPs (6ND)", "N*", percent, "D*", percent, "loss", percent], rows)


def _isoflop_law(fit: IsoflopFit, runs: Runs) -> None:
    a, b = fit.params_exponent, fit.tokens_exponent
    valleys = f"{counted(len(fit.used), 'valley')} of {counted(len(runs), 'run')}"
    click.echo(f"N* = {power(fit.params_coefficient, a)}{ends(a)}, from {valleys}")
    click.echo(f"D* = {power(fit.tokens_coefficient, b)}{ends(b)}")


def _isoflop(fit: IsoflopFit, runs: Runs) -> None:
    heading(f"valleys ({fit.valley}), minima with {100 * fit.level:g} % intervals")
    rows = []
    for budget in fit.budgets:
        n, d, loss = budget.n_params, budget.n_tokens, budget.loss
        if n is None or d is None or loss is None:
            rows.append((format_flops(budget.flops), str(budget.n_runs), "refused", "", "", "", "", ""))
            continue
        rows.append(
            (format_flops(budget.flops), str(budget.n_runs), format_params(n.value), span(n.interval, format_params),
             format_tokens(d.value), span(d.interval, format_tokens), rounded(loss),
             interval_text(loss.interval, loss.value))
        )  # fmt: skip
    print_table(["FLOPs", "runs", "N*", "interval", "D*", "interval", "loss", "interval"], rows)
    for budget in fit.refused:
        assert budget.refused is not None
        click.echo(wrap(f"{format_flops(budget.flops)}: {budget.refused.reason}", "    ", "  ! "))
    if fit.bias is not None:
        heading("how sure")
        print_fields([("bias", fit.bias.statement)])


def _envelope_law(fit: EnvelopeFit, runs: Runs) -> None:
    a, b = fit.params_exponent, fit.tokens_exponent
    n_curves = len(set(runs.run_id))
    click.echo(
        f"N* = {power(fit.params_coefficient, a)}{ends(a)}, from the envelope of {n_curves} training curves"
    )
    click.echo(f"D* = {power(fit.tokens_coefficient, b)}{ends(b)}")


def _envelope(fit: EnvelopeFit, runs: Runs) -> None:
    heading("how sure")
    first, last = (format_flops(float(f)) for f in (fit.crossing_flops.min(), fit.crossing_flops.max()))
    places = f"{len(fit.crossing_flops)} places where one size takes over from the next"
    staircase = (
        f"a = {fit.staircase_params_exponent:.3f} by a line through the whole envelope, as Hoffmann et al."
    )
    print_fields([("through", f"{places}, {first} to {last} FLOPs"), ("staircase", staircase)])


def _generic_law(fit: Any, runs: Runs) -> None:
    paragraph(f"{fit.law.family.formula}, from {counted(len(runs), 'run')}")


def _generic(fit: LawFit, runs: Runs) -> None:
    if fit.has_optimum and "loss" in fit.law.family.outputs:
        heading("compute-optimal, where the runs end and beyond")
        _optimum_table(fit, _largest_budget(fit))
    heading("coefficients")
    print_table(["", "value", "std. error", f"{100 * fit.level:g} % interval"], _coefficient_rows(fit))
    heading("how sure")
    state = "stationary" if fit.converged else "NOT CONVERGED"
    if fit.converged and fit.at_bound:
        state = f"certified minimum, {', '.join(fit.at_bound)} on its bound"
    certificate = f"{state}, {fit.n_agreeing} of {fit.n_starts} starts agree, condition {fit.condition:.2g}"
    fields = [("interval", f"classical t; {fit.statement}"), _objective_field(fit.objective, certificate)]
    fields += [_residual_field(fit.residuals), *_test_field(fit.n_runs, [("lack of fit", fit.lack_of_fit)])]
    print_fields(fields)


def _data(result: Any, runs: Runs, left_out: Sequence[str]) -> None:
    """Where the runs are from, and of N, D and C what the law reads: over which range, counted how."""
    from scaling.runs.checks import quantities_read

    heading("runs")
    c = runs.convention
    of_a_law = result.to_dict()["method"] == "law"
    reads = quantities_read(runs, [i.name for i in result.law.family.inputs] if of_a_law else None)
    shown = {"n_params": ("N", format_params), "n_tokens": ("D", format_tokens), "flops": ("C", format_flops)}
    ranges = [
        f"{letter} {_extent(getattr(runs, k), form)}" for k, (letter, form) in shown.items() if k in reads
    ]
    counts = {
        "total": "total parameters",
        "non_embedding": "non-embedding parameters",
        "active": "active parameters",
    }.get(c.params, "parameters of unknown count (say --params-convention)")
    counts += " (by its name alone)" if c.params_assumed else ""
    how = [f"N counts {counts}"] if "n_params" in reads else []
    how += [_flops_counted(runs)] if "flops" in reads else []
    fields = [
        ("from", runs.source),
        ("range", ", ".join(ranges)),
        ("counting", "; ".join([*how, f"loss in {c.loss_unit}"])),
    ]
    if left_out:
        names = ", ".join(left_out[:6]) + (" ..." if len(left_out) > 6 else "")
        fields.append(("left out", f"{counted(len(left_out), 'run')}: {names}"))
    print_fields(fields)


def _flops_counted(runs: Runs) -> str:
    how = {
        "unknown": "C is the table's own count (say --flops-convention)",
        "source": "C is as its source counts",
        "exact": "C is exact",
    }.get(runs.convention.flops, f"C is {runs.convention.flops}")
    if runs.absent:
        return how
    ratio = runs.flops / runs.n_params
    ratio /= 6 * runs.n_tokens
    if ratio.max() < 1 + OWN_COUNT and ratio.min() > 1 - OWN_COUNT:
        return how
    low, high = (f"{v:.3g}" for v in (ratio.min(), ratio.max()))
    return f"{how}, {low if low == high else f'{low} to {high}'} times 6ND"


def print_findings(findings: Iterable[Finding]) -> None:
    """Errors and warnings first, each with its source."""
    order = {"error": 0, "warning": 1, "note": 2}
    ranked = sorted(findings, key=lambda f: order.get(f.severity, 3))
    if not ranked:
        return
    heading("findings")
    for finding in ranked[:SHOWN_FINDINGS]:
        mark = {"error": "!!", "warning": " !"}.get(finding.severity, "  ")
        source = f" [{finding.source}]" if finding.source else ""
        click.echo(wrap(f"{finding.code}: {finding.message}{source}", "       ", f"  {mark} - "))
    if len(ranked) > SHOWN_FINDINGS:
        paragraph(f"and {len(ranked) - SHOWN_FINDINGS} more: --json has all of them", "       ")


def _largest_budget(fit: Any) -> float:
    """Of the runs, as budgets of the law count: 6ND, whatever the table counts."""
    return float(fit.law.provenance.fitted_range["flops"][1])


def _next(result: Any, following: Following) -> None:
    """The same fit written to a file, and what that is good for: commands to copy, so they are not wrapped."""
    click.echo()
    law_file = "fit.json" if following.law_file is None else shlex.quote(str(following.law_file))
    if following.fit_without_floor:
        use = following.fit_without_floor
    elif getattr(result, "has_optimum", True) and _can_plan(result, flops := 10 * _largest_budget(result)):
        use = f"scaling plan --flops {_plainly(flops)} --law {law_file}"
    else:  # a law of one quantity splits no budget, but says what loss other runs reach
        use = f"scaling predict {law_file} {following.reading}"
    written = following.law_file is not None or following.fit_without_floor
    click.echo(f"next  {use}" if written else f"next  {following.fit_again} -o fit.json && {use}")


def _can_plan(result: Any, flops: float) -> bool:
    """Whether the law splits a budget into a model: one with an exponent at its bound asks for 1e47 parameters."""
    from scaling.planning import Budget, plan_training

    try:
        plan_training(Budget(flops=float(_plainly(flops))), law=result.law)
    except ScalingError:
        return False
    return True


def _plainly(flops: float) -> str:
    return format_flops(float(f"{flops:.1g}"))


# --- small pieces ---


def _coefficient_rows(fit: ParametricFit | LawFit) -> list[tuple[str, ...]]:
    """Name, value, error and interval of each coefficient; of one that was held its value as given."""
    exact = fit.residuals.robust_scale < NOISE_FREE
    return [
        (n, f"{fit.fixed[n]:g}", "-", "held")
        if n in fit.fixed
        else (n, rounded(e, exact), error_text(e), interval_text(e.interval, e.value))
        for n, e in fit.estimates.items()
    ]


def _objective_name(objective: Objective) -> str:
    delta = "" if objective.delta is None else f", delta {objective.delta:.2g}"
    return _OBJECTIVES.get(objective.name, objective.name) + delta


def _p(value: float) -> str:
    return "< 1e-16" if value < 1e-16 else f"= {value:.2g}"


def _extent(values: Any, formatter: Any) -> str:
    return f"{formatter(float(values.min()))} to {formatter(float(values.max()))}"
