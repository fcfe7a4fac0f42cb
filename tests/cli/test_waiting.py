"""What is being waited for: said after a while, on a terminal, with how much is left where that is known."""

from __future__ import annotations

import threading

import pytest

from scaling.cli import progress
from scaling.progress import Line, Loop


@pytest.mark.parametrize(
    ("seconds", "loop", "line"),
    [
        (None, None, Line("fitting", None, "12 s")),
        (None, Loop("laws", 1), Line("fitting", None, "12 s")),  # one step says nothing about what is left
        (None, Loop("laws", 8), Line("fitting: laws", 0.0, "0 %  12 s")),
        (None, Loop("laws", 8, 2), Line("fitting: laws", 0.25, "25 %  30 s left")),  # 10 s for a quarter
        (24.0, None, Line("fitting", 0.5, "50 %  12 s left")),
        (6.0, None, Line("fitting", 1.0, "100 %  1 s left")),
    ],
)
def test_the_line_says_how_far_it_is_and_what_is_left(
    seconds: float | None, loop: Loop | None, line: Line
) -> None:
    assert progress._line("fitting", seconds, loop, elapsed=12.0, of_loop=10.0) == line


def test_the_line_follows_the_loop_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Line] = []
    monkeypatch.setattr(progress.Lines, "show", lambda self, lines: shown.extend(lines))
    loops, looks = [Loop("cuts", 4, 1)], iter(range(10))

    class Done(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            look = next(looks)
            if look == 3:
                loops[:] = [Loop("laws", 2, 1)]
            return look == 5

    progress._tell("fitting", None, loops, Done())
    assert [line.what for line in shown] == 2 * ["fitting: cuts"] + 2 * ["fitting: laws"]
    assert [line.fraction for line in shown] == [0.25, 0.25, 0.5, 0.5]
