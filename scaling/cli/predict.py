"""`scaling predict`: what a law says of a table of runs, beside what they reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from scaling.cli.completers import complete_law
from scaling.cli.help import Command
from scaling.cli.output import Output, give, output_options
from scaling.cli.pictures import picture_options, refuse_picture, write_picture
from scaling.cli.progress import waiting_for
from scaling.cli.tables import HEADINGS, TableOptions, read_table, table_options


@click.command(cls=Command, headings=HEADINGS, epilog="Example: scaling predict fit.json new_runs.csv")
@click.argument("law_name", metavar="LAW", shell_complete=complete_law)
@table_options
@picture_options("predicted against measured losses")
@output_options("runs", "doubts")
def predict(
    options: TableOptions, law_name: str, picture: Path | None, size: str, force: bool, output: Output
) -> None:
    """Predict the loss of RUNS with LAW (a published name or a fit.json).

    RUNS may have losses, which are then compared, or be planned and have none.
    """
    from scaling.fitting.prediction import fit_doubts, predict_runs, prediction_doubts, summarise_prediction
    from scaling.laws.io import law_to_dict
    from scaling.reference import resolve_law

    refuse_picture(picture, force)
    law = resolve_law(law_name)
    with waiting_for(f"reading {options.table}"):
        table = read_table(options, planned=True, inputs=[i.name for i in law.family.inputs])
    runs = table.runs
    result = predict_runs(law, runs)
    if picture is not None:
        from scaling.fitting.figures.checks import prediction_figure

        write_picture([prediction_figure(result, runs)], picture, size)
    faults = [f for f in table.findings if f.severity == "error"]
    doubts = [*fit_doubts(result), *prediction_doubts(law, runs), *faults]

    fit_command = f"scaling fit {options.as_arguments()}" if runs.measured.all() else ""

    def payload() -> dict[str, Any]:
        described = law_to_dict(replace(law, uncertainty=None))
        named = {k: described[k] for k in ("family", "coefficients", "provenance")}
        return {
            "kind": "prediction",
            "law": {"name": law_name, **named},
            "level": result.level,
            "method": result.method,
            "summary": result.scores(),
            "warnings": [doubt.message for doubt in doubts],
            "excluded": table.left_out,
            "runs": result.rows(runs),
        }

    give(
        output,
        lambda: summarise_prediction(
            result, law, runs, name=law_name, doubts=doubts, fit_command=fit_command
        ),
        payload,
        result.to_frame,
    )
