"""Workers on this machine: as processes, one CPU thread each or several sharing each GPU; or in this very process, for
debugging (tracebacks, breakpoints) and for tests.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

from scaling.sweep import worker
from scaling.sweep.design import read_plan
from scaling.sweep.executors.base import Ended, WorkerCommand
from scaling.sweep.store import Store
from scaling.sweep.timing import usable_cores
from scaling.sweep.train_run import THREADS_OF_A_SLOT

GRACE_S = 20.0  # from SIGTERM to SIGKILL: a checkpoint of a small model takes well under a second
GPUS_PER_SLOT = 0.25  # models of 1M to 20M parameters leave most of a large GPU idle; not measured on one yet


@dataclass
class LocalExecutor:
    """One process a slot, each in a process group of its own so that Ctrl-C reaches only the parent.

    gpus: as CUDA_VISIBLE_DEVICES names them; workers are spread evenly over them.
    gpus_per_slot: 0.25 lets four workers share a GPU; 0 trains on the CPU.
    """

    command: WorkerCommand
    gpus: tuple[str, ...] = ()
    gpus_per_slot: float = GPUS_PER_SLOT
    grace_s: float = GRACE_S
    name: str = "local"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _gpu_of: dict[str, str] = field(default_factory=dict)

    def default_slots(self) -> int:
        return max(1, int(len(self.gpus) / self.gpus_per_slot)) if self.gpus else usable_cores()

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        deadline_at = self.command.deadline_at(deadline_s)
        for _ in range(n_workers):
            owner = f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}"
            path = self.command.log_path(owner)
            path.parent.mkdir(parents=True, exist_ok=True)
            arguments = self.command.arguments(owner, deadline_at=deadline_at)
            arguments += ["--parent", str(os.getpid())]  # killed, it leaves no worker behind
            command = [sys.executable, "-m", "scaling.sweep.worker", *arguments]
            env = {**os.environ, "OMP_NUM_THREADS": str(THREADS_OF_A_SLOT), **self._device(owner)}
            with path.open("wb") as log:
                self.processes[owner] = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=log, env=env, start_new_session=True
                )

    def _device(self, owner: str) -> dict[str, str]:
        """The environment that gives a worker the GPU with the fewest."""
        if not self.gpus:
            return {} if self.gpus_per_slot else {"SCALING_DEVICE": "cpu"}
        taken = Counter(self._gpu_of[other] for other in self.processes)
        self._gpu_of[owner] = min(self.gpus, key=lambda gpu: taken[gpu])
        return {"CUDA_VISIBLE_DEVICES": self._gpu_of[owner]}

    def n_alive(self) -> int:
        return len(self.processes)

    def ended(self) -> list[Ended]:
        gone = {owner: p.returncode for owner, p in self.processes.items() if p.poll() is not None}
        for owner in gone:
            del self.processes[owner]
        return [Ended(owner=o, exit_code=n, stderr_tail=self.command.take_log(o)) for o, n in gone.items()]

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


@dataclass
class InlineExecutor:
    """`start` returns when the work is done; Ctrl-C interrupts the run, which resumes from its last checkpoint."""

    command: WorkerCommand
    name: str = "inline"
    _ended: list[Ended] = field(default_factory=list)

    def default_slots(self) -> int:
        return 1

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        store = Store(self.command.store, lease_timeout_s=self.command.lease_timeout_s)
        code = 1
        try:
            plan = read_plan(self.command.plan)
            code = worker.run_worker(store, plan, owner="inline", deadline=deadline, pack=self.command.pack)
        finally:  # also after Ctrl-C: what it held is given back
            self._ended.append(Ended(owner="inline", exit_code=code))

    def n_alive(self) -> int:
        return 0

    def ended(self) -> list[Ended]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Nothing runs outside `start`."""


def visible_gpus() -> tuple[str, ...]:
    """GPUs of this machine that training may use, by the names CUDA_VISIBLE_DEVICES takes; without importing torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if os.environ.get("SCALING_DEVICE") == "cpu":
        return ()
    if named is not None:
        return tuple(n.strip() for n in named.split(",") if n.strip() not in ("", "-1"))
    try:
        if importlib.metadata.version("torch").endswith("+cpu"):
            return ()
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (importlib.metadata.PackageNotFoundError, OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(listed.stdout.split()) if listed.returncode == 0 else ()
