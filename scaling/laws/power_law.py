"""Power laws of one quantity: L(N) = (x_c/N)^alpha, L(D) = (x_c/D)^alpha, L(C) = (x_c/C)^alpha, or with a floor E.

Use L(N) where data is no limit, L(D) where the model is none, L(C) along the compute-efficient frontier. None of
them splits a budget: `allocate` refuses and names what can.
Source: Kaplan et al. 2020, arXiv:2001.08361, eq. 1.1-1.3. Ours differs: the optional floor E.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

from scaling.errors import LawError
from scaling.laws.base import (
    FLOPS,
    PARAMS,
    TOKENS,
    Allocation,
    Coefficient,
    Input,
    Law,
    LawFamily,
    family_of_formula,
    family_with_floor,
    yardstick,
)
from scaling.laws.form import checked_exp, ln, named_gradient, require_above, require_positive
from scaling.translation import tr


def power_law(x: Any, x_c: Any, alpha: Any) -> Any:
    """(x_c / x)^alpha, floats or arrays."""
    return (x_c / x) ** alpha


def power_law_gradient(x: Any, x_c: Any, alpha: Any) -> tuple[Any, ...]:
    """Derivatives with respect to x_c and alpha."""
    y = (x_c / x) ** alpha
    return alpha * y / x_c, y * ln(x_c / x)


@dataclass(frozen=True, kw_only=True)
class _OneInputLaw(Law):
    """L = (x_c / x)^alpha in one input; subclasses name the input and, with a floor, add E."""

    x_c: float
    alpha: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.x_c <= 0 or self.alpha <= 0:
            raise LawError(
                f"a {self.family.name} law needs x_c > 0 and alpha > 0, got {self.x_c:g}, {self.alpha:g}."
            )

    @property
    def input_name(self) -> str:
        """The one input: n_params, n_tokens or flops."""
        return self.family.inputs[0].name

    def loss_at(self, x: Any) -> Any:
        """Loss at a value of the one input, float or array."""
        require_positive(**{self.input_name: x})
        return self.loss_floor + power_law(x, self.x_c, self.alpha)

    def gradient_at(self, x: Any) -> dict[str, Any]:
        """Derivative of the loss with respect to each coefficient, at a value of the one input."""
        floor = (1.0,) if "E" in self.family.names else ()
        values = (*floor, *power_law_gradient(x, self.x_c, self.alpha))
        return named_gradient(self.family.names, values, like=self.loss_at(x))

    def input_for_loss(self, loss: float) -> float:
        """The value of the one input with this loss: x_c (L - E)^(-1/alpha)."""
        require_above(loss, self.loss_floor, "the floor")
        return checked_exp(math.log(self.x_c) - math.log(loss - self.loss_floor) / self.alpha)

    def loss(self, n_params: Any, n_tokens: Any, **inputs: Any) -> Any:
        """The loss, whatever the other quantity is; for L(C) refused, since N and D need not be C's best split."""
        self._check(inputs)
        return self.loss_at(self._pick(n_params, n_tokens))

    def gradient(self, n_params: Any, n_tokens: Any, **inputs: Any) -> dict[str, Any]:
        """As `gradient_at`."""
        self._check(inputs)
        return self.gradient_at(self._pick(n_params, n_tokens))

    def allocate(self, flops: float, **inputs: Any) -> Allocation:
        """Always LawError: one input leaves nothing to balance."""
        self._refuse(tr("split a budget between parameters and tokens"))

    def flops_for_loss(self, loss: float, **inputs: Any) -> Allocation:
        """Always LawError: the budget needs a split; `input_for_loss` inverts the law itself."""
        self._refuse(tr("say which parameters and tokens reach a loss"))

    def tokens_for_loss(self, n_params: float, loss: float, **inputs: Any) -> float:
        """For L(D) the inverse; otherwise LawError."""
        return self._inverse("n_tokens", "tokens", loss, inputs)

    def params_for_loss(self, n_tokens: float, loss: float, **inputs: Any) -> float:
        """For L(N) the inverse; otherwise LawError."""
        return self._inverse("n_params", "parameters", loss, inputs)

    def _inverse(self, name: str, noun: str, loss: float, inputs: dict[str, Any]) -> float:
        self._check(inputs)
        if self.input_name != name:
            self._refuse(tr("say how many {noun} reach a loss", noun=noun))
        return self.input_for_loss(loss)

    def _pick(self, n_params: Any, n_tokens: Any) -> Any:
        if self.input_name == "flops":
            self._refuse(tr("give the loss of a model and its tokens"))
        return n_params if self.input_name == "n_params" else n_tokens

    def _refuse(self, what: str) -> NoReturn:
        raise LawError(
            tr(
                "a law of {name} alone cannot {what}. Predict losses with it (scaling predict LAW RUNS.csv), or use a "
                "law L(N, D): besiroglu, hoffmann, or your own parametric fit.",
                name=self.input_name,
                what=what,
            )
        )


@dataclass(frozen=True, kw_only=True)
class _OneInputFloorLaw(_OneInputLaw):
    """L = E + (x_c / x)^alpha."""

    E: float


class ParamsPowerLaw(_OneInputLaw):
    """L(N) = (x_c / N)^alpha: data is no limit.

    Example:
        >>> round(ParamsPowerLaw(x_c=8.8e13, alpha=0.076).loss_at(1.5e9), 2)
        2.3
    """


class TokensPowerLaw(_OneInputLaw):
    """L(D) = (x_c / D)^alpha: the model is no limit."""


class FlopsPowerLaw(_OneInputLaw):
    """L(C) = (x_c / C)^alpha along the compute-efficient frontier."""


class ParamsPowerFloorLaw(_OneInputFloorLaw):
    """L(N) = E + (x_c / N)^alpha."""


class TokensPowerFloorLaw(_OneInputFloorLaw):
    """L(D) = E + (x_c / D)^alpha."""


class FlopsPowerFloorLaw(_OneInputFloorLaw):
    """L(C) = E + (x_c / C)^alpha."""


def _family(name: str, symbol: str, source: Input, cls: type[_OneInputLaw]) -> LawFamily:
    return family_of_formula(
        cls,
        name=name,
        formula=f"L = (x_c/{symbol})^alpha",
        cite="Kaplan et al. 2020, arXiv:2001.08361, eq. 1.1-1.3",
        inputs=(source,),
        coefficients=(
            yardstick("x_c", source, high=1e60, start_low=1e-4, start_high=1e8),
            Coefficient(name="alpha", low=0.005, high=3.0, scale="log", start_low=0.03, start_high=0.6),
        ),
        loss=power_law,
        gradient=power_law_gradient,
    )


PARAMS_FAMILY = _family("params_power_law", "N", PARAMS, ParamsPowerLaw)
TOKENS_FAMILY = _family("tokens_power_law", "D", TOKENS, TokensPowerLaw)
FLOPS_FAMILY = _family("flops_power_law", "C", FLOPS, FlopsPowerLaw)
PARAMS_FLOOR_FAMILY = family_with_floor(ParamsPowerFloorLaw, PARAMS_FAMILY)
TOKENS_FLOOR_FAMILY = family_with_floor(TokensPowerFloorLaw, TOKENS_FAMILY)
FLOPS_FLOOR_FAMILY = family_with_floor(FlopsPowerFloorLaw, FLOPS_FAMILY)
