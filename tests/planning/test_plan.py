"""A whole plan: its sections agree, nonsense is refused, doubts are carried, nothing is ever NaN."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.blocks import Figure, screen
from scaling.errors import LawError, PlanError, ScalingError
from scaling.planning.allocation import AllocationProblem
from scaling.planning.cost import Budget, Constraints, make_cluster
from scaling.planning.explain import explain_plan
from scaling.planning.plan import plan_training
from scaling.planning.result import plan_to_dict
from scaling.planning.spread import other_papers, spread_of_laws
from scaling.reference import find_accelerator, find_law, law_names, published_laws
from scaling.render.terminal import render_terminal
from scaling.translation import translated


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for v in value.values() for n in _numbers(v)]
    if isinstance(value, (list, tuple)):
        return [n for v in value for n in _numbers(v)]
    return [value] if isinstance(value, float) else []


def test_sections_of_a_plan_agree() -> None:
    plan = plan_training(1e21)
    assert 6 * plan.point.n_params * plan.point.n_tokens == pytest.approx(1e21)
    assert plan.is_optimum
    assert plan.optimum == plan.point
    assert plan.shape is not None
    assert abs(plan.shape.relative_error) < 0.02
    assert plan.schedule.n_steps * plan.schedule.batch_tokens >= plan.point.n_tokens
    assert plan.memory is not None
    assert plan.memory.n_devices == plan.cost.n_accelerators
    assert plan.exact_flops is not None
    assert 1.0 < plan.exact_flops / 1e21 < 1.1  # attention adds, the embedding lookup does not count
    assert plan.intervals.n_params is not None
    assert plan.intervals.n_params[0] < plan.point.n_params < plan.intervals.n_params[1]


def test_default_law_at_chinchillas_budget() -> None:
    plan = plan_training(5.76e23)
    assert plan.point.n_params == pytest.approx(73e9, rel=0.01)
    assert plan.tokens_per_param == pytest.approx(17.8, abs=0.2)


def test_extrapolation_is_a_warning_and_interpolation_is_not() -> None:
    assert plan_training(1e20).warnings == ()
    far = plan_training(5.76e23).warnings
    assert "extrapolation" in far[0]
    assert "times beyond" in far[0]
    short = next(f.short for f in plan_training(5.76e23).findings if f.code == "extrapolation")
    assert short.startswith("compute ")


@pytest.mark.parametrize(
    ("flops", "match"),
    [
        (1e5, "not a language model"),
        (1e40, "beyond any plan"),
        (1e12, "worse than guessing|not a language model"),
    ],
)
def test_nonsense_is_refused(flops: float, match: str) -> None:
    with pytest.raises(PlanError, match=match):
        plan_training(flops)


def test_loss_at_the_floor_is_refused() -> None:
    with pytest.raises(LawError, match="floor"):
        plan_training(Budget(target_loss=1.8))


def test_a_given_size_is_compared_with_the_optimum_of_its_compute() -> None:
    plan = plan_training(Budget(n_params=7e9, flops=1e21))
    assert not plan.is_optimum
    assert plan.optimum.n_params == pytest.approx(2.79e9, rel=0.01)
    assert plan.wasted_compute == pytest.approx(0.26, abs=0.01)
    assert plan.alternatives[0].n_params == pytest.approx(0.7 * plan.optimum.n_params)


def test_a_given_size_alone_gets_its_optimal_tokens() -> None:
    plan = plan_training(Budget(n_params=7e9))
    assert plan.is_optimum
    assert plan.wasted_compute is None
    assert plan.tokens_per_param == pytest.approx(20, rel=0.03)


def test_size_and_tokens_given_price_that_run() -> None:
    """Llama 3 8B: 15T tokens, far past the optimum."""
    plan = plan_training(Budget(n_params=8e9, n_tokens=15e12))
    assert plan.point.flops == pytest.approx(7.2e23)
    assert plan.wasted_compute is not None
    assert plan.wasted_compute > 0.5


def test_hardware_for_a_time_takes_that_time() -> None:
    cluster = make_cluster(find_accelerator("H100"), count=8)
    plan = plan_training(Budget(seconds=14 * 86400.0), cluster=cluster)
    assert plan.cost.seconds[1] == pytest.approx(14 * 86400)
    assert plan.cost.n_accelerators == 8
    assert not plan.cost.is_chosen


def test_dollars_are_spent() -> None:
    cluster = make_cluster(find_accelerator("H100"), price_usd_per_hour=2.5)
    plan = plan_training(Budget(dollars=25_000), cluster=cluster)
    assert plan.cost.usd == pytest.approx((25_000, 25_000))


def test_inference_saves_lifetime_compute() -> None:
    plan = plan_training(Budget(target_loss=2.0), constraints=Constraints(inference_tokens=2e12))
    assert plan.inference is not None
    assert plan.inference.saved == pytest.approx(0.107, abs=0.003)
    assert plan.point.n_params < plan.inference.training_optimum.n_params


def test_memory_caps_the_model() -> None:
    cluster = make_cluster(find_accelerator("H100"), count=1)
    plan = plan_training(1e22, cluster=cluster, constraints=Constraints(max_memory_bytes=24e9))
    assert plan.point.n_params < 24e9 / 16
    assert plan.memory is not None
    assert any(row.fits for row in plan.memory.rows)
    assert any("memory" in text for text in plan.warnings)


def test_memory_without_a_number_of_accelerators_caps_by_the_number_that_is_chosen() -> None:
    """97B train in 24 GB on the 2,048 accelerators the plan takes, so nothing is capped."""
    plan = plan_training(1e24, constraints=Constraints(max_memory_bytes=24e9))
    assert plan.is_optimum
    assert plan.point == plan_training(1e24).point
    assert plan.memory is not None
    assert plan.memory.n_devices == plan.cost.n_accelerators
    assert any(row.fits for row in plan.memory.rows)
    assert "24 GB" in plan.cost.accelerator
    assert any("hardware: not named" in text for text in plan.warnings)


def test_memory_too_small_for_any_sharding_caps_the_model() -> None:
    plan = plan_training(1e23, constraints=Constraints(max_memory_bytes=2e9))
    assert not plan.is_optimum
    assert plan.memory is not None
    assert any(row.fits for row in plan.memory.rows)
    assert any(f"on each of {plan.cost.n_accelerators:,} accelerators" in text for text in plan.warnings)


def test_more_tokens_than_the_whole_web_are_refused_unless_named() -> None:
    """7B at a loss of 2.0 needs 2.9e17 tokens; --flops alone had an upper limit before."""
    asked = Budget(target_loss=2.0)
    with pytest.raises(PlanError, match="95 times the whole web"):
        plan_training(asked, constraints=Constraints(max_params=7e9))
    plan = plan_training(Budget(n_params=7e9, n_tokens=5e15), constraints=Constraints(unique_tokens=1e15))
    assert plan.repetition is not None
    assert plan.repetition.epochs == pytest.approx(5)


def test_what_is_larger_than_anything_known_is_a_warning() -> None:
    said = " ".join(plan_training(Budget(n_params=7e12)).warnings)
    assert "8.2 times the largest training runs known" in said
    assert "times the largest cluster known" in said
    assert not any(text.startswith("size") for text in plan_training(5e25).warnings)


def test_a_run_that_outlives_its_hardware_is_refused_and_a_long_one_warned_of() -> None:
    with pytest.raises(PlanError, match=r"1\.5k years on 1 x T4.*32,768 finish within 30 days"):
        plan_training(1e24, cluster=make_cluster("T4", count=1, mfu=0.35))
    one = make_cluster("A100", count=1, mfu=0.54)
    assert any(text.startswith("time: 2.1 years") for text in plan_training(1e22, cluster=one).warnings)
    assert not any(text.startswith("time") for text in plan_training(1e21, cluster=one).warnings)


def test_over_training_beyond_every_run_is_a_warning() -> None:
    said = plan_training(Budget(n_params=1e9, n_tokens=2e13)).warnings
    assert any("20,000 tokens per parameter" in text for text in said)


def test_a_law_whose_runs_count_flops_otherwise_says_what_the_budget_is_in_theirs() -> None:
    law = find_law("besiroglu")
    assert law.provenance is not None
    own = replace(
        law, provenance=law.provenance._replace(flops_convention="exact", flops_over_6nd=(1.1, 1.5))
    )
    said = plan_training(1e21, own).warnings
    assert said == (
        "FLOPs: this plan counts C = 6ND, its law's runs 1.1 to 1.5 times that: the plan's 1e21 FLOPs are 1.1e21 to "
        "1.5e21 as they count.",
    )
    assert own.provenance is not None
    assert own.provenance.flops_text == "C = 6ND (its runs' FLOPs (exact) are 1.1 to 1.5 times that)"
    assert plan_training(1e21, own).point == plan_training(1e21).point


def test_a_law_without_intervals_does_not_speak_of_them() -> None:
    said = plan_training(1e23, find_law("hoffmann")).warnings[0]
    assert said.endswith("The plan assumes that the law holds there.")


def test_a_model_that_does_not_fit_is_a_warning() -> None:
    cluster = make_cluster(find_accelerator("H100"), count=2)
    plan = plan_training(Budget(n_params=70e9), cluster=cluster)
    assert any("does not fit on 2" in text for text in plan.warnings)


def test_tokens_beyond_every_open_corpus_are_a_warning() -> None:
    assert any(text.startswith("data:") for text in plan_training(1e27).warnings)


@pytest.mark.parametrize("name", law_names())
def test_every_published_law_plans_or_says_why_not(name: str) -> None:
    try:
        plan = plan_training(1e21, find_law(name))
    except ScalingError as error:
        assert str(error)
        return
    assert plan.point.flops == pytest.approx(1e21)
    json.dumps(plan_to_dict(plan))
    assert explain_plan(plan)


def test_laws_of_non_embedding_parameters_are_converted() -> None:
    plan = plan_training(1e21, find_law("kaplan"))
    assert plan.shape is not None
    assert plan.shape.n_params == pytest.approx(plan.point.n_params, rel=0.02)
    assert plan.shape.n_params_total > plan.shape.n_params
    assert any("non-embedding" in text for text in plan.warnings)
    answer = next(a for a in plan.spread.answers if a.name == "kaplan")
    assert answer.conversion
    assert answer.n_params > plan.point.n_params


def test_spread_holds_the_laws_that_answer_sorted_by_size() -> None:
    answers = spread_of_laws(published_laws(), AllocationProblem(flops=1e21)).answers
    assert {"besiroglu", "hoffmann", "llama3", "20:1", "kaplan"} <= {a.name for a in answers}
    assert "kaplan-n" not in {a.name for a in answers}  # a loss of N alone has no optimum
    sizes = [a.n_params for a in answers]
    assert sizes == sorted(sizes)


def test_variants_of_one_paper_count_once() -> None:
    spread = spread_of_laws(published_laws(), AllocationProblem(flops=1e21))
    others = other_papers(spread, "besiroglu")
    assert others is not None
    papers = {a.paper for a in spread.answers if a.paper != "2404.10102"}
    assert others.n_papers == len(papers)
    twice = (*spread.answers, *(a for a in spread.answers if a.name == "sardana-all"))
    doubled = other_papers(spread._replace(answers=twice), "besiroglu")
    assert doubled is not None
    assert doubled[:7] == others[:7]
    assert others.least.name == "hoffmann-printed"  # fits on a part of the runs (sardana-le100) do not count
    assert others.n_params_low <= others.n_params_high


def test_the_spread_leaves_out_laws_of_one_quantity_unread() -> None:
    question = AllocationProblem(flops=1e21)
    read = spread_of_laws(published_laws(of_size_and_data=True), question)
    assert read.answers == spread_of_laws(published_laws(), question).answers


@pytest.mark.parametrize(
    ("budget", "constraints"),
    [
        (Budget(flops=1e22), Constraints(inference_tokens=2e12)),
        (Budget(flops=1e22), Constraints(unique_tokens=2e10)),
        (Budget(target_loss=2.0), Constraints()),
        (Budget(n_params=7e9), Constraints()),
    ],
)
def test_other_laws_answer_the_question_that_was_asked(budget: Budget, constraints: Constraints) -> None:
    """Hoffmann's law beside the default one says what it says as the plan's own law."""
    beside = next(
        a for a in plan_training(budget, constraints=constraints).spread.answers if a.name == "hoffmann"
    )
    own = plan_training(budget, find_law("hoffmann"), constraints=constraints)
    assert beside.n_params == pytest.approx(own.point.n_params, rel=2e-3)  # the spread's search is coarser
    assert beside.n_tokens == pytest.approx(own.point.n_tokens, rel=2e-3)
    assert beside.flops == pytest.approx(own.point.flops, rel=2e-3)


def test_papers_that_know_the_training_optimum_only_are_silent_about_serving() -> None:
    spread = plan_training(1e22, constraints=Constraints(inference_tokens=2e12)).spread
    assert "llama3" not in {a.name for a in spread.answers}
    assert {"2407.21783", "2401.02954"} <= set(spread.silent)


def test_a_cap_asks_the_other_laws_for_the_optimum_without_it() -> None:
    spread = plan_training(1e22, constraints=Constraints(max_params=1e9)).spread
    assert not spread.same_question
    assert spread.answers == plan_training(1e22).spread.answers


def test_a_given_size_counts_total_parameters_for_every_law() -> None:
    spread = plan_training(
        Budget(n_params=7e9), find_law("kaplan")
    ).spread  # kaplan: 7B without the vocabulary
    assert all(a.n_params == pytest.approx(7.27e9, rel=0.01) for a in spread.answers)
    assert [a.n_tokens for a in spread.answers] == sorted(a.n_tokens for a in spread.answers)


def test_thousands_of_epochs_plan_with_a_warning() -> None:
    plan = plan_training(1e22, constraints=Constraints(unique_tokens=2e7))
    assert any("epochs" in text for text in plan.warnings)


def test_contract_has_the_fields_of_the_issue() -> None:
    said = plan_to_dict(plan_training(1e21), next_command="next")
    assert {"name", "coefficients", "source"} <= set(said["law"])
    assert set(said["law"]["coefficients"]) == {"E", "A", "B", "alpha", "beta"}
    for name in ("flops", "n_params", "n_tokens", "tokens_per_param", "loss"):
        assert isinstance(said[name], float)
    assert {"level", "n_params", "n_tokens", "loss"} <= set(said["intervals"])
    sizes = {"n_layers", "d_model", "n_heads", "d_ff", "vocab_size", "context_length", "n_params"}
    assert sizes <= set(said["architecture"])
    assert isinstance(said["warnings"], list)
    assert said["next_command"] == "next"


_positive = st.floats(min_value=1e-3, max_value=1e45, allow_nan=False, allow_infinity=False)
_budgets = st.one_of(
    st.fixed_dictionaries({"flops": st.floats(1e10, 1e32)}),
    st.fixed_dictionaries({"target_loss": st.floats(0.5, 12)}),
    st.fixed_dictionaries({"n_params": st.floats(1, 1e16)}),
    st.fixed_dictionaries({"n_tokens": st.floats(1, 1e18)}),
    st.fixed_dictionaries({"flops": _positive, "n_params": _positive}),
    st.fixed_dictionaries({"n_params": _positive, "n_tokens": _positive}),
    st.fixed_dictionaries({"target_loss": st.floats(0.5, 12), "n_tokens": st.floats(1, 1e18)}),
    st.fixed_dictionaries({"seconds": st.floats(1, 1e10)}),
    st.fixed_dictionaries({"dollars": st.floats(0.01, 1e13)}),
)
_constraints = st.fixed_dictionaries(
    {},
    optional={
        "unique_tokens": st.floats(1e3, 1e16),
        "max_params": st.floats(1e3, 1e14),
        "max_memory_bytes": st.floats(1e8, 1e13),
        "inference_tokens": st.floats(1, 1e18),
        "context_length": st.integers(1, 1_000_000),
        "vocab_size": st.integers(1, 1_000_000),
    },
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    budget=_budgets,
    constraints=_constraints,
    law=st.sampled_from(["besiroglu", "hoffmann", "20:1", "kaplan", "gadre-c4"]),
)
def test_a_plan_is_whole_or_an_error_of_ours(
    budget: dict[str, float], constraints: dict[str, Any], law: str
) -> None:
    cluster = make_cluster(find_accelerator("H100"), count=8)
    try:
        plan = plan_training(
            Budget(**budget), find_law(law), cluster=cluster, constraints=Constraints(**constraints)
        )
    except ScalingError as error:
        assert str(error)
        return
    said = plan_to_dict(plan)
    assert not any(math.isnan(number) for number in _numbers(said))
    assert plan.point.n_params > 0
    assert plan.point.n_tokens > 0
    assert math.isfinite(plan.point.flops)


@pytest.mark.parametrize(
    ("budget", "constraints", "codes"),
    [
        (Budget(flops=1e20), Constraints(), []),
        (Budget(flops=5.76e23), Constraints(), ["extrapolation"]),
        (
            Budget(n_params=1e9, n_tokens=2e13),
            Constraints(),
            ["extrapolation", "over-training", "more-than-any-open-corpus"],
        ),
        (Budget(flops=1e22), Constraints(unique_tokens=2e10), ["many-epochs"]),
        (Budget(flops=1e22), Constraints(max_memory_bytes=24e9), ["hardware-not-named"]),
    ],
)
def test_each_doubt_has_a_stable_code(budget: Budget, constraints: Constraints, codes: list[str]) -> None:
    plan = plan_training(budget, constraints=constraints)
    assert [f.code for f in plan.findings] == codes
    assert {f.severity for f in plan.findings} <= {"warning"}
    said = plan.to_dict()
    assert said["warnings"] == list(plan.warnings) == [f["message"] for f in said["findings"]]


def test_the_headline_and_the_first_screen_compute_no_more_than_they_tell() -> None:
    plan = plan_training(1e21)
    assert plan.headline(alone=True)
    on_demand = {"spread", "valley", "alternatives", "exact_flops", "sweeps"}
    assert not on_demand & set(vars(plan))
    blocks = plan.summary(figures=False)
    list(screen(blocks))
    assert on_demand & set(vars(plan)) == {"spread", "valley", "sweeps"}
    list(screen(blocks, ["all"]))
    assert on_demand <= set(vars(plan))


def test_the_figure_of_a_plan_is_the_cost_of_every_size_and_nothing_at_the_optimum() -> None:
    plan = plan_training(1e21)
    (figure,) = [block for block in plan.summary() if isinstance(block, Figure)]
    assert figure.kind == "off-optimum"
    extra = dict(zip(figure.data["n_params"], figure.data["extra_compute"], strict=True))
    assert extra[plan.optimum.n_params] == pytest.approx(0, abs=1e-12)
    dense = plan_training(1e21, ratios=(10**-0.25,))  # a size of the curve, by the table's own way
    assert extra[dense.alternatives[0].n_params] == dense.alternatives[0].extra_compute
    assert figure.data["optimum"] == [plan.optimum.n_params]
    assert "2.79B" in figure.alt
    assert not [block for block in plan.summary(figures=False) if isinstance(block, Figure)]


def test_a_plan_is_told_in_the_readers_language() -> None:
    plan = plan_training(1e21)
    answer = "With {flops} FLOPs, train {size}."
    with translated({answer: "{flops} FLOPs tragen {size}.", "recipe": "Rezept", "budget": "Budget"}):
        told = render_terminal(plan.summary())
    assert told.startswith("1e21 FLOPs tragen 2.79B parameters on 59.7B tokens.")
    assert "\n  Rezept " in told
    assert "\nBudget " in told
