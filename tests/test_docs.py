"""Every block of the documents that a reader would run, runs; every screen and picture in them is what its command
makes; every local link leads somewhere.

The quoted screens and pictures are made anew by:  python tests/test_docs.py --refresh
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = (
    "sweeps.md",
)  # trains, some ten seconds a block; later blocks need the earlier ones, so all are marked
DRAWN_BY_BLOCKS = ("figures.md",)  # the gallery: its blocks draw the pictures that follow them
_BLOCK = re.compile(
    r"(?P<mark><!-- (?P<note>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<body>.*?)^```", re.S | re.M
)


_IMAGE = re.compile(r"^!\[[^]]+\]\((images/[^)]+\.svg)\)", re.M)


def _blocks(language: str) -> list[object]:
    """Document, body and pictures of the blocks of one language; the pictures are those between a block and the next,
    which it is said to draw. A comment `<!-- ci: ... -->` or `<!-- not run: reason -->` above a block exempts it.
    """
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        blocks = [*_BLOCK.finditer(text)]
        for number, match in enumerate(blocks):
            note = match["note"] or ""
            if match["language"] == language and not note.startswith(("ci:", "not run:", "output:")):
                marks = [pytest.mark.slow] if path.name in SLOW else []
                following = blocks[number + 1].start() if number + 1 < len(blocks) else len(text)
                pictures = (
                    _IMAGE.findall(text, match.end(), following) if path.name in DRAWN_BY_BLOCKS else []
                )
                name = f"{path.name}-{number}"
                found.append(pytest.param(path, match["body"], pictures, id=name, marks=marks))
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A folder for the blocks of each document, so that a later block may use what an earlier one wrote."""
    made: dict[Path, Path] = {}

    def folder_of(document: Path) -> Path:
        if document not in made:
            made[document] = tmp_path_factory.mktemp("reader")
            (made[document] / "sweeps").symlink_to(ROOT / "sweeps")  # a reader has a checkout
        return made[document]

    return folder_of


def _words(picture: Path) -> list[str]:
    """The texts of an SVG: titles, numbers, names. Places and paths differ with fonts and versions of Matplotlib."""
    return sorted(re.findall(r">([^<>]*\w[^<>]*)</t", picture.read_text(encoding="utf-8")))


def _environment(folder: Path) -> dict[str, str]:
    """PATH with a `scaling` command of this checkout first, and a screen of 80 columns."""
    command = folder / "bin" / "scaling"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m scaling "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    (folder / "matplotlibrc").write_text("svg.hashsalt: docs\n")  # the same picture has the same bytes
    drawing = {"MPLBACKEND": "Agg", "MATPLOTLIBRC": str(folder / "matplotlibrc"), "SOURCE_DATE_EPOCH": "0"}
    screen = {"NO_COLOR": "1", "COLUMNS": "80", **drawing}
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **screen}


@pytest.fixture
def reader_env(tmp_path: Path) -> dict[str, str]:
    return _environment(tmp_path)


@pytest.mark.parametrize(("document", "body", "pictures"), _blocks("bash"))
def test_shell_block_runs(
    document: Path,
    body: str,
    pictures: list[str],
    folders: Callable[[Path], Path],
    reader_env: dict[str, str],
) -> None:
    _run(["bash", "-euo", "pipefail", "-c", body], folders(document), reader_env)
    _check_pictures(document, pictures, folders(document))


@pytest.mark.parametrize(("document", "body", "pictures"), _blocks("python"))
def test_python_block_runs(
    document: Path,
    body: str,
    pictures: list[str],
    folders: Callable[[Path], Path],
    reader_env: dict[str, str],
) -> None:
    _run([sys.executable, "-c", body], folders(document), reader_env)
    _check_pictures(document, pictures, folders(document))


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def _drawn(folder: Path, picture: str) -> Path:
    """The file of that name that a block wrote."""
    (found,) = folder.rglob(Path(picture).name)
    return found


def _check_pictures(document: Path, pictures: list[str], folder: Path) -> None:
    for picture in pictures:
        said = f"{picture} is stale: python tests/test_docs.py --refresh"
        assert _words(document.parent / picture) == _words(_drawn(folder, picture)), said


# --- what is quoted: <!-- output: COMMAND --> and the block below it, <!-- picture: COMMAND --> and the image ---

_OUTPUT = re.compile(r"(?<=<!-- output: )(?P<command>[^>]*) -->\n```text\n(?P<body>.*?)(?=^```)", re.S | re.M)
_PICTURE = re.compile(r"<!-- picture: (?P<command>[^>]*) -->\n!\[[^]]+\]\((?P<path>[^)]+)\)")


def _made(command: str, environment: dict[str, str]) -> tuple[str, Path]:
    """What a command prints in an empty folder, and the folder with what it writes."""
    folder = Path(tempfile.mkdtemp(dir=Path(environment["PATH"].split(":")[0]).parent))
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout, folder


def _quoted(pattern: re.Pattern[str]) -> list[object]:
    found = [
        (path, match) for path in DOCUMENTS for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    return [pytest.param(path, match, id=f"{path.name}: {match['command']}") for path, match in found]


@pytest.mark.parametrize(("path", "quoted"), _quoted(_OUTPUT))
def test_a_quoted_screen_is_what_its_command_prints(
    path: Path, quoted: re.Match[str], reader_env: dict[str, str]
) -> None:
    said = f"{path.name} is stale: python tests/test_docs.py --refresh"
    assert _made(quoted["command"], reader_env)[0] == quoted["body"], said


@pytest.mark.parametrize(("path", "quoted"), _quoted(_PICTURE))
def test_a_picture_is_there_and_its_command_draws_one(
    path: Path, quoted: re.Match[str], reader_env: dict[str, str]
) -> None:
    """Not compared byte by byte: fonts and versions of Matplotlib differ."""
    committed = path.parent / quoted["path"]
    drawn = _made(quoted["command"], reader_env)[1] / committed.name
    assert committed.read_bytes()[:5] == drawn.read_bytes()[:5]


def test_the_readme_is_one_page() -> None:
    """At most 500 words beside the screens it quotes, no line over 120 columns; the screens fit 80."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.sub(r"```text\n.*?^```", "", text, flags=re.S | re.M).split()) <= 500
    assert [line for line in text.splitlines() if len(line) > 120] == []
    assert all(len(line) <= 80 for match in _OUTPUT.finditer(text) for line in match["body"].splitlines())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_local_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which is not there"


def _refresh(path: Path, environment: dict[str, str]) -> None:
    """Write the screens of a document anew, and draw its pictures."""
    text = path.read_text(encoding="utf-8")
    for match in _PICTURE.finditer(text):
        picture = path.parent / match["path"]
        picture.parent.mkdir(exist_ok=True)
        shutil.copy(_made(match["command"], environment)[1] / picture.name, picture)
    path.write_text(
        _OUTPUT.sub(lambda m: f"{m['command']} -->\n```text\n{_made(m['command'], environment)[0]}", text),
        encoding="utf-8",
    )


def _refresh_gallery(document: Path, environment: dict[str, str]) -> None:
    """Run the blocks of a document in order, and take the pictures that each draws."""
    folder = Path(tempfile.mkdtemp(dir=Path(environment["PATH"].split(":")[0]).parent))
    (folder / "sweeps").symlink_to(ROOT / "sweeps")
    for language, run_by in (
        ("bash", ["bash", "-euo", "pipefail", "-c"]),
        ("python", [sys.executable, "-c"]),
    ):
        for path, body, pictures in (param.values for param in _blocks(language)):  # type: ignore[attr-defined]
            if path != document:
                continue
            _run([*run_by, body], folder, environment)
            for picture in pictures:
                shutil.copy(_drawn(folder, picture), document.parent / picture)


if __name__ == "__main__":
    if sys.argv[1:] != ["--refresh"]:
        sys.exit("usage: python tests/test_docs.py --refresh")
    with tempfile.TemporaryDirectory() as made_in:
        refreshing = _environment(Path(made_in))
        for document in DOCUMENTS:
            _refresh(document, refreshing)
            if document.name in DRAWN_BY_BLOCKS:
                _refresh_gallery(document, refreshing)
