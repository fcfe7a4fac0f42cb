"""What a wrong command line probably meant: a line below what click says of it, with the remedy to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from scaling.errors import UnitError, near_names
from scaling.units import parse_dollars, parse_duration, parse_flops, parse_number, parse_params, parse_tokens

KINDS = {
    "--flops": parse_flops, "--params": parse_params, "--tokens": parse_tokens, "--time": parse_duration,
    "--dollars": parse_dollars,
}  # fmt: skip
EXAMPLES = ("Example: ", "Try: ")  # how the epilog of a command begins
_NOT_A_NUMBER = re.compile(r"'([^']*)' is not a valid (?:integer|float)")
_NOT_IN_RANGE = re.compile(r"(\d+(?:\.\d+)?) is not in the range 0\.?\d*<=?x<=?(?:0\.\d+|1(?:\.0)?)\.")


def with_near_names(error: click.ClickException) -> click.ClickException:
    """The error of a misspelt option with the options that it may mean: click proposes --help for --flop."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return error
    options = [name for p in error.ctx.command.params if isinstance(p, click.Option) for name in p.opts]
    near = near_names(error.option_name, options)
    return click.NoSuchOption(error.option_name, possibilities=near, ctx=error.ctx)


def told(error: click.ClickException, args: list[str]) -> tuple[str, list[str]]:
    """The error with what it probably meant, as sentences, and the commands that show how it is written."""
    said = with_near_names(error).format_message().replace("\n\t", " ")
    said = said[:1].lower() + said[1:] + ("" if said.endswith((".", "?", "?)")) else ".")
    lines = list(advice(error, args))
    examples = [line for line in lines if line.startswith(EXAMPLES)]
    context = getattr(error, "ctx", None)
    if not lines and context is not None and "Did you mean" not in said:
        lines = [f"`{context.command_path} --help` says more."]
    sentences = [said, "; ".join(line for line in lines if line not in examples)]
    return " ".join(filter(None, sentences)), [line.partition(": ")[2] for line in examples]


def advice(error: click.ClickException, args: list[str]) -> Iterator[str]:
    """Lines below the error: the near name, the number as it is to be written, the example of the command."""
    context = getattr(error, "ctx", None)
    example = getattr(context.command, "epilog", None) if context is not None else None
    if isinstance(error, click.MissingParameter):
        yield from [example] if example else []
    elif isinstance(error, click.BadOptionUsage) and context is not None:
        named = [p for p in context.command.params if error.option_name in p.opts]
        yield from (f"Write {error.option_name} {p.make_metavar(context)}" for p in named)
    elif isinstance(error, click.BadParameter):
        yield from _of_value(error)
    elif "unexpected extra argument" in error.message and context is not None:
        yield from _of_extra(error.message, args, context.command.name or "", example)


def _of_value(error: click.BadParameter) -> Iterator[str]:
    if isinstance(error.param, click.Parameter) and isinstance(error.param.type, click.Choice):
        value = re.search(r"'([^']*)' is not one of", error.message)
        near = near_names(value[1], map(str, error.param.type.choices)) if value else []
        yield from [f"Did you mean {' or '.join(near)}?"] if near else []
    elif share := _NOT_IN_RANGE.search(error.message):
        yield f"Write a share of one: {float(share[1]) / 100:g}"
    elif number := _NOT_A_NUMBER.search(error.message):
        yield from _as_number(number[1])


def _as_number(text: str) -> Iterator[str]:
    """A value as the option takes it: 0,8 and 90% and 4k and 2min as plain numbers."""
    if comma := re.fullmatch(r"(-?\d*),(\d+)", text):
        yield f"Write a decimal point: {comma[1] or 0}.{comma[2]}"
    elif percent := re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text):
        yield f"Write a share of one: {float(percent[1]) / 100:g}"
    elif with_unit := re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h|sec|seconds|minutes)", text):
        yield f"Write the number without its unit: {with_unit[1]}"
    else:
        try:
            yield f"Write it out: {parse_number(text):.15g}"
        except UnitError:
            return


def _of_extra(message: str, args: list[str], command: str, example: str | None) -> Iterator[str]:
    """A word too many: part of a value with blanks, a budget without its option, or a file of another command."""
    extra = message.partition("(")[2].rpartition(")")[0]
    place = next((i for i, word in enumerate(args) if extra.split(" ")[0] == word), 0)
    before = args[place - 2 : place]
    if place >= 2 and before[0].startswith("--") and "=" not in before[0] and not before[1].startswith("-"):
        value = " ".join([before[1], *extra.split(" ")])
        if before[0] in KINDS and not _reads(before[0], value):
            others = [f"{option} {shlex.quote(value)}" for option in KINDS if _reads(option, value)]
            yield from (f"It is another quantity, in quotes: {other}" for other in others)
            return
        yield f"A value with blanks is one word in quotes: {before[0]} {shlex.quote(value)}"
    elif command == "plan":
        yield _budget_or_file(extra)
    elif example:
        yield example


def _reads(option: str, value: str) -> bool:
    try:
        KINDS[option](value)
    except UnitError:
        return False
    return True


def _budget_or_file(extra: str) -> str:
    if _reads("--flops", extra):
        return f"A budget has a name: scaling plan --flops {shlex.quote(extra)}"
    if Path(extra).suffix == ".json":
        return f"A law has a name: scaling plan --flops 1e21 --law {shlex.quote(extra)}"
    if Path(extra).exists():
        return f"A table of runs is fitted first: scaling fit {shlex.quote(extra)} -o fit.json"
    return "A budget has a name: scaling plan --flops 1e21"
