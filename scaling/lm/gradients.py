"""Losses and gradients of the windows of a step, by the two ways there are; the optimizers do not see which.

Use which when:
    OneGraph, on a GPU and with several processes: one model, or K packed ones stacked, in one forward and backward
        pass; may be compiled, copied (DDP) or sharded (FSDP2).
    ThreadGraphs, on a CPU: each thread takes its windows, or a member of a pack, through a graph of its own.
"""

# K models, B windows of each, T tokens

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from scaling.lm.device import Device, TaskThreads
from scaling.lm.distributed import Processes, wrap_model
from scaling.lm.losses import NextTokenLoss
from scaling.lm.models import Transformer
from scaling.lm.packing import set_rows, stack_models

R = TypeVar("R")


class OneGraph:
    """One forward and backward pass for all members."""

    n_parts = 1  # optimizers to share the parameters of a member

    def __init__(
        self, members: Sequence[Transformer], device: Device, processes: Processes, *, compile_loss: bool
    ) -> None:
        self.device, self.processes = device, processes
        self.stacked = stack_models(members, n_rows=1) if len(members) > 1 else None
        self.whole = self.stacked if self.stacked is not None else members[0]
        self.loss: Any = wrap_model(NextTokenLoss(self.whole), processes)
        self._eager_loss = self.loss
        self.compile_failure: str | None = None
        if compile_loss:
            torch._dynamo.reset()  # it stops compiling at the ninth shape of a process
            self.loss = torch.compile(self.loss, dynamic=False)

    def reset(self) -> None:
        """Forget the gradients."""
        # members of a stack see gradients through views: these must keep their storage
        self.whole.zero_grad(set_to_none=self.stacked is None)

    def add(self, ids_KBT: Tensor, scale: float, *, last: bool) -> Tensor:
        """Add the gradients of some windows; their loss times scale, (K,). `last` of the batch: processes exchange."""
        if self.stacked is not None:
            set_rows(self.stacked, ids_KBT.shape[1])
        with nullcontext() if last else self.processes.no_sync(self.loss), autocast(self.device):
            loss = self._evaluate(ids_KBT.flatten(0, 1), scale)
            loss.sum().backward()  # type: ignore[no-untyped-call]
        return loss.detach().expand(len(ids_KBT))

    def collect(self, parameters: Sequence[nn.Parameter]) -> None:
        """Nothing to do: gradients are where the optimizers look."""

    def run(self, tasks: Sequence[Callable[[], R]]) -> list[R]:
        """Results of tasks that touch different parameters; one after the other, the device is what works."""
        return [task() for task in tasks]

    def _evaluate(self, ids: Tensor, scale: float) -> Tensor:
        """The loss; a compiler that fails (no C++ compiler, a damaged cache) is left aside, and that is kept."""
        try:
            loss: Tensor = self.loss(ids, scale)
        except Exception as error:
            came_from_compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
            if self.loss is self._eager_loss or not came_from_compiler:
                raise
            self.loss, self.compile_failure = self._eager_loss, f"{type(error).__name__}: {error}"[:300]
            loss = self.loss(ids, scale)
        return loss


class ThreadGraphs:
    """A graph for each member and, when there are threads to spare, for each share of its windows.

    Shares of a member are twins: models with its weights and their own gradients, which `collect` adds to its own.
    """

    compile_failure: str | None = None

    def __init__(self, members: Sequence[Transformer], device: Device) -> None:
        self.device, self.threads = device, TaskThreads()
        self.n_parts = 1 if len(members) % self.threads.count == 0 else self.threads.count
        self.shares = [[m, *(twin(m) for _ in range(self.n_parts - 1))] for m in members]
        self.losses = [[NextTokenLoss(m) for m in shares] for shares in self.shares]
        self._twins = {
            first: others
            for shares in self.shares
            for first, *others in zip(*(model.parameters() for model in shares))
        }

    def reset(self) -> None:
        """Forget the gradients."""
        for shares in self.shares:
            for model in shares:
                model.zero_grad(set_to_none=True)

    def add(self, ids_KBT: Tensor, scale: float, *, last: bool) -> Tensor:
        """Add the gradients of some windows; their loss times scale, (K,)."""
        tasks, owners = [], []
        for k, (losses, ids_BT) in enumerate(zip(self.losses, ids_KBT)):
            for loss, part in zip(losses, ids_BT.tensor_split(len(losses))):
                if len(part):
                    tasks.append(partial(_differentiate, loss, part, scale, self.device))
                    owners.append(k)
        total = torch.zeros(len(ids_KBT))
        for k, value in zip(owners, self.threads.run(tasks)):
            total[k] += value
        return total

    def collect(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add to the gradients of these parameters those of their twins, in order."""
        for parameter in parameters:
            for other in self._twins.get(parameter, ()):
                if other.grad is not None:
                    assert parameter.grad is not None
                    parameter.grad += other.grad

    def run(self, tasks: Sequence[Callable[[], R]]) -> list[R]:
        """Results of tasks that touch different parameters."""
        return self.threads.run(tasks)


def twin(model: Transformer) -> Transformer:
    """A model with the same weights, in the same memory, but its own gradients."""
    same = {id(p): nn.Parameter(p.data) for p in model.parameters()}
    return copy.deepcopy(model, memo=dict(same))


def autocast(device: Device) -> Any:
    """Matmuls in the device's dtype."""
    enabled = device.dtype != torch.float32
    return torch.autocast(device.device.type, dtype=device.dtype, enabled=enabled)


def _differentiate(loss: NextTokenLoss, ids_BT: Tensor, scale: float, device: Device) -> Tensor:
    with autocast(device):
        value: Tensor = loss(ids_BT, scale)
        value.backward()  # type: ignore[no-untyped-call]
    return value.detach()
