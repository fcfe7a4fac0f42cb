"""Turn the plain formula of a law into what fitting needs, and check numbers where they enter a law.

A family writes its formula once, as `formula(*inputs, *coefficients)` and `formula_gradient(...)` over floats or
arrays; `batched` makes the prediction and the Jacobian over many coefficient vectors from them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaling.arguments import is_number
from scaling.errors import LawError, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Predict = Callable[["Array", "Mapping[str, Array]"], "Array"]


def batched(
    formula: Callable[..., Any], formula_gradient: Callable[..., Sequence[Any]], input_names: Sequence[str]
) -> tuple[Predict, Predict]:
    """Prediction (B, M, K) and Jacobian (B, M, K, P) of a formula: of one output, K = 1, or of a tuple of K outputs.

    theta is (B, P) in the order of the formula's coefficients; each input is (M,).
    """

    def stacked(function: Callable[..., Any], theta: Array, x: Mapping[str, Array]) -> Array:
        """Values (B, M, ...): tuples, and tuples of tuples, become further axes."""
        import numpy as np

        theta = np.atleast_2d(np.asarray(theta, dtype=np.float64))
        inputs = [np.asarray(x[name], dtype=np.float64)[None, :] for name in input_names]
        shape = (len(theta), inputs[0].shape[1])

        def stack(value: Any) -> Array:
            if isinstance(value, (tuple, list)):
                return np.stack([stack(part) for part in value], axis=2)
            return np.broadcast_to(value, shape)

        return stack(function(*inputs, *(theta[:, i, None] for i in range(theta.shape[1]))))

    def predict(theta: Array, x: Mapping[str, Array]) -> Array:
        values = stacked(formula, theta, x)
        return values if values.ndim == 3 else values[:, :, None]

    def jacobian(theta: Array, x: Mapping[str, Array]) -> Array:
        values = stacked(formula_gradient, theta, x)
        return values if values.ndim == 4 else values[:, :, None, :]

    return predict, jacobian


def ln(x: Any) -> Any:
    """Natural logarithm of a float or an array; NumPy is touched only for arrays."""
    return math.log(x) if isinstance(x, (int, float)) else _numpy().log(x)


def exp(x: Any) -> Any:
    """Exponential of a float or an array; NumPy is touched only for arrays."""
    return math.exp(x) if isinstance(x, (int, float)) else _numpy().exp(x)


def softplus(x: Any) -> Any:
    """ln(1 + e^x) of a float or an array, exact at both ends."""
    if isinstance(x, (int, float)):
        return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
    return _numpy().logaddexp(0.0, x)


def minimum(x: Any, y: Any) -> Any:
    """The smaller of two floats or arrays, element by element."""
    plain = isinstance(x, (int, float)) and isinstance(y, (int, float))
    return min(x, y) if plain else _numpy().minimum(x, y)


def maximum(x: Any, y: Any) -> Any:
    """The larger of two floats or arrays, element by element."""
    plain = isinstance(x, (int, float)) and isinstance(y, (int, float))
    return max(x, y) if plain else _numpy().maximum(x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y; floats or arrays."""
    return (x if condition else y) if isinstance(condition, bool) else _numpy().where(condition, x, y)


def named_gradient(names: Sequence[str], values: Sequence[Any], like: Any) -> dict[str, Any]:
    """Derivatives by coefficient name, each of the shape of `like` (the loss at the same inputs)."""
    if isinstance(like, (int, float)):
        return dict(zip(names, values, strict=True))
    np = _numpy()
    return {n: np.broadcast_to(v, np.shape(like)) for n, v in zip(names, values, strict=True)}


def require_positive(**quantities: Any) -> None:
    """Raise LawError for what is no number, or one not positive and finite; arrays pass (their NaN stays visible)."""
    for name, value in quantities.items():
        if type(value) is float and 0 < value < math.inf:  # a search asks a thousand times
            continue
        if not is_array(value):
            require_positive_numbers(**{name: value})


def require_positive_numbers(**quantities: Any) -> None:
    """Raise LawError for what is no plain number, or one that is not positive and finite."""
    for name, value in quantities.items():
        if type(value) is float and 0 < value < math.inf:
            continue
        require_number(**{name: value})
        if not 0 < value < math.inf:
            raise LawError(f"{name} must be positive and finite, got {value!r}.")


def require_number(**quantities: Any) -> None:
    """Raise LawError for what is no plain number."""
    for name, value in quantities.items():
        if not is_number(value):
            raise LawError(f"{name} must be a number, got {shown(value)}.")


def is_array(value: object) -> bool:
    """Whether it is an array or a column of numbers."""
    return getattr(getattr(value, "dtype", None), "kind", "") in ("f", "i", "u") and not is_number(value)


def refuse_unknown_inputs(family: str, inputs: Mapping[str, Any]) -> None:
    """Raise LawError for an input that the law would silently ignore (unique tokens given to a law of N and D)."""
    unknown = [name for name, value in inputs.items() if value is not None]
    if unknown:
        raise LawError(
            f"a {family} law does not read {', '.join(unknown)}. Leave it out, or use a law that does "
            "(`scaling laws list`; muennighoff for unique tokens)."
        )


def require_coefficients(family: str, coefficients: Mapping[str, Any], signs: str = "any") -> None:
    """Raise LawError for a coefficient that is not a finite number, or of a sign that the law does not know.

    Args:
        signs: "not negative" where each is a loss, an amplitude or an exponent; "positive" of a power law, in which
            only the floor E may be zero or less; "any".
    """
    for name, value in coefficients.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not abs(value) <= sys.float_info.max:  # a whole number may be larger than any float
            raise LawError(f"coefficient {name} of a {family} law must be a finite number, got {value!r}.")
    if signs == "not negative" and (bad := [f"{n} = {v:g}" for n, v in coefficients.items() if v < 0]):
        raise LawError(
            f"a {family} law needs coefficients of zero or more, got {', '.join(bad)}. Check the signs: "
            "terms are added and exponents written positive."
        )
    if signs == "positive" and (bad := not_positive(coefficients)):
        raise LawError(f"a {family} law needs positive coefficients, got {', '.join(bad)}.")


def not_positive(coefficients: Mapping[str, float]) -> list[str]:
    """Each coefficient but the floor E that is not above zero, with its value."""
    return [f"{name} = {value:g}" for name, value in coefficients.items() if name != "E" and value <= 0]


def require_above(loss: float, reachable: float, what: str) -> None:
    """Raise LawError unless the target loss lies above what is reachable at all."""
    require_number(loss=loss)
    if not reachable < loss < math.inf:
        raise LawError(f"a loss of {loss:g} is not above {reachable:.4f}, {what}. Ask for a higher loss.")


def checked_exp(x: float) -> float:
    """e^x for an answer in parameters, tokens or FLOPs; LawError instead of an overflow."""
    if not -690 < x < 690:
        raise LawError(
            f"the answer is about 10^{x / math.log(10):.0f}, outside what a plan can use. Check the input."
        )
    return math.exp(x)


def log_sum(x: float, y: float) -> float:
    """ln(e^x + e^y)."""
    return max(x, y) + math.log1p(math.exp(-abs(x - y)))


def _numpy() -> Any:
    import numpy

    return numpy
