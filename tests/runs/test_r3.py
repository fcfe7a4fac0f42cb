"""Counts that a table states twice, or not at all, are said before a law is fitted to the wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.runs import Finding, check_runs, load_runs

RNG = np.random.default_rng(5)
N, D = np.geomspace(1e8, 3e9, 25), 10 ** RNG.uniform(9, 10.7, 25)
LOSS = 1.7 + 380 / N**0.34 + 1700 / D**0.36
ONES = np.ones(25)


def finding(code: str, columns: dict[str, object], **options: object) -> Finding | None:
    runs = load_runs(columns, **options)  # type: ignore[arg-type]
    return next((f for f in check_runs(runs) if f.code == code), None)


@pytest.mark.parametrize("name", ["total_params", "n_params", "params"])
def test_a_mixture_known_by_its_experts_asks_for_the_active_parameters(name: str) -> None:
    table = {name: N, "tokens": D, "loss": LOSS, "num_experts": 8 * ONES, "num_experts_per_tok": 2 * ONES}
    found = finding("mixture-of-experts", table)
    assert found is not None
    assert "num_experts" in found.message
    for option in found.remedies:
        assert finding("mixture-of-experts", table, params_convention=option.split()[1]) is None
    assert finding("mixture-of-experts", {**table, "num_experts": ONES}) is None


@pytest.mark.parametrize("name", ["active", "N_act", "N_active", "params_act"])
def test_short_names_of_the_active_parameters(name: str) -> None:
    runs = load_runs({"N_total": N, name: N / 4, "D": D, "C": 1.5 * N * D, "loss": LOSS})
    assert runs.convention.params == "active"
    assert np.allclose(runs.n_params, N / 4)


def test_a_flag_called_active_counts_nothing() -> None:
    assert (
        load_runs({"n_params": N, "n_tokens": D, "loss": LOSS, "active": ONES}).convention.params == "total"
    )
