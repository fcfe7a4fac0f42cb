"""The sections of a report, each from its part of the evidence. One that has nothing to tell says why (`LeftOut`)."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from scaling.blocks import Blocks, Callout, Fields, Heading, Table, Text, finding_callouts
from scaling.errors import ScalingError, UsageError
from scaling.findings import gravest_first
from scaling.fitting.digits import ends, interval_text, rounded
from scaling.fitting.results import Estimate, Fit
from scaling.fitting.sections import optimum_header
from scaling.laws.methods import method_in_words
from scaling.planning.uncertainty import thinned_rows
from scaling.report.answer import (
    approach_name,
    cells,
    estimates_of,
    has_runaway_optimum,
    is_decided,
    optimum_at,
    optimum_is_a_model,
    quantity_names,
    ratio_text,
)
from scaling.report.evidence import Evidence
from scaling.report.told import captioned, opened, sections_of, told
from scaling.runs import Runs, assign_budgets
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

MOST_BUDGETS = 16  # rows of a table of budgets; a table of runs that are in no budgets has no rows of them
MOST_NAMED = 20  # runs left out
MOST_ROWS = 400  # of the run table: 100 kB of HTML
LONGEST_ID = 48  # letters of a run's name in a table; its ends tell runs of a sweep apart
MOST_DRAWS = 1000  # for the correlations
BEYOND = (1.0, 10.0, 100.0)  # times the largest compute of the runs


class LeftOut(Exception):
    """This section has nothing to tell; the message is the reason, for the reader."""


def data(e: Evidence) -> Blocks:
    """Runs, ranges, conventions, budgets, and what was left out."""
    runs = e.runs
    if runs is None:
        raise LeftOut(e.missing.get("isoflop", ""))
    rows = [
        (tr("from"), runs.source),
        (tr("runs"), f"{len(runs):,}"),
        *_ranges(runs),
        (
            tr("counting"),
            tr(
                "N: {params}; C: {flops}; loss: {loss}",
                params=_words(runs.convention.params),
                flops=_words(runs.convention.flops),
                loss=runs.convention.loss_unit,
            ),
        ),
        (tr("left out"), _left_out(e)),
    ]
    return (*e.told, Fields(rows), *_budget_table(runs), *(Text(note, "faint") for note in runs.notes))


def _words(convention: str) -> str:
    return {
        "total": tr("total parameters"),
        "non_embedding": tr("non-embedding parameters"),
        "active": tr("active parameters"),
        "unknown": tr("not stated"),
        "source": tr("as its source counts"),
        "exact": tr("exact"),
    }.get(convention, convention)


def _ranges(runs: Runs) -> Iterator[tuple[str, str]]:
    shown = {
        "n_params": (tr("parameters N"), format_params),
        "n_tokens": (tr("tokens D"), format_tokens),
        "flops": (tr("FLOPs C"), format_flops),
    }
    for name, (said, form) in shown.items():
        if name not in runs.absent:
            values = getattr(runs, name)
            yield (
                said,
                tr("{low} to {high}", low=form(float(values.min())), high=form(float(values.max()))),
            )
    if not {"n_params", "n_tokens"} & runs.absent:
        ratio = runs.n_tokens / runs.n_params
        low, middle, high = (ratio_text(float(v)) for v in np.quantile(ratio, (0.0, 0.5, 1.0)))
        yield (
            tr("tokens per parameter"),
            tr("{low} to {high}, median {middle}", low=low, high=high, middle=middle),
        )
    yield tr("loss"), tr("{low} to {high}", low=f"{runs.loss.min():.4g}", high=f"{runs.loss.max():.4g}")


def _left_out(e: Evidence) -> str:
    names = list(dict.fromkeys((*e.left_out, *(e.fit.excluded if e.fit is not None else ()))))
    if not names:
        return tr("none")
    more = tr(" and {n} more", n=len(names) - MOST_NAMED) if len(names) > MOST_NAMED else ""
    return f"{counted(len(names), 'run')}: {', '.join(names[:MOST_NAMED])}{more}"


def _budget_table(runs: Runs) -> Blocks:
    if runs.absent:
        return ()
    clusters = assign_budgets(runs)
    if not 1 <= len(clusters) <= MOST_BUDGETS:
        return (Text(tr("The runs are in no groups of equal compute."), "faint"),)
    rows = []
    for i, flops in enumerate(clusters.flops):
        members = clusters.members(i)
        n, ratio = runs.n_params[members], (runs.n_tokens / runs.n_params)[members]
        sizes = tr("{low} to {high}", low=format_params(float(n.min())), high=format_params(float(n.max())))
        rows.append(
            (
                format_flops(float(flops)),
                str(len(members)),
                sizes,
                tr("{low} to {high}", low=ratio_text(ratio.min()), high=ratio_text(ratio.max())),
                f"{runs.loss[members].min():.4g}",
            )
        )
    headers = (
        tr("budget (FLOPs)"),
        tr("runs"),
        tr("parameters"),
        tr("tokens per parameter"),
        tr("least loss"),
    )
    return (Table(headers, rows, caption=tr("The runs by their compute.")),)


def doubts(e: Evidence) -> Blocks:
    if not e.findings:
        if e.runs is None:
            raise LeftOut(tr("there are no runs to check, and the law file names no findings."))
        return (Text(tr("The checks found nothing to doubt.")),)
    return finding_callouts(e.findings)


def of_approach(name: str) -> Callable[[Evidence], Blocks]:
    """The section of one approach: what its summary says."""

    def section(e: Evidence) -> Blocks:
        fit = getattr(e, name)
        if fit is None:
            raise LeftOut(e.missing.get(name) or e.missing.get("fit", ""))
        notes = e.curves.notes if name == "envelope" and e.curves is not None else ()
        return (*_told_once(fit, e), *(Text(note, "faint") for note in notes))

    return section


def _told_once(fit: Fit, e: Evidence) -> Blocks:
    """A fit without what stands in a place of its own: its optimum where it answers, its other intervals."""
    blocks: Blocks = told(fit.summary())
    if fit is e.fit and optimum_is_a_model(e):
        blocks = tuple(
            b for b in captioned(blocks) if not (isinstance(b, Table) and b.headers[0] == optimum_header())
        )
    if getattr(fit, "beside", {}):
        blocks = tuple(_without_row(b, tr("beside")) if isinstance(b, Fields) else b for b in blocks)
    return blocks


def _without_row(fields: Fields, name: str) -> Fields:
    return fields._replace(rows=[row for row in fields.rows if row[0] != name])


def parametric(e: Evidence) -> Blocks:
    """The fitted law, with its intervals by each method; of a law without runs its coefficients."""
    if e.parametric is None and e.law is not None and e.runs is None:
        values = [(name, f"{value:.6g}") for name, value in e.law.coefficients.items()]
        return (Text(e.law.family.formula), Table((tr("coefficient"), tr("value")), values))
    blocks = of_approach("parametric")(e)
    assert e.parametric is not None
    if has_runaway_optimum(e):
        said = tr("At the target this law asks for no possible model: its exponents say nothing.")
        blocks = (Callout(said, "warning"), *blocks)
    return (*blocks, *_methods_table(e.parametric))


def _methods_table(fit: Fit) -> Blocks:
    """The same quantities by every interval method that the fit has."""
    beside: Mapping[str, Mapping[str, Estimate]] = getattr(fit, "beside", {})
    if not beside:
        return ()
    own = {**fit.estimates, "params_exponent": fit.params_exponent}
    headers = (
        tr("coefficient"),
        method_in_words(fit.interval_method),
        *(_method(name, known) for name, known in beside.items()),
    )
    rows = [
        (
            tr("a of N*") if name == "params_exponent" else name,
            interval_text(e.interval, e.value),
            *(
                interval_text(other[name].interval, e.value) if name in other else tr("none")
                for other in beside.values()
            ),
        )
        for name, e in own.items()
        if e is not None
    ]
    level = f"{100 * fit.level:g}"
    return (Table(headers, rows, caption=tr("The {level} % intervals by each method.", level=level)),)


def _method(name: str, known: Mapping[str, Estimate]) -> str:
    return method_in_words(next((e.interval.method for e in known.values() if e.interval), name))


def optimum(e: Evidence) -> Blocks:
    """N*, D* and loss where the runs end and beyond, and at the target."""
    if e.law is None:
        raise LeftOut(e.missing.get("fit", ""))
    if not optimum_is_a_model(e):
        raise LeftOut(e.missing.get("plan") or tr("this law splits no budget into parameters and tokens."))
    largest, budgets = e.largest_flops, set() if e.target_flops is None else {e.target_flops}
    budgets |= {float(f"{largest * factor:.2g}") for factor in BEYOND} if largest else set()
    rows = []
    for flops in sorted(budgets):
        known = optimum_at(e, flops)
        if known:
            named = format_flops(flops) + (tr(" (target)") if flops == e.target_flops else "")
            rows.append((named, *(c for name in quantity_names() for c in _cells(name, known))))
    if not rows:
        raise LeftOut(tr("this law splits no budget into parameters and tokens."))
    level = tr("interval")
    headers = (tr("FLOPs"), "N*", level, "D*", level, tr("loss"), level)
    return (Table(headers, rows, caption=tr("Compute-optimal, where the runs end and beyond.")),)


def _cells(name: str, known: Mapping[str, Estimate]) -> tuple[str, str]:
    return cells(name, known[name]) if name in known else ("", "")


def residuals(e: Evidence) -> Blocks:
    """How far the runs lie from the law, and which of them decide it."""
    if e.parametric is None:
        raise LeftOut(e.missing.get("parametric") or e.missing.get("fit", ""))
    blocks = opened(b for s in sections_of(e.parametric.summary(), "residuals") for b in s.blocks())
    if not blocks:
        raise LeftOut(tr("this fit has no residuals."))
    return blocks


def held_out(e: Evidence) -> Blocks:
    if e.held_out is None:
        raise LeftOut(e.missing.get("held_out", ""))
    return told(e.held_out.summary())


def coefficients(e: Evidence) -> Blocks:
    """How the coefficients move together, over the draws that the law carries."""
    law = e.parametric.law if e.parametric is not None else e.law
    draws = np.array(thinned_rows(law, MOST_DRAWS)) if law is not None else np.empty((0, 0))
    if law is None or len(draws) < 3:
        raise LeftOut(tr("the law carries no draws of its coefficients."))
    names = law.family.names
    moving = [i for i in range(len(names)) if np.ptp(draws[:, i]) > 0]
    values = np.stack([_in_logs(draws[:, i]) for i in moving])
    matrix = np.corrcoef(values)
    headers = ("", *(names[i] for i in moving))
    rows = [(names[i], *(f"{v:+.2f}" for v in row)) for i, row in zip(moving, matrix, strict=True)]
    said = tr(
        "Correlations over {n} draws of the coefficients, amplitudes in logs: near +1 or -1 the runs know only a "
        "combination of the two.",
        n=len(draws),
    )
    return (Table(headers, rows, caption=said),)


def _in_logs(values: Any) -> Any:
    """Amplitudes spread over decades; in logs their correlation is not that of their tail."""
    return np.log(values) if values.min() > 0 and values.max() > 3 * values.min() else values


def _need_a_model(e: Evidence) -> None:
    if has_runaway_optimum(e):
        raise LeftOut(
            tr("at the target the law asks for no possible model, so there is no size to compare or draw.")
        )


def agreement(e: Evidence) -> Blocks:
    """The exponents and the answer by every approach, then by other laws and objectives."""
    fits = e.approaches
    _need_a_model(e)
    if not fits:
        raise LeftOut(e.missing.get("fit") or e.missing.get("isoflop", ""))
    rows = [(approach_name(method), *_exponents(fit), *_at_target(fit, e)) for method, fit in fits.items()]
    flops = "" if e.target_flops is None else format_flops(e.target_flops)
    headers = (
        tr("approach"), tr("a of N*"), tr("b of D*"), tr("N* at {flops}", flops=flops), tr("interval"),
        tr("D* at {flops}", flops=flops), tr("loss"),
    )  # fmt: skip
    blocks: Blocks = (Table(headers, rows, caption=tr("The approaches to the same runs.")),)
    for name in ("envelope", "isoflop", "parametric"):
        if getattr(e, name) is None and name in e.missing:
            blocks += (
                Text(
                    tr("{approach}: {reason}", approach=approach_name(name), reason=e.missing[name]), "faint"
                ),
            )
    if e.compared is not None:
        return (*blocks, *told(e.compared.summary()))
    return (
        *blocks,
        Text(tr("Other laws were not fitted: {reason}", reason=e.missing.get("compared", "")), "faint"),
    )


def _exponents(fit: Fit) -> tuple[str, str]:
    a, b = fit.params_exponent, fit.tokens_exponent
    return tuple(tr("none") if v is None else rounded(v) + ends(v) for v in (a, b))  # type: ignore[return-value]


def _at_target(fit: Fit, e: Evidence) -> tuple[str, str, str, str]:
    known = estimates_of(fit.estimate, fit.law, e.target_flops) if e.target_flops is not None else {}
    n, d, loss = (_cells(name, known) for name in quantity_names())
    return (*n, d[0], loss[0])


def plan(e: Evidence) -> Blocks:
    if e.plan is None:
        raise LeftOut(e.missing.get("plan", ""))
    if not is_decided(e):
        raise LeftOut(tr("the runs do not decide the size, so a plan would be one of very many."))
    # its first screen is the answer, and short forms of what its sections tell
    return (*opened(sections_of(e.plan.summary())), *(_plan_findings(e)))


def explore(e: Evidence) -> Blocks:
    """What stands in the place of the part of an HTML page that computes, in other formats and without JavaScript."""
    page_of(e)
    return (
        Text(
            tr(
                "In the HTML report this part computes: turn the budget, law, hardware and price, and the plan follows."
            )
        ),
    )


def page_of(e: Evidence, *, run_data: bool = True) -> str:
    """The part of an HTML page that computes, with the law that answers and its runs.

    Raises:
        LeftOut: no law, or one that the page cannot compute.
    """
    from scaling.page import page_fragment

    if e.law is None or e.target_flops is None or not optimum_is_a_model(e):
        raise LeftOut(e.missing.get("plan") or e.missing.get("fit", ""))
    try:
        command = (
            shlex.join(["scaling", "fit", e.runs.source, "-o", "fit.json"]) if e.runs is not None else ""
        )
        return page_fragment(
            e.law,
            flops=e.target_flops,
            runs=e.runs if run_data else None,
            law_file="fit.json",
            law_command=command,
        )
    except UsageError as error:
        raise LeftOut(str(error)) from error


def _plan_findings(e: Evidence) -> Blocks:
    # their messages begin with their codes
    found = (
        [Callout(f.message, f.severity, "", f.source) for f in gravest_first(e.plan.findings)]
        if e.plan
        else []
    )
    return (Heading(tr("Doubts about the plan")), *found) if found else ()


def next_runs(e: Evidence) -> Blocks:
    """Sweeps that would shrink the interval, and the runs that refused valleys lack."""
    sweeps = [
        (
            format_flops(s.flops_per_run, 2),
            str(s.n_runs),
            tr("{low} to {high}", low=format_params(s.n_params[0]), high=format_params(s.n_params[-1])),
            format_percent(s.share_of_budget),
            f"{100 * s.width_left:.0f} %",
        )
        for s in (_sweeps(e) if e.plan is not None else ())
    ]
    blocks: Blocks = ()
    if sweeps:
        headers = (
            tr("FLOPs a run"), tr("runs"), tr("parameters"), tr("share of the target's compute"),
            tr("interval of N* left"),
        )  # fmt: skip
        said = tr("Sweeps that would shrink the interval of N* most, if the law holds.")
        blocks += (Table(headers, sweeps, caption=said),)
    blocks += _refused_runs(e)
    if not blocks:
        raise LeftOut(
            tr("the law carries no draws of its coefficients, from which a sweep could be chosen.")
            if e.law is None or e.law.uncertainty is None or not e.law.uncertainty.draws
            else tr(
                "no sweep for a small share of the target's compute would shrink the interval of N* by 5 %."
            )
        )
    return blocks


def _sweeps(e: Evidence) -> tuple[Any, ...]:
    try:
        return e.plan.sweeps if e.plan is not None else ()
    except ScalingError:  # a law that cannot be asked for other budgets
        return ()


def _refused_runs(e: Evidence) -> Blocks:
    if e.isoflop is None or not e.isoflop.refused:
        return ()
    rows = [
        (
            format_flops(b.flops),
            "" if b.refused.next_run is None else format_params(b.refused.next_run.n_params),
            "" if b.refused.next_run is None else format_tokens(b.refused.next_run.n_tokens),
            b.refused.reason,
        )
        for b in e.isoflop.refused
        if b.refused is not None
    ]
    headers = (tr("budget (FLOPs)"), tr("next N"), tr("next D"), tr("why"))
    return (
        Table(headers, rows, remarks=1, caption=tr("Runs that would give refused valleys their minimum.")),
    )


def run_table(e: Evidence) -> Blocks:
    """Every run with the law's loss beside its own; of many runs an even selection by compute."""
    runs = e.runs
    if runs is None:
        raise LeftOut(e.missing.get("isoflop", ""))
    predicted = predictions(e)
    order = np.argsort(runs.flops if "flops" not in runs.absent else runs.loss, kind="stable")
    step = math.ceil(len(runs) / MOST_ROWS)
    forms = {"n_params": format_params, "n_tokens": format_tokens, "flops": format_flops}
    known = {name: form for name, form in forms.items() if name not in runs.absent}
    letters = {"n_params": "N", "n_tokens": "D", "flops": "C"}
    headers = [tr("run"), *(letters[name] for name in known), tr("loss")]
    headers += [] if predicted is None else [tr("law"), tr("loss - law")]
    rows = []
    for i in order[::step]:
        row = [
            _shortened(runs.run_id[i]),
            *(form(float(getattr(runs, name)[i])) for name, form in known.items()),
            f"{runs.loss[i]:.4f}",
        ]
        if predicted is not None:
            row += [f"{predicted[i]:.4f}", f"{100 * (runs.loss[i] / predicted[i] - 1):+.2f} %"]
        rows.append(row)
    said = tr("The runs by rising compute.")
    if step > 1:
        said = tr("Every {step}th of the {n:,} runs by rising compute.", step=step, n=len(runs))
    return (Table(headers, rows, caption=said),)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_ID else f"{name[: LONGEST_ID // 2]}…{name[-(LONGEST_ID // 2 - 1) :]}"


def predictions(e: Evidence) -> Any | None:
    """The law's loss at each run, (n_runs,); None where it tells none.

    Where valleys or an envelope answer, their law is that of the best run at each budget, not of a run off it: the
    surface through the same runs is what a run is compared with.
    """
    from scaling.fitting.prediction import predicted_loss

    law = e.law
    if e.fit is not None and e.fit.method in ("isoflop", "envelope"):
        law = e.parametric.law if e.parametric is not None else None
    if e.runs is None or law is None or "loss" not in law.family.outputs:
        return None
    try:
        return predicted_loss(law, e.runs)
    except ScalingError:  # a quantity that the law reads is not in the table
        return None


def surface(e: Evidence) -> Blocks:
    """The figure alone tells; what it needs is a law of Approach 3 with a loss over N and D."""
    if e.parametric is None or e.runs is None:
        raise LeftOut(e.missing.get("parametric") or e.missing.get("fit", ""))
    _need_a_model(e)
    if e.parametric.method != "parametric":
        raise LeftOut(tr("only a Chinchilla law's surface is drawn."))
    return ()
