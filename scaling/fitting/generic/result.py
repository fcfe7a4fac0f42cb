"""What `fit_law` returns: a law of any family, how sure it is, and how well it fits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import LawError, UsageError
from scaling.findings import Finding
from scaling.fitting.parametric.diagnostics import FTest, ResidualSummary
from scaling.fitting.results import Estimate, Interval, Objective
from scaling.laws.base import Allocation, Law

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LawFit:
    """A law of any family with classical intervals; `converged`, `n_agreeing`, `condition` say how far to trust it."""

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
    covariance: Array  # (P, P) of the coefficients
    source: str
    fixed: Mapping[str, float] = field(
        default_factory=dict
    )  # coefficients held at a value that was asked for
    excluded: tuple[str, ...] = ()
    method: str = "law"

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
    def has_optimum(self) -> bool:
        """Whether a budget alone gives a compute-optimal split."""
        try:
            self.law.allocate(1e20)
        except (LawError, TypeError, KeyError):
            return False
        return True

    def estimate(self, quantity: str, *, flops: float) -> Estimate:
        """N*, D* or the loss at a budget, with percentiles over the draws of the coefficients.

        Raises:
            UsageError: another quantity.
            LawError: the law has no compute-optimal split.
        """
        if quantity not in ("n_params", "n_tokens", "loss"):
            raise UsageError(f"a budget gives n_params, n_tokens or loss; got {quantity!r}.")
        value = getattr(self.law.allocate(flops), quantity)
        found = [getattr(best, quantity) for best in self._allocations(flops)]
        if not found:
            return Estimate(value=value)
        tail = 50 * (1 - self.level)
        low, high = np.percentile(found, [tail, 100 - tail])
        method = "percentiles of draws"
        return Estimate(
            value=value, interval=Interval(low=float(low), high=float(high), level=self.level, method=method)
        )

    def _allocations(self, flops: float) -> list[Allocation]:
        found = []
        for draw in self.law.uncertainty.draws if self.law.uncertainty else ():
            try:
                found.append(self.law.with_coefficients(list(draw)).allocate(flops))
            except LawError:  # no optimum at these coefficients
                continue
        return found

    def to_dict(self) -> dict[str, Any]:
        from scaling.laws.io import law_to_dict

        return {
            "schema_version": 1,
            "kind": "fit",
            "method": self.method,
            "law": law_to_dict(self.law),
            "coefficients": self.coefficients,
            "fixed": dict(self.fixed),
            "objective": self.objective.to_dict(),
            "n_runs": self.n_runs,
            "standard_errors": {k: e.standard_error for k, e in self.estimates.items()},
            "intervals": {k: e.interval.to_dict() if e.interval else None for k, e in self.estimates.items()},
            "interval_statement": self.statement,
            "certificate": {
                "certified": self.certified,
                "converged": self.converged,
                "n_starts": self.n_starts,
                "n_agreeing": self.n_agreeing,
                "condition": self.condition if math.isfinite(self.condition) else None,
            },
            "residuals": self.residuals.to_dict(),
            "tests": {"lack_of_fit": self.lack_of_fit.to_dict() if self.lack_of_fit else None},
            "at_bound": list(self.at_bound),
            "residual_sd_ln": self.residual_sd,
            "level": self.level,
            "findings": [f.to_dict() for f in self.findings],
            "excluded": list(self.excluded),
            "source": self.source,
        }
