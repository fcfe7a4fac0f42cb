"""Next-token cross-entropy that never holds all logits.

Logits of N positions x V entries are the largest tensor of a small model. Here they exist for one chunk of rows at a
time, and their gradient is taken at once, so nothing of size N x V is kept for the backward pass and no logit is
computed twice.
"""

# B windows, T tokens, N rows (batch x tokens), C rows of a chunk, D model size, V vocabulary, K packed models

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.lm.models import Transformer

CHUNK_ELEMENTS_CPU = 2**20  # logits per chunk: 4 MB of float32, stays in cache (best of 2^17..2^21 measured)
CHUNK_ELEMENTS_GPU = 2**27  # 512 MB of float32 logits: few launches, bounded memory


class NextTokenLoss(nn.Module):
    """scale x summed cross-entropy of the next token; a module, so that it can be compiled, copied and sharded."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: Tensor, scale: float) -> Tensor:
        """Loss of windows (B, T + 1); of a packed model (K B, T + 1), per member: (K,)."""
        states = self.model.head_inputs(self.model.states(ids_BT[:, :-1]))
        weight, targets = self.model.head_weight, ids_BT[:, 1:]
        if weight.ndim == 2:
            return linear_cross_entropy(states.flatten(0, 1), weight, targets.flatten(), scale=scale)
        K = len(weight)
        per_member = zip(states.flatten(0, 1).chunk(K), weight.unbind(), targets.reshape(K, -1).unbind())
        return torch.stack([linear_cross_entropy(x, w, t, scale=scale) for x, w, t in per_member])


def linear_cross_entropy(states_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, *, scale: float) -> Tensor:
    """scale x sum over rows of -ln softmax(states weight')[target].

    Args:
        states_ND: last states; the matmuls run in their dtype (under autocast in its), the softmax in float32.
        weight_VD: output matrix.
        targets_N: ids.
        scale: 1 / N gives the mean; with accumulation, 1 / (rows of the whole batch).
    """
    kind = states_ND.device.type
    if torch.is_autocast_enabled(kind):  # it passes over products written into a buffer, as below
        states_ND = states_ND.to(torch.get_autocast_dtype(kind))
    if torch.is_grad_enabled() and states_ND.requires_grad:
        loss: Tensor = _LinearCrossEntropy.apply(states_ND, weight_VD, targets_N, scale)  # type: ignore[no-untyped-call]
        return loss
    return linear_cross_entropy_rows(states_ND, weight_VD, targets_N).sum() * scale


def linear_cross_entropy_rows(states_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """-ln p of every target, (N,), float32; without gradient."""
    weight = weight_VD.to(states_ND.dtype)
    rows = _rows_per_chunk(weight, states_ND.device)
    parts = [
        F.cross_entropy(F.linear(x, weight).float(), t, reduction="none")
        for x, t in zip(torch.split(states_ND, rows), torch.split(targets_N, rows))
    ]
    return torch.cat(parts)


def _rows_per_chunk(weight_VD: Tensor, device: torch.device) -> int:
    elements = CHUNK_ELEMENTS_CPU if device.type == "cpu" else CHUNK_ELEMENTS_GPU
    return max(16, elements // weight_VD.shape[0])


class _LinearCrossEntropy(torch.autograd.Function):
    """Forward computes the loss and both gradients chunk by chunk; backward hands them over."""

    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, scale: float) -> Tensor:
        weight = weight_VD.to(states_ND.dtype)
        rows = _rows_per_chunk(weight, states_ND.device)
        d_states = torch.empty_like(states_ND)
        d_weight = torch.zeros_like(weight_VD)
        total = torch.zeros((), dtype=torch.float32, device=states_ND.device)
        for start in range(0, len(states_ND), rows):
            x_CD, target_C1 = states_ND[start : start + rows], targets_N[start : start + rows, None]
            logits_CV = F.linear(x_CD, weight)
            p_CV = torch.softmax(logits_CV, dim=-1, dtype=torch.float32)
            # ln of the normaliser through the largest entry, whose probability never underflows
            log_sum_C = logits_CV.amax(-1).float() - p_CV.amax(-1).log()
            total += (log_sum_C - logits_CV.gather(1, target_C1)[:, 0].float()).sum()
            p_CV.scatter_add_(1, target_C1, torch.full_like(target_C1, -1, dtype=p_CV.dtype))
            error_CV = p_CV.to(states_ND.dtype)
            torch.mm(error_CV, weight, out=d_states[start : start + rows])
            if d_weight.dtype == error_CV.dtype:
                d_weight.addmm_(error_CV.T, x_CD)
            else:
                d_weight += error_CV.T @ x_CD
        ctx.save_for_backward(d_states, d_weight)
        ctx.scale = scale
        return total * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_states, d_weight = ctx.saved_tensors
        factor = gradients[0] * ctx.scale
        return d_states * factor.to(d_states.dtype), d_weight * factor, None, None
