"""How every command gives its result: a first screen and its sections, or JSON, CSV or a table to paste."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Blocks, screen
from scaling.cli.completers import complete_names
from scaling.errors import UnknownNameError, UsageError
from scaling.render.terminal import show, show_json

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = ("csv", "tsv", "markdown", "latex", "html")


@dataclass(frozen=True, kw_only=True)
class Output:
    """What was asked for: sections of the screen, or another form than a screen."""

    show: tuple[str, ...] = ()
    as_json: bool = False
    table: str | None = None  # one of FORMATS
    filled_by: Mapping[str, str] = field(default_factory=dict)  # section → the option that it needs

    @property
    def is_screen(self) -> bool:
        return not self.as_json and self.table is None


def output_options(
    *sections: str, tables: bool = True, filled_by: Mapping[str, str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command --show (of its `sections`), --json, and with `tables` --csv and --table, as one `output: Output`.

    A name that no section has is refused before anything is computed. `filled_by`: section → the option that it needs.
    """
    declared = [
        click.option("--json", "as_json", is_flag=True, help="Print JSON, unrounded (docs/json.md)."),
    ]
    if tables:
        declared += [
            click.option("--csv", "as_csv", is_flag=True, help="Print a CSV table, unrounded: --table csv."),
            click.option(
                "--table", "as_table", type=click.Choice(FORMATS), help="Print a table to paste elsewhere."
            ),
        ]
    if sections:
        text = f"Show more than the first screen: {', '.join(sections)} or all; several with commas."
        declared.append(
            click.option(
                "--show",
                "sections",
                metavar="SECTION,...",
                multiple=True,  # a long list is told as two options
                help=text,
                shell_complete=complete_names((*sections, "all")),
            )
        )

    def declare(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def packed(**options: Any) -> Any:
            named, as_json = ",".join(options.pop("sections", ())), options.pop("as_json")
            table = "csv" if options.pop("as_csv", False) else None
            output = _output(named, sections, as_json, table, options.pop("as_table", None))
            return command(output=replace(output, filled_by=filled_by or {}), **options)

        for option in reversed(declared):
            packed = option(packed)
        return packed

    return declare


def _output(
    named: str, sections: tuple[str, ...], as_json: bool, csv: str | None, table: str | None
) -> Output:
    shown = tuple(name.strip() for name in named.split(",") if name.strip())
    for name in shown:
        if name not in (*sections, "all"):
            raise UnknownNameError("section of --show", name, (*sections, "all"))
    forms = {"--csv": csv, "--table": table, "--json": as_json, "--show": shown}
    given = [option for option, value in forms.items() if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are different forms of the result: give one of them.")
    return Output(show=shown, as_json=as_json, table=csv or table)


def give(
    output: Output,
    summary: Callable[[], Blocks],
    payload: Callable[[], Mapping[str, Any]],
    frame: Callable[[], DataFrame] | None = None,
) -> None:
    """Print a result in the form that was asked for; only that form is made."""
    if output.as_json:
        show_json(payload())
    elif output.table is not None and frame is not None:
        from scaling.render.frame import print_frame

        print_frame(frame(), output.table)
    else:
        show(*screen(summary(), output.show, output.filled_by))
