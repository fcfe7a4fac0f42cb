"""What the Tab key completes, asked as the shells ask: by a process with the words of the line in its environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from scaling.cli import cli, completion

NO_COMPILED = (
    "import sys; from scaling.cli import run; code = run([]); print(*sorted(sys.modules), file=sys.stderr)"
)


def ask(
    line: list[str], folder: Path, *, shell: str = "bash", program: tuple[str, ...] = ("-m", "scaling")
) -> str:
    """What the shell is told for the last word of the line."""
    env = {
        **os.environ, "_SCALING_COMPLETE": f"{shell}_complete", "COMP_WORDS": "\n".join(["scaling", *line]),
        "COMP_CWORD": line[-1] if shell == "fish" else str(len(line)),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *program], env=env, cwd=folder, capture_output=True, text=True, check=True
    )
    assert "Traceback" not in done.stderr
    return done.stdout


def offered(line: list[str], folder: Path) -> list[str]:
    return [text.partition(",")[2] for text in ask(line, folder).splitlines() if text]


def with_program(folder: Path) -> dict[str, str]:
    """An environment in which `scaling` is a program."""
    program = folder / "bin" / "scaling"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scaling "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runs.csv").write_text(
        "n_params,n_tokens,loss,corpus\n1e8,1e9,3.1,c4\n2e8,1e9,3.0,web text\n"
    )
    (tmp_path / "german.csv").write_text("size;toks;verlust\n1e8;1e9;3,1\n")
    (tmp_path / "runs.json").write_text('[{"size": 1e8, "toks": 1e9, "loss": 3.1}]')
    (tmp_path / "fit.json").write_text("{}")
    (tmp_path / "laws").mkdir()
    (tmp_path / "laws" / "mine.json").write_text("{}")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "sweep.toml").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "some"),
    [
        (["plan", "--law", "hoff"], ["hoffmann", "hoffmann-printed"]),
        (["plan", "--law", "f"], ["fit.json"]),
        (["plan", "--law", "laws"], ["laws/mine.json"]),
        (["plan", "--law", "al"], ["all"]),
        (["laws", "show", "bes"], ["besiroglu"]),
        (["predict", "bes"], ["besiroglu"]),
        (["1e21", "--law", "bes"], ["besiroglu"]),
        (["plan", "--hardware", "8xH1"], ["8xh100-sxm", "8xh100-pcie"]),
        (["plan", "--hardware", "h1"], ["h100-sxm"]),
        (["hardware", "show", "A1"], ["a100-80"]),
        (["count", "gpt2-x"], ["gpt2-xl"]),
        (["train", "--preset", "gpt2-x"], ["gpt2-xl"]),
        (["audit", "gpt-2-1"], ["gpt-2-117m"]),
        (["data", "get", "epoch"], ["epoch-chinchilla"]),
        (["sweep", "run", "st"], ["study/sweep.toml"]),
        (["fit", "runs.csv", "--by", "c"], ["corpus"]),
        (["fit", "runs.csv", "--drop", ""], ["n_params", "n_tokens", "loss", "corpus"]),
        (["fit", "runs.csv", "--only", "cor"], ["corpus=c4"]),
        (["predict", "besiroglu", "runs.csv", "--drop", "l"], ["loss"]),
        (["fit", "german.csv", "--by", ""], ["size", "toks", "verlust"]),
        (["fit", "german.csv", "--column", "loss"], ["loss=verlust"]),
        (["fit", "runs.json", "--by", "s"], ["size"]),
        (["fit", "none.csv", "--by", ""], []),
        (["fit", "--loss"], ["--loss-unit"]),
        (["fit", "--law", "kap"], ["kaplan"]),
        (["report", "--law", "chin"], ["chinchilla"]),
        (["fit", "--show", "dia"], ["diagnostics"]),
        (["plan", "--show", "laws,me"], ["laws,memory"]),
        (["plan", "--show", "laws,law"], []),
    ],
    ids=" ".join,
)
def test_the_key_offers(line: list[str], some: list[str], folder: Path) -> None:
    found = offered(line, folder)
    assert set(some) <= set(found)
    assert bool(found) == bool(some)


def test_values_with_blanks_are_quoted_for_bash_and_plain_for_fish(folder: Path) -> None:
    line = ["fit", "runs.csv", "--only", "corpus=w"]
    assert offered(line, folder) == ["'corpus=web text'"]
    assert "corpus=web text" in ask(line, folder, shell="fish")


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        (["fit", "runs.csv", "--only", "corpus", "=", "c"], ["c4"]),
        (["fit", "runs.csv", "--only", "corpus", "="], ["c4", "'web text'"]),
        (["plan", "--law", "=", "besiroglu-a"], ["besiroglu-all"]),
    ],
    ids=" ".join,
)
def test_bash_which_parts_words_at_the_sign_gets_the_part_behind_it(
    line: list[str], rest: list[str], folder: Path
) -> None:
    assert offered(line, folder) == rest


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered_too(shell: str, folder: Path) -> None:
    assert "besiroglu-all" in ask(["plan", "--law", "besir"], folder, shell=shell)


@pytest.mark.parametrize(
    "line",
    [["plan", "--law", "b"], ["plan", "--hardware", "8xH"], ["count", "g"], ["fit", "runs.csv", "--by", "c"]],
)
def test_a_press_of_the_key_loads_nothing_heavy(line: list[str], folder: Path) -> None:
    env = {
        **os.environ, "_SCALING_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["scaling", *line]),
        "COMP_CWORD": str(len(line)),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", NO_COMPILED], env=env, cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout
    assert not {"numpy", "pandas", "scipy", "torch", "rich"} & set(done.stderr.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes_with_the_script(folder: Path) -> None:
    script = folder / "complete.bash"
    script.write_text(CliRunner().invoke(cli, ["completion", "bash"], catch_exceptions=False).stdout)
    asked = f"""
        source {script}
        COMP_WORDS=(scaling plan --law = besiroglu-a); COMP_CWORD=4
        _scaling_completion scaling
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", asked],
        cwd=folder,
        env=with_program(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "besiroglu-all"


@pytest.mark.parametrize(("shell", "start"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", "")])
def test_what_installs_the_completion_installs_it(
    shell: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    assert not completion.is_installed(shell)
    told = CliRunner(env={"COLUMNS": "72"}).invoke(cli, ["completion"], catch_exceptions=False).stdout
    assert "not yet" in told
    assert max(map(len, told.splitlines())) <= 72
    (_, command) = completion.INSTALL[shell]
    assert " ".join(command.split()) in " ".join(told.replace("\\\n", "").split())
    subprocess.run(["sh", "-c", command], env=with_program(tmp_path), check=True, capture_output=True)
    assert completion.is_installed(shell)
    assert not start or (tmp_path / start).is_file()
    told = CliRunner().invoke(cli, ["completion"], catch_exceptions=False).stdout
    assert "installed already" in told
