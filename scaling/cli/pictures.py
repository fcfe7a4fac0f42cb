"""--plot and --size: what a command draws, and what it says it wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.errors import UsageError
from scaling.render.terminal import say

if TYPE_CHECKING:
    from scaling.blocks import Figure

PICTURES = (".png", ".svg", ".pdf")
SIZES = ("column", "page", "slide")


def picture_options(what: str, *, force: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command --plot FILE (`picture`), --size, and with `force` --force."""
    declared = [
        click.option(
            "--plot", "picture", type=click.Path(path_type=Path), metavar="FILE",
            help=f"Draw {what}: a .png, .svg or .pdf file, or a folder of SVG files.",
        ),
        click.option(
            "--size", type=click.Choice(SIZES), default="page", show_default=True,
            help="Size of --plot: 3.25 inches (a column of a paper), 6.5 (a page), or a slide.",
        ),
    ]  # fmt: skip
    if force:
        declared.append(click.option("--force", is_flag=True, help="Overwrite the file of --plot."))

    def declare(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(declared):
            command = option(command)
        return command

    return declare


def refuse_picture(path: Path | None, force: bool) -> None:
    """Before any work: a file in the way, a folder that is missing, a suffix that is no picture."""
    from scaling.cli.tables import refuse_overwrite

    refuse_overwrite(force, path)
    if path is not None and path.suffix and path.suffix.lower() not in PICTURES:
        raise UsageError(
            f"{path} does not end in a kind of picture; write {path.stem}.png (or {', '.join(PICTURES)})."
        )


def write_picture(figures: Sequence[Figure], path: Path, size: str, *, silent: bool = False) -> None:
    """Write figures whole or not at all, and unless `silent` say on standard error what was written."""
    from scaling.cli.progress import waiting_for
    from scaling.plots.figures import draw_figures, names_of

    with waiting_for(f"drawing {path}"):
        draw_figures(figures, path, size=size)
    if not silent:
        say(f"wrote {path}: {names_of(figures)}", error=True)
