"""What a law is: named inputs → outputs through named coefficients, with where it came from and how sure it is.

Two views of the same thing:

- `LawFamily` is the *form* for fitting: inputs with reference scales, bounds and start regions of the
  coefficients, a prediction and its exact Jacobian for many coefficient vectors at once (NumPy).
- `Law` is one *instance* for using: coefficient values, `loss`, `allocate`, `flops_for_loss`, provenance and
  uncertainty. Its scalar paths are plain Python floats, so that `scaling plan` answers without importing NumPy.

Importing this module imports neither NumPy nor SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import LawError, shown
from scaling.laws.face import LawFace
from scaling.laws.form import (
    batched,
    checked_exp,
    named_gradient,
    refuse_unknown_inputs,
    require_coefficients,
    require_number,
    require_positive,
    require_positive_numbers,
)
from scaling.laws.search import LOG_LARGEST, LOG_SMALLEST, SCAN_STEP, falling_root, minimise_scanned

if TYPE_CHECKING:
    from scaling.laws.form import Array

SAME_FLOPS = 2e-3  # relative: tables print C or D with three or more digits


class Input(NamedTuple):
    """One column a law reads. Predictions use `x / reference`, which keeps the fit well conditioned."""

    name: str  # a column of Runs: "n_params"
    unit: str
    reference: float = 1.0
    low: float = 0.0  # domain, exclusive
    high: float = math.inf


class Coefficient(NamedTuple):
    """Bounds and start region of one coefficient. `scale` is the coordinate a search moves in.

    `low` and `high` bound the coefficient as the law prints it. The start region is that of its value at the
    reference inputs: coefficient x product of reference[input]^(factor x other coefficient), given as
    `reference_power` = {input: (factor, other coefficient or None for 1)}. So A of A/N^alpha, with
    {"n_params": (-1, "alpha")}, starts as a number of nats at the reference size, whatever alpha is. Empty: the
    coefficient itself. `LawFamily.starts` draws from it.
    """

    name: str
    low: float
    high: float
    scale: Literal["log", "lin"]
    start_low: float
    start_high: float
    prior_sd: float | None = None
    reference_power: Mapping[str, tuple[float, str | None]] = {}  # a Mapping: never written to


class LawFamily(NamedTuple):
    """The form of a law. Shapes: theta (B, P), inputs name → (M,), prediction (B, M, K), Jacobian (B, M, K, P).

    `theta` holds the coefficients as the law prints them (not logs, not rescaled), in the order of `coefficients`.
    """

    name: str
    formula: str  # as printed in the paper: "L = E + A/N^alpha + B/D^beta"
    cite: str
    inputs: tuple[Input, ...]
    coefficients: tuple[Coefficient, ...]
    predict: Callable[[Array, Mapping[str, Array]], Array]
    jacobian: Callable[[Array, Mapping[str, Array]], Array]
    make: Callable[..., Law]  # make(**coefficients, provenance=, uncertainty=)
    outputs: tuple[str, ...] = ("loss",)
    # the formula itself, loss(*inputs, *coefficients), floats or arrays, and its derivatives by the coefficients;
    # None where a law is not one formula of its inputs
    loss: Callable[..., Any] | None = None
    gradient: Callable[..., Sequence[Any]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.coefficients)

    def at_reference(self, theta: Array) -> Array:
        """Coefficients (B, P) as their values at the reference inputs: a well-conditioned coordinate for fitting."""
        return self._rescaled(theta, +1.0)

    def from_reference(self, phi: Array) -> Array:
        """Inverse of `at_reference`."""
        return self._rescaled(phi, -1.0)

    def starts(self, n_starts: int, seed: int = 0) -> Array:
        """Random coefficients (n_starts, P) from the start regions, uniform in each coefficient's scale."""
        import numpy as np

        uniform = np.random.default_rng(seed).random((n_starts, len(self.coefficients)))
        columns = []
        for c, u in zip(self.coefficients, uniform.T, strict=True):
            if c.scale == "log":
                columns.append(c.start_low * (c.start_high / c.start_low) ** u)
            else:
                columns.append(c.start_low + (c.start_high - c.start_low) * u)
        return self.from_reference(np.stack(columns, axis=1))

    def _rescaled(self, theta: Array, sign: float) -> Array:
        import numpy as np

        out = np.array(theta, dtype=np.float64, ndmin=2)
        reference = {i.name: i.reference for i in self.inputs}
        columns = {name: out[:, i].copy() for i, name in enumerate(self.names)}
        for i, c in enumerate(self.coefficients):
            for name, (factor, other) in c.reference_power.items():
                power = factor if other is None else factor * columns[other]
                out[:, i] *= reference[name] ** (sign * power)
        return out


class Provenance(NamedTuple):
    """Where a law's numbers come from and what they count.

    Budgets of a law are 6 N D, whatever its runs count: a fit converts. `flops_convention` is the runs' own count and
    `flops_over_6nd` the least and greatest ratio of that to 6 N D (1, 1 where it is the same or not known).
    """

    name: str  # "besiroglu", or the path of a fit
    source: str  # "Besiroglu et al. 2024, arXiv:2404.10102, table 1"
    params_convention: str = "unknown"  # total | non_embedding | unknown
    flops_convention: str = "6ND"
    flops_over_6nd: tuple[float, float] = (1.0, 1.0)
    loss_unit: str = "nats/token"
    fitted_range: Mapping[str, tuple[float, float]] = {}  # flops, n_params, n_tokens
    corpus: str = ""
    status: str = ""  # verified | partly | unverified
    note: str = ""

    @property
    def flops_text(self) -> str:
        """What C counts, in a phrase: "C = 6ND", or "C = 6ND (its runs' own FLOPs are 1.5 times that)"."""
        named = self.flops_convention
        if self.converts_flops:
            own = "own FLOPs" if named in ("unknown", "source") else f"FLOPs ({named})"
            return f"C = 6ND (its runs' {own} are {self.flops_ratio_text} times that)"
        if named.startswith("C"):
            return named
        return f"C = {named}" if named.startswith("6ND") else f"C counted as: {named}"

    @property
    def converts_flops(self) -> bool:
        """Whether the runs count C visibly otherwise than 6 N D."""
        return any(abs(ratio - 1) > SAME_FLOPS for ratio in self.flops_over_6nd)

    @property
    def flops_ratio_text(self) -> str:
        """'1.5' or '1.1 to 1.4'."""
        low, high = (f"{ratio:.3g}" for ratio in self.flops_over_6nd)
        return low if low == high else f"{low} to {high}"


class OptimumBand(NamedTuple):
    """Interval ends of the compute-optimal point on a grid of budgets, as the fit found them.

    All tuples have the length of `log10_flops`; ends may be 0 or inf (an unbounded interval says so).
    """

    log10_flops: tuple[float, ...]
    n_params_low: tuple[float, ...]
    n_params_high: tuple[float, ...]
    loss_low: tuple[float, ...]
    loss_high: tuple[float, ...]


class Uncertainty(NamedTuple):
    """How sure a law is. `band` gives the optimum; `draws` propagate to anything else (one row a resample)."""

    level: float
    method: str  # "profile, HC2 threshold"
    statement: str = ""  # what the interval assumes: "statistical only, assuming the law"
    band: OptimumBand | None = None
    draws_method: str = ""
    residual_sd: float | None = None  # of ln loss about the law: what one new run adds to its own prediction
    draws: tuple[tuple[float, ...], ...] = ()  # coefficient values in family order


class Allocation(NamedTuple):
    """A compute-optimal split: real numbers, not rounded. `loss` is None where the law knows only the split.

    Example:
        >>> import scaling
        >>> best = scaling.allocate_compute("besiroglu", 1e21)
        >>> f"{best.n_params:.3g} parameters on {best.n_tokens:.3g} tokens, loss {best.loss:.3f}"
        '2.79e+09 parameters on 5.97e+10 tokens, loss 2.304'
    """

    flops: float
    n_params: float
    n_tokens: float
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class Law(LawFace):
    """Base of every law. Subclasses add their coefficients as fields and a class attribute `family`.

    Example:
        >>> import scaling
        >>> law = scaling.find_law("hoffmann")
        >>> round(law.loss(70e9, 1.4e12), 3), f"{law.tokens_for_loss(7e9, 2.0):.3g}"
        (1.921, '2.51e+12')
    """

    family: ClassVar[LawFamily]
    # the coefficients in family order: a search asks for them a hundred times
    values_of: ClassVar[Callable[[Law], tuple[float, ...]]]
    signs: ClassVar[Literal["any", "not negative", "positive"]] = "any"  # of the coefficients
    provenance: Provenance | None = None
    uncertainty: Uncertainty | None = None

    def __post_init__(self) -> None:
        require_coefficients(self.family.name, self.coefficients, self.signs)

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficient values by name, in family order."""
        return {name: getattr(self, name) for name in self.family.names}

    def with_coefficients(self, values: tuple[float, ...] | list[float]) -> Law:
        """The same law at other coefficient values (family order), without uncertainty: one bootstrap draw."""
        names = self.family.names
        if not isinstance(values, (tuple, list)) or len(values) != len(names):
            raise LawError(f"a {self.family.name} law has {len(names)} coefficients, got {shown(values)}.")
        named = dict(zip(names, values, strict=True))
        return self.family.make(**named, provenance=self.provenance)

    def loss(self, n_params: Any, n_tokens: Any, **inputs: Any) -> Any:
        """Predicted loss; floats or NumPy arrays in, the same out. Further inputs of a family are keywords."""
        if self.family.loss is None:
            raise NotImplementedError
        if inputs:
            refuse_unknown_inputs(self.family.name, inputs)
        require_positive(n_params=n_params, n_tokens=n_tokens)
        return self.family.loss(n_params, n_tokens, *type(self).values_of(self))

    def gradient(self, n_params: Any, n_tokens: Any, **inputs: Any) -> dict[str, Any]:
        """Exact derivative of the loss with respect to each coefficient, by name."""
        if self.family.gradient is None:
            raise NotImplementedError
        like = self.loss(n_params, n_tokens, **inputs)  # which checks
        values = self.family.gradient(n_params, n_tokens, *type(self).values_of(self))
        return named_gradient(self.family.names, values, like=like)

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Every output of the family at named inputs, floats or (M,) arrays in, the same out. Needs NumPy."""
        import numpy as np

        names = [i.name for i in self.family.inputs]
        if not isinstance(inputs, Mapping) or not set(names) <= set(inputs):
            raise LawError(f"a {self.family.name} law reads {', '.join(names)} by name, got {shown(inputs)}.")
        theta = np.array([[np.nan if v is None else v for v in self.coefficients.values()]])
        try:
            columns = np.broadcast_arrays(*[np.asarray(inputs[name], dtype=float) for name in names])
        except (TypeError, ValueError) as error:
            raise LawError(f"{', '.join(names)} must be numbers or arrays of one length: {error}.") from error
        x = {i.name: column.ravel() for i, column in zip(self.family.inputs, columns, strict=True)}
        out = self.family.predict(theta, x)[0]
        shaped = [out[:, k].reshape(columns[0].shape) for k in range(len(self.family.outputs))]
        return {n: v if v.ndim else float(v) for n, v in zip(self.family.outputs, shaped, strict=True)}

    @property
    def loss_floor(self) -> float:
        """The loss that no model reaches, the limit for unlimited parameters and tokens: E, where the law has it."""
        return self.coefficients.get("E", 0.0)

    def allocate(self, flops: float, **inputs: Any) -> Allocation:
        """Compute-optimal allocation of `flops` (C = 6 N D). Families without a closed form search ln N.

        Raises:
            LawError: the loss keeps falling towards an end of the range: no interior optimum.
        """
        require_positive_numbers(flops=flops)
        log_product = math.log(flops / FLOPS_PER_PARAM_TOKEN)

        def loss_at(log_n: float) -> float:
            return float(self.loss(math.exp(log_n), math.exp(log_product - log_n), **inputs))

        if log_product <= 2 * SCAN_STEP:
            raise LawError(f"{flops:g} FLOPs do not train one parameter on one token; give a larger budget.")
        log_n = minimise_scanned(loss_at, LOG_SMALLEST, log_product)
        if log_n is None:
            raise LawError(
                f"this {self.family.name} law has no compute-optimal split at {flops:g} FLOPs: its loss is least at an "
                "end of the range. Use a law in which both N and D matter."
            )
        n_params = math.exp(log_n)
        n_tokens = flops / (FLOPS_PER_PARAM_TOKEN * n_params)
        return Allocation(flops=flops, n_params=n_params, n_tokens=n_tokens, loss=loss_at(log_n))

    def flops_for_loss(self, loss: float, **inputs: Any) -> Allocation:
        """The cheapest allocation that reaches `loss`: the inverse of `allocate`."""
        self._require_above_floor(loss)

        def excess(log_flops: float) -> float:
            best = self.allocate(math.exp(log_flops), **inputs).loss
            assert best is not None  # only frontier laws lack a loss, and they have a closed form
            return best - loss

        low, high = math.log(FLOPS_PER_PARAM_TOKEN) + 3 * SCAN_STEP, 2 * LOG_LARGEST
        log_flops = falling_root(excess, low, high, f"a loss of {loss:g}{_said(inputs)}")
        return self.allocate(math.exp(log_flops), **inputs)

    def tokens_for_loss(self, n_params: float, loss: float, **inputs: Any) -> float:
        """Tokens with which a model of `n_params` reaches `loss`."""
        require_positive_numbers(n_params=n_params)
        what = f"a loss of {loss:g} with {n_params:.3g} parameters{_said(inputs)}"
        return self._size_for_loss(lambda size: self.loss(n_params, size, **inputs), loss, what)

    def params_for_loss(self, n_tokens: float, loss: float, **inputs: Any) -> float:
        """The smallest model that reaches `loss` on `n_tokens`."""
        require_positive_numbers(n_tokens=n_tokens)
        what = f"a loss of {loss:g} on {n_tokens:.3g} tokens{_said(inputs)}"
        return self._size_for_loss(lambda size: self.loss(size, n_tokens, **inputs), loss, what)

    def _size_for_loss(self, loss_of: Callable[[float], Any], loss: float, what: str) -> float:
        """The parameters or tokens at which `loss_of` falls to `loss`."""
        self._require_above_floor(loss)

        def excess(log_size: float) -> float:
            return float(loss_of(math.exp(log_size))) - loss

        return math.exp(falling_root(excess, LOG_SMALLEST, LOG_LARGEST, what))

    def _check(self, unknown: Mapping[str, Any], **quantities: Any) -> None:
        """Refuse inputs that the law does not read, and quantities that are not positive."""
        refuse_unknown_inputs(self.family.name, unknown)
        require_positive_numbers(**quantities)

    def _split(self, flops: float, log_n: float) -> Allocation:
        """The allocation of a budget whose best ln N is known."""
        n_params, n_tokens = checked_exp(log_n), checked_exp(math.log(flops / FLOPS_PER_PARAM_TOKEN) - log_n)
        loss = self.loss(n_params, n_tokens)
        return Allocation(flops=flops, n_params=n_params, n_tokens=n_tokens, loss=loss)

    def _require_above_floor(self, loss: float) -> None:
        floor = self.loss_floor
        require_number(loss=loss)
        if not floor < loss < math.inf:
            raise LawError(
                f"a loss of {loss:g} is not above the law's floor {floor:.4f}. Ask for a higher loss."
            )


def _said(inputs: Mapping[str, Any]) -> str:
    """The further inputs, for an error message."""
    return "".join(f" and {name} = {value:.3g}" for name, value in inputs.items() if value is not None)


def family_of_formula(
    cls: type[Law],
    *,
    name: str,
    formula: str,
    cite: str,
    inputs: tuple[Input, ...],
    coefficients: tuple[Coefficient, ...],
    loss: Callable[..., Any],
    gradient: Callable[..., Sequence[Any]],
) -> LawFamily:
    """The family of a law that is one formula: prediction and Jacobian are made from it, and `cls` gets the family."""
    predict, jacobian = batched(loss, gradient, tuple(i.name for i in inputs))
    cls.family = LawFamily(
        name=name, formula=formula, cite=cite, inputs=inputs, coefficients=coefficients, predict=predict,
        jacobian=jacobian, make=cls, loss=loss, gradient=gradient,
    )  # fmt: skip
    cls.values_of = attrgetter(*cls.family.names)
    return cls.family


def family_with_floor(cls: type[Law], family: LawFamily) -> LawFamily:
    """The family of `cls`, E + the formula of `family`: E is the first coefficient, its derivative 1."""
    loss, gradient, n_inputs = family.loss, family.gradient, len(family.inputs)
    assert loss is not None
    assert gradient is not None

    def floored(*values: Any) -> Any:
        return values[n_inputs] + loss(*values[:n_inputs], *values[n_inputs + 1 :])

    def floored_gradient(*values: Any) -> tuple[Any, ...]:
        return 1.0, *gradient(*values[:n_inputs], *values[n_inputs + 1 :])

    return family_of_formula(
        cls,
        name=f"{family.name}_floor",
        formula=family.formula.replace("L = ", "L = E + "),
        cite=f"{family.cite}, with a floor",
        inputs=family.inputs,
        coefficients=(FLOOR_OR_NONE, *family.coefficients),
        loss=floored,
        gradient=floored_gradient,
    )


# What the families share. Reference scales are the middle of the runs people fit; there A/N^alpha and B/D^beta are
# both a few tenths of a nat.
PARAMS = Input(name="n_params", unit="parameters", reference=1e9)
TOKENS = Input(name="n_tokens", unit="tokens", reference=2e10)
FLOPS = Input(name="flops", unit="FLOPs", reference=1e20)
FLOOR = Coefficient(name="E", low=0.0, high=20.0, scale="lin", start_low=0.5, start_high=2.5)
FLOOR_OR_NONE = FLOOR._replace(start_low=0.0)  # of forms that are also used without one


def amplitude(name: str, source: Input, factor: float, exponent: str) -> Coefficient:
    """A of a term A/N^alpha: its value in nats at the reference size is that times reference^(factor alpha)."""
    return Coefficient(
        name=name, low=1e-12, high=1e30, scale="log", start_low=0.02, start_high=3.0,
        reference_power={source.name: (factor, exponent)},
    )  # fmt: skip


def yardstick(
    name: str, source: Input, *, high: float, start_low: float, start_high: float, low: float = 1.0
) -> Coefficient:
    """N_c of a term (N_c/N)^alpha, a size itself: it starts as so many times the reference size."""
    at_reference: dict[str, tuple[float, str | None]] = {source.name: (-1, None)}
    return Coefficient(name, low, high, "log", start_low, start_high, reference_power=at_reference)
