"""Whoever takes a law takes it by its published name, by the path of its file, as a fit and as itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import scaling
from scaling.fitting.surface.result import ParametricFit
from scaling.reference import resolve_law

TAKERS: dict[str, Callable[[Any], Any]] = {
    "resolve_law": lambda law: resolve_law(law).coefficients,
    "find_law": lambda law: scaling.find_law(law).coefficients,
    "write_law": lambda law: written(law).coefficients,
    "allocate_compute": lambda law: scaling.allocate_compute(law, 1e21),
    "plan_training": lambda law: scaling.plan_training(1e21, law).point,
    "audit_model": lambda law: scaling.audit_model(model(), law).optimum,
    "predict_runs": lambda law: scaling.predict_runs(law, scaling.example_runs()).loss.tolist(),
    "fit_isoflop": lambda law: scaling.fit_isoflop(scaling.example_runs(), surface=law).params_exponent,
    "plot_frontier": lambda law: lines(scaling.plots.plot_frontier(law)),
    "plot_frontier, others": lambda law: lines(scaling.plots.plot_frontier("hoffmann", others=[law])),
}


def model() -> scaling.TrainedModel:
    return scaling.TrainedModel(name="m", n_params=7e9, n_tokens=1e12)


def lines(axes: Any) -> list[list[float]]:
    import matplotlib.pyplot as plt

    values = [list(map(float, drawn.get_ydata())) for drawn in axes.lines]
    plt.close("all")
    return values


def written(law: Any) -> scaling.Law:
    """The law that comes back from the file it was written to."""
    with TemporaryDirectory() as folder:
        scaling.write_law(law, Path(folder) / "written.json")
        return scaling.load_law(Path(folder) / "written.json")


@cache
def fit() -> ParametricFit:
    return scaling.fit_parametric(scaling.example_runs(), intervals=False)


@pytest.mark.parametrize("taker", TAKERS)
def test_a_law_is_taken_in_every_form(taker: str, tmp_path: Path) -> None:
    take, law = TAKERS[taker], fit().law
    (tmp_path / "fit.json").write_text(json.dumps(fit().to_dict()))
    scaling.write_law(law, tmp_path / "law.json")
    wanted = take(law)
    for form in (fit(), tmp_path / "fit.json", str(tmp_path / "fit.json"), str(tmp_path / "law.json")):
        assert take(form) == wanted, form


@pytest.mark.parametrize("taker", TAKERS)
def test_a_published_name_stands_for_its_law(taker: str) -> None:
    take = TAKERS[taker]
    assert take("sardana-all") == take(scaling.find_law("sardana-all")) != take("gadre-c4")


@pytest.mark.parametrize("taker", TAKERS)
def test_a_misspelt_law_is_told_the_near_one(taker: str) -> None:
    with pytest.raises(scaling.ScalingError, match="unknown law 'hofmann'; did you mean: hoffmann"):
        TAKERS[taker]("hofmann")


def test_the_default_of_a_plan_and_an_audit_is_the_same_law() -> None:
    assert (
        scaling.plan_training(1e21).law == scaling.audit_model(model()).law == scaling.find_law("besiroglu")
    )


@pytest.mark.parametrize("family", ["chinchilla", "kaplan_floor", "flops_power_law"])
def test_a_family_is_taken_by_name_wherever_one_is_fitted(family: str) -> None:
    runs = scaling.example_runs()
    assert scaling.fit_law(runs, family).law.family.name == family
    assert scaling.evaluate_extrapolation(runs, family, cuts=[5e19], intervals=False).law == family
    (row,) = scaling.compare_laws(runs, [family], objectives=["huber"]).rows
    assert row.law == family
