"""The walks of CONTRIBUTING.md are the way the code goes: each step is called from a room that the walk has named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

import scaling
from scaling.cli import run
from scaling.reference.example import write_example_runs

PACKAGE = Path(scaling.__file__).parent
MOST_ROOMS = 12
MOST_RETURNS = 8


def walk(title: str) -> list[tuple[str, str]]:
    """Room and function of each numbered step below this title."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    part = text.split(f"### {title}\n")[1].split("\n#")[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`,? `(\w+)`", part, flags=re.M)


def ours(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Room and function of the frames of this package, the innermost first."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            yield path.relative_to(PACKAGE).as_posix(), frame.f_code.co_name
        frame = frame.f_back


def calls_of(
    steps: list[tuple[str, str]], action: Callable[[], object]
) -> list[tuple[tuple[str, str], list[str]]]:
    """Each step as it was first called, in that order, with the rooms that it was called through."""
    found: dict[tuple[str, str], list[str]] = {}

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name in names:
            step, *callers = ours(frame) or [("", "")]
            if step in steps and step not in found:
                found[step] = [room for room, _ in callers]

    names = {name for _, name in steps}
    sys.setprofile(watch)
    try:
        action()
    finally:
        sys.setprofile(None)
    return list(found.items())


def from_a_csv(path: Path) -> None:
    fit = scaling.fit_parametric(scaling.load_runs(path))
    print(scaling.render_terminal(fit.summary()))


def from_flops(_: Path) -> None:
    assert run(["plan", "--flops", "1e21", "--quiet"]) == 0


ACTIONS = {"From a CSV to the printed exponent": from_a_csv, "From `--flops` to N*": from_flops}


@pytest.mark.parametrize("title", ACTIONS)
def test_a_walk_is_short_and_names_every_room_on_its_way(title: str, tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    write_example_runs(table)
    steps = walk(title)
    rooms = [room for room, _ in steps]
    assert 0 < len(set(rooms)) <= MOST_ROOMS
    # in a process of its own: what another test has loaded is not called again
    done = subprocess.run(
        [sys.executable, __file__, title, table], capture_output=True, text=True, check=True
    )
    called = [((room, name), callers) for (room, name), callers in json.loads(done.stdout.splitlines()[-1])]
    assert [step for step, _ in called] == steps  # the code goes as the walk does
    came_from = [next((r for r in callers if r != room), "") for (room, _), callers in called]
    returns = sum(here != before for here, before in zip(came_from[1:], rooms, strict=False))
    assert returns <= MOST_RETURNS
    for (room, name), callers in called:
        outside = (
            set(callers) - set(rooms) - {"cli/__init__.py", "cli/output.py"}
        )  # the command's group, its options
        assert not outside, f"{room} {name} is reached through {outside}"


if __name__ == "__main__":
    title, table = sys.argv[1:]
    print(json.dumps(calls_of(walk(title), lambda: ACTIONS[title](Path(table)))))
