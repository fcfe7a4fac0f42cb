"""Where the terminal or pipe has no UTF-8, a screen reads nearly the same and never ends in an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaling.render.lookalikes import look_alike

WITHOUT_UTF8 = (
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},  # a pipe on Windows
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)


def scaling(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "scaling", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    assert scaling(made, "demo", "--write", "runs.csv").returncode == 0
    table = (made / "runs.csv").read_text(encoding="utf-8")
    (made / "odd.csv").write_text(table.replace(",loss", ",número→中"), encoding="utf-8")
    return made


@pytest.mark.parametrize("environment", WITHOUT_UTF8, ids=lambda e: "-".join(e.values()))
@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "runs.csv", "--show", "all"),
        ("plan", "--flops", "1e21", "--show", "all"),
        ("fit", "odd.csv"),
        ("laws", "list", "--csv"),
        ("report", "runs.csv", "--lang", "es", "--format", "md", "-o", "informe", "--force"),
    ],
    ids=lambda a: " ".join(a[:2]),
)
def test_no_screen_ends_in_an_encoding_error(
    folder: Path, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    with_it = scaling(folder, *arguments, PYTHONIOENCODING="utf-8")
    without = scaling(folder, *arguments, **environment)
    assert without.returncode == with_it.returncode, without.stderr
    encoding = "cp1252" if "cp1252" in environment.values() else "ascii"
    for told, whole in ((without.stdout, with_it.stdout), (without.stderr, with_it.stderr)):
        text, here = told.decode(encoding), whole.decode("utf-8")
        assert b"UnicodeEncodeError" not in told
        assert len(text.splitlines()) == len(here.splitlines())
        wanted = "".join(c if c.encode(encoding, "ignore") else look_alike(c) for c in here)
        assert text == wanted


def test_a_plus_minus_stays_readable(folder: Path) -> None:
    told = scaling(folder, "fit", "runs.csv", "--show", "all", PYTHONIOENCODING="ascii").stdout.decode(
        "ascii"
    )
    assert "+/-" in told


@pytest.mark.parametrize(
    ("character", "wanted"), [("é", "e"), ("×", "x"), ("²", "2"), ("¿", ""), ("→", "->"), ("中", "\\u4e2d")]
)
def test_a_character_has_a_look_alike(character: str, wanted: str) -> None:
    assert look_alike(character) == wanted
