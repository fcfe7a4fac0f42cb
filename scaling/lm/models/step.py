"""One decoding step: what `Stack.forward` does for one new token a row, as plain functions.

A step is a chain of small operations around products that read every weight once; what it costs beyond those reads is
calls (a seventh of a step at 11M parameters). So the modules are unrolled here, once a text, into functions that hold
their weights: the same operations in the same order, so the same numbers to the last bit. A module that is not torch's
own Linear or norm, or that has hooks, is called as it is.

With several rows a product spends much of its time rearranging weights for the vector units, at every step alike. On a
CPU that is done once for as long as a text lasts (MKL's packed product: half the time of a step at 124M parameters and
8 rows), at the price of a second copy of the weights.
"""

# R rows, D model size, H heads, G key-value heads, K head size, V vocabulary

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.lm.models.cache import KVCache, LayerCache
from scaling.lm.models.layers import (
    MLP,
    CrossAttention,
    Map,
    SelfAttention,
    View,
    attend,
    feed_forward,
    rotate,
)
from scaling.lm.models.stack import Block, Stack, add_part

Product = Callable[[Tensor, Tensor | None], Map]  # of a weight (E, D) and a bias (E,)
BlockStep = Callable[[Tensor, View, LayerCache, View], Tensor]

PACK_FROM_ROWS = 4  # below, a product takes as long as reading the weights does, however they lie
PACK_FROM_STEPS = 24  # packing takes as long as it saves in 4 (124M, 8 rows) to 25 steps (11M, 4 rows)
MAX_PACKED_BYTES = 4 * 2**30


def unroll(stack: Stack, product: Product) -> Callable[[Tensor, KVCache], Tensor]:
    """The stack as a function of embedded tokens (R, 1, E) and a cache, which it extends; last states (R, D)."""
    blocks = [_block(block, product) for block in stack.blocks]  # type: ignore[arg-type]
    final_norm = _norm(stack.final_norm) if stack.architecture.has_final_norm else None

    def step(x_R1E: Tensor, cache: KVCache) -> Tensor:
        x, view, memory_view = stack.enter(x_R1E, cache.keep_BN, cache.memory_keep_BS, cache.length)
        for block, layer in zip(blocks, cache.layers):
            x = block(x, view, layer, memory_view)
        cache.length += 1
        return x if final_norm is None else final_norm(x)

    return step


def _block(block: Block, product: Product) -> BlockStep:
    attention_norm, attention = _norm(block.attention_norm), _attention(block.attention, product)
    mlp_norm, mlp = _norm(block.mlp_norm), _mlp(block.mlp, product)
    if block.has_cross:
        cross_norm, cross = _norm(block.cross_norm), _cross(block.cross, product)

    def step(x: Tensor, view: View, cache: LayerCache, memory_view: View) -> Tensor:
        x = add_part(block.pre, x, attention_norm, attention, view, cache)
        if block.has_cross:
            x = add_part(block.pre, x, cross_norm, cross, memory_view, cache)
        return add_part(block.pre, x, mlp_norm, mlp)

    return step


def _attention(layer: SelfAttention, product: Product) -> Callable[[Tensor, View, LayerCache], Tensor]:
    H, G, K, scale = layer.n_heads, layer.n_kv_heads, layer.d_head, layer.scale
    query_key_value, output = _linear(layer.query_key_value, product), _linear(layer.output, product)

    def attention(x_RD: Tensor, view: View, cache: LayerCache) -> Tensor:
        heads = query_key_value(x_RD).view(-1, H + 2 * G, 1, K)
        q, k, v = heads.split_with_sizes((H, G, G), dim=1)
        if view.rotation is not None:
            q, k = rotate(heads[:, : H + G], view.rotation).split_with_sizes((H, G), dim=1)
        k, v = cache.append(k, v)
        return output(attend(q, k, v, view, scale).reshape(-1, H * K))

    return attention


def _cross(layer: CrossAttention, product: Product) -> Callable[[Tensor, View, LayerCache], Tensor]:
    H, K, scale = layer.n_heads, layer.d_head, layer.scale
    query, output = _linear(layer.query, product), _linear(layer.output, product)

    def cross(x_RD: Tensor, view: View, cache: LayerCache) -> Tensor:
        assert cache.memory is not None  # reading the prompt has put it there
        k, v = cache.memory
        return output(attend(query(x_RD).view(-1, H, 1, K), k, v, view, scale).reshape(-1, H * K))

    return cross


def _mlp(layer: MLP, product: Product) -> Map:
    up = _linear(layer.gate_up if layer.is_gated else layer.up, product)
    activation, down, is_gated = layer.activation, _linear(layer.down, product), layer.is_gated
    return lambda x: feed_forward(x, up, activation, down, is_gated)


def _norm(layer: nn.Module) -> Map:
    if not _is_plain(layer):
        return layer
    if type(layer) is nn.LayerNorm:
        shape, weight, bias, eps = layer.normalized_shape, layer.weight, layer.bias, layer.eps
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    if type(layer) is nn.RMSNorm:
        shape, weight, rms_eps = layer.normalized_shape, layer.weight, layer.eps
        return lambda x: torch.rms_norm(x, shape, weight, rms_eps)
    return layer


def plain_product(weight_ED: Tensor, bias_E: Tensor | None) -> Map:
    """x W' + b with the weights bound; for one row as matrix times vector, 1 to 2 % of a step faster."""
    weight_DE = weight_ED.t()

    def times(x_RD: Tensor) -> Tensor:
        if x_RD.shape[0] > 1:
            return torch.mm(x_RD, weight_DE)
        return torch.mv(weight_ED, x_RD.view(-1)).view(1, -1)

    def times_plus(x_RD: Tensor) -> Tensor:
        if x_RD.shape[0] > 1:
            return torch.addmm(bias_E, x_RD, weight_DE)  # type: ignore[arg-type]
        return torch.addmv(bias_E, weight_ED, x_RD.view(-1)).view(1, -1)  # type: ignore[arg-type]

    return times if bias_E is None else times_plus


def packed_product(n_rows: int) -> Product:
    """x W' + b with weights rearranged for n_rows rows; a few less are padded, half as many or less not packed."""
    multiply = torch.ops.mkl._mkl_linear

    def product(weight_ED: Tensor, bias_E: Tensor | None) -> Map:
        weight, plain = weight_ED.detach(), plain_product(weight_ED, bias_E)
        packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, n_rows)

        def times(x_RD: Tensor) -> Tensor:
            n_missing = n_rows - x_RD.shape[0]
            if n_missing == 0:
                return multiply(x_RD, packed, weight, bias_E, n_rows)  # type: ignore[no-any-return]
            if n_missing < 0 or 2 * n_missing >= n_rows:
                return plain(x_RD)
            padded = F.pad(x_RD, (0, 0, 0, n_missing))
            return multiply(padded, packed, weight, bias_E, n_rows)[:-n_missing]  # type: ignore[no-any-return]

        return times

    return product


def packing_pays(weight: Tensor, n_weights: int, n_rows: int, n_steps: int) -> bool:
    """Whether n_steps steps of n_rows rows are faster with packed weights, and the copy of them is bearable."""
    return (
        n_rows >= PACK_FROM_ROWS
        and n_steps >= PACK_FROM_STEPS
        and 4 * n_weights <= MAX_PACKED_BYTES
        and weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    )


def _linear(layer: nn.Module, product: Product) -> Map:
    return product(layer.weight, layer.bias) if type(layer) is nn.Linear and _is_plain(layer) else layer


def _is_plain(layer: nn.Module) -> bool:
    return not (layer._forward_hooks or layer._forward_pre_hooks)
