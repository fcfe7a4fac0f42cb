"""`scaling sweep import`: a table of runs from the logs of another tool."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from scaling.cli.output import note
from scaling.cli.tables import Number
from scaling.errors import DataError, UnitError, UsageError

TOOLS = ("wandb", "mlflow", "tensorboard", "hf-trainer", "nanochat")
SIZES = ("n_params", "n_tokens", "tokens_per_step", "n_steps", "flops")
WANDB_PROJECT = re.compile(r"[\w.-]+/[\w.-]+")
OF_LOGS = {
    "loss", "loss_unit", "bytes_per_token", "params", "params_convention", "tokens", "tokens_per_step", "steps",
    "flops", "flops_convention", "sizes",
}  # fmt: skip
TAKEN = {
    "wandb": OF_LOGS | {"step_key"},
    "mlflow": OF_LOGS | {"experiment"},
    "tensorboard": OF_LOGS,
    "hf-trainer": OF_LOGS - {"flops", "flops_convention"},
    "nanochat": OF_LOGS - {"steps", "flops", "flops_convention"},
}  # options by tool
VALUE = "A number, or the name of a value the runs have logged"


@click.command(
    "import",
    epilog="Try: scaling sweep import wandb wandb -o runs.csv --loss eval/loss --params n_params "
    "--params-convention total --tokens n_tokens",
)
@click.argument("tool", type=click.Choice(TOOLS))
@click.argument("source")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Table to write.")
@click.option(
    "--loss",
    metavar="NAME",
    help="The metric  [default: eval/loss; eval_loss of a Trainer, val_bpb of nanochat].",
)
@click.option(
    "--loss-unit",
    type=click.Choice(["nats/token", "bits/token", "bits/byte", "nats/byte", "perplexity", "other"]),
    help="Of the loss  [default: what its name says, else nats/token].",
)
@click.option("--params", metavar="N", help=f"{VALUE}: 124M, n_params.")
@click.option(
    "--params-convention", type=click.Choice(["total", "active", "non_embedding"]), help="What N counts."
)
@click.option("--tokens", metavar="D", help=f"{VALUE}: tokens at the end.")
@click.option("--tokens-per-step", metavar="D", help=f"{VALUE}: instead of --tokens.")
@click.option("--steps", metavar="STEPS", help=f"{VALUE}: planned; runs that stopped earlier are left out.")
@click.option("--flops", metavar="C", help=f"{VALUE}  [default: 6ND].")
@click.option("--flops-convention", help="How --flops are counted: 6ND, exact, source.")
@click.option(
    "--sizes",
    type=click.Path(path_type=Path),
    help=f"CSV with a column run and any of {', '.join(SIZES)}, where the logs do not say.",
)
@click.option("--experiment", help="Of MLflow  [default: all].")
@click.option("--step-key", help="What counts steps in W&B  [default: _step].")
@click.option(
    "--bytes-per-token", type=Number(), help="Of the validation text, where the loss is per byte (nanochat)."
)
@click.option("--force", is_flag=True, help="Overwrite the table.")
def import_(tool: str, source: str, output: Path, force: bool, **told: Any) -> None:
    """Make a table of runs from the logs of another tool; unfinished and crashed runs are left out and named.

    SOURCE: a folder with offline runs, an exported CSV or entity/project (wandb); a folder, an SQLite file or a URI
    (mlflow); a folder (tensorboard, hf-trainer); results.csv or a folder with training logs (nanochat).
    """
    for name, value in told.items():
        if value is not None and name not in TAKEN[tool]:
            raise UsageError(f"--{name.replace('_', '-')} says nothing about {tool}; leave it out.")
    runs = _IMPORTERS[tool](source, told)
    runs.save(output, overwrite=force)
    for text in runs.notes:
        note(text)
    click.echo(f"wrote {len(runs)} runs to {output}. Fit them:  scaling fit {output}")


def _sizes(told: dict[str, Any]) -> dict[str, Any]:
    """What was said of N, D, C and the steps: by option, else by the column of --sizes."""
    from scaling.units import parse_flops, parse_params, parse_tokens

    def number_or_name(text: str | None, parse: Callable[[str], float]) -> float | str | None:
        if text is None:
            return None
        try:
            return parse(text)
        except UnitError:
            return text

    said: dict[str, Any] = {
        "n_params": number_or_name(told["params"], parse_params),
        "n_tokens": number_or_name(told["tokens"], parse_tokens),
        "tokens_per_step": number_or_name(told["tokens_per_step"], parse_tokens),
        "n_steps": number_or_name(told["steps"], parse_tokens),
        "flops": number_or_name(told["flops"], parse_flops),
    }
    table = {} if told["sizes"] is None else _read_sizes(told["sizes"])
    return {k: table.get(k) if v is None else v for k, v in said.items()}


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


def _logged(told: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the importers of metrics share."""
    return {
        **_sizes(told),
        "params_convention": told["params_convention"],
        "flops_convention": told["flops_convention"],
        "loss_unit": told["loss_unit"],
        "bytes_per_token": told["bytes_per_token"],
    }


def _wandb(source: str, told: dict[str, Any]) -> Any:
    from scaling.sweep.importers import from_wandb

    runs: Any = source
    if not Path(source).exists() and WANDB_PROJECT.fullmatch(source):
        try:
            import wandb
        except ImportError as error:
            raise UsageError("asking W&B needs wandb: pip install 'isoflop[wandb]'.") from error
        try:
            runs = wandb.Api().runs(source)
            len(runs)  # asks for the first page: a wrong name or key shows here
        except Exception as error:  # wandb raises many kinds: no key, no network, no project
            raise DataError(f"W&B did not answer for {source}: {str(error).splitlines()[0]}") from error
    return from_wandb(
        runs, loss_key=told["loss"] or "eval/loss", step_key=told["step_key"] or "_step", **_logged(told)
    )


def _mlflow(source: str, told: dict[str, Any]) -> Any:
    from scaling.sweep.importers import from_mlflow

    return from_mlflow(
        source, loss_key=told["loss"] or "eval/loss", experiment=told["experiment"], **_logged(told)
    )


def _tensorboard(source: str, told: dict[str, Any]) -> Any:
    from scaling.sweep.importers import from_tensorboard

    return from_tensorboard(source, loss_tag=told["loss"] or "eval/loss", **_logged(told))


def _hf_trainer(source: str, told: dict[str, Any]) -> Any:
    from scaling.sweep.importers import from_hf_trainer

    sizes = {k: v for k, v in _sizes(told).items() if k != "flops"}
    for value in sizes.values():
        if isinstance(value, str):
            raise UsageError(f"{value!r} is not a number, and a Trainer logs no values by name.")
    return from_hf_trainer(
        source, loss_key=told["loss"], params_convention=told["params_convention"], loss_unit=told["loss_unit"],
        bytes_per_token=told["bytes_per_token"], **sizes,
    )  # fmt: skip


def _nanochat(source: str, told: dict[str, Any]) -> Any:
    from scaling.sweep.importers import from_nanochat

    sizes = {k: v for k, v in _sizes(told).items() if k not in ("flops", "n_steps")}
    return from_nanochat(
        source, loss_key=told["loss"] or "val_bpb", params_convention=told["params_convention"],
        loss_unit=told["loss_unit"], bytes_per_token=told["bytes_per_token"], **sizes,
    )  # fmt: skip


_IMPORTERS = {
    "wandb": _wandb, "mlflow": _mlflow, "tensorboard": _tensorboard, "hf-trainer": _hf_trainer, "nanochat": _nanochat,
}  # fmt: skip
