"""What a fit says, as blocks: the claim and the law, why to trust it, what it extrapolates to, what to doubt.

Every result describes itself by `lead`, `trust` and `sections`, built of the pieces here. `FitFace` puts them together
for any of them; `summarise_fit` adds what only the reader of a table knows: the runs, checks on them, how to go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scaling.blocks import (
    MOST_DOUBTS,
    NARROWEST,
    Blocks,
    Fields,
    Figure,
    Record,
    Section,
    Shown,
    Table,
    Text,
    doubts_section,
    first_doubts,
    next_step,
    screen,
)
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, LawError
from scaling.findings import Finding
from scaling.fitting.digits import brief, brief_count, brief_loss, rounded
from scaling.fitting.results import Estimate, Fit
from scaling.fitting.sections import BEYOND, largest_budget, percent
from scaling.lazy import RENDERERS
from scaling.runs.checks import quantities_read
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_tokens

if TYPE_CHECKING:
    import pandas as pd

    from scaling.runs import Runs

N_DRAWN = 40  # budgets of a figure, from the least of the runs to a hundred times the largest
NAMED = 40  # runs left out
OWN_COUNT = 0.005  # C / 6ND further than this from 1 is another count, not rounding
MOST_LINES = 20  # of a first screen, with the notes above it
CRAMPED = -1  # reasons: none, and no empty lines either
MOST_REASONS = 3  # to trust a fit, on a first screen; each check that was asked for takes the place of one
LABELS = 8  # columns of the names on a first screen


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
        sections = (*self.sections(), *doubts_section(self.findings))
        return (*_first_screen(self), *drawn, *first_doubts(self.findings), *sections)

    def brief(self: Fit) -> Blocks:
        """The law and how sure it is; the figure of a summary asks for forty intervals."""
        return (*_first_screen(self), *first_doubts(self.findings))

    def records(self: Fit) -> list[Record]:
        """A row a coefficient and exponent: quantity, value, standard_error, low, high, level."""
        exponents = {"params_exponent": self.params_exponent, "tokens_exponent": self.tokens_exponent}
        known = {name: e for name, e in {**self.estimates, **exponents}.items() if e is not None}
        return [{"quantity": name, **e.record(), "level": self.level} for name, e in known.items()]

    def to_frame(self) -> pd.DataFrame:
        """A row a coefficient and exponent, by its name: value, standard_error, low, high, level."""
        return super().to_frame().set_index("quantity").astype(float)


class Check(Protocol):
    """A check of the same runs: its verdict in a sentence, and the whole of it."""

    def verdict(self) -> str: ...
    def summary(self) -> Blocks: ...


def summarise_fit(
    fit: Fit,
    *,
    runs: Runs | None = None,
    left_out: Sequence[str] = (),
    findings: Sequence[Finding] | None = None,
    held_out: Check | None = None,
    compared: Check | None = None,
    diagnosed: Check | None = None,
    beside: Sequence[tuple[str, str]] = (),
    written: Sequence[str] = (),
    sections: Blocks = (),
    next_command: str = "",
    told: Sequence[str] = (),
    figures: bool = True,
) -> Blocks:
    """What `scaling fit` shows.

    Args:
        runs: the table that was fitted; left_out: ids of its runs that were not.
        findings: of the fit and of its table; those of the fit unless given.
        held_out, compared, diagnosed: an `Extrapolation`, a `LawComparison` and the diagnostics of the same runs.
        beside: what else the first screen says of the runs and the law, with a name each.
        written: names of the files that hold the fit.
        sections: what else lies behind it.
        next_command: what to do with the fit.
        told: notes that a terminal shows above it, for which its first screen leaves room.
        figures: also what to draw, which a terminal does not show and some laws take a second for.
    """
    doubts = fit.findings if findings is None else findings
    figure = compute_optimal_figure(fit) if figures else None
    checks = [(tr("hold-out"), held_out), (tr("others"), compared), (tr("noise"), diagnosed)]
    verdicts = [(name, check.verdict()) for name, check in checks if check]
    behind = (
        *_joined(fit.sections(), compared),
        *(
            (Section("holdout", tr("Fitted up to a budget, asked for the dearer runs"), held_out.summary),)
            if held_out
            else ()
        ),
        *((Section("diagnostics", tr("Does the fit hold up?"), diagnosed.summary),) if diagnosed else ()),
        *(
            ()
            if runs is None
            else (Section("data", tr("The runs"), partial(_about_runs, fit, runs, left_out)),)
        ),
        *sections,
        *doubts_section(doubts),
    )
    most = max(1, MOST_DOUBTS - len(beside) - len(verdicts))  # what was asked for takes the place of a doubt
    wrote = (Text(tr("wrote {files}", files=", ".join(written))),) if written else ()
    closing = next_step(next_command)
    above = (Fields([("note:", text) for text in told], indent=0, width=5),) if told else ()
    front = _parts_of(fit, [*verdicts, *beside])
    shorter = _shorter(most, MOST_REASONS - len(verdicts))
    for n_doubts, n_reasons in shorter:
        first, told_doubts = front(n_reasons), first_doubts(doubts, n_doubts)
        if _n_lines((*above, *first, *told_doubts, *wrote, *behind, *closing)) <= MOST_LINES:
            break
    return (*first, *((figure,) if figure else ()), *told_doubts, *wrote, *behind, *closing)


def _joined(sections: Blocks, compared: Check | None) -> Blocks:
    """The sections of a fit, the comparison that was asked for with that of objectives where the fit has one."""
    if compared is None:
        return sections
    own = [b for b in sections if isinstance(b, Section) and b.name == "comparison"]
    rest = tuple(b for b in sections if b not in own)
    title = tr("Other laws and objectives")
    together = lambda: (*compared.summary(), *(block for b in own for block in b.blocks()))  # noqa: E731
    return (*rest, Section("comparison", title, together))


def _first_screen(fit: Fit) -> Blocks:
    """The claim, the law, what it says where the runs end and beyond, and why to trust it."""
    return _parts_of(fit, ())(MOST_REASONS)


def _parts_of(fit: Fit, further: Sequence[tuple[str, str]]) -> Callable[[int], Blocks]:
    """The first screen by the number of reasons to trust the fit; `further` rows stand behind them."""
    lead, why, table, origin = fit.lead(), fit.trust(), optimum_in_short(fit), _origin(fit)

    def parts(n_reasons: int) -> Blocks:
        said = why[: max(n_reasons, 0)]
        trust = [(tr("trust"), "; ".join(said))] if said else []
        rows = [(tr("from"), origin), *trust, *further]
        apart = () if n_reasons == CRAMPED else (Text(""),)
        return (*lead, *apart, *table, *(apart if table else ()), Fields(rows, width=LABELS))

    return parts


def _shorter(most_doubts: int, most_reasons: int) -> Iterator[tuple[int, int]]:
    """Numbers of doubts and of reasons, ever fewer: reasons beyond the first go first, empty lines last."""
    yield from ((most_doubts, n) for n in range(most_reasons, 1, -1))
    yield from ((n, min(most_reasons, 1)) for n in range(most_doubts, 0, -1))
    yield from ((1, 0), (1, CRAMPED))


def _n_lines(blocks: Blocks) -> int:
    """Of the first screen where it is narrowest; the same blocks then stand at every width."""
    text: str = RENDERERS["text"](tuple(screen(blocks)), width=NARROWEST)
    return text.count("\n") + 1


def _origin(fit: Fit) -> str:
    known = fit.law.provenance.fitted_range.get("flops") if fit.law.provenance else None
    runs = fit.fitted_through()
    if known:
        ends = [format_flops(float(f"{end:.2g}")) for end in known]
        runs = tr("{runs}, {low} to {high} FLOPs", runs=runs, low=ends[0], high=ends[1])
    if not any(e.interval for e in fit.estimates.values()):
        return runs
    return tr("{runs}; brackets: {level}", runs=runs, level=percent(fit))


def growth(a: Estimate | None, b: Estimate | None, *, exact: bool = False) -> str:
    """The claim of a fit whose optimum is a power of compute, N* ~ C^a and D* ~ C^b; else nothing."""
    if a is None or b is None:
        return ""
    return tr(
        "N* grows as C^{params}, D* as C^{tokens}.",
        params=brief(a, exact),
        tokens=brief(b, exact),
    )


def with_numbers(fit: Fit, *, exact: bool = False) -> str:
    """The formula of the law with its fitted numbers for the names."""
    told = {name: rounded(e, exact) for name, e in fit.estimates.items()}
    told |= {name: f"{value:g}" for name, value in fit.fixed.items()}
    names = sorted(told, key=len, reverse=True)
    formula = fit.law.family.formula
    said = re.sub(rf"(?<!\w)({'|'.join(map(re.escape, names))})(?!\w)", lambda m: told[m[0]], formula)
    return said.replace("= 0 + ", "= ")


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


def optimum_in_short(fit: Fit) -> Blocks:
    """N*, D* and loss where the runs end and beyond: the three numbers of a budget and their intervals, briefly."""
    if not fit.has_optimum or "loss" not in fit.law.family.outputs or not fit.law.provenance:
        return ()
    rows = []
    for factor in BEYOND:
        flops = float(f"{largest_budget(fit) * factor:.2g}")
        n, d, loss = (_known(fit, quantity, flops) for quantity in ("n_params", "n_tokens", "loss"))
        if n is None or d is None:
            return ()
        told = brief_loss(loss) if loss else ""
        at = f"{format_flops(flops)} {factor:g}x" if factor > 1 else format_flops(flops)
        rows.append((at, brief_count(n), brief_count(d), told))
    headers = (tr("FLOPs"), "N*", "D*", tr("loss"))
    # no column of unknown losses
    n_known = len(headers) if any(told for *_, told in rows) else len(headers) - 1
    return (Table(headers[:n_known], [row[:n_known] for row in rows], left=n_known),)


def _known(fit: Fit, quantity: str, flops: float) -> Estimate | None:
    """With its interval where the fit has one; None where it does not know the quantity."""
    try:
        return fit.estimate(quantity, flops=flops)
    except FitError:  # no intervals: noise-free runs; too few minima for a loss
        try:
            value = getattr(fit.law.allocate(flops), quantity)
        except LawError:
            return None
        return None if value is None else Estimate(value=value)
    except LawError:
        return None


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
    if runs.notes:
        fields.append((tr("read as"), "; ".join(runs.notes)))
    return (Fields(fields),)


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
