"""What a result says, as blocks: written once, shown by any renderer (terminal, Markdown, HTML).

A block holds words and numbers, no escapes, no widths of a screen: `summary()` of a fit, plan, audit, count, sweep or
verification returns a tuple of them, and only `scaling.render` prints or escapes. Fixed text in them comes from
`scaling.translation.tr`.
NamedTuples, not frozen dataclasses: making eight of the latter costs 4 ms of every `scaling plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from scaling.arguments import require_kind
from scaling.errors import UsageError, shown
from scaling.findings import Finding, Severity, gravest_first
from scaling.lazy import RENDERERS
from scaling.translation import tr

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Style = Literal["", "strong", "faint", "warning"]
MOST_REPR_LINES = 12


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


class Section(NamedTuple):
    """What a first screen leaves out: a terminal shows it when it is asked for by its name, a page shows it always."""

    name: str  # of one word, for --show
    title: str
    blocks: Callable[[], Blocks]  # called when it is shown: half of a plan is never computed


def checked_blocks(blocks: Iterable[Block]) -> Blocks:
    """The blocks as a tuple, for a renderer.

    Raises:
        UsageError: these are no blocks.
    """
    how = "Render what a result says of itself: render_markdown(plan.summary())."
    if not isinstance(blocks, Iterable):
        raise UsageError(f"a renderer takes blocks, got {shown(blocks)}. {how}")
    kept = tuple(blocks)
    for block in kept:
        require_kind("each block", block, get_args(Block), how)
    return kept


def is_text(block: Table, column: int) -> bool:
    """Whether a column of the table is text, which aligns left."""
    return column < block.left or column >= len(block.headers) - block.remarks


Block: TypeAlias = Heading | Text | Fields | Table | Figure | Equation | Callout | Code | Section
Blocks: TypeAlias = tuple[Block, ...]

MOST_DOUBTS = 3  # on a first screen
NARROWEST = 72  # columns for which first screens are made


def finding_callouts(findings: Sequence[Finding]) -> Blocks:
    """Each finding as a callout, the gravest first."""
    return tuple(Callout(f.message, f.severity, f.code, f.source) for f in gravest_first(findings))


def first_doubts(findings: Sequence[Finding], most: int = MOST_DOUBTS) -> Blocks:
    """The gravest findings, each in a line or two, and how many more the section `doubts` tells."""
    gravest = gravest_first(findings)[:most]
    more = len(findings) - len(gravest)
    rest = (Text(tr("and {n} more: --show doubts", n=more), "faint", indent=4),) if more else ()
    return (*(Callout(f.in_short, f.severity) for f in gravest), *rest)


def doubts_section(findings: Sequence[Finding]) -> Blocks:
    """The section `doubts`: every finding whole, where there is one."""
    if not findings:
        return ()
    return (Section("doubts", tr("What to doubt"), lambda: finding_callouts(findings)),)


def next_step(command: str) -> Blocks:
    """What to run next, the last line of a screen; nothing where there is no command."""
    return (Code(command, tr("next"), indent=2),) if command else ()


def all_blocks(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks with every section opened under a heading of its own, one level above those in it."""
    for block in blocks:
        if isinstance(block, Section):
            yield Heading(block.title)
            for inside in block.blocks():
                yield inside._replace(level=inside.level + 1) if isinstance(inside, Heading) else inside
        else:
            yield block


def screen(
    blocks: Sequence[Block], show: Sequence[str] = (), filled_by: Mapping[str, str] | None = None
) -> Iterator[Block]:
    """What a terminal shows of a summary: its first screen and the names of its sections, or the sections named.

    Args:
        show: names of sections; "all" is the first screen and every section after it.
        filled_by: the option that gives a result the section of this name, said where it is missing.
    """
    sections = {b.name: b for b in blocks if isinstance(b, Section)}
    if not show:
        told = False
        for block in blocks:
            if not isinstance(block, Section):
                yield block
            elif not told:
                told = True
                options = _options((*sections, "all"))
                yield Fields(
                    [(tr("more") if i == 0 else "", said) for i, said in enumerate(options)], indent=0
                )
        return
    for name in show:
        if name not in sections and name != "all":  # of another result it would be there
            option = (filled_by or {}).get(name)
            yield Text(
                tr("nothing to show of: {name}; it needs {option}", name=name, option=option)
                if option
                else tr("nothing to show of: {name}", name=name)
            )
    if "all" in show:
        yield from (b for b in blocks if not isinstance(b, Section))
    named = sections if "all" in show else [name for name in show if name in sections]
    yield from all_blocks(sections[name] for name in named)


Record: TypeAlias = dict[str, Any]  # a row of a table: name of a column → value


def low_high(name: str, ends: Sequence[float] | None) -> Record:
    """Both ends of an interval as columns, NAME_low and NAME_high; None where none is known."""
    low, high = ends if ends is not None else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _options(names: Sequence[str]) -> list[str]:
    """--show a,b,all to copy; several, each to copy, where that is too long for one line of the narrowest screen."""
    lines: list[str] = []
    for name in names:
        if lines and len(lines[-1]) + 1 + len(name) <= NARROWEST - len("more  "):
            lines[-1] += f",{name}"
        else:
            lines.append(f"--show {name}")
    return lines


class Shown:
    """What every result can do that has a `summary()`: show itself at a prompt and in a notebook, draw itself.

    The renderers stand above the results, so `scaling/__init__.py` binds them from there.
    """

    def __init_subclass__(cls) -> None:
        """Keep the `__repr__` below: a dataclass would write every field, arrays of thousands of numbers, over it."""
        if "__repr__" not in vars(cls):
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    def summary(self) -> Blocks:
        """What the result says, answer first."""
        raise NotImplementedError

    def brief(self) -> Blocks:
        """What stands in the `repr`: the first screen, or of one that takes long the part that does not."""
        return tuple(b for b in self.summary() if not isinstance(b, Section))

    def records(self) -> list[Record]:
        """The numbers behind the summary, a row a thing, unrounded, each by its column: what `to_frame` holds.

        Raises:
            UsageError: the result has no rows.
        """
        raise UsageError(
            f"a {type(self).__name__} has no rows; its summary() and its fields say what it holds."
        )

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame: names in the field's terms with their unit, unrounded, None for not known.

        Raises:
            UsageError: the result has no rows.
        """
        import pandas as pd

        return pd.DataFrame(self.records())

    def __repr__(self) -> str:
        lines = RENDERERS["text"](self.brief()).strip("\n").splitlines()
        if len(lines) > MOST_REPR_LINES - 1:
            lines = [*lines[: MOST_REPR_LINES - 2], "  ... summary() says all"]
        return "\n".join((f"<{type(self).__name__}>", *lines))

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
