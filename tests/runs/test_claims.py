"""What a table says of itself is compared: a contradiction is said, with what would mend it."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.findings import Finding
from scaling.runs import check_runs, load_runs

N = np.geomspace(1e8, 3e9, 12)
D = np.geomspace(4e10, 1e9, 12)
LOSS = 1.7 + 380 / N**0.34 + 1700 / D**0.36


def finding(code: str, **columns: object) -> Finding | None:
    loss = columns.pop("loss", LOSS)
    runs = load_runs({"n_params": N, "n_tokens": D, "loss": loss, **columns})
    return next((f for f in check_runs(runs) if f.code == code), None)


def test_budgets_that_6nd_meets_are_no_news() -> None:
    assert finding("budgets-disagree", budget=6 * N * D * 1.05) is None


def test_budgets_that_another_count_of_parameters_meets_name_it() -> None:
    found = finding("budgets-disagree", budget=6 * (N / 8) * D, expert_params_used=N / 8)
    assert found is not None
    assert found.severity == "error"
    assert found.remedies == ("--column n_params=expert_params_used",)
    assert "8 times the stated budget" in found.message


def test_budgets_that_disagree_by_size_say_so() -> None:
    found = finding("budgets-disagree", budget=6 * N * D / np.geomspace(3, 9, 12))
    assert found is not None
    assert "3 to 9 times" in found.message
    assert "by size" in found.message


def test_budgets_in_another_unit_are_an_error_with_a_way_out() -> None:
    found = finding("budgets-disagree", budget=6 * N * D / 1e18)
    assert found is not None
    assert found.severity == "error"
    assert "budget (EFLOP)" in found.message
    runs = load_runs({"n_params": N, "n_tokens": D, "loss": LOSS, "budget (EFLOP)": 6 * N * D / 1e18})
    assert not any(f.code == "budgets-disagree" for f in check_runs(runs))


def test_flops_counted_in_two_ways_are_told_apart_by_row() -> None:
    two = 6 * N * D * np.where(np.arange(12) < 4, 4 / 3, 1.0)
    found = finding("two-flops-counts", flops=two)
    assert found is not None
    assert found.rows == (1, 2, 3, 4)
    assert "8 N D" in found.message
    assert (
        finding("two-flops-counts", flops=6 * N * D * np.linspace(1, 1.4, 12)) is None
    )  # attention grows smoothly


def test_a_size_below_its_own_embedding_cannot_be_total() -> None:
    small = {"d_model": np.full(12, 4096.0), "vocab_size": np.full(12, 1e6)}  # 4.1e9 above every N
    found = finding("not-total", **small)
    assert found is not None
    assert found.remedies == ("--params-convention non_embedding",)
    assert finding("not-total", d_model=np.full(12, 64.0), vocab_size=np.full(12, 32000.0)) is None


def test_twelve_layers_width_squared_leaves_embeddings_out() -> None:
    width = np.sqrt(N / (12 * 8))
    found = finding("not-total", d_model=width, n_layers=np.full(12, 8))
    assert found is not None
    assert "12 layers width^2" in found.message
    assert finding("not-total", d_model=width * 0.8, n_layers=np.full(12, 8)) is None


@pytest.mark.parametrize(
    ("loss", "first"),
    [(np.exp(LOSS) + 8, "--loss-unit perplexity"), (LOSS * 1024, "--loss-unit other")],
)
def test_no_loss_per_token_lies_above_the_logarithm_of_a_vocabulary(loss: np.ndarray, first: str) -> None:
    found = finding("loss-unit", loss=loss)
    assert found is not None
    assert found.severity == "error"
    assert found.remedies[0] == first


def test_a_sum_over_a_sequence_is_recognised_by_its_length() -> None:
    found = finding("loss-unit", loss=LOSS * 1024, seq_len=np.full(12, 1024))
    assert found is not None
    assert "by the length of a sequence it is 2." in found.message
