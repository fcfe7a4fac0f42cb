"""Blocks as text, and the only place that writes to the terminal.

Results go to stdout, notes and warnings to stderr. A terminal gets its own width, colours and links by rich; NO_COLOR,
TERM=dumb and pipes get plain text, pipes without COLUMNS of at most 100 columns and whole commands.
Control characters are shown, not sent: no name in a file can command a terminal.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeAlias

from scaling.blocks import (
    Block,
    Callout,
    Code,
    Equation,
    Fields,
    Figure,
    Heading,
    Section,
    Style,
    Table,
    Text,
    all_blocks,
    checked_blocks,
    is_text,
)
from scaling.jsonable import jsonable

WIDTH = 100  # where nothing says how wide
MOST_COLUMNS = 140  # longer lines are hard to read on
LEAST_TEXT = 14  # columns of a table's text before it goes on in a second table
LONGEST_CELL = (
    80  # columns of a table's cell or of a name: what is longer is cut, or it would widen every row
)
SCHEMA_VERSION = 1
MARKS = {"error": "!!", "warning": " !", "note": "  "}
_RICH: dict[str, str] = {"": "", "strong": "bold", "faint": "dim", "warning": "yellow"}
_PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_WORD = r"""(?:[^\s"']|"[^"]*"|'[^']*')+"""  # of a shell, with its quotes
LONGEST_NAME = 300  # characters of a name in an error: a path of a deep folder stays whole
LONGEST_LINE = 4_000  # characters of an error: more than any says, were it not for a name in it
KEPT_START, KEPT_END = 120, 60
_LONG_NAME = re.compile(rf"'[^']{{{LONGEST_NAME},}}'|\"[^\"]{{{LONGEST_NAME},}}\"|\S{{{LONGEST_NAME},}}")
_RANGE = re.compile(r"(?<!\S)(?=\S*\d)(\S++) to (?=\S*\d)")  # possessive: linear in a word of any length
_IN_PYTHON = re.compile(r" \(in\s+Python (?:[^()]|\([^()]*\))*\)")
_PERCENT = re.compile(r"(?<=\d) %")

Spans: TypeAlias = list[tuple[str, Style]]  # a line, or lines that wrapping parted, in parts of one style


def columns(stream: TextIO) -> int | None:
    """How wide to write to a stream: COLUMNS, else a terminal's width; None where nothing says, in a pipe or file."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return min(int(told), MOST_COLUMNS)
    try:
        return min(os.get_terminal_size(stream.fileno()).columns, MOST_COLUMNS) or None
    except (OSError, ValueError, AttributeError):  # no terminal, closed, or no file at all
        return None


def is_rich(stream: TextIO) -> bool:
    """Whether colours, links and bars may go to a stream (no-color.org, force-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def show(*blocks: Block) -> None:
    """Print blocks to stdout."""
    print(render_terminal(blocks, colour=is_rich(sys.stdout), width=columns(sys.stdout)), flush=True)


def show_json(payload: Mapping[str, Any], *, one_line: bool = False) -> None:
    """Print `payload` with `schema_version` first; one_line: for a stream of objects, one a line."""
    whole = {"schema_version": SCHEMA_VERSION, **jsonable(payload)}
    print(json.dumps(whole, indent=None if one_line else 2, allow_nan=False), flush=True)


def note(text: str) -> None:
    """A remark on stderr: an assumption made, an alias read."""
    _remark("note:", text, "")


def warn(text: str) -> None:
    """A warning on stderr."""
    _remark("warning:", text, "warning")


def _remark(lead: str, text: str, style: Style) -> None:
    told = wrap(f"{lead} {text}", " " * (len(lead) + 1), "", width=columns(sys.stderr) or WIDTH)
    lines = [[(lead, style), (told.removeprefix(lead), "")]]
    print(_text(lines, colour=is_rich(sys.stderr)), file=sys.stderr)


def say(text: str, *, error: bool = False) -> None:
    """One line as it is, not wrapped: what was done, what goes on; on stderr with `error`."""
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=True)


def show_error(message: str, *, try_: Sequence[str] = ()) -> None:
    """An error on stderr; `try_` are commands, each of which would mend it.

    One line where nothing says how wide it may be (a program reads it); else wrapped, each command on its own line.
    """
    said = f"error: {one_line(for_command_line(message))}"
    width = columns(sys.stderr)
    if width is None:
        say(said + (f" Try: {one_line(', or: '.join(try_))}" if try_ else ""), error=True)
        return
    lines: list[Spans] = [[("error:", "warning"), (wrap(said, "  ", "", width=width)[6:], "")]]
    for i, command in enumerate(try_):
        lines += _code(Code(one_line(command), " or: " if i else "Try: "), width, fold=True)
    print(_text(lines, colour=is_rich(sys.stderr)), file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """Text whose names cannot break the line or fill the screen: what is too long is told by its two ends."""
    cut = _LONG_NAME.sub(lambda name: f"{name[0][:KEPT_START]}…{name[0][-KEPT_END:]}", text)
    if len(cut) > LONGEST_LINE:  # a name without quotes and with spaces
        cut = f"{cut[: LONGEST_LINE // 2]}…{cut[-LONGEST_LINE // 2 :]}"
    return cut.replace("\n", "\\n")


def stream(text: str, *, end: str = "") -> None:
    """A model's text as it comes: as it is into a file or pipe; to a terminal, nothing that could command it."""
    print(printable(text) if sys.stdout.isatty() else text, end=end, flush=True)


def render_terminal(blocks: Iterable[Block], *, colour: bool = False, width: int | None = None) -> str:
    """The text of blocks, without the last line end.

    Args:
        colour: with the codes of a terminal: colours, and links to the papers that are named.
        width: columns of the lines; None: 100, and commands stay whole, as a pipe or a file has no width.
    Example:
        >>> import scaling
        >>> print(scaling.render_terminal(scaling.find_law("hoffmann").brief()).splitlines()[0])
        L = E + A/N^alpha + B/D^beta
    """
    return _text(
        [line for block in all_blocks(checked_blocks(blocks)) for line in _lines(block, width)], colour=colour
    )


def _text(lines: Sequence[Spans], *, colour: bool) -> str:
    if not colour:
        return "\n".join("".join(text for text, _ in line) for line in lines)
    from rich.console import Console  # only a terminal pays for it
    from rich.text import Text as Styled

    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", legacy_windows=False)
    with console.capture() as captured:
        for line in lines:
            styled = Styled.assemble(*((text, _RICH[style]) for text, style in line))
            for paper in _PAPER.finditer(styled.plain):
                styled.stylize(f"link https://arxiv.org/abs/{paper[1]}", *paper.span())
            console.print(styled, soft_wrap=True, highlight=False)
    return captured.get().removesuffix("\n")


def _lines(block: Block, given: int | None) -> Iterator[Spans]:
    width = given or WIDTH
    match block:
        case Heading(text=text):
            yield [("", "")]
            yield [(wrap(text, width=width), "strong")]
        case Text(text=text, style=style, indent=indent):
            yield [(wrap(text, " " * indent, width=width), style)]
        case Fields():
            yield from _fields(block, width)
        case Table():
            yield from _table(block, width)
        case Callout(text=text, severity=severity, code=code, source=source):
            said = (f"{code}: " if code else "") + text + (f" [{source}]" if source else "")
            mark = f"  {MARKS[severity]} - "
            yield [
                (mark, "" if severity == "note" else "warning"),
                (wrap(said, " " * len(mark), mark, width=width)[len(mark) :], ""),
            ]
        case Equation(text=text):
            yield [(wrap(text, "  ", width=width), "")]
        case Code():
            yield from _code(block, width, fold=given is not None)
        case Figure() | Section():
            return


def _fields(block: Fields, width: int) -> Iterator[Spans]:
    names = [_cell(name) for name, _ in block.rows]
    column = max([block.width, *map(_columns, names)])
    for name, (_, value) in zip(names, block.rows, strict=True):
        lead = f"{' ' * block.indent}{_padded(name, column)}  "
        said = wrap(value, " " * _columns(lead), lead, width=width) or lead.rstrip()
        yield [(said[: len(lead)], block.style), (said[len(lead) :], "")]


def _table(block: Table, width: int) -> Iterator[Spans]:
    """Rows under headers; where they are too wide, headers and texts wrap, then columns go on in a second table."""
    # a last column of text may be as long as it likes: nothing stands behind it
    n_cut = len(block.headers) - is_text(block, len(block.headers) - 1)
    cells = [
        [_cell(c) if i < n_cut else _flat(c) for i, c in enumerate(row)]
        for row in (block.headers, *block.rows)
    ]
    if block.caption:
        yield [(wrap(block.caption, " " * block.indent, width=width), "")]
    texts = [is_text(block, i) for i in range(len(block.headers))]
    for shown, widths in _pages(cells, texts, width - block.indent, block.left):
        for i, row in enumerate(cells):
            if i == 0 and not any(row):
                continue
            parts = [_wrapped_cell(row[j], w) for j, w in zip(shown, widths, strict=True)]
            height = max(map(len, parts))
            for k in range(height):
                # headers stand on the line above the numbers, texts begin on the first
                at = [k - (height - len(p)) if i == 0 else k for p in parts]
                line = "  ".join(
                    _padded(p[n] if 0 <= n < len(p) else "", w, right=not texts[j])
                    for p, n, j, w in zip(parts, at, shown, widths, strict=True)
                )
                yield [((" " * block.indent + line).rstrip(), "faint" if i == 0 else "")]


def _pages(
    cells: Sequence[Sequence[str]], texts: Sequence[bool], width: int, left: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Which columns stand side by side and how wide each is: all of them where they fit, if need be wrapped."""
    headers, *rows = cells
    natural = [max(map(_columns, column)) for column in zip(*cells, strict=True)]
    if sum(natural) + 2 * (len(natural) - 1) <= width:
        yield list(range(len(natural))), natural
        return
    # no narrower than: a number or a word; of long texts, a column that still reads well
    least = []
    for j, column in enumerate(zip(*rows, strict=True) if rows else ([] for _ in headers)):
        word = max(map(_columns, headers[j].split()), default=0)
        whole = [max(map(_columns, c.split()), default=0) if texts[j] else _columns(c) for c in column]
        narrow = max([word, *whole])
        least.append(min(natural[j], max(narrow, min(LEAST_TEXT, natural[j])) if texts[j] else narrow))
    names = list(range(min(left, 1)))
    shown = list(names)
    for j in range(len(natural)):
        if j in names:
            continue
        if len(shown) > len(names) and sum(least[k] for k in (*shown, j)) + 2 * len(shown) > width:
            yield shown, _widened(shown, natural, least, width)
            shown = list(names)
        shown.append(j)
    yield shown, _widened(shown, natural, least, width)


def _widened(shown: Sequence[int], natural: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Widths of columns: the least each needs, then what is left to those that want more, the leftmost first."""
    room = max(0, width - sum(least[j] for j in shown) - 2 * (len(shown) - 1))
    widths = []
    for j in shown:
        more = min(room, natural[j] - least[j])
        room -= more
        widths.append(least[j] + more)
    return widths


def _wrapped_cell(text: str, width: int) -> list[str]:
    if _columns(text) <= width:
        return [text]
    return wrap(text, width=width * len(text) // _columns(text)).split("\n")


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


def _code(block: Code, width: int, *, fold: bool) -> Iterator[Spans]:
    """A command as it is; with `fold` a long one breaks behind && and behind a backslash, where a shell reads on."""
    label, text = _flat(block.label), printable(block.text)
    lead = _columns(label) + block.indent
    lines = [text]
    if fold and "\n" not in text and lead + len(text) > width:
        first, and_, second = text.partition(" && ")
        parts = [f"{first} &&", second] if and_ else [text]
        lines = [line for part in parts for line in _folded(part, width - (lead or 4))]
    for i, line in enumerate(lines):
        before = " " * (block.indent if i == 0 else lead or 4)
        yield [(label if i == 0 else "", "faint"), (before + line, "")]


def _folded(command: str, width: int) -> Iterator[str]:
    """The words of a command on lines that end in a backslash; an option and its value stay together."""
    line = ""
    for part in re.findall(r"--?[a-z][\w-]* (?!-)" + _WORD + "|" + _WORD, command):
        if line and len(line) + 1 + len(part) > width - 2:
            yield f"{line} \\"
            line = part
        else:
            line = f"{line} {part}" if line else part
    yield line


def wrap(text: str, indent: str = "", first: str | None = None, *, width: int = WIDTH) -> str:
    """Wrap to `width`; `first` replaces the indent of the first line (a bullet).

    A range (2.2996 to 2.3101), a percentage and a word with hyphens (an option, a law's name) stay on one line.
    """
    together = _RANGE.sub("\\1\u00a0to\u00a0", for_command_line(printable(text)))
    together = _PERCENT.sub("\u00a0%", together)
    filled = textwrap.fill(
        together,
        width,
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
