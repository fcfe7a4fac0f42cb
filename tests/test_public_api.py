"""Every public name loads, is documented with an example that runs, and stands on the page of the API."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import scaling

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "write_api_page.py"
NAMES = [n for n in scaling.__all__ if n != "plots"] + [f"plots.{n}" for n in scaling.plots.__all__]


def public(name: str) -> Any:
    value: Any = scaling
    for part in name.split("."):
        value = getattr(value, part)
    return value


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_api_page", SCRIPT)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_an_example_that_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    value = public(name)
    module = importlib.import_module(value.__module__)
    parser, text = doctest.DocTestParser(), value.__doc__ or ""
    example = parser.get_doctest(text, dict(vars(module)), name, module.__file__, 0)
    assert example.examples, f"{name} has no example"
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert result.failed == 0, "".join(said)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def test_every_public_name_stands_on_the_page_once_and_no_other(writer: ModuleType) -> None:
    written = re.findall(r"^### (.*)$", writer.PAGE.read_text(encoding="utf-8"), flags=re.M)
    packages = [f"scaling.{name}" for name in writer.PACKAGES]
    assert sorted(written) == sorted([*NAMES, *packages])


def test_the_page_says_what_the_docstrings_say(writer: ModuleType) -> None:
    pytest.importorskip("torch", reason="lists the names of scaling.lm")
    text = writer.PAGE.read_text(encoding="utf-8")
    assert text == writer.page(), "run python scripts/write_api_page.py"


def test_a_star_import_brings_the_public_names_and_no_module_but_plots() -> None:
    names: dict[str, Any] = {}
    exec("from scaling import *", names)
    del names["__builtins__"]
    assert sorted(names) == sorted(scaling.__all__)
    assert not [n for n in names if n.startswith("_")]
    assert [n for n, value in names.items() if isinstance(value, ModuleType)] == ["plots"]


def test_dir_lists_the_public_names_and_nothing_else_without_underscores() -> None:
    """In a process of its own: what others import becomes an attribute of the package."""
    code = "import scaling; print(*(n for n in dir(scaling) if not n.startswith('__')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(scaling.__all__)


def test_the_version_is_public() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", scaling.__version__)
    assert "__version__" in dir(scaling)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'fit_everything'"):
        _ = scaling.fit_everything  # type: ignore[attr-defined]
