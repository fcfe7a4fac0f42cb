"""Blocks as a typst document, and that as a tagged PDF (PDF/UA-1, which typst checks as it writes).

Every text stands in the document as a string literal, handed to a function: typst parses none of it as markup, so that
only a quotation mark and a backslash need an escape. Sections are the headings of level 1, below the title.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scaling.blocks import (
    Block,
    Callout,
    Code,
    Equation,
    Fields,
    Figure,
    Heading,
    Section,
    Table,
    Text,
    is_text,
)
from scaling.errors import ScalingError
from scaling.installing import extra_command
from scaling.plots.style import with_glyphs
from scaling.render.html import titled_part
from scaling.render.markdown import severity_word
from scaling.render.pdf import packed
from scaling.render.terminal import printable
from scaling.translation import tr

LONGEST_WORD = 28  # characters, a third of a line: a longer one may break anywhere
WHOLE_TABLE = 12  # rows, up to which a table stays on one page
WIDE_TABLE = 8  # columns, from which on its text is smaller
MOST_COLUMNS = 12  # of a page; further ones go on in a second table below
MOST_ROWS = 40  # of a table: less than a page; all are in the page of HTML
# fonts that are there on every machine: typst brings Libertinus and DejaVu Sans Mono, matplotlib DejaVu Sans
_PREAMBLE = """\
#set page(paper: "a4", margin: (x: 21mm, top: 20mm, bottom: 22mm), numbering: "1 / 1")
#set text(font: ("Libertinus Serif", "DejaVu Sans"), size: 10pt, hyphenate: false)
#set par(leading: 0.58em, spacing: 0.9em)
#show title: set text(size: 17pt)
#show title: set block(below: 10pt)
#show heading: set block(above: 1.4em, below: 0.7em)
#show heading.where(level: 1): set text(size: 13pt, fill: rgb("#1f4e79"))
#show heading.where(level: 2): set text(size: 10.5pt)
#show heading.where(level: 3): set text(size: 10pt)
#show raw: set text(font: "DejaVu Sans Mono", size: 8pt)
#show figure: set block(above: 1.2em, below: 1.2em, breakable: true)
#show figure: set align(left)
#show figure.caption: set align(left)
#show figure.caption: set text(size: 9pt, fill: rgb("#444a52"))
#show figure.where(kind: table): set figure.caption(position: top)
#show outline.entry: set block(above: 0.5em)
#set table(stroke: none, inset: (x: 4pt, y: 2.6pt))
#let rule = rgb("#b9bec6")
#let said(body, weight: "regular", fill: rgb("#22252a"), indent: 0pt) = pad(left: indent,
  par(text(weight: weight, fill: fill, body)))
#let minor(body) = { show heading: set text(size: 10.5pt, fill: rgb("#22252a"))
  heading(level: 1, outlined: false, body) }
#let answer(body) = block(width: 100%, fill: rgb("#f1f5f9"), stroke: (left: 3pt + rgb("#1f4e79")), inset: 10pt,
  above: 0.8em, below: 1.2em, body)
#let callout(name, body, colour) = block(width: 100%, stroke: (left: 2pt + colour), inset: (left: 8pt, y: 2pt),
  above: 0.7em, below: 0.7em, [#text(weight: "bold", fill: colour, name) #body])
#let fields(..pairs) = block(above: 0.7em, below: 0.9em, grid(columns: (auto, 1fr), column-gutter: 12pt,
  row-gutter: 5pt, ..pairs.pos()))
// a line around the whole: one between cells is told of each of them in the tags, a tenth of the file
#let cells(size, name, whole, ..rest) = { show figure: set block(breakable: not whole)
  figure(block(stroke: (top: 0.6pt + rule, bottom: 0.6pt + rule), inset: (y: 2pt), text(size: size, table(..rest))),
  kind: table, numbering: none, supplement: none, caption: name) }
#let drawn(file, alt, width, name) = figure(image(file, alt: alt, width: width), kind: image, numbering: none,
  supplement: none, caption: name)
#let command(body) = block(width: 100%, fill: rgb("#f3f4f6"), inset: 6pt, radius: 2pt, raw(body, block: true))
"""
_WARNING, _NOTE = 'rgb("#b3451f")', 'rgb("#5b6570")'


class NoTypstError(ScalingError):
    """typst is not installed; the message says how to install it."""


def render_typst(
    blocks: Sequence[Block],
    *,
    title: str,
    language: str = "en",
    figures: Callable[[Figure], tuple[str, float]] | None = None,
) -> str:
    """The typst source of a document.

    What stands before the first section is the answer, in a box on the first page; the contents follow it.

    Args:
        figures: the path of a figure's SVG from the root of the document, and its width in points; without it a
            figure is its `alt`.
    """
    first = next((i for i, b in enumerate(blocks) if isinstance(b, Section)), len(blocks))
    titled = titled_part(blocks[:first])
    lead = blocks[len(titled) : first]
    parts = [
        _PREAMBLE,
        f"#set document(title: {literal(title)}, date: none)",
        f"#set text(lang: {literal(language)})",
        "#title()",
        *_all_parts([b for b in titled if not isinstance(b, Heading)], figures),
        *(["#answer[", *_lead_parts(lead, figures), "]"] if lead else []),
        *(
            [
                f"#heading(level: 1, outlined: false, {literal(tr('Contents'))})",
                "#outline(title: none, depth: 1)",
            ]
            if first < len(blocks)
            else []
        ),
        *_all_parts(blocks[first:], figures),
    ]
    return "\n".join(parts) + "\n"


def write_pdf(document: str, path: Path, *, root: Path, fonts: Path, seconds: int | None = None) -> None:
    """Compile the document to a tagged PDF/UA-1: the same bytes for the same document and figures.

    Args:
        root: the folder that the paths of figures begin at.
        fonts: a folder of fonts; those of the system are not looked at, for they differ from machine to machine.
        seconds: since 1970, the time that the PDF is said to be made at.
    Raises:
        NoTypstError: the package typst is not installed.
        ScalingError: typst refuses the document.
    """
    try:
        import typst
    except ImportError as error:
        raise NoTypstError(
            f"a PDF is set by typst, which is not installed: {extra_command('report')}. HTML and Markdown need nothing "
            "more."
        ) from error
    from scaling.files import whole_file

    try:
        # its types would have the folders of a text given as bytes be bytes too
        places: Any = {"root": str(root), "font_paths": [str(fonts)], "ignore_system_fonts": True}
        pdf: Any = typst.compile(
            document.encode(), format="pdf", pdf_standards=["ua-1"], timestamp=seconds or 0, **places
        )
    except typst.TypstError as error:
        raise ScalingError(
            f"typst cannot set the PDF: {error}. Leave pdf out of --format, and report it."
        ) from error
    with whole_file(path) as beside:
        beside.write_bytes(packed(pdf))


def literal(text: str) -> str:
    """A string of typst that shows the text, whatever it holds; words too long for a line may break."""
    broken = re.sub(rf"\S{{{LONGEST_WORD},}}", _breakable, with_glyphs(printable(text)))
    return (
        '"' + broken.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", " ") + '"'
    )


def _breakable(word: re.Match[str]) -> str:
    """With room to break behind its marks, and every few characters where it has none."""
    parted = re.sub(r"(?<=[/_.,;:=&?-])(?=\w)", "\u200b", word[0])
    return re.sub(r"([^\u200b]{12})(?=[^\u200b])", "\\1\u200b", parted)


def _lead_parts(
    lead: Iterable[Block], figures: Callable[[Figure], tuple[str, float]] | None
) -> Iterator[str]:
    """Its headings are of level 1 too, for none of that level stands above them; the contents leave them out."""
    for block in lead:
        if isinstance(block, Heading) and block.text.strip():
            yield f"#minor({literal(block.text)})"
        else:
            yield from _parts(block, figures)


def _all_parts(
    blocks: Iterable[Block], figures: Callable[[Figure], tuple[str, float]] | None
) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Section):
            yield f"#heading(level: 1, {literal(block.title.strip() or block.name)})"
            yield from _all_parts(block.blocks(), figures)
        else:
            yield from _parts(block, figures)


def _parts(block: Block, figures: Callable[[Figure], tuple[str, float]] | None) -> Iterator[str]:
    match block:
        case Heading(text=text) if text.strip():  # of one level, for PDF/UA allows no gap between two
            yield f"#heading(level: 2, {literal(text)})"
        case Text(text=text, style=style, indent=indent) if text.strip():
            weight = "bold" if style in ("strong", "warning") else "regular"
            colour = _WARNING if style == "warning" else _NOTE if style == "faint" else 'rgb("#22252a")'
            inset = "10pt" if indent else "0pt"
            yield f'#said(weight: "{weight}", fill: {colour}, indent: {inset}, {literal(text)})'
        case Fields(rows=rows):
            pairs = (f'text(weight: "bold", {literal(name)}), {literal(value)}' for name, value in rows)
            yield f"#fields({', '.join(pairs)})"
        case Table():
            yield from _table(block)
        case Figure(alt=alt, caption=caption):
            if figures is None:
                yield f"#said({literal(alt)})"
                return
            file, width = figures(block)
            size = f"{width:.0f}pt" if width < _PAGE_WIDTH else "100%"
            yield f"#drawn({literal_path(file)}, {literal(alt)}, {size}, {_caption(caption)})"
        case Equation(text=text):
            yield f"#pad(left: 10pt, raw({literal(text)}))"
        case Callout(text=text, severity=severity, code=code, source=source):
            said = (f"{code}: " if code else "") + text + (f" [{source}]" if source else "")
            colour = _NOTE if severity == "note" else _WARNING
            yield f"#callout({literal(severity_word(severity))}, {literal(said)}, {colour})"
        case Code(text=text, label=label):
            if label.strip():
                yield f"#said(fill: {_NOTE}, {literal(label)})"
            yield f"#command({literal(text)})"


_PAGE_WIDTH = 476.0  # points between the margins of A4


def literal_path(path: str) -> str:
    """A path as a string, which must not be broken."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _caption(text: str) -> str:
    return literal(text) if text.strip() else "none"


def _table(block: Table) -> Iterator[str]:
    """Its columns a page holds; further ones go on below, behind the first column. Of many rows an even selection."""
    n = len(block.headers)
    step = -(-len(block.rows) // MOST_ROWS)
    if step > 1:
        said = tr("Here every {step}th row of {n}; the page in HTML has more.", step=step, n=len(block.rows))
        block = block._replace(rows=block.rows[::step], caption=f"{block.caption} {said}".strip())
    if n <= MOST_COLUMNS:
        yield _cells(block, range(n), block.caption)
        return
    step = MOST_COLUMNS - 1
    for start in range(1, n, step):
        columns = [0, *range(start, min(start + step, n))]
        yield _cells(block, columns, block.caption if start == 1 else "")


def _cells(block: Table, columns: Sequence[int], caption: str) -> str:
    ends = ", ".join("left" if is_text(block, i) else "right" for i in columns)
    size = "7.2pt" if len(columns) > WIDE_TABLE else "8.2pt"
    whole = "true" if len(block.rows) <= WHOLE_TABLE else "false"
    lines = [f"#cells({size}, {_caption(caption)}, {whole}, columns: {len(columns)}, align: ({ends},),"]
    if any(block.headers):
        named = ", ".join(f'text(weight: "bold", {literal(block.headers[i])})' for i in columns)
        lines.append(f"  table.header({named}),")
    for row in block.rows:
        lines.append("  " + ", ".join(literal(row[i]) for i in columns) + ",")
    return "\n".join([*lines, ")"])
