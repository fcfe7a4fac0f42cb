"""The compute-optimal line of any fit or law, as a figure: what is drawn, as data.

`optimum_figure` returns a `Figure` block; `scaling.plots` draws it. Keys that start alike are columns of one length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scaling.blocks import Figure
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, LawError, UsageError
from scaling.fitting.digits import digits_of
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.fitting.results import Estimate, Interval
from scaling.laws.base import Law, OptimumBand
from scaling.reference.published import published_laws
from scaling.runs import Runs
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_tokens, round_by_error

Array = NDArray[np.float64]
Quantity = Literal["n_params", "n_tokens", "tokens_per_param", "loss"]
Columns = dict[str, Any]

BEYOND = 100.0  # times the largest budget of the runs: how far a line goes, unless told
N_BUDGETS, N_BEYOND = 13, 10  # of a line with its band, where there were runs and beyond
ASKED_EVERY = 3  # budget: a fit is asked for its interval there, 5 ms each
MOST_OTHERS = 5  # published laws on one picture
LETTERS = {"n_params": "N*", "n_tokens": "D*"}


def grows(quantity: str, exponent: Estimate | None) -> str:
    """The claim of a line: "N* grows as C^0.51 \N{PLUS-MINUS SIGN} 0.02", half of its interval behind the sign."""
    letter = LETTERS[quantity]
    if exponent is None:
        return tr("{letter} over training compute", letter=letter)
    interval = exponent.interval
    if interval is None or not interval.bounded:
        return tr("{letter} grows as C^{value:.3f}", letter=letter, value=exponent.value)
    half = interval.half_width
    value = round_by_error(exponent.value, half)
    decimals = len(value.partition(".")[2])
    return tr(
        "{letter} grows as C^{value} \N{PLUS-MINUS SIGN} {half}",
        letter=letter,
        value=value,
        half=f"{half:.{decimals}f}",
    )


def at_target(quantity: str, flops: float, estimate: Estimate) -> str:
    """The number to conclude from: "1e22 FLOPs: N* = 8.7B (7.1B to 10.6B)"."""
    form = format_params if quantity == "n_params" else format_tokens
    digits = digits_of(estimate)
    said = tr("{flops} FLOPs: {letter} = {value}", flops=format_flops(flops), letter=LETTERS[quantity],
              value=form(estimate.value, digits))  # fmt: skip
    interval = estimate.interval
    if interval is None or not interval.bounded or interval.low <= 0:
        return said
    return said + tr(" ({low} to {high})", low=form(interval.low, digits), high=form(interval.high, digits))


def optimum_figure(
    fit: Any,
    *,
    quantities: Sequence[Quantity] = ("n_params", "n_tokens"),
    to_flops: float | None = None,
    target_flops: float | None = None,
    others: Sequence[Law] = (),
    runs: Runs | None = None,
) -> Figure:
    """N*(C), D*(C) or L*(C) with the stated band, the optima measured, and other laws at the same budgets.

    Args:
        fit: any `Fit`, or a `Law`.
        quantities: a panel each.
        to_flops: right end; 100 times the largest fitted budget unless given, or twice the target.
        target_flops: the budget that is planned for, marked.
        others: laws to draw beside it, named by their provenance; the first five that have an optimum there.
        runs: of which a panel of losses shows the losses.
    Raises:
        UsageError: the law has no compute-optimal line, or not the quantity asked for.
    """
    law: Law = fit if isinstance(fit, Law) else fit.law
    low, high = law.provenance.fitted_range.get("flops", (1e18, 1e21)) if law.provenance else (1e18, 1e21)
    end = max(BEYOND * high, 2 * (target_flops or 0.0)) if to_flops is None else to_flops
    if not end > low:
        raise UsageError(f"the frontier is drawn from {low:.3g} FLOPs upwards; got to_flops={end:.3g}.")
    try:
        law.allocate(low)
    except (LawError, TypeError, KeyError) as error:
        raise UsageError(f"the law {law.family.name} has no compute-optimal line to draw: {error}") from error
    data: Columns = {"flops": _budgets(low, high, end), "fitted_flops": [low, high], "level": [_level(fit)]}
    titles = []
    for quantity in quantities:
        data |= _line(fit, quantity, data["flops"])
        titles.append(_title(fit, quantity, target_flops))
    data |= _measured(fit)
    if target_flops is not None:
        data |= _target(fit, quantities, target_flops)
    data |= _others(others, quantities, data["flops"])
    if "loss" in quantities:
        data |= _losses(law, runs)
    alt = "; ".join(title.replace("\n", ", ") for title in titles) + "."
    beyond = tr(
        "solid where there were runs, dashed beyond; band: {level:g} % interval", level=100 * _level(fit)
    )
    caption = tr("The compute-optimal model over training compute: {how}.", how=beyond)
    return Figure("compute-optimal", data, alt, caption, tuple(titles))


def _budgets(low: float, high: float, end: float) -> list[float]:
    known = np.geomspace(low, min(high, end), N_BUDGETS)
    beyond = np.geomspace(high, end, N_BEYOND)[1:] if end > high else known[:0]
    return [float(c) for c in (*known, *beyond)]


def _level(fit: Any) -> float:
    known = fit.uncertainty if isinstance(fit, Law) else fit
    return float(known.level) if known is not None else 0.95


def _title(fit: Any, quantity: Quantity, target: float | None) -> str:
    name = {"n_params": "params_exponent", "n_tokens": "tokens_exponent"}.get(quantity, "")
    if quantity == "tokens_per_param":
        return _ratio_title(fit, target)
    if quantity == "loss":
        return _loss_title(fit, target)
    exponent = getattr(fit, name, None)
    exponent = Estimate(value=exponent) if isinstance(exponent, float) else exponent
    said = grows(quantity, exponent)
    if target is None:
        return said
    return f"{said}\n{at_target(quantity, target, _estimates(fit, quantity, [target])[0])}"


def _last_budget(fit: Any) -> float:
    """The largest budget that the law was fitted on."""
    law: Law = fit if isinstance(fit, Law) else fit.law
    return float(law.provenance.fitted_range.get("flops", (0, 1e21))[1]) if law.provenance else 1e21


def _loss_title(fit: Any, target: float | None) -> str:
    at = target or _last_budget(fit)
    value = _estimates(fit, "loss", [at])[0]
    said = tr("{flops} FLOPs reach a loss of {value:.3f}", flops=format_flops(at), value=value.value)
    known = value.interval if value.interval and value.interval.bounded else None
    if known is None:
        return said
    range_ = tr("{low:.3f} to {high:.3f}", low=known.low, high=known.high)
    return f"{said}\n{range_}"


def _ratio_title(fit: Any, target: float | None) -> str:
    at = target or _last_budget(fit)
    ratio = _estimates(fit, "tokens_per_param", [at])[0]
    known = ratio.interval if ratio.interval and ratio.interval.bounded else None
    range_ = tr(" ({low:.3g} to {high:.3g})", low=known.low, high=known.high) if known else ""
    return tr("{flops} FLOPs: {value:.3g} tokens a parameter", flops=format_flops(at), value=ratio.value) + (
        f"\n{range_.strip(' ()')}" if range_ else ""
    )


def _line(fit: Any, quantity: Quantity, budgets: Sequence[float]) -> Columns:
    """The values at the budgets, and the ends of their intervals: asked for at every third, between them in log-log."""
    asked = sorted({*range(0, len(budgets), ASKED_EVERY), len(budgets) - 1})
    some = _estimates(fit, quantity, [budgets[i] for i in asked])
    ends = [end for e in some if e.interval for end in (e.interval.low, e.interval.high)]
    smooth = len(ends) == 2 * len(some) and all(0 < end < math.inf for end in ends)
    if len(asked) < len(budgets) and smooth:
        law: Law = fit if isinstance(fit, Law) else fit.law
        values = [_of_law(law, quantity, c) for c in budgets]
        low, high = (
            np.exp(
                np.interp(np.log(budgets), np.log([budgets[i] for i in asked]), np.log(ends[side::2]))
            ).tolist()
            for side in (0, 1)
        )
        return {quantity: values, f"{quantity}_low": low, f"{quantity}_high": high}
    found = _estimates(fit, quantity, budgets)
    columns: Columns = {quantity: [e.value for e in found]}
    intervals = [e.interval for e in found]
    if any(interval is not None for interval in intervals):
        columns[f"{quantity}_low"] = [max(i.low, 0.0) if i else math.nan for i in intervals]
        columns[f"{quantity}_high"] = [i.high if i else math.nan for i in intervals]
    return columns


def _of_law(law: Law, quantity: Quantity, flops: float) -> float:
    best = law.allocate(flops)
    if quantity == "tokens_per_param":
        return best.n_tokens / best.n_params
    return float(getattr(best, quantity))


def _ratio(n_params: Estimate, flops: float) -> Estimate:
    """D*/N* = C / (6 N*^2), its interval by that of N*."""

    def of(size: float) -> float:
        return flops / (FLOPS_PER_PARAM_TOKEN * size**2) if size > 0 else math.inf

    known, ends = n_params.interval, None
    if known is not None:
        ends = Interval(low=of(known.high), high=of(known.low), level=known.level, method=known.method)
    return Estimate(value=of(n_params.value), interval=ends)


def _estimates(fit: Any, quantity: Quantity, budgets: Sequence[float]) -> list[Estimate]:
    """Of a fit its own estimates; of a law, or a fit without intervals, the law's line with the law's band."""
    if quantity == "tokens_per_param":
        return [_ratio(e, c) for e, c in zip(_estimates(fit, "n_params", budgets), budgets, strict=True)]
    if not isinstance(fit, Law):
        try:
            return [fit.estimate(quantity, flops=c) for c in budgets]
        except FitError:  # no intervals: noise-free runs
            fit = fit.law
    values = [getattr(fit.allocate(c), quantity) for c in budgets]
    if any(v is None for v in values):
        raise UsageError(
            "this law knows the compute-optimal split but not its loss; draw n_params or n_tokens."
        )
    known = fit.uncertainty
    if known is None or known.band is None:
        return [Estimate(value=float(v)) for v in values]
    low, high = _law_band(known.band, quantity, np.array(budgets))
    made = []
    for value, a, b in zip(values, low.tolist(), high.tolist(), strict=True):
        told = not (math.isnan(a) or math.isnan(b))
        interval = Interval(low=min(a, b), high=max(a, b), level=known.level, method="band") if told else None
        made.append(Estimate(value=float(value), interval=interval))
    return made


def _law_band(stated: OptimumBand, quantity: Quantity, flops: Array) -> tuple[Array, Array]:
    """Ends of the band, interpolated in log C; NaN at budgets for which the law states none."""

    def at(values: Iterable[float]) -> Array:
        x = np.log10(flops)
        return np.asarray(np.interp(x, stated.log10_flops, list(values), left=math.nan, right=math.nan))

    if quantity == "loss":
        return at(stated.loss_low), at(stated.loss_high)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.exp(at(np.log(stated.n_params_low))), np.exp(at(np.log(stated.n_params_high)))
        if quantity == "n_params":
            return low, high
        return flops / (FLOPS_PER_PARAM_TOKEN * high), flops / (FLOPS_PER_PARAM_TOKEN * low)


def _measured(fit: Any) -> Columns:
    """The optima that the lines go through, with their intervals where a fit has them."""
    pairs = () if isinstance(fit, Law) else fit.measured_optima
    if not pairs:
        return {}
    flops, n_params = (list(column) for column in zip(*pairs, strict=True))
    columns: Columns = {
        "point_flops": flops,
        "point_n_params": n_params,
        "point_n_tokens": [c / (FLOPS_PER_PARAM_TOKEN * n) for c, n in pairs],
    }
    if isinstance(fit, IsoflopFit):
        for name in ("n_params", "n_tokens"):
            ends = [getattr(budget, name).interval for budget in fit.used]
            columns[f"point_{name}_low"] = [max(i.low, 0.0) if i else math.nan for i in ends]
            columns[f"point_{name}_high"] = [i.high if i else math.nan for i in ends]
        columns["point_loss"] = [budget.loss.value if budget.loss else math.nan for budget in fit.used]
    return columns


def _target(fit: Any, quantities: Sequence[Quantity], flops: float) -> Columns:
    columns: Columns = {"target_flops": [flops]}
    for quantity in quantities:
        columns |= {f"target_{name}": value for name, value in _line(fit, quantity, [flops]).items()}
    return columns


def laws_beside(fit: Any) -> tuple[Law, ...]:
    """Published laws to draw beside a fit: one a paper, of the same count of parameters and of compute near its own."""
    origin = fit.law.provenance
    if origin is None or "flops" not in origin.fitted_range:
        return ()
    counts = "total" if origin.params_convention == "unknown" else origin.params_convention
    low, high = origin.fitted_range["flops"]
    papers: dict[str, Law] = {}
    for law in published_laws(of_size_and_data=True):
        known = law.provenance
        if known is None or known.params_convention != counts or known.name == origin.name:
            continue
        least, most = known.fitted_range.get("flops", (0.0, math.inf))
        if least <= BEYOND * high and most >= low:
            _, mark, rest = known.source.partition("arXiv:")
            papers.setdefault(rest[:10] if mark else known.source, law)
    return tuple(papers.values())


def _others(laws: Sequence[Law], quantities: Sequence[Quantity], budgets: Sequence[float]) -> Columns:
    """Other laws' lines over the same budgets, one row a law and budget."""
    columns: Columns = {"other_law": [], "other_flops": []}
    columns |= {f"other_{q}": [] for q in quantities if q != "loss"}
    drawn = 0
    for law in laws:
        if drawn == MOST_OTHERS:
            break
        try:
            found = [law.allocate(c) for c in budgets]
        except (LawError, TypeError, KeyError):  # no optimum, or inputs beside N and D
            continue
        drawn += 1
        columns["other_law"] += [law.provenance.name if law.provenance else law.family.name] * len(found)
        columns["other_flops"] += list(budgets)
        for q in quantities:
            if q == "tokens_per_param":
                columns[f"other_{q}"] += [a.n_tokens / a.n_params for a in found]
            elif q != "loss":
                columns[f"other_{q}"] += [float(getattr(a, q)) for a in found]
    return columns if drawn else {}


def _losses(law: Law, runs: Runs | None) -> Columns:
    unit = law.provenance.loss_unit if law.provenance else "nats/token"
    if runs is None:
        return {"loss_unit": [unit]}
    flops = FLOPS_PER_PARAM_TOKEN * runs.n_params * runs.n_tokens
    return {"loss_unit": [unit], "run_flops": flops.tolist(), "run_loss": runs.loss.tolist()}
