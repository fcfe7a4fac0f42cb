"""What a terminal makes of a summary: its width, its first screen, its sections, colours and links."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys

import pytest

from scaling.blocks import Blocks, Callout, Code, Section, Table, Text, first_doubts, screen
from scaling.findings import LONGEST_SHORT, Finding
from scaling.render.frame import render_latex
from scaling.render.html import render_html
from scaling.render.markdown import render_markdown
from scaling.render.terminal import render_terminal

WIDTHS = (72, 80, 100, 140)
WIDE = Table(
    ("law", "remark", *(f"quantity number {i}" for i in range(12))),
    [
        (f"law-{i}", "fitted outside the range of its runs", *(f"{i}.{k:04d}" for k in range(12)))
        for i in range(3)
    ],
    left=2,
)


def never() -> Blocks:
    raise AssertionError("a section that is not shown was computed")


SUMMARY: Blocks = (
    Text("Train it."),
    Section("laws", "Other laws", lambda: (Text("eight papers"),)),
    Section("memory", "Memory", lambda: (Text("58 GB"),)),
    Code("scaling sweep", "next"),
)


def test_a_first_screen_names_its_sections_where_they_would_stand_and_computes_none() -> None:
    blocks = (
        Text("Train it."),
        Section("laws", "Laws", never),
        Section("memory", "Memory", never),
        Text("end"),
    )
    assert render_terminal(screen(blocks)).split("\n") == [
        "Train it.",
        "more  --show laws,memory,all",
        "end",
    ]


def test_a_section_named_is_shown_alone_and_all_shows_the_whole() -> None:
    assert render_terminal(screen(SUMMARY, ["memory"])) == "\nMemory\n58 GB"
    whole = render_terminal(screen(SUMMARY, ["all"]))
    assert [line for line in whole.split("\n") if line] == [
        "Train it.", "nextscaling sweep", "Other laws", "eight papers", "Memory", "58 GB",
    ]  # fmt: skip
    assert list(screen(SUMMARY, ["doubts"])) == [Text("nothing to show of: doubts")]
    filled = list(screen(SUMMARY, ["curves"], {"curves": "--method envelope"}))
    assert filled == [Text("nothing to show of: curves; it needs --method envelope")]


def test_the_names_of_many_sections_stand_in_options_that_can_be_pasted_each_and_together() -> None:
    names = [f"section-{i}" for i in range(12)]
    lines = render_terminal(screen([Section(name, name, never) for name in names]), width=72).splitlines()
    words = [word for line in lines for word in shlex.split(line.removeprefix("more"))]
    assert words[::2] == len(lines) * ["--show"]
    assert max(map(len, lines)) <= 72
    assert ",".join(words[1::2]).split(",") == [*names, "all"]


def test_pages_hold_every_section() -> None:
    assert "## Memory\n\n58 GB" in render_markdown(SUMMARY)
    assert "<details>\n<summary>Memory</summary>\n<p>58 GB</p>\n</details>" in render_html(SUMMARY)
    assert '<section id="memory">\n<h2>Memory</h2>\n<p>58 GB</p>\n</section>' in render_html(
        SUMMARY, whole_page=True
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_screen_and_no_cell_is_lost(width: int) -> None:
    told = render_terminal([WIDE], width=width)
    assert max(map(len, told.split("\n"))) <= width
    words = told.split()
    for row in WIDE.rows:
        for cell in row:
            assert all(word in words for word in cell.split())
    for header in WIDE.headers:
        assert all(word in words for word in header.split())


@pytest.mark.parametrize("width", [50, 72, 80])
def test_a_folded_command_is_the_same_to_a_shell(width: int) -> None:
    command = "scaling fit 'my runs/table one.csv' --only 'n_params<1e9' --exclude \"line 5\" -o fit.json && scaling plan --law fit.json --flops 1e21"
    told = render_terminal([Code(command, "next  ")], width=width)
    assert max(map(len, told.split("\n"))) <= width
    words = shlex.split(told.replace("\\\n", " ").replace("next", "", 1))
    assert words == shlex.split(command)
    assert not re.search(r"--only \\\n", told), "an option stands apart from its value"


def test_three_doubts_at_most_the_gravest_first_and_short() -> None:
    findings = [Finding(code=f"c{i}", severity="note", message=f"remark {i}") for i in range(4)]
    findings.append(
        Finding(code="bad", severity="error", message="All of it is wrong. " + "Because of this. " * 40)
    )
    told = first_doubts(findings)
    assert told[0] == Callout(
        "All of it is wrong. " + "Because of this. " * 5 + "Because of this ...", "error"
    )
    assert [type(b).__name__ for b in told] == ["Callout", "Callout", "Callout", "Text"]
    assert told[-1] == Text("and 2 more: --show doubts", "faint", indent=4)
    assert len(findings[-1].in_short) <= LONGEST_SHORT + 4


def test_latex_is_escaped() -> None:
    told = render_latex(Table(("model", "N & D"), (("a_b\\c 50%", "1e9"),)))
    assert "model & N \\& D \\\\" in told
    assert "a\\_b\\textbackslash{}c 50\\% & 1e9 \\\\" in told


PRINTS = """
import sys
from scaling.blocks import Callout, Text
from scaling.render.terminal import show, show_error
show(Text("Kaplan et al. 2020, arXiv:2001.08361, and many words more than a line of a narrow terminal can hold", "strong"))
show_error("a message that is longer than the narrow terminal on which it is shown to its reader, who waits", try_=["scaling plan --flops 1e21"])
"""


def on_a_terminal(**environment: str) -> str:
    """What the program writes to a pseudo-terminal of 60 columns."""
    ours, theirs = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    plain = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM")}
    env = {**plain, "TERM": "xterm", **environment}
    subprocess.run(
        [sys.executable, "-c", PRINTS], stdout=theirs, stderr=theirs, stdin=theirs, env=env, check=True
    )
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        told += part
    os.close(ours)
    return told.decode().replace("\r\n", "\n")


def test_a_terminal_gets_its_width_colours_and_links() -> None:
    told = on_a_terminal()
    assert "\x1b[1m" in told
    assert "https://arxiv.org/abs/2001.08361" in told
    plain = re.sub(r"\x1b\]8;[^\x1b]*\x1b\\|\x1b\[[0-9;]*m", "", told)
    assert max(map(len, plain.split("\n"))) <= 60
    assert "Try: scaling plan --flops 1e21" in plain.split("\n")


@pytest.mark.parametrize("said", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_a_terminal_that_wants_no_colours_gets_plain_text(said: dict[str, str]) -> None:
    assert "\x1b" not in on_a_terminal(**said)


@pytest.mark.parametrize(("said", "coloured"), [({}, False), ({"FORCE_COLOR": "1"}, True)])
def test_a_pipe_gets_colours_only_if_they_are_forced(said: dict[str, str], coloured: bool) -> None:
    plain = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], env={**plain, **said}, capture_output=True, text=True
    )
    assert ("\x1b" in done.stdout) == coloured
    if not coloured:
        assert done.stderr.count("\n") == 1, "a program reads an error as one line"
