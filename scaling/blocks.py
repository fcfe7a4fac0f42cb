"""What a result says, as blocks: written once, shown by any renderer (terminal, Markdown, HTML).

A block holds words and numbers, no escapes, no widths of a screen: `summary()` of a fit, plan, audit, count, sweep or
verification returns a tuple of them, and only `scaling.render` prints or escapes. Fixed text in them comes from
`scaling.translation.tr`.
NamedTuples, not frozen dataclasses: making eight of the latter costs 4 ms of every `scaling plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from scaling.findings import Finding, Severity, gravest_first
from scaling.lazy import RENDERERS
from scaling.translation import tr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Style = Literal["", "strong", "faint", "warning"]


class Heading(NamedTuple):
    """The title of what follows; level 1 is the title of the whole."""

    text: str
    level: int = 2


class Text(NamedTuple):
    """A paragraph; an empty one parts what stands before it from what follows."""

    text: str
    style: Style = ""
    indent: int = 0  # columns of a terminal; other renderers see only whether there is any


class Fields(NamedTuple):
    """Names and their values, one under the other; a row without a name goes on with the one above."""

    rows: Sequence[tuple[str, str]]
    style: Style = ""  # of the names
    indent: int = 2
    width: int = 0  # at least, of the column of names: blocks that follow each other then align


class Table(NamedTuple):
    """Rows under headers. The first `left` columns and the last `remarks` are text; numbers align right."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    remarks: int = 0
    indent: int = 2
    caption: str = ""


class Figure(NamedTuple):
    """A picture as data: its kind, which `scaling.plots.figures` knows how to draw, and the columns to draw.

    Columns whose names begin alike (run_loss, run_flops) are rows of one table; those of words hold names.
    A terminal shows none; where no picture can be, `alt` says what it would show.
    """

    kind: str
    data: Mapping[str, Sequence[float] | Sequence[str]]
    alt: str
    caption: str = ""
    titles: tuple[
        str, ...
    ] = ()  # a panel each: its claim, and behind a line break the number to conclude from


class Equation(NamedTuple):
    """A formula in plain letters, as the papers write it: L(N, D) = E + A/N^alpha + B/D^beta."""

    text: str


class Callout(NamedTuple):
    """A doubt or a remark that must not be overlooked, with its code and its source where it has them."""

    text: str
    severity: Severity = "note"
    code: str = ""
    source: str = ""


class Code(NamedTuple):
    """A command to copy, or another text that no renderer may wrap or change; `label` stands before it."""

    text: str
    label: str = ""
    indent: int = 0  # columns of a terminal between the label and the text
    one_line: bool = (
        False  # in a terminal too, however long; else it breaks behind &&, where a shell reads on
    )


class Section(NamedTuple):
    """What a first screen leaves out: a terminal shows it when it is asked for by its name, a page shows it always."""

    name: str  # of one word, for --show
    title: str
    blocks: Callable[[], Blocks]  # called when it is shown: half of a plan is never computed


def is_text(block: Table, column: int) -> bool:
    """Whether a column of the table is text, which aligns left."""
    return column < block.left or column >= len(block.headers) - block.remarks


Block: TypeAlias = Heading | Text | Fields | Table | Figure | Equation | Callout | Code | Section
Blocks: TypeAlias = tuple[Block, ...]

MOST_DOUBTS = 3  # on a first screen


def finding_callouts(findings: Sequence[Finding]) -> Blocks:
    """Each finding as a callout, the gravest first."""
    return tuple(Callout(f.message, f.severity, f.code, f.source) for f in gravest_first(findings))


def first_doubts(findings: Sequence[Finding]) -> Blocks:
    """The gravest findings, each in a line or two, and how many more the section `doubts` tells."""
    shown = gravest_first(findings)[:MOST_DOUBTS]
    more = len(findings) - len(shown)
    rest = (Text(tr("and {n} more: --show doubts", n=more), "faint", indent=4),) if more else ()
    return (*(Callout(f.in_short, f.severity) for f in shown), *rest)


def doubts_section(findings: Sequence[Finding]) -> Blocks:
    """The section `doubts`: every finding whole, where there is one."""
    if not findings:
        return ()
    return (Section("doubts", tr("What to doubt"), lambda: finding_callouts(findings)),)


def all_blocks(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks with every section opened under a heading of its own."""
    for block in blocks:
        if isinstance(block, Section):
            yield Heading(block.title)
            yield from block.blocks()
        else:
            yield block


def screen(blocks: Sequence[Block], show: Sequence[str] = ()) -> Iterator[Block]:
    """What a terminal shows of a summary: its first screen and the names of its sections, or the sections named.

    Args:
        show: names of sections; "all" is the first screen and every section after it.

    Raises:
        UnknownNameError: the summary has no section of that name.
    """
    sections = {b.name: b for b in blocks if isinstance(b, Section)}
    if not show:
        told = False
        for block in blocks:
            if not isinstance(block, Section):
                yield block
            elif not told:
                told = True
                yield Fields(((tr("more"), f"--show {','.join((*sections, 'all'))}"),))
        return
    for name in show:
        if name not in sections and name != "all":
            from scaling.errors import UnknownNameError

            raise UnknownNameError("section", name, (*sections, "all"))
    if "all" in show:
        yield from (b for b in blocks if not isinstance(b, Section))
    yield from all_blocks(sections[name] for name in (sections if "all" in show else show))


class Shown:
    """What every result can do that has a `summary()`: show itself in a notebook, draw itself.

    The renderers stand above the results, so `scaling/__init__.py` binds them from there.
    """

    def summary(self) -> Blocks:
        """What the result says, answer first."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        html: str = RENDERERS["html"](self.summary())
        return html

    def _repr_markdown_(self) -> str:
        markdown: str = RENDERERS["markdown"](self.summary())
        return markdown

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the first figure of the summary; needs matplotlib.

        Raises:
            UsageError: the result has no figure.
        """
        axes: Axes = RENDERERS["plot"](self.summary(), ax=ax)
        return axes
