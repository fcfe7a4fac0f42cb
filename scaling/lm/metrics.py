"""Metrics of a run as JSON lines, and a progress line."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from scaling.files import write_text
from scaling.units import format_duration, format_tokens


class Observer(Protocol):
    """Something that follows a run's metrics live."""

    def log(self, line: Mapping[str, Any]) -> None: ...

    def close(self, status: str) -> None: ...


class MetricsLog:
    """Append-only metrics.jsonl. On resume, lines after the checkpoint, and a torn last line, are dropped.

    observer: is given every line as well, and at the end how the run ended.
    """

    def __init__(self, path: Path | None, *, resume_step: int = 0, observer: Observer | None = None) -> None:
        self._file: TextIO | None = None
        self._observer = observer
        if path is None:
            return
        if path.exists():
            kept = [line for line in read_metrics(path) if line["step"] <= resume_step]
            write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, **values: Any) -> None:
        """One line; numbers that JSON has not (nan, inf) become null."""
        if self._file is not None:
            finite = {
                k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()
            }
            self._file.write(json.dumps(finite) + "\n")
            self._file.flush()
        if self._observer is not None:
            self._observer.log(values)

    def close(self, status: str = "done") -> None:
        """status: of the run's result, or failed. Closing again does nothing."""
        if self._file is not None:
            self._file.close()
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.close(status)


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Lines of a metrics file; a torn last line (the writer was killed) is left out."""
    lines = []
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


class Progress:
    """One line on stderr, rewritten in a terminal."""

    WIDTH = 24

    def __init__(self, n_steps: int, *, enabled: bool) -> None:
        self.n_steps, self.enabled = n_steps, enabled
        self._rewrites = sys.stderr.isatty()
        self._last_shown = 0.0

    def show(self, step: int, loss: float, tokens_per_s: float, remaining_s: float) -> None:
        if not self.enabled:
            return
        done = step / self.n_steps
        if not self._rewrites and done - self._last_shown < 0.1 and step < self.n_steps:
            return  # a file gets ten lines, not thousands
        self._last_shown = done
        bar = "#" * round(done * self.WIDTH)
        text = (
            f"[{bar:<{self.WIDTH}}] {step}/{self.n_steps}  loss {loss:.3f}  {format_tokens(tokens_per_s)} tokens/s  "
            f"{format_duration(remaining_s)} left"
        )
        sys.stderr.write(f"\r\x1b[K{text}" if self._rewrites else text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self.enabled and self._rewrites:
            sys.stderr.write("\n")
        self.enabled = False
