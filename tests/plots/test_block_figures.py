"""Figures of blocks: what stands on the axes is what stands in the arrays."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from scaling.blocks import Blocks, Figure, Shown, Text
from scaling.errors import UsageError
from scaling.plots import draw_figure, figure_svg, plot_first_figure
from scaling.translation import translated

FLOPS = [1e18, 1e19, 1e20, 1e21]
OPTIMAL = Figure(
    "compute-optimal",
    {
        "flops": FLOPS,
        "n_params": [1e8, 3e8, 1e9, 3e9],
        "n_params_low": [float("nan"), 2e8, 8e8, 0.0],
        "n_params_high": [float("nan"), 4e8, 2e9, float("inf")],
        "level": [0.95],
        "fitted_flops": [1e18, 1e20],
        "point_flops": [1e18, 1e20],
        "point_n_params": [1.1e8, 0.9e9],
    },
    alt="N* against compute",
)
OFF = Figure(
    "off-optimum",
    {
        "n_params": [4e9, 1e9, 2e9],
        "extra_compute": [0.25, 0.5, float("nan")],
        "optimum": [3e9],
    },
    alt="cost",
)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_compute_optimal_size_is_solid_over_the_runs_and_dashed_beyond() -> None:
    ax = draw_figure(OPTIMAL)
    solid, dashed, points = ax.get_lines()
    assert list(solid.get_xdata()) == FLOPS[:3]
    assert list(dashed.get_xdata()) == FLOPS[2:]
    assert list(dashed.get_ydata()) == [1e9, 3e9]
    assert dashed.get_linestyle() == "--"
    assert list(points.get_ydata()) == [1.1e8, 0.9e9]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training compute (FLOPs)", "optimal parameters N*")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["95 % band", "minima of the runs"]


def test_an_infinite_end_of_a_band_neither_hides_it_nor_flattens_the_line() -> None:
    ax = draw_figure(OPTIMAL)
    corners = ax.collections[0].get_paths()[0].vertices
    assert np.isfinite(corners).all()
    assert corners[:, 0].min() == 1e19  # undefined ends leave a gap
    low, high = ax.get_ylim()
    assert 1e7 < low < 1e8
    assert 3e9 < high < 1e11


def test_a_band_is_drawn_only_where_there_is_one() -> None:
    bare = {key: OPTIMAL.data[key] for key in ("flops", "n_params")}
    assert not draw_figure(Figure("compute-optimal", bare, "")).collections
    undefined = dict.fromkeys(("n_params_low", "n_params_high"), [float("nan")] * 4)
    assert not draw_figure(Figure("compute-optimal", {**bare, **undefined}, "")).collections


def test_arrays_without_a_number_draw_empty_axes() -> None:
    nothing = [float("nan")] * 2
    draw_figure(Figure("compute-optimal", {"flops": [1e18, 1e19], "n_params": nothing}, ""))
    draw_figure(Figure("off-optimum", {"n_params": [], "extra_compute": [], "optimum": []}, ""))


def test_the_cost_of_leaving_the_optimum_is_nothing_at_the_optimum() -> None:
    ax = draw_figure(OFF)
    cost = ax.get_lines()[0]
    assert list(cost.get_xdata()) == [1e9, 2e9, 3e9, 4e9]  # by size, whatever the order of the rows
    assert list(cost.get_ydata()) == pytest.approx([50, float("nan"), 0, 25], nan_ok=True)
    assert "N* = 3B" in [t.get_text() for t in ax.texts]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameters", "extra training compute (%)")
    assert ax.get_xlim() == (1e9, 4e9)


def test_the_words_of_a_figure_are_translated() -> None:
    with translated({"Optimal size": "Tamaño óptimo", "{percent:g} % band": "banda del {percent:g} %"}):
        ax = draw_figure(OPTIMAL)
    assert ax.get_title(loc="left") == "Tamaño óptimo"
    assert ax.get_legend().get_texts()[0].get_text() == "banda del 95 %"


def test_a_figure_is_drawn_on_the_axes_given() -> None:
    _, ax = plt.subplots()
    assert draw_figure(OFF, ax=ax) is ax


def test_an_unknown_kind_and_a_missing_array_are_usage_errors() -> None:
    with pytest.raises(UsageError, match=r"one of audit, beam-tree, coefficients, .*; got 'pie'"):
        draw_figure(Figure("pie", {}, ""))
    with pytest.raises(UsageError, match="n_params is missing"):
        draw_figure(Figure("compute-optimal", {"flops": FLOPS}, ""))


class Result(Shown):
    def __init__(self, *blocks: Text | Figure) -> None:
        self.blocks = blocks

    def summary(self) -> Blocks:
        return self.blocks


def test_a_result_draws_its_first_figure() -> None:
    result = Result(Text("words"), OFF, OPTIMAL)
    assert result.plot().get_title(loc="left") == "The cost of leaving the optimum"
    with pytest.raises(UsageError, match="has no figure"):
        Result(Text("words")).plot()
    with pytest.raises(UsageError, match="has no figure"):
        plot_first_figure([])


def test_a_result_shows_itself_in_a_notebook() -> None:
    result = Result(Text("words & more"), OFF)
    assert "<p>words &amp; more</p>" in result._repr_html_()
    assert "<svg" in result._repr_html_()
    assert result._repr_markdown_() == "words &amp; more\n\n*cost*\n"


def test_the_svg_of_a_figure_is_the_same_in_every_process() -> None:
    code = (
        "from scaling.blocks import Figure; from scaling.plots import figure_svg\n"
        "print(figure_svg(Figure('off-optimum', "
        "{'n_params': [1e9, 4e9], 'extra_compute': [.1, .2], 'optimum': [2e9]}, '')))"
    )
    once, again = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert once == again
    assert "<dc:date>" not in once


def test_the_svg_of_a_figure_reaches_nothing_outside_it() -> None:
    before = dict(matplotlib.rcParams)
    first, second = figure_svg(OPTIMAL), figure_svg(OFF)
    assert first.startswith("<svg ")
    assert first.endswith("</svg>")
    for svg in (first, second):
        assert not re.search(r"<style|<script|<!DOCTYPE|<\?xml|<metadata", svg)
    names = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert names[0]
    assert not names[0] & names[1]  # two pictures of one page
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', first)) == names[0]
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []
