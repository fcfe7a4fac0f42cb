"""Predicted losses of a table of runs, with a band each and a summary of how far off they were.

Use which when: `predict_runs` for a law alone (published, or read from fit.json); `parametric.prediction.predict`
for a fit in hand, whose own method gives the bands.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.blocks import (
    MOST_DOUBTS,
    Blocks,
    Fields,
    Record,
    Section,
    Shown,
    Table,
    Text,
    doubts_section,
    first_doubts,
    next_step,
)
from scaling.errors import LawError, UsageError
from scaling.findings import Finding, warning
from scaling.jsonable import jsonable
from scaling.laws.base import Law, LawFamily
from scaling.laws.methods import method_in_words
from scaling.reference.published import LawLike, resolve_law
from scaling.runs import Runs
from scaling.runs.checks import quantities_read
from scaling.runs.table import QUANTITIES, require_runs
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

Array = NDArray[np.float64]
FIRST_ROWS, SHOWN_ROWS = 5, 20  # of a first screen, and of all that a terminal shows
LONGEST_ID = 21  # characters on a first screen of 72 columns
LEAST_CHANCE = 0.001  # of so few runs inside their intervals, below which the intervals do not hold
FAR_BELOW = 0.1  # of the level: a smaller lack of coverage changes no decision
LARGE_ERROR = 0.1  # of the loss: more than a doubling of compute buys under any published law
OUTSIDE = (0.999, 1.001)  # times the ends of the fitted range: a run beyond is outside, not rounded
CHUNK = 4096  # rows at a time: draws x rows stay under 20 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction(Shown):
    """One row a run: predicted loss, interval for the law there, and for a new run there. Ends may be infinite.

    Example:
        >>> import scaling
        >>> predicted = scaling.predict_runs("besiroglu", scaling.example_runs())
        >>> predicted.to_frame()[["predicted_loss", "run_low", "run_high"]].round(2).values[0].tolist()
        [3.69, 3.62, 3.75]
    """

    loss: Array
    confidence: Array | None  # (n, 2)
    prediction: Array | None  # (n, 2)
    level: float
    method: str
    observed: Array  # NaN = not trained yet
    runs: Runs | None = None  # what was predicted, where a table was

    @property
    def error_fraction(self) -> Array:
        """predicted / observed - 1; NaN where nothing was observed."""
        return self.loss / self.observed - 1

    def scores(self) -> dict[str, Any]:
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

    def records(self) -> list[Record]:
        """A row a run: its sizes, loss (NaN: not trained yet), predicted_loss, both intervals, error_fraction."""
        columns: dict[str, Any] = {}
        if self.runs is not None:
            sizes = [name for name in QUANTITIES if name not in self.runs.absent]
            columns = {"run_id": self.runs.run_id, **{name: getattr(self.runs, name) for name in sizes}}
        columns |= {"loss": self.observed, "predicted_loss": self.loss}
        for name, band in (("law", self.confidence), ("run", self.prediction)):
            if band is not None:
                columns |= {f"{name}_low": band[:, 0], f"{name}_high": band[:, 1]}
        columns["error_fraction"] = self.error_fraction
        plain = {name: np.asarray(values).tolist() for name, values in columns.items()}
        return [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """The level, the method, the scores and a row a run, as plain JSON types; null for not known or infinite."""
        told = {"level": self.level, "method": self.method, "summary": self.scores(), "runs": self.records()}
        plain: dict[str, Any] = jsonable(told)
        return plain

    def summary(self) -> Blocks:
        rows = [(tr("covered"), self.covered()), (tr("interval"), self.interval_of())]
        return Text(self.headline(), "strong"), Fields(rows)

    def headline(self) -> str:
        """How far off the law was over the runs."""
        scores = self.scores()
        n, measured = scores["n_runs"], scores["n_measured"]
        if not measured:
            return tr("{runs}, none of them trained yet", runs=counted(n, "planned run"))
        runs = counted(n, "run")
        if measured < n:
            runs = tr("{runs}, {n} of them with a loss", runs=runs, n=measured)
        return tr(
            "{runs}: mean absolute error {error}, bias {bias:+.2g} %, largest {largest:+.2g} %",
            runs=runs,
            error=format_percent(scores["mean_absolute_error_fraction"]),
            bias=100 * scores["mean_error_fraction"],
            largest=100 * scores["largest_error_fraction"],
        )

    def covered(self) -> str:
        """How many runs lie inside their interval, or why none can."""
        inside = self.scores()["inside_interval_fraction"]
        if inside is not None:
            return tr(
                "{share} of the runs lie inside their {level:g} % prediction interval",
                share=format_percent(inside),
                level=100 * self.level,
            )
        if self.confidence is None:
            return tr("the law comes without intervals")
        return tr("intervals are of the law alone, without the scatter of a run")

    def interval_of(self) -> str:
        """What the intervals are of, and how they were made."""
        where = f"{100 * self.level:g} %, {method_in_words(self.method)}"
        if self.confidence is None:
            return tr("none published for this law")
        if self.prediction is None:
            return tr(
                "for the law at that point ({where}); how far single runs scatter about it is not published",
                where=where,
            )
        return tr("for one new run: the law's own ({where}), and the scatter of a run", where=where)

    def rows(self, runs: Runs) -> list[dict[str, Any]]:
        """A run each as JSON: what it is, its loss (NaN: not trained yet) and what the law says of it."""

        def ends(band: Array | None, i: int) -> dict[str, float] | None:
            return None if band is None else {"low": float(band[i, 0]), "high": float(band[i, 1])}

        measured = ("n_params", "n_tokens", "flops", "loss")
        return [
            {
                "run_id": runs.run_id[i],
                **{name: float(getattr(runs, name)[i]) for name in measured},
                "predicted_loss": float(self.loss[i]),
                "interval": ends(self.confidence, i),
                "prediction_interval": ends(self.prediction, i),
                "error_fraction": float(self.error_fraction[i]),
            }
            for i in range(len(runs))
        ]


def summarise_prediction(
    prediction: Prediction,
    law: Law,
    runs: Runs,
    *,
    name: str,
    doubts: Sequence[Finding] = (),
    fit_command: str = "",
) -> Blocks:
    """What `scaling predict` shows: how far off the law called `name` was, what to doubt, and the runs.

    `fit_command` is what to do where the runs show the law wrong.
    """
    said = tr("{law} on {headline}", law=name, headline=prediction.headline())
    origin = (tr("law"), law.provenance.source if law.provenance else name)
    refuted = bool(fit_doubts(prediction))
    next_command = fit_command if refuted else _next_command(law, runs, name)
    return (
        Text(said, "strong"),
        Text(""),
        *_runs_table(prediction, runs, FIRST_ROWS, briefly=True),
        Text(""),
        Fields([origin, (tr("covered"), prediction.covered())]),
        *first_doubts(doubts, MOST_DOUBTS - refuted),
        Section("runs", tr("The runs"), lambda: _all_runs(prediction, runs)),
        *doubts_section(doubts),
        *next_step(next_command),
    )


def _all_runs(prediction: Prediction, runs: Runs) -> Blocks:
    interval = Fields([(tr("interval"), prediction.interval_of())])
    return interval, *_runs_table(prediction, runs, SHOWN_ROWS)


def _next_command(law: Law, runs: Runs, name: str) -> str:
    """A plan ten times beyond the runs, where the law splits a budget."""
    if "flops" in runs.absent:
        return ""
    flops = float(f"{10 * float(runs.flops.max()):.1g}")
    try:
        law.allocate(flops)
    except (LawError, TypeError, KeyError):
        return ""
    return f"scaling plan --flops {format_flops(flops)} --law {shlex.quote(name)}"


def _runs_table(prediction: Prediction, runs: Runs, most: int, *, briefly: bool = False) -> Blocks:
    """The runs, the worst first where they are more than `most`; `briefly`: without what each is."""
    worst_first = len(runs) > most and bool(runs.measured.any())
    errors = prediction.error_fraction
    order = list(range(len(runs)))
    if worst_first:
        order.sort(key=lambda i: -abs(errors[i]) if runs.measured[i] else 0.0)
    band = prediction.confidence if prediction.prediction is None else prediction.prediction
    of_what = tr("of the law") if prediction.prediction is None else tr("of a run")
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "n_params": ("N", format_params),
        "n_tokens": ("D", format_tokens),
        "flops": ("C", format_flops),
    }
    shown = {name: how for name, how in shown.items() if name not in runs.absent and not briefly}
    names = short_names([runs.run_id[i] for i in order[:most]], LONGEST_ID if briefly else 28)
    rows = [
        (
            name,
            *(form(float(getattr(runs, name)[i])) for name, (_, form) in shown.items()),
            f"{runs.loss[i]:.4f}" if runs.measured[i] else "",
            f"{prediction.loss[i]:.4f}",
            "" if band is None else tr("{low:.4f} to {high:.4f}", low=band[i, 0], high=band[i, 1]),
            f"{100 * errors[i]:+.2f} %" if runs.measured[i] else "",
        )
        for i, name in zip(order[:most], names, strict=True)
    ]
    letters = (letter for letter, _ in shown.values())
    interval = f"{100 * prediction.level:g} % {of_what}"
    first = tr("worst runs") if worst_first else tr("run")
    headers = (first, *letters, tr("loss"), tr("predicted"), interval, tr("error"))
    where = tr("--show runs") if briefly else tr("--json has all of them")
    more = Text(tr("and {n} more: {where}", n=len(runs) - most, where=where), "faint", indent=2)
    return Table(headers, rows), *((more,) if len(runs) > most else ())


def short_names(names: Sequence[str], longest: int) -> list[str]:
    """Names of at most `longest` characters that stay apart: without the words that all share, cut in the middle.

    Names that are cut to the same text get a number each.
    Example:
        >>> short_names(["may_width512_lr0.1_seed0", "may_width512_lr0.2_seed0"], 12)
        ['lr0.1', 'lr0.2']
    """
    if len(names) > 1 and max(map(len, names)) > longest:
        names = _without_shared_words(names)
    shown = [_cut(name, longest) for name in names]
    if len(set(shown)) == len(set(names)):
        return shown
    return [f"{_cut(name, longest - 4)} #{i}" for i, name in enumerate(names, 1)]


def _without_shared_words(names: Sequence[str]) -> list[str]:
    """Names of as many words each without the words that are the same in all."""
    words = [re.findall(r"[_/ ]?[^_/ ]+", name) for name in names]
    if len({len(w) for w in words}) > 1:
        return list(names)
    own = [at for at in zip(*words, strict=True) if len(set(at)) > 1]
    return ["".join(row).lstrip("_/ ") for row in zip(*own, strict=True)] or list(names)


def _cut(name: str, longest: int) -> str:
    half = (longest - 3) // 2
    return name if len(name) <= longest else f"{name[: longest - 3 - half]}...{name[-half:]}"


def fit_doubts(prediction: Prediction) -> list[Finding]:
    """Whether the measured runs show that the law is not theirs: too few in their intervals, or errors too large."""
    scores = prediction.scores()
    n, inside, error = (
        scores[k] for k in ("n_measured", "inside_interval_fraction", "mean_absolute_error_fraction")
    )
    level = prediction.level
    few = inside is not None and inside < level - FAR_BELOW
    if few and _chance_of_at_most(round(inside * n), n, level) < LEAST_CHANCE:
        code = "not-covered"
        said = f"{format_percent(inside)} of the runs lie inside their {100 * level:g} % intervals"
    elif error is not None and error > LARGE_ERROR:
        code, said = "large-error", f"the law is off by {format_percent(error)} of the loss on average"
    else:
        return []
    message = f"{said}: it is not the law of these runs, and its plans are not for them; fit a law to them."
    return [warning(code=code, message=message, short="this law is not that of these runs: fit one to them")]


def _chance_of_at_most(k: int, n: int, p: float) -> float:
    """Of k or fewer successes in n: the binomial distribution, each term by logarithms."""
    logs = (
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    )  # fmt: skip
    return math.fsum(map(math.exp, logs))


def prediction_doubts(law: Law, runs: Runs) -> list[Finding]:
    """Differences of convention and distance outside the fitted range: the errors then mean less."""
    provenance = law.provenance
    if provenance is None:
        return []
    found = []
    reads = quantities_read(runs, [i.name for i in law.family.inputs])
    conventions = {provenance.params_convention, runs.convention.params}
    if len(conventions) > 1 and "unknown" not in conventions and "n_params" in reads:
        message = tr(
            "the law counts {params_convention} parameters, the table {params} ones",
            params_convention=provenance.params_convention,
            params=runs.convention.params,
        )
        found.append(warning(code="other-count", message=message))
    if provenance.loss_unit != runs.convention.loss_unit:
        message = tr(
            "the law predicts {loss_unit}, the table holds {table_unit}",
            loss_unit=provenance.loss_unit,
            table_unit=runs.convention.loss_unit,
        )
        found.append(warning(code="other-unit", message=message))
    for name, (low, high) in provenance.fitted_range.items():
        values = getattr(runs, name) if name in reads else None
        if values is None:
            continue
        if n := int(((values < low * OUTSIDE[0]) | (values > high * OUTSIDE[1])).sum()):
            message = tr(
                "{n} of {n_runs} runs lie outside the law's fitted range of {name}",
                n=n,
                n_runs=len(runs),
                name=name,
            )
            found.append(warning(code="outside-range", message=message))
    return found


def predict_runs(law: LawLike, runs: Runs) -> Prediction:
    """Loss of every run under `law`, with bands from its draws of the coefficients.

    Runs without a loss (`load_runs(..., planned=True)`) are predicted like the others. The confidence band is
    percentiles of the draws; the prediction band adds the scatter of one run about the law (`uncertainty.residual_sd`).
    A law without draws gives no bands: nobody published how sure it is.

    Args:
        law: a published name, a fit, its file, or a law.
    Returns:
        Prediction with a row a run, in the order of the table; `loss` (n_runs,), in the law's unit.
    Raises:
        LawError: the law needs a column the table lacks (unique tokens), or knows only the compute-optimal split.
        DataError: the table lacks n_params, n_tokens or flops that the law reads.
    Example:
        >>> from scaling.runs import load_runs
        >>> runs = load_runs({"params": ["1B", "7B"], "tokens": ["20B", "140B"], "loss": [2.6, 2.2]})
        >>> predict_runs("besiroglu", runs).loss.round(2).tolist()
        [2.53, 2.17]
    """
    require_runs(runs, "predict_runs")
    law = resolve_law(law)
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
    loss = predicted_loss(law, runs)
    known = law.uncertainty
    if known is None or not known.draws:
        return Prediction(
            loss=loss,
            confidence=None,
            prediction=None,
            level=0.95,
            method="none",
            observed=runs.loss,
            runs=runs,
        )
    confidence = loss_band(law, read_inputs(law.family, runs))
    assert confidence is not None
    prediction = None
    if known.residual_sd is not None:
        half = np.abs(np.log(confidence / loss[:, None]))
        noise = NormalDist().inv_cdf((1 + known.level) / 2) * known.residual_sd
        wide = np.hypot(half, noise)
        prediction = np.stack([loss * np.exp(-wide[:, 0]), loss * np.exp(wide[:, 1])], axis=1)
    return Prediction(
        loss=loss,
        confidence=confidence,
        prediction=prediction,
        level=known.level,
        method=known.draws_method,
        observed=runs.loss,
        runs=runs,
    )


def predicted_loss(law: Law, runs: Runs) -> Array:
    """(n_runs,) loss of any family at the inputs that it reads.

    Raises:
        UsageError: the runs lack an input of the law.
    """
    columns = runs.columns()
    missing = [i.name for i in law.family.inputs if i.name not in columns]
    if missing:
        raise UsageError(
            f"the {law.family.name} law reads {', '.join(missing)}, which {runs.source} does not have."
        )
    return np.asarray(law.predict(read_inputs(law.family, runs))["loss"], dtype=np.float64)


def read_inputs(family: LawFamily, runs: Runs) -> dict[str, Array]:
    """The columns that a law of this family reads, by name."""
    columns = runs.columns()
    return {i.name: np.asarray(columns[i.name], dtype=np.float64) for i in family.inputs}


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
