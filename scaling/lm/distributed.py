"""Several processes started by torchrun: who am I, how gradients meet (DDP or FSDP2), how losses are averaged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scaling.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those of the run."""

    rank: int = 0
    count: int = 1
    shard: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Mean over processes."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
            values = values / self.count
        return values

    def mean_of(self, value: float) -> float:
        """Mean of a number over processes, the same in all of them."""
        return float(self.mean(torch.tensor(value, dtype=torch.float64, device=_collective_device())))


class Vote:
    """Whether any process wants to stop; all hear it at the same step.

    Of several processes the answer is that of the vote before: read at once, it would make every step wait for the
    device; a step later no more than that step is waited for.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._before: Tensor | None = None

    def cast(self, flag: bool) -> bool:
        if self.processes.count == 1:
            return flag
        answer = self._before is not None and bool(self._before > 0)
        # filled on the device: a copy from the host would wait as well
        self._before = torch.full((), float(flag), device=_collective_device())
        torch.distributed.all_reduce(self._before)
        return answer


def launched() -> tuple[int, int]:
    """(rank, number) of this process among those torchrun started; (0, 1) when it was started alone."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def join_processes(*, shard: bool = False) -> Processes:
    """Join the processes torchrun started (gloo on CPUs, nccl on GPUs); a single process joins nothing."""
    _, count = launched()
    if count == 1:
        if shard:
            raise UsageError("sharding needs several processes: start with torchrun --nproc-per-node N.")
        return Processes()
    if not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend)
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return Processes(rank=torch.distributed.get_rank(), count=count, shard=shard)


def wrap_model(loss: nn.Module, processes: Processes) -> nn.Module:
    """DDP (weights copied, gradients averaged) or FSDP2 (weights, gradients and optimizer sharded block by block)."""
    if processes.count == 1:
        return loss
    if not processes.shard:
        return nn.parallel.DistributedDataParallel(loss)
    from torch.distributed.fsdp import fully_shard

    model: Any = loss.model
    for block in model.decoder.blocks:
        fully_shard(block)
    fully_shard(loss)
    return loss


def _collective_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
