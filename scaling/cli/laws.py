"""`scaling laws`: the published laws, and one law in full (published or a law file)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Block, Blocks, Code, Equation, Fields, Heading, Section, Table, Text, next_step
from scaling.cli.completers import complete_law
from scaling.cli.help import Group
from scaling.cli.output import Output, give, output_options
from scaling.errors import LawError
from scaling.jsonable import fields_of
from scaling.laws.base import Allocation, Law
from scaling.translation import tr
from scaling.units import format_flops, format_interval, format_params, format_tokens

if TYPE_CHECKING:
    from pandas import DataFrame

BUDGETS = (1e19, 1e21, 1e23, 1e25)
LISTED_BUDGET = 1e21


laws = Group("laws", help="List the published laws, and show one in full.")


@laws.command("list", epilog="Example: scaling laws list")
@output_options("forms")
def list_laws(output: Output) -> None:
    """List the published laws: the optimum at 1e21 FLOPs, source and status; form and what N counts with --show."""
    from scaling.reference import DEFAULT_LAW, published_laws

    give(
        output,
        lambda: list_summary(published_laws(), DEFAULT_LAW),
        lambda: {"default": DEFAULT_LAW, "laws": [law_summary(law) for law in published_laws()]},
        lambda: laws_frame(published_laws()),
    )


@laws.command("show", epilog="Example: scaling laws show besiroglu")
@click.argument("name", metavar="LAW", shell_complete=complete_law)
@output_options("source")
def show_law(name: str, output: Output) -> None:
    """Show a published law, or one in a law or fit file: formula, coefficients, optimum; its source with --show."""
    from scaling.laws import law_to_dict
    from scaling.reference import resolve_law

    law = resolve_law(name)
    give(output, lambda: law_blocks(law, name), lambda: law_to_dict(law), lambda: optimum_frame(law))


def list_summary(published: Sequence[Law], default: str) -> Blocks:
    """A row a law: what it answers at one budget, and who says so."""
    flops = format_flops(LISTED_BUDGET)
    at = tr("N*, D*, D/N: the optimum at {flops} FLOPs; a law of one quantity has none.", flops=flops)
    headers = (tr("law"), "N*", "D*", "D/N", tr("source"))
    return (
        Table(headers, [_list_row(law) for law in published], indent=0, remarks=1, caption=at),
        Section("forms", tr("Forms"), lambda: _forms(published)),
        Code(f"scaling laws show {default}", label=tr("the default"), indent=2),
    )


def _forms(published: Sequence[Law]) -> Blocks:
    counts = {"total": tr("total"), "non_embedding": tr("non-embedding")}
    rows = []
    for law in published:
        p = law.provenance
        assert p is not None  # every packaged law has one
        counted = counts.get(p.params_convention, p.params_convention)
        rows.append((p.name, p.status, law.family.name.replace("_", " "), counted, law.family.formula))
    explained = tr("Status: checked against the source (verified), partly, or not.")
    headers = (tr("law"), tr("status"), tr("form"), tr("N counts"), tr("formula"))
    return (Table(headers, rows, left=5), Text(explained, indent=2))


def laws_frame(published: Sequence[Law]) -> DataFrame:
    """One row a law."""
    import pandas as pd

    rows = []
    for law in published:
        row = law_summary(law)
        ranges, coefficients = row.pop("fitted_range"), row.pop("coefficients")
        for quantity, (low, high) in ranges.items():
            row |= {f"fitted_{quantity}_low": low, f"fitted_{quantity}_high": high}
        rows.append(row | coefficients)
    return pd.DataFrame(rows)


def law_summary(law: Law) -> dict[str, Any]:
    """One row of `laws list --json`."""
    best = optimum_or_none(law, LISTED_BUDGET)
    assert law.provenance is not None  # every packaged law has one
    return {
        **fields_of(law.provenance, leave_out=("flops_over_6nd", "corpus")),
        "family": law.family.name,
        "formula": law.family.formula,
        "coefficients": law.coefficients,
        "has_uncertainty": law.uncertainty is not None,
        "n_params_at_1e21_flops": best.n_params if best else None,
        "n_tokens_at_1e21_flops": best.n_tokens if best else None,
    }


def optimum_or_none(law: Law, flops: float) -> Allocation | None:
    """The optimum, or None for a law of one quantity."""
    try:
        return law.allocate(flops)
    except LawError:
        return None


def _list_row(law: Law) -> list[str]:
    p = law.provenance
    assert p is not None  # every packaged law has one
    best = optimum_or_none(law, LISTED_BUDGET)
    optimum = ["-", "-", "-"]
    if best is not None:
        n, d = best.n_params, best.n_tokens
        optimum = [format_params(n), format_tokens(d), f"{d / n:.3g}"]
    return [p.name, *optimum, p.source.split(",")[0]]


def law_blocks(law: Law, name: str) -> Blocks:
    """The formula with its numbers and the optimum at some budgets; where it comes from as a section."""
    coefficients = ", ".join(
        f"{name}={value:.6g}" for name, value in law.coefficients.items() if value is not None
    )
    optimum = _optimum(law)
    return (
        Equation(law.family.formula),
        Text(coefficients, indent=2),
        *_first_provenance(law),
        *optimum,
        Section("source", tr("Where it comes from"), lambda: (_provenance(law), *_stated(law))),
        *(next_step(f"scaling plan --flops 1e21 --law {shlex.quote(name)}") if optimum else ()),
    )


def _first_provenance(law: Law) -> Blocks:
    """Who says so, of what N, over what range, in a line or two."""
    p = law.provenance
    if p is None:
        return (Text(tr("source not recorded"), indent=2),)
    told = [p.source.split(": ")[0], tr("N counts {what}", what=_counts(p.params_convention))]
    if ranges := _ranges(law):
        told.append(tr("fitted on {ranges}", ranges=ranges))
    return (Text("; ".join(told), indent=2),)


def _counts(convention: str) -> str:
    counts = {
        "total": tr("total parameters, embedding included"),
        "non_embedding": tr("non-embedding parameters"),
    }
    return counts.get(convention, convention)


def _ranges(law: Law) -> str:
    """C, N and D from where to where; "" where that is not recorded."""
    forms = {"flops": ("C", format_flops), "n_params": ("N", format_params), "n_tokens": ("D", format_tokens)}
    ranges = []
    for name, (symbol, form) in forms.items():
        if law.provenance is not None and name in law.provenance.fitted_range:
            low, high = map(form, law.provenance.fitted_range[name])
            ranges.append(tr("{symbol} {low} to {high}", symbol=symbol, low=low, high=high))
    return ", ".join(ranges)


def _provenance(law: Law) -> Block:
    p = law.provenance
    if p is None:
        return Text(tr("not recorded"), indent=2)
    fields = [
        (tr("source"), p.source),
        (tr("form"), law.family.cite),
        (tr("N counts"), _counts(p.params_convention)),
        ("C", p.flops_text.removeprefix("C = ")),
        (tr("loss"), p.loss_unit),
        (tr("corpus"), p.corpus),
        (tr("fitted on"), _ranges(law) or tr("not recorded")),
        (tr("status"), p.status),
        (tr("note"), p.note),
    ]
    return Fields([(name, value) for name, value in fields if value])


def _optimum(law: Law) -> Blocks:
    points = [best for flops in BUDGETS if (best := optimum_or_none(law, flops))]
    if not points:
        return ()
    from scaling.planning.uncertainty import at_budget

    u = law.uncertainty
    exponent = getattr(law, "params_exponent", None)
    rows = []
    for best in points:
        ends = at_budget(law, best.flops)
        interval = format_interval(*ends[0], format_params, u.level) if ends and u else ""
        loss = "-" if best.loss is None else f"{best.loss:.3f}"
        n, d, ratio = (
            format_params(best.n_params),
            format_tokens(best.n_tokens),
            best.n_tokens / best.n_params,
        )
        rows.append([format_flops(best.flops), n, d, f"{ratio:.3g}", loss, interval])
    headers = ("C", "N*", "D*", "D/N", tr("loss"), tr("interval of N*") if u else "")
    power = [] if exponent is None else [Text(f"N* ~ C^{exponent:.3f}, D* ~ C^{1 - exponent:.3f}", indent=2)]
    return (Heading(tr("Compute-optimal split")), *power, Table(headers, rows))


def _stated(law: Law) -> Blocks:
    """How its interval was made and what it holds for."""
    u = law.uncertainty
    return (Text(tr("Interval: {u.method}; {u.statement}.", u=u), indent=2),) if u else ()


def optimum_frame(law: Law) -> DataFrame:
    """One row a budget of the screen: the optimum of the law, unrounded; no row for a law of one quantity."""
    import pandas as pd

    from scaling.planning.uncertainty import at_budget

    rows = []
    for best in (b for flops in BUDGETS if (b := optimum_or_none(law, flops))):
        ends = at_budget(law, best.flops)
        low, high = ends[0] if ends else (None, None)
        row = {name: getattr(best, name) for name in ("flops", "n_params", "n_tokens", "loss")}
        rows.append(row | {"n_params_low": low, "n_params_high": high})
    return pd.DataFrame(
        rows, columns=["flops", "n_params", "n_tokens", "loss", "n_params_low", "n_params_high"]
    )
