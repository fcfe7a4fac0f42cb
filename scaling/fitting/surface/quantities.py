"""What a fit can be asked for, whichever its law: a scalar of the coordinates, its gradient, and the way back.

To profile a quantity the fit must move along the surface on which it keeps its value, so each knows how to set one
coordinate to reach a value (`retract`). A problem makes the quantities of its law (`Problem.coefficient` and the like).
Shapes: B fits or interval ends, theta (B, P), parameters (B, M).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_FAR = 40.0  # natural logs beyond the estimate at which a profile that has not crossed is called unbounded


class Form(NamedTuple):
    """One kind of quantity, for many fits at once; `parameters` tells those of a kind apart: a budget, a point."""

    value: Callable[[Array, Array], Array]  # theta, parameters → (B,)
    gradient: Callable[[Array, Array], Array]  # theta, parameters → (B, P)
    retract: Callable[
        [Array, Array, Array], Array
    ]  # theta, parameters, values → (B, P), NaN where none has it


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One scalar of a fit in solver units, and how to print it."""

    name: str
    form: Form
    show: Callable[[float], float]  # solver value → printed value; rises, takes +-inf
    parameters: tuple[float, ...] = ()
    low: float = -math.inf  # solver value at which the search for an end gives up and calls it unbounded
    high: float = math.inf
    straight: bool = False  # known to first order alone: not profiled
    is_loss: bool = False  # or a part of one: an end lies between zero and twenty times the loss


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Quantities at values they must keep: one a row of a batch. `values` may be NaN while only asking."""

    forms: tuple[Form, ...]
    kind: NDArray[np.int64]  # (B,) index into forms
    parameters: Array  # (B, M)
    values: Array  # (B,)

    def take(self, rows: NDArray[np.int64]) -> Targets:
        kept = (self.kind[rows], self.parameters[rows], self.values[rows])
        return Targets(forms=self.forms, kind=kept[0], parameters=kept[1], values=kept[2])

    def at_values(self, values: Array) -> Targets:
        return Targets(forms=self.forms, kind=self.kind, parameters=self.parameters, values=values)

    def value(self, theta: Array) -> Array:
        """(B,) value of each quantity at its own theta."""
        out = np.empty(len(theta))
        for form, rows in self._groups():
            out[rows] = form.value(theta[rows], self.parameters[rows])
        return out

    def gradient(self, theta: Array) -> Array:
        """(B, P) derivative of each quantity."""
        out = np.empty_like(theta)
        for form, rows in self._groups():
            out[rows] = form.gradient(theta[rows], self.parameters[rows])
        return out

    def retract(self, theta: Array) -> Array:
        """theta moved the least convenient coordinate so that each quantity has its value; NaN where none does."""
        out = np.empty_like(theta)
        for form, rows in self._groups():
            out[rows] = form.retract(theta[rows], self.parameters[rows], self.values[rows])
        return out

    def _groups(self) -> Iterator[tuple[Form, NDArray[np.int64]]]:
        """The rows of each kind."""
        for k in np.unique(self.kind).tolist():
            yield self.forms[k], np.flatnonzero(self.kind == k)


def as_targets(quantities: Sequence[Quantity]) -> Targets:
    """One row a quantity, values not yet set."""
    forms = tuple({id(q.form): q.form for q in quantities}.values())
    index = {id(form): i for i, form in enumerate(forms)}
    width = max((len(q.parameters) for q in quantities), default=0)
    rows = [(*q.parameters, *[0.0] * (width - len(q.parameters))) for q in quantities]
    return Targets(
        forms=forms,
        kind=np.array([index[id(q.form)] for q in quantities], dtype=np.int64),
        parameters=np.array(rows, dtype=np.float64).reshape(len(quantities), width),
        values=np.full(len(quantities), math.nan),
    )


def values_of(quantities: Sequence[Quantity], theta: Array) -> Array:
    """(B, K) every quantity at every theta (B, P): resamples, jackknife groups."""
    B, K = len(theta), len(quantities)
    targets = as_targets(quantities).take(np.tile(np.arange(K), B))
    return targets.value(np.repeat(theta, K, axis=0)).reshape(B, K)


def give_up(quantity: Quantity, value: float) -> tuple[float, float]:
    """Solver values beyond which an end is called unbounded."""
    if quantity.is_loss:
        return 0.0, 20.0 * max(value, 1.0)
    low = quantity.low if math.isfinite(quantity.low) else value - _FAR
    high = quantity.high if math.isfinite(quantity.high) else value + _FAR
    return low, high


def exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def _linear_value(theta: Array, weights: Array) -> Array:
    value: Array = np.einsum("bi,bi->b", theta, weights)
    return value


def _linear_retract(theta: Array, weights: Array, values: Array) -> Array:
    """Set the first coordinate that counts: itself, or a of ln A = a + alpha * centre."""
    new = theta.copy()
    index = np.argmax(weights != 0, axis=1)
    rows = np.arange(len(theta))
    own = weights[rows, index]
    rest = np.einsum("bi,bi->b", theta, weights) - own * theta[rows, index]
    new[rows, index] = (values - rest) / own
    return new


# weights . theta, the weights being the parameters
LINEAR = Form(_linear_value, lambda _, weights: weights, _linear_retract)
