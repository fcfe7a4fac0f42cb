"""Parameters of an architecture, exact, in closed form.

Which count when: `total` is what Hoffmann et al. fit and what a checkpoint holds; `non_embedding` is Kaplan et
al.'s N; `matmul` is what 6 FLOPs a weight and token applies to, since an embedding lookup multiplies nothing.
A tied head is the token embedding, so it adds nothing to `total` and everything to `matmul`.
In a mixture of experts `total` is what is held in memory, and `active`, without the experts that a token does not pass,
what it computes with: the N of C = 6 N D. The two are the same in a dense model.
"""

from __future__ import annotations

from typing import NamedTuple

from scaling.architecture import Architecture
from scaling.arguments import require_kind
from scaling.blocks import Blocks, Table, Text
from scaling.jsonable import fields_of
from scaling.lazy import RENDERERS
from scaling.translation import tr
from scaling.units import format_params, format_percent


class ParamCounts(NamedTuple):
    """Parameters by kind. The first eleven are disjoint and add up to `total`.

    Args:
        token_embedding: the table of vocab_size rows.
        position_embedding: learned positions, or T5's relative bias tables.
        segment_embedding: BERT's token types.
        embedding_projection: ELECTRA's map from d_embedding to d_model, with its bias.
        attention: self-attention, biases and Transformer-XL's position projection included.
        cross_attention: of the decoder in an encoder_decoder.
        mlp: both or all three matrices, with biases; in a mixture of its dense layers and shared experts.
        experts: all that a router chooses from.
        router: the routers, and the gate of the shared experts.
        norm: every norm but that of an mlm head.
        head: what the heads add; vocab_size d_model for an untied lm head, nothing for a tied one.
        vocabulary_head: the part of `head` that is an untied lm matrix, and the bias of a tied or untied one.
        idle: the part of `experts` that a token does not pass.
        matmul: weights that multiply every token: blocks, embedding projection and heads (a tied head counted),
            no biases, norms or lookups. The pooler and the nsp head act once a sequence and are left out.
    """

    token_embedding: int
    position_embedding: int
    segment_embedding: int
    embedding_projection: int
    attention: int
    cross_attention: int
    mlp: int
    experts: int
    router: int
    norm: int
    head: int
    vocabulary_head: int
    idle: int
    matmul: int

    @property
    def total(self) -> int:
        """Every parameter once."""
        return (
            self.embedding + self.embedding_projection
            + self.attention + self.cross_attention + self.mlp + self.experts + self.router + self.norm + self.head
        )  # fmt: skip

    @property
    def embedding(self) -> int:
        """Tables that are looked up: tokens, positions, segments."""
        return self.token_embedding + self.position_embedding + self.segment_embedding

    @property
    def non_embedding(self) -> int:
        """Kaplan's N: total without lookup tables and without an untied vocabulary head."""
        return self.total - self.embedding - self.vocabulary_head

    @property
    def active(self) -> int:
        """Parameters that one token passes: total without the experts that the router leaves out."""
        return self.total - self.idle

    @property
    def active_non_embedding(self) -> int:
        """`non_embedding` of the parameters that one token passes."""
        return self.non_embedding - self.idle

    def to_dict(self) -> dict[str, int]:
        """The kinds, the sums and the total, ready for JSON."""
        return fields_of(self, also=("total", "active", "embedding", "non_embedding", "active_non_embedding"))

    def parts(self) -> dict[str, int]:
        """The disjoint kinds that the model has, by name; they add up to `total`."""
        named = {
            tr("token embedding"): self.token_embedding,
            tr("positions"): self.position_embedding,
            tr("segments"): self.segment_embedding,
            tr("embedding projection"): self.embedding_projection,
            tr("attention"): self.attention,
            tr("cross-attention"): self.cross_attention,
            tr("MLP and shared experts") if self.experts else tr("MLP"): self.mlp,
            tr("experts"): self.experts,
            tr("router"): self.router,
            tr("norms"): self.norm,
            tr("heads"): self.head,
        }
        return {name: n for name, n in named.items() if n}

    def summary(self) -> Blocks:
        """The total, then every kind with its share, then the counts that formulas ask for."""
        total = tr("{n:,} parameters", n=self.total)
        active = tr("; {n:,} of them active, which a token passes", n=self.active) if self.experts else ""
        return (Text(total + active), self.table())

    def table(self) -> Table:
        """Every kind with its share, then the sums."""
        sums = [(tr("total"), self.total, tr("what memory holds") if self.experts else "")]
        if self.experts:
            sums.append((tr("active"), self.active, tr("what a token passes: N of 6ND")))
        name = tr("active non-embedding") if self.experts else tr("non-embedding")
        sums.append((name, self.active_non_embedding, tr("Kaplan et al.'s N")))
        sums.append((tr("matmul weights"), self.matmul, tr("multiply every token")))
        rows = [(name, f"{n:,}", format_percent(n / self.total), "") for name, n in self.parts().items()]
        rows += [(name, f"{n:,}", format_params(n), remark) for name, n, remark in sums]
        return Table(headers=("", "", "", ""), rows=rows, remarks=1)

    def _repr_html_(self) -> str:
        html: str = RENDERERS["html"](self.summary())
        return html


HOW = 'Take one by name, find_preset("gpt2"), or make one, Architecture(n_layers=...).'


def count_params(architecture: Architecture) -> ParamCounts:
    """Count the parameters of `architecture` exactly, as a checkpoint holds them (shared weights once).

    Example:
        >>> from scaling.architecture import find_preset
        >>> count_params(find_preset("gpt2")).total
        124439808
    """
    require_kind("architecture", architecture, Architecture, HOW)
    a = architecture
    blocks = a.n_layers if a.share_stacks else a.n_layers + a.n_decoder_layers
    # the vectors u and v, shared by all layers (Dai et al. 2019, section 3.3)
    transformer_xl_biases = 2 * a.d_attention if a.positions == "transformer_xl" else 0
    expert = _mlp_params(a, a.d_ff_expert)
    shared = a.n_sparse_layers * a.n_shared_experts * _mlp_params(a, a.d_ff_shared)
    return ParamCounts(
        token_embedding=a.vocab_size * a.d_embedding,
        position_embedding=_position_params(a),
        segment_embedding=a.n_segments * a.d_embedding,
        embedding_projection=(a.d_embedding + 1) * a.d_model if a.d_embedding != a.d_model else 0,
        attention=blocks * (self_attention_weights(a) + _attention_extras(a)) + transformer_xl_biases,
        cross_attention=a.n_decoder_layers * (projection_weights(a) + _attention_biases(a)),
        mlp=(blocks - a.n_sparse_layers) * _mlp_params(a, a.d_ff) + shared,
        experts=a.n_sparse_layers * a.n_experts * expert,
        router=a.n_sparse_layers * (router_weights(a) + (a.n_experts if a.mlp_bias else 0)),
        norm=_norm_params(a),
        head=_head_params(a),
        vocabulary_head=_vocabulary_head(a),
        idle=a.n_sparse_layers * (a.n_experts - a.n_experts_per_token) * expert,
        matmul=_matmul_weights(a),
    )


def self_attention_weights(a: Architecture) -> int:
    """Matrix weights of one self-attention; Transformer-XL projects the positions too (Dai et al. 2019, W_{k,R})."""
    position_projection = a.d_model * a.d_attention if a.positions == "transformer_xl" else 0
    return projection_weights(a) + position_projection


def projection_weights(a: Architecture) -> int:
    """Query and output d_model x d_attention, key and value d_model x d_kv; through the latents where there are some.

    Latent attention (DeepSeek-V2): the key's latent comes with the rotary part that all heads share; from the latents
    each head gets the rest of its key, and its value.
    """
    if not a.d_latent_kv:
        return a.d_model * (2 * a.d_attention + 2 * a.d_kv)
    query = a.d_latent_q * (a.d_model + a.d_attention) if a.d_latent_q else a.d_model * a.d_attention
    key_and_value = a.n_heads * (a.d_head - a.d_head_rope + a.d_head_value)
    latent = a.d_model * (a.d_latent_kv + a.d_head_rope) + a.d_latent_kv * key_and_value
    return query + latent + a.d_attention_output * a.d_model


def mlp_weights(a: Architecture, d_ff: int) -> int:
    """Two matrices d_model x d_ff, three with a gate."""
    return (3 if a.is_gated else 2) * a.d_model * d_ff


def router_weights(a: Architecture) -> int:
    """Of one layer: a row an expert, and one for the gate of the shared experts."""
    return a.d_model * (a.n_experts + a.shared_expert_gate)


def sparse_weights(a: Architecture) -> int:
    """Matrix weights that one token passes in a layer with experts: router, its experts, the shared ones."""
    passed = a.n_experts_per_token * mlp_weights(a, a.d_ff_expert)
    return router_weights(a) + passed + a.n_shared_experts * mlp_weights(a, a.d_ff_shared)


def stack_mlp_weights(a: Architecture) -> int:
    """Matrix weights of all MLPs that one token passes in a single stack."""
    dense = (a.n_layers - a.n_sparse_layers) * mlp_weights(a, a.d_ff)
    return dense + (a.n_sparse_layers * sparse_weights(a) if a.n_sparse_layers else 0)


def head_weights(a: Architecture) -> int:
    """Matrix weights through which the heads take every token, a tied vocabulary matrix included."""
    lm = a.vocab_size * a.d_model if "lm" in a.heads else 0
    mlm = (a.d_model + a.vocab_size) * a.d_embedding if "mlm" in a.heads else 0
    rtd = (a.d_model + 1) * a.d_model if "rtd" in a.heads else 0
    return lm + mlm + rtd


def embedding_projection_weights(a: Architecture) -> int:
    """ELECTRA's matrix from d_embedding to d_model, without its bias."""
    return a.d_embedding * a.d_model if a.d_embedding != a.d_model else 0


def _matmul_weights(a: Architecture) -> int:
    blocks = a.n_layers + a.n_decoder_layers  # shared stacks still multiply twice
    return (
        blocks * self_attention_weights(a)
        + stack_mlp_weights(a)
        + a.n_decoder_layers * (projection_weights(a) + mlp_weights(a, a.d_ff))
        + embedding_projection_weights(a)
        + head_weights(a)
    )


def _attention_biases(a: Architecture) -> int:
    down = a.d_latent_q + a.d_latent_kv + a.d_head_rope  # DeepSeek's biases are of the maps to the latents
    qkv = (down if a.d_latent_kv else a.d_attention + 2 * a.d_kv) if a.qkv_bias else 0
    return qkv + (a.d_model if a.attention_output_bias else 0)


def _attention_extras(a: Architecture) -> int:
    """What one self-attention has beside its matrices: biases, norms of query, key and latents, sinks."""
    norms = {"none": 0, "head": 2 * a.d_head, "width": a.d_attention + a.d_kv}[a.qk_norm]
    latent_norms = a.d_latent_q + a.d_latent_kv
    return _attention_biases(a) + norms + latent_norms + (a.n_heads if a.attention_sinks else 0)


def _mlp_params(a: Architecture, d_ff: int) -> int:
    """Matrices and biases of one MLP."""
    biases = (2 if a.is_gated else 1) * d_ff + a.d_model
    return mlp_weights(a, d_ff) + (biases if a.mlp_bias else 0)


def _position_params(a: Architecture) -> int:
    stacks = 2 if a.kind == "encoder_decoder" else 1
    if a.positions == "relative_bias":
        return stacks * a.n_relative_buckets * a.n_heads
    return stacks * a.n_positions * a.d_embedding


def _norm_params(a: Architecture) -> int:
    vectors = int(a.norm_scale) + a.norm_bias
    stacks = 2 if a.kind == "encoder_decoder" else 1
    blocks = a.n_layers if a.share_stacks else a.n_layers + a.n_decoder_layers
    per_block = {"both": 4, "parallel_shared": 1}.get(a.norm_position, 2)
    norms = per_block * blocks + a.n_decoder_layers + (stacks if a.has_final_norm else 0)
    embedding = stacks * vectors * a.d_embedding if a.embedding_norm else 0
    return norms * vectors * a.d_model + embedding


def _head_params(a: Architecture) -> int:
    d, e = a.d_model, a.d_embedding
    lm = _vocabulary_head(a)
    mlm = (d + 1) * e + 2 * e + a.vocab_size if "mlm" in a.heads else 0  # dense, layer norm, output bias
    pooler = (d + 1) * d if a.has_pooler else 0
    nsp = 2 * (d + 1) if "nsp" in a.heads else 0
    rtd = (d + 1) * d + d + 1 if "rtd" in a.heads else 0
    return lm + mlm + pooler + nsp + rtd


def _vocabulary_head(a: Architecture) -> int:
    """A tied head shares its matrix, never its bias."""
    own = int(a.head_bias) + (0 if a.tie_embeddings else a.d_model)
    return a.vocab_size * own if "lm" in a.heads else 0
