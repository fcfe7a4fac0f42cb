"""K models of one shape as one stacked model: K times larger matmuls where a single small model starves a GPU.

Every parameter gets a leading axis K; activations stay (K B, T, D), so attention and everything without weights runs
unchanged. Members are ordinary models whose parameters are views of the stack: their optimizers, evaluation and
checkpoints are those of single runs, and learning rates, seeds and optimizers may differ between them.
"""

# K models, R rows per model (batch x tokens), B batch per model, T tokens, D model size

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.errors import UsageError
from scaling.lm.models import Transformer


class StackedLinear(nn.Module):
    """K linear maps in one batched matmul."""

    def __init__(self, members: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([m.weight.detach() for m in members]))
        has_bias = members[0].bias is not None
        self.bias = nn.Parameter(torch.stack([m.bias.detach() for m in members])) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        K = len(self.weight)
        x_KRD = x.reshape(K, -1, x.shape[-1])
        if self.bias is None:
            out = torch.bmm(x_KRD, self.weight.transpose(1, 2))
        else:
            out = torch.baddbmm(self.bias[:, None], x_KRD, self.weight.transpose(1, 2))
        return out.view(*x.shape[:-1], -1)


class StackedNorm(nn.Module):
    """K layer or RMS norms: one normalisation, K scales and shifts."""

    def __init__(self, members: Sequence[nn.LayerNorm | nn.RMSNorm]) -> None:
        super().__init__()
        first = members[0]
        self.rms, self.eps = isinstance(first, nn.RMSNorm), first.eps
        self.weight = nn.Parameter(torch.stack([m.weight.detach() for m in members]))
        biases = [m.bias for m in members if isinstance(m, nn.LayerNorm) and m.bias is not None]
        self.bias = nn.Parameter(torch.stack([b.detach() for b in biases])) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        width, K = x.shape[-1], len(self.weight)
        normalise: Callable[..., Tensor] = F.rms_norm if self.rms else F.layer_norm
        plain = normalise(x, (width,), eps=self.eps)
        scaled = plain.view(K, -1, width) * self.weight[:, None]
        return (scaled if self.bias is None else scaled + self.bias[:, None]).view(x.shape)


class StackedEmbedding(nn.Module):
    """K tables. Ids of all members come as (K B, T); positions, the same for all, as (T,)."""

    n_rows = 1  # B, to repeat positions over the rows of each member; see `set_rows`

    def __init__(self, members: Sequence[nn.Embedding]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([m.weight.detach() for m in members]))

    def forward(self, ids: Tensor) -> Tensor:
        K, V, D = self.weight.shape
        if ids.ndim == 1:
            chosen = self.weight[:, ids]  # (K, T, D)
            return chosen[:, None].expand(K, self.n_rows, len(ids), D).reshape(K * self.n_rows, len(ids), D)
        shift = torch.arange(K, device=ids.device).repeat_interleave(len(ids) // K)[:, None] * V
        return F.embedding(ids + shift, self.weight.view(K * V, D))


_STACKED: dict[type, Callable[[Any], nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.LayerNorm: StackedNorm,
    nn.RMSNorm: StackedNorm,
    nn.Embedding: StackedEmbedding,
}


def stack_models(members: Sequence[Transformer]) -> Transformer:
    """One stacked model whose storage the members share from now on, gradients included.

    Args:
        members: decoders of one architecture.
    """
    first = members[0].architecture
    if any(m.architecture != first for m in members):
        raise UsageError("runs can be packed only when their architectures are equal.")
    if first.positions == "relative_bias":
        raise UsageError(
            "models with relative_bias positions cannot be packed: their bias is one for the whole batch."
        )
    stacked = copy.deepcopy(members[0])
    for name, module in list(stacked.named_modules()):
        if type(module) in _STACKED:
            parent, _, attribute = name.rpartition(".")
            parts = _STACKED[type(module)]([m.get_submodule(name) for m in members])
            setattr(stacked.get_submodule(parent), attribute, parts)
    for name, parameter in stacked.named_parameters():
        parameter.grad = torch.zeros_like(parameter)
        for k, member in enumerate(members):
            view = member.get_parameter(name)
            view.data = parameter.data[k]
            view.grad = parameter.grad[k]
    return stacked


def set_rows(stacked: Transformer, n_rows: int) -> None:
    """Set the number of windows per member, before a pass of another micro-batch."""
    for module in stacked.modules():
        if isinstance(module, StackedEmbedding):
            module.n_rows = n_rows
