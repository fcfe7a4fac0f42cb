"""Figures of fits: what stands on the axes is what stands in the result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from scaling.errors import StorageError, UsageError
from scaling.fitting.comparison import compare_laws
from scaling.fitting.envelope.fit import fit_envelope
from scaling.fitting.extrapolation import evaluate_extrapolation
from scaling.fitting.isoflop.fit import fit_isoflop
from scaling.fitting.surface.fit import fit_parametric
from scaling.fitting.surface.general_fit import fit_law
from scaling.laws import ChinchillaLaw, FrontierLaw
from scaling.plots import (
    draw_fit,
    fit_figure,
    plot_comparison,
    plot_envelope,
    plot_exponent_drift,
    plot_extrapolation,
    plot_frontier,
    plot_isoflop,
    plot_parametric,
    plot_power_law,
    plot_residuals,
    plot_slices,
    style,
)
from scaling.runs import Convention, Runs

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def planted(noise: float = 0.004, edge: bool = False) -> Runs:
    """Five budgets of nine sizes; with `edge`, the dearest has only sizes above its optimum."""
    rng = np.random.default_rng(0)
    rows = []
    for c in np.logspace(18, 21, 5):
        best = LAW.allocate(float(c)).n_params
        spread = np.logspace(0.15, 1.0, 9) if edge and c > 9e20 else np.logspace(-0.7, 0.7, 9)
        rows += [(n, c / (6 * n), c) for n in best * spread]
    n, d, c = (np.array(v) for v in zip(*rows, strict=True))
    loss = LAW.loss(n, d) * np.exp(noise * rng.standard_normal(len(n)))
    return Runs.from_arrays(n_params=n, n_tokens=d, flops=c, loss=loss, budget=c)


def test_the_band_of_a_laptop_sweep_surrounds_its_line() -> None:
    """Budgets of 1e10 FLOPs: the band once began at 1e15 and was drawn flat below."""
    runs = planted()
    small = Runs.from_arrays(
        n_params=runs.n_params / 1e4, n_tokens=runs.n_tokens / 1e4, flops=runs.flops / 1e8, loss=runs.loss,
        budget=None if runs.budget is None else runs.budget / 1e8,
    )  # fmt: skip
    fit = fit_isoflop(small)
    ax = plot_frontier(fit)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    x, y = corners[:, 0], corners[:, 1]
    line = np.array([fit.law.allocate(float(c)).n_params for c in x])
    assert y.min() > 0.2 * line.min()
    assert np.abs(np.log(y / line))[x < 1e13].max() < 0.5
    assert {True, False} == set(y > line)


def curves() -> Runs:
    sizes = np.logspace(7.5, 10, 8)
    d = 300 * sizes[:, None] * np.logspace(-2.7, 0, 80)
    n = np.broadcast_to(sizes[:, None], d.shape)
    names = np.repeat([f"r{i}" for i in range(8)], 80)
    return Runs.from_arrays(n_params=n.ravel(), n_tokens=d.ravel(), loss=LAW.loss(n, d).ravel(), run_id=names)


def line_with(ax: plt.Axes, marker: str) -> list[matplotlib.lines.Line2D]:
    return [line for line in ax.get_lines() if line.get_marker() == marker and len(line.get_xdata())]


def test_valleys_show_every_run_and_every_minimum() -> None:
    runs = planted(noise=0.001)
    fit = fit_isoflop(runs)
    ax = plot_isoflop(fit)
    drawn = np.sort(np.concatenate([line.get_xdata() for line in line_with(ax, "o")]))
    assert drawn == pytest.approx(np.sort(runs.n_params))
    minima = [(line.get_xdata()[0], line.get_ydata()[0]) for line in line_with(ax, "D")]
    assert minima == [(b.n_params.value, b.loss.value) for b in fit.used]  # type: ignore[union-attr]
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "parameters", "loss (nats/token)")


def test_refused_budget_is_hollow_with_a_cross_at_its_next_run() -> None:
    fit = fit_isoflop(planted(noise=0.0005, edge=True), surface=LAW)
    (refused,) = fit.refused
    ax = plot_isoflop(fit)
    (cross,) = line_with(ax, "x")
    assert refused.refused is not None
    assert refused.refused.next_run is not None
    assert cross.get_xdata()[0] == pytest.approx(refused.refused.next_run.n_params)
    hollow = [line for line in line_with(ax, "o") if line.get_markerfacecolor() == style.PAPER]
    assert [len(line.get_xdata()) for line in hollow] == [9]


def test_budget_colours_darken_with_compute() -> None:
    rgb = np.array([matplotlib.colors.to_rgb(c) for c in style.budget_colours(8)])
    lightness = rgb @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(lightness) < 0)


@pytest.mark.parametrize("quantity", ["n_params", "n_tokens", "loss"])
@pytest.mark.parametrize("method", ["isoflop", "parametric"])
def test_frontier_is_solid_over_the_runs_and_dashed_beyond(method: str, quantity: str) -> None:
    fit = fit_isoflop(planted()) if method == "isoflop" else fit_parametric(planted())
    ax = plot_frontier(fit, quantity=quantity)  # type: ignore[arg-type]
    solid = next(line for line in ax.get_lines() if line.get_linestyle() == "-" and len(line.get_xdata()) > 8)
    dashed = next(
        line for line in ax.get_lines() if line.get_linestyle() == "--" and len(line.get_xdata()) > 8
    )
    assert solid.get_xdata()[-1] == pytest.approx(1e21, rel=1e-6)
    assert dashed.get_xdata()[0] == pytest.approx(solid.get_xdata()[-1])
    assert dashed.get_xdata()[-1] == pytest.approx(1e23, rel=1e-6)
    at_end = getattr(fit.law.allocate(float(dashed.get_xdata()[-1])), quantity)
    assert dashed.get_ydata()[-1] == pytest.approx(at_end)
    assert "95 % band" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_frontier_band_is_the_stated_one() -> None:
    fit = fit_isoflop(planted())
    ax = plot_frontier(fit)
    corners = ax.collections[0].get_paths()[0].vertices
    at_end = corners[np.isclose(corners[:, 0], 1e23, rtol=1e-6), 1]
    low, high = fit.params_line.band(1e23)
    assert at_end.min() == pytest.approx(float(low), rel=0.01)  # interpolated on the law's grid of budgets
    assert at_end.max() == pytest.approx(float(high), rel=0.01)


def test_frontier_of_a_law_without_loss_cannot_draw_loss() -> None:
    with pytest.raises(UsageError, match="not its loss"):
        plot_frontier(FrontierLaw.from_tokens_per_param(20), quantity="loss")
    with pytest.raises(UsageError, match="drawn from"):
        plot_frontier(fit_isoflop(planted()), to_flops=1e10)


def test_map_shows_runs_and_a_frontier_on_the_fitted_law() -> None:
    runs = planted()
    fit = fit_parametric(runs)
    ax = plot_parametric(fit)
    (points,) = line_with(ax, "o")
    assert np.sort(points.get_ydata()) == pytest.approx(np.sort(runs.n_params), rel=1e-9)
    frontier = next(line for line in ax.get_lines() if line.get_color() == style.ACCENT)
    x, y = frontier.get_xdata()[0], frontier.get_ydata()[0]
    assert y == pytest.approx(fit.law.allocate(float(x)).n_params)


def test_slices_group_runs_by_compute() -> None:
    ax = plot_slices(fit_parametric(planted()))
    assert [len(line.get_xdata()) for line in line_with(ax, "o")] == [9] * 5
    (best,) = line_with(ax, "D")
    assert len(best.get_xdata()) == 5


def test_residuals_are_per_cent_of_the_fitted_loss() -> None:
    runs = planted()
    fit = fit_parametric(runs)
    drawn = np.concatenate([line.get_ydata() for line in line_with(plot_residuals(fit), "o")])
    expected = 100 * (runs.loss / fit.law.loss(runs.n_params, runs.n_tokens) - 1)
    assert np.sort(drawn) == pytest.approx(np.sort(expected), abs=1e-9)


def test_residuals_of_runs_with_fewer_tokens_than_parameters_are_drawn() -> None:
    size = np.logspace(8, 10, 8)
    n, ratio = (v.ravel() for v in np.meshgrid(size, [0.05, 0.5, 5.0, 50.0]))
    noise = np.exp(0.004 * np.random.default_rng(1).standard_normal(len(n)))
    ax = plot_residuals(
        fit_parametric(Runs.from_arrays(n_params=n, n_tokens=ratio * n, loss=LAW.loss(n, ratio * n) * noise))
    )
    ax.figure.canvas.draw()
    assert sum(len(line.get_xdata()) for line in line_with(ax, "o")) == len(n)


def test_envelope_marks_every_change_of_the_best_size() -> None:
    table = curves()
    fit = fit_envelope(table)
    ax = plot_envelope(fit, table)
    (marks,) = line_with(ax, "D")
    assert list(marks.get_xdata()) == list(fit.crossing_flops)
    assert len(ax.collections[0].get_segments()) == 8


def test_extrapolation_and_drift_show_the_cut_offs() -> None:
    result = evaluate_extrapolation(planted(), cuts=[5e19, 3e20], intervals=True)
    ax = plot_extrapolation(result)
    (mean,) = line_with(ax, "o")
    assert list(mean.get_ydata()) == pytest.approx([100 * c.mean_absolute_error for c in result.usable])  # type: ignore[operator]
    drift = plot_exponent_drift(result)
    (line,) = line_with(drift, "o")
    assert line.get_ydata()[-1] == result.all_runs.params_exponent


def test_comparison_shows_one_mark_a_law_and_objective() -> None:
    result = compare_laws(
        planted(), ["chinchilla", "over_training"], objectives=["huber", "log_least_squares"]
    )
    ax = plot_comparison(result)
    marks = sorted(float(line.get_xdata()[0]) for line in ax.get_lines() if line.get_marker() in "os^")
    assert marks == sorted(r.n_params for r in result.rows)  # type: ignore[type-var]
    assert ax.get_yticklabels()[0].get_text().startswith(result.rows[0].law)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_figure_is_written_in_every_format_without_touching_global_settings(
    tmp_path: Path, suffix: str
) -> None:
    before = dict(matplotlib.rcParams)
    runs = planted()
    draw_fit(fit_isoflop(runs), runs, tmp_path / f"fit.{suffix}")
    assert (tmp_path / f"fit.{suffix}").stat().st_size > 5000
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


def test_every_kind_of_fit_has_its_panels() -> None:
    runs, table = planted(), curves()
    titles = {
        name: [ax.get_title(loc="left") for ax in fit_figure(fit, used).axes]
        for name, fit, used in (
            ("isoflop", fit_isoflop(runs), runs),
            ("parametric", fit_parametric(runs), runs),
            ("envelope", fit_envelope(table), table),
            ("law", fit_law(runs, "kaplan_floor"), runs),
        )
    }
    assert titles["isoflop"][0] == "5 of 5 budgets hold a minimum"
    assert [title[:14] for title in titles["isoflop"][1:]] == ["N* grows as C^", "D* grows as C^"]
    assert titles["envelope"][0].startswith("The best size changes")
    assert [title[:14] for title in titles["envelope"][1:]] == ["N* grows as C^", "D* grows as C^"]
    assert len(titles["parametric"]) == 2 + 1 + 1 + 1 + 4  # N* and D*, map, slices, loss, residuals
    assert any("FLOPs reach a loss of" in title for title in titles["parametric"])
    assert titles["law"][0].startswith("N* ")


def test_unknown_picture_format_and_folder_are_usage_errors(tmp_path: Path) -> None:
    runs = planted()
    fit = fit_isoflop(runs)
    with pytest.raises(UsageError, match=r"\.png, \.pdf or \.svg file; got 'fit\.docx'"):
        draw_fit(fit, runs, tmp_path / "fit.docx")
    with pytest.raises(StorageError, match="could not be written"):
        draw_fit(fit, runs, tmp_path / "absent" / "fit.png")
    with pytest.raises(UsageError, match="pass them"):
        plot_residuals(fit_law(runs, "kaplan_floor"))


def test_infinite_interval_of_a_minimum_does_not_stretch_the_axes() -> None:
    fit = fit_isoflop(planted(noise=0.0), min_runs_per_budget=3)
    few = planted(noise=0.0)
    keep = np.concatenate([np.flatnonzero(few.budget == c)[[0, 4, 8]] for c in np.unique(few.budget)])  # type: ignore[arg-type]
    loose = fit_isoflop(few.select(keep), min_runs_per_budget=3, surface=LAW)
    assert all(math.isinf(b.n_params.interval.high) for b in loose.used)  # type: ignore[union-attr]
    for wide, normal in zip(plot_isoflop(loose).get_xlim(), plot_isoflop(fit).get_xlim(), strict=True):
        assert wide == pytest.approx(normal, rel=0.2)


def test_the_loss_axis_of_an_envelope_has_ticks_over_its_whole_range() -> None:
    table = curves()
    ax = plot_envelope(fit_envelope(table), table)
    low, high = ax.get_ylim()
    shown = [t for t in ax.get_yticks() if low <= t <= high]
    assert shown[0] < low * 1.25  # it had none below 4
    assert 4 <= len(shown) <= 9


def test_marks_of_refusals_and_open_intervals_stand_in_the_legend() -> None:
    refused = plot_isoflop(fit_isoflop(planted(noise=0.0005, edge=True), surface=LAW))
    assert "a run to add" in [t.get_text() for t in refused.get_legend().get_texts()]
    runs = planted(noise=0.0)
    keep = np.concatenate([np.flatnonzero(runs.budget == c)[[0, 4, 8]] for c in np.unique(runs.budget)])  # type: ignore[arg-type]
    loose = fit_isoflop(runs.select(keep), min_runs_per_budget=3, surface=LAW)
    for ax in (plot_isoflop(loose), plot_frontier(loose)):
        assert [t.get_text() for t in ax.get_legend().get_texts()].count("interval without an end") == 1
    low, high = plot_frontier(loose).get_ylim()
    dotted = [
        line for line in plot_frontier(loose).get_lines() if line.get_linestyle() not in ("-", "--", "None")
    ]
    assert all(max(line.get_ydata()) < high and min(line.get_ydata()) > low for line in dotted)


def test_every_loss_axis_names_the_unit_of_the_table() -> None:
    other = replace(planted(), convention=Convention(params="total", flops="6ND", loss_unit="bits/byte"))
    fit, valleys = fit_parametric(other), fit_isoflop(other)
    axes = [plot_slices(fit), plot_frontier(fit, quantity="loss"), plot_isoflop(valleys)]
    assert all("(bits/byte)" in ax.get_ylabel() for ax in axes)
    assert "(bits/byte)" in plot_parametric(fit).get_xlabel()


def test_no_label_of_a_contour_stands_over_the_map_or_another_label() -> None:
    ax = plot_parametric(fit_parametric(planted()))
    labels = [t for t in ax.texts if t.get_text().replace(".", "").isdigit()]
    assert labels
    ax.figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    boxes = [matplotlib.text.Text.get_window_extent(label, renderer) for label in labels]  # without its line
    assert all(box.x0 > ax.bbox.x1 for box in boxes)
    heights = sorted((box.y0, box.y1) for box in boxes)
    assert all(above[0] >= below[1] - 1 for below, above in pairwise(heights))


@pytest.mark.parametrize("name", ["n_params", "n_tokens", "flops"])
def test_a_law_of_one_quantity_is_solid_over_its_runs_and_dashed_beyond(name: str) -> None:
    x = np.geomspace(1e9, 1e12, 15)
    loss = (1.7 + (x[5] / x) ** 0.2) * np.exp(0.01 * np.random.default_rng(0).standard_normal(15))
    runs = Runs.from_arrays(loss=loss, **{name: x})
    fit = fit_law(runs, f"{name.removeprefix('n_')}_power_law_floor")
    figure = fit_figure(fit, runs)
    line, residuals, _ = figure.axes
    (points,) = line_with(line, "o")
    assert points.get_ydata() == pytest.approx(loss)
    solid, dashed = (part for part in line.get_lines() if len(part.get_xdata()) > 20)
    assert solid.get_xdata()[-1] == pytest.approx(x[-1]) == pytest.approx(dashed.get_xdata()[0])
    assert dashed.get_ydata()[-1] == pytest.approx(float(fit.law.loss_at(float(dashed.get_xdata()[-1]))))
    assert dashed.get_linestyle() == "--"
    corners = line.collections[0].get_paths()[0].vertices
    ends = corners[np.isclose(corners[:, 0], 3e13, rtol=1e-6), 1]
    assert ends.min() < dashed.get_ydata()[-1] < ends.max()
    (missed,) = line_with(residuals, "o")
    assert missed.get_xdata() == pytest.approx(x)
    assert missed.get_ydata() == pytest.approx(100 * (loss / fit.law.loss_at(x) - 1))
    figure.canvas.draw()


def test_a_law_of_several_quantities_is_no_line() -> None:
    with pytest.raises(UsageError, match="several quantities"):
        plot_power_law(fit_law(planted(), "kaplan"), planted())
