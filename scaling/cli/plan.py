"""`scaling plan`: parse the options, call `plan_training`, show."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from scaling.blocks import Blocks, Section, screen
from scaling.cli.completers import complete_accelerator, complete_law
from scaling.cli.help import Command
from scaling.cli.output import Output, give, output_options
from scaling.cli.pictures import picture_options, refuse_picture, write_picture
from scaling.errors import PlanError, UnitError, UnknownNameError, UsageError
from scaling.render.terminal import show, warn
from scaling.translation import tr
from scaling.units import (
    Hardware,
    parse_bytes,
    parse_dollars,
    parse_duration,
    parse_flops,
    parse_hardware,
    parse_number,
    parse_params,
    parse_tokens,
)

if TYPE_CHECKING:
    from scaling.planning.cost import Budget, Cluster, Constraints
    from scaling.planning.result import Plan

SECTIONS = ("laws", "sizes", "build", "memory", "cost", "sources", "doubts", "formulas")


def _whole(option: str, text: str) -> int:
    value = parse_number(text, example="4096 or 32k", whole=True)
    if value != int(value) or value > 1e9:
        raise UsageError(f"{option} must be a whole number of tokens up to 1e9, got {text!r}.")
    return int(value)


def _share(option: str, text: str) -> float:
    """0.4 or 40%."""
    percent = text.strip().endswith("%")
    value = parse_number(text.strip().removesuffix("%"), example="0.4 or 40%") / (100 if percent else 1)
    if not 0 < value <= 1:
        raise UsageError(f"{option} is a share between 0 and 1, got {text!r}; write 0.4 or 40%.")
    return value


class Quantity(NamedTuple):
    """An option that is a quantity: how its text is read, and the argument that it becomes."""

    name: str
    metavar: str
    help: str
    parse: Callable[[str], float]
    of: Literal["budget", "constraints", "cluster"]
    argument: str

    @property
    def key(self) -> str:
        """Its name among the parameters of the command."""
        return self.name[2:].replace("-", "_")


BUDGETS = (
    "--flops 1e21, --hardware 8xH100 --time 14d, --dollars 25k --hardware H100, --target-loss 2.3, --params 7B or "
    "--tokens 1T"
)
HEADINGS = {
    "Budget, exactly one": ("--flops", "--time", "--dollars", "--target-loss", "--params", "--tokens"),
    "Hardware": ("--hardware", "--mfu", "--goodput", "--price", "--peak-tflops", "--calibrate"),
    "Model and data": (
        "--law", "--unique-tokens", "--max-params", "--max-memory", "--inference-tokens", "--seq-len", "--vocab",
    ),
}  # fmt: skip
HARDWARE = (
    "Accelerators: 8xH100, p5.48xlarge, cpu.json (with --time or --dollars a budget, else what to plan for)."
)
QUANTITIES = (
    Quantity("--flops", "FLOPS", "Training compute: 1e21, '1 ZFLOP', '11574 PF-days'.", parse_flops, "budget", "flops"),
    Quantity("--time", "TIME", "How long the hardware is yours: 14d, 36h.", parse_duration, "budget", "seconds"),
    Quantity("--dollars", "MONEY", "Money for --hardware: 25k, $1.2M.", parse_dollars, "budget", "dollars"),
    Quantity(
        "--target-loss", "LOSS", "The cheapest way to this loss (nats per token).",
        partial(parse_number, example="2.3"), "budget", "target_loss",
    ),
    Quantity(
        "--params", "PARAMS",
        "Model size: 7B (active, of a mixture of experts). Tokens follow from the law, or from a budget too.",
        parse_params, "budget", "n_params",
    ),
    Quantity(
        "--tokens", "TOKENS", "Training tokens: 1T. Parameters follow likewise.", parse_tokens, "budget", "n_tokens"
    ),
    Quantity(
        "--unique-tokens", "TOKENS", "Tokens you have; more are repeats (Muennighoff et al. 2023).",
        parse_tokens, "constraints", "unique_tokens",
    ),
    Quantity("--max-params", "PARAMS", "Largest model allowed.", parse_params, "constraints", "max_params"),
    Quantity(
        "--max-memory", "BYTES", "Memory of each accelerator, 80GB: caps the model at what trains in it.",
        parse_bytes, "constraints", "max_memory_bytes",
    ),
    Quantity(
        "--inference-tokens", "TOKENS", "Tokens to serve over the model's life; compute is then 6ND + 2N D_inf.",
        parse_tokens, "constraints", "inference_tokens",
    ),
    Quantity(
        "--seq-len", "TOKENS", "Context length in tokens (default 2048).",
        partial(_whole, "--seq-len"), "constraints", "context_length",
    ),
    Quantity(
        "--vocab", "N", "Vocabulary size (default 32,000, less for very small models).",
        partial(_whole, "--vocab"), "constraints", "vocab_size",
    ),
    Quantity(
        "--mfu", "SHARE", "Share of the dense peak that training reaches: 0.4 or 40% (default: as whole runs).",
        partial(_share, "--mfu"), "cluster", "mfu",
    ),
    Quantity(
        "--goodput", "SHARE", "Share of wall time spent in steps (default 0.9).",
        partial(_share, "--goodput"), "cluster", "goodput",
    ),
    Quantity(
        "--price", "MONEY", "Dollars per accelerator-hour (default: dated table, a range).",
        parse_dollars, "cluster", "price_usd_per_hour",
    ),
    Quantity(
        "--peak-tflops", "TFLOP/S", "Dense peak of one accelerator in TFLOP/s, for a device not in the table.",
        lambda text: parse_number(text, example="989") * 1e12, "cluster", "peak_flops_per_s",
    ),
)  # fmt: skip


@contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage collection: a plan makes little garbage, and looking for it takes a tenth of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _quantities(function: Callable[..., None]) -> Callable[..., None]:
    """The options of QUANTITIES, --hardware before them."""
    for quantity in reversed(QUANTITIES):
        function = click.option(quantity.name, metavar=quantity.metavar, help=quantity.help)(function)
    return click.option("--hardware", metavar="8xH100", help=HARDWARE, shell_complete=complete_accelerator)(
        function
    )


@click.command(cls=Command, headings=HEADINGS, epilog="Example: scaling plan --flops 1e21")
@_quantities
@click.option(
    "--law",
    default="besiroglu",
    metavar="LAW",
    shell_complete=complete_law,
    help="Published law, fit.json, or all (default besiroglu).",
)
@click.option(
    "--calibrate",
    metavar="RUNS.csv",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Own runs with their hours: moves time and money to them.",
)
@click.option("--alternatives", is_flag=True, help="A longer table of smaller and larger models.")
@click.option("--explain", is_flag=True, help="Print each formula with the numbers put in.")
@picture_options("the cost of leaving the optimum, and what other laws answer")
@click.option("--quiet", is_flag=True, help="Print the answer and its intervals only.")
@output_options(*SECTIONS)
@_without_collection()
def plan(
    law: str,
    calibrate: Path | None,
    alternatives: bool,
    explain: bool,
    picture: Path | None,
    size: str,
    force: bool,
    quiet: bool,
    output: Output,
    **given: str,
) -> None:
    """Turn a budget into parameters, tokens, loss, shape, memory, time and money.

    Give exactly one budget: --flops, --hardware with --time, --dollars with --hardware, --target-loss, --params or
    --tokens.
    """
    from scaling.planning.alternatives import CURVE, SMALLER, WIDER
    from scaling.planning.plan import plan_training
    from scaling.reference.published import DEFAULT_LAW, resolve_law

    refuse_picture(picture, force)
    chosen = resolve_law(DEFAULT_LAW if law == "all" else law)
    budget, cluster, constraints = read_options(given, calibrate)
    ratios = WIDER if alternatives else SMALLER
    result = plan_training(budget, chosen, cluster=cluster, constraints=constraints, ratios=ratios)
    if picture is not None:
        dense = plan_training(budget, chosen, cluster=cluster, constraints=constraints, ratios=CURVE)
        _draw(dense, picture, size)
    if quiet and output.is_screen:
        show(*result.headline(alone=True))
    else:
        asked = {"laws": law == "all", "sizes": alternatives, "formulas": explain}
        _give(
            result,
            output,
            next_command({**given, "calibrate": "" if calibrate is None else str(calibrate)}, law),
            tuple(name for name, is_asked in asked.items() if is_asked),
        )
    if quiet or not output.is_screen:
        for text in result.warnings:
            warn(text)


def _give(result: Plan, output: Output, command: str, asked: tuple[str, ...]) -> None:
    """The plan in the form asked for; sections that options ask for follow the first screen, or those of --show."""

    def formulas() -> Blocks:
        from scaling.planning.explain import derivation

        return derivation(result)

    def summary() -> Blocks:
        whole = result.summary(next_command=command, figures=False)
        return (*whole, Section("formulas", tr("How it was computed"), formulas))

    if output.show:
        output = replace(output, show=tuple(dict.fromkeys((*output.show, *asked))))
    give(
        output,
        summary,
        lambda: result.to_dict(next_command=command),
        lambda: (result.spread if "laws" in asked else result).to_frame(),
    )
    if asked and output.is_screen and not output.show:
        show(*screen(summary(), asked))


def read_options(
    texts: Mapping[str, str | None], calibrate: Path | None = None
) -> tuple[Budget, Cluster | None, Constraints]:
    """Budget, Cluster (None when no hardware is named) and Constraints from the text of the options, by their keys."""
    from scaling.planning.cost import Budget, Constraints, require_one_budget

    hardware = texts.get("hardware")
    named = None if hardware is None else _named(hardware)
    arguments: dict[str, dict[str, Any]] = {"budget": {}, "constraints": {}, "cluster": {}}
    for quantity in QUANTITIES:
        if (text := texts.get(quantity.key)) is not None:
            arguments[quantity.of][quantity.argument] = _read(quantity, text)
    if named is not None and named.device.seconds is not None:
        arguments["budget"].setdefault("seconds", named.device.seconds)
    arguments["cluster"] = {**(named.measured if named else {}), **arguments["cluster"]}
    _refuse_half_a_budget(hardware, arguments["budget"])
    options = {quantity.argument: quantity.name for quantity in QUANTITIES if quantity.of == "budget"}
    require_one_budget(arguments["budget"], names=options, examples=BUDGETS)
    if calibrate is not None:
        from scaling.planning.run_log import read_own_runs
        from scaling.planning.utilisation import calibrate_utilisation

        peak = arguments["cluster"].get("peak_flops_per_s")
        runs = read_own_runs(calibrate)
        arguments["cluster"]["calibration"] = calibrate_utilisation(runs, peak_flops_per_s=peak)
    cluster = None
    if named is not None or arguments["cluster"]:
        cluster = _cluster(named, better_known=arguments["cluster"])
    return Budget(**arguments["budget"]), cluster, Constraints(**arguments["constraints"])


def _read(quantity: Quantity, text: str) -> float:
    """The value of an option; an error names the option."""
    try:
        return quantity.parse(text)
    except UnitError as error:
        raise UnitError(f"{quantity.name}: {error}") from error


def _refuse_half_a_budget(hardware: str | None, budget: Mapping[str, float]) -> None:
    """Time or money without hardware, and hardware without anything to spend on it."""
    spent = [option for option, name in (("--time", "seconds"), ("--dollars", "dollars")) if name in budget]
    if hardware is None and spent:
        raise UsageError(
            f"{spent[0]} needs the hardware too: --hardware 8xH100 (`scaling hardware list` shows the names)."
        )
    if hardware is not None and not budget:
        raise UsageError(
            f"--hardware {hardware} alone is no budget: add --time 14d or --dollars 25k, or what to plan on it: "
            "--flops 1e21, --params 7B, --tokens 1T or --target-loss 2.3."
        )


class Named(NamedTuple):
    """What --hardware names: the accelerators, whether their number is given, and a peak that was measured."""

    device: Hardware
    counted: bool
    measured: dict[str, float]


def _named(text: str) -> Named:
    """8xH100, 2xp5.48xlarge (sixteen), or a file of `scaling hardware measure`."""
    from scaling.reference.hardware import find_instance

    if text.strip().endswith(".json"):
        from scaling.reference.measure import read_measurement

        count, times, path = text.strip().partition("x")
        is_counted = bool(times) and count.isdigit()
        name, peak = read_measurement(path if is_counted else text.strip())
        return Named(Hardware(int(count) if is_counted else 1, name), True, {"peak_flops_per_s": peak})
    device = parse_hardware(text)
    if instance := find_instance(device.name):
        n_in_each, name = instance
        return Named(device._replace(n_accelerators=device.n_accelerators * n_in_each, name=name), True, {})
    return Named(device, text.lstrip()[:1].isdigit(), {})


def _cluster(named: Named | None, *, better_known: Mapping[str, Any]) -> Cluster:
    """The named accelerators, or the default one, with what the user knows better than the table."""
    from scaling.planning.cost import make_cluster
    from scaling.planning.plan import DEFAULT_ACCELERATOR
    from scaling.reference.hardware import find_accelerator

    device = None if named is None else named.device
    try:
        accelerator = find_accelerator(device.name if device else DEFAULT_ACCELERATOR)
    except UnknownNameError:
        if "peak_flops_per_s" not in better_known:
            raise
        accelerator = None
    return make_cluster(
        accelerator,
        name=device.name if device else "",
        count=named.device.n_accelerators if named and named.counted else None,
        **better_known,
    )


def next_command(given: Mapping[str, str], law: str) -> str:
    """What to run next: fit your own law when this one is published, else see how it was computed."""
    options = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in given.items() if value
    )
    if law.endswith(".json"):
        return f"scaling plan {options} --law {shlex.quote(law)} --explain"
    return f"scaling fit RUNS.csv -o fit.json && scaling plan {options} --law fit.json"


def _draw(result: Plan, path: Path, size: str) -> None:
    """The cost of leaving the optimum, and what other published laws answer."""
    if not result.alternatives:
        raise PlanError(
            "this law knows only its optimum, so there is no curve to draw: plan with --law besiroglu."
        )
    from scaling.blocks import Figure
    from scaling.planning.figures import plan_figures

    write_picture([block for block in plan_figures(result) if isinstance(block, Figure)], path, size)
