"""A model one can build, and how to train it.

The shape: layers, width, heads and MLP in hardware multiples, with N* parameters within 2 %.

The shape is Llama's (RMS pre-norm, SwiGLU, rotary positions, no biases), whose count is exact in closed form:
N = L (2 d (d + d_kv) + 3 d f + 2 d) + d + V d (1 or 2).
Rules, each from published models rather than from theory (the loss is flat in shape: Kaplan et al. 2020, fig. 5,
under 3 % from an aspect ratio of 10 to 200):
- aspect ratio d/L from 32 at 30M to 128 at 7B and above (GPT-3, Llama, Qwen, Chinchilla lie around that line);
- heads of 64 below a width of 1024, of 128 from there; 8 key-value heads from a width of 4096 (grouped queries);
- MLP width near 8/3 d; widths in multiples of 16 (of 8 for the MLP under 128), from 256 or 512 of 64, from 1024 of
  128, from 4096 of 256: matmul tiles and tensor-parallel splits;
- vocabulary padded to a multiple of 128 (64 under a width of 1024); embeddings tied where one matrix exceeds 10 % of N.
The schedule: batch size, learning rate and warm-up, as published laws say, each with its source and the range it was
fitted on. Use which when: the Step Law knows N and D separately and is fitted on more runs, so it is the plan's choice;
the DeepSeek law knows C only and is shown beside it. Outside their range both are extrapolations, and said to be.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

from scaling.accounting.params import count_params
from scaling.architecture import Architecture
from scaling.arguments import is_number, require_known, require_whole
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.errors import PlanError, UsageError, shown
from scaling.jsonable import fields_of
from scaling.reference.batch_laws import DEEPSEEK, STEP_LAW, deepseek_settings, step_law_settings
from scaling.translation import tr
from scaling.units import format_params

DEFAULT_VOCAB = 32_000  # of the runs behind the default law (Hoffmann et al. 2022: SentencePiece, 32,000)
DEFAULT_CONTEXT = 2048  # of the same runs
SMALL_VOCABS = (32_000, 16_384, 8_192, 4_096, 2_048, 1_024, 512, 256)
VOCABULARY_LIMIT = 0.4  # share of N in the embedding above which a default vocabulary shrinks
TIE_ABOVE = 0.10
TOLERANCE = 0.02  # of N*; the law's own error is ten times that
WIDTH_MULTIPLES = ((4096, 256), (1024, 128), (256, 64), (0, 16))  # from a width on, its multiple
FF_MULTIPLES = ((4096, 256), (1024, 128), (512, 64), (128, 16), (0, 8))  # from a width on, that of the MLP
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
        UsageError: a vocabulary or context that no model has, or an unknown count.
    Example:
        >>> shape = choose_architecture(1.3e9)
        >>> shape.architecture.n_layers, shape.architecture.d_model
        (24, 2048)
    """
    if not is_number(n_params):
        raise UsageError(f"n_params must be a number, got {shown(n_params)}.")
    require_whole(or_none=True, vocab_size=vocab_size)
    require_whole(context_length=context_length)
    require_known("count", count, get_args(Count))
    if not math.isfinite(n_params) or n_params < 1e4:
        got = format_params(n_params)
        raise PlanError(f"a shape needs at least 10,000 parameters, got {got}. Give a larger budget.")
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
        multiple = 64 if d < 1024 else 128
        padded = math.ceil(vocab / multiple) * multiple
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
    return next(multiple for least, multiple in WIDTH_MULTIPLES if d >= least)


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
    step = next(multiple for least, multiple in FF_MULTIPLES if d >= least)
    return max(step, round(exact / step) * step)


def _body(d: int, n_layers: int, d_ff: int) -> int:
    d_kv = _kv_heads(d) * _head_size(d)
    return n_layers * (2 * d * (d + d_kv) + 3 * d * d_ff + 2 * d) + d


def _penalty(n_params: float, d: int, n_layers: int, d_ff: int, error: float) -> float:
    """Distance from the rules, each term about 1 where a practitioner would object."""
    aspect = math.log(d / n_layers / aspect_ratio(n_params)) / math.log(2)
    ffn = math.log(d_ff / (GATED_RATIO * d)) / math.log(1.5)
    n_heads = d // _head_size(d)
    # tensor parallel over 4 or 8
    awkward_heads = 0.0 if n_heads % 8 == 0 else (0.1 if n_heads % 4 == 0 else 0.2)
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
    share, larger = _vocabulary_share(a), "laws fitted on larger models may not hold"
    notes = []
    if a.vocab_size != vocab:
        notes.append(f"vocabulary of {vocab:,} padded to {a.vocab_size:,} for matmul tiles")
    if not given and vocab != DEFAULT_VOCAB:
        why = f"{DEFAULT_VOCAB:,} would take most of so small a model (--vocab)"
        notes.append(f"vocabulary of {vocab:,} assumed: {why}")
    if share > 0.25:
        notes.append(f"the vocabulary takes {100 * share:.0f} % of the parameters; {larger}")
    return Shape(
        architecture=a,
        n_params=counts.total if count == "total" else counts.non_embedding,
        n_params_total=counts.total,
        n_params_wanted=wanted,
        vocabulary_share=share,
        notes=tuple(notes),
    )


# --- the schedule ---

KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361, eq. 1.4"
WARM_UP_MOST = 0.1


class Advice(NamedTuple):
    """One published law's learning rate and batch (either may be missing) for this run."""

    name: str
    source: str
    fitted_on: str
    inside: bool  # whether the run lies in the fitted range
    learning_rate: float | None
    batch_tokens: float | None


class Schedule(NamedTuple):
    """What to set. `batch_tokens` is a whole number of sequences, near the chosen law's value."""

    context_length: int
    batch_sequences: int
    batch_tokens: int
    n_steps: int
    learning_rate: float
    warm_up_steps: int
    warm_up_tokens: float
    warm_up_source: str
    decay: str
    chosen: str
    n_params_without_vocabulary: float  # the N of the chosen law
    advice: tuple[Advice, ...]


def step_law(n_params_without_vocabulary: float, n_tokens: float) -> Advice:
    """From N without the vocabulary, and D."""
    n, d = n_params_without_vocabulary, n_tokens
    inside = 6e7 <= n <= 1.1e9 and 2e9 <= d <= 1e11
    fitted_on = tr("N 60M to 1B, D 2B to 100B tokens, context 2048")
    return Advice("Step Law", STEP_LAW, fitted_on, inside, *step_law_settings(n, d))


def deepseek_law(flops: float) -> Advice:
    """From C = M D without the vocabulary, near 6 N D."""
    inside = 1e17 <= flops <= 2e19
    return Advice("DeepSeek", DEEPSEEK, tr("C 1e17 to 2e19 FLOPs"), inside, *deepseek_settings(flops))


def critical_batch(loss: float) -> Advice:
    """B_crit = 2.1e8 / L^(1/0.21) tokens: above it, more data per step saves little time."""
    fitted_on, inside = tr("losses 2.2 to 5 nats/token on WebText2"), 2.2 <= loss <= 5
    return Advice("critical batch", KAPLAN, fitted_on, inside, None, 2.1e8 * loss ** (-1 / 0.21))


def choose_schedule(
    n_params: float,
    n_tokens: float,
    loss: float | None,
    *,
    context_length: int,
    n_params_without_vocabulary: float | None = None,
) -> Schedule:
    """Steps, batch, learning rate and warm-up for N parameters on D tokens.

    The batch is the Step Law's, in sequences rounded to 2^k or 3 2^k, and never more than a hundredth of D.
    """
    body = n_params_without_vocabulary or n_params
    chosen = step_law(body, n_tokens)
    others = [deepseek_law(FLOPS_PER_PARAM_TOKEN * n_params * n_tokens)]
    others += [] if loss is None else [critical_batch(loss)]
    assert chosen.batch_tokens is not None
    assert chosen.learning_rate is not None
    most = max(1.0, n_tokens / 100 / context_length)
    sequences = round_sequences(min(chosen.batch_tokens / context_length, most))
    batch = sequences * context_length
    n_steps = max(1, math.ceil(n_tokens / batch))
    warm_up = min(n_params, WARM_UP_MOST * n_tokens)
    return Schedule(
        context_length=context_length,
        batch_sequences=sequences,
        batch_tokens=batch,
        n_steps=n_steps,
        learning_rate=float(f"{chosen.learning_rate:.2g}"),
        warm_up_steps=max(1, round(warm_up / batch)),
        warm_up_tokens=warm_up,
        warm_up_source=tr("Porian et al. 2024, arXiv:2406.19146: N tokens; ours: at most 10 % of D"),
        decay=tr(
            "decay to a tenth by the last step (Hoffmann et al. 2022, app. B: a schedule longer than the run costs "
            "loss)"
        ),
        chosen=chosen.name,
        n_params_without_vocabulary=body,
        advice=(chosen, *others),
    )


def round_sequences(sequences: float) -> int:
    """The nearest (in ratio) of 1, 2, 3, 4, 6, 8, 12, 16, ...: splits evenly over devices and accumulation steps."""
    if sequences <= 1:
        return 1
    k = math.floor(math.log2(sequences))
    candidates = [2**k, 2 ** (k + 1), *([3 * 2 ** (k - 1)] if k >= 1 else [])]
    return int(min(candidates, key=lambda c: abs(math.log(c / sequences))))
