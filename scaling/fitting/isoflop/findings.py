"""What the reader of an Approach 2 fit must know before relying on it, as named findings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.findings import Finding, Severity
from scaling.fitting.isoflop.bias import GridBias
from scaling.fitting.isoflop.result import BudgetMinimum
from scaling.fitting.isoflop.valley import RefusalCode, valley_kind
from scaling.fitting.results import Estimate
from scaling.runs import Runs
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_tokens

HOFFMANN = "Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.2"
CLEARLY_WIDER = 1.2  # times an interval
SHOWN = 2  # refusals in one error
LEAST_RUNS = 3  # of a parabola
SIX_ND_TOLERANCE = 0.02  # C / (6 N D) further than this from 1 is another counting, not rounding


def shape_trusted() -> str:
    """What surface valleys leave out of their intervals."""
    return tr(
        "surface valleys trust the shape of the fitted surface: the intervals leave out its error, which all budgets "
        "share, and cover less than they say (81-98 % at nominal 95 % in simulation)"
    )


def _in_words(code: RefusalCode) -> str:
    """Why a budget is left out, in a word or two."""
    told: dict[RefusalCode, str] = {
        "too-few-runs": tr("too few runs"),
        "too-few-sizes": tr("too few sizes"),
        "flat": tr("a flat valley"),
        "wrong-curvature": tr("no valley"),
        "not-bracketed": tr("no minimum between the sizes"),
    }
    return told[code]


def isoflop_findings(
    runs: Runs, budgets: Sequence[BudgetMinimum], bias: GridBias | None, surface_failure: str
) -> list[Finding]:
    used = [b for b in budgets if b.refused is None]
    found = [_refused(runs, b) for b in budgets if b.refused is not None]
    found += [_unbounded(runs, b) for b in used if b.n_tokens and not _bounded(b)]
    found += [_reaches_beyond(runs, b) for b in used if _bounded(b) and not _outside(b) and b.ends_beyond]
    found += [_extrapolated(runs, b) if _outside(b) else _lowest_at_edge(runs, b) for b in used if _edge(b)]
    found += [
        f for f in (_moved(runs, budgets, surface_failure), _few(runs, used), _counting(runs, used)) if f
    ]
    if used[0].valley.kind == "surface":
        found.append(
            _finding(
                runs,
                "valley-shape-trusted",
                "warning",
                shape_trusted() + ".",
                short=tr("surface valleys trust the fitted surface: the intervals are too narrow"),
            )
        )
    elif bias is not None and not bias.holds:
        found.append(
            _finding(
                runs,
                "valley-bias",
                "warning",
                bias.statement + ".",
                short=tr(
                    "a {valley} is biased on these sizes: take another --valley",
                    valley=valley_kind(bias.valley),
                ),
            )
        )
    elif surface_failure:
        message = tr(
            "the bias of the valley's shape is not known: Approach 3 failed on these runs ({surface_failure})",
            surface_failure=surface_failure,
        )
        found.append(
            _finding(
                runs,
                "valley-bias-unknown",
                "warning",
                message,
                short=tr("whether the shape of the valleys is right could not be checked"),
            )
        )
    return found


def trunk_finding(runs: Runs, by_line: Estimate, by_trunk: Estimate) -> Finding:
    """The interval that knows of shared trunks, beside the line's; a warning where it is clearly wider."""
    assert by_trunk.interval is not None
    assert by_line.interval is not None
    wide, narrow = by_trunk.interval, by_line.interval
    message = tr(
        "runs of one trunk share most of their training: with one trunk left out at a time the exponent "
        "of N* is {low:.3g} to {high:.3g} ({level:g} %), beside {line_low:.3g} to {line_high:.3g} of a line "
        "through minima taken for independent.",
        low=wide.low,
        high=wide.high,
        level=100 * wide.level,
        line_low=narrow.low,
        line_high=narrow.high,
    )
    is_wider = wide.half_width > CLEARLY_WIDER * narrow.half_width
    source = "Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, ch. 3"
    return Finding(
        code="by-trunk",
        short=tr(
            "runs that share a start of training are not independent: without any one such group the exponent is "
            "{low:.3g} to {high:.3g}",
            low=wide.low,
            high=wide.high,
        ),
        severity="warning" if is_wider else "note",
        message=message,
        source=source,
    )


def curves_reduced(runs: Runs) -> Finding:
    message = tr(
        "the table holds training curves; Approach 2 uses the last row of each run. For all rows: "
        "--method envelope (in Python fit_envelope)."
    )
    return _finding(
        runs,
        "curves-reduced",
        "note",
        message,
        short=tr("of training curves the last row of each run is used"),
    )


def no_minima_message(runs: Runs, budgets: Sequence[BudgetMinimum]) -> str:
    """One sentence for the error: how many budgets have a minimum, and the first reasons why others have none."""
    n_found = sum(b.refused is None for b in budgets)
    refused = [b for b in budgets if b.refused is not None]
    reasons = "; ".join(_why(b) for b in refused[:SHOWN])
    reasons += tr("; and {shown} more", shown=len(refused) - SHOWN) if len(refused) > SHOWN else ""
    enough = _fewer_runs(n_found, refused)
    fewer = tr(
        " ask for fewer a budget, --min-runs-per-budget {enough} (in Python min_runs_per_budget=),",
        enough=enough,
    )
    fewer = fewer if enough else ""
    return tr(
        "a line through the minima needs 2 budgets with a bracketed minimum; {source} has {n_found} of "
        "{n_budgets}: {reasons}. Add these runs,{fewer} or fit Approach 3: --method parametric (in "
        "Python fit_parametric).",
        source=runs.source,
        n_found=n_found,
        n_budgets=len(budgets),
        reasons=reasons,
        fewer=fewer,
    )


def _fewer_runs(n_found: int, refused: Sequence[BudgetMinimum]) -> int:
    """The most runs a budget to ask for that leave two valleys to fit; 0 where no number does."""
    counts = sorted(
        (b.n_runs for b in refused if b.refused and b.refused.code == "too-few-runs"), reverse=True
    )
    wanted = max(2 - n_found, 1)
    return counts[wanted - 1] if len(counts) >= wanted and counts[wanted - 1] >= LEAST_RUNS else 0


def _why(budget: BudgetMinimum) -> str:
    refused = budget.refused
    assert refused is not None
    text = tr("budget {flops}: {reason}", flops=format_flops(budget.flops), reason=refused.reason)
    if refused.next_run is not None:
        run = refused.next_run
        text += tr(
            " (next run: {n_params} on {n_tokens} tokens)",
            n_params=format_params(run.n_params),
            n_tokens=format_tokens(run.n_tokens),
        )
    return text


def _refused(runs: Runs, budget: BudgetMinimum) -> Finding:
    assert budget.refused is not None
    message = tr("{budget}. It is left out of the lines.", budget=_why(budget))
    return _finding(
        runs,
        f"minimum-{budget.refused.code}",
        "warning",
        message,
        budget,
        short=tr(
            "{flops} FLOPs: {refused}; left out",
            flops=format_flops(budget.flops),
            refused=_in_words(budget.refused.code),
        ),
    )


def _bounded(budget: BudgetMinimum) -> bool:
    estimate = budget.n_tokens
    return bool(estimate and estimate.interval and estimate.interval.bounded and estimate.interval.low > 0)


def _unbounded(runs: Runs, budget: BudgetMinimum) -> Finding:
    message = tr(
        "the {n_runs} runs at {flops} FLOPs bracket a minimum but do not bound it on both sides: its "
        "interval has an infinite end. Add sizes farther from the optimum, or seeds.",
        n_runs=budget.n_runs,
        flops=format_flops(budget.flops),
    )
    return _finding(
        runs,
        "minimum-unbounded",
        "warning",
        message,
        budget,
        short=tr("{flops} FLOPs: the minimum is not bounded on both sides", flops=format_flops(budget.flops)),
    )


def _reaches_beyond(runs: Runs, budget: BudgetMinimum) -> Finding:
    assert budget.n_params is not None
    assert budget.n_params.interval is not None
    interval, tried = budget.n_params.interval, budget.runs.n_params
    add = {"low": tr("smaller"), "high": tr("larger")}
    message = tr(
        "the interval of the minimum at {flops} FLOPs, {low} to {high} parameters, leaves the sizes "
        "tried, {min} to {max}: that end is read off the curve beyond the runs. Add a {sizes} size.",
        flops=format_flops(budget.flops),
        low=format_params(interval.low),
        high=format_params(interval.high),
        min=format_params(float(tried.min())),
        max=format_params(float(tried.max())),
        sizes=tr(" and a ").join(add[end] for end in budget.ends_beyond),
    )
    short = tr(
        "the minimum at {flops} FLOPs may lie beyond the sizes tried: add a {sizes} one",
        flops=format_flops(budget.flops),
        sizes=tr(" and a ").join(add[end] for end in budget.ends_beyond),
    )
    return _finding(runs, "interval-beyond-sizes", "warning", message, budget, short=short)


def _outside(budget: BudgetMinimum) -> bool:
    x = budget.runs.x
    return not float(x.min()) < budget.valley.minimum < float(x.max())


def _edge(budget: BudgetMinimum) -> bool:
    best = budget.runs.n_tokens[int(np.argmin(budget.runs.loss))]
    return _outside(budget) or best in (budget.runs.n_tokens.min(), budget.runs.n_tokens.max())


def _extrapolated(runs: Runs, budget: BudgetMinimum) -> Finding:
    message = tr(
        "the minimum at {flops} FLOPs lies beyond the sampled sizes: it is extrapolated.",
        flops=format_flops(budget.flops),
    )
    return _finding(
        runs,
        "minimum-extrapolated",
        "warning",
        message,
        budget,
        short=tr("{flops} FLOPs: the minimum lies beyond the sizes tried", flops=format_flops(budget.flops)),
    )


def _lowest_at_edge(runs: Runs, budget: BudgetMinimum) -> Finding:
    best = int(np.argmin(budget.runs.loss))
    smallest = budget.runs.n_tokens[best] == budget.runs.n_tokens.max()
    message = tr(
        "at {flops} FLOPs the {which} model has the lowest loss: the fitted minimum rests on the curve, "
        "with no measured rise beyond it.",
        flops=format_flops(budget.flops),
        which=tr("smallest") if smallest else tr("largest"),
    )
    return _finding(
        runs,
        "lowest-loss-at-edge",
        "warning",
        message,
        budget,
        short=tr("{flops} FLOPs: no measured rise beyond the minimum", flops=format_flops(budget.flops)),
    )


def _moved(runs: Runs, budgets: Sequence[BudgetMinimum], surface_failure: str) -> Finding | None:
    moved = [b.runs for b in budgets if b.runs.moved]
    if moved:
        largest = max(float(np.max(np.abs(g.loss / g.measured_loss - 1))) for g in moved)
        message = tr(
            "losses of {n_moved} budgets were moved to the nominal compute along the fitted surface, by at "
            "most {largest:.2g} %.",
            n_moved=len(moved),
            largest=100 * largest,
        )
        return _finding(
            runs,
            "losses-moved",
            "note",
            message,
            short=tr(
                "losses were moved to their nominal budget, by at most {largest:.2g} %", largest=100 * largest
            ),
        )
    off = max(float(np.max(np.abs(runs.flops[b.runs.rows] / b.flops - 1))) for b in budgets)
    if surface_failure and off > 1e-3:
        message = tr(
            "runs lie up to {off:.2g} % from their budget and their losses could not be moved to it.",
            off=100 * off,
        )
        return _finding(
            runs,
            "losses-not-moved",
            "warning",
            message,
            short=tr("runs lie up to {off:.2g} % from their budget", off=100 * off),
        )
    return None


def _few(runs: Runs, used: Sequence[BudgetMinimum]) -> Finding | None:
    if len(used) > 3:
        return None
    lead = tr("the intervals rest on one degree of freedom")
    if len(used) == 2:
        lead = tr("no interval of the exponents is possible")
    short = tr("no interval") if len(used) == 2 else tr("wide intervals")
    message = tr(
        "only {n_used} budgets have a minimum: {lead}. Add budgets; 5 over 3 decades is usual.",
        n_used=len(used),
        lead=lead,
    )
    return _finding(
        runs,
        "few-budgets",
        "warning",
        message,
        short=tr("only {n_used} budgets have a minimum: {short}", n_used=len(used), short=short),
    )


def _counting(runs: Runs, used: Sequence[BudgetMinimum]) -> Finding | None:
    factors = [b.flops / (b.n_params.value * b.n_tokens.value) for b in used if b.n_params and b.n_tokens]
    ratio = float(np.exp(np.mean(np.log(factors)))) / FLOPS_PER_PARAM_TOKEN
    if abs(math.log(ratio)) <= SIX_ND_TOLERANCE:
        return None
    message = tr(
        "at the minima these FLOPs are {ratio:.2f} times 6 N D. The valleys and lines follow the table's "
        "counting; the law that `scaling plan` takes is the same optimum with C = 6 N D.",
        ratio=ratio,
    )
    return _finding(
        runs,
        "flops-not-6nd",
        "warning",
        message,
        short=tr("these FLOPs are {ratio:.2f} times 6 N D, which plans count in", ratio=ratio),
    )


def _finding(
    runs: Runs,
    code: str,
    severity: Severity,
    message: str,
    budget: BudgetMinimum | None = None,
    *,
    short: str = "",
) -> Finding:
    rows = () if budget is None else tuple(int(runs.row[i]) for i in budget.runs.rows)
    return Finding(code=code, severity=severity, message=message, source=HOFFMANN, rows=rows, short=short)
