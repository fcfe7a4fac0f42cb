"""`scaling predict`: what a law says of a table of runs, beside what they reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.output import heading, paragraph, print_fields, print_json, print_table, printable
from scaling.cli.progress import waiting_for
from scaling.cli.tables import TableOptions, read_table, table_options
from scaling.runs.checks import quantities_read
from scaling.translation import counted
from scaling.units import format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    from scaling.fitting.prediction import Prediction
    from scaling.laws.base import Law
    from scaling.runs import Runs

SHOWN_ROWS = 20


@click.command(epilog="Example: scaling predict fit.json new_runs.csv")
@click.argument("law_name", metavar="LAW")
@table_options
@click.option("--json", "as_json", is_flag=True, help="Print every row as JSON.")
def predict(options: TableOptions, law_name: str, as_json: bool) -> None:
    """Predict the loss of RUNS with LAW (a published name or a fit.json).

    RUNS may have losses, which are then compared, or be planned and have none.
    """
    from scaling.fitting.prediction import predict_runs
    from scaling.laws.io import law_to_dict
    from scaling.reference import resolve_law

    law = resolve_law(law_name)
    with waiting_for(f"reading {options.table}"):
        table = read_table(options, planned=True, inputs=[i.name for i in law.family.inputs])
    runs, left_out, findings = table.runs, table.left_out, table.findings
    result = predict_runs(law, runs)
    doubts = [*_doubts(law, runs), *(f.message for f in findings if f.severity == "error")]
    if not as_json:
        _print(law_name, law, result, runs, doubts)
        return
    described = law_to_dict(replace(law, uncertainty=None))
    print_json(
        {
            "kind": "prediction",
            "law": {"name": law_name, **{k: described[k] for k in ("family", "coefficients", "provenance")}},
            "level": result.level,
            "method": result.method,
            "summary": result.summary(),
            "warnings": doubts,
            "excluded": left_out,
            "runs": _rows(result, runs),
        }
    )


def _rows(result: Prediction, runs: Runs) -> list[dict[str, Any]]:
    def ends(band: Any, i: int) -> dict[str, float] | None:
        return None if band is None else {"low": float(band[i, 0]), "high": float(band[i, 1])}

    return [
        {
            "run_id": runs.run_id[i],
            "n_params": float(runs.n_params[i]),
            "n_tokens": float(runs.n_tokens[i]),
            "flops": float(runs.flops[i]),
            "loss": float(runs.loss[i]),  # null: not trained yet
            "predicted_loss": float(result.loss[i]),
            "interval": ends(result.confidence, i),
            "prediction_interval": ends(result.prediction, i),
            "error_fraction": float(result.error_fraction[i]),
        }
        for i in range(len(runs))
    ]


def _doubts(law: Law, runs: Runs) -> list[str]:
    """Differences of convention and distance outside the fitted range: the errors below then mean less."""
    provenance = law.provenance
    if provenance is None:
        return []
    found = []
    reads = quantities_read(runs, [i.name for i in law.family.inputs])
    counted = {provenance.params_convention, runs.convention.params}
    if len(counted) > 1 and "unknown" not in counted and "n_params" in reads:
        found.append(
            f"the law counts {provenance.params_convention} parameters, the table {runs.convention.params} ones"
        )
    if provenance.loss_unit != runs.convention.loss_unit:
        found.append(f"the law predicts {provenance.loss_unit}, the table holds {runs.convention.loss_unit}")
    for name, (low, high) in provenance.fitted_range.items():
        values = getattr(runs, name) if name in reads else None
        if values is not None and (n := int(((values < low * 0.999) | (values > high * 1.001)).sum())):
            found.append(f"{n} of {len(runs)} runs lie outside the law's fitted range of {name}")
    return found


def _print(name: str, law: Law, result: Prediction, runs: Runs, doubts: list[str]) -> None:
    click.echo(f"{printable(name)} on {_summary(result)}")
    fields = [("law", law.provenance.source if law.provenance else name)]
    inside = result.summary()["inside_interval_fraction"]
    if inside is not None:
        share = format_percent(inside)
        fields.append(
            ("covered", f"{share} of the runs lie inside their {100 * result.level:g} % prediction interval")
        )
    fields.append(("interval", _what_interval(result)))
    fields += [("warning", text) for text in doubts]
    print_fields(fields)
    _print_runs(result, runs)


def _summary(result: Prediction) -> str:
    summary = result.summary()
    n, measured = summary["n_runs"], summary["n_measured"]
    if not measured:
        return f"{counted(n, 'planned run')}, none of them trained yet"
    lead = counted(n, "run") if measured == n else f"{counted(n, 'run')}, {measured} of them with a loss"
    return (
        f"{lead}: mean absolute error {format_percent(summary['mean_absolute_error_fraction'])}, bias "
        f"{100 * summary['mean_error_fraction']:+.2g} %, largest {100 * summary['largest_error_fraction']:+.2g} %"
    )


def _what_interval(result: Prediction) -> str:
    if result.confidence is None:
        return "none published for this law"
    where = f"{100 * result.level:g} %, {result.method}"
    if result.prediction is None:
        return f"for the law at that point ({where}); how far single runs scatter about it is not published"
    return f"for one new run: the law's own ({where}), and the scatter of a run"


def _print_runs(result: Prediction, runs: Runs) -> None:
    worst_first = len(runs) > SHOWN_ROWS and bool(runs.measured.any())
    heading("runs, the worst first" if worst_first else "runs")
    order = list(range(len(runs)))
    if worst_first:
        order.sort(key=lambda i: -abs(result.error_fraction[i]) if runs.measured[i] else 0.0)
    band = result.prediction if result.prediction is not None else result.confidence
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "n_params": ("N", format_params),
        "n_tokens": ("D", format_tokens),
        "flops": ("C", format_flops),
    }
    shown = {name: how for name, how in shown.items() if name not in runs.absent}
    rows = []
    for i in order[:SHOWN_ROWS]:
        ends = "" if band is None else f"{band[i, 0]:.4f} to {band[i, 1]:.4f}"
        known = bool(runs.measured[i])
        loss, error = (
            (f"{runs.loss[i]:.4f}", f"{100 * result.error_fraction[i]:+.2f} %") if known else ("", "")
        )
        sizes = [form(float(getattr(runs, name)[i])) for name, (_, form) in shown.items()]
        rows.append((runs.run_id[i][:28], *sizes, loss, f"{result.loss[i]:.4f}", ends, error))
    of_what = "of a run" if result.prediction is not None else "of the law"
    letters = [letter for letter, _ in shown.values()]
    headers = ["run", *letters, "loss", "predicted", f"{100 * result.level:g} % {of_what}", "error"]
    print_table(headers, rows)
    if len(runs) > SHOWN_ROWS:
        paragraph(f"and {len(runs) - SHOWN_ROWS} more: --json has all of them", "  ")
