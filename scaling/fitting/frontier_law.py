"""The law that Approaches 1 and 2 hand to the planner: N*(C), L*(C) = L_floor + (C_c / C)^gamma, and their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.blocks import Blocks, Fields, Text
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError
from scaling.findings import Finding
from scaling.fitting.digits import ends, power
from scaling.fitting.one_dimension import minimum_between
from scaling.fitting.power_law import PowerLawFit, half_width_factor
from scaling.fitting.results import Estimate, FitMethod, Interval, check_asked
from scaling.fitting.summary import FitFace, growth
from scaling.jsonable import fields_of
from scaling.laws.base import SAME_FLOPS, Allocation, OptimumBand, Provenance, Uncertainty
from scaling.laws.frontier import FrontierLaw
from scaling.laws.methods import method_in_words
from scaling.runs import Convention, Runs
from scaling.translation import tr

Array = NDArray[np.float64]

# budgets at which the law states its band: from a laptop's second to far beyond any run
BAND_LOG10_FLOPS = tuple(float(v) for v in np.arange(8.0, 30.25, 0.5))


class Conversion(NamedTuple):
    """From C as a table counts it to 6 N D at the optimum: 6 N* D* = e^ln_factor C^power."""

    ln_factor: float
    power: float

    def flops(self, own: float) -> float:
        """6 N* D* of the budget that the table calls `own`."""
        return math.exp(self.ln_factor + self.power * math.log(own))

    def own(self, flops: float) -> float:
        """The budget as the table counts it whose 6 N* D* are `flops`: the inverse."""
        return math.exp((math.log(flops) - self.ln_factor) / self.power)


def conversion(params_line: PowerLawFit, tokens_line: PowerLawFit, ends: tuple[float, float]) -> Conversion:
    """From the two lines; the identity where C is 6ND already, as far as tables print it."""
    ln_factor = math.log(FLOPS_PER_PARAM_TOKEN * params_line.coefficient.value) + math.log(
        tokens_line.coefficient.value
    )
    found = Conversion(ln_factor, params_line.exponent.value + tokens_line.exponent.value)
    same = all(abs(math.log(found.flops(c) / c)) <= SAME_FLOPS for c in ends)
    return Conversion(0.0, 1.0) if same else found


@dataclass(frozen=True, kw_only=True, eq=False)
class LinesFace(FitFace):
    """What a fit through measured optima shows: N* = k C^a and D* = k' C^b, and the loss along them."""

    approach: ClassVar[int]
    method: ClassVar[FitMethod]
    level: float
    params_line: PowerLawFit
    tokens_line: PowerLawFit
    loss_frontier: LossFrontier | None
    law: FrontierLaw
    n_runs: int
    findings: tuple[Finding, ...]
    source: str
    convention: Convention
    excluded: tuple[str, ...] = ()  # run_id of runs that no number rests on

    @property
    def own_optima(self) -> tuple[tuple[float, float], ...]:
        """(flops, n_params) that the lines go through, FLOPs as the table counts them."""
        raise NotImplementedError

    @property
    def own_tokens(self) -> tuple[float, ...]:
        """The n_tokens that the line of D* goes through, in the order of `own_optima`."""
        raise NotImplementedError

    @property
    def measured_optima(self) -> tuple[tuple[float, float], ...]:
        return tuple((self._to_6nd.flops(flops), n_params) for flops, n_params in self.own_optima)

    @property
    def _to_6nd(self) -> Conversion:
        own = [flops for flops, _ in self.own_optima]
        return conversion(self.params_line, self.tokens_line, (min(own), max(own)))

    @property
    def params_exponent(self) -> Estimate:
        return self.params_line.exponent

    @property
    def tokens_exponent(self) -> Estimate:
        return self.tokens_line.exponent

    @property
    def params_coefficient(self) -> Estimate:
        """N* at 1 FLOP: far outside the runs, and so with a very wide interval. Compare fits by `allocate`."""
        return self.params_line.coefficient

    @property
    def tokens_coefficient(self) -> Estimate:
        return self.tokens_line.coefficient

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        return {"params_coefficient": self.params_coefficient, "tokens_coefficient": self.tokens_coefficient}

    @property
    def interval_method(self) -> str:
        return self.params_line.interval_method

    @property
    def fixed(self) -> Mapping[str, float]:
        return {}

    @property
    def at_bound(self) -> tuple[str, ...]:
        return ()

    def allocate(self, flops: float) -> Allocation:
        """N*, D* and L* at a budget in the table's own counting; `law.allocate` and `estimate` take 6 N D."""
        return Allocation(
            flops=flops,
            n_params=float(self.params_line.predict(flops)),
            n_tokens=float(self.tokens_line.predict(flops)),
            loss=None if self.loss_frontier is None else float(self.loss_frontier.predict(flops)),
        )

    def estimate(self, quantity: str, *, flops: float) -> Estimate:
        """N*, D* or L* at a budget of C = 6 N D.

        Raises:
            UsageError: another quantity, or a budget that is not a positive number.
            FitError: too few minima gave a frontier of losses.
        """
        check_asked(quantity, flops)
        own, frontier = self._to_6nd.own(flops), self.loss_frontier
        if quantity != "loss":
            return (self.params_line if quantity == "n_params" else self.tokens_line).estimate(own)
        if frontier is None:
            raise FitError(
                f"the loss along the lines is not known: it takes {MIN_POINTS} minima whose losses fall with compute. "
                "Add budgets, or fit Approach 3 (fit_parametric)."
            )
        low, high = (float(end) for end in frontier.band(own, self.level))
        method = f"least squares of the minima, t with {frontier.dof} degrees of freedom"
        interval = Interval(low=low, high=high, level=self.level, method=method)
        return Estimate(value=float(frontier.predict(own)), interval=interval)

    def lead(self) -> Blocks:
        params = power(self.params_coefficient, self.params_exponent)
        tokens = power(self.tokens_coefficient, self.tokens_exponent)
        lines = Text(f"N* = {params}, D* = {tokens}")
        return Text(growth(self.params_exponent, self.tokens_exponent), "strong"), lines

    def fitted_through(self) -> str:
        """What gave the optima, in words."""
        raise NotImplementedError

    def trust(self) -> list[str]:
        raise NotImplementedError

    def sections(self) -> Blocks:
        raise NotImplementedError

    def lines_section(self) -> Blocks:
        """The lines with every digit that their errors leave."""
        a, b = self.params_exponent, self.tokens_exponent
        rows = [
            ("N*", f"{power(self.params_coefficient, a)}{ends(a)}"),
            ("D*", f"{power(self.tokens_coefficient, b)}{ends(b)}"),
            (tr("interval"), method_in_words(self.interval_method)),
        ]
        return (Fields(rows),)

    def lines_json(self) -> dict[str, Any]:
        """What both approaches that end in lines put into their JSON."""
        named = (
            "params_exponent", "tokens_exponent", "params_coefficient", "tokens_coefficient", "loss_frontier",
            "level", "source",
        )  # fmt: skip
        return {name: getattr(self, name) for name in named} | {
            "params_convention": self.convention.params,
            "flops_convention": self.convention.flops,
            "loss_unit": self.convention.loss_unit,
        }


def frontier_law(
    runs: Runs,
    approach: str,
    params_line: PowerLawFit,
    tokens_line: PowerLawFit,
    loss_frontier: LossFrontier | None,
    *,
    fitted_range: Mapping[str, tuple[float, float]],
    statement: str,
) -> FrontierLaw:
    """A FrontierLaw with provenance and band, its C and D* those of C = 6 N D.

    A table may count C otherwise (attention, the embedding, another N). Its lines N* = k C^a and D* = k' C^b then have
    6 N* D* = 6 k k' C^(a+b), and in x = 6 N* D* the law is N* = k (x / (6 k k'))^(a/(a+b)), D* = x / (6 N*).

    Args:
        fitted_range: with `flops` as the table counts them.
    Raises:
        FitError: an exponent lies outside (0, 1), so that N* or D* would shrink with compute.
    """
    c = conversion(params_line, tokens_line, fitted_range["flops"])
    a = params_line.exponent.value / c.power
    if not 0 < a < 1:
        raise FitError(
            f"{approach} on {runs.source} gives N* ~ C^{a:.3g}, but both N* and D* must grow with compute "
            "(an exponent between 0 and 1). Look at the minima, add budgets or sizes, or fit Approach 3."
        )
    loss = {}
    if loss_frontier is not None:
        loss = {
            "L_floor": loss_frontier.L_floor,
            "C_c": c.flops(loss_frontier.C_c),
            "gamma": loss_frontier.gamma / c.power,
        }
    own_ends = fitted_range["flops"]
    flops_ends = (c.flops(own_ends[0]), c.flops(own_ends[1]))
    ratios = sorted(own / flops for own, flops in zip(own_ends, flops_ends, strict=True))
    return FrontierLaw(
        k=math.exp(math.log(params_line.coefficient.value) - a * c.ln_factor),
        a=a,
        **loss,
        provenance=Provenance(
            name=runs.source,
            source=tr("{approach} on {source}", approach=approach, source=runs.source),
            params_convention=runs.convention.params,
            flops_convention=runs.convention.flops,
            flops_over_6nd=(ratios[0], ratios[1]),
            loss_unit=runs.convention.loss_unit,
            fitted_range={**fitted_range, "flops": flops_ends},
            status="fitted",
        ),
        uncertainty=_uncertainty(params_line, loss_frontier, statement, c),
    )


def _uncertainty(
    line: PowerLawFit, loss_frontier: LossFrontier | None, statement: str, c: Conversion
) -> Uncertainty:
    """The bands of N*(C) and L*(C); a loss that is not known lies between 0 and inf."""
    grid = np.array(BAND_LOG10_FLOPS)  # of 6 N D
    flops = np.exp((grid * math.log(10) - c.ln_factor) / c.power)
    low, high = line.band(flops)
    loss_low, loss_high = np.zeros_like(flops), np.full_like(flops, math.inf)
    if loss_frontier is not None:
        loss_low, loss_high = loss_frontier.band(flops, line.level)
    interval = line.exponent.interval
    return Uncertainty(
        level=line.level,
        method=f"line through the minima, {interval.method if interval else 'no interval'}",
        statement=statement,
        band=OptimumBand(
            log10_flops=BAND_LOG10_FLOPS,
            n_params_low=tuple(low.tolist()),
            n_params_high=tuple(high.tolist()),
            loss_low=tuple(loss_low.tolist()),
            loss_high=tuple(loss_high.tolist()),
        ),
    )


# --- L*(C) ---

MIN_POINTS = 4  # three coefficients and one degree of freedom
GAMMA_LOW, GAMMA_HIGH = 0.005, 1.0  # published exponents lie between .03 and .3


@dataclass(frozen=True, kw_only=True)
class LossFrontier:
    """L* = L_floor + (C_c / C)^gamma with a band from the linearised least-squares fit.

    `at_bound` is True where the floor is held at 0, or gamma at an end of its range: the points then do not show
    where the loss levels off, and the band assumes that it does not.
    """

    L_floor: float
    C_c: float
    gamma: float
    at_bound: bool
    residual_sd: float
    dof: int
    covariance: Array  # of (floor, ln amplitude at `centre`, gamma); zero rows for what is held
    centre: float  # mean ln C

    def predict(self, flops: ArrayLike) -> Array:
        ln_c = np.log(np.asarray(flops, dtype=np.float64))
        return np.asarray(self.L_floor + np.exp(self.gamma * (math.log(self.C_c) - ln_c)))

    def band(self, flops: ArrayLike, level: float) -> tuple[Array, Array]:
        """Low and high end of L*(C): delta method, t with `dof`; the low end is not below 0."""
        ln_c = np.log(np.asarray(flops, dtype=np.float64))
        excess = np.exp(self.gamma * (math.log(self.C_c) - ln_c))
        rows = np.stack([np.ones_like(excess), excess, -(ln_c - self.centre) * excess], axis=-1)
        error = np.sqrt(np.einsum("...i,ij,...j->...", rows, self.covariance, rows))
        half = half_width_factor(level, self.dof) * error
        return np.maximum(self.L_floor + excess - half, 0.0), self.L_floor + excess + half

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("dof", "covariance", "centre"))


def fit_loss_frontier(flops: Array, loss: Array) -> LossFrontier | None:
    """Least squares on the losses; None with fewer than 4 points or losses that do not fall with compute.

    Given gamma the two others are linear (variable projection), so the search has one dimension.
    """
    if len(flops) < MIN_POINTS:
        return None
    ln_c = np.log(flops)
    centre = float(ln_c.mean())
    x = ln_c - centre
    ln_gamma = minimum_between(
        lambda at: _project(x, loss, np.exp(at))[2], math.log(GAMMA_LOW), math.log(GAMMA_HIGH)
    )
    gamma = math.exp(ln_gamma)
    floor, amplitude, rss = (float(v[0]) for v in _project(x, loss, np.array([gamma])))
    if amplitude <= 0:
        return None
    at_gamma_bound = not 1.01 * GAMMA_LOW < gamma < 0.99 * GAMMA_HIGH
    free = np.array([floor > 0, True, not at_gamma_bound])
    excess = amplitude * np.exp(-gamma * x)
    jacobian = np.column_stack([np.ones_like(x), excess, -x * excess])[:, free]
    dof = len(x) - int(free.sum())
    covariance = np.zeros((3, 3))
    covariance[np.ix_(free, free)] = np.linalg.pinv(jacobian.T @ jacobian) * rss / dof
    return LossFrontier(
        L_floor=floor,
        C_c=math.exp(centre + math.log(amplitude) / gamma),
        gamma=gamma,
        at_bound=not bool(free.all()),
        residual_sd=math.sqrt(rss / dof),
        dof=dof,
        covariance=covariance,
        centre=centre,
    )


def _project(x: Array, loss: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """Floor >= 0, amplitude and residual sum of squares of loss = floor + amplitude exp(-gamma x), for each gamma."""
    e = np.exp(-np.outer(gamma, x))
    spread = e - e.mean(axis=1, keepdims=True)
    amplitude = spread @ loss / np.sum(spread**2, axis=1)
    floor = loss.mean() - amplitude * e.mean(axis=1)
    below = floor < 0
    amplitude = np.where(below, e @ loss / np.sum(e**2, axis=1), amplitude)
    floor = np.where(below, 0.0, floor)
    rss = np.sum((loss - floor[:, None] - amplitude[:, None] * e) ** 2, axis=1)
    return floor, amplitude, rss
