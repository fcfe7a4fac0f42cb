"""Kaplan's joint law: L(N, D) = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D, and the same with a floor E.

Kaplan et al. count non-embedding parameters, and D is the size of a data set trained on until the test loss turns
(early stopping), so its allocation is a statement about data sets, not the compute-efficient frontier of the same
paper: that is the published frontier law "kaplan".
Source: Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5. Ours differs: the optional floor E.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.laws.base import (
    PARAMS,
    TOKENS,
    Allocation,
    Coefficient,
    Law,
    family_of_formula,
    family_with_floor,
    yardstick,
)
from scaling.laws.form import checked_exp, ln, require_above, softplus


def kaplan_loss(n_params: Any, n_tokens: Any, alpha_N: Any, alpha_D: Any, N_c: Any, D_c: Any) -> Any:
    """[(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D, floats or arrays."""
    return ((N_c / n_params) ** (alpha_N / alpha_D) + D_c / n_tokens) ** alpha_D


def kaplan_gradient(
    n_params: Any, n_tokens: Any, alpha_N: Any, alpha_D: Any, N_c: Any, D_c: Any
) -> tuple[Any, ...]:
    """Derivatives with respect to alpha_N, alpha_D, N_c, D_c.

    With x and y the two terms of the bracket, d L / d alpha_D = L (ln(x + y) - x ln x / (x + y)). The two logarithms
    nearly cancel where one term is large, so it is computed as L (y ln(x + y) + x ln(1 + y/x)) / (x + y).
    """
    ratio, log_size = alpha_N / alpha_D, ln(N_c / n_params)
    x, y = (N_c / n_params) ** ratio, D_c / n_tokens
    loss, slope = (x + y) ** alpha_D, alpha_D * (x + y) ** (alpha_D - 1)  # slope: dL / d(x + y)
    by_alpha_D = loss * (y * ln(x + y) + x * softplus(ln(y) - ratio * log_size)) / (x + y)
    return slope * x * log_size / alpha_D, by_alpha_D, slope * x * ratio / N_c, slope / n_tokens


@dataclass(frozen=True, kw_only=True)
class KaplanLaw(Law):
    """L = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D.

    Example:
        >>> law = KaplanLaw(alpha_N=0.076, alpha_D=0.103, N_c=6.4e13, D_c=1.8e13)
        >>> round(law.loss(1.5e9, 22e9), 3)
        2.313
    """

    signs = "positive"
    alpha_N: float
    alpha_D: float
    N_c: float
    D_c: float

    @property
    def params_exponent(self) -> float:
        """a of N* ~ C^a: alpha_D / (alpha_N + alpha_D)."""
        return self.alpha_D / (self.alpha_N + self.alpha_D)

    @property
    def tokens_exponent(self) -> float:
        """b of D* ~ C^b: alpha_N / (alpha_N + alpha_D)."""
        return self.alpha_N / (self.alpha_N + self.alpha_D)

    def allocate(self, flops: float, **inputs: Any) -> Allocation:
        """Minimum on 6 N D = C: N*^(r + 1) = r N_c^r (C/6) / D_c with r = alpha_N / alpha_D."""
        self._check(inputs, flops=flops)
        r, log_product = self.alpha_N / self.alpha_D, math.log(flops / FLOPS_PER_PARAM_TOKEN)
        log_n = (math.log(r) + r * math.log(self.N_c) + log_product - math.log(self.D_c)) / (r + 1)
        return self._split(flops, log_n)

    def flops_for_loss(self, loss: float, **inputs: Any) -> Allocation:
        """The cheapest budget: at the optimum the bracket is (N_c / N)^r (1 + r)."""
        self._check(inputs)
        r, bracket = self.alpha_N / self.alpha_D, self._log_bracket(loss)
        log_n = math.log(self.N_c) + (math.log1p(r) - bracket) / r
        log_product = math.log(self.D_c) + (r + 1) * log_n - math.log(r) - r * math.log(self.N_c)
        return self.allocate(FLOPS_PER_PARAM_TOKEN * checked_exp(log_product))

    def tokens_for_loss(self, n_params: float, loss: float, **inputs: Any) -> float:
        """D = D_c / (bracket - (N_c / N)^r)."""
        self._check(inputs, n_params=n_params)
        by_size = checked_exp(self.alpha_N / self.alpha_D * (math.log(self.N_c) - math.log(n_params)))
        reachable = self.loss_floor + by_size**self.alpha_D
        require_above(loss, reachable, f"what {n_params:.3g} parameters reach on unlimited tokens")
        return checked_exp(math.log(self.D_c) - math.log(checked_exp(self._log_bracket(loss)) - by_size))

    def params_for_loss(self, n_tokens: float, loss: float, **inputs: Any) -> float:
        """N = N_c (bracket - D_c / D)^(-1/r)."""
        self._check(inputs, n_tokens=n_tokens)
        by_data = self.D_c / n_tokens
        reachable = self.loss_floor + by_data**self.alpha_D
        require_above(loss, reachable, f"what {n_tokens:.3g} tokens allow to a model of any size")
        rest = math.log(checked_exp(self._log_bracket(loss)) - by_data)
        return checked_exp(math.log(self.N_c) - rest * self.alpha_D / self.alpha_N)

    def _log_bracket(self, loss: float) -> float:
        """ln of [...] at this loss."""
        require_above(loss, self.loss_floor, "the floor")
        return math.log(loss - self.loss_floor) / self.alpha_D


@dataclass(frozen=True, kw_only=True)
class KaplanFloorLaw(KaplanLaw):
    """L = E + [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D."""

    E: float


FAMILY = family_of_formula(
    KaplanLaw,
    name="kaplan",
    formula="L = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D",
    cite="Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5",
    inputs=(PARAMS, TOKENS),
    coefficients=(
        Coefficient(name="alpha_N", low=0.005, high=3.0, scale="log", start_low=0.03, start_high=0.5),
        Coefficient(name="alpha_D", low=0.005, high=3.0, scale="log", start_low=0.03, start_high=0.5),
        yardstick("N_c", PARAMS, high=1e40, start_low=1e-2, start_high=1e6),
        yardstick("D_c", TOKENS, high=1e40, start_low=1e-2, start_high=1e5),
    ),
    loss=kaplan_loss,
    gradient=kaplan_gradient,
)
FLOOR_FAMILY = family_with_floor(KaplanFloorLaw, FAMILY)
