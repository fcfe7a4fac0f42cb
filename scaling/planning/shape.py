"""A model one can build: layers, width, heads and MLP in hardware multiples, with N* parameters within 2 %.

The shape is Llama's (RMS pre-norm, SwiGLU, rotary positions, no biases), whose count is exact in closed form:
N = L (2 d (d + d_kv) + 3 d f + 2 d) + d + V d (1 or 2).
Rules, each from published models rather than from theory (the loss is flat in shape: Kaplan et al. 2020, fig. 5,
under 3 % from an aspect ratio of 10 to 200):
- aspect ratio d/L from 32 at 30M to 128 at 7B and above (GPT-3, Llama, Qwen, Chinchilla lie around that line);
- heads of 64 below a width of 1024, of 128 from there; 8 key-value heads from a width of 4096 (grouped queries);
- MLP width near 8/3 d; widths in multiples of 16 (of 8 for the MLP under 128), from 256 or 512 of 64, from 1024 of
  128, from 4096 of 256: matmul tiles and tensor-parallel splits;
- vocabulary padded to a multiple of 128 (64 under a width of 1024); embeddings tied where one matrix exceeds 10 % of N.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from scaling.accounting.params import count_params
from scaling.architecture import Architecture
from scaling.errors import PlanError, UsageError
from scaling.jsonable import fields_of
from scaling.units import format_params

DEFAULT_VOCAB = 32_000  # of the runs behind the default law (Hoffmann et al. 2022: SentencePiece, 32,000)
DEFAULT_CONTEXT = 2048  # of the same runs
SMALL_VOCABS = (32_000, 16_384, 8_192, 4_096, 2_048, 1_024, 512, 256)
VOCABULARY_LIMIT = 0.4  # share of N in the embedding above which a default vocabulary shrinks
TIE_ABOVE = 0.10
TOLERANCE = 0.02  # of N*; the law's own error is ten times that
GATED_RATIO = 8 / 3  # f / d of a gated MLP with as many weights as 4 d without the gate (Shazeer 2020)

Count = Literal["total", "non_embedding"]


class Shape(NamedTuple):
    """A buildable architecture near a wanted size."""

    architecture: Architecture
    n_params: int  # in the convention asked for
    n_params_total: int
    n_params_wanted: float
    vocabulary_share: float  # of the total
    notes: tuple[str, ...]

    @property
    def relative_error(self) -> float:
        """n_params / n_params_wanted - 1."""
        return self.n_params / self.n_params_wanted - 1

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.architecture.to_dict(),
            **fields_of(self, leave_out=["architecture"], also=["relative_error"]),
        }


def choose_architecture(
    n_params: float,
    *,
    vocab_size: int | None = None,
    context_length: int = DEFAULT_CONTEXT,
    count: Count = "total",
) -> Shape:
    """The decoder of n_params parameters (within 2 %) that balances depth, width and hardware multiples best.

    Args:
        n_params: wanted parameters, >= 1e4, counted as `count` says.
        vocab_size: None takes 32,000, or less for models so small that the embedding would dominate.
        count: "total", or "non_embedding" for laws that leave the vocabulary out.
    Raises:
        PlanError: no shape comes within 2 %: the vocabulary alone is larger than the model.
    """
    if not math.isfinite(n_params) or n_params < 1e4:
        raise PlanError(
            f"a shape needs at least 10,000 parameters, got {format_params(n_params)}. Give a larger budget."
        )
    if vocab_size is not None and not 2 <= vocab_size <= 10_000_000:
        raise UsageError(f"the vocabulary must hold between 2 and 10 million tokens, got {vocab_size}.")
    if not 1 <= context_length <= 100_000_000:
        raise UsageError(f"the context must be between 1 and 100 million tokens, got {context_length}.")
    for vocab in SMALL_VOCABS if vocab_size is None else (vocab_size,):
        best = _best_shape(n_params, vocab, context_length, count)
        small_enough = best is not None and _vocabulary_share(best) <= VOCABULARY_LIMIT
        if best is not None and (vocab_size is not None or small_enough or vocab == SMALL_VOCABS[-1]):
            return _describe(best, n_params, vocab, vocab_size is not None, count)
    raise PlanError(
        f"no shape of {format_params(n_params)} parameters holds a vocabulary of {vocab_size or SMALL_VOCABS[-1]:,}; "
        "give a smaller --vocab or a larger model."
    )


def aspect_ratio(n_params: float) -> float:
    """Width over layers of published models of this size: 32 at 30M, rising to 128 at 7B, and flat beyond."""
    return min(128.0, max(8.0, 32.0 * math.sqrt(math.sqrt(n_params / 3e7))))


def _best_shape(n_params: float, vocab: int, context: int, count: Count) -> Architecture | None:
    """The candidate of least penalty whose exact count is within the tolerance."""
    best, best_penalty = None, math.inf
    for d in _widths(n_params):
        padded = _pad(vocab, 64 if d < 1024 else 128)
        tied = padded * d > TIE_ABOVE * n_params
        embedding = 0 if count == "non_embedding" else padded * d * (1 if tied else 2)
        for n_layers in _depths(n_params, d, embedding):
            d_ff = _fitting_ff(n_params - embedding, d, n_layers)
            error = abs((_body(d, n_layers, d_ff) + embedding) / n_params - 1)
            if error > TOLERANCE or not d <= d_ff <= 6 * d:
                continue
            penalty = _penalty(n_params, d, n_layers, d_ff, error)
            if penalty < best_penalty:
                best, best_penalty = (d, n_layers, d_ff, padded, tied), penalty
    return None if best is None else _architecture(*best, context)


def _widths(n_params: float) -> list[int]:
    """Widths around the one that 12 L d^2 = N and d/L = aspect_ratio give, in hardware multiples."""
    middle = (n_params * aspect_ratio(n_params) / 12) ** (1 / 3)
    step = _multiple(middle)
    low, high = max(1, math.floor(middle * 0.55 / step)), math.ceil(middle * 1.5 / step)
    return [i * step for i in range(low, high + 1)]


def _multiple(d: float) -> int:
    """Grain of the width: under a tenth of it, so that a depth with the right aspect ratio is always near."""
    if d >= 8192:
        return 512 * max(1, int(d / 16384))
    if d >= 4096:
        return 256
    if d >= 1024:
        return 128
    return 64 if d >= 256 else 16


def _ff_multiple(d: int) -> int:
    if d >= 4096:
        return 256
    if d >= 1024:
        return 128
    if d >= 128:
        return 64 if d >= 512 else 16
    return 8


def _head_size(d: int) -> int:
    if d >= 1024:
        return 128
    return 64 if d >= 256 else min(d, 32 if d % 32 == 0 else 16)


def _kv_heads(d: int) -> int:
    n_heads = d // _head_size(d)
    return 8 if d >= 4096 and n_heads % 8 == 0 else n_heads


def _depths(n_params: float, d: int, embedding: float) -> range:
    """Layer counts whose MLP can lie near 8/3 d."""
    middle = (n_params - embedding) / (12 * d * d)
    step = 1 if middle < 32 else (2 if middle < 64 else 4 * max(1, int(middle / 128)))
    low = max(1, math.floor(middle * 0.8 / step))
    return range(low * step, max(1, math.ceil(middle * 1.35)) + 1, step)


def _fitting_ff(body: float, d: int, n_layers: int) -> int:
    """The MLP width, in its multiple, that brings the body nearest to `body` parameters."""
    attention = 2 * d * (d + _kv_heads(d) * _head_size(d)) + 2 * d
    exact = ((body - d) / n_layers - attention) / (3 * d)
    step = _ff_multiple(d)
    return max(step, round(exact / step) * step)


def _body(d: int, n_layers: int, d_ff: int) -> int:
    d_kv = _kv_heads(d) * _head_size(d)
    return n_layers * (2 * d * (d + d_kv) + 3 * d * d_ff + 2 * d) + d


def _penalty(n_params: float, d: int, n_layers: int, d_ff: int, error: float) -> float:
    """Distance from the rules, each term about 1 where a practitioner would object."""
    aspect = math.log(d / n_layers / aspect_ratio(n_params)) / math.log(2)
    ffn = math.log(d_ff / (GATED_RATIO * d)) / math.log(1.5)
    n_heads = d // _head_size(d)
    awkward_heads = (
        0.0 if n_heads % 8 == 0 else (0.1 if n_heads % 4 == 0 else 0.2)
    )  # tensor parallel over 4 or 8
    awkward_layers = 0.0 if n_layers % 4 == 0 else (0.05 if n_layers % 2 == 0 else 0.1)  # pipeline stages
    return (error / 0.02) ** 2 + aspect**2 + ffn**2 + awkward_heads + awkward_layers


def _architecture(d: int, n_layers: int, d_ff: int, vocab: int, tied: bool, context: int) -> Architecture:
    return Architecture(
        n_layers=n_layers,
        d_model=d,
        n_heads=d // _head_size(d),
        n_kv_heads=_kv_heads(d),
        d_head=_head_size(d),
        d_ff=d_ff,
        vocab_size=vocab,
        context_length=context,
        norm="rms",
        activation="swiglu",
        positions="rope",
        qkv_bias=False,
        attention_output_bias=False,
        mlp_bias=False,
        tie_embeddings=tied,
    )


def _vocabulary_share(architecture: Architecture) -> float:
    counts = count_params(architecture)
    return (counts.token_embedding + counts.vocabulary_head) / counts.total


def _describe(a: Architecture, wanted: float, vocab: int, given: bool, count: Count) -> Shape:
    counts = count_params(a)
    share = _vocabulary_share(a)
    notes = []
    if a.vocab_size != vocab:
        notes.append(f"vocabulary of {vocab:,} padded to {a.vocab_size:,} for matmul tiles")
    if not given and vocab != DEFAULT_VOCAB:
        notes.append(
            f"vocabulary of {vocab:,} assumed: {DEFAULT_VOCAB:,} would take most of so small a model (--vocab)"
        )
    if share > 0.25:
        notes.append(
            f"the vocabulary takes {100 * share:.0f} % of the parameters; laws fitted on larger models may not hold"
        )
    return Shape(
        architecture=a,
        n_params=counts.total if count == "total" else counts.non_embedding,
        n_params_total=counts.total,
        n_params_wanted=wanted,
        vocabulary_share=share,
        notes=tuple(notes),
    )


def _pad(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
