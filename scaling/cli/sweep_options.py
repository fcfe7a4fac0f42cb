"""How a sweep is run, as `run`, `resume` and `verify` are told: where, how many at once, until when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from scaling.errors import UsageError
from scaling.sweep import EXECUTORS
from scaling.units import parse_duration

LEAST_LEASE_TIMEOUT_S = 4.0

SPEC = click.argument("spec", type=click.Path(path_type=Path))
STORE = click.option(
    "--store", type=click.Path(path_type=Path), help="Folder of the runs  [default: store, beside the spec]."
)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every command that trains. None: not given."""

    executor: str
    slots: int | None
    gpus_per_slot: float | None
    pack: int
    deadline: str | None
    partition: str | None
    lease_timeout: str
    logs: tuple[str, ...]
    quiet: bool

    def __post_init__(self) -> None:
        _ = self.deadline_s, self.lease_timeout_s  # refused before anything is read

    @property
    def deadline_s(self) -> float | None:
        return None if self.deadline is None else parse_duration(self.deadline)

    @property
    def lease_timeout_s(self) -> float:
        seconds = parse_duration(self.lease_timeout)
        if seconds < LEAST_LEASE_TIMEOUT_S:
            raise UsageError(
                f"--lease-timeout must be at least {LEAST_LEASE_TIMEOUT_S:g} s, got {self.lease_timeout}: workers say "
                "that they are alive four times in it."
            )
        return seconds


_DECLARATIONS = (
    click.option("--executor", type=click.Choice(EXECUTORS), default="local", show_default=True),
    click.option(
        "--slots",
        type=click.IntRange(1),
        help="Workers at once  [default: the CPU cores, or 4 a GPU; 4 for slurm; what a Ray cluster holds].",
    ),
    click.option(
        "--gpus-per-slot",
        type=click.FloatRange(0),
        help="0.25: four workers share a GPU; 0: none  [default: 0.25 local, 1 ray, 0 slurm].",
    ),
    click.option(
        "--pack",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Runs of one shape and length that a worker trains as one stacked model, to fill a GPU.",
    ),
    click.option("--deadline", metavar="TIME", help="Start nothing that cannot end by then: 25min, 2h."),
    click.option("--partition", help="Slurm partition."),
    click.option(
        "--lease-timeout", default="60s", show_default=True, help="Silence after which a worker is dead."
    ),
    click.option(
        "--log",
        "logs",
        multiple=True,
        type=click.Choice(["tensorboard", "wandb", "mlflow"]),
        help="Follow the runs live there too, in the store; may be repeated  [default: log of the spec].",
    ),
    click.option("--quiet", is_flag=True, help="No progress on stderr."),
)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command SPEC, --store and the options above, handed over as one `options: RunOptions`."""
    names = [f.name for f in fields(RunOptions)]

    @wraps(command)
    def packed(**given: Any) -> Any:
        options = RunOptions(**{name: given.pop(name) for name in names})
        return command(options=options, **given)

    for declare in reversed((SPEC, STORE, *_DECLARATIONS)):
        packed = declare(packed)
    return packed
