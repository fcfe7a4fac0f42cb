"""Tables that hold the loss and one of n_params, n_tokens and flops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling.errors import DataError
from scaling.fitting.comparison import compare_laws
from scaling.fitting.envelope.fit import fit_envelope
from scaling.fitting.extrapolation import evaluate_extrapolation
from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.fitting.prediction import predict_runs
from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.general_fit import fit_law
from scaling.reference import find_law
from scaling.reference.loss_units import check_loss_unit
from scaling.runs import Runs

X = np.geomspace(1e18, 1e21, 12)
LOSS = 1.6 + (1e20 / X) ** 0.1 + 0.002 * np.random.default_rng(0).standard_normal(12)


def of_compute() -> Runs:
    return Runs.from_arrays(flops=X, loss=LOSS)


def test_what_the_table_lacks_is_known() -> None:
    runs = of_compute()
    assert runs.absent == {"n_params", "n_tokens"}
    assert set(runs.columns()) == {"flops", "loss"}
    assert runs.select([0, 3]).absent == runs.absent
    assert Runs.from_arrays(n_params=[1e9], n_tokens=[2e10], loss=[3.0]).absent == frozenset()


def test_one_of_three_follows_from_the_two_others() -> None:
    runs = Runs.from_arrays(n_tokens=[1e10], flops=[6e19], loss=[3.0])
    assert runs.n_params == pytest.approx([1e9])
    assert runs.convention.flops == "6ND"


def test_a_quantity_is_there_in_every_row_or_in_none() -> None:
    with pytest.raises(DataError, match="row 2, column n_params"):
        Runs.from_arrays(n_params=[1e9, np.nan], flops=[1e18, 2e18], loss=[3.0, 2.9])
    with pytest.raises(DataError, match="one of them at least"):
        Runs.from_arrays(n_params=[np.nan], loss=[3.0])
    with pytest.raises(DataError, match="one a run"):
        Runs.from_arrays(flops=[1e18, 2e18, 3e18], loss=[3.0, 2.9])


def test_a_fit_that_reads_more_names_the_law_of_what_is_there() -> None:
    runs = of_compute()
    for fit in (fit_parametric, fit_isoflop, fit_envelope, lambda r: fit_law(r, "kaplan")):
        with pytest.raises(DataError, match=r"needs n_params.*--law flops_power_law_floor"):
            fit(runs)
    with pytest.raises(DataError, match=r"needs n_params and n_tokens"):
        predict_runs(find_law("besiroglu"), runs)
    sizes = Runs.from_arrays(n_params=X / 1e10, loss=LOSS)
    for check in (evaluate_extrapolation, compare_laws):
        with pytest.raises(DataError, match="the table has no flops"):
            check(sizes)


def test_the_advised_law_fits() -> None:
    fit = fit_law(of_compute(), "flops_power_law_floor")
    assert fit.law.alpha == pytest.approx(0.1, abs=0.03)  # type: ignore[attr-defined]
    assert predict_runs(fit.law, of_compute()).scores()["mean_absolute_error_fraction"] < 2e-3
    full = Runs.from_arrays(n_params=X / 1e10, n_tokens=1e10 * np.ones(12) / 6, loss=LOSS)
    assert full.flops == pytest.approx(X)
    assert fit_law(full, "flops_power_law_floor").coefficients == pytest.approx(fit.coefficients, rel=1e-9)


def test_a_hold_out_by_compute_needs_no_sizes() -> None:
    found = evaluate_extrapolation(of_compute(), "flops_power_law", cuts=[2e20])
    assert found.cut_offs[0].n_held_out == 3
    assert (found.cut_offs[0].mean_absolute_error or 1) < 0.05
    compared = compare_laws(of_compute(), ("chinchilla", "flops_power_law", "flops_power_law_floor"))
    assert {r.law for r in compared.rows} == {"flops_power_law", "flops_power_law_floor"}
    assert any("needs n_params" in why for _, _, why in compared.refused)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_saved_table_leaves_the_column_out(tmp_path: Path, suffix: str) -> None:
    runs = of_compute()
    path = runs.save(tmp_path / f"t{suffix}")
    head = path.read_text().splitlines()[0]
    assert "flops" in head
    assert "n_params" not in head.replace("params_convention", "")
    assert "n_tokens" not in head
    assert list(runs.to_frame().columns[:3]) == ["run_id", "flops", "loss"]


def test_curves_of_compute_end_at_their_last_row() -> None:
    runs = Runs.from_arrays(flops=[2e18, 1e18, 5e18], loss=[3.0, 3.2, 2.8], run_id=["a", "a", "b"])
    assert runs.is_curves
    assert runs.final().loss.tolist() == [3.0, 2.8]
    sizes = Runs.from_arrays(n_params=[1e8, 1e8, 1e9], loss=[3.0, 3.2, 2.8], run_id=["a", "a", "b"])
    assert not sizes.is_curves


def test_no_unit_is_read_off_a_law_of_sizes_without_sizes() -> None:
    assert check_loss_unit(of_compute()) is None
