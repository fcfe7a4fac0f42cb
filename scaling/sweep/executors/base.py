"""What an executor has to do: start workers, say which have ended, stop the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scaling.errors import ScalingError
from scaling.sweep.store import Store, read_tail


class ExecutorError(ScalingError):
    """The engine is not here, does not answer, or has not what was asked for."""


@dataclass(frozen=True, kw_only=True)
class WorkerCommand:
    """What every worker of one sweep is started with."""

    store: Path
    plan: Path
    lease_timeout_s: float
    pack: int = 1  # runs of one shape that a worker trains as one stacked model

    def arguments(self, owner: str, *, deadline_at: float | None = None) -> list[str]:
        """What follows `python -m scaling.sweep.worker`; `deadline_at` is on the store's clock."""
        return [
            "--store", str(self.store), "--plan", str(self.plan), "--owner", owner,
            "--lease-timeout-s", f"{self.lease_timeout_s:g}", "--pack", str(self.pack),
            *(["--deadline-at", f"{deadline_at:.3f}"] if deadline_at is not None else []),
        ]  # fmt: skip

    def deadline_at(self, deadline_s: float | None) -> float | None:
        """`deadline_s` from now on the store's clock: a worker that has queued for an hour still ends in time."""
        return None if deadline_s is None else Store(self.store).now() + deadline_s

    def log_path(self, owner: str) -> Path:
        """Where a worker's stderr goes."""
        return self.store / "logs" / f"{owner.replace(':', '-')}.stderr"

    def take_log(self, owner: str) -> str:
        """The end of what a worker said; an empty log is not kept."""
        path = self.log_path(owner)
        tail = read_tail(path)
        if not tail.strip():
            path.unlink(missing_ok=True)
        return tail


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A worker that is no more. exit_code None: nobody knows (a cluster that does not say)."""

    owner: str
    exit_code: int | None
    stderr_tail: str = ""

    @property
    def was_killed(self) -> bool:
        return self.exit_code is None or self.exit_code < 0


class Executor(Protocol):
    """Starts workers somewhere. None of its methods blocks for long, except `stop`."""

    name: str

    def default_slots(self) -> int:
        """Workers at once unless the user says."""

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        """Start workers; their time ends `deadline_s` from now."""

    def n_alive(self) -> int: ...

    def ended(self) -> list[Ended]:
        """Workers that have ended since the last call."""

    def stop(self) -> None:
        """Ask all workers to checkpoint and stop, wait a little, then end them."""
