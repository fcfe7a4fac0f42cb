"""Help fits the screen, stands in groups, and says of every value what goes in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import click
import pytest

from scaling.cli import COMMANDS, HEADINGS, cli, run
from scaling.cli.help import Command, Group

# what click writes of a type when nobody has said what the value is
SAYS_NOTHING = {"", "TEXT", "PATH", "INTEGER", "FLOAT", "INTEGER RANGE", "FLOAT RANGE", "DIRECTORY", "VALUE"}
IS_TEXT = {("generate", "--stop")}


def commands(
    group: click.Group = cli, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield (*words, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))


ALL = list(commands())


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def help_page(words: tuple[str, ...], width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        assert run([*words, "--help"]) == 0
        return capsys.readouterr().out

    return help_page


@pytest.mark.parametrize("width", [72, 80, 100])
@pytest.mark.parametrize("words", [(), *(words for words, _ in ALL)], ids=" ".join)
def test_help_fits_the_screen_and_is_cut_nowhere(
    words: tuple[str, ...], width: int, shown: Callable[..., str]
) -> None:
    text = shown(words, width)
    assert max(map(len, text.splitlines())) <= width
    assert not [
        line for line in text.splitlines() if re.search(r"\w\.\.\.$", line) and not line.startswith("Usage:")
    ]


def test_the_commands_stand_in_groups_each_once(shown: Callable[..., str]) -> None:
    listed = [name for members in HEADINGS.values() for name in members]
    assert sorted(listed) == sorted(COMMANDS)
    text = shown((), 80)
    assert all(f"\n{heading}:\n" in text for heading in HEADINGS)
    assert text.index("From runs to a law:") < text.index("\n  fit ") < text.index("From a law to a plan:")


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_every_value_says_what_goes_in_and_every_option_what_it_is_for(
    words: tuple[str, ...], command: click.Command
) -> None:
    assert isinstance(command, (Command, Group))
    ctx = click.Context(command)
    for option in command.get_params(ctx):
        if isinstance(option, click.Option):
            assert option.help, option.opts
            if not option.is_flag and (words[0], option.opts[-1]) not in IS_TEXT:
                assert option.make_metavar(ctx) not in SAYS_NOTHING, option.opts


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_headings_name_options_and_commands_that_there_are(
    words: tuple[str, ...], command: click.Command, shown: Callable[..., str]
) -> None:
    assert isinstance(command, (Command, Group))
    ctx = click.Context(command)
    there = {opt for p in command.get_params(ctx) for opt in p.opts}
    there |= {*command.list_commands(ctx)} if isinstance(command, click.Group) else set()
    assert {name for members in command.headings.values() for name in members} <= there
    if command.headings:  # and every one of them stands under one
        assert "\nOther:\n" not in shown(words, 80)


def test_options_stand_under_their_heading_one_below_the_other(shown: Callable[..., str]) -> None:
    lines = shown(("plan",), 80).splitlines()
    budget, hardware = lines.index("Budget, exactly one:"), lines.index("Hardware:")
    assert budget < next(i for i, line in enumerate(lines) if line.startswith("  --time TIME ")) < hardware
    assert hardware < next(i for i, line in enumerate(lines) if line.startswith("  --hardware 8xH100 "))
    rows = [line for line in lines if line.startswith("  --") and "  " in line.strip()]
    assert len({len(row) - len(row[2:].split("  ", 1)[1].lstrip()) for row in rows}) == 1


def test_a_limit_that_nobody_meets_is_not_shown(shown: Callable[..., str]) -> None:
    assert "9223372036854775807" not in shown(("train",), 100)
    assert "x>=1" in shown(("sweep", "run"), 100)
