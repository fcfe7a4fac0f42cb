"""Any law family as a problem of the engine, by its formula and gradient alone.

Coordinates z: each coefficient's value at the reference inputs (see `LawFamily.at_reference`), in logs where the
family says so. Raw coefficients of N and D near 1e9 and 1e10 are so badly conditioned that most starts stop short.
Shapes: B fits, n runs, P coefficients, z (B, P).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from scaling.errors import LawError, UsageError
from scaling.fitting.surface.problem import SQUARES, Array, Mask, Penalty, blocks, rho, with_fixed
from scaling.fitting.surface.quantities import LINEAR, Form, Quantity, exp
from scaling.fitting.surface.solver import minimise
from scaling.laws.base import Coefficient, Law, LawFamily

N_SCREENED = 1200
N_RUN = 40
N_POLISHED = 13  # the best third
SHORT_STEPS = 25
SCREEN_ROWS = 512  # enough to rank starts
SHORT_ROWS = 4096
BELOW, ABOVE = 30.0, 20.0  # logs beyond the start region: a term that small or large is none
UNDEFINED = 1e3  # residual where the prediction is no positive number: no step ends there
_CENTRAL = 1e-5  # step of a numerical derivative in z


@dataclass(frozen=True, kw_only=True, eq=False)
class FamilyData:
    """Runs of a family. Residuals are ln(prediction) - ln(loss); coefficients in `held` keep their value."""

    family: LawFamily
    inputs: Mapping[str, Array]  # name → (n,)
    ln_loss: Array
    held: Mapping[str, float]
    terms: Array  # (T, n) what a wrong form would leave
    seed: int
    cells: tuple[Array, Array] | None
    log_residual: ClassVar[bool] = True
    any_residual: ClassVar[bool] = False
    loss_scale: ClassVar[float] = 1.0
    floor: ClassVar[None] = None

    @property
    def n(self) -> int:
        return len(self.ln_loss)

    @property
    def n_fitted(self) -> int:
        return len(self.names) - len(self.held)

    @property
    def names(self) -> tuple[str, ...]:
        return self.family.names

    @cached_property
    def form(self) -> LawFamily:
        """The family with each coefficient that is held as its own coordinate, whatever exponent it goes with."""
        own = tuple(
            c._replace(reference_power={}) if c.name in self.held else c for c in self.family.coefficients
        )
        return self.family._replace(coefficients=own)

    @cached_property
    def is_log(self) -> Mask:
        return np.array([c.scale == "log" for c in self.form.coefficients])

    @cached_property
    def lower(self) -> Array:
        return np.array([_bounds(c)[0] for c in self.form.coefficients])

    @cached_property
    def upper(self) -> Array:
        return np.array([_bounds(c)[1] for c in self.form.coefficients])

    @property
    def longest_step(self) -> Array:
        return np.ones(len(self.names))  # a factor e of a coefficient, or 1 of an exponent

    @cached_property
    def fixed(self) -> tuple[tuple[int, float], ...]:
        at = {name: (i, log) for i, (name, log) in enumerate(zip(self.names, self.is_log, strict=True))}
        return tuple(
            (at[name][0], math.log(max(value, 1e-300)) if at[name][1] else value)
            for name, value in self.held.items()
        )

    # --- coordinates ---

    def printed(self, z: Array) -> Array:
        """(B, P) coefficients as the law prints them."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.form.from_reference(np.where(self.is_log, np.exp(np.clip(z, -300, 300)), z))

    def search_point(self, theta: Array) -> Array:
        """(B, P) coordinates of printed coefficients."""
        phi = self.form.at_reference(theta)
        return np.where(self.is_log, np.log(np.where(self.is_log, np.maximum(phi, 1e-300), 1.0)), phi)

    def coefficients(self, theta: Array) -> dict[str, Any]:
        printed = self.printed(np.atleast_2d(theta))
        for i, c in enumerate(
            self.form.coefficients
        ):  # a bound as it is written, not as its logarithm rounds it
            if not c.reference_power:
                printed[:, i] = np.clip(printed[:, i], c.low, c.high)
        for name, value in self.held.items():
            printed[:, self.names.index(name)] = value
        columns = printed[0] if theta.ndim == 1 else printed.T
        return dict(zip(self.names, columns, strict=True))

    def chain(self, theta: Array) -> Array:
        """(B, P, P) derivative of the printed coefficients theta by z."""
        reference = {i.name: i.reference for i in self.form.inputs}
        phi = self.form.at_reference(theta)
        own = np.where(self.is_log, theta, theta / np.where(phi == 0, 1.0, phi))
        own = np.where(~self.is_log & (phi == 0), 1.0, own)
        chain = np.zeros((*theta.shape, theta.shape[1]))
        of_own_z = np.where(self.is_log, theta, 1.0)  # of an exponent
        for i, coefficient in enumerate(self.form.coefficients):
            chain[:, i, i] = own[:, i]
            for name, (factor, other) in coefficient.reference_power.items():
                if other is not None:
                    j = self.names.index(other)
                    chain[:, i, j] -= theta[:, i] * factor * math.log(reference[name]) * of_own_z[:, j]
        return chain

    def frame(self, theta: Array, pinned: Mask | None = None) -> Array:
        return np.repeat(np.eye(theta.shape[1])[None], len(theta), axis=0)

    def moved(self, theta: Array, move: Array, pinned: Mask | None = None) -> Array:
        return with_fixed(self, np.clip(theta + move, self.lower, self.upper))

    def straightened(self, theta: Array) -> Array:
        return theta

    # --- residuals ---

    def residuals(self, theta: Array) -> Array:
        r: Array = self._residuals_and_slopes(theta[None], slice(None))[0][0]
        return r

    def jacobian(self, theta: Array, rows: slice | None = None) -> Array:
        J: Array = self._residuals_and_slopes(theta[None], rows or slice(None))[1][0]
        return J

    def _residuals_and_slopes(self, z: Array, rows: slice) -> tuple[Array, Array]:
        """(B, rows) and their derivative by z, (B, P, rows); none where the prediction is no positive number."""
        k, theta = self.family.outputs.index("loss"), self.printed(z)
        x = {name: values[rows] for name, values in self.inputs.items()}
        with np.errstate(all="ignore"):
            predicted = self.family.predict(theta, x)[:, :, k]
            r = np.log(predicted) - self.ln_loss[rows]
            slopes = (self.family.jacobian(theta, x)[:, :, k, :] / predicted[:, :, None]) @ self.chain(theta)
        fine = np.isfinite(r)
        slopes = np.where(fine[:, :, None] & np.isfinite(slopes), slopes, 0.0)
        return np.where(fine, r, UNDEFINED), slopes.transpose(0, 2, 1)

    def normal_equations(
        self, theta: Array, penalty: Penalty, counts: Array | None, blend: Array
    ) -> tuple[Array, Array, Array]:
        B, P = theta.shape
        value, gradient, curvature = np.zeros(B), np.zeros((B, P)), np.zeros((B, P, P))
        for rows in blocks(self.n, B):
            r, J = self._residuals_and_slopes(theta, rows)
            loss, slope, weight = rho(r, penalty, None if counts is None else counts[:, rows], blend)
            value += loss
            gradient += np.matmul(J, slope[:, :, None])[:, :, 0]
            weighted = J if weight is None else J * weight[:, None, :]
            curvature += np.matmul(weighted, J.transpose(0, 2, 1))
        return value, gradient, curvature

    def select(self, rows: NDArray[Any]) -> FamilyData:
        cells = None if self.cells is None else (self.cells[0][rows], self.cells[1][rows])
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        return replace(
            self, inputs=inputs, ln_loss=self.ln_loss[rows], terms=self.terms[:, rows], cells=cells
        )

    def at(self, inputs: Mapping[str, Array], ln_loss: Array) -> FamilyData:
        return replace(
            self, inputs=inputs, ln_loss=ln_loss, terms=np.zeros((len(self.terms), len(ln_loss))), cells=None
        )

    def with_residual(self, kind: Literal["log", "raw"]) -> FamilyData:
        if kind == "raw":
            raise UsageError("a law of any family is fitted on log loss: huber or log_least_squares.")
        return self

    def missed_terms(self, rows: slice) -> Array:
        return self.terms[:, rows]

    def starts(self) -> Array:
        """(13, P) of 1,200 random points the best 40, run short, and the best third of those, the lowest first."""
        z = self.moved(
            self.search_point(self.family.starts(N_SCREENED, self.seed)), np.zeros(len(self.names))
        )
        few = self.select(_spread(self.n, SCREEN_ROWS))
        none = np.zeros((len(z), 1))
        order = np.argsort(few.normal_equations(z, SQUARES, None, none)[0], kind="stable")
        short = self.select(_spread(self.n, SHORT_ROWS))
        found = minimise(short, z[order[:N_RUN]], SQUARES, max_steps=SHORT_STEPS)
        return found.theta[np.argsort(found.objective, kind="stable")[:N_POLISHED]]

    # --- quantities ---

    def coefficient(self, name: str) -> Quantity:
        """Profiled in its coordinate: in logs where it is positive, so that no end is below zero."""
        i = self.names.index(name)
        low, high = _bounds(self.form.coefficients[i])
        if not self.is_log[i]:
            return Quantity(
                name=name,
                form=LINEAR,
                parameters=self._unit(i),
                low=low,
                high=high,
                show=lambda q: max(q, low),
            )
        if not any(other for _, other in self.form.coefficients[i].reference_power.values()):
            shift = math.log(self.form.from_reference(np.ones((1, len(self.names))))[0, i])
            return Quantity(name=name, form=LINEAR, parameters=self._unit(i), low=low, high=high,
                            show=lambda q: exp(q + shift))  # fmt: skip
        return Quantity(name=name, form=self._log_form(i), show=exp)

    def _unit(self, index: int) -> tuple[float, ...]:
        return tuple(float(i == index) for i in range(len(self.names)))

    def _log_form(self, i: int) -> Form:
        """Of ln of the printed coefficient i, which moves with the exponent of its term."""

        def value(z: Array, _: Array) -> Array:
            return np.asarray(np.log(self.printed(z)[:, i]))

        def gradient(z: Array, _: Array) -> Array:
            theta = self.printed(z)
            return np.asarray(self.chain(theta)[:, i, :] / theta[:, i, None])

        def retract(z: Array, _: Array, values: Array) -> Array:
            new = z.copy()
            new[:, i] += values - value(z, _)  # its own coordinate enters ln of it as it is
            return new

        return Form(value, gradient, retract)

    def asked(self) -> list[Quantity]:
        return [self.coefficient(name) for name in self.names]

    def exponent(self) -> Quantity | None:
        if not hasattr(type(self.law(self.printed(self.lower[None] * 0)[0])), "params_exponent"):
            return None  # no power of C is optimal under this form
        return self._of_law("params_exponent", lambda law: float(law.params_exponent), lambda q: q)

    def optimal_params(self, flops: float) -> Quantity:
        return self._of_law("n_params", lambda law: math.log(law.allocate(flops).n_params), exp)

    def optimal_loss(self, flops: float) -> Quantity:
        def loss(law: Any) -> float:
            best = law.allocate(flops).loss
            return math.nan if best is None else float(best)

        return self._of_law("loss", loss, lambda q: q)

    def loss_at(self, n_params: float, n_tokens: float) -> Quantity:
        return self._of_law("loss", lambda law: float(law.loss(n_params, n_tokens)), lambda q: q)

    def _of_law(self, name: str, of: Callable[[Any], float], show: Callable[[float], float]) -> Quantity:
        """What a law says, to first order: its derivative is numerical and its profile a straight line."""

        def value(z: Array, _: Array) -> Array:
            return np.array([self._ask(row, of) for row in self.printed(z)])

        def gradient(z: Array, _: Array) -> Array:
            columns = []
            for i in range(z.shape[1]):
                step = np.zeros(z.shape[1])
                step[i] = _CENTRAL
                columns.append((value(z + step, _) - value(z - step, _)) / (2 * _CENTRAL))
            return np.stack(columns, axis=1)

        def retract(z: Array, _: Array, values: Array) -> Array:
            raise NotImplementedError("a quantity that is straight is not profiled")

        return Quantity(name=name, form=Form(value, gradient, retract), show=show, straight=True)

    def _ask(self, coefficients: Array, of: Callable[[Any], float]) -> float:
        try:
            return of(self.law(coefficients))
        except (LawError, OverflowError):  # no optimum, or no law, at these coefficients
            return math.nan

    def law(self, coefficients: Array, **told: Any) -> Law:
        """The law of printed coefficients (P,); those held have the value that was given."""
        named = dict(zip(self.names, coefficients.tolist(), strict=True)) | dict(self.held)
        return self.family.make(**named, **told)

    def runs(self) -> tuple[Array, Array, Array]:
        return self.inputs["n_params"], self.inputs["n_tokens"], np.exp(self.ln_loss)


def _bounds(c: Coefficient) -> tuple[float, float]:
    """Of a coordinate: the coefficient's own, or far beyond where a search starts it."""
    if c.scale == "lin":
        return c.low, c.high
    if c.reference_power:
        return math.log(c.start_low) - BELOW, math.log(c.start_high) + ABOVE
    return math.log(max(c.low, 1e-300)), math.log(c.high)


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """Rows of a spread sample of at most `most` runs."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
