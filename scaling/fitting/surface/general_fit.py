"""Fit any law family to runs, by the same engine as the Chinchilla law: certificate, profiles, jackknife, influence.

Use which when: `fit_parametric` for the Chinchilla law (closed forms, intervals of N*, D* and loss by profiles too);
`fit_law` for every other family. Coefficients have the same intervals as there; what follows from them (N*, D*, L*)
has percentiles over draws, which the law carries, so that a plan or a prediction made with it has its intervals.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scaling.arguments import is_one_of, require_level, require_whole
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import FitError, LawError, UsageError
from scaling.findings import Finding, gravest_first
from scaling.fitting.fixed import check_fixed, condition_text
from scaling.fitting.prediction import read_inputs
from scaling.fitting.results import provenance_of
from scaling.fitting.surface.analysis import Analysis, analyse, plain_estimates
from scaling.fitting.surface.diagnostics import FAR_OFF
from scaling.fitting.surface.findings import assumption, collect_findings, coordinates_at_bound
from scaling.fitting.surface.general import UNDEFINED, FamilyData
from scaling.fitting.surface.intervals import LowerMinimum
from scaling.fitting.surface.law_fit import LawFit
from scaling.fitting.surface.optimum import find_optimum
from scaling.fitting.surface.uncertainty import draws_of
from scaling.laws.base import Law, LawFamily, Uncertainty
from scaling.runs import Runs
from scaling.runs.rows import cell_names
from scaling.runs.table import QUANTITIES, require_runs
from scaling.translation import counted, tr

Array = NDArray[np.float64]
NAMED = 5  # runs named in one message
MAX_RESTARTS = 3


def fit_law(
    runs: Runs,
    law: str | LawFamily,
    *,
    objective: Literal["huber", "log_least_squares"] = "huber",
    level: float = 0.95,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
) -> LawFit:
    """Fit a law family by Huber on log loss (threshold 1.345 robust sigma) or least squares on log loss.

    Args:
        runs: must have every input of the family as a column (`runs.columns()`), and needs no other.
        law: a family or its name, with an output `loss`.
        seed: of the random starts.
        fixed: coefficients to hold, {"E": 1.6}: the others are fitted, and their intervals hold given these.
    Raises:
        FitError: a missing input, too few runs, or no start with a finite misfit.
        UsageError: a family without a loss, an unknown objective, a level outside (0, 1), a coefficient that cannot
            be held at its value.
    Example:
        >>> import scaling
        >>> fit = scaling.fit_law(scaling.example_runs(), "over_training")
        >>> f'{fit.estimate("n_params", flops=1e21).value:.2g}'
        '2.6e+09'
    """
    require_runs(runs, "fit_law")
    family = _family(law)
    if not is_one_of(objective, ("huber", "log_least_squares")):
        raise UsageError(f"fit_law minimises huber or log_least_squares; got {objective!r}.")
    require_level(level)
    require_whole(seed=seed)
    data = _problem(runs, family, fixed, seed)
    optimum = find_optimum(data, objective)
    if not np.isfinite(optimum.value) or abs(data.residuals(optimum.theta)).max() >= UNDEFINED:
        raise FitError(
            f"no start of the {family.name} law gives finite losses on {runs.source}. Check the columns "
            f"{', '.join(i.name for i in family.inputs)}."
        )
    for _ in range(MAX_RESTARTS):
        try:
            found = analyse(optimum, runs, level=level, intervals=True, seed=seed, fixed=data.held)
            return _assemble(found, seed)
        except LowerMinimum as lower:  # no start had led there, but a profile passed it
            optimum = find_optimum(data, objective, starts=np.vstack([lower.theta, data.starts()]))
    raise FitError(
        f"{runs.source}: the objective of the {family.name} law has minima next to each other and none was "
        "certified. Try another seed (--seed, in Python seed=), or add runs."
    )


def _family(law: str | LawFamily) -> LawFamily:
    from scaling.laws import find_family

    family = law if isinstance(law, LawFamily) else find_family(law)
    if "loss" not in family.outputs or "n_params" in family.outputs:
        raise UsageError(
            f"the {family.name} law does not predict the loss of a run. Fit it through its minima: fit_isoflop or "
            "fit_envelope."
        )
    return family


def _problem(runs: Runs, family: LawFamily, fixed: Mapping[str, float] | None, seed: int) -> FamilyData:
    runs.require_losses()
    held = check_fixed(family, fixed, runs)
    runs.require([i.name for i in family.inputs], f"the {family.name} law")
    columns = runs.columns()
    missing = [i.name for i in family.inputs if i.name not in columns]
    if missing:
        raise FitError(
            f"the {family.name} law reads {', '.join(missing)}, which {runs.source} does not have. Say which column "
            f"holds it, --column {missing[0]}=NAME (in Python columns=), or fit another law."
        )
    inputs = read_inputs(family, runs)
    for i in family.inputs:
        bad = np.flatnonzero(~((inputs[i.name] > i.low) & (inputs[i.name] < i.high)))
        if len(bad):
            raise FitError(
                f"{runs.source}, row {runs.row[bad[0]]}: {i.name} = {inputs[i.name][bad[0]]:g} is not known or outside "
                f"what the {family.name} law reads. Leave out these {len(bad)} rows (runs.select)."
            )
    n_free = len(family.coefficients) - len(held)
    if len(runs) <= n_free:
        raise FitError(
            f"{runs.source} has {counted(len(runs), 'run')} and the {family.name} law has {n_free} "
            "coefficients; a fit needs at least one run more. Add runs."
        )
    if np.ptp(np.log(runs.loss)) < 1e-9:
        raise FitError(f"{runs.source}: all losses equal {runs.loss[0]:g}; there is nothing to fit.")
    return FamilyData(
        family=family,
        inputs=inputs,
        ln_loss=np.log(runs.loss),
        held=held,
        terms=_missed_terms(runs, inputs),
        seed=seed,
        cells=_cells(runs) if all(name in QUANTITIES for name in inputs) else None,
    )


def _cells(runs: Runs) -> tuple[Array, Array]:
    """Runs of one N and D are replicates only for a law that reads nothing else; of a table of one quantity that one
    tells cells apart."""
    first, last = (np.log(getattr(runs, cell_names(runs)[i])) for i in (0, -1))
    return first, last


def _missed_terms(runs: Runs, inputs: Mapping[str, Array]) -> Array:
    """Second-order terms in the centred ln N and ln D. Linear ones too where the law reads other inputs than N and D (a
    law of compute says that their split does not matter). Of a table of one quantity: of second and third order."""
    x, y = (np.log(v) - np.log(v).mean() for v in (getattr(runs, cell_names(runs)[i]) for i in (0, -1)))
    if runs.absent:
        return np.stack([x * x, x**3])
    terms = [x * x, x * y, y * y]
    return np.stack(terms if {"n_params", "n_tokens"} <= set(inputs) else [*terms, x, y])


def _assemble(a: Analysis, seed: int) -> LawFit:
    optimum, spread, runs = a.optimum, a.spread, a.runs
    shown = a.estimates[spread.main] if spread else plain_estimates(optimum)
    held = {name: replace(shown[name], value=value) for name, value in a.fixed.items()}
    residual = a.linear.log_residual
    findings = collect_findings(a)
    if a.influence is None and not a.on_law:
        findings = gravest_first([*findings, *_far_off(runs, residual, a.residuals.robust_scale)])
    return LawFit(
        law=_law(a, seed),
        objective=optimum.objective(),
        n_runs=len(runs),
        level=a.level,
        estimates={name: held.get(name, shown[name]) for name in optimum.data.names},
        statement=assumption(a),
        beside={method: found for method, found in a.estimates.items() if spread and method != spread.main},
        residuals=a.residuals,
        residual_sum_of_squares=float(residual @ residual),
        lack_of_fit=a.lack_of_fit,
        budget_effects=a.budget_effects,
        n_groups=a.groups.n_groups if a.groups else 0,
        kappa=a.kappa,
        influence=a.influence,
        converged=optimum.converged or a.on_law,  # below rounding there is nothing left to descend
        n_starts=optimum.n_starts,
        n_agreeing=optimum.n_agreeing,
        condition=a.linear.condition,
        at_bound=coordinates_at_bound(a),
        findings=tuple(findings),
        fixed=a.fixed,
        source=runs.source,
        optimum=optimum,
        spread=spread,
    )


def _law(a: Analysis, seed: int) -> Law:
    """The law with draws of its coefficients, so that plans and predictions made from it have intervals."""
    data, runs, spread = a.optimum.data, a.runs, a.spread
    family, uncertainty = data.family, None
    if spread is not None:
        drawn, how = draws_of(spread, seed)
        uncertainty = Uncertainty(
            level=a.level,
            method=spread.main_method,
            statement=assumption(a),
            draws=drawn,
            draws_method=how,
            residual_sd=spread.noise_sd(a.level),
        )
    # a law of N and D has budgets of 6 N D; one that reads FLOPs has those of its table
    reads_flops = "flops" in (i.name for i in family.inputs)
    flops = runs.flops if reads_flops else FLOPS_PER_PARAM_TOKEN * runs.n_params * runs.n_tokens
    try:
        return family.make(
            **{name: float(v) for name, v in data.coefficients(a.optimum.theta).items()},
            provenance=provenance_of(
                runs,
                flops,
                name=runs.source,
                source=tr(
                    "{name} law fitted to {n} runs of {source}",
                    name=family.name,
                    n=len(runs),
                    source=runs.source,
                ),
                note=condition_text(a.fixed),
                status="fitted",
            ),
            uncertainty=uncertainty,
        )
    except LawError as error:
        raise FitError(
            f"the {family.name} law does not describe {runs.source}: {error} Fit another law."
        ) from error


def _far_off(runs: Runs, residual: Array, scale: float) -> list[Finding]:
    far = np.flatnonzero(np.abs(residual) > FAR_OFF * max(scale, 1e-9))
    if not far.size:
        return []
    worst = far[np.argsort(-np.abs(residual[far]), kind="stable")][:NAMED]
    listed = ", ".join(
        tr("{run_id} (row {row})", run_id=runs.run_id[i], row=runs.row[i]) for i in worst.tolist()
    )
    lie = tr("lies") if far.size == 1 else tr("lie")
    without = " ".join(f"--exclude {shlex.quote(runs.run_id[i])}" for i in worst.tolist())
    return [
        Finding(
            code="far-off-runs",
            short=tr(
                "{size} of {n_runs} runs {lie} far off the law: fit without, too (--exclude)",
                size=far.size,
                n_runs=len(runs),
                lie=lie,
            ),
            severity="warning",
            message=tr(
                "{size} of {n_runs} runs {lie} more than {far_off:g} robust standard deviations off the law: "
                "{listed}{more}. Fit without {them} too: {without} (in Python exclude=); none was dropped.",
                size=far.size,
                n_runs=len(runs),
                lie=lie,
                far_off=FAR_OFF,
                listed=listed,
                more=" ..." if far.size > NAMED else "",
                them=tr("it") if far.size == 1 else tr("them"),
                without=without,
            ),
            source="Besiroglu et al. 2024, arXiv:2404.10102",
            rows=tuple(int(runs.row[i]) for i in worst.tolist()),
        )
    ]
