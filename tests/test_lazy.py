"""Names and renderers that load on first use."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import scaling
from scaling.lazy import RENDERERS, lazy_call, lazy_names


def loaded_after(code: str, *modules: str) -> list[str]:
    shown = f"import sys\n{code}\nprint(*[m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_name_is_found_in_its_module_and_an_unknown_one_is_an_attribute_error(tmp_path: Path) -> None:
    (tmp_path / "__init__.pyi").write_text(
        "from scaling import plots as plots\nfrom scaling.units import format_flops as format_flops\n\nEXTRA: int\n"
    )
    load, listed, names = lazy_names("scaling", str(tmp_path / "__init__.py"))
    assert names == ["format_flops", "plots"]
    assert {*names, "__version__"} <= set(listed())
    assert load("format_flops") is scaling.units.format_flops
    assert load("plots") is scaling.plots
    with pytest.raises(AttributeError, match="module 'scaling' has no attribute 'absent'"):
        load("absent")


def test_a_call_imports_its_module_and_passes_everything_on() -> None:
    assert lazy_call("json", "dumps")({"a": 1}, indent=None) == '{"a": 1}'
    later = lazy_call("scaling.no_such_module", "name")
    with pytest.raises(ModuleNotFoundError):
        later()


def test_importing_the_package_loads_no_renderer_and_no_library() -> None:
    heavy = ("dataclasses", "numpy", "html", "scaling.blocks", "scaling.render.html", "scaling.plots.figures")
    assert loaded_after("import scaling", *heavy) == []


def test_the_terminal_does_without_the_other_renderers() -> None:
    absent = ("html", "matplotlib", "numpy", "scaling.render.html", "scaling.render.markdown")
    assert loaded_after("import scaling.render.terminal", *absent) == []


def test_every_renderer_that_a_result_uses_is_bound() -> None:
    of_blocks = {"html", "markdown", "note", "plot", "text"}
    assert set(RENDERERS) == {*of_blocks, "plot_comparison", "plot_extrapolation"}
    assert RENDERERS["markdown"]([]) == "\n"
    assert "scaling-blocks" in RENDERERS["html"]([])


def test_a_result_imported_alone_can_show_itself() -> None:
    """The package binds its renderers whichever of its modules is imported first."""
    code = (
        "from scaling.blocks import Shown, Text\n"
        "class Result(Shown):\n"
        "    def summary(self): return (Text('said'),)\n"
        "assert '<p>said</p>' in Result()._repr_html_()\n"
    )
    assert loaded_after(code, "matplotlib") == []


def test_a_module_that_moved_says_where_it_is_now() -> None:
    with pytest.raises(
        ModuleNotFoundError, match=r"scaling\.planning\.budget has moved: import from scaling\.planning\.cost"
    ):
        importlib.import_module("scaling.planning.budget")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'scaling\.nowhere'"):
        importlib.import_module("scaling.nowhere")


def test_every_moved_module_is_gone_and_its_new_place_is_there() -> None:
    package = Path(scaling.__file__).parent
    for line in (package / "moved_modules.txt").read_text(encoding="utf-8").splitlines():
        old, new = (package.parent.joinpath(*module.split(".")) for module in line.split(" "))
        assert not old.with_suffix(".py").exists(), line
        assert new.with_suffix(".py").is_file() or (new / "__init__.py").is_file(), line
