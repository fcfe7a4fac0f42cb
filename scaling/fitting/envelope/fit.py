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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scaling.arguments import require_level
from scaling.blocks import Blocks, Fields, Section, Table
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError
from scaling.findings import Finding
from scaling.fitting.frontier_law import (
    LinesFace,
    LossFrontier,
    fit_loss_frontier,
    frontier_law,
)
from scaling.fitting.power_law import fit_line, power_law_from_line
from scaling.fitting.results import FitMethod, fit_to_dict
from scaling.fitting.sections import optimum_table
from scaling.runs import Runs
from scaling.runs.table import group_index, require_runs
from scaling.translation import tr
from scaling.units import format_flops, format_params

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

GRID_POINTS = 1500  # Hoffmann et al. 2022, sec. 3.1
MIN_GRID_POINTS = 300
# noisy rows closer than this (4.7 % of C) are averaged: curves are straight over such a step
CELLS_PER_DECADE = 50
MIN_COMMON_POINTS = 8  # of the grid, on which both curves exist
# in ln C, either side of a crossing: the lead of one curve over another is a parabola there
WINDOW = math.log(6.0)
PAIR_RATIO = 1.5  # of two sizes whose curves are compared
# of the points on the wrong side of a crossing; two curves that noise alone orders have half
MOST_FLIPS = 0.25
# Both curves must go on for a factor 1.5 of compute beyond their crossing. Where a curve ends at about the crossing,
# noise decides whether the crossing is seen, and only those that come early are: a bias.
END_MARGIN = math.log(1.5)
CHUNK = 2_000_000  # interpolated points held at once: 100 MB
HOFFMANN = "Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.1"
SIX_ND_TOLERANCE = 0.02  # C / (6 N D) further than this from 1 is another counting, not rounding
MIN_CROSSINGS = 3  # one degree of freedom


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvelopeFit(LinesFace):
    """Approach 1. `flops`, `n_params`, `n_tokens`, `loss` are the points of the envelope, for drawing."""

    approach: ClassVar[int] = 1
    method: ClassVar[FitMethod] = "envelope"
    flops: Array  # (n_points,)
    n_params: Array  # size of the winning run: a staircase
    n_tokens: Array
    loss: Array
    crossing_flops: Array  # (n_crossings,) what the lines go through
    crossing_n_params: Array
    crossing_n_tokens: Array
    # of a line through all points of the envelope, as Hoffmann et al. drew it
    staircase_params_exponent: float
    n_rows: int
    n_runs_on_envelope: int

    @property
    def own_optima(self) -> tuple[tuple[float, float], ...]:
        return tuple(zip(self.crossing_flops.tolist(), self.crossing_n_params.tolist(), strict=True))

    @property
    def own_tokens(self) -> tuple[float, ...]:
        return tuple(self.crossing_n_tokens.tolist())

    def fitted_through(self) -> str:
        return tr("the envelope of {n} training curves", n=self.n_runs)

    def trust(self) -> list[str]:
        places = tr("{n} places where one size takes over from the next", n=len(self.crossing_flops))
        return [
            places,
            tr("exponent {a:.3f} by a line through the whole envelope", a=self.staircase_params_exponent),
        ]

    def sections(self) -> Blocks:
        return (
            Section("coefficients", tr("The lines"), self._lines),
            Section("curves", tr("The envelope"), self._curves),
        )

    def _lines(self) -> Blocks:
        return *self.lines_section(), *(optimum_table(self) if self.loss_frontier else ())

    def _curves(self) -> Blocks:
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
        rows = [
            (format_flops(flops), format_params(n_params))
            for flops, n_params in zip(
                self.crossing_flops.tolist(), self.crossing_n_params.tolist(), strict=True
            )
        ]
        return (
            Fields([(tr("through"), places), (tr("staircase"), staircase)]),
            Table((tr("FLOPs"), "N*"), rows),
        )

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
    Example:
        >>> import scaling
        >>> from scaling.reference.example import example_curves
        >>> fit = scaling.fit_envelope(scaling.Runs.from_arrays(**example_curves()))
        >>> round(fit.params_exponent.value, 2), fit.n_runs
        (0.51, 13)
    """
    require_level(level)
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
        tr("Approach 1 (envelope)"),
        params_line,
        tokens_line,
        loss_frontier,
        fitted_range={
            "flops": (math.exp(ln_c.min()), math.exp(ln_c.max())),
            "n_params": (float(sizes.min()), float(sizes.max())),
            "n_tokens": (float(curves.n_tokens.min()), float(curves.n_tokens.max())),
        },
        statement=tr("statistical only: scatter of the crossings about a straight line"),
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


def _size_of_each_run(curves: Runs, run: Integers, n_runs: int) -> Array:
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


def _crossings(envelope: Envelope, sizes: Array, run: Integers, ln_flops: Array, loss: Array) -> Crossings:
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
            short=tr("points inside a curve lie above what a finished run reaches"),
            severity="note",
            message=tr(
                "points inside a curve carry a learning rate that is not yet decayed: their loss is above what a "
                "run planned for that length reaches, and the exponents may be off by more than their intervals "
                "say."
            ),
            source=HOFFMANN,
        )
    ]
    n = len(found.ln_flops) + found.at_end + found.unclear
    if found.at_end:
        message = tr(
            "{at_end} of {n} pairs of sizes cross within a factor 1.5 of compute of where one of the two "
            "curves begins or ends, or not at all, and are left out.",
            at_end=found.at_end,
            n=n,
        )
        findings.append(
            Finding(
                code="crossing-at-curve-end",
                short=tr(
                    "{at_end} of {n} pairs of sizes cross at the end of a curve: left out",
                    at_end=found.at_end,
                    n=n,
                ),
                severity="warning",
                message=message,
                source=HOFFMANN,
            )
        )
    if found.unclear:
        message = tr(
            "in {unclear} of {n} pairs of sizes noise hides which is better: left out. Smooth the curves.",
            unclear=found.unclear,
            n=n,
        )
        findings.append(
            Finding(
                code="crossing-unclear",
                short=tr(
                    "in {unclear} of {n} pairs of sizes noise hides which is better",
                    unclear=found.unclear,
                    n=n,
                ),
                severity="warning",
                message=message,
                source=HOFFMANN,
            )
        )
    ratio = factor / FLOPS_PER_PARAM_TOKEN
    if abs(math.log(ratio)) > SIX_ND_TOLERANCE:
        message = tr(
            "these FLOPs are {ratio:.2f} times 6 N D. The lines follow the table's counting; the law that "
            "`scaling plan` takes is the same optimum with C = 6 N D.",
            ratio=ratio,
        )
        findings.append(
            Finding(
                code="flops-not-6nd",
                short=tr("these FLOPs are {ratio:.2f} times 6 N D, which plans count in", ratio=ratio),
                severity="warning",
                message=message,
                source=HOFFMANN,
            )
        )
    return findings


# --- which model size is best at each compute; arrays in, arrays out, linear in the rows ---


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The lowest curve at each compute of a grid. `run` is -1 where no curve passes."""

    ln_flops: Array  # (n_points,) rising, evenly spaced
    loss: Array
    run: Integers  # index of the winning run


def lower_envelope(run: Integers, ln_flops: Array, loss: Array) -> Envelope:
    """Envelope of the curves `loss` against `ln_flops`, rows in any order; `run` is 0, 1, 2 ... (n_rows,)."""
    n_runs = int(run.max()) + 1
    low, high = float(ln_flops.min()), float(ln_flops.max())
    n_points = int(np.clip(4_000_000 // n_runs, MIN_GRID_POINTS, GRID_POINTS))
    grid = np.linspace(low, high, n_points)
    run, ln_flops, loss = _averaged(run, ln_flops, loss, low)
    lowest, winner = np.full(n_points, np.inf), np.full(n_points, -1, dtype=np.int64)
    for segment, at, value in _on_grid(run, ln_flops, loss, grid):
        np.minimum.at(lowest, at, value)
        wins = value == lowest[at]
        winner[at[wins]] = run[segment[wins]]
    return Envelope(ln_flops=grid, loss=lowest, run=winner)


def size_curves(run: Integers, ln_flops: Array, loss: Array, row_of_run: Integers, grid: Array) -> Array:
    """(n_sizes, n_points) the lowest curve of each size; inf where it has none.

    `row_of_run` gives the row of each run's size, -1 = leave out.
    """
    keep = row_of_run[run] >= 0
    run, ln_flops, loss = _averaged(run[keep], ln_flops[keep], loss[keep], float(grid[0]))
    table = np.full((int(row_of_run.max()) + 1) * len(grid), np.inf)
    for segment, at, value in _on_grid(run, ln_flops, loss, grid):
        np.minimum.at(table, row_of_run[run[segment]] * len(grid) + at, value)
    return table.reshape(-1, len(grid))


def _on_grid(
    run: Integers, ln_flops: Array, loss: Array, grid: Array
) -> Iterator[tuple[Integers, Integers, Array]]:
    """Curves interpolated at the points of the grid that they pass: (row before, grid point, loss), in chunks."""
    left = np.flatnonzero(run[1:] == run[:-1])
    first = np.searchsorted(grid, ln_flops[left], side="left")
    covered = np.searchsorted(grid, ln_flops[left + 1], side="left") - first
    ends_here = np.append(run[1:] != run[:-1], True)[left + 1]
    covered += ends_here & (np.take(grid, first + covered, mode="clip") == ln_flops[left + 1])
    cuts = np.flatnonzero(np.diff(np.cumsum(covered) // CHUNK)) + 1
    for part in np.split(np.arange(len(left)), cuts):
        n = covered[part]
        segment = np.repeat(left[part], n)
        at = np.repeat(first[part] - (np.cumsum(n) - n), n) + np.arange(len(segment))
        share = (grid[at] - ln_flops[segment]) / (ln_flops[segment + 1] - ln_flops[segment])
        yield segment, at, loss[segment] + share * (loss[segment + 1] - loss[segment])


def _averaged(run: Integers, ln_flops: Array, loss: Array, low: float) -> tuple[Integers, Array, Array]:
    """Rows sorted by run and compute, those of one run in one cell of compute replaced by their mean."""
    if not np.all((run[1:] > run[:-1]) | ((run[1:] == run[:-1]) & (ln_flops[1:] >= ln_flops[:-1]))):
        order = np.lexsort((ln_flops, run))
        run, ln_flops, loss = run[order], ln_flops[order], loss[order]
    cell = np.floor((ln_flops - low) * (CELLS_PER_DECADE / np.log(10))).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, (run[1:] != run[:-1]) | (cell[1:] != cell[:-1])])
    size = np.diff(np.r_[starts, len(run)])
    mean_x = np.add.reduceat(ln_flops, starts) / size
    return run[starts], mean_x, np.add.reduceat(loss, starts) / size


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """Where a larger size becomes the better one: between `smaller` and `larger` the optimum passes there."""

    ln_flops: Array  # rising
    smaller: Array  # n_params
    larger: Array
    at_end: int  # pairs left out because a curve begins or ends at about the crossing
    unclear: int  # pairs left out because noise hides which of the two is better

    @property
    def ln_params(self) -> Array:
        """ln of the geometric mean: two sizes with the same loss lie either side of the minimum."""
        return (np.log(self.smaller) + np.log(self.larger)) / 2


def find_crossings(sizes: Array, curves: Array, grid: Array) -> Crossings:
    """Crossings of each size with the next one at least 1.5 times larger; `curves` is (n_sizes, n_points).

    Two at a time, not by the winner among all sizes: the smallest size has rivals on one side only, so that noise
    lets it lose too early, and the largest win too late.
    """
    found, at_end, unclear = [], 0, 0
    for i, j in _pairs(sizes):
        both = np.isfinite(curves[i]) & np.isfinite(curves[j])
        x, lead = grid[both], curves[j][both] - curves[i][both]  # > 0 while the smaller one is better
        crossing = _crossing(x, lead) if len(x) >= MIN_COMMON_POINTS else None
        if crossing is None or not x[0] + END_MARGIN < crossing < x[-1] - END_MARGIN:
            at_end += 1
        elif np.mean((lead > 0) != (x < crossing)) > MOST_FLIPS:
            unclear += 1
        else:
            found.append((crossing, sizes[i], sizes[j]))
    table = np.array(sorted(found)).reshape(-1, 3)
    return Crossings(
        ln_flops=table[:, 0], smaller=table[:, 1], larger=table[:, 2], at_end=at_end, unclear=unclear
    )


def _crossing(x: Array, lead: Array) -> float | None:
    """Where `lead` falls through zero: the root of a parabola fitted about the place where the signs change.

    The fit and not the signs decide: where a curve ends soon after the crossing, flips of sign beyond its end are
    missing, and counting the rest would put the crossing too early.
    """
    n = int(np.sum(lead > 0))
    about = x[min(n, len(x) - 1)]
    near = np.abs(x - about) < WINDOW
    if int(near.sum()) < MIN_COMMON_POINTS:
        return None
    centre = float(x[near].mean())
    c = np.polynomial.polynomial.polyfit(x[near] - centre, lead[near], 2)
    roots = np.roots(c[::-1]) if abs(c[2]) > 1e-12 * abs(c[1]) else np.array([-c[0] / c[1]])
    real = np.real(roots[np.abs(np.imag(roots)) < 1e-9])
    falling = real[c[1] + 2 * c[2] * real < 0]
    return float(centre + falling[0]) if len(falling) else None


def _pairs(sizes: Array) -> list[tuple[int, int]]:
    """Each size with the first one at least 1.5 times larger: closer ones differ by less than their noise."""
    partner = np.searchsorted(sizes, PAIR_RATIO * sizes * (1 - 1e-9))
    return [(i, int(j)) for i, j in enumerate(partner) if j < len(sizes)]
