"""The last section: how to make the report again, and the questions of (Mis)Fitting with what is known of each.

Source: Li, Kudugunta and Zettlemoyer 2025, (Mis)Fitting: a survey of scaling laws, arXiv:2502.18969, whose authors
found that more than 45 of 50 papers leave out the optimiser, the start or the loss of their fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scaling.blocks import Blocks, Code, Fields, Table
from scaling.fitting.results import Fit
from scaling.fitting.sections import objective_name
from scaling.laws.methods import method_in_words
from scaling.report.evidence import Evidence
from scaling.report.reproduction import Reproduction
from scaling.translation import counted, tr

SOURCE = "(Mis)Fitting, arXiv:2502.18969"


def reproduction_blocks(e: Evidence, made: Reproduction) -> Blocks:
    """Command, data, code, machine; then the checklist."""
    return (
        Code(made.command, tr("command")),
        Fields(list(_rows(made))),
        Table(
            (tr("question"), tr("answer")),
            list(_checklist(e)),
            left=1,
            remarks=1,
            caption=tr("What a reader needs to know of a fitted law ({source}).", source=SOURCE),
        ),
    )


def _rows(made: Reproduction) -> Iterator[tuple[str, str]]:
    hidden = tr("left out: the report is anonymous")
    for name, digest in made.inputs.items():
        yield tr("sha256 of {name}", name=name), digest
    if made.spec_hash:
        yield tr("sha256 of the spec"), made.spec_hash
    state = "" if not made.dirty else tr(" with uncommitted changes")
    yield tr("git commit"), made.commit + state if made.commit else tr("none: the data are in no repository")
    if made.anonymous or made.remote:
        yield tr("git remote"), hidden if made.anonymous else made.remote or ""
    yield tr("seed"), str(made.seed)
    yield tr("resamples"), tr("none") if made.n_resamples is None else f"{made.n_resamples:,}"
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    yield tr("versions"), f"isoflop {made.version}, Python {made.python}, {versions}"
    yield tr("machine"), f"{made.system}, {hidden if made.host is None else made.host}"
    yield (
        tr("written"),
        made.written
        or tr(
            "not stated, so that the same input gives the same bytes; SOURCE_DATE_EPOCH=$(date +%s) states it"
        ),
    )


def _checklist(e: Evidence) -> Iterator[tuple[str, str]]:
    """Question and answer, of the hypothesis, the runs and the fit."""
    unknown, fit, runs = tr("not stated in the table"), e.fit, e.runs
    yield tr("Form of the law?"), e.law.family.formula if e.law is not None else tr("none")
    if runs is not None:
        yield tr("How many runs?"), counted(len(runs), "run")
        count = runs.convention.params
        yield tr("What does N count?"), unknown if count == "unknown" else count.replace("_", " ")
        yield (
            tr("How are FLOPs counted?"),
            unknown if runs.convention.flops == "unknown" else runs.convention.flops,
        )
        yield tr("Unit of the loss?"), runs.convention.loss_unit
        yield (
            tr("Final losses, or points along training curves?"),
            tr("points along curves") if runs.is_curves else tr("final losses"),
        )
        yield tr("Runs left out?"), str(len(e.left_out)) if e.left_out else tr("none")
        known = set(runs.extras)
        yield (
            tr("Learning rate and batch of each run?"),
            _columns(known, ("learning_rate", "batch")) or unknown,
        )
        yield tr("Seed of each run?"), _columns(known, ("seed",)) or unknown
    if fit is not None:
        yield from _of_fit(fit)
    yield (
        tr("Tested on runs that the fit had not seen?"),
        tr("yes, see the hold-out") if e.held_out is not None else tr("no"),
    )


def _of_fit(fit: Fit) -> Iterator[tuple[str, str]]:
    objective = getattr(fit, "objective", None)
    if objective is not None:
        yield tr("What is minimised?"), objective_name(objective)
    certificate: Any = getattr(fit, "certificate", fit)
    if hasattr(certificate, "n_starts"):
        yield (
            tr("How many starts, and how many agree?"),
            tr("{n} of {n_starts} agree", n=certificate.n_agreeing, n_starts=certificate.n_starts),
        )
    if fit.fixed:
        yield tr("Coefficients held?"), ", ".join(f"{name} = {value:g}" for name, value in fit.fixed.items())
    if fit.at_bound:
        yield tr("Coefficients on a bound?"), ", ".join(fit.at_bound)
    yield tr("How are the intervals made?"), method_in_words(fit.interval_method)


def _columns(known: set[str], words: tuple[str, ...]) -> str:
    """The columns of the table whose names hold one of the words."""
    found = sorted(name for name in known if any(word in name.lower() for word in words))
    return tr("in the table: {columns}", columns=", ".join(found)) if found else ""
