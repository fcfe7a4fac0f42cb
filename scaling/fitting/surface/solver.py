"""Levenberg-Marquardt for many small robust fits at once, with bounds and, if asked, one quantity held fixed.

One call solves all bootstrap resamples, all jackknife groups or all ends of the profile intervals of a fit.

Steps are taken in level and slopes at the mean run, (ln alpha e^a, ln beta e^b, E + e^a + e^b, alpha, beta): along
the valley where E, A and alpha trade off these hardly change, so a far start takes 5 steps where (a, b, E, alpha,
beta) take 20. E itself stays the linear coordinate with the bound E >= 0.
Shapes: B fits; theta, steps and gradients (B, 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.surface.chinchilla import (
    LOWER,
    N_COEFFICIENTS,
    UPPER,
    Array,
    Penalty,
    SurfaceData,
    normal_equations,
)

Mask = NDArray[np.bool_]
_EYE = np.eye(N_COEFFICIENTS)
_LONGEST_STEP = np.array([2.0, 2.0, np.inf, 0.3, 0.3])  # beyond, the quadratic model of F says nothing
_DAMPING_START, _DAMPING_LOWEST, _DAMPING_STUCK = 1e-2, 1e-12, 1e10
_BLEND_CERTAIN = 0.2  # with less of the slow weights than this, a small predicted decrease means a minimum
_ROUNDING_VARIANCE = 1e-31  # an objective of n times this is rounding: |r| is about 3e-16
_SMALLEST_E = 1e-13  # of the loss scale: below is rounding of the level, and zero
_LOWEST_LEVEL = 1e-3  # of the loss scale, where a step would make E + e^a + e^b negative


class Held(Protocol):
    """A quantity kept at its value: see scaling.fitting.surface.quantities.Targets."""

    def gradient(self, theta: Array) -> Array:
        """(B, 5) derivative of the quantity."""

    def retract(self, theta: Array) -> Array:
        """theta with one coordinate set so that the quantity has its value; NaN where none does."""

    def take(self, rows: NDArray[np.int64]) -> Held: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """Where each fit ended. `decrement` is the decrease a Newton step still predicts."""

    theta: Array  # (B, 5)
    objective: Array  # (B,)
    gradient: Array  # (B, 5)
    curvature: Array  # (B, 5, 5)
    decrement: Array  # (B,)
    converged: Mask
    n_steps: NDArray[np.int64]


def minimise(
    data: SurfaceData,
    theta: Array,
    penalty: Penalty,
    *,
    counts: Array | None = None,
    held: Held | None = None,
    tolerance: float = 1e-10,
    enough: Array | None = None,
    max_steps: int = 200,
) -> Minimum:
    """Minimise sum_i counts_i rho(r_i) from each row of theta (B, 5), E >= 0 and .005 <= alpha, beta <= 3.

    Coordinates in `data.fixed` stay where they are; theta must have them there.
    Stops where the predicted decrease is at most `tolerance` times the objective (or `enough`, (B,)). A fit that
    uses up `max_steps` is returned with converged = False, never dropped.

    Args:
        counts: (B, n) weight of each run in each fit (resample counts, 0 for a run left out); None = all 1.
        held: a quantity that must keep its value in each fit; theta must have that value.
    Source: Marquardt 1963; Huber 1981, sec. 7.8, for the reweighting. Ours differs: the weights go over to
        Newton's as the fit settles, which takes 6 steps where plain reweighting takes hundreds at delta = 1e-3.
    """
    problem = _Problem(data=data, penalty=penalty, tolerance=tolerance, enough=enough)
    state = _State(problem, theta, counts, held)
    result = _empty(len(theta))
    for step in range(max_steps + 1):
        proposal = _propose(state)
        done = _settled(state, proposal)
        leaving = done | (state.damping > _DAMPING_STUCK) | (step == max_steps)
        if leaving.any():
            decrement = proposal.decrement
            if not done[leaving].all():
                decrement = np.where(done, decrement, _undamped_decrement(state))
            _record(result, state, decrement, done, step, leaving)
            if leaving.all():
                break
            state.keep(~leaving)
            proposal = proposal.keep(~leaving)
        _try_move(state, proposal)
    return result


def free_coordinates(theta: Array, gradient: Array) -> Mask:
    """(B, 5) false where a coordinate sits on its bound and the objective pushes it outwards."""
    return ~(((theta <= LOWER) & (gradient > 0)) | ((theta >= UPPER) & (gradient < 0)))


def within_bounds(theta: Array) -> Mask:
    """(B,) true where every coordinate is; false for NaN."""
    inside: Mask = np.logical_and.reduce((theta >= LOWER) & (theta <= UPPER), axis=1)
    return inside


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


def damped_solve(
    gradient: Array,
    curvature: Array,
    free: Mask,
    damping: Array,
    along: Array | None = None,
) -> Array:
    """-(H + damping diag H)^-1 g in the free coordinates (B, 5).

    `along` (B, 5): the step stays orthogonal to this direction (to first order, a quantity keeps its value).
    """
    all_free = bool(free.all())
    g = gradient if all_free else np.where(free, gradient, 0.0)
    diagonal = curvature.diagonal(axis1=1, axis2=2)
    # floors: a coordinate without influence (u = 0 everywhere) must neither run away nor make the system singular
    largest = diagonal.max(axis=1)[:, None] + 1e-300
    raised = damping[:, None] * np.maximum(diagonal, 1e-6 * largest) + 1e-14 * largest
    H = curvature + raised[:, :, None] * _EYE
    if not all_free:
        H = np.where(free[:, :, None] & free[:, None, :], H, _EYE)
    if along is None:
        step = -np.linalg.solve(H, g[:, :, None])[:, :, 0]
    else:
        c = np.where(free, along, 0.0)
        both = np.linalg.solve(H, np.stack([g, c], axis=2))
        slip = np.einsum("bi,bi->b", c, both[:, :, 1])
        share = np.einsum("bi,bi->b", c, both[:, :, 0]) / np.where(slip > 0, slip, np.inf)
        step = both[:, :, 1] * share[:, None] - both[:, :, 0]
    return step


def multiplier(slope: Array, theta: Array, gradient: Array, curvature: Array) -> tuple[Array, Array]:
    """dF/dq (B,) for a quantity of gradient `slope` (B, 5), the other coordinates following at their best.

    Also their direction d theta / dq (B, 5). Coordinates on a bound stay there.
    """
    pinned = (theta <= LOWER) | (theta >= UPPER)
    H = np.where(pinned[:, :, None] | pinned[:, None, :], 0.0, curvature)
    diagonal = np.einsum("bii->bi", H)
    floor = 1e-13 * diagonal.max(axis=1, keepdims=True) + 1e-300
    H = H + np.where(pinned, 1.0, floor)[:, :, None] * _EYE
    c = np.where(pinned, 0.0, slope)
    both = np.linalg.solve(H, np.stack([c, np.where(pinned, 0.0, gradient)], axis=2))
    size = np.einsum("bi,bi->b", c, both[:, :, 0])
    size = np.where(size > 0, size, np.inf)
    return np.einsum("bi,bi->b", c, both[:, :, 1]) / size, both[:, :, 0] / size[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Problem:
    data: SurfaceData
    penalty: Penalty
    tolerance: float
    enough: Array | None


class _State:
    """Fits still running; `rows` says which of the batch they are."""

    _ARRAYS = ("rows", "theta", "damping", "blend", "value", "gradient", "curvature")

    def __init__(self, problem: _Problem, theta: Array, counts: Array | None, held: Held | None) -> None:
        self.problem, self.counts, self.held = problem, counts, held
        self.rows = np.arange(len(theta))
        self.theta = np.array(theta, dtype=np.float64)
        self.damping = np.full(len(theta), _DAMPING_START)
        self.blend = np.full(len(theta), 0.0 if problem.penalty.quadratic else 0.3)
        self.value, self.gradient, self.curvature = self.evaluate(self.theta)

    def evaluate(self, theta: Array) -> tuple[Array, Array, Array]:
        problem = self.problem
        return normal_equations(problem.data, theta, problem.penalty, self.counts, self.blend[:, None])

    def keep(self, mask: Mask) -> None:
        for name in self._ARRAYS:
            setattr(self, name, getattr(self, name)[mask])
        if self.counts is not None:
            self.counts = self.counts[mask]
        if self.held is not None:
            self.held = self.held.take(np.flatnonzero(mask))


@dataclass(frozen=True, eq=False)
class _Proposal:
    step: Array  # (B, 5) in the coordinates of level_frame
    decrement: Array  # (B,) decrease of the objective that it predicts
    pinned: Mask  # (B,) E is a coordinate of its own
    onto_bound: Mask  # (B,) the step ends on E = 0, which it would have passed

    def keep(self, mask: Mask) -> _Proposal:
        return _Proposal(self.step[mask], self.decrement[mask], self.pinned[mask], self.onto_bound[mask])


def _undamped_decrement(state: _State) -> Array:
    """For fits stuck or out of steps: what a full reweighted step predicts, which is never more than it brings."""
    if not state.problem.penalty.quadratic:
        state.blend = np.ones_like(state.blend)
        state.value, state.gradient, state.curvature = state.evaluate(state.theta)
    return _propose(state, damped=False).decrement


def _propose(state: _State, damped: bool = True) -> _Proposal:
    """The step in level and slopes, no longer than the model is good for; onto E = 0 where it would pass it."""
    theta, gradient, slope = state.theta, state.gradient, None
    if state.held is not None:
        slope = state.held.gradient(theta)
        if ((theta <= LOWER) | (theta >= UPPER)).any():  # else it changes neither step nor bounds
            dual, _ = multiplier(slope, theta, gradient, state.curvature)
            gradient = gradient - dual[:, None] * slope
    damping = state.damping if damped else np.zeros_like(state.damping)
    at_zero = theta[:, 2] <= 0
    pinned = at_zero & (gradient[:, 2] > 0)
    step, decrement, E_move = _step(state, gradient, slope, damping, pinned)
    passing = ~pinned & (theta[:, 2] + E_move < 0)
    if (passing & at_zero).any():  # already there: move along the bound
        pinned |= passing & at_zero
        step, decrement, _ = _step(state, gradient, slope, damping, pinned)
    shrink = np.maximum(np.abs(step / _LONGEST_STEP).max(axis=1), 1.0)
    onto_bound = passing & ~at_zero
    if onto_bound.any():
        shrink = np.where(onto_bound, np.maximum(shrink, -E_move / np.maximum(theta[:, 2], 1e-300)), shrink)
        onto_bound &= E_move <= -theta[:, 2] * shrink * (1 - 1e-12)
    return _Proposal(step / shrink[:, None], decrement, pinned, onto_bound)


def _step(
    state: _State, gradient: Array, slope: Array | None, damping: Array, pinned: Mask
) -> tuple[Array, Array, Array]:
    """Damped step, E unmoved where pinned; the decrease it predicts; and by how much it moves E."""
    fixed = state.problem.data.fixed
    # with a coordinate held the valley is gone, and slopes and level cannot move freely: step in theta itself
    frame = np.repeat(_EYE[None], len(state.theta), axis=0) if fixed else level_frame(state.theta, pinned)
    transposed = frame.transpose(0, 2, 1)
    curvature = np.matmul(np.matmul(transposed, state.curvature), frame)
    local = np.matmul(transposed, gradient[:, :, None])[:, :, 0]
    along = None if slope is None else np.matmul(transposed, slope[:, :, None])[:, :, 0]
    free = free_coordinates(state.theta, local)
    free[:, 2] = ~pinned
    for index, _ in fixed:
        free[:, index] = False
    step = damped_solve(local, curvature, free, damping, along)
    ahead = local + 0.5 * np.matmul(curvature, step[:, :, None])[:, :, 0]
    return step, -(ahead * step).sum(axis=1), (frame[:, 2] * step).sum(axis=1)


def _settled(state: _State, proposal: _Proposal) -> Mask:
    problem = state.problem
    small = problem.tolerance * state.value + _ROUNDING_VARIANCE * problem.data.n
    if problem.enough is not None:
        small = np.maximum(small, problem.enough[state.rows])
    certain = (state.damping <= 0.1) & (state.blend <= _BLEND_CERTAIN) & ~proposal.onto_bound
    return (proposal.decrement <= small) & certain


def _try_move(state: _State, proposal: _Proposal) -> None:
    """Accept where the objective does not rise; damp less the better it agreed with the prediction."""
    data = state.problem.data
    if data.fixed:
        new = data.with_fixed(straight(state.theta, proposal.step))
    else:
        new = bend(state.theta, proposal.step, proposal.pinned)
    new[proposal.onto_bound, 2] = 0.0  # exactly, whatever the bend of the step left
    possible: Mask | None = None
    if state.held is not None:
        new = state.held.retract(new)
        possible = within_bounds(new)
        new = np.where(possible[:, None], new, state.theta)
    value, gradient, curvature = state.evaluate(new)
    accept = value <= state.value
    if possible is not None:
        accept &= possible
    gain = np.where(accept, (state.value - value) / np.maximum(proposal.decrement, 1e-300), -1.0)
    for name, candidate in (
        ("theta", new),
        ("value", value),
        ("gradient", gradient),
        ("curvature", curvature),
    ):
        if accept.all():
            setattr(state, name, candidate)
        else:
            old = getattr(state, name)
            setattr(state, name, np.where(accept.reshape(-1, *[1] * (old.ndim - 1)), candidate, old))
    factor = np.where(gain > 0.75, 0.1, np.where(gain > 0.25, 1.0, np.where(gain >= 0, 3.0, 8.0)))
    state.damping = np.maximum(state.damping * factor, _DAMPING_LOWEST)
    if not state.problem.penalty.quadratic:
        # a poor gain may be the weights' fault: Newton's see no curvature where few residuals lie within delta
        change = np.where(gain > 0.75, 0.3, np.where(gain > 0.25, 1.0, 3.0))
        state.blend = np.minimum(np.maximum(state.blend * change, 1e-3), 1.0)


def _empty(B: int) -> Minimum:
    n = N_COEFFICIENTS
    return Minimum(
        theta=np.empty((B, n)),
        objective=np.empty(B),
        gradient=np.empty((B, n)),
        curvature=np.empty((B, n, n)),
        decrement=np.full(B, math.inf),
        converged=np.zeros(B, dtype=bool),
        n_steps=np.zeros(B, dtype=np.int64),
    )


def _record(result: Minimum, state: _State, decrement: Array, done: Mask, step: int, leaving: Mask) -> None:
    rows = state.rows[leaving]
    result.theta[rows] = state.theta[leaving]
    result.objective[rows] = state.value[leaving]
    result.gradient[rows] = state.gradient[leaving]
    result.curvature[rows] = state.curvature[leaving]
    result.decrement[rows] = decrement[leaving]
    # stuck at a decrease of 1e-9 of the objective is rounding, not failure
    small = 1e-9 * state.value[leaving] + _ROUNDING_VARIANCE * state.problem.data.n
    result.converged[rows] = done[leaving] | (decrement[leaving] <= small)
    result.n_steps[rows] = step
