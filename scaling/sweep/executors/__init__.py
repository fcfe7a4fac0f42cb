"""Who starts the workers. Use which when:

- `LocalExecutor` (default): processes on this machine, one CPU thread each, or several on one GPU.
- `InlineExecutor`: one worker in this process, for debugging.
- `SlurmExecutor` (extra `slurm`): jobs of a cluster that shares a file system with this machine.
- `RayExecutor` (extra `ray`): tasks of a Ray cluster with shared storage, or of one started here.

All of them start the same worker; what it does is decided by the store alone.
"""

from scaling.sweep.executors.base import Ended, Executor, WorkerCommand
from scaling.sweep.executors.local import InlineExecutor, LocalExecutor

__all__ = ["Ended", "Executor", "InlineExecutor", "LocalExecutor", "WorkerCommand"]
