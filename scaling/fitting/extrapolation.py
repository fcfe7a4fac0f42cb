"""Hold-out extrapolation: fit the runs up to a compute cut-off, predict the dearer ones, roll the cut-off upwards.

The honest test of a law for planning. It shows three things at once: how far predictions are off, whether stated
intervals hold the runs they should, and whether the exponent drifts with the range that is let in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.arguments import is_number, require_flags, require_kind, require_level, require_whole
from scaling.blocks import Blocks, Record, Shown, Table, Text
from scaling.errors import FitError, UsageError, shown
from scaling.fitting.digits import signed_percent
from scaling.fitting.named_fit import (
    FitSettings,
    fit_named_law,
    largest,
    optimum,
    ordered_by_flops,
    params_exponent,
    prediction_ends,
)
from scaling.fitting.prediction import predicted_loss
from scaling.fitting.sections import refusals
from scaling.jsonable import fields_of
from scaling.lazy import RENDERERS
from scaling.progress import tracked
from scaling.runs import Runs, assign_budgets
from scaling.translation import counted, tr
from scaling.units import format_flops, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

MOST_BUDGETS = 12  # more groups of compute than this are no IsoFLOP design: cut at quantiles instead
N_QUANTILES = 6
LOWEST_SHARE, HIGHEST_SHARE = 0.3, 0.9  # of the runs, below the first and last cut-off
MIN_FITTED = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class CutOff:
    """One cut-off. Errors are predicted / observed - 1, as fractions; all None where `refused` says why."""

    flops: float
    n_fitted: int
    n_held_out: int
    mean_absolute_error: float | None = None
    largest_error: float | None = None  # signed, the one of largest magnitude
    mean_error: float | None = None
    # held-out runs inside their prediction interval; None without intervals
    inside_fraction: float | None = None
    params_exponent: float | None = None  # a of N* ~ C^a, where the law has one
    n_params_at_largest: float | None = None  # N* at the largest compute of the table
    held_out: NDArray[np.int64] | None = None  # positions of the held-out runs
    error: Array | None = None  # of each held-out run
    observed: Array | None = None  # its loss
    ends: tuple[Array, Array] | None = None  # of its prediction interval
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("held_out", "error", "observed", "ends"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Extrapolation(Shown):
    """Cut-offs in rising order, the last one a fit of every run (nothing held out).

    Example:
        >>> import scaling
        >>> held_out = scaling.evaluate_extrapolation(scaling.example_runs(), cuts=[5e19], intervals=False)
        >>> held_out.to_frame()[["n_fitted", "n_held_out"]].values.tolist()
        [[36, 18], [54, 0]]
    """

    law: str
    objective: str
    level: float
    cut_offs: tuple[CutOff, ...]
    all_runs: CutOff
    flops: Array  # (n_runs,) for drawing
    source: str

    @property
    def usable(self) -> tuple[CutOff, ...]:
        return tuple(c for c in self.cut_offs if c.refused is None)

    @property
    def exponent_drift(self) -> float | None:
        """Exponent of the fit of every run minus that of the lowest cut-off."""
        known = [c.params_exponent for c in (*self.usable, self.all_runs) if c.params_exponent is not None]
        return known[-1] - known[0] if len(known) > 1 else None

    def verdict(self) -> str:
        """For a first screen: how far off the dearer runs were, and how many lay inside their interval."""
        cuts = self.usable
        errors = [c.mean_absolute_error for c in cuts if c.mean_absolute_error is not None]
        inside = [c.inside_fraction for c in cuts if c.inside_fraction is not None]
        if len(cuts) == 1:
            said = tr(
                "the {runs} above {flops} FLOPs are missed by {error} on average",
                flops=format_flops(cuts[0].flops),
                runs=counted(cuts[0].n_held_out, "run"),
                error=format_percent(errors[0]),
            )
        else:
            said = tr(
                "over {n} cuts the dearer runs are missed by {least} to {most}",
                n=len(cuts),
                least=format_percent(min(errors)),
                most=format_percent(max(errors)),
            )
        if not inside:
            return said
        level = f"{100 * self.level:g} %"
        least = f"{100 * min(inside):.0f} %"
        if len(inside) == 1:
            return said + tr("; {share} lie in their {level} interval", share=least, level=level)
        return said + tr("; at least {share} lie in their {level} interval", share=least, level=level)

    def records(self) -> list[Record]:
        """A row a cut-off, the last one a fit of every run; errors are predicted / observed - 1."""
        names = [f.name for f in fields(CutOff) if f.name not in ("held_out", "error", "observed", "ends")]
        return [{name: getattr(cut, name) for name in names} for cut in (*self.cut_offs, self.all_runs)]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """The errors over the cut-offs: `scaling.plots.plot_extrapolation`."""
        axes: Axes = RENDERERS["plot_extrapolation"](self, ax=ax)
        return axes

    def summary(self) -> Blocks:
        inside = tr("in {level:g} % int.", level=100 * self.level)
        headers = (
            tr("fitted up to"), tr("runs"), tr("held out"), tr("mean |error|"), tr("mean error"), tr("largest"),
            inside, "a",
        )  # fmt: skip
        drift = self.exponent_drift
        moves: Blocks = ()
        if drift is not None and len(self.usable) > 1:
            said = tr("from the lowest cut-off to all runs the exponent a moves by {drift:+.3f}", drift=drift)
            moves = (Text(said, indent=2),)
        return (
            Text(self.verdict()),
            Table(headers, [_row(cut) for cut in (*self.cut_offs, self.all_runs)]),
            *refusals((format_flops(cut.flops), cut.refused) for cut in self.cut_offs if cut.refused),
            *moves,
        )

    def to_dict(self) -> dict[str, Any]:
        lead = {"schema_version": 1, "kind": "extrapolation"}
        return lead | fields_of(self, leave_out=("flops",), also=("exponent_drift",))


def _row(cut: CutOff) -> tuple[str, ...]:
    return (
        format_flops(cut.flops),
        str(cut.n_fitted),
        str(cut.n_held_out) if cut.n_held_out else tr("none"),
        signed_percent(cut.mean_absolute_error, ""),
        signed_percent(cut.mean_error),
        signed_percent(cut.largest_error),
        "" if cut.inside_fraction is None else f"{100 * cut.inside_fraction:.0f} %",
        "" if cut.params_exponent is None else f"{cut.params_exponent:.3f}",
    )


def evaluate_extrapolation(
    runs: Runs,
    law: str = "chinchilla",
    *,
    cuts: Sequence[float] | None = None,
    objective: str = "huber",
    huber_delta: float | None = None,
    intervals: bool = True,
    level: float = 0.95,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
    every_row: bool = False,
) -> Extrapolation:
    """Fit runs with C <= cut, predict the rest, for each cut-off.

    Args:
        runs: final losses.
        law: a family with a loss; chinchilla is fitted by `fit_parametric`, others by `fit_law`.
        cuts: in FLOPs, any order; half-way between the table's budgets unless given, or at quantiles of C where it
            has no budgets.
        objective: huber, hoffmann (Huber at delta 1e-3), log_least_squares, least_squares or asymmetric.
        huber_delta: threshold of `huber` for the chinchilla law; 1.345 x the robust scale unless given.
        intervals: also count how many held-out runs lie inside their prediction interval.
        fixed: coefficients to hold in every fit, {"E": 1.6}.
        every_row: of training curves take every row for a run, not the last one of each.
    Raises:
        FitError: no cut-off leaves enough runs to fit and one to predict.
        UsageError: a cut-off that is not a positive number, or an unknown law or objective.
    Example:
        >>> import scaling
        >>> held_out = scaling.evaluate_extrapolation(scaling.example_runs(), cuts=[5e19], intervals=False)
        >>> f"{held_out.cut_offs[0].mean_absolute_error:.2%}"
        '0.43%'
    """
    what = "a hold-out (--holdout-above)"
    runs = ordered_by_flops(runs, "evaluate_extrapolation", what, every_row=every_row)
    require_kind(
        "cuts",
        () if cuts is None else cuts,
        (list, tuple, np.ndarray),
        "Give cut-offs in FLOPs: [1e20, 1e21].",
    )
    chosen = _default_cuts(runs) if cuts is None else list(cuts)
    bad = [c for c in chosen if not is_number(c) or not (0 < c < math.inf)]
    if bad:
        raise UsageError(f"a cut-off is a positive number of FLOPs; got {shown(bad[0])}.")
    chosen = sorted(float(c) for c in chosen)
    require_level(level)
    require_whole(seed=seed)
    require_flags(intervals=intervals, every_row=every_row)
    settings = FitSettings(
        law=law,
        objective=objective,
        huber_delta=huber_delta,
        intervals=intervals,
        level=level,
        seed=seed,
        fixed={} if fixed is None else fixed,
    )
    found = (evaluate_cut(runs, cut, settings) for cut in tracked(chosen, tr("hold-outs")))
    results = tuple(
        cut if cut.n_held_out else replace(cut, refused="no run lies above this cut-off.") for cut in found
    )
    if not any(r.refused is None for r in results):
        reason = results[0].refused if results else "the table has a single budget."
        raise FitError(
            f"no cut-off of {runs.source} leaves runs to fit and runs to predict: {reason} Give cuts between "
            f"{runs.flops.min():.3g} and {runs.flops.max():.3g} FLOPs (--holdout-above rolling tries them all), or "
            "add budgets."
        )
    return Extrapolation(
        law=law,
        objective=objective,
        level=level,
        cut_offs=results,
        all_runs=evaluate_cut(runs, float(runs.flops.max()), settings),
        flops=runs.flops,
        source=runs.source,
    )


def _default_cuts(runs: Runs) -> list[float]:
    known = assign_budgets(runs).flops
    if 2 <= len(known) <= MOST_BUDGETS:
        return [float(c) for c in np.sqrt(known[1:] * known[:-1])]
    shares = np.linspace(LOWEST_SHARE, HIGHEST_SHARE, N_QUANTILES)
    return sorted({float(q) for q in np.quantile(runs.flops, shares)} - {float(runs.flops.max())})


def evaluate_cut(runs: Runs, cut: float, settings: FitSettings) -> CutOff:
    """The fit of the runs up to `cut` FLOPs, asked for the dearer ones; with none of these the fit alone."""
    keep = runs.flops <= cut
    n_fitted, rows = int(keep.sum()), np.flatnonzero(~keep)
    bare = CutOff(flops=cut, n_fitted=n_fitted, n_held_out=len(rows))
    if n_fitted < MIN_FITTED:
        return replace(
            bare,
            refused=tr(
                "{n} runs at or below {cut:.3g} FLOPs; a fit needs {least}.",
                n=n_fitted,
                cut=cut,
                least=MIN_FITTED,
            ),
        )
    try:
        fit = fit_named_law(runs.select(keep), settings)
    except FitError as error:
        return replace(bare, refused=str(error))
    best, exponent = optimum(fit.law, float(runs.flops.max())), params_exponent(fit.law)
    fitted = replace(bare, params_exponent=exponent, n_params_at_largest=best.n_params if best else None)
    if not len(rows):
        return fitted
    rest = runs.select(rows)
    off = predicted_loss(fit.law, rest) / rest.loss - 1
    ends = prediction_ends(fit, rest) if settings.intervals else None
    inside = None if ends is None else float(np.mean((rest.loss >= ends[0]) & (rest.loss <= ends[1])))
    return replace(
        fitted,
        mean_absolute_error=float(np.mean(np.abs(off))),
        largest_error=largest(off),
        mean_error=float(off.mean()),
        inside_fraction=inside,
        held_out=rows,
        error=off,
        observed=rest.loss,
        ends=None if ends is None else (np.asarray(ends[0]), np.asarray(ends[1])),
    )
