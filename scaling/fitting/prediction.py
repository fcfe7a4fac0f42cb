"""Predicted losses of a table of runs, with a band each and a summary of how far off they were.

Use which when: `predict_runs` for a law alone (published, or read from fit.json); `parametric.prediction.predict`
for a fit in hand, whose own method gives the bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import LawError
from scaling.fitting.distributions import normal_quantile
from scaling.laws.base import Law
from scaling.runs import Runs
from scaling.runs.table import require_runs

Array = NDArray[np.float64]
CHUNK = 4096  # rows at a time: draws x rows stay under 20 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """One row a run: predicted loss, interval for the law there, and for a new run there. Ends may be infinite."""

    loss: Array
    confidence: Array | None  # (n, 2)
    prediction: Array | None  # (n, 2)
    level: float
    method: str
    observed: Array  # NaN = not trained yet

    @property
    def error_fraction(self) -> Array:
        """predicted / observed - 1; NaN where nothing was observed."""
        return self.loss / self.observed - 1

    def summary(self) -> dict[str, Any]:
        """Errors over the measured runs, and the share of them inside their prediction interval; None without any."""
        known = np.isfinite(self.observed)
        error = self.error_fraction[known]
        inside = None
        if self.prediction is not None and known.any():
            low, high = self.prediction[known].T
            inside = float(np.mean((self.observed[known] >= low) & (self.observed[known] <= high)))
        return {
            "n_runs": len(self.observed),
            "n_measured": int(known.sum()),
            "mean_absolute_error_fraction": float(np.mean(np.abs(error))) if known.any() else None,
            "mean_error_fraction": float(np.mean(error)) if known.any() else None,
            "largest_error_fraction": float(error[np.argmax(np.abs(error))]) if known.any() else None,
            "inside_interval_fraction": inside,
            "level": self.level,
        }


def predict_runs(law: Law, runs: Runs) -> Prediction:
    """Loss of every run under `law`, with bands from its draws of the coefficients.

    Runs without a loss (`load_runs(..., planned=True)`) are predicted like the others. The confidence band is
    percentiles of the draws; the prediction band adds the scatter of one run about the law (`uncertainty.residual_sd`).
    A law without draws gives no bands: nobody published how sure it is.

    Raises:
        LawError: the law needs a column the table lacks (unique tokens), or knows only the compute-optimal split.
        DataError: the table lacks n_params, n_tokens or flops that the law reads.
    """
    require_runs(runs, "predict_runs")
    columns = runs.columns()
    wanted = [i.name for i in law.family.inputs]
    runs.require(wanted, f"the {law.family.name} law")
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise LawError(
            f"predicting runs with the law {law.family.name} needs the columns {', '.join(missing)}, which "
            f"{runs.source} has not. Add them, or use a Chinchilla law."
        )
    if "loss" not in law.family.outputs or law.family.name == "frontier":
        raise LawError(
            f"the law {law.family.name} knows the loss of the best split of a budget only, not of any N and D. "
            "Predict runs with a law of the surface, as `scaling fit RUNS.csv -o fit.json` writes."
        )
    inputs = {name: np.asarray(columns[name], dtype=np.float64) for name in wanted}
    point = np.array([list(law.coefficients.values())], dtype=np.float64)
    at = law.family.outputs.index("loss")
    loss = np.asarray(law.family.predict(point, inputs)[0, :, at], dtype=np.float64)
    known = law.uncertainty
    if known is None or not known.draws:
        return Prediction(
            loss=loss, confidence=None, prediction=None, level=0.95, method="none", observed=runs.loss
        )
    confidence = loss_band(law, inputs)
    assert confidence is not None
    prediction = None
    if known.residual_sd is not None:
        half = np.abs(np.log(confidence / loss[:, None]))
        noise = normal_quantile((1 + known.level) / 2) * known.residual_sd
        wide = np.hypot(half, noise)
        prediction = np.stack([loss * np.exp(-wide[:, 0]), loss * np.exp(wide[:, 1])], axis=1)
    return Prediction(
        loss=loss,
        confidence=confidence,
        prediction=prediction,
        level=known.level,
        method=known.draws_method,
        observed=runs.loss,
    )


def loss_band(law: Law, inputs: Mapping[str, Array]) -> Array | None:
    """(n, 2) percentile ends of the loss at these inputs over the law's draws; None where it has none."""
    if law.uncertainty is None or not law.uncertainty.draws:
        return None
    at, level = law.family.outputs.index("loss"), law.uncertainty.level
    draws = np.array(law.uncertainty.draws, dtype=np.float64)
    tails = (100 * (1 - level) / 2, 100 * (1 + level) / 2)
    n = len(next(iter(inputs.values())))
    parts = []
    for start in range(0, n, CHUNK):
        rows = {name: values[start : start + CHUNK] for name, values in inputs.items()}
        parts.append(np.percentile(law.family.predict(draws, rows)[..., at], tails, axis=0).T)
    return np.concatenate(parts)
