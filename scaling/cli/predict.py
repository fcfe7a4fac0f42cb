"""`scaling predict`: what a law says of a table of runs, beside what they reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from scaling.cli.pictures import picture_options, refuse_picture, write_picture
from scaling.cli.progress import waiting_for
from scaling.cli.tables import TableOptions, read_table, table_options
from scaling.render.terminal import show, show_json


@click.command(epilog="Example: scaling predict fit.json new_runs.csv")
@click.argument("law_name", metavar="LAW")
@table_options
@picture_options("predicted against measured losses")
@click.option("--json", "as_json", is_flag=True, help="Print every row as JSON.")
def predict(
    options: TableOptions, law_name: str, picture: Path | None, size: str, force: bool, as_json: bool
) -> None:
    """Predict the loss of RUNS with LAW (a published name or a fit.json).

    RUNS may have losses, which are then compared, or be planned and have none.
    """
    from scaling.fitting.prediction import predict_runs, prediction_doubts, summarise_prediction
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
    faults = [f.message for f in table.findings if f.severity == "error"]
    doubts = [*prediction_doubts(law, runs), *faults]
    if not as_json:
        show(*summarise_prediction(result, law, runs, name=law_name, doubts=doubts))
        return
    described = law_to_dict(replace(law, uncertainty=None))
    show_json(
        {
            "kind": "prediction",
            "law": {"name": law_name, **{k: described[k] for k in ("family", "coefficients", "provenance")}},
            "level": result.level,
            "method": result.method,
            "summary": result.scores(),
            "warnings": doubts,
            "excluded": table.left_out,
            "runs": result.rows(runs),
        }
    )
