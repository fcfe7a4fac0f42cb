"""Bytes that autograd keeps for the backward pass, tensor by tensor; see `scaling.accounting.memory`."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from scaling.architecture import Architecture

Recomputation = Literal["none", "attention", "selective", "full"]
FLOAT32_BYTES = 4


class Precision(NamedTuple):
    """Bytes of each number a training step keeps.

    Args:
        master: float32 copy of the weights held by the optimizer; 0 where the weights are float32 themselves.
        state: one optimizer state of one parameter.
        cast: low-precision copy of float32 weights that autocast makes for the matmuls; 0 without autocast.
        activation: inputs of matmuls and activation functions.
        residual: the residual stream, which is what norms keep.
    """

    weights: int
    gradients: int
    master: int
    state: int
    cast: int
    activation: int
    residual: int


class LayerBytes(NamedTuple):
    """Bytes that autograd keeps for one token in one layer. `architecture` is already one device's part.

    With sequence parallelism the terms in d_model are split over the `split` devices as well.
    """

    architecture: Architecture
    split: int
    recipe: Precision
    flash: bool
    dropout: bool
    compiled: bool = False

    def activations(self, context: int, decoder: int, recomputation: Recomputation) -> int:
        """Bytes for one sequence, everything but logits."""
        a = self.architecture
        in_decoder = a.kind == "encoder_decoder"
        cross_keys = a.n_decoder_layers * 2 * a.d_kv * self.recipe.activation * context if in_decoder else 0
        keep_scores = not self.flash and recomputation != "attention"
        attention = self._attention(context, self_attention=True, keep_scores=keep_scores)
        n_dense = a.n_layers - a.n_sparse_layers
        blocks = [
            (n_dense, context, attention + self._mlp()),
            (a.n_sparse_layers, context, attention + self._experts()),
        ]
        if in_decoder:
            cross = self._attention(context, self_attention=False, keep_scores=keep_scores)
            own = self._attention(decoder, self_attention=True, keep_scores=keep_scores)
            blocks.append((a.n_decoder_layers, decoder, own + cross + self._mlp()))
        outside = cross_keys + self.outside(context, decoder) + self.gathered(max(context, decoder))
        if recomputation in ("none", "attention"):
            return math.ceil(sum(layers * tokens * kept for layers, tokens, kept in blocks) + outside)
        saved = self.recipe.residual * a.d_model / self.split  # the input of the block
        if recomputation == "selective":
            saved += self._every_other_product()
        kept = sum(layers * tokens * saved for layers, tokens, _ in blocks)
        one_block = max(tokens * (per_token - saved) for layers, tokens, per_token in blocks if layers)
        return math.ceil(kept + max(0, one_block) + outside)

    def _every_other_product(self) -> float:
        """Of one block: the outputs of attention and of every other matrix product, in the order in which they run.

        torchtitan's selective checkpointing per operation (distributed/activation_checkpoint.py) saves these and
        computes the others again. Of a decoder's cross-attention and of experts the same share.
        """
        a, c = self.architecture, self.recipe.activation
        dense = a.n_dense_layers or not a.n_experts
        inner = (
            a.d_ff if dense else a.n_experts_per_token * a.d_ff_expert + a.n_shared_experts * a.d_ff_shared
        )
        attention = [
            a.d_attention,
            a.n_kv_heads * a.d_head,
            a.n_kv_heads * a.d_head_value,
            a.d_model / self.split,
        ]
        attention += attention if a.kind == "encoder_decoder" else []
        products = [*attention, *([inner] * (1 + a.is_gated)), a.d_model / self.split]
        attended = c * a.d_attention_output + FLOAT32_BYTES * a.n_heads  # and the softmax's denominators
        return c * sum(products[::2]) + attended * (2 if a.kind == "encoder_decoder" else 1)

    def gathered(self, tokens: int) -> float:
        """With tensor parallelism the inputs of attention, MLP and head exist whole, one block at a time."""
        whole = self.recipe.activation * self.architecture.d_model
        return 3 * tokens * whole * (1 - 1 / self.split)

    def outside(self, context: int, decoder: int) -> float:
        """Embedding dropout and norm, final norm, and the inputs of the heads, for one sequence."""
        a, r, c = self.architecture, self.recipe.residual, self.recipe.activation
        stacks = context + (decoder if a.kind == "encoder_decoder" else 0)
        read = decoder if a.kind == "encoder_decoder" else context
        per_token = (1 if self.dropout else 0) * a.d_model
        per_token += r * a.d_embedding if a.embedding_norm else 0
        per_token += r * a.d_model if a.has_final_norm else 0
        heads = c * a.d_model if "lm" in a.heads else 0
        heads += c * (a.d_model + 3 * a.d_embedding) if "mlm" in a.heads else 0
        heads += c * 3 * a.d_model if "rtd" in a.heads else 0
        return (stacks * per_token + read * heads) / self.split

    def _attention(self, keys: int, *, self_attention: bool, keep_scores: bool) -> float:
        """Norm input and projection input (d_model), query, key, value, output of the heads, and the softmax."""
        a, c = self.architecture, self.recipe.activation
        kept = self._inputs()
        kept += c * (a.d_attention + a.d_attention_output)
        kept += c * a.n_kv_heads * (a.d_head + a.d_head_value) if self_attention else 0
        kept += c * 2 * (a.d_latent_q + a.d_latent_kv)  # before and after their norms
        kept += c * (a.d_attention + a.d_kv) if a.qk_norm != "none" else 0
        if self.flash:
            return kept + FLOAT32_BYTES * a.n_heads  # the log of the softmax's denominator
        scores = 2 * c + 1 if self.dropout else c  # with dropout also its mask and its output
        return kept + (scores * a.n_heads * keys if keep_scores else 0)

    def _mlp(self) -> float:
        """Norm input and up input (d_model); in d_ff: what the activation function and the down matrix read."""
        return self._inputs() + self._inner() * self.recipe.activation * self.architecture.d_ff

    def _experts(self) -> float:
        """As a dense MLP, but of the experts a token passes: its copy for each, and each output."""
        a, c = self.architecture, self.recipe.activation
        kept = self._inputs()
        kept += 2 * FLOAT32_BYTES * a.n_experts  # scores of the router and their softmax
        kept += a.n_experts_per_token * c * (2 * a.d_model + self._inner() * a.d_ff_expert)
        return kept + a.n_shared_experts * c * self._inner() * a.d_ff_shared

    def _inputs(self) -> float:
        """Input of the norm and of the projection behind it, and the mask of dropout, all of width d_model."""
        numbers = self.recipe.residual + self.recipe.activation + (1 if self.dropout else 0)
        return numbers * self.architecture.d_model / self.split

    def _inner(self) -> int:
        """Numbers of the MLP's width kept: gate and its activation, up, their product; or input and output of the
        activation, of which ReLU's backward reads only the output. Compiled code computes that of a gate again."""
        a = self.architecture
        return (3 if self.compiled else 4) if a.is_gated else 1 if a.activation == "relu" else 2
