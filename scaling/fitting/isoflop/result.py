"""What Approach 2 hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scaling.blocks import Blocks, Fields, Heading, Section, Table
from scaling.errors import LawError
from scaling.fitting.frontier_law import LinesFace
from scaling.fitting.isoflop.bias import GridBias
from scaling.fitting.isoflop.budgets import BudgetRuns, ValleyKind
from scaling.fitting.isoflop.valley import RefusalCode, Valley, valley_kind
from scaling.fitting.results import Estimate, FitMethod, fit_to_dict
from scaling.fitting.sections import optimum_cells, optimum_table, percent, refusals
from scaling.jsonable import fields_of, jsonable
from scaling.laws.base import Law
from scaling.translation import counted, tr
from scaling.units import format_flops


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


@dataclass(frozen=True, kw_only=True)
class BudgetMinimum:
    """One budget: the minimum of its valley in N, D and loss, or why it has none."""

    flops: float
    n_params: Estimate | None = None
    n_tokens: Estimate | None = None
    loss: Estimate | None = None
    refused: RefusedBudget | None = None
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
            **{name: e.value if e else None for name, e in found.items()},
            "intervals": {name: jsonable(e.interval) if e else None for name, e in found.items()},
            **fields_of(self, leave_out=("flops", *found, "valley", "runs"), also=("n_runs",)),
            "residual_sd": jsonable(self.valley.residual_sd),
        }


@dataclass(frozen=True, kw_only=True)
class IsoflopFit(LinesFace):
    """Approach 2: N* = params_coefficient C^params_exponent and the same for D*, with what each budget said."""

    approach: ClassVar[int] = 2
    method: ClassVar[FitMethod] = "isoflop"
    valley: ValleyKind
    budgets: tuple[BudgetMinimum, ...]
    bias: GridBias | None
    surface: Law | None  # the L(N, D) behind moved losses, surface valleys and the bias
    n_runs_used: int
    # the exponent of N* with one trunk left out at a time, where runs share trunks
    by_trunk: Estimate | None = None

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

    @property
    def own_optima(self) -> tuple[tuple[float, float], ...]:
        return tuple((b.flops, b.n_params.value) for b in self.used if b.n_params)

    @property
    def own_tokens(self) -> tuple[float, ...]:
        return tuple(b.n_tokens.value for b in self.used if b.n_tokens)

    def fitted_through(self) -> str:
        # of the runs in these valleys: a table may hold others, of no budget or of a refused one
        valleys, runs = counted(len(self.used), "valley"), counted(sum(b.n_runs for b in self.used), "run")
        return tr("{valleys} of {runs}", valleys=valleys, runs=runs)

    def trust(self) -> list[str]:
        said = []
        if self.refused:
            n = len(self.refused)
            said.append(tr("{budgets} without a clear minimum left out", budgets=counted(n, "budget")))
        if self.bias is not None:
            said.append(
                tr(
                    "the shape of a {kind} shifts results by {share:.2g} of an interval's half-width: {holds}",
                    kind=valley_kind(self.valley),
                    share=self.bias.worst_share,
                    holds=tr("the interval holds") if self.bias.holds else tr("the interval is too narrow"),
                )
            )
        if (a := self._surface_exponent) is not None:
            said.append(tr("exponent {a:.3f} by one surface through all runs", a=a))
        return said

    @property
    def _surface_exponent(self) -> float | None:
        """a of the L(N, D) that was fitted on the way, where it is a power of C."""
        try:
            found = getattr(self.surface, "params_exponent", None)
        except LawError:
            return None
        return None if found is None else float(found)

    def sections(self) -> Blocks:
        return (
            Section("valleys", tr("The valleys"), self._valleys),
            Section("coefficients", tr("The lines"), self._lines),
        )

    def _valleys(self) -> Blocks:
        title = tr(
            "valleys ({kind}), minima with {level} intervals",
            kind=valley_kind(self.valley),
            level=percent(self),
        )
        interval = tr("interval")
        headers = (tr("FLOPs"), tr("runs"), "N*", interval, "D*", interval, tr("loss"), interval)
        reasons = [(format_flops(b.flops), b.refused.reason) for b in self.budgets if b.refused]
        return Heading(title), Table(headers, [_row(b) for b in self.budgets]), *refusals(reasons)

    def _lines(self) -> Blocks:
        return (
            *self.lines_section(),
            *(optimum_table(self) if self.loss_frontier else ()),
            *((Fields([(tr("bias"), self.bias.statement)]),) if self.bias else ()),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of `scaling fit --method isoflop --json`."""
        named = ("valley", "n_runs_used", "budgets", "bias", "interval_holds")
        own = {name: getattr(self, name) for name in named}
        return fit_to_dict(self, **own, params_exponent_by_trunk=self.by_trunk, **self.lines_json())


def _row(budget: BudgetMinimum) -> tuple[str, ...]:
    lead = (format_flops(budget.flops), str(budget.n_runs))
    n, d, loss = budget.n_params, budget.n_tokens, budget.loss
    if n is None or d is None or loss is None:
        return (*lead, tr("refused"), "", "", "", "", "")
    return (*lead, *optimum_cells(n, d, loss))
