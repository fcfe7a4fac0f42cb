"""The synthetic language: its entropy by three routes, its text by two engines, its determinism by a hash."""

from __future__ import annotations

import hashlib
import math
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from scaling.errors import UsageError
from scaling.lm.corpus.hashing import Permutation
from scaling.lm.corpus.synthetic import FRESH_PROBABILITY, SUCCESSOR_WEIGHTS, SyntheticLanguage


@pytest.mark.parametrize(
    ("bits", "digest"),
    [
        (7, "25089efbae28ae2853ced27f2f7d5a1ee3e664a98395d24901b1f074d4ff1680"),
        (12, "8a0411750596dbaae8687d59a448733e854eedf0037419ecca0f9b5a7315d2f3"),
    ],
)
def test_first_million_tokens_never_change(bits: int, digest: str) -> None:
    ids = SyntheticLanguage(bits=bits, seed=0).windows(0, 4000, 256).reshape(-1)[:1_000_000]
    assert hashlib.sha256(ids.astype("<u2").tobytes()).hexdigest() == digest


@pytest.mark.parametrize(("bits", "half_entropy"), [(7, 3.08876), (9, 3.2707), (12, 3.3718)])
def test_fresh_word_entropy_is_the_known_value(bits: int, half_entropy: float) -> None:
    # computed independently before; half a unit of the last printed digit
    digits = 5e-6 if bits == 7 else 5e-5
    assert SyntheticLanguage(bits=bits).word_entropy / 2 == pytest.approx(half_entropy, abs=digits)


def test_word_probabilities_sum_to_one_and_match_the_formula() -> None:
    language = SyntheticLanguage(bits=7)
    k = np.arange(1, language.n_words + 1)
    p = language.word_probability(k)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    z = 11**-0.4 - (language.n_words + 11) ** -0.4
    assert_allclose(
        p, ((k + 10.0) ** -0.4 - (k + 11.0) ** -0.4) / z, rtol=1e-9
    )  # the plain form cancels 1e-10


def _brute_force(language: SyntheticLanguage) -> tuple[np.ndarray, np.ndarray]:
    """Transition matrix and stationary law over all words, straight from the definition."""
    words = np.arange(1, language.n_words + 1)
    matrix = np.tile(FRESH_PROBABILITY * language.word_probability(words), (language.n_words, 1))
    for slot, weight in enumerate(SUCCESSOR_WEIGHTS):
        target = language.successors(words, np.full_like(words, slot))
        np.add.at(matrix, (words - 1, target - 1), (1 - FRESH_PROBABILITY) * weight)
    stationary = np.full(language.n_words, 1 / language.n_words) @ np.linalg.matrix_power(matrix, 200)
    return matrix, stationary


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_entropy_equals_brute_force_over_all_words(seed: int) -> None:
    language = SyntheticLanguage(bits=4, seed=seed)
    matrix, stationary = _brute_force(language)
    expected = -(stationary[:, None] * matrix * np.log(matrix)).sum() / 2
    assert language.entropy().value == pytest.approx(expected, abs=1e-10)


def test_entropy_is_the_mean_surprise_of_its_text() -> None:
    language = SyntheticLanguage(bits=7, seed=3)
    per_window = -np.nanmean(language.log_probabilities(language.windows(0, 6000, 130, stream=5)), axis=1)
    standard_error = per_window.std() / math.sqrt(len(per_window))
    assert standard_error < 0.004
    assert per_window.mean() == pytest.approx(language.entropy().value, abs=3.5 * standard_error)


def test_sampled_entropy_agrees_with_the_exact_sum() -> None:
    language = SyntheticLanguage(bits=7, seed=1)
    exact, sampled = language.entropy(method="exact"), language.entropy(method="sampled")
    assert exact.standard_error == 0
    assert sampled.value == pytest.approx(exact.value, abs=4 * sampled.standard_error)


def test_entropy_of_five_seeds_lies_where_it_was_seen() -> None:
    # another successor hash gave 1.475 to 1.482 over five seeds: same law, other tables
    values = [SyntheticLanguage(bits=7, seed=seed).entropy().value for seed in range(5)]
    assert np.mean(values) == pytest.approx(1.478, abs=0.01)


def test_token_probabilities_equal_brute_force_and_sum_to_one() -> None:
    language = SyntheticLanguage(bits=4, seed=2)
    matrix, _ = _brute_force(language)
    before = 17
    rows = np.array([[before, word] for word in range(1, language.n_words + 1)])
    log_p = language.log_probabilities(language.spell(rows))
    assert np.isnan(log_p[:, :2]).all()
    assert_allclose(np.exp(log_p[:, 2] + log_p[:, 3]), matrix[before - 1], rtol=1e-12)
    first = language.spell(rows)[:, 2]
    per_first = {int(f): math.exp(p) for f, p in zip(first, log_p[:, 2])}
    assert sum(per_first.values()) == pytest.approx(1, abs=1e-12)


def test_windows_start_in_the_stationary_law() -> None:
    language = SyntheticLanguage(bits=2, seed=1)
    _, stationary = _brute_force(language)
    first = language.words_of(language.windows(0, 40_000, 2))[:, 0]
    counts = np.bincount(first, minlength=17)[1:]
    expected = stationary * len(first)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 37.7  # 15 degrees of freedom, probability .001


def test_a_window_does_not_depend_on_its_neighbours() -> None:
    language = SyntheticLanguage(bits=5, seed=4)
    together = language.windows(100, 50, 33, stream=8)
    assert_array_equal(together[7:9], language.windows(107, 2, 33, stream=8))
    assert (language.windows(100, 50, 33, stream=9) != together).any()


def test_spelling_is_a_bijection_with_disjoint_alphabets() -> None:
    language = SyntheticLanguage(bits=5)
    words = np.arange(1, language.n_words + 1)[None]
    ids = language.spell(words)
    assert ids[:, 0::2].max() < 32 <= ids[:, 1::2].min()
    assert len({tuple(pair) for pair in ids.reshape(-1, 2)}) == language.n_words
    assert_array_equal(language.words_of(ids), words)
    with pytest.raises(UsageError, match="start at a first token"):
        language.words_of(ids[:, 1:-1])


@pytest.mark.parametrize("bits", [3, 7, 11])
def test_torch_makes_the_same_ids(bits: int) -> None:
    torch = pytest.importorskip("torch")
    from scaling.lm.corpus.synthetic_torch import TorchSyntheticLanguage

    language = SyntheticLanguage(bits=bits, seed=6)
    ours = TorchSyntheticLanguage(language, "cpu").windows(41, 300, 65, stream=2)
    assert ours.dtype == torch.int64
    assert_array_equal(ours.numpy(), language.windows(41, 300, 65, stream=2))


def test_dozens_of_tokens_share_the_cost_of_a_call() -> None:
    """The work is NumPy's. Seconds are measured by benchmarks/corpus_speed.py: here a neighbour would change them."""
    language = SyntheticLanguage(bits=7)
    language.windows(0, 8, 256)  # builds the successor table

    def n_calls(count: int) -> int:
        calls = []
        sys.setprofile(lambda frame, event, argument: calls.append(event))
        try:
            language.windows(0, count, 256)
        finally:
            sys.setprofile(None)
        return len(calls)

    assert n_calls(4096) < 4096 * 256 / 50


@pytest.mark.parametrize("n", [1, 2, 3, 17, 1000, 4097])
def test_permutation_is_a_bijection_for_every_key(n: int) -> None:
    for key in range(3):
        assert_array_equal(np.sort(Permutation(n, key)(np.arange(n))), np.arange(n))


def test_permutations_of_two_keys_are_unrelated() -> None:
    a, b = Permutation(5000, 1)(np.arange(5000)), Permutation(5000, 2)(np.arange(5000))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.05  # standard deviation .014
    assert abs(np.corrcoef(a, np.arange(5000))[0, 1]) < 0.05


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"bits in 2\.\.14"):
        SyntheticLanguage(bits=20)
    with pytest.raises(UsageError, match="length >= 2"):
        SyntheticLanguage().windows(0, 1, 1)
