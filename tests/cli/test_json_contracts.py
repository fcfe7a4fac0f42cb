"""docs/json.md names every command that has --json, and every field such a command prints at its top level."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from scaling.cli import cli
from scaling.reference.example import example_curves, example_runs_text

TEXT = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
NOT_NUMBERS = {  # they write files, move runs or print text
    "completion", "corpus check", "corpus prepare", "page", "report", "sweep export", "sweep import", "sweep index",
    "sweep init", "sweep restore", "sweep resume", "sweep retry", "sweep run", "tokenize decode",
    "tokenize train",
}  # fmt: skip


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, bool]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None:
            yield " ".join((*path, name)), any("--json" in p.opts for p in command.params)


def section(command: str) -> str:
    """The part of the document about a command, by its first word; the model core shares one."""
    found = re.search(rf"^## `scaling {command.split()[0]}.*?(?=^## |\Z)", TEXT, re.M | re.S)
    return found[0] if found else TEXT[TEXT.index("## The model core") :]


def test_every_command_that_answers_with_numbers_has_json() -> None:
    assert {name for name, has_json in commands(cli) if not has_json} <= NOT_NUMBERS


def test_every_command_with_json_is_in_the_document() -> None:
    for name, has_json in commands(cli):
        words = name.split()
        named = f"scaling {words[0]}" in section(name) and (len(words) == 1 or words[1] in section(name))
        assert named or not has_json, name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contracts")
    (path / "runs.csv").write_text(example_runs_text())
    pd.DataFrame(example_curves()).to_csv(path / "curves.csv", index=False)
    return path


@pytest.mark.parametrize(
    "words",
    [
        "fit {}/runs.csv --holdout-above 1e20",
        "fit {}/runs.csv --law over_training",
        "fit {}/runs.csv --method isoflop",
        "fit {}/curves.csv --method envelope",
        "predict besiroglu {}/runs.csv",
        "audit --params 7B --tokens 2T",
        "count gpt2 --tokens 1e9",
        "laws list",
        "laws show besiroglu",
        "hardware list",
        "hardware show H100",
        "data list",
        "demo",
        "doctor",
        "plan --flops 1e21",
    ],
)
def test_every_field_is_in_the_document(folder: Path, words: str) -> None:
    result = CliRunner().invoke(cli, [*words.format(folder).split(), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    named = set(re.findall(r"`([a-zA-Z_0-9]+)`", section(words)))
    printed = json.loads(result.stdout)
    fields = set(printed)
    for value in printed.values():  # and those of the rows of a list
        fields |= set(value[0]) if isinstance(value, list) and value and isinstance(value[0], dict) else set()
    assert fields - named - {"schema_version"} == set()
