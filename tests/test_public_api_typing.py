"""Editors and type checkers see the real names: signatures are no Any, a misspelt name is an error."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import venv
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import scaling

PACKAGE = Path(scaling.__file__).parent
PUBLIC = (
    "scaling", "scaling.accounting", "scaling.architecture", "scaling.fitting", "scaling.laws", "scaling.lm",
    "scaling.planning", "scaling.plots", "scaling.reference", "scaling.runs", "scaling.sweep",
)  # fmt: skip
NO_ANY = ("load_runs", "plan_training", "predict_runs", "fit_isoflop", "Budget", "find_law", "run_sweep")


def names_of(package: str) -> list[str]:
    """What needs no torch: `lm` is checked as text."""
    return list(import_module(package).__all__)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the package installed, and none of its libraries: whose types are not asked for here, and of
    which torch's alone take minutes."""
    root = tmp_path_factory.mktemp("user")
    venv.create(root / "venv", with_pip=False, symlinks=True)
    python = next(root.glob("venv/bin/python"))
    site = next(root.glob("venv/lib/python*/site-packages"))
    (site / "scaling").symlink_to(PACKAGE, target_is_directory=True)
    return python


def check(code: str, installed: Path) -> list[str]:
    """What mypy --strict says of a user's file, a line each."""
    pytest.importorskip("mypy", reason="needs mypy: pip install '.[test]'")
    folder = installed.parents[2]
    (folder / "use.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed), "use.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_every_public_name_has_its_real_type(installed: Path) -> None:
    """`reveal_type` of a name that a stub does not bear is Any, or an error."""
    names = [f"{package}.{name}" for package in PUBLIC for name in names_of(package)]
    code = "\n".join(
        [*(f"import {package}" for package in PUBLIC), *(f"reveal_type({name})" for name in names)]
    )
    said = check(code, installed)
    revealed = [line for line in said if "Revealed type" in line]
    assert [line for line in said if ": error:" in line] == []
    assert len(revealed) == len(names)
    assert [n for n, line in zip(names, revealed, strict=True) if line.endswith('"Any"')] == []


@pytest.mark.parametrize("name", NO_ANY)
def test_a_signature_holds_no_any(name: str, installed: Path) -> None:
    revealed, *_ = check(f"import scaling\nreveal_type(scaling.{name})", installed)
    assert re.search(r"\bAny\b", revealed) is None, revealed


def test_a_misspelt_name_is_an_error_in_every_package(installed: Path) -> None:
    wrong = [f"{package}.{names_of(package)[-1]}x" for package in PUBLIC]
    said = check("\n".join([*(f"import {package}" for package in PUBLIC), *wrong]), installed)
    errors = [line for line in said if "[attr-defined]" in line]
    assert len(errors) == len(wrong), said


def test_a_wrong_argument_is_an_error_to_the_type_checker(installed: Path) -> None:
    said = check("import scaling\nscaling.plan_training('1e21')\nscaling.Budget(flop=1e21)", installed)
    assert "[arg-type]" in said[0]
    assert "[call-arg]" in said[1]


def test_pyright_agrees(installed: Path) -> None:
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("needs pyright")
    folder = installed.parents[2]
    (folder / "use.py").write_text("import scaling\nreveal_type(scaling.load_runs)\nscaling.load_run\n")
    command = [pyright, "--outputjson", "--pythonpath", str(installed), "use.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    first, second, *_ = json.loads(done.stdout)["generalDiagnostics"]
    assert "-> Runs" in first["message"]
    assert '"load_run" is not a known attribute' in second["message"]


@pytest.mark.parametrize("package", [p for p in PUBLIC if p != "scaling.lm"])
def test_every_name_of_a_package_loads(package: str) -> None:
    module = import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        assert isinstance(value, ModuleType) or value is not None


def test_the_marker_of_a_typed_package_is_there() -> None:
    assert (PACKAGE / "py.typed").is_file()
