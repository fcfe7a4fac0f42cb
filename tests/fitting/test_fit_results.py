import math

import pytest

from scaling.errors import UsageError
from scaling.fitting.results import Estimate, Interval, Objective


def test_interval_says_which_end_is_infinite():
    interval = Interval(low=0.3, high=math.inf, level=0.95, method="profile")
    assert not interval.bounded
    assert interval.to_dict() == {
        "low": 0.3,
        "high": None,
        "level": 0.95,
        "method": "profile",
        "unbounded": ["high"],
    }


def test_interval_refuses_nan_and_crossed_ends():
    for low, high in ((math.nan, 1.0), (2.0, 1.0)):
        with pytest.raises(UsageError, match="low <= high"):
            Interval(low=low, high=high, level=0.95, method="profile")


def test_interval_contains_its_ends_and_not_more():
    interval = Interval(low=1.0, high=2.0, level=0.95, method="t")
    assert interval.contains(1.0)
    assert interval.contains(2.0)
    assert not interval.contains(2.1)
    assert interval.half_width == 0.5


def test_estimate_without_error_prints_null():
    assert Estimate(value=0.5).to_dict() == {"value": 0.5, "standard_error": None, "interval": None}
    assert Estimate(value=0.5, standard_error=math.inf).to_dict()["standard_error"] is None


def test_objective_shows_delta_only_where_there_is_one():
    assert Objective(name="huber", value=1.0, delta=1e-3).to_dict() == {
        "name": "huber",
        "value": 1.0,
        "delta": 1e-3,
    }
    assert "delta" not in Objective(name="least_squares", value=1.0).to_dict()
