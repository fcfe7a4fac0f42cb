"""What every `scaling sweep` command begins and ends with: its spec and store, how runs are to be run (where, how many
at once, until when), and the command to type next, quoted for a shell, with the spec and store as they were given.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from scaling.blocks import Code
from scaling.cli.completers import complete_sweep
from scaling.cli.progress import waiting_for
from scaling.errors import DataError, UsageError, of_option
from scaling.render.terminal import note
from scaling.sweep import EXECUTORS
from scaling.translation import tr
from scaling.units import parse_duration

if TYPE_CHECKING:
    from scaling.runs import Runs
    from scaling.sweep.design import Design
    from scaling.sweep.store import Store
    from scaling.sweep.timing import Rate

LEAST_LEASE_TIMEOUT_S = 4.0

SPEC = click.argument("spec", metavar="SPEC", type=click.Path(path_type=Path), shell_complete=complete_sweep)
STORE = click.option(
    "--store",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder of the runs  [default: store, beside the spec].",
)


FEWER_RUNS = click.option(
    "--min-runs-per-budget",
    type=click.IntRange(min=3),
    metavar="N",
    help="Fewer runs make no valley.  [default: 4]",
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
        return None if self.deadline is None else of_option("--deadline", parse_duration, self.deadline)

    @property
    def lease_timeout_s(self) -> float:
        seconds = of_option("--lease-timeout", parse_duration, self.lease_timeout)
        if seconds < LEAST_LEASE_TIMEOUT_S:
            raise UsageError(
                f"--lease-timeout must be at least {LEAST_LEASE_TIMEOUT_S:g} s, got {self.lease_timeout}: workers say "
                "that they are alive four times in it."
            )
        return seconds


HEADINGS = {
    "Where": ("--store", "--executor", "--slots", "--gpus-per-slot", "--pack", "--partition"),
    "Until when": ("--deadline", "--lease-timeout"),
    "Watching": ("--log",),
}
_DECLARATIONS = (
    click.option(
        "--executor", type=click.Choice(EXECUTORS), default="local", show_default=True, help="Where."
    ),
    click.option(
        "--slots",
        metavar="N",
        type=click.IntRange(1),
        help="Workers at once  [default: the CPU cores, or 4 a GPU; 4 for slurm; what a Ray cluster holds].",
    ),
    click.option(
        "--gpus-per-slot",
        metavar="SHARE",
        type=click.FloatRange(0),
        help="0.25: four workers share a GPU; 0: none  [default: 0.25 local, 1 ray, 0 slurm].",
    ),
    click.option(
        "--pack",
        metavar="N",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Runs of one shape and length that a worker trains as one stacked model, to fill a GPU.",
    ),
    click.option("--deadline", metavar="TIME", help="Start nothing that cannot end by then: 25min, 2h."),
    click.option("--partition", metavar="NAME", help="Slurm partition."),
    click.option(
        "--lease-timeout",
        metavar="TIME",
        default="60s",
        show_default=True,
        help="Silence after which a worker is dead.",
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


def on_sweep(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command SPEC and --store, handed over as the path `spec` and the `store: Store`."""

    @wraps(command)
    def opened(*, spec: Path, store: Path | None, **others: Any) -> Any:
        return command(spec=spec, store=store_of(spec, store), **others)

    return SPEC(STORE(opened))


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `on_sweep`, with the options of a run too, handed over as one `options: RunOptions`."""
    names = [f.name for f in fields(RunOptions)]

    @wraps(command)
    def packed(*, spec: Path, store: Path | None, **values: Any) -> Any:
        options = RunOptions(**{name: values.pop(name) for name in names})
        opened = store_of(spec, store, options.lease_timeout_s)
        return command(spec=spec, store=opened, options=options, **values)

    for declare in reversed((SPEC, STORE, *_DECLARATIONS)):
        packed = declare(packed)
    return packed


def store_of(spec_path: Path, store: Path | None, lease_timeout_s: float | None = None) -> Store:
    from scaling.sweep.store import LEASE_TIMEOUT_S, Store

    folder = spec_path if spec_path.is_dir() else spec_path.parent
    return Store((store or folder / "store").resolve(), lease_timeout_s=lease_timeout_s or LEASE_TIMEOUT_S)


def design_of(spec_path: Path, store: Store | None = None) -> Design:
    """The runs of a spec; the store is asked where the corpus is not here."""
    from scaling.cli.corpus import tell_preparation
    from scaling.sweep.run import plan_sweep
    from scaling.sweep.spec import load_sweep

    spec = load_sweep(spec_path)
    tell_preparation(spec.corpus.name)
    return plan_sweep(spec, store=store)


def measured_rate(design: Design) -> Rate | None:
    """A few steps timed here; None where the corpus is not here, which is said."""
    from scaling.sweep.run import require_torch
    from scaling.sweep.train_run import measure_rate

    require_torch()
    try:
        with waiting_for(tr("timing a few steps")):
            return measure_rate(design)
    except DataError as error:
        note(f"no times: {error}")
        return None


def finished_runs(design: Design, store: Store) -> Runs:
    """The table of the spec's own runs, those left out noted; an error that says how to get some."""
    from scaling.sweep.results import NothingFinishedError, load_store_runs

    try:
        runs = load_store_runs(store, design)
    except NothingFinishedError as error:
        raise type(error)(f"{error} That is:  {next_command('run')}") from error
    for text in runs.notes:
        note(text)
    return runs


# --- what to type next ---


def command_line(verb: str, *words: object) -> str:
    """`scaling sweep VERB WORDS`, as one pastes it."""
    return shlex.join(["scaling", "sweep", verb, *(str(word) for word in words)])


def next_command(verb: str) -> str:
    """Another command on the spec and store of the one that is running."""
    parameters = click.get_current_context().params
    store = ["--store", parameters["store"]] if parameters.get("store") is not None else []
    return command_line(verb, parameters["spec"], *store)


def same_command() -> str:
    """The command that is running, with every option that was given, as one types it to go on."""
    context = click.get_current_context()
    words, options = context.command_path.split(), []
    for parameter in context.command.params:
        value = context.params[str(parameter.name)]
        if context.get_parameter_source(str(parameter.name)) is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            options.append((parameter.opts if value else parameter.secondary_opts)[-1])
        else:
            for item in value if parameter.multiple else [value]:
                options += [parameter.opts[-1], str(item)]
    return shlex.join(["scaling", *words[1:], *options])


def next_step(label: str, verb: str) -> Code:
    """Another command on this spec and store, to be shown."""
    return Code(next_command(verb), label=label, indent=2)
