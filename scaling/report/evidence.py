"""What a report rests on: every fit, check and plan that its runs allow, and for each that they do not, the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from scaling.blocks import Blocks
from scaling.errors import ScalingError
from scaling.findings import Finding
from scaling.laws.base import Law
from scaling.translation import counted, tr
from scaling.units import format_flops

if TYPE_CHECKING:
    from scaling.fitting.comparison import LawComparison
    from scaling.fitting.envelope.fit import EnvelopeFit
    from scaling.fitting.extrapolation import Extrapolation
    from scaling.fitting.isoflop.result import IsoflopFit
    from scaling.fitting.results import Fit
    from scaling.planning.plan import Plan
    from scaling.runs import Runs

MOST_REFITTED = (
    5_000  # runs; with more, fitting again and again takes minutes, and says little that one fit does not
)
TARGET_FACTOR = 10.0  # the target unless given: this times the largest compute of the runs

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a report tells of. What is None has its reason in `missing`, by the name of its field.

    fit: what answers; isoflop, envelope, parametric: the three approaches, the one that answers among them.
    findings: of the fit and of the table. told, pictures: what else is known of the runs, a sweep's state, as blocks.
    """

    title: str
    target_flops: float | None
    law: Law | None
    fit: Fit | None = None
    runs: Runs | None = None
    curves: Runs | None = None  # the whole training curves of the runs
    left_out: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    isoflop: IsoflopFit | None = None
    envelope: EnvelopeFit | None = None
    parametric: Fit | None = None
    held_out: Extrapolation | None = None
    compared: LawComparison | None = None
    plan: Plan | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    told: Blocks = ()
    pictures: Blocks = ()

    @property
    def approaches(self) -> dict[str, Fit]:
        """The fits at hand by their method, the one that answers first."""
        known: dict[str, Fit] = {}
        for fit in (self.fit, self.parametric, self.isoflop, self.envelope):
            if fit is not None:
                known.setdefault(fit.method, fit)
        return known

    @property
    def largest_flops(self) -> float | None:
        """Of the runs that the law was fitted to, 6 N D."""
        known = self.law.provenance.fitted_range.get("flops") if self.law and self.law.provenance else None
        return known[1] if known else None


def gather_evidence(
    runs: Runs | None,
    *,
    title: str = "",
    target_flops: float | None = None,
    fit: Fit | None = None,
    law: Law | None = None,
    findings: Sequence[Finding] | None = None,
    curves: Runs | None = None,
    left_out: Sequence[str] = (),
    told: Blocks = (),
    pictures: Blocks = (),
    no_fit: str = "",
    vocab_size: int | None = None,
    seed: int = 0,
) -> Evidence:
    """Fit the approaches that `fit` is not, hold out, compare and plan; what cannot be done is told by its reason.

    Args:
        runs: final losses; None where there is a law alone.
        fit: of the runs, the one that answers; None where none could be made: `no_fit` says why.
        law: what answers where there is no fit (a law of a file).
        curves: the same runs with every row of their training curves.
        vocab_size: of the model to plan.
        title: the question that the report answers, unless given.
    Example:
        >>> from scaling.laws import find_family
        >>> law = find_family("chinchilla").make(E=1.8, A=482.0, B=2085.0, alpha=0.348, beta=0.366)
        >>> gather_evidence(None, title="a law alone", law=law, target_flops=1e21).plan.is_optimum
        True
    """
    missing: dict[str, str] = {} if fit is not None or not no_fit else {"fit": no_fit}
    known: dict[str, Any] = {}
    makers = _makers(runs, curves, fit, target_flops, seed)
    for name, make in makers.items():
        known[name] = _try(name, make, missing)
    if fit is None and law is None:  # what could not be fitted as it was asked for may be in another way
        fit = known["isoflop"] or known["envelope"] or known["parametric"]
        findings = (*(findings or ()), *(fit.findings if fit is not None else ()))
    answering = fit.law if fit is not None else law
    target = target_flops if target_flops is not None else default_target(answering)
    if answering is not None and target is not None:
        plan_it = _planner(answering, target, vocab_size)
        known["plan"] = _try("plan", plan_it, missing)
    elif fit is not None or law is not None:
        missing["plan"] = tr("The law says not at which compute it was fitted: give a target.")
    else:
        missing["plan"] = tr("There is no law to plan with.")
    return Evidence(
        title=title or _question(target, runs),
        target_flops=target,
        law=answering,
        fit=fit,
        runs=runs,
        curves=curves,
        left_out=tuple(left_out),
        findings=tuple(findings if findings is not None else fit.findings if fit is not None else ()),
        missing=missing,
        told=told,
        pictures=pictures,
        **known,
    )


def _question(target: float | None, runs: Runs | None) -> str:
    if target is not None:
        return tr("What to train with {flops} FLOPs", flops=format_flops(target))
    return tr("A scaling law") if runs is None else tr("What {runs} say", runs=counted(len(runs), "run"))


def default_target(law: Law | None) -> float | None:
    """Ten times the largest compute that the law was fitted to; None where it does not say."""
    known = law.provenance.fitted_range.get("flops") if law is not None and law.provenance else None
    return float(f"{TARGET_FACTOR * known[1]:.2g}") if known else None


def _try(name: str, make: Callable[[], Found], missing: dict[str, str]) -> Found | None:
    import numpy as np

    try:
        with np.errstate(over="ignore"):  # of starts far off, in a fit that cannot be made
            return make()
    except ScalingError as error:
        missing[name] = str(error)
        return None


def _planner(law: Law, target: float, vocab_size: int | None) -> Callable[[], Plan]:
    from scaling.planning import Budget, Constraints, plan_training

    constraints = Constraints(vocab_size=vocab_size)
    return lambda: plan_training(Budget(flops=target), law, constraints=constraints)


def _makers(
    runs: Runs | None, curves: Runs | None, fit: Fit | None, target: float | None, seed: int
) -> dict[str, Callable[[], Any]]:
    """How to make each result, by its field; one that cannot be raises a ScalingError that says why."""
    if runs is None:
        absent = _refuse(tr("There are no runs: a law file holds the law alone. Give the table of its runs."))
        return dict.fromkeys(("isoflop", "envelope", "parametric", "held_out", "compared"), absent)
    if fit is not None and runs.absent:
        one = _refuse(tr("The runs have one quantity beside the loss; this needs parameters and tokens."))
        makers: dict[str, Callable[[], Any]] = dict.fromkeys(
            ("isoflop", "envelope", "parametric", "compared"), one
        )
    else:
        makers = {
            "isoflop": lambda: _isoflop(runs),
            "envelope": lambda: _envelope(curves),
            "parametric": lambda: _parametric(runs, seed),
            "compared": lambda: _compared(runs, fit, target, seed),
        }
    makers["held_out"] = lambda: _held_out(runs, fit, seed)
    if fit is not None:
        own = "parametric" if fit.method == "law" else fit.method
        makers[own] = lambda: fit
    return makers


def _refuse(reason: str) -> Callable[[], Any]:
    def refuse() -> Any:
        raise ScalingError(reason)

    return refuse


def _isoflop(runs: Runs) -> IsoflopFit:
    from scaling.fitting.isoflop.fit import fit_isoflop

    return fit_isoflop(runs)


def _envelope(curves: Runs | None) -> EnvelopeFit:
    from scaling.fitting.envelope.fit import fit_envelope

    if curves is None or not curves.is_curves:
        raise ScalingError(
            tr("The runs have final losses alone; an envelope needs the losses along each training curve.")
        )
    return fit_envelope(curves)


def _parametric(runs: Runs, seed: int) -> Fit:
    from scaling.fitting.named_fit import FitSettings, fit_named_law

    return fit_named_law(runs, FitSettings(seed=seed))


def _held_out(runs: Runs, fit: Fit | None, seed: int) -> Extrapolation:
    from scaling.fitting.extrapolation import evaluate_extrapolation

    _refuse_many(runs)
    family = fit.law.family.name if fit is not None and fit.method in ("parametric", "law") else "chinchilla"
    return evaluate_extrapolation(runs, family, seed=seed, fixed=fit.fixed if fit is not None else None)


def _compared(runs: Runs, fit: Fit | None, target: float | None, seed: int) -> LawComparison:
    from scaling.fitting.comparison import DEFAULT_LAWS, compare_laws

    _refuse_many(runs)
    own = (fit.law.family.name,) if fit is not None and fit.method == "law" else ()
    return compare_laws(runs, tuple(dict.fromkeys((*DEFAULT_LAWS, *own))), target_flops=target, seed=seed)


def _refuse_many(runs: Runs) -> None:
    if len(runs) > MOST_REFITTED:
        raise ScalingError(
            tr(
                "With {n:,} runs (over {most:,}) fitting again and again takes minutes: scaling fit "
                "--holdout-above rolling --compare-laws does it.",
                n=len(runs),
                most=MOST_REFITTED,
            )
        )
