"""Approach 2: planted exponents, the Llama 3 line, the bias table's cells, refusals, findings."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import FitError, ScalingError, UsageError
from scaling.fitting.isoflop.budgets import ValleyKind
from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.fitting.isoflop.result import IsoflopFit
from scaling.laws import ChinchillaLaw, law_from_dict
from scaling.plots import plot_isoflop
from scaling.runs import Runs, load_runs

SYMMETRIC = ChinchillaLaw(E=1.69, A=400, B=400, alpha=0.31, beta=0.31)
CHINCHILLA = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
ASYMMETRIC = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.465, beta=0.155)


def grid_runs(
    law: ChinchillaLaw,
    *,
    budgets: int = 5,
    points: int = 15,
    width: float = 8.0,
    drift: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
    flops_scatter: float = 0.0,
) -> Runs:
    """Runs on `law`: per budget `points` values of D on +- width about D* (times 1 at the first budget to `drift`)."""
    rng = np.random.default_rng(seed)
    n, d, c, nominal = [], [], [], []
    for i, flops in enumerate(np.logspace(17, 21, budgets)):
        centre = law.allocate(flops).n_tokens * drift ** (i / (budgets - 1))
        tokens = centre * np.logspace(-1, 1, points) ** math.log10(width)
        spent = flops * np.exp(flops_scatter * rng.standard_normal(points))
        d.append(tokens)
        n.append(spent / (6 * tokens))
        c.append(spent)
        nominal.append(np.full(points, flops))
    n_params, n_tokens = np.concatenate(n), np.concatenate(d)
    loss = law.loss(n_params, n_tokens) * np.exp(noise * rng.standard_normal(len(n_params)))
    return Runs.from_arrays(
        n_params=n_params,
        n_tokens=n_tokens,
        loss=loss,
        flops=np.concatenate(c),
        budget=np.concatenate(nominal),
    )


def tokens_error(fit: IsoflopFit, law: ChinchillaLaw, flops: float = 1e24) -> float:
    """Error of D* in per cent."""
    return 100 * (float(fit.tokens_line.predict(flops)) / law.allocate(flops).n_tokens - 1)


def test_llama3_tokens_law_to_the_printed_digits(shared_runs: Path) -> None:
    """D* = 0.2994 C^0.5368: all 133 runs, ten budgets, a parabola each. The source does not state the loss unit."""
    fit = fit_isoflop(load_runs(shared_runs / "llama3_isoflop.csv", loss_unit="other"))
    assert f"{fit.tokens_coefficient.value:.4f}" == "0.2994"
    assert f"{fit.tokens_exponent.value:.4f}" == "0.5368"
    assert len(fit.used) == 10


def test_llama3_budget_with_an_unbounded_minimum_says_so(shared_runs: Path) -> None:
    fit = fit_isoflop(load_runs(shared_runs / "llama3_isoflop.csv", loss_unit="other"))
    budget = next(b for b in fit.budgets if b.flops == 3e21)
    assert budget.n_tokens is not None
    assert budget.n_tokens.interval is not None
    assert not budget.n_tokens.interval.bounded
    assert "minimum-unbounded" in {f.code for f in fit.findings}


def test_epoch_valleys_give_an_exponent_near_one_half(shared_runs: Path) -> None:
    runs = load_runs(shared_runs / "epoch_chinchilla.csv")
    fit = fit_isoflop(runs.select(~runs.extras["epoch_outlier"].astype(bool)))
    assert fit.params_exponent.value == pytest.approx(
        0.50, abs=0.02
    )  # Hoffmann et al. table 2: 0.49 (0.462-0.534)
    assert [f"{b.flops:.0e}" for b in fit.refused] == ["1e+20"]  # 13 points about a tenth of a nat apart


@pytest.mark.parametrize(
    ("law", "width", "drift", "parabola", "quartic"),
    [  # FITTING.md, per cent; all 27 cells: benchmarks/isoflop_bias.py
        (SYMMETRIC, 2, 3.0, 6.07, 0.05),
        (CHINCHILLA, 8, 1.0, -2.90, 0.05),
        (ASYMMETRIC, 2, 3.0, 34.57, 0.65),
        (ASYMMETRIC, 16, 1.0, -23.12, 1.14),
    ],
)
def test_bias_on_noise_free_surfaces(
    law: ChinchillaLaw, width: float, drift: float, parabola: float, quartic: float
) -> None:
    runs = grid_runs(law, width=width, drift=drift)

    def error(valley: ValleyKind) -> float:
        return tokens_error(fit_isoflop(runs, valley=valley, surface=law, require_bracket=False), law)

    assert error("parabola") == pytest.approx(parabola, abs=0.005)
    assert error("quartic") == pytest.approx(quartic, abs=0.005)
    assert error("surface") == pytest.approx(0, abs=1e-4)


def test_bias_is_estimated_on_the_users_own_grid() -> None:
    """The estimate on the true surface is the bias itself."""
    fit = fit_isoflop(grid_runs(ASYMMETRIC, width=8), surface=ASYMMETRIC)
    assert fit.bias is not None
    largest = fit.bias.at[0]
    assert largest.flops == pytest.approx(1e21)
    found = float(fit.params_line.predict(1e21)) / ASYMMETRIC.allocate(1e21).n_params - 1
    assert largest.n_params == pytest.approx(found, rel=1e-4)


def test_interval_is_said_not_to_hold_where_bias_exceeds_a_quarter_of_it() -> None:
    biased = fit_isoflop(grid_runs(ASYMMETRIC, width=8, drift=3.0, noise=0.001), surface=ASYMMETRIC)
    assert biased.interval_holds is False
    assert "do not hold" in (biased.law.uncertainty.statement if biased.law.uncertainty else "")
    assert {f.code: f.severity for f in biased.findings}["valley-bias"] == "warning"
    fair = fit_isoflop(grid_runs(SYMMETRIC, width=4, noise=0.01), surface=SYMMETRIC)
    assert fair.interval_holds is True
    assert "valley-bias" not in {f.code for f in fair.findings}


def test_surface_valleys_say_that_their_intervals_trust_the_shape() -> None:
    """They cover 81-98 % in simulation: benchmarks/isoflop_coverage.py."""
    fit = fit_isoflop(grid_runs(CHINCHILLA, width=4, noise=0.01), valley="surface")
    assert fit.interval_holds is False
    assert "valley-shape-trusted" in {f.code for f in fit.findings}


def test_losses_are_moved_to_the_nominal_budget() -> None:
    """Budgets missed by 4 %: without noise the quartic still finds the optimum, moved or not by less than .3 %."""
    runs = grid_runs(CHINCHILLA, width=4, flops_scatter=0.04)
    moved = fit_isoflop(runs, valley="surface", surface=CHINCHILLA)
    assert moved.params_exponent.value == pytest.approx(CHINCHILLA.params_exponent, abs=1e-6)
    assert "losses-moved" in {f.code for f in moved.findings}
    assert all(b.valley.residual_sd < 1e-9 for b in moved.budgets)


def test_budgets_are_clustered_when_none_are_named() -> None:
    runs = grid_runs(CHINCHILLA, flops_scatter=0.02, noise=0.002)
    unnamed = Runs.from_arrays(n_params=runs.n_params, n_tokens=runs.n_tokens, loss=runs.loss)
    fit = fit_isoflop(unnamed, surface=CHINCHILLA)
    assert len(fit.budgets) == 5
    assert fit.params_exponent.value == pytest.approx(CHINCHILLA.params_exponent, abs=0.02)


def test_intervals_of_the_exponent_cover_on_an_unbiased_design() -> None:
    hits = 0
    for seed in range(100):
        fit = fit_isoflop(grid_runs(SYMMETRIC, width=4, points=7, noise=0.005, seed=seed), surface=SYMMETRIC)
        assert fit.params_exponent.interval is not None
        hits += fit.params_exponent.interval.contains(0.5)
    assert (
        hits / 100 > 0.885
    )  # 3 standard errors below .95 in 100; benchmarks/isoflop_coverage.py has the numbers


def test_the_law_of_a_table_that_counts_c_otherwise_is_the_same_optimum_with_c_as_6nd() -> None:
    """A table with C = 1.5 x 6ND: the law lay a factor 1.5 in D* off its own runs; now it is the planted optimum."""
    plain = grid_runs(CHINCHILLA)
    runs = Runs.from_arrays(
        n_params=plain.n_params,
        n_tokens=plain.n_tokens,
        loss=plain.loss,
        flops=1.5 * plain.flops,
        budget=None if plain.budget is None else 1.5 * plain.budget,
    )
    fit, as_6nd = fit_isoflop(runs, surface=CHINCHILLA), fit_isoflop(plain, surface=CHINCHILLA)
    planned, same = fit.law.allocate(1e22), as_6nd.law.allocate(1e22)
    assert planned.n_params == pytest.approx(same.n_params, rel=1e-9)
    assert planned.n_tokens == pytest.approx(same.n_tokens, rel=1e-9)
    assert planned.loss == pytest.approx(same.loss, rel=1e-9)
    own = fit.allocate(1.5e22)  # in the table's counting
    assert (own.n_params, own.n_tokens) == pytest.approx((same.n_params, same.n_tokens), rel=1e-9)
    assert fit.law.provenance is not None
    assert fit.law.provenance.flops_over_6nd == pytest.approx((1.5, 1.5))
    assert fit.law.provenance.fitted_range["flops"] == pytest.approx((1e17, 1e21))
    band, expected = fit.law.uncertainty, as_6nd.law.uncertainty
    assert band is not None
    assert band.band is not None
    assert expected is not None
    assert expected.band is not None
    assert band.band.n_params_low == pytest.approx(expected.band.n_params_low, rel=1e-6)
    assert band.band.loss_high == pytest.approx(expected.band.loss_high, rel=1e-6)


def test_exact_counting_gives_both_lines_and_a_law_in_6nd() -> None:
    """C = 6 N D (1 + 3e5/N^0.8): the factor falls with N; N* and D* come back in the table's own counting."""
    rows = [
        (n, c / (6 * n * (1 + 3e5 / n**0.8)), c)
        for c in np.logspace(18, 21, 4)
        for n in CHINCHILLA.allocate(c).n_params * np.logspace(-0.5, 0.5, 9)
    ]
    n, d, c = (np.array(column) for column in zip(*rows, strict=True))
    runs = Runs.from_arrays(n_params=n, n_tokens=d, flops=c, loss=CHINCHILLA.loss(n, d))
    fit = fit_isoflop(runs, valley="quartic", surface=CHINCHILLA)
    for budget in fit.used:
        assert budget.n_params is not None
        assert budget.n_tokens is not None
        n_star = budget.n_params.value
        spent = 6 * n_star * budget.n_tokens.value * (1 + 3e5 / n_star**0.8)
        assert spent == pytest.approx(budget.flops, rel=0.005)  # the factor is taken as a parabola in ln D
    for flops in (
        1e17,
        1e20,
        1e24,
    ):  # each point of the lines lies on the law, which is those lines in 6 N* D*
        own = fit.allocate(flops)
        planned = fit.law.allocate(6 * own.n_params * own.n_tokens)
        assert planned.n_params == pytest.approx(own.n_params, rel=1e-9)
        assert planned.loss == pytest.approx(own.loss, rel=1e-9)
    assert fit.law.provenance is not None
    assert fit.law.provenance.flops_over_6nd[0] < fit.law.provenance.flops_over_6nd[1]
    assert "flops-not-6nd" in {f.code for f in fit.findings}


def test_edge_minimum_is_refused_with_the_run_that_brackets_it() -> None:
    runs = grid_runs(CHINCHILLA, width=4)
    largest = runs.budget == runs.budget.max()  # type: ignore[union-attr]
    best = CHINCHILLA.allocate(1e21).n_tokens
    fit = fit_isoflop(runs.select(~(largest & (runs.n_tokens > best * 0.9))), surface=CHINCHILLA)
    (refused,) = fit.refused
    assert refused.refused is not None
    assert refused.refused.code == "not-bracketed"
    assert refused.refused.next_run is not None
    assert refused.refused.next_run.n_tokens > best
    assert 6 * refused.refused.next_run.n_params * refused.refused.next_run.n_tokens == pytest.approx(1e21)
    assert refused.to_dict()["n_params"] is None
    assert len(fit.used) == 4


def test_proposed_run_does_bracket_the_minimum() -> None:
    runs = grid_runs(CHINCHILLA, width=4)
    largest = runs.budget == runs.budget.max()  # type: ignore[union-attr]
    kept = runs.select(~(largest & (runs.n_tokens > CHINCHILLA.allocate(1e21).n_tokens * 0.9)))
    (refused,) = fit_isoflop(kept, surface=CHINCHILLA).refused
    assert refused.refused is not None
    assert refused.refused.next_run is not None
    n, d = refused.refused.next_run.n_params, refused.refused.next_run.n_tokens
    added = Runs.from_arrays(
        n_params=[*kept.n_params, n],
        n_tokens=[*kept.n_tokens, d],
        loss=[*kept.loss, CHINCHILLA.loss(n, d)],
        flops=[*kept.flops, 1e21],
        budget=[*kept.budget, 1e21],  # type: ignore[misc]
    )
    assert fit_isoflop(added, surface=CHINCHILLA).refused == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("one budget", r"compares budgets and arrays has 1. Add runs at a second budget"),
        ("two sizes", r"4 runs|distinct sizes|2 runs; a parabola valley needs 4"),
        ("equal losses", r"has 0 of 5: budget 1e17: all losses are equal"),
        ("hills", r"curve downwards"),
    ],
)
def test_bad_tables_are_refused_with_what_to_do(change: str, message: str) -> None:
    runs = grid_runs(CHINCHILLA)
    if change == "one budget":
        runs = runs.select(runs.budget == 1e17)
    elif change == "two sizes":
        keep = np.concatenate([np.flatnonzero(runs.budget == c)[:2] for c in np.unique(runs.budget)])  # type: ignore[arg-type]
        runs = runs.select(keep)
    else:
        loss = np.full(len(runs), 2.5) if change == "equal losses" else 8 - runs.loss
        runs = Runs.from_arrays(n_params=runs.n_params, n_tokens=runs.n_tokens, loss=loss, budget=runs.budget)
    with pytest.raises(FitError, match=message):
        fit_isoflop(runs, surface=CHINCHILLA)


def test_minimum_beyond_the_sizes_is_kept_on_request_and_said_to_be_extrapolated() -> None:
    runs = grid_runs(CHINCHILLA, width=2, drift=3.0)
    strict, loose = (fit_isoflop(runs, surface=CHINCHILLA, require_bracket=b) for b in (True, False))
    assert (len(strict.used), len(loose.used)) == (3, 5)
    assert "minimum-extrapolated" in {f.code for f in loose.findings}


def test_flat_budget_is_left_out_with_a_warning() -> None:
    runs = grid_runs(CHINCHILLA, noise=0.001)
    loss = np.where(runs.budget == 1e19, 3.0 + 0.01 * np.cos(np.arange(len(runs)) * 2.4), runs.loss)
    flat = Runs.from_arrays(n_params=runs.n_params, n_tokens=runs.n_tokens, loss=loss, budget=runs.budget)
    fit = fit_isoflop(flat, surface=CHINCHILLA)
    assert [b.flops for b in fit.refused] == [1e19]
    assert {f.severity for f in fit.findings if f.code.startswith("minimum-")} == {"warning"}
    assert fit.params_exponent.value == pytest.approx(CHINCHILLA.params_exponent, abs=0.02)


def test_duplicate_runs_neither_break_nor_bracket_a_valley() -> None:
    runs = grid_runs(CHINCHILLA, points=5)
    twice = runs.select(np.tile(np.arange(len(runs)), 2))
    assert fit_isoflop(twice, surface=CHINCHILLA).params_exponent.value == pytest.approx(
        fit_isoflop(runs, surface=CHINCHILLA).params_exponent.value, abs=1e-9
    )
    two_sizes = runs.select(
        np.concatenate([np.flatnonzero(runs.budget == c)[[0, 0, 4, 4]] for c in np.unique(runs.budget)])
    )  # type: ignore[arg-type]
    with pytest.raises(FitError, match="2 distinct sizes; a parabola valley needs 3"):
        fit_isoflop(two_sizes, surface=CHINCHILLA)


def test_two_budgets_give_a_line_without_an_interval_and_say_so() -> None:
    runs = grid_runs(CHINCHILLA, budgets=2)
    fit = fit_isoflop(runs, surface=CHINCHILLA)
    assert fit.params_exponent.interval is not None
    assert fit.params_exponent.interval.high == math.inf
    assert "few-budgets" in {f.code for f in fit.findings}
    assert fit.loss_frontier is None
    json.dumps(fit.to_dict(), allow_nan=False)


def test_wrong_arguments_are_usage_errors() -> None:
    runs = grid_runs(CHINCHILLA)
    with pytest.raises(UsageError, match="parabola, quartic, surface"):
        fit_isoflop(runs, valley="cubic", surface=CHINCHILLA)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="between 0 and 1"):
        fit_isoflop(runs, level=95, surface=CHINCHILLA)
    with pytest.raises(UsageError, match="at least 3 runs"):
        fit_isoflop(runs, min_runs_per_budget=1, surface=CHINCHILLA)


def test_json_contract_and_law_round_trip() -> None:
    fit = fit_isoflop(grid_runs(CHINCHILLA, noise=0.002), surface=CHINCHILLA)
    payload = json.loads(json.dumps(fit.to_dict(), allow_nan=False))
    assert payload["method"] == "isoflop"
    assert set(payload["budgets"][0]) >= {"flops", "n_params", "n_tokens", "loss", "intervals", "refused"}
    assert set(payload["budgets"][0]["intervals"]) == {"n_params", "n_tokens", "loss"}
    for name in ("params_exponent", "tokens_exponent", "params_coefficient", "tokens_coefficient"):
        assert set(payload[name]) >= {"value", "interval"}
    law = law_from_dict(payload)
    assert law == fit.law
    assert law.allocate(1e23).n_params == pytest.approx(float(fit.params_line.predict(1e23)))


def test_loss_along_the_frontier_is_recovered() -> None:
    fit = fit_isoflop(grid_runs(CHINCHILLA, budgets=7, width=3), valley="surface", surface=CHINCHILLA)
    assert fit.loss_frontier is not None
    # on the optimum L - E is a power of C with exponent alpha beta / (alpha + beta)
    assert fit.loss_frontier.L_floor == pytest.approx(1.69, abs=1e-3)
    assert fit.loss_frontier.gamma == pytest.approx(0.34 * 0.28 / 0.62, rel=1e-3)
    assert fit.law.allocate(1e24).loss == pytest.approx(CHINCHILLA.allocate(1e24).loss, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), factor=st.floats(1e-3, 1e3), valley=st.sampled_from(["parabola", "quartic"])
)
def test_exponents_do_not_depend_on_row_order_or_the_unit_of_the_loss(
    seed: int, factor: float, valley: ValleyKind
) -> None:
    runs = grid_runs(CHINCHILLA, width=4, points=9, noise=0.002, seed=seed)
    order = np.random.default_rng(seed).permutation(len(runs))
    scaled = Runs.from_arrays(
        n_params=runs.n_params[order], n_tokens=runs.n_tokens[order], loss=factor * runs.loss[order],
        flops=runs.flops[order], budget=runs.budget[order],  # type: ignore[index]
    )  # fmt: skip
    first, second = (fit_isoflop(r, valley=valley, surface=CHINCHILLA) for r in (runs, scaled))
    assert second.params_exponent.value == pytest.approx(first.params_exponent.value, rel=1e-7)
    assert second.params_exponent.interval.low == pytest.approx(first.params_exponent.interval.low, rel=1e-5)  # type: ignore[union-attr]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_table_gives_a_fit_or_an_error_in_words(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 24))
    positive = st.floats(1e-3, 1e15)
    columns = [data.draw(st.lists(positive, min_size=n, max_size=n)) for _ in range(2)]
    loss = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=n, max_size=n))
    runs = Runs.from_arrays(n_params=columns[0], n_tokens=columns[1], loss=loss)
    valley = data.draw(st.sampled_from(["parabola", "quartic"]))
    try:
        fit = fit_isoflop(runs, valley=valley, surface=CHINCHILLA)
    except ScalingError as error:
        assert str(error).endswith(".")
        return
    json.dumps(fit.to_dict(), allow_nan=False)


def test_an_interval_that_leaves_the_sizes_tried_is_said_and_its_cut_end_drawn() -> None:
    fit = fit_isoflop(grid_runs(CHINCHILLA, points=6, width=2.5, noise=0.003, seed=1))
    beyond = {
        b.flops for b in fit.used if b.n_params and b.n_params.interval
        and not (b.runs.n_params.min() <= b.n_params.interval.low <= b.n_params.interval.high <= b.runs.n_params.max())
    }  # fmt: skip
    found = [f for f in fit.findings if f.code in ("interval-beyond-sizes", "minimum-unbounded")]
    assert 0 < len(beyond) < len(fit.used)
    assert len(found) == len(beyond)
    assert not any(f.in_short.endswith("...") for f in found)
    arrows = [line for line in plot_isoflop(fit).lines if line.get_marker() in ("<", ">")]
    assert len(arrows) >= len(beyond)
    wide = fit_isoflop(grid_runs(CHINCHILLA, noise=0.002, seed=1))
    assert "interval-beyond-sizes" not in {f.code for f in wide.findings}
