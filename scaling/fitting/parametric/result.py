"""What `fit_parametric` returns: the law, how sure it is, how well it fits, and what can still be asked of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, UsageError
from scaling.findings import Finding
from scaling.fitting.fixed import condition_text
from scaling.fitting.parametric.analysis import COEFFICIENTS
from scaling.fitting.parametric.diagnostics import FTest, ResidualSummary
from scaling.fitting.parametric.influence import Influence
from scaling.fitting.parametric.intervals import Method, Spread, inverted, mirrored
from scaling.fitting.parametric.optimum import Certificate, Optimum
from scaling.fitting.parametric.quantities import (
    Quantity,
    coefficient,
    loss_at,
    optimal_loss,
    optimal_params,
    params_exponent,
)
from scaling.fitting.results import Estimate, Interval, Objective
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.laws.io import law_to_dict

QUANTITIES = (*COEFFICIENTS, "params_exponent", "tokens_exponent", "n_params", "n_tokens", "loss")


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """The exponents of the same runs under another objective."""

    objective: Objective
    coefficients: Mapping[str, float]

    @property
    def params_exponent(self) -> float:
        return self.coefficients["beta"] / (self.coefficients["alpha"] + self.coefficients["beta"])

    def to_dict(self) -> dict[str, Any]:
        return {
            "objective": self.objective.to_dict(),
            "coefficients": dict(self.coefficients),
            "params_exponent": self.params_exponent,
            "tokens_exponent": 1 - self.params_exponent,
        }


@dataclass(frozen=True, kw_only=True)
class ParametricFit:
    """A Chinchilla law fitted to runs (Approach 3).

    `interval` and `estimate` answer for anything else: N*, D* and loss at a budget, the loss of one model.
    """

    law: ChinchillaLaw
    objective: Objective
    n_runs: int
    level: float
    certificate: Certificate
    params_exponent: Estimate  # a of N* ~ C^a
    tokens_exponent: Estimate
    estimates: Mapping[str, Estimate]  # of the coefficients, by the main method
    method: str  # of the intervals shown: "profile, HC2 threshold"
    standard_errors_method: str
    statement: str  # what the intervals assume
    beside: Mapping[str, Mapping[str, Estimate]]  # other methods: coefficients and both exponents
    residuals: ResidualSummary
    lack_of_fit: FTest | None
    budget_effects: FTest | None
    n_groups: int
    kappa: float | None  # HC2 over classical error of the exponent
    largest_leverage: float
    at_bound: tuple[str, ...]
    alternatives: tuple[Alternative, ...]
    influence: Influence | None
    findings: tuple[Finding, ...]
    fixed: Mapping[str, float] = field(
        default_factory=dict
    )  # coefficients held at a value that was asked for
    excluded: tuple[str, ...] = ()
    optimum: Optimum = field(repr=False, compare=False)
    spread: Spread | None = field(repr=False, compare=False)  # None: noise-free runs, or intervals=False

    @property
    def coefficients(self) -> dict[str, float]:
        return self.law.coefficients

    @property
    def standard_errors(self) -> dict[str, float | None]:
        return {name: self.estimates[name].standard_error for name in COEFFICIENTS}

    @property
    def intervals(self) -> dict[str, Interval | None]:
        return {name: self.estimates[name].interval for name in COEFFICIENTS}

    def interval(self, quantity: str, **where: Any) -> Interval:
        """Interval of a quantity; arguments as in `estimate`."""
        interval = self.estimate(quantity, **where).interval
        if interval is None:
            raise UsageError(
                f"{quantity} follows from what was held ({condition_text(self.fixed)}) and has no interval; ask "
                "estimate() for its value."
            )
        return interval

    def estimate(
        self,
        quantity: str,
        *,
        flops: float | None = None,
        n_params: float | None = None,
        n_tokens: float | None = None,
        kind: Literal["confidence", "prediction"] = "confidence",
        method: Method | None = None,
        level: float | None = None,
    ) -> Estimate:
        """Value, standard error and interval of one quantity of the law.

        Args:
            quantity: E, A, B, alpha, beta, params_exponent, tokens_exponent; n_params, n_tokens or loss at the
                compute-optimal split of `flops`; loss at `n_params` and `n_tokens`.
            kind: `prediction` (of a loss) is for one new run, its own noise included.
            method: profile, jackknife or bootstrap; None = the main method of this fit.
        Raises:
            UsageError: an unknown quantity, or one without the point it needs.
            FitError: the fit carries no intervals (noise-free runs, or intervals=False).
        Example: fit.interval("n_params", flops=5.76e23)
        """
        if self.spread is None:
            raise FitError(
                "this fit carries no intervals: its runs are noise-free or it was made with intervals=False."
            )
        asked = self._quantity(quantity, flops, n_params, n_tokens)
        estimate = self.spread.estimates([asked], method, level)[0]
        if quantity == "tokens_exponent":
            return mirrored(estimate, 1.0)
        if quantity == "n_tokens":
            assert flops is not None
            return inverted(estimate, flops / FLOPS_PER_PARAM_TOKEN)
        if kind == "prediction":
            if quantity != "loss":
                raise UsageError(
                    f"a prediction interval is of a loss, not of {quantity}; use kind='confidence'."
                )
            return self._with_noise(estimate)
        return estimate

    def _quantity(
        self, name: str, flops: float | None, n_params: float | None, n_tokens: float | None
    ) -> Quantity:
        data = self.optimum.data
        if name in COEFFICIENTS:
            return coefficient(data, name)
        if name in ("params_exponent", "tokens_exponent"):
            return params_exponent()
        if name not in QUANTITIES:
            raise UsageError(f"unknown quantity {name!r}; known: {', '.join(QUANTITIES)}.")
        at_budget = flops is not None and n_params is None and n_tokens is None
        if at_budget and _positive(flops):
            assert flops is not None
            return optimal_loss(data, flops) if name == "loss" else optimal_params(data, flops)
        if name == "loss" and flops is None and _positive(n_params) and _positive(n_tokens):
            assert n_params is not None
            assert n_tokens is not None
            return loss_at(data, n_params, n_tokens)
        point = "flops, or n_params and n_tokens" if name == "loss" else "flops"
        raise UsageError(
            f"{name} needs {point}, positive and finite; got flops={flops}, n_params={n_params}, n_tokens={n_tokens}."
        )

    def _with_noise(self, estimate: Estimate) -> Estimate:
        from scaling.fitting.parametric.sandwich import noise_half_width

        assert self.spread is not None
        exact = Interval(low=estimate.value, high=estimate.value, level=self.level, method="held")
        band = estimate.interval or exact
        noise = noise_half_width(self.spread.fit, band.level)
        down = math.hypot(_ln_ratio(estimate.value, band.low), noise)
        up = math.hypot(_ln_ratio(band.high, estimate.value), noise)
        ends = (estimate.value * math.exp(-down), estimate.value * math.exp(min(up, 700.0)))
        interval = Interval(
            low=ends[0], high=ends[1], level=band.level, method=f"{band.method}, with a run's noise"
        )
        return Estimate(value=estimate.value, standard_error=None, interval=interval)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `scaling fit --method parametric`: stable names, unrounded values, null for infinite."""
        return {
            "schema_version": 1,
            "kind": "fit",
            "method": "parametric",
            "law": law_to_dict(self.law),
            "coefficients": self.coefficients,
            "fixed": dict(self.fixed),
            "objective": self.objective.to_dict(),
            "n_runs": self.n_runs,
            "standard_errors": self.standard_errors,
            "standard_errors_method": self.standard_errors_method,
            "intervals": {k: v.to_dict() if v else None for k, v in self.intervals.items()},
            "interval_method": self.method,
            "interval_statement": self.statement,
            "params_exponent": self.params_exponent.to_dict(),
            "tokens_exponent": self.tokens_exponent.to_dict(),
            "intervals_beside": {
                m: {k: e.to_dict() for k, e in estimates.items()} for m, estimates in self.beside.items()
            },
            "certificate": self.certificate.to_dict(),
            "residuals": self.residuals.to_dict(),
            "tests": {
                "lack_of_fit": self.lack_of_fit.to_dict() if self.lack_of_fit else None,
                "budget_effects": self.budget_effects.to_dict() if self.budget_effects else None,
                "n_groups": self.n_groups,
                "kappa": self.kappa,
                "largest_leverage": self.largest_leverage,
                "at_bound": list(self.at_bound),
            },
            "alternatives": [a.to_dict() for a in self.alternatives],
            "influence": self.influence.to_dict() if self.influence else None,
            "findings": [f.to_dict() for f in self.findings],
            "excluded": list(self.excluded),
        }


def _positive(value: float | None) -> bool:
    return value is not None and 0 < value < math.inf


def _ln_ratio(larger: float, smaller: float) -> float:
    if larger <= 0 or smaller <= 0 or math.isinf(larger):
        return math.inf
    return math.log(larger / smaller)
