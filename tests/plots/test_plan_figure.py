"""The picture of a plan: what is on its axes."""

from __future__ import annotations

import pytest

from scaling.planning.alternatives import CURVE
from scaling.planning.plan import plan_training
from scaling.plots import plot_plan

matplotlib = pytest.importorskip("matplotlib")


def test_curve_shows_the_rows_of_the_plan() -> None:
    plan = plan_training(1e21, ratios=CURVE)
    axes = plot_plan(plan)
    extra, wasted = axes.get_lines()[:2]
    reached = [a for a in plan.alternatives if a.extra_compute is not None]
    assert list(extra.get_xdata()) == [a.n_params for a in reached]
    assert list(extra.get_ydata()) == pytest.approx([100 * (a.extra_compute or 0) for a in reached])
    assert list(wasted.get_ydata()) == pytest.approx(
        [100 * (a.wasted_compute or 0) for a in plan.alternatives]
    )
    assert min(extra.get_ydata()) == pytest.approx(0, abs=1e-9)
    matplotlib.pyplot.close(axes.figure)


def test_axes_name_their_units_and_start_at_zero() -> None:
    axes = plot_plan(plan_training(1e21, ratios=CURVE))
    assert axes.get_xlabel() == "parameters"
    assert axes.get_ylabel() == "extra training compute (%)"
    assert axes.get_ylim()[0] == 0
    assert axes.get_xscale() == "log"
    assert "95 % interval of N*" in [text.get_text() for text in axes.get_legend().get_texts()]
    matplotlib.pyplot.close(axes.figure)
