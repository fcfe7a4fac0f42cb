"""Spec → runs: each run a plain configuration whose hash is its name, with what it costs.

WSD trunks. Runs of one size, seed and recipe share their warm-up and constant phase: a trunk. Each budget is a branch
that leaves the trunk after (1 - c) of its own steps and decays over the rest. So k budgets D_1 < ... < D_k of a size
cost (1 - c) D_k + c sum D_i instead of sum D_i. The saving is in the execution only: a branch is an ordinary run whose
result depends on nothing but its own configuration. Losses of one trunk are not independent: `trunk_id` says so.
Source: Haegele et al. 2024, arXiv:2405.18392, fig. 4 (1 - sqrt decay over 20 %).

Plans. The spec and what was learned of the corpus are kept in the store, so that a worker needs no other file. A plan
is named by the hash of its content. Editing the spec makes another plan beside it: workers of the old one finish
undisturbed, and both share every run they have in common.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from scaling.accounting import count_params, flop_parts, flops_per_token
from scaling.architecture import Architecture
from scaling.blocks import Blocks, Record, Shown, Text
from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.files import write_text
from scaling.planning.shape import Advice, deepseek_law, step_law
from scaling.sweep.shapes import choose_shape, count_as, shape_fields
from scaling.sweep.spec import (
    MOST_SIZES,
    FlopsConvention,
    ParamsConvention,
    RecipeName,
    SpecError,
    SweepSpec,
    sweep_from_dict,
)  # fmt: skip
from scaling.sweep.store import Store, StoreError, read_json, run_id_of
from scaling.translation import counted, tr
from scaling.units import format_flops

CONFIG_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of the grid. n_params and flops are counted as the spec says."""

    run_id: str
    trunk_id: str | None
    config: Mapping[str, Any]
    budget: float
    seed: int
    n_params_wanted: float  # counted as params_wanted says
    params_wanted: ParamsConvention
    n_params: int
    n_tokens: int
    flops: float
    flops_per_step: float  # exact_causal: what the machine has to do
    vocabulary_share: float  # of the FLOPs

    @property
    def n_steps(self) -> int:
        return int(self.config["schedule"]["n_steps"])

    @property
    def decay_steps(self) -> int:
        return self.n_steps - branch_step(self.config["schedule"])

    @property
    def work_flops(self) -> float:
        """To execute (exact_causal), were it trained on its own."""
        return self.n_steps * self.flops_per_step

    @property
    def architecture(self) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = self.config["architecture"]
        return fields

    @property
    def learning_rate(self) -> float:
        return float(self.config["optimizer"]["learning_rate"])

    @property
    def n_params_non_embedding(self) -> int:
        """What Kaplan et al. count."""
        return count_params(Architecture.from_dict(dict(self.architecture))).non_embedding

    @property
    def unit_id(self) -> str:
        """What one worker does in one go: a trunk with its branches, or a run on its own."""
        return self.trunk_id or self.run_id


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Runs that share a trunk, in rising order of steps; or one run."""

    unit_id: str
    runs: tuple[PlannedRun, ...]

    @property
    def n_steps(self) -> int:
        """Steps that must be trained: the trunk once, each decay once."""
        if self.runs[0].trunk_id is None:
            return sum(r.n_steps for r in self.runs)
        return max(r.n_steps - r.decay_steps for r in self.runs) + sum(r.decay_steps for r in self.runs)

    @property
    def work_flops(self) -> float:
        return self.n_steps * self.runs[0].flops_per_step


@dataclass(frozen=True, kw_only=True)
class Design(Shown):
    """All runs of a sweep; `records()` and `to_frame()` list them."""

    spec: SweepSpec
    vocab_size: int
    n_tokens_unique: float | None
    runs: tuple[PlannedRun, ...]

    def records(self) -> list[Record]:
        """A row a run that is to be trained: budget and FLOPs in FLOPs, sizes, steps, learning rate, seed."""
        return planned_records(self.runs)

    def summary(self) -> Blocks:
        """How many runs and what they cost; `check_design` says what to doubt."""
        runs, n = counted(len(self.runs), "run"), len(self.spec.grid.budgets)
        cost = format_flops(self.work_flops)
        said = tr(
            "sweep {name}: {runs} at {n} budgets, {flops} FLOPs to execute",
            name=self.spec.name, runs=runs, n=n, flops=cost,
        )  # fmt: skip
        return (Text(said),)

    @property
    def units(self) -> tuple[Unit, ...]:
        """Longest first, so that no long one is left for the end."""
        ordered = sorted(self.runs, key=lambda r: (r.unit_id, r.n_steps))
        units = [Unit(unit_id=k, runs=tuple(g)) for k, g in groupby(ordered, key=lambda r: r.unit_id)]
        return tuple(sorted(units, key=lambda u: (-u.work_flops, u.unit_id)))

    @property
    def work_flops(self) -> float:
        """What will be spent (exact_causal)."""
        return sum(u.work_flops for u in self.units)

    @property
    def independent_flops(self) -> float:
        """What the same runs would cost without shared trunks."""
        return sum(r.work_flops for r in self.runs)


def planned_records(runs: Iterable[PlannedRun]) -> list[Record]:
    """A row a run that is to be trained: budget and FLOPs in FLOPs, sizes, steps, learning rate, seed."""
    names = (
        "run_id",
        "trunk_id",
        "budget",
        "n_params",
        "n_tokens",
        "flops",
        "n_steps",
        "learning_rate",
        "seed",
    )
    return [{name: getattr(run, name) for name in names} for run in runs]


class Cell(NamedTuple):
    """One run of the grid, before its shape is known."""

    budget: float
    n_params: float  # wanted
    seed: int
    params: ParamsConvention | None = None  # how n_params is counted; None: as the spec says


def grid_cells(spec: SweepSpec) -> list[Cell]:
    """The cells the spec asks for: sizes at every budget, replicates at the middle size of some."""
    cells = []
    for budget in spec.grid.budgets:
        sizes = budget_sizes(spec, budget)
        repeated = spec.seeds.replicates if budget in spec.seeds.replicate_budgets else 1
        for size in sizes:
            repeats = repeated if size == sizes[len(sizes) // 2] else 1
            cells += [Cell(budget, size, spec.seeds.first + k) for k in range(repeats)]
    return cells


def design_sweep(
    spec: SweepSpec,
    *,
    vocab_size: int,
    n_tokens_unique: float | None = None,
    cells: Sequence[Cell] | None = None,
) -> Design:
    """Every run of the spec.

    Args:
        vocab_size, n_tokens_unique: of the corpus; None unique tokens is an unlimited corpus.
        cells: other runs than the grid's, under the same recipe.
    """
    runs: dict[str, PlannedRun] = {}
    shapes: dict[tuple[float, ParamsConvention], Architecture] = {}
    for cell in grid_cells(spec) if cells is None else cells:
        wanted = cell.n_params, cell.params or spec.grid.params
        if wanted not in shapes:
            shapes[wanted], _ = choose_shape(spec, cell.n_params, vocab_size=vocab_size, params=wanted[1])
        run = plan_run(spec, cell, shapes[wanted])
        runs[run.run_id] = run
    return Design(
        spec=spec, vocab_size=vocab_size, n_tokens_unique=n_tokens_unique, runs=tuple(runs.values())
    )


def budget_sizes(spec: SweepSpec, budget: float) -> list[float]:
    """The lattice sizes size_ratio^i of a budget, rising: the ones nearest in the logarithm to the expected optimum, or
    all in the range of tokens per parameter.
    """
    grid = spec.grid
    step = math.log(grid.size_ratio)
    if grid.tokens_per_param_range:
        low, high = grid.tokens_per_param_range
        # D / N = C / (6 N^2) falls with N
        first = math.ceil(math.log(budget / (FLOPS_PER_PARAM_TOKEN * high)) / 2 / step)
        last = math.floor(math.log(budget / (FLOPS_PER_PARAM_TOKEN * low)) / 2 / step)
        if last < first:
            raise SpecError(
                f"no size has {low:g} to {high:g} tokens per parameter at {budget:g} FLOPs: sizes lie a factor of "
                f"{grid.size_ratio:g} apart. Widen grid.tokens_per_param_range or lower grid.size_ratio."
            )
        if last - first >= MOST_SIZES:
            raise SpecError(
                f"{low:g} to {high:g} tokens per parameter hold {last - first + 1} sizes a factor of "
                f"{grid.size_ratio:g} apart, more than {MOST_SIZES}. Narrow grid.tokens_per_param_range or raise "
                "grid.size_ratio."
            )
        return [grid.size_ratio**i for i in range(first, last + 1)]
    n = grid.sizes_per_budget
    first = round(math.log(grid.expected_optimum(budget)) / step - (n - 1) / 2)
    return [grid.size_ratio ** (first + i) for i in range(n)]


def plan_run(spec: SweepSpec, cell: Cell, architecture: Architecture) -> PlannedRun:
    """One cell of the grid: recipe, number of steps, and the configuration that says it all."""
    budget, seed, n_params = cell.budget, cell.seed, count_as(architecture, spec.grid.params)
    per_token = flops_of_a_token(spec.grid.flops, architecture, n_params)
    recipe = _recipe(spec, architecture, n_params, budget, per_token)
    batch = int(recipe.pop("batch_sequences"))
    batch_tokens = batch * spec.corpus.context_length
    n_steps = max(1, round(budget / (per_token * batch_tokens)))
    config: dict[str, Any] = {
        "schema_version": CONFIG_VERSION,
        "architecture": shape_fields(
            spec, architecture.vocab_size, architecture.d_model, architecture.n_layers, architecture.d_ff
        ),
        "corpus": spec.corpus.name,
        "batch_sequences": batch,
        "optimizer": recipe,
        "schedule": {**asdict(spec.schedule), "n_steps": n_steps},
        "precision": spec.recipe.precision,
        "seeds": {"weights": seed, "data": seed},
        "evaluation": {"windows": spec.evaluation.windows},
        "budget": budget,
        "conventions": {"params": spec.grid.params, "flops": spec.grid.flops},
    }
    if spec.schedule.kind == "wsd":
        config["trunk_id"] = run_id_of(trunk_config(config))
    parts = flop_parts(architecture)
    return PlannedRun(
        run_id=run_id_of(config),
        trunk_id=config.get("trunk_id"),
        config=config,
        budget=budget,
        seed=seed,
        n_params_wanted=cell.n_params,
        params_wanted=cell.params or spec.grid.params,
        n_params=n_params,
        n_tokens=n_steps * batch_tokens,
        flops=n_steps * batch_tokens * per_token,
        flops_per_step=parts.total * batch_tokens,
        vocabulary_share=parts.head / parts.total,
    )


def trunk_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the runs of one trunk share: all but the length, the decay, the evaluation, and the names of budgets."""
    shared = (
        "schema_version",
        "architecture",
        "corpus",
        "batch_sequences",
        "optimizer",
        "precision",
        "seeds",
    )
    schedule = {k: config["schedule"][k] for k in ("kind", "warmup_steps")}
    return {**{k: config[k] for k in shared}, "schedule": schedule}


def flops_of_a_token(convention: FlopsConvention, architecture: Architecture, n_params: int) -> float:
    """Training FLOPs of a token, counted as a sweep says; n_params as it counts them."""
    if convention == "6ND":
        return FLOPS_PER_PARAM_TOKEN * n_params
    return flops_per_token(architecture, convention=convention)


def branch_step(schedule: Mapping[str, Any]) -> int:
    """The first step whose learning rate depends on the length of the run: where a branch leaves its trunk."""
    n_steps = int(schedule["n_steps"])
    if schedule["kind"] == "wsd":
        return n_steps - max(1, round(float(schedule["decay_fraction"]) * n_steps))
    return min(int(schedule["warmup_steps"]), n_steps)


def _recipe(
    spec: SweepSpec, architecture: Architecture, n_params: int, budget: float, per_token: float
) -> dict[str, Any]:
    """Optimiser settings. On a trunk they may not depend on the budget, since its runs share them."""
    r = spec.recipe
    rate = r.learning_rate * (n_params / r.reference_params) ** r.learning_rate_exponent
    batch = r.batch_tokens
    if r.name != "fixed":
        flops = _budget_of_size(spec, n_params) if spec.schedule.kind == "wsd" else budget
        advice = _published(r.name, architecture, flops=flops, n_tokens=flops / per_token)
        if advice.learning_rate is None or advice.batch_tokens is None:
            raise SpecError(
                f"the recipe {r.name} gives no learning rate or batch; use recipe.name = 'fixed'."
            )
        rate, batch = advice.learning_rate, advice.batch_tokens
    return {
        "name": r.optimizer,
        "learning_rate": float(f"{rate:.4g}"),
        **{name: getattr(r, name) for name in ("beta1", "beta2", "weight_decay", "clip")},
        "batch_sequences": max(1, round(batch / spec.corpus.context_length)),
    }


def published_advice(spec: SweepSpec, run: PlannedRun) -> Advice:
    """What the published rule of the recipe says of a run, and whether the run lies in its range."""
    shape = Architecture.from_dict(run.config["architecture"])
    return _published(spec.recipe.name, shape, flops=run.flops, n_tokens=run.n_tokens)


def _published(name: RecipeName, architecture: Architecture, *, flops: float, n_tokens: float) -> Advice:
    if name == "deepseek":
        return deepseek_law(flops)
    return step_law(count_params(architecture).non_embedding, n_tokens)


def _budget_of_size(spec: SweepSpec, n_params: float) -> float:
    """The budget whose expected optimum is this size: expected_optimum inverted (it is a power law)."""
    at_1, at_2 = spec.grid.expected_optimum(1e12), spec.grid.expected_optimum(1e14)
    exponent = math.log(at_2 / at_1) / math.log(100)
    return float(1e12 * (n_params / at_1) ** (1 / exponent))


def with_budgets(spec: SweepSpec, budgets: Sequence[float]) -> SweepSpec:
    """The same sweep with other budgets; cells of budgets that are gone are not repeated."""
    kept = tuple(b for b in spec.seeds.replicate_budgets if b in budgets)
    return replace(
        spec,
        grid=replace(spec.grid, budgets=tuple(budgets)),
        seeds=replace(spec.seeds, replicate_budgets=kept, replicates=spec.seeds.replicates if kept else 1),
    )


def write_plan(store: Store, design: Design) -> Path:
    """Write STORE/plans/<hash>.json unless it is there, and return its path."""
    plan: dict[str, Any] = {
        "schema_version": 1,
        "kind": "sweep_plan",
        "spec": design.spec.to_dict(),
        "vocab_size": design.vocab_size,
        "n_tokens_unique": design.n_tokens_unique,
        "cells": [_cell(r, design.spec.grid.params) for r in design.runs],
    }
    path = store.root / "plans" / f"{run_id_of(plan)}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(plan, indent=1, sort_keys=True) + "\n")
    return path


def read_plan(path: Path) -> Design:
    """The design of a plan file.

    Raises:
        StoreError: the file is missing, damaged, or of another kind.
    """
    if not path.exists():
        raise StoreError(f"there is no plan {path}; start with `scaling sweep run SPEC`.")
    plan = read_json(path)
    if plan.get("kind") != "sweep_plan" or plan.get("schema_version") != 1:
        raise StoreError(
            f"{path} is not a sweep plan of schema version 1. Start again with `scaling sweep run`."
        )
    spec, vocab_size, unique = (plan[k] for k in ("spec", "vocab_size", "n_tokens_unique"))
    cells = [Cell(float(budget), float(n), int(seed), *params) for budget, n, seed, *params in plan["cells"]]
    return design_sweep(sweep_from_dict(spec), vocab_size=vocab_size, n_tokens_unique=unique, cells=cells)


def known_corpus(store: Store, name: str) -> tuple[int, float | None] | None:
    """Vocabulary and number of distinct tokens of a corpus, as a plan of this store says; the vocabulary alone where
    only its runs are here (restored ones). None: the store knows no run on it."""
    for path in sorted((store.root / "plans").glob("*.json")):
        plan = read_json(path)
        if plan["spec"]["corpus"]["name"] == name:
            return plan["vocab_size"], plan["n_tokens_unique"]
    for run_id in store.run_ids():
        config = store.inspect(run_id).config
        if config.get("corpus") == name:
            return config["architecture"]["vocab_size"], None
    return None


def _cell(run: PlannedRun, params: ParamsConvention) -> list[Any]:
    """How N is counted is said only where it differs from the spec."""
    cell = [run.budget, run.n_params_wanted, run.seed]
    return cell if run.params_wanted == params else [*cell, run.params_wanted]
