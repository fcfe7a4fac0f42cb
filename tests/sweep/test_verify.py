"""The proof of a law: what would be trained, and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_sweeps import tiny_spec

from scaling.errors import UsageError
from scaling.laws.frontier import FrontierLaw
from scaling.runs import Runs
from scaling.sweep.design import design_sweep
from scaling.sweep.verify import KAPLAN, OURS, TWENTY, plan_proof, true_entropy


def test_the_proof_trains_each_advice_at_the_budget() -> None:
    sweep = design_sweep(tiny_spec(), vocab_size=32)
    law = FrontierLaw.from_tokens_per_param(10.0)
    proof = plan_proof(sweep, law, 1e10)
    runs = {r.run_id: r for r in proof.design.runs}
    ours, twenty = runs[proof.run_ids[OURS]], runs[proof.run_ids[TWENTY]]
    assert ours.n_tokens / ours.n_params == pytest.approx(10, rel=0.05)  # shapes hit N within 2 %
    assert twenty.n_tokens / twenty.n_params == pytest.approx(20, rel=0.05)
    assert all(r.flops == pytest.approx(1e10, rel=0.01) for r in runs.values())
    assert "vocabulary" in proof.left_out[KAPLAN]  # it asks for fewer parameters than the vocabulary needs


def test_a_rule_of_thumb_can_be_left_out_by_name() -> None:
    sweep = design_sweep(tiny_spec(), vocab_size=32)
    proof = plan_proof(sweep, FrontierLaw.from_tokens_per_param(10.0), 1e10, without=[TWENTY])
    assert set(proof.run_ids) == {OURS}
    assert proof.left_out[TWENTY] == "as asked; it wants 9.13k parameters."  # sqrt(1e10 / 120)


def test_a_budget_inside_the_sweep_proves_nothing() -> None:
    sweep = design_sweep(tiny_spec(), vocab_size=32)
    with pytest.raises(UsageError, match="must exceed"):
        plan_proof(sweep, FrontierLaw.from_tokens_per_param(20.0), 8e7)


def test_the_true_entropy_is_the_loss_without_its_excess() -> None:
    sizes = {"n_params": [1e5, 2e5], "n_tokens": [1e7, 2e7], "loss": [2.0, 1.9]}
    assert true_entropy(Runs.from_arrays(**sizes)) is None
    runs = Runs.from_arrays(**sizes, extras={"excess": np.array([0.5, 0.4])})
    assert true_entropy(runs) == pytest.approx(1.5)
