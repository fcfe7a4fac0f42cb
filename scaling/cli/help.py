"""Help in groups: the commands of a group and the options of a command under headings that say what they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

Headings = Mapping[str, Sequence[str]]  # heading → names of commands, or of options as they are written
OUTPUT: Headings = {
    "Output": (
        "--show", "--explain", "--alternatives", "--quiet", "--json", "--csv", "--table", "--list", "--output", "--out",
        "--write", "--plot", "--size", "--html", "--cache", "--force", "--help",
    )
}  # fmt: skip
WIDEST_NAMES = 26  # columns before the help of an option; a longer one gets its own line
NO_LIMIT = re.compile(
    r"  \[x<=\d{7,}(\.0)?\]$|; x<=\d{7,}(?=\]$)"
)  # a range that nobody meets: x<=9223372036854775807
LONGEST_SENTENCE = 1000  # of a command: all of it, over as many lines as it takes


def _under_headings(
    rows: Mapping[str, tuple[str, str]], headings: Headings
) -> dict[str, list[tuple[str, str]]]:
    """The rows of a help page under their headings, in the order given there; what no heading names comes last."""
    named = {name for members in headings.values() for name in members}
    rest = [name for name in rows if name not in named]
    whole = {**headings, "Other" if headings else "Options": rest}
    ordered = {heading: [rows[n] for n in members if n in rows] for heading, members in whole.items()}
    return {heading: found for heading, found in ordered.items() if found}


def _write(formatter: click.HelpFormatter, headings: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Headings whose second columns stand below each other."""
    width = min(WIDEST_NAMES, max(len(name) for rows in headings.values() for name, _ in rows))
    for heading, rows in headings.items():
        with formatter.section(heading):
            formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows], col_max=WIDEST_NAMES)


class Command(click.Command):
    """A command whose options stand under the headings of `headings`, then Output, then what is left."""

    def __init__(self, *args: Any, headings: Headings | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.headings = headings or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:  # an option without its value does not say whose it is
            error.ctx = error.ctx or ctx
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        records = {p.opts[-1]: record for p in options if (record := p.get_help_record(ctx))}
        rows = {name: (option, NO_LIMIT.sub("", text)) for name, (option, text) in records.items()}
        _write(formatter, _under_headings(rows, {**self.headings, **OUTPUT} if self.headings else {}))


class Group(click.Group):
    """A group whose commands stand under the headings of `headings`."""

    command_class = Command
    heading = "Commands"  # where there are no headings

    def __init__(self, *args: Any, headings: Headings | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.headings = headings or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = {name: (name, text) for name, text in self.one_liners(ctx).items()}
        _write(formatter, _under_headings(rows, self.headings or {self.heading: list(rows)}))

    def one_liners(self, ctx: click.Context) -> dict[str, str]:
        """Each command and what it does, in a sentence."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return {
            name: c.get_short_help_str(limit=LONGEST_SENTENCE) for name, c in commands if c and not c.hidden
        }
