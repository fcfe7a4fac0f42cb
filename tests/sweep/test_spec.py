"""The spec of a sweep: read strictly, every mistake named."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from tiny_sweeps import TINY, tiny_spec, tiny_values, write_toml

from scaling.errors import DataError, MissingFileError, UsageError
from scaling.sweep.spec import SpecError, build, load_sweep, sweep_from_dict, template

ONE_POINT = {"optimum_flops": 4e7, "optimum_params": 1e4, "tokens_per_param": None}


def test_a_spec_survives_the_round_trip_through_its_dictionary() -> None:
    spec = tiny_spec(seeds={"replicates": 2, "replicate_budgets": [4e7]})
    assert sweep_from_dict(spec.to_dict()) == spec


def test_the_template_is_a_valid_spec(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(template("first"))
    spec = load_sweep(path)
    assert spec.name == "first"
    assert len(spec.grid.budgets) >= 4


@pytest.mark.parametrize(
    ("section", "changes", "says"),
    [
        ("grid", {"budgets": []}, "budgets is empty"),
        ("grid", {"budgets": [1e7, 1e7]}, "twice"),
        ("grid", {"budgets": ["7B"]}, "7B"),
        ("grid", {"budgets": [-1.0]}, "-1"),
        ("grid", {"sizes_per_budget": 2.5}, "whole number"),
        ("grid", {"size_ratio": 1.0}, "size_ratio"),
        ("grid", {"budgets": [[4e7]]}, r"grid\.budgets must be a number, got \[40000000\.0\]"),
        ("grid", {"budgets": [10**400]}, r"grid\.budgets must be below 1e308"),
        ("grid", {**ONE_POINT, "optimum_exponent": 50}, r"optimum_exponent must lie in \[0, 2\)"),
        ("grid", {**ONE_POINT, "optimum_params": 1e21}, r"at 10\^21\.\d parameters"),
        ("seeds", {"replicate_budgets": [[1]]}, r"replicate_budgets must be a number"),
        ("seeds", {"first": 10**400}, r"seeds\.first must be below 1e308"),
        ("corpus", {"n_tokens_unique": 0}, r"n_tokens_unique must be > 0"),
        ("corpus", {"n_tokens_unique": -5}, r"n_tokens_unique must be > 0"),
        ("recipe", {"learning_rate_exponent": 1e9}, r"must lie between -2 and 2"),
        ("recipe", {"learning_rate": 1e9}, r"learning_rate must be at most 10"),
        ("grid", {"tokens_per_param": 20}, "both"),
        ("grid", {"tokens_per_param_range": [20]}, "two rising numbers"),
        ("grid", {"tokens_per_param_range": [20, 5]}, "two rising numbers"),
        ("grid", {"flops": "5ND"}, "5ND"),
        ("grid", {"budget": [1e9]}, "grid.budgets"),
        ("recipe", {"learning_rate": float("nan")}, "number"),
        ("recipe", {"learning_rate": 0}, "> 0"),
        ("recipe", {"beta1": 1.5}, r"recipe\.beta1 must lie in \[0, 1\)"),
        ("recipe", {"beta2": 1}, r"recipe\.beta2 must lie in \[0, 1\)"),
        ("recipe", {"weight_decay": -1}, r"recipe\.weight_decay must be >= 0"),
        ("recipe", {"batch_tokens": 100.5}, r"recipe\.batch_tokens must be a whole number"),
        ("recipe", {"learning_rate": "1%"}, r"recipe\.learning_rate must be a plain number"),
        ("schedule", {"final_fraction": 7}, r"schedule\.final_fraction must lie in \[0, 1\]"),
        ("grid", {"sizes_per_budget": 100000}, "between 1 and 200"),
        ("corpus", {"name": 3}, r"corpus\.name must be text"),
        ("recipe", {"name": "steplaws"}, "steplaw"),
        ("schedule", {"kind": "wds"}, "wsd"),
        ("schedule", {"decay_fraction": 0}, "decay_fraction"),
        ("schedule", {"warmup_steps": "many"}, "whole number"),
        ("seeds", {"replicate_budgets": [6e7]}, "grid.budgets lacks"),
        ("corpus", {"context_length": 1}, "at least 2"),
        ("evaluation", {"windows": 0}, "at least 2"),
        ("seeds", {"replicates": 3}, "repeats nothing without seeds.replicate_budgets"),
        ("shape", {"architecture": {"context_length": 8}}, "use corpus.context_length"),
        ("shape", {"architecture": {"d_ff": 3}}, "the MLP is what makes a size hit its N"),
        ("shape", {"architecture": {"kind": "encoder"}}, "trains decoders"),
    ],
)
def test_a_wrong_key_or_value_is_named(section: str, changes: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        sweep_from_dict(tiny_values(**{section: changes}))


@dataclass(frozen=True)
class _Dated:
    day: date


def test_a_field_of_a_type_that_is_not_read_is_our_own_mistake() -> None:
    with pytest.raises(TypeError, match=r"first\.day is annotated"):
        build("first.", _Dated, {"day": "1 May"})


def test_quantities_may_be_text_by_what_they_count() -> None:
    spec = tiny_spec(
        recipe={"batch_tokens": "4k", "learning_rate": "1e-2"}, corpus={"n_tokens_unique": "2M tokens"}
    )
    assert (spec.recipe.batch_tokens, spec.recipe.learning_rate) == (4000, 0.01)
    assert spec.corpus.n_tokens_unique == 2e6


def test_other_versions_and_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="this version reads 1"):
        sweep_from_dict({**TINY, "schema_version": 2})
    with pytest.raises(SpecError, match="schema_version is True"):
        sweep_from_dict({**TINY, "schema_version": True})
    with pytest.raises(SpecError, match="list of names in quotes; it holds True"):
        sweep_from_dict({**TINY, "log": [True]})
    with pytest.raises(MissingFileError, match="scaling sweep init"):
        load_sweep(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(DataError, match=r"broken\.toml is not TOML"):
        load_sweep(tmp_path / "broken.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not TOML"):
        load_sweep(tmp_path / "binary.toml")
    with pytest.raises(SpecError, match=r"corpus\.name must be given"):
        sweep_from_dict({**TINY, "corpus": {"context_length": 16}})
    with pytest.raises(SpecError, match="must be a table"):
        sweep_from_dict({**TINY, "corpus": 3})


def test_a_folder_stands_for_the_spec_in_it(tmp_path: Path) -> None:
    path = write_toml(tmp_path / "sweep.toml", TINY)
    assert load_sweep(tmp_path) == load_sweep(path)
    assert tomllib.loads(path.read_text())["name"] == "tiny"
