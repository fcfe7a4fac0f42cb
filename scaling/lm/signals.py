"""SIGTERM and SIGUSR2 (what schedulers send before they kill) ask for a stop instead of ending the process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(request: Callable[[str], None]) -> Iterator[None]:
    """Call `request` with the name of a signal that arrives; the handlers before come back at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name)]

    def handle(number: int, frame: object) -> None:
        request(signal.Signals(number).name)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
