"""Why a Slurm job waits, as squeue says it; a squeue of our own answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling.sweep.executors import slurm
from scaling.sweep.executors.base import ExecutorError, WorkerCommand

TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >> {folder}/asked
[ "$(basename "$0")" = squeue ] && [ ! -e {folder}/cancelled ] && echo "{line}"
[ "$(basename "$0")" = scancel ] && touch {folder}/cancelled
exit 0
"""


def executor_told(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> slurm.SlurmExecutor:
    """An executor with one job, of which squeue says `line`."""
    for tool in ("sinfo", "squeue", "scancel"):
        (folder / tool).write_text(TOOL.format(folder=folder, line=line))
        (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    command = WorkerCommand(store=folder, plan=folder / "plan.json", lease_timeout_s=60, pack=1)
    executor = slurm.SlurmExecutor(command=command, jobs={"7_0": object()})
    executor._asked_at = -slurm.QUEUE_POLL_S
    return executor


def test_a_job_that_never_starts_is_said_and_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = executor_told("7_0 PENDING PartitionTimeLimit", tmp_path, monkeypatch)
    with pytest.raises(
        ExecutorError, match=r"never start job 7_0 \(PartitionTimeLimit\).*shorter --deadline"
    ):
        executor.ended()
    executor.stop()
    assert "scancel 7_0" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize("line", ["7_0 PENDING Resources", "7_0 PENDING Priority", "7_0 RUNNING None"])
def test_a_job_that_waits_its_turn_is_waited_for(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = executor_told(line, tmp_path, monkeypatch)
    assert executor.ended() == []
    assert executor.n_alive() == 1
