"""`scaling sweep import`: a table of runs from the logs of another tool."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli.help import Command
from scaling.cli.progress import waiting_for
from scaling.cli.tables import Number
from scaling.errors import DataError, MissingFileError, UnitError, UsageError
from scaling.installing import extra_command
from scaling.render.terminal import note, say
from scaling.translation import tr

if TYPE_CHECKING:
    from scaling.runs import Runs

TOOLS = ("wandb", "mlflow", "tensorboard", "hf-trainer", "nanochat")
SIZES = ("n_params", "n_tokens", "tokens_per_step", "n_steps", "flops")
WANDB_PROJECT = re.compile(r"[\w.-]+/[\w.-]+")
ARGUMENTS = {  # by the option that gives it
    "loss_unit": "loss_unit", "bytes_per_token": "bytes_per_token", "params": "n_params", "tokens": "n_tokens",
    "params_convention": "params_convention", "tokens_per_step": "tokens_per_step", "steps": "n_steps",
    "flops": "flops", "flops_convention": "flops_convention", "step_key": "step_key", "experiment": "experiment",
}  # fmt: skip
OF_LOGS = {*ARGUMENTS, "loss", "sizes"} - {"step_key", "experiment"}
TAKEN = {
    "wandb": OF_LOGS | {"step_key"},
    "mlflow": OF_LOGS | {"experiment"},
    "tensorboard": OF_LOGS,
    "hf-trainer": OF_LOGS - {"flops", "flops_convention"},
    "nanochat": OF_LOGS - {"steps", "flops", "flops_convention"},
}  # options by tool
LOSSES = {"hf-trainer": None, "nanochat": "val_bpb"}  # where --loss is not given, if not eval/loss
LOSS_UNITS = ("nats/token", "bits/token", "bits/byte", "nats/byte", "perplexity", "other")
VALUE = "A number, or the name of a value the runs have logged"

HEADINGS = {
    "Loss": ("--loss", "--loss-unit", "--bytes-per-token"),
    "Sizes": (
        "--params", "--params-convention", "--tokens", "--tokens-per-step", "--steps", "--flops", "--flops-convention",
        "--sizes",
    ),
    "Logs": ("--experiment", "--step-key"),
}  # fmt: skip


@click.command(
    "import",
    cls=Command,
    headings=HEADINGS,
    epilog="Try: scaling sweep import wandb wandb -o runs.csv --loss eval/loss --params n_params "
    "--params-convention total --tokens n_tokens",
)
@click.argument("tool", type=click.Choice(TOOLS))
@click.argument("source", metavar="SOURCE")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), required=True, help="Table to write."
)
@click.option(
    "--loss",
    metavar="NAME",
    help="The metric  [default: eval/loss; eval_loss of a Trainer, val_bpb of nanochat].",
)
@click.option(
    "--loss-unit",
    type=click.Choice(LOSS_UNITS),
    metavar="UNIT",
    help=f"{', '.join(LOSS_UNITS)}  [default: what its name says, else nats/token].",
)
@click.option("--params", metavar="PARAMS|NAME", help=f"{VALUE}: 124M, n_params.")
@click.option(
    "--params-convention", type=click.Choice(["total", "active", "non_embedding"]), help="What N counts."
)
@click.option("--tokens", metavar="TOKENS|NAME", help=f"{VALUE}: tokens at the end.")
@click.option("--tokens-per-step", metavar="TOKENS|NAME", help=f"{VALUE}: instead of --tokens.")
@click.option(
    "--steps", metavar="STEPS|NAME", help=f"{VALUE}: planned; runs that stopped earlier are left out."
)
@click.option("--flops", metavar="FLOPS|NAME", help=f"{VALUE}  [default: 6ND].")
@click.option("--flops-convention", metavar="CONVENTION", help="How --flops are counted: 6ND, exact, source.")
@click.option(
    "--sizes",
    metavar="FILE.csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"CSV with a column run and any of {', '.join(SIZES)}, where the logs do not say.",
)
@click.option("--experiment", metavar="NAME", help="Of MLflow  [default: all].")
@click.option("--step-key", metavar="NAME", help="What counts steps in W&B  [default: _step].")
@click.option(
    "--bytes-per-token",
    metavar="BYTES",
    type=Number(),
    help="Of the validation text, where the loss is per byte (nanochat).",
)
@click.option("--force", is_flag=True, help="Overwrite the table.")
def import_(tool: str, source: str, output: Path, force: bool, **options: Any) -> None:
    """Make a table of runs from the logs of another tool; unfinished and crashed runs are left out and named.

    SOURCE: a folder with offline runs, an exported CSV or entity/project (wandb); a folder, an SQLite file or a URI
    (mlflow); a folder (tensorboard, hf-trainer); results.csv or a folder with training logs (nanochat).
    """
    for name, value in options.items():
        if value is not None and name not in TAKEN[tool]:
            raise UsageError(f"--{name.replace('_', '-')} says nothing about {tool}; leave it out.")
    is_remote = WANDB_PROJECT.fullmatch(source) if tool == "wandb" else tool == "mlflow" and "://" in source
    if not is_remote and not Path(source).exists():
        raise MissingFileError(f"there is no {source}; give the folder or file with the logs of {tool}.")
    with waiting_for(tr("reading {source}", source=source)):
        runs = _import(tool, source, options)
    runs.save(output, overwrite=force)
    for text in runs.notes:
        note(text)
    say(f"wrote {len(runs)} runs to {output}. Fit them:  scaling fit {output}")


def _sizes(options: dict[str, Any]) -> dict[str, Any]:
    """What was said of N, D, C and the steps, a number or a name: by option, else by the column of --sizes."""
    from scaling.units import parse_flops, parse_params, parse_tokens

    parsers = {"params": parse_params, "flops": parse_flops}
    sizes: dict[str, Any] = {} if options["sizes"] is None else _read_sizes(options["sizes"])
    for option in ("params", "tokens", "tokens_per_step", "steps", "flops"):
        if (text := options[option]) is not None:
            sizes[ARGUMENTS[option]] = text
            with suppress(UnitError):  # else it is the name of a logged value
                sizes[ARGUMENTS[option]] = parsers.get(option, parse_tokens)(text)
    return sizes


def _read_sizes(path: Path) -> dict[str, dict[str, float]]:
    """Columns of a CSV as {run: number}."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or "run" not in rows[0]:
        raise DataError(f"{path} needs a column run, and any of {', '.join(SIZES)}.")
    try:
        return {k: {r["run"]: float(r[k]) for r in rows if r[k]} for k in SIZES if k in rows[0]}
    except ValueError as error:
        raise DataError(f"{path}: {error}; sizes are numbers.") from error


def _import(tool: str, source: str, options: dict[str, Any]) -> Runs:
    """The table that the importer of the tool makes, which is given what its options say."""
    from scaling.sweep import importers

    sizes = _sizes(options)
    if tool == "hf-trainer" and (name := next((v for v in sizes.values() if isinstance(v, str)), None)):
        raise UsageError(f"{name!r} is not a number, and a Trainer logs no values by name.")
    taken = {ARGUMENTS[option]: options[option] for option in TAKEN[tool] & ARGUMENTS.keys()}
    arguments = {name: sizes.get(name, value) for name, value in taken.items()}
    loss = options["loss"] or LOSSES.get(tool, "eval/loss")
    arguments["loss_tag" if tool == "tensorboard" else "loss_key"] = loss
    read: Callable[..., Runs] = getattr(importers, f"from_{tool.replace('-', '_')}")
    return read(
        _wandb_runs(source) if tool == "wandb" else source,
        **{name: value for name, value in arguments.items() if value is not None},
    )


def _wandb_runs(source: str) -> Any:
    """The runs of entity/project, asked of W&B; anything else is a file or folder and stays."""
    if Path(source).exists() or not WANDB_PROJECT.fullmatch(source):
        return source
    try:
        import wandb
    except ImportError as error:
        raise UsageError(f"asking W&B needs wandb: {extra_command('wandb')}") from error
    try:
        runs = wandb.Api().runs(source)
        len(runs)  # asks for the first page: a wrong name or key shows here
    except Exception as error:  # wandb raises many kinds: no key, no network, no project
        raise DataError(f"W&B did not answer for {source}: {str(error).splitlines()[0]}") from error
    return runs
