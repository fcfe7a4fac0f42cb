"""Every public run table loads, under the convention its source states."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.errors import DataError
from scaling.runs import assign_budgets, load_runs

TABLES = {  # file → rows, N, C
    "epoch_chinchilla": (245, "total", "6ND"),
    "mlscalefit_chinchilla": (124, "total", "6ND"),
    "llama3_isoflop": (133, "total", "6ND"),
    "marin_isoflop": (258, "total", "6ND"),
    "datablations": (160, "total", "6ND"),
    "cerebras_pythia": (30, "total", "source"),
    "olmo_ladder_final": (15, "non_embedding", "source"),
    "steplaw_dense_lr_bs": (1746, "non_embedding", "6ND"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_public_table_loads_with_its_convention(shared_runs, name):
    runs = load_runs(shared_runs / f"{name}.csv")
    convention = runs.convention
    assert (len(runs), convention.params, convention.flops) == TABLES[name]
    assert convention.loss_unit == "nats/token"
    assert not runs.is_curves


@pytest.mark.parametrize(
    ("name", "n_budgets"), [("epoch_chinchilla", 9), ("llama3_isoflop", 10), ("marin_isoflop", 8)]
)
def test_budgets_come_from_their_column(shared_runs, name, n_budgets):
    runs = load_runs(shared_runs / f"{name}.csv")
    budgets = assign_budgets(runs)
    assert len(budgets) == n_budgets
    assert runs.budget is not None
    assert np.array_equal(budgets.labels < 0, np.isnan(runs.budget))


def test_non_embedding_counts_are_there_to_refit_under(shared_runs):
    total = load_runs(shared_runs / "cerebras_pythia.csv")
    assert np.isfinite(total.extras["n_params_nonemb"]).sum() == 16
    with pytest.raises(DataError, match=r"column n_params_nonemb: is empty"):
        load_runs(shared_runs / "cerebras_pythia.csv", params_convention="non_embedding")


LAW_OF_N_AND_D = {"farseer_train": 404, "data_constrained_train": 161, "lr_bsz_train": 2702}
OTHER_INPUTS = {
    "domain_mixture_train": "no column for loss",
    "moe_train": "no column for n_params",
    "parallel_train": "no column for n_tokens",
    "sparsity_train": "no column for n_tokens",
    "vocab_train": "no column for loss",
}


@pytest.mark.parametrize("name", LAW_OF_N_AND_D)
def test_other_peoples_headers_are_read(shared_runs, name):
    runs = load_runs(shared_runs / "scalebench" / f"{name}.csv")
    assert len(runs) == LAW_OF_N_AND_D[name]
    assert runs.notes


@pytest.mark.parametrize("name", OTHER_INPUTS)
def test_tables_of_other_inputs_are_refused_by_name(shared_runs, name):
    with pytest.raises(DataError, match=OTHER_INPUTS[name]):
        load_runs(shared_runs / "scalebench" / f"{name}.csv")
