"""The Chinchilla law in its coordinates theta = (a, b, E, alpha, beta): steps along its valley, and its quantities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scaling.fitting.surface.problem import Array, Mask
from scaling.fitting.surface.quantities import Form

N_COEFFICIENTS = 5
COORDINATES = ("A", "B", "E", "alpha", "beta")  # that of A is ln A at the mean run
LN_A, LN_B, E, ALPHA, BETA = range(N_COEFFICIENTS)
# u and v at the mean run are between e^-30 and e^20 of the loss; exponents outside .005-3 are no scaling law
LOWER = np.array([-30.0, -30.0, 0.0, 0.005, 0.005])
UPPER = np.array([20.0, 20.0, np.inf, 3.0, 3.0])
_EYE = np.eye(N_COEFFICIENTS)
_SMALLEST_E = 1e-13  # of the loss scale: below is rounding of the level, and zero
_LOWEST_LEVEL = 1e-3  # of the loss scale, where a step would make E + e^a + e^b negative


def level_frame(theta: Array, pinned: Mask | None = None) -> Array:
    """(B, 5, 5) derivative of theta by (ln slope in N, ln slope in D, level, alpha, beta).

    `pinned` (B,): the third coordinate is E itself, as where its bound holds it.
    """
    frame = np.repeat(_EYE[None], len(theta), axis=0)
    inverse_exponents = 1 / theta[:, 3:]
    frame[:, 0, 3], frame[:, 1, 4] = -inverse_exponents[:, 0], -inverse_exponents[:, 1]
    terms = np.exp(theta[:, :2])
    if pinned is not None:
        terms *= ~pinned[:, None]
    frame[:, 2, :2] = -terms
    frame[:, 2, 3:] = terms * inverse_exponents
    return frame


def bend(theta: Array, move: Array, pinned: Mask | None = None) -> Array:
    """theta after a step in the coordinates of `level_frame`, exactly, kept within the bounds."""
    new = theta + move
    exponents = np.minimum(np.maximum(new[:, 3:], LOWER[3:]), UPPER[3:])
    new[:, 3:] = exponents
    new[:, :2] = np.minimum(np.maximum(new[:, :2] - np.log(exponents / theta[:, 3:]), LOWER[:2]), UPPER[:2])
    level = theta[:, 2] + np.exp(theta[:, :2]).sum(axis=1) + move[:, 2]
    above = np.exp(new[:, :2]).sum(axis=1)
    E = level - above
    if pinned is not None:
        E = np.where(pinned, np.maximum(new[:, 2], 0.0), E)
    short = E < 0
    if short.any():
        # a level below what the two terms need: E = 0, and the terms give way, since the level is what the runs fix
        new[:, :2] += np.where(short, np.log(np.maximum(level, _LOWEST_LEVEL) / above), 0.0)[:, None]
    new[:, 2] = np.where(E > _SMALLEST_E, E, 0.0)
    return new


def straight(theta: Array, move: Array) -> Array:
    """theta after a step in its own coordinates, kept within the bounds."""
    new: Array = np.minimum(np.maximum(theta + move, LOWER), UPPER)
    new[:, 2] = np.where(new[:, 2] > _SMALLEST_E, new[:, 2], 0.0)
    return new


# --- quantities, for many fits at once; parameters are `total`, x + y of a budget, or the point x, y ---


def optimum_offset(theta: Array, total: Array) -> Array:
    """x* (B,): where alpha u = beta v on x + y = total, the compute-optimal size."""
    a, b, _, alpha, beta = theta.T
    offset: Array = (np.log(alpha / beta) + a - b + beta * total) / (alpha + beta)
    return offset


def _ln_ratio_gradient(theta: Array, _: Array) -> Array:
    zero = np.zeros(len(theta))
    return np.stack([zero, zero, zero, -1 / theta[:, ALPHA], 1 / theta[:, BETA]], axis=1)


def _ln_ratio_retract(theta: Array, _: Array, values: Array) -> Array:
    """beta = alpha e^q, or alpha = beta e^-q where that beta is out of bounds."""
    new = theta.copy()
    new[:, BETA] = np.clip(theta[:, ALPHA] * np.exp(values), LOWER[BETA], UPPER[BETA])
    new[:, ALPHA] = new[:, BETA] * np.exp(-values)
    return new


def _ln_optimum_gradient(theta: Array, p: Array) -> Array:
    alpha, beta, total = theta[:, ALPHA], theta[:, BETA], p[:, 0]
    x = optimum_offset(theta, total)
    one = np.ones(len(theta))
    columns = [one, -one, np.zeros(len(theta)), 1 / alpha - x, total - x - 1 / beta]
    return np.stack(columns, axis=1) / (alpha + beta)[:, None]


def _ln_optimum_retract(theta: Array, p: Array, values: Array) -> Array:
    """Shift a and b by opposite amounts."""
    new = theta.copy()
    shift = (values - optimum_offset(theta, p[:, 0])) * (theta[:, ALPHA] + theta[:, BETA]) / 2
    new[:, LN_A] += shift
    new[:, LN_B] -= shift
    return new


def _loss_form(point: Callable[[Array, Array], tuple[Array, Array]]) -> Form:
    """E + u + v at the x, y that `point` gives."""

    def terms(theta: Array, p: Array) -> tuple[Array, Array, Array, Array]:
        x, y = point(theta, p)
        u = np.exp(theta[:, LN_A] - theta[:, ALPHA] * x)
        return x, y, u, np.exp(theta[:, LN_B] - theta[:, BETA] * y)

    def value(theta: Array, p: Array) -> Array:
        _, _, u, v = terms(theta, p)
        return np.add(theta[:, E] + u, v)

    def gradient(theta: Array, p: Array) -> Array:
        """Of the optimum too, where a shift of x changes nothing (envelope theorem)."""
        x, y, u, v = terms(theta, p)
        return np.stack([u, v, np.ones_like(u), -u * x, -v * y], axis=1)

    def retract(theta: Array, p: Array, values: Array) -> Array:
        """Set E; where E sits on its bound, or would pass it, scale both terms instead."""
        _, _, u, v = terms(theta, p)
        new, above = theta.copy(), u + v
        floor = np.where(theta[:, E] > 0, values - above, 0.0)
        scale = np.where(floor > 0, 1.0, values / above)
        new[:, E] = np.maximum(floor, 0.0)
        new[:, :2] += np.log(np.where(scale > 0, scale, np.nan))[:, None]
        return new

    return Form(value, gradient, retract)


def _optimal_point(theta: Array, p: Array) -> tuple[Array, Array]:
    x = optimum_offset(theta, p[:, 0])
    return x, p[:, 0] - x


LN_RATIO = Form(
    lambda theta, _: np.log(theta[:, BETA] / theta[:, ALPHA]), _ln_ratio_gradient, _ln_ratio_retract
)
LN_OPTIMUM = Form(lambda theta, p: optimum_offset(theta, p[:, 0]), _ln_optimum_gradient, _ln_optimum_retract)
OPTIMUM_LOSS = _loss_form(_optimal_point)
LOSS = _loss_form(lambda _, p: (p[:, 0], p[:, 1]))
