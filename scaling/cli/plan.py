"""`scaling plan`: parse the options, call `plan_training`, print."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from scaling.cli.output import print_json, warn
from scaling.errors import PlanError, UnitError, UsageError
from scaling.units import (
    parse_bytes,
    parse_dollars,
    parse_duration,
    parse_flops,
    parse_hardware,
    parse_number,
    parse_params,
    parse_tokens,
)

BUDGET = (
    ("--flops", "Training compute: 1e21, '1 ZFLOP', '11574 PF-days'."),
    ("--hardware", "Accelerators: 8xH100 (with --time or --dollars a budget, else what to plan for)."),
    ("--time", "How long the hardware is yours: 14d, 36h."),
    ("--dollars", "Money for --hardware: 25k, $1.2M."),
    ("--target-loss", "The cheapest way to this loss (nats per token)."),
    (
        "--params",
        "Model size: 7B (active, of a mixture of experts). Tokens follow from the law, or from a budget too.",
    ),
    ("--tokens", "Training tokens: 1T. Parameters follow likewise."),
)
CONSTRAINTS = (
    ("--unique-tokens", "Tokens you have; more are repeats (Muennighoff et al. 2023)."),
    ("--max-params", "Largest model allowed."),
    ("--max-memory", "Memory of each accelerator, 80GB: caps the model at what trains in it."),
    ("--inference-tokens", "Tokens to serve over the model's life; compute is then 6ND + 2N D_inf."),
    ("--seq-len", "Context length in tokens (default 2048)."),
    ("--vocab", "Vocabulary size (default 32,000, less for very small models)."),
)
COST = (
    ("--mfu", "Share of the dense peak that training reaches: 0.4 or 40% (default: table)."),
    ("--goodput", "Share of wall time spent in steps (default 0.9)."),
    ("--price", "Dollars per accelerator-hour (default: dated table, a range)."),
    ("--peak-tflops", "Dense peak of one accelerator in TFLOP/s, for a device not in the table."),
)

PICTURES = (".png", ".svg", ".pdf")


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


def _options(rows: tuple[tuple[str, str], ...]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for name, text in reversed(rows):
            function = click.option(name, metavar="", help=text)(function)
        return function

    return decorate


@click.command(epilog="Example: scaling plan --flops 1e21")
@_options(BUDGET)
@_options(CONSTRAINTS)
@_options(COST)
@click.option(
    "--law", default="besiroglu", metavar="", help="Published law, fit.json, or all (default besiroglu)."
)
@click.option("--alternatives", is_flag=True, help="A longer table of smaller and larger models.")
@click.option("--explain", is_flag=True, help="Print each formula with the numbers put in.")
@click.option(
    "--plot", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the cost of leaving the optimum."
)
@click.option("--force", is_flag=True, help="Overwrite the file of --plot.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON (docs/json.md), unrounded.")
@click.option("--quiet", is_flag=True, help="Print the answer and its intervals only.")
@_without_collection()
def plan(
    law: str,
    alternatives: bool,
    explain: bool,
    plot: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    **given: str,
) -> None:
    """Turn a budget into parameters, tokens, loss, shape, memory, time and money.

    Give exactly one budget: --flops, --hardware with --time, --dollars with --hardware, --target-loss, --params or
    --tokens.
    """
    from scaling.planning.alternatives import CURVE, SMALLER, WIDER
    from scaling.planning.plan import plan_training
    from scaling.reference.published import DEFAULT_LAW, resolve_law

    if plot is not None:
        _refuse_picture(plot, force)
    chosen = resolve_law(DEFAULT_LAW if law == "all" else law)
    budget, cluster, constraints = read_options(**given)
    result = plan_training(
        budget, chosen, cluster=cluster, constraints=constraints, ratios=WIDER if alternatives else SMALLER
    )
    command = next_command(given, law)
    if plot is not None:
        _draw(plan_training(budget, chosen, cluster=cluster, constraints=constraints, ratios=CURVE), plot)
    if as_json:
        from scaling.planning.contract import plan_to_dict

        print_json(plan_to_dict(result, next_command=command))
    else:
        from scaling.cli import plan_text

        plan_text.print_headline(result, alone=quiet)
        if not quiet:
            plan_text.print_plan(result, all_laws=law == "all", explain=explain, next_command=command)
    if as_json or quiet:
        for text in result.warnings:
            warn(text)


def read_options(
    *,
    flops: str | None = None,
    hardware: str | None = None,
    time: str | None = None,
    dollars: str | None = None,
    target_loss: str | None = None,
    params: str | None = None,
    tokens: str | None = None,
    unique_tokens: str | None = None,
    max_params: str | None = None,
    max_memory: str | None = None,
    inference_tokens: str | None = None,
    seq_len: str | None = None,
    vocab: str | None = None,
    mfu: str | None = None,
    goodput: str | None = None,
    price: str | None = None,
    peak_tflops: str | None = None,
) -> tuple[Any, Any, Any]:
    """Budget, Cluster (None when no hardware is named) and Constraints from the text of the options."""
    from scaling.planning.budget import Budget, Constraints
    from scaling.planning.shape import DEFAULT_CONTEXT

    device = None if hardware is None else parse_hardware(hardware)
    seconds = _read("--time", time, parse_duration) or (device.seconds if device else None)
    amounts = {"--time": seconds, "--dollars": dollars}
    others = (flops, target_loss, params, tokens)
    _refuse_half_a_budget(hardware, amounts, others_given=any(text is not None for text in others))
    budget = Budget(
        flops=_read("--flops", flops, parse_flops),
        seconds=seconds,
        dollars=_read("--dollars", dollars, parse_dollars),
        target_loss=_read("--target-loss", target_loss, lambda text: parse_number(text, example="2.3")),
        n_params=_read("--params", params, parse_params),
        n_tokens=_read("--tokens", tokens, parse_tokens),
    )
    constraints = Constraints(
        unique_tokens=_read("--unique-tokens", unique_tokens, parse_tokens),
        max_params=_read("--max-params", max_params, parse_params),
        max_memory_bytes=_read("--max-memory", max_memory, parse_bytes),
        inference_tokens=_read("--inference-tokens", inference_tokens, parse_tokens),
        context_length=_whole("--seq-len", seq_len) or DEFAULT_CONTEXT,
        vocab_size=_whole("--vocab", vocab),
    )
    known = (mfu, goodput, price, peak_tflops)
    if device is None and all(value is None for value in known):
        return budget, None, constraints
    return budget, _cluster(device, hardware, *known), constraints


def _refuse_half_a_budget(hardware: str | None, amounts: dict[str, Any], *, others_given: bool) -> None:
    """Time or money without hardware, and hardware without anything to spend on it."""
    given = [option for option, amount in amounts.items() if amount is not None]
    if hardware is None and given:
        raise UsageError(
            f"{given[0]} needs the hardware too: --hardware 8xH100 (`scaling hardware list` shows the names)."
        )
    if hardware is not None and not given and not others_given:
        raise UsageError(
            f"--hardware {hardware} alone is no budget: add --time 14d or --dollars 25k, or what to plan on it: "
            "--flops 1e21, --params 7B, --tokens 1T or --target-loss 2.3."
        )


def _cluster(
    device: Any,
    text: str | None,
    mfu: str | None,
    goodput: str | None,
    price: str | None,
    peak_tflops: str | None,
) -> Any:
    from scaling.errors import UnknownNameError
    from scaling.planning.cost import DEFAULT_GOODPUT, make_cluster
    from scaling.planning.plan import DEFAULT_ACCELERATOR
    from scaling.reference.hardware import find_accelerator

    try:
        accelerator = find_accelerator(device.name if device else DEFAULT_ACCELERATOR)
    except UnknownNameError:
        if peak_tflops is None:
            raise
        accelerator = None
    counted = device is not None and text is not None and text.lstrip()[:1].isdigit()
    return make_cluster(
        accelerator,
        name=device.name if device else "",
        count=device.n_accelerators if counted else None,
        mfu=_fraction("--mfu", mfu),
        goodput=_fraction("--goodput", goodput) or DEFAULT_GOODPUT,
        price_usd_per_hour=_read("--price", price, parse_dollars),
        peak_flops_per_s=_read(
            "--peak-tflops", peak_tflops, lambda text: parse_number(text, example="989") * 1e12
        ),
    )


def _read(option: str, text: str | None, parse: Callable[[str], float]) -> float | None:
    """The value of an option; an error names the option."""
    if text is None:
        return None
    try:
        return parse(text)
    except UnitError as error:
        raise UnitError(f"{option}: {error}") from error


def _whole(option: str, text: str | None) -> int | None:
    value = _read(option, text, lambda text: parse_number(text, example="4096 or 32k", whole=True))
    if value is None:
        return None
    if value != int(value) or value > 1e9:
        raise UnitError(f"{option} must be a whole number of tokens up to 1e9, got {text!r}.")
    return int(value)


def _fraction(option: str, text: str | None) -> float | None:
    """0.4 or 40%."""
    if text is None:
        return None
    percent = text.strip().endswith("%")
    value = _read(option, text.strip().removesuffix("%"), _parse_share) or 0.0
    value /= 100 if percent else 1
    if not 0 < value <= 1:
        raise UsageError(f"{option} is a share between 0 and 1, got {text!r}; write 0.4 or 40%.")
    return value


def _parse_share(text: str) -> float:
    return parse_number(text, example="0.4 or 40%")


def next_command(given: dict[str, str], law: str) -> str:
    """What to run next: fit your own law when this one is published, else see how it was computed."""
    options = " ".join(
        f"--{name.replace('_', '-')} {_quoted(value)}" for name, value in given.items() if value
    )
    if law.endswith(".json"):
        return f"scaling plan {options} --law {_quoted(law)} --explain"
    return f"scaling fit RUNS.csv -o fit.json && scaling plan {options} --law fit.json"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _refuse_picture(path: str, force: bool) -> None:
    """Before any work: a file in the way, a folder that is missing, a suffix that is no picture."""
    from pathlib import Path

    from scaling.cli.tables import refuse_overwrite

    refuse_overwrite(force, Path(path))
    if not path.lower().endswith(PICTURES):
        raise UsageError(
            f"{path} does not end in a kind of picture; write plan.png (or {', '.join(PICTURES)})."
        )


def _draw(result: Any, path: str) -> None:
    """Write the picture whole or not at all."""
    from pathlib import Path

    from scaling.files import whole_file

    if not result.alternatives:
        raise PlanError(
            "this law knows only its optimum, so there is no curve to draw: plan with --law besiroglu."
        )
    from scaling.plots import plot_plan

    with whole_file(Path(path)) as beside:
        figure: Any = plot_plan(result).figure
        figure.savefig(beside, dpi=150, bbox_inches="tight")
    click.echo(f"wrote {path}", err=True)
