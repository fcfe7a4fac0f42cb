"""Say on stderr what is being waited for, once it has taken two seconds. Silent in pipes and when quick."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 2.0
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """While the block runs longer than PATIENCE_S on a terminal, show `what` and the seconds gone."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(what, done), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _tell(what: str, done: threading.Event) -> None:
    start = time.monotonic()
    if done.wait(PATIENCE_S):
        return
    from scaling.render.terminal import one_line, printable

    what = printable(one_line(what))  # it may name a file, and a file's name may hold anything
    frame = 0
    while not done.wait(0.1):
        seconds = time.monotonic() - start
        sys.stderr.write(f"\r{_FRAMES[frame % len(_FRAMES)]} {what} … {seconds:.0f} s ")
        sys.stderr.flush()
        frame += 1
    sys.stderr.write("\r\033[K")
    sys.stderr.flush()
