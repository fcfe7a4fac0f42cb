"""The one model: embeddings, an encoder or a decoder stack or both, and heads, as the `Architecture` says."""

# B batch, T tokens, S encoder tokens, R rows, D model size, V vocabulary

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.architecture import Architecture
from scaling.architecture.fields import COUNTED_ONLY
from scaling.errors import UsageError
from scaling.lm.models.cache import KVCache
from scaling.lm.models.layers import activation_function, embedding
from scaling.lm.models.stack import Stack
from scaling.lm.models.step import packed_product, packing_pays, plain_product, unroll

_BUILT_POSITIONS = ("rope", "learned", "relative_bias", "sinusoidal", "none")


def check_buildable(a: Architecture) -> None:
    """Refuse a shape that is there to be counted only: Gopher's positions, mixtures of experts, and the like.

    Raises:
        UsageError: naming the first such field and, where there is one, what to use instead.
    """
    if a.n_experts:
        raise UsageError(
            f"a mixture of experts ({a.n_experts} experts) can be counted but not built; leave out n_experts and what "
            "goes with it."
        )
    for name, buildable in (("positions", _BUILT_POSITIONS), ("norm_position", ("pre", "post"))):
        value = getattr(a, name)
        if value not in buildable:
            known = " or ".join(map(repr, buildable))
            raise UsageError(f"{value} {name.replace('_', ' ')} can be counted but not built; use {known}.")
    for name in sorted(set(a.to_dict()) & set(COUNTED_ONLY)):
        raise UsageError(f"{name} {getattr(a, name)!r} can be counted but not built; leave it out.")


class Transformer(nn.Module):
    """A decoder, an encoder or an encoder-decoder. Make one with `build_model`, which also sets its weights.

    Calling it gives logits (B, T, V) of the next (lm) or the masked (mlm) token, or the last states (B, T, D) of an
    encoder without that head. `states` and `logits` are its two halves, for a loss that never holds all logits.
    `start` and `step` are the protocol of `scaling.lm.decoding`.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        check_buildable(a)
        self.architecture = a
        self.decoder_start_id = 0  # T5's padding; BART's is 2
        self.tokens = embedding(a.vocab_size, a.d_embedding)
        if a.kind != "decoder":
            self.encoder = Stack(a, n_layers=a.n_layers, causal=False)
        if a.kind == "decoder":
            self.decoder = Stack(a, n_layers=a.n_layers, causal=True)
        elif a.kind == "encoder_decoder":
            self.decoder = Stack(a, n_layers=a.n_decoder_layers, causal=True, cross=True)
        if a.share_stacks:
            self._share_stacks()
        self._add_heads()

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.architecture.vocab_size

    @property
    def context_length(self) -> int:
        """Longest input, in tokens."""
        return self.architecture.context_length

    @property
    def text_start(self) -> tuple[int, ...] | None:
        """What a generated text begins with if not with its prompt: the start token of an encoder-decoder."""
        return (self.decoder_start_id,) if self.architecture.kind == "encoder_decoder" else None

    def forward(self, ids_BT: Tensor, **others: Tensor | None) -> Tensor:
        """Logits, or the last states of an encoder without a vocabulary head. Arguments as in `states`."""
        states = self.states(ids_BT, **others)
        return self.logits(states) if {"lm", "mlm"} & set(self.architecture.heads) else states

    def states(
        self,
        ids_BT: Tensor,
        *,
        decoder_ids_BT: Tensor | None = None,
        keep_BT: Tensor | None = None,
        segment_ids_BT: Tensor | None = None,
    ) -> Tensor:
        """Last states (B, T, D), after the final norm; of the decoder if there is one.

        Args:
            ids_BT: token ids; of the encoder in an encoder-decoder.
            decoder_ids_BT: what the decoder of an encoder-decoder has so far.
            keep_BT: True at tokens, False at padding of `ids_BT`, on either side; None where nothing is padded.
            segment_ids_BT: segment of each token (BERT); None is segment 0.
        """
        embedded = self.tokens(ids_BT)
        if self.architecture.kind == "decoder":
            return self.decoder(embedded, keep_BS=keep_BT, segment_ids_BT=segment_ids_BT)  # type: ignore[no-any-return]
        memory: Tensor = self.encoder(embedded, keep_BS=keep_BT, segment_ids_BT=segment_ids_BT)
        if self.architecture.kind == "encoder":
            return memory
        if decoder_ids_BT is None:
            raise UsageError("an encoder-decoder needs decoder_ids_BT: shift the targets right by one.")
        return self.decoder(self.tokens(decoder_ids_BT), memory_BSD=memory, memory_keep_BS=keep_BT)  # type: ignore[no-any-return]

    def logits(self, states_BTD: Tensor) -> Tensor:
        """Logits over the vocabulary from last states, of any leading shape."""
        a = self.architecture
        if "mlm" in a.heads:
            return self.mlm_head(states_BTD, self.tokens.weight)  # type: ignore[no-any-return]
        if "lm" not in a.heads:
            raise UsageError(f"this {a.kind} has no vocabulary head; add 'lm' or 'mlm' to its heads.")
        return F.linear(self.head_inputs(states_BTD), self.head_weight)

    def head_inputs(self, states: Tensor) -> Tensor:
        """Last states as the output matrix takes them: scaled where the architecture says so (T5)."""
        a = self.architecture
        return states * a.d_model**-0.5 if a.scale_logits else states

    @property
    def head_weight(self) -> Tensor:
        """The matrix (V, D) of the next-token head: the token embedding where they are tied."""
        return self.tokens.weight if self.architecture.tie_embeddings else self.head.weight

    def pooled(self, states_BTD: Tensor) -> Tensor:
        """State (B, D) of a whole text, from its first token."""
        return self.pooler(states_BTD)  # type: ignore[no-any-return]

    def next_sentence_logits(self, states_BTD: Tensor) -> Tensor:
        """(B, 2): index 0 the second segment follows the first, index 1 it does not (BERT's labels)."""
        return self.next_sentence(self.pooler(states_BTD))  # type: ignore[no-any-return]

    def replaced_logits(self, states_BTD: Tensor) -> Tensor:
        """(B, T): above 0 where the token was replaced (ELECTRA)."""
        return self.replaced_head(states_BTD)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def start(self, prompts: Sequence[Sequence[int]], n_new_tokens: int) -> tuple[Tensor, KVCache]:
        """Read the prompts once; logits (R, V) after their last token, and the state that `step` goes on from."""
        a, device = self.architecture, self.tokens.weight.device
        if a.kind == "encoder":
            raise UsageError("an encoder cannot generate text; use a decoder or an encoder-decoder.")
        self._check_lengths(prompts, n_new_tokens)
        ids_RT, keep_RT = pad_left(prompts, device)
        memory_RSD = memory_keep_RS = None
        if a.kind == "encoder_decoder":
            memory_RSD, memory_keep_RS = self.encoder(self.tokens(ids_RT), keep_BS=keep_RT), keep_RT
            ids_RT, keep_RT = ids_RT.new_full((len(prompts), 1), self.decoder_start_id), None
        n_rows, capacity = len(prompts), ids_RT.shape[1] + n_new_tokens
        cache = KVCache(
            a, n_rows=n_rows, capacity=capacity, keep_BT=keep_RT, like=self.tokens.weight.detach()
        )
        cache.memory_keep_BS = memory_keep_RS
        states = self.decoder(
            self.tokens(ids_RT),
            keep_BS=cache.keep_BN,
            cache=cache,
            memory_BSD=memory_RSD,
            memory_keep_BS=memory_keep_RS,
        )
        return self.logits(states[:, -1]), cache  # of the last position only

    @torch.inference_mode()
    def step(self, ids_R: Tensor, state: KVCache) -> Tensor:
        """Append one token to each row of the state; logits (R, V) of the next one."""
        if state.step is None:
            state.step = self._unrolled(len(ids_R), state.capacity - state.length)
        return state.step(ids_R, state)

    def _unrolled(self, n_rows: int, n_steps: int) -> Callable[[Tensor, KVCache], Tensor]:
        """One step of the decoder and the head, see `scaling.lm.models.step`."""
        n_weights = sum(p.numel() for p in self.parameters())
        packs = packing_pays(self.head_weight, n_weights, n_rows, n_steps)
        product = packed_product(n_rows) if packs else plain_product
        last_states, head = unroll(self.decoder, product), product(self.head_weight, None)
        return lambda ids_R, cache: head(self.head_inputs(last_states(self.tokens(ids_R[:, None]), cache)))

    def _check_lengths(self, prompts: Sequence[Sequence[int]], n_new_tokens: int) -> None:
        for index, prompt in enumerate(prompts):
            if not len(prompt):
                raise UsageError(
                    f"prompt {index} is empty: begin with at least one token, such as the end-of-text token."
                )
            if min(prompt) < 0 or max(prompt) >= self.vocab_size:
                raise UsageError(
                    f"prompt {index} has a token id outside 0..{self.vocab_size - 1}: wrong tokenizer?"
                )
        longest = max(map(len, prompts))
        apart = self.architecture.kind == "encoder_decoder"
        # the last new token is never read
        total = max(longest, n_new_tokens) if apart else longest + n_new_tokens - 1
        if total > self.context_length:
            raise UsageError(
                f"a prompt of {longest} tokens and {n_new_tokens} new ones exceed the context of "
                f"{self.context_length}; shorten the prompt or lower max_new_tokens."
            )

    def _share_stacks(self) -> None:
        for ours, theirs in zip(self.decoder.blocks, self.encoder.blocks):
            for name in ("attention_norm", "attention", "mlp_norm", "mlp"):
                setattr(ours, name, getattr(theirs, name))

    def _add_heads(self) -> None:
        a = self.architecture
        if "lm" in a.heads and not a.tie_embeddings:
            self.head = nn.Linear(a.d_model, a.vocab_size, bias=False)
        if "mlm" in a.heads:
            self.mlm_head = MaskedTokenHead(a)
        if a.has_pooler:
            self.pooler = Pooler(a)
        if "nsp" in a.heads:
            self.next_sentence = nn.Linear(a.d_model, 2)
        if "rtd" in a.heads:
            self.replaced_head = ReplacedTokenHead(a)


def pad_left(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Ids (R, T) with short rows filled on the left by their own first id, and True at tokens; None if all fit."""
    width = max(map(len, prompts))
    padded = [(list(p[:1]) or [0]) * (width - len(p)) + list(p) for p in prompts]
    ids = torch.tensor(padded, dtype=torch.long, device=device)
    if all(len(p) == width for p in prompts):
        return ids, None
    keep = torch.tensor([[False] * (width - len(p)) + [True] * len(p) for p in prompts], device=device)
    return ids, keep


# What is read off the last states besides next-token logits; parameters as `scaling.architecture.Head` lists them.


class MaskedTokenHead(nn.Module):
    """Logits (B, T, V) for masked tokens: dense, activation, norm, tied embedding, output bias (BERT, ELECTRA)."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.dense = nn.Linear(a.d_model, a.d_embedding)
        self.activation = activation_function(a)
        self.norm = nn.LayerNorm(a.d_embedding, eps=a.norm_eps)
        self.bias = nn.Parameter(torch.zeros(a.vocab_size))

    def forward(self, states_BTD: Tensor, embedding_VE: Tensor) -> Tensor:
        return F.linear(self.norm(self.activation(self.dense(states_BTD))), embedding_VE, self.bias)


class Pooler(nn.Module):
    """tanh of a dense map of the first state, (B, D) (BERT)."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.dense = nn.Linear(a.d_model, a.d_model)

    def forward(self, states_BTD: Tensor) -> Tensor:
        return torch.tanh(self.dense(states_BTD[:, 0]))


class ReplacedTokenHead(nn.Module):
    """One logit a token, (B, T), above 0 where it was replaced (ELECTRA's discriminator)."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.dense = nn.Linear(a.d_model, a.d_model)
        self.activation = activation_function(a)
        self.score = nn.Linear(a.d_model, 1)

    def forward(self, states_BTD: Tensor) -> Tensor:
        return self.score(self.activation(self.dense(states_BTD)))[..., 0]  # type: ignore[no-any-return]
