"""Every block of the documents that a reader would run, runs; every local link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = (
    "sweeps.md",
)  # trains, some ten seconds a block; later blocks need the earlier ones, so all are marked
_BLOCK = re.compile(
    r"(?P<mark><!-- (?P<note>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<body>.*?)^```", re.S | re.M
)


def _blocks(language: str) -> list[object]:
    """Blocks of one language. A comment `<!-- ci: ... -->` or `<!-- not run: reason -->` above a block exempts it."""
    found = []
    for path in DOCUMENTS:
        for number, match in enumerate(_BLOCK.finditer(path.read_text(encoding="utf-8"))):
            note = match["note"] or ""
            if match["language"] == language and not note.startswith(("ci:", "not run:", "output:")):
                marks = [pytest.mark.slow] if path.name in SLOW else []
                found.append(pytest.param(match["body"], id=f"{path.name}-{number}", marks=marks))
    return found


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all blocks of a document, so that a later block may use what an earlier one wrote."""
    return tmp_path_factory.mktemp("reader")


@pytest.fixture
def reader_env(tmp_path: Path) -> dict[str, str]:
    """PATH with a `scaling` command of this checkout first."""
    command = tmp_path / "bin" / "scaling"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m scaling "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "MPLBACKEND": "Agg"}


@pytest.mark.parametrize("body", _blocks("bash"))
def test_shell_block_runs(body: str, workdir: Path, reader_env: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", body], cwd=workdir, env=reader_env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{body}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("body", _blocks("python"))
def test_python_block_runs(body: str, workdir: Path, reader_env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", body], cwd=workdir, env=reader_env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{body}\n{done.stderr[-2000:]}"


def _printed() -> list[object]:
    """`<!-- output: COMMAND -->` and the block below it; a line of three dots stands for lines left out."""
    pattern = re.compile(r"<!-- output: (?P<command>[^>]*) -->\n```text\n(?P<body>.*?)^```", re.S | re.M)
    found = []
    for path in DOCUMENTS:
        for match in pattern.finditer(path.read_text(encoding="utf-8")):
            found.append(pytest.param(match["command"], match["body"], id=match["command"]))
    return found


@pytest.mark.parametrize(("command", "body"), _printed())
def test_printed_output_is_what_the_command_prints(
    command: str, body: str, workdir: Path, reader_env: dict[str, str]
) -> None:
    done = subprocess.run(command, shell=True, cwd=workdir, env=reader_env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = iter(done.stdout.splitlines())
    for wanted in body.splitlines():
        assert wanted == "..." or wanted in lines, f"not printed (any more), or out of order: {wanted}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_local_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which is not there"
