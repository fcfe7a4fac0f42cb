"""How far the shape of the valley pushes Approach 2 away from the truth on the user's own grid.

A parabola fitted to a valley that is no parabola has its vertex in the wrong place, by an amount that depends on the
grid and not on the noise: more data does not help. We run Approach 2 without noise on the fitted Approach 3 surface,
at the same N and D, and compare with that surface's own optimum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaling.fitting.isoflop.budgets import BudgetRuns, ValleyKind, fit_budget_valley
from scaling.fitting.isoflop.valley import valley_kind
from scaling.fitting.power_law import Line, PowerLawFit, fit_line
from scaling.jsonable import fields_of, jsonable
from scaling.laws.base import Law
from scaling.translation import tr
from scaling.units import format_flops

TOLERATED = 0.25  # of the half-width; a nominal 95 % Gaussian interval off by this much covers 92 %
EXTRAPOLATIONS = (1.0, 10.0, 1000.0)  # times the largest budget


@dataclass(frozen=True, kw_only=True)
class BiasAt:
    """Bias of N* at one budget and the half-width of the interval there, both in ln N*."""

    flops: float
    ln_params: float
    half_width: float  # inf where the line has no degree of freedom

    @property
    def n_params(self) -> float:
        """As a fraction: -0.05 says that Approach 2 finds 5 % too few parameters on this grid."""
        return math.expm1(min(self.ln_params, 700.0))

    @property
    def share(self) -> float:
        """|bias| over half-width of the interval."""
        return _share(self.ln_params, self.half_width)


@dataclass(frozen=True, kw_only=True)
class GridBias:
    """Bias of this valley on this grid, if the surface is right. `holds` is False above a quarter of a half-width."""

    valley: ValleyKind
    params_exponent: float  # found minus true, without noise
    exponent_half_width: float
    at: tuple[BiasAt, ...]

    @property
    def worst_share(self) -> float:
        return max(_share(self.params_exponent, self.exponent_half_width), *(b.share for b in self.at))

    @property
    def holds(self) -> bool:
        return self.worst_share <= TOLERATED

    @property
    def statement(self) -> str:
        largest = self.at[0]
        found = tr(
            "on this grid the {valley} moves the exponent of N* by {params_exponent:+.4f} and N* at {flops} "
            "FLOPs by {n_params:+.2g} %, up to {worst_share:.2g} of an interval's half-width",
            valley=valley_kind(self.valley),
            params_exponent=self.params_exponent,
            flops=format_flops(largest.flops),
            n_params=100 * largest.n_params,
            worst_share=self.worst_share,
        )
        if self.holds:
            return tr("{found}: the intervals hold, as far as the fitted surface is right", found=found)
        ways = tr(
            "--valley quartic (in Python valley=), or fit Approach 3: --method parametric (in Python fit_parametric)"
        )
        return tr("{found}: the intervals do not hold. Take another valley, {ways}", found=found, ways=ways)

    def to_dict(self) -> dict[str, Any]:
        at = [{"flops": b.flops, "bias": b.n_params, "share_of_half_width": b.share} for b in self.at]
        return fields_of(self, leave_out=("exponent_half_width", "at"), also=("statement",)) | {
            "n_params_fraction": jsonable(at),
            "worst_share_of_half_width": jsonable(self.worst_share),
            "interval_holds": self.holds,
        }


def estimate_grid_bias(
    law: Law, groups: Sequence[BudgetRuns], valley: ValleyKind, params_line: PowerLawFit
) -> GridBias | None:
    """Approach 2 without noise on `law` at the N and D of `groups`, against the law's own minima.

    None where a noise-free valley has no minimum at all: the surface and the runs then disagree too much to tell.
    """
    found, true = [], []
    for group in groups:
        exact = replace(group, loss=group.shape(law)(group.x))
        minimum = fit_budget_valley(exact, valley, law, level=None, min_runs=3).minimum
        if not math.isfinite(minimum):
            return None
        found.append(float(group.ln_params(np.asarray(minimum))))
        true.append(float(group.ln_params(np.asarray(group.surface_minimum(law)))))
    ln_c = np.log([g.flops for g in groups])
    wrong, right = fit_line(ln_c, np.array(found)), fit_line(ln_c, np.array(true))
    t = params_line.line.half_width_factor(params_line.level)
    top = float(ln_c.max())
    return GridBias(
        valley=valley,
        params_exponent=wrong.slope - right.slope,
        exponent_half_width=_half_width(t, math.sqrt(params_line.line.slope_variance)),
        at=tuple(_bias_at(top + math.log(f), wrong, right, params_line.line, t) for f in EXTRAPOLATIONS),
    )


def _bias_at(ln_c: float, wrong: Line, right: Line, line: Line, t: float) -> BiasAt:
    return BiasAt(
        flops=math.exp(ln_c),
        ln_params=float(wrong.at(ln_c) - right.at(ln_c)),
        half_width=_half_width(t, float(line.standard_error_at(ln_c))),
    )


def _half_width(t: float, error: float) -> float:
    return t * error if math.isfinite(t) else math.inf


def _share(bias: float, half_width: float) -> float:
    if bias == 0 or math.isinf(half_width):
        return 0.0
    return abs(bias) / half_width if half_width > 0 else math.inf
