from __future__ import annotations

import numpy as np
import oracle_generation as g
import pytest
import torch
from oracle_cases import FROZEN

from scaling.lm.sampling import Context, MinP, RepetitionPenalty, Temperature, TopK, TopP, Typical


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    with np.load(FROZEN) as file:
        return dict(file)


@pytest.mark.parametrize("name", g.MODELS)
def test_greedy_ids_equal_frozen(name, frozen):
    assert np.array_equal(g.ours_greedy(name), frozen[f"{name}/greedy"])
    assert np.array_equal(g.ours_ragged(name), frozen[f"{name}/ragged"])


@pytest.mark.parametrize("sampler", g.SAMPLED)
@pytest.mark.parametrize("name", g.MODELS)
def test_sampled_ids_equal_frozen_given_the_same_noise(name, sampler, frozen):
    assert np.array_equal(g.ours_sampled(name, sampler), frozen[f"{name}/{sampler}"])


@pytest.mark.parametrize("beam", g.BEAMS)
@pytest.mark.parametrize("name", g.MODELS)
def test_beam_ids_and_scores_equal_frozen(name, beam, frozen):
    ids, scores = g.ours_beam(name, beam)

    assert np.array_equal(ids, frozen[f"{name}/{beam}"])
    theirs = frozen[f"{name}/{beam}/score"]
    assert not theirs.size or np.allclose(scores, theirs, rtol=1e-5, atol=1e-5)  # float32 sums of 12 terms


@pytest.mark.oracle
@pytest.mark.parametrize("name", g.MODELS)
def test_frozen_ids_are_those_of_the_transformers_installed(name, frozen):
    pytest.importorskip("transformers")
    assert np.array_equal(g.theirs_greedy(name), frozen[f"{name}/greedy"])
    assert np.array_equal(g.theirs_greedy(name, g.RAGGED), frozen[f"{name}/ragged"])
    assert np.array_equal(g.theirs_sampled(name, "all"), frozen[f"{name}/all"])
    assert np.array_equal(g.theirs_beam(name, "beam4_never_1")[0], frozen[f"{name}/beam4_never_1"])


@pytest.mark.oracle
@pytest.mark.parametrize("value", [0.1, 0.5, 0.9])
def test_filters_are_bit_equal_to_those_of_transformers(value):
    process = pytest.importorskip("transformers.generation.logits_process")
    logits = torch.randn(16, 503, generator=torch.Generator().manual_seed(0)) * 3
    ids = torch.randint(0, 503, (16, 20), generator=torch.Generator().manual_seed(1))
    k = int(100 * value)

    for ours, theirs in [
        (Temperature(value), process.TemperatureLogitsWarper(value)),
        (TopK(k), process.TopKLogitsWarper(k)),
        (TopP(value), process.TopPLogitsWarper(value)),
        (MinP(value), process.MinPLogitsWarper(value)),
        (Typical(value), process.TypicalLogitsWarper(value)),
        (RepetitionPenalty(1 + value), process.RepetitionPenaltyLogitsProcessor(1 + value)),
    ]:
        assert torch.equal(ours(logits, Context(ids_RT=ids, step=0)), theirs(ids, logits)), ours


@pytest.mark.oracle
@pytest.mark.parametrize("beam", ["beam4_never_1", "beam4_heuristic_1", "beam4_first_1"])
@pytest.mark.parametrize("ends", [[10, 11], list(range(8)), list(range(20))], ids=["2", "8", "20"])
@pytest.mark.parametrize("name", g.MODELS)
def test_beams_with_several_ends_are_those_of_the_transformers_installed(name, ends, beam):
    pytest.importorskip("transformers")
    assert np.array_equal(g.ours_beam(name, beam, ends)[0], g.theirs_beam(name, beam, ends)[0])
