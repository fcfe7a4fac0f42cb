"""A proof that is trained: its losses beside each other, and beside what the law of the sweep had said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling.blocks import Blocks, Record, Section, Shown, Table, Text, low_high
from scaling.findings import Finding
from scaling.fitting.results import Estimate
from scaling.fitting.surface.prediction import SeedNoise, predict, seed_noise
from scaling.jsonable import fields_of
from scaling.runs import Runs
from scaling.sweep.results import NothingFinishedError, load_store_runs
from scaling.sweep.store import Store
from scaling.sweep.verify import OURS, Proof, by_subject, true_entropy, what_to_know
from scaling.translation import tr, tr_n
from scaling.units import format_flops, format_params

if TYPE_CHECKING:
    from scaling.fitting.isoflop.result import IsoflopFit
    from scaling.fitting.surface.result import ParametricFit


@dataclass(frozen=True, kw_only=True)
class ProofRow:
    """One advice: what was trained, predicted (with the interval of one new run) and measured."""

    advice: str
    run_id: str
    n_params: float
    n_params_non_embedding: float
    n_tokens: float
    loss: float
    predicted_loss: float
    prediction_interval: tuple[float, float] | None

    @property
    def inside(self) -> bool | None:
        """Whether the measured loss lies in the interval."""
        band = self.prediction_interval
        return None if band is None else band[0] <= self.loss <= band[1]


@dataclass(frozen=True, kw_only=True)
class PlannedLoss:
    """The loss that the planning law expects of its own optimum, beside the one measured there.

    curve_interval: at `level`, of the curve, without the noise of one run.
    """

    loss: float
    curve_interval: tuple[float, float]
    level: float
    measured: float

    @property
    def error(self) -> float:
        """Relative."""
        return self.measured / self.loss - 1

    @property
    def inside_curve(self) -> bool:
        return self.curve_interval[0] <= self.measured <= self.curve_interval[1]

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("level",), also=("error", "inside_curve"))

    def sentence(self) -> str:
        return tr(
            "The lines through the valleys (Approach 2), which planned our model, put the lowest loss of this budget "
            "at {p.loss:.4f}, {level:g} % {p.curve_interval[0]:.3f} to {p.curve_interval[1]:.3f} for the curve, "
            "without the noise of one run; measured {p.measured:.4f}, {p.error:+.1%}: {where}.",
            p=self, level=100 * self.level, where=tr("inside") if self.inside_curve else tr("outside"),
        )  # fmt: skip

    def short(self) -> str:
        return tr(
            "Our model was planned at {p.loss:.4f} ({level:g} %: {p.curve_interval[0]:.3f} to "
            "{p.curve_interval[1]:.3f}) and reached {p.measured:.4f}, {p.error:+.1%}: {where}.",
            p=self, level=100 * self.level, where=tr("inside") if self.inside_curve else tr("outside"),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Verification(Shown):
    """A proof that is trained, beside what the law had said: the lines through the valleys that planned our model
    (Approach 2), and the surface that predicts every model (Approach 3).

    rows: by rising loss.
    times_largest: the budget, in the largest of the sweep.
    level: of the intervals of the rows.
    floor: E of the surface; true_entropy: what it estimates, where that is known.
    """

    proof: Proof
    rows: tuple[ProofRow, ...]
    planned: PlannedLoss | None
    noise: SeedNoise
    floor: Estimate
    true_entropy: float | None
    law_findings: tuple[Finding, ...]
    times_largest: float
    level: float

    def to_dict(self) -> dict[str, Any]:
        noise, ends = self.noise, self.floor.interval
        return {
            "kind": "sweep_proof",
            "budget": self.proof.budget,
            "rows": [fields_of(row, also=("inside",)) for row in self.rows],
            "planned": self.planned,
            "lowest": [row.advice for row in lowest(self.rows, noise)],
            "seed_noise": {
                "ln_loss_standard_deviation": noise.standard_deviation,
                **fields_of(noise, leave_out=("standard_deviation",)),
                "gap": noise.gap(self.rows[0].loss) if self.rows else None,
            },
            "left_out": self.proof.left_out,
            "fitted_E": self.floor.value,
            "fitted_E_interval": None if ends is None else [ends.low, ends.high],
            "true_entropy": self.true_entropy,
            "findings": by_subject(self.law_findings, self.proof.findings),
        }

    def records(self) -> list[Record]:
        """A row an advice, by rising loss: what was trained, measured, predicted, with the interval of one new run."""
        return [
            {
                **{name: value for name, value in vars(row).items() if name != "prediction_interval"},
                **low_high("run", row.prediction_interval),
                "inside": row.inside,
            }
            for row in self.rows
        ]

    def summary(self) -> Blocks:
        """Who is lowest, and each loss beside what the law had said; what noise and the floor are as a section."""
        headers = (
            tr("advice"),
            tr("N"),
            tr("loss"),
            tr("law"),
            tr("{level:g} % for one run", level=100 * self.level),
            "",
        )
        title = tr(
            "The proof at {budget} FLOPs, {times:.3g} times the sweep's largest budget",
            budget=format_flops(self.proof.budget), times=self.times_largest,
        )  # fmt: skip
        return (
            Text(title, "strong"),
            *((Text(verdict(self.rows, self.noise)),) if len(self.rows) > 1 else ()),
            Table(headers=headers, rows=[self._cells(row) for row in self.rows], indent=0, remarks=1),
            *(() if self.planned is None else (Text(self.planned.short()),)),
            *what_to_know(self.proof, self.law_findings),
            Section("losses", tr("Losses, noise and floor"), self._losses),
        )

    def _losses(self) -> Blocks:
        explained = tr("law: the loss that the surface through the sweep (Approach 3) predicts.")
        gap = (Text(seed_gap(self.rows, self.noise), indent=2),) if len(self.rows) > 1 else ()
        return (
            Text(explained, indent=2),
            *(() if self.planned is None else (Text(self.planned.sentence(), indent=2),)),
            *gap,
            Text(self._floor(), indent=2),
        )

    def _cells(self, row: ProofRow) -> list[str]:
        interval, where = "", ""
        if row.prediction_interval is not None:
            low, high = row.prediction_interval
            where = tr("inside") if row.inside else tr("OUTSIDE")
            interval = tr("{low:.3f} to {high:.3f}", low=low, high=high)
        loss, predicted = f"{row.loss:.4f}", f"{row.predicted_loss:.4f}"
        return [row.advice, format_params(row.n_params), loss, predicted, interval, where]

    def _floor(self) -> str:
        """The fitted E, beside the entropy that no model can undercut."""
        ends, entropy = self.floor.interval, self.true_entropy
        text = tr("Floor: fitted E = {value:.3f}", value=self.floor.value)
        if ends is not None:
            text += tr(" ({level:g} %: {e.low:.3f} to {e.high:.3f})", level=100 * ends.level, e=ends)
        if entropy is None:
            return text + tr(" nats/token.")
        text += tr(
            "; the true entropy of the corpus on the validation tokens is {entropy:.4f} nats/token", entropy=entropy
        )  # fmt: skip
        if ends is not None:
            text += f", {tr('inside') if ends.contains(entropy) else tr('OUTSIDE')}"
        return f"{text}."


def verify_proof(
    proof: Proof,
    store: Store,
    *,
    runs: Runs,
    valleys: IsoflopFit,
    surface: ParametricFit,
    law_findings: Iterable[Finding] = (),
) -> Verification:
    """Set the losses of a proof, trained in `store`, against what the law had said of them.

    Args:
        runs: of the sweep, that the law was fitted on.
        valleys: whose lines planned our model.
        surface: what predicts the loss of every model.
        law_findings: what is doubtful about the law.
    """
    largest = (runs.flops if runs.budget is None else runs.budget).max()
    rows = _rows(proof, store, surface)
    return Verification(
        proof=proof,
        rows=rows,
        planned=planned_loss(proof.budget, rows, valleys),
        noise=seed_noise(surface),
        floor=surface.estimates["E"],
        true_entropy=true_entropy(runs),
        law_findings=tuple(law_findings),
        times_largest=float(proof.budget / largest),
        level=surface.level,
    )


def _rows(proof: Proof, store: Store, surface: ParametricFit) -> tuple[ProofRow, ...]:
    """One row an advice whose run did not diverge, the lowest loss first."""
    try:
        measured = load_store_runs(store, proof.design)
    except NothingFinishedError:  # all of them diverged, or time was up before
        return ()
    predicted = predict(surface, measured)
    at = {run_id: i for i, run_id in enumerate(measured.run_id)}
    rows = []
    for name, run in proof.advised.items():
        if (i := at.get(run.run_id)) is None:
            continue
        band = None if predicted.prediction is None else predicted.prediction[i]
        row = ProofRow(
            advice=name,
            run_id=run.run_id,
            n_params=float(measured.n_params[i]),
            n_params_non_embedding=float(measured.extras["n_params_non_embedding"][i]),
            n_tokens=float(measured.n_tokens[i]),
            loss=float(measured.loss[i]),
            predicted_loss=float(predicted.loss[i]),
            prediction_interval=None if band is None else (float(band[0]), float(band[1])),
        )
        rows.append(row)
    return tuple(sorted(rows, key=lambda row: row.loss))


def planned_loss(budget: float, rows: Sequence[ProofRow], fit: IsoflopFit) -> PlannedLoss | None:
    """None without a frontier of losses (fewer than 4 valleys), or before our model is trained."""
    measured = next((row.loss for row in rows if row.advice == OURS), None)
    if fit.loss_frontier is None or measured is None:
        return None
    low, high = (float(end) for end in fit.loss_frontier.band(budget, fit.level))
    loss = float(fit.loss_frontier.predict(budget))
    return PlannedLoss(loss=loss, curve_interval=(low, high), level=fit.level, measured=measured)


def verdict(rows: Sequence[ProofRow], noise: SeedNoise) -> str:
    """Who is lowest, or that nobody is."""
    tied = lowest(rows, noise)
    names = tr(" and ").join(row.advice for row in tied)
    gap = noise.gap(rows[0].loss)
    if len({row.run_id for row in tied}) > 1:
        return tr(
            "A tie of {names}: they differ by {gap:.4f} nats/token; two seeds of one model, by up to {noise:.4f}.",
            names=names, gap=tied[-1].loss - tied[0].loss, noise=gap,
        )  # fmt: skip
    if len(tied) == len(rows):
        return tr("{names} ask for the same model.", names=names)
    after = rows[len(tied)]
    return tr(
        "Lowest: {names}, by {gap:.4f} nats/token over {after.advice}; two seeds of one model differ by up to "
        "{noise:.4f}.", names=names, gap=after.loss - rows[0].loss, after=after, noise=gap,
    )  # fmt: skip


def seed_gap(rows: Sequence[ProofRow], noise: SeedNoise) -> str:
    """How far noise alone takes two runs apart, and where that is from."""
    return tr(
        "Two seeds of one model differ by up to {gap:.4f} nats/token ({level:g} %, from {noise.source}, {freedom}).",
        noise=noise, gap=noise.gap(rows[0].loss), level=100 * noise.level,
        freedom=tr_n("{n} degree of freedom", "{n} degrees of freedom", noise.dof),
    )  # fmt: skip


def lowest(rows: Sequence[ProofRow], noise: SeedNoise) -> list[ProofRow]:
    """The rows (by rising loss) that noise does not tell from the first."""
    return [row for row in rows if row.loss - rows[0].loss <= noise.gap(rows[0].loss)]
