"""Build a release and try it as a user would: python scripts/release.py [FOLDER] [--commit HEAD]

From an empty folder: the files of the commit alone (git archive), a source distribution of them, and a wheel made of
that source distribution, as pip makes it. Each is installed in a fresh virtual environment and must plan, fit and write
a page there; the tests of the unpacked source distribution must be found by pytest. What passes is left in FOLDER
(dist unless given). Nothing is uploaded. Two minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRIES = (
    ("plan", "--flops", "1e21", "--json"),
    ("demo", "--write", "runs.csv"),
    ("fit", "runs.csv", "-o", "fit.json", "--plot", "fit.png"),
    ("plan", "--flops", "1e22", "--law", "fit.json"),
    ("page", "fit.json", "-o", "page.html"),
)


def release(out: Path, commit: str = "HEAD") -> tuple[Path, Path]:
    """The source distribution and the wheel of a commit, both tried, in `out`.

    Raises:
        SystemExit: with the command that failed and what it said.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = run(["git", "archive", "--format=tar", commit], ROOT)
        source = _unpacked(archive, folder / "source")
        build(source, "sdist", folder / "dist")
        (sdist,) = (folder / "dist").glob("*.tar.gz")
        unpacked = _unpacked(sdist.read_bytes(), folder / "unpacked") / sdist.name.removesuffix(".tar.gz")
        build(unpacked, "wheel", folder / "dist")
        (wheel,) = (folder / "dist").glob("*.whl")
        check_complete(source, unpacked)
        for made in (sdist, wheel):
            try_in_fresh_environment(made, folder / f"environment-{made.suffix[1:]}")
        out.mkdir(parents=True, exist_ok=True)
        return sdist.replace(out / sdist.name), wheel.replace(out / wheel.name)


def build(source: Path, target: str, out: Path) -> None:
    run([sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)], source)


def check_complete(source: Path, unpacked: Path) -> None:
    """Every file of the commit but those of git itself is in the source distribution, and pytest finds its tests."""
    left_out = {".gitignore", ".dockerignore"}
    wanted = {str(p.relative_to(source)) for p in source.rglob("*") if p.is_file()} - left_out
    missing = sorted(name for name in wanted if not (unpacked / name).exists())
    if missing:
        sys.exit(f"not in the source distribution: {', '.join(missing)}")
    run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        unpacked,
        PYTHONPATH=str(unpacked),
    )


def try_in_fresh_environment(distribution: Path, folder: Path) -> None:
    """Install it there, with its requirements, and do what a first user does, in an empty folder."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    install = [
        "install",
        "-q",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
        str(distribution),
    ]
    run([str(programs / "python"), "-m", "pip", *install], folder)
    empty = folder / "empty"
    empty.mkdir()
    for arguments in TRIES:
        said = run([str(programs / "scaling"), *arguments], empty)
        if "--json" in arguments and json.loads(said)["flops"] != 1e21:
            sys.exit(f"{distribution.name} plans {said!r}")


def run(command: Sequence[str], folder: Path, **environment: str) -> bytes:
    """What a command writes to stdout."""
    kept: Mapping[str, str] = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=folder, env={**kept, **environment}, capture_output=True)
    if done.returncode:
        told = (done.stdout[-3000:] + done.stderr[-3000:]).decode(errors="replace")
        sys.exit(f"failed: {' '.join(command)}\n{told}")
    return done.stdout


def _unpacked(archive: bytes, folder: Path) -> Path:
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist")
    parser.add_argument("--commit", default="HEAD")
    asked = parser.parse_args()
    for made in release(asked.folder, asked.commit):
        print(f"{made} ({made.stat().st_size / 1e6:.1f} MB)")
