"""Counts that a table states twice, or not at all, are said before a law is fitted to the wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.findings import Finding
from scaling.fitting.embeddings import embedding_finding
from scaling.runs import check_runs, load_runs

RNG = np.random.default_rng(5)
N, D = np.geomspace(1e8, 3e9, 25), 10 ** RNG.uniform(9, 10.7, 25)
LOSS = 1.7 + 380 / N**0.34 + 1700 / D**0.36
ONES = np.ones(25)


def finding(code: str, table: dict[str, object], **options: object) -> Finding | None:
    runs = load_runs(table, **options)  # type: ignore[arg-type]
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


def test_compute_of_a_sixth_of_6nd_names_mixtures() -> None:
    table = {"params": N, "tokens": D, "loss": LOSS, "flops": N * D}
    found = finding("flops-disagree", table)
    assert found is not None
    assert "mixtures of experts" in found.message
    assert finding("flops-disagree", {**table, "flops": 5 * N * D}) is None


def test_of_two_columns_of_compute_that_differ_the_note_names_both() -> None:
    runs = load_runs(
        {"n_params": N, "n_tokens": D, "loss": LOSS, "flops": 6 * N * D, "total_flops": 8 * N * D}
    )
    assert any("total_flops differs from flops" in n for n in runs.notes)
    runs = load_runs(
        {"n_params": N, "n_tokens": D, "loss": LOSS, "flops": 6 * N * D, "total_flops": 6 * N * D}
    )
    assert not any("differs" in n for n in runs.notes)


def test_the_count_without_embeddings_of_the_table_is_taken() -> None:
    small = N / 100
    loss = 1.7 + 380 / small**0.34 + 1700 / D**0.36
    runs = load_runs({"n_params": small, "n_params_nonemb": small**1.1 / 10, "n_tokens": D, "loss": loss})
    found = embedding_finding(runs)
    assert found is not None
    assert "does not say" not in found.message
    assert "32k" not in found.message


def test_a_loss_in_bits_is_told_by_its_perplexity() -> None:
    table = {"n_params": N, "n_tokens": D, "loss": LOSS / np.log(2), "ppl": np.exp(LOSS)}
    found = finding("perplexity-disagrees", table)
    assert found is not None
    assert (found.severity, found.remedies) == ("error", ("--loss-unit bits/token",))
    assert finding("perplexity-disagrees", table, loss_unit="bits/token") is None
    assert finding("perplexity-disagrees", {**table, "loss": LOSS}) is None


def test_a_perplexity_of_something_else_is_a_warning() -> None:
    table = {"n_params": N, "n_tokens": D, "loss": LOSS, "ppl": np.exp(1.3 * LOSS)}
    found = finding("perplexity-disagrees", table)
    assert found is not None
    assert found.severity == "warning"
    assert "1.3 times" in found.message
    assert finding("perplexity-disagrees", table, columns={"loss": "ppl"}, loss_unit="perplexity") is None


def test_tokens_of_the_dataset_beside_epochs_are_asked_for() -> None:
    table = {"params": N, "dataset_tokens": D / 4, "epochs": 4 * ONES, "loss": LOSS}
    assert finding("epochs-beside-dataset", table) is not None
    assert finding("epochs-beside-dataset", {**table, "epochs": ONES}) is None
    table["flops"] = 6 * N * D
    found = finding("epochs-beside-dataset", table)
    assert found is not None
    assert len(found.remedies) == 1
    runs = load_runs(table, columns={"n_tokens": None, "n_tokens_unique": "dataset_tokens"})
    assert np.allclose(runs.n_tokens, D)
    assert not any(f.code.startswith("epochs") for f in check_runs(runs))


def test_unique_tokens_that_contradict_the_epochs_are_a_warning() -> None:
    table = {"n_params": N, "n_tokens": D, "n_tokens_unique": D / 4, "epochs": 4 * ONES, "loss": LOSS}
    assert finding("epochs-disagree", table) is None
    assert finding("epochs-disagree", {**table, "n_tokens_unique": D}) is not None
