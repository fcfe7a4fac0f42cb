"""A fitted loss as figures: the surface with its frontier, slices at equal compute, what it misses, which runs decide
it, and how its coefficients hang together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.blocks import Figure
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import UsageError
from scaling.fitting.figures.optimum import Columns, at_target, grows, optimum_figure
from scaling.fitting.prediction import loss_band, predicted_loss
from scaling.fitting.surface.law_fit import LawFit
from scaling.fitting.surface.result import ParametricFit
from scaling.fitting.surface.uncertainty import law_uncertainty
from scaling.laws.base import Law
from scaling.laws.methods import method_in_words
from scaling.runs import Runs, cluster_budgets
from scaling.runs.table import QUANTITIES
from scaling.translation import counted, tr
from scaling.units import format_percent, round_by_error

Array = NDArray[np.float64]

MAP_POINTS = 64  # of the surface, along each axis
MAP_BEYOND = 30.0  # times the largest compute of the runs
LINE_BEYOND = 30.0
LINE_POINTS = 40
SLICE_POINTS = 50
MOST_SLICES = 8
SLICE_TOLERANCE = 0.12  # runs this near a budget share its colour
FAR_OFF = 5.0  # robust standard deviations
REJECTED = 0.01  # p of the test for lack of fit, the level of its finding
DOWN_WEIGHTED = 0.5  # Huber weight: hollow
TOLD_APART = 0.5  # correlation below which a quarter of the variance at most is shared
NORMAL_95 = 1.96


def surface_figure(
    fit: ParametricFit, *, target_flops: float | None = None, others: Sequence[Law] = ()
) -> Figure:
    """The fitted loss over compute and model size, with the runs and the compute-optimal frontier.

    The picture of Hoffmann et al. 2022, figure 4, left.
    """
    n_params, n_tokens, _ = fitted_runs(fit)
    flops = FLOPS_PER_PARAM_TOKEN * n_params * n_tokens
    end = max(MAP_BEYOND * float(flops.max()), 2 * (target_flops or 0.0))
    line = optimum_figure(
        fit, quantities=("n_params",), to_flops=end, target_flops=target_flops, others=others
    )
    x = np.geomspace(flops.min() / 1.8, end, MAP_POINTS)
    best = [fit.law.allocate(float(c)).n_params for c in (x[0], end)]
    y = np.geomspace(min(n_params.min(), *best) / 1.8, max(n_params.max(), *best) * 1.8, MAP_POINTS)
    C, N = np.meshgrid(x, y)
    loss = np.asarray(fit.law.loss(N, C / (FLOPS_PER_PARAM_TOKEN * N)))
    data: Columns = {
        "grid_flops": C.ravel().tolist(),
        "grid_n_params": N.ravel().tolist(),
        "grid_loss": loss.ravel().tolist(),
        "floor": [fit.law.loss_floor],
        "run_flops": flops.tolist(),
        "run_n_params": n_params.tolist(),
        "loss_unit": [_unit(fit)],
    }
    title = grows("n_params", fit.params_exponent)
    if target_flops is not None and fit.spread is not None:
        title += f"\n{at_target('n_params', target_flops, fit.estimate('n_params', flops=target_flops))}"
    alt = tr(
        "Contours of the fitted loss over training compute and parameters, with {runs} and the line of optimal sizes.",
        runs=counted(fit.n_runs, "run"),
    )
    caption = tr(
        "The fitted loss (contours), the runs (dots) and the compute-optimal size: solid where there were runs, dashed "
        "beyond. Runs on both sides of the line are what pins it."
    )
    return Figure("loss-surface", {**data, **line.data}, alt, caption, (title,))


def slices_figure(fit: ParametricFit) -> Figure:
    """Measured losses against model size, one colour a budget, over the fitted surface at that budget.

    The picture of Hoffmann et al. 2022, figure 4, right.
    """
    n_params, n_tokens, loss = fitted_runs(fit)
    clusters = cluster_budgets(FLOPS_PER_PARAM_TOKEN * n_params * n_tokens, SLICE_TOLERANCE)
    sizes = np.array([len(clusters.members(i)) for i in range(len(clusters))])
    shown = np.sort(np.argsort(-sizes, kind="stable")[:MOST_SLICES])
    keys = ("run_budget", "run_n_params", "run_loss", "curve_budget", "curve_n_params", "curve_loss", "budget",
            "best_n_params", "best_loss")  # fmt: skip
    data: Columns = {key: [] for key in keys}
    for i, cluster in enumerate(shown):
        rows, budget = clusters.members(int(cluster)), float(clusters.flops[cluster])
        at = np.geomspace(n_params[rows].min(), n_params[rows].max() * 1.0001, SLICE_POINTS)
        curve = np.asarray(fit.law.loss(at, budget / (FLOPS_PER_PARAM_TOKEN * at)))
        best = fit.law.allocate(budget)
        added = ([i] * len(rows), n_params[rows].tolist(), loss[rows].tolist(), [i] * len(at), at.tolist(),
                 curve.tolist(), [budget], [best.n_params], [best.loss or math.nan])  # fmt: skip
        for key, values in zip(keys, added, strict=True):
            data[key] += values
    data["loss_unit"] = [_unit(fit)]
    scatter = format_percent(fit.residuals.robust_scale)
    title = tr("Runs scatter by {scatter} about the law", scatter=scatter)
    alt = tr("Measured and fitted loss over model size at {budgets}.", budgets=counted(len(shown), "budget"))
    caption = tr(
        "Measured losses (dots) over the fitted law (lines) at about equal compute; diamonds are the law's optima."
    )
    return Figure("loss-slices", data, alt, caption, (title,))


def power_law_figure(fit: LawFit, runs: Runs) -> Figure:
    """A law of one quantity: measured losses over the line, with the stated band, and beyond the runs."""
    if not reads_one_quantity(fit):
        raise UsageError(
            f"the law {fit.law.family.name} reads several quantities and is no line; draw plot_residuals instead."
        )
    name = fit.law.family.inputs[0].name
    x = np.asarray(getattr(runs, name), dtype=np.float64)
    high = float(x.max())
    at = np.concatenate([
        np.geomspace(x.min(), high, LINE_POINTS), np.geomspace(high, LINE_BEYOND * high, LINE_POINTS)[1:]
    ])  # fmt: skip
    line = np.asarray(fit.law.predict({name: at})["loss"], dtype=np.float64)
    stated = loss_band(fit.law, {name: at})
    data: Columns = {"x": at.tolist(), "loss": line.tolist(), "run_x": x.tolist(), "run_loss": runs.loss.tolist(),
                     "fitted_x": [float(x.min()), high], "quantity": [name], "loss_unit": [_unit(fit)]}  # fmt: skip
    if stated is not None:
        known = fit.law.uncertainty
        data |= {"loss_low": stated[:, 0].tolist(), "loss_high": stated[:, 1].tolist()}
        data["level"] = [known.level if known else fit.level]
    title = _power_title(fit)
    alt = tr("Loss over {name} of {runs} with the fitted law.", name=name, runs=counted(fit.n_runs, "run"))
    caption = tr("Measured losses (dots) over the fitted law: solid where there were runs, dashed beyond.")
    return Figure("power-law", data, alt, caption, (title,))


def _power_title(fit: LawFit) -> str:
    exponent = next(
        (e for name, e in fit.estimates.items() if name.startswith(("alpha", "gamma", "beta"))), None
    )
    if exponent is None:
        return fit.law.family.formula
    error = exponent.standard_error
    value = round_by_error(exponent.value, error) if error else f"{exponent.value:.3f}"
    said = tr("The loss above its floor falls with the exponent {value}", value=value)
    return said + (f" \N{PLUS-MINUS SIGN} {2 * error:.2g}" if error else "")


def reads_one_quantity(fit: Any) -> bool:
    """Whether the law is a function of n_params, n_tokens or flops alone."""
    inputs = fit.law.family.inputs
    return len(inputs) == 1 and inputs[0].name in QUANTITIES


def residuals_figure(fit: Any, runs: Runs | None = None) -> Figure:
    """Measured over fitted loss, per cent, against N, D and C, and their quantiles against a Gaussian's.

    Args:
        runs: other runs than the fitted ones; a LawFit carries none and needs them.
    Raises:
        UsageError: no runs to compare with.
    """
    columns, fitted = _seen_and_fitted(fit, runs)
    loss = columns.pop("loss")
    percent = 100 * (loss / fitted - 1)
    parametric = isinstance(fit, ParametricFit)
    scale = 100 * (fit.residuals.robust_scale if parametric else fit.residual_sd)
    data: Columns = {f"run_{name}": values.tolist() for name, values in columns.items()}
    data["run_residual_percent"], data["robust_scale_percent"] = percent.tolist(), [scale]
    delta = fit.objective.delta
    if delta is not None:
        off = np.abs(np.log(loss / fitted))
        data["run_weight"] = np.minimum(1.0, delta / np.maximum(off, 1e-300)).tolist()
    data |= _quantiles(percent, scale)
    n_far = int(np.sum(np.abs(percent) > FAR_OFF * scale)) if scale > 0 else 0
    title = _residual_title(fit, format_percent(scale / 100))
    tails = tr("{n} of {runs} beyond 5 robust deviations", n=n_far, runs=counted(len(percent), "run"))
    alt = tr(
        "What the law misses, in per cent of the loss, over parameters, tokens and compute, and its quantiles against "
        "those of a Gaussian: robust scatter {scatter}, {tails}.",
        scatter=format_percent(scale / 100),
        tails=tails,
    )
    caption = tr(
        "Measured over fitted loss. The grey band holds 95 % of the runs if the noise is Gaussian; the orange line is "
        "the median of a tenth of the runs each: where it leaves the band's middle the form of the law is wrong."
    )
    titles = (title, "", "", tails)
    return Figure("residuals", data, alt, caption, titles[: 1 + len(columns)] if len(columns) < 3 else titles)


def _residual_title(fit: Any, scatter: str) -> str:
    test = fit.lack_of_fit
    if test is None:
        return tr("Runs scatter by {scatter} about the law", scatter=scatter)
    claim = (
        tr("Runs reject the form (p = {p:.1g})", p=test.p_value)
        if test.p_value < REJECTED
        else tr("Runs do not reject the form (p = {p:.2g})", p=test.p_value)
    )
    return claim + "\n" + tr("they scatter by {scatter} about it", scatter=scatter)


def _seen_and_fitted(fit: Any, runs: Runs | None) -> tuple[dict[str, Array], Array]:
    """The quantities of the runs and their loss, and the loss that the law gives them."""
    if runs is None:
        if not isinstance(fit, ParametricFit):
            raise UsageError("this fit does not carry its runs; pass them: plot_residuals(fit, runs).")
        n_params, n_tokens, loss = fitted_runs(fit)
        seen = {"n_params": n_params, "n_tokens": n_tokens}
        fitted = np.asarray(fit.law.loss(n_params, n_tokens))
    else:
        names = [name for name in ("n_params", "n_tokens", "flops") if name not in runs.absent]
        one = fit.law.family.inputs[0].name if reads_one_quantity(fit) else None
        seen = {name: getattr(runs, name) for name in names if one is None or name == one}
        loss, fitted = runs.loss, predicted_loss(fit.law, runs)
    if {"n_params", "n_tokens"} <= seen.keys():
        seen["flops"] = FLOPS_PER_PARAM_TOKEN * seen["n_params"] * seen["n_tokens"]
    return {**seen, "loss": loss}, fitted


def _quantiles(percent: Array, scale: float) -> Columns:
    """Sorted residuals in robust deviations beside the quantiles of a Gaussian; a hundred thousand thinned."""
    order = np.sort(percent[np.isfinite(percent)])
    n = len(order)
    at = np.unique(np.concatenate([np.arange(min(n, 50)), np.arange(max(n - 50, 0), n),
                                   np.linspace(0, n - 1, min(n, 400)).astype(np.int64)]))  # fmt: skip
    gaussian = [NormalDist().inv_cdf((i + 0.5) / n) for i in at.tolist()]
    return {"qq_gaussian": gaussian, "qq_residual": (order[at] / (scale or 1.0)).tolist()}


def influence_figure(fit: ParametricFit) -> Figure:
    """What leaving out each of the most influential runs does to the exponent, and the path without those far off.

    Raises:
        UsageError: the fit measured none (its runs lie on the law, or it was made without intervals).
    """
    found = fit.influence
    if found is None or not found.runs:
        raise UsageError(
            "this fit measured no influence of single runs: its runs are noise-free, or too few."
        )
    error = fit.params_exponent.standard_error
    data: Columns = {
        "run_id": [r.run_id for r in found.runs],
        "exponent_without": [found.params_exponent + r.params_exponent_shift for r in found.runs],
        "residual": [r.residual for r in found.runs],
        "exponent": [found.params_exponent],
        "removed_id": [r.run_id for r in found.far_off],
        "removed_exponent": [r.params_exponent for r in found.far_off],
        "removed_error": [r.params_exponent_error for r in found.far_off],
    }
    if error is not None:
        data["exponent_error"] = [error]
    most = max(abs(r.params_exponent_shift) for r in found.runs)
    title = tr("No run moves a by more than {most:.2g}", most=most)
    if error:
        title += f"\n{tr('the standard error of a is {error:.2g}', error=error)}"
    titles: tuple[str, ...] = (title,)
    if found.far_off:
        last = found.far_off[-1].params_exponent
        titles += (
            tr("Without {n} runs far off, a is {a:.3f}\n{all:.3f} with them", n=len(found.far_off), a=last,
               all=found.params_exponent),
        )  # fmt: skip
    caption = tr(
        "The exponent a of N* without each of the runs that move it most; band: two standard errors about the fit of "
        "all. Second panel: without the worst runs, taken out one after the other."
    )
    return Figure("influence", data, "; ".join(titles).replace("\n", ", ") + ".", caption, titles)


def coefficients_figure(fit: Any, *, draws: Any = None, others: Sequence[Law] = ()) -> Figure:
    """How the coefficients of a Chinchilla law hang together: refits, the fit, and published laws.

    Args:
        draws: coefficients of a `Bootstrap` by name; the draws that the law carries unless given.
    Raises:
        UsageError: another law, or one without draws.
    """
    law = fit.law
    if law.family.name != "chinchilla":
        raise UsageError(
            f"the joint picture is of a chinchilla law's coefficients; this one is {law.family.name}."
        )
    method = ""
    if draws is None:
        known = law.uncertainty
        if known is None and isinstance(fit, ParametricFit) and fit.spread is not None:
            known = law_uncertainty(fit)
        if known is None or not known.draws:
            raise UsageError(
                "this fit has no refits to draw: it was made without intervals, or its runs have no noise."
            )
        table, method = np.array(known.draws, dtype=np.float64), known.draws_method or known.method
        draws = {name: table[:, i] for i, name in enumerate(law.family.names)}
    data: Columns = {f"draw_{name}": np.asarray(draws[name]).tolist() for name in law.family.names}
    data |= {f"fit_{name}": [getattr(law, name)] for name in law.family.names}
    same = [o for o in others if o.family.name == "chinchilla"]
    data["other_law"] = [o.provenance.name if o.provenance else "law" for o in same]
    data |= {f"other_{name}": [getattr(o, name) for o in same] for name in law.family.names}
    both = np.corrcoef(draws["alpha"], draws["beta"])[0, 1]
    ridge = np.corrcoef(np.log(np.maximum(draws["A"], 1e-300)), draws["alpha"])[0, 1]
    titles = (
        _together("alpha", "beta", both) + "\n" + tr("dashed: the fit's exponent a"),
        _together("alpha", "A", ridge) + "\n" + tr("quote neither alone"),
        _together("a", "E", _floor_and_exponent(draws)) + "\n" + tr("exponent of N* and floor"),
    )  # fmt: skip
    alt = tr("Correlations: {pairs}.", pairs="; ".join(title.replace("\n", ", ") for title in titles))
    dots = tr("refits of resampled runs")
    if method and "bootstrap" not in method:
        dots = tr("drawn from the error of the fit ({method})", method=method_in_words(method))
    caption = tr(
        "Correlations of coefficients. The {n} dots are {dots}; the diamond is the fit, black marks are published "
        "laws. Contours hold 50 % and 95 % of a Gaussian of the same covariance.",
        n=len(data["draw_alpha"]),
        dots=dots,
    )
    return Figure("coefficients", data, alt, caption, titles)


def _together(one: str, other: str, r: float) -> str:
    """Whether the runs tell two coefficients apart."""
    if abs(r) < TOLD_APART:
        return tr("{one} and {other} are known apart (r = {r:.2f})", one=one, other=other, r=r)
    return tr("{one} and {other} move together (r = {r:.3f})", one=one, other=other, r=r)


def _floor_and_exponent(draws: Any) -> float:
    a = np.asarray(draws["beta"]) / (np.asarray(draws["alpha"]) + np.asarray(draws["beta"]))
    return float(np.corrcoef(draws["E"], a)[0, 1])


def _unit(fit: Any) -> str:
    return fit.law.provenance.loss_unit if fit.law.provenance else "nats/token"


def fitted_runs(fit: ParametricFit) -> tuple[Array, Array, Array]:
    """n_params, n_tokens and loss of the runs a fit carries."""
    return fit.optimum.data.runs()
