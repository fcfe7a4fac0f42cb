"""Optimizers: AdamW, and Muon for the matrices of the blocks; groups for weight decay; clipping without a stall."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from scaling.lm.models import Transformer
from scaling.lm.recipes import Recipe

# Jordan et al. 2024 (github.com/KellerJordan/Muon): quintic whose 5 iterations bring singular values near 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
RMS_OF_ADAMW = 0.2  # Liu et al. 2025, arXiv:2502.16982: an AdamW update has about this root mean square


def build_optimizers(
    model: Transformer, recipe: Recipe, *, device: torch.device, n_parts: int = 1
) -> list[Optimizer]:
    """The optimizers of one model: AdamW, after Muon where the recipe asks for it.

    Matrices and embeddings are decayed, vectors (norms, biases) are not, as in nanoGPT. Muon takes the matrices
    inside the blocks; embeddings, head and vectors stay with AdamW, whose learning rate it shares.

    Args:
        n_parts: optimizers of each kind to share the parameters, so that threads can step them side by side.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    muon = [(n, p) for n, p in named if recipe.optimizer == "muon" and ".blocks." in n and p.ndim == 2]
    taken = {n for n, _ in muon}
    rest = [(n, p) for n, p in named if n not in taken]
    settings = {"lr": recipe.learning_rate, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    groups = [
        [{"params": [p], "parts": _parts(model, n)} for n, p in part] for part in split_evenly(muon, n_parts)
    ]
    adamw = [_build_adamw(recipe, part, on_gpu=device.type == "cuda") for part in split_evenly(rest, n_parts)]
    return [*(Muon(group, **settings) for group in groups), *adamw]


Named = list[tuple[str, nn.Parameter]]


def split_evenly(named: Named, n_parts: int) -> list[Named]:
    """At most n_parts lists of about as many elements each; none is empty. Large parameters are dealt out first."""
    parts: list[Named] = [[] for _ in range(n_parts)]
    sizes = [0] * n_parts
    for name, parameter in sorted(named, key=lambda item: -item[1].numel()):
        smallest = sizes.index(min(sizes))
        parts[smallest].append((name, parameter))
        sizes[smallest] += parameter.numel()
    return [part for part in parts if part]


def _build_adamw(recipe: Recipe, named: Named, *, on_gpu: bool) -> Optimizer:
    decay_groups: list[dict[str, Any]] = [
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    # a learning rate in a tensor changes without a recompilation or a new graph
    rate: Any = torch.tensor(recipe.learning_rate, device="cuda") if on_gpu else recipe.learning_rate
    return torch.optim.AdamW(
        [g for g in decay_groups if g["params"]],
        lr=rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        fused=True,
        capturable=on_gpu,
    )


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set it in every group; in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """Every parameter it updates."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together, still on the device."""
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    # that of sharded gradients is a sharded scalar
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


class Muon(Optimizer):
    """Momentum whose matrix updates are orthogonalised (Jordan et al. 2024), scaled to AdamW's size.

    update = orthogonal(nesterov momentum) x 0.2 sqrt(max(rows, columns)), so that AdamW's learning rates and decay
    carry over (Liu et al. 2025, arXiv:2502.16982, eq. 4). Fused projections (query-key-value, gate-up) are
    orthogonalised part by part. Matmuls run in bfloat16 on a GPU and float32 on a CPU (torch.optim.Muon always
    uses bfloat16; the difference is tested).
    """

    def __init__(self, params: Any, *, lr: float, momentum: float = 0.95, weight_decay: float = 0.1) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": None}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum, gradient = state["momentum"], parameter.grad
        assert gradient is not None
        momentum.lerp_(gradient, 1 - group["momentum"])
        # Nesterov: the step looks ahead by one more decay of the momentum it has just taken in
        update = gradient.lerp(momentum, group["momentum"])
        parts = torch.split(update, group["parts"]) if group["parts"] else (update,)
        scaled = [orthogonalise(m) * (RMS_OF_ADAMW * max(m.shape) ** 0.5) for m in parts]
        # decay acts on the weights, not through the gradient, which orthogonalising would rescale (as in AdamW)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(torch.cat(scaled), alpha=-group["lr"])


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrix, about: singular values between 0.7 and 1.2."""
    x: Tensor = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    # the Frobenius norm bounds the spectral one: all singular values are then in 0..1
    x = x / (x.norm() + 1e-7)
    a, b, c = NEWTON_SCHULZ
    # an odd polynomial of a matrix, a x + b (x x') x + c (x x')^2 x, acts on its singular values and leaves the vectors
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).to(matrix.dtype)


def _parts(model: Transformer, name: str) -> list[int] | None:
    """Row counts of the matrices fused in one parameter; None for a single one."""
    a = model.architecture
    fused = {"query_key_value": [a.d_attention, a.d_kv, a.d_kv], "gate_up": [a.d_ff, a.d_ff]}
    return fused.get(name.split(".")[-2])
