"""The over-training law: L(C, M) = E + (a M^eta + b M^-eta) C^-eta with C = 6 N D and M = D / N tokens per parameter.

Use it to price training a small model far past the compute-optimal point. It is a Chinchilla law with equal
exponents alpha = beta = 2 eta, so the optimal M is the same at every budget.
Source: Gadre et al. 2024, arXiv:2403.08540, eq. 4. Ours differs: none.
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
from scaling.laws.form import checked_exp, ln, require_above


def over_training_loss(n_params: Any, n_tokens: Any, E: Any, a: Any, b: Any, eta: Any) -> Any:
    """E + (a M^eta + b M^-eta) C^-eta, floats or arrays."""
    flops, ratio = FLOPS_PER_PARAM_TOKEN * n_params * n_tokens, n_tokens / n_params
    return E + (a * ratio**eta + b * ratio**-eta) * flops**-eta


def over_training_gradient(n_params: Any, n_tokens: Any, E: Any, a: Any, b: Any, eta: Any) -> tuple[Any, ...]:
    """Derivatives with respect to E, a, b, eta."""
    flops, ratio = FLOPS_PER_PARAM_TOKEN * n_params * n_tokens, n_tokens / n_params
    by_size, by_data = (ratio / flops) ** eta, (ratio * flops) ** -eta  # (6 N^2)^-eta and (6 D^2)^-eta
    return 1.0, by_size, by_data, a * by_size * ln(ratio / flops) - b * by_data * ln(ratio * flops)


@dataclass(frozen=True, kw_only=True)
class OverTrainingLaw(Law):
    """L = E + (a M^eta + b M^-eta) C^-eta, M = D / N, C = 6 N D.

    Example:
        >>> law = OverTrainingLaw(E=1.51, a=141, b=190, eta=0.121)
        >>> round(law.tokens_per_param, 2)
        3.43
    """

    E: float
    a: float
    b: float
    eta: float

    @property
    def tokens_per_param(self) -> float:
        """The compute-optimal M = (b / a)^(1 / (2 eta)), the same at every budget."""
        self._require_interior_optimum()
        return checked_exp((math.log(self.b) - math.log(self.a)) / (2 * self.eta))

    def allocate(self, flops: float, **inputs: Any) -> Allocation:
        """N* = (C / (6 M))^(1/2), D* = M N* at the optimal M."""
        self._check(inputs, flops=flops)
        n_params = math.sqrt(flops / FLOPS_PER_PARAM_TOKEN / self.tokens_per_param)
        n_tokens = flops / FLOPS_PER_PARAM_TOKEN / n_params
        return Allocation(flops, n_params, n_tokens, self.loss(n_params, n_tokens))

    def flops_for_loss(self, loss: float, **inputs: Any) -> Allocation:
        """The cheapest budget: at the optimal M the loss is E + 2 (a b)^(1/2) C^-eta."""
        self._check(inputs)
        self._require_interior_optimum()
        require_above(loss, self.E, "the floor E")
        log_excess = math.log(2) + (math.log(self.a) + math.log(self.b)) / 2 - math.log(loss - self.E)
        return self.allocate(checked_exp(log_excess / self.eta))

    def tokens_for_loss(self, n_params: float, loss: float, **inputs: Any) -> float:
        """D from b (6 D^2)^-eta = L - E - a (6 N^2)^-eta."""
        self._check(inputs, n_params=n_params)
        self._require_interior_optimum()
        reachable = self.E + self.a * (FLOPS_PER_PARAM_TOKEN * n_params**2) ** -self.eta
        require_above(loss, reachable, f"what {n_params:.3g} parameters reach on unlimited tokens")
        return self._size_for(self.b, loss - reachable)

    def params_for_loss(self, n_tokens: float, loss: float, **inputs: Any) -> float:
        """N from a (6 N^2)^-eta = L - E - b (6 D^2)^-eta."""
        self._check(inputs, n_tokens=n_tokens)
        self._require_interior_optimum()
        reachable = self.E + self.b * (FLOPS_PER_PARAM_TOKEN * n_tokens**2) ** -self.eta
        require_above(loss, reachable, f"what {n_tokens:.3g} tokens allow to a model of any size")
        return self._size_for(self.a, loss - reachable)

    def _size_for(self, coefficient: float, excess: float) -> float:
        """x with coefficient (6 x^2)^-eta = excess."""
        log_square = (math.log(coefficient) - math.log(excess)) / self.eta - math.log(FLOPS_PER_PARAM_TOKEN)
        return checked_exp(log_square / 2)

    def _require_interior_optimum(self) -> None:
        if min(self.a, self.b, self.eta) <= 0:
            raise LawError(
                "this law has no compute-optimal split: a, b and eta must be positive, got "
                f"a = {self.a:g}, b = {self.b:g}, eta = {self.eta:g}. Refit on runs that vary tokens per parameter."
            )


FAMILY = family_of_formula(
    OverTrainingLaw,
    name="over_training",
    formula="L = E + (a M^eta + b M^-eta) C^-eta, C = 6 N D, M = D/N",
    cite="Gadre et al. 2024, arXiv:2403.08540, eq. 4",
    inputs=(PARAMS, TOKENS),
    coefficients=(
        FLOOR,
        amplitude("a", PARAMS, -2, "eta"),
        amplitude("b", TOKENS, -2, "eta"),
        Coefficient(name="eta", low=0.0025, high=1.5, scale="log", start_low=0.07, start_high=0.4),
    ),
    loss=over_training_loss,
    gradient=over_training_gradient,
)
