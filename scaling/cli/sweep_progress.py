"""The live line of `scaling sweep run`, and the choice of its executor."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import FrameType
from typing import Any

from scaling.cli.sweep_options import EXECUTORS
from scaling.errors import UnknownNameError, UsageError
from scaling.units import format_duration, format_percent

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

    def show(self, status: Any, elapsed_s: float) -> None:
        if not self.enabled:
            return
        seconds = self.time_left.seconds(status.fraction, elapsed_s)
        terminal = sys.stderr.isatty()
        if not terminal and status.fraction - self._shown < QUIET_FRACTION:
            return
        self._shown = status.fraction
        left = "" if seconds is None else f"{format_duration(seconds)} left"
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


def require_torch(executor: str) -> None:
    """Say at once what is missing where the training is to run; on a cluster its nodes may have what we lack."""
    if executor in ("local", "inline") and find_spec("torch") is None:
        raise UsageError("training needs torch: pip install 'isoflop[train]'.")


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


EXIT_INTERRUPTED = 130


def executor_of(
    name: str,
    store: Any,
    design: Any,
    *,
    partition: str | None = None,
    gpus_per_slot: float | None = None,
    pack: int = 1,
) -> Any:
    """The executor by name; the heavy ones are imported only here."""
    from scaling.sweep.executors import InlineExecutor, WorkerCommand
    from scaling.sweep.plan_file import write_plan

    command = WorkerCommand(
        store=store.root, plan=write_plan(store, design), lease_timeout_s=store.lease_timeout_s, pack=pack
    )
    if name == "local":
        return _local(command, gpus_per_slot)
    if name == "inline":
        return InlineExecutor(command=command)
    if name == "slurm":
        return _slurm(command, partition, gpus_per_slot)
    if name == "ray":
        from scaling.sweep.executors.ray import RayExecutor

        return RayExecutor(command=command, gpus_per_slot=gpus_per_slot)
    raise UnknownNameError("executor", name, EXECUTORS)


def _local(command: Any, gpus_per_slot: float | None) -> Any:
    from scaling.sweep.executors import LocalExecutor
    from scaling.sweep.executors.local import GPUS_PER_SLOT, visible_gpus

    gpus = () if gpus_per_slot == 0 else visible_gpus()
    if gpus_per_slot and not gpus:
        raise UsageError(
            "this machine shows no GPU (or torch is a CPU build); leave --gpus-per-slot out to train on CPUs."
        )
    share = GPUS_PER_SLOT if gpus_per_slot is None else gpus_per_slot
    return LocalExecutor(command=command, gpus=gpus, gpus_per_slot=share)


def _slurm(command: Any, partition: str | None, gpus_per_slot: float | None) -> Any:
    from scaling.sweep.executors.slurm import SlurmExecutor

    if gpus_per_slot is not None and gpus_per_slot not in (0, 1):
        raise UsageError(
            f"Slurm gives a job whole GPUs: --gpus-per-slot 1 (or 0), got {gpus_per_slot:g}. "
            "Fill one with --pack instead."
        )
    parameters = {"gpus_per_node": 1} if gpus_per_slot else {}
    return SlurmExecutor(command=command, partition=partition, parameters=parameters)
