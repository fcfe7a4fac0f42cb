"""What loads on first use: public names of a package, and the renderers that results below them show themselves by."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

# html, markdown and text (of blocks), plot... (of blocks or a result, and axes), note (a line on stderr): bound by
# `scaling/__init__.py` for those who stand below the renderers
RENDERERS: dict[str, Callable[..., Any]] = {}


def lazy_names(package: str, init: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names the stub beside its `__init__.py` lists.

    A line of the stub, `from scaling.runs.load import load_runs as load_runs`, is what editors and type checkers read,
    and there is no second list: https://scientific-python.org/specs/spec-0001. Ours reads lines, since lazy_loader,
    which parses the stub, costs more than the rest of `import scaling`.
    """
    with open(init.removesuffix("c") + "i", encoding="utf-8") as stub:
        where = {name: module for module, name in map(_imported, stub) if name}

    def load(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if where[name] == package:  # a package of it
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(where[name]), name)

    def listed() -> list[str]:
        own = vars(sys.modules[package])
        return sorted({*where, *(name for name in own if name.startswith("__"))})

    return load, listed, sorted(where)


def _imported(line: str) -> tuple[str, str]:
    """Module and name of a line of a stub, empty where it imports nothing."""
    words = line.split()
    return (words[1], words[3]) if words[:1] == ["from"] else ("", "")


def lazy_call(module: str, name: str) -> Callable[..., Any]:
    """A function that is imported when it is first called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return call


class MovedModules:
    """Answers the import of a module that has moved with where it is now; asked only when nothing else finds it."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Never finds anything: raises for a moved module of this package, and is silent on every other."""
        if not name.startswith("scaling."):
            return
        from pathlib import Path

        listed = Path(__file__).with_name("moved_modules.txt").read_text(encoding="utf-8").split("\n")
        moved = dict(line.split(" ") for line in listed if line)
        if name in moved:
            raise ModuleNotFoundError(f"{name} has moved: import from {moved[name]}.", name=name)
