"""One table of exit codes over all commands: what is not there 1, wrong usage 2, damaged content 3, done 0."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from scaling.cli import COMMANDS, run
from scaling.errors import DataError, Exit, FitError, LawError, PlanError, ScalingError, UsageError

DONE = """
plan --flops 1e21 --quiet
report law.json --target 1e21 --format md
fit runs.csv
predict besiroglu runs.csv
audit gpt3
page -o page.html
count gpt2
laws list
laws show law.json
hardware list
hardware show H100
data list
tokenize encode hi
tokenize decode 104 105
tokenize explain low --vocab-size 258
corpus mixture
corpus show synthetic
demo --write new.csv
doctor
completion bash
sweep init new.toml
"""
MISSING = """
plan --flops 1e21 --law none.json
report none.csv
fit none.csv
predict none.json runs.csv
predict besiroglu none.csv
audit none.json --tokens 1T
page none.json
count none.json
count empty
laws show none.json
data get epoch-chinchilla --cache cache --base-url http://127.0.0.1:9
tokenize train none.txt --out t.json
tokenize encode hi --tokenizer none.json
tokenize decode 1 --tokenizer none.json
tokenize explain hi --text-file none.txt
tokenize explain hi --tokenizer none.json
corpus prepare none.txt --out c
corpus show none
corpus check none
corpus check empty
train --corpus none --tokens 1k
train --resume none
generate none hi
generate empty hi
decode explain hi --model none
demo --write none/runs.csv
sweep design none.toml
sweep show none
sweep status none
sweep run none.toml
sweep resume none
sweep retry none
sweep fit none
sweep verify none
sweep export none -o out
sweep index none
sweep restore none
sweep import hf-trainer none -o x.csv
sweep import nanochat none -o x.csv
sweep import wandb none -o x.csv
sweep import mlflow none -o x.csv
sweep import tensorboard none -o x.csv
data get epoch-chinchilla --cache runs.csv/cache
sweep import nanochat nanochat.csv --bytes-per-token 4 -o none/x.csv
sweep import nanochat empty -o x.csv --sizes none.csv
"""
DAMAGED = """
plan --flops 1e21 --law bad.json
report bad.csv
fit bad.csv
fit headers.csv
fit bad.json
predict bad.json runs.csv
predict besiroglu bad.csv
audit bad.json --tokens 1T
page bad.json
count bad.json
count list.json
count field.json
laws show bad.json
laws show list.json
tokenize train bad.txt --out t.json
tokenize encode hi --tokenizer bad.json
tokenize explain hi --tokenizer list.json
corpus check damaged
train --resume damaged
generate damaged hi
sweep design bad.toml
sweep run bad.toml
sweep import nanochat bad.csv -o x.csv
"""
WRONG_OPTION = [f"{name} --nonsense" for name in COMMANDS]
WRONG_VALUE = """
plan
plan --flops 1e21 --dollars 25k --hardware H100
plan --flops 7B
fit runs.csv --huber-delta x
fit runs.csv --column nonsense
predict besiroglu
report runs.csv --format docx
audit --params 7B
page --flops 7B
count
count gpt2 --n-layers 1.5
data get epoch-chinchilla x
tokenize encode hi --tokenizer
tokenize decode x
corpus mixture --share web
train
train --tokens 5M --minutes 2
demo --write runs.csv
completion csh
sweep init sweep.toml
sweep import nonsense x -o x.csv
"""
UNKNOWN_NAME = """
paln
plan --flops 1e21 --law besirogl
plan --hardware 8xQ100 --time 3d
fit runs.csv --law chinchila
report runs.csv --law chinchila
predict besirogl runs.csv
audit gtp3
page chinchila
count gtp2
count gpt2 --set n_layer=3
laws show besirogl
laws lst
hardware show H1000
data get nonsense
train --preset nope --tokens 1k
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, whole and damaged."""
    from scaling.reference.example import example_runs_text

    place = tmp_path_factory.mktemp("files")
    (place / "runs.csv").write_text(example_runs_text())
    (place / "bad.csv").write_bytes(b"n_params,n_tokens,loss\n1e9,\xff\xfe,2\n")
    (place / "nanochat.csv").write_text("scaling_params,tokens_trained,val_bpb\n1e6,1e8,1.1\n")
    (place / "headers.csv").write_text("n_params,n_tokens,loss\n")
    (place / "bad.json").write_text("{")
    (place / "list.json").write_text("[1]")
    (place / "field.json").write_text('{"n_layers": "two"}')
    (place / "bad.toml").write_text("[")
    (place / "bad.txt").write_bytes(b"\xff\xfe")
    (place / "sweep.toml").write_text("")
    (place / "empty").mkdir()
    (place / "damaged").mkdir()
    for name in ("index.json", "config.json"):
        (place / "damaged" / name).write_text("{")
    from scaling.reference import resolve_law, write_law

    write_law(resolve_law("besiroglu"), place / "law.json")
    return place


def _table() -> list[tuple[str, Exit]]:
    rows = [
        (DONE, Exit.DONE),
        (MISSING, Exit.CANNOT),
        (DAMAGED, Exit.CONTENT),
        (WRONG_VALUE, Exit.USAGE),
        (UNKNOWN_NAME, Exit.USAGE),
    ]
    listed = [(line, code) for lines, code in rows for line in lines.strip().splitlines()]
    return listed + [(line, Exit.USAGE) for line in WRONG_OPTION]


@pytest.mark.parametrize(("command", "code"), _table())
def test_exit_code(
    command: str,
    code: Exit,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for path in folder.iterdir():
        os.symlink(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(command)) == code
    err = capfd.readouterr().err
    assert "fault of scaling" not in err
    assert (code == Exit.DONE) or "rror: " in err


def test_every_command_stands_in_each_part_of_the_table() -> None:
    first = {line.split()[0] for line in (DONE + MISSING + DAMAGED).strip().splitlines() if line}
    assert first == set(COMMANDS)
    assert {line.split()[0] for line in MISSING.strip().splitlines()} == set(COMMANDS) - {
        "hardware",
        "doctor",
        "completion",
    }  # fmt: skip  they read no file


def test_the_classes_of_errors_take_their_codes_from_the_table() -> None:
    def below(kind: type[ScalingError]) -> list[type[ScalingError]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    assert all(isinstance(kind.exit_code, Exit) for kind in below(ScalingError))
    codes = {UsageError: 2, DataError: 3, FitError: 3, LawError: 1, PlanError: 1, ScalingError: 1}
    assert {kind: int(kind.exit_code) for kind in codes} == codes
