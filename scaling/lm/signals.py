"""Signals that ask for a stop instead of ending the process: SIGTERM and SIGUSR2, which schedulers send before they
kill, and Ctrl-C where it is wanted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(request: Callable[[str], None], *, interrupt: bool = False) -> Iterator[None]:
    """Call `request` with the name of a signal that arrives; the handlers before come back at the end.

    Args:
        interrupt: take Ctrl-C (SIGINT) too, once: the second does what it did before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    names = ("SIGTERM", "SIGUSR2", *(["SIGINT"] if interrupt else []))
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def handle(number: int, frame: object) -> None:
        request(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
