"""What runs show of themselves: losses and norms read every few steps and judged, JSON lines, a progress line."""

# K runs

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scaling.accounting import flops_per_token
from scaling.files import write_text
from scaling.jsonable import jsonable
from scaling.lm.device import Device
from scaling.lm.distributed import Processes
from scaling.lm.live_logs import LiveLogs
from scaling.lm.run import RunSpec, TrainingOptions
from scaling.progress import Line, Lines, can_draw
from scaling.units import format_duration, format_tokens

Floats = NDArray[np.float64]
# names in a checkpoint
_LOSSES, _NORMS, _FIRST = "metrics.losses", "metrics.gradient_norms", "metrics.first_loss"
# Above ln V and the first loss: worse than knowing nothing, by a margin no healthy run shows after its warm-up. A
# model whose last state still is its own token starts above ln V.
RUNAWAY_NATS = 1.0


class MetricsLog:
    """Append-only metrics.jsonl. On resume, lines after the checkpoint, and a torn last line, are dropped.

    live: is given every line as well, and at the end how the run ended.
    """

    def __init__(self, path: Path | None, *, resume_step: int = 0, live: LiveLogs | None = None) -> None:
        self._file: TextIO | None = None
        self._live = live
        if path is None:
            return
        if path.exists():
            before = [line for line in read_metrics(path) if line["step"] <= resume_step]
            write_text(path, "".join(json.dumps(line) + "\n" for line in before))
        self._file = path.open("a", encoding="utf-8")

    def write(self, **values: Any) -> None:
        """One line; numbers that JSON has not (nan, inf) become null."""
        if self._file is not None:
            self._file.write(json.dumps(jsonable(values)) + "\n")
            self._file.flush()
        if self._live is not None:
            self._live.log(values)

    def close(self, status: str = "done") -> None:
        """status: of the run's result, or failed. Closing again does nothing."""
        if self._file is not None:
            self._file.close()
        if self._live is not None:
            self._live.close(status)


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
    """A line on stderr, drawn anew on a terminal; a file gets one at each tenth."""

    WIDTH = 24

    def __init__(self, n_steps: int, *, enabled: bool) -> None:
        self.n_steps, self.enabled = n_steps, enabled
        self._lines = Lines(transient=False) if can_draw() else None
        self._last_shown = 0.0

    def show(self, step: int, loss: float, tokens_per_s: float, remaining_s: float) -> None:
        if not self.enabled:
            return
        done = step / self.n_steps
        if self._lines is None and done - self._last_shown < 0.1 and step < self.n_steps:
            return  # a file gets ten lines, not thousands
        self._last_shown = done
        left = f"{format_duration(remaining_s)} left"
        told = f"loss {loss:.3f}  {format_tokens(tokens_per_s)} tokens/s"
        if self._lines is not None:
            self._lines.show([Line(f"{step}/{self.n_steps}", done, f"{left}  {told}")])
            return
        bar = "#" * round(done * self.WIDTH)
        print(f"[{bar:<{self.WIDTH}}] {step}/{self.n_steps}  {told}  {left}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
        self.enabled = False


class TrainingMetrics:
    """Clocks, logs and losses of the runs. `diverged` holds, per run, why it has; `train_loss` what was last seen."""

    def __init__(
        self,
        specs: Sequence[RunSpec],
        files: Sequence[Path | None],
        device: Device,
        processes: Processes,
        *,
        step: int,
        options: TrainingOptions,
    ) -> None:
        self.specs, self.device, self.processes, self.log_every = specs, device, processes, options.log_every
        first = processes.is_first
        self.logs = [
            MetricsLog(
                file,
                resume_step=step,
                live=LiveLogs(options.log_to if first else None, k, spec, resume_step=step),
            )
            for k, (file, spec) in enumerate(zip(files, specs))
        ]
        self.progress = Progress(specs[0].n_steps, enabled=options.progress and first)
        self.diverged: list[str | None] = [None] * len(specs)
        self.train_loss = [math.nan] * len(specs)
        self._first_loss = [-math.inf] * len(specs)  # of step 1, once read
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._started = self._since = time.perf_counter()
        self.first_step, self.training_s = step, 0.0
        self._n_restored = 0  # of what is kept, steps that another process made

    @property
    def wall_s(self) -> float:
        """Seconds since this process took the run up."""
        return time.perf_counter() - self._started

    def add(self, losses_K: Tensor, norms_K: Tensor) -> None:
        """Keep what a step gave, on the device."""
        self._losses.append(losses_K)
        self._norms.append(norms_K)

    def tensors(self) -> list[dict[str, Tensor]]:
        """What was kept and not yet read, per run, for its checkpoint."""
        losses = [torch.tensor(loss, dtype=torch.float64) for loss in self._first_loss]
        first = [{_FIRST: loss} if loss.isfinite() else {} for loss in losses]
        if not self._losses:
            return first
        seen = self.processes.mean(torch.stack(self._losses)).cpu()
        norms = torch.stack(self._norms).cpu()
        return [
            {_LOSSES: seen[:, k].contiguous(), _NORMS: norms[:, k].contiguous(), **first[k]}
            for k in range(len(self.specs))
        ]

    def restore(self, tensors: Sequence[Mapping[str, Tensor]]) -> None:
        """Put back what a checkpoint of every run kept: the next line of the metrics is then as without the stop."""
        for k, stored in enumerate(tensors):
            if _FIRST in stored:
                self._first_loss[k] = float(stored[_FIRST])
        if tensors and all(_LOSSES in t for t in tensors):
            device = self.device.device
            self._losses = list(torch.stack([t[_LOSSES] for t in tensors], 1).to(device))
            self._norms = list(torch.stack([t[_NORMS] for t in tensors], 1).to(device))
            self._n_restored = len(self._losses)

    def read(self, step: int) -> None:
        """Read what was kept (the only wait for the device), log it and judge it."""
        losses = self.processes.mean(torch.stack(self._losses)).cpu().double().numpy()  # mps has no double
        norms = torch.stack(self._norms).cpu().double().numpy()
        if step == len(self._losses):
            self._first_loss = losses[0].tolist()
        n = len(self._losses) - self._n_restored  # steps made here, in the time measured here
        self._losses, self._norms, self._n_restored = [], [], 0
        now = time.perf_counter()
        elapsed, self._since = now - self._since, now
        self.training_s += elapsed
        rate = n * self.specs[0].tokens_per_step / elapsed * len(self.specs)
        for k, (log, spec) in enumerate(zip(self.logs, self.specs)):
            self.train_loss[k] = float(losses[:, k].mean())
            log.write(
                kind="train",
                step=step,
                n_tokens=step * spec.tokens_per_step,
                loss=self.train_loss[k],
                learning_rate=spec.learning_rate(step - 1),
                gradient_norm=float(norms[:, k].mean()),
                tokens_per_s=rate,
                mfu=self.mfu(rate),
                wall_s=self.wall_s,
            )
            self.diverged[k] = self.diverged[k] or self._judge(k, step, losses[:, k], norms[:, k])
        remaining = (self.specs[0].n_steps - step) * elapsed / n
        self.progress.show(step, float(np.mean(self.train_loss)), rate, remaining)

    def log(self, each: Sequence[dict[str, Any]] | None = None, **values: Any) -> None:
        """A line in every run's metrics; `each` adds what differs between the runs."""
        for log, own in zip(self.logs, each or [{}] * len(self.logs)):
            log.write(**values, **own)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What happens in here is not training time."""
        began = time.perf_counter()
        yield
        self._since += time.perf_counter() - began

    def tokens_per_s(self, step: int) -> float | None:
        """Tokens of one run per second of training, since this process took it up."""
        spent = self.training_s
        if len(self._losses) > self._n_restored:
            spent += time.perf_counter() - self._since
        return (step - self.first_step) * self.specs[0].tokens_per_step / spent if spent > 0 else None

    def mfu(self, tokens_per_s: float) -> float | None:
        """Model FLOPs utilisation of this many tokens of all runs; None where the peak is not known."""
        peak = self.device.peak_flops_per_s
        if not peak:
            return None
        return flops_per_token(self.specs[0].architecture) * tokens_per_s / (peak * self.processes.count)

    def close(self, statuses: Sequence[str]) -> None:
        """Close the logs, saying how each run ended, and the progress line. Closing again does nothing."""
        for log, status in zip(self.logs, statuses):
            log.close(status)
        self.progress.close()

    def _judge(self, k: int, step: int, losses: Floats, norms: Floats) -> str | None:
        """Why run k has diverged, or None."""
        if not (np.isfinite(losses).all() and np.isfinite(norms).all()):
            return f"the loss or the gradient is not finite by step {step}"
        ln_v, first = math.log(self.specs[k].architecture.vocab_size), self._first_loss[k]
        ceiling, of = max(ln_v, first) + RUNAWAY_NATS, "ln V" if ln_v >= first else "the first loss"
        if step > self.specs[k].schedule.warmup_steps + self.log_every and losses.mean() > ceiling:
            return f"the training loss is {losses.mean():.2f} by step {step}, above {of} + 1 = {ceiling:.2f}"
        return None
