"""How a report came to be: command, data, code, seed, versions and machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scaling import __version__
from scaling.jsonable import fields_of

PACKAGES = ("numpy", "scipy", "pandas", "matplotlib", "typst")
GIT_SECONDS = 10.0  # a slow disk; a folder that is no repository answers at once
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")  # a name and token in an address


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What is None is not known, or left out of an anonymous report."""

    command: str
    inputs: Mapping[str, str]  # file → sha256 of its bytes
    seed: int
    n_resamples: int | None
    written: str | None  # UTC, from SOURCE_DATE_EPOCH: the clock would make every report another
    version: str
    versions: Mapping[str, str]
    python: str
    system: str
    host: str | None = None
    commit: str | None = None  # of the folder of the input
    dirty: bool | None = None  # its tracked files differ from the commit
    remote: str | None = None
    spec_hash: str | None = None
    anonymous: bool = False
    more: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self)


def describe_reproduction(
    command: str,
    files: Mapping[str, Path],
    *,
    folder: Path | str,
    seed: int = 0,
    n_resamples: int | None = None,
    spec: Path | None = None,
    anonymous: bool = False,
) -> Reproduction:
    """What another needs to make the same report.

    Args:
        command: as it was typed, without paths where `anonymous`.
        files: the inputs by the name to show; folder: where they are, whose git commit is told.
        spec: of a sweep.
    """
    commit, dirty = _commit(folder)
    return Reproduction(
        command=command,
        inputs={name: sha256_of(path) for name, path in files.items() if path.is_file()},
        seed=seed,
        n_resamples=n_resamples,
        written=_written(),
        version=__version__,
        versions={name: v for name in PACKAGES if (v := _version(name))},
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}" if anonymous else platform.platform(),
        host=None if anonymous else socket.gethostname(),
        commit=commit,
        dirty=dirty,
        remote=None if anonymous else _remote(folder),
        spec_hash=sha256_of(spec) if spec is not None and spec.is_file() else None,
        anonymous=anonymous,
    )


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def epoch_seconds() -> int | None:
    """SOURCE_DATE_EPOCH, where it is a whole number."""
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(told) if told.isdecimal() else None


def _written() -> str | None:
    seconds = epoch_seconds()
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _commit(folder: Path | str) -> tuple[str | None, bool | None]:
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None, None
    return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))


def _remote(folder: Path | str) -> str | None:
    address = _git(folder, "remote", "get-url", "origin")
    return _LOGIN.sub("", address) if address else None


def _git(folder: Path | str, *words: str) -> str:
    """What git says of the folder; nothing where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
