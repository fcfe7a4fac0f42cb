"""Approach 3: fit L = E + A/N^alpha + B/D^beta to runs, with intervals that cover.

Use which objective when:

- `huber` (default): Huber on log loss, threshold 1.345 x the robust scale of the least-squares fit. Loses 1-3 % of
  precision under Gaussian noise, gains 14-49 % with heavy tails. `huber_delta=1e-3` is Hoffmann et al.'s.
- `log_least_squares`: Gaussian noise of equal relative size.
- `least_squares`: squares of the loss itself (what VPNLS and simple-scaling-laws do).
- `asymmetric`: over-prediction costs ten times as much; fits the lower edge of the runs, not their middle.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, UsageError
from scaling.fitting.fixed import check_fixed, condition_text
from scaling.fitting.parametric.analysis import COEFFICIENTS, Analysis, analyse, plain_estimates
from scaling.fitting.parametric.bootstrap import Bootstrap, bootstrap
from scaling.fitting.parametric.findings import assumption, collect_findings, coordinates_at_bound
from scaling.fitting.parametric.identifiable import require_identifiable
from scaling.fitting.parametric.intervals import LowerMinimum, mirrored
from scaling.fitting.parametric.optimum import (
    Certificate,
    ObjectiveName,
    Optimum,
    check_objective,
    find_optimum,
)
from scaling.fitting.parametric.result import Alternative, ParametricFit
from scaling.fitting.parametric.starts import starting_points
from scaling.fitting.parametric.surface import centre, to_coefficients
from scaling.fitting.parametric.uncertainty import law_uncertainty, with_uncertainty
from scaling.fitting.results import Estimate
from scaling.laws.base import Provenance
from scaling.laws.chinchilla import FAMILY as CHINCHILLA
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.runs import Runs
from scaling.runs.table import require_runs

__all__ = ["Bootstrap", "ParametricFit", "bootstrap", "fit_parametric", "law_uncertainty", "with_uncertainty"]

_MAX_RESTARTS = 3


def fit_parametric(
    runs: Runs,
    law: str = "chinchilla",
    *,
    objective: ObjectiveName = "huber",
    huber_delta: float | None = None,
    level: float = 0.95,
    intervals: bool = True,
    n_resamples: int | None = None,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
) -> ParametricFit:
    """Fit the Chinchilla law to final losses of runs.

    Args:
        runs: final losses at several n_params and several n_tokens; N as runs.convention counts it.
        law: "chinchilla"; for any other family see scaling.fitting.generic.fit.fit_law.
        objective: what is minimised; see the top of this file.
        huber_delta: threshold in log loss; None = 1.345 x robust scale. 1e-3 is Hoffmann et al.'s.
        level: of the intervals, 0.95.
        intervals: False leaves out intervals, tests, alternatives and influence: the certified point fit only.
        n_resamples: also bootstrap that many resamples of the runs (of whole trunks, where rows share one): its
            standard errors are shown and its percentile intervals stand beside the main ones.
        seed: of the bootstrap, which otherwise runs only where the threshold lies far below the noise.
        fixed: coefficients to hold, {"E": 1.6}: the others are fitted, and their intervals hold given these.
    Returns:
        ParametricFit: law, certificate, intervals by the main method, tests, alternatives, influence, findings.
    Raises:
        FitError: the runs cannot determine the coefficients; says what to add.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, sec. 3.3 (form, Huber on log loss). Ours differs: threshold tied
        to the noise, exact optimum, intervals from profiles.
    Example:
        >>> import numpy as np
        >>> N, D = (g.ravel() for g in np.meshgrid([1e8, 4e8, 2e9], [2e9, 1e10, 6e10]))
        >>> runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=1.69 + 406.4 / N**0.34 + 410.7 / D**0.28)
        >>> round(fit_parametric(runs).law.alpha, 6)
        0.34
    """
    require_runs(runs, "fit_parametric")
    if law != "chinchilla":
        raise UsageError(
            f"fit_parametric fits the law 'chinchilla', not {law!r}; use fit_law(runs, family) for another."
        )
    check_objective(objective, huber_delta)
    if not 0 < level < 1:
        raise UsageError(f"the level of the intervals lies between 0 and 1, got {level}.")
    held = check_fixed(CHINCHILLA, fixed, runs)
    require_identifiable(runs, held)
    data = centre(runs.n_params, runs.n_tokens, runs.loss, fixed=held)
    optimum = find_optimum(data, objective, huber_delta)
    for _ in range(_MAX_RESTARTS):
        try:
            found = analyse(
                optimum,
                runs,
                level=level,
                intervals=intervals,
                seed=seed,
                n_resamples=n_resamples,
                fixed=held,
            )
            return _assemble(found)
        except LowerMinimum as lower:  # no start had led there, but a profile passed it
            starts = np.vstack([lower.theta, starting_points(data)])
            optimum = find_optimum(data, objective, huber_delta, starts=starts)
    raise FitError(
        f"{runs.source}: the objective has minima next to each other and none was certified. The runs hardly "
        "determine the law: add runs at other n_params and n_tokens, or call with intervals=False."
    )


def _assemble(analysis: Analysis) -> ParametricFit:
    optimum, runs, spread = analysis.optimum, analysis.runs, analysis.spread
    plain = plain_estimates(optimum)
    main = analysis.estimates[spread.main] if spread else plain
    shown = {
        name: _with_error(main[name], analysis.estimates[analysis.errors_method][name])
        if analysis.errors_method
        else main[name]
        for name in plain
    }
    # a value that was held is printed as it was given, not as the solver's scaling leaves it
    shown |= {name: Estimate(value=value) for name, value in analysis.fixed.items()}
    values = {name: shown[name].value for name in COEFFICIENTS}
    return ParametricFit(
        law=ChinchillaLaw(
            E=values["E"],
            A=values["A"],
            B=values["B"],
            alpha=values["alpha"],
            beta=values["beta"],
            provenance=_provenance(runs, analysis.fixed),
        ),
        objective=optimum.objective(),
        n_runs=len(runs),
        level=analysis.level,
        certificate=_certificate(analysis),
        params_exponent=shown["params_exponent"],
        tokens_exponent=mirrored(shown["params_exponent"], 1.0),
        estimates={name: shown[name] for name in COEFFICIENTS},
        method=_method_name(main),
        standard_errors_method=analysis.errors_method or "none",
        statement=assumption(analysis),
        beside=_beside(analysis),
        residuals=analysis.residuals,
        lack_of_fit=analysis.lack_of_fit,
        budget_effects=analysis.budget_effects,
        n_groups=analysis.groups.n_groups if analysis.groups else 0,
        kappa=analysis.kappa,
        largest_leverage=float(analysis.linear.leverage.max()),
        at_bound=coordinates_at_bound(analysis),
        alternatives=tuple(_alternative(a) for a in analysis.alternatives),
        influence=analysis.influence,
        findings=tuple(collect_findings(analysis)),
        fixed=analysis.fixed,
        optimum=optimum,
        spread=spread,
    )


def _certificate(analysis: Analysis) -> Certificate:
    optimum = analysis.optimum
    return Certificate(
        converged=optimum.converged,
        decrement=max(optimum.decrement, 0.0),
        n_starts=optimum.n_starts,
        n_agreeing=optimum.n_agreeing,
        n_steps=optimum.n_steps,
        condition=analysis.linear.condition,
    )


def _alternative(optimum: Optimum) -> Alternative:
    values = to_coefficients(optimum.data, optimum.theta)
    return Alternative(
        objective=optimum.objective(), coefficients={name: float(values[name]) for name in COEFFICIENTS}
    )


def _beside(analysis: Analysis) -> dict[str, dict[str, Estimate]]:
    """Intervals by the methods that are not the main one, exponents of tokens included."""
    main = analysis.spread.main if analysis.spread else None
    return {
        method: {**found, "tokens_exponent": mirrored(found["params_exponent"], 1.0)}
        for method, found in analysis.estimates.items()
        if method != main
    }


def _with_error(estimate: Estimate, source: Estimate) -> Estimate:
    return Estimate(value=estimate.value, standard_error=source.standard_error, interval=estimate.interval)


def _method_name(estimates: Mapping[str, Estimate]) -> str:
    known = [
        e.interval for e in (estimates["params_exponent"], *estimates.values()) if e.interval is not None
    ]
    return known[0].method if known else "none"


def _provenance(runs: Runs, fixed: Mapping[str, float]) -> Provenance:
    flops = FLOPS_PER_PARAM_TOKEN * runs.n_params * runs.n_tokens  # what the law's budgets count
    ratio = runs.flops / flops
    columns = {"flops": flops, "n_params": runs.n_params, "n_tokens": runs.n_tokens}
    return Provenance(
        name=f"fit of {runs.source}",
        source=f"{len(runs)} runs of {runs.source}, Approach 3",
        params_convention=runs.convention.params,
        flops_convention=runs.convention.flops,
        flops_over_6nd=(float(ratio.min()), float(ratio.max())),
        loss_unit=runs.convention.loss_unit,
        fitted_range={name: (float(v.min()), float(v.max())) for name, v in columns.items()},
        note=condition_text(fixed),
        status="fitted here",
    )
