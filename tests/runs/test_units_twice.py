"""Units applied twice, sums taken for perplexities, and losses above the table's own vocabulary are told."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from scaling.findings import Finding
from scaling.runs import check_runs, load_runs

SIZES = list(product(np.geomspace(2e7, 2e9, 5), (5, 10, 20, 40, 80)))
N = np.array([n for n, _ in SIZES])
D = np.array([n * k for n, k in SIZES])
LOSS = 1.7 + 380 / N**0.34 + 1700 / D**0.36


def found(table: dict[str, object], code: str) -> list[Finding]:
    return [f for f in check_runs(load_runs(table)) if f.code == code]


def test_units_in_the_header_over_whole_counts_are_an_error_that_names_each_column() -> None:
    slips = found({"params (M)": N, "tokens (B)": D, "loss": LOSS}, "unit-slip")
    assert [f.severity for f in slips] == ["error", "error"]
    assert "take the unit out of that header" in slips[0].message
    assert "params (M)" in slips[0].message
    assert "tokens (B)" in slips[1].message
    assert not found({"params": N, "tokens": D, "loss": LOSS}, "unit-slip")


def test_one_unit_too_many_is_told_by_compute_or_by_tokens_per_parameter() -> None:
    (compute,) = found({"params": N, "compute (EFLOP)": 6 * N * D, "loss": LOSS}, "unit-slip")
    assert compute.severity == "error"
    assert "compute (EFLOP)" in compute.message
    (tokens,) = found({"params": N, "tokens (k)": D, "loss": LOSS}, "unit-slip")
    assert tokens.severity == "warning"
    assert "tokens (k)" in tokens.message


@pytest.mark.parametrize("name", ["epoch_chinchilla", "llama3_isoflop", "olmo_ladder_final"])
def test_public_tables_have_no_slip(shared_runs: Path, name: str) -> None:
    assert not any(f.code == "unit-slip" for f in check_runs(load_runs(shared_runs / f"{name}.csv")))


@pytest.mark.parametrize("length", [128, 512, 2048])
def test_a_sum_over_a_sequence_is_not_offered_as_a_perplexity(length: int) -> None:
    (slip,) = found({"params": N, "tokens": D, "loss": length * LOSS}, "loss-unit")
    assert slip.remedies == ("--loss-unit other",)
    assert "perplexity" not in slip.message


@pytest.mark.parametrize("loss", [np.exp(LOSS), np.exp(2 * LOSS)])
def test_perplexities_are_still_offered(loss: np.ndarray) -> None:
    (slip,) = found({"params": N, "tokens": D, "loss": loss}, "loss-unit")
    assert slip.remedies == ("--loss-unit perplexity", "--loss-unit other")


def test_losses_above_the_tables_own_vocabulary_name_it() -> None:
    table = {"params": N, "tokens": D, "loss": 3 * LOSS}
    assert not found(table, "loss-unit")
    (slip,) = found(table | {"vocab_size": np.full(25, 512)}, "loss-unit")
    assert slip.severity == "error"
    assert "among 512 tokens of the table's vocabulary" in slip.message
    assert not found(table | {"vocab_size": np.full(25, 50257)}, "loss-unit")
    assert not found(table | {"vocab_size": np.full(25, 32)}, "loss-unit")  # thousands
