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
    checked_blocks,
    is_text,
)
from scaling.jsonable import jsonable

WIDTH = 100
LONGEST_CELL = (
    80  # columns of a table's cell or of a name: what is longer is cut, or it would widen every row
)
SCHEMA_VERSION = 1
MARKS = {"error": "!!", "warning": " !", "note": "  "}
_ANSI = {"": "", "strong": "1", "faint": "2", "warning": "33"}
LONGEST_NAME = 300  # characters of a name in an error: a path of a deep folder stays whole
LONGEST_LINE = 4_000  # characters of an error: more than any says, were it not for a name in it
KEPT_START, KEPT_END = 120, 60
_LONG_NAME = re.compile(rf"'[^']{{{LONGEST_NAME},}}'|\"[^\"]{{{LONGEST_NAME},}}\"|\S{{{LONGEST_NAME},}}")
_RANGE = re.compile(r"(?<!\S)(?=\S*\d)(\S++) to (?=\S*\d)")  # possessive: linear in a word of any length
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
    """The text of blocks, without the last line end.

    Example:
        >>> import scaling
        >>> print(scaling.render_terminal(scaling.find_law("hoffmann").brief()).splitlines()[0])
        L = E + A/N^alpha + B/D^beta
    """
    blocks = checked_blocks(blocks)
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
    names = [_cell(name) for name, _ in block.rows]
    width = max([block.width, *map(_columns, names)])
    for name, (_, value) in zip(names, block.rows, strict=True):
        lead = f"{' ' * block.indent}{_padded(name, width)}  "
        said = wrap(value, " " * _columns(lead), lead) or lead.rstrip()
        yield _styled(said[: len(lead)], block.style, colour) + said[len(lead) :]


def _table(block: Table, colour: bool) -> Iterator[str]:
    # a last column of text may be as long as it likes: nothing stands behind it
    n_cut = len(block.headers) - is_text(block, len(block.headers) - 1)
    headers, *rows = [
        [_cell(c) if i < n_cut else _flat(c) for i, c in enumerate(row)]
        for row in (block.headers, *block.rows)
    ]
    widths = [max(map(_columns, column)) for column in zip(headers, *rows, strict=True)]

    def line(row: Iterable[str]) -> str:
        parts = [
            _padded(c, w, right=not is_text(block, i))
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return (" " * block.indent + "  ".join(parts)).rstrip()

    if block.caption:
        yield wrap(block.caption, " " * block.indent)
    if any(headers):
        yield _styled(line(headers), "faint", colour)
    yield from map(line, rows)


def _cell(text: str) -> str:
    """Text on one line, cut where it would widen every row beyond use."""
    plain = _flat(text)
    return plain if len(plain) <= LONGEST_CELL else plain[: LONGEST_CELL - 1] + "…"


def _flat(text: str) -> str:
    return printable(text).replace("\n", " ").replace("\t", " ")


def _padded(text: str, width: int, *, right: bool = False) -> str:
    room = " " * (width - _columns(text))
    return room + text if right else text + room


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes: East Asian characters and emoji two, combining marks none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0
        if unicodedata.combining(c) or c in "\u200c\u200d\ufe0f"
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def _code(block: Code, colour: bool) -> Iterator[str]:
    """A command is not wrapped; a long one breaks behind && only, where a shell reads on."""
    first, _, second = block.text.partition(" && ")
    label = _flat(block.label)
    lead = _columns(label) + block.indent
    whole = block.one_line or not second or "\n" in block.text or lead + len(block.text) < WIDTH
    lines = [block.text] if whole else [f"{first} &&", second]
    for i, line in enumerate(lines):
        before = _styled(label, "faint", colour) + " " * block.indent if i == 0 else " " * (lead or 4)
        yield before + printable(line)


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
    """Text with its control characters shown but for line ends, so that no name in a file can command a terminal.

    Shown are also marks that turn the direction of writing, and half characters, which no encoding can print.
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(
        c if c.isprintable() or c in "\n\t" or _joins(plain, i) else c.encode("unicode_escape").decode()
        for i, c in enumerate(plain)
    )


def _joins(text: str, i: int) -> bool:
    """Whether a joiner stands between two characters beyond ASCII, as Persian, Hindi and families of emoji need it."""
    return text[i] in "\u200c\u200d" and all(c > "\x7f" for c in (text[i - 1 : i], text[i + 1 : i + 2]))


def for_command_line(text: str) -> str:
    """A message without what it says to callers from Python: "--decimal comma (in Python decimal=)"."""
    return _IN_PYTHON.sub("", text)


def _has_colour(stream: TextIO) -> bool:
    return not os.environ.get("NO_COLOR") and stream.isatty()


def _styled(text: str, style: Style, colour: bool) -> str:
    return f"\033[{_ANSI[style]}m{text}\033[0m" if colour and style and text else text
