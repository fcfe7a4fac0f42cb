"""What a message advises works: every refusal, finding and "next" of many inputs is followed as a user would follow it."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from advice import (
    Arguments,
    Found,
    Outcome,
    advised,
    call,
    headers_advised,
    in_python,
    kind_of,
    with_header,
    with_remedy,
)  # fmt: skip
from advised_fits import all_inputs
from advised_tables import Input, planted, text

from scaling.errors import ScalingError
from scaling.runs import load_runs

LEAST_KINDS = 80
MOST_FOLLOWED = 2  # inputs of one kind of message: a note that every table gets is not followed sixty times
FIT = "fit.json"
pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Said:
    """All that came of one input."""

    input: Input
    arguments: Arguments
    folder: Path
    outcome: Outcome
    found: tuple[Found, ...]
    failed_next: str = ""

    def messages(self) -> Iterator[Found]:
        if self.outcome.message:
            yield Found(code="refusal", message=self.outcome.message, remedies=self.outcome.remedies)
        yield from self.found


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[Said]:
    """Every input run once, and the "next" of each that was answered."""
    whole = tmp_path_factory.mktemp("advised")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for number, asked in enumerate(all_inputs()):
            folder = whole / str(number)
            folder.mkdir()
            patch.chdir(folder)
            found.append(_ask(asked, folder))
    return found


def _ask(asked: Input, folder: Path) -> Said:
    if asked.content is not None:
        (folder / asked.file).write_bytes(asked.content)
    arguments = tuple(a.replace("{}", asked.file) if a.startswith("{}") else a for a in asked.arguments)
    outcome, failed, found = call(arguments), "", ()
    table = asked.file if asked.content is not None else "mine.csv"
    if asked.content is None:
        (folder / table).write_bytes(text(planted()))  # the user's runs of a plan's "next"
    for command in outcome.following:
        after = call(
            tuple({"RUNS.csv": table}.get(word, word) for word in command),
            folder / FIT if "-o" in command else None,
        )
        failed = failed or (f"{shlex.join(command)}: {after.message}" if after.code else "")
        again = command[: -len(("-o", FIT))] == arguments  # else "next" names the law that was chosen
        found = (
            found or (after if again else call((*arguments, "-o", "asked.json"), folder / "asked.json")).found
        )
    return Said(
        input=asked, arguments=arguments, folder=folder, outcome=outcome, found=found, failed_next=failed
    )


def _kinds(said: list[Said]) -> dict[str, tuple[Said, Found]]:
    """One example of each kind of message."""
    kinds: dict[str, tuple[Said, Found]] = {}
    for one in said:
        for message in one.messages():
            kinds.setdefault(kind_of(message.message), (one, message))
    return kinds


def test_the_harness_sees_the_messages(said, capsys):
    kinds = _kinds(said)
    with capsys.disabled():
        print(f"\n{len(kinds)} kinds of messages from {len(said)} inputs")
    assert len(kinds) >= LEAST_KINDS


def test_every_next_command_works(said):
    assert [f"{one.input.name}: {one.failed_next}" for one in said if one.failed_next] == []


def _written(arguments: Arguments) -> Arguments:
    """The command with its fit in a file, to see its findings."""
    return (*arguments, "-o", "after.json", "--force") if arguments[0] == "fit" else arguments


@functools.cache
def _again(folder: Path, arguments: Arguments) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return call(_written(arguments), folder / "after.json")


def _fault(one: Said, message: Found, arguments: Arguments) -> str:
    """Why the advised command is no remedy; "" where it is one, or is refused for another reason."""
    outcome = _again(one.folder, arguments)
    lead = f"{one.input.name}: {message.message}\n    scaling {shlex.join(arguments)}\n    "
    if outcome.code == 0:
        return ""
    if outcome.by_click or kind_of(outcome.message) == kind_of(message.message):
        return lead + outcome.message
    return lead + outcome.message if outcome.code == 2 else ""


def _examples(said: list[Said]) -> Iterator[tuple[Said, Found]]:
    """Refusals, findings and notes, a few of each kind."""
    seen: Counter[str] = Counter()
    for one in said:
        notes = [Found(code="note", message=note) for note in one.outcome.notes]
        for message in (*one.messages(), *notes):
            kind = kind_of(message.message)
            seen[kind] += 1
            if seen[kind] <= MOST_FOLLOWED:
                yield one, message


def test_every_remedy_mends_what_it_is_told_for(said):
    faults = []
    for one, message in _examples(said):
        for remedy in message.remedies:
            arguments = with_remedy(one.arguments, remedy)
            fault = _fault(one, message, arguments)
            after = _again(one.folder, arguments)
            same = [f for f in after.found if kind_of(f.message) == kind_of(message.message)]
            faults += [fault] if fault else []
            faults += [f"{one.input.name}: {remedy} leaves {message.message}"] if same and not fault else []
    assert not faults, f"{len(faults)}\n" + "\n".join(faults)


def test_every_option_that_prose_advises_works(said):
    faults, n_followed = [], 0
    for one, message in _examples(said):
        if one.outcome.by_click:
            continue  # its proposals are of names
        fill = {"RUNS": "runs.csv", "RUNS.csv": "runs.csv", **one.input.fill}
        try:
            commands = list(advised(message.message, one.arguments, fill))
        except AssertionError as error:
            faults.append(f"{one.input.name}: {error}")
            continue
        n_followed += len(commands)
        faults += [fault for arguments in commands if (fault := _fault(one, message, arguments))]
    assert not faults, f"{len(faults)}\n" + "\n".join(faults)
    assert n_followed >= 100


def test_every_unit_that_a_message_wants_in_a_header_is_read_there(said):
    faults, n_followed = [], 0
    for one in said:
        for message in one.messages():
            mended = []
            for column, name in headers_advised(message.message):
                n_followed += 1
                assert one.input.content is not None
                (one.folder / "named.csv").write_bytes(with_header(one.input.content, column, name))
                arguments = tuple("named.csv" if a == one.input.file else a for a in one.arguments)
                outcome = _again(one.folder, arguments)
                _again.cache_clear()
                mended.append(kind_of(outcome.message) != kind_of(message.message) and not outcome.by_click)
            if mended and not any(mended):
                faults.append(f"{one.input.name}: {message.message}")
    assert not faults, "\n".join(faults)
    assert n_followed >= 8


def test_what_a_message_advises_in_python_works_there(said):
    faults, n_followed = [], 0
    takes = inspect.signature(load_runs).parameters
    for one, message in _examples(said):
        if (
            one.arguments[:1] != ("fit",)
            or len(one.arguments) > 2
            or not (one.folder / one.arguments[1]).is_file()
        ):
            continue  # a command with options of its own
        try:
            ways = [way for way in in_python(message.message, one.input.fill) if set(way) <= set(takes)]
        except AssertionError as error:
            faults.append(f"{one.input.name}: {error}")
            continue
        for way in ways:
            n_followed += 1
            try:
                load_runs(one.folder / one.arguments[1], **{"inputs": (), **way})
            except ScalingError as error:
                if kind_of(str(error)) == kind_of(message.message):
                    faults.append(f"{one.input.name}: {way}: {error}")
    assert not faults, "\n".join(faults)
    assert n_followed >= 20


def test_every_extra_that_a_message_names_exists():
    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    said = r"isoflop\[([\w,]+)\]|extra_command\(['\"]([\w,]+)['\"]\)"
    files = (root / "scaling").rglob("*.py")
    named = {a or b for path in files for a, b in re.findall(said, path.read_text())}
    assert {"data", "xlsx"} <= named
    assert {e for names in named for e in names.split(",")} <= set(extras)
