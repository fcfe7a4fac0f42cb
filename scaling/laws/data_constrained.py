"""The data-constrained law: Chinchilla's form with repeated tokens and excess parameters that are worth less.

L = E + A / N'^alpha + B / D'^beta with U_D unique tokens, R_D = D / U_D - 1 repetitions, and
    D' = U_D (1 + R_D* (1 - e^(-R_D / R_D*)))       the value of D tokens of which only U_D are unique
    N' = U_N (1 + R_N* (1 - e^(-R_N / R_N*)))       likewise for parameters beyond what U_D tokens call for
    U_N = min(N, G (G U_D)^(beta / alpha)),  R_N = N / U_N - 1,  G = (alpha A / (beta B))^(1 / (alpha + beta)).
Use it when tokens must be repeated. The authors warn that its level is off (about 6 % low on their own runs): use
it to compare allocations, not to predict a loss.
Source: Muennighoff et al. 2023, arXiv:2305.16264, eq. 5-6 and appendix A. Ours differs: fewer tokens than are unique
(D < U_D) count as D unique tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaling.laws.base import Allocation, Coefficient, Input, Law, family_of_formula
from scaling.laws.chinchilla import FAMILY as CHINCHILLA
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.laws.form import (
    exp,
    ln,
    maximum,
    minimum,
    named_gradient,
    refuse_unknown_inputs,
    require_positive,
    where,
)


def _effective(size: Any, unique: Any, decay: Any) -> tuple[Any, Any, Any]:
    """Effective size U (1 + R* (1 - e^(-R/R*))), and its derivatives by U and by R*, with R = size / U - 1."""
    repeats = maximum(size / unique - 1.0, 0.0)
    fading = exp(-repeats / decay)
    gain = 1.0 + decay * (1.0 - fading)
    by_unique = gain - fading * (1.0 + repeats)
    return unique * gain, by_unique, unique * ((1.0 - fading) - fading * repeats / decay)


def _log_unique_params(n_unique: Any, A: Any, B: Any, alpha: Any, beta: Any) -> tuple[Any, Any, Any]:
    """ln of G (G U_D)^(beta/alpha), ln G, and ln(G U_D)."""
    log_G = (ln(alpha * A) - ln(beta * B)) / (alpha + beta)
    log_GU = log_G + ln(n_unique)
    return log_G + beta / alpha * log_GU, log_G, log_GU


def data_constrained_loss(
    n_params: Any, n_tokens: Any, n_tokens_unique: Any,
    E: Any, A: Any, B: Any, alpha: Any, beta: Any, R_D: Any, R_N: Any,
) -> Any:  # fmt: skip
    """The loss, floats or arrays; R_D and R_N are the decay constants R_D* and R_N*."""
    unique = minimum(n_tokens_unique, n_tokens)
    log_limit, _, _ = _log_unique_params(unique, A, B, alpha, beta)
    unique_params = exp(minimum(ln(n_params), log_limit))
    n_effective, _, _ = _effective(n_params, unique_params, R_N)
    d_effective, _, _ = _effective(n_tokens, unique, R_D)
    return E + A * n_effective**-alpha + B * d_effective**-beta


def data_constrained_gradient(
    n_params: Any, n_tokens: Any, n_tokens_unique: Any,
    E: Any, A: Any, B: Any, alpha: Any, beta: Any, R_D: Any, R_N: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """Derivatives with respect to E, A, B, alpha, beta, R_D, R_N (one-sided at the kink N = U_N)."""
    unique = minimum(n_tokens_unique, n_tokens)
    log_limit, log_G, log_GU = _log_unique_params(unique, A, B, alpha, beta)
    unique_params = exp(minimum(ln(n_params), log_limit))
    n_eff, by_unique, by_R_N = _effective(n_params, unique_params, R_N)
    d_eff, _, by_R_D = _effective(n_tokens, unique, R_D)
    u, v = n_eff**-alpha, d_eff**-beta
    slope_n, slope_d = -alpha * A * u / n_eff, -beta * B * v / d_eff  # dL / dN' and dL / dD'
    # dL / d ln U_N; where U_N = N it is the limit itself that does not act
    slope_limit = where(log_limit < ln(n_params), slope_n * by_unique * unique_params, 0.0)
    log_G_by_alpha = (1.0 / alpha - log_G) / (alpha + beta)
    log_G_by_beta = (-1.0 / beta - log_G) / (alpha + beta)
    limit_by_alpha = (1.0 + beta / alpha) * log_G_by_alpha - beta / alpha**2 * log_GU
    limit_by_beta = (1.0 + beta / alpha) * log_G_by_beta + log_GU / alpha
    return (
        1.0,
        u + slope_limit / (alpha * A),
        v - slope_limit / (alpha * B),
        -A * u * ln(n_eff) + slope_limit * limit_by_alpha,
        -B * v * ln(d_eff) + slope_limit * limit_by_beta,
        slope_d * by_R_D,
        slope_n * by_R_N,
    )


@dataclass(frozen=True, kw_only=True)
class DataConstrainedLaw(Law):
    """Loss of N parameters trained on D tokens of which n_tokens_unique are unique (all of them when not given).

    Example:
        >>> from scaling.reference import find_law
        >>> round(find_law("muennighoff").loss(6.34e9, 242e9, n_tokens_unique=25e9), 10)
        2.225644089
    """

    signs = "positive"
    E: float
    A: float
    B: float
    alpha: float
    beta: float
    R_D: float
    R_N: float

    @property
    def without_limit(self) -> ChinchillaLaw:
        """The Chinchilla law it becomes when no token is repeated and no parameter is in excess."""
        c = {n: getattr(self, n) for n in ("E", "A", "B", "alpha", "beta")}
        return ChinchillaLaw(**c, provenance=self.provenance)

    def loss(self, n_params: Any, n_tokens: Any, *, n_tokens_unique: Any = None, **inputs: Any) -> Any:
        """Loss in nats per token; n_tokens_unique None: every token is seen once."""
        unique = n_tokens if n_tokens_unique is None else n_tokens_unique
        refuse_unknown_inputs(self.family.name, inputs)
        require_positive(n_params=n_params, n_tokens=n_tokens, n_tokens_unique=unique)
        return data_constrained_loss(n_params, n_tokens, unique, *type(self).values_of(self))

    def gradient(
        self, n_params: Any, n_tokens: Any, *, n_tokens_unique: Any = None, **inputs: Any
    ) -> dict[str, Any]:
        """Derivative of the loss with respect to each coefficient."""
        unique = n_tokens if n_tokens_unique is None else n_tokens_unique
        values = data_constrained_gradient(n_params, n_tokens, unique, *type(self).values_of(self))
        loss = self.loss(n_params, n_tokens, n_tokens_unique=unique, **inputs)
        return named_gradient(self.family.names, values, like=loss)

    def allocate(self, flops: float, *, n_tokens_unique: float | None = None, **inputs: Any) -> Allocation:
        """Best split of a budget: Chinchilla's closed form while its D* is unique, a search in ln N beyond."""
        self._check(inputs)
        best = self.without_limit.allocate(flops)
        if n_tokens_unique is None or best.n_tokens <= n_tokens_unique:
            return best
        return super().allocate(flops, n_tokens_unique=n_tokens_unique)

    def flops_for_loss(
        self, loss: float, *, n_tokens_unique: float | None = None, **inputs: Any
    ) -> Allocation:
        """The cheapest budget that reaches `loss`, repeating tokens where that pays."""
        self._check(inputs)
        best = self.without_limit.flops_for_loss(loss)
        if n_tokens_unique is None or best.n_tokens <= n_tokens_unique:
            return best
        return super().flops_for_loss(loss, n_tokens_unique=n_tokens_unique)


FAMILY = family_of_formula(
    DataConstrainedLaw,
    name="data_constrained",
    formula="L = E + A/N'^alpha + B/D'^beta, D' = U_D (1 + R_D (1 - e^(-(D/U_D - 1)/R_D))), N' likewise with U_N, R_N",
    cite="Muennighoff et al. 2023, arXiv:2305.16264, eq. 5-6",
    inputs=(*CHINCHILLA.inputs, Input(name="n_tokens_unique", unit="tokens", reference=5e9)),
    coefficients=(
        *CHINCHILLA.coefficients,
        Coefficient(name="R_D", low=0.05, high=1e4, scale="log", start_low=2.0, start_high=50.0),
        Coefficient(name="R_N", low=0.05, high=1e4, scale="log", start_low=1.0, start_high=50.0),
    ),
    loss=data_constrained_loss,
    gradient=data_constrained_gradient,
)
