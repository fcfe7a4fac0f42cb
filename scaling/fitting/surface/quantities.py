"""What a fit can be asked for: coefficients, exponents, compute-optimal sizes, losses; value, gradient, inverse.

Each is a function of the solver's coordinates theta = (a, b, E, alpha, beta). To profile it, the fit must move along
the surface on which it keeps its value, so each also knows how to set one coordinate to reach a value (`retract`).
Shapes: B fits or interval ends, theta (B, 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.fitting.surface.chinchilla import LOWER, UPPER, Array, SurfaceData

Kind = Literal["linear", "ln_ratio", "ln_optimum", "optimum_loss", "loss"]
_FAR = 40.0  # natural logs beyond the estimate at which a profile that has not crossed is called unbounded
_LARGEST_LN_RATIO = math.log(UPPER[4] / LOWER[4])


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One scalar of a fit in solver coordinates, and how to print it.

    kind `linear`: weights . theta. `ln_ratio`: ln(beta/alpha). `ln_optimum`: x* at x + y = `at[0]`.
    `optimum_loss`: E + u + v there. `loss`: E + u + v at x = at[0], y = at[1]. All in centred units.
    """

    name: str
    kind: Kind
    show: Callable[[float], float]  # solver value → printed value; monotone, takes +-inf
    weights: tuple[float, ...] = (0.0,) * 5
    at: tuple[float, float] = (0.0, 0.0)
    low: float = -math.inf  # solver value at which the search for an end gives up and calls it unbounded
    high: float = math.inf


def coefficient(data: SurfaceData, name: str) -> Quantity:
    """E, A, B, alpha or beta, printed in units of the loss."""
    scale, ln_scale = data.loss_scale, math.log(data.loss_scale)
    if name == "E":
        weights: tuple[float, ...] = (0, 0, 1, 0, 0)
        return Quantity(name="E", kind="linear", weights=weights, low=0.0, show=lambda q: max(q, 0.0) * scale)
    if name in ("alpha", "beta"):
        i = 3 if name == "alpha" else 4
        weights = tuple(float(j == i) for j in range(5))
        low, high = float(LOWER[i]), float(UPPER[i])
        return Quantity(
            name=name, kind="linear", weights=weights, low=low, high=high, show=lambda q: max(q, 0.0)
        )
    weights = (1, 0, 0, data.ln_params_centre, 0) if name == "A" else (0, 1, 0, 0, data.ln_tokens_centre)
    return Quantity(name=name, kind="linear", weights=weights, show=lambda q: _exp(q + ln_scale))


def params_exponent() -> Quantity:
    """a = beta / (alpha + beta), printed; profiled as ln(beta/alpha)."""
    return Quantity(
        name="params_exponent",
        kind="ln_ratio",
        low=-_LARGEST_LN_RATIO,
        high=_LARGEST_LN_RATIO,
        show=lambda q: 1 / (1 + _exp(-q)),
    )


def optimal_params(data: SurfaceData, flops: float) -> Quantity:
    """N* at a budget; D* = C / (6 N*) is its mirror image."""
    total = math.log(flops / FLOPS_PER_PARAM_TOKEN) - data.ln_params_centre - data.ln_tokens_centre
    centre = data.ln_params_centre
    return Quantity(name="n_params", kind="ln_optimum", at=(total, 0.0), show=lambda q: _exp(q + centre))


def optimal_loss(data: SurfaceData, flops: float) -> Quantity:
    """The loss at the compute-optimal split of a budget."""
    total = math.log(flops / FLOPS_PER_PARAM_TOKEN) - data.ln_params_centre - data.ln_tokens_centre
    at, scale = (total, 0.0), data.loss_scale
    return Quantity(name="loss", kind="optimum_loss", at=at, low=0.0, show=lambda q: max(q, 0) * scale)


def loss_at(data: SurfaceData, n_params: float, n_tokens: float) -> Quantity:
    """The loss of one model on one amount of data."""
    at = (math.log(n_params) - data.ln_params_centre, math.log(n_tokens) - data.ln_tokens_centre)
    scale = data.loss_scale
    return Quantity(name="loss", kind="loss", at=at, low=0.0, show=lambda q: max(q, 0.0) * scale)


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Quantities at values they must keep: one a row of a batch. `values` may be NaN while only asking."""

    kind: NDArray[np.int64]  # (B,) index into _KINDS
    weights: Array  # (B, 5)
    at: Array  # (B, 2)
    values: Array  # (B,)

    def take(self, rows: NDArray[np.int64]) -> Targets:
        return Targets(
            kind=self.kind[rows], weights=self.weights[rows], at=self.at[rows], values=self.values[rows]
        )

    def at_values(self, values: Array) -> Targets:
        return Targets(kind=self.kind, weights=self.weights, at=self.at, values=values)

    def value(self, theta: Array) -> Array:
        """(B,) value of each quantity at its own theta."""
        out = np.empty(len(theta))
        for form, rows, part in self._groups():
            out[rows] = form.value(theta[rows], part)
        return out

    def gradient(self, theta: Array) -> Array:
        """(B, 5) derivative of each quantity."""
        out = np.empty_like(theta)
        for form, rows, part in self._groups():
            out[rows] = form.gradient(theta[rows], part)
        return out

    def retract(self, theta: Array) -> Array:
        """theta moved the least convenient coordinate so that each quantity has its value; NaN where none does."""
        out = np.empty_like(theta)
        for form, rows, part in self._groups():
            out[rows] = form.retract(theta[rows], part)
        return out

    def _groups(self) -> Iterator[tuple[Form, NDArray[np.int64], Targets]]:
        """The rows of each kind, as targets of their own."""
        for k in np.unique(self.kind).tolist():
            rows = np.flatnonzero(self.kind == k)
            yield _FORMS[_KINDS[k]], rows, self.take(rows)


_KINDS: tuple[Kind, ...] = get_args(Kind)


def as_targets(quantities: Sequence[Quantity]) -> Targets:
    """One row a quantity, values not yet set."""
    return Targets(
        kind=np.array([_KINDS.index(q.kind) for q in quantities], dtype=np.int64),
        weights=np.array([q.weights for q in quantities], dtype=np.float64).reshape(-1, 5),
        at=np.array([q.at for q in quantities], dtype=np.float64).reshape(-1, 2),
        values=np.full(len(quantities), math.nan),
    )


def values_of(quantities: Sequence[Quantity], theta: Array) -> Array:
    """(B, K) every quantity at every theta (B, 5): resamples, jackknife groups."""
    B, K = len(theta), len(quantities)
    targets = as_targets(quantities).take(np.tile(np.arange(K), B))
    return targets.value(np.repeat(theta, K, axis=0)).reshape(B, K)


def give_up(quantity: Quantity, value: float) -> tuple[float, float]:
    """Solver values beyond which an end is called unbounded."""
    if quantity.kind in ("optimum_loss", "loss") or quantity.name == "E":
        return 0.0, 20.0 * max(value, 1.0)
    low = quantity.low if math.isfinite(quantity.low) else value - _FAR
    high = quantity.high if math.isfinite(quantity.high) else value + _FAR
    return low, high


def optimum_offset(theta: Array, total: Array) -> Array:
    """x* (B,): where alpha u = beta v on x + y = total, the compute-optimal size."""
    a, b, _, alpha, beta = theta.T
    offset: Array = (np.log(alpha / beta) + a - b + beta * total) / (alpha + beta)
    return offset


class Form(NamedTuple):
    """What can be done with one kind of quantity, each at theta (B, 5) of targets of that kind."""

    value: Callable[[Array, Targets], Array]  # (B,)
    gradient: Callable[[Array, Targets], Array]  # (B, 5)
    retract: Callable[[Array, Targets], Array]  # (B, 5)


def _linear_value(theta: Array, t: Targets) -> Array:
    value: Array = np.einsum("bi,bi->b", theta, t.weights)
    return value


def _linear_retract(theta: Array, t: Targets) -> Array:
    """Set the coordinate itself (E, alpha, beta), or a of ln A = a + alpha * centre."""
    new = theta.copy()
    index = np.argmax(t.weights != 0, axis=1)
    rows = np.arange(len(theta))
    own = t.weights[rows, index]
    rest = np.einsum("bi,bi->b", theta, t.weights) - own * theta[rows, index]
    new[rows, index] = (t.values - rest) / own
    return new


def _ln_ratio_gradient(theta: Array, t: Targets) -> Array:
    zero = np.zeros(len(theta))
    return np.stack([zero, zero, zero, -1 / theta[:, 3], 1 / theta[:, 4]], axis=1)


def _ln_ratio_retract(theta: Array, t: Targets) -> Array:
    """beta = alpha e^q, or alpha = beta e^-q where that beta is out of bounds."""
    new = theta.copy()
    new[:, 4] = np.clip(theta[:, 3] * np.exp(t.values), LOWER[4], UPPER[4])
    new[:, 3] = new[:, 4] * np.exp(-t.values)
    return new


def _ln_optimum_gradient(theta: Array, t: Targets) -> Array:
    alpha, beta = theta[:, 3], theta[:, 4]
    x = optimum_offset(theta, t.at[:, 0])
    one = np.ones(len(theta))
    columns = [one, -one, np.zeros(len(theta)), 1 / alpha - x, t.at[:, 0] - x - 1 / beta]
    return np.stack(columns, axis=1) / (alpha + beta)[:, None]


def _ln_optimum_retract(theta: Array, t: Targets) -> Array:
    """Shift a and b by opposite amounts."""
    new = theta.copy()
    shift = (t.values - optimum_offset(theta, t.at[:, 0])) * (theta[:, 3] + theta[:, 4]) / 2
    new[:, 0] += shift
    new[:, 1] -= shift
    return new


def _loss_terms(theta: Array, t: Targets) -> tuple[Array, Array, Array, Array]:
    """x, y, u and v of the point, or of the optimum on x + y = its first number."""
    x, y = t.at[:, 0], t.at[:, 1]
    if _KINDS[t.kind[0]] == "optimum_loss":
        x = optimum_offset(theta, t.at[:, 0])
        y = t.at[:, 0] - x
    return x, y, np.exp(theta[:, 0] - theta[:, 3] * x), np.exp(theta[:, 1] - theta[:, 4] * y)


def _loss_value(theta: Array, t: Targets) -> Array:
    _, _, u, v = _loss_terms(theta, t)
    return np.add(theta[:, 2] + u, v)


def _loss_gradient(theta: Array, t: Targets) -> Array:
    """Of the optimum too, where a shift of x changes nothing (envelope theorem)."""
    x, y, u, v = _loss_terms(theta, t)
    return np.stack([u, v, np.ones_like(u), -u * x, -v * y], axis=1)


def _loss_retract(theta: Array, t: Targets) -> Array:
    """Set E; where E sits on its bound, or would pass it, scale both terms instead."""
    _, _, u, v = _loss_terms(theta, t)
    new, above = theta.copy(), u + v
    E = np.where(theta[:, 2] > 0, t.values - above, 0.0)
    scale = np.where(E > 0, 1.0, t.values / above)
    new[:, 2] = np.maximum(E, 0.0)
    new[:, :2] += np.log(np.where(scale > 0, scale, math.nan))[:, None]
    return new


_LOSS = Form(_loss_value, _loss_gradient, _loss_retract)
_FORMS: dict[Kind, Form] = {
    "linear": Form(_linear_value, lambda theta, t: t.weights, _linear_retract),
    "ln_ratio": Form(
        lambda theta, t: np.log(theta[:, 4] / theta[:, 3]), _ln_ratio_gradient, _ln_ratio_retract
    ),
    "ln_optimum": Form(
        lambda theta, t: optimum_offset(theta, t.at[:, 0]), _ln_optimum_gradient, _ln_optimum_retract
    ),
    "optimum_loss": _LOSS,
    "loss": _LOSS,
}


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
