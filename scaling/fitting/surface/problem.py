"""What the engine asks of a law and its runs, so that one search, one interval and one test serve every family.

The Chinchilla law meets it by closed forms (`chinchilla.SurfaceData`), any other family by its formula and gradient
(`general.FamilyData`). Shapes: B fits, n runs, P coordinates; theta (B, P).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.surface.quantities import Quantity
from scaling.laws.base import LawFamily

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HUBER_EFFICIENT = 1.345  # x robust scale: 95 % efficient under Gaussian noise (Huber 1981)
BLOCK_CELLS = 16_384  # fits x runs at once: their (P, cells) Jacobian stays in the processor's cache


class Problem(Protocol):
    """Runs in the coordinates a solver can move in. Residuals are ln(fit) - ln(loss), or (fit - loss)/scale."""

    @property
    def n(self) -> int:
        """Runs."""

    @property
    def n_fitted(self) -> int:
        """How many coefficients are fitted: all, less those held."""

    @property
    def family(self) -> LawFamily:
        """The law's."""

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficient that each coordinate stands for."""

    @property
    def any_residual(self) -> bool:
        """Whether `with_residual` takes "raw" too."""

    @property
    def lower(self) -> Array:
        """(P,) bounds of the coordinates."""

    @property
    def upper(self) -> Array: ...

    @property
    def longest_step(self) -> Array:
        """(P,) beyond, the quadratic model of the objective says nothing."""

    @property
    def floor(self) -> int | None:
        """The coordinate that enters linearly and whose bound of zero is met exactly: E of the Chinchilla law."""

    @property
    def fixed(self) -> tuple[tuple[int, float], ...]:
        """Coordinates that every fit to these runs keeps: (index, value)."""

    @property
    def log_residual(self) -> bool: ...

    @property
    def ln_loss(self) -> Array:
        """(n,) ln of loss / scale."""

    @property
    def loss_scale(self) -> float: ...

    def residuals(self, theta: Array) -> Array:
        """(n,) at one theta (P,)."""

    def jacobian(self, theta: Array, rows: slice | None = None) -> Array:
        """(P, rows) derivative of the residuals at one theta (P,)."""

    def normal_equations(
        self, theta: Array, penalty: Penalty, counts: Array | None, blend: Array
    ) -> tuple[Array, Array, Array]:
        """Objective (B,), gradient (B, P) and curvature (B, P, P) at theta (B, P).

        Outside the Huber threshold the curvature takes `blend` (B, 1) of the reweighted-least-squares weight
        delta/|r|: 1 descends surely and slowly, 0 is Newton's step for the piecewise quadratic objective.
        """

    def frame(self, theta: Array, pinned: Mask | None = None) -> Array:
        """(B, P, P) derivative of theta by the coordinates in which a step is nearly straight."""

    def moved(self, theta: Array, move: Array, pinned: Mask | None = None) -> Array:
        """theta after a step in the coordinates of `frame`, kept within the bounds and at what is fixed."""

    def straightened(self, theta: Array) -> Array:
        """(B, P) theta in coordinates whose differences `moved` takes: where refits scatter evenly."""

    def coefficients(self, theta: Array) -> dict[str, Any]:
        """The law's coefficients of theta (..., P), in units of the loss."""

    def select(self, rows: NDArray[Any]) -> Self:
        """The same coordinates on fewer runs."""

    def with_residual(self, kind: Literal["log", "raw"]) -> Self: ...

    def starts(self) -> Array:
        """(S, P) where to begin a search."""

    @property
    def cells(self) -> tuple[Array, Array] | None:
        """Two coordinates in which replicates coincide; None where runs of one N and D are no replicates."""

    def runs(self) -> tuple[Array, Array, Array]:
        """n_params, n_tokens and loss of the runs, (n,) each."""

    def missed_terms(self, rows: slice) -> Array:
        """(T, rows) terms of the next order, which a wrong form would leave in its residuals."""

    def coefficient(self, name: str) -> Quantity: ...

    def asked(self) -> list[Quantity]:
        """What every fit is asked for: the coefficients, and the exponent of N* where it is a closed form of them."""

    def exponent(self) -> Quantity | None:
        """a of N* ~ C^a, where the law has one."""

    def at(self, inputs: Mapping[str, Array], ln_loss: Array) -> Self:
        """The same coordinates on other runs."""

    def optimal_params(self, flops: float) -> Quantity: ...

    def optimal_loss(self, flops: float) -> Quantity: ...

    def loss_at(self, n_params: float, n_tokens: float) -> Quantity: ...


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """rho(r): Huber with threshold `delta` (infinite = squares), times `over` where the fit lies above the run."""

    delta: float = math.inf
    over: float = 1.0

    @property
    def quadratic(self) -> bool:
        return math.isinf(self.delta) and self.over == 1.0


SQUARES = Penalty()


def psi(r: Array, penalty: Penalty) -> Array:
    """Derivative of rho."""
    clipped = np.minimum(np.maximum(r, -penalty.delta), penalty.delta)
    return clipped if penalty.over == 1.0 else clipped * np.where(r > 0, penalty.over, 1.0)


def rho(
    r: Array, penalty: Penalty, counts: Array | None, blend: Array | float = 0.0
) -> tuple[Array, Array, Array | None]:
    """Objective (B,), psi (B, n) and curvature weight (B, n), None for plain squares."""
    if penalty.quadratic:
        weighted = r if counts is None else r * counts
        return 0.5 * (weighted * r).sum(axis=1), weighted, counts
    delta = penalty.delta
    slope = np.minimum(np.maximum(r, -delta), delta)
    loss = slope * (r - 0.5 * slope)  # r^2/2 inside, delta |r| - delta^2/2 outside
    size = np.abs(r)
    weight = blend * delta / np.maximum(size, delta)
    weight[size <= delta] = 1.0
    factor = counts
    if penalty.over != 1.0:
        above = np.where(r > 0, penalty.over, 1.0)
        factor = above if counts is None else above * counts
    if factor is not None:
        loss *= factor
        slope *= factor
        weight *= factor
    return loss.sum(axis=1), slope, weight


def blocks(n: int, n_fits: int = 1) -> Iterator[slice]:
    """Row ranges that keep temporaries small, so that a million runs need no more memory than their own columns."""
    rows = max(BLOCK_CELLS // n_fits, 256)
    return (slice(i, min(i + rows, n)) for i in range(0, n, rows))


def within_bounds(problem: Problem, theta: Array) -> Mask:
    """(B,) true where every coordinate is; false for NaN."""
    inside: Mask = np.logical_and.reduce((theta >= problem.lower) & (theta <= problem.upper), axis=1)
    return inside


def on_bound(problem: Problem, theta: Array) -> Mask:
    """(B, P) true where a coordinate sits on a bound."""
    at: Mask = (theta <= problem.lower) | (theta >= problem.upper)
    return at


def free_coordinates(problem: Problem, theta: Array, gradient: Array) -> Mask:
    """(B, P) false where a coordinate sits on its bound and the objective pushes it outwards."""
    return ~(((theta <= problem.lower) & (gradient > 0)) | ((theta >= problem.upper) & (gradient < 0)))


def with_fixed(problem: Problem, theta: Array) -> Array:
    """theta (B, P) with the held coordinates at their values, in place."""
    for index, value in problem.fixed:
        theta[:, index] = value
    return theta
