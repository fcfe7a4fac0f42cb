"""The proof of a law: what would be trained, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_sweeps import tiny_spec

from scaling.accounting import count_params
from scaling.architecture import Architecture
from scaling.errors import UsageError
from scaling.laws.frontier import FrontierLaw
from scaling.runs import Runs
from scaling.sweep.design import design_sweep, read_plan, write_plan
from scaling.sweep.store import Store
from scaling.sweep.verify import KAPLAN, OURS, TWENTY, plan_proof, true_entropy


def test_the_proof_trains_each_advice_at_the_budget() -> None:
    sweep = design_sweep(tiny_spec(), vocab_size=32)
    law = FrontierLaw.from_tokens_per_param(10.0)
    proof = plan_proof(sweep, law, 1e10)
    ours, twenty = proof.advised[OURS], proof.advised[TWENTY]
    assert ours.n_tokens / ours.n_params == pytest.approx(10, rel=0.05)  # shapes hit N within 2 %
    assert twenty.n_tokens / twenty.n_params == pytest.approx(20, rel=0.05)
    assert all(r.flops == pytest.approx(1e10, rel=0.01) for r in proof.design.runs)


def test_kaplans_model_has_his_number_of_parameters_without_embeddings(tmp_path: Path) -> None:
    """And a worker, which reads the plan of the store, builds the same one."""
    sweep = design_sweep(tiny_spec(), vocab_size=32)
    proof = plan_proof(sweep, FrontierLaw.from_tokens_per_param(10.0), 1e13)
    run = proof.advised[KAPLAN]
    counted = count_params(Architecture.from_dict(dict(run.config["architecture"])))
    asked = 1.3e9 * (1e13 / 8.64e19) ** 0.73  # Kaplan et al. 2020, table 6; a PF-day is 8.64e19 FLOPs
    assert counted.non_embedding == pytest.approx(asked, rel=0.02)
    assert run.n_params == counted.total > 1.05 * counted.non_embedding
    read = read_plan(write_plan(Store(tmp_path), proof.design))
    assert [r.run_id for r in read.runs] == [r.run_id for r in proof.design.runs]


@pytest.mark.parametrize("flops", ["6ND", "exact_causal", "palm"])
@pytest.mark.parametrize("params", ["total", "non_embedding"])
def test_twenty_tokens_are_twenty_however_the_sweep_counts(flops: str, params: str) -> None:
    grid = {"flops": flops, "params": params}
    sweep = design_sweep(tiny_spec(grid=grid), vocab_size=32)
    proof = plan_proof(sweep, FrontierLaw.from_tokens_per_param(10.0), 1e10, without=[KAPLAN])
    run = proof.advised[TWENTY]
    counted = count_params(Architecture.from_dict(dict(run.config["architecture"])))
    assert run.n_tokens / counted.total == pytest.approx(20, rel=0.045)  # N within 2 %, and the whole step
    assert run.flops == pytest.approx(1e10, rel=0.01)


def test_a_rule_of_thumb_can_be_left_out_by_name() -> None:
    sweep = design_sweep(tiny_spec(), vocab_size=32)
    proof = plan_proof(sweep, FrontierLaw.from_tokens_per_param(10.0), 1e10, without=[TWENTY])
    assert set(proof.advised) == {OURS}
    assert proof.left_out[TWENTY] == "as asked; it wants 9.13k parameters."  # sqrt(1e10 / 120)


def test_a_proof_says_what_is_doubtful_about_its_runs() -> None:
    sweep = design_sweep(tiny_spec(), vocab_size=32, n_tokens_unique=1e4)
    proof = plan_proof(sweep, FrontierLaw.from_tokens_per_param(10.0), 1e12, without=[TWENTY])
    found = {f.code: f.message for f in proof.findings}
    steps = [r.n_steps for r in proof.design.runs]
    assert f"has {max(steps)} steps" in found["very-long-run"]
    assert f"up to {128 * max(steps) / 1e4:.3g} times" in found["data-repeats"]  # 128 tokens a step


def test_a_budget_inside_the_sweep_proves_nothing() -> None:
    sweep = design_sweep(tiny_spec(), vocab_size=32)
    with pytest.raises(UsageError, match="must exceed"):
        plan_proof(sweep, FrontierLaw.from_tokens_per_param(20.0), 8e7)


def test_the_true_entropy_is_the_loss_without_its_excess() -> None:
    sizes = {"n_params": [1e5, 2e5], "n_tokens": [1e7, 2e7], "loss": [2.0, 1.9]}
    assert true_entropy(Runs.from_arrays(**sizes)) is None
    runs = Runs.from_arrays(**sizes, extras={"excess": np.array([0.5, 0.4])})
    assert true_entropy(runs) == pytest.approx(1.5)
