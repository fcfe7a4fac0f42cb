"""Several audits under one law: a row for each, what the columns mean, and the doubts about them."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.blocks import Blocks, Table, Text
from scaling.findings import Finding
from scaling.laws.base import Law
from scaling.planning.allocation import counts_non_embedding, origin_of
from scaling.planning.audit import RULE_OF_THUMB, Audit, plain
from scaling.translation import tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

DETAILED = 2  # up to this many models each get their own paragraph
LONGEST_NAME = 14  # keeps the table within 100 columns of a terminal


def summarise_audits(audits: Sequence[Audit], law: Law, *, law_name: str) -> Blocks:
    """The table, of few models the summary of each, and what is assumed. The doubts are `audit_findings`."""
    headers = [tr("model"), tr("params"), tr("tokens"), "C", "D/N", tr("law N*"), tr("law D*")]
    headers += [f"{RULE_OF_THUMB} N", tr("trained"), tr("wasted"), tr("loss +")]
    each = [block for audit in audits for block in audit.summary()] if len(audits) <= DETAILED else []
    source = f" ({law.provenance.source})" if law.provenance else ""
    any_mixture = any(a.model.n_params_total for a in audits)
    assumed = tr(
        "C = 6 N D, N the {counted}{mixture}. Law: {law}{source}. N*, D*: the best split of the same C. Trained: by "
        "how many times D/N misses the law's{disputed}. Wasted: the share of C that an optimal model of the same loss "
        "would not have needed (under 6 % is near). Loss +: above the optimum at the same C. Losses are the law's "
        "predictions in nats per token.",
        counted=tr("non-embedding parameters") if counts_non_embedding(law) else tr("total parameters"),
        mixture=tr(" (of a mixture of experts: the active)") if any_mixture else "",
        law=law_name,
        source=source,
        disputed=tr(" (?: its figures are disputed)") if any(a.is_open for a in audits) else "",
    )
    return Table(headers, [_row(a) for a in audits]), *each, Text(""), Text(assumed)


def _row(a: Audit) -> list[str]:
    name, wasted = a.model.name, a.wasted_compute_fraction
    return [
        name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…",
        format_params(a.n_params),
        format_tokens(a.model.n_tokens),
        format_flops(a.flops),
        plain(a.tokens_per_param),
        format_params(a.optimum.n_params),
        format_tokens(a.optimum.n_tokens),
        format_params(a.rule_of_thumb.n_params),
        _trained(a) + ("?" if a.is_open else ""),
        "-" if wasted is None else format_percent(wasted),
        "-" if a.excess_loss is None else f"{a.excess_loss:.3f}",
    ]


def _trained(a: Audit) -> str:
    """By how much the tokens per parameter miss the optimum's."""
    ratio = a.tokens_per_param_ratio
    if a.verdict == "near-optimal":
        return tr("near")
    times = plain(max(ratio, 1 / ratio), 2)
    return tr("{times}x under", times=times) if ratio < 1 else tr("{times}x over", times=times)


def audit_findings(audits: Sequence[Audit], law: Law) -> tuple[Finding, ...]:
    """Extrapolation first; then each doubt once, with the models that it is about.

    Of few models a disputed figure stands in the summary of each, and is left out here.
    """
    about: dict[tuple[str, str], list[str]] = {}
    for audit in audits:
        for finding in audit.all_findings if len(audits) > DETAILED else audit.findings:
            about.setdefault((finding.code, finding.message), []).append(audit.model.name)
    told = (
        Finding(code=code, severity="warning", message=f"{', '.join(names)}: {text}.")
        for (code, text), names in about.items()
    )
    return (*_extrapolation(audits, law), *told)


def _extrapolation(audits: Sequence[Audit], law: Law) -> tuple[Finding, ...]:
    low, high = origin_of(law).fitted_range.get("flops", (0.0, 0.0))
    outside = [a for a in audits if not low <= a.flops <= high]
    if not high or not outside:
        return ()
    which = ", ".join(a.model.name for a in outside) + (" lies" if len(outside) == 1 else " lie")
    if len(outside) == len(audits):
        which = "every model lies" if len(audits) > 1 else "it lies"
    most = plain(max(max(a.flops / high, low / a.flops) for a in outside), 2)
    runs = f"the runs behind the law ({format_flops(low)} to {format_flops(high)} FLOPs)"
    said = f"{which} outside {runs}, by up to {most} times: the law is extrapolated."
    return (Finding(code="extrapolation", severity="warning", message=said),)
