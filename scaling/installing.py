"""The command that installs what is missing, as it works in the environment that says so: pip, uv, pipx, a checkout.

What tells them apart: pipx and `uv tool` leave a file in the environment they make, uv a line in its pyvenv.cfg, and
every installer writes where a package came from into direct_url.json (PEP 610).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "isoflop"  # of the distribution; the import name is scaling


@dataclass(frozen=True, kw_only=True)
class Source:
    """What this distribution was installed from: `folder` of a checkout, another `url`, or neither, an index."""

    folder: Path | None = None
    editable: bool = False
    url: str = ""


def extra_command(extra: str) -> str:
    """The shell command that installs an extra of this distribution, "" for its core: pip install 'isoflop[train]'."""
    tool, source = _tool(), _source()
    if tool == "pipx":  # which would refuse the distribution, for it is there
        return _join("pipx", "inject", _environment().name, *requirements_of(extra))
    if tool == "uv tool":
        added = [word for needed in requirements_of(extra) for word in ("--with", needed)]
        return _join("uv", "tool", "install", "--force", *added, *_words(source))
    if tool == "uv" and source.folder is not None and (source.folder / "uv.lock").is_file():
        return _join("uv", "sync", "--inexact", "--directory", str(source.folder), "--extra", extra)
    return _join(*_pip(tool, "install"), *_words(source, extra))


def package_command(*packages: str, no_deps: bool = False) -> str:
    """The shell command that installs packages beside this distribution: pip install odfpy."""
    return _join(*_pip(_tool(), "install"), *(["--no-deps"] if no_deps else []), *packages)


def repair_command(intruder: str) -> str:
    """The shell command that removes another distribution and puts back the files of this one that went with it."""
    tool = _tool()
    remove, install = _pip(tool, "uninstall"), _pip(tool, "install")
    by_uv = remove[0] == "uv"
    again = "--reinstall" if by_uv else "--force-reinstall"
    removed = _join(*remove, *([] if by_uv else ["-y"]), intruder)
    return f"{removed} && {_join(*install, again, '--no-deps', *_words(_source()))}"


def requirements_of(extra: str) -> list[str]:
    """What an extra, or "" the core, brings: torch>=2.9 for train; of an extra that names another, that one's too."""
    found: list[str] = []
    for line in importlib.metadata.requires(NAME) or []:
        needed, _, marker = (part.strip() for part in line.partition(";"))
        named = re.search(r"extra == ['\"]([^'\"]*)['\"]", marker)
        if (named[1] if named else "") != extra:
            continue
        own = re.fullmatch(rf"{NAME}\[([\w,-]+)\]", needed)
        found += [n for other in own[1].split(",") for n in requirements_of(other)] if own else [needed]
    return list(dict.fromkeys(found))


def _environment() -> Path:
    return Path(sys.prefix)


def _tool() -> str:
    """What made this environment: pipx, uv tool, uv; else pip."""
    if (_environment() / "pipx_metadata.json").is_file():
        return "pipx"
    if (_environment() / "uv-receipt.toml").is_file():
        return "uv tool"
    config = _environment() / "pyvenv.cfg"
    made_by_uv = config.is_file() and re.search(r"^uv\s*=", config.read_text(errors="replace"), re.MULTILINE)
    return "uv" if made_by_uv and shutil.which("uv") else "pip"


def _pip(tool: str, verb: str) -> list[str]:
    """The words of a pip that acts on this environment and no other."""
    here = str(_environment())
    if tool == "pipx":
        return ["pipx", "runpip", _environment().name, verb]
    pip = shutil.which("pip")
    if tool == "pip" and pip is not None and Path(pip).parent == Path(sys.executable).parent:
        return ["pip", verb]
    if tool == "pip" and (importlib.util.find_spec("pip") is not None or not shutil.which("uv")):
        return [sys.executable, "-m", "pip", verb]
    chosen = os.environ.get("VIRTUAL_ENV")
    is_chosen = chosen is not None and Path(chosen).resolve() == Path(here).resolve()
    return ["uv", "pip", verb, *([] if is_chosen else ["--python", here])]


def _source() -> Source:
    try:
        told = json.loads(importlib.metadata.distribution(NAME).read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return Source()
    url = str(told.get("url", ""))
    folder = Path(unquote(urlsplit(url).path))
    if "dir_info" in told and folder.is_dir():
        return Source(folder=folder, editable=bool(told["dir_info"].get("editable")))
    if "vcs_info" in told:
        return Source(url=f"{told['vcs_info']['vcs']}+{url}@{told['vcs_info']['commit_id']}")
    return Source(url="" if url.startswith("file:") and not folder.exists() else url)


def _words(source: Source, extra: str = "") -> list[str]:
    """What names this distribution, with an extra, to an installer."""
    extras = f"[{extra}]" if extra else ""
    if source.folder is not None:
        place = "." if source.folder.resolve() == Path.cwd() else str(source.folder)
        return [*(["-e"] if source.editable else []), f"{place}{extras}"]
    return [f"{NAME}{extras} @ {source.url}" if source.url else f"{NAME}{extras}"]


def _join(*words: str) -> str:
    """As one pastes it; brackets are patterns to a shell, so that they are quoted."""
    return shlex.join(words)
