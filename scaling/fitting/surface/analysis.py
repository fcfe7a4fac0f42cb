"""Everything around an Approach 3 optimum: which interval is the right one, the others beside it, and the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from scaling.fitting.results import Estimate
from scaling.fitting.surface import diagnostics, groups, resample
from scaling.fitting.surface.diagnostics import NOISE_FREE, FTest, ResidualSummary, lies_on_law
from scaling.fitting.surface.groups import Groups
from scaling.fitting.surface.influence import Influence, measure_influence
from scaling.fitting.surface.intervals import Method, Spread
from scaling.fitting.surface.optimum import HUBER_HOFFMANN, ObjectiveName, Optimum, find_optimum
from scaling.fitting.surface.quantities import values_of
from scaling.fitting.surface.sandwich import Linearisation, linearise
from scaling.runs import Runs

COEFFICIENTS = ("E", "A", "B", "alpha", "beta")
DELTA_BELOW_NOISE = 1.0  # x robust scale: a fixed threshold below this makes profiles under-cover
# p of the F test of budget effects below which the jackknife is the main interval: at 5 %
# designs of 20-35 runs miss a shared error too often (benchmarks/coverage.py); 10 % widens by 3 % where there is none
BUDGETS_DIFFER = 0.1
DEFAULT_RESAMPLES, MOST_CELLS = 4000, 20_000_000  # resamples x runs of the default bootstrap
_USUAL: tuple[tuple[ObjectiveName, float | None], ...] = (
    ("huber", None),
    ("huber", HUBER_HOFFMANN),
    ("log_least_squares", None),
    ("least_squares", None),
    ("asymmetric", None),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """What is known about a fit. Without intervals (noise-free runs, or not asked for) most of it is empty."""

    runs: Runs
    optimum: Optimum
    linear: Linearisation
    residuals: ResidualSummary
    level: float
    spread: Spread | None = None
    estimates: Mapping[Method, Mapping[str, Estimate]] = field(default_factory=dict)  # by interval method
    groups: Groups | None = None  # what the jackknife leaves out
    lack_of_fit: FTest | None = None
    budget_effects: FTest | None = None
    kappa: float | None = None
    alternatives: tuple[Optimum, ...] = ()
    influence: Influence | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)  # coefficients held

    @property
    def noise_free(self) -> bool:
        return self.residuals.robust_scale < NOISE_FREE

    @property
    def on_law(self) -> bool:
        """Whether the rounding of the printed losses explains every residual: tests and warnings would weigh it."""
        return lies_on_law(self.runs.loss, self.residuals.robust_scale, self.residuals.largest)

    @property
    def errors_method(self) -> Method | None:
        """Whose standard errors are shown: the bootstrap's where there is one, else the main method's."""
        if self.spread is None:
            return None
        return "bootstrap" if self.spread.bootstrap is not None else self.spread.main

    @property
    def delta_below_noise(self) -> bool:
        return _below_noise(self.optimum, self.residuals.robust_scale)


def analyse(
    optimum: Optimum,
    runs: Runs,
    *,
    level: float,
    intervals: bool,
    seed: int,
    n_resamples: int | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Analysis:
    """Tests, intervals by every method these runs allow, usual alternatives and influence."""
    bare = replace(bare_analysis(optimum, runs, level=level), fixed=fixed or {})
    linear = bare.linear
    if bare.noise_free or not intervals:
        return bare
    spread, effects = choose_spread(bare, seed=seed, n_resamples=n_resamples)
    quantities = optimum.data.asked()
    estimates = {
        method: dict(zip([q.name for q in quantities], spread.estimates(quantities, method), strict=True))
        for method in spread.available()
    }
    kappa = float(spread.errors(quantities[-1:]).kappa[0])
    tested = not bare.on_law
    return replace(
        bare,
        spread=spread,
        estimates=estimates,
        groups=spread.groups,
        lack_of_fit=diagnostics.lack_of_fit_test(linear) if tested else None,
        budget_effects=effects if tested else None,
        kappa=kappa if np.isfinite(kappa) else None,
        alternatives=_usual_alternatives(optimum),
        influence=measure_influence(linear, runs, adaptive=optimum.adaptive),
    )


def bare_analysis(optimum: Optimum, runs: Runs, *, level: float) -> Analysis:
    """The optimum and its residuals, before any interval."""
    linear = linearise(optimum.data, optimum.theta, optimum.penalty)
    data, residual = optimum.data, linear.log_residual
    cells = data.cells
    pure = None if cells is None else diagnostics.pure_error(*cells, data.ln_loss, residual, data.n_fitted)
    residuals = diagnostics.summarise_residuals(residual, data.n_fitted, pure, runs)
    return Analysis(runs=runs, optimum=optimum, linear=linear, residuals=residuals, level=level)


def plain_estimates(optimum: Optimum) -> dict[str, Estimate]:
    """Values alone."""
    values = optimum.data.coefficients(optimum.theta)
    named = {name: float(values[name]) for name in optimum.data.family.names}
    exponent = optimum.data.exponent()
    if exponent is not None:
        named["params_exponent"] = exponent.show(float(values_of([exponent], optimum.theta[None])[0, 0]))
    return {name: Estimate(value=value) for name, value in named.items()}


def choose_spread(
    bare: Analysis, *, seed: int, n_resamples: int | None = None
) -> tuple[Spread, FTest | None]:
    """The jackknife, the bootstrap where nothing else holds, which is the main method, and the test behind that.

    `n_resamples` asks for a bootstrap of that many beside whatever is the main method.
    """
    runs = bare.runs
    by_trunk = groups.trunks(runs)
    by_budget = None if "flops" in runs.absent else groups.budgets(runs)
    effects = None if by_budget is None else diagnostics.group_effects_test(bare.linear, by_budget)
    optimum = bare.optimum
    args = (optimum.data, optimum.theta, optimum.penalty)
    left_out = by_trunk or by_budget
    leave_out = left_out is not None and left_out.enough and _affordable(left_out.n_groups, optimum.data.n)
    jackknife = resample.jackknife(*args, left_out) if leave_out and left_out is not None else None
    untrusted = _below_noise(optimum, bare.residuals.robust_scale) or optimum.name == "asymmetric"
    needed = untrusted or (by_trunk is not None and jackknife is None)
    n_draws = n_resamples or int(np.clip(MOST_CELLS // optimum.data.n, 200, DEFAULT_RESAMPLES))
    drawn = needed or n_resamples is not None
    bootstrap = resample.pairs_bootstrap(*args, n_draws, seed, by_trunk) if drawn else None
    effects_seen = effects is not None and effects.p_value < BUDGETS_DIFFER
    main: Method = "bootstrap" if needed else "profile"
    if jackknife is not None and (by_trunk is not None or effects_seen):
        main = "jackknife"
    spread = Spread(
        fit=bare.linear,
        objective=optimum.value,
        level=bare.level,
        main=main,
        groups=left_out,
        jackknife=jackknife,
        bootstrap=bootstrap,
    )
    return spread, effects


def _affordable(n_groups: int, n: int) -> bool:
    """A jackknife over thousands of trunks costs more than it tells."""
    return n_groups * n <= MOST_CELLS


def _below_noise(optimum: Optimum, scale: float) -> bool:
    return (
        optimum.name == "huber" and not optimum.adaptive and optimum.penalty.delta < DELTA_BELOW_NOISE * scale
    )


def _usual_alternatives(optimum: Optimum) -> tuple[Optimum, ...]:
    """The same runs under the objectives people use, the fitted one in its place."""
    found = []
    for name, delta in _USUAL if optimum.data.any_residual else ():
        same = name == optimum.name and (
            optimum.adaptive if delta is None and name == "huber" else delta in (None, optimum.penalty.delta)
        )
        if same:
            found.append(optimum)
        else:
            found.append(find_optimum(optimum.data, name, delta, starts=optimum.theta[None]))
    return tuple(found)
