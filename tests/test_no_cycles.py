"""No file of scaling imports itself by way of others: not at load, not in a function, not for the type checker."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "scaling"

Graph = dict[str, set[str]]


def import_graph(package: Path) -> Graph:
    """Module → the modules of the package that its file imports, wherever in the file the import stands."""
    files = {_module(path, package): path for path in sorted(package.rglob("*.py"))}
    return {name: set(_imported(path, files)) - {name} for name, path in files.items()}


def _module(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, files: dict[str, Path]) -> Iterator[str]:
    """`from a import b` is of the module a.b where there is one, else of a."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names = (f"{node.module}.{alias.name}", f"{node.module}")
                yield from [name for name in names if name in files][:1]


def cycles(graph: Graph) -> list[list[str]]:
    """The shortest way from each module back to itself, each circle once."""
    found: dict[frozenset[str], list[str]] = {}
    for start in graph:
        ways = [[start]]
        seen = {start}
        while ways:
            way = ways.pop(0)
            if start in graph[way[-1]]:
                found.setdefault(frozenset(way), way)
                break
            new = sorted(graph[way[-1]] - seen)
            seen |= set(new)
            ways += [[*way, module] for module in new]
    return list(found.values())


def test_no_file_imports_itself_by_way_of_others() -> None:
    circles = cycles(import_graph(PACKAGE))
    assert not circles, "\n".join(" → ".join([*circle, circle[0]]) for circle in circles)


@pytest.mark.parametrize(
    "back",
    [
        "from scaling.low import x",
        "import scaling.low",
        "from scaling import low",
        "def f():\n    from scaling.low import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from scaling.low import x",
    ],
)
def test_a_circle_is_seen_wherever_the_import_stands(tmp_path: Path, back: str) -> None:
    package = tmp_path / "scaling"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "low.py").write_text("from scaling.middle import y")
    (package / "middle.py").write_text("from scaling.high import z")
    (package / "high.py").write_text(back)
    assert [set(circle) for circle in cycles(import_graph(package))] == [
        {"scaling.low", "scaling.middle", "scaling.high"}
    ]
