"""`scaling page`: one static file in which a reader turns the budget and sees the plan follow."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaling.cli.completers import complete_law
from scaling.cli.help import Command
from scaling.cli.progress import waiting_for
from scaling.cli.tables import refuse_overwrite
from scaling.errors import UnitError
from scaling.render.terminal import say
from scaling.translation import tr, translated
from scaling.units import format_bytes, parse_flops

if TYPE_CHECKING:
    from scaling.laws.base import Law
    from scaling.runs import Runs

FLOPS = "1e21"


@click.command(cls=Command, epilog="Example: scaling page fit.json -o page.html --flops 1e22")
@click.argument("law", metavar="[LAW|RUNS]", required=False, shell_complete=complete_law)
@click.option(
    "--runs",
    "runs_file",
    metavar="RUNS",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Table of the runs behind the law, as dots on its pictures.",
)
@click.option("--flops", default=FLOPS, show_default=True, metavar="FLOPS", help="The budget shown first.")
@click.option(
    "-o",
    "--output",
    default=Path("page.html"),
    show_default=True,
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.",
)
@click.option(
    "--lang", "language", default="en", show_default=True, metavar="en|es", help="Language of the page."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def page(
    law: str | None, runs_file: Path | None, flops: str, output: Path, language: str, force: bool
) -> None:
    """Write a page to explore: turn the budget, the law, hardware and price, and the plan and its pictures follow.

    LAW is a published law or the file of a fit (fit.json), RUNS a table that is fitted here as `scaling fit` does; it
    is shown before the published laws. The page computes in the browser, works offline, and its address keeps what was
    chosen.
    """
    from scaling.page import checked_flops, write_page
    from scaling.reference.published import resolve_law
    from scaling.report.language import load_catalogue

    try:
        first = checked_flops(parse_flops(flops))
    except UnitError as error:
        raise UnitError(f"--flops: {error}") from error
    refuse_overwrite(force, output)
    with translated(load_catalogue(language)), waiting_for(tr("writing {folder}", folder=output)):
        chosen: Law | None = None
        runs, command, named = None, "", law or ""
        if law is not None and _is_table(Path(law)):
            chosen, runs = _fitted(Path(law))
            command, named = shlex.join(["scaling", "fit", law, "-o", "fit.json"]), "fit.json"
        elif law is not None:
            chosen = resolve_law(law)
        if runs_file is not None:
            runs = _runs(runs_file)
        write_page(
            output, chosen, flops=first, runs=runs, law_file=named, law_command=command, language=language
        )
    size = format_bytes(output.stat().st_size)
    say(tr("wrote {file} ({size}); open it in a browser", file=output, size=size))


def _is_table(path: Path) -> bool:
    """Whether a file is there that is no law's: a law is a JSON object of kind fit or law."""
    from scaling.cli.report_source import is_law_file

    return path.is_file() and not is_law_file(path)


def _runs(path: Path) -> Runs:
    from scaling.cli.tables import TableOptions, read_table

    return read_table(TableOptions(table=path), final=True).runs


def _fitted(path: Path) -> tuple[Law, Runs]:
    """The law of a table as `scaling fit` fits it, with the draws that its intervals need, and the runs."""
    from scaling.cli.fit import fit_table
    from scaling.cli.fit_options import FitOptions
    from scaling.cli.tables import TableOptions, read_table

    table = read_table(TableOptions(table=path), final=True)
    return fit_table(table, FitOptions(method="parametric")).fit.law, table.runs
