"""Loops say how far they are to whoever listens; lines are drawn on a terminal, no wider than it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from scaling.progress import listening, tracked

DRAW = """
import sys
from scaling.progress import Line, Lines, can_draw
print(can_draw(), "rich" in sys.modules, flush=True)
if can_draw():
    lines = Lines(transient=False)
    lines.show([Line("fitting [bold]" + 200 * "x", 0.25, "25 %  3 min left"), Line("run-1", None, "4 s")])
    print("a note", file=sys.stderr)
    lines.show([Line("done", 1.0)])
    lines.close()
"""
STYLE = re.compile(r"\x1b\[\d[\d;]*m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(code: str, columns: int = 72, **environment: str) -> str:
    """What a process writes to a terminal of that many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {n: v for n, v in os.environ.items() if n not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=slave,
        stderr=slave,
        env=env | {"TERM": "xterm-256color"} | environment,
    )
    os.close(slave)
    written = b""
    try:
        while part := os.read(master, 65536):
            written += part
    except OSError:  # the end of a pseudo-terminal
        pass
    os.close(master)
    assert process.wait() == 0, written
    return written.decode()


def test_a_loop_counts_what_is_done_and_is_gone_at_its_end() -> None:
    with listening() as loops:
        seen = []
        for _ in tracked("abc", "letters"):
            seen.append([(loop.what, loop.n_done, loop.n_items) for loop in loops])
            for _ in tracked((1, 2), "inner"):
                assert [loop.what for loop in loops] == ["letters", "inner"]  # the outermost first
        assert seen == [[("letters", n, 3)] for n in range(3)]
        assert loops == []


def test_a_loop_that_fails_is_gone_too_and_one_that_nobody_hears_just_runs() -> None:
    with listening() as loops:
        steps = tracked((1, 0), "steps")
        next(steps)
        assert loops
        steps.close()  # as a loop does that an error leaves
    assert loops == []
    assert [*tracked((1, 2), "steps")] == [1, 2]


@pytest.mark.parametrize("columns", [40, 72, 100])
def test_lines_are_no_wider_than_the_terminal_and_notes_stand_above_them(columns: int) -> None:
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", on_terminal(DRAW, columns)))]
    assert lines[0] == "True False"  # rich is not loaded before something is drawn
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("fitting [bold]" if columns >= 72 else "fitting") for line in lines)
    assert any(line.endswith("25 %  3 min left") for line in lines)
    assert "a note" in lines


def test_no_colour_draws_without_and_a_dumb_terminal_or_a_pipe_gets_nothing() -> None:
    plain = on_terminal(DRAW, NO_COLOR="1")
    assert "3 min left" in plain
    assert not STYLE.search(plain.replace("\x1b[0m", ""))
    assert on_terminal(DRAW, TERM="dumb").split() == ["False", "False"]
    piped = subprocess.run([sys.executable, "-c", DRAW], capture_output=True, text=True, check=True)
    assert (piped.stdout.split(), piped.stderr) == (["False", "False"], "")
