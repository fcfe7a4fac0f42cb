"""Next-sentence prediction (BERT): does the second segment follow the first in its document?

[CLS] first [SEP] second [SEP], segments 0 and 1; half of the seconds are the true next sentence (label 0), half a
sentence of another document (label 1).
Source: Devlin et al. 2019, arXiv:1810.04805, task 2 and appendix A.2. Ours differs: a segment is one sentence, where
BERT fills both up to 512 tokens; hand over runs of sentences for that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaling.errors import DataError, UsageError
from scaling.lm.objectives.examples import IGNORED, Examples, Ids, SpecialTokens, pad_right, uniforms

Document = Sequence[Sequence[int]]  # its sentences, as ids


def sentence_pairs(
    documents: Sequence[Document],
    special: SpecialTokens,
    *,
    seed: int,
    numbers: Ids,
    length: int,
) -> Examples:
    """One pair for each of `numbers`; every token of text is a target, to be thinned by `mask_tokens`.

    Args:
        documents: at least two with a sentence, one of them with two.
        length: longest pair, special tokens included; the longer segment gives way at its end.
    """
    if length < 5:
        raise UsageError(f"a pair needs three special tokens and a token a segment: length 5; got {length}.")
    firsts = np.array([(d, i) for d, text in enumerate(documents) for i in range(len(text) - 1)])
    n_filled = sum(1 for text in documents if len(text))
    if n_filled < 2 or not len(firsts):
        raise DataError(
            f"pairs need two documents, one of them with two sentences; got {n_filled} with text and "
            f"{len(firsts)} neighbouring sentences."
        )
    follows, first, other, sentence = uniforms(seed, "pair", numbers, 4).T
    labels = (follows >= 0.5).astype(np.int64)
    pairs = [
        _pair(documents, firsts[int(f * len(firsts))], bool(label), o, s)
        for f, label, o, s in zip(first, labels, other, sentence)
    ]
    rows, segments = zip(*(_joined(a, b, special, length) for a, b in pairs))
    ids, keep = pad_right(rows, special.need("pad"))
    segment_ids, _ = pad_right(segments, 0, ids.shape[1])
    special.check(ids)
    return Examples(
        ids=ids,
        targets=np.where(special.is_special[ids], IGNORED, ids),
        keep=keep,
        segment_ids=segment_ids,
        sentence_labels=labels,
    )


def _pair(
    documents: Sequence[Document], place: Ids, random: bool, other: float, sentence: float
) -> tuple[Sequence[int], Sequence[int]]:
    document, index = int(place[0]), int(place[1])
    text = documents[document]
    if not random:
        return text[index], text[index + 1]
    strangers = [d for d in documents[:document] if len(d)] + [d for d in documents[document + 1 :] if len(d)]
    stranger = strangers[int(other * len(strangers))]
    return text[index], stranger[int(sentence * len(stranger))]


def _joined(a: Sequence[int], b: Sequence[int], special: SpecialTokens, length: int) -> tuple[Ids, Ids]:
    """[CLS] a [SEP] b [SEP] and its segments; the longer of the two is cut first, as BERT does."""
    room = length - 3
    n_a, n_b = len(a), len(b)
    n_a = min(n_a, max(room - n_b, (room + 1) // 2))
    n_b = min(n_b, room - n_a)
    end = special.need("end")
    row = [special.need("start"), *a[:n_a], end, *b[:n_b], end]
    return np.array(row, dtype=np.int64), np.repeat([0, 1], [n_a + 2, n_b + 1])
