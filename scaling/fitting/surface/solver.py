"""Levenberg-Marquardt for many small robust fits at once, with bounds and, if asked, one quantity held fixed.

One call solves all bootstrap resamples, all jackknife groups or all ends of the profile intervals of a fit.

Steps are taken in the problem's own frame: of the Chinchilla law level and slopes at the mean run, (ln alpha e^a,
ln beta e^b, E + e^a + e^b, alpha, beta). Along the valley where E, A and alpha trade off these hardly change, so a far
start takes 5 steps where (a, b, E, alpha, beta) take 20. E itself stays the linear coordinate with the bound E >= 0.
Shapes: B fits; theta, steps and gradients (B, P).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.surface.problem import (
    Array,
    Mask,
    Penalty,
    Problem,
    free_coordinates,
    on_bound,
    within_bounds,
)

_DAMPING_START, _DAMPING_LOWEST, _DAMPING_STUCK = 1e-2, 1e-12, 1e10
_BLEND_CERTAIN = 0.2  # with less of the slow weights than this, a small predicted decrease means a minimum
_ROUNDING_VARIANCE = 1e-31  # an objective of n times this is rounding: |r| is about 3e-16


class Held(Protocol):
    """A quantity kept at its value: see scaling.fitting.surface.quantities.Targets."""

    def gradient(self, theta: Array) -> Array:
        """(B, P) derivative of the quantity."""

    def retract(self, theta: Array) -> Array:
        """theta with one coordinate set so that the quantity has its value; NaN where none does."""

    def take(self, rows: NDArray[np.int64]) -> Held: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """Where each fit ended. `decrement` is the decrease a Newton step still predicts."""

    theta: Array  # (B, P)
    objective: Array  # (B,)
    gradient: Array  # (B, P)
    curvature: Array  # (B, P, P)
    decrement: Array  # (B,)
    converged: Mask
    n_steps: NDArray[np.int64]


def minimise(
    data: Problem,
    theta: Array,
    penalty: Penalty,
    *,
    counts: Array | None = None,
    held: Held | None = None,
    tolerance: float = 1e-10,
    enough: Array | None = None,
    max_steps: int = 200,
) -> Minimum:
    """Minimise sum_i counts_i rho(r_i) from each row of theta (B, P) within the bounds of the problem.

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
    result = _empty(*theta.shape)
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


def damped_solve(
    gradient: Array,
    curvature: Array,
    free: Mask,
    damping: Array,
    along: Array | None = None,
) -> Array:
    """-(H + damping diag H)^-1 g in the free coordinates (B, P).

    `along` (B, P): the step stays orthogonal to this direction (to first order, a quantity keeps its value).
    """
    all_free = bool(free.all())
    g = gradient if all_free else np.where(free, gradient, 0.0)
    diagonal = curvature.diagonal(axis1=1, axis2=2)
    # floors: a coordinate without influence (u = 0 everywhere) must neither run away nor make the system singular
    largest = diagonal.max(axis=1)[:, None] + 1e-300
    raised = damping[:, None] * np.maximum(diagonal, 1e-6 * largest) + 1e-14 * largest
    eye = np.eye(gradient.shape[1])
    H = curvature + raised[:, :, None] * eye
    if not all_free:
        H = np.where(free[:, :, None] & free[:, None, :], H, eye)
    if along is None:
        step = -np.linalg.solve(H, g[:, :, None])[:, :, 0]
    else:
        c = np.where(free, along, 0.0)
        both = np.linalg.solve(H, np.stack([g, c], axis=2))
        slip = np.einsum("bi,bi->b", c, both[:, :, 1])
        share = np.einsum("bi,bi->b", c, both[:, :, 0]) / np.where(slip > 0, slip, np.inf)
        step = both[:, :, 1] * share[:, None] - both[:, :, 0]
    return step


def multiplier(
    problem: Problem, slope: Array, theta: Array, gradient: Array, curvature: Array
) -> tuple[Array, Array]:
    """dF/dq (B,) for a quantity of gradient `slope` (B, P), the other coordinates following at their best.

    Also their direction d theta / dq (B, P). Coordinates on a bound stay there.
    """
    pinned = on_bound(problem, theta)
    H = np.where(pinned[:, :, None] | pinned[:, None, :], 0.0, curvature)
    diagonal = np.einsum("bii->bi", H)
    floor = 1e-13 * diagonal.max(axis=1, keepdims=True) + 1e-300
    H = H + np.where(pinned, 1.0, floor)[:, :, None] * np.eye(theta.shape[1])
    c = np.where(pinned, 0.0, slope)
    both = np.linalg.solve(H, np.stack([c, np.where(pinned, 0.0, gradient)], axis=2))
    size = np.einsum("bi,bi->b", c, both[:, :, 0])
    size = np.where(size > 0, size, np.inf)
    return np.einsum("bi,bi->b", c, both[:, :, 1]) / size, both[:, :, 0] / size[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Problem:
    data: Problem
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
        return problem.data.normal_equations(theta, problem.penalty, self.counts, self.blend[:, None])

    def keep(self, mask: Mask) -> None:
        for name in self._ARRAYS:
            setattr(self, name, getattr(self, name)[mask])
        if self.counts is not None:
            self.counts = self.counts[mask]
        if self.held is not None:
            self.held = self.held.take(np.flatnonzero(mask))


@dataclass(frozen=True, eq=False)
class _Proposal:
    step: Array  # (B, P) in the coordinates of level_frame
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
    theta, gradient, slope, data = state.theta, state.gradient, None, state.problem.data
    if state.held is not None:
        slope = state.held.gradient(theta)
        if on_bound(data, theta).any():  # else it changes neither step nor bounds
            dual, _ = multiplier(data, slope, theta, gradient, state.curvature)
            gradient = gradient - dual[:, None] * slope
    damping = state.damping if damped else np.zeros_like(state.damping)
    none = np.zeros(len(theta), dtype=bool)
    if data.floor is None:
        step, decrement, _ = _step(state, gradient, slope, damping, none)
        shrink = np.maximum(np.abs(step / data.longest_step).max(axis=1), 1.0)
        return _Proposal(step / shrink[:, None], decrement, none, none)
    E = theta[:, data.floor]
    at_zero = E <= 0
    pinned = at_zero & (gradient[:, data.floor] > 0)
    step, decrement, E_move = _step(state, gradient, slope, damping, pinned)
    passing = ~pinned & (E + E_move < 0)
    if (passing & at_zero).any():  # already there: move along the bound
        pinned |= passing & at_zero
        step, decrement, _ = _step(state, gradient, slope, damping, pinned)
    shrink = np.maximum(np.abs(step / data.longest_step).max(axis=1), 1.0)
    onto_bound = passing & ~at_zero
    if onto_bound.any():
        shrink = np.where(onto_bound, np.maximum(shrink, -E_move / np.maximum(E, 1e-300)), shrink)
        onto_bound &= E_move <= -E * shrink * (1 - 1e-12)
    return _Proposal(step / shrink[:, None], decrement, pinned, onto_bound)


def _step(
    state: _State, gradient: Array, slope: Array | None, damping: Array, pinned: Mask
) -> tuple[Array, Array, Array]:
    """Damped step, the floor unmoved where pinned; the decrease it predicts; and by how much it moves the floor."""
    data = state.problem.data
    frame = data.frame(state.theta, pinned)
    transposed = frame.transpose(0, 2, 1)
    curvature = np.matmul(np.matmul(transposed, state.curvature), frame)
    local = np.matmul(transposed, gradient[:, :, None])[:, :, 0]
    along = None if slope is None else np.matmul(transposed, slope[:, :, None])[:, :, 0]
    free = free_coordinates(data, state.theta, local)
    if data.floor is not None:
        free[:, data.floor] = ~pinned
    for index, _ in data.fixed:
        free[:, index] = False
    step = damped_solve(local, curvature, free, damping, along)
    ahead = local + 0.5 * np.matmul(curvature, step[:, :, None])[:, :, 0]
    moved = np.zeros(len(step)) if data.floor is None else (frame[:, data.floor] * step).sum(axis=1)
    return step, -(ahead * step).sum(axis=1), moved


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
    new = data.moved(state.theta, proposal.step, proposal.pinned)
    if data.floor is not None:
        new[proposal.onto_bound, data.floor] = 0.0  # exactly, whatever the bend of the step left
    possible: Mask | None = None
    if state.held is not None:
        new = state.held.retract(new)
        possible = within_bounds(data, new)
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


def _empty(B: int, n: int) -> Minimum:
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
