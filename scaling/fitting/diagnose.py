"""What else can be asked of a fit that costs a second of imports: `scaling fit --diagnostics`.

Use which when: lines through optima (Approaches 1 and 2) have the diagnostics of a straight line; a law fitted to
losses has a robust objective, HC2 errors and refits without single runs already, and here its residuals are asked
whether their noise is equal. Cook's distance and DFBETAS are of least squares and do not apply to it.
Sources: Breusch and Pagan 1979, with Koenker's 1981 studentising; Harvey 1976 (noise as a power).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from scaling.blocks import Blocks, Fields, Shown, Text
from scaling.errors import UsageError, shown
from scaling.fitting.line_diagnostics import UNEQUAL, LinesDiagnostics, diagnose_lines
from scaling.fitting.power_law import PowerLawFit, fit_power_law
from scaling.fitting.prediction import predicted_loss
from scaling.fitting.sections import NOISE_FREE, objective_name
from scaling.fitting.summary import FitFace
from scaling.fitting.surface.diagnostics import FTest, robust_scale
from scaling.jsonable import fields_of
from scaling.runs.table import require_runs
from scaling.translation import tr
from scaling.units import format_percent

if TYPE_CHECKING:
    from scaling.fitting.envelope.fit import EnvelopeFit
    from scaling.fitting.isoflop.result import IsoflopFit
    from scaling.fitting.results import Estimate, Fit
    from scaling.fitting.surface.influence import RunInfluence
    from scaling.fitting.surface.result import Alternative, ParametricFit
    from scaling.runs import Runs

Array = NDArray[np.float64]

LETTERS = {"flops": "C", "n_params": "N", "n_tokens": "D"}
SMALLEST = 1e-12  # of ln loss: residuals below are rounding and have no logarithm to speak of


def diagnose_fit(fit: Fit, runs: Runs) -> LinesDiagnostics | ResidualDiagnostics:
    """Robust and heteroscedasticity-consistent lines and influence, or what of it applies to a fitted loss.

    Args:
        fit: of any approach.
        runs: the table that it was fitted to.
    Raises:
        UsageError: the runs lack an input of the law.
    Example:
        >>> import scaling
        >>> from scaling.reference.example import example_runs
        >>> found = diagnose_fit(scaling.fit_isoflop(example_runs()), example_runs())
        >>> round(found.lines[0].robust.exponent.value, 2)
        0.52
    """
    require_runs(runs, "diagnose_fit")
    if not isinstance(fit, FitFace):
        raise UsageError(f"diagnose_fit takes a fit, such as fit_isoflop(runs), got {shown(fit)}.")
    if fit.method in ("isoflop", "envelope"):
        return diagnose_lines(cast("IsoflopFit | EnvelopeFit", fit))
    return diagnose_residuals(fit, runs)


@dataclass(frozen=True, kw_only=True)
class ResidualDiagnostics(Shown):
    """Of ln(fit) - ln(loss): is the noise equal, and what hangs on the objective and on single runs?

    equal_noise: Breusch-Pagan test against the logs of the law's inputs. scatter: |residual| as a power of FLOPs (of
    the one quantity the table has). kappa, other and influential are of a Chinchilla law only.
    """

    n_runs: int
    refused: str = ""
    equal_noise: FTest | None = None
    scatter: PowerLawFit | None = None
    scale: str = "flops"  # what the scatter is a power of
    kappa: float | None = None  # HC2 over classical error of the exponent of N*
    params_exponent: Estimate | None = None
    other: Alternative | None = None
    influential: RunInfluence | None = None

    @property
    def is_equal(self) -> bool:
        """Neither test finds that the noise depends on the inputs, each with a chance of 5 % to err."""
        is_independent = self.equal_noise is None or self.equal_noise.p_value >= UNEQUAL
        return is_independent and (self.scatter is None or not _is_sloped(self.scatter))

    def summary(self) -> Blocks:
        """Whether the noise is equal, then what hangs on it."""
        if self.refused:
            return (Text(self.refused),)
        fields = [
            _equal_said(self.equal_noise),
            _scatter_said(self.scatter, LETTERS[self.scale]),
            _kappa_said(self.kappa),
        ]
        fields += [_robust_said(self.params_exponent, self.other)]
        fields += [_influence_said(self.params_exponent, self.influential)]
        return Text(self.verdict()), Fields([f for f in fields if f is not None])

    def verdict(self) -> str:
        """For a first screen: does the exponent stand, and is the noise equal?"""
        return self.refused or " ".join(filter(None, (self._exponent_verdict(), self._noise_verdict())))

    def _exponent_verdict(self) -> str:
        a, one = self.params_exponent, self.influential
        if a is None or a.interval is None:
            return ""
        said = []
        if self.other and not a.interval.contains(self.other.params_exponent):
            said.append(
                tr(
                    "Under another objective the exponent a of N* leaves its interval: runs far off decide it."
                )
            )
        if one and not a.interval.contains(a.value + one.params_exponent_shift):
            said.append(
                tr("Without run {name} a leaves its interval: it rests on that one.", name=one.run_id)
            )
        return " ".join(said) or tr(
            "The exponent a of N* holds: another objective and refits without any one run stay in its interval."
        )

    def _noise_verdict(self) -> str:
        if self.is_equal:
            return tr("Nothing speaks against equal noise.")
        if self.kappa is None:
            return tr("The noise is not equal; the intervals assume that it is.")
        return tr(
            "The noise is not equal: the error of a is {kappa:.2f} times that of equal noise, and its interval knows.",
            kappa=self.kappa,
        )

    def to_dict(self) -> dict[str, Any]:
        """The `diagnostics` of `scaling fit --diagnostics --json` of a law of the loss."""
        return {"kind": "residuals"} | fields_of(self)


def diagnose_residuals(fit: Fit, runs: Runs) -> ResidualDiagnostics:
    """Diagnostics of a law of the loss."""
    left_out = set(fit.excluded)
    used = runs.select(np.array([name not in left_out for name in runs.run_id]))
    residual = np.log(predicted_loss(fit.law, used) / used.loss)
    if robust_scale(residual, 0) < NOISE_FREE:
        refused = tr("the runs lie on the law to all their digits: there is no noise to look at.")
        return ResidualDiagnostics(n_runs=len(used), refused=refused)
    own = _of_chinchilla(cast("ParametricFit", fit)) if fit.method == "parametric" else {}
    return ResidualDiagnostics(
        n_runs=len(used),
        scale=_scale_of(used),
        equal_noise=equal_noise_test(residual, _log_inputs(fit, used)),
        scatter=_scatter(residual, used, fit.level),
        **own,
    )


def equal_noise_test(residual: Array, terms: Array) -> FTest | None:
    """Does the size of the residuals (n,) depend on the terms (n, k)? None with no degree of freedom left.

    Source: Breusch and Pagan 1979, Koenker 1981: squared residuals regressed on the terms (statsmodels).
    """
    from statsmodels.stats.diagnostic import het_breuschpagan

    n, k = terms.shape
    if n < k + 2:
        return None
    _, _, f, p = het_breuschpagan(residual, np.column_stack([np.ones(n), terms]))
    return FTest(f=float(f), dof_numerator=k, dof_denominator=n - k - 1, p_value=float(p))


def _log_inputs(fit: Fit, runs: Runs) -> Array:
    """(n, k) ln of each input that varies, centred."""
    columns = runs.columns()
    logs = [np.log(columns[i.name]) for i in fit.law.family.inputs if np.min(columns[i.name]) > 0]
    return np.column_stack([v - v.mean() for v in logs if np.ptp(v) > 0])


def _scatter(residual: Array, runs: Runs, level: float) -> PowerLawFit | None:
    """|residual| = k x^s. Its exponent is consistent for the noise's, its factor is not (Harvey 1976)."""
    x = runs.columns()[_scale_of(runs)]
    known = np.abs(residual) > SMALLEST
    if len(np.unique(x[known])) < 3:
        return None
    return fit_power_law(x[known], np.abs(residual[known]), level=level)


def _is_sloped(scatter: PowerLawFit) -> bool:
    """Whether the scatter grows or shrinks beyond chance, whatever the level of the fit's intervals."""
    error = scatter.exponent.standard_error or math.inf
    return abs(scatter.exponent.value) > scatter.line.half_width_factor(1 - UNEQUAL) * error


def _scale_of(runs: Runs) -> str:
    """The column that tells how large a run is: of a table of one quantity that one."""
    return next(name for name in ("flops", "n_tokens", "n_params") if name not in runs.absent)


def _of_chinchilla(fit: ParametricFit) -> dict[str, Any]:
    """What Approach 3 has measured already: HC2 errors, the other objective, refits without single runs."""
    robust = "log_least_squares" if fit.objective.name == "huber" else "huber"
    return {
        "kappa": fit.kappa,
        "params_exponent": fit.params_exponent,
        "other": next((o for o in fit.alternatives if o.objective.name == robust), None),
        "influential": fit.influence.runs[0] if fit.influence and fit.influence.runs else None,
    }


# --- in words: a name and a value each, or None where it is not known ---


def _equal_said(test: FTest | None) -> tuple[str, str] | None:
    if test is None:
        return None
    said = tr("Breusch-Pagan test of equal noise over the inputs: p = {p:.2g}", p=test.p_value)
    return tr("equal noise"), said


def _scatter_said(scatter: PowerLawFit | None, letter: str) -> tuple[str, str] | None:
    if scatter is None:
        return None
    s, ends = scatter.exponent, scatter.exponent.interval
    assert ends is not None  # three sizes and more
    said = tr(
        "the runs scatter about the law as {letter}^{s:.2f} ({level}: {low:.2f} to {high:.2f})",
        letter=letter,
        s=s.value,
        level=format_percent(scatter.level),
        low=ends.low,
        high=ends.high,
    )
    return tr("scatter"), said


def _kappa_said(kappa: float | None) -> tuple[str, str] | None:
    return (
        None
        if kappa is None
        else (tr("HC2 errors"), tr("of a: {kappa:.2f} times the classical one", kappa=kappa))
    )


def _robust_said(a: Estimate | None, other: Alternative | None) -> tuple[str, str] | None:
    if a is None or other is None:
        return None
    said = tr(
        "a = {other:.4f} by {objective}, {here:.4f} here",
        other=other.params_exponent,
        objective=objective_name(other.objective),
        here=a.value,
    )
    return tr("other objective"), said


def _influence_said(a: Estimate | None, one: RunInfluence | None) -> tuple[str, str] | None:
    if a is None or one is None:
        return tr("influence"), tr("of single runs is measured for a Chinchilla law with intervals alone")
    said = tr(
        "run {name} (row {row}) moves a most: {without:.4f} without it; leverage {leverage:.2f}, residual "
        "{residual:+.1f} robust deviations",
        name=one.run_id,
        row=one.row,
        without=a.value + one.params_exponent_shift,
        leverage=one.leverage,
        residual=one.residual,
    )
    return tr("influence"), said
