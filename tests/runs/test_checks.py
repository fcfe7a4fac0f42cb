"""check_runs names what is wrong with a table, and says nothing about a good one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scaling.findings import Finding
from scaling.runs import Convention, Runs, check_runs, load_runs
from scaling.runs.rows import plain, row_index, seen_before
from scaling.translation import counted

BUDGETS = np.array([1e18, 3e18, 1e19, 3e19, 1e20])


def isoflop(*, shift: float = 1.0, n_sizes: int = 9, budgets: np.ndarray = BUDGETS, **other: Any) -> Runs:
    """IsoFLOP valleys of a Chinchilla-type surface, noise-free, sizes over a factor of 16 about `shift` times N*."""
    C = np.repeat(budgets, n_sizes)
    step = np.tile(np.linspace(-1, 1, n_sizes), len(budgets))
    N = shift * 0.1 * np.sqrt(C) * 4.0**step
    D = C / (6 * N)
    loss = 1.8 + 400 / N**0.34 + 2000 / D**0.37
    convention = other.pop("convention", Convention(params="total", flops="6ND"))
    return Runs.from_arrays(n_params=N, n_tokens=D, flops=C, loss=loss, convention=convention, **other)


def finding(runs: Runs, code: str) -> Finding:
    found = [f for f in check_runs(runs) if f.code == code]
    assert found, f"no {code} among {[f.code for f in check_runs(runs)]}"
    return found[0]


def codes(runs: Runs) -> set[str]:
    return {f.code for f in check_runs(runs)}


def test_a_good_table_has_no_findings():
    assert check_runs(isoflop()) == ()


def test_gravest_findings_come_first_and_serialise():
    runs = isoflop(budgets=BUDGETS[:1], shift=30, convention=Convention())
    runs = replace(runs, loss=np.full(len(runs), 3.0))
    severities = [f.severity for f in check_runs(runs)]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert check_runs(runs)[0].to_dict()["severity"] == "error"


# --- design ---


def test_one_budget_is_said():
    assert "all runs have one budget" in finding(isoflop(budgets=BUDGETS[:1]), "one-budget").message


def test_three_budgets_are_few():
    assert "3 budgets" in finding(isoflop(budgets=BUDGETS[:3]), "few-budgets").message


@pytest.mark.parametrize("n", [2, 4])
def test_too_few_sizes(n):
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e8, 1e9, n), np.geomspace(1e9, 1e11, 8)))
    runs = Runs.from_arrays(n_params=N, n_tokens=D, loss=1.8 + 400 / N**0.34 + 2000 / D**0.37)
    assert f"{n} sizes" in finding(runs, "few-sizes").message


def test_sizes_that_lie_close_together_are_not_one_size():
    N = np.geomspace(1e7, 1e10, 2000)  # each within .4 % of the next
    runs = Runs.from_arrays(n_params=N, n_tokens=np.geomspace(1e9, 1e12, 2000), loss=1.8 + 400 / N**0.34)
    assert codes(runs).isdisjoint({"few-sizes", "few-token-counts"})


def test_a_design_too_thin_for_one_law_is_no_fault_of_the_table():
    # a power law needs one size only; each fit refuses what it cannot use
    N = np.geomspace(1e8, 1e10, 12)
    thin = Runs.from_arrays(n_params=N, n_tokens=20 * N, loss=1.8 + 1e3 / N**0.34)
    for runs in (thin, thin.select([0, 1, 2]), isoflop(budgets=BUDGETS[:1])):
        assert not any(f.severity == "error" for f in check_runs(runs))


def test_five_runs_are_too_few():
    assert "5 runs cannot determine" in finding(isoflop().select(np.arange(5)), "few-runs").message
    assert "1 run cannot determine" in finding(isoflop().select([0]), "few-runs").message


def test_one_ratio_of_tokens_to_parameters_is_said():
    N = np.geomspace(1e8, 1e10, 12)
    found = finding(Runs.from_arrays(n_params=N, n_tokens=20 * N, loss=1.8 + 1e3 / N**0.34), "single-ratio")
    assert "20 tokens per parameter" in found.message


@pytest.mark.parametrize(("shift", "side"), [(30.0, "smallest"), (1 / 30, "largest")])
def test_a_minimum_at_an_edge_proposes_the_run_that_brackets_it(shift, side):
    runs = isoflop(shift=shift)
    found = [f for f in check_runs(runs) if f.code == "edge-minimum"]
    assert len(found) == len(BUDGETS)
    assert all(side in f.message and "add a run near" in f.message for f in found)
    first = runs.select(np.arange(9))
    end = first.n_params[np.argmin(first.loss)]
    assert found[0].rows == (int(first.row[np.argmin(first.loss)]),)
    assert end == (first.n_params.min() if side == "smallest" else first.n_params.max())


def test_an_inner_size_that_ties_with_the_edge_brackets_the_minimum():
    runs = isoflop(shift=30.0)
    loss = runs.loss.copy()
    loss[1::9] = loss[0::9]  # of each valley the second size equals the smallest
    assert "edge-minimum" not in codes(replace(runs, loss=loss))


def test_thin_budgets_and_a_narrow_range():
    runs = isoflop()
    keep = ~((runs.flops == 1e20) & (np.arange(len(runs)) % 9 > 2))
    assert "1e20" in finding(runs.select(keep), "few-sizes-in-budget").message
    assert "factor of 3" in finding(isoflop(budgets=BUDGETS[:2]), "narrow-range").message


def test_corpora_and_repeated_data_are_told():
    n = len(isoflop())
    corpus = np.array(["c4", "dclm", "comma"] * n, dtype=object)[:n]
    assert "c4, comma, dclm" in finding(isoflop(extras={"corpus": corpus}), "mixed-corpora").message
    runs = isoflop()
    found = finding(
        replace(runs, n_tokens_unique=np.where(np.arange(n) < 3, runs.n_tokens / 4, runs.n_tokens)),
        "repeated-data",
    )
    assert found.rows == (1, 2, 3)


# --- rows ---


def test_duplicates_name_the_later_row():
    runs = isoflop()
    twice = runs.select(np.array([*range(len(runs)), 4]))
    assert finding(twice, "duplicates").rows == (5,)


def test_one_run_id_for_two_runs():
    runs = isoflop()
    assert finding(
        replace(runs, run_id=("a", "a", *runs.run_id[2:]), step=np.ones(len(runs))), "duplicate-run-id"
    ).rows == (2,)


def test_replicated_cells_give_the_pure_error():
    runs = isoflop()
    rng = np.random.default_rng(0)
    both = runs.select(np.tile(np.arange(len(runs)), 40))
    noisy = replace(
        both,
        loss=both.loss * np.exp(rng.normal(0, 0.01, len(both))),
        run_id=tuple(str(i) for i in range(len(both))),
    )
    found = finding(noisy, "replicated-cells")
    assert (
        "pure error 1 %" in found.message or "pure error 0.99 %" in found.message
    )  # sd of 1755 draws: 1.7 %
    assert found.severity == "note"


def test_a_learning_rate_grid_is_no_replication():
    runs = isoflop().select(np.repeat(np.arange(45), 2))
    grid = replace(runs, extras={"lr": np.tile([1e-3, 2e-3], 45)}, loss=runs.loss * np.tile([1, 1.01], 45))
    grid = replace(grid, run_id=tuple(str(i) for i in range(90)))
    assert "hyperparameter-grid" in codes(grid)
    assert "replicated-cells" not in codes(grid)


def test_outliers_are_exactly_the_planted_ones():
    runs = isoflop()
    rng = np.random.default_rng(1)
    loss = runs.loss * np.exp(rng.normal(0, 0.005, len(runs)))
    loss[[7, 20]] *= 1.15
    found = finding(replace(runs, loss=loss), "outliers")
    assert found.rows == (8, 21)


def test_losses_in_another_unit_equal_or_rising():
    runs = isoflop()
    assert "per byte" in finding(replace(runs, loss=runs.loss / 3), "loss-unit").message
    assert finding(replace(runs, loss=np.full(len(runs), 3.0)), "equal-losses").severity == "error"
    assert "loss-rises" in codes(replace(runs, loss=10 - runs.loss))


def test_checkpoints_are_not_independent_runs():
    runs = isoflop()
    three = runs.select(np.repeat(np.arange(45), 3))
    share = np.tile([0.25, 0.5, 1.0], 45)
    curves = replace(three, n_tokens=three.n_tokens * share, flops=three.flops * share, step=share * 100)
    assert {"checkpoints", "unfinished-decay"} <= codes(curves)
    assert not any(f.severity == "error" for f in check_runs(curves))
    resumed = curves.select(np.array([*range(len(curves)), 3]))
    assert finding(resumed, "repeated-checkpoints").rows == (int(curves.row[3]),)


def test_branches_share_their_trunk():
    trunk = tuple(f"t{i // 9}" for i in range(45))
    assert "5 trunks" in finding(isoflop(trunk_id=trunk), "shared-trunk").message


# --- training and counting ---


def test_unknown_and_mixed_conventions():
    assert "unknown-convention" in codes(isoflop(convention=Convention(flops="6ND")))
    assert "mixed-conventions" in codes(isoflop(convention=Convention(params="total", flops="mixed")))


@pytest.mark.parametrize(
    ("factor", "why"),
    [
        (1 / 3, "forward pass only"),
        (4 / 3, "recomputation"),
        (1e-18, "EFLOPs"),
        (1 / 8.64e19, "petaflop/s-days"),
    ],
)
def test_flops_off_6nd_name_the_usual_slip(factor, why):
    runs = isoflop()
    assert why in finding(replace(runs, flops=runs.flops * factor), "flops-disagree").message


def test_flops_of_their_own_count_are_no_fault_within_what_explains_them():
    runs = isoflop(convention=Convention(params="non_embedding", flops="source"))
    own = replace(runs, flops=runs.flops * 1.6)
    assert finding(own, "own-flops").severity == "note"
    assert "flops-disagree" in codes(replace(runs, flops=runs.flops * 20))


def test_embedding_heavy_models():
    runs = isoflop()
    share = np.where(np.arange(45) < 2, 0.5, 0.95)
    assert finding(isoflop(extras={"n_params_nonemb": runs.n_params * share}), "embedding-heavy").rows == (
        1,
        2,
    )


ONES = np.ones(45)


@pytest.mark.parametrize(
    ("extras", "code"),
    [
        ({"batch_tokens": 5e5 * ONES}, "constant-batch"),
        ({"warmup_fraction": np.where(np.arange(45) < 1, 0.4, 0.01)}, "long-warmup"),
        ({"warmup_tokens": 5e8 * ONES}, "long-warmup"),
        ({"lr": 1e-3 * ONES, "final_lr": np.where(np.arange(45) < 1, 5e-4, 1e-4)}, "unfinished-decay"),
        ({"status": np.array(["done"] * 44 + ["diverged"], dtype=object)}, "unfinished-decay"),
        ({"finished": np.array([False] + [True] * 44)}, "unfinished-decay"),
        ({"cooldown_fraction": np.where(np.arange(45) < 1, 0.02, 0.2)}, "short-cooldown"),
    ],
)
def test_training_findings(extras, code):
    assert code in codes(isoflop(extras=extras))


def test_a_growing_batch_and_a_short_warmup_are_fine():
    D = isoflop().n_tokens
    assert check_runs(isoflop(extras={"batch_tokens": 0.58 * D**0.57, "warmup_fraction": 0.01 * ONES})) == ()


def test_counts_in_billions_are_suspected():
    runs = isoflop()
    slip = replace(runs, n_params=runs.n_params / 1e9, n_tokens=runs.n_tokens / 1e9, flops=runs.flops / 1e18)
    assert [f.message[:30] for f in check_runs(slip) if f.code == "unit-slip"] == [
        "half of the runs have n_params",
        "half of the runs have n_tokens",
    ]


@pytest.mark.parametrize(
    ("n_params", "n_tokens", "severity"),
    [
        (1e-6, 1, "error"),  # N in millions: 1e6 times the tokens per parameter of any study
        (1e-9, 1e-9, "error"),  # both in billions
        (1, 1e-9, "error"),
        (1e-7, 1e-5, "warning"),  # few parameters, but in proportion: small, or a slip
    ],
)
def test_a_unit_slip_that_nothing_else_explains_is_an_error(n_params, n_tokens, severity):
    runs = isoflop(budgets=1e4 * BUDGETS)
    slip = Runs.from_arrays(
        n_params=runs.n_params * n_params, n_tokens=runs.n_tokens * n_tokens, loss=runs.loss
    )
    assert finding(slip, "unit-slip").severity == severity


def test_tiny_models_are_no_slip_where_other_columns_show_plain_counts():
    """A table of a sweep of models of 1,000 parameters; the same one in thousands is still suspected."""
    runs = isoflop(budgets=1e8 * BUDGETS / BUDGETS.min())
    tiny = Runs.from_arrays(
        n_params=np.full(len(runs), 1e3), n_tokens=runs.flops / 6e3, loss=runs.loss, budget=runs.flops,
        extras={"n_steps": runs.flops / 6e3 / 64, "batch_tokens": np.full(len(runs), 64.0)},
    )  # fmt: skip
    assert "unit-slip" not in codes(tiny)
    assert "unit-slip" in codes(replace(tiny, n_params=tiny.n_params / 1e3))
    assert "unit-slip" in codes(replace(tiny, extras={}))


def test_a_public_table_in_millions_is_refused(shared_runs):
    runs = load_runs(shared_runs / "epoch_chinchilla.csv")
    slip = Runs.from_arrays(n_params=runs.n_params / 1e6, n_tokens=runs.n_tokens, loss=runs.loss)
    assert finding(slip, "unit-slip").severity == "error"


def test_flops_that_disagree_by_more_than_100_times_are_an_error():
    runs = isoflop()
    assert finding(replace(runs, flops=runs.flops * 1e-6), "flops-disagree").severity == "error"
    assert finding(replace(runs, flops=runs.flops * 50), "flops-disagree").severity == "warning"
    few = replace(runs, flops=runs.flops * np.where(np.arange(45) < 5, 1e-6, 1))
    assert finding(few, "flops-disagree").severity == "warning"  # rows to look at, not a slip of the table


def test_exchanged_columns_are_an_error():
    runs = isoflop()
    swapped = replace(runs, n_params=runs.n_tokens, n_tokens=runs.n_params)
    found = finding(swapped, "swapped-columns")
    assert found.severity == "error"
    assert "are the columns swapped?" in found.message


def test_row_index_agrees_with_comparing_every_pair():
    rng = np.random.default_rng(0)
    columns = [rng.integers(1, 4, 200).astype(float) for _ in range(4)]
    index = row_index(*columns)
    alike = np.logical_and.reduce([c[:, None] == c[None, :] for c in columns])
    assert np.array_equal(index[:, None] == index[None, :], alike)
    assert sorted(set(index.tolist())) == list(range(index.max() + 1))
    assert np.array_equal(seen_before(*columns), np.tril(alike, -1).any(axis=1))


def test_messages_hold_plain_numbers():
    runs = isoflop(extras={"warmup_fraction": np.where(np.arange(45) < 1, 4.2, 0.01)})
    message = finding(runs, "long-warmup").message
    assert "420 %" in message
    assert counted(1, "run") == "1 run"
    assert [plain(v) for v in (640.0, 0.17, 2.5e6)] == ["640", "0.17", "2.5M"]


# --- the real tables ---


def test_a_public_table_with_its_columns_exchanged_is_refused(shared_runs):
    runs = load_runs(shared_runs / "epoch_chinchilla.csv")
    assert "swapped-columns" in codes(replace(runs, n_params=runs.n_tokens, n_tokens=runs.n_params))


@pytest.mark.parametrize(
    "name", ["epoch_chinchilla", "llama3_isoflop", "marin_isoflop", "datablations", "olmo_ladder_final"]
)
def test_no_public_table_has_a_certain_fault(shared_runs, name):
    runs = load_runs(shared_runs / f"{name}.csv")
    assert [f.code for f in check_runs(runs) if f.severity == "error"] == []


def test_the_five_outliers_of_the_digitised_runs_are_found(shared_runs):
    runs = load_runs(shared_runs / "epoch_chinchilla.csv")
    marked = tuple(runs.row[runs.extras["epoch_outlier"]].tolist())
    assert finding(runs, "outliers").rows == marked


def test_findings_on_other_public_tables(shared_runs):
    assert "hyperparameter-grid" in codes(load_runs(shared_runs / "steplaw_dense_lr_bs.csv"))
    assert "repeated-data" in codes(load_runs(shared_runs / "datablations.csv"))
    assert "mixed-corpora" in codes(load_runs(shared_runs / "marin_isoflop.csv"))
    assert "loss-unit" in codes(load_runs(shared_runs / "llama3_isoflop.csv"))
    assert "own-flops" in codes(load_runs(shared_runs / "olmo_ladder_final.csv"))
    cerebras = finding(load_runs(shared_runs / "cerebras_pythia.csv"), "outliers")
    assert cerebras.rows == (26,)  # Pythia-deduped 1.4B, whose loss looks misprinted


def test_nothing_is_said_of_a_quantity_that_the_law_does_not_read() -> None:
    """Three sizes at one token count, embeddings unknown: faults for a law of N and D, none for one of compute."""
    N = np.geomspace(1e8, 1e10, 3).repeat(2)
    loss = 3 - 0.1 * np.log10(N) + np.tile([0, 0.01], 3)
    runs = Runs.from_arrays(n_params=N, n_tokens=np.full(6, 1e11), loss=loss)
    of_both = {f.code for f in check_runs(runs, ("n_params", "n_tokens"))}
    assert of_both == {f.code for f in check_runs(runs)}
    assert {"few-sizes", "few-token-counts", "unknown-convention"} <= of_both
    of_params = {f.code for f in check_runs(runs, ("n_params",))}
    assert "few-sizes" in of_params
    assert "few-token-counts" not in of_params
    of_compute = {f.code for f in check_runs(runs, ("flops",))}
    assert {"few-sizes", "few-token-counts", "unknown-convention", "single-ratio"}.isdisjoint(of_compute)
    assert "few-budgets" in of_compute


@pytest.mark.parametrize("name", ["n_params", "n_tokens", "flops"])
def test_a_table_of_one_quantity_is_checked_for_what_it_holds(name: str) -> None:
    x = np.geomspace(1e9, 1e12, 24)
    loss = 1.7 + (x[5] / x) ** 0.2
    loss[11] *= 1.3
    runs = Runs.from_arrays(loss=loss, **{name: x})
    codes = {f.code for f in check_runs(runs)}
    assert codes == {"outliers"} | ({"unknown-convention"} if name == "n_params" else set())
    outlier = next(f for f in check_runs(runs) if f.code == "outliers")
    assert outlier.rows == (12,)
    again = Runs.from_arrays(loss=[3.0, 2.9, 2.9, 2.8], **{name: [1e9, 2e9, 2e9, 4e9]})
    assert next(f.rows for f in check_runs(again) if f.code == "duplicates") == (3,)


def test_budgets_that_a_doubt_does_not_name_are_counted() -> None:
    runs = isoflop(budgets=10.0 ** (18 + np.arange(20) / 4))
    thin = (runs.flops < 1e20) & (
        np.arange(len(runs)) % 9 > 2
    )  # of the first eight budgets three sizes are left
    found = finding(runs.select(~thin), "few-sizes-in-budget")
    assert "and 2 more" in found.message
    assert found.short.startswith("8 budgets")
