"""How far a long computation is: loops say it by `tracked`, a command line listens and draws lines on a terminal.

Nobody listens unless a command does, and then a loop costs nothing. Lines are drawn by rich, imported with the first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

Item = TypeVar("Item")
BAR_COLUMNS = 20


@dataclass
class Loop:
    """A loop under way."""

    what: str
    n_items: int
    n_done: int = 0


_LOOPS: ContextVar[list[Loop] | None] = ContextVar(
    "loops", default=None
)  # the outermost first; None: nobody listens


def tracked(items: Collection[Item], what: str) -> Generator[Item, None, None]:
    """The items, each counted as done when the next is asked for."""
    loops = _LOOPS.get()
    if loops is None:
        yield from items
        return
    loop = Loop(what, len(items))
    loops.append(loop)
    try:
        for item in items:
            yield item
            loop.n_done += 1
    finally:
        loops.remove(loop)


@contextmanager
def listening() -> Iterator[list[Loop]]:
    """The loops under way inside the block, as they come and go."""
    loops: list[Loop] = []
    token = _LOOPS.set(loops)
    try:
        yield loops
    finally:
        _LOOPS.reset(token)


class Line(NamedTuple):
    """One line on a terminal: what is done, a bar where it is known how far it is, and what else is to be said."""

    what: str
    fraction: float | None
    told: str = ""


def can_draw() -> bool:
    """Whether lines can be drawn anew on stderr: a terminal that can, not a pipe."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Lines:
    """Lines at the foot of a terminal's stderr, as wide as it at most and without colour under NO_COLOR."""

    def __init__(self, *, transient: bool) -> None:
        """transient: they are gone when closed."""
        self._transient = transient
        self._drawn: Any = None  # rich.progress.Progress

    def show(self, lines: Sequence[Line]) -> None:
        if self._drawn is None:
            self._drawn = _drawing(self._transient)
        drawn = self._drawn
        for task in drawn.task_ids[len(lines) :]:
            drawn.remove_task(task)
        for _ in lines[len(drawn.task_ids) :]:
            drawn.add_task("", told="", total=None)
        for task, line in zip(drawn.task_ids, lines, strict=True):
            room = max(drawn.console.width - BAR_COLUMNS - len(line.told) - 6, 8)
            what = line.what if len(line.what) <= room else line.what[: room - 1] + "…"
            total = None if line.fraction is None else 1
            drawn.update(task, description=what, told=line.told, total=total, completed=line.fraction or 0)
        drawn.refresh()

    def close(self) -> None:
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None


def _drawing(transient: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn
    from rich.progress_bar import ProgressBar
    from rich.table import Column
    from rich.text import Text

    class Bar(BarColumn):
        def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]  # nothing known, nothing drawn
            return Text("") if task.total is None else super().render(task)

    what, told = (Column(no_wrap=True, overflow="ellipsis") for _ in range(2))
    spinner = [SpinnerColumn(style="none")] if transient else []  # moves while the rest stands still
    drawing = Progress(
        *spinner,
        TextColumn("{task.description}", markup=False, table_column=what, style="none"),
        Bar(BAR_COLUMNS, complete_style="none", finished_style="none", pulse_style="none"),
        TextColumn("{task.fields[told]}", markup=False, table_column=told, style="none"),
        console=Console(file=sys.stderr, highlight=False),
        auto_refresh=False,
        transient=transient,
        redirect_stdout=False,  # a result that is piped away is no part of the terminal
    )
    drawing.start()
    drawing.console.show_cursor(True)  # a process that is killed would leave the terminal without one
    return drawing
