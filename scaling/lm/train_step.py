"""One training step, for one model or K packed ones, on one device or several: no host synchronisation inside.

Losses and gradients come by one of two ways; the optimizers do not see which. Use which when:
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
from torch.optim import Optimizer

from scaling.lm.device import Device, TaskThreads
from scaling.lm.distributed import Processes, wrap_model
from scaling.lm.losses import NextTokenLoss
from scaling.lm.models import Transformer, build_model
from scaling.lm.optim import build_optimizers, gradient_norm, parameters_of, set_learning_rate
from scaling.lm.packing import set_rows, stack_models
from scaling.lm.run import RunSpec

R = TypeVar("R")


class TrainStep:
    """Models with their optimizers. Members of a pack share the step, never their numbers.

    Args:
        specs: one run each; one architecture, batch size and number of steps.
        micro_batch: windows per member and forward pass.
        compile_loss: use torch.compile on forward and backward.
        stack: stack the members of a pack into one model, instead of training them side by side on CPU threads.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        device: Device,
        processes: Processes,
        *,
        micro_batch: int,
        compile_loss: bool,
        stack: bool,
    ) -> None:
        self.specs, self.device, self.processes = tuple(specs), device, processes
        self.micro_batch = micro_batch
        self.members = [build_model(s.architecture, seed=s.init_seed, device=device.device) for s in specs]
        whole = device.device.type != "cpu" or processes.count > 1 or compile_loss or stack
        self.graphs: OneGraph | ThreadGraphs = (
            OneGraph(self.members, device, processes, compile_loss=compile_loss)
            if whole
            else ThreadGraphs(self.members, device)
        )
        self.optimizers: list[list[Optimizer]] = [
            build_optimizers(m, s.recipe, device=device.device, n_parts=self.graphs.n_parts)
            for m, s in zip(self.members, specs)
        ]

    @property
    def rows_per_process(self) -> int:
        """Windows of each member's batch that this process works on."""
        return self.specs[0].recipe.batch_size // self.processes.count

    def step(self, ids_KBT: Tensor, learning_rates: Sequence[float]) -> tuple[Tensor, Tensor]:
        """One optimizer step of every member.

        Args:
            ids_KBT: this process's windows, (K, B, T + 1).
        Returns:
            mean loss and gradient norm of each member, (K,) each, on the device.
        """
        K, B, length = ids_KBT.shape
        scale = 1.0 / (B * (length - 1))
        self.graphs.reset()
        total = torch.zeros(K, device=self.device.device)
        for start in range(0, B, self.micro_batch):
            part = ids_KBT[:, start : start + self.micro_batch]
            total += self.graphs.add(part, scale, last=start + self.micro_batch >= B)
        return total, self._update(learning_rates)

    def _update(self, learning_rates: Sequence[float]) -> Tensor:
        """Clip the gradients and step every optimizer; the norms before, (K,)."""
        norms = iter(self.graphs.run([partial(self._collect, o) for os in self.optimizers for o in os]))
        totals = [torch.stack([next(norms) for _ in os]).norm() for os in self.optimizers]
        self.graphs.run(
            [
                partial(_clip_and_step, optimizer, rate, spec.recipe.clip_norm, norm)
                for os, spec, rate, norm in zip(self.optimizers, self.specs, learning_rates, totals)
                for optimizer in os
            ]
        )
        return torch.stack(totals).to(self.device.device)

    def _collect(self, optimizer: Optimizer) -> Tensor:
        """Bring together the gradients an optimizer takes; their norm."""
        parameters = parameters_of(optimizer)
        self.graphs.collect(parameters)
        return gradient_norm(parameters)

    def halve_micro_batch(self) -> bool:
        """Half as many windows at a time, the same batch; False when there is nothing left to halve."""
        self.graphs.reset()
        if self.micro_batch <= 1:
            return False
        self.micro_batch = (self.micro_batch + 1) // 2
        if self.device.device.type == "cuda":
            torch.cuda.empty_cache()
        return True


def _clip_and_step(optimizer: Optimizer, learning_rate: float, max_norm: float, norm: Tensor) -> None:
    nn.utils.clip_grads_with_norm_(parameters_of(optimizer), max_norm, norm)
    set_learning_rate(optimizer, learning_rate)
    optimizer.step()


class OneGraph:
    """One forward and backward pass for all members."""

    n_parts = 1  # optimizers to share the parameters of a member

    def __init__(
        self, members: Sequence[Transformer], device: Device, processes: Processes, *, compile_loss: bool
    ) -> None:
        self.device = device
        self.stacked = stack_models(members) if len(members) > 1 else None
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
        # DDP exchanges gradients at every backward pass unless told otherwise: once a batch is enough
        waits = not last and hasattr(self.loss, "no_sync")
        with self.loss.no_sync() if waits else nullcontext(), self.device.autocast():
            loss = self._evaluate(ids_KBT.flatten(0, 1), scale)
            loss.sum().backward()  # type: ignore[no-untyped-call]
        return loss.detach().expand(len(ids_KBT))

    def collect(self, parameters: Sequence[nn.Parameter]) -> None:
        """Nothing to do: gradients are where the optimizers look."""

    def run(self, tasks: Sequence[Callable[[], R]]) -> list[R]:
        """Results of tasks that touch different parameters; one after the other, the device is what works."""
        return [task() for task in tasks]

    def _evaluate(self, ids: Tensor, scale: float) -> Tensor:
        """The loss; a compiler that fails (no C++ compiler, a damaged cache) is left aside, and that is remembered."""
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


def _differentiate(loss: NextTokenLoss, ids_BT: Tensor, scale: float, device: Device) -> Tensor:
    with device.autocast():
        value: Tensor = loss(ids_BT, scale)
        value.backward()  # type: ignore[no-untyped-call]
    return value.detach()
