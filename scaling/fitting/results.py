"""What every fit hands back in the same shape: the one face of a fit, a value, how sure it is, what was minimised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from scaling.arguments import is_number, is_one_of
from scaling.blocks import Blocks
from scaling.errors import UsageError, shown
from scaling.findings import Finding
from scaling.jsonable import fields_of, jsonable
from scaling.laws.base import Law, Provenance
from scaling.laws.io import law_to_dict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from scaling.runs import Runs

FitMethod: TypeAlias = Literal["envelope", "isoflop", "parametric", "law"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Ends of an interval at `level`. An end may be infinite: the data then do not bound the value on that side.

    Example:
        >>> import scaling
        >>> a = scaling.fit_isoflop(scaling.example_runs()).params_exponent.interval
        >>> round(a.low, 2), round(a.high, 2), a.contains(0.5)
        (0.46, 0.55, True)
    """

    low: float
    high: float
    level: float
    method: str  # "profile, HC2 threshold"

    def __post_init__(self) -> None:
        numbers = is_number(self.low) and is_number(self.high)
        if not numbers or not self.low <= self.high:
            raise UsageError(f"an interval needs low <= high, got {shown(self.low)} to {shown(self.high)}.")

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Ends that are infinite become null, with `unbounded` naming the side."""
        unbounded = [n for n, v in (("low", self.low), ("high", self.high)) if not math.isfinite(v)]
        return fields_of(self) | ({"unbounded": unbounded} if unbounded else {})


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A fitted value with its standard error and interval, where there is one.

    Example:
        >>> import scaling
        >>> a = scaling.fit_isoflop(scaling.example_runs()).params_exponent
        >>> round(a.value, 3), round(a.standard_error, 3)
        (0.508, 0.017)
    """

    value: float
    standard_error: float | None = None
    interval: Interval | None = None

    def record(self) -> dict[str, float | None]:
        """Its columns in a table: value, standard_error, low, high; an end that nothing bounds is infinite."""
        ends = (-math.inf, math.inf) if self.interval is None else (self.interval.low, self.interval.high)
        return {"value": self.value, "standard_error": self.standard_error, "low": ends[0], "high": ends[1]}

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What was minimised and the minimum reached. `delta` is the Huber threshold in units of log loss."""

    name: Literal["huber", "least_squares", "log_least_squares", "asymmetric"] | str
    value: float
    delta: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("delta",) if self.delta is None else ())


class Fit(Protocol):
    """The face that every fit shows, whatever its approach.

    approach: 1, 2 or 3 of Hoffmann et al. 2022; method: the same by the name that `scaling fit --method` and the JSON
    use; "law" is Approach 3 with another family than Chinchilla's. Fits are frozen dataclasses: `replace` varies one.
    Example:
        >>> import scaling
        >>> fits = [scaling.fit_isoflop(scaling.example_runs()), scaling.fit_parametric(scaling.example_runs())]
        >>> [(fit.approach, round(fit.params_exponent.value, 2)) for fit in fits]
        [(2, 0.51), (3, 0.51)]
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    approach: ClassVar[int]
    method: ClassVar[FitMethod]

    @property
    def law(self) -> Law: ...
    @property
    def n_runs(self) -> int: ...
    @property
    def level(self) -> float: ...
    @property
    def interval_method(self) -> str:
        """How the intervals were made: "profile, HC2 threshold"."""

    @property
    def params_exponent(self) -> Estimate | None:
        """a of N* ~ C^a; None where the law has no compute-optimal power of C."""

    @property
    def tokens_exponent(self) -> Estimate | None: ...
    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """The coefficients that were fitted, by name."""

    @property
    def fixed(self) -> Mapping[str, float]:
        """Coefficients held at a value that was asked for."""

    @property
    def at_bound(self) -> tuple[str, ...]:
        """Coefficients that ended on a bound of their range."""

    @property
    def findings(self) -> tuple[Finding, ...]: ...
    @property
    def excluded(self) -> tuple[str, ...]:
        """run_id of the runs that no number rests on."""

    @property
    def has_optimum(self) -> bool:
        """Whether a budget alone gives a compute-optimal split."""

    @property
    def measured_optima(self) -> tuple[tuple[float, float], ...]:
        """(flops, n_params) of what the law's lines go through, C = 6 N D; () where no optimum was measured."""

    def estimate(self, quantity: str, *, flops: float) -> Estimate:
        """n_params, n_tokens or loss of the compute-optimal model at a budget C = 6 N D, with its interval.

        Raises:
            UsageError: another quantity.
            FitError, LawError: the fit has no such optimum, or no intervals at all.
        """

    def lead(self) -> Blocks:
        """The answer: the law in a line or two."""

    def fitted_through(self) -> str:
        """What gave the fit, in words: "54 runs", "6 valleys of 54 runs"."""

    def trust(self) -> Sequence[str]:
        """Why to trust it, for a first screen: clauses without a full stop."""

    def sections(self) -> Blocks:
        """What lies behind the answer: coefficients, residuals, valleys."""

    def summary(self) -> Blocks:
        """What the fit says, answer first."""

    def records(self) -> list[dict[str, Any]]:
        """A row a coefficient and exponent: quantity, value, standard_error, low, high, level."""

    def to_frame(self) -> pd.DataFrame:
        """The records as a pandas DataFrame."""

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw N*(C) with its interval; `scaling.plots` has the other figures."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `scaling fit --json`: stable names, unrounded values, null for infinite."""


def check_asked(quantity: str, flops: float) -> None:
    """Raise UsageError unless it is a quantity of a compute-optimal model, at a budget."""
    if not is_one_of(quantity, ("n_params", "n_tokens", "loss")):
        raise UsageError(f"a budget gives n_params, n_tokens or loss; got {shown(quantity)}.")
    if not is_number(flops) or not 0 < flops < math.inf:
        raise UsageError(f"{quantity} needs flops, positive and finite; got flops={shown(flops)}.")


def provenance_of(
    runs: Runs, flops: NDArray[Any], *, name: str, source: str, note: str, status: str
) -> Provenance:
    """Where a law fitted to runs is from; its budgets are `flops`, whatever the table counts."""
    columns = {"flops": flops, "n_params": runs.n_params, "n_tokens": runs.n_tokens}
    columns = {name: values for name, values in columns.items() if name not in runs.absent}
    ratio = runs.flops / flops
    return Provenance(
        name=name,
        source=source,
        params_convention=runs.convention.params,
        flops_convention=runs.convention.flops,
        flops_over_6nd=(1.0, 1.0) if runs.absent else (float(ratio.min()), float(ratio.max())),
        loss_unit=runs.convention.loss_unit,
        fitted_range={name: (float(v.min()), float(v.max())) for name, v in columns.items()},
        note=note,
        status=status,
    )


def fit_to_dict(fit: Fit, **own: Any) -> dict[str, Any]:
    """The JSON of any fit: what all have, and between it the approach's own."""
    return {
        "schema_version": 1,
        "kind": "fit",
        "approach": fit.approach,
        "method": fit.method,
        "law": law_to_dict(fit.law),
        "n_runs": fit.n_runs,
        **jsonable(own),
        "interval_method": fit.interval_method,
        "findings": jsonable(fit.findings),
        "excluded": list(fit.excluded),
    }
