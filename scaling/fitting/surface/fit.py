"""Approach 3: fit L = E + A/N^alpha + B/D^beta to runs, with intervals that cover.

Use which objective when:

- `huber` (default): Huber on log loss, threshold 1.345 x the robust scale of the least-squares fit. Loses 1-3 % of
  precision under Gaussian noise, gains 14-49 % with heavy tails. `huber_delta=1e-3` is Hoffmann et al.'s.
- `log_least_squares`: Gaussian noise of equal relative size.
- `least_squares`: squares of the loss itself (what VPNLS and simple-scaling-laws do).
- `asymmetric`: over-prediction costs ten times as much; fits the lower edge of the runs, not their middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np

from scaling.arguments import is_one_of, require_flags, require_level, require_whole
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, UsageError, shown
from scaling.fitting.fixed import check_fixed, condition_text
from scaling.fitting.results import Estimate, provenance_of
from scaling.fitting.surface.analysis import COEFFICIENTS, Analysis, analyse, plain_estimates
from scaling.fitting.surface.bootstrap import Bootstrap, bootstrap
from scaling.fitting.surface.chinchilla import centre
from scaling.fitting.surface.findings import assumption, collect_findings, coordinates_at_bound
from scaling.fitting.surface.intervals import LowerMinimum, mirrored
from scaling.fitting.surface.optimum import (
    Certificate,
    ObjectiveName,
    Optimum,
    check_objective,
    find_optimum,
)
from scaling.fitting.surface.problem import Array
from scaling.fitting.surface.result import Alternative, ParametricFit
from scaling.fitting.surface.steps import N_COEFFICIENTS
from scaling.fitting.surface.uncertainty import law_uncertainty, with_uncertainty
from scaling.laws.chinchilla import FAMILY as CHINCHILLA
from scaling.laws.chinchilla import ChinchillaLaw
from scaling.runs import Runs
from scaling.runs.rows import plain
from scaling.runs.table import require_runs
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_tokens

__all__ = ["Bootstrap", "ParametricFit", "bootstrap", "fit_parametric", "law_uncertainty", "with_uncertainty"]

_MAX_RESTARTS = 3
MIN_LEVELS = 3  # two sizes fix the ratio A/N1^alpha : A/N2^alpha, not both A and alpha
SAME_LEVEL = 0.02  # sizes or token counts within 2 % are one level
ONE_LINE = 1.25  # a table whose D/N (or N D) stays within this factor is one line in (ln N, ln D)


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
        law: "chinchilla"; for any other family see scaling.fitting.surface.general_fit.fit_law.
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
    if not is_one_of(law, ("chinchilla",)):
        raise UsageError(
            f"fit_parametric fits the law 'chinchilla', not {shown(law)}; use fit_law(runs, family) for another."
        )
    check_objective(objective, huber_delta)
    require_level(level)
    require_whole(seed=seed)
    require_whole(least=2, or_none=True, n_resamples=n_resamples)
    require_flags(intervals=intervals)
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
            return with_uncertainty(_assemble(found), seed=seed)
        except LowerMinimum as lower:  # no start had led there, but a profile passed it
            starts = np.vstack([lower.theta, data.starts()])
            optimum = find_optimum(data, objective, huber_delta, starts=starts)
    raise FitError(
        f"{runs.source}: the objective has minima next to each other and none was certified. The runs hardly "
        "determine the law: add runs at other n_params and n_tokens, or call with intervals=False."
    )


def require_identifiable(runs: Runs, fixed: Collection[str] = ()) -> None:
    """Raise FitError where the five coefficients cannot follow from these runs, naming what to add.

    A coefficient in `fixed` is held and need not follow.
    Source: for one ratio D/N or one budget the two power laws are functions of one variable and trade off freely
    (Hoffmann et al. 2022 vary both); two sizes leave alpha open.
    """
    where = runs.source
    runs.require(("n_params", "n_tokens"), "the chinchilla law")
    runs.require_losses()
    n_fitted = N_COEFFICIENTS - len(fixed)
    if len(runs) <= n_fitted:
        raise FitError(
            f"{where} has {counted(len(runs), 'run')} and the law has {n_fitted} coefficients; a fit needs at "
            f"least {n_fitted + 1}, an interval worth having 20 or more. Add runs at other n_params and n_tokens."
        )
    ln_loss = np.log(runs.loss)
    if float(np.ptp(ln_loss)) < 1e-9:
        raise FitError(
            f"{where}: all {len(runs)} losses equal {runs.loss[0]:g}; there is nothing to fit. Check the loss column."
        )
    of_params, of_tokens = (len({*term} & {*fixed}) for term in (("A", "alpha"), ("B", "beta")))
    _require_levels(runs.n_params, where, "n_params", format_params, MIN_LEVELS - of_params)
    _require_levels(runs.n_tokens, where, "n_tokens", format_tokens, MIN_LEVELS - of_tokens)
    # else one term is known whole, and the other is a function of one quantity
    if max(of_params, of_tokens) < 2:
        _require_two_directions(runs)


def _require_levels(
    values: Array, where: str, column: str, formatter: Callable[[float], str], least: int
) -> None:
    levels = count_levels(values)
    if levels >= least:
        return
    spread = (
        f"{formatter(values.min())} to {formatter(values.max())}" if levels > 1 else formatter(values.max())
    )
    exponent = "alpha" if column == "n_params" else "beta"
    raise FitError(
        f"{where} has {levels} distinct {column} ({spread}); {exponent} needs at least {least}. Add runs at "
        f"another {column}, best a factor of 3 or more beyond these."
    )


def count_levels(values: Array) -> int:
    """Number of values more than 2 % apart, counted up to three."""
    ordered = np.sort(np.log(values))
    levels, last = 1, ordered[0]
    while levels < MIN_LEVELS:
        nearby = int(np.searchsorted(ordered, last + SAME_LEVEL, side="right"))
        if nearby >= len(ordered):
            break
        levels, last = levels + 1, ordered[nearby]
    return levels


def _require_two_directions(runs: Runs) -> None:
    ln_params, ln_tokens = np.log(runs.n_params), np.log(runs.n_tokens)
    ratio, product = ln_tokens - ln_params, ln_tokens + ln_params
    if float(np.ptp(ratio)) < math.log(ONE_LINE):
        middle = math.exp(float(np.median(ratio)))
        fewer, more = plain(middle / 4, 2), plain(middle * 4, 2)
        raise FitError(
            f"{runs.source}: every run has about {plain(middle)} tokens per parameter, so N and D cannot be told "
            f"apart. Add runs at {fewer} and {more} tokens per parameter, or fit a power law in compute: --law "
            "flops_power_law (in Python fit_law(runs, 'flops_power_law')).",
            remedies=("--law flops_power_law",),
        )
    if float(np.ptp(product)) < math.log(ONE_LINE):
        budget = float(np.median(runs.flops))
        raise FitError(
            f"{runs.source}: every run has the budget {format_flops(budget)} FLOPs; how loss falls with compute "
            f"cannot be seen. Add runs at {format_flops(budget / 10)} or {format_flops(budget * 10)} FLOPs."
        )
    centred = np.stack([ln_params - ln_params.mean(), ln_tokens - ln_tokens.mean()])
    smallest = math.sqrt(max(float(np.linalg.eigvalsh(centred @ centred.T / len(runs))[0]), 0.0))
    if smallest < math.log(ONE_LINE) / 10:
        raise FitError(
            f"{runs.source}: n_params and n_tokens lie on one line in log-log (spread {smallest:.2g} across it), so "
            "alpha and beta cannot be told apart. Add runs with more or fewer tokens at the same sizes."
        )


def _assemble(analysis: Analysis) -> ParametricFit:
    optimum, runs, spread = analysis.optimum, analysis.runs, analysis.spread
    plain = plain_estimates(optimum)
    main = analysis.estimates[spread.main] if spread else plain
    shown = {
        name: replace(
            main[name], standard_error=analysis.estimates[analysis.errors_method][name].standard_error
        )
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
            provenance=provenance_of(
                runs,
                FLOPS_PER_PARAM_TOKEN * runs.n_params * runs.n_tokens,
                name=tr("fit of {source}", source=runs.source),
                source=tr(
                    "{runs} of {source}, Approach 3", runs=tr("{n} runs", n=len(runs)), source=runs.source
                ),
                note=condition_text(analysis.fixed),
                status="fitted here",
            ),
        ),
        objective=optimum.objective(),
        n_runs=len(runs),
        level=analysis.level,
        certificate=_certificate(analysis),
        params_exponent=shown["params_exponent"],
        tokens_exponent=mirrored(shown["params_exponent"], 1.0),
        estimates={name: shown[name] for name in COEFFICIENTS},
        interval_method=_method_name(main),
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
    values = optimum.data.coefficients(optimum.theta)
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


def _method_name(estimates: Mapping[str, Estimate]) -> str:
    known = [
        e.interval for e in (estimates["params_exponent"], *estimates.values()) if e.interval is not None
    ]
    return known[0].method if known else "none"
