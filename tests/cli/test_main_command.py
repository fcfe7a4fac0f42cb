"""The entry point: exit codes, errors as one line, doctor, completion, the waiting line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

import scaling.cli
from scaling.cli import COMMANDS, cli, run
from scaling.jsonable import jsonable


def test_every_command_has_help_with_an_example() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(cli, [name, "--help"], catch_exceptions=False)
        assert result.exit_code == 0, name
        assert "Usage: " in result.stdout


def test_an_unforeseen_fault_is_one_line_and_verbose_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(scaling.cli.cli, "main", broken)
    assert run(["doctor"]) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError: planted" in error
    assert "Traceback" not in error
    with pytest.raises(ZeroDivisionError):
        run(["--verbose", "doctor"])


def test_a_decimal_comma_in_a_plain_number_is_answered_by_the_same_with_a_point(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["hardware", "measure", "--seconds", "4,5"]) == 2
    assert "'4,5' is not a valid float range. Write a decimal point: 4.5\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x" * 10_000, "x" * 119 + "…" + "x" * 59 + "'"),
        ("a b " * 2_500, "…"),
        ("p\x1b[31mlan\x07", r"p\x1b[31mlan\x07"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("two\nlines", r"two\nlines"),
        ("😀 <script> $x$", "😀 <script> $x$"),
    ],
)
@pytest.mark.parametrize(
    "command", [["laws", "show"], ["fit"], ["hardware", "show"], ["count"], ["train", "--preset"], []]
)
def test_a_hostile_name_neither_commands_the_terminal_nor_fills_it(
    command: list[str], name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, name]) in (1, 2)
    err = capsys.readouterr().err
    assert all(c.isprintable() or c == "\n" for c in err)
    assert len(err) < 4_500
    if command in (["laws", "show"], ["hardware", "show"]):
        assert shown in err
        assert err.count("\n") == 1


def test_a_path_of_a_deep_folder_stays_whole_in_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/".join(["a_folder_of_some_length"] * 11) + "/runs.csv"
    assert run(["fit", path]) == 1
    assert path in capsys.readouterr().err


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scaling.cli.cli, "main", interrupted)
    assert run(["doctor"]) == 130


def test_doctor_lists_the_core_as_complete() -> None:
    result = CliRunner().invoke(cli, ["doctor", "--json"], catch_exceptions=False)
    told = json.loads(result.stdout)
    assert told["ok"]
    assert {p["name"] for p in told["packages"]} >= {"numpy", "click", "torch"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_calls_back(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell], catch_exceptions=False)
    assert "_SCALING_COMPLETE" in result.stdout


def test_completion_completes_a_command() -> None:
    env = {**os.environ, "_SCALING_COMPLETE": "bash_complete", "COMP_WORDS": "scaling pla", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-m", "scaling"], env=env, capture_output=True, text=True)
    assert "plain,plan" in done.stdout


def test_json_has_no_infinities() -> None:
    assert jsonable({"a": (float("inf"), 1.0), "b": float("nan")}) == {"a": [None, 1.0], "b": None}


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m scaling laws list | head -1", shell=True, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_waiting_is_told_on_a_terminal_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    from scaling.cli import progress

    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(progress, "PATIENCE_S", 0.05)
        told = ""
        with progress.waiting_for("fitting 54 rows"):
            while "fitting 54 rows" not in told:  # os.read waits until there is something
                told += os.read(master, 10_000).decode()
        while not told.endswith("\x1b[2K"):
            told += os.read(master, 10_000).decode()
    os.close(master)
    assert told.endswith("\x1b[2K")  # and the line is cleared


def test_what_is_waited_for_cannot_command_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from scaling.cli import progress
    from scaling.progress import Line

    waits, shown = iter([False, False, True]), list[Line]()  # patience over, one frame, done

    class Done(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return next(waits)

    monkeypatch.setattr(progress.Lines, "show", lambda self, lines: shown.extend(lines))
    progress._tell("reading \x1b[31mevil\x1b]0;owned\x07.csv", None, [], Done())
    (line,) = shown
    assert line.what == "reading \\x1b[31mevil\\x1b]0;owned\\x07.csv"


@pytest.mark.parametrize(
    "line",
    [
        "plan --flop 1e21", "plan --flops", "fit", "frobnicate", "plan 1e21", "fit runs.csv --method foo", "sweep foo",
        "completion foo", "audit --law", "hardware measure --seconds 4,5",
    ],
)  # fmt: skip
def test_a_wrong_command_is_told_in_the_voice_and_width_of_every_error(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert run(line.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert max(map(len, said.splitlines())) <= 72
    assert "Usage:" not in said
    assert "Error:" not in said
    monkeypatch.delenv("COLUMNS")
    run(line.split())
    assert capsys.readouterr().err.count("\n") == 1  # a program reads it
