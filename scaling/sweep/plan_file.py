"""The plan of a sweep in its store: the spec and what was learned of the corpus, so that a worker needs no other file.

A plan is named by the hash of its content. Editing the spec makes another plan beside it: workers of the old one
finish undisturbed, and both share every run they have in common.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scaling.files import write_text
from scaling.sweep.design import Cell, Design, PlannedRun, design_sweep
from scaling.sweep.files import StoreError, read_json
from scaling.sweep.spec import ParamsConvention, sweep_from_dict
from scaling.sweep.store import Store, run_id_of


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
    return design_sweep(
        sweep_from_dict(plan["spec"]),
        vocab_size=plan["vocab_size"],
        n_tokens_unique=plan["n_tokens_unique"],
        cells=[
            Cell(float(budget), float(n_params), int(seed), *params)
            for budget, n_params, seed, *params in plan["cells"]
        ],
    )


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
