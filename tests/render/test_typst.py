"""Blocks as typst: no text is parsed as markup, and the PDF is tagged, whole and the same each time."""

from __future__ import annotations

import os
import re
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
)
from scaling.installing import extra_command
from scaling.render.typst import MOST_ROWS, NoTypstError, literal, render_typst, write_pdf

HOSTILE = (
    '"; #panic("in") //',
    '\\"#panic("in")',
    "#let x = 1",
    "$x^2$ *b* _i_ `c`",
    "]#panic()[",
    "@ref <lab> = head\n= another\n- item",
    "\\",
    '\\\\"',
    "\x00\x1b[31m\u202e",
    "名前😀",
    "A" * 400,
    "",
)
FIGURE = Figure("x", {"x": [1.0]}, "what it shows", "Its caption.")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="100pt" height="50pt"><text x="5" y="20">Hi</text></svg>'


def blocks_of(text: str) -> tuple[Block, ...]:
    inside: tuple[Block, ...] = (
        Heading(text), Text(text), Text(text, "warning", 2), Fields([(text, text), ("", text)]),
        Table((text, "n"), [(text, "1"), (text, text)], caption=text), FIGURE._replace(alt=text or "a text", caption=text),
        Equation(text), Callout(text, "warning", text, text), Code(text, text),
    )  # fmt: skip
    return (Heading(text, 1), Text(text, "faint"), *inside, Section("s", text, lambda: inside))


def needs_typst() -> None:
    """A missing engine is a skip that says so; in CI it is a failure."""
    try:
        import typst  # noqa: F401
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("typst is not installed: pip install 'isoflop[report]'")
        pytest.skip("typst is not installed: pip install 'isoflop[report]'")


def pdf_of(blocks: tuple[Block, ...], folder: Path, title: str = "T") -> bytes:
    import matplotlib

    (folder / "f.svg").write_text(SVG)
    document = render_typst(blocks, title=title, figures=lambda _: ("f.svg", 100.0))
    write_pdf(
        document, folder / "out.pdf", root=folder, fonts=Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    )
    return (folder / "out.pdf").read_bytes()


@settings(max_examples=200)
@given(st.text())
def test_a_literal_ends_where_it_is_meant_to(text: str) -> None:
    inside = literal(text)[1:-1]
    assert literal(text)[0] == literal(text)[-1] == '"'
    assert not re.search(r'(?<!\\)(?:\\\\)*"', inside)  # no quotation mark without its escape
    assert not re.search(r"(?<!\\)(?:\\\\)*\\$", inside)  # and no escape of the mark that ends it


def test_a_word_that_no_line_holds_may_break() -> None:
    assert max(map(len, literal("A" * 400).strip('"').split("\u200b"))) <= 12
    assert literal("a usual sentence of words") == '"a usual sentence of words"'


@pytest.mark.engine
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_is_parsed_as_markup(text: str, tmp_path: Path) -> None:
    needs_typst()
    assert pdf_of(blocks_of(text), tmp_path, title=text or "T").startswith(b"%PDF-1.7")


@pytest.mark.engine
def test_the_same_document_gives_the_same_bytes(tmp_path: Path) -> None:
    needs_typst()
    assert pdf_of(blocks_of("plain"), tmp_path) == pdf_of(blocks_of("plain"), tmp_path)


def unpacked(pdf: bytes) -> bytes:
    """What the object streams of a PDF hold."""
    found = re.findall(rb"<</Type/ObjStm[^>]*>>\nstream\n(.*?)\nendstream", pdf, re.DOTALL)
    return b"".join(zlib.decompress(pressed) for pressed in found)


@pytest.mark.engine
def test_the_pdf_is_tagged_and_says_its_standard_title_and_alternatives(tmp_path: Path) -> None:
    needs_typst()
    pdf = pdf_of((Heading("T", 1), Section("s", "One", lambda: (FIGURE, Table(("a",), [("1",)])))), tmp_path)
    assert b"pdfuaid:part" in pdf
    text = unpacked(pdf)
    assert b"/StructTreeRoot" in text
    assert b"/S/TH" in text.replace(b" ", b"").replace(b"\n", b"")
    assert b"what it shows" in text


@pytest.mark.engine
def test_a_figure_without_a_text_is_refused_by_the_standard(tmp_path: Path) -> None:
    """The check is typst's own, so that a page we write cannot lose its texts unseen."""
    needs_typst()
    from scaling.errors import ScalingError

    document = render_typst((FIGURE,), title="T", figures=lambda _: ("f.svg", 100.0))
    (tmp_path / "f.svg").write_text(SVG)
    bare = document.replace("alt: alt, ", "")
    assert bare != document
    with pytest.raises(ScalingError, match="PDF/UA-1"):
        write_pdf(bare, tmp_path / "out.pdf", root=tmp_path, fonts=tmp_path)


def test_a_missing_typst_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(NoTypstError, match=re.escape(extra_command("report"))):
        write_pdf("", tmp_path / "out.pdf", root=tmp_path, fonts=tmp_path)
    assert not list(tmp_path.iterdir())


def test_of_a_long_table_an_even_selection_is_set_and_said() -> None:
    table = Table(("n",), [(str(i),) for i in range(10 * MOST_ROWS)], left=0, caption="Runs.")
    document = render_typst((table,), title="T")
    assert '"0"' in document
    assert '"10"' in document
    assert '"5"' not in document
    assert f"every 10th row of {10 * MOST_ROWS}" in document


def test_of_a_wide_table_the_first_column_is_repeated() -> None:
    table = Table([f"h{i}" for i in range(20)], [[f"c{i}" for i in range(20)]])
    document = render_typst((table,), title="T")
    assert document.count('"h0"') == 2
    assert all(document.count(f'"c{i}"') == 1 for i in range(1, 20))
