"""The Chinchilla law: L(N, D) = E + A / N^alpha + B / D^beta.

E is the loss no model reaches, A / N^alpha the price of a finite model, B / D^beta that of finite data.
Source: Hoffmann et al. 2022, arXiv:2203.15556, eq. 2 (form) and eq. 4 (allocation). Ours differs: none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import LawError
from scaling.laws.base import (
    FLOOR,
    PARAMS,
    TOKENS,
    Allocation,
    Coefficient,
    Law,
    amplitude,
    family_of_formula,
)
from scaling.laws.form import checked_exp, ln, log_sum, not_positive, require_above


def chinchilla_loss(n_params: Any, n_tokens: Any, E: Any, A: Any, B: Any, alpha: Any, beta: Any) -> Any:
    """E + A / N^alpha + B / D^beta, floats or arrays."""
    return E + A * n_params**-alpha + B * n_tokens**-beta


def chinchilla_gradient(
    n_params: Any, n_tokens: Any, E: Any, A: Any, B: Any, alpha: Any, beta: Any
) -> tuple[Any, ...]:
    """Derivatives with respect to E, A, B, alpha, beta."""
    u, v = n_params**-alpha, n_tokens**-beta
    return 1.0, u, v, -A * u * ln(n_params), -B * v * ln(n_tokens)


@dataclass(frozen=True, kw_only=True)
class ChinchillaLaw(Law):
    """L = E + A / N^alpha + B / D^beta with N parameters, D tokens, L in nats per token.

    Source: Hoffmann et al. 2022, arXiv:2203.15556, eq. 2.
    Example:
        >>> law = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
        >>> round(law.loss(70e9, 1.4e12), 3)
        1.937
        >>> f"{law.allocate(5.76e23).n_params:.3g}"
        '3.22e+10'
    """

    signs = "not negative"
    E: float
    A: float
    B: float
    alpha: float
    beta: float

    @property
    def params_exponent(self) -> float:
        """a of N* ~ C^a: beta / (alpha + beta)."""
        self._require_interior_optimum()
        return self.beta / (self.alpha + self.beta)

    @property
    def tokens_exponent(self) -> float:
        """b of D* ~ C^b: alpha / (alpha + beta)."""
        self._require_interior_optimum()
        return self.alpha / (self.alpha + self.beta)

    def allocate(self, flops: float, **inputs: Any) -> Allocation:
        """Split a budget at minimum loss: N* = G (C/6)^a, D* = (C/6)^b / G, G = (alpha A / (beta B))^(1/(alpha+beta)).

        Args:
            flops: training budget, forward and backward, > 0, C = 6 N D.
        Raises:
            LawError: no interior optimum (A, B, alpha or beta is not positive).
        Source: Hoffmann et al. 2022, eq. 4. Ours differs: none.
        """
        self._check(inputs, flops=flops)
        self._require_interior_optimum()
        log_product = math.log(flops / FLOPS_PER_PARAM_TOKEN)
        return self._split(flops, self._log_balance() + self.params_exponent * log_product)

    def flops_for_loss(self, loss: float, **inputs: Any) -> Allocation:
        """The cheapest budget that reaches `loss`: on the optimum L - E = K (C/6)^(-alpha beta / (alpha + beta))."""
        self._check(inputs)
        self._require_interior_optimum()
        require_above(loss, self.E, "the floor E")
        g = self._log_balance()
        log_K = log_sum(math.log(self.A) - self.alpha * g, math.log(self.B) + self.beta * g)
        exponent = self.alpha * self.beta / (self.alpha + self.beta)
        log_product = (log_K - math.log(loss - self.E)) / exponent
        return self.allocate(FLOPS_PER_PARAM_TOKEN * checked_exp(log_product))

    def tokens_for_loss(self, n_params: float, loss: float, **inputs: Any) -> float:
        """D with L(n_params, D) = loss: (B / (loss - E - A / N^alpha))^(1/beta)."""
        self._check(inputs, n_params=n_params)
        self._require_interior_optimum()
        reachable = self.E + self.A * n_params**-self.alpha
        require_above(loss, reachable, f"what {n_params:.3g} parameters reach on unlimited tokens")
        return checked_exp((math.log(self.B) - math.log(loss - reachable)) / self.beta)

    def params_for_loss(self, n_tokens: float, loss: float, **inputs: Any) -> float:
        """N with L(N, n_tokens) = loss: (A / (loss - E - B / D^beta))^(1/alpha)."""
        self._check(inputs, n_tokens=n_tokens)
        self._require_interior_optimum()
        reachable = self.E + self.B * n_tokens**-self.beta
        require_above(loss, reachable, f"what {n_tokens:.3g} tokens allow to a model of any size")
        return checked_exp((math.log(self.A) - math.log(loss - reachable)) / self.alpha)

    def _log_balance(self) -> float:
        """ln G of N* = G (C/6)^a."""
        ratio = math.log(self.alpha * self.A) - math.log(self.beta * self.B)
        return ratio / (self.alpha + self.beta)

    def _require_interior_optimum(self) -> None:
        if bad := not_positive(self.coefficients):
            raise LawError(
                f"this law has no compute-optimal split: A, B, alpha and beta must be positive, got {', '.join(bad)}. "
                "Refit on runs that vary both n_params and n_tokens."
            )


FAMILY = family_of_formula(
    ChinchillaLaw,
    name="chinchilla",
    formula="L = E + A/N^alpha + B/D^beta",
    cite="Hoffmann et al. 2022, arXiv:2203.15556, eq. 2",
    inputs=(PARAMS, TOKENS),
    coefficients=(
        FLOOR,
        amplitude("A", PARAMS, -1, "alpha"),
        amplitude("B", TOKENS, -1, "beta"),
        Coefficient(name="alpha", low=0.005, high=3.0, scale="log", start_low=0.15, start_high=0.8),
        Coefficient(name="beta", low=0.005, high=3.0, scale="log", start_low=0.15, start_high=0.8),
    ),
    loss=chinchilla_loss,
    gradient=chinchilla_gradient,
)
