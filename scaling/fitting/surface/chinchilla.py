"""The Chinchilla surface in the coordinates a solver can move in, and its normal equations for many fits at once.

A/N^alpha with N near 1e9 and B/D^beta with D near 1e10 make the raw problem as ill-conditioned as 3.5e11. With
x = ln N - mean, y = ln D - mean, and the loss divided by its geometric mean S,

    L/S = E + exp(a - alpha x) + exp(b - beta y) = E + u + v,        theta = (a, b, E, alpha, beta),

it is about 1e2. E stays linear, so that its bound E >= 0 is an ordinary active constraint.
Shapes: B fits, n runs; theta (B, 5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

N_COEFFICIENTS = 5
COORDINATES = ("ln_A", "ln_B", "E", "alpha", "beta")
# u and v at the mean run are between e^-30 and e^20 of the loss; exponents outside .005-3 are no scaling law
LOWER = np.array([-30.0, -30.0, 0.0, 0.005, 0.005])
UPPER = np.array([20.0, 20.0, np.inf, 3.0, 3.0])
BLOCK_CELLS = 16_384  # fits x runs at once: their (5, cells) Jacobian stays in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """rho(r): Huber with threshold `delta` (infinite = squares), times `over` where the fit lies above the run."""

    delta: float = math.inf
    over: float = 1.0

    @property
    def quadratic(self) -> bool:
        return math.isinf(self.delta) and self.over == 1.0


SQUARES = Penalty()


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceData:
    """Runs in centred coordinates. Residuals are ln(fit) - ln(loss), or (fit - loss)/S without `log_residual`.

    `fixed` are coordinates that every fit to these runs keeps: (index in theta, value).
    """

    x: Array  # (n,) ln N - ln_params_centre
    y: Array
    ln_loss: Array  # of loss / loss_scale
    ln_params_centre: float
    ln_tokens_centre: float
    loss_scale: float
    log_residual: bool = True
    fixed: tuple[tuple[int, float], ...] = ()

    @property
    def n(self) -> int:
        return len(self.x)

    @property
    def n_fitted(self) -> int:
        """How many coefficients are fitted: five, less those held."""
        return N_COEFFICIENTS - len(self.fixed)

    def with_fixed(self, theta: Array) -> Array:
        """theta (B, 5) with the held coordinates at their values."""
        for index, value in self.fixed:
            theta[:, index] = value
        return theta

    def select(self, rows: NDArray[Any]) -> SurfaceData:
        """The same coordinates on fewer runs."""
        return replace(self, x=self.x[rows], y=self.y[rows], ln_loss=self.ln_loss[rows])

    def with_residual(self, kind: Literal["log", "raw"]) -> SurfaceData:
        return SurfaceData(**{**self.__dict__, "log_residual": kind == "log"})


def centre(
    n_params: Array,
    n_tokens: Array,
    loss: Array,
    *,
    log_residual: bool = True,
    fixed: Mapping[str, float] | None = None,
) -> SurfaceData:
    """Runs in the solver's coordinates. All three are (n,), > 0 and finite (a Runs table guarantees it).

    Coefficients of the law in `fixed` are held. Where A (or B) is, ln N (ln D) is left uncentred, so that a is ln A.
    """
    held = dict(fixed or {})
    ln_params, ln_tokens, ln_loss = np.log(n_params), np.log(n_tokens), np.log(loss)
    means = [float(v.mean()) for v in (ln_params, ln_tokens, ln_loss)]
    means[0] = 0.0 if "A" in held else means[0]
    means[1] = 0.0 if "B" in held else means[1]
    return SurfaceData(
        x=ln_params - means[0],
        y=ln_tokens - means[1],
        ln_loss=ln_loss - means[2],
        ln_params_centre=means[0],
        ln_tokens_centre=means[1],
        loss_scale=math.exp(means[2]),
        log_residual=log_residual,
        fixed=tuple(_held_coordinate(name, value, means[2]) for name, value in held.items()),
    )


def _held_coordinate(name: str, value: float, ln_scale: float) -> tuple[int, float]:
    """Index in theta and value there of a coefficient of the law, ln A and ln B uncentred."""
    index = COORDINATES.index(f"ln_{name}" if name in ("A", "B") else name)
    if name in ("A", "B"):
        return index, math.log(value) - ln_scale
    return index, value / math.exp(ln_scale) if name == "E" else value


def to_coefficients(data: SurfaceData, theta: Array) -> dict[str, Any]:
    """E, A, B, alpha, beta of theta (..., 5), in units of the loss."""
    ln_scale = math.log(data.loss_scale)
    with np.errstate(over="ignore"):  # a draw with alpha near 3 may exceed 1e308: inf says so
        return {
            "E": theta[..., 2] * data.loss_scale,
            "A": np.exp(theta[..., 0] + theta[..., 3] * data.ln_params_centre + ln_scale),
            "B": np.exp(theta[..., 1] + theta[..., 4] * data.ln_tokens_centre + ln_scale),
            "alpha": theta[..., 3],
            "beta": theta[..., 4],
        }


def blocks(n: int, n_fits: int = 1) -> Iterator[slice]:
    """Row ranges that keep temporaries small, so that a million runs need no more memory than their own columns."""
    rows = max(BLOCK_CELLS // n_fits, 256)
    return (slice(i, min(i + rows, n)) for i in range(0, n, rows))


def residuals(data: SurfaceData, theta: Array) -> Array:
    """(n,) residuals at one theta (5,)."""
    r = np.empty(data.n)
    for rows in blocks(data.n):
        r[rows] = _terms(data, theta[None, :], rows)[3][0]
    return r


def jacobian(data: SurfaceData, theta: Array, rows: slice | None = None) -> Array:
    """(5, n) derivative of the residuals at one theta (5,)."""
    rows = rows or slice(0, data.n)
    u, v, s, _ = _terms(data, theta[None, :], rows)
    first: Array = _jacobian(data, u, v, s, rows)[0]
    return first


def normal_equations(
    data: SurfaceData, theta: Array, penalty: Penalty, counts: Array | None, blend: Array
) -> tuple[Array, Array, Array]:
    """Objective (B,), gradient (B, 5) and curvature (B, 5, 5) at theta (B, 5).

    Outside the Huber threshold the curvature takes `blend` (B, 1) of the reweighted-least-squares weight
    delta/|r|: 1 descends surely and slowly, 0 is Newton's step for the piecewise quadratic objective.
    """
    B = len(theta)
    value, gradient = np.zeros(B), np.zeros((B, N_COEFFICIENTS))
    curvature = np.zeros((B, N_COEFFICIENTS, N_COEFFICIENTS))
    for rows in blocks(data.n, B):
        c = None if counts is None else counts[:, rows]
        u, v, s, r = _terms(data, theta, rows)
        rho, psi, weight = _rho(r, penalty, c, blend)
        J = _jacobian(data, u, v, s, rows)
        value += rho
        gradient += np.matmul(J, psi[:, :, None])[:, :, 0]
        weighted = J if weight is None else J * weight[:, None, :]
        curvature += np.matmul(weighted, J.transpose(0, 2, 1))
    return value, gradient, curvature


def psi(r: Array, penalty: Penalty) -> Array:
    """Derivative of rho."""
    clipped = np.minimum(np.maximum(r, -penalty.delta), penalty.delta)
    return clipped if penalty.over == 1.0 else clipped * np.where(r > 0, penalty.over, 1.0)


def _terms(data: SurfaceData, theta: Array, rows: slice) -> tuple[Array, Array, Array, Array]:
    """u, v, s = E + u + v and the residual, each (B, rows)."""
    u = np.multiply(-theta[:, 3:4], data.x[rows])
    u += theta[:, 0:1]
    np.exp(u, out=u)
    v = np.multiply(-theta[:, 4:5], data.y[rows])
    v += theta[:, 1:2]
    np.exp(v, out=v)
    s = u + v
    s += theta[:, 2:3]
    r = np.log(s) if data.log_residual else s.copy()
    r -= data.ln_loss[rows] if data.log_residual else np.exp(data.ln_loss[rows])
    return u, v, s, r


def _jacobian(data: SurfaceData, u: Array, v: Array, s: Array, rows: slice) -> Array:
    """(B, 5, rows): (u, v, 1, -u x, -v y), over s where the residual is a difference of logs."""
    J = np.empty((u.shape[0], N_COEFFICIENTS, u.shape[1]))
    if data.log_residual:
        inverse = np.divide(1.0, s, out=J[:, 2])
        np.multiply(u, inverse, out=J[:, 0])
        np.multiply(v, inverse, out=J[:, 1])
    else:
        J[:, 0], J[:, 1], J[:, 2] = u, v, 1.0
    np.multiply(J[:, 0], -data.x[rows], out=J[:, 3])
    np.multiply(J[:, 1], -data.y[rows], out=J[:, 4])
    return J


def _rho(
    r: Array, penalty: Penalty, counts: Array | None, blend: Array | float = 0.0
) -> tuple[Array, Array, Array | None]:
    """Objective (B,), psi (B, n) and curvature weight (B, n), None for plain squares."""
    if penalty.quadratic:
        weighted = r if counts is None else r * counts
        return 0.5 * (weighted * r).sum(axis=1), weighted, counts
    delta = penalty.delta
    slope = np.minimum(np.maximum(r, -delta), delta)
    rho = slope * (r - 0.5 * slope)  # r^2/2 inside, delta |r| - delta^2/2 outside
    size = np.abs(r)
    weight = blend * delta / np.maximum(size, delta)
    weight[size <= delta] = 1.0
    factor = counts
    if penalty.over != 1.0:
        above = np.where(r > 0, penalty.over, 1.0)
        factor = above if counts is None else above * counts
    if factor is not None:
        rho *= factor
        slope *= factor
        weight *= factor
    return rho.sum(axis=1), slope, weight
