"""`scaling laws`: the published laws, and one law in full (published or a law file)."""

from __future__ import annotations

from typing import Any

import click

from scaling.cli.output import heading, paragraph, print_fields, print_json, print_table
from scaling.errors import LawError
from scaling.laws.base import Allocation, Law
from scaling.units import format_flops, format_interval, format_params, format_tokens

BUDGETS = (1e19, 1e21, 1e23, 1e25)
LISTED_BUDGET = 1e21
PARAMS = {"total": "total parameters, embedding included", "non_embedding": "non-embedding parameters"}
COUNTS = {"total": "total", "non_embedding": "non-emb."}


@click.group()
def laws() -> None:
    """List and show published scaling laws."""


@laws.command("list", epilog="Example: scaling laws list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, coefficients unrounded.")
def list_laws(as_json: bool) -> None:
    """List the published laws: form, what N counts, the optimum at 1e21 FLOPs, status and source."""
    from scaling.reference import DEFAULT_LAW, published_laws

    if as_json:
        print_json({"default": DEFAULT_LAW, "laws": [law_summary(law) for law in published_laws()]})
        return
    print_table(
        ["law", "form", "N counts", "source", "status", "N*", "D/N"],
        [_list_row(law) for law in published_laws()],
        left=5,
    )
    click.echo()
    paragraph(
        f"N* and D/N: the optimum at {format_flops(LISTED_BUDGET)} FLOPs; a law of one quantity has none. Status: "
        f"checked against the source (verified), partly, or not. The default of every command is {DEFAULT_LAW}; "
        f"one law in full: scaling laws show {DEFAULT_LAW}"
    )


@laws.command("show", epilog="Example: scaling laws show besiroglu")
@click.argument("name", metavar="LAW")
@click.option("--json", "as_json", is_flag=True, help="Print the law file, coefficients unrounded.")
def show_law(name: str, as_json: bool) -> None:
    """Show a published law, or one in a law or fit file: formula, coefficients, range, optimum, uncertainty."""
    from scaling.laws import law_to_dict
    from scaling.reference import resolve_law

    law = resolve_law(name)
    if as_json:
        print_json(law_to_dict(law))
        return
    paragraph(law.family.formula)
    print_fields([(name, _digits(value)) for name, value in law.coefficients.items() if value is not None])
    _print_provenance(law)
    _print_optimum(law)


def law_summary(law: Law) -> dict[str, Any]:
    """One row of `laws list --json`."""
    p = law.provenance
    best = optimum_or_none(law, LISTED_BUDGET)
    return {
        "name": p.name if p else "",
        "family": law.family.name,
        "formula": law.family.formula,
        "coefficients": law.coefficients,
        "params_convention": p.params_convention if p else "unknown",
        "flops_convention": p.flops_convention if p else "unknown",
        "loss_unit": p.loss_unit if p else "",
        "fitted_range": dict(p.fitted_range) if p else {},
        "has_uncertainty": law.uncertainty is not None,
        "n_params_at_1e21_flops": best.n_params if best else None,
        "n_tokens_at_1e21_flops": best.n_tokens if best else None,
        "status": p.status if p else "",
        "source": p.source if p else "",
        "note": p.note if p else "",
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
    return [
        p.name,
        law.family.name.replace("_power_law", " power").replace("_", " "),
        COUNTS.get(p.params_convention, "see show"),
        p.source.split(",")[0],
        p.status,
        format_params(best.n_params) if best else "-",
        f"{best.n_tokens / best.n_params:.3g}" if best else "-",
    ]


def _print_provenance(law: Law) -> None:
    heading("Where it comes from")
    p = law.provenance
    if p is None:
        paragraph("not recorded", "  ")
        return
    ranges = [
        f"{symbol} {form(p.fitted_range[name][0])} to {form(p.fitted_range[name][1])}"
        for name, symbol, form in (
            ("flops", "C", format_flops),
            ("n_params", "N", format_params),
            ("n_tokens", "D", format_tokens),
        )
        if name in p.fitted_range
    ]
    fields = [
        ("source", p.source),
        ("form", law.family.cite),
        ("N counts", PARAMS.get(p.params_convention, p.params_convention)),
        ("C", p.flops_text.removeprefix("C = ")),
        ("loss", p.loss_unit),
        ("corpus", p.corpus),
        ("fitted on", ", ".join(ranges) or "not recorded"),
        ("status", p.status),
        ("note", p.note),
    ]
    print_fields([(name, value) for name, value in fields if value])


def _print_optimum(law: Law) -> None:
    points = [best for flops in BUDGETS if (best := optimum_or_none(law, flops))]
    if not points:
        return
    from scaling.planning.uncertainty import at_budget

    heading("Compute-optimal split")
    exponents = getattr(law, "params_exponent", None)
    if exponents is not None:
        paragraph(f"N* ~ C^{exponents:.3f}, D* ~ C^{1 - exponents:.3f}", "  ")
    u = law.uncertainty
    rows = []
    for best in points:
        ends = at_budget(law, best.flops)
        rows.append(
            [
                format_flops(best.flops),
                format_params(best.n_params),
                format_tokens(best.n_tokens),
                f"{best.n_tokens / best.n_params:.3g}",
                "-" if best.loss is None else f"{best.loss:.3f}",
                format_interval(*ends[0], format_params, u.level) if ends and u else "",
            ]
        )
    print_table(["C", "N*", "D*", "D/N", "loss", "interval of N*" if u else ""], rows)
    if u is not None:
        paragraph(f"Interval: {u.method}; {u.statement}.", "  ")


def _digits(value: float) -> str:
    return f"{value:.6g}"
