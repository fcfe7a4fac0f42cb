"""What Approach 2 hands back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling.fitting.frontier_law import allocate_by_lines
from scaling.fitting.isoflop.bias import GridBias
from scaling.fitting.isoflop.budgets import BudgetRuns, ValleyKind
from scaling.fitting.isoflop.valley import RefusalCode, Valley
from scaling.fitting.loss_frontier import LossFrontier
from scaling.fitting.power_law import PowerLawFit
from scaling.fitting.results import Estimate
from scaling.laws.base import Allocation, Law
from scaling.laws.frontier import FrontierLaw

if TYPE_CHECKING:
    from scaling.findings import Finding
    from scaling.runs import Convention


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """A run that would give a refused budget its minimum."""

    n_params: float
    n_tokens: float


@dataclass(frozen=True, kw_only=True)
class RefusedBudget:
    """Why a budget has no minimum. `next_run` is None where no run could help (all losses equal)."""

    code: RefusalCode
    reason: str
    next_run: NextRun | None

    def to_dict(self) -> dict[str, Any]:
        run = self.next_run
        return {
            "code": self.code,
            "reason": self.reason,
            "next_run": None if run is None else {"n_params": run.n_params, "n_tokens": run.n_tokens},
        }


@dataclass(frozen=True, kw_only=True)
class BudgetMinimum:
    """One budget: the minimum of its valley in N, D and loss, or why it has none."""

    flops: float
    n_params: Estimate | None
    n_tokens: Estimate | None
    loss: Estimate | None
    refused: RefusedBudget | None
    valley: Valley
    runs: BudgetRuns

    @property
    def n_runs(self) -> int:
        return len(self.runs)

    @property
    def ends_beyond(self) -> tuple[str, ...]:
        """The ends (low, high) of the interval of N* that lie beyond the sizes tried."""
        if self.n_params is None or self.n_params.interval is None:
            return ()
        interval, tried = self.n_params.interval, self.runs.n_params
        beyond = {"low": interval.low < tried.min(), "high": interval.high > tried.max()}
        return tuple(end for end, is_beyond in beyond.items() if is_beyond)

    def to_dict(self) -> dict[str, Any]:
        found = {"n_params": self.n_params, "n_tokens": self.n_tokens, "loss": self.loss}
        return {
            "flops": self.flops,
            **{name: None if e is None else e.value for name, e in found.items()},
            "intervals": {
                name: None if e is None or e.interval is None else e.interval.to_dict()
                for name, e in found.items()
            },
            "refused": None if self.refused is None else self.refused.to_dict(),
            "n_runs": self.n_runs,
            "residual_sd": self.valley.residual_sd if math.isfinite(self.valley.residual_sd) else None,
        }


@dataclass(frozen=True, kw_only=True)
class IsoflopFit:
    """Approach 2: N* = params_coefficient C^params_exponent and the same for D*, with what each budget said."""

    valley: ValleyKind
    level: float
    budgets: tuple[BudgetMinimum, ...]
    params_line: PowerLawFit
    tokens_line: PowerLawFit
    loss_frontier: LossFrontier | None
    bias: GridBias | None
    law: FrontierLaw
    surface: Law | None  # the L(N, D) behind moved losses, surface valleys and the bias
    n_runs: int
    n_runs_used: int
    findings: tuple[Finding, ...]
    excluded: tuple[str, ...]  # run_id of runs that belong to no budget
    source: str
    convention: Convention
    method: str = "isoflop"
    by_trunk: Estimate | None = (
        None  # the exponent of N* with one trunk left out at a time, where runs share trunks
    )

    @property
    def params_exponent(self) -> Estimate:
        return self.params_line.exponent

    @property
    def tokens_exponent(self) -> Estimate:
        return self.tokens_line.exponent

    @property
    def params_coefficient(self) -> Estimate:
        """N* at 1 FLOP: far outside the runs, and so with a very wide interval. Compare fits by `allocate`."""
        return self.params_line.coefficient

    @property
    def tokens_coefficient(self) -> Estimate:
        return self.tokens_line.coefficient

    @property
    def used(self) -> tuple[BudgetMinimum, ...]:
        """The budgets whose minimum enters the lines."""
        return tuple(b for b in self.budgets if b.refused is None)

    @property
    def refused(self) -> tuple[BudgetMinimum, ...]:
        return tuple(b for b in self.budgets if b.refused is not None)

    @property
    def interval_holds(self) -> bool | None:
        """False where the valley's bias on this grid exceeds a quarter of a half-width; None where unknown.

        Also False for surface valleys: their intervals leave out the error of the shape that all budgets share.
        """
        if self.valley == "surface":
            return False
        return None if self.bias is None else self.bias.holds

    def allocate(self, flops: float) -> Allocation:
        """N*, D* and L* at a budget in the table's own counting; `law.allocate` takes 6 N D."""
        return allocate_by_lines(self.params_line, self.tokens_line, self.loss_frontier, flops)

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of `scaling fit --method isoflop --json`."""
        from scaling.laws.io import law_to_dict

        return {
            "schema_version": 1,
            "kind": "fit",
            "method": self.method,
            "valley": self.valley,
            "law": law_to_dict(self.law),
            "n_runs": self.n_runs,
            "n_runs_used": self.n_runs_used,
            "budgets": [b.to_dict() for b in self.budgets],
            "params_exponent": self.params_exponent.to_dict(),
            "params_exponent_by_trunk": None if self.by_trunk is None else self.by_trunk.to_dict(),
            "tokens_exponent": self.tokens_exponent.to_dict(),
            "params_coefficient": self.params_coefficient.to_dict(),
            "tokens_coefficient": self.tokens_coefficient.to_dict(),
            "loss_frontier": None if self.loss_frontier is None else self.loss_frontier.to_dict(),
            "bias": None if self.bias is None else self.bias.to_dict(),
            "interval_holds": self.interval_holds,
            "level": self.level,
            "findings": [f.to_dict() for f in self.findings],
            "excluded": list(self.excluded),
            "source": self.source,
            "params_convention": self.convention.params,
            "flops_convention": self.convention.flops,
            "loss_unit": self.convention.loss_unit,
        }
