"""Span corruption (T5): runs of tokens leave the input, a sentinel for each, and are to be written out in turn.

    text     Thank you for inviting me to your party last week
    input    Thank you <0> me to your party <1> week </s>
    target   <0> for inviting <1> last </s>

15 % of the tokens, in spans of 3 on average: both numbers are exact for a window, where the lengths are random.
Source: Raffel et al. 2020, arXiv:1910.10683, section 3.1.4, and the authors' random_spans_noise_mask. Ours differs from
the paper's figure 2, as the authors' code does: </s> stands where the figure ends with one more sentinel.
"""

# B windows, T tokens, K spans of each

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.errors import UsageError
from scaling.lm.objectives.examples import IGNORED, Examples, Ids, Mask, SpecialTokens, check_rate, uniforms


@dataclass(frozen=True, kw_only=True)
class SpanLengths:
    """How long what is."""

    n_tokens: int  # of the text
    n_hidden: int
    n_spans: int

    @property
    def n_inputs(self) -> int:
        """Tokens the encoder reads: kept ones, a sentinel a span, the end."""
        return self.n_tokens - self.n_hidden + self.n_spans + 1

    @property
    def n_targets(self) -> int:
        """Tokens the decoder writes: hidden ones, a sentinel a span, the end."""
        return self.n_hidden + self.n_spans + 1


def span_lengths(n_tokens: int, rate: float = 0.15, mean_span: float = 3.0) -> SpanLengths:
    """Lengths for a text of `n_tokens`. At least one token is hidden, and one kept before each span."""
    check_rate("rate", rate)
    if n_tokens < 2 or mean_span < 1:
        raise UsageError(
            f"spans need a text of 2 tokens and a mean of 1 or more; got {n_tokens} tokens and {mean_span}."
        )
    n_hidden = min(max(round(n_tokens * rate), 1), n_tokens - 1)
    n_spans = min(max(round(n_hidden / mean_span), 1), n_hidden, n_tokens - n_hidden)
    return SpanLengths(n_tokens=n_tokens, n_hidden=n_hidden, n_spans=n_spans)


def lengths_for_inputs(n_inputs: int, rate: float = 0.15, mean_span: float = 3.0) -> SpanLengths:
    """The longest text whose damaged form fits `n_inputs`: 512 gives 568 tokens and 114 targets, as in T5's code."""
    if n_inputs < 3:
        raise UsageError(f"a damaged text has a token, a sentinel and an end: 3 inputs; got {n_inputs}.")
    n_tokens = 2
    while span_lengths(n_tokens + 1, rate, mean_span).n_inputs <= n_inputs:
        n_tokens += 1
    return span_lengths(n_tokens, rate, mean_span)


def corrupt_spans(
    ids: Ids, special: SpecialTokens, *, seed: int, numbers: Ids, rate: float = 0.15, mean_span: float = 3.0
) -> Examples:
    """Hide spans of windows (B, T), all of the same length."""
    special.check(ids)
    lengths = span_lengths(ids.shape[1], rate, mean_span)
    hidden, starts = _draw_spans(lengths, seed, numbers)
    span = np.cumsum(starts, axis=1) - 1
    sentinels = special.sentinel(np.arange(lengths.n_spans))
    end = np.full((len(ids), 1), special.need("end"))
    marked = np.where(starts, sentinels[span], ids)
    inputs = marked[~hidden | starts].reshape(len(ids), -1)
    targets = np.empty((len(ids), lengths.n_targets - 1), dtype=np.int64)
    rows, places = np.nonzero(hidden)
    # a hidden token stands behind those hidden before it and one sentinel a span, its own included
    position = np.cumsum(hidden, axis=1)[rows, places] + span[rows, places]
    targets[rows, position] = ids[rows, places]
    first = starts[rows, places]
    targets[rows[first], position[first] - 1] = marked[rows[first], places[first]]
    targets = np.concatenate([targets, end], axis=1)
    return Examples(
        ids=np.concatenate([inputs, end], axis=1),
        targets=targets,
        decoder_ids=shifted(targets, special.need("pad")),
    )


def shifted(targets: Ids, start: int) -> Ids:
    """What a decoder reads to write `targets`: the start token, then all but the last of them."""
    filled = np.where(targets == IGNORED, start, targets)
    return np.concatenate([np.full((len(targets), 1), start), filled[:, :-1]], axis=1)


def restore_spans(inputs: Ids, targets: Ids, special: SpecialTokens) -> Ids:
    """The text of one input and its target, (T,): the exact inverse of `corrupt_spans`."""
    first, end = special.vocab_size - special.n_sentinels, special.need("end")
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for token in targets[targets != end].tolist():
        if token >= first:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    text: list[int] = []
    for token in inputs[inputs != end].tolist():
        text.extend(spans.get(token, []) if token >= first else [token])
    return np.array(text, dtype=np.int64)


def _draw_spans(lengths: SpanLengths, seed: int, numbers: Ids) -> tuple[Mask, Mask]:
    """(B, T) hidden tokens, and the first of each span: kept and hidden runs take turns, a kept one first."""
    n_kept = lengths.n_tokens - lengths.n_hidden
    kept = _partition(n_kept, lengths.n_spans, seed, "kept", numbers)
    hidden = _partition(lengths.n_hidden, lengths.n_spans, seed, "hidden", numbers)
    B, K = kept.shape
    runs = np.stack([kept, hidden], axis=2).reshape(B, 2 * K)
    is_hidden = np.tile([False, True], K)
    mask = np.repeat(np.tile(is_hidden, B), runs.ravel()).reshape(B, lengths.n_tokens)
    starts = mask.copy()
    starts[:, 1:] &= ~mask[:, :-1]
    return mask, starts


def _partition(n_items: int, n_parts: int, seed: int, use: str, numbers: Ids) -> Ids:
    """(B, n_parts) positive sizes of sum `n_items`, every such tuple as likely as any other."""
    if n_parts == 1:
        return np.full((len(numbers), 1), n_items)
    order = uniforms(seed, use, numbers, n_items - 1)
    cuts = np.sort(np.argpartition(order, n_parts - 2, axis=1)[:, : n_parts - 1], axis=1) + 1
    edges = np.pad(cuts, ((0, 0), (1, 1)))
    edges[:, -1] = n_items
    return np.diff(edges, axis=1)
