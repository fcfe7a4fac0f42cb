"""Several audits under one law: the verdicts, a row for each model, and the doubts about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaling.blocks import Blocks, Heading, Section, Table, Text, doubts_section, first_doubts, next_step
from scaling.findings import Finding
from scaling.laws.base import Law
from scaling.planning.audit import RULE_OF_THUMB, Audit, assumptions, plain, verdict_name
from scaling.planning.checks import extrapolation
from scaling.translation import counted, tr
from scaling.units import format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NAME = 16  # characters of a model's name in a table


def summarise_audits(audits: Sequence[Audit], law: Law, *, next_command: str = "") -> Blocks:
    """Of one model its own summary; of several the verdicts, a row for each, and what to doubt."""
    if len(audits) == 1:
        return audits[0].summary(next_command=next_command)
    findings = audit_findings(audits, law)
    level = law.uncertainty.level if law.uncertainty else 0.0
    headers = [tr("model"), tr("params"), tr("optimal"), f"{100 * level:g} %", tr("trained"), tr("wasted")]
    rows = [_short_row(a) for a in audits]
    if not any(row[3] for row in rows):  # no interval
        headers, rows = [*headers[:3], *headers[4:]], [[*row[:3], *row[4:]] for row in rows]
    return (
        Text(_headline(audits), style="strong"),
        Table(headers, rows),
        *first_doubts(findings),
        Section("models", tr("In full"), lambda: _in_full(audits)),
        Section("sources", tr("What is assumed"), lambda: (Text(assumptions(audits, law)),)),
        *doubts_section(findings),
        *next_step(next_command),
    )


def _headline(audits: Sequence[Audit]) -> str:
    """'6 models: 5 under-trained, 1 near-optimal.'"""
    counts = Counter(a.verdict for a in audits).most_common()
    verdicts = ", ".join(f"{n} {verdict_name(v)}" if n == 1 else _several(v, n) for v, n in counts)
    return tr("{n} models: {verdicts}.", n=len(audits), verdicts=verdicts)


def _several(verdict: str, n: int) -> str:
    if verdict == "near-optimal":
        return tr("{n} near-optimal", n=n)
    return tr("{n} under-trained", n=n) if verdict == "under-trained" else tr("{n} over-trained", n=n)


def _short_row(a: Audit) -> list[str]:
    return [_name(a), format_params(a.n_params), format_params(a.optimum.n_params), a.interval, *_verdict(a)]


def _verdict(a: Audit) -> tuple[str, str]:
    wasted = a.wasted_compute_fraction
    return _trained(a) + ("?" if a.is_open else ""), "-" if wasted is None else format_percent(wasted)


def _in_full(audits: Sequence[Audit]) -> Blocks:
    """Every column of every model, and each one's verdict in full."""
    headers = [
        tr("model"),
        tr("params"),
        tr("tokens"),
        "C",
        "D/N",
        tr("law N*"),
        tr("law D*"),
    ]
    headers += [f"{RULE_OF_THUMB} N", tr("trained"), tr("wasted"), tr("loss +")]
    each = [block for a in audits for block in (Heading(a.model.name, 3), a.detail())]
    return Table(headers, [_row(a) for a in audits]), *each


def _row(a: Audit) -> list[str]:
    return [
        _name(a),
        format_params(a.n_params),
        format_tokens(a.model.n_tokens),
        format_flops(a.flops) + ("!" if a.conflict else ""),
        plain(a.tokens_per_param),
        format_params(a.optimum.n_params),
        format_tokens(a.optimum.n_tokens),
        format_params(a.rule_of_thumb.n_params),
        *_verdict(a),
        "-" if a.excess_loss is None else f"{a.excess_loss:.3f}",
    ]


def _name(a: Audit) -> str:
    name = a.model.name
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _trained(a: Audit) -> str:
    """By how much the tokens per parameter miss the optimum's."""
    ratio = a.tokens_per_param_ratio
    if a.verdict == "near-optimal":
        return tr("near")
    times = plain(max(ratio, 1 / ratio), 2)
    return tr("{times}x under", times=times) if ratio < 1 else tr("{times}x over", times=times)


def audit_findings(audits: Sequence[Audit], law: Law) -> tuple[Finding, ...]:
    """Extrapolation first; then each doubt once, with the models that it is about."""
    about: dict[tuple[str, str, str], list[str]] = {}
    for audit in audits:
        for finding in audit.all_findings:
            about.setdefault((finding.code, finding.message, finding.short), []).append(audit.model.name)
    told = (
        Finding(
            code=code,
            severity="warning",
            message=f"{', '.join(names)}: {text}.",
            short=f"{names[0] if len(names) == 1 else counted(len(names), 'model')}: {short or text}",
        )
        for (code, text, short), names in about.items()
    )
    return (*extrapolation([(a.model.name, a.flops) for a in audits], law), *told)


def audits_frame(audits: Sequence[Audit]) -> pd.DataFrame:
    """One row per model, unrounded; fractions in 0..1."""
    import pandas as pd

    return pd.DataFrame([row for a in audits for row in a.records()])
