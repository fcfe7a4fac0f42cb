"""A table of numbers as CSV for programs, or as Markdown, LaTeX or HTML to paste into a text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from scaling.blocks import Table
from scaling.render.terminal import printable, say
from scaling.translation import tr

if TYPE_CHECKING:
    from pandas import DataFrame

SEPARATORS = {"csv": ",", "tsv": "\t"}
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{c: rf"\{c}" for c in "&%$#_{}"},
}  # fmt: skip


def print_frame(frame: DataFrame, form: str) -> None:
    """Print a frame as csv or tsv, unrounded, or as markdown, latex or html with four digits."""
    if form in SEPARATORS:
        frame.to_csv(sys.stdout, sep=SEPARATORS[form], index=False, lineterminator="\n")
        return
    table = frame_table(frame)
    if form == "latex":
        say(render_latex(table))
    elif form == "html":
        from scaling.render.html import render_html

        say(render_html((table,)))
    else:
        from scaling.render.markdown import render_markdown

        say(render_markdown((table,)).removesuffix("\n"))


def frame_table(frame: DataFrame) -> Table:
    """The block of a frame: columns of text first, as tables have them; numbers to four digits.

    A single row stands as a column: a plan has forty quantities, and no page is so wide.
    """
    if len(frame) == 1:
        values = next(frame.itertuples(index=False, name=None))
        pairs = zip(map(str, frame.columns), map(_cell, values), strict=True)
        return Table([tr("quantity"), tr("value")], list(pairs), left=1)
    from pandas.api.types import is_numeric_dtype

    texts = [name for name in frame.columns if not is_numeric_dtype(frame[name])]
    names = [*texts, *(name for name in frame.columns if name not in texts)]
    rows = [[_cell(value) for value in row] for row in frame[names].itertuples(index=False)]
    return Table([str(name) for name in names], rows, left=len(texts))


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def render_latex(table: Table) -> str:
    """A tabular of the package booktabs."""
    columns = "l" * table.left + "r" * (len(table.headers) - table.left)

    def line(cells: Any) -> str:
        return " & ".join("".join(_LATEX.get(c, c) for c in printable(str(cell))) for cell in cells) + r" \\"

    rows = "\n".join(map(line, table.rows))
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{line(table.headers)}\n\\midrule\n{rows}\n\\bottomrule\n"
        "\\end{tabular}"
    )
