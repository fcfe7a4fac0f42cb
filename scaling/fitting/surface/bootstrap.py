"""The pairs bootstrap of a fit: a cloud of coefficients, for plots and for objectives without other intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from scaling.arguments import require_kind, require_known, require_whole
from scaling.blocks import Blocks, Record, Shown, Table, Text
from scaling.errors import FitError, UsageError
from scaling.fitting.results import Estimate
from scaling.fitting.surface.analysis import COEFFICIENTS
from scaling.fitting.surface.groups import Groups, budgets, trunks
from scaling.fitting.surface.problem import Array
from scaling.fitting.surface.resample import pairs_bootstrap
from scaling.fitting.surface.result import ParametricFit
from scaling.jsonable import fields_of
from scaling.runs import Runs
from scaling.runs.table import require_runs
from scaling.translation import tr

Cluster = Literal["auto", "run", "trunk", "budget"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bootstrap(Shown):
    """Refits of resampled runs. `coefficients` holds one value a resample, in units of the loss."""

    coefficients: Mapping[str, Array]  # (n,) each
    estimates: Mapping[str, Estimate]  # standard error and percentile interval; params_exponent too
    kind: str  # "pairs bootstrap of runs"
    seed: int
    unconverged_fraction: float
    fit: ParametricFit  # with these refits, so that fit.interval(..., method="bootstrap") answers

    @property
    def n(self) -> int:
        return len(self.coefficients["E"])

    @property
    def standard_errors(self) -> dict[str, float | None]:
        return {name: self.estimates[name].standard_error for name in COEFFICIENTS}

    def interval(self, quantity: str, **where: Any) -> Any:
        """Percentile interval of anything `ParametricFit.estimate` knows."""
        return self.fit.interval(quantity, method="bootstrap", **where)

    def records(self) -> list[Record]:
        """A row a quantity: value, standard_error, low, high of the percentile interval."""
        return [
            {"quantity": name, **e.record(), "level": self.fit.level} for name, e in self.estimates.items()
        ]

    def summary(self) -> Blocks:
        """How many refits of what, and the percentile interval of each quantity."""
        rows = [
            (r["quantity"], *(f"{r[name]:.4g}" for name in ("value", "low", "high"))) for r in self.records()
        ]
        headers = ("", tr("value"), f"{100 * self.fit.level:g} %", "")
        return Text(tr("{n} refits, {kind}", n=f"{self.n:,}", kind=self.kind)), Table(headers, rows)

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("coefficients", "fit"), also=("n",))


def bootstrap(
    fit: ParametricFit, runs: Runs, n: int = 4000, *, seed: int = 0, cluster: Cluster = "auto"
) -> Bootstrap:
    """Refit `n` resamples of the runs, all at once.

    Args:
        runs: the runs the fit was made from.
        cluster: what is drawn with replacement: `run` rows, `trunk` whole trunks (or curves), `budget` whole
            budgets; `auto` draws trunks where rows share one. Below 20 clusters percentiles are too narrow.
    Raises:
        UsageError: other runs than the fitted ones, or an unknown cluster.
        FitError: noise-free runs.
    Source: Efron 1979; Freedman 1981 (pairs); Cameron, Gelbach and Miller 2008 (clusters).
    Example:
        >>> import scaling
        >>> runs = scaling.example_runs()
        >>> refits = scaling.bootstrap(scaling.fit_parametric(runs), runs, n=100)
        >>> refits.n, sorted(refits.estimates)[-1]
        (100, 'params_exponent')
    """
    from scaling.fitting.surface.result import ParametricFit

    require_kind(
        "fit", fit, ParametricFit, "Make it by fit_parametric(runs); other fits carry their intervals."
    )
    require_runs(runs, "bootstrap")
    require_whole(n=n, seed=seed)
    data = fit.optimum.data
    centred = np.log(runs.loss / data.loss_scale)
    if len(runs) != data.n or not np.allclose(centred, data.ln_loss, rtol=0, atol=1e-12):
        raise UsageError(
            f"the bootstrap needs the {data.n} runs the fit was made from, got {len(runs)} others. Pass the same Runs."
        )
    if fit.spread is None:
        raise FitError(
            "this fit has no noise to resample, or was made with intervals=False; fit again with intervals."
        )
    groups = _clusters(runs, cluster)
    refits = pairs_bootstrap(data, fit.optimum.theta, fit.optimum.penalty, n, seed, groups)
    spread = replace(fit.spread, bootstrap=refits)
    quantities = data.asked()
    estimates = spread.estimates(quantities, "bootstrap")
    return Bootstrap(
        coefficients=data.coefficients(refits.theta),
        estimates=dict(zip([q.name for q in quantities], estimates, strict=True)),
        kind=refits.kind,
        seed=seed,
        unconverged_fraction=refits.unconverged_fraction,
        fit=replace(fit, spread=spread),
    )


def _clusters(runs: Runs, cluster: Cluster) -> Groups | None:
    require_known("cluster", cluster, get_args(Cluster))
    if cluster == "run":
        return None
    if cluster == "budget":
        return budgets(runs)
    found = trunks(runs)
    if found is None and cluster == "trunk":
        raise UsageError(f"{runs.source} names no trunks and no run has several rows; use cluster='run'.")
    return found
