"""Compare laws and objectives on the same runs: how well each fits, how well it predicts, and how far they disagree.

An interval assumes its law and its objective. The spread between reasonable ones is the part of the doubt that no
interval shows, and on real runs it is often the larger part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.arguments import is_number, is_one_of, require_flags, require_lists_of_texts, require_whole
from scaling.blocks import Blocks, Record, Shown, Table, Text
from scaling.errors import DataError, FitError, UsageError, shown
from scaling.fitting.digits import signed_percent
from scaling.fitting.extrapolation import evaluate_cut
from scaling.fitting.named_fit import (
    FitSettings,
    fit_named_law,
    optimum,
    ordered_by_flops,
    params_exponent,
)
from scaling.fitting.prediction import predicted_loss
from scaling.fitting.sections import refusals
from scaling.jsonable import fields_of
from scaling.laws.base import Law
from scaling.lazy import RENDERERS
from scaling.progress import tracked
from scaling.runs import Runs, assign_budgets
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEFAULT_LAWS = ("chinchilla", "kaplan_floor", "over_training")
CHINCHILLA_OBJECTIVES = ("huber", "hoffmann", "log_least_squares", "least_squares")
OTHER_OBJECTIVES = ("huber", "log_least_squares")
HELD_OUT_SHARE = 0.2  # of the runs, the dearest
TARGET_FACTOR = 10.0  # the budget shown: this times the largest compute of the table


@dataclass(frozen=True, kw_only=True, eq=False)
class LawRow:
    """One law under one objective. Errors are fractions; N*, D* and loss are at the comparison's target budget.

    aicc compares laws on the same runs (Gaussian noise of log loss; lower is better, differences under 2 mean nothing).
    `n_params` is None where the law has no optimum there: it can predict but not plan.
    """

    law: str
    objective: str
    n_coefficients: int
    residual_rms: float  # of log loss, with n - n_coefficients in the denominator
    aicc: float | None
    # mean |predicted / observed - 1| on the dearest runs, fitted without them
    held_out_mean_error: float | None
    held_out_largest_error: float | None
    params_exponent: float | None
    n_params: float | None
    n_tokens: float | None
    loss: float | None
    certified: bool
    fitted: Law

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("fitted",))


@dataclass(frozen=True, kw_only=True, eq=False)
class LawComparison(Shown):
    """Rows in the order of their hold-out error, best first.

    Example:
        >>> import scaling
        >>> compared = scaling.compare_laws(scaling.example_runs(), ["chinchilla"], objectives=["huber", "hoffmann"])
        >>> [round(a, 2) for a in compared.spread("params_exponent")]
        [0.51, 0.52]
    """

    rows: tuple[LawRow, ...]
    refused: tuple[tuple[str, str, str], ...]  # law, objective, why
    target_flops: float
    cut_flops: float
    n_fitted: int
    n_held_out: int
    source: str

    def spread(self, quantity: str) -> tuple[float, float]:
        """Smallest and largest value over laws and objectives: params_exponent, n_params, n_tokens or loss.

        Raises:
            UsageError: another name, or no law has this quantity.
        """
        if not is_one_of(quantity, _SPREAD):
            raise UsageError(
                f"a spread is of params_exponent, n_params, n_tokens or loss; got {shown(quantity)}."
            )
        values = [v for r in self.rows if (v := getattr(r, quantity)) is not None]
        if not values:
            raise UsageError(f"none of the compared laws has {quantity}.")
        return min(values), max(values)

    @property
    def _known(self) -> list[str]:
        """Quantities that at least one of the laws has."""
        return [name for name in _SPREAD if any(getattr(r, name) is not None for r in self.rows)]

    def verdict(self) -> str:
        """For a first screen: the law that predicts the dearest runs best, and how far the laws disagree."""
        best = self.rows[0]
        spread = self._spread_text(("params_exponent", "n_params"))
        if best.held_out_mean_error is None:
            return spread
        return tr(
            "{law} predicts the dearest runs best ({error}); over {n} fits {spread}",
            law=best.law,
            error=format_percent(best.held_out_mean_error),
            n=len(self.rows),
            spread=spread,
        )

    def _spread_text(self, names: Sequence[str]) -> str:
        told = []
        for name in names:
            if name in self._known:
                letter, form = _SPREAD[name]
                letter = tr("loss") if name == "loss" else letter
                low, high = (form(end) for end in self.spread(name))
                told.append(tr("{letter} {low} to {high}", letter=letter, low=low, high=high))
        return ", ".join(told)

    def records(self) -> list[Record]:
        """A row a law and objective, best hold-out error first; N*, D* and loss at `target_flops`."""
        names = [f.name for f in fields(LawRow) if f.name != "fitted"]
        at = {"target_flops": self.target_flops}
        return [{**{name: getattr(row, name) for name in names}, **at} for row in self.rows]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """N* under each law and objective: `scaling.plots.plot_comparison`."""
        axes: Axes = RENDERERS["plot_comparison"](self, ax=ax)
        return axes

    def summary(self) -> Blocks:
        least = min((r.aicc for r in self.rows if r.aicc is not None), default=0.0)
        headers = (
            tr("law"), tr("objective"), tr("hold-out"), tr("residual"), "AICc", "a", "N*", "D*", tr("loss"),
        )  # fmt: skip
        return (
            Text(self.verdict()),
            Text(
                tr(
                    "Optima at {flops} FLOPs; best hold-out error first:",
                    flops=format_flops(self.target_flops, 2),
                )
            ),
            Table(headers, [_cells(row, least) for row in self.rows], left=2),
            Text(
                tr(
                    "spread: {spread}. No interval of one law holds this doubt.",
                    spread=self._spread_text(self._known),
                ),
                indent=2,
            ),
            Text(
                tr(
                    "hold-out: mean error on the {n} runs above {flops} FLOPs, fitted on the other {n_fitted}. AICc: "
                    "above the least; under 2 means nothing.",
                    n=self.n_held_out,
                    flops=format_flops(self.cut_flops, 2),
                    n_fitted=self.n_fitted,
                ),
                indent=2,
            ),
            *refusals((f"{law}, {objective}", reason) for law, objective, reason in self.refused),
        )

    def to_dict(self) -> dict[str, Any]:
        known = {name: list(self.spread(name)) for name in self._known}
        refused = [
            {"law": law, "objective": objective, "reason": why} for law, objective, why in self.refused
        ]
        return {
            "schema_version": 1,
            "kind": "comparison",
            **fields_of(self),
            "spread": known,
            "refused": refused,
        }


def _three(value: float) -> str:
    return f"{value:.3f}"


_SPREAD: dict[str, tuple[str, Callable[[float], str]]] = {
    "params_exponent": ("a", _three),
    "n_params": ("N*", format_params),
    "n_tokens": ("D*", format_tokens),
    "loss": ("loss", _three),
}


def _objective_in_words(name: str) -> str:
    """The name of an objective, which is data and stays English, for a reader."""
    told = {"log_least_squares": tr("log least squares"), "least_squares": tr("least squares")}
    return told.get(name, name.replace("_", " "))


def _cells(row: LawRow, least_aicc: float) -> tuple[str, ...]:
    return (
        row.law,
        _objective_in_words(row.objective) + ("" if row.certified else tr(" (uncertain)")),
        signed_percent(row.held_out_mean_error, ""),
        signed_percent(row.residual_rms, ""),
        "" if row.aicc is None else f"{row.aicc - least_aicc:+.0f}",
        "" if row.params_exponent is None else _three(row.params_exponent),
        tr("none") if row.n_params is None else format_params(row.n_params),
        tr("none") if row.n_tokens is None else format_tokens(row.n_tokens),
        "" if row.loss is None else _three(row.loss),
    )


def compare_laws(
    runs: Runs,
    laws: Sequence[str] = DEFAULT_LAWS,
    *,
    objectives: Sequence[str] | None = None,
    target_flops: float | None = None,
    held_out_share: float = HELD_OUT_SHARE,
    seed: int = 0,
    every_row: bool = False,
) -> LawComparison:
    """Fit each law under each objective, with and without the dearest runs.

    Args:
        laws: names of families with a loss.
        objectives: of `fit_parametric` plus "hoffmann"; those a law does not take are skipped. All usual ones unless
            given.
        target_flops: budget at which N*, D* and loss are compared; 10 times the largest of the table unless given.
        held_out_share: of the runs, the dearest, that the hold-out fit does not see.
        every_row: of training curves take every row for a run, not the last one of each.
    Raises:
        FitError: no law can be fitted; the message gives the first reason.
        UsageError: an unknown law, a share outside (0, 1), a target that is not positive.
    Example:
        >>> import scaling
        >>> compared = scaling.compare_laws(scaling.example_runs(), ["chinchilla"], objectives=["huber"])
        >>> [(row.law, round(row.n_params / 1e9, 1)) for row in compared.rows]
        [('chinchilla', 4.9)]
    """
    what = "a comparison of laws (--compare-laws)"
    runs = ordered_by_flops(runs, "compare_laws", what, every_row=every_row)
    if not is_number(held_out_share) or not 0 < held_out_share < 1:
        raise UsageError(f"the held-out share lies between 0 and 1; got {shown(held_out_share)}.")
    target = TARGET_FACTOR * float(runs.flops.max()) if target_flops is None else target_flops
    if not is_number(target) or not 0 < target < math.inf:
        raise UsageError(f"the target is a positive number of FLOPs; got {shown(target_flops)}.")
    require_lists_of_texts(laws=laws)
    require_lists_of_texts(or_none=True, objectives=objectives)
    require_whole(seed=seed)
    require_flags(every_row=every_row)
    cut = _cut(runs, held_out_share)
    rows, refused = [], []
    for law in tracked(laws, tr("laws")):
        usual = CHINCHILLA_OBJECTIVES if law == "chinchilla" else OTHER_OBJECTIVES
        taken = (*usual, "asymmetric") if law == "chinchilla" else usual
        for objective in usual if objectives is None else [o for o in objectives if o in taken]:
            settings = FitSettings(law=law, objective=objective, intervals=False, seed=seed)
            try:
                rows.append(_row(runs, settings, target, cut))
            # too few runs, or a quantity that the law reads is missing
            except (FitError, DataError) as error:
                refused.append((law, objective, str(error)))
    if not rows:
        reason = refused[0][2] if refused else "no objective that these laws take was named."
        raise FitError(f"none of {', '.join(laws)} could be fitted to {runs.source}: {reason}")
    return LawComparison(
        rows=tuple(sorted(rows, key=_by_held_out_error)),
        refused=tuple(refused),
        target_flops=target,
        cut_flops=cut,
        n_fitted=int(np.sum(runs.flops <= cut)),
        n_held_out=int(np.sum(runs.flops > cut)),
        source=runs.source,
    )


def _cut(runs: Runs, held_out_share: float) -> float:
    """The FLOPs above which this share of the runs lies; where the dearest budget alone has more runs, that budget."""
    cut = float(np.quantile(runs.flops, 1 - held_out_share))
    labels = assign_budgets(runs).labels
    dearest = labels == labels.max()
    if dearest.all():
        return cut
    return min(cut, float(runs.flops[~dearest].max()))


def _row(runs: Runs, settings: FitSettings, target: float, cut: float) -> LawRow:
    fit = fit_named_law(runs, settings)
    n, p = fit.n_runs, len(fit.law.family.coefficients) - len(fit.fixed)
    residuals = np.log(predicted_loss(fit.law, runs)) - np.log(runs.loss)
    rss = float(residuals @ residuals)
    best, beyond = optimum(fit.law, target), evaluate_cut(runs, cut, settings)
    return LawRow(
        law=settings.law,
        objective=settings.objective,
        n_coefficients=p,
        residual_rms=math.sqrt(rss / max(n - p, 1)),
        aicc=_aicc(rss, n, p),
        held_out_mean_error=beyond.mean_absolute_error,
        held_out_largest_error=beyond.largest_error,
        params_exponent=params_exponent(fit.law),
        n_params=best.n_params if best else None,
        n_tokens=best.n_tokens if best else None,
        loss=best.loss if best else None,
        certified=fit.certified,
        fitted=fit.law,
    )


def _aicc(rss: float, n: int, p: int) -> float | None:
    """Corrected Akaike criterion with the noise variance as one more coefficient (Hurvich and Tsai 1989)."""
    k = p + 1
    if n - k - 1 <= 0 or rss <= 0:
        return None
    return n * math.log(rss / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _by_held_out_error(row: LawRow) -> tuple[bool, float]:
    error = row.held_out_mean_error
    return error is None, error if error is not None else row.residual_rms
