"""Workers as processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field

from scaling.sweep.executors.base import Ended, WorkerCommand
from scaling.sweep.timing import usable_cores

GRACE_S = 20.0  # from SIGTERM to SIGKILL: a checkpoint of a small model takes well under a second


@dataclass
class LocalExecutor:
    """One process a slot, each in a process group of its own so that Ctrl-C reaches only the parent."""

    command: WorkerCommand
    threads_per_worker: int = 1
    grace_s: float = GRACE_S
    name: str = "local"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def default_slots(self) -> int:
        return usable_cores()

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        deadline_at = self.command.deadline_at(deadline_s)
        for _ in range(n_workers):
            owner = f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}"
            path = self.command.log_path(owner)
            path.parent.mkdir(parents=True, exist_ok=True)
            arguments = self.command.arguments(owner, deadline_at=deadline_at)
            with path.open("wb") as log:
                self.processes[owner] = subprocess.Popen(
                    [sys.executable, "-m", "scaling.sweep.worker", *arguments],
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env={**os.environ, "OMP_NUM_THREADS": str(self.threads_per_worker)},
                    start_new_session=True,
                )

    def n_alive(self) -> int:
        return len(self.processes)

    def ended(self) -> list[Ended]:
        gone = {owner: p.returncode for owner, p in self.processes.items() if p.poll() is not None}
        for owner in gone:
            del self.processes[owner]
        return [
            Ended(owner=o, exit_code=code, stderr_tail=self.command.take_log(o)) for o, code in gone.items()
        ]

    def stop(self) -> None:
        self._signal(signal.SIGTERM)
        limit = time.monotonic() + self.grace_s
        while time.monotonic() < limit and any(p.poll() is None for p in self.processes.values()):
            time.sleep(0.05)
        self._signal(signal.SIGKILL)
        for process in self.processes.values():
            process.wait()

    def _signal(self, number: int) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
