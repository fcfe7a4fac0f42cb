"""A power law y = k x^p as a straight line in log-log, with confidence and prediction bands.

Use which when:

- `ols`: the scatter of ln y is about the same everywhere. The default, and what Approaches 1 and 2 use.
- `wls`: each y comes with its own error; weights are 1 / variance of ln y.
- `huber`: a few points may be far off and you cannot say why (Huber's M-estimator, threshold 1.345 robust sigma).

And of errors: `classical` where the scatter is even, `HC3` where it may differ from point to point.

`fit_power_law` runs through statsmodels, imported on first use (its import costs over a second of CPU). `fit_line`
gives the numbers of `ols` and `wls` in closed form: Approaches 1 and 2 end in such a line through log N* on log C and
so stay fast. A test holds the two together to twelve digits.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from scaling.arguments import is_one_of, require_level
from scaling.blocks import Blocks, Fields, Record, Shown, Table, Text
from scaling.errors import FitError, UsageError
from scaling.fitting.results import Estimate, Interval
from scaling.jsonable import fields_of
from scaling.translation import tr
from scaling.units import format_percent

Array = NDArray[np.float64]
Method = Literal["ols", "wls", "huber"]
Covariance = Literal["classical", "HC0", "HC1", "HC2", "HC3"]
METHODS: tuple[Method, ...] = get_args(Method)
COVARIANCES: tuple[Covariance, ...] = get_args(Covariance)
LARGEST_LN = 700.0  # of a coefficient: exp(709) overflows
MOST_LEVERAGE = 1 - 1e-9
_NUMBERS = ("value", "standard_error", "low", "high")
HUBER_THRESHOLD = 1.345  # 95 % efficiency under Gaussian noise (Huber 1981)


@dataclass(frozen=True, kw_only=True)
class Line:
    """y = level + slope (x - centre)."""

    centre: float  # weighted mean of x
    level: float
    slope: float
    level_variance: float  # nan when there is no degree of freedom to measure it
    slope_variance: float
    residual_variance: float
    dof: float
    n: int
    covariance: float = 0.0  # of level and slope: zero about the weighted mean of x

    @property
    def intercept(self) -> float:
        return self.level - self.slope * self.centre

    @property
    def intercept_variance(self) -> float:
        return self.level_variance + self.centre**2 * self.slope_variance - 2 * self.centre * self.covariance

    def at(self, x: Array | float) -> Array:
        return self.level + self.slope * (np.asarray(x, dtype=np.float64) - self.centre)

    def standard_error_at(self, x: Array | float, *, new_observation: bool = False) -> Array:
        """Standard error of the mean at x, or of one new observation there (weight 1)."""
        distance = np.asarray(x, dtype=np.float64) - self.centre
        variance = self.level_variance + distance**2 * self.slope_variance + 2 * distance * self.covariance
        return np.asarray(np.sqrt(variance + (self.residual_variance if new_observation else 0.0)))

    def half_width_factor(self, level: float) -> float:
        """The t quantile with this line's degrees of freedom; inf when it has none."""
        return half_width_factor(level, self.dof)


@dataclass(frozen=True, kw_only=True)
class PowerLawFit(Shown):
    """y = coefficient x^exponent. Intervals are t intervals with n - 2 degrees of freedom; infinite without any.

    The coefficient is the value at x = 1, usually far outside `x_range`: compare fits by `predict`, not by it.
    """

    coefficient: Estimate
    exponent: Estimate
    level: float
    method: Method
    covariance: Covariance = "classical"
    line: Line  # of ln y on ln x
    x_range: tuple[float, float]

    @property
    def n(self) -> int:
        return self.line.n

    @property
    def residual_sd(self) -> float:
        """Scatter of ln y about the line: 0.02 is about 2 %."""
        return math.sqrt(self.line.residual_variance)

    def predict(self, x: ArrayLike) -> Array:
        """The line at x (any shape)."""
        return np.exp(self.line.at(np.log(np.asarray(x, dtype=np.float64))))

    def band(
        self, x: ArrayLike, kind: Literal["confidence", "prediction"] = "confidence"
    ) -> tuple[Array, Array]:
        """Low and high end at each x: of the line itself, or of one new observation (of weight 1).

        Source: Draper and Smith, Applied Regression Analysis, 1998, sec. 3.1. Ours differs: in logarithms.
        """
        if kind not in ("confidence", "prediction"):
            raise UsageError(f"a band is 'confidence' or 'prediction', got {kind!r}.")
        ln_x = np.log(np.asarray(x, dtype=np.float64))
        if self.line.dof <= 0:
            return np.zeros_like(ln_x), np.full_like(ln_x, math.inf)
        error = self.line.standard_error_at(ln_x, new_observation=kind == "prediction")
        half = self.line.half_width_factor(self.level) * error
        middle = self.line.at(ln_x)
        with np.errstate(over="ignore"):  # an end beyond floating point is an infinite end
            return np.exp(middle - half), np.exp(middle + half)

    def estimate(self, x: float) -> Estimate:
        """The line at one x with its standard error and confidence interval."""
        low, high = self.band(x)
        value = float(self.predict(x))
        error = float(self.line.standard_error_at(math.log(x)))
        interval = Interval(low=float(low), high=float(high), level=self.level, method=self.interval_method)
        return Estimate(value=value, standard_error=_or_none(value * error), interval=interval)

    @property
    def interval_method(self) -> str:
        return self.exponent.interval.method if self.exponent.interval else ""

    def summary(self) -> Blocks:
        """The law with its numbers, then the range, scatter and intervals."""
        formula = tr("y = {k:.4g} x^{p:.4g}", k=self.coefficient.value, p=self.exponent.value)
        low, high = self.x_range
        fields = [
            (tr("points"), tr("{n}, x from {low:.4g} to {high:.4g}", n=self.n, low=low, high=high)),
            (tr("intervals"), f"{format_percent(self.level)}, {self.interval_method}"),
        ]
        if math.isfinite(self.residual_sd):
            fields.append((tr("scatter"), tr("{sd} about the line", sd=format_percent(self.residual_sd))))
        rows = [(r["quantity"], *(_cell(r[k]) for k in _NUMBERS)) for r in self.records()]
        headers = ("", tr("value"), tr("standard error"), tr("low"), tr("high"))
        return Text(formula, "strong"), Fields(fields), Table(headers, rows)

    def records(self) -> list[Record]:
        """A row for the coefficient and one for the exponent: quantity, value, standard_error, low, high, level."""
        both = {"coefficient": self.coefficient, "exponent": self.exponent}
        return [{"quantity": name, **e.record(), "level": self.level} for name, e in both.items()]

    def to_dict(self) -> dict[str, Any]:
        residual_sd = {"residual_sd_ln": _or_none(self.residual_sd)}
        return fields_of(self, leave_out=("level", "line"), also=("n",)) | residual_sd


def fit_power_law(
    x: ArrayLike,
    y: ArrayLike,
    *,
    method: Method = "ols",
    weights: ArrayLike | None = None,
    covariance: Covariance = "classical",
    level: float = 0.95,
) -> PowerLawFit:
    """Fit y = k x^p by a line of ln y on ln x.

    Heteroscedasticity-consistent errors take each point's own residual for its noise, HC3 the residual it has to a line
    without it. They are for many points: benchmarks/line_bands.py says how often each band covers with few.
    Source: MacKinnon and White 1985; Huber 1981, ch. 7.

    Args:
        x: (n,) positive numbers.
        y: (n,) positive numbers.
        method: see the module's "use which when".
        weights: (n,) for `wls` only: 1 / variance of ln y, up to a factor.
        covariance: of `ols` and `wls`; classical, or HC0 to HC3. A robust line has its own.
        level: of the intervals, between 0 and 1.
    Raises:
        FitError: fewer than two distinct x, a value that is not positive and finite, or HC errors of a line that turns
            about one point.
        UsageError: unknown method or covariance, weights without `wls`, level outside (0, 1).
    Example:
        >>> fit = fit_power_law([1e18, 1e19, 1e20], [2e9, 6.3e9, 2e10])
        >>> round(fit.exponent.value, 2)
        0.5
    """
    if not is_one_of(method, METHODS):
        raise UsageError(f"a power law is fitted by {', '.join(METHODS)}; got {method!r}.")
    if (weights is None) == (method == "wls"):
        raise UsageError(f"weights go with method='wls' and with no other; got method={method!r}.")
    if covariance not in COVARIANCES:
        raise UsageError(f"errors of a power law are {', '.join(COVARIANCES)}; got {covariance!r}.")
    if method == "huber" and covariance != "classical":
        raise UsageError(
            f"a robust line has errors of its own; {covariance} goes with method='ols' or 'wls'."
        )
    ln_x, ln_y = np.log(_positive(x, "x")), np.log(_positive(y, "y"))
    w = None if weights is None else _positive(weights, "weights")
    if not len(ln_x) == len(ln_y) == (len(ln_x) if w is None else len(w)):
        raise FitError(f"a power law needs as many y as x; got {len(ln_x)} x and {len(ln_y)} y.")
    line = fit_line(ln_x, ln_y, w)  # raises the FitError of too few points in our own words
    if len(ln_x) > 2:  # two points leave nothing to estimate: every method draws the same line
        line = _through_statsmodels(ln_x, ln_y, w, method, covariance)
    return power_law_from_line(line, ln_x, level, method, covariance)


def power_law_from_line(
    line: Line, ln_x: Array, level: float, method: Method = "ols", covariance: Covariance = "classical"
) -> PowerLawFit:
    """The power law of a fitted line of ln y on ln x."""
    require_level(level)
    if abs(line.intercept) > LARGEST_LN:
        raise FitError(
            f"the line has slope {line.slope:.3g} over x from {math.exp(ln_x.min()):.3g} to {math.exp(ln_x.max()):.3g} "
            "and leaves floating point on the way to x = 1: these points do not set an exponent. Add points at other x."
        )
    t = line.half_width_factor(level)
    whose = "" if covariance == "classical" else f"{covariance}, "
    named = f"{whose}t, {line.dof:g} degrees of freedom" if line.dof > 0 else "none: no degree of freedom"
    slope_error, height_error = math.sqrt(line.slope_variance), math.sqrt(line.intercept_variance)

    def ends(value: float, error: float) -> tuple[float, float]:
        return (value - t * error, value + t * error) if line.dof > 0 else (-math.inf, math.inf)

    low, high = ends(line.slope, slope_error)
    log_low, log_high = ends(line.intercept, height_error)
    coefficient = math.exp(line.intercept)
    return PowerLawFit(
        coefficient=Estimate(
            value=coefficient,
            standard_error=_or_none(coefficient * height_error),  # first order: error of ln k times k
            interval=Interval(low=_exp(log_low), high=_exp(log_high), level=level, method=named),
        ),
        exponent=Estimate(
            value=line.slope,
            standard_error=_or_none(slope_error),
            interval=Interval(low=low, high=high, level=level, method=named),
        ),
        level=level,
        method=method,
        covariance=covariance,
        line=line,
        x_range=(math.exp(ln_x.min()), math.exp(ln_x.max())),
    )


def fit_line(x: Array, y: Array, weights: Array | None = None) -> Line:
    """Least-squares line through (x, y), weights proportional to 1/variance.

    Raises:
        FitError: fewer than two distinct x.
    """
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    n_places = len(np.unique(x))
    if n_places < 2:
        raise FitError(
            f"a line needs 2 distinct values of x, got {n_places} ({len(x)} points). Add points at another x."
        )
    centre = float(np.average(x, weights=w))
    spread = float(np.sum(w * (x - centre) ** 2))
    level = float(np.average(y, weights=w))
    slope = float(np.sum(w * (x - centre) * (y - level)) / spread)
    dof = len(x) - 2
    rss = float(np.sum(w * (y - level - slope * (x - centre)) ** 2))
    variance = rss / dof if dof > 0 else math.nan
    return Line(
        centre=centre,
        level=level,
        slope=slope,
        level_variance=variance / float(np.sum(w)),
        slope_variance=variance / spread,
        residual_variance=variance,
        dof=dof,
        n=len(x),
    )


def half_width_factor(level: float, dof: float) -> float:
    """Two-sided Student quantile: P(|t| <= factor) = level. Infinite without degrees of freedom."""
    return float(stdtrit(dof, (1 + level) / 2)) if dof > 0 else math.inf


def _through_statsmodels(
    x: Array, y: Array, weights: Array | None, method: Method, covariance: Covariance
) -> Line:
    # narrow imports: `import statsmodels.api` pulls in twice as much
    if method == "huber":
        centre = float(np.average(x, weights=_huber(x, y, float(x.mean())).weights))
        fitted = _huber(x, y, centre)
        residual_variance = float(fitted.scale) ** 2
    else:
        from statsmodels.regression.linear_model import WLS

        w = np.ones_like(x) if weights is None else weights
        centre = float(np.average(x, weights=w))
        fitted = WLS(y, _design(x, centre), weights=w).fit()
        residual_variance = float(fitted.scale)
    if covariance == "classical":
        errors = np.asarray(fitted.cov_params())
    else:
        _refuse_pivot(x, centre, 1.0 if weights is None else weights)
        errors = np.asarray(getattr(fitted, f"cov_{covariance}"))
    return Line(
        centre=centre,
        level=float(fitted.params[0]),
        slope=float(fitted.params[1]),
        level_variance=float(errors[0, 0]),
        slope_variance=float(errors[1, 1]),
        residual_variance=residual_variance,
        dof=len(x) - 2,
        n=len(x),
        covariance=float(errors[0, 1]),
    )


def _huber(x: Array, y: Array, centre: float) -> Any:
    from statsmodels.robust.norms import HuberT
    from statsmodels.robust.robust_linear_model import RLM
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # most points exactly on a line: that line is the answer
        return RLM(y, _design(x, centre), M=HuberT(HUBER_THRESHOLD)).fit(maxiter=200)


def _refuse_pivot(x: Array, centre: float, weights: Array | float) -> None:
    """Raise FitError where one point has all the say about the slope: its own residual is zero, whatever its noise."""
    w = np.broadcast_to(weights, x.shape)
    leverage = w / w.sum() + w * (x - centre) ** 2 / np.sum(w * (x - centre) ** 2)
    at = int(np.argmax(leverage))
    if leverage[at] > MOST_LEVERAGE:
        raise FitError(
            f"without the point at x = {math.exp(x[at]):.4g} the others set no slope, so nothing measures its noise. "
            "Take covariance='classical', or add points at other x."
        )


def _design(x: Array, centre: float) -> Array:
    return np.column_stack([np.ones_like(x), x - centre])


def _positive(values: ArrayLike, name: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise FitError(
            f"a power law needs positive finite numbers as {name}; {error}. Correct the values."
        ) from error
    bad = np.flatnonzero(~(np.isfinite(array) & (array > 0)))
    if len(bad):
        raise FitError(
            f"a power law needs positive finite numbers; {name}[{bad[0]}] is {array[bad[0]]:g}. "
            "Remove the point or correct it."
        )
    return array


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _exp(value: float) -> float:
    return math.exp(value) if value < 709 else math.inf
