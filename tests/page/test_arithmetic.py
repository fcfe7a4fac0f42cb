"""The page's arithmetic in a real browser beside the Python planner: a thousand inputs, the same to 1e-9."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from browser import chromium

from scaling import Budget, Constraints, fit_isoflop, make_cluster, plan_training
from scaling.fitting.named_fit import FitSettings, fit_named_law
from scaling.laws.base import Allocation, Law
from scaling.page.data import page_data
from scaling.planning.allocation import AllocationProblem, has_surface, solve
from scaling.planning.alternatives import compare_lifetimes, half_size, valley
from scaling.planning.cost import estimate_cost
from scaling.planning.shape import DEFAULT_CONTEXT
from scaling.planning.spread import other_papers, spread_of_laws
from scaling.planning.uncertainty import intervals
from scaling.reference.example import example_runs
from scaling.reference.published import find_law, published_laws

pytestmark = pytest.mark.engine

N_INPUTS, N_SPREADS, N_PLANS = 1000, 100, 40
EQUAL = 1e-9

State = dict[str, Any]


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium() as browser:
        tab = browser.new_page()
        script = files("scaling").joinpath("page", "planner.js").read_text(encoding="utf-8")
        tab.add_script_tag(content=script + ";globalThis.Planner = Planner")
        yield tab


@pytest.fixture(scope="module")
def own() -> dict[str, Law]:
    """Laws of fits with their intervals: of Approach 3, and of the valleys, whose law knows the optimum alone."""
    runs = example_runs()
    return {
        "parametric": fit_named_law(runs, FitSettings()).law,
        "isoflop": fit_isoflop(runs).law,
    }


def planned_in_browser(page: Any, data: dict[str, Any], states: list[State]) -> list[dict[str, Any]]:
    """Results of the page, infinities kept: JSON between browser and test has none."""
    told = page.evaluate(
        """([data, states]) => JSON.stringify(JSON.parse(states).map((s) => Planner.plan(JSON.parse(data), s)),
           (key, value) => value === Infinity ? "inf" : Number.isNaN(value) ? "nan" : key === "law" ? value.name : value)
        """.replace("JSON.parse(data)", "(globalThis.kept ??= {})[data] ??= JSON.parse(data)"),
        [json.dumps(data), json.dumps(states)],
    )
    return json.loads(told)  # type: ignore[no-any-return]


def same(found: Any, true: Any, where: object) -> None:
    if found in ("inf", "nan"):
        found = float(found)
    if true is None or found is None:
        assert found is None, (found, true, where)
        assert true is None, (found, true, where)
        return
    if math.isinf(true):
        assert found == true, where
        return
    assert math.isclose(found, true, rel_tol=EQUAL, abs_tol=EQUAL * 1e-3), (found, true, where)


def same_ends(found: Any, true: Any, where: object) -> None:
    if true is None or found is None:
        assert (found, true) == (None, None), where
        return
    for one, other in zip(found, true, strict=True):
        same(one, other, where)


def random_states(rng: random.Random, data: dict[str, Any], n: int) -> list[State]:
    states = []
    for _ in range(n):
        law = rng.choice(data["laws"])
        flops = 10 ** rng.uniform(17, 26)
        serves = law["form"] == "chinchilla" and rng.random() < 0.4
        states.append(
            {
                "lawName": law["name"],
                "flops": flops,
                "accelerator": rng.choice(data["accelerators"])["name"],
                "nAccelerators": rng.choice([None, 1, rng.randint(2, 20_000)]),
                "pricePerHour": rng.choice([None, rng.uniform(0.1, 20)]),
                "mfu": rng.choice([None, rng.uniform(0.05, 0.8)]),
                # at most what half of the budget serves with a model of the optimal size
                "servedTokens": 10 ** rng.uniform(9, math.log10(flops) / 2 + 1.5) if serves else None,
            }
        )
    return states


def problem_of(state: State) -> AllocationProblem:
    return AllocationProblem(flops=state["flops"], inference_tokens=state["servedTokens"] or 0.0)


def law_of(state: State, own: dict[str, Law]) -> Law:
    return own.get(state["lawName"]) or find_law(state["lawName"])


def test_a_thousand_plans_are_those_of_python(page: Any, own: dict[str, Law]) -> None:
    """Point, intervals by band and by draws, valley, half size, lifetime, time, money and energy; of a part of them also
    what the other papers say, and the whole plan."""
    rng = random.Random(14)
    data = page_data(own["parametric"])
    named = {data["laws"][0]["name"]: own["parametric"]}
    states = random_states(rng, data, N_INPUTS)
    results = planned_in_browser(page, data, states)
    assert len(results) == N_INPUTS
    by_draws, spreads, plans = 0, N_SPREADS, N_PLANS
    for state, told in zip(states, results, strict=True):
        law, problem = law_of(state, named), problem_of(state)
        point = solve(law, problem)
        for name, value in (("nParams", point.n_params), ("nTokens", point.n_tokens), ("loss", point.loss)):
            same(told[name], value, (name, state))
        same(told["trainingFlops"], point.flops, state)
        check_cost(told["cost"], state, point)
        check_alternatives(told, law, point, problem, state)
        if law.uncertainty is not None:
            by_draws += not problem.is_plain
            check_intervals(told["intervals"], law, problem, state)
        if not state["servedTokens"] and spreads > 0:
            spreads -= 1
            check_others(told["others"], law, state)
        if plans > 0 and state["nAccelerators"] is None:  # a plan refuses what outlives its hardware
            plans -= 1
            check_plan(told, law, state)
    assert (by_draws > 10, spreads, plans) == (True, 0, 0)


def check_cost(told: dict[str, Any], state: State, point: Allocation) -> None:
    chosen = {
        "count": state["nAccelerators"],
        "mfu": state["mfu"],
        "price_usd_per_hour": state["pricePerHour"],
    }
    cluster = make_cluster(state["accelerator"], **chosen).for_run(point.n_params, DEFAULT_CONTEXT)
    cost = estimate_cost(cluster, point.flops)
    assert told["nAccelerators"] == cost.n_accelerators, state
    same_ends(told["seconds"], cost.seconds, state)
    same_ends(told["hours"], cost.accelerator_hours, state)
    same_ends(told["usd"], cost.usd, state)
    same_ends(told["usdExtreme"], cost.usd_extreme, state)
    same_ends(told["energyKwh"], cost.energy_kwh, state)


def check_alternatives(
    told: dict[str, Any], law: Law, point: Any, problem: AllocationProblem, state: State
) -> None:
    half = half_size(law, point, problem)
    assert (told["smaller"] is None) == (half is None), state
    if half is not None:
        same(told["smaller"]["nTokens"], half.n_tokens, state)
        same(told["smaller"]["extra"], half.extra_compute, state)
        same(told["smaller"]["breakEven"], half.break_even_tokens, state)
    near = None if problem.inference_tokens else valley(law, point, problem)
    assert (told["valley"] is None) == (near is None), state
    if near is not None:
        ends = (told["valley"][name] for name in ("low", "high", "worst"))
        same_ends(tuple(ends), (near.n_params_low, near.n_params_high, near.worst), state)
    life = compare_lifetimes(law, point, problem)
    assert (told["served"] is None) == (life is None), state
    if life is not None:
        same(told["served"]["flops"], life.lifetime_flops, state)
        assert math.isclose(told["served"]["saved"], life.saved, abs_tol=EQUAL), state


def check_intervals(told: dict[str, Any], law: Law, problem: AllocationProblem, state: State) -> None:
    true = intervals(law, problem)
    assert (told["level"], told["method"].split(" (")[0] in true.method) == (true.level, True), state
    for name, ends in (
        ("nParams", true.n_params),
        ("nTokens", true.n_tokens),
        ("tokensPerParam", true.tokens_per_param),
        ("loss", true.loss),
    ):
        same_ends(told[name], ends, (name, state))


def check_others(told: dict[str, Any], law: Law, state: State) -> None:
    laws = published_laws(of_size_and_data=True)
    name = law.provenance.name if law.provenance else ""
    true = other_papers(spread_of_laws(laws, AllocationProblem(flops=state["flops"])), name)
    assert true is not None
    assert (told["nPapers"], told["least"]["name"], told["most"]["name"]) == (
        true.n_papers,
        true.least.name,
        true.most.name,
    ), state
    same_ends(told["nParams"], (true.n_params_low, true.n_params_high), state)
    same_ends(told["nTokens"], (true.n_tokens_low, true.n_tokens_high), state)


def check_plan(told: dict[str, Any], law: Law, state: State) -> None:
    """The whole planner, which also looks for a shape and its memory, on as many accelerators as the page chose."""
    chosen = {
        "count": told["cost"]["nAccelerators"],
        "mfu": state["mfu"],
        "price_usd_per_hour": state["pricePerHour"],
    }
    plan = plan_training(
        Budget(flops=state["flops"]),
        law,
        cluster=make_cluster(state["accelerator"], **chosen),
        constraints=Constraints(inference_tokens=state["servedTokens"]),
    )
    same(told["nParams"], plan.point.n_params, state)
    same(told["loss"], plan.point.loss, state)
    same_ends(told["cost"]["hours"], plan.cost.accelerator_hours, state)
    same_ends(told["cost"]["usd"], plan.cost.usd, state)
    same_ends(told["intervals"]["nTokens"], plan.intervals.n_tokens, state)


def test_a_law_of_the_optimum_alone_keeps_its_intervals(page: Any, own: dict[str, Law]) -> None:
    data = page_data(own["isoflop"])
    rng = random.Random(2)
    states = [
        {**state, "lawName": data["laws"][0]["name"], "servedTokens": None}
        for state in random_states(rng, data, 50)
    ]
    assert not has_surface(own["isoflop"])
    for state, told in zip(states, planned_in_browser(page, data, states), strict=True):
        point = solve(own["isoflop"], problem_of(state))
        same(told["nParams"], point.n_params, state)
        same(told["loss"], point.loss, state)
        check_intervals(told["intervals"], own["isoflop"], problem_of(state), state)
        assert told["smaller"] is told["valley"] is None


def test_the_tables_are_those_of_the_planner() -> None:
    data = page_data()
    for law in data["laws"]:
        assert law["coefficients"] == find_law(law["name"]).coefficients
    for accelerator in data["accelerators"]:
        cluster = make_cluster(accelerator["name"])
        assert accelerator["mfu"] == [cluster.mfu_low, cluster.mfu_mid, cluster.mfu_high]
        assert accelerator["peakFlopsPerS"] == cluster.peak_flops_per_s
    json.dumps(data, allow_nan=False)
