"""The live line of `scaling sweep run`, and how it is interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from scaling.units import format_duration, format_percent

EXIT_INTERRUPTED = 130
WIDTH = 20
QUIET_FRACTION = 0.1  # a log file gets a line a tenth
LEAST_DONE = 0.01  # of all FLOPs, before the time left is told


@dataclass
class TimeLeft:
    """Seconds left, from the FLOPs done since the first look; None until there is something to go by."""

    _start_fraction: float | None = None

    def seconds(self, fraction: float, elapsed_s: float) -> float | None:
        if self._start_fraction is None:
            self._start_fraction = fraction
        done = fraction - self._start_fraction
        return elapsed_s * (1 - fraction) / done if done > LEAST_DONE else None


@dataclass
class ProgressLine:
    """One line on stderr, rewritten in a terminal; the time left from the FLOPs done so far."""

    enabled: bool
    time_left: TimeLeft = field(default_factory=TimeLeft)
    _shown: float = -1.0
    _told_waiting: bool = False

    def show(self, status: Any, elapsed_s: float) -> None:
        if not self.enabled:
            return
        seconds = self.time_left.seconds(status.fraction, elapsed_s)
        terminal = sys.stderr.isatty()
        news = status.is_waiting and not self._told_waiting
        self._told_waiting = status.is_waiting
        if not terminal and not news and status.fraction - self._shown < QUIET_FRACTION:
            return
        self._shown = status.fraction
        left = "" if seconds is None else f"{format_duration(seconds)} left"
        if status.is_waiting:
            left = "waiting for a worker that is not of this command, or for its lease to run out"
        bar = "#" * round(status.fraction * WIDTH)
        failed = f"  {status.n_failed} failed" if status.n_failed else ""
        text = (
            f"[{bar:<{WIDTH}}] {format_percent(status.fraction)}  {status.n_finished}/{len(status.states)} runs  "
            f"{status.counts.get('running', 0)} running{failed}  {left}"
        )
        sys.stderr.write(f"\r\x1b[K{text}" if terminal else text.rstrip() + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self.enabled and sys.stderr.isatty():
            sys.stderr.write("\n")


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """`kill`, a closing terminal and a batch system end a sweep as Ctrl-C does: workers checkpoint and stop."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    names = [n for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    before = {getattr(signal, n): signal.getsignal(getattr(signal, n)) for n in names}
    asked = {n: h for n, h in before.items() if h != signal.SIG_IGN}  # nohup: the user wants it to go on
    for number in asked:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in asked.items():
            signal.signal(number, handler)
