"""`scaling page`: one static file in which a reader turns the budget and sees the plan follow."""

from __future__ import annotations

from pathlib import Path

import click

from scaling.cli.completers import complete_law
from scaling.cli.help import Command
from scaling.cli.progress import waiting_for
from scaling.cli.tables import refuse_overwrite
from scaling.errors import UnitError
from scaling.render.terminal import say
from scaling.translation import tr, translated
from scaling.units import format_bytes, parse_flops

FLOPS = "1e21"


@click.command(cls=Command, epilog="Example: scaling page fit.json -o page.html --flops 1e22")
@click.argument("law", required=False, shell_complete=complete_law)
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
def page(law: str | None, flops: str, output: Path, language: str, force: bool) -> None:
    """Write a page to explore: budget, law, hardware and price on the left hand, the plan and its pictures at once.

    LAW is a published law or the file of a fit (fit.json), shown before the published ones. The page computes in the
    browser, works offline, and its address keeps what was chosen.
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
        chosen = None if law is None else resolve_law(law)
        write_page(output, chosen, flops=first, law_file=law or "", language=language)
    size = format_bytes(output.stat().st_size)
    say(tr("wrote {file} ({size}); open it in a browser", file=output, size=size))
