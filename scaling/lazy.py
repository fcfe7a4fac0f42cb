"""What loads on first use: public names of a package, and the renderers that results below them show themselves by."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

# html and markdown (of blocks), plot (of blocks and axes), note (a line on stderr): bound by `scaling/__init__.py` for
# those who stand below the renderers
RENDERERS: dict[str, Callable[..., Any]] = {}


def lazy_names(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package: `where` says for each public name the module, of the package, that defines it."""

    def load(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = where[name]
        full = module if module.startswith("scaling.") else f"{package}.{module}"
        return getattr(importlib.import_module(full), name)

    return load


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
