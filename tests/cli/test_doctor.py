"""`scaling doctor` says what is missing, what stands in the way, and a line for each that mends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from scaling.cli import cli, doctor
from scaling.installing import extra_command

ROOT = Path(__file__).resolve().parents[2]


def asked(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["doctor", *words], standalone_mode=False)
    assert result.return_value == code
    return result.stdout


def test_a_missing_package_is_told_with_the_line_that_brings_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(doctor.PACKAGES, "no-such-package", ("nothing", "slurm"))
    lines = " ".join(asked().split())
    assert "no-such-package missing nothing slurm" in lines
    assert f"to add an extra slurm {extra_command('slurm')}" in lines
    assert "The core is complete." in lines


def test_a_core_that_lacks_a_package_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.PACKAGES, "no-such-package", ("everything", ""))
    lines = " ".join(asked(code=1).split())
    assert f"The core is incomplete (no-such-package); this brings it: {extra_command('')}" in lines


def test_the_device_the_cache_and_the_tab_key_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "not" / "yet"))
    told = json.loads(asked("--json"))
    assert told["cache"] == {"path": str(tmp_path / "not" / "yet"), "writable": True}
    assert told["completion"] == {"shell": "bash", "installed": False}
    (tmp_path / ".bashrc").write_text('eval "$(scaling completion bash)"\n')
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "file"))
    told = json.loads(asked("--json"))
    assert told["cache"]["writable"] is False
    assert told["completion"]["installed"] is True
    assert "CANNOT be written: name another in SCALING_CACHE" in " ".join(asked().split())


def intruder(folder: Path) -> Path:
    """A wheel of another distribution with our import name, as PyPI has one."""
    wheel = folder / "scaling-0.9-py3-none-any.whl"
    about = "scaling-0.9.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("scaling/__init__.py", "THEIRS = True\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: scaling\nVersion: 0.9\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(
            f"{about}/RECORD",
            f"scaling/__init__.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n",
        )
    return wheel


@pytest.mark.slow
def test_the_package_of_pypi_that_owns_our_name_is_found_and_its_cure_cures(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="needs hatchling: pip install '.[test]'")
    place, env = tmp_path / "env", {**os.environ, "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    env["PATH"] = f"{place / 'bin'}:{env['PATH']}"
    libraries = Path(str(click.__file__)).parents[1]
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(f"{libraries}\n")

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*map(str, words)], env=env, cwd=tmp_path, capture_output=True, text=True)

    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        capture_output=True,
    )
    assert built.returncode == 0, built.stderr
    (ours,) = tmp_path.glob("isoflop-*.whl")
    pip = (place / "bin" / "pip", "install", "-q", "--no-deps", "--force-reinstall")
    theirs = intruder(tmp_path)
    # theirs first: our files lie over one of theirs, and nothing fails yet
    assert call(*pip, theirs).returncode == call(*pip, ours).returncode == 0
    told = call("scaling", "doctor")
    assert told.returncode == 1
    lines = " ".join(told.stdout.split())
    assert "another package owns the name `scaling` too: scaling 0.9, and 1 of its files" in lines
    (cure,) = [
        line.strip()
        for line in call("scaling", "doctor").stdout.replace("&&\n", "&&").splitlines()
        if "uninstall" in line
    ]
    # theirs last: nothing of ours can be imported, and the same cure is told
    assert call(*pip, theirs).returncode == 0
    broken = call("scaling", "plan", "--flops", "1e21")
    assert broken.returncode == 1
    assert "Traceback" not in broken.stderr
    assert " ".join(cure.split()) in broken.stderr
    mended = call("sh", "-c", cure)
    assert mended.returncode == 0, mended.stderr
    told = call("scaling", "doctor", "--json")
    assert json.loads(told.stdout)["other_owners_of_the_name"] == []
    assert call("scaling", "plan", "--flops", "1e21", "--quiet").returncode == 0
