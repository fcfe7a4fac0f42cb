"""Architecture: the sizes and options of one transformer, as values. No torch here.

The accounting counts exactly this, and the model code builds exactly this but for COUNTED_ONLY, which it refuses;
an architecture is a value, never a subclass. A field is admitted only if a published model, or a sweep, needs it.

What the fields mean together, in order of the forward pass:

1. token embedding (vocab_size, d_embedding) + learned positions (context_length + position_offset, d_embedding)
   + segments (n_segments, d_embedding); then `embedding_norm`; then, if d_embedding != d_model, a linear map with
   bias to d_model (ELECTRA).
2. n_layers blocks of self-attention and MLP; in the decoder of an encoder_decoder a cross-attention sits between.
   Pre-norm: x + f(norm(x)), and one final norm a stack. Post-norm: norm(x + f(x)), and no final norm. The others,
   with a final norm too: see `NormPosition`.
3. attention: query (d_model → n_heads d_head), key and value (d_model → n_kv_heads d_head), output back;
   scores are divided by sqrt(d_head) unless `scale_attention` is false (T5). Latent attention (DeepSeek-V2,
   arXiv:2405.04434, section 2.1): the query through d_latent_q, key and value through d_latent_kv, which is what is
   cached with the d_head_rope rotary numbers that all heads share.
4. MLP: up (d_model → d_ff), activation, down; gated (swiglu, geglu): activation(gate(x)) * up(x), three matrices.
   In a mixture, all layers but n_dense_layers have instead n_experts such MLPs of width d_ff_expert, of which a router
   (d_model → n_experts) picks n_experts_per_token for each token, and n_shared_experts of width d_ff_shared for all.
5. heads, see `Head`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from scaling.architecture.fields import (
    CHOICES,
    COUNTED_ONLY,
    MAY_BE_ZERO,
    Activation,
    Head,
    Kind,
    Norm,
    NormPosition,
    Positions,
    QkNorm,
    positive,
    whole,
)
from scaling.arguments import require_kind, require_known
from scaling.errors import UnknownNameError, UsageError

_OF_A_MIXTURE = (
    "n_experts_per_token", "d_ff_expert", "n_shared_experts", "d_ff_shared", "shared_expert_gate", "n_dense_layers"
)  # fmt: skip


def _derived() -> Any:
    """A field that may be left out; `__post_init__` puts in its default, so that it is never None afterwards."""
    return dataclasses.field(default=None)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of a decoder, an encoder or an encoder-decoder, checked when made.

    Args:
        n_layers: blocks of the only stack; of the encoder in an encoder_decoder.
        n_decoder_layers: blocks of the decoder of an encoder_decoder (default n_layers); 0 for other kinds.
        n_kv_heads: heads of key and value (default n_heads); fewer is grouped-query attention.
        d_head: default d_model / n_heads; n_heads * d_head need not be d_model (T5-11B, LaMDA).
        d_ff: width of the MLP, of each of the two up matrices if gated; default 4 d_model if not gated.
        context_length: longest input in tokens; of each stack in an encoder_decoder.
        norm_bias: the shift of layer norm (default true for "layer"); must be false for "rms".
        activation: gelu is exact, gelu_tanh the approximation of GPT-2; geglu gates with gelu_tanh (T5.1.1).
        positions: "relative_bias" is T5's (one table of n_relative_buckets x n_heads a stack, used by all its
            layers); "transformer_xl" adds a key projection d_model x (n_heads d_head) a layer and two shared bias
            vectors (Dai et al. 2019, section 3.3); "rope" rotates the two halves of each head (Llama's layout).
        position_offset: unused leading rows of the learned position table (RoBERTa and BART: 2).
        scale_logits: multiply the last state by d_model^-1/2 before the tied head (T5).
        share_stacks: encoder and decoder use the same self-attention, MLP and norms (a row of T5's table 2);
            cross-attention and its norm stay the decoder's own.
        d_embedding: width of the embeddings if not d_model (ELECTRA; encoders only).
        heads: default ("lm",), and () for an encoder. See `Head`.
        norm_scale: false for a layer norm without weights (OLMo 1).
        qk_norm: norms of query and key, of each head (d_head, Qwen 3) or of the whole width (OLMo 2).
        head_bias: the lm head has a bias (GPT-J, Phi), tied or not.
        attention_sinks: one number a head and layer that takes part in the softmax (gpt-oss).
        attention_window: keys that a query of n_window_layers (default all) reads, itself included; 0 is all keys.
        d_latent_kv: > 0 for latent attention, with d_latent_q (0: the query has no latent), d_head_rope, the rotary
            part of d_head, and d_head_value (default d_head).
        n_experts: > 0 for a mixture of experts, with n_experts_per_token; d_ff_expert defaults to d_ff.
        d_ff_shared: width of each of the n_shared_experts, default d_ff_expert; shared_expert_gate: see Qwen 2.
        n_dense_layers: layers with a dense MLP of d_ff; which ones changes no count. `mlp_bias` is of experts and
            router too.
    Raises:
        UsageError: sizes that cannot be built, each with the rule.
    Example:
        >>> import scaling
        >>> small = scaling.Architecture(n_layers=2, d_model=128, n_heads=4, vocab_size=4096, context_length=256)
        >>> scaling.count_params(small).total
        953856
    """

    kind: Kind = "decoder"
    n_layers: int
    n_decoder_layers: int = _derived()
    d_model: int
    n_heads: int
    n_kv_heads: int = _derived()
    d_head: int = _derived()
    d_ff: int = _derived()
    vocab_size: int
    context_length: int

    norm: Norm = "layer"
    norm_position: NormPosition = "pre"
    norm_bias: bool = _derived()
    norm_eps: float = 1e-5
    embedding_norm: bool = False
    activation: Activation = "gelu_tanh"

    positions: Positions = "learned"
    position_offset: int = 0
    rope_theta: float = 10_000.0
    n_relative_buckets: int = 32
    relative_max_distance: int = 128

    qkv_bias: bool = True
    attention_output_bias: bool = True
    mlp_bias: bool = True
    scale_attention: bool = True

    tie_embeddings: bool = True
    scale_logits: bool = False
    share_stacks: bool = False
    n_segments: int = 0
    d_embedding: int = _derived()
    heads: tuple[Head, ...] = _derived()

    norm_scale: bool = True
    qk_norm: QkNorm = "none"
    head_bias: bool = False
    attention_sinks: bool = False
    attention_window: int = 0
    n_window_layers: int = _derived()
    d_latent_q: int = 0
    d_latent_kv: int = 0
    d_head_rope: int = 0
    d_head_value: int = _derived()
    n_experts: int = 0
    n_experts_per_token: int = 0
    d_ff_expert: int = _derived()
    n_shared_experts: int = 0
    d_ff_shared: int = _derived()
    shared_expert_gate: bool = False
    n_dense_layers: int = 0

    def __post_init__(self) -> None:
        for name, value in self._defaults().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        self._check_types()
        self._check_attention()
        self._check_positions()
        _check_stacks(self)
        self._check_heads()
        _check_mixture(self)
        _check_latent_attention(self)
        _check_window(self)

    def _defaults(self) -> dict[str, Any]:
        """Values of the fields that may be left out, from the others."""
        d_head, d_ff = self._default_d_head(), self._default_d_ff()
        d_ff_expert = (d_ff if self.d_ff is None else self.d_ff) if self.n_experts else 0
        d_ff_shared = d_ff_expert if self.d_ff_expert is None else self.d_ff_expert
        return {
            "n_decoder_layers": self.n_layers if self.kind == "encoder_decoder" else 0,
            "n_kv_heads": self.n_heads,
            "d_head": d_head,
            "d_ff": d_ff,
            "norm_bias": self.norm == "layer",
            "d_embedding": self.d_model,
            "heads": () if self.kind == "encoder" else ("lm",),
            "n_window_layers": self.n_layers if self.attention_window else 0,
            "d_head_value": d_head if self.d_head is None else self.d_head,
            "d_ff_expert": d_ff_expert,
            "d_ff_shared": d_ff_shared if self.n_shared_experts else 0,
        }

    def _default_d_head(self) -> int:
        d_model, n_heads = whole("d_model", self.d_model), whole("n_heads", self.n_heads)
        if self.d_head is None and d_model % n_heads:
            raise UsageError(
                f"n_heads must divide d_model, got d_model {d_model} and n_heads {n_heads}; change one, or give d_head."
            )
        return d_model // n_heads

    def _default_d_ff(self) -> int:
        if self.n_experts and self.d_ff_expert is not None:
            return self.d_ff_expert  # of no use unless there are dense layers
        if self.d_ff is None and self.is_gated:
            raise UsageError(
                f"a gated MLP ({self.activation}) has no agreed width: give d_ff. "
                f"8/3 d_model, about {8 * self.d_model // 3}, has as many weights as 4 d_model without the gate."
            )
        return 4 * whole("d_model", self.d_model)

    def _check_types(self) -> None:
        for name, choices in CHOICES.items():
            require_known(name, getattr(self, name), choices)
        for name, kind in _TYPES.items():
            value = getattr(self, name)
            if kind == "int":
                object.__setattr__(self, name, whole(name, value, least=0 if name in MAY_BE_ZERO else 1))
            elif kind == "float":
                object.__setattr__(self, name, positive(name, value))
            elif kind == "bool" and not isinstance(value, bool):
                raise UsageError(f"{name} must be true or false, got {value!r}.")

    def _check_attention(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise UsageError(
                f"n_kv_heads must divide n_heads, got n_kv_heads {self.n_kv_heads} and n_heads {self.n_heads}."
            )
        if self.norm == "rms" and self.norm_bias:
            raise UsageError("norm_bias: an RMS norm has no shift; leave norm_bias out or use norm 'layer'.")

    def _check_positions(self) -> None:
        if self.positions == "rope" and self.d_head % 2:
            raise UsageError(f"rope rotates pairs, so d_head must be even, got {self.d_head}.")
        if self.position_offset and self.positions != "learned":
            raise UsageError(
                f"position_offset belongs to learned positions, got positions {self.positions!r}."
            )
        if self.positions == "transformer_xl" and self.kind != "decoder":
            raise UsageError(f"transformer_xl positions are defined for a decoder, got kind {self.kind!r}.")
        if self.positions == "relative_bias":
            _check_relative_bias(self)

    def _check_heads(self) -> None:
        heads = (self.heads,) if isinstance(self.heads, str) else tuple(self.heads)
        for head in heads:
            if head not in get_args(Head):
                raise UnknownNameError("head", str(head), get_args(Head))
        if len(set(heads)) != len(heads):
            raise UsageError(f"heads names one twice: {', '.join(heads)}.")
        if self.kind != "encoder" and set(heads) - {"lm"}:
            raise UsageError(f"heads of a {self.kind} are 'lm' or none, got {', '.join(heads)}.")
        if self.kind == "encoder" and "lm" in heads:
            raise UsageError("an encoder has no next-token head: use 'mlm' instead of 'lm'.")
        if "mlm" in heads and not self.tie_embeddings:
            raise UsageError("the mlm head shares the token embedding: tie_embeddings must be true.")
        object.__setattr__(self, "heads", tuple(h for h in get_args(Head) if h in heads))

    @property
    def is_gated(self) -> bool:
        """Whether the MLP has a gate, and so three matrices."""
        return self.activation in ("swiglu", "geglu")

    @property
    def d_attention(self) -> int:
        """Width of queries, n_heads d_head."""
        return self.n_heads * self.d_head

    @property
    def d_kv(self) -> int:
        """Width of keys, and of values: n_kv_heads d_head."""
        return self.n_kv_heads * self.d_head

    @property
    def d_attention_output(self) -> int:
        """Width of the attention output before its projection: n_heads d_head_value."""
        return self.n_heads * self.d_head_value

    @property
    def n_sparse_layers(self) -> int:
        """Layers with experts: all but n_dense_layers in a mixture, else 0."""
        return self.n_layers - self.n_dense_layers if self.n_experts else 0

    @property
    def n_positions(self) -> int:
        """Rows of a learned position table, the unused ones included; 0 for other positions."""
        return self.context_length + self.position_offset if self.positions == "learned" else 0

    @property
    def has_final_norm(self) -> bool:
        """Whether each stack ends in a norm of its own: post-norm does not."""
        return self.norm_position != "post"

    @property
    def has_pooler(self) -> bool:
        """Whether the first state is pooled, on its own or for the nsp head."""
        return "pooler" in self.heads or "nsp" in self.heads

    def __repr__(self) -> str:
        """The sizes that were given; those that follow from them, or have their usual value, are left out."""
        usual = {f.name: f.default for f in dataclasses.fields(self)} | self._defaults()
        told = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        sizes = ", ".join(f"{name}={value!r}" for name, value in told.items() if value != usual[name])
        return f"Architecture({sizes})"

    def replace(self, **changes: Any) -> Architecture:
        """A variant. Sizes that had their default (d_head, d_ff, n_kv_heads, ...) follow the change.

        Example:
            >>> small = Architecture(n_layers=2, d_model=128, n_heads=4, vocab_size=4096, context_length=256)
            >>> small.d_ff, small.replace(d_model=256).d_ff
            (512, 1024)
        """
        _check_names(changes)
        defaults = self._defaults()
        if self.is_gated:
            del defaults["d_ff"]  # a gated width is always given
        if self.n_experts:
            del defaults["d_ff_expert"]
        if self.d_model % self.n_heads:
            del defaults["d_head"]
        follow = {n: None for n, v in defaults.items() if getattr(self, n) == v and n not in changes}
        return dataclasses.replace(self, **{**follow, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, ready for JSON or TOML; `from_dict` reads it back.

        COUNTED_ONLY fields appear where a model has them: what was built, and the identity of its runs, stays.
        """
        absent = {f.name: f.default for f in dataclasses.fields(self)}
        absent |= {"n_window_layers": 0, "d_ff_expert": 0, "d_ff_shared": 0, "d_head_value": self.d_head}
        values = {**dataclasses.asdict(self), "heads": list(self.heads)}
        return {n: v for n, v in values.items() if n not in COUNTED_ONLY or v != absent[n]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Read fields by name; those left out take their defaults.

        Raises:
            UnknownNameError: a name that is no field.
            UsageError: a required field is missing, or a value cannot be built.
        """
        require_kind("values", values, Mapping, "Give the fields by name, as to_dict() does.")
        _check_names(values)
        required = [
            f.name
            for f in dataclasses.fields(cls)
            if f.default is dataclasses.MISSING and values.get(f.name) is None
        ]
        if required:
            raise UsageError(
                f"an architecture needs {', '.join(required)}; got {', '.join(values) or 'nothing'}."
            )
        return cls(**values)


_TYPES = {f.name: f.type for f in dataclasses.fields(Architecture)}  # as they are written: "int", "bool", ...


def _check_names(values: Mapping[str, Any]) -> None:
    for name in values:
        if name not in _TYPES:
            raise UnknownNameError("architecture field", str(name), _TYPES)


# --- rules that concern several fields at once ---


def _refuse_without(a: Architecture, names: tuple[str, ...], what: str, needed: str) -> None:
    for name in names:
        if getattr(a, name):
            raise UsageError(f"{name} belongs to {what}, got {getattr(a, name)}; give {needed} too.")


def _check_mixture(a: Architecture) -> None:
    """Experts are of a decoder, some but not more than there are for each token, in at least one layer."""
    if not a.n_experts:
        _refuse_without(a, _OF_A_MIXTURE, "a mixture of experts", "n_experts")
        return
    if a.kind != "decoder":
        raise UsageError(f"a mixture of experts is counted in a decoder only, got kind {a.kind!r}.")
    if not 1 <= a.n_experts_per_token <= a.n_experts:
        raise UsageError(
            f"n_experts_per_token must be from 1 to the {a.n_experts} of n_experts, got {a.n_experts_per_token}: "
            "it says how many experts a token passes."
        )
    if not a.d_ff_expert:
        raise UsageError("a mixture of experts needs d_ff_expert, the width of one expert, got 0.")
    if a.n_dense_layers >= a.n_layers:
        raise UsageError(
            f"n_dense_layers must leave a layer for the experts, got {a.n_dense_layers} of {a.n_layers} layers."
        )
    if bool(a.n_shared_experts) != bool(a.d_ff_shared):
        raise UsageError(
            f"n_shared_experts and their width d_ff_shared go together, got {a.n_shared_experts} and {a.d_ff_shared}."
        )
    if a.shared_expert_gate and not a.n_shared_experts:
        raise UsageError("shared_expert_gate weighs the shared experts: give n_shared_experts too.")


def _check_latent_attention(a: Architecture) -> None:
    """Latents belong to multi-head latent attention, which has all its heads and a rotary part of its own."""
    if not a.d_latent_kv:
        _refuse_without(a, ("d_latent_q", "d_head_rope"), "latent attention", "d_latent_kv")
        if a.d_head_value != a.d_head:
            raise UsageError(
                f"d_head_value other than d_head belongs to latent attention, got {a.d_head_value} beside {a.d_head}; "
                "give d_latent_kv too."
            )
        return
    if a.kind != "decoder" or a.n_kv_heads != a.n_heads:
        raise UsageError(
            f"latent attention is of a decoder with as many key as query heads, got kind {a.kind!r}, "
            f"n_heads {a.n_heads} and n_kv_heads {a.n_kv_heads}."
        )
    if not 0 < a.d_head_rope < a.d_head:
        raise UsageError(
            f"d_head_rope is the rotary part of d_head {a.d_head} in latent attention and must lie inside it, "
            f"got {a.d_head_rope}."
        )


def _check_window(a: Architecture) -> None:
    """A window is of some layers of a decoder."""
    if bool(a.attention_window) != bool(a.n_window_layers):
        raise UsageError(
            f"attention_window and n_window_layers go together, got {a.attention_window} and {a.n_window_layers}."
        )
    if a.attention_window and (a.kind != "decoder" or a.n_window_layers > a.n_layers):
        raise UsageError(
            f"n_window_layers are layers of a decoder, got {a.n_window_layers} in a {a.kind} of {a.n_layers} layers."
        )


def _check_stacks(a: Architecture) -> None:
    """What belongs to two stacks is given to two stacks only."""
    if a.kind != "encoder_decoder" and (a.n_decoder_layers or a.share_stacks):
        raise UsageError(
            f"n_decoder_layers and share_stacks belong to an encoder_decoder, got kind {a.kind!r}; "
            "the blocks of a single stack are n_layers."
        )
    if a.kind == "encoder_decoder" and a.n_decoder_layers < 1:
        raise UsageError("an encoder_decoder needs n_decoder_layers >= 1, got 0.")
    if a.share_stacks and a.n_layers != a.n_decoder_layers:
        raise UsageError(
            f"share_stacks needs equal stacks, got n_layers {a.n_layers} and n_decoder_layers "
            f"{a.n_decoder_layers}."
        )
    if a.d_embedding != a.d_model and a.kind != "encoder":
        raise UsageError(
            f"d_embedding other than d_model is for encoders (ELECTRA), got {a.d_embedding} for a {a.kind}."
        )


def _check_relative_bias(a: Architecture) -> None:
    """Half the buckets of a side are exact, and at least one; the others reach on to the largest distance."""
    least = 2 if a.kind == "decoder" else 4  # an encoder has two sides
    if a.n_relative_buckets < least:
        raise UsageError(
            f"n_relative_buckets must be >= {least} for kind {a.kind!r}, got {a.n_relative_buckets}."
        )
    n_exact = a.n_relative_buckets // (4 if a.kind == "encoder" else 2)
    if a.relative_max_distance <= n_exact:
        raise UsageError(
            f"relative_max_distance must be above the {n_exact} distances that {a.n_relative_buckets} "
            f"n_relative_buckets tell apart exactly, got {a.relative_max_distance}."
        )
