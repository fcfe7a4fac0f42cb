"""What `fit_law` returns: a law of any family, how sure it is, and how well it fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scaling.blocks import Blocks, Section, Text
from scaling.errors import LawError
from scaling.findings import Finding
from scaling.fitting.digits import brief
from scaling.fitting.fixed import FLOOR
from scaling.fitting.results import (
    Estimate,
    FitMethod,
    Interval,
    Objective,
    check_asked,
    fit_to_dict,
)
from scaling.fitting.sections import (
    NOISE_FREE,
    certainty,
    coefficient_table,
    fits_the_runs,
    optimum_table,
    scatter_and_tests,
)
from scaling.fitting.summary import FitFace, growth, with_numbers
from scaling.fitting.surface.diagnostics import FTest, ResidualSummary
from scaling.fitting.surface.influence import Influence, influence_table
from scaling.fitting.surface.intervals import Spread
from scaling.fitting.surface.optimum import Optimum
from scaling.laws.base import Law
from scaling.laws.methods import method_in_words
from scaling.translation import counted, tr

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LawFit(FitFace):
    """A law of any family; `converged`, `n_agreeing`, `condition` say how far to trust it."""

    approach: ClassVar[int] = 3
    method: ClassVar[FitMethod] = "law"
    law: Law  # carries draws of its coefficients, so that a plan and a prediction have intervals
    objective: Objective
    n_runs: int
    level: float
    estimates: Mapping[str, Estimate]
    statement: str  # what the intervals assume
    residuals: ResidualSummary
    residual_sum_of_squares: float  # of log loss
    lack_of_fit: FTest | None
    converged: bool
    n_starts: int
    n_agreeing: int
    condition: float
    at_bound: tuple[str, ...]
    findings: tuple[Finding, ...]
    source: str
    # the other interval methods that these runs allow: coefficients by name
    beside: Mapping[str, Mapping[str, Estimate]]
    budget_effects: FTest | None
    n_groups: int
    kappa: float | None  # HC2 over classical error of the last coefficient
    influence: Influence | None
    optimum: Optimum = field(repr=False, compare=False)
    spread: Spread | None = field(repr=False, compare=False)  # None: noise-free runs
    # coefficients held at a value that was asked for
    fixed: Mapping[str, float] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()

    @property
    def coefficients(self) -> dict[str, float]:
        return self.law.coefficients

    @property
    def certified(self) -> bool:
        return self.converged and self.n_agreeing >= 2

    @property
    def residual_sd(self) -> float:
        """Robust scale of log loss about the law."""
        return self.residuals.robust_scale

    @property
    def interval_method(self) -> str:
        known = [e.interval.method for e in self.estimates.values() if e.interval]
        return known[0] if known else "none"

    @property
    def params_exponent(self) -> Estimate | None:
        return self._exponent("params_exponent")

    @property
    def tokens_exponent(self) -> Estimate | None:
        return self._exponent("tokens_exponent")

    def _exponent(self, name: str) -> Estimate | None:
        if not hasattr(type(self.law), name):  # no power of C is optimal under this form
            return None
        try:
            return self._of_draws(lambda law: float(getattr(law, name)))
        except LawError:  # no interior optimum at these coefficients
            return None

    def estimate(self, quantity: str, *, flops: float) -> Estimate:
        """N*, D* or the loss at a budget, with percentiles over the draws of the coefficients.

        Raises:
            UsageError: another quantity, or a budget that is not a positive number.
            LawError: the law has no compute-optimal split.
        """
        check_asked(quantity, flops)
        return self._of_draws(lambda law: float(getattr(law.allocate(flops), quantity)))

    def _of_draws(self, quantity: Callable[[Law], float]) -> Estimate:
        """The law's value of a quantity, and percentiles over its draws, those left out that have none."""
        value, found = quantity(self.law), []
        for draw in self.law.uncertainty.draws if self.law.uncertainty else ():
            try:
                found.append(quantity(self.law.with_coefficients(list(draw))))
            except LawError:  # no optimum at these coefficients
                continue
        if not found:
            return Estimate(value=value)
        tail = 50 * (1 - self.level)
        low, high = (float(end) for end in np.percentile(found, [tail, 100 - tail]))
        return Estimate(
            value=value,
            interval=Interval(low=low, high=high, level=self.level, method="percentiles of draws"),
        )

    def lead(self) -> Blocks:
        claim = growth(self.params_exponent, self.tokens_exponent) or self._fall()
        law = Text(with_numbers(self, exact=self.residual_sd < NOISE_FREE), "" if claim else "strong")
        return (Text(claim, "strong"), law) if claim else (law,)

    def _fall(self) -> str:
        """The claim of a power law of one quantity."""
        names = {"n_params": "N", "n_tokens": "D", "flops": "C"}
        inputs = [names.get(i.name, i.name) for i in self.law.family.inputs]
        if len(inputs) != 1 or (alpha := self.estimates.get("alpha")) is None:
            return ""
        floor = self.estimates.get(FLOOR)
        quantity, exponent = inputs[0], brief(alpha)
        if floor is None or not floor.value:
            return tr("The loss falls as 1 / {quantity}^{exponent}.", quantity=quantity, exponent=exponent)
        return tr(
            "The loss falls as 1 / {quantity}^{exponent} towards {floor}.",
            quantity=quantity,
            exponent=exponent,
            floor=brief(floor),
        )

    def fitted_through(self) -> str:
        return counted(self.n_runs, "run")

    def trust(self) -> list[str]:
        return [fits_the_runs(self.residuals, self.lack_of_fit)]

    def sections(self) -> Blocks:
        return (
            Section("coefficients", tr("The law"), self._coefficients),
            Section("residuals", tr("The runs about the law"), self._residuals),
        )

    def _coefficients(self) -> Blocks:
        state = tr("stationary") if self.converged else tr("NOT CONVERGED")
        if self.converged and self.at_bound:
            state = tr("certified minimum, {names} on its bound", names=", ".join(self.at_bound))
        said = tr(
            "{state}, {n} of {n_starts} starts agree, condition {condition:.2g}",
            state=state,
            n=self.n_agreeing,
            n_starts=self.n_starts,
            condition=self.condition,
        )
        method = method_in_words(self.interval_method)
        if self.spread is not None and self.spread.groups is not None and self.spread.main == "jackknife":
            method += f" ({self.spread.groups.in_words()})"
        intervals = [(tr("interval"), f"{method}; {self.statement}")]
        splits = self.has_optimum and "loss" in self.law.family.outputs
        return (
            Text(self.law.family.formula),
            *coefficient_table(self, exact=self.residual_sd < NOISE_FREE),
            *certainty(intervals, self.objective, said),
            *(optimum_table(self) if splits else ()),
        )

    def _residuals(self) -> Blocks:
        tests = [
            (tr("lack of fit"), self.lack_of_fit),
            (tr("differences between budgets"), self.budget_effects),
        ]
        return scatter_and_tests(self, self.residuals, tests), *influence_table(self.influence)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `scaling fit --law FAMILY`: stable names, unrounded values, null for infinite."""
        named = ("coefficients", "fixed", "objective", "residuals", "at_bound", "level", "source")
        certificate = ("certified", "converged", "n_starts", "n_agreeing", "condition")
        return fit_to_dict(
            self,
            **{name: getattr(self, name) for name in named},
            standard_errors={name: e.standard_error for name, e in self.estimates.items()},
            intervals={name: e.interval for name, e in self.estimates.items()},
            interval_statement=self.statement,
            certificate={name: getattr(self, name) for name in certificate},
            intervals_beside=self.beside,
            influence=self.influence,
            tests={
                name: getattr(self, name) for name in ("lack_of_fit", "budget_effects", "n_groups", "kappa")
            },
            residual_sd_ln=self.residual_sd,
        )
