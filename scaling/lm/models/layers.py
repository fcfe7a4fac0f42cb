"""The parts of a block: norm, attention (self or cross, grouped heads, rotary or relative positions), MLP.

Each is built from an `Architecture`; what differs between GPT, Llama, BERT, T5 and BART is a field of it, never a
subclass. Projections of one input are fused (query, key, value; gate, up): same weights, fewer and larger matmuls.
"""

# B batch, T query tokens, M = B T, S key tokens, D model size, H heads, G key-value heads, K head size, F MLP size

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.architecture import Architecture
from scaling.lm.models.cache import LayerCache

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class View:
    """What all layers of a stack share in one pass: who may look at whom, and where each token stands.

    Layers hold the tokens of all rows one below the other: (M, D) with M = B T, n_rows B and n_tokens T.
    `mask` is boolean (True may look) or additive, broadcastable to (B, H, T, S); None with `causal` false is
    everything. `rotation` is the cosine and sine, each ([B, 1,] T, K), of rotary positions.
    """

    n_rows: int
    n_tokens: int
    mask: Tensor | None
    causal: bool
    rotation: tuple[Tensor, Tensor] | None = None


def build_norm(a: Architecture, width: int) -> nn.Module:
    """Layer norm (Ba et al. 2016) or RMS norm (Zhang and Sennrich 2019, arXiv:1910.07467)."""
    if a.norm == "rms":
        return nn.RMSNorm(width, eps=a.norm_eps)
    return nn.LayerNorm(width, eps=a.norm_eps, bias=a.norm_bias)


def embedding(n_rows: int, width: int) -> nn.Embedding:
    """A lookup table without first values, which `initialize` draws or a file brings.

    nn.Embedding(n_rows, width) draws some by normal_, which on the meta device imports torch._dynamo: 0.7 s of the
    first model of a process that only generates.
    """
    return nn.Embedding(n_rows, width, _weight=torch.empty(n_rows, width))


def activation_function(a: Architecture) -> Map:
    """The non-linearity; of the gate where the MLP is gated."""
    if a.activation == "relu":
        return F.relu
    if a.activation == "swiglu":
        return F.silu
    approximate = "none" if a.activation == "gelu" else "tanh"
    return lambda x: F.gelu(x, approximate=approximate)


class MLP(nn.Module):
    """down(act(up(x))), or down(act(gate(x)) * up(x)) where gated (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        if a.is_gated:
            self.gate_up = nn.Linear(a.d_model, 2 * a.d_ff, bias=a.mlp_bias)
        else:
            self.up = nn.Linear(a.d_model, a.d_ff, bias=a.mlp_bias)
        self.down = nn.Linear(a.d_ff, a.d_model, bias=a.mlp_bias)
        self.is_gated = a.is_gated
        self.activation = activation_function(a)

    def forward(self, x_MD: Tensor) -> Tensor:
        up = self.gate_up if self.is_gated else self.up
        return feed_forward(x_MD, up, self.activation, self.down, self.is_gated)


def feed_forward(x_MD: Tensor, up: Map, activation: Map, down: Map, is_gated: bool) -> Tensor:
    """down(act(up(x))); where gated, the first half of up(x) is the gate."""
    if not is_gated:
        return down(activation(up(x_MD)))
    gate, values = up(x_MD).chunk(2, dim=-1)
    return down(activation(gate) * values)


class SelfAttention(nn.Module):
    """Scaled dot-product attention of a sequence to itself, with H query heads sharing G key-value heads.

    Source: Vaswani et al. 2017, section 3.2; grouped heads, Ainslie et al. 2023, arXiv:2305.13245.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = a.n_heads, a.n_kv_heads, a.d_head
        self.scale = None if a.scale_attention else 1.0
        self.query_key_value = nn.Linear(a.d_model, a.d_attention + 2 * a.d_kv, bias=a.qkv_bias)
        self.output = nn.Linear(a.d_attention, a.d_model, bias=a.attention_output_bias)

    def forward(self, x_MD: Tensor, view: View, cache: LayerCache | None = None) -> Tensor:
        B, T = view.n_rows, view.n_tokens
        H, G, K = self.n_heads, self.n_kv_heads, self.d_head
        heads_BTHK = self.query_key_value(x_MD).view(B, T, H + 2 * G, K)
        # split before the transposition: the gradients then join in the layout of the projection, without a copy
        q, k, v = (part.transpose(1, 2) for part in heads_BTHK.split([H, G, G], dim=2))
        if view.rotation is not None:
            qk_BHTK = heads_BTHK[:, :, : H + G].transpose(1, 2)
            q, k = torch.split(rotate(qk_BHTK, view.rotation), [H, G], dim=1)
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = attend(q, k, v, view, self.scale)
        return self.output(mixed.transpose(1, 2).reshape(B * T, H * K))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Attention of the decoder to the last states of the encoder, the memory."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = a.n_heads, a.n_kv_heads, a.d_head
        self.scale = None if a.scale_attention else 1.0
        self.query = nn.Linear(a.d_model, a.d_attention, bias=a.qkv_bias)
        self.key_value = nn.Linear(a.d_model, 2 * a.d_kv, bias=a.qkv_bias)
        self.output = nn.Linear(a.d_attention, a.d_model, bias=a.attention_output_bias)

    def forward(
        self, x_MD: Tensor, memory_BSD: Tensor | None, view: View, cache: LayerCache | None = None
    ) -> Tensor:
        B, T = view.n_rows, view.n_tokens
        q = self.query(x_MD).view(B, T, self.n_heads, self.d_head).transpose(1, 2)
        if cache is not None and cache.memory is not None:
            k, v = cache.memory
        else:
            assert memory_BSD is not None
            k, v = self.key_value(memory_BSD).unflatten(-1, (-1, self.d_head)).transpose(1, 2).chunk(2, dim=1)
            if cache is not None:
                cache.memory = k, v
        mixed = attend(q, k, v, view, self.scale)
        return self.output(mixed.transpose(1, 2).reshape(B * T, -1))  # type: ignore[no-any-return]


def attend(q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, view: View, scale: float | None) -> Tensor:
    """softmax(q k' / sqrt(K)) v: (B, H, T, K)."""
    grouped = q_BHTK.shape[1] != k_BGSK.shape[1]
    return F.scaled_dot_product_attention(
        q_BHTK, k_BGSK, v_BGSK, attn_mask=view.mask, is_causal=view.causal, scale=scale, enable_gqa=grouped
    )


def rotation_at(positions: Tensor, d_head: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles position * theta^(-2i/K): (T, K) for positions (T,), (B, 1, T, K) for (B, T).

    Source: Su et al. 2021, arXiv:2104.09864, eq. 34; the two halves of a head are rotated together, as in Llama's
    released weights, where the paper rotates neighbours.
    """
    exponents = torch.arange(0, d_head, 2, dtype=torch.float32, device=positions.device) / d_head
    angles = positions[..., None].float() * theta**-exponents
    angles = torch.cat((angles, angles), dim=-1)
    if positions.dim() == 2:
        angles = angles[:, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x_BHTK: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (x_i, x_{i+K/2}) by its angle."""
    cosine, sine = rotation
    first, second = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cosine + torch.cat((-second, first), dim=-1) * sine


def sinusoid_at(positions: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Fixed positions (..., T, width): sine at even places, cosine at odd. Source: Vaswani et al. 2017, section 3.5."""
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width
    angles = positions[..., None].float() * 10_000.0**-exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)[..., :width].to(dtype)


class RelativeBias(nn.Module):
    """T5's learned bias for each head and bucket of distance; one table a stack.

    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1, and the released code for the buckets: half of them
    exact, half logarithmic up to `relative_max_distance`; without causality half for each side.
    """

    def __init__(self, a: Architecture, *, causal: bool) -> None:
        super().__init__()
        self.table = embedding(a.n_relative_buckets, a.n_heads)
        self.max_distance, self.causal = a.relative_max_distance, causal

    def forward(self, n_queries: int, n_keys: int) -> Tensor:
        """(1, H, T, S) to add to the scores of the last n_queries of n_keys tokens."""
        device = self.table.weight.device
        queries = torch.arange(n_keys - n_queries, n_keys, device=device)
        behind = queries[:, None] - torch.arange(n_keys, device=device)[None, :]
        return self.table(self._bucket(behind)).permute(2, 0, 1)[None]  # type: ignore[no-any-return]

    def _bucket(self, behind: Tensor) -> Tensor:
        """Bucket of a key that lies `behind` tokens before its query."""
        n_buckets, start = self.table.num_embeddings, torch.zeros_like(behind)
        if self.causal:
            behind = behind.clamp(min=0)
        else:
            n_buckets //= 2
            start = (behind < 0) * n_buckets
            behind = behind.abs()
        n_exact = n_buckets // 2
        scale = (n_buckets - n_exact) / math.log(self.max_distance / n_exact)
        logarithmic = n_exact + (torch.log(behind.clamp(min=1).float() / n_exact) * scale).long()
        return start + torch.where(behind < n_exact, behind, logarithmic.clamp(max=n_buckets - 1))
