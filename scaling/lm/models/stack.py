"""A stack: embedded tokens → positions → blocks → last states. Encoders and decoders are the same code.

What makes a decoder is `causal`; what makes it the decoder of an encoder-decoder is that its blocks have
cross-attention. Positions, segments and embedding norms live here because BART has its own for each stack.
"""

# B batch, T new tokens, S all tokens so far, E embedding size, D model size

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from scaling.architecture import Architecture
from scaling.errors import UsageError
from scaling.lm.models.cache import KVCache, LayerCache
from scaling.lm.models.layers import (
    MLP,
    CrossAttention,
    Map,
    RelativeBias,
    SelfAttention,
    View,
    build_norm,
    embedding,
    rotation_at,
    sinusoid_at,
)


class Block(nn.Module):
    """Self-attention, cross-attention where there is a memory, and MLP, each with a norm and a residual.

    Pre-norm x + f(norm(x)) (GPT-2, Llama, T5) or post-norm norm(x + f(x)) (GPT-1, BERT, BART).
    """

    def __init__(self, a: Architecture, *, cross: bool) -> None:
        super().__init__()
        self.pre = a.norm_position == "pre"
        self.attention_norm, self.attention = build_norm(a, a.d_model), SelfAttention(a)
        if cross:
            self.cross_norm, self.cross = build_norm(a, a.d_model), CrossAttention(a)
        self.mlp_norm, self.mlp = build_norm(a, a.d_model), MLP(a)
        self.has_cross = cross

    def forward(
        self,
        x_MD: Tensor,
        view: View,
        cache: LayerCache | None = None,
        memory_BSD: Tensor | None = None,
        memory_view: View | None = None,
    ) -> Tensor:
        x = add_part(self.pre, x_MD, self.attention_norm, self.attention, view, cache)
        if self.has_cross:
            x = add_part(self.pre, x, self.cross_norm, self.cross, memory_BSD, memory_view, cache)
        return add_part(self.pre, x, self.mlp_norm, self.mlp)


def add_part(pre: bool, x: Tensor, norm: Map, part: Callable[..., Tensor], *others: Any) -> Tensor:
    """A part of a block with its norm and residual."""
    return x + part(norm(x), *others) if pre else norm(x + part(x, *others))


class Stack(nn.Module):
    """n_layers blocks between an embedding and the last states (after the final norm of a pre-norm stack)."""

    def __init__(self, a: Architecture, *, n_layers: int, causal: bool, cross: bool = False) -> None:
        super().__init__()
        self.architecture, self.causal = a, causal
        if a.positions == "learned":
            self.positions = embedding(a.n_positions, a.d_embedding)
        self.has_segments = a.n_segments > 0 and not cross
        if self.has_segments:
            self.segments = embedding(a.n_segments, a.d_embedding)
        if a.embedding_norm:
            self.embedding_norm = build_norm(a, a.d_embedding)
        if a.d_embedding != a.d_model:
            self.embedding_projection = nn.Linear(a.d_embedding, a.d_model)
        if a.positions == "relative_bias":
            self.relative_bias = RelativeBias(a, causal=causal)
        self.blocks = nn.ModuleList(Block(a, cross=cross) for _ in range(n_layers))
        if a.has_final_norm:
            self.final_norm = build_norm(a, a.d_model)

    def forward(
        self,
        x_BTE: Tensor,
        *,
        keep_BS: Tensor | None = None,
        segment_ids_BT: Tensor | None = None,
        cache: KVCache | None = None,
        memory_BSD: Tensor | None = None,
        memory_keep_BS: Tensor | None = None,
    ) -> Tensor:
        """Last states (B, T, D).

        Args:
            x_BTE: embedded tokens; with a cache, only those after its filled part.
            keep_BS: True where there is a token, False where there is padding (of the filled part too).
            memory_BSD: last states of the encoder; not needed once they are in the cache.
        """
        B, T, _ = x_BTE.shape
        n_past = cache.length if cache is not None else 0
        x, view, memory_view = self.enter(x_BTE, keep_BS, memory_keep_BS, n_past, segment_ids_BT)
        for index, block in enumerate(self.blocks):
            layer = cache.layers[index] if cache is not None else None
            x = block(x, view, layer, memory_BSD, memory_view)
        if cache is not None:
            cache.length += T
        x = self.final_norm(x) if self.architecture.has_final_norm else x
        return x.view(B, T, -1)

    def enter(
        self,
        x_BTE: Tensor,
        keep_BS: Tensor | None,
        memory_keep_BS: Tensor | None,
        n_past: int,
        segment_ids_BT: Tensor | None = None,
    ) -> tuple[Tensor, View, View]:
        """What the blocks begin with: states (M, D), and the views of the text so far and of the memory."""
        B, T, _ = x_BTE.shape
        positions = _positions(keep_BS, T, n_past + T, x_BTE.device)
        x = self._embed(x_BTE, positions, segment_ids_BT)
        memory_mask = None if memory_keep_BS is None else memory_keep_BS[:, None, None, :]
        memory_view = View(n_rows=B, n_tokens=T, mask=memory_mask, causal=False)
        return x.flatten(0, 1), self._view(x, positions, keep_BS, n_past + T), memory_view

    def _embed(self, x_BTE: Tensor, positions: Tensor, segment_ids_BT: Tensor | None) -> Tensor:
        a, x = self.architecture, x_BTE
        if a.positions == "learned":
            x = x + self.positions(positions + a.position_offset if a.position_offset else positions)
        elif a.positions == "sinusoidal":
            x = x + sinusoid_at(positions, a.d_embedding, x.dtype)
        if self.has_segments:
            ids = torch.zeros_like(positions) if segment_ids_BT is None else segment_ids_BT
            x = x + self.segments(ids)
        if a.embedding_norm:
            x = self.embedding_norm(x)
        return self.embedding_projection(x) if a.d_embedding != a.d_model else x

    def _view(self, x_BTD: Tensor, positions: Tensor, keep_BS: Tensor | None, S: int) -> View:
        a, (B, T, _) = self.architecture, x_BTD.shape
        rotation = None
        if a.positions == "rope":
            rotation = rotation_at(positions, a.d_head, a.rope_theta, x_BTD.dtype)
        if keep_BS is None and self.causal and T == S and a.positions != "relative_bias":
            # the kernels know this case without a mask
            return View(n_rows=B, n_tokens=T, mask=None, causal=True, rotation=rotation)
        mask = _allowed(keep_BS, T, S, self.causal, x_BTD.device)
        if a.positions == "relative_bias":
            bias = self.relative_bias(T, S)
            mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        return View(n_rows=B, n_tokens=T, mask=mask, causal=False, rotation=rotation)


def _positions(keep_BS: Tensor | None, T: int, S: int, device: torch.device) -> Tensor:
    """Position of each new token among the real tokens of its row: (T,), or (B, T) where rows are padded."""
    if keep_BS is None:
        return torch.arange(S - T, S, device=device)
    return (keep_BS[:, :S].cumsum(-1)[:, S - T :] - 1).clamp(min=0)


def _allowed(keep_BS: Tensor | None, T: int, S: int, causal: bool, device: torch.device) -> Tensor | None:
    """Boolean mask broadcastable to (B, 1, T, S), True where a query may look; None where it always may."""
    if keep_BS is not None and keep_BS.dtype != torch.bool:
        raise UsageError(f"a padding mask is boolean, True at tokens; got dtype {keep_BS.dtype}.")
    keep = None if keep_BS is None else keep_BS[:, None, None, :S]
    if not causal or T == 1:
        return keep
    queries = torch.arange(S - T, S, device=device)[:, None]
    keys = torch.arange(S, device=device)[None, :]
    past = keys <= queries
    # a padded query sees itself, so that its softmax is not over nothing; no one reads its state
    return past if keep is None else (past & keep) | (keys == queries)
