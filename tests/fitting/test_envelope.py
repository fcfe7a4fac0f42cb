"""Approach 1: planted surfaces, clustering by run, speed, refusals."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from scaling.errors import FitError, UsageError
from scaling.fitting.envelope.fit import find_crossings, fit_envelope, lower_envelope
from scaling.laws import ChinchillaLaw, law_from_dict
from scaling.runs import Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)


def curves(
    n_sizes: int = 12, n_rows: int = 120, noise: float = 0.0, run_noise: float = 0.0, seed: int = 0
) -> Runs:
    """Each size trained on up to 300 tokens per parameter, logged from 0.6 on."""
    rng = np.random.default_rng(seed)
    sizes = np.logspace(7.5, 10, n_sizes)
    tokens = 300 * sizes[:, None] * np.logspace(-2.7, 0, n_rows)
    scatter = run_noise * rng.standard_normal((n_sizes, 1)) + noise * rng.standard_normal(tokens.shape)
    n_params = np.broadcast_to(sizes[:, None], tokens.shape).ravel()
    loss = LAW.loss(n_params, tokens.ravel()) * np.exp(scatter.ravel())
    names = np.repeat([f"size-{i}" for i in range(n_sizes)], n_rows)
    return Runs.from_arrays(n_params=n_params, n_tokens=tokens.ravel(), loss=loss, run_id=names)


def test_noise_free_curves_give_the_exponent_of_their_surface() -> None:
    fit = fit_envelope(curves())
    # the midpoint of two sizes is off their optimum by the valley's asymmetry, the same at every crossing
    assert fit.params_exponent.value == pytest.approx(LAW.params_exponent, abs=1e-3)
    assert fit.tokens_exponent.value == pytest.approx(LAW.tokens_exponent, abs=1e-3)
    assert fit.allocate(1e22).n_params == pytest.approx(LAW.allocate(1e22).n_params, rel=0.02)


def test_line_through_all_points_of_the_staircase_is_flatter() -> None:
    """Hoffmann's way: at both ends the sizes run out while compute goes on."""
    fit = fit_envelope(curves())
    assert fit.staircase_params_exponent < LAW.params_exponent - 0.03


def test_envelope_is_the_minimum_of_the_curves_at_every_compute() -> None:
    rng = np.random.default_rng(1)
    run = np.repeat(np.arange(4), 30)
    x = np.sort(rng.uniform(40, 46, (4, 30)), axis=1)
    loss = 3 - 0.1 * (x - 40) + rng.uniform(0, 0.5, (4, 1))
    envelope = lower_envelope(run, x.ravel(), loss.ravel())
    known = envelope.run >= 0
    straight = [
        np.interp(envelope.ln_flops[known], x[i], loss[i], left=np.inf, right=np.inf) for i in range(4)
    ]
    assert envelope.loss[known] == pytest.approx(
        np.min(straight, axis=0), abs=1e-9
    )  # straight curves: averaging is exact


def test_row_order_does_not_matter() -> None:
    runs = curves(noise=0.002)
    shuffled = runs.select(np.random.default_rng(0).permutation(len(runs)))
    assert fit_envelope(shuffled).params_exponent.value == pytest.approx(
        fit_envelope(runs).params_exponent.value, abs=1e-12
    )


def test_rows_of_one_run_count_as_one_run() -> None:
    """Ten times the rows of the same curves leave the interval as wide as before."""
    few, many = (fit_envelope(curves(n_rows=n, run_noise=0.004)) for n in (60, 600))
    widths = [f.params_exponent.interval.half_width for f in (few, many)]  # type: ignore[union-attr]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_noise_flips_between_two_sizes_make_one_crossing() -> None:
    fit = fit_envelope(curves(noise=0.01))
    assert len(fit.crossing_flops) <= 11  # of 12 sizes, each at least 1.5 times the last
    assert np.all(np.diff(fit.crossing_flops) >= 0)
    assert fit.params_exponent.value == pytest.approx(LAW.params_exponent, abs=0.03)  # 1 % noise a row


def test_interval_covers_with_noise_between_runs() -> None:
    hits = []
    for seed in range(100):
        fit = fit_envelope(curves(n_rows=60, noise=0.003, run_noise=0.002, seed=seed))
        assert fit.params_exponent.interval is not None
        hits.append(fit.params_exponent.interval.contains(LAW.params_exponent))
    assert np.mean(hits) > 0.88  # 3 standard errors below .95 in 100


def test_change_of_size_where_a_curve_begins_is_no_crossing() -> None:
    runs = curves(n_sizes=8)
    cut = np.array(runs.run_id) == "size-5"
    late = runs.select(~(cut & (runs.flops < np.quantile(runs.flops[cut], 0.9))))
    fit = fit_envelope(late)
    assert "crossing-at-curve-end" in {f.code for f in fit.findings}
    assert fit.params_exponent.value == pytest.approx(LAW.params_exponent, abs=0.02)


def test_crossings_lie_where_two_curves_meet() -> None:
    x = np.linspace(40, 45, 400)
    two = np.array([3 - 0.1 * (x - 40), 3.2 - 0.2 * (x - 40)])  # they meet at x = 42
    found = find_crossings(np.array([1e8, 4e8]), two, x)
    assert found.ln_flops == pytest.approx([42.0], abs=1e-9)
    assert np.exp(found.ln_params) == pytest.approx([2e8])


def test_pairs_that_noise_alone_orders_give_no_crossing() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(40, 45, 400)
    same = 3 - 0.1 * (x - 40) + 0.01 * rng.standard_normal((2, 400))
    found = find_crossings(np.array([1e8, 4e8]), same, x)
    assert len(found.ln_flops) == 0
    assert found.unclear + found.at_end == 1


def test_diverged_run_is_not_asked() -> None:
    runs = curves(n_sizes=8)
    bad = np.array(runs.run_id) == "size-4"
    loss = np.where(bad, runs.loss + 1.0, runs.loss)
    worse = Runs.from_arrays(n_params=runs.n_params, n_tokens=runs.n_tokens, loss=loss, run_id=runs.run_id)
    fit = fit_envelope(worse)
    assert fit.n_runs_on_envelope == 7
    assert fit.params_exponent.value == pytest.approx(LAW.params_exponent, abs=0.01)


def test_a_million_rows_take_hardly_more_calls_than_ten_thousand() -> None:
    """Rows are NumPy's work. Seconds are measured by benchmarks/envelope_speed.py: here a neighbour would change them."""

    def n_calls(n_rows: int) -> int:
        runs, calls = curves(n_sizes=100, n_rows=n_rows, noise=0.002), []
        sys.setprofile(lambda frame, event, argument: calls.append(event))
        try:
            fit = fit_envelope(runs)
        finally:
            sys.setprofile(None)
        assert fit.n_rows == 100 * n_rows
        return len(calls)

    few, many = n_calls(100), n_calls(10_000)
    assert many < 3 * few
    assert many < 1_000_000 / 10  # no row costs a call of its own


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (curves().final(), "needs training curves"),
        (curves(n_sizes=2), "a line needs 3. Add model sizes"),
        (
            curves().final().select(np.repeat(np.arange(12), 2)),
            "no run of arrays has rows at two different FLOPs",
        ),
    ],
)
def test_tables_without_an_envelope_are_refused(runs: Runs, message: str) -> None:
    with pytest.raises(FitError, match=message):
        fit_envelope(runs)


def test_run_that_changes_size_is_refused_by_name() -> None:
    runs = curves(n_sizes=4)
    mixed = Runs.from_arrays(
        n_params=runs.n_params,
        n_tokens=runs.n_tokens,
        loss=runs.loss,
        run_id=["all"] * (len(runs) - 1) + ["other"],
    )
    with pytest.raises(FitError, match="run 'all' of arrays has"):
        fit_envelope(mixed)


def test_level_outside_0_to_1_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        fit_envelope(curves(), level=1.5)


def test_json_contract_and_law_round_trip() -> None:
    fit = fit_envelope(curves(noise=0.002))
    payload = json.loads(json.dumps(fit.to_dict(), allow_nan=False))
    assert payload["method"] == "envelope"
    for name in ("params_exponent", "tokens_exponent", "params_coefficient", "tokens_coefficient"):
        assert set(payload[name]) >= {"value", "interval"}
    assert law_from_dict(payload) == fit.law
