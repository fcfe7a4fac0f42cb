"""Whatever a name in a file holds, each renderer shows it and none obeys it."""

from __future__ import annotations

import html
import re
import unicodedata
from html.parser import HTMLParser

import pytest

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
)
from scaling.render.html import render_html
from scaling.render.markdown import render_markdown
from scaling.render.terminal import LONGEST_CELL, printable, render_terminal, wrap

TEXTS = {
    "plain": "word",
    "script": "<script>alert(1)</script>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "entity": "&lt;b&gt; &amp; &#60;i&#62;",
    "comment": "<!-- --> ]]> </style></div></table><td>",
    "formula": "$x^2$ and $$\\frac{1}{2}$$ \\(y\\)",
    "ticks": "`code` ``` ~~~ ````",
    "pipes": "a|b\\|c || \\",
    "stars": "*a* **b** _c_ __d__ ~~e~~ n_params",
    "link": "[text](http://example.invalid) ![image](x) [^1] [a]: b",
    "lists": "- a\n# b\n> c\n1. d\n+ e\n---\n===\n    code",
    "direction": "abc\u202edef\u202c \u2066ghi\u2069 \u200f",
    "hebrew and arabic": "שלום عربي 12",
    "emoji": "😀 👩‍👩‍👧 ✔️",
    "wide": "你好，世界",
    "control": "\x1b[31mred\x1b[0m \x00 \x07 \x9b2J \x7f \r\x08",
    "line ends": "a\nb\u2028c\x85d\x0be\n\n\nf",
    "half characters": "\udc80\ud83d",
    "long": "x" * 10_000,
    "many words": "word " * 2_000,
    "empty": "",
}


def blocks(text: str) -> dict[str, Block]:
    data = {"n_params": [1e8, 2e8], "extra_compute": [0.1, 0.0], "optimum": [2e8]}
    return {
        "heading": Heading(text),
        "text": Text(text, "strong"),
        "fields": Fields(((text, text), ("", text), ("name", "value"))),
        "table": Table((text, "N"), ((text, "1"), ("name", text)), caption=text),
        "figure": Figure("off-optimum", data, text, text),
        "equation": Equation(text),
        "callout": Callout(text, "warning", text, text),
        "code": Code(text, text),
    }


every_text = pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
every_block = pytest.mark.parametrize("kind", list(blocks("")))


class Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self.said.append("\n")
            return
        self.elements.append((tag, tuple(name for name, _ in attrs if name != "class")))
        if tag not in ("meta", "path", "use"):
            self.open.append(tag)
        self.said += [f" {value} " for name, value in attrs if name == "aria-label"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.said.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def squeezed(text: str) -> str:
    return " ".join(text.split())


@every_text
@every_block
def test_no_element_or_attribute_of_the_page_comes_from_a_text(kind: str, text: str) -> None:
    if not text and kind in ("text", "table", "callout", "code", "figure", "fields"):
        return  # an empty name, caption, code or source has no element
    page = Page(render_html([blocks(text)[kind]], whole_page=True, title=text))
    assert page.elements == Page(render_html([blocks("word")[kind]], whole_page=True, title="word")).elements
    assert page.open == []
    assert squeezed(printable(text)) in squeezed("".join(page.said))


@every_text
@every_block
def test_no_renderer_lets_a_control_character_through(kind: str, text: str) -> None:
    block = blocks(text)[kind]
    for shown in (render_terminal([block]), render_markdown([block]), render_html([block])):
        for character in set(shown) - set("\n\u200c\u200d"):
            assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), repr(character)
        shown.encode("utf-8")


@every_text
@every_block
def test_a_terminal_gets_colour_from_us_alone(kind: str, text: str) -> None:
    block = blocks(text)[kind]
    assert "\x1b" not in render_terminal([block])
    coloured = render_terminal([block], colour=True)
    assert re.sub("\x1b\\[[0-9]+m", "", coloured) == render_terminal([block])


@every_text
def test_a_table_keeps_its_columns_in_markdown(text: str) -> None:
    caption, _, rows = render_markdown([blocks(text)["table"]]).rstrip("\n").rpartition("\n\n")
    assert "\n" not in caption
    assert rows.count("\n") == 3
    for row in rows.split("\n"):
        assert re.sub(r"\\.", "", row).count("|") == 3


@every_text
@every_block
def test_no_mark_of_markdown_comes_from_a_text(kind: str, text: str) -> None:
    """What is left when escapes and code are taken away is what a plain word leaves."""

    def marks(shown: str) -> list[str]:
        shown = re.sub(r"(?sm)^(`{3,})\n.*?\n\1$", "F", shown)
        shown = re.sub(r"(?s)\\[!-/:-@\[-`{-~]|(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", shown)
        shown = shown.replace("<br>", " ").replace("<span>&#36;</span>", "").replace("n_params", "")
        return re.findall(r"[*`\[\]<$~|_]|&(?!amp;|lt;)|^(?:#|>|- |\d+[.)] )", shown, flags=re.MULTILINE)

    if text:
        assert marks(render_markdown([blocks(text)[kind]])) == marks(render_markdown([blocks("word")[kind]]))


@every_text
def test_code_stays_as_it_is_in_markdown(text: str) -> None:
    fence, *lines, last = render_markdown([Code(text)]).removesuffix("\n").split("\n")
    assert fence == last
    assert "\n".join(lines) == printable(text)
    assert fence not in text


@every_text
def test_a_long_cell_does_not_widen_every_row_of_a_terminal(text: str) -> None:
    lines = render_terminal([Table((text, "N"), ((text, "1"), ("name", "2")))]).split("\n")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 2 + LONGEST_CELL + 3
    names = render_terminal([Fields(((text, "1"), ("name", "2")))]).split("\n")
    assert len(names) == 2
    assert max(map(len, names)) <= 2 + LONGEST_CELL + 3


def test_a_last_column_of_text_is_not_cut() -> None:
    long = "/runs/" + "x" * 200
    assert long in render_terminal([Table(("n", "file"), (("1", long),), left=2)])


def test_wide_characters_stand_in_columns() -> None:
    lines = render_terminal([Table(("名", "N"), (("你好", "1"), ("name", "2"), ("e\u0301", "3")))]).split(
        "\n"
    )
    assert lines == ["  名    N", "  你好  1", "  name  2", "  e\u0301     3"]


def test_an_escaped_text_is_shown_as_it_was() -> None:
    assert printable("a\x1b[31m\u202eb\x00\n") == "a\\x1b[31m\\u202eb\\x00\n"
    assert printable("خانه\u200cها") == "خانه\u200cها"  # a joiner that the word needs
    assert printable("lo\u200css") == "lo\\u200css"  # one that only hides
    assert html.unescape("&lt;b&gt;") in render_markdown([Code("<b>")])


def test_wrapping_stays_fast_in_a_word_of_any_length() -> None:
    """The search for ranges once took the square of a word's digits: minutes for this one."""
    assert wrap("1" * 300_000 + " x to y").endswith("x to y")
