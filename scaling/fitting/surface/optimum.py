"""The point fit: several starts, the chosen objective, and a certificate that the minimum is one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from scaling.arguments import is_number, is_one_of
from scaling.errors import UsageError, shown
from scaling.fitting.results import Objective
from scaling.fitting.surface.diagnostics import robust_scale
from scaling.fitting.surface.problem import HUBER_EFFICIENT, SQUARES, Array, Penalty, Problem
from scaling.fitting.surface.solver import Minimum, minimise
from scaling.jsonable import fields_of

ObjectiveName = Literal["huber", "least_squares", "log_least_squares", "asymmetric"]
OBJECTIVES: tuple[str, ...] = get_args(ObjectiveName)

LARGE_TABLE = 8192  # runs: beyond, starts are compared on a random subset of as many
HUBER_HOFFMANN = 1e-3  # Hoffmann et al. 2022, eq. 3
OVER_PREDICTION = 10.0  # cost of lying above a run, PyPI chinchilla 0.2.0 `asymmetric_mae`
SMOOTHED_BELOW = 1e-3  # of the loss: the asymmetric absolute error has no derivative at zero
SMALLEST_DELTA = 1e-9  # noise-free runs have no robust scale
# A robust fit with less than this share of the scale before it: outliers were in that. With one to three of 36 losses
# doubled it is .1 to .3; by chance alone the least of 400 tables of 15 runs has .39, one in a hundred of 36 runs .83.
_SCALE_HELD_UP = 1 / 3
_MOST_RESCALINGS = 20
_SAME_MINIMUM = 1e-6  # relative difference of objectives
_TOLERANCE = 1e-12
_TOLERANCE_OF_SCALE = 1e-9  # moves the robust scale by less than 1e-6 of itself


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Why the optimum can be believed.

    decrement: decrease of the objective that a Newton step still predicts, relative to it; 0 = stationary.
    condition: condition number of the scaled Jacobian at the optimum; above 1e4 a direction is hardly determined.
    """

    converged: bool
    decrement: float
    n_starts: int
    n_agreeing: int
    n_steps: int
    condition: float

    @property
    def certified(self) -> bool:
        """Stationary, and reached from at least two starts."""
        return self.converged and self.n_agreeing >= min(2, self.n_starts)

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, also=("certified",))


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """theta (5,) at the minimum of `penalty` over `data`."""

    data: Problem
    theta: Array
    value: float  # sum of rho in solver units
    penalty: Penalty
    name: ObjectiveName
    adaptive: bool  # delta followed the robust scale
    decrement: float
    converged: bool
    n_starts: int
    n_agreeing: int
    n_steps: int

    def objective(self) -> Objective:
        """In the units people quote: sum of Huber, or of squares, of log loss or of loss."""
        scale = 1.0 if self.data.log_residual else self.data.loss_scale**2
        if self.name in ("least_squares", "log_least_squares"):
            return Objective(name=self.name, value=2 * self.value * scale)
        return Objective(name=self.name, value=self.value * scale, delta=self.penalty.delta)


def check_objective(name: str, huber_delta: float | None) -> None:
    """Raise UsageError for an unknown objective or a threshold it does not take."""
    if not is_one_of(name, OBJECTIVES):
        raise UsageError(f"unknown objective {shown(name)}; known: {', '.join(OBJECTIVES)}.")
    if huber_delta is None:
        return
    if name != "huber":
        raise UsageError(
            f"huber_delta applies to the objective 'huber', not to {name!r}. Leave one of them out."
        )
    if not is_number(huber_delta) or not 0 < huber_delta < float("inf"):
        raise UsageError(
            f"huber_delta must be a positive number of log-loss units (Hoffmann: 0.001), got {shown(huber_delta)}."
        )


def find_optimum(
    data: Problem,
    name: ObjectiveName = "huber",
    huber_delta: float | None = None,
    *,
    starts: Array | None = None,
) -> Optimum:
    """The minimum of the named objective.

    Args:
        huber_delta: None = 1.345 x the robust scale of the least-squares fit (of the robust fit, where outliers hold
            the former up), kept fixed afterwards.
        starts: (B, 5) to use instead of the projection grid; a fit known to be near needs one.
    """
    data = data.with_residual("raw" if name in ("least_squares", "asymmetric") else "log")
    if starts is None:
        starts = data.starts()
    if data.n > LARGE_TABLE:
        return _find_in_large_table(data, name, huber_delta, starts)
    adaptive = name == "huber" and huber_delta is None
    penalty = _adaptive_penalty(data, starts) if adaptive else _penalty(name, huber_delta)
    return _best(data, minimise(data, starts, penalty, tolerance=_TOLERANCE), penalty, name, adaptive)


def _penalty(name: ObjectiveName, huber_delta: float | None) -> Penalty:
    if name == "huber":
        assert huber_delta is not None
        return Penalty(delta=huber_delta)
    if name == "asymmetric":
        return Penalty(delta=SMOOTHED_BELOW, over=OVER_PREDICTION)
    return SQUARES


def _adaptive_penalty(data: Problem, starts: Array) -> Penalty:
    """Huber at 1.345 robust standard deviations of the least-squares fit, freed from outliers that move that fit.

    Squares chase a run that is far off and leave every residual large. So the scale is taken again from the robust
    fit while that lowers it much: three of 36 losses doubled give 0.14 at first and 0.009 in the end.
    """
    squares = minimise(data, starts[:1], SQUARES, tolerance=_TOLERANCE_OF_SCALE)
    if not squares.converged[0]:
        squares = minimise(data, starts, SQUARES, tolerance=_TOLERANCE)
    theta = squares.theta[int(np.argmin(squares.objective))]
    penalty = _penalty_at(data, theta)
    for _ in range(_MOST_RESCALINGS):
        theta = minimise(data, theta[None], penalty, tolerance=_TOLERANCE_OF_SCALE).theta[0]
        again = _penalty_at(data, theta)
        if again.delta > _SCALE_HELD_UP * penalty.delta:
            break
        penalty = again
    return penalty


def _penalty_at(data: Problem, theta: Array) -> Penalty:
    scale = robust_scale(data.residuals(theta), data.n_fitted)
    return Penalty(delta=max(HUBER_EFFICIENT * scale, SMALLEST_DELTA))


def _find_in_large_table(
    data: Problem, name: ObjectiveName, huber_delta: float | None, starts: Array
) -> Optimum:
    """Starts agree or not on a fixed random subset; the best goes on with every run. Linear in n."""
    subset = data.select(np.random.default_rng(0).choice(data.n, LARGE_TABLE, replace=False))
    rough = find_optimum(subset, name, huber_delta, starts=starts)
    near = rough.theta[None]
    adaptive = rough.adaptive
    penalty = _adaptive_penalty(data, near) if adaptive else rough.penalty
    found = minimise(data, near, penalty, tolerance=_TOLERANCE)
    best = _best(data, found, penalty, name, adaptive)
    return replace(best, n_starts=rough.n_starts, n_agreeing=rough.n_agreeing)


def _best(data: Problem, found: Minimum, penalty: Penalty, name: ObjectiveName, adaptive: bool) -> Optimum:
    i = int(np.argmin(found.objective))
    value = float(found.objective[i])
    rounding = 1e-31 * data.n  # noise-free: every start ends in rounding error
    agreeing = found.objective <= value * (1 + _SAME_MINIMUM) + rounding
    return Optimum(
        data=data,
        theta=found.theta[i],
        value=value,
        penalty=penalty,
        name=name,
        adaptive=adaptive,
        decrement=float(found.decrement[i]) / max(value, rounding),
        converged=bool(found.converged[i]),
        n_starts=len(found.objective),
        n_agreeing=int(agreeing.sum()),
        n_steps=int(found.n_steps[i]),
    )
