"""Each kind of block in each renderer, exactly."""

from __future__ import annotations

import re
import sys

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
from scaling.render.terminal import render_terminal
from scaling.translation import translated

FIGURE = Figure(
    "off-optimum",
    {"n_params": [1e9, 4e9], "extra_compute": [0.1, 0.2], "optimum": [2e9]},
    alt="the cost",
    caption="Stay near.",
)
CASES: dict[str, tuple[Block, str, str, str]] = {  # block, terminal, Markdown, HTML
    "title": (Heading("Plan", 1), "\nPlan", "# Plan", "<h3>Plan</h3>"),
    "heading": (Heading("Doubts"), "\nDoubts", "## Doubts", "<h4>Doubts</h4>"),
    "text": (Text("Train it."), "Train it.", "Train it.", "<p>Train it.</p>"),
    "faint text": (Text("aside", "faint", 2), "  aside", "aside", '<p class="faint indented">aside</p>'),
    "strong text": (Text("now", "strong"), "now", "**now**", '<p class="strong"><b>now</b></p>'),
    "no text": (Text(""), "", "", ""),
    "line break": (Text("a\nb"), "a b", "a<br>b", "<p>a<br>b</p>"),
    "fields": (
        Fields((("N*", "3B"), ("", "total"), ("tokens", ""))),
        "  N*      3B\n          total\n  tokens",
        "- **N\\***: 3B<br>total\n- **tokens**:",
        "<dl>\n<dt>N*</dt>\n<dd>3B</dd>\n<dd>total</dd>\n<dt>tokens</dt>\n<dd></dd>\n</dl>",
    ),
    "table": (
        Table(("law", "N*"), (("a", "3B"), ("besiroglu", "12B"))),
        "  law         N*\n  a           3B\n  besiroglu  12B",
        "| law | N\\* |\n| :--- | ---: |\n| a | 3B |\n| besiroglu | 12B |",
        '<div class="box" tabindex="0">\n<table>\n'
        '<thead><tr><th scope="col" class="left">law</th><th scope="col">N*</th></tr></thead>\n<tbody>\n'
        '<tr><th scope="row" class="left whole">a</th><td class="whole">3B</td></tr>\n'
        '<tr><th scope="row" class="left whole">besiroglu</th><td class="whole">12B</td></tr>\n'
        "</tbody>\n</table>\n</div>",
    ),
    "table without headers": (
        Table(("", ""), (("a", "1"),), caption="Counts"),
        "  Counts\n  a  1",
        "Counts\n\n|  |  |\n| :--- | ---: |\n| a | 1 |",
        "<figure>\n<figcaption>Counts</figcaption>\n"
        '<div class="box" tabindex="0" role="region" aria-label="Counts">\n<table>\n<tbody>\n'
        '<tr><th scope="row" class="left whole">a</th><td class="whole">1</td></tr>\n'
        "</tbody>\n</table>\n</div>\n</figure>",
    ),
    "equation": (
        Equation("C = 6 N D"),
        "  C = 6 N D",
        "`C = 6 N D`",
        '<p class="indented"><code>C = 6 N D</code></p>',
    ),
    "callout": (
        Callout("it leans on two runs.", "warning", "few-runs", "Besiroglu 2024"),
        "   ! - few-runs: it leans on two runs. [Besiroglu 2024]",
        "> **warning** few-runs: it leans on two runs. \\[Besiroglu 2024\\]",
        '<div class="callout warning" role="note"><b>warning</b> <code>few-runs</code>: it leans on two runs. '
        "<cite>[Besiroglu 2024]</cite></div>",
    ),
    "bare callout": (
        Callout("prices are old."),
        "     - prices are old.",
        "> **note** prices are old.",
        '<div class="callout note" role="note"><b>note</b> prices are old.</div>',
    ),
    "code": (
        Code("scaling plan --flops 1e21", "next:", 2),
        "next:  scaling plan --flops 1e21",
        "next:\n\n```\nscaling plan --flops 1e21\n```",
        '<p class="faint">next:</p>\n<pre tabindex="0"><code>scaling plan --flops 1e21</code></pre>',
    ),
    "figure": (
        FIGURE,
        "",
        "*the cost*\n\nStay near.",
        '<figure>\n<div class="picture" tabindex="0"><div role="img" aria-label="the cost"><svg></svg></div></div>\n<figcaption>Stay near.</figcaption>\n</figure>',
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def body(page: str) -> str:
    """A fragment without its frame, pictures emptied."""
    inside = page.partition("</style>\n")[2].removesuffix("\n</div>\n")
    return re.sub(r"(?s)<svg.*</svg>", "<svg></svg>", inside)


@every_case
def test_block_in_a_terminal(case: tuple[Block, str, str, str]) -> None:
    assert render_terminal([case[0]]) == case[1]


@every_case
def test_block_as_markdown(case: tuple[Block, str, str, str]) -> None:
    assert render_markdown([case[0]]) == case[2] + "\n"


@every_case
def test_block_as_html(case: tuple[Block, str, str, str]) -> None:
    assert body(render_html([case[0]])) == case[3]


def test_the_last_columns_of_a_table_may_be_remarks() -> None:
    table = Table(("part", "N", "why"), (("a", "1", "x"), ("b", "20", "longer")), remarks=1)
    assert render_terminal([table]) == "  part   N  why\n  a      1  x\n  b     20  longer"
    assert "| :--- | ---: | :--- |" in render_markdown([table])
    assert '<td class="whole">1</td><td class="left whole">x</td>' in render_html([table])


def test_a_long_command_breaks_where_a_shell_reads_on() -> None:
    first, second = "scaling fit " + "a" * 60, "scaling plan " + "b" * 60
    both = f"{first} && {second}"
    assert render_terminal([Code(both, "next", 2)], width=100) == f"next  {first} &&\n      {second}"
    assert render_terminal([Code(both)], width=100) == f"{first} &&\n    {second}"
    assert render_terminal([Code(both)]) == both, "no width is known: a program may read it"


def test_markdown_shows_a_picture_that_the_caller_wrote() -> None:
    shown = render_markdown([FIGURE], figures=lambda figure: f"{figure.kind} (1).svg")
    assert shown == "![the cost](off-optimum%20%281%29.svg)\n\nStay near.\n"


def test_every_rule_of_the_style_stays_inside_its_class() -> None:
    style = render_html([]).partition("<style>\n")[2].partition("</style>")[0]
    rules = re.findall(r"(?m)^(.*?)\{", style.replace("\\\n", ""))
    assert len(rules) > 15
    assert all(selector.startswith(".scaling-blocks") for rule in rules for selector in _selectors(rule))


def _selectors(rule: str) -> list[str]:
    return re.sub(r"\([^)]*\)", "()", rule).split(",")


def test_a_fragment_names_no_document_and_no_script() -> None:
    shown = render_html([case[0] for case in CASES.values()])
    assert shown.startswith('<div class="scaling-blocks tex2jax_ignore mathjax_ignore" dir="ltr">')
    assert not re.search(r"<(?:!DOCTYPE|html|head|body|script|link|h[12])\b|url\(http|@import", shown)


def test_a_whole_page_has_its_title_language_and_first_heading() -> None:
    page = render_html([Heading("Plan", 1)], whole_page=True, title="A & B", language="es")
    assert page.startswith('<!DOCTYPE html>\n<html lang="es">\n')
    assert "<title>A &amp; B</title>" in page
    assert "<h1>Plan</h1>" in page
    assert "prefers-color-scheme:dark" in page


def test_pictures_take_the_colours_of_their_page() -> None:
    svg = re.search(r"(?s)<svg.*</svg>", render_html([FIGURE]))
    assert svg is not None
    assert "light-dark(#ffffff, #16181c)" in svg[0]  # no white card on a dark page
    assert not re.search(r"(?:fill|stroke): #", svg[0])  # no colour that a dark page would not change


def test_without_matplotlib_a_page_tells_what_the_picture_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scaling.plots.figures", None)
    assert '<div role="img" aria-label="the cost">the cost</div>' in render_html([FIGURE])


def test_a_heading_ends_with_its_own_marks() -> None:
    assert render_markdown([Heading("in C #")]) == "## in C \\#\n"


def test_the_word_for_a_severity_is_translated() -> None:
    with translated({"warning": "aviso"}):
        assert render_markdown([Callout("x", "warning")]) == "> **aviso** x\n"
        assert 'class="callout warning" role="note"><b>aviso</b>' in render_html([Callout("x", "warning")])


def test_a_page_tells_a_figure_that_it_cannot_draw() -> None:
    assert "a map of Mars" in render_html([Figure("map", {"x": [1.0]}, "a map of Mars")])
