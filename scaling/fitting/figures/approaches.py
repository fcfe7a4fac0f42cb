"""Approaches 1 and 2 as figures: valleys with their minima, training curves with their envelope, and their lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from scaling.blocks import Figure
from scaling.fitting.envelope.fit import EnvelopeFit
from scaling.fitting.figures.optimum import Columns, optimum_figure
from scaling.fitting.isoflop.result import BudgetMinimum, IsoflopFit
from scaling.fitting.isoflop.valley import valley_kind
from scaling.laws.base import Law
from scaling.runs import Runs
from scaling.runs.table import group_index
from scaling.translation import counted, tr

CURVE_POINTS = 60
MOST_CURVES = 400
POINTS_PER_CURVE = 200


# --- Approach 2 ---


def isoflop_figure(
    fit: IsoflopFit, *, target_flops: float | None = None, others: Sequence[Law] = ()
) -> Figure:
    """The valleys with their minima, and N* and D* of the budgets with their lines and the projected target.

    The picture of Hoffmann et al. 2022, figure 3. Budgets are FLOPs as the table counts them in the valleys, and 6ND
    on the lines, as the law counts.
    """
    line = optimum_figure(fit, target_flops=target_flops, others=others)
    data = {**valleys(fit), **line.data}
    title = tr(
        "{n} of {budgets} hold a minimum", n=len(fit.used), budgets=counted(len(fit.budgets), "budget")
    )
    title += f"\n{tr('hollow: refused, a cross at the run to add')}" if fit.refused else ""
    alt = tr(
        "Loss over model size at {budgets}, the minimum of each with its interval, and the lines through the minima. "
        "{line}",
        budgets=counted(len(fit.budgets), "budget"),
        line=line.alt,
    )
    caption = tr(
        "IsoFLOP valleys ({kind}) with their minima (diamonds, bars {level:g} % intervals), and the sizes and tokens "
        "at the minima over compute. Solid: where there were runs; dashed: beyond.",
        kind=valley_kind(fit.valley),
        level=100 * fit.level,
    )
    return Figure("isoflop", data, alt, caption, (title, *line.titles))


def valleys(fit: IsoflopFit) -> Columns:
    """Runs, fitted curves and minima of the budgets; NaN for what a refused budget has not."""
    runs: Columns = {"run_budget": [], "run_n_params": [], "run_n_tokens": [], "run_loss": []}
    curves: Columns = {key: [] for key in ("curve_budget", "curve_n_params", "curve_n_tokens", "curve_loss")}
    minima: Columns = {}
    for i, budget in enumerate(fit.budgets):
        n = len(budget.runs)
        _extend(runs, [i] * n, budget.runs.n_params, budget.runs.n_tokens, budget.runs.loss)
        at = np.linspace(*_ends_of_curve(budget), CURVE_POINTS)
        drawn = np.asarray(budget.valley.curve(at))
        _extend(curves, [i] * len(at), np.exp(budget.runs.ln_params(at)), np.exp(at), drawn)
        for name, value in _minimum(budget).items():
            minima.setdefault(name, []).append(value)
    unit = "" if fit.convention.loss_unit == "nats/token" else fit.convention.loss_unit
    return {**runs, **curves, **minima, "level": [fit.level], "loss_unit": [unit or "nats/token"]}


def _extend(columns: Columns, *values: Iterable[float]) -> None:
    for column, more in zip(columns.values(), values, strict=True):
        column.extend(float(v) for v in more)


def _ends_of_curve(budget: BudgetMinimum) -> tuple[float, float]:
    """From the least to the most tokens; of a refused budget on to the run that would bracket it."""
    low, high = float(budget.runs.x.min()), float(budget.runs.x.max())
    next_run = budget.refused.next_run if budget.refused else None
    if next_run is None:
        return low, high
    at = math.log(next_run.n_tokens)
    return min(low, at), max(high, at)


def _minimum(budget: BudgetMinimum) -> dict[str, float]:
    found = {"budget": budget.flops}
    for name in ("n_params", "n_tokens"):
        estimate = None if budget.refused else getattr(budget, name)
        interval = estimate.interval if estimate else None
        found[f"minimum_{name}"] = estimate.value if estimate else math.nan
        found[f"minimum_{name}_low"] = max(interval.low, 0.0) if interval else math.nan
        found[f"minimum_{name}_high"] = interval.high if interval else math.nan
    found["minimum_loss"] = budget.loss.value if budget.loss and not budget.refused else math.nan
    next_run = budget.refused.next_run if budget.refused else None
    found["next_n_params"] = next_run.n_params if next_run else math.nan
    found["next_n_tokens"] = next_run.n_tokens if next_run else math.nan
    at = math.log(next_run.n_tokens) if next_run else math.nan
    found["next_loss"] = float(np.asarray(budget.valley.curve(np.asarray(at)))) if next_run else math.nan
    return found


# --- Approach 1 ---


def envelope_figure(
    fit: EnvelopeFit,
    curves: Runs | None = None,
    *,
    target_flops: float | None = None,
    others: Sequence[Law] = (),
) -> Figure:
    """Training curves with their lower envelope, and N* and D* at the places where the best size changes.

    The picture of Hoffmann et al. 2022, figure 2. `curves` are thinned to 400 curves of 200 points.
    """
    line = optimum_figure(fit, target_flops=target_flops, others=others)
    data = {**_envelope(fit), **(_curves(curves) if curves is not None else {}), **line.data}
    title = tr(
        "The best size changes {n} times\nover {curves}",
        n=len(fit.crossing_flops),
        curves=counted(fit.n_runs, "training curve"),
    )
    alt = tr(
        "Loss over training compute of {curves} with their lower envelope. {line}",
        curves=counted(fit.n_runs, "training curve"),
        line=line.alt,
    )
    caption = tr(
        "Training curves (thin) with their lower envelope, coloured by the size that is best there, and where the best "
        "size changes (diamonds); the lines go through these changes."
    )
    return Figure("envelope", data, alt, caption, (title, *line.titles))


def _envelope(fit: EnvelopeFit) -> Columns:
    """The envelope thinned to what a picture shows, with every change of its size."""
    steps = np.flatnonzero(np.diff(fit.n_params, prepend=fit.n_params[:1]))
    even = np.linspace(0, len(fit.flops) - 1, min(len(fit.flops), 2 * POINTS_PER_CURVE)).astype(np.int64)
    at = np.unique(np.concatenate([even, steps, np.maximum(steps - 1, 0)]))
    return {
        "envelope_flops": fit.flops[at].tolist(),
        "envelope_n_params": fit.n_params[at].tolist(),
        "envelope_loss": fit.loss[at].tolist(),
        "crossing_flops": fit.crossing_flops.tolist(),
        "crossing_loss": np.interp(fit.crossing_flops, fit.flops, fit.loss).tolist(),
        "loss_unit": [fit.convention.loss_unit],
    }


def _curves(curves: Runs) -> Columns:
    run = group_index(curves.run_id)
    order = np.lexsort((curves.flops, run))
    starts = np.flatnonzero(np.diff(run[order], prepend=-1))
    found: Columns = {"curve_run": [], "curve_flops": [], "curve_loss": []}
    every = max(1, -(-len(starts) // MOST_CURVES))
    for i, rows in enumerate(np.split(order, starts[1:])[::every]):
        thin = rows[np.linspace(0, len(rows) - 1, min(len(rows), POINTS_PER_CURVE)).astype(np.int64)]
        _extend(found, [i] * len(thin), curves.flops[thin], curves.loss[thin])
    return {**found, "n_curves": [float(len(starts))]}
