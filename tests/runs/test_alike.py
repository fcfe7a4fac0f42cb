"""One set of runs, written in any way: the same fit, or a refusal in words; never another fit in silence."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from writing import Written, write_plain, write_table

from scaling.errors import DataError, UsageError
from scaling.fitting.surface.fit import fit_parametric
from scaling.runs import Runs
from scaling.runs.load import load_runs

pytest.importorskip("openpyxl")
pytest.importorskip("pyarrow")
ALIKE = 1e-8  # relative: the last digit of a loss may round another way, and A follows it twenty times as far
SAMPLE, MOST_REFUSED = 150, 0.1


def read(written: Written) -> Runs | None:
    """The runs; None where they are refused."""
    try:
        return load_runs(written.path, **written.options)
    except (DataError, UsageError) as error:
        assert len(str(error)) > 40, "a refusal says what to do"
        return None


def assert_alike(runs: Runs, written: Written, folder: Path) -> None:
    plain = load_runs(write_plain(folder, written))
    for name in ("n_params", "n_tokens", "flops", "loss"):
        got, right = getattr(runs, name), getattr(plain, name)
        assert got == pytest.approx(right, rel=1e-12), (written.headers, name)  # float64 of the same digits
    got, right = fit_parametric(runs, intervals=False), fit_parametric(plain, intervals=False)
    assert got.coefficients == pytest.approx(right.coefficients, rel=ALIKE)
    assert got.params_exponent.value == pytest.approx(right.params_exponent.value, rel=ALIKE)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_a_table_written_in_any_way_gives_the_same_fit_or_is_refused(tmp_path, rng) -> None:
    written = write_table(tmp_path, rng)
    runs = read(written)
    event("refused" if runs is None else "read")
    if runs is not None:
        assert_alike(runs, written, tmp_path)


def test_few_ways_of_writing_are_refused(tmp_path) -> None:
    refused = []
    for seed in range(SAMPLE):
        written = write_table(tmp_path, Random(seed))
        runs = read(written)
        if runs is None:
            refused.append((seed, written.headers))
        else:
            assert_alike(runs, written, tmp_path)
    assert len(refused) < MOST_REFUSED * SAMPLE, refused


def test_a_loss_in_another_unit_is_refused_until_the_unit_is_said(tmp_path) -> None:
    tables = (write_table(tmp_path / "runs", Random(seed)) for seed in range(60))
    (tmp_path / "runs").mkdir()
    others = 0
    for written in tables:
        if written.options.get("loss_unit") in ("perplexity", "bits/token"):
            others += 1
            with pytest.raises(DataError, match="--loss-unit"):
                load_runs(written.path)
    assert others > 10


@pytest.mark.parametrize(
    "header", ["D/N", "N/D", "tokens/params", "loss/token", "C/N", "flops/params", "samples/step"]
)
def test_a_ratio_of_two_quantities_is_neither(header) -> None:
    table = {"n_params": [1e8, 2e8], "n_tokens": [2e9, 4e9], header: [20.0, 20.0], "loss": [3.1, 2.9]}
    runs = load_runs(table)
    assert runs.extras[header].tolist() == [20.0, 20.0]
    assert runs.step is None


@pytest.mark.parametrize(
    ("header", "name"),
    [("loss/val", "loss"), ("Loss/train", "loss"), ("tokens.total", "n_tokens"), ("params/total", "n_params"),
     ("train/step", "step"), ("trainer.step", "step"), ("NTokens", "n_tokens"), ("paramsN", "n_params")],
)  # fmt: skip
def test_a_path_may_name_its_quantity_before_the_split(header, name) -> None:
    plain = {"n_params": [1e8, 2e8], "n_tokens": [2e9, 4e9], "loss": [3.1, 2.9], "step": [10, 20]}
    renamed = {header if key == name else key: values for key, values in plain.items()}
    assert getattr(load_runs(renamed), name).tolist() == plain[name]


def test_scaled_numbers_have_the_digits_that_were_written(tmp_path) -> None:
    table = {"params (M)": [19.494255, 70.1], "tokens (B)": [8.549527438, 1.7], "loss": [3.4, 3.2]}
    runs = load_runs(table)
    assert runs.n_params.tolist() == [19494255.0, 70100000.0]
    assert runs.n_tokens.tolist() == [8549527438.0, 1700000000.0]
    in_cells = load_runs(
        {"params": ["19.494255M", "70.1M"], "tokens": ["8.549527438B", "1.7B"], "loss": [3.4, 3.2]}
    )
    assert in_cells.n_tokens.tolist() == runs.n_tokens.tolist()
    third = 1 / 3  # has no fewer digits, and stays the product
    assert load_runs({"params (M)": [third], "tokens (B)": [third], "loss": [3.4]}).n_tokens[0] == third * 1e9
    assert np.array_equal(load_runs({"N": [1e8], "D": [1e9], "FLOPs (E)": [0.6], "L": [3.0]}).flops, [6e17])


def test_a_column_that_is_not_understood_is_named_where_its_quantity_is_derived() -> None:
    table = {"my params": [1e8, 2e8], "n_tokens": [2e9, 4e9], "flops": [1.2e18, 4.8e18], "loss": [3.1, 2.9]}
    (note,) = [n for n in load_runs(table).notes if n.startswith("n_params = flops")]
    assert "my params is not understood" in note
    assert "--column 'n_params=my params'" in note
    assert load_runs(table, columns={"n_params": "my params"}).read_from["n_params"] == "my params"


def test_names_in_a_comment_are_read_above_decimal_commas(tmp_path) -> None:
    path = tmp_path / "runs.tsv"
    path.write_text(
        "# params (B)\tnotes\tD (M)\tloss\n0,023275\tok\t7'160,8\t3,3787\n0,044937\tok\t3'708,9\t3,2628\n"
    )
    runs = load_runs(path)
    assert runs.n_params.tolist() == [23275000.0, 44937000.0]
    assert runs.loss.tolist() == [3.3787, 3.2628]
