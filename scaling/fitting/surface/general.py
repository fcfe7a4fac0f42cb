"""Many-start search for the coefficients of any law family: screen, run short, polish the best.

Coordinates z: each coefficient's value at the reference inputs (see `LawFamily.at_reference`), in logs where the
family says so. Raw coefficients of N and D near 1e9 and 1e10 are so badly conditioned that most starts stop short.
Shapes: B starts, n runs, P coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from scaling.laws.base import LawFamily

Array = NDArray[np.float64]

N_SCREENED = 1200
N_RUN = 40
N_POLISHED = 13  # the best third
SHORT_STEPS, LONG_STEPS = 25, 400
SCREEN_ROWS = 512  # enough to rank starts
SHORT_ROWS = 4096
BLOCK = 2_000_000  # floats of the Jacobian held at once
LONGEST_STEP = 1.0  # in z: a factor e of a coefficient, or 1 of an exponent
STATIONARY = 1e-12  # predicted decrease relative to the objective
SAME_MINIMUM = 1e-6
# half the mean squared residual of ln loss, 1e-11 of it: below, starts differ by rounding alone
ROUNDING = 1e-22


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Residuals ln(prediction) - ln(loss) of a family on runs; Huber with `delta` (inf = squares).

    Coefficients in `fixed` keep their value: nothing moves them, and nothing follows them.
    """

    family: LawFamily
    inputs: Mapping[str, Array]  # name → (n,)
    ln_loss: Array
    delta: float = math.inf
    fixed: Mapping[str, float] = field(default_factory=dict)

    @property
    def n_free(self) -> int:
        """How many coefficients are fitted."""
        return len(self.family.coefficients) - len(self.fixed)

    @property
    def fixed_mask(self) -> NDArray[np.bool_]:
        """(P,) true where a coefficient keeps its value."""
        return np.array([name in self.fixed for name in self.family.names])

    def rows(self, limit: int) -> Problem:
        """A spread sample of at most `limit` runs."""
        n = len(self.ln_loss)
        if n <= limit:
            return self
        keep = np.linspace(0, n - 1, limit).astype(int)
        inputs = {k: v[keep] for k, v in self.inputs.items()}
        return replace(self, inputs=inputs, ln_loss=self.ln_loss[keep])

    def coefficients(self, z: Array) -> Array:
        """(B, P) printed coefficients of search points, held inside their bounds."""
        phi = np.where(_is_log(self.family), np.exp(np.clip(z, -300, 300)), z)
        phi = self._with_fixed(phi)  # an exponent held is its own value at the reference inputs
        theta = self.family.from_reference(phi)
        low, high = bounds(self.family)
        return self._with_fixed(np.clip(theta, low, high))

    def _with_fixed(self, theta: Array) -> Array:
        for i, name in enumerate(self.family.names):
            if name in self.fixed:
                theta[:, i] = self.fixed[name]
        return theta

    def search_point(self, theta: Array) -> Array:
        phi = self.family.at_reference(theta)
        log = _is_log(self.family)
        return np.where(log, np.log(np.where(log, np.maximum(phi, 1e-300), 1.0)), phi)

    def residuals(self, theta: Array, rows: slice = slice(None)) -> Array:
        """(B, n); inf where the prediction is not a positive number."""
        x = {k: v[rows] for k, v in self.inputs.items()}
        with np.errstate(all="ignore"):
            predicted = self.family.predict(theta, x)[:, :, self._loss_index]
            r = np.log(predicted) - self.ln_loss[rows]
        return np.where(np.isfinite(r), r, np.inf)

    def objective(self, theta: Array) -> Array:
        """(B,) sum of rho(r) = r^2 / 2 within delta, linear beyond."""
        total = np.zeros(len(theta))
        for rows in self._blocks(len(theta)):
            r = np.abs(self.residuals(theta, rows))
            inner = np.minimum(r, self.delta)
            with np.errstate(invalid="ignore"):
                total += np.sum(inner * (r - 0.5 * inner), axis=1)
        return np.where(np.isfinite(total), total, np.inf)

    def normal_equations(self, z: Array) -> tuple[Array, Array]:
        """Gradient (B, P) and Gauss-Newton curvature (B, P, P) of the objective in z."""
        theta = self.coefficients(z)
        chain = self.chain(theta)
        n = theta.shape[1]
        gradient, curvature = np.zeros((len(z), n)), np.zeros((len(z), n, n))
        for rows in self._blocks(len(z)):
            r = self.residuals(theta, rows)
            weight = np.minimum(1.0, self.delta / np.maximum(np.abs(r), 1e-300))
            jacobian = self.log_jacobian(theta, rows) @ chain
            weighted = jacobian * weight[:, :, None]
            gradient += np.einsum("bnp,bn->bp", weighted, np.where(np.isfinite(r), r, 0.0))
            curvature += np.einsum("bnp,bnq->bpq", weighted, jacobian)
        return gradient, curvature

    def log_jacobian(self, theta: Array, rows: slice = slice(None)) -> Array:
        """(B, n, P) derivative of ln(prediction) with respect to the printed coefficients; 0 where undefined."""
        x = {k: v[rows] for k, v in self.inputs.items()}
        k = self._loss_index
        with np.errstate(all="ignore"):
            j = self.family.jacobian(theta, x)[:, :, k, :] / self.family.predict(theta, x)[:, :, k, None]
        return np.where(np.isfinite(j), j, 0.0)

    def chain(self, theta: Array) -> Array:
        """(B, P, P) d theta_i / d z_j: its own scale, and the exponents that its reference power depends on."""
        family = self.family
        reference = {i.name: i.reference for i in family.inputs}
        phi = family.at_reference(theta)
        own = np.where(_is_log(family), theta, theta / np.where(phi == 0, 1.0, phi))
        own = np.where(~_is_log(family) & (phi == 0), 1.0, own)
        chain = np.zeros((*theta.shape, theta.shape[1]))
        index = {name: i for i, name in enumerate(family.names)}
        dz = np.where(_is_log(family), theta, 1.0)  # of an exponent with respect to its own z
        for i, coefficient in enumerate(family.coefficients):
            chain[:, i, i] = own[:, i]
            for name, (factor, other) in coefficient.reference_power.items():
                if other is not None:
                    j = index[other]
                    chain[:, i, j] -= theta[:, i] * factor * math.log(reference[name]) * dz[:, j]
        if self.fixed:
            chain[:, self.fixed_mask, :] = 0.0
            chain[:, :, self.fixed_mask] = 0.0
        return chain

    @property
    def _loss_index(self) -> int:
        return self.family.outputs.index("loss")

    def _blocks(self, n_starts: int) -> list[slice]:
        n = len(self.ln_loss)
        step = max(BLOCK // max(n_starts * len(self.family.coefficients), 1), 16)
        return [slice(i, min(i + step, n)) for i in range(0, n, step)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The best minimum. `n_agreeing` polished starts reached it."""

    theta: Array  # (P,)
    objective: float
    converged: bool
    n_starts: int
    n_agreeing: int


def search(problem: Problem, seed: int) -> Found:
    """Screen random starts, run the best ones short, polish the best third of those."""
    starts = problem.family.starts(N_SCREENED, seed)
    low, high = bounds(problem.family)
    starts = np.clip(starts, low, high)
    if problem.fixed:
        starts = problem.coefficients(problem.search_point(starts))
    starts = starts[np.argsort(problem.rows(SCREEN_ROWS).objective(starts), kind="stable")[:N_RUN]]
    short = problem.rows(SHORT_ROWS)
    z, value, _ = _minimise(short, short.search_point(starts), SHORT_STEPS)
    z = z[np.argsort(value, kind="stable")[:N_POLISHED]]
    return polish(problem, problem.coefficients(z))


def polish(problem: Problem, theta: Array) -> Found:
    """Run (B, P) starts to convergence and keep the best."""
    z, value, converged = _minimise(problem, problem.search_point(theta), LONG_STEPS)
    best = int(np.argmin(value))
    rounding = ROUNDING * len(problem.ln_loss)
    same = value <= np.maximum(value[best] * (1 + SAME_MINIMUM) + 1e-30, rounding)
    return Found(
        theta=problem.coefficients(z[best : best + 1])[0],
        objective=float(value[best]),
        converged=bool(converged[best] or value[best] <= rounding),
        n_starts=len(z),
        n_agreeing=int(same.sum()),
    )


def bounds(family: LawFamily) -> tuple[Array, Array]:
    return np.array([c.low for c in family.coefficients]), np.array([c.high for c in family.coefficients])


def _minimise(problem: Problem, z: Array, n_steps: int) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Levenberg-Marquardt on all starts at once; a start rests when its predicted decrease is rounding."""
    z = z.copy()
    value = problem.objective(problem.coefficients(z))
    damping = np.full(len(z), 1e-2)
    resting = ~np.isfinite(value)
    converged = np.zeros(len(z), dtype=bool)
    for _ in range(n_steps):
        live = np.flatnonzero(~resting)
        if not len(live):
            break
        gradient, curvature = problem.normal_equations(z[live])
        gradient, curvature = _without_held(problem, z[live], gradient, curvature)
        diagonal = np.einsum("bpp->bp", curvature)
        ridge = diagonal * damping[live, None] + 1e-14 * diagonal.max(axis=1, keepdims=True) + 1e-300
        step = -np.linalg.solve(curvature + ridge[:, None] * np.eye(z.shape[1]), gradient[:, :, None])[
            :, :, 0
        ]
        predicted = -np.einsum("bp,bp->b", gradient, step) / 2  # decrease that the quadratic model promises
        step = np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        # back through the bounds, so that a coefficient held by one does not drift in z
        trial = problem.search_point(problem.coefficients(z[live] + step))
        trial_value = problem.objective(problem.coefficients(trial))
        better = trial_value <= value[live]
        gain = value[live] - trial_value
        tiny = STATIONARY * np.abs(value[live])
        settled = ((predicted <= tiny) | (better & (gain <= tiny))) & (damping[live] < 1.0)
        stuck = ~better & (damping[live] > 1e8)
        z[live[better]], value[live[better]] = trial[better], trial_value[better]
        damping[live] = np.clip(damping[live] * np.where(better, 0.2, 6.0), 1e-12, 1e12)
        converged[live[settled | stuck]] = True
        resting[live[settled | stuck]] = True
    return z, value, converged


def _without_held(problem: Problem, z: Array, gradient: Array, curvature: Array) -> tuple[Array, Array]:
    """Gradient and curvature without the coordinates that a bound holds: there the objective falls outwards only.

    What is left of the gradient is zero at a minimum on a bound (Karush, Kuhn and Tucker), as at one inside.
    """
    theta = problem.coefficients(z)
    low, high = bounds(problem.family)
    held = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
    if not held.any():
        return gradient, curvature
    either = held[:, :, None] | held[:, None, :]
    return np.where(held, 0.0, gradient), np.where(either, 0.0, curvature)


def _is_log(family: LawFamily) -> NDArray[np.bool_]:
    return np.array([c.scale == "log" for c in family.coefficients])
