"""What `fit_parametric` returns: the law, how sure it is, how well it fits, and what can still be asked of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from scaling.arguments import is_number, is_one_of, require_known, require_level
from scaling.blocks import Blocks, Heading, Section, Table, Text
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, UsageError, shown
from scaling.findings import Finding
from scaling.fitting.digits import interval_text, rounded
from scaling.fitting.fixed import condition_text
from scaling.fitting.results import (
    Estimate,
    FitMethod,
    Interval,
    Objective,
    fit_to_dict,
)
from scaling.fitting.sections import (
    NOISE_FREE,
    certainty,
    coefficient_table,
    fits_the_runs,
    objective_name,
    optimum_table,
    scatter_and_tests,
)
from scaling.fitting.summary import FitFace, growth
from scaling.fitting.surface.analysis import COEFFICIENTS
from scaling.fitting.surface.diagnostics import FTest, ResidualSummary
from scaling.fitting.surface.influence import Influence, influence_table
from scaling.fitting.surface.intervals import Method, Spread, inverted, mirrored
from scaling.fitting.surface.optimum import Certificate, Optimum
from scaling.fitting.surface.quantities import Quantity
from scaling.jsonable import fields_of
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.laws.methods import method_in_words
from scaling.translation import counted, tr

QUANTITIES = (*COEFFICIENTS, "params_exponent", "tokens_exponent", "n_params", "n_tokens", "loss")


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """The exponents of the same runs under another objective."""

    objective: Objective
    coefficients: Mapping[str, float]

    @property
    def params_exponent(self) -> float:
        return self.coefficients["beta"] / (self.coefficients["alpha"] + self.coefficients["beta"])

    @property
    def tokens_exponent(self) -> float:
        return 1 - self.params_exponent

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, also=("params_exponent", "tokens_exponent"))


@dataclass(frozen=True, kw_only=True)
class ParametricFit(FitFace):
    """A Chinchilla law fitted to runs (Approach 3).

    `interval` and `estimate` answer for anything else: N*, D* and loss at a budget, the loss of one model.
    """

    approach: ClassVar[int] = 3
    method: ClassVar[FitMethod] = "parametric"
    law: ChinchillaLaw
    objective: Objective
    n_runs: int
    level: float
    certificate: Certificate
    params_exponent: Estimate  # a of N* ~ C^a
    tokens_exponent: Estimate
    estimates: Mapping[str, Estimate]  # of the coefficients, by the main method
    interval_method: str  # of the intervals shown: "profile, HC2 threshold"
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
    # coefficients held at a value that was asked for
    fixed: Mapping[str, float] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    optimum: Optimum = field(repr=False, compare=False)
    spread: Spread | None = field(repr=False, compare=False)  # None: noise-free runs, or intervals=False

    @property
    def certified(self) -> bool:
        return self.certificate.certified

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
        require_known("kind", kind, ("confidence", "prediction"))
        require_level(self.level if level is None else level)
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
        if not is_one_of(name, QUANTITIES):
            raise UsageError(f"unknown quantity {shown(name)}; known: {', '.join(QUANTITIES)}.")
        if name in COEFFICIENTS:
            return data.coefficient(name)
        if name in ("params_exponent", "tokens_exponent"):
            exponent = data.exponent()
            assert exponent is not None  # of the Chinchilla law
            return exponent
        at_budget = flops is not None and n_params is None and n_tokens is None
        if at_budget and _positive(flops):
            assert flops is not None
            return data.optimal_loss(flops) if name == "loss" else data.optimal_params(flops)
        if name == "loss" and flops is None and _positive(n_params) and _positive(n_tokens):
            assert n_params is not None
            assert n_tokens is not None
            return data.loss_at(n_params, n_tokens)
        point = "flops, or n_params and n_tokens" if name == "loss" else "flops"
        raise UsageError(
            f"{name} needs {point}, positive and finite; got flops={flops}, n_params={n_params}, n_tokens={n_tokens}."
        )

    def _with_noise(self, estimate: Estimate) -> Estimate:
        assert self.spread is not None
        exact = Interval(low=estimate.value, high=estimate.value, level=self.level, method="held")
        band = estimate.interval or exact
        noise = self.spread.fit.noise_half_width(band.level)
        down = math.hypot(_ln_ratio(estimate.value, band.low), noise)
        up = math.hypot(_ln_ratio(band.high, estimate.value), noise)
        ends = (estimate.value * math.exp(-down), estimate.value * math.exp(min(up, 700.0)))
        interval = Interval(
            low=ends[0], high=ends[1], level=band.level, method=f"{band.method}, with a run's noise"
        )
        return Estimate(value=estimate.value, standard_error=None, interval=interval)

    def lead(self) -> Blocks:
        c = {name: rounded(e, self._exact) for name, e in self.estimates.items()}
        c |= {name: f"{value:g}" for name, value in self.fixed.items()}
        law = f"L(N, D) = {c['E']} + {c['A']} / N^{c['alpha']} + {c['B']} / D^{c['beta']}"
        return Text(growth(self.params_exponent, self.tokens_exponent, exact=self._exact), "strong"), Text(
            law
        )

    def fitted_through(self) -> str:
        return counted(self.n_runs, "run")

    def trust(self) -> list[str]:
        said = [fits_the_runs(self.residuals, self.lack_of_fit)]
        for method, estimates in self.beside.items():
            if method == "jackknife" and (a := estimates.get("params_exponent")) and a.interval:
                ends = interval_text(a.interval, a.value)
                what = a.interval.method.rpartition(" ")[2]  # "jackknife by budget"
                said.append(
                    tr("exponent {ends} leaving out one budget at a time", ends=ends)
                    if what == "budget"
                    else tr("exponent {ends} leaving out one trunk at a time", ends=ends)
                )
        exponents = [other.params_exponent for other in self.alternatives]
        if exponents:
            low, high = f"{min(exponents):.3f}", f"{max(exponents):.3f}"
            both = low if low == high else tr("{low} to {high}", low=low, high=high)
            said.append(tr("{exponents} by other objectives", exponents=both))
        return said

    def sections(self) -> Blocks:
        others = (Section("comparison", tr("Other objectives"), self._alternatives_table),)
        return (
            Section("coefficients", tr("The law"), self._coefficients),
            Section("residuals", tr("The runs about the law"), self._residuals),
            *(others if self.alternatives else ()),
        )

    def _coefficients(self) -> Blocks:
        # the bootstrap's errors stand beside the main method's intervals
        whose = tr("bootstrap error") if self.standard_errors_method == "bootstrap" else ""
        more = [(tr("a of N*"), self.params_exponent), (tr("b of D*"), self.tokens_exponent)]
        cert = self.certificate
        said = tr(
            "{state}, {n} of {n_starts} starts agree, condition {condition:.2g}",
            state=tr("certified minimum") if cert.converged else tr("NOT CONVERGED"),
            n=cert.n_agreeing,
            n_starts=cert.n_starts,
            condition=cert.condition,
        )
        return (
            *coefficient_table(self, exact=self._exact, errors=whose, more=more),
            *certainty(self._intervals_said(), self.objective, said),
            *(optimum_table(self) if self.spread is not None else ()),
        )

    def _residuals(self) -> Blocks:
        tests = [
            (tr("lack of fit"), self.lack_of_fit),
            (tr("differences between budgets"), self.budget_effects),
        ]
        return scatter_and_tests(self, self.residuals, tests), *influence_table(self.influence)

    @property
    def _exact(self) -> bool:
        return self.residuals.robust_scale < NOISE_FREE

    def _intervals_said(self) -> list[tuple[str, str]]:
        """The main method with what it assumes, and the exponent by the methods beside it."""
        method = method_in_words(self.interval_method)
        if self.spread is not None and self.spread.groups is not None and self.spread.main == "jackknife":
            method += f" ({self.spread.groups.in_words()})"
        fields = [(tr("interval"), "; ".join(filter(None, (method, self.statement))))]
        for method, estimates in self.beside.items():
            if e := estimates.get("params_exponent"):
                named = e.interval.method if e.interval else method
                fields.append(
                    (tr("beside"), f"{method_in_words(named)}: a {interval_text(e.interval, e.value)}")
                )
        return fields

    def _alternatives_table(self) -> Blocks:
        if not self.alternatives:
            return ()
        rows = [
            (
                objective_name(other.objective),
                f"{other.params_exponent:.3f}",
                *(f"{other.coefficients[n]:.4f}" for n in ("E", "alpha", "beta")),
            )
            for other in self.alternatives
        ]
        title = tr("the exponent a under other objectives (who fits how changes the answer)")
        return Heading(title), Table((tr("objective"), "a", "E", "alpha", "beta"), rows)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `scaling fit --method parametric`: stable names, unrounded values, null for infinite."""
        tests = ("lack_of_fit", "budget_effects", "n_groups", "kappa", "largest_leverage", "at_bound")
        named = (
            "coefficients", "fixed", "objective", "standard_errors", "standard_errors_method", "intervals",
            "params_exponent", "tokens_exponent", "certificate", "residuals", "alternatives", "influence",
        )  # fmt: skip
        return fit_to_dict(
            self,
            **{name: getattr(self, name) for name in named},
            interval_statement=self.statement,
            intervals_beside=self.beside,
            tests={name: getattr(self, name) for name in tests},
        )


def _positive(value: float | None) -> bool:
    return is_number(value) and 0 < value < math.inf  # type: ignore[operator]


def _ln_ratio(larger: float, smaller: float) -> float:
    if larger <= 0 or smaller <= 0 or math.isinf(larger):
        return math.inf
    return math.log(larger / smaller)
