"""Transformer-XL's attention scores the relative positions too: three products a query and key, not two.

Dai et al. 2019, eq. 4: q_i k_j and q_i (W R_(i-j)) for the score, and the weighted sum of values.
"""

from __future__ import annotations

import pytest

from scaling.accounting.flops import flop_parts, flops_per_token
from scaling.architecture import find_preset


@pytest.mark.parametrize(("name", "layers", "width"), [("gopher", 80, 16384), ("chinchilla", 80, 8192)])
def test_three_products_of_two_flops_a_query_and_key(name: str, layers: int, width: int) -> None:
    a = find_preset(name)
    pairs = (2048 + 1) / 2  # keys a query sees in a causal sequence of 2048, on average
    forward = layers * 3 * 2 * width * pairs

    assert flop_parts(a, phase="prefill").attention_scores == pytest.approx(forward, rel=1e-12)
    assert flop_parts(a).attention_scores == pytest.approx(3 * forward, rel=1e-12)
    assert flop_parts(a, masked_pairs=True).attention_scores == pytest.approx(
        3 * layers * 6 * width * 2048, rel=1e-12
    )


def test_scores_are_half_as_much_again_as_those_of_learned_positions() -> None:
    xl = find_preset("chinchilla")
    learned = xl.replace(positions="learned")
    assert flop_parts(xl).attention_scores == 1.5 * flop_parts(learned).attention_scores
    for phase in ("train", "decode"):
        more = flops_per_token(xl, phase=phase) - flops_per_token(learned, phase=phase)
        assert more > 0.4 * flop_parts(learned, phase=phase).attention_scores
