"""The wheel holds what the command needs, and runs from an empty folder."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pytest.importorskip("hatchling", reason="needs hatchling: pip install '.[test]'")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_wheel_holds_the_package_and_its_tables_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"scaling"}
    tracked = subprocess.run(
        ["git", "ls-files", "scaling"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    assert set(tracked) <= set(names), (
        "a tracked file of scaling/ is not in the wheel (a .gitignore pattern?)"
    )
    assert wheel.stat().st_size < 3_000_000


def test_installed_wheel_plans_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    empty = tmp_path / "empty"
    empty.mkdir()
    code = "import sys; from scaling.cli import run; sys.exit(run(['plan', '--flops', '1e21', '--json']))"
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], cwd=empty, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["flops"] == 1e21
    assert not list(empty.iterdir()), "planning writes nothing"


def test_constraints_pin_every_requirement() -> None:
    """CI installs with constraints.txt; an unpinned torch would pull gigabytes of another build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    names = {r.split(">")[0].split("=")[0].split("[")[0].strip().lower() for r in wanted} - {"isoflop"}
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert names <= pinned, f"not in constraints.txt: {sorted(names - pinned)}"
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()


@pytest.mark.slow
def test_a_release_is_built_and_tried_from_an_empty_folder(tmp_path: Path) -> None:
    """Of the last commit: built, installed in fresh environments, planned with, its tests found."""
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("a release is made of a commit, and this is no git checkout")
    spec = importlib.util.spec_from_file_location("release", ROOT / "scripts" / "release.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    sdist, wheel = script.release(tmp_path)
    assert sdist.name.endswith(".tar.gz")
    assert {path.name for path in tmp_path.iterdir()} == {sdist.name, wheel.name}


def test_an_incomplete_source_distribution_is_refused(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("release", ROOT / "scripts" / "release.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for folder in ("source", "unpacked"):
        (tmp_path / folder).mkdir()
    (tmp_path / "source" / "CITATION.cff").touch()
    with pytest.raises(SystemExit, match=r"not in the source distribution: CITATION\.cff"):
        script.check_complete(tmp_path / "source", tmp_path / "unpacked")


def test_the_image_is_built_from_what_the_package_needs_by_the_command_of_the_readme(
    wheel: Path, tmp_path: Path
) -> None:
    """No Docker here: its COPY lines are carried out, and what pip would build of them is the wheel."""
    pytest.importorskip("hatchling", reason="needs hatchling: pip install '.[test]'")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"pip install [^&]*-c constraints\.txt \. ", dockerfile)
    assert "pip install . &&" in (ROOT / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.M)[1])[0] in project["scripts"]
    for sources, target in re.findall(r"^COPY (.*) (/source\S*)$", dockerfile, re.M):
        for name in sources.split():
            there = tmp_path / target.strip("/")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                there.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, there)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    done = subprocess.run(build, cwd=tmp_path / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "dist").glob("*.whl")
    assert set(zipfile.ZipFile(made).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_the_citation_is_a_citation_file_and_says_what_the_project_says() -> None:
    """The keys that the Citation File Format 1.2.0 requires, and ours equal to pyproject.toml."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"authors", "cff-version", "message", "title"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    assert str(cited["version"]) == project["version"]
    assert cited["license"] == project["license"]
    assert cited["keywords"] == project["keywords"]
    assert cited["authors"] == project["authors"]


FORM_PARTS = {
    "markdown",
    "textarea",
    "input",
    "dropdown",
    "checkboxes",
}  # docs.github.com, syntax for issue forms


@pytest.mark.parametrize("name", ["bug.yml", "table.yml", "law.yml"])
def test_an_issue_form_has_what_github_requires(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)
    for part in form["body"]:
        assert part["type"] in FORM_PARTS
        assert part["attributes"]["label"]
