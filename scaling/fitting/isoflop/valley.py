"""One IsoFLOP valley: loss against ln(tokens) at one budget, and where its minimum lies.

Use which when:

- `parabola` (Hoffmann et al. 2022, Approach 2): needs 4 runs, but a valley of a power law is not a parabola. Grids that
  are wide, or not centred on the optimum, push its minimum away from the truth (see benchmarks/README.md).
- `quartic`: needs 6 runs over 5 sizes; a tenth of the parabola's bias, with wider intervals.
- `surface`: the valley has the shape of a fitted Approach 3 surface, and only its place and height are free; needs
  3 runs and has no bias where the surface is right, but trusts its shape.

Intervals of the minimum are profile intervals: for polynomials the set of x where the hypothesis "the slope is zero
here" is not rejected (Fieller 1954), exact under Gaussian noise. Where no end exists, it is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from scaling.fitting.one_dimension import first_crossing, minimum_between
from scaling.fitting.power_law import half_width_factor
from scaling.translation import tr, tr_n

Array = NDArray[np.float64]
Shape = Callable[[Array], Array]  # loss of a surface along the budget, as a function of ln(tokens)
RefusalCode = Literal["too-few-runs", "too-few-sizes", "flat", "wrong-curvature", "not-bracketed"]

CURVATURE_TEST_LEVEL = 0.95  # one-sided: a valley must curve upwards beyond its noise
FARTHEST = 50.0  # in ln(tokens) from the runs: an end e^50 away is no end
ROUNDING = 1e-13  # relative spread of losses below which they count as equal


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a budget has no minimum, and the ln(tokens) of the run that would give it one."""

    code: RefusalCode
    reason: str
    next_x: float | None


@dataclass(frozen=True, kw_only=True)
class Valley:
    """A fitted valley. `minimum`, its interval and `loss` are nan where `refused` is set and no vertex exists.

    x is ln(tokens). `curve` gives the fitted loss at any x, for drawing.
    """

    kind: str
    refused: Refusal | None
    minimum: float = math.nan
    minimum_low: float = -math.inf  # the runs set no lower end
    minimum_high: float = math.inf
    minimum_error: float = math.nan  # delta-method standard error, in x
    loss: float = math.nan
    loss_error: float = math.nan
    loss_low: float = math.nan
    loss_high: float = math.nan
    residual_sd: float = math.nan
    dof: int = 0
    curve: Shape = lambda at: np.full(np.shape(at), math.nan)


def fit_polynomial_valley(
    x: Array, loss: Array, *, degree: int, level: float | None, min_runs: int
) -> Valley:
    """Least-squares polynomial of `degree` 2 or 4 in x, its lowest interior minimum and that minimum's interval.

    Without a level (None) no interval is computed and its ends are infinite.
    """
    kind = {2: "parabola", 4: "quartic"}[degree]
    few = _too_few(x, loss, kind=kind, min_runs=max(min_runs, degree + 1), min_sizes=degree + 1)
    if few is not None:
        return Valley(kind=kind, refused=few)
    centre, half = (x.min() + x.max()) / 2, (x.max() - x.min()) / 2
    z = (x - centre) / half
    basis = np.vander(z, degree + 1, increasing=True)
    q, r = np.linalg.qr(basis)
    c = np.linalg.solve(r, q.T @ loss)
    inverse = np.linalg.inv(r)
    dof = len(x) - degree - 1
    rss = float(np.sum((loss - basis @ c) ** 2))
    variance = rss / dof if dof > 0 else math.nan
    # with no degree of freedom left, nothing measures the noise: a nan covariance makes every end infinite
    covariance = inverse @ inverse.T * variance
    t = math.inf if level is None else half_width_factor(level, dof)

    def curve(at: Array) -> Array:
        return np.asarray(polynomial.polyval((np.asarray(at) - centre) / half, c))

    vertex = _lowest_minimum(c)
    refused = _judge_polynomial(c, vertex, z, loss)
    if vertex is None:
        refused = _in_x(refused, centre, half)
        return Valley(kind=kind, refused=refused, curve=curve, dof=dof, residual_sd=math.sqrt(variance))
    low, high = _slope_interval(c, covariance, vertex, t)
    slope_row, value_row = _derivative_row(vertex, degree), vertex ** np.arange(degree + 1)
    curvature = float(polynomial.polyval(vertex, polynomial.polyder(c, 2)))
    at_minimum = float(value_row @ c)
    loss_error = math.sqrt(value_row @ covariance @ value_row)
    return Valley(
        kind=kind,
        minimum=centre + half * vertex,
        minimum_low=centre + half * low if half * low > -FARTHEST else -math.inf,
        minimum_high=centre + half * high if half * high < FARTHEST else math.inf,
        minimum_error=half * math.sqrt(slope_row @ covariance @ slope_row) / curvature,
        loss=at_minimum,
        loss_error=loss_error,
        loss_low=at_minimum - t * loss_error if math.isfinite(t) else -math.inf,
        loss_high=at_minimum + t * loss_error if math.isfinite(t) else math.inf,
        residual_sd=math.sqrt(variance),
        dof=dof,
        curve=curve,
        refused=_in_x(refused, centre, half),
    )


def fit_surface_valley(
    x: Array, loss: Array, *, shape: Shape, start: float, level: float, min_runs: int
) -> Valley:
    """Valley of the given shape whose minimum (at `start` on the surface) and height are free.

    The interval is the profile of the shift: the places where the residual sum of squares rises by less than
    t^2 times the residual variance.
    """
    few = _too_few(x, loss, kind="surface", min_runs=max(min_runs, 3), min_sizes=2)
    if few is not None:
        return Valley(kind="surface", refused=few)

    def squares(shifts: Array) -> Array:
        r = loss - shape(x - shifts[:, None])
        return np.asarray(np.sum((r - r.mean(axis=1, keepdims=True)) ** 2, axis=1))

    span = float(x.max() - x.min())
    shift = minimum_between(squares, (x.min() - start) - span, (x.max() - start) + span)
    height = float(np.mean(loss - shape(x - shift)))
    minimum = start + shift
    dof = len(x) - 2
    least = float(squares(np.array([shift]))[0])
    variance = least / dof
    t = half_width_factor(level, dof)
    step = 1e-4
    row = (shape(x - shift - step) - shape(x - shift + step)) / (2 * step)  # d prediction / d shift
    information = float(np.sum((row - row.mean()) ** 2))
    if not information > (ROUNDING * float(np.abs(loss).max())) ** 2:
        reason = tr("the fitted surface has no valley at this budget")
        flat = Refusal(code="flat", reason=reason, next_x=float(x.max() + math.log(2)))
        return Valley(kind="surface", refused=flat)

    def excess(at: Array) -> Array:
        return squares(at - start) - least - t**2 * variance

    low, high = (first_crossing(excess, minimum, minimum + side * 4 * span) for side in (-1, 1))
    refused = _edge_refusal(minimum, x) or _unbounded_refusal(low, high, x)
    loss_error = math.sqrt(variance * (1 / len(x) + row.mean() ** 2 / information))
    floor = float(shape(np.array([start]))[0]) + height
    return Valley(
        kind="surface",
        minimum=minimum,
        minimum_low=low,
        minimum_high=high,
        minimum_error=math.sqrt(variance / information),
        loss=floor,
        loss_error=loss_error,
        loss_low=floor - t * loss_error,
        loss_high=floor + t * loss_error,
        residual_sd=math.sqrt(variance),
        dof=dof,
        curve=lambda at: height + shape(np.asarray(at) - shift),
        refused=refused,
    )


def valley_kind(kind: str) -> str:
    """The name of a form of valley, for a sentence."""
    return {"parabola": tr("parabola"), "quartic": tr("quartic"), "surface": tr("surface")}.get(kind, kind)


def _unbounded_refusal(low: float, high: float, x: Array) -> Refusal | None:
    if not (math.isinf(low) and math.isinf(high)):
        return None
    reason = tr("the runs do not bound the minimum on either side")
    return Refusal(code="flat", reason=reason, next_x=float(x.max() + math.log(2)))


def _too_few(x: Array, loss: Array, *, kind: str, min_runs: int, min_sizes: int) -> Refusal | None:
    n_sizes = len(np.unique(np.round(x, 9)))
    widest = float(x.max() + math.log(2)) if len(x) else None
    if len(x) < min_runs:
        reason = tr_n(
            "{n} run; a {kind} valley needs {min_runs}",
            "{n} runs; a {kind} valley needs {min_runs}",
            len(x),
            kind=valley_kind(kind),
            min_runs=min_runs,
        )
        return Refusal(code="too-few-runs", reason=reason, next_x=widest)
    if n_sizes < min_sizes:
        reason = tr_n(
            "{n} distinct size; a {kind} valley needs {min_sizes}",
            "{n} distinct sizes; a {kind} valley needs {min_sizes}",
            n_sizes,
            kind=valley_kind(kind),
            min_sizes=min_sizes,
        )
        return Refusal(code="too-few-sizes", reason=reason, next_x=widest)
    if np.ptp(loss) <= ROUNDING * float(np.abs(loss).max()):
        return Refusal(code="flat", reason=tr("all losses are equal: there is no valley"), next_x=None)
    return None


def _lowest_minimum(c: Array) -> float | None:
    """Lowest real minimum of the polynomial inside the sampled range [-1, 1], else the one nearest to it."""
    if len(c) == 3:
        return -float(c[1]) / (2 * float(c[2])) if c[2] > ROUNDING * float(np.abs(c).max()) else None
    slope, bend = polynomial.polyder(c), polynomial.polyder(c, 2)
    trimmed = polynomial.polytrim(slope, ROUNDING * float(np.abs(c).max()))
    roots = polynomial.polyroots(trimmed) if len(trimmed) > 1 else np.array([])
    real = np.real(roots[np.abs(np.imag(roots)) < 1e-9 * (1 + np.abs(roots))])
    minima = real[polynomial.polyval(real, bend) > 0]
    for _ in range(3):  # Newton: the eigenvalue routine loses digits beside far roots
        minima = minima - polynomial.polyval(minima, slope) / polynomial.polyval(minima, bend)
    if len(minima) == 0:
        return None
    inside = minima[np.abs(minima) < 1]
    if len(inside):
        return float(inside[np.argmin(polynomial.polyval(inside, c))])
    return float(minima[np.argmin(np.abs(minima))])


def _judge_polynomial(c: Array, vertex: float | None, z: Array, loss: Array) -> Refusal | None:
    """Refusal in the scaled coordinate z, or None for a bracketed minimum of a curve that bends up beyond noise."""
    if vertex is None:
        side = 1.0 if float(polynomial.polyval(1.0, c)) < float(polynomial.polyval(-1.0, c)) else -1.0
        reason = tr(
            "the losses curve downwards: the sampled sizes lie on one side of the minimum, or are too noisy"
        )
        return Refusal(code="wrong-curvature", reason=reason, next_x=2.0 * side)
    if abs(vertex) >= 1:
        return _not_bracketed(vertex)
    if _is_flat(z, loss):
        reason = tr("the valley is flat within its noise (losses span {loss:.2g})", loss=np.ptp(loss))
        return Refusal(code="flat", reason=reason, next_x=2.0 if vertex > 0 else -2.0)
    return None


def _is_flat(z: Array, loss: Array) -> bool:
    """True when the curvature of a parabola through the runs is not positive beyond its noise (one-sided t)."""
    dof = len(z) - 3
    if dof < 1:
        return False
    basis = np.vander(z, 3, increasing=True)
    c, *_ = np.linalg.lstsq(basis, loss)
    variance = float(np.sum((loss - basis @ c) ** 2)) / dof
    error = math.sqrt(variance * np.linalg.inv(basis.T @ basis)[2, 2])
    return bool(c[2] < half_width_factor(2 * CURVATURE_TEST_LEVEL - 1, dof) * error)


def _edge_refusal(minimum: float, x: Array) -> Refusal | None:
    centre, half = (x.min() + x.max()) / 2, (x.max() - x.min()) / 2
    vertex = (minimum - centre) / half
    return _in_x(_not_bracketed(vertex), centre, half) if abs(vertex) >= 1 else None


def _not_bracketed(vertex: float) -> Refusal:
    side = math.copysign(1.0, vertex)
    reason = tr(
        "the minimum lies at {more} tokens than any run here was trained on",
        more=tr("more") if side > 0 else tr("fewer"),
    )
    # mirror the edge in the vertex, but go no further than one more range: far vertices are extrapolated guesses
    return Refusal(code="not-bracketed", reason=reason, next_x=float(np.clip(2 * vertex - side, -3.0, 3.0)))


def _in_x(refusal: Refusal | None, centre: float, half: float) -> Refusal | None:
    if refusal is None or refusal.next_x is None:
        return refusal
    # at least a doubling beyond the edge, so that the new run is a new size
    side = math.copysign(1.0, refusal.next_x)
    distance = max(half * abs(refusal.next_x), half + math.log(2))
    return Refusal(code=refusal.code, reason=refusal.reason, next_x=centre + side * distance)


def _derivative_row(z: float, degree: int) -> Array:
    k = np.arange(degree + 1)
    return np.where(k > 0, k * z ** np.maximum(k - 1, 0), 0.0).astype(np.float64)


def _slope_interval(c: Array, covariance: Array, vertex: float, t: float) -> tuple[float, float]:
    """The places around the vertex where a zero slope is not rejected: |p'(z)| <= t se(p'(z))."""
    degree = len(c) - 1
    if not math.isfinite(t):
        return -math.inf, math.inf
    if degree == 2:
        return _fieller(c, covariance, vertex, t)

    def excess(z: Array) -> Array:
        k = np.arange(degree + 1)
        rows = k * z[:, None] ** np.maximum(k - 1, 0)
        return np.asarray((rows @ c) ** 2 - t**2 * np.einsum("ij,jk,ik->i", rows, covariance, rows))

    # a quartic says nothing outside the sampled sizes: an end not found within them is infinite
    low = first_crossing(excess, vertex, -1.0) if vertex > -1 else -math.inf
    high = first_crossing(excess, vertex, 1.0) if vertex < 1 else math.inf
    return low, high


def _fieller(c: Array, covariance: Array, vertex: float, t: float) -> tuple[float, float]:
    """Ends of {z : (c1 + 2 c2 z)^2 <= t^2 var(c1 + 2 c2 z)} next to the vertex: a quadratic inequality."""
    # about the vertex, z = vertex + u, the slope is 2 c2 u and its variance v11 + 2 v12 u + v22 u^2
    row = np.array([1.0, 2 * vertex])
    block = covariance[1:, 1:]
    v11 = float(row @ block @ row)
    v12 = 2 * float(block[0, 1] + 2 * vertex * block[1, 1])
    v22 = 4 * float(block[1, 1])
    a, b, d = 4 * float(c[2]) ** 2 - t**2 * v22, -(t**2) * v12, -(t**2) * v11  # a u^2 + 2 b u + d <= 0
    if d == 0:
        return vertex, vertex
    root = b * b - a * d
    if root < 0:
        return -math.inf, math.inf
    # d <= 0: with a > 0 the roots have opposite signs; with a < 0 they lie on one side, and only the near one is an end
    ends = [d / (-b + sign * math.sqrt(root)) for sign in (1, -1) if -b + sign * math.sqrt(root) != 0]
    below, above = [u for u in ends if u < 0], [u for u in ends if u > 0]
    return vertex + max(below, default=-math.inf), vertex + min(above, default=math.inf)
