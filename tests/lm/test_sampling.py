from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from toy_tables import TableModel, markov_model

from scaling.errors import UsageError
from scaling.lm import (
    Beam,
    Greedy,
    MinP,
    RepetitionPenalty,
    Sample,
    Temperature,
    TopK,
    TopP,
    Typical,
    generate,
)
from scaling.lm.sampling import Context, draw

LOGITS = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()


def context(*ids: int) -> Context:
    return Context(ids_RT=torch.tensor([ids]), step=0)


def kept(*transforms) -> list[int]:
    return torch.nonzero(Sample(*transforms).distribution(LOGITS)).flatten().tolist()


def test_temperature_sharpens_and_flattens():
    p = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05])
    expected = p**2 / (p**2).sum()

    assert torch.allclose(Sample(Temperature(0.5)).distribution(LOGITS), expected)
    assert torch.allclose(Sample(Temperature(1e6)).distribution(LOGITS), torch.full((5,), 0.2), atol=1e-5)
    assert Sample(Temperature(1e-6)).distribution(LOGITS).tolist() == [1, 0, 0, 0, 0]


def test_top_k_renormalises_and_keeps_ties():
    assert Sample(TopK(2)).distribution(LOGITS).tolist() == pytest.approx([5 / 7, 2 / 7, 0, 0, 0])
    assert (Sample(TopK(2)).distribution(torch.tensor([1.0, 1.0, 1.0, 0.0])) > 0).tolist() == [True] * 3 + [
        False
    ]


@pytest.mark.parametrize(("p", "size"), [(0.3, 1), (0.5001, 2), (0.7001, 3), (0.84, 3), (0.86, 4), (1.0, 5)])
def test_nucleus_is_the_smallest_set_that_reaches_p(p, size):
    assert kept(TopP(p)) == list(range(size))


def test_order_is_the_order_written():
    hot_first = Sample(Temperature(4.02), TopP(0.6)).distribution(LOGITS)
    cut_first = Sample(TopP(0.6), Temperature(4.02)).distribution(LOGITS)

    assert (hot_first > 0).sum() == 3
    assert (cut_first > 0).sum() == 2


def test_min_p_is_relative_to_the_best():
    assert kept(MinP(0.29)) == [0, 1, 2]
    assert kept(MinP(1.0)) == [0]


def test_typical_may_drop_the_most_probable():
    logits = torch.tensor(
        [0.4, 0.25, 0.25, 0.04, 0.03, 0.03]
    ).log()  # entropy 1.46: surprise of .25 is 1.39, of .4 .92

    assert torch.nonzero(Sample(Typical(0.4)).distribution(logits)).flatten().tolist() == [1, 2]


def test_repetition_penalty_divides_positive_and_multiplies_negative():
    logits = torch.tensor([[2.0, -2.0, 1.0]])

    assert RepetitionPenalty(2.0)(logits, context(0, 1, 1)).tolist() == [[1.0, -4.0, 1.0]]


def test_any_function_is_a_transform():
    def never_zero(logits, context):
        return logits.index_fill(-1, torch.tensor([0]), -math.inf)

    assert Sample(never_zero).distribution(LOGITS)[0] == 0
    assert Greedy(never_zero).pick(LOGITS[None], context(0), None).tolist() == [1]


CHAINS = [
    (),
    (TopK(5),),
    (Temperature(0.7), TopK(6), TopP(0.8)),
    (TopK(9), Typical(0.7), MinP(0.05)),
    (RepetitionPenalty(1.5), TopK(4)),
    (TopK(4), RepetitionPenalty(1.5)),
    (TopP(0.9), TopK(3), Temperature(2.0)),
]


@given(seed=st.integers(0, 10_000), chain=st.sampled_from(CHAINS), ties=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_short_way_through_top_k_draws_from_the_distribution_shown(seed, chain, ties):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 12, generator=generator) * 2
    logits = logits.round() if ties else logits
    uniform = torch.rand(3, generator=generator, dtype=torch.float64)
    seen = Context(ids_RT=torch.randint(0, 12, (3, 4), generator=generator), step=0)
    sampler = Sample(*chain)

    picked = sampler.pick(logits, seen, uniform)
    p = sampler.distribution(logits, seen).double()
    below = torch.where(torch.arange(12) < picked[:, None], p, 0).sum(-1)
    mass = p.gather(-1, picked[:, None])[:, 0]

    assert torch.allclose(p.sum(-1), torch.ones(3, dtype=torch.float64), atol=1e-6)
    assert (mass > 0).all()
    assert ((below - 1e-6 <= uniform) & (uniform <= below + mass + 1e-6)).all()  # float32 probabilities


def test_draw_never_picks_what_has_no_probability():
    p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).expand(3, 5)

    assert draw(p, torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)).tolist() == [1, 3, 3]


@pytest.mark.parametrize(
    "chain",
    [(), (Temperature(0.5),), (Temperature(4.02), TopK(4)), (TopP(0.8),), (MinP(0.2),), (Typical(0.5),)],
)
def test_samples_follow_the_analytic_distribution(chain):
    model = markov_model("abcdef", [[0.35, 0.25, 0.2, 0.1, 0.07, 0.03]] * 6)
    n = 4000
    found = generate(model, [[0]], None, Sample(*chain, seed=11), max_new_tokens=1, n=n)
    counts = torch.bincount(torch.tensor([g.ids[0] for g in found]), minlength=6)

    p = Sample(*chain).distribution(torch.tensor([0.35, 0.25, 0.2, 0.1, 0.07, 0.03]).log()).double()
    p /= p.sum()
    assert (counts[p == 0] == 0).all()
    assert p[p > 0].numel() == 1 or chisquare(counts[p > 0], n * p[p > 0]).pvalue > 1e-3  # one fixed seed


def test_ancestral_texts_are_as_frequent_as_they_are_probable():
    model = TableModel("ab", {"": {"a": 0.7, "b": 0.3}, "a": {"a": 0.2, "b": 0.8}, "b": {"a": 0.5, "b": 0.5}})
    texts = model.all_texts([], 3)
    n = 4000

    found = generate(model, [""], model, Sample(seed=2), max_new_tokens=3, n=n)

    counts = [sum(g.ids == ids for g in found) for ids in texts]
    expected = [n * math.exp(logprob) for logprob in texts.values()]
    assert chisquare(counts, expected).pvalue > 1e-3
    assert found[0].logprob == pytest.approx(texts[found[0].ids], abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Temperature(0), "for the limit 0 use Greedy"),
        (lambda: Temperature(math.nan), "must be finite"),
        (lambda: TopK(0), "whole number >= 1"),
        (lambda: TopK(2.5), "whole number >= 1"),
        (lambda: TopP(90), r"must lie in \(0, 1\], got 90"),
        (lambda: MinP(0), r"must lie in \(0, 1\]"),
        (lambda: Typical(-1), r"must lie in \(0, 1\]"),
        (lambda: RepetitionPenalty(0), "1 is none"),
        (lambda: Greedy(TopK(5)), "drop it, or use Sample"),
        (lambda: Sample(0.8), "or the like, got 0.8"),
        (lambda: Sample(Temperature), "or the like, got <class"),
        (lambda: Beam(2.5), "whole number of beams >= 1, got 2.5"),
        (lambda: Beam(2, length_penalty=math.nan), "length_penalty must be finite"),
    ],
)
def test_values_out_of_range_are_told(make, message):
    with pytest.raises(UsageError, match=message):
        make()
