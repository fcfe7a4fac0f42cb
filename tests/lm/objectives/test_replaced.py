"""ELECTRA's replacements and its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from scaling.lm.objectives.examples import uniforms
from scaling.lm.objectives.replaced import joint_loss, replace_tokens, replaced_loss


def test_replacements_are_drawn_from_the_generator_and_only_where_it_was_asked():
    n_rows, n_tokens = 500, 200
    original = torch.zeros(n_rows, n_tokens, dtype=torch.long)
    masked = torch.zeros(n_rows, n_tokens, dtype=torch.bool)
    masked[:, ::2] = True
    p = torch.tensor([0.5, 0.3, 0.2, 0.0])
    logits = p.log().expand(n_rows, n_tokens, 4)
    u = torch.from_numpy(uniforms(0, "replace", np.arange(n_rows), n_tokens))
    made = replace_tokens(original, masked, logits, u)
    assert (made[~masked] == 0).all()
    counts = torch.bincount(made[masked], minlength=4)
    assert counts[3] == 0
    assert stats.chisquare(counts[:3].numpy(), 50_000 * p[:3].double().numpy()).pvalue > 1e-6


def test_a_token_the_generator_got_right_counts_as_original():
    original = torch.tensor([[5, 6, 7]])
    made = torch.tensor([[5, 9, 7]])
    logits = torch.tensor([[-2.0, 3.0, -1.0]])
    by_hand = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-3)) + math.log1p(math.exp(-1))) / 3
    assert replaced_loss(logits, original, made).item() == pytest.approx(by_hand, abs=1e-6)
    keep = torch.tensor([[True, True, False]])
    kept = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-3))) / 2
    assert replaced_loss(logits, original, made, keep).item() == pytest.approx(kept, abs=1e-6)
    assert joint_loss(torch.tensor(2.0), torch.tensor(0.1)).item() == pytest.approx(7.0)


def test_no_gradient_flows_into_the_generator_through_its_draws():
    logits = torch.zeros(1, 4, 3, requires_grad=True)
    ids = torch.zeros(1, 4, dtype=torch.long)
    made = replace_tokens(ids, torch.ones(1, 4, dtype=torch.bool), logits, torch.rand(1, 4))
    assert not made.requires_grad
