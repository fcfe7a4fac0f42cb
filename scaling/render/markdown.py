"""Blocks as GitHub Markdown.

Everything that is text is escaped, so that no name in a file becomes a heading, a link, a formula or HTML. A line break
inside a text is `<br>`: no text can then begin a line, where most of Markdown's marks count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from scaling.blocks import (
    Block,
    Callout,
    Code,
    Equation,
    Fields,
    Figure,
    Heading,
    Table,
    Text,
    all_blocks,
    checked_blocks,
    is_text,
)
from scaling.findings import Severity
from scaling.render.terminal import printable
from scaling.translation import tr

_MARKS = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word marks nothing
_LIST_OR_HEADING = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[#>]|[+-](?:[\s+-]|$)))")
_ENTITIES = {
    "&": "&amp;",
    "<": "&lt;",
    "$": "<span>&#36;</span>",  # a notebook looks for formulas in the source, GitHub in the text of each element
}


def render_markdown(blocks: Iterable[Block], *, figures: Callable[[Figure], str] | None = None) -> str:
    """The Markdown of blocks.

    Args:
        figures: the address of a figure's picture, which the caller has written; without it a figure is its `alt`.
    Example:
        >>> import scaling
        >>> print(scaling.render_markdown(scaling.find_law("hoffmann").brief()).splitlines()[0])
        L = E + A/N^alpha + B/D^beta
    """
    parts = (part for block in all_blocks(checked_blocks(blocks)) for part in _parts(block, figures))
    return "\n\n".join(parts) + "\n"


def severity_word(severity: Severity) -> str:
    """How a callout names its severity."""
    return {"error": tr("error"), "warning": tr("warning"), "note": tr("note")}[severity]


def _parts(block: Block, figures: Callable[[Figure], str] | None) -> Iterator[str]:
    match block:
        case Heading(text=text, level=level):
            title = re.sub(
                r"#+$", r"\\\g<0>", escaped(text)
            )  # else Markdown takes them for the end of the mark
            yield f"{'#' * min(level, 6)} {title}"
        case Text(text=text, style=style):
            said = escaped(text)
            if said:
                yield f"**{said}**" if style in ("strong", "warning") else said
        case Fields(rows=rows):
            yield from _fields(rows)
        case Table():
            yield from _table(block)
        case Figure(alt=alt, caption=caption):
            if figures is not None:
                yield f"![{escaped(alt)}]({quote(figures(block), safe='/:;,+=@%?&#')})"
            elif escaped(alt):
                yield f"*{escaped(alt)}*"
            if caption:
                yield escaped(caption)
        case Equation(text=text):
            yield _inline_code(text)
        case Callout(text=text, severity=severity, code=code, source=source):
            said = (f"{code}: " if code else "") + text + (f" [{source}]" if source else "")
            yield f"> **{severity_word(severity)}** {escaped(said)}"
        case Code(text=text, label=label):
            if label.strip():
                yield escaped(label)
            fence = "`" * max(3, 1 + _longest_ticks(text))
            yield f"{fence}\n{printable(text)}\n{fence}"


def _fields(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A list; a row without a name is another line of the one above."""
    items: list[str] = []
    for name, value in rows:
        if name.strip():
            items.append(f"- **{escaped(name)}**: {escaped(value)}".rstrip())
        elif items:
            items[-1] += f"<br>{escaped(value)}"
        else:
            items.append(f"- {escaped(value)}")
    if items:
        yield "\n".join(items)


def _table(block: Table) -> Iterator[str]:
    """Markdown has no table without headers: they are empty where the block has none."""
    if block.caption:
        yield escaped(block.caption)
    ends = [":---" if is_text(block, i) else "---:" for i in range(len(block.headers))]
    rows = [[escaped(h) for h in block.headers], ends, *([escaped(c) for c in row] for row in block.rows)]
    yield "\n".join(f"| {' | '.join(row)} |" for row in rows)


def escaped(text: str) -> str:
    """One line of Markdown that shows the text, whatever it holds."""
    lines = (" ".join(line.split()) for line in printable(text).split("\n"))
    plain = "\n".join(line for line in lines if line)
    marked = _MARKS.sub(r"\\\g<0>", plain)
    marked = re.sub("[&<$]", lambda m: _ENTITIES[m[0]], marked)
    return _LIST_OR_HEADING.sub(r"\1\\", marked).replace("\n", "<br>")


def _inline_code(text: str) -> str:
    """Inside it nothing needs an escape but its own marks: a fence longer than any in the text."""
    plain = " ".join(printable(text).split())
    fence = "`" * (1 + _longest_ticks(plain))
    room = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{room}{plain}{room}{fence}"


def _longest_ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
