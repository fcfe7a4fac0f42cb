"""`scaling data`: list the public tables of training runs, and fetch one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Blocks, Code, Fields, Section, Table, Text, next_step
from scaling.cli.completers import complete_public_table
from scaling.cli.help import Group
from scaling.cli.output import Output, give, output_options
from scaling.cli.progress import waiting_for
from scaling.jsonable import fields_of
from scaling.render.terminal import note, show, show_json
from scaling.runs.public_tables import PUBLIC_TABLES, PublicTable, find_table
from scaling.translation import tr

if TYPE_CHECKING:
    from pandas import DataFrame

data = Group("data", help="List and download public tables of training runs.")
_HOW_IT_IS_READ = ("repository", "commit", "path", "experiment", "columns", "highest_losses_marked")


def _row(table: PublicTable) -> dict[str, Any]:
    return fields_of(table, leave_out=_HOW_IT_IS_READ, also=("url",))


@data.command("list", epilog="Try: scaling data list")
@output_options("sources")
def list_tables(output: Output) -> None:
    """List the public tables that `scaling data get` can fetch; where they come from with --show."""
    give(output, list_summary, lambda: {"tables": [_row(t) for t in PUBLIC_TABLES]}, tables_frame)


def list_summary() -> Blocks:
    """A row a table."""
    rows = [(t.id, str(t.n_runs), t.about) for t in PUBLIC_TABLES]
    return (
        Table(["id", tr("runs"), tr("what")], rows, left=1, remarks=1, indent=0),
        Section("sources", tr("Sources"), _sources),
        *next_step("scaling data get epoch-chinchilla"),
    )


def _sources() -> Blocks:
    sources: dict[str, PublicTable] = {f"{t.repository} @ {t.commit[:8]}": t for t in reversed(PUBLIC_TABLES)}
    return (Fields([(s, tr("licence {licence}", licence=t.licence)) for s, t in sorted(sources.items())]),)


def tables_frame() -> DataFrame:
    """One row a table."""
    import pandas as pd

    return pd.DataFrame([_row(t) for t in PUBLIC_TABLES])


@data.command("get", epilog="Try: scaling data get epoch-chinchilla -o runs.csv")
@click.argument("table_id", metavar="ID", shell_complete=complete_public_table)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write (.csv, .jsonl, .parquet).",
)
@click.option(
    "--cache",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder of the cache  [default: the user's cache].",
)
@click.option("--base-url", metavar="URL", help="A mirror of raw.githubusercontent.com.")
@click.option("--force", is_flag=True, help="Overwrite the output file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: id, path, n_runs, convention, sha256, ...")
def get_table(
    table_id: str, output: Path | None, cache: Path | None, base_url: str | None, force: bool, as_json: bool
) -> None:
    """Download the public table ID, verify its hash, and write it in our columns."""
    table = find_table(table_id)
    from scaling.runs.public_tables import HOST, cache_folder, download_runs

    folder = cache or cache_folder(Path.cwd(), os.environ)
    with waiting_for(tr("downloading {table}", table=table.id)):
        runs = download_runs(table.id, cache=folder, base_url=base_url or HOST)
    path = runs.save(output or folder / f"{table.id}.csv", overwrite=force or output is None)
    if as_json:
        convention = {"params": runs.convention.params, "flops": runs.convention.flops}
        show_json({**_row(table), "n_runs": len(runs), "path": str(path), "convention": convention})
        return
    held = tr("{t.id}: {n} runs, {t.about}", t=table, n=len(runs))
    counts = tr("N {c.params}, C {c.flops}, loss {c.loss_unit}", c=runs.convention)
    source = tr("{t.repository} @ {t.commit:.8}, licence {t.licence}, SHA-256 verified", t=table)
    fields = [(tr("table"), held), (tr("file"), str(path)), (tr("counts"), counts), (tr("source"), source)]
    show(Fields([*fields, (tr("cite"), table.cite)]))
    for line in runs.notes:
        note(line)
    show(Text(""), Code(f"scaling fit {path}", label=tr("Next:"), indent=2))
