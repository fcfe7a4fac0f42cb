"""Workers as Ray tasks (extra `ray`): one task a worker, on one CPU or on a share of a GPU.

The cluster is the one that RAY_ADDRESS names, or that `ray start` began on this machine; without either, one is
started here for as long as the sweep lasts. Its nodes need this package, and the store under the same path: a task
carries no data. Ray would let a task that asks for what no node has wait for ever, so `start` looks first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import uuid
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from scaling.errors import UsageError
from scaling.installing import extra_command
from scaling.sweep.executors.base import Ended, ExecutorError, WorkerCommand
from scaling.sweep.store import TAIL_BYTES
from scaling.sweep.worker import main

CPUS_PER_WORKER = 1
GRACE_S = 30.0  # from the request to stop to the kill
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # else Ray prints the deaths of workers on stdout, which we report ourselves
}


@dataclass
class RayExecutor:
    """Tasks of one CPU, and of `gpus_per_slot` GPUs (0.25: four share one; None: a whole one where there are any)."""

    command: WorkerCommand
    gpus_per_slot: float | None = None
    grace_s: float = GRACE_S
    name: str = "ray"
    tasks: dict[str, Any] = field(default_factory=dict)  # owner → Ray's reference to its result
    _ray: Any = None

    def __post_init__(self) -> None:
        if self.gpus_per_slot is not None and not 0 <= self.gpus_per_slot <= 1:
            raise UsageError(
                f"a Ray worker trains on one GPU or a share of it: 0 to 1 GPUs a slot, got {self.gpus_per_slot:g}."
            )
        self._ray = connect()
        if self.gpus_per_slot is None:
            self.gpus_per_slot = 1.0 if any(node.get("GPU") for node in self._nodes()) else 0.0
        self._check_resources()

    def default_slots(self) -> int:
        """As many as the cluster holds at once."""
        asked = self._asked()
        return sum(min(int(node.get(k, 0) / n + 1e-9) for k, n in asked.items()) for node in self._nodes())

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        self._check_resources()
        deadline_at = self.command.deadline_at(deadline_s)
        # one task a process: the next worker finds fresh memory. A lost one is started anew by the supervisor
        task = self._ray.remote(max_calls=1, max_retries=0)(_work)
        task = task.options(num_cpus=CPUS_PER_WORKER, num_gpus=self.gpus_per_slot)
        for _ in range(n_workers):
            owner = f"ray-{uuid.uuid4().hex[:12]}"
            arguments = self.command.arguments(owner, deadline_at=deadline_at)
            log = self.command.log_path(owner)
            log.parent.mkdir(parents=True, exist_ok=True)
            self.tasks[owner] = task.remote(arguments, str(log), on_cpu=not self.gpus_per_slot)

    def n_alive(self) -> int:
        return len(self.tasks)

    def ended(self) -> list[Ended]:
        ready = set(self._wait(timeout_s=0))
        gone = {owner: ref for owner, ref in self.tasks.items() if ref in ready}
        for owner in gone:
            del self.tasks[owner]
        return [self._conclude(owner, ref) for owner, ref in gone.items()]

    def stop(self) -> None:
        """Ask all workers to checkpoint, wait, then kill. `ended` tells of all of them afterwards."""
        for ref in self.tasks.values():
            self._ray.cancel(ref)
        ready = set(self._wait(timeout_s=self.grace_s))
        for ref in set(self.tasks.values()) - ready:
            self._ray.cancel(ref, force=True)
        self._wait(timeout_s=self.grace_s)

    def _wait(self, timeout_s: float) -> list[Any]:
        refs = list(self.tasks.values())
        return self._ray.wait(refs, num_returns=len(refs), timeout=timeout_s)[0] if refs else []

    def _conclude(self, owner: str, ref: Any) -> Ended:
        errors = self._ray.exceptions
        code, said = None, ""
        try:
            code = int(self._ray.get(ref))
        except errors.TaskCancelledError:
            pass
        except errors.RayTaskError as error:  # the task raised
            code, said = 1, str(error)
        except errors.WorkerCrashedError as error:  # its process died, as by the kernel when memory runs out
            code, said = -signal.SIGKILL, str(error)
        except errors.RayError as error:  # its node is gone
            said = str(error)
        said = self.command.take_log(owner) or said[-TAIL_BYTES:]
        return Ended(owner=owner, exit_code=code, stderr_tail=said)

    def _asked(self) -> dict[str, float]:
        gpus = {"GPU": self.gpus_per_slot} if self.gpus_per_slot else {}
        return {"CPU": CPUS_PER_WORKER, **gpus}

    def _nodes(self) -> list[dict[str, float]]:
        """Resources of every node that is alive."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _check_resources(self) -> None:
        nodes, asked = self._nodes(), self._asked()
        if any(all(node.get(k, 0) >= n for k, n in asked.items()) for node in nodes):
            return
        present = "; ".join(_describe(node) for node in nodes) or "no node"
        raise ExecutorError(
            f"a worker asks for {_describe(asked)}, and no node of the Ray cluster has that (it has: {present}). "
            "Ask for less with --gpus-per-slot (0 trains on CPUs), or add such a node."
        )


def connect() -> Any:
    """Ray, connected to its cluster, its logs kept in its own files."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ExecutorError(f"the executor ray needs Ray: {extra_command('ray')}") from error
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = os.environ.get("RAY_ADDRESS", "here")
            raise ExecutorError(f"no Ray cluster at {where}: {str(error).splitlines()[0]}") from error
    return ray


def _work(arguments: list[str], log: str, *, on_cpu: bool) -> int:
    """The body of a task: one worker. ray.cancel arrives as SIGINT; what the worker knows is SIGTERM: checkpoint."""

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, ask_to_stop)
    if on_cpu:
        os.environ["SCALING_DEVICE"] = "cpu"  # Ray hides no GPU from a task that asks for none
    with open(log, "a", encoding="utf-8") as file, contextlib.redirect_stderr(file):
        return main(arguments)


def _describe(resources: dict[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} CPU, {resources.get('GPU', 0):g} GPU"
