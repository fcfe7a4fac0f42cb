"""`scaling laws`: the published laws, and one law in full (published or a law file)."""

from __future__ import annotations

from typing import Any

import click

from scaling.blocks import Block, Blocks, Equation, Fields, Heading, Table, Text
from scaling.cli.completers import complete_law
from scaling.cli.help import Group
from scaling.errors import LawError
from scaling.jsonable import fields_of
from scaling.laws.base import Allocation, Law
from scaling.render.terminal import show, show_json
from scaling.translation import tr
from scaling.units import format_flops, format_interval, format_params, format_tokens

BUDGETS = (1e19, 1e21, 1e23, 1e25)
LISTED_BUDGET = 1e21


laws = Group("laws", help="List the published laws, and show one in full.")


@laws.command("list", epilog="Example: scaling laws list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, coefficients unrounded.")
def list_laws(as_json: bool) -> None:
    """List the published laws: form, what N counts, the optimum at 1e21 FLOPs, status and source."""
    from scaling.reference import DEFAULT_LAW, published_laws

    if as_json:
        show_json({"default": DEFAULT_LAW, "laws": [law_summary(law) for law in published_laws()]})
        return
    explained = tr(
        "N* and D/N: the optimum at {flops} FLOPs; a law of one quantity has none. Status: checked against the source "
        "(verified), partly, or not. The default of every command is {default}; one law in full: scaling laws show "
        "{default}",
        flops=format_flops(LISTED_BUDGET),
        default=DEFAULT_LAW,
    )
    headers = (tr("law"), tr("form"), tr("N counts"), tr("source"), tr("status"), "N*", "D/N")
    show(Table(headers, [_list_row(law) for law in published_laws()], left=5), Text(""), Text(explained))


@laws.command("show", epilog="Example: scaling laws show besiroglu")
@click.argument("name", metavar="LAW", shell_complete=complete_law)
@click.option("--json", "as_json", is_flag=True, help="Print the law file, coefficients unrounded.")
def show_law(name: str, as_json: bool) -> None:
    """Show a published law, or one in a law or fit file: formula, coefficients, range, optimum, uncertainty."""
    from scaling.laws import law_to_dict
    from scaling.reference import resolve_law

    law = resolve_law(name)
    if as_json:
        show_json(law_to_dict(law))
        return
    coefficients = [(name, f"{value:.6g}") for name, value in law.coefficients.items() if value is not None]
    show(
        Equation(law.family.formula),
        Fields(coefficients),
        Heading(tr("Where it comes from")),
        _provenance(law),
        *_optimum(law),
    )


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
    counts = {"total": tr("total"), "non_embedding": tr("non-emb.")}
    best = optimum_or_none(law, LISTED_BUDGET)
    return [
        p.name,
        law.family.name.replace("_power_law", " power").replace("_", " "),
        counts.get(p.params_convention, tr("see show")),
        p.source.split(",")[0],
        p.status,
        format_params(best.n_params) if best else "-",
        f"{best.n_tokens / best.n_params:.3g}" if best else "-",
    ]


def _provenance(law: Law) -> Block:
    p = law.provenance
    if p is None:
        return Text(tr("not recorded"), indent=2)
    counts = {
        "total": tr("total parameters, embedding included"),
        "non_embedding": tr("non-embedding parameters"),
    }
    forms = {"flops": ("C", format_flops), "n_params": ("N", format_params), "n_tokens": ("D", format_tokens)}
    ranges = []
    for name, (symbol, form) in forms.items():
        if name in p.fitted_range:
            low, high = map(form, p.fitted_range[name])
            ranges.append(tr("{symbol} {low} to {high}", symbol=symbol, low=low, high=high))
    fields = [
        (tr("source"), p.source),
        (tr("form"), law.family.cite),
        (tr("N counts"), counts.get(p.params_convention, p.params_convention)),
        ("C", p.flops_text.removeprefix("C = ")),
        (tr("loss"), p.loss_unit),
        (tr("corpus"), p.corpus),
        (tr("fitted on"), ", ".join(ranges) or tr("not recorded")),
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
    stated = [Text(tr("Interval: {u.method}; {u.statement}.", u=u), indent=2)] if u else []
    return (Heading(tr("Compute-optimal split")), *power, Table(headers, rows), *stated)
