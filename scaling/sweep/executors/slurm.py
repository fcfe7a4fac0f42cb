"""Workers as Slurm jobs, through submitit (extra `slurm`): one array per start, one worker a job.

Preemption and time limits: Slurm sends SIGUSR2 or SIGTERM, the trainer checkpoints and the worker ends; whoever
supervises submits another. A job that Slurm itself requeues goes on under the same name, and first gives back what
its former life held. Job states are read from squeue: without accounting (sacct) submitit never learns them.
"""

from __future__ import annotations

import io
import os
import subprocess
import time
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaling.installing import extra_command
from scaling.sweep.executors.base import Ended, ExecutorError, WorkerCommand
from scaling.sweep.store import Store, read_tail
from scaling.sweep.worker import main

DAY_MIN = 24 * 60
DEFAULT_JOBS = 4  # a polite number on a cluster others use too
GRACE_S = 30.0
QUEUE_POLL_S = 2.0  # squeue asks the controller, which serves everyone
SIGNAL_DELAY_S = 60  # before the time limit
ANSWER_S = 60.0  # a controller that says nothing for so long is asked again later
NEVER_STARTS = {  # squeue's reasons of a waiting job that no other job's end removes
    "PartitionTimeLimit",
    "PartitionNodeLimit",
    "AssocMaxWallDurationPerJobLimit",
    "QOSMaxWallDurationPerJobLimit",
    "AssocMaxCpuPerJobLimit",
    "QOSMaxCpuPerJobLimit",
    "AssocMaxGRESPerJob",
    "QOSMaxGRESPerJob",
    "AccountNotAllowed",
    "QOSNotAllowed",
    "BadConstraints",
}


@dataclass(frozen=True, kw_only=True)
class WorkerTask:
    """What a job does. Holds paths only; submitit carries it to the node."""

    command: WorkerCommand
    deadline_at: float | None

    def __call__(self) -> int:
        job = os.environ.get("SLURM_ARRAY_JOB_ID")
        task = os.environ.get("SLURM_ARRAY_TASK_ID")
        owner = f"slurm-{job}_{task}" if job else f"slurm-{os.environ['SLURM_JOB_ID']}"
        if os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
            store = Store(self.command.store)
            for part in (store, store.trunks):
                part.release_dead(owner, "its Slurm job was requeued")
        os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("SLURM_CPUS_PER_TASK", "1"))
        return main(self.command.arguments(owner, deadline_at=self.deadline_at))


@dataclass
class SlurmExecutor:
    """Jobs of one CPU (or what `parameters` ask for: submitit's slurm_* names, gpus_per_node, mem_gb ...)."""

    command: WorkerCommand
    partition: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    grace_s: float = GRACE_S
    name: str = "slurm"
    jobs: dict[str, Any] = field(default_factory=dict)  # job id → submitit's job
    _queued: set[str] = field(default_factory=set)
    _stuck: dict[str, str] = field(default_factory=dict)  # job id → why it never starts
    _asked_at: float = 0.0
    _is_stopped: bool = False

    def __post_init__(self) -> None:
        if not _answers(["sinfo", "--version"]):
            raise ExecutorError(
                "no Slurm here: sinfo cannot be run. Use --executor local, or run this on a node that submits jobs."
            )

    def default_slots(self) -> int:
        return DEFAULT_JOBS

    def start(self, n_workers: int, deadline_s: float | None) -> None:
        executor = self._executor(deadline_s)
        task = WorkerTask(command=self.command, deadline_at=self.command.deadline_at(deadline_s))
        self._is_stopped = False
        jobs = _submit(executor, task, n_workers)
        self.jobs |= {job.job_id: job for job in jobs}
        self._queued |= {job.job_id for job in jobs}
        self._asked_at = time.monotonic()

    def _executor(self, deadline_s: float | None) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise ExecutorError(f"Slurm needs submitit: {extra_command('slurm')}") from error
        executor = submitit.AutoExecutor(folder=self.command.store / "logs" / "slurm", cluster="slurm")
        limit_min = DAY_MIN if deadline_s is None else int(deadline_s / 60) + 2
        asked = {
            "name": "scaling-sweep", "timeout_min": limit_min, "cpus_per_task": 1, "tasks_per_node": 1,
            "slurm_signal_delay_s": SIGNAL_DELAY_S,
        }  # fmt: skip
        partition = {"slurm_partition": self.partition} if self.partition else {}
        executor.update_parameters(**asked | partition | self.parameters)
        return executor

    def n_alive(self) -> int:
        return len(self.jobs)

    def ended(self) -> list[Ended]:
        if not self.jobs or time.monotonic() - self._asked_at < QUEUE_POLL_S:
            return []
        self._look_at_queue()
        self._refuse_stuck()
        gone = [i for i in self.jobs if i not in self._queued]
        return [self._conclude(i, self.jobs.pop(i)) for i in gone]

    def _look_at_queue(self) -> None:
        """Which of our jobs the controller still knows as waiting or running."""
        self._asked_at = time.monotonic()
        roots = sorted({i.split("_")[0] for i in self.jobs})
        try:
            command = ["squeue", "--noheader", "--array", "--format=%i %T %r", f"--jobs={','.join(roots)}"]
            asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            return
        if asked.returncode != 0 and "Invalid job id" not in asked.stderr:
            return  # the controller is busy: ask again later
        rows = [line.split(maxsplit=2) for line in asked.stdout.splitlines()]
        # COMPLETING is not over: a job that is being requeued passes through it
        over = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
        self._queued = {row[0] for row in rows if len(row) >= 2 and row[1] not in over}
        waiting = {row[0]: row[2].strip() for row in rows if len(row) == 3 and row[1] == "PENDING"}
        self._stuck = {i: why for i, why in waiting.items() if i in self.jobs and why in NEVER_STARTS}

    def _refuse_stuck(self) -> None:
        """Say so where the workers wait for what never comes; the supervisor then stops all."""
        if not self._stuck or self._is_stopped:
            return
        job, why = next(iter(self._stuck.items()))
        raise ExecutorError(
            f"Slurm will never start job {job} ({why}). See what it allows with "
            "`sinfo -o '%P %G %l'` (partitions, GPUs, time limits); give a shorter --deadline (without one a job asks "
            "for 24 h) or another --partition."
        )

    def _conclude(self, job_id: str, job: Any) -> Ended:
        path: Path = job.paths.result_pickle
        code: int | None = None
        for _ in range(20):  # the file system of a cluster may lag behind its controller
            if path.exists():
                from submitit.core.utils import pickle_load

                kind, value = pickle_load(path)
                code = int(value) if kind == "success" else 1
                break
            time.sleep(0.1)
        return Ended(owner=f"slurm-{job_id}", exit_code=code, stderr_tail=read_tail(job.paths.stderr))

    def stop(self) -> None:
        """SIGUSR2 to every job, time to checkpoint, then cancel. `ended` tells of all of them afterwards."""
        if not self.jobs:
            return
        self._is_stopped = True
        ids = list(self.jobs)
        _answers(["scancel", "--state=PENDING", *ids])
        _answers(["scancel", "--signal=USR2", *ids])
        limit = time.monotonic() + self.grace_s
        while time.monotonic() < limit:
            self._look_at_queue()
            if not self._queued & set(ids):
                break
            time.sleep(0.5)
        _answers(["scancel", *ids])
        self._queued = set()
        self._asked_at = 0.0


def _submit(executor: Any, task: WorkerTask, n_workers: int) -> list[Any]:
    """The jobs of one array; what sbatch has against it becomes our error."""
    from submitit.core.utils import FailedJobError

    try:
        with redirect_stderr(io.StringIO()):  # submitit prints there what it raises
            if n_workers == 1:
                return [executor.submit(task)]
            with executor.batch():
                return [executor.submit(task) for _ in range(n_workers)]
    except FailedJobError as error:
        said = str(error).strip().splitlines() or ["no reason given"]
        raise ExecutorError(
            f"Slurm refused the workers ({said[-1]}). See what it has with `sinfo -o '%P %G %l'` (partitions, GPUs, "
            "time limits), and change --partition, --gpus-per-slot or --deadline to match."
        ) from error


def _answers(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=ANSWER_S).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
