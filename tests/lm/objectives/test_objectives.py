"""What each objective hides and asks for, in counts over a million tokens, and its exact inverses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scaling.errors import DataError, UsageError
from scaling.lm.objectives.denoising import denoise
from scaling.lm.objectives.examples import IGNORED, SpecialTokens, pad_right, uniforms
from scaling.lm.objectives.masked import mask_tokens, static_numbers
from scaling.lm.objectives.next_sentence import sentence_pairs
from scaling.lm.objectives.prefix import next_token, prefix_mask, split_prefix
from scaling.lm.objectives.spans import corrupt_spans, lengths_for_inputs, restore_spans, span_lengths

SPECIAL = SpecialTokens(vocab_size=1128, pad=0, mask=1, start=2, end=3, n_sentinels=100)
FIRST_TEXT = 4
N_ROWS, LENGTH = 2000, 512  # a million tokens
NUMBERS = np.arange(N_ROWS)


@pytest.fixture(scope="module")
def text():
    return np.random.default_rng(0).integers(FIRST_TEXT, 1028, (N_ROWS, LENGTH))


def within(count: int, n: int, p: float) -> bool:
    """A binomial count no farther from its mean than chance allows once in 10^6."""
    return stats.binomtest(count, n, p).pvalue > 1e-6


def test_masked_tokens_are_chosen_and_hidden_in_berts_shares(text):
    made = mask_tokens(text, SPECIAL, seed=1, numbers=NUMBERS)
    chosen = made.targets != IGNORED
    n = int(chosen.sum())
    assert within(n, text.size, 0.15)
    assert (made.targets[chosen] == text[chosen]).all()
    assert (made.ids[~chosen] == text[~chosen]).all()
    masked, same = made.ids == SPECIAL.mask, made.ids == text
    assert within(int(masked[chosen].sum()), n, 0.8)
    # a random token is the original once in 1,024 draws
    assert within(int((same & chosen).sum()), n, 0.1 + 0.1 / 1024)
    drawn = made.ids[chosen & ~masked & ~same]
    assert not SPECIAL.is_special[drawn].any()
    assert stats.chisquare(np.bincount(drawn, minlength=1028)[FIRST_TEXT:]).pvalue > 1e-6


def test_special_tokens_and_padding_are_never_chosen(text):
    ids = text[:200].copy()
    ids[:, 0], ids[:, 100], ids[:, -1] = SPECIAL.start, SPECIAL.end, SPECIAL.vocab_size - 1
    keep = np.ones(ids.shape, dtype=bool)
    keep[:, 300:] = False
    made = mask_tokens(ids, SPECIAL, seed=1, numbers=NUMBERS[:200], keep=keep, rate=0.9)
    asked = made.targets != IGNORED
    assert not asked[:, [0, 100, -1]].any()
    assert not asked[:, 300:].any()
    assert within(int(asked[:, :300].sum()), 200 * 298, 0.9)


def test_a_static_mask_returns_after_ten_epochs_and_a_dynamic_one_never(text):
    place = np.array([7])

    def masked(number):
        return mask_tokens(text[:1], SPECIAL, seed=3, numbers=number).ids

    static = [masked(static_numbers(place, np.array([epoch]))) for epoch in range(20)]
    assert all((static[e] == static[e + 10]).all() for e in range(10))
    assert len({s.tobytes() for s in static}) == 10
    assert len({masked(place + 1000 * epoch).tobytes() for epoch in range(20)}) == 20


def test_a_text_is_damaged_alike_in_any_batch(text):
    whole = mask_tokens(text[:8], SPECIAL, seed=3, numbers=NUMBERS[:8])
    alone = mask_tokens(text[5:6], SPECIAL, seed=3, numbers=NUMBERS[5:6])
    assert (whole.ids[5] == alone.ids[0]).all()
    ways = {"ways": ("permute", "infill", "delete"), "sentence_ends": np.arange(4, 40), "seed": 3}
    many = denoise(list(text[:8]), SPECIAL, numbers=NUMBERS[:8], **ways)
    one = denoise([text[5]], SPECIAL, numbers=NUMBERS[5:6], **ways)
    assert (many.ids[5][many.ids[5] != SPECIAL.pad] == one.ids[0]).all()


def test_uniform_numbers_are_uniform_and_independent_of_their_neighbours():
    u = uniforms(5, "test", NUMBERS, LENGTH)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-6
    for a, b in ((u[:, 1:], u[:, :-1]), (u[1:], u[:-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / math.sqrt(a.size)


def test_span_lengths_are_those_of_t5s_authors():
    lengths = lengths_for_inputs(512)
    assert (lengths.n_tokens, lengths.n_inputs, lengths.n_targets) == (568, 512, 114)


def test_spans_hide_exactly_the_rate_and_restore_exactly():
    ids = np.random.default_rng(0).integers(FIRST_TEXT, 1028, (1800, 568))
    made = corrupt_spans(ids, SPECIAL, seed=1, numbers=np.arange(1800))
    assert made.ids.shape == (1800, 512)
    assert made.targets.shape == (1800, 114)
    restored = [restore_spans(a, b, SPECIAL) for a, b in zip(made.ids, made.targets)]
    assert (np.array(restored) == ids).all()
    assert (made.decoder_ids[:, 1:] == made.targets[:, :-1]).all()
    assert (made.decoder_ids[:, 0] == SPECIAL.pad).all()
    # 85 tokens in 28 spans, every split as likely: P(first span is one token) = C(83, 26) / C(84, 27)
    first = made.targets[:, 2] == SPECIAL.vocab_size - 2
    assert within(int(first.sum()), 1800, 27 / 84)


@pytest.mark.parametrize("n_tokens", [2, 3, 7, 20, 64])
def test_short_texts_lose_spans_too(n_tokens):
    ids = np.arange(FIRST_TEXT, FIRST_TEXT + n_tokens)[None]
    made = corrupt_spans(ids, SPECIAL, seed=0, numbers=np.array([4]), rate=0.5, mean_span=2)
    assert (restore_spans(made.ids[0], made.targets[0], SPECIAL) == ids[0]).all()
    assert made.ids.shape[1] == span_lengths(n_tokens, 0.5, 2).n_inputs


def infilled(n_rows=2000, rate=0.3):
    """Inputs of infill over texts of different ids each, so that what is gone can be read off."""
    texts = [np.arange(FIRST_TEXT, FIRST_TEXT + LENGTH)] * n_rows
    return denoise(texts, SPECIAL, seed=2, numbers=np.arange(n_rows), ways=["infill"], rate=rate)


def test_infilled_spans_have_poisson_lengths_zero_included():
    lengths = []
    for row in infilled().ids:
        row = row[(row != SPECIAL.pad) & (row != SPECIAL.start)]
        row = np.where(row == SPECIAL.end, FIRST_TEXT + LENGTH, row)
        before = np.where(np.roll(row, 1) < FIRST_TEXT, FIRST_TEXT - 1, np.roll(row, 1))
        before[0] = FIRST_TEXT - 1
        masks = np.flatnonzero(row == SPECIAL.mask)
        assert (np.diff(masks) > 1).all()  # no two spans touch
        lengths += [row[i + 1] - before[i] - 1 for i in masks]
    n_spans = round(0.3 * LENGTH / 3)
    assert len(lengths) == 2000 * n_spans
    counts = np.bincount(lengths, minlength=12)
    expected = stats.poisson(3).pmf(np.arange(11)) * len(lengths)
    observed = np.append(counts[:11], counts[11:].sum())
    assert stats.chisquare(observed, np.append(expected, len(lengths) - expected.sum())).pvalue > 1e-6


def test_infill_of_a_text_too_short_for_its_spans_keeps_the_rest_in_order():
    for seed in range(200):
        made = denoise(
            [np.arange(10, 14)], SPECIAL, seed=seed, numbers=np.array([0]), ways=["infill"], rate=0.9
        )
        kept = made.ids[0][made.ids[0] >= FIRST_TEXT]
        assert (np.diff(kept) > 0).all()
        assert made.targets[0].tolist() == [10, 11, 12, 13, SPECIAL.end]


def test_deletion_masking_and_rotation_keep_what_they_promise(text):
    rows, numbers = list(text), NUMBERS

    def damaged(way):
        made = denoise(rows, SPECIAL, seed=4, numbers=numbers, ways=[way])
        return [r[(r != SPECIAL.pad)][1:-1] for r in made.ids]

    n_left = sum(map(len, damaged("delete")))
    assert within(n_left, text.size, 0.7)
    n_masked = sum(int((r == SPECIAL.mask).sum()) for r in damaged("mask"))
    assert within(n_masked, text.size, 0.3)
    firsts = []
    for row, turned in zip(text, damaged("rotate")):
        shifts = [s for s in np.flatnonzero(row == turned[0]) if (np.roll(row, -s) == turned).all()]
        assert shifts
        firsts.append(shifts[0])
    assert stats.kstest((np.array(firsts) + 0.5) / LENGTH, "uniform").pvalue > 1e-6


def test_permutation_moves_whole_sentences_and_every_order_alike():
    end = 999
    sentences = [[10, end], [20, 21, end], [30, 31, 32]]
    text = np.concatenate(sentences)
    made = denoise(
        [text] * 6000,
        SPECIAL,
        seed=1,
        numbers=np.arange(6000),
        ways=["permute"],
        sentence_ends=np.array([end]),
    )
    orders = {}
    for row in made.ids[:, 1:-1]:
        order = tuple(sorted(range(3), key=lambda i: row.tolist().index(sentences[i][0])))
        assert row.tolist() == [token for i in order for token in sentences[i]]
        orders[order] = orders.get(order, 0) + 1
    assert len(orders) == 6
    assert stats.chisquare(list(orders.values())).pvalue > 1e-6


def documents(n=50, seed=0):
    rng = np.random.default_rng(seed)
    return [
        [np.full(rng.integers(1, 20), FIRST_TEXT + 10 * d + s) for s in range(rng.integers(1, 9))]
        for d in range(n)
    ]


def test_sentence_pairs_are_half_true_neighbours():
    made = sentence_pairs(documents(), SPECIAL, seed=1, numbers=np.arange(20_000), length=64)
    assert within(int(made.sentence_labels.sum()), 20_000, 0.5)
    second = np.array([row[segment == 1][0] for row, segment in zip(made.ids, made.segment_ids)])
    first = made.ids[:, 1]
    document_of = (first - FIRST_TEXT) // 10, (second - FIRST_TEXT) // 10
    follows = made.sentence_labels == 0
    assert (second[follows] == first[follows] + 1).all()
    assert (document_of[0] != document_of[1])[~follows].all()
    assert (made.ids[:, 0] == SPECIAL.start).all()
    ends = (made.ids == SPECIAL.end).sum(axis=1)
    assert (ends == 2).all()


def test_a_pair_too_long_loses_the_end_of_the_longer_segment():
    long = [[np.full(30, 10), np.full(4, 11)], [np.full(4, 12)]]
    made = sentence_pairs(long, SPECIAL, seed=1, numbers=np.arange(4), length=16)
    for row in made.ids:
        assert (row == 10).sum() == 9  # 16 - 3 special - 4
        assert len(row) == 16


def test_masks_over_pairs_leave_their_special_tokens():
    pairs = sentence_pairs(documents(), SPECIAL, seed=1, numbers=np.arange(100), length=64)
    made = mask_tokens(pairs.ids, SPECIAL, seed=1, numbers=np.arange(100), keep=pairs.keep, rate=0.5)
    assert not SPECIAL.is_special[made.targets[made.targets != IGNORED]].any()
    assert (made.ids == SPECIAL.end).sum() == 200


def test_a_prefix_is_seen_whole_and_the_rest_is_predicted():
    windows = np.arange(4, 4 + 9 * 400).reshape(400, 9) % 900 + 4
    made = split_prefix(windows, seed=0, numbers=np.arange(400))
    assert set(made.prefix_lengths) == set(range(1, 9))
    for row, target, window, n in zip(made.ids, made.targets, windows, made.prefix_lengths):
        assert (row == window[:-1]).all()
        assert (target[: n - 1] == IGNORED).all()
        assert (target[n - 1 :] == window[n:]).all()
    mask = prefix_mask(np.array([3]), 5)[0]
    assert mask.tolist() == [
        [True, True, True, False, False],
        [True, True, True, False, False],
        [True, True, True, False, False],
        [True, True, True, True, False],
        [True, True, True, True, True],
    ]
    assert (next_token(windows).targets == windows[:, 1:]).all()


def test_padding_goes_right_and_is_marked():
    ids, keep = pad_right([np.array([5, 6]), np.array([7])], 0)
    assert ids.tolist() == [[5, 6], [7, 0]]
    assert keep.tolist() == [[True, True], [True, False]]
    assert pad_right([np.array([5]), np.array([7])], 0)[1] is None


NO_MASK = SpecialTokens(vocab_size=50, pad=0)
SHORT = np.full((2, 8), 10)
TWO = np.arange(2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mask_tokens(SHORT, NO_MASK, seed=0, numbers=TWO, rate=0.9), "needs a mask token"),
        (lambda: mask_tokens(SHORT, SPECIAL, seed=0, numbers=TWO, rate=1.5), "between 0 and 1; got 1.5"),
        (lambda: mask_tokens(SHORT, SPECIAL, seed=0, numbers=TWO, split=(1, 1, 0)), "sum to 1"),
        (lambda: mask_tokens(SHORT * 0, SPECIAL, seed=0, numbers=TWO), "no token of this batch of 2 x 8"),
        (lambda: mask_tokens(SHORT * 1000, SPECIAL, seed=0, numbers=TWO), "another tokenizer"),
        (
            lambda: corrupt_spans(SHORT, NO_MASK, seed=0, numbers=TWO),
            "spans are hidden and the vocabulary has 0",
        ),
        (lambda: corrupt_spans(SHORT[:, :1], SPECIAL, seed=0, numbers=TWO), "text of 2 tokens"),
        (lambda: denoise([SHORT[0]], SPECIAL, seed=0, numbers=TWO), "permute needs sentence_ends"),
        (lambda: denoise([SHORT[0, :0]], SPECIAL, seed=0, numbers=TWO, ways=["mask"]), "is empty"),
        (lambda: denoise([SHORT[0]], SPECIAL, seed=0, numbers=TWO, ways=["melt"]), "no damage 'melt'"),
        (lambda: sentence_pairs([[[10], [11]]], SPECIAL, seed=0, numbers=TWO, length=16), "two documents"),
        (lambda: sentence_pairs([[[10]], [[11]]], SPECIAL, seed=0, numbers=TWO, length=16), "two sentences"),
        (lambda: sentence_pairs(documents(), SPECIAL, seed=0, numbers=TWO, length=4), "length 5; got 4"),
        (lambda: split_prefix(SHORT[:, :1], seed=0, numbers=TWO), "two ids or more"),
        (lambda: SpecialTokens(vocab_size=10, pad=1, mask=1), "must be different ones"),
        (lambda: SpecialTokens(vocab_size=10, pad=9, n_sentinels=2), "below 8"),
        (lambda: SpecialTokens(vocab_size=3, pad=0, n_sentinels=2), "none left for text"),
    ],
)
def test_what_cannot_be_hidden_is_refused(call, said):
    with pytest.raises((DataError, UsageError), match=said):
        call()
