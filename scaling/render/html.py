"""Blocks as HTML: a fragment for a notebook, or a page that needs nothing but itself: no script, font or address.

A page with sections has landmarks: what stands before the first section is its answer, then its contents, then the
sections, one under the other.

Everything that is text goes through `escaped`. The style stays inside its class and takes the colour of the text around
it, so that a dark notebook needs no second set; nothing a notebook typesets (formulas between dollar signs) is typeset.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

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
    checked_blocks,
    is_text,
)
from scaling.render.markdown import severity_word
from scaling.render.terminal import printable
from scaling.translation import tr

Pictures: TypeAlias = Callable[[Figure], str]  # the <svg> of a figure that is drawn already

# the second and third class are those by which MathJax is told to leave a part alone
_CLASSES = "scaling-blocks tex2jax_ignore mathjax_ignore"
_SHORT_CELL = 40  # characters of a cell under the headers: it stays on one line
_STYLE = """\
.scaling-blocks{line-height:1.45;max-width:60rem;overflow-wrap:anywhere}
.scaling-blocks :is(p,dl,figure,.box){margin:.5em 0;padding:0}
.scaling-blocks :is(h1,h2,h3,h4,h5,h6){line-height:1.25;margin:1.1em 0 .4em}
.scaling-blocks :is(.faint,figcaption){opacity:.75}
.scaling-blocks :is(.warning,.error) b{color:#c1502e}
.scaling-blocks .indented{padding-left:1.2em}
.scaling-blocks dl{display:grid;grid-template-columns:fit-content(38%) minmax(0,1fr);gap:.15em 1.2em}
.scaling-blocks dt{grid-column:1;font-weight:600;margin:0;min-width:6em}
.scaling-blocks dd{grid-column:2;margin:0;text-align:left}
.scaling-blocks .box{overflow-x:auto;max-width:100%}
.scaling-blocks table{border-collapse:collapse;table-layout:auto;width:auto;border:0;margin:0;\
font-size:.95em;font-variant-numeric:tabular-nums}
.scaling-blocks :is(th,td){border:0;border-bottom:1px solid rgba(128,128,128,.3);padding:.25em 1em .25em 0;\
text-align:right;vertical-align:top;max-width:24em;min-width:3em;white-space:normal;overflow-wrap:break-word}
.scaling-blocks thead th{border-bottom-color:currentColor;vertical-align:bottom;overflow-wrap:break-word}
.scaling-blocks tbody th{font-weight:inherit}
.scaling-blocks .left{text-align:left}
.scaling-blocks .whole{white-space:nowrap}
.scaling-blocks summary{cursor:pointer;font-weight:600;margin:.6em 0 .3em}
.scaling-blocks .callout{border-left:3px solid rgba(128,128,128,.6);padding:.1em 0 .1em .8em;margin:.5em 0}
.scaling-blocks :is(.callout.warning,.callout.error){border-left-color:#c1502e}
.scaling-blocks .callout cite{font-style:normal;opacity:.75}
.scaling-blocks :is(cite,code,dd,b){unicode-bidi:isolate}
.scaling-blocks :is(pre,code){font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.92em;color:inherit;\
background:none;border:0;padding:0}
.scaling-blocks pre{background:rgba(128,128,128,.12);border-radius:4px;padding:.6em .8em;overflow-x:auto;margin:.3em 0;\
white-space:pre;overflow-wrap:normal}
.scaling-blocks svg{display:block;max-width:100%;height:auto}
"""
_PAGE_STYLE = """\
:root{color-scheme:light dark;--ink:#22252a;--paper:#fff;--box:#f1f5f9;--line:#d5dae1;--link:#1f4e79;\
--warn:#b3451f;--shade:#0004}
body{margin:0 auto;max-width:60rem;padding:1.2rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);\
background:var(--paper)}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
h1{font-size:1.75rem}
h2{font-size:1.3rem;border-bottom:1px solid var(--line);padding-bottom:.2em;scroll-margin-top:.5em}
main>section{margin:2.6rem 0 0}
.answer{--paper:var(--box);background:var(--box);border-left:4px solid var(--link);border-radius:4px;\
padding:.6rem 1.1rem .8rem}
main>.answer{margin-top:1rem}
.answer h2{font-size:1.05rem;border:0;margin:1em 0 .2em}
.answer>p:first-child{font-size:1.25rem}
nav.contents{margin:1.4rem 0}
nav.contents ol{columns:16rem;column-gap:2.5rem;margin:.3em 0;padding-left:2.1em}
nav.contents li{break-inside:avoid;padding:.12em 0}
.skip{position:absolute;left:-99rem}
.skip:focus{position:static}
footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.6rem}
.scaling-blocks :is(.warning,.error) b{color:var(--warn)}
.scaling-blocks .long{max-height:32rem;overflow-y:auto}
.scaling-blocks .long thead th{position:sticky;top:0;background:var(--paper)}
.scaling-blocks .picture svg{width:100%;max-width:56rem}
.scaling-blocks :is(.picture,.box){overflow-x:auto;background:\
linear-gradient(90deg,var(--paper) 30%,transparent) 0 0/2.5rem 100%,\
linear-gradient(270deg,var(--paper) 30%,transparent) 100% 0/2.5rem 100%,\
linear-gradient(90deg,var(--shade),transparent) 0 0/.9rem 100%,\
linear-gradient(270deg,var(--shade),transparent) 100% 0/.9rem 100%;\
background-repeat:no-repeat;background-attachment:local,local,scroll,scroll}
@media (max-width:40rem){body{padding:.8rem}.scaling-blocks dl{grid-template-columns:1fr}
.scaling-blocks :is(dt,dd){grid-column:1}.scaling-blocks dd{margin-bottom:.4em}\
.scaling-blocks :is(th,td){padding-right:.6em}.scaling-blocks .left.whole{white-space:normal;min-width:0}\
.answer table{font-size:.82em}.scaling-blocks .picture svg{min-width:34rem}\
.scaling-blocks .picture::after{content:"\\2194";position:sticky;left:0;display:block;text-align:center;opacity:.75}}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6e8eb;--paper:#171717;--box:#1f242b;--line:#3a414b;\
--link:#8bbdec;--warn:#ec8a66;--shade:#fff5}
@media print{:root{color-scheme:light}@page{margin:16mm}body{max-width:none;padding:0;font-size:10pt;color:#000}
.skip{display:none}.scaling-blocks :is(figure,.callout,tr,dl>*){break-inside:avoid}h2,h3,figcaption{break-after:avoid}
.scaling-blocks :is(.box,.long,.picture){max-height:none;overflow:visible;background:none}
.scaling-blocks table{font-size:8pt}.scaling-blocks .long thead th{position:static}
.scaling-blocks pre{white-space:pre-wrap}.scaling-blocks .picture svg{max-height:10.5cm;width:auto}\
nav.contents{break-inside:avoid}main>section{margin-top:1.4rem}.answer{border:1px solid #888;border-left-width:4px}}
"""
_LONG_TABLE = 30  # rows, from which on a table scrolls in a box of its own


def render_html(
    blocks: Iterable[Block],
    *,
    whole_page: bool = False,
    title: str = "",
    language: str = "en",
    pictures: Pictures | None = None,
    parts: Mapping[str, str] | None = None,
    policy: str = "",
) -> str:
    """The HTML of blocks: a `div` with its style, or with `whole_page` a document of its own.

    Args:
        title: of the page, in the browser's tab.
        language: of the text, as a tag such as "en" or "es"; only a whole page states it.
        pictures: the <svg> of a figure that is drawn already; without it each is drawn here.
        parts: of a whole page, HTML that stands in sections of these names in the place of their blocks.
        policy: of a whole page, its content security policy.
    Example:
        >>> import scaling
        >>> html = scaling.render_html(scaling.plan_training(1e21).summary(), whole_page=True)
        >>> html[:15]
        '<!DOCTYPE html>'
    """
    blocks = checked_blocks(blocks)
    draw = _picture if pictures is None else pictures
    if not whole_page:  # below the headings of a notebook
        body = "\n".join(part for block in blocks for part in _parts(block, 2, draw))
        return f'<div class="{_CLASSES}" dir="ltr">\n<style>\n{_STYLE}</style>\n{body}\n</div>\n'
    body = "\n".join(_page(list(blocks), draw, parts or {}))
    secured = (
        f'<meta http-equiv="Content-Security-Policy" content="{_attribute(policy)}">\n' if policy else ""
    )
    return (
        f'<!DOCTYPE html>\n<html lang="{_attribute(language)}">\n<head>\n<meta charset="utf-8">\n{secured}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_attribute(title)}</title>\n<style>\n{_STYLE}{_PAGE_STYLE}</style>\n</head>\n"
        f'<body>\n<div class="{_CLASSES}" dir="ltr">\n{body}\n</div>\n</body>\n</html>\n'
    )


def _page(blocks: Sequence[Block], draw: Pictures, parts: Mapping[str, str]) -> Iterator[str]:
    """Title, answer, contents and sections of a page, each in its landmark."""
    sections = [b for b in blocks if isinstance(b, Section)]
    first = next((i for i, b in enumerate(blocks) if isinstance(b, Section)), len(blocks))
    n_titled = len(titled_part(blocks[:first]))
    titled = [part for block in blocks[:n_titled] for part in _parts(block, 0, draw)]
    answer = [part for block in blocks[n_titled:first] for part in _parts(block, 0, draw)]
    if not sections:
        yield from (*titled, "<main>", *answer, "</main>")
        return
    yield f'<a class="skip" href="#{_anchor(sections[0])}">{escaped(tr("Skip to the first section"))}</a>'
    yield from ("<header>", *titled, "</header>", "<main>")
    if answer:
        yield from (
            f'<section class="answer" aria-label="{_attribute(tr("The answer"))}">',
            *answer,
            "</section>",
        )
    contents = escaped(tr("Contents"))
    yield f'<nav class="contents" aria-label="{contents}">\n<b>{contents}</b>\n<ol>'
    yield from (f'<li><a href="#{_anchor(s)}">{escaped(s.title)}</a></li>' for s in sections)
    yield "</ol>\n</nav>"
    for block in blocks[first:]:
        if isinstance(block, Section) and block.name in parts:
            yield f'<section id="{_anchor(block)}">\n<h2>{escaped(block.title)}</h2>\n{parts[block.name]}\n</section>'
        else:
            yield from _parts(block, 0, draw)
    yield "</main>"


def titled_part(blocks: Sequence[Block]) -> Sequence[Block]:
    """Of what stands first, the title and the faint lines right under it: by whom, of what."""
    n = 0
    while n < len(blocks) and (
        (isinstance(block := blocks[n], Heading) and block.level == 1)
        or (n > 0 and isinstance(block, Text) and block.style == "faint")
    ):
        n += 1
    return blocks[:n]


def _anchor(section: Section) -> str:
    """The section's name as an id that an address can hold."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", section.name) or "section"


def escaped(text: str) -> str:
    """The text as HTML that shows it, whatever it holds; a line break in it is one."""
    return html.escape(printable(text)).replace("\n", "<br>")


def _attribute(text: str) -> str:
    return html.escape(" ".join(printable(text).split()))


def _parts(block: Block, levels_above: int, draw: Pictures) -> Iterator[str]:
    match block:
        case Heading(text=text, level=level):
            tag = f"h{min(level + levels_above, 6)}"
            yield f"<{tag}>{escaped(text)}</{tag}>"
        case Text():
            yield from _text(block)
        case Fields():
            yield from _fields(block)
        case Table():
            yield from _table(block)
        case Figure():
            yield from _figure(block, draw)
        case Equation(text=text):
            yield f'<p class="indented"><code>{escaped(text)}</code></p>'
        case Callout(text=text, severity=severity, code=code, source=source):
            named = f"<code>{escaped(code)}</code>: " if code else ""
            cited = f" <cite>[{escaped(source)}]</cite>" if source else ""
            said = f"<b>{escaped(severity_word(severity))}</b> {named}{escaped(text)}{cited}"
            yield f'<div class="callout {severity}" role="note">{said}</div>'
        case Code(text=text, label=label):
            if label.strip():
                yield f'<p class="faint">{escaped(label)}</p>'
            yield f'<pre tabindex="0"><code>{html.escape(printable(text))}</code></pre>'
        case Section(title=title, blocks=inside):
            parts = "\n".join(part for b in inside() for part in _parts(b, levels_above + 1, draw))
            if levels_above:  # a notebook: the answer first, the rest where it is looked for
                yield f"<details>\n<summary>{escaped(title)}</summary>\n{parts}\n</details>"
            else:
                yield f'<section id="{_anchor(block)}">\n<h2>{escaped(title)}</h2>\n{parts}\n</section>'


def _text(block: Text) -> Iterator[str]:
    if not block.text.strip():
        return  # paragraphs stand apart as they are
    classes = " ".join(name for name in (block.style, "indented" if block.indent else "") if name)
    said = f"<b>{escaped(block.text)}</b>" if block.style in ("strong", "warning") else escaped(block.text)
    yield f'<p class="{classes}">{said}</p>' if classes else f"<p>{said}</p>"


def _fields(block: Fields) -> Iterator[str]:
    """A row without a name is another value of the name above."""
    yield "<dl>"
    for i, (name, value) in enumerate(block.rows):
        if name.strip() or i == 0:
            yield f"<dt>{escaped(name)}</dt>"
        yield f"<dd>{escaped(value)}</dd>"
    yield "</dl>"


def _table(block: Table) -> Iterator[str]:
    """The caption stands outside the box in which a wide table scrolls, or a narrow screen would cut it too."""
    named = f' role="region" aria-label="{_attribute(block.caption)}"' if block.caption else ""
    if block.caption:
        yield f"<figure>\n<figcaption>{escaped(block.caption)}</figcaption>"
    box = "box long" if len(block.rows) >= _LONG_TABLE else "box"
    yield f'<div class="{box}" tabindex="0"{named}>\n<table>'
    if any(block.headers):
        yield f"<thead>{_row(block, block.headers, n_headers=len(block.headers))}</thead>"
    yield "<tbody>"
    for row in block.rows:
        yield _row(block, row, n_headers=min(1, block.left))
    yield "</tbody>\n</table>\n</div>"
    if block.caption:
        yield "</figure>"


def _row(table: Table, cells: Sequence[str], *, n_headers: int) -> str:
    """Cells of a row, the first `n_headers` of which name their column (of the row of headers) or their row."""
    of_headers = cells is table.headers
    parts = []
    for i, cell in enumerate(cells):
        named = i < n_headers and cell.strip()
        tag, scope = ("th", f' scope="{"col" if of_headers else "row"}"') if named else ("td", "")
        classes = ["left"] * is_text(table, i) + ["whole"] * (not of_headers and len(cell) <= _SHORT_CELL)
        shown = f' class="{" ".join(classes)}"' if classes else ""
        parts.append(f"<{tag}{scope}{shown}>{escaped(cell)}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"


def _figure(block: Figure, draw: Pictures) -> Iterator[str]:
    caption = f"\n<figcaption>{escaped(block.caption)}</figcaption>" if block.caption else ""
    picture = f'<div role="img" aria-label="{_attribute(block.alt)}">{draw(block)}</div>'
    yield f'<figure>\n<div class="picture" tabindex="0">{picture}</div>{caption}\n</figure>'


def _picture(block: Figure) -> str:
    """The drawing; its description where matplotlib is missing."""
    try:
        from scaling.plots.figures import figure_svg
    except ImportError:
        return escaped(block.alt)
    from scaling.errors import UsageError

    try:
        return figure_svg(block, dark_too=True)
    except UsageError:  # of a kind that a newer version draws, perhaps
        return escaped(block.alt)


def on_any_ground(svg: str) -> str:
    """A drawing in colours that are seen on light and on dark."""
    from scaling.plots.figures import light_and_dark

    return light_and_dark(svg)
