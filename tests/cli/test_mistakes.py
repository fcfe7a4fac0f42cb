"""Usual mistakes times every command, and what is answered: what is wrong, where, and what to type instead.

A row: the command; its exit code (2 wrong usage, 1 not there, 3 another content); words that the answer must hold; and,
where the remedy is a command, that command, which must stand in the answer and work.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaling.cli import COMMANDS, run

# kind of mistake → rows: command | exit code | what the answer names ; ... | remedy, a command that works
TABLE = """
# a wrong unit
plan --flops 7B                              | 2 | --flops ; '7B' ; 1e21                            |
plan --flops '1e21 FLOP/s'                   | 2 | --flops ; rate ; multiply it by the seconds      |
plan --time 14 --hardware 8xH100             | 2 | --time ; no ; 14d                                |
plan --flops 1e21 --max-memory 80            | 2 | --max-memory ; 80GB                              |
plan --dollars 25€ --hardware 8xH100         | 2 | --dollars ; US dollars ; convert                 |
plan --flops 1e21 --seq-len 2.5              | 2 | --seq-len ; whole number                         |
audit --params 7B --tokens 2parsecs          | 2 | --tokens ; '2parsecs' ; 1.4T                     |
count gpt2 --tokens 7params                  | 2 | --tokens ; parameters ; 300B                     |
count gpt2 --batch 1,5                       | 2 | --batch ; whole number                           |
fit runs.csv --holdout-above 7B              | 2 | --holdout-above ; '7B' ; 1e21                    |
fit runs.csv --bootstrap 4k                  | 2 | --bootstrap ; 4000                               |
hardware measure --seconds 1s                | 2 | --seconds ; without its unit: 1                  |
train --minutes 2min                         | 2 | --minutes ; without its unit: 2                  |
train --tokens 5parsecs                      | 2 | --tokens ; '5parsecs'                            |
sweep run sweep.toml --deadline 25           | 2 | --deadline ; '25' ; 14d                          |
corpus mixture --share a:1:10B --tokens 2params | 2 | --tokens ; parameters                            |
corpus prepare notes.txt --out c --max-tokens 9x --tokenizer byte | 2 | --max-tokens ; '9x'         |
tokenize train notes.txt --vocab-size 4k --out t.json | 2 | --vocab-size ; Write it out: 4000       |

# a decimal comma, a percent sign
plan --flops 1e21 --mfu 40                   | 2 | --mfu ; 0.4 or 40%                               |
fit runs.csv --level 95                      | 2 | --level ; Write a share of one: 0.95             |
fit runs.csv --level 95%                     | 2 | --level ; '95%'                                  |
generate none hi --temperature 0,8           | 2 | --temperature ; Write a decimal point: 0.8       |
generate none hi --top-p 90%                 | 2 | --top-p ; Write a share of one: 0.9              |
decode explain hi --top-p 0,9                | 2 | --top-p ; Write a decimal point: 0.9             |
corpus prepare notes.txt --out c --validation-fraction 2% | 2 | --validation-fraction ; one: 0.02   |
corpus mixture --share web:0,8:10B           | 2 | --share ; decimal point ; 0,8                    |
hardware measure --seconds 4,5               | 2 | --seconds ; Write a decimal point: 4.5           |

# no budget, two, half of one, one without its name
plan                                         | 2 | exactly one budget ; --flops 1e21 ; --params 7B  |
plan --flops 1e21 --target-loss 2.3          | 2 | --flops and --target-loss ; all but one          |
plan --flops 1e21 --params 7B --tokens 1T    | 2 | --params and --tokens ; leave one                |
plan --time 14d                              | 2 | --time needs the hardware ; --hardware 8xH100    |
plan --dollars 5k                            | 2 | --dollars needs the hardware ; 8xH100            |
plan --hardware 8xH100                       | 2 | alone is no budget ; --time 14d ; --flops 1e21   |
plan 1e21                                    | 2 | A budget has a name                              | scaling plan --flops 1e21
7B                                           | 2 | no number of FLOPs                               | scaling plan --params 7B
14d                                          | 2 | no number of FLOPs                               | scaling plan --time 14d --hardware 8xH100
audit --params 7B                            | 2 | --params ; --tokens 2T                           |
train                                        | 2 | --minutes 2 or --tokens 5M                       |
train --minutes 2 --tokens 5M                | 2 | --minutes 2 or --tokens 5M ; one                 |
count                                        | 2 | preset ; --n-layers 12                           | scaling count --list

# a misspelt name of a law, device, model, table, option, command, column
plan --flops 1e21 --law chinchila            | 2 | 'chinchila' ; did you mean: hoffmann             | scaling laws list
plan --hardware 8xH1000 --time 14d           | 2 | 'H1000' ; h100-sxm ; --peak-tflops               | scaling hardware list
plan --flop 1e21                             | 2 | '--flop' ; '--flops'                             |
plam                                         | 2 | 'plam' ; plan                                    |
fit runs.csv --law chinchila                 | 2 | 'chinchila' ; chinchilla                         |
fit runs.csv --method isoflops               | 2 | --method ; Did you mean isoflop?                 |
fit runs.csv --outptu fit.json               | 2 | --outptu ; --output                              |
fit runs.csv --by corpus                     | 2 | 'corpus' ; known: ; n_params                     |
fit runs.csv --only corpus=c4                | 2 | 'corpus' ; known: ; n_params                     |
fit runs.csv --column n_params=sise          | 2 | 'sise' ; the file has n_params                   |
fit runs.csv --fix F=1                       | 2 | 'F' ; A, B, E, alpha, beta                       |
predict besirogl runs.csv                    | 2 | 'besirogl' ; besiroglu                           | scaling laws list
audit gtp-3                                  | 2 | 'gtp-3' ; GPT-3                                  |
audit gpt-3 --law chinchila                  | 2 | 'chinchila' ; hoffmann                           | scaling laws list
count gtp2                                   | 2 | 'gtp2' ; gpt2                                    |
count gpt2 --set nrom=x                      | 2 | 'nrom' ; norm                                    |
count gpt2 --precision fp16                  | 2 | 'fp16' ; bf16                                    |
page chinchila                               | 2 | 'chinchila' ; hoffmann                           | scaling laws list
page kaplan-n                                | 2 | a page explores laws that split a budget         |
page --flops 7B                              | 2 | --flops ; '7B' ; 1e21                            |
page --flops 1e9                             | 2 | budgets from 1e15 to 1e30 FLOPs                  |
laws show chinchila                          | 2 | 'chinchila' ; hoffmann                           | scaling laws list
laws shw besiroglu                           | 2 | 'shw' ; 'show'                                   |
hardware show H1000                          | 2 | 'H1000' ; h100-sxm                               | scaling hardware list
hardware measure --dtype bfloat              | 2 | --dtype ; Did you mean bfloat16                  |
data get chinchila                           | 2 | 'chinchila' ; epoch-chinchilla                   | scaling data list
sweep rnu sweep.toml                         | 2 | 'rnu' ; 'run'                                    |
sweep run sweep.toml --executor slrum        | 2 | --executor ; Did you mean slurm?                 |
sweep import wandbb x -o y.csv               | 2 | 'wandbb' ; Did you mean wandb?                   |
train --preset gtp2 --minutes 1              | 2 | 'gtp2' ; gpt2                                    |
train --recipe stepla --tokens 1k            | 2 | 'stepla' ; steplaw                               |
train --device gpu --tokens 1k               | 2 | 'gpu' ; cpu, cuda                                |
decode explane hi                            | 2 | 'explane' ; 'explain'                            |
corpus show stdlb                            | 1 | 'stdlb' ; 'stdlib'                               |
tokenize encode hi --tokenizer gpt2          | 1 | gpt2 ; scaling tokenize train                    |
completion tcsh                              | 2 | 'tcsh' ; bash                                    |
doctor x                                     | 2 | (x)                                              | scaling doctor

# a file that is not there, or a folder
plan --flops 1e21 --law none.json            | 1 | none.json ; scaling fit RUNS -o none.json        |
fit none.csv                                 | 1 | none.csv ; check the path                        | scaling data list
fit folder                                   | 3 | folder is a folder ; .csv                        |
fit runs.csv -o folder                       | 2 | 'folder' is a directory ; --output               |
fit runs.csv -o none/fit.json                | 1 | none ; make it first                             |
predict none.json runs.csv                   | 1 | none.json ; scaling fit RUNS                     |
predict besiroglu none.csv                   | 1 | none.csv ; check the path                        |
count none.json                              | 1 | 'none.json'                                      |
count folder                                 | 1 | 'folder' ; config.json                           |
demo --write none/x.csv                      | 1 | none ; make it first                             |
demo --write runs.csv                        | 2 | runs.csv exists ; --force                        |
sweep run none.toml                          | 1 | none.toml ; scaling sweep init none.toml         | scaling sweep init none.toml
sweep fit sweep.toml                         | 1 | no store ; scaling sweep run sweep.toml          |
sweep status folder                          | 1 | folder/sweep.toml ; scaling sweep init           |
sweep index folder                           | 1 | no store at folder ; scaling sweep run           |
sweep restore folder                         | 1 | folder/results ; scaling sweep export            |
sweep import wandb none -o y.csv             | 1 | no none ; logs of wandb                          |
train --resume none                          | 1 | none ; --out none                                |
train --corpus none --tokens 1k              | 1 | 'none' ; scaling corpus prepare                  |
generate none hi                             | 1 | none ; scaling train                             |
decode explain hi --model none               | 1 | none ; scaling train                             |
tokenize train none.txt --out t.json         | 1 | none.txt ; a file, a folder                      |
corpus prepare none.txt --out c              | 1 | none.txt ; a file, a folder                      |

# another kind of file, or two that are swapped
fit fit.json                                 | 3 | fit.json holds a law                             | scaling plan --flops 1e21 --law fit.json
fit sweep.toml                               | 3 | spec of a sweep ; scaling sweep fit sweep.toml   |
fit paper.pdf                                | 3 | a PDF ; copy its table                           |
fit figure.png                               | 3 | a picture, not a table ; give the table of runs  |
fit figure.svg                               | 3 | a picture, not a table ; give the table of runs  |
fit empty.csv                                | 3 | empty ; n_params,n_tokens,loss                   |
fit notes.txt                                | 3 | no column for loss ; --column loss=NAME          |
fit runs.csv other.csv                       | 2 | (other.csv)                                      |
predict runs.csv fit.json                    | 3 | runs.csv holds no law                            | scaling fit runs.csv -o fit.json
plan --flops 1e21 --law runs.csv             | 3 | runs.csv holds no law                            | scaling fit runs.csv -o fit.json
report missing.csv                           | 1 | missing.csv                                      |
report runs.csv --format docx                | 2 | --format ; html,pdf,md ; docx                    |
report runs.csv --target 7B                  | 2 | 7B ; FLOPs                                       |
plan --flops 1e21 --law paper.pdf            | 3 | paper.pdf holds no law ; a published name        |
plan --flops 1e21 --plot out.txt             | 2 | out.txt ; out.png                                |
plan runs.csv                                | 2 | A table of runs is fitted first                  | scaling fit runs.csv -o fit.json
plan fit.json                                | 2 | A law has a name                                 | scaling plan --flops 1e21 --law fit.json
laws show runs.csv                           | 3 | runs.csv holds no law                            | scaling fit runs.csv -o fit.json
count runs.csv                               | 3 | 'runs.csv' is not JSON ; config.json             | scaling count --list
audit paper.pdf --tokens 1T                  | 3 | 'paper.pdf' is not JSON ; config.json            | scaling count --list
sweep run fit.json                           | 3 | fit.json is not TOML ; sweep.toml                |
sweep design runs.csv                        | 3 | runs.csv is not TOML ; scaling sweep init        |
generate runs.csv hi                         | 1 | runs.csv ; scaling train                         |
tokenize encode hi --tokenizer fit.json      | 3 | fit.json is not a tokenizer                      |
tokenize train paper.pdf --out t.json        | 3 | paper.pdf ; .txt                                 |
corpus check runs.csv                        | 1 | runs.csv ; scaling corpus prepare                |

# what the shell took away: a $, quotes, blanks
plan --dollars '' --hardware 8xH100          | 2 | --dollars ; empty ; '$25k'                       |
plan --flops ''                              | 2 | --flops ; empty                                  |
'$25k'                                       | 2 | no number of FLOPs                               | scaling plan --dollars '$25k' --hardware 8xH100
plan --hardware 8 H100 --time 14d            | 2 | --hardware '8 H100' ; quotes                     |
plan --tokens 7B params                      | 2 | another quantity ; --params '7B params'          |
plan --params 7 B                            | 2 | quotes ; --params '7 B'                          |
count gpt2 --tokens 300 B                    | 2 | quotes ; --tokens '300 B'                        |
train --tokens 5 M                           | 2 | quotes ; --tokens '5 M'                          |
plan --flops 1e21 --mfu 40 %                 | 2 | quotes ; --mfu '40 %'                            |
fit runs.csv --only n_params                 | 2 | --only ; COLUMN<VALUE                            |

# something left out
fit                                          | 2 | 'RUNS' ; scaling fit runs.csv                    |
predict besiroglu                            | 2 | 'RUNS' ; scaling predict fit.json                |
generate                                     | 2 | 'MODEL' ; scaling generate                       |
sweep run                                    | 2 | 'SPEC' ; scaling sweep run sweep.toml            |
sweep export sweep.toml                      | 2 | --output ; -o recorded                           |
plan --flops 1e21 --hardware                 | 2 | --hardware ; Write --hardware 8xH100             |
fit runs.csv --column n_params               | 2 | --column ; n_params=size                         |
fit runs.csv --fix E                         | 2 | --fix ; E=1.6                                    |
count gpt2 --set norm                        | 2 | --set ; FIELD=VALUE                              |
corpus mixture --share web                   | 2 | name:weight:tokens ; web:0.8:10B                 |
tokenize decode hello                        | 2 | 'hello'                                          |
"""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    kind: str
    command: str
    code: int
    names: tuple[str, ...]
    remedy: str


def mistakes() -> list[Mistake]:
    rows, kind = [], ""
    for line in filter(None, TABLE.splitlines()):
        if line.startswith("#"):
            kind = line.strip("# ")
            continue
        command, code, names, remedy = (part.strip() for part in line.split("|"))
        told = tuple(name.strip() for name in names.split(" ; "))
        rows.append(Mistake(kind=kind, command=command, code=int(code), names=told, remedy=remedy))
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file of each kind."""
    folder = tmp_path_factory.mktemp("mistakes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["demo", "--write", "runs.csv"]) == 0
        assert run(["fit", "runs.csv", "-o", "fit.json"]) == 0
        assert run(["sweep", "init", "sweep.toml"]) == 0
    (folder / "folder").mkdir()
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    (folder / "figure.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    (folder / "figure.svg").write_text(
        '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>\n'
    )
    (folder / "notes.txt").write_text("hello\nworld\n")
    (folder / "empty.csv").write_text("")
    return folder


@pytest.mark.parametrize("mistake", mistakes(), ids=lambda m: m.command)
def test_a_mistake_is_answered(
    mistake: Mistake, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert run(shlex.split(mistake.command)) == mistake.code
    said = capsys.readouterr()
    answer = " ".join(said.err.split())
    assert said.out == ""
    assert "Traceback" not in answer
    assert "fault of scaling" not in answer
    assert [name for name in mistake.names if name not in answer] == []
    if mistake.remedy:
        assert mistake.remedy in answer
        remedy = shlex.split(mistake.remedy)[1:]
        if "fit" in remedy:  # not over the law that other rows use
            remedy = [*remedy, "--force"]
        assert run(remedy) == 0, capsys.readouterr().err


def test_every_command_and_every_kind_of_mistake_is_in_the_table() -> None:
    rows = mistakes()
    assert {row.command.split()[0] for row in rows} >= set(COMMANDS)
    assert len({row.kind for row in rows}) >= 8
    assert len({row.command for row in rows}) == len(rows)
