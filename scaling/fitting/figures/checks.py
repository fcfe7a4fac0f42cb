"""How far to trust a law, as figures: predicted against seen, the rolling cut, laws and objectives side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.blocks import Figure
from scaling.errors import UsageError
from scaling.fitting.comparison import HELD_OUT_SHARE, LawComparison
from scaling.fitting.extrapolation import CutOff, Extrapolation
from scaling.fitting.prediction import Prediction
from scaling.fitting.results import Estimate
from scaling.runs import Runs
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_percent

Array = NDArray[np.float64]


def hold_out_figure(result: Extrapolation) -> Figure:
    """Runs that a fit did not see, predicted against seen, and the error by the cut-off where there are several.

    The first panel is of the cut-off that holds out about a fifth of the runs.
    """
    cuts = result.usable
    chosen = min(cuts, key=lambda c: abs(c.n_held_out / (c.n_held_out + c.n_fitted) - HELD_OUT_SHARE))
    data: dict[str, Any] = {
        **_held_out(chosen, result),
        "cut_flops": [c.flops for c in cuts],
        "cut_mean_error_percent": [100 * (c.mean_absolute_error or 0.0) for c in cuts],
        "cut_largest_error_percent": [100 * abs(c.largest_error or 0.0) for c in cuts],
        "cut_inside_fraction": [math.nan if c.inside_fraction is None else c.inside_fraction for c in cuts],
        "level": [result.level],
    }
    title = tr(
        "Unseen runs are predicted to {error}", error=format_percent(chosen.mean_absolute_error or 0.0)
    )
    title += "\n" + tr("fitted up to {flops} FLOPs, asked for {n} dearer runs", flops=format_flops(chosen.flops),
                       n=chosen.n_held_out)  # fmt: skip
    if chosen.inside_fraction is not None:
        title += tr(
            "; {inside:.0f} % inside their {level:g} % interval",
            inside=100 * chosen.inside_fraction,
            level=100 * result.level,
        )
    titles: tuple[str, ...] = (title,)
    if len(cuts) > 1:
        worst = max(c.mean_absolute_error or 0.0 for c in cuts)
        titles += (tr("Mean error at most {error} at any cut-off", error=format_percent(worst)),)
    caption = tr(
        "Losses of runs dearer than any fitted one: predicted (bars: prediction intervals) against measured; on the "
        "line the prediction is right."
    )
    return Figure("hold-out", data, titles[0].replace("\n", ", ") + ".", caption, titles)


def _held_out(cut: CutOff, result: Extrapolation) -> dict[str, list[float]]:
    """Measured and predicted losses of the runs held out at a cut-off, and the ends of their intervals."""
    if cut.observed is None or cut.error is None or cut.held_out is None:
        raise UsageError("this cut-off holds no run out: there is nothing to draw.")
    data = {
        "run_flops": result.flops[cut.held_out].tolist(),
        "run_loss": cut.observed.tolist(),
        "run_predicted": (cut.observed * (1 + cut.error)).tolist(),
    }
    if cut.ends is not None:
        data |= {"run_low": cut.ends[0].tolist(), "run_high": cut.ends[1].tolist()}
    return data


def prediction_figure(prediction: Prediction, runs: Runs) -> Figure:
    """What a law predicts for a table of runs: against what they reached, or over compute where they have no loss."""
    band = prediction.confidence if prediction.prediction is None else prediction.prediction
    data: dict[str, Any] = {
        "run_loss": prediction.observed.tolist(),
        "run_predicted": prediction.loss.tolist(),
        "level": [prediction.level],
        "loss_unit": [runs.convention.loss_unit],
    }
    x = next(name for name in ("flops", "n_params", "n_tokens") if name not in runs.absent)
    data |= {"run_x": getattr(runs, x).tolist(), "quantity": [x]}
    if band is not None:
        data |= {"run_low": band[:, 0].tolist(), "run_high": band[:, 1].tolist()}
    scores = prediction.scores()
    if scores["n_measured"]:
        title = tr(
            "The law predicts these runs to {error}",
            error=format_percent(scores["mean_absolute_error_fraction"]),
        )
        bias, largest = (100 * scores[f"{name}_error_fraction"] for name in ("mean", "largest"))
        title += "\n" + tr("bias {bias:+.2g} %, largest error {largest:+.2g} %", bias=bias, largest=largest)
        if scores["inside_interval_fraction"] is not None:
            inside = 100 * scores["inside_interval_fraction"]
            title += tr(
                "; {inside:.0f} % inside their {level:g} % interval",
                inside=inside,
                level=100 * prediction.level,
            )
    else:
        title = tr("Predicted loss of {runs} not trained yet", runs=counted(len(runs), "run"))
    caption = tr("Loss that the law predicts for each run (bars: intervals), and what was measured.")
    return Figure("prediction", data, title.replace("\n", ", ") + ".", caption, (title,))


def exponent_drift_figure(result: Extrapolation, exponent: Estimate | None = None) -> Figure:
    """The exponent a of N* ~ C^a against the cut-off, and that of all runs with its interval where it is given.

    Raises:
        UsageError: the law has no single exponent, or one cut-off alone was made.
    """
    known = [c for c in result.usable if c.params_exponent is not None]
    everything = result.all_runs.params_exponent
    if not known or everything is None:
        raise UsageError(
            tr(
                "the {law} law has no single exponent of N*; draw plot_extrapolation instead.",
                law=result.law,
            )
        )
    data: dict[str, Any] = {
        "cut_flops": [*(c.flops for c in known), result.all_runs.flops],
        "cut_exponent": [*(c.params_exponent for c in known), everything],
        "cut_n_fitted": [*(c.n_fitted for c in known), result.all_runs.n_fitted],
    }
    if exponent is not None and exponent.interval is not None and exponent.interval.bounded:
        ends = exponent.interval
        data |= {"exponent_low": [ends.low], "exponent_high": [ends.high], "level": [ends.level]}
    drift = everything - known[0].params_exponent if known[0].params_exponent is not None else 0.0
    title = tr("Dearer runs move a by {drift:+.3f}", drift=drift)
    title += "\n" + tr(
        "all runs: a = {a:.3f}; an exponent that drifts inside the runs drifts beyond them", a=everything
    )
    caption = tr(
        "The exponent a of N* fitted on the runs up to each cut-off; the last point is the fit of all runs."
    )
    return Figure("exponent-drift", data, title.replace("\n", ", ") + ".", caption, (title,))


def comparison_figure(result: LawComparison) -> Figure:
    """N* at the target budget under each law and objective, best predictor on top, with its hold-out error.

    Raises:
        UsageError: no law has an optimum there.
    """
    rows = [r for r in result.rows if r.n_params is not None]
    if not rows:
        raise UsageError(
            "none of the compared laws has an optimum at the target budget: there is nothing to draw."
        )
    data: dict[str, Any] = {
        "law": [r.law for r in rows],
        "objective": [r.objective.replace("_", " ") for r in rows],
        "n_params": [r.n_params for r in rows],
        "held_out_error_percent": [
            math.nan if r.held_out_mean_error is None else 100 * r.held_out_mean_error for r in rows
        ],
        "target_flops": [result.target_flops],
    }
    low, high = result.spread("n_params")
    flops = format_flops(result.target_flops, 2)
    title = tr("Laws and objectives spread N* by a factor of {factor:.2g}", factor=high / low)
    title += "\n" + tr("{flops} FLOPs: {low} to {high}, the best predictor says {best}", flops=flops,
                       low=format_params(low), high=format_params(high),
                       best=format_params(rows[0].n_params or 0.0))  # fmt: skip
    caption = tr(
        "N* at {flops} FLOPs under each law and objective fitted to the same runs, the best hold-out error on top. No "
        "interval of one fit shows this spread.",
        flops=flops,
    )
    return Figure("comparison", data, title.replace("\n", ", ") + ".", caption, (title,))
