"""`scaling doctor`: what is installed, what is missing, and which command installs it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

import click

from scaling import __version__
from scaling.cli.output import heading, print_json, print_table

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


@click.command(epilog="Example: scaling doctor")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(as_json: bool) -> int:
    """Check this installation and say what is missing."""
    packages = [_look(name, *why) for name, why in PACKAGES.items()]
    broken = [p["name"] for p in packages if not p["version"] and not p["extra"]]
    if as_json:
        print_json({"scaling": __version__, **_machine(), "packages": packages, "ok": not broken})
        return 1 if broken else 0
    click.echo(f"scaling {__version__}, Python {platform.python_version()}, {platform.platform()}")
    click.echo(f"{os.cpu_count()} CPUs, installed in {sys.prefix}")
    heading("packages")
    rows = [(p["name"], p["version"] or "missing", p["needed_by"], _advice(p)) for p in packages]
    print_table(["package", "version", "needed by", ""], rows, left=4)
    click.echo()
    if broken:
        click.echo(f"The core is incomplete ({', '.join(broken)}): run `pip install isoflop` again.")
    else:
        click.echo("The core is complete. Next: scaling plan --flops 1e21")
    return 1 if broken else 0


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
