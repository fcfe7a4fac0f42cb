"""Say on stderr what is being waited for, once it has taken two seconds. Silent in pipes and when quick."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from scaling.progress import Line, Lines, Loop, can_draw, listening
from scaling.units import format_duration, format_percent

PATIENCE_S = 2.0


@contextmanager
def waiting_for(what: str, seconds: float | None = None) -> Iterator[None]:
    """While the block runs longer than PATIENCE_S on a terminal, show `what`, and how much is done and left.

    seconds: how long it takes, where that is known before; else the outermost loop inside tells how far it is.
    """
    if not can_draw():
        yield
        return
    done = threading.Event()
    with listening() as loops:
        teller = threading.Thread(target=_tell, args=(what, seconds, loops, done), daemon=True)
        teller.start()
        try:
            yield
        finally:
            done.set()
            teller.join()


def _tell(what: str, seconds: float | None, loops: Sequence[Loop], done: threading.Event) -> None:
    start = time.monotonic()
    if done.wait(PATIENCE_S):
        return
    from scaling.render.terminal import one_line, printable

    what = printable(one_line(what))  # it may name a file, and a file's name may hold anything
    lines = Lines(transient=True)
    begun: tuple[Loop | None, float] = (None, start)
    while not done.wait(0.1):
        now = time.monotonic()
        loop = next(iter(loops), None)
        if loop is not begun[0]:
            begun = loop, now
        lines.show([_line(what, seconds, loop, elapsed=now - start, of_loop=now - begun[1])])
    lines.close()


def _line(what: str, seconds: float | None, loop: Loop | None, *, elapsed: float, of_loop: float) -> Line:
    """What is waited for, as far as it is; the time left from the time that the part done has taken."""
    if seconds:
        fraction = min(elapsed / seconds, 1.0)
        return Line(what, fraction, f"{format_percent(fraction)}  {_left(max(seconds - elapsed, 0.0))}")
    if loop is None or loop.n_items < 2:
        return Line(what, None, f"{elapsed:.0f} s")
    fraction = loop.n_done / loop.n_items
    told = _left(of_loop * (1 - fraction) / fraction) if fraction else f"{elapsed:.0f} s"
    return Line(f"{what}: {loop.what}", fraction, f"{format_percent(fraction)}  {told}")


def _left(seconds: float) -> str:
    return f"{format_duration(max(seconds, 1.0), 2)} left"
