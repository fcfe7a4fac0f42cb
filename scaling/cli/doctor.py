"""`scaling doctor`: what is installed, what is missing, and what stands in the way."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

import click

from scaling import __version__
from scaling.blocks import Block, Callout, Code, Fields, Heading, Table, Text
from scaling.cli.completion import is_installed, shell_here
from scaling.cli.help import Command
from scaling.cli.progress import waiting_for
from scaling.errors import Exit
from scaling.installing import NAME, extra_command, repair_command
from scaling.render.terminal import show, show_json
from scaling.translation import tr

# package → (needed by, extra that brings it; "" = part of the core)
PACKAGES = {
    "click": ("the command line", ""),
    "rich": ("colours and bars on a terminal", ""),
    "numpy": ("fitting", ""),
    "scipy": ("fitting", ""),
    "pandas": ("large tables", ""),
    "matplotlib": ("pictures", ""),
    "statsmodels": ("log-log regressions", ""),
    "pooch": ("scaling data get", "data"),
    "pyarrow": ("Parquet files", "data"),
    "openpyxl": ("Excel files", "xlsx"),
    "typst": ("reports as PDF", "report"),
    "torch": ("training", "train"),
    "safetensors": ("training", "train"),
    "tokenizers": ("training", "train"),
    "gguf": ("SmolLM2, files of llama.cpp", "demo"),
    "datasets": ("corpora from Hugging Face", "hf"),
    "submitit": ("sweeps on Slurm", "slurm"),
    "ray": ("sweeps on Ray", "ray"),
    "tensorboard": ("TensorBoard in and out", "logs"),
    "wandb": ("Weights & Biases in and out", "wandb"),
    "mlflow-skinny": ("MLflow in and out", "mlflow"),
}


@click.command(cls=Command, epilog="Example: scaling doctor")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(as_json: bool) -> int:
    """Check this installation and say what is missing."""
    packages = [_look(name, *why) for name, why in PACKAGES.items()]
    broken = [p["name"] for p in packages if not p["version"] and not p["extra"]]
    others = other_owners()
    around = _around(has_torch=any(p["name"] == "torch" and p["version"] for p in packages))
    ok = not broken and not others
    if as_json:
        about = {"scaling": __version__, **_machine(), "packages": packages, "ok": ok}
        show_json({**about, **around, "other_owners_of_the_name": others})
        return Exit.DONE if ok else Exit.CANNOT
    python, system = platform.python_version(), platform.platform()
    rows = [(p["name"], p["version"] or tr("missing"), p["needed_by"], p["extra"]) for p in packages]
    show(
        Text(f"scaling {__version__}, Python {python}, {system}"),
        Text(tr("{n} CPUs, installed in {folder}", n=os.cpu_count(), folder=sys.prefix)),
        Fields(_fields(around), indent=0),
        Heading(tr("packages")),
        Table([tr("package"), tr("version"), tr("needed by"), tr("extra")], rows, left=4),
        *_missing(packages),
        *_intruders(others),
        *_end(broken, others),
    )
    return Exit.DONE if ok else Exit.CANNOT


def other_owners() -> list[dict[str, Any]]:
    """Other distributions that own the import name scaling, and how many files of this one theirs overwrite.

    PyPI has had one named `scaling` since long before us: installed beside, whichever came last has its files.
    """
    owners = {}
    for distribution in importlib.metadata.distributions():
        if files := _modules(distribution.read_text("RECORD") or ""):
            owners[distribution.metadata["Name"]] = distribution.version, files
    _, ours = owners.pop(NAME, ("", set()))
    return [
        {"name": n, "version": v, "n_files_shared": len(ours & theirs)} for n, (v, theirs) in owners.items()
    ]


def _modules(record: str) -> set[str]:
    """Of the files of a distribution those that `import scaling` reads."""
    files = {line.partition(",")[0] for line in record.splitlines() if line.startswith("scaling/")}
    return {file for file in files if "__pycache__" not in file}


def _around(*, has_torch: bool) -> dict[str, Any]:
    """What a command meets beside packages: the device it trains on, its cache, the shell."""
    from scaling.runs.public_tables import cache_folder

    cache, shell = cache_folder(Path.cwd(), os.environ), shell_here()
    there = next(p for p in (cache.absolute(), *cache.absolute().parents) if p.exists())
    return {
        "device": _device() if has_torch else None,
        "cache": {"path": str(cache), "writable": there.is_dir() and os.access(there, os.W_OK | os.X_OK)},
        "completion": {"shell": shell, "installed": shell is not None and is_installed(shell)},
    }


def _device() -> str:
    """What training takes by itself; why torch cannot be used where it cannot."""
    with waiting_for(tr("asking torch for its devices")):
        try:
            from scaling.lm.device import find_device
        except (ImportError, OSError) as error:  # a half-installed torch, a library of CUDA that is not there
            return tr("torch does not load: {error}", error=error)
        return str(find_device("auto"))


def _fields(around: dict[str, Any]) -> list[tuple[str, str]]:
    cache, completion = around["cache"], around["completion"]
    if cache["writable"]:
        kept = tr("{path}, can be written", path=cache["path"])
    else:
        kept = tr("{path} CANNOT be written: name another in SCALING_CACHE", path=cache["path"])
    if completion["installed"]:
        key = tr("installed for {shell}", shell=completion["shell"])
    else:
        key = tr("not installed; `scaling completion` says how")
    device = around["device"] or tr("none: torch is not installed")
    return [(tr("device"), device), (tr("cache"), kept), (tr("Tab key"), key)]


def _missing(packages: list[dict[str, str]]) -> list[Block]:
    """A line for each extra that lacks something."""
    extras = list(dict.fromkeys(p["extra"] for p in packages if p["extra"] and not p["version"]))
    width = max(map(len, extras), default=0)
    lines = [Code(extra_command(extra), label=f"  {extra:<{width}}", indent=2) for extra in extras]
    return [Heading(tr("to add an extra")), *lines] if extras else []


def _intruders(others: list[dict[str, Any]]) -> list[Block]:
    blocks: list[Block] = []
    for other in others:
        told = tr(
            "another package owns the name `scaling` too: {other[name]} {other[version]}, and {n} of its files are "
            "where ours belong. Only one of the two can be imported. To keep this one:",
            other=other, n=other["n_files_shared"],
        )  # fmt: skip
        blocks += [Heading(tr("in the way")), Callout(text=told, severity="error")]
        blocks += [Code(repair_command(str(other["name"])), indent=7)]
    return blocks


def _end(broken: list[str], others: list[dict[str, Any]]) -> list[Block]:
    if broken:
        names = ", ".join(broken)
        return [
            Text(""),
            Text(tr("The core is incomplete ({names}); this brings it:", names=names)),
            Code(extra_command(""), indent=2),
        ]
    next_step = Code("scaling plan --flops 1e21", label=tr("Next:"), indent=2)
    return [] if others else [Text(""), Text(tr("The core is complete.")), next_step]


def _machine() -> dict[str, object]:
    return {"python": platform.python_version(), "platform": platform.platform(), "cpu_count": os.cpu_count()}


def _look(name: str, needed_by: str, extra: str) -> dict[str, str]:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return {"name": name, "version": version, "needed_by": needed_by, "extra": extra}
