"""Standard errors at the optimum: classical, and HC2 with Bell and McCaffrey's degrees of freedom.

Classical errors assume equal independent noise; HC2 lets every run have its own. Their ratio kappa is near 1 when
that assumption holds; above 1.3 the noise is unequal or the law does not fit.
Sources: Huber 1981, sec. 7.6 (M-estimator covariance, factor K); MacKinnon and White 1985 (HC2); Bell and McCaffrey
2002 (degrees of freedom). Shapes: n runs, K quantities, J (P, n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from scaling.fitting.surface.problem import Array, Penalty, Problem, blocks, free_coordinates, psi

ENOUGH_FOR_QUANTILES = 60  # runs: from here the noise is read off the residuals instead of assumed Gaussian


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearisation:
    """The fit to first order: residuals, leverages and covariance in solver coordinates."""

    data: Problem
    theta: Array  # (P,)
    penalty: Penalty
    residual: Array  # (n,)
    psi: Array  # (n,) derivative of rho
    inside: float  # share of runs within the Huber threshold
    free: NDArray[np.bool_]  # (P,) coordinates held neither by a bound nor because that was asked for
    inverse: Array  # (P, P) (J'J)^-1 on the free coordinates, zero elsewhere
    leverage: Array  # (n,) h
    scale2: float  # s2: 2 (F(q) - F) / s2 is the squared z of a profile
    condition: float  # of the correlation form of J'J

    @property
    def dof(self) -> int:
        """n less the coefficients fitted, on a bound or not: the bound was found from the same runs."""
        return self.data.n - self.data.n_fitted

    @property
    def log_residual(self) -> Array:
        """(n,) ln(fit) - ln(loss), whatever the objective."""
        if self.data.log_residual:
            return self.residual
        return np.log1p(self.residual / np.exp(self.data.ln_loss))

    def noise_half_width(self, level: float) -> float:
        """Of one run, in log loss."""
        return noise_half_width(self.log_residual, self.data.n_fitted, level)

    @property
    def covariance(self) -> Array:
        """(P, P) classical covariance of theta."""
        return self.inverse * (self.scale2 / self.inside)


def linearise(data: Problem, theta: Array, penalty: Penalty) -> Linearisation:
    """Linearise the fit at its optimum theta (P,). Memory: three vectors of n."""
    r = data.residuals(theta)
    slope = psi(r, penalty)
    inside = max(float(np.mean(np.abs(r) <= penalty.delta)), 1.0 / data.n)
    gram, gradient = np.zeros((len(theta), len(theta))), np.zeros(len(theta))
    for rows in blocks(data.n):
        J = data.jacobian(theta, rows)
        gram += J @ J.T
        gradient += J @ slope[rows]
    free = free_coordinates(data, theta[None], gradient[None])[0]
    free[[index for index, _ in data.fixed]] = False
    inverse, condition = _invert(gram, free)
    leverage = np.empty(data.n)
    for rows in blocks(data.n):
        J = data.jacobian(theta, rows)
        leverage[rows] = np.einsum("in,in->n", J, inverse @ J)
    huber_factor = 1 + data.n_fitted / data.n * (1 - inside) / inside
    variance = float(slope @ slope) / (data.n - data.n_fitted)
    return Linearisation(
        data=data,
        theta=theta,
        penalty=penalty,
        residual=r,
        psi=slope,
        inside=inside,
        free=free,
        inverse=inverse,
        leverage=np.minimum(leverage, 1 - 1e-10),
        scale2=huber_factor**2 * variance / inside,
        condition=condition,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors:
    """Standard errors of K quantities in solver units, and the threshold of their profiles."""

    classical: Array
    hc2: Array
    dof: Array  # Bell and McCaffrey's, for the t quantile that goes with hc2

    @property
    def kappa(self) -> Array:
        """HC2 over classical; NaN for a quantity that a bound holds, which has no error to first order."""
        moves = self.classical > 0
        return np.where(moves, self.hc2 / np.where(moves, self.classical, 1.0), np.nan)


def standard_errors(fit: Linearisation, gradients: Array) -> Errors:
    """Errors of quantities with gradients (K, P) in theta.

    nu = (sum_i w_i (1-h_i))^2 / sum_ij w_i w_j (I-H)_ij^2 with w = c^2/(1-h) and c the weight of each run in the
    quantity. The double sum is sum_i w_i^2 (1 - 2 h_i) + tr((X M)^2), M = sum_i w_i J_i J_i': linear in n.
    """
    K = len(gradients)
    direction = fit.inverse @ gradients.T  # (P, K)
    classical = np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", gradients, fit.covariance, gradients), 0.0))
    meat, total, square = np.zeros(K), np.zeros(K), np.zeros(K)
    moment = np.zeros((K, len(fit.theta), len(fit.theta)))
    for rows in blocks(fit.data.n):
        J = fit.data.jacobian(fit.theta, rows)
        c2 = (direction.T @ J) ** 2  # (K, rows)
        h = fit.leverage[rows]
        w = c2 / (1 - h)
        meat += w @ (fit.psi[rows] / fit.inside) ** 2
        total += c2.sum(axis=1)
        square += (w * w) @ (1 - 2 * h)
        moment += np.matmul(J * w[:, None, :], J.T)
    XM = np.matmul(fit.inverse, moment)
    double = square + np.einsum("kij,kji->k", XM, XM)
    dof = np.where(double > 0, total**2 / np.where(double > 0, double, 1.0), fit.dof)
    return Errors(classical=classical, hc2=np.sqrt(meat), dof=np.clip(dof, 1.0, fit.dof))


def hc2_covariance(fit: Linearisation) -> Array:
    """(P, P) covariance of theta that lets every run have its own noise."""
    meat = np.zeros((len(fit.theta), len(fit.theta)))
    for rows in blocks(fit.data.n):
        J = fit.data.jacobian(fit.theta, rows)
        weight = (fit.psi[rows] / fit.inside) ** 2 / (1 - fit.leverage[rows])
        meat += (J * weight) @ J.T
    return fit.inverse @ meat @ fit.inverse


def _invert(gram: Array, free: NDArray[np.bool_]) -> tuple[Array, float]:
    """Inverse on the free coordinates and the condition number after scaling each to unit length."""
    index = np.flatnonzero(free)
    part = gram[np.ix_(index, index)]
    scale = 1 / np.sqrt(np.maximum(np.diag(part), 1e-300))
    eigenvalues, vectors = np.linalg.eigh(part * np.outer(scale, scale))
    floor = eigenvalues[-1] * 1e-14  # a direction the runs do not see: huge variance, not a failure
    condition = float(eigenvalues[-1] / max(eigenvalues[0], floor * 1e-2))
    spread = vectors / np.sqrt(np.maximum(eigenvalues, floor))
    inverse = np.zeros_like(gram)
    inverse[np.ix_(index, index)] = (spread @ spread.T) * np.outer(scale, scale)
    return inverse, math.sqrt(condition)


def noise_half_width(residual: Array, n_fitted: int, level: float) -> float:
    """Half-width of the noise of one run, in log loss, from the log residuals of a fit of `n_fitted` coefficients.

    From 60 runs the split-conformal quantile of |residual| decides, below their root mean square and Student's t.
    """
    n = len(residual)
    dof = max(n - n_fitted, 1)
    inflated = math.sqrt(n / dof)  # residuals are smaller than the noise by the fitted values
    if n >= ENOUGH_FOR_QUANTILES:
        rank = min(math.ceil((n + 1) * level), n) - 1
        return float(np.partition(np.abs(residual), rank)[rank]) * inflated
    return float(stdtrit(dof, (1 + level) / 2)) * float(np.sqrt(np.mean(residual**2))) * inflated
