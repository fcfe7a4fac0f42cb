"""Minimum and first crossing of a function of one number, against functions whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling.fitting.embeddings import OMEGA, without_embedding
from scaling.fitting.frontier_law import fit_loss_frontier
from scaling.fitting.one_dimension import first_crossing, minimum_between


@pytest.mark.parametrize("place", [-3.0, 0.0, 0.377, 23.4])
def test_minimum_is_found_wherever_it_lies(place):
    found = minimum_between(lambda x: np.cosh(x - place), place - 7, place + 11)
    assert found == pytest.approx(place, abs=3e-8)  # values tell a minimum to the root of their rounding


def test_minimum_is_the_lowest_of_several():
    # cos falls to -1 at pi and 3 pi; the tilt makes the second the lower one, by the slope a little to its right
    found = minimum_between(lambda x: np.cos(x) - 0.05 * x, 0.0, 12.0)
    assert found == pytest.approx(3 * math.pi + math.asin(0.05), abs=3e-8)


@pytest.mark.parametrize(("low", "high", "end"), [(1.0, 2.0, 1.0), (-2.0, -1.0, -1.0)])
def test_minimum_at_an_end_of_the_range_is_that_end(low, high, end):
    assert minimum_between(lambda x: x * x, low, high) == pytest.approx(end, abs=1e-8)


@pytest.mark.parametrize("end", [10.0, -10.0])
def test_crossing_is_the_first_on_the_way(end):
    # sin^2 x passes 1/4 at 30 degrees, then again and again
    found = first_crossing(lambda x: np.sin(x) ** 2 - 0.25, 0.0, end)
    assert found == pytest.approx(math.copysign(math.pi / 6, end), rel=1e-12)


@pytest.mark.parametrize("end", [5.0, -5.0])
def test_no_crossing_is_an_infinite_end_on_that_side(end):
    assert first_crossing(lambda x: x * x - 100, 0.0, end) == math.copysign(math.inf, end)


def test_start_outside_by_rounding_is_the_end():
    assert first_crossing(lambda x: x * x + 1e-30, 0.0, 5.0) == 0.0


def test_planted_exponent_of_the_loss_comes_back():
    flops = np.geomspace(1e18, 1e22, 7)
    frontier = fit_loss_frontier(flops, 1.7 + (3e17 / flops) ** 0.154)
    assert frontier is not None
    assert frontier.gamma == pytest.approx(0.154, rel=1e-7)
    assert frontier.L_floor == pytest.approx(1.7, rel=1e-7)


def test_count_without_embedding_solves_its_equation():
    total = np.geomspace(1e4, 1e12, 9)
    bare = without_embedding(total)
    assert bare + OMEGA * np.cbrt(bare) == pytest.approx(total, rel=1e-14)
