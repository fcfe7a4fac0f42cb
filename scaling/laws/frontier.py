"""The compute-optimal frontier alone: N*(C) = k C^a, D*(C) = C / (6 N*), and L*(C) where it is known.

Use it for what Approaches 1 and 2 produce and for published allocation rules (Kaplan, Llama 3, DeepSeek, 20
tokens per parameter). It knows the optimum of a budget but not the loss of another split; for that take a law
L(N, D) such as Chinchilla's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import LawError
from scaling.laws.base import FLOPS, Allocation, Coefficient, Law, LawFamily, yardstick
from scaling.laws.form import (
    batched,
    checked_exp,
    ln,
    require_above,
    require_coefficients,
    require_positive_numbers,
)


def frontier(flops: Any, k: Any, a: Any, L_floor: Any, C_c: Any, gamma: Any) -> tuple[Any, ...]:
    """N* and L*, floats or arrays; a NaN coefficient (loss not known) gives NaN losses."""
    return k * flops**a, L_floor + (C_c / flops) ** gamma


def frontier_gradient(flops: Any, k: Any, a: Any, L_floor: Any, C_c: Any, gamma: Any) -> tuple[Any, ...]:
    """Derivatives of N* and of L* with respect to k, a, L_floor, C_c, gamma."""
    n_params, excess = k * flops**a, (C_c / flops) ** gamma
    by_loss = (1.0, gamma * excess / C_c, excess * ln(C_c / flops))
    return (n_params / k, n_params * ln(flops), 0.0, 0.0, 0.0), (0.0, 0.0, *by_loss)


@dataclass(frozen=True, kw_only=True)
class FrontierLaw(Law):
    """N* = k C^a (C = 6 N D) and, where known, L* = L_floor + (C_c / C)^gamma.

    `C_c` and `gamma` are both given or both None; `L_floor` is 0 unless given.
    Example:
        >>> twenty = FrontierLaw.from_tokens_per_param(20)
        >>> f"{twenty.allocate(5.88e23).n_params:.3g}"
        '7e+10'
    """

    k: float
    a: float
    L_floor: float = 0.0
    C_c: float | None = None
    gamma: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in self.coefficients.items() if value is not None}
        require_coefficients("frontier", {"k": self.k, "a": self.a, **given})
        if self.k <= 0 or not 0 < self.a < 1:
            raise LawError(
                f"a frontier needs k > 0 and an exponent a between 0 and 1 (both N* and D* grow with C), "
                f"got k = {self.k:g}, a = {self.a:g}."
            )
        if (self.C_c is None) != (self.gamma is None):
            raise LawError("a frontier law takes C_c and gamma together, or neither.")
        if self.C_c is not None and self.gamma is not None and (self.C_c <= 0 or self.gamma <= 0):
            raise LawError(f"C_c and gamma must be positive, got C_c = {self.C_c:g}, gamma = {self.gamma:g}.")

    @classmethod
    def from_tokens(cls, *, coefficient: float, exponent: float, **rest: Any) -> FrontierLaw:
        """From D* = coefficient C^exponent (Llama 3's form): N* = C / (6 D*)."""
        require_positive_numbers(coefficient=coefficient, exponent=exponent)
        return cls(k=1 / (FLOPS_PER_PARAM_TOKEN * coefficient), a=1 - exponent, **rest)

    @classmethod
    def from_tokens_per_param(cls, ratio: float, **rest: Any) -> FrontierLaw:
        """From a constant D*/N* (20 in the rule of thumb): N* = (C / (6 ratio))^(1/2)."""
        require_positive_numbers(ratio=ratio)
        return cls(k=(FLOPS_PER_PARAM_TOKEN * ratio) ** -0.5, a=0.5, **rest)

    @property
    def loss_floor(self) -> float:
        return self.L_floor

    @property
    def params_exponent(self) -> float:
        """a of N* ~ C^a."""
        return self.a

    @property
    def tokens_exponent(self) -> float:
        """b of D* ~ C^b: 1 - a."""
        return 1 - self.a

    def loss(self, n_params: Any, n_tokens: Any, **inputs: Any) -> Any:
        """Always LawError: a frontier does not say what another split of the budget loses."""
        raise LawError(
            "a frontier law knows the compute-optimal split only, not the loss at a given N and D. "
            "Use a law L(N, D): besiroglu, hoffmann, or your own parametric fit."
        )

    def gradient(self, n_params: Any, n_tokens: Any, **inputs: Any) -> dict[str, Any]:
        """Always LawError, as `loss`."""
        return {"loss": self.loss(n_params, n_tokens)}

    def allocate(self, flops: float, **inputs: Any) -> Allocation:
        """N* = k C^a, D* = C / (6 N*), and L*(C) or None."""
        self._check(inputs, flops=flops)
        n_params = math.exp(math.log(self.k) + self.a * math.log(flops))
        n_tokens = flops / (FLOPS_PER_PARAM_TOKEN * n_params)
        loss = None
        if self.C_c is not None and self.gamma is not None:
            loss = self.L_floor + math.exp(self.gamma * (math.log(self.C_c) - math.log(flops)))
        return Allocation(flops=flops, n_params=n_params, n_tokens=n_tokens, loss=loss)

    def flops_for_loss(self, loss: float, **inputs: Any) -> Allocation:
        """C with L*(C) = loss: C_c (loss - L_floor)^(-1/gamma)."""
        self._check(inputs)
        if self.C_c is None or self.gamma is None:
            raise LawError(
                "this frontier law carries no loss, so it cannot say what a target loss costs. Use a law L(N, D)."
            )
        require_above(loss, self.L_floor, "the floor")
        return self.allocate(checked_exp(math.log(self.C_c) - math.log(loss - self.L_floor) / self.gamma))

    def tokens_for_loss(self, n_params: float, loss: float, **inputs: Any) -> float:
        """Always LawError, as `loss`."""
        return float(self.loss(n_params, 1.0))

    def params_for_loss(self, n_tokens: float, loss: float, **inputs: Any) -> float:
        """Always LawError, as `loss`."""
        return float(self.loss(1.0, n_tokens))


PREDICT, JACOBIAN = batched(frontier, frontier_gradient, (FLOPS.name,))
FAMILY = LawFamily(
    name="frontier",
    formula="N* = k C^a, D* = C/(6 N*), L* = L_floor + (C_c/C)^gamma",
    cite="Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.1-3.2; Kaplan et al. 2020, arXiv:2001.08361, eq. 1.3",
    inputs=(FLOPS,),
    coefficients=(
        Coefficient(
            name="k", low=1e-30, high=1e30, scale="log", start_low=1e7, start_high=1e11,
            reference_power={"flops": (1, "a")},
        ),
        Coefficient(name="a", low=0.01, high=0.99, scale="lin", start_low=0.3, start_high=0.75),
        Coefficient(name="L_floor", low=0.0, high=20.0, scale="lin", start_low=0.0, start_high=2.0),
        yardstick("C_c", FLOPS, low=1e-30, high=1e60, start_low=1e-4, start_high=1e8),
        Coefficient(name="gamma", low=0.005, high=3.0, scale="log", start_low=0.03, start_high=0.3),
    ),
    predict=PREDICT,
    jacobian=JACOBIAN,
    make=FrontierLaw,
    outputs=("n_params", "loss"),
)  # fmt: skip
FrontierLaw.family = FAMILY
