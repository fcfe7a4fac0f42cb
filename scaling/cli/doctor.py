"""`scaling doctor`: what is installed, what is missing, and what stands in the way."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

import click

from scaling import __version__
from scaling.blocks import Heading, Table, Text
from scaling.cli.help import Command
from scaling.errors import Exit
from scaling.render.terminal import show, show_json
from scaling.translation import tr

# package → (needed by, extra that brings it; "" = part of the core)
PACKAGES = {
    "click": ("the command line", ""),
    "numpy": ("fitting", ""),
    "scipy": ("fitting", ""),
    "pandas": ("large tables", ""),
    "matplotlib": ("pictures", ""),
    "statsmodels": ("log-log regressions", ""),
    "pooch": ("scaling data get", "data"),
    "pyarrow": ("Parquet files", "data"),
    "torch": ("training", "train"),
    "safetensors": ("training", "train"),
    "tokenizers": ("training", "train"),
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
    if as_json:
        show_json({"scaling": __version__, **_machine(), "packages": packages, "ok": not broken})
        return Exit.CANNOT if broken else Exit.DONE
    rows = [(p["name"], p["version"] or tr("missing"), p["needed_by"], _advice(p)) for p in packages]
    if broken:
        end = tr(
            "The core is incomplete ({names}): run `pip install isoflop` again.", names=", ".join(broken)
        )
    else:
        end = tr("The core is complete. Next: scaling plan --flops 1e21")
    python, system = platform.python_version(), platform.platform()
    show(
        Text(f"scaling {__version__}, Python {python}, {system}"),
        Text(tr("{n} CPUs, installed in {folder}", n=os.cpu_count(), folder=sys.prefix)),
        Heading(tr("packages")),
        Table([tr("package"), tr("version"), tr("needed by"), ""], rows, left=4),
        Text(""),
        Text(end),
    )
    return Exit.CANNOT if broken else Exit.DONE


def _machine() -> dict[str, object]:
    return {"python": platform.python_version(), "platform": platform.platform(), "cpu_count": os.cpu_count()}


def _look(name: str, needed_by: str, extra: str) -> dict[str, str]:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return {"name": name, "version": version, "needed_by": needed_by, "extra": extra}


def _advice(package: dict[str, str]) -> str:
    if package["version"]:
        return ""
    return f"pip install 'isoflop[{package['extra']}]'" if package["extra"] else "pip install isoflop"
