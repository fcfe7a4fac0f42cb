"""Approach 1: the lower envelope of training curves, then lines compute → parameters and compute → tokens.

Use which when: you kept the training curves of a few sizes and have no runs in groups of equal compute. Curves of one
learning-rate schedule lie above what a run decayed at that point would reach, so prefer Approach 2 or 3 on finished
runs where you have them.

Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.1. Ours differs: the line goes through the crossings, the
places where one size overtakes a smaller one (the optimum lies between the two there), and not through 1500 points
of a staircase that hold as many independent facts as there are runs. Their line is given beside ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scaling.blocks import Blocks, Fields, Heading
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, UsageError
from scaling.findings import Finding
from scaling.fitting.envelope.points import (
    Crossings,
    Envelope,
    find_crossings,
    lower_envelope,
    size_curves,
)
from scaling.fitting.frontier_law import (
    LinesFace,
    LossFrontier,
    fit_loss_frontier,
    frontier_law,
)
from scaling.fitting.power_law import PowerLawFit, fit_line, power_law_from_line
from scaling.fitting.results import FitMethod, fit_to_dict
from scaling.laws.frontier import FrontierLaw
from scaling.runs import Convention, Runs
from scaling.runs.table import group_index, require_runs
from scaling.translation import tr
from scaling.units import format_flops

Array = NDArray[np.float64]
HOFFMANN = "Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.1"
SIX_ND_TOLERANCE = 0.02  # C / (6 N D) further than this from 1 is another counting, not rounding
MIN_CROSSINGS = 3  # one degree of freedom


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvelopeFit(LinesFace):
    """Approach 1. `flops`, `n_params`, `n_tokens`, `loss` are the points of the envelope, for drawing."""

    approach: ClassVar[int] = 1
    method: ClassVar[FitMethod] = "envelope"
    level: float
    flops: Array  # (n_points,)
    n_params: Array  # size of the winning run: a staircase
    n_tokens: Array
    loss: Array
    crossing_flops: Array  # (n_crossings,) what the lines go through
    crossing_n_params: Array
    crossing_n_tokens: Array
    params_line: PowerLawFit
    tokens_line: PowerLawFit
    staircase_params_exponent: (
        float  # of a line through all points of the envelope, as Hoffmann et al. drew it
    )
    loss_frontier: LossFrontier | None
    law: FrontierLaw
    n_rows: int
    n_runs: int
    n_runs_on_envelope: int
    findings: tuple[Finding, ...]
    source: str
    convention: Convention
    excluded: tuple[str, ...] = ()

    @property
    def own_optima(self) -> tuple[tuple[float, float], ...]:
        return tuple(zip(self.crossing_flops.tolist(), self.crossing_n_params.tolist(), strict=True))

    def fitted_through(self) -> str:
        return tr("the envelope of {n} training curves", n=self.n_runs)

    def body(self) -> Blocks:
        first, last = (
            format_flops(float(end)) for end in (self.crossing_flops.min(), self.crossing_flops.max())
        )
        places = tr(
            "{n} places where one size takes over from the next, {first} to {last} FLOPs",
            n=len(self.crossing_flops),
            first=first,
            last=last,
        )
        staircase = tr(
            "a = {a:.3f} by a line through the whole envelope, as Hoffmann et al.",
            a=self.staircase_params_exponent,
        )
        return Heading(tr("how sure")), Fields([(tr("through"), places), (tr("staircase"), staircase)])

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of `scaling fit --method envelope --json`."""
        named = ("n_rows", "n_runs_on_envelope", "staircase_params_exponent")
        columns = {
            "flops": self.crossing_flops,
            "n_params": self.crossing_n_params,
            "n_tokens": self.crossing_n_tokens,
        }
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return fit_to_dict(
            self,
            **{name: getattr(self, name) for name in named},
            crossings=[dict(zip(columns, row, strict=True)) for row in rows],
            **self.lines_json(),
        )


def fit_envelope(curves: Runs, *, level: float = 0.95) -> EnvelopeFit:
    """Fit N* = k C^a and D* = k' C^b through the crossings of the lower envelope of training curves.

    Args:
        curves: many rows a run (they share `run_id`), at least 4 model sizes; up to millions of rows.
        level: of the intervals: t intervals over crossings, so that a run counts as one run however many rows it has.
    Raises:
        FitError: no curves, or fewer than 3 crossings inside the range where both sizes were measured.
    """
    if not 0 < level < 1:
        raise UsageError(f"the level of an interval lies between 0 and 1; got {level!r}.")
    require_runs(curves, "fit_envelope")
    curves.require(("n_params", "n_tokens", "flops"), "Approach 1 (fit_envelope, --method envelope)")
    curves.require_losses()
    run = group_index(curves.run_id)
    n_runs = int(run.max()) + 1
    if n_runs == len(curves):
        raise FitError(
            f"Approach 1 needs training curves (several rows a run); {curves.source} has one row for each of its "
            f"{n_runs} runs. Fit Approach 2 (--method isoflop) or 3 (--method parametric), or say which column names "
            "the run: --column run_id=NAME (in Python columns=)."
        )
    ln_flops = np.log(curves.flops)
    sizes = _size_of_each_run(curves, run, n_runs)
    envelope = lower_envelope(run, ln_flops, curves.loss)
    if not np.any(envelope.run >= 0):
        raise FitError(
            f"no run of {curves.source} has rows at two different FLOPs. Log curves at more than one step."
        )
    found = _crossings(envelope, sizes, run, ln_flops, curves.loss)
    if len(found.ln_flops) < MIN_CROSSINGS:
        raise FitError(
            f"among {n_runs} curves in {curves.source} a larger size overtakes a smaller one "
            f"{len(found.ln_flops)} times where both were measured; a line needs {MIN_CROSSINGS}. Add model sizes, "
            "train the small ones longer, or log the large ones from earlier on."
        )
    return _through_crossings(curves, envelope, found, sizes, level)


def _through_crossings(
    curves: Runs, envelope: Envelope, found: Crossings, sizes: Array, level: float
) -> EnvelopeFit:
    """The lines through the crossings and the law they make; `sizes` is the n_params of each run."""
    factor = float(np.median(curves.flops / (curves.n_params * curves.n_tokens)))
    ln_c, ln_n = found.ln_flops, found.ln_params
    params_line = power_law_from_line(fit_line(ln_c, ln_n), ln_c, level)
    tokens_line = power_law_from_line(fit_line(ln_c, ln_c - ln_n - math.log(factor)), ln_c, level)
    won = envelope.run >= 0
    flops, n_params = np.exp(envelope.ln_flops[won]), sizes[envelope.run[won]]
    loss_frontier = _loss_frontier(envelope, found)
    law = frontier_law(
        curves,
        "Approach 1 (envelope)",
        params_line,
        tokens_line,
        loss_frontier,
        fitted_range={
            "flops": (math.exp(ln_c.min()), math.exp(ln_c.max())),
            "n_params": (float(sizes.min()), float(sizes.max())),
            "n_tokens": (float(curves.n_tokens.min()), float(curves.n_tokens.max())),
        },
        statement="statistical only: scatter of the crossings about a straight line",
    )
    return EnvelopeFit(
        level=level,
        flops=flops,
        n_params=n_params,
        n_tokens=flops / (factor * n_params),
        loss=envelope.loss[won],
        crossing_flops=np.exp(ln_c),
        crossing_n_params=np.exp(ln_n),
        crossing_n_tokens=np.exp(ln_c - ln_n) / factor,
        params_line=params_line,
        tokens_line=tokens_line,
        staircase_params_exponent=fit_line(np.log(flops), np.log(n_params)).slope,
        loss_frontier=loss_frontier,
        law=law,
        n_rows=len(curves),
        n_runs=len(sizes),
        n_runs_on_envelope=len(np.unique(envelope.run[won])),
        findings=tuple(_findings(found, factor)),
        source=curves.source,
        convention=curves.convention,
    )


def _size_of_each_run(curves: Runs, run: NDArray[np.int64], n_runs: int) -> Array:
    """(n_runs,) n_params; a run whose size changes is no run."""
    low, high = np.full(n_runs, np.inf), np.zeros(n_runs)
    np.minimum.at(low, run, curves.n_params)
    np.maximum.at(high, run, curves.n_params)
    changed = np.flatnonzero(high > low * (1 + 1e-9))
    if len(changed):
        name = curves.run_id[int(np.flatnonzero(run == changed[0])[0])]
        raise FitError(
            f"all rows of a run have one n_params; run {name!r} of {curves.source} has {low[changed[0]]:g} to "
            f"{high[changed[0]]:g}. Give each size its own run_id."
        )
    return high


def _crossings(
    envelope: Envelope, sizes: Array, run: NDArray[np.int64], ln_flops: Array, loss: Array
) -> Crossings:
    """Crossings among the sizes that win somewhere: a run that never does (a diverged one) is not asked."""
    winning = np.unique(sizes[envelope.run[envelope.run >= 0]])
    row = np.searchsorted(winning, sizes)
    known = winning[np.minimum(row, len(winning) - 1)] == sizes
    table = size_curves(run, ln_flops, loss, np.where(known, row, -1), envelope.ln_flops)
    return find_crossings(winning, table, envelope.ln_flops)


def _loss_frontier(envelope: Envelope, found: Crossings) -> LossFrontier | None:
    """L*(C) from the envelope half-way between crossings, where the winning size is the best one."""
    middle = (found.ln_flops[1:] + found.ln_flops[:-1]) / 2
    known = envelope.run >= 0
    loss = np.interp(middle, envelope.ln_flops[known], envelope.loss[known])
    return fit_loss_frontier(np.exp(middle), loss)


def _findings(found: Crossings, factor: float) -> list[Finding]:
    findings = [
        Finding(
            code="unfinished-decay",
            severity="note",
            message="points inside a curve carry a learning rate that is not yet decayed: their loss is above what a "
            "run planned for that length reaches, and the exponents may be off by more than their intervals say.",
            source=HOFFMANN,
        )
    ]
    n = len(found.ln_flops) + found.at_end + found.unclear
    if found.at_end:
        message = (
            f"{found.at_end} of {n} pairs of sizes cross within a factor 1.5 of compute of where one of the two curves "
            "begins or ends, or not at all, and are left out."
        )
        findings.append(
            Finding(code="crossing-at-curve-end", severity="warning", message=message, source=HOFFMANN)
        )
    if found.unclear:
        message = f"in {found.unclear} of {n} pairs of sizes noise hides which is better: left out. Smooth the curves."
        findings.append(
            Finding(code="crossing-unclear", severity="warning", message=message, source=HOFFMANN)
        )
    ratio = factor / FLOPS_PER_PARAM_TOKEN
    if abs(math.log(ratio)) > SIX_ND_TOLERANCE:
        message = (
            f"these FLOPs are {ratio:.2f} times 6 N D. The lines follow the table's counting; the law that "
            "`scaling plan` takes is the same optimum with C = 6 N D."
        )
        findings.append(Finding(code="flops-not-6nd", severity="warning", message=message, source=HOFFMANN))
    return findings
