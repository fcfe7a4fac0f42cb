"""The proof of a sweep: train the model its law plans at a larger budget, beside what two rules of thumb would train.

A law is worth its extrapolation. So the sweep's own optimum, 20 tokens per parameter (Hoffmann et al. 2022) and
Kaplan et al.'s allocation are trained with the same recipe at the same budget, and the losses compared with each
other and with what the law had predicted. Each rule of thumb counts parameters as its source does: Hoffmann et al. all
of them, Kaplan et al. without embeddings (their section 1.3). The budget is spent in the FLOPs of the sweep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from scaling.blocks import (
    Block,
    Blocks,
    Record,
    Section,
    Shown,
    Table,
    Text,
    finding_callouts,
    first_doubts,
)
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import PlanError, UsageError
from scaling.findings import Finding, gravest_first, warning
from scaling.laws.base import Allocation
from scaling.reference.published import find_law
from scaling.runs import Runs
from scaling.sweep.checks import check_runs
from scaling.sweep.design import Cell, Design, PlannedRun, design_sweep, flops_of_a_token, planned_records
from scaling.sweep.shapes import choose_shape, count_as
from scaling.sweep.spec import SpecError
from scaling.sweep.timing import Rate
from scaling.translation import tr
from scaling.units import format_duration, format_flops, format_params, format_tokens

if TYPE_CHECKING:
    pass

EXTRAPOLATION = 10.0  # times the largest budget of the sweep
TOKENS_PER_PARAM = 20.0
LONG = 10.0  # times the longest run of the sweep
ROUNDS, SETTLED = 20, 1e-3  # shapes hit N within 2 %
OURS, TWENTY, KAPLAN = "this sweep's law", "20 tokens per parameter", "Kaplan et al. 2020"


class Allocating(Protocol):
    """A law, or a fit that says the optimum of a budget."""

    def allocate(self, flops: float) -> Allocation: ...


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What will be trained: the runs, each once, and the run that follows each advice.

    left_out: advice that cannot be trained here, with the reason.
    findings: what is wrong with these runs.
    """

    budget: float
    design: Design
    advised: Mapping[str, PlannedRun]
    left_out: Mapping[str, str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class ProofPlan(Shown):
    """What a proof would train, and what that costs.

    law_findings: what is doubtful about the law to be proved.
    rate: how fast this machine trains; None: not measured.
    """

    proof: Proof
    law_findings: tuple[Finding, ...]
    rate: Rate | None
    n_slots: int

    @property
    def wall_s(self) -> float | None:
        """Of all runs on `n_slots` of this machine."""
        return None if self.rate is None else self.rate.total_seconds(self.proof.design.units, self.n_slots)

    def to_dict(self) -> dict[str, Any]:
        names = ("run_id", "n_params", "n_params_non_embedding", "n_tokens", "n_steps", "flops", "work_flops")
        return {
            "kind": "sweep_proof_plan",
            "budget": self.proof.budget,
            "work_flops": self.proof.design.work_flops,
            "n_slots": self.n_slots,
            "wall_s": self.wall_s,
            "runs": [
                {"advice": advice, **{k: getattr(run, k) for k in names}, "seconds": self._seconds(run)}
                for advice, run in self.proof.advised.items()
            ],
            "left_out": self.proof.left_out,
            "findings": by_subject(self.law_findings, self.proof.findings),
        }

    def records(self) -> list[Record]:
        """A row an advice: the run that follows it, as in a design."""
        rows = planned_records(self.proof.advised.values())
        return [{"advice": advice, **row} for advice, row in zip(self.proof.advised, rows, strict=True)]

    def summary(self) -> Blocks:
        """The runs and what they cost; how each advice counts, and every doubt, by section."""
        rows = []
        for name, run in self.proof.advised.items():
            sizes = [format_params(run.n_params), format_tokens(run.n_tokens), str(run.n_steps)]
            alone = "" if (seconds := self._seconds(run)) is None else format_duration(seconds)
            rows.append([name, *sizes, format_flops(run.work_flops), alone])
        cost = tr("In all {flops} FLOPs to execute", flops=format_flops(self.proof.design.work_flops))
        if self.wall_s is not None:
            time = format_duration(self.wall_s)
            cost += tr(
                "; {time} on {n} slots here, from a few steps timed just now", time=time, n=self.n_slots
            )
        headers = (
            tr("advice"), tr("N"), tr("tokens D"), tr("steps"), tr("FLOPs to execute"), tr("alone"),
        )  # fmt: skip
        title = tr("The proof at {budget} FLOPs would train", budget=format_flops(self.proof.budget))
        return (
            Text(title, "strong"),
            Table(headers=headers, rows=rows, indent=0),
            Text(f"{cost}."),
            *what_to_know(self.proof, self.law_findings),
        )

    def _seconds(self, run: PlannedRun) -> float | None:
        """Alone on this machine."""
        return None if self.rate is None else self.rate.run_seconds(run)


def plan_proof(sweep: Design, law: Allocating, budget: float, *, without: Collection[str] = ()) -> Proof:
    """The runs of a proof at `budget` FLOPs.

    Args:
        law: of the sweep, or the fit itself, which takes budgets as the sweep counts them.
        without: rules of thumb not to train, where the time does not allow all.
    Raises:
        UsageError: the budget lies inside the sweep.
        PlanError: the model the law asks for cannot be built.
    """
    largest = sweep.spec.grid.budgets[-1]
    if not budget > largest:
        raise UsageError(
            f"a proof extrapolates: the budget {budget:g} must exceed the sweep's largest, {largest:g}."
        )
    advised: dict[str, PlannedRun] = {}
    left_out: dict[str, str] = {}
    for name in (OURS, TWENTY, KAPLAN):
        try:
            cell = _advice(name, sweep, law, budget)
            if name in without:
                left_out[name] = f"as asked; it wants {_size(cell)}."
                continue
            (advised[name],) = design_sweep(sweep.spec, vocab_size=sweep.vocab_size, cells=[cell]).runs
        except (SpecError, PlanError) as error:
            left_out[name] = str(error)
    if OURS not in advised:
        raise PlanError(f"the model the law asks for cannot be built: {left_out[OURS]}")
    design = replace(sweep, runs=tuple({run.run_id: run for run in advised.values()}.values()))
    findings = (*check_runs(design), *_very_long(design, sweep))
    return Proof(budget=budget, design=design, advised=advised, left_out=left_out, findings=findings)


def by_subject(of_law: Iterable[Finding], of_proof: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Of the law (its valleys and its surface, which find some alike) and of the runs that prove it."""
    law = {(f.code, f.message): f for f in of_law}
    return {"law": gravest_first(law.values()), "proof": gravest_first(of_proof)}


def what_to_know(proof: Proof, of_law: Iterable[Finding]) -> Blocks:
    """What is left out and the gravest doubts; as sections how each advice counts, and every doubt."""
    subjects = by_subject(of_law, proof.findings)
    left_out = tr("left out: {names}; see --show advice", names=", ".join(proof.left_out))
    grave = [f for findings in subjects.values() for f in findings if f.severity != "note"]
    return (
        *((Text(left_out),) if proof.left_out else ()),
        *first_doubts(grave),
        Section("advice", tr("Advice"), lambda: _advice_blocks(proof)),
        *((Section("doubts", tr("Doubts"), lambda: _doubts(subjects)),) if any(subjects.values()) else ()),
    )


def _advice_blocks(proof: Proof) -> Blocks:
    """What each would train, how Kaplan's size is counted, and why an advice is left out."""
    rows = [
        [name, format_params(run.n_params), format_tokens(run.n_tokens), str(run.n_steps)]
        for name, run in proof.advised.items()
    ]
    blocks: list[Block] = [Table((tr("advice"), tr("N"), tr("tokens D"), tr("steps")), rows)]
    if (kaplan := proof.advised.get(KAPLAN)) is not None:
        wanted, counted = (format_params(n) for n in (kaplan.n_params_wanted, kaplan.n_params_non_embedding))
        told = tr(
            "Kaplan et al. count parameters without embeddings and ask for {wanted}: this model has {counted} of "
            "them.", wanted=wanted, counted=counted,
        )  # fmt: skip
        blocks.append(Text(told, indent=2))
    for name, why in proof.left_out.items():
        blocks.append(Text(tr("{name} is left out: {why}", name=name, why=why), indent=2))
    return tuple(blocks)


def _doubts(subjects: Mapping[str, list[Finding]]) -> Blocks:
    titles = {"law": tr("about the law"), "proof": tr("about the runs of the proof")}
    return tuple(
        block
        for about, findings in subjects.items()
        if findings
        for block in (Text(titles[about], indent=2), *finding_callouts(findings))
    )


def true_entropy(runs: Runs) -> float | None:
    """The corpus's own nats/token on the validation tokens, where it is known (synthetic): loss minus excess."""
    excess = runs.extras.get("excess")
    return None if excess is None else float((runs.loss - excess).mean())


def _very_long(design: Design, sweep: Design) -> Iterator[Finding]:
    longest = max(sweep.runs, key=lambda r: r.n_steps)
    for run in design.runs:
        if run.n_steps > LONG * longest.n_steps:
            yield warning(
                code="very-long-run",
                message=f"{format_params(run.n_params)} at {format_flops(run.budget)} has {run.n_steps} steps, "
                f"{run.n_steps / longest.n_steps:.3g} times the longest run of the sweep: the recipe was never tried "
                "so long. Leave this advice out, or take a smaller budget.",
            )


def _advice(name: str, sweep: Design, law: Allocating, budget: float) -> Cell:
    seed = sweep.spec.seeds.first
    if name == TWENTY:
        return Cell(budget, _twenty(sweep, budget), seed, "total")
    if name == KAPLAN:
        return Cell(budget, find_law("kaplan").allocate(budget).n_params, seed, "non_embedding")
    return Cell(budget, law.allocate(budget).n_params, seed)


def _twenty(sweep: Design, budget: float) -> float:
    """The N, of all parameters, whose budget pays 20 N tokens: N = sqrt(C / (20 k)), k FLOPs a token and parameter.

    k is 6 by rule; counted exactly it depends on the shape, hence on N: so repeat until N stays.
    """
    spec, n_params, flops_per_token_param = sweep.spec, 0.0, FLOPS_PER_PARAM_TOKEN
    for _round in range(ROUNDS):
        before, n_params = n_params, (budget / (flops_per_token_param * TOKENS_PER_PARAM)) ** 0.5
        if abs(n_params - before) < SETTLED * n_params:
            break
        architecture, n = choose_shape(spec, n_params, vocab_size=sweep.vocab_size)
        counted = count_as(architecture, spec.grid.params)
        flops_per_token_param = flops_of_a_token(spec.grid.flops, architecture, counted) / n
    return n_params


def _size(cell: Cell) -> str:
    kind = "non-embedding parameters" if cell.params == "non_embedding" else "parameters"
    return f"{format_params(cell.n_params)} {kind}"
