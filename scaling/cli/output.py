"""How every command prints: results to stdout, warnings to stderr, one JSON shape, tables of at most 100 columns."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

WIDTH = 100
_RANGE = re.compile(r"(\d\S*) to (?=\S*\d)")
_IN_PYTHON = re.compile(r" \(in\s+Python (?:[^()]|\([^()]*\))*\)")
_PERCENT = re.compile(r"(?<=\d) %")
SCHEMA_VERSION = 1


def print_json(payload: Mapping[str, Any], *, one_line: bool = False) -> None:
    """Print `payload` with `schema_version` first. Infinite and undefined numbers become null (JSON has neither).

    one_line: for a stream of objects, one a line.
    """
    whole = {"schema_version": SCHEMA_VERSION, **json_safe(payload)}
    click.echo(json.dumps(whole, indent=None if one_line else 2, allow_nan=False))


def json_safe(value: Any) -> Any:
    """Plain JSON types: tuples and arrays to lists, NumPy scalars to numbers, inf and nan to None."""
    if isinstance(value, Mapping):
        return {str(k): json_safe(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return json_safe(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_safe(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def styled(text: str, **style: Any) -> str:
    """Colour for a terminal only; NO_COLOR (no-color.org) and pipes get plain text."""
    plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
    return text if plain else click.style(text, **style)


def printable(text: object) -> str:
    """Text with its control characters shown but for line ends, so that no name in a file can command a terminal."""
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in plain
    )


def for_command_line(text: str) -> str:
    """A message without what it says to callers from Python: "--decimal comma (in Python decimal=)"."""
    return _IN_PYTHON.sub("", text)


def heading(text: str) -> None:
    click.echo()
    click.echo(styled(text, bold=True))


def paragraph(text: str, indent: str = "") -> None:
    click.echo(wrap(text, indent))


def wrap(text: str, indent: str = "", first: str | None = None) -> str:
    """Wrap to the width of a report; `first` replaces the indent of the first line (a bullet).

    A range (2.2996 to 2.3101), a percentage and a word with hyphens (an option, a law's name) stay on one line.
    """
    together = _RANGE.sub("\\1\u00a0to\u00a0", for_command_line(printable(text)))
    together = _PERCENT.sub("\u00a0%", together)
    filled = textwrap.fill(
        together,
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace("\u00a0", " ")


def wrapped_lines(text: str, indent: str = "", first: str | None = None) -> None:
    """`wrap`, printed."""
    click.echo(wrap(text, indent, first))


def note(text: str) -> None:
    """A remark on stderr: an assumption made, an alias read."""
    click.echo(wrap(f"note: {text}", "      ", ""), err=True)


def warn(text: str) -> None:
    """A warning on stderr."""
    lead = (
        "warning:"
        if os.environ.get("NO_COLOR") or not sys.stderr.isatty()
        else click.style("warning:", fg="yellow")
    )
    body = wrap(f"warning: {text}", "         ", "")
    click.echo(lead + body.removeprefix("warning:"), err=True)


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, indent: str = "  ", left: int = 1
) -> None:
    """Columns separated by two spaces; the first `left` columns are text, the rest align right."""
    cells = [[printable(c) for c in row] for row in rows]
    widths = [max([len(h)] + [len(r[i]) for r in cells]) for i, h in enumerate(headers)]

    def line(row: Sequence[str]) -> str:
        parts = [
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return (indent + "  ".join(parts)).rstrip()

    if any(headers):
        click.echo(styled(line(headers), dim=True))
    for row in cells:
        click.echo(line(row))


def print_fields(fields: Iterable[tuple[str, str]], *, indent: str = "  ") -> None:
    """Name and value per line, values aligned and wrapped under themselves."""
    rows = list(fields)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        lead = f"{indent}{name.ljust(width)}  "
        click.echo(wrap(value, " " * len(lead), lead))
