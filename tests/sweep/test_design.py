"""The design of a sweep: sizes, budgets, trunks and what they cost, against counts made by hand."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

import pytest
from tiny_sweeps import tiny_spec

from scaling.accounting import count_params
from scaling.architecture import Architecture
from scaling.runs import load_runs
from scaling.sweep.checks import check_design
from scaling.sweep.design import Design, design_sweep, grid_cells, with_budgets
from scaling.sweep.spec import SpecError, SweepSpec, load_sweep, sweep_from_dict, template

SWEEPS = Path(__file__).resolve().parents[2] / "sweeps"


def plan(spec: SweepSpec) -> Design:
    return design_sweep(spec, vocab_size=spec.corpus.vocab_size or 32)


def wide_spec(**grid: object) -> SweepSpec:
    """Five budgets a factor of two apart, on sizes from 20k to 1M parameters."""
    sizes = {"budgets": [1e12, 2e12, 4e12, 8e12, 1.6e13], "sizes_per_budget": 5, "size_ratio": 1.6}
    optimum = {"optimum_flops": 1e12, "optimum_params": 1e5}
    return tiny_spec(
        grid={**sizes, **optimum, **grid},
        corpus={"context_length": 64, "vocab_size": 256},
        shape={"d_head": 16, "n_layers": 2},
        recipe={"batch_tokens": 2048},
    )


@pytest.mark.parametrize("params", ["total", "non_embedding"])
def test_sizes_hit_n_within_2_percent_and_budgets_within_1(params: str) -> None:
    for run in plan(wide_spec(params=params)).runs:
        counts = count_params(Architecture.from_dict(run.config["architecture"]))
        n_params = counts.total if params == "total" else counts.non_embedding
        assert run.n_params == n_params
        assert n_params / run.n_params_wanted == pytest.approx(1, abs=0.02)
        assert 6 * n_params * run.n_tokens / run.budget == pytest.approx(1, abs=0.01)


def test_sizes_bracket_the_expected_optimum() -> None:
    spec = wide_spec()
    for budget in spec.grid.budgets:
        optimum = 1e5 * math.sqrt(budget / 1e12)
        sizes = [r.n_params for r in plan(spec).runs if r.budget == budget]
        assert len(sizes) == 5
        assert min(sizes) < optimum / 2
        assert max(sizes) > 2 * optimum


def test_tokens_per_param_puts_the_optimum_at_that_ratio() -> None:
    grid = {"tokens_per_param": 20.0, "optimum_flops": None, "optimum_params": None}
    spec = wide_spec(**grid)
    n_params = spec.grid.expected_optimum(1e12)
    assert 1e12 / (6 * n_params) / n_params == pytest.approx(20)


def test_a_range_of_tokens_per_param_takes_every_size_of_the_lattice_in_it() -> None:
    """At 6e12 FLOPs and N = 1e5, D / N = 100; the lattice is 2^i, so N from 2^16 (233) to 2^19 (3.6)."""
    grid = {"tokens_per_param_range": [3, 300], "optimum_flops": None, "optimum_params": None}
    spec = wide_spec(budgets=[6e12], size_ratio=2.0, **grid)
    assert [c.n_params for c in grid_cells(spec)] == [2.0**16, 2.0**17, 2.0**18, 2.0**19]
    assert spec.grid.expected_optimum(6e12) == pytest.approx((1e12 / 30) ** 0.5)  # 30 is the geometric middle
    with pytest.raises(SpecError, match="no size has 20 to 21 tokens"):
        grid_cells(wide_spec(budgets=[6e12], size_ratio=2.0, **{**grid, "tokens_per_param_range": [20, 21]}))
    with pytest.raises(SpecError, match="more than 200"):
        grid_cells(wide_spec(budgets=[6e12], **{**grid, "tokens_per_param_range": [1e-200, 1e200]}))


def test_a_trunk_costs_its_longest_run_and_the_other_decays() -> None:
    """One size at budgets D, 2D, 4D, 8D, 16D with c = 0.2: (0.8 x 16 + 0.2 x 31) / 31 = 0.613 of independent runs."""
    spec = wide_spec(sizes_per_budget=1, optimum_exponent=0.0)
    design = plan(spec)
    assert len(design.units) == 1
    assert design.work_flops / design.independent_flops == pytest.approx(
        (0.8 * 16 + 0.2 * 31) / 31, abs=0.002
    )


def test_the_template_costs_at_most_065_of_independent_runs() -> None:
    spec = sweep_from_dict(tomllib.loads(template("first")))
    design = design_sweep(spec, vocab_size=256)
    assert design.work_flops / design.independent_flops < 0.65
    assert "little-sharing" not in {f.code for f in check_design(design)}


def test_cosine_runs_share_nothing() -> None:
    spec = tiny_spec(schedule={"kind": "cosine", "warmup_steps": 2})
    design = plan(spec)
    assert design.work_flops == pytest.approx(design.independent_flops)
    assert all(r.trunk_id is None for r in design.runs)


def test_adding_a_budget_keeps_every_run_and_extends_the_trunks() -> None:
    spec = wide_spec()
    smaller, larger = plan(with_budgets(spec, spec.grid.budgets[:3])), plan(spec)
    assert {r.run_id for r in smaller.runs} < {r.run_id for r in larger.runs}
    trunks = {r.trunk_id for r in smaller.runs} & {r.trunk_id for r in larger.runs if r.budget > 4e12}
    assert trunks  # the new runs start from trunks that are there already


def test_ids_depend_on_what_is_trained_and_on_nothing_else() -> None:
    first, again = plan(tiny_spec()), plan(tiny_spec())
    assert [r.run_id for r in first.runs] == [r.run_id for r in again.runs]
    other = plan(tiny_spec(recipe={"learning_rate": 0.02}))
    assert not {r.run_id for r in first.runs} & {r.run_id for r in other.runs}


def test_replicates_repeat_the_middle_size_with_other_seeds() -> None:
    design = plan(tiny_spec(seeds={"replicates": 3, "replicate_budgets": [8e7]}))
    cells = [r for r in design.runs if r.seed > 0]
    assert sorted(r.seed for r in cells) == [1, 2]
    assert {r.budget for r in cells} == {8e7}
    assert len({r.n_params for r in cells}) == 1
    assert len({r.trunk_id for r in cells}) == 2


@pytest.mark.parametrize("recipe", ["steplaw", "deepseek"])
def test_on_a_trunk_the_recipe_depends_on_the_size_alone(recipe: str) -> None:
    spec = wide_spec()
    spec = tiny_spec(
        grid={k: v for k, v in spec.to_dict()["grid"].items() if v is not None},
        corpus={"context_length": 64, "vocab_size": 256},
        shape={"d_head": 16, "n_layers": 2},
        recipe={"name": recipe},
    )
    by_size: dict[int, set[tuple[float, int]]] = {}
    for r in plan(spec).runs:
        recipe_of = (r.config["optimizer"]["learning_rate"], r.config["batch_sequences"])
        by_size.setdefault(r.n_params, set()).add(recipe_of)
    assert all(len(v) == 1 for v in by_size.values())


def test_the_longest_work_comes_first() -> None:
    work = [u.work_flops for u in plan(wide_spec()).units]
    assert work == sorted(work, reverse=True)


def test_a_size_below_its_vocabulary_is_refused() -> None:
    with pytest.raises(SpecError, match="vocabulary of 5000"):
        design_sweep(tiny_spec(), vocab_size=5000)


def test_a_sound_design_has_no_warning() -> None:
    spec = wide_spec(sizes_per_budget=7)
    findings = check_design(plan(spec))
    assert [f.code for f in findings if f.severity != "note"] == []


@pytest.mark.parametrize(
    ("sections", "code"),
    [
        ({"grid": {"budgets": [4e7]}}, "few-budgets"),
        ({"grid": {"sizes_per_budget": 3}}, "few-sizes"),
        ({"grid": {"budgets": [4e7, 8e7]}}, "narrow-range"),
        ({"grid": {"size_ratio": 1.1}}, "narrow-valley"),
        ({"recipe": {"batch_tokens": 5000}}, "budget-missed"),
        ({"recipe": {"batch_tokens": 2048}}, "few-steps"),
        ({"schedule": {"warmup_steps": 10}}, "long-warmup"),
        ({"schedule": {"warmup_steps": 60}}, "warmup-beyond-branch"),
        ({"schedule": {"decay_fraction": 0.1}}, "short-decay"),
        ({"grid": {"budgets": [4e7, 6.4e8]}}, "little-sharing"),
        ({"corpus": {"vocab_size": 200}}, "vocabulary-heavy"),
        ({}, "no-replicates"),
        ({"recipe": {"batch_tokens": 100, "learning_rate": 0.01}}, "batch-rounded"),
        ({"recipe": {"name": "steplaw"}}, "recipe-outside"),
        ({"recipe": {"name": "deepseek"}}, "recipe-outside"),
        ({"shape": {"n_heads": 4, "d_head": 16}}, "uneven-mlp"),
        ({"grid": {"budgets": [4e7, 1e24]}}, "too-large-for-memory"),
    ],
)
def test_each_planted_fault_is_found(sections: dict[str, dict[str, object]], code: str) -> None:
    assert code in {f.code for f in check_design(plan(tiny_spec(**sections)))}


def test_a_recipe_is_not_outside_its_own_range() -> None:
    big = {"budgets": [6e18, 1.2e19], "tokens_per_param": 20, "sizes_per_budget": 3, "optimum_flops": None,
           "optimum_params": None, "size_ratio": 1.5}  # fmt: skip
    shape = {"d_head": 64, "n_layers": 16}
    design = plan(
        tiny_spec(grid=big, shape=shape, recipe={"name": "steplaw"}, corpus={"context_length": 2048})
    )
    assert "recipe-outside" not in {f.code for f in check_design(design)}


def test_repeats_of_a_finite_corpus_are_found() -> None:
    design = design_sweep(tiny_spec(), vocab_size=32, n_tokens_unique=1000)
    assert "data-repeats" in {f.code for f in check_design(design)}


@pytest.mark.parametrize("folder", sorted(p.parent.name for p in SWEEPS.glob("*/runs.csv")))
def test_recorded_sweeps_are_still_the_runs_of_their_spec(folder: str) -> None:
    """A change of shape rule, recipe or identity would orphan every recorded result: it must be seen."""
    spec = load_sweep(SWEEPS / folder)
    recorded = {p.stem for p in (SWEEPS / folder / "results").glob("*.json")}
    vocab_size = json.loads(next((SWEEPS / folder / "results").glob("*.json")).read_text())
    design = design_sweep(spec, vocab_size=vocab_size["config"]["architecture"]["vocab_size"])
    assert {r.run_id for r in design.runs} <= recorded
    assert set(load_runs(SWEEPS / folder / "runs.csv").run_id) <= recorded
