"""Does a line through the optima hold up: under a robust fit, under unequal noise, without any one of its points?

Use which when: the plain line is the answer. A robust line that lies elsewhere says that some points are far off; HC3
errors that are wider say that the points scatter unequally; a point whose removal moves the exponent says what to
train again. All three are `fit_power_law` and statsmodels, and cost a second of imports: only who asks pays it.
Sources: Huber 1981, ch. 7; MacKinnon and White 1985 (HC3); Cook 1977; Belsley, Kuh and Welsch 1980 (DFBETAS).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.blocks import Blocks, Fields, Heading, Shown, Table, Text
from scaling.errors import FitError
from scaling.fitting.digits import error_text, interval_text, rounded, span
from scaling.fitting.power_law import PowerLawFit, fit_power_law
from scaling.jsonable import fields_of
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    from scaling.fitting.envelope.fit import EnvelopeFit
    from scaling.fitting.isoflop.result import IsoflopFit

MIN_POINTS = 4  # with three, leaving one out leaves an exact line
UNEQUAL = 0.05  # chance of what was measured under equal noise, below which the noise is called unequal
N_DRAWS = 20_000  # of equal noise: the chance is known to 0.002 where it decides
SHOWN_POINTS = 8
BEYOND = 10.0  # times the largest budget: where the lines are compared
NOISE_FREE = 1e-9  # of ln y: points in full precision


@dataclass(frozen=True, kw_only=True)
class PointInfluence:
    """One point of a line of ln y on ln x, and what leaving it out changes.

    dfbetas: of the exponent, in standard errors without this point; beyond 2 / sqrt(n) it is large.
    """

    x: float
    y: float
    residual: float  # ln(y) - line
    leverage: float  # 0 to 1: share of the line at this point that is its own y
    cooks_distance: float
    dfbetas: float
    exponent_without: float


def measure_line_influence(x: ArrayLike, y: ArrayLike) -> tuple[PointInfluence, ...]:
    """Influence of each point on the line of ln y on ln x, in the order given, by statsmodels.

    Args:
        x, y: (n,) positive numbers, n at least 4.
    Raises:
        FitError: fewer points, or fewer than two distinct x.
    Example:
        >>> points = measure_line_influence([1e18, 1e19, 1e20, 1e21], [1e9, 3e9, 1e10, 6e10])
        >>> max(points, key=lambda p: abs(p.dfbetas)).x
        1e+21
    """
    from statsmodels.regression.linear_model import OLS
    from statsmodels.stats.outliers_influence import OLSInfluence

    plain = fit_power_law(x, y)  # raises the errors of values and of places
    at, value = np.asarray(x, dtype=np.float64).ravel(), np.asarray(y, dtype=np.float64).ravel()
    if len(at) < MIN_POINTS:
        raise FitError(
            f"influence on a line takes {MIN_POINTS} points, got {len(at)}: without one of them the others must still "
            "scatter. Add points."
        )
    ln_x = np.log(at)
    fitted = OLS(np.log(value), np.column_stack([np.ones_like(ln_x), ln_x - plain.line.centre])).fit()
    measured = OLSInfluence(fitted)
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # the others on a line: infinite standard errors away
        columns = (
            at,
            value,
            fitted.resid,
            measured.hat_matrix_diag,
            measured.cooks_distance[0],
            measured.dfbetas[:, 1],
            plain.exponent.value - measured.dfbeta[:, 1],
        )
    names = ("x", "y", "residual", "leverage", "cooks_distance", "dfbetas", "exponent_without")
    return tuple(
        PointInfluence(**dict(zip(names, map(float, row), strict=True))) for row in zip(*columns, strict=True)
    )


@dataclass(frozen=True, kw_only=True)
class LineDiagnostics:
    """One line, plain, with HC3 errors and robust, and the influence of each of its points."""

    quantity: str  # n_params or n_tokens
    plain: PowerLawFit
    hc3: PowerLawFit
    hc3_chance: float  # of HC3 errors at least as wide for the plain ones, if the noise is equal and Gaussian
    robust: PowerLawFit
    points: tuple[PointInfluence, ...]

    @property
    def robust_shift(self) -> float:
        """How far the robust exponent lies from the plain one, in the plain one's standard errors."""
        error = self.plain.exponent.standard_error
        shift = self.robust.exponent.value - self.plain.exponent.value
        return shift / error if error else 0.0

    @property
    def robust_agrees(self) -> bool:
        """Whether the robust exponent lies inside the plain one's interval."""
        interval = self.plain.exponent.interval
        return interval is not None and interval.contains(self.robust.exponent.value)

    @property
    def hc3_ratio(self) -> float:
        """HC3 over plain standard error of the exponent."""
        return _ratio(self.hc3.exponent.standard_error, self.plain.exponent.standard_error)

    @property
    def most_influential(self) -> PointInfluence:
        """The point without which the exponent moves most."""
        return max(self.points, key=lambda p: abs(p.exponent_without - self.plain.exponent.value))

    @property
    def influence_limit(self) -> float:
        """|DFBETAS| beyond which a point counts as influential: 2 / sqrt(n)."""
        return 2 / math.sqrt(len(self.points))

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, also=("robust_shift", "robust_agrees", "hc3_ratio", "influence_limit"))


def diagnose_line(x: ArrayLike, y: ArrayLike, *, quantity: str = "y", level: float = 0.95) -> LineDiagnostics:
    """The line of ln y on ln x three ways, and the influence of each point.

    Raises:
        FitError: as `fit_power_law` and `measure_line_influence`.
    """
    plain = fit_power_law(x, y, level=level)
    hc3 = fit_power_law(x, y, level=level, covariance="HC3")
    ratio = _ratio(hc3.exponent.standard_error, plain.exponent.standard_error)
    return LineDiagnostics(
        quantity=quantity,
        points=measure_line_influence(x, y),
        plain=plain,
        hc3=hc3,
        hc3_chance=chance_of_ratio(np.log(np.asarray(x, dtype=np.float64).ravel()), ratio),
        robust=fit_power_law(x, y, level=level, method="huber"),
    )


def chance_of_ratio(x: NDArray[np.float64], ratio: float, *, seed: int = 0) -> float:
    """Share of lines through points at these x (n,) whose HC3 error of the slope is `ratio` times the plain or more.

    Under equal Gaussian noise, whose size drops out. HC3 errs upwards with few points: 1.5 times is nothing with five.
    Source: Barnard 1963 (Monte Carlo test).
    """
    n, centred = len(x), x - x.mean()
    square = float(centred @ centred)
    noise = np.random.default_rng(seed).standard_normal((N_DRAWS, n))
    slope = noise @ centred / square
    residual2 = (noise - noise.mean(axis=1, keepdims=True) - np.outer(slope, centred)) ** 2
    leverage = 1 / n + centred**2 / square
    hc3 = residual2 @ (centred / (1 - leverage)) ** 2 / square
    return float(np.mean(np.sqrt(hc3 * (n - 2) / residual2.sum(axis=1)) >= ratio))


@dataclass(frozen=True, kw_only=True)
class LinesDiagnostics(Shown):
    """Of the lines N*(C) and D*(C) of Approach 1 or 2, FLOPs as the table counts them; no `lines` where `refused`."""

    lines: tuple[LineDiagnostics, ...]
    refused: str = ""
    n_points: int
    place: str  # "budget" or "crossing"
    level: float

    def verdict(self) -> str:
        """For a first screen: what of the exponent another look would change."""
        return _verdict(self.lines[0], self.place) if self.lines else self.refused

    def summary(self) -> Blocks:
        """Whether the exponents hold up, then the lines and the points."""
        if not self.lines:
            return (Text(self.refused),)
        params = self.lines[0]
        fields = [
            (tr("robust line"), _robust_said(params)),
            (tr("HC3 errors"), _hc3_said(params)),
            (tr("influence"), _influence_said(params, self.place)),
        ]
        fields += [(tr("few points"), _few_said(self.n_points))] if self.n_points < FEW_POINTS else []
        return (
            Text(self.verdict()),
            Fields(fields),
            *_lines_table(self.lines, self.level),
            *_points_table(params),
        )

    def to_dict(self) -> dict[str, Any]:
        """The `diagnostics` of `scaling fit --method isoflop|envelope --diagnostics --json`."""
        return {"kind": "lines"} | fields_of(self)


def diagnose_lines(fit: EnvelopeFit | IsoflopFit) -> LinesDiagnostics:
    """Diagnostics of both lines of a fit of Approach 1 or 2."""
    flops, n_params = (np.array(v) for v in zip(*fit.own_optima, strict=True))
    place = "budget" if fit.method == "isoflop" else "crossing"
    n_points = len(flops)
    refused = ""
    if n_points < MIN_POINTS:
        refused = tr(
            "a line through {n} points leaves nothing to judge it by: add budgets or sizes until it has {least}.",
            n=n_points,
            least=MIN_POINTS,
        )
    elif fit.params_line.residual_sd < NOISE_FREE:
        refused = tr("the points lie on the line to all their digits: there is no scatter to judge it by.")
    lines: tuple[LineDiagnostics, ...] = ()
    if not refused:
        both = {"n_params": n_params, "n_tokens": np.array(fit.own_tokens)}
        lines = tuple(diagnose_line(flops, y, quantity=name, level=fit.level) for name, y in both.items())
    return LinesDiagnostics(lines=lines, refused=refused, n_points=n_points, place=place, level=fit.level)


# --- in words ---

LETTERS = {"n_params": ("a", "N*"), "n_tokens": ("b", "D*")}
FORMATS: dict[str, Callable[[float], str]] = {"n_params": format_params, "n_tokens": format_tokens}
FEW_POINTS = 10  # from here Huber's intervals cover as they say (benchmarks/line_bands.py)


def _verdict(line: LineDiagnostics, place: str) -> str:
    """The answer: what of it would another look change."""
    said = []
    if not line.robust_agrees:
        said.append(
            tr(
                "A robust line takes a out of its interval: some points are far off, and the plain line follows them."
            )
        )
    if line.hc3_chance < UNEQUAL:
        said.append(
            tr(
                "Some points scatter more than others: errors that allow for it are {ratio:.2g} times the plain ones; "
                "take their interval (--show diagnostics).",
                ratio=line.hc3_ratio,
            )
        )
    one = line.most_influential
    if not _inside(line.plain, one.exponent_without):
        said.append(
            tr("Without {point} a leaves its interval: it rests on that one.", point=_named(one, place))
        )
    return " ".join(said) or tr(
        "The exponent a of N* holds: a line that far-off points do not move, errors that allow for unequal noise and "
        "the line without any one point all agree with it."
    )


def _robust_said(line: LineDiagnostics) -> str:
    return tr(
        "Huber's line has a = {robust}, {shift:+.1f} standard errors from the plain {plain}",
        robust=rounded(line.robust.exponent),
        shift=line.robust_shift,
        plain=rounded(line.plain.exponent),
    )


def _hc3_said(line: LineDiagnostics) -> str:
    return tr(
        "standard error of a {hc3}, plain {plain}: {ratio:.2g} times; so much or more in {chance} of such lines under "
        "equal noise",
        hc3=error_text(line.hc3.exponent),
        plain=error_text(line.plain.exponent),
        ratio=line.hc3_ratio,
        chance=format_percent(line.hc3_chance),
    )


def _influence_said(line: LineDiagnostics, place: str) -> str:
    one = line.most_influential
    return tr(
        "{point} moves a most: {without:.4f} without it; DFBETAS {dfbetas:+.2f} (large from {limit:.2g}), Cook's "
        "distance {cook:.2g}",
        point=_named(one, place),
        without=one.exponent_without,
        dfbetas=one.dfbetas,
        limit=line.influence_limit,
        cook=one.cooks_distance,
    )


def _few_said(n_points: int) -> str:
    return tr(
        "with {n}, HC3 intervals are wider than their level asks for, Huber's too narrow (95 % is nearer 90 %)",
        n=n_points,
    )


def _named(point: PointInfluence, place: str) -> str:
    flops = format_flops(point.x)
    if place == "budget":
        return tr("the budget {flops}", flops=flops)
    return tr("the crossing at {flops}", flops=flops)


def _lines_table(lines: Sequence[LineDiagnostics], level: float) -> Blocks:
    """Each exponent three ways, and what the lines say ten times beyond their last point."""
    flops = float(f"{BEYOND * lines[0].plain.x_range[1]:.1g}")
    names = {"plain": tr("plain"), "hc3": "HC3", "robust": "Huber"}
    rows = []
    for line in lines:
        letter, optimum = LETTERS[line.quantity]
        for name, said in names.items():
            fit: PowerLawFit = getattr(line, name)
            there = fit.estimate(flops)
            interval, value = fit.exponent.interval, fit.exponent.value
            ends = span(there.interval, FORMATS[line.quantity])
            rows.append(
                (
                    f"{letter} ({optimum}), {said}",
                    f"{value:.4f}",
                    interval_text(interval, value),
                    FORMATS[line.quantity](there.value),
                    ends,
                )
            )
    percent = f"{100 * level:g} %"
    headers = ("", tr("exponent"), percent, tr("at {flops}", flops=format_flops(flops)), percent)
    return Heading(tr("both lines three ways")), Table(headers, rows)


def _points_table(line: LineDiagnostics) -> Blocks:
    """Each point, or the most influential where there are many."""
    ranked = sorted(line.points, key=lambda p: -abs(p.dfbetas))[:SHOWN_POINTS]
    rows = []
    for p in sorted(ranked, key=lambda p: p.x):
        rows.append(
            (
                format_flops(p.x),
                format_params(p.y),
                f"{100 * math.expm1(p.residual):+.2g} %",
                f"{p.leverage:.2f}",
                f"{p.cooks_distance:.2f}",
                f"{p.dfbetas:+.2f}",
                f"{p.exponent_without:.4f}",
            )
        )
    headers = (
        "FLOPs", "N*", tr("off the line"), tr("leverage"), tr("Cook's D"), "DFBETAS", tr("a without it"),
    )  # fmt: skip
    n, shown = len(line.points), len(rows)
    caption = tr("the {shown} most influential of {n}; --json has all", shown=shown, n=n) if shown < n else ""
    return (Heading(tr("the points of the line of N*")), Table(headers, rows, caption=caption))


def _inside(fit: PowerLawFit, value: float) -> bool:
    return fit.exponent.interval is None or fit.exponent.interval.contains(value)


def _ratio(above: float | None, below: float | None) -> float:
    return above / below if above and below else math.nan
