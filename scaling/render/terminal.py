"""Blocks as text of at most 100 columns, and the only place that writes to the terminal.

Results go to stdout, notes and warnings to stderr. Colour is for a terminal only; NO_COLOR (no-color.org) and pipes get
plain text. Control characters are shown, not sent: no name in a file can command a terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from scaling.blocks import (
    Block,
    Callout,
    Code,
    Equation,
    Fields,
    Figure,
    Heading,
    Style,
    Table,
    Text,
)
from scaling.jsonable import jsonable

WIDTH = 100
SCHEMA_VERSION = 1
MARKS = {"error": "!!", "warning": " !", "note": "  "}
_ANSI = {"": "", "strong": "1", "faint": "2", "warning": "33"}
LONGEST_NAME = 300  # characters of a name in an error: a path of a deep folder stays whole
LONGEST_LINE = 4_000  # characters of an error: more than any says, were it not for a name in it
KEPT_START, KEPT_END = 120, 60
_LONG_NAME = re.compile(rf"'[^']{{{LONGEST_NAME},}}'|\"[^\"]{{{LONGEST_NAME},}}\"|\S{{{LONGEST_NAME},}}")
_RANGE = re.compile(r"(\d\S*) to (?=\S*\d)")
_IN_PYTHON = re.compile(r" \(in\s+Python (?:[^()]|\([^()]*\))*\)")
_PERCENT = re.compile(r"(?<=\d) %")


def show(*blocks: Block) -> None:
    """Print blocks to stdout."""
    print(render_terminal(blocks, colour=_has_colour(sys.stdout)), flush=True)


def show_json(payload: Mapping[str, Any], *, one_line: bool = False) -> None:
    """Print `payload` with `schema_version` first; one_line: for a stream of objects, one a line."""
    whole = {"schema_version": SCHEMA_VERSION, **jsonable(payload)}
    print(json.dumps(whole, indent=None if one_line else 2, allow_nan=False), flush=True)


def note(text: str) -> None:
    """A remark on stderr: an assumption made, an alias read."""
    print(wrap(f"note: {text}", "      ", ""), file=sys.stderr)


def warn(text: str) -> None:
    """A warning on stderr."""
    said = wrap(f"warning: {text}", "         ", "")
    lead = _styled("warning:", "warning", colour=_has_colour(sys.stderr))
    print(lead + said.removeprefix("warning:"), file=sys.stderr)


def say(text: str, *, error: bool = False) -> None:
    """One line as it is, not wrapped: what was done, what goes on; on stderr with `error`."""
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=True)


def show_error(message: str, *, try_: Sequence[str] = ()) -> None:
    """An error in one line on stderr; `try_` are commands, each of which would mend it."""
    told = f"{message} Try: {', or: '.join(try_)}" if try_ else message
    say(f"error: {one_line(for_command_line(told))}", error=True)


def one_line(text: str) -> str:
    """Text whose names cannot break the line or fill the screen: what is too long is told by its two ends."""
    cut = _LONG_NAME.sub(lambda name: f"{name[0][:KEPT_START]}…{name[0][-KEPT_END:]}", text)
    if len(cut) > LONGEST_LINE:  # a name without quotes and with spaces
        cut = f"{cut[: LONGEST_LINE // 2]}…{cut[-LONGEST_LINE // 2 :]}"
    return cut.replace("\n", "\\n")


def stream(text: str, *, end: str = "") -> None:
    """A model's text as it comes: as it is into a file or pipe; to a terminal, nothing that could command it."""
    print(printable(text) if sys.stdout.isatty() else text, end=end, flush=True)


def render_terminal(blocks: Iterable[Block], *, colour: bool = False) -> str:
    """The text of blocks, without the last line end."""
    return "\n".join(line for block in blocks for line in _lines(block, colour))


def _lines(block: Block, colour: bool) -> Iterator[str]:
    match block:
        case Heading(text=text):
            yield ""
            yield _styled(wrap(text), "strong", colour)
        case Text(text=text, style=style, indent=indent):
            yield _styled(wrap(text, " " * indent), style, colour)
        case Fields():
            yield from _fields(block, colour)
        case Table():
            yield from _table(block, colour)
        case Callout(text=text, severity=severity, code=code, source=source):
            said = (f"{code}: " if code else "") + text + (f" [{source}]" if source else "")
            yield wrap(said, "       ", f"  {MARKS[severity]} - ")
        case Equation(text=text):
            yield wrap(text, "  ")
        case Code():
            yield from _code(block, colour)
        case Figure():
            return


def _fields(block: Fields, colour: bool) -> Iterator[str]:
    width = max([block.width, *(len(name) for name, _ in block.rows)])
    for name, value in block.rows:
        lead = f"{' ' * block.indent}{printable(name).ljust(width)}  "
        said = wrap(value, " " * len(lead), lead)
        yield _styled(said[: len(lead)], block.style, colour) + said[len(lead) :]


def _table(block: Table, colour: bool) -> Iterator[str]:
    cells = [[printable(c) for c in row] for row in block.rows]
    first_remark = len(block.headers) - block.remarks
    widths = [max([len(h)] + [len(r[i]) for r in cells]) for i, h in enumerate(block.headers)]

    def line(row: Iterable[str]) -> str:
        parts = [
            c.ljust(w) if i < block.left or i >= first_remark else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return (" " * block.indent + "  ".join(parts)).rstrip()

    if block.caption:
        yield wrap(block.caption, " " * block.indent)
    if any(block.headers):
        yield _styled(line(block.headers), "faint", colour)
    yield from map(line, cells)


def _code(block: Code, colour: bool) -> Iterator[str]:
    """A command is not wrapped; a long one breaks behind && only, where a shell reads on."""
    first, _, second = block.text.partition(" && ")
    lead = len(block.label) + block.indent
    whole = not second or "\n" in block.text or lead + len(block.text) < WIDTH
    lines = [block.text] if whole else [f"{first} &&", f"    {second}"]
    for i, line in enumerate(lines):
        label = _styled(block.label, "faint", colour) + " " * block.indent if i == 0 else " " * lead
        yield label + printable(line)


def wrap(text: str, indent: str = "", first: str | None = None) -> str:
    """Wrap to WIDTH; `first` replaces the indent of the first line (a bullet).

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


def _has_colour(stream: TextIO) -> bool:
    return not os.environ.get("NO_COLOR") and stream.isatty()


def _styled(text: str, style: Style, colour: bool) -> str:
    return f"\033[{_ANSI[style]}m{text}\033[0m" if colour and style and text else text
