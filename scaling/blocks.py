"""What a result says, as blocks: written once, shown by any renderer (terminal, Markdown, HTML).

A block holds words and numbers, no escapes, no widths of a screen: `summary()` of a fit, plan, audit, count, sweep or
verification returns a tuple of them, and only `scaling.render` prints or escapes. Fixed text in them comes from
`scaling.translation.tr`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from scaling.findings import Finding, Severity, gravest_first
from scaling.lazy import RENDERERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Style = Literal["", "strong", "faint", "warning"]


@dataclass(frozen=True)
class Heading:
    """The title of what follows; level 1 is the title of the whole."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; an empty one parts what stands before it from what follows."""

    text: str
    style: Style = ""
    indent: int = 0  # columns of a terminal; other renderers see only whether there is any


@dataclass(frozen=True)
class Fields:
    """Names and their values, one under the other; a row without a name goes on with the one above."""

    rows: Sequence[tuple[str, str]]
    style: Style = ""  # of the names
    indent: int = 2
    width: int = 0  # at least, of the column of names: blocks that follow each other then align


@dataclass(frozen=True)
class Table:
    """Rows under headers. The first `left` columns and the last `remarks` are text; numbers align right."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    remarks: int = 0
    indent: int = 2
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture as data: its kind, which `scaling.plots.figures` knows how to draw, and the arrays to draw.

    A terminal shows none; where no picture can be, `alt` says what it would show.
    """

    kind: str
    data: Mapping[str, Sequence[float]]
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Equation:
    """A formula in plain letters, as the papers write it: L(N, D) = E + A/N^alpha + B/D^beta."""

    text: str


@dataclass(frozen=True)
class Callout:
    """A doubt or a remark that must not be overlooked, with its code and its source where it has them."""

    text: str
    severity: Severity = "note"
    code: str = ""
    source: str = ""


@dataclass(frozen=True)
class Code:
    """A command to copy, or another text that no renderer may wrap or change; `label` stands before it."""

    text: str
    label: str = ""
    indent: int = 0  # columns of a terminal between the label and the text


Block: TypeAlias = Heading | Text | Fields | Table | Figure | Equation | Callout | Code
Blocks: TypeAlias = tuple[Block, ...]


def finding_callouts(findings: Sequence[Finding]) -> Blocks:
    """Each finding as a callout, the gravest first."""
    return tuple(Callout(f.message, f.severity, f.code, f.source) for f in gravest_first(findings))


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
