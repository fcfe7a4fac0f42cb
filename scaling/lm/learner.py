"""One training step, for one model or K packed ones, on one device or several: no host synchronisation inside."""

# K models, B windows per model and step, T tokens

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from scaling.lm.device import Device
from scaling.lm.distributed import Processes
from scaling.lm.gradients import OneGraph, ThreadGraphs
from scaling.lm.models import build_model
from scaling.lm.optim import build_optimizers, gradient_norm, parameters_of, set_learning_rate
from scaling.lm.run import RunSpec


class Learner:
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

    @property
    def compile_failure(self) -> str | None:
        """Why the step is not compiled though it was asked for."""
        return self.graphs.compile_failure

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
