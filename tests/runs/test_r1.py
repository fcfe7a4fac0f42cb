"""Units applied twice, sums taken for perplexities, and losses above the table's own vocabulary are told."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from scaling.runs import Finding, check_runs, load_runs

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
