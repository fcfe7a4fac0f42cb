"""N, D and C: each read, or derived from the other two, or from steps; a law asks only for what it uses."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.errors import DataError, UsageError
from scaling.runs import check_runs, load_runs

LOSS = [3.1, 2.9]


def test_parameters_follow_from_flops_and_tokens() -> None:
    runs = load_runs({"flops": [6e18, 12e18], "tokens": [1e10, 1e10], "loss": LOSS})
    assert runs.n_params.tolist() == pytest.approx([1e8, 2e8])
    assert any("n_params = flops / (6 n_tokens)" in n for n in runs.notes)


def test_a_budget_stands_for_the_flops_of_a_table_without_sizes() -> None:
    runs = load_runs({"budget": [6e18, 6e18], "width": ["d64", "d96"], "tokens": [1e10, 2e10], "loss": LOSS})
    assert runs.n_params.tolist() == pytest.approx([1e8, 5e7])
    assert runs.flops.tolist() == [6e18, 6e18]


@pytest.mark.parametrize(
    ("columns", "tokens"),
    [
        ({"steps": [1000, 2000], "batch_size": [256, 256], "seq_len": [2048, 2048]}, 1000 * 256 * 2048),
        (
            {"train/global_step": [1000, 2000], "global_batch_size": [8, 8], "n_ctx": [512, 512]},
            1000 * 8 * 512,
        ),
        ({"iterations": [1000, 2000], "tokens_per_batch": [4096, 4096]}, 1000 * 4096),
        ({"n_steps": [1000, 2000], "batch_tokens": [4096, 4096]}, 1000 * 4096),
    ],
)
def test_tokens_follow_from_steps_batch_and_length(columns: dict[str, list[int]], tokens: float) -> None:
    runs = load_runs({"params": [1e8, 2e8], "loss": LOSS, **columns})
    assert runs.n_tokens.tolist() == [tokens, 2 * tokens]
    assert any(n.startswith("n_tokens = ") for n in runs.notes)


def test_tokens_per_step_is_taken_at_its_word() -> None:
    table = {"params": [1e8, 2e8], "step": [1000, 2000], "loss": LOSS}
    assert load_runs(table, tokens_per_step=524288).n_tokens.tolist() == [524288e3, 2 * 524288e3]
    with pytest.raises(DataError, match=r"no column for n_tokens.*--tokens-per-step NUMBER"):
        load_runs(table)
    with pytest.raises(UsageError, match="has tokens"):
        load_runs({**table, "tokens": [1e9, 2e9]}, tokens_per_step=1000)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"batch_size": [524288, 524288], "seq_len": [2048, 2048]}, "sequences, or tokens"),
        ({"batch_size": [8, 8], "seq_len": [2048, 2048], "gradient_accumulation_steps": [4, 4]}, "of one device"),
    ],
)  # fmt: skip
def test_a_batch_of_two_readings_is_asked_about(columns: dict[str, list[int]], says: str) -> None:
    with pytest.raises(DataError, match=rf"{says}.*--tokens-per-step"):
        load_runs({"params": [1e8, 2e8], "steps": [1000, 2000], "loss": LOSS, **columns})


def test_a_law_of_compute_needs_no_sizes() -> None:
    runs = load_runs({"compute_pf_days": [0.1, 1.0], "loss": LOSS}, inputs=("flops",))
    assert runs.flops.tolist() == pytest.approx([8.64e18, 8.64e19])
    assert runs.absent == {"n_params", "n_tokens"}
    with pytest.raises(
        DataError, match=r"--law flops_power_law_floor \(in Python inputs=\('flops',\)\) fits the loss"
    ):
        load_runs({"compute_pf_days": [0.1, 1.0], "loss": LOSS})


def test_flops_of_one_sample_are_not_training_flops() -> None:
    """GFLOPs of a forward pass of one image do not grow with the images seen: 6 N D is 1e7 times more."""
    table = {"params (M)": [25, 60], "tokens": [1e9, 2e9], "gflops": [4.1, 9.8], "loss": LOSS}
    runs = load_runs(table)
    assert runs.flops.tolist() == pytest.approx([6 * 25e6 * 1e9, 6 * 60e6 * 2e9])
    assert runs.extras["gflops"].tolist() == [4.1, 9.8]
    assert any("gflops is not read as training FLOPs" in n for n in runs.notes)
    assert load_runs(table, columns={"flops": "gflops"}).flops.tolist() == pytest.approx([4.1e9, 9.8e9])


ACTIVE, TOTAL, D = np.array([1e8, 2e8, 4e8]), np.array([3e8, 8e8, 24e8]), np.array([4e9, 2e9, 1e9])
MIXTURE = {"active_params": ACTIVE, "total_params": TOTAL, "tokens": D, "loss": [3.1, 3.0, 3.05]}


def test_of_active_and_total_parameters_the_one_that_meets_the_budgets_is_n() -> None:
    by_active = load_runs({**MIXTURE, "budget": 6 * ACTIVE * D})
    assert (by_active.n_params.tolist(), by_active.convention.params) == (ACTIVE.tolist(), "active")
    assert by_active.extras["n_params_total"].tolist() == TOTAL.tolist()
    by_total = load_runs({**MIXTURE, "budget": 6 * TOTAL * D})
    assert (by_total.n_params.tolist(), by_total.convention.params) == (TOTAL.tolist(), "total")
    assert by_total.extras["n_params_active"].tolist() == ACTIVE.tolist()


def test_active_and_total_without_budgets_are_asked_about_with_both_ways_ready() -> None:
    with pytest.raises(DataError, match="which is N") as caught:
        load_runs(MIXTURE)
    assert caught.value.remedies == ("--params-convention active", "--params-convention total")
    assert load_runs(MIXTURE, params_convention="active").n_params.tolist() == ACTIVE.tolist()
    assert load_runs(MIXTURE, params_convention="total").n_params.tolist() == TOTAL.tolist()
    assert load_runs(MIXTURE, columns={"n_params": "total_params"}).n_params.tolist() == TOTAL.tolist()


def test_under_total_parameters_compute_stays_the_budget_of_the_table() -> None:
    runs = load_runs({**MIXTURE, "budget": 6 * ACTIVE * D}, params_convention="total")
    assert runs.flops.tolist() == (6 * ACTIVE * D).tolist()
    assert any("times that" in n for n in runs.notes)


def test_a_column_is_left_unread_where_the_caller_says_so() -> None:
    runs = load_runs({"n_params": [1e8, 2e8], "n_tokens": [1e9, 2e9], "flops": [1.0, 2.0], "loss": LOSS},
                     columns={"flops": None})  # fmt: skip
    assert runs.flops.tolist() == [6e17, 24e17]


def test_text_beside_numbers_drops_out_and_equal_columns_are_one() -> None:
    table = {
        "model_size": ["tiny", "small"],
        "Params (M)": [10, 20],
        "Tokens (B)": [1, 2],
        "tokens": [1e9, 2e9],
    }
    runs = load_runs({**table, "val_loss": LOSS, "val_ppl": np.exp(LOSS)})
    assert runs.n_params.tolist() == [1e7, 2e7]
    assert runs.n_tokens.tolist() == [1e9, 2e9]
    assert runs.loss.tolist() == LOSS
    assert any("says the same as" in n for n in runs.notes)


def test_a_loss_and_the_perplexity_of_another_set_are_asked_about() -> None:
    with pytest.raises(DataError, match="'train_loss' and 'val_ppl' can each be read as loss"):
        load_runs({"params": [1e7, 2e7], "tokens": [1e9, 2e9], "train_loss": LOSS, "val_ppl": [40.0, 30.0]})


def test_samples_read_as_tokens_stay_samples_when_saved(tmp_path) -> None:
    runs = load_runs(
        {"params": [1e8, 2e8], "images": [1e6, 2e6], "loss": LOSS}, columns={"n_tokens": "images"}
    )
    assert runs.convention.data_unit == "samples"
    again = load_runs(runs.save(tmp_path / "runs.csv"))
    assert again.convention.data_unit == "samples"
    assert not any(f.severity == "error" for f in check_runs(again))


def test_a_slip_of_a_unit_is_told_of_the_column_it_comes_from() -> None:
    table = {"params": [1e8, 2e8], "compute": [0.01, 0.02], "loss": LOSS}
    slip = next(f for f in check_runs(load_runs(table)) if f.code == "unit-slip")
    assert "compute (EFLOP)" in slip.message
    assert "n_tokens (M)" not in slip.message
