"""Imports point down the layers of CONTRIBUTING.md, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "scaling"

# What each part may import of the package. `sweep` reaches `lm` in train_run.py only.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "installing": set(),
    "compute": set(),
    "jsonable": set(),
    "progress": set(),
    "lazy": set(),
    "translation": set(),
    "arguments": {"errors"},
    "files": {"errors"},
    "units": {"errors", "translation"},
    "findings": {"jsonable"},
    "blocks": {"arguments", "errors", "findings", "lazy", "translation"},
}
GROUND = set(MAY_IMPORT)
MAY_IMPORT |= dict.fromkeys(("architecture", "runs", "laws"), GROUND)
MAY_IMPORT["reference"] = {*GROUND, "architecture", "runs", "laws"}
_BASE = {*MAY_IMPORT["reference"], "reference"}
MAY_IMPORT["accounting"] = _BASE
MAY_IMPORT["fitting"] = _BASE
MAY_IMPORT["planning"] = _BASE | {"accounting"}
MAY_IMPORT["design"] = _BASE | {"accounting", "fitting"}
MAY_IMPORT["lm"] = _BASE | {"accounting"}
MAY_IMPORT["sweep"] = _BASE | {"accounting", "planning", "design", "fitting"}
MAY_IMPORT["plots"] = _BASE | {"accounting", "fitting", "planning", "design", "lm"}
MAY_IMPORT["render"] = GROUND | {"plots"}  # a renderer knows blocks, not results
MAY_IMPORT["page"] = _BASE | {"accounting", "planning"}
MAY_IMPORT["report"] = MAY_IMPORT["plots"] | {"plots", "render", "page"}
MAY_IMPORT["cli"] = {*MAY_IMPORT, *MAY_IMPORT["report"], "report", "page", "sweep", "lm"}

ONLY_IN = {
    "torch": {"lm"},
    "matplotlib": {"plots", "report"},
    "click": {"cli"},
    "ray": {"sweep"},
    "submitit": {"sweep"},
}


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> list[tuple[str, int]]:
    """Every module imported at run time, also inside functions; `if TYPE_CHECKING:` blocks do not run."""
    found: list[tuple[str, int]] = []

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: import by full name, not relatively"
                found.append((child.module or "", child.lineno))
                found.extend((f"{child.module}.{alias.name}", child.lineno) for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    part = _part(path)
    if part in ("__init__", "__main__"):
        return
    for name, line in _imports(path):
        top, _, rest = name.partition(".")
        if top == "scaling" and rest:
            target = rest.split(".")[0]
            if not (PACKAGE / target).is_dir() and not (PACKAGE / f"{target}.py").is_file():
                continue  # a public name of scaling/__init__.py, e.g. __version__
            allowed = MAY_IMPORT[part] | {part}
            if path.name == "train_run.py" and part == "sweep":
                allowed = allowed | {"lm"}
            assert target in allowed, f"{path.name}:{line}: {part} may not import scaling.{target}"
        elif top in ONLY_IN:
            assert part in ONLY_IN[top], f"{path.name}:{line}: {top} belongs to {sorted(ONLY_IN[top])}"


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {_part(p) for p in _files()} - {"__init__", "__main__"}
    assert parts <= set(MAY_IMPORT), f"give these a layer: {sorted(parts - set(MAY_IMPORT))}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import scaling", ["numpy", "pandas", "scipy", "matplotlib", "torch", "click"]),
        (
            "from scaling.cli import run; run(['plan', '--flops', '1e21'])",
            ["numpy", "pandas", "scipy", "matplotlib", "torch", "statsmodels"],
        ),
        ("from scaling.cli import run; run(['--help'])", ["numpy", "pandas", "scipy", "matplotlib", "torch"]),
        ("from scaling.cli import run; run(['laws', 'list'])", ["numpy", "pandas", "torch"]),
        (
            "import scaling.fitting.surface.fit, scaling.fitting.isoflop.fit",
            ["statsmodels", "matplotlib", "torch"],
        ),
    ],
)
def test_light_commands_import_nothing_heavy(statement: str, absent: list[str]) -> None:
    code = f"{statement}\nimport sys\nprint('HEAVY', *[m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.strip().splitlines()[-1].strip() == "HEAVY"
