"""What a message advises, as commands: its structured remedies, the options and commands in its prose, its "next".

The reader of a message sees no types, so its prose is read as a person would: an option with a value behind it is
something to add, "leave --x out" something to take away, "in the header: x (M)" a name to write.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from scaling.cli import cli
from scaling.cli.fit_options import OPTION, TAKEN_BY
from scaling.errors import ScalingError
from scaling.render.terminal import for_command_line

Arguments = tuple[str, ...]
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-o)(?:[ =]('[^']*'|\"[^\"]*\"|[^\s,;)('`]+))?")
_JOINED = {"", "and", "with", ", with"}  # between two options of one command
# A word behind an option that is no value of it: the option is spoken of, not advised.
_VERBS = {
    "takes", "take", "belongs", "is", "needs", "need", "does", "must", "and", "or", "out", "as", "says", "say", "holds", "fits", "to", "alone", "describe", "such", "in", "of", "lies", "fix", "the", "gives", "reads", "would", "which", "leave", "have", "with", "for",
}  # fmt: skip
_NAMED_IN_TURN = (
    "--params-convention",
    "--loss-unit",
    "--objective",
    "--decimal",
)  # "total or non_embedding"
_ABOUT = re.compile(r"^\s*(?:does not take|is for the|belongs to|fits? whole|alone is)")
_PLACEHOLDER = re.compile(r"COLUMN=VALUE|\b[A-Z][A-Z_]{3,}(?:\.csv)?\b")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finding, as JSON gives it, or a note."""

    code: str
    message: str
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one command said."""

    code: int
    message: str = ""  # of the refusal
    remedies: tuple[str, ...] = ()
    by_click: bool = False
    found: tuple[Found, ...] = ()  # where it wrote a fit
    notes: tuple[str, ...] = ()
    following: tuple[Arguments, ...] = ()  # the commands behind "next"


def call(arguments: Arguments, written: Path | None = None) -> Outcome:
    """Run a command in the current folder; `written` is the fit that it writes."""
    if written is not None:
        written.unlink(missing_ok=True)
    result = CliRunner().invoke(cli, list(arguments))
    error = result.exception
    if isinstance(error, ScalingError):
        return Outcome(code=error.exit_code, message=str(error), remedies=error.remedies)
    if error is not None and not isinstance(error, SystemExit):
        raise error
    if result.exit_code:
        return Outcome(
            code=result.exit_code, message=result.output.strip().split("Error: ")[-1], by_click=True
        )
    found: tuple[Found, ...] = ()
    if written is not None and written.is_file():
        found = tuple(
            Found(code=f["code"], message=f["message"], remedies=tuple(f["remedies"]))
            for f in json.loads(written.read_text())["findings"]
        )
    notes = re.sub(r"\n\s+", " ", result.stderr).splitlines()
    lines = [
        line.removeprefix("next").strip()
        for line in re.sub(r"&&\n\s+", "&& ", result.stdout).splitlines()
        if re.match("next +scaling", line)
    ]
    commands = [tuple(shlex.split(part)[1:]) for line in lines for part in line.split("&&")]
    return Outcome(code=0, found=found, notes=tuple(notes), following=tuple(commands))


def kind_of(message: str) -> str:
    """A message without its numbers, names and paths."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "Q", message)
    text = re.sub(
        r"(?<=columns are )[^.]*|(?<=known: ).*?(?=\. |\.$)|(?<=mean: ).*?(?=\. |\.$)|(?<=holds )r.*",
        "LIST",
        text,
    )
    text = re.sub(r"\S*(?:runs|input|law|fit)[\w-]*\.(?:csv|json|jsonl|zip|parquet)\S*", "FILE", text)
    text = re.sub(
        r"(?<!no column )(?<=column )[^:,]+|rows? \d.*?(?= (?:are|is|repeat|carry|cool|spend|stopped|ended))",
        "X",
        text,
    )
    text = re.sub(
        r"(?<!no column for )\b(?:n_params|n_tokens|flops|loss|step|params|tokens)(?:_\w+)?\b", "X", text
    )
    text = re.sub(r"-?\.?\d[\d.,e+-]*[kMBTP%]?\b", "#", text)
    return re.sub(r"(?:#[ ,]*(?:and )?)+", "# ", text).strip()


# --- what is advised ---


def advised(message: str, arguments: Arguments, fill: Mapping[str, str]) -> Iterator[Arguments]:
    """Each command that the prose of a message leads to, from the one that was called."""
    text = for_command_line(message)
    for command in re.findall(r"`scaling ([^`]*)`", text):
        if "..." not in command and command != "hardware measure":  # that one takes seconds of this machine
            yield tuple(shlex.split(filled(command, fill)))
    text, given = re.sub(r"`[^`]*`", "", text), arguments
    for option in re.findall(r"[Ll]eave (--[a-z-]+) out", text):
        arguments = taken_away(arguments, option)
        yield arguments
    if re.search(r"[Ll]eave it out", text) and (first := _OPTION.search(text)):
        yield taken_away(arguments, first[1])
    for words in _options(text, given):
        left = arguments
        if "--method" in words:  # one who changes the method leaves out what belongs to the other
            for name, method in TAKEN_BY.items():
                if words[words.index("--method") + 1] != method:
                    left = taken_away(left, OPTION.get(name, f"--{name.replace('_', '-')}"))
        yield (*left, *(filled(word, fill) for word in words))


def in_python(message: str, fill: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The arguments of load_runs that a message names "(in Python columns={'n_params': 'size'})", or after an option."""
    for match in re.finditer(r"\(in\s+Python ((?:[^()]|\([^()]*\))*)\)", message):
        before = re.findall(_OPTION, message[: match.start()])
        for name, literal in re.findall(
            r"(?<![\w.(])([a-z_]+)=(\{[^}]*\}|'[^']*'|\([^)]*\)|True)?", match[1]
        ):
            if literal:
                yield {name: ast.literal_eval(filled(literal, fill))}
                continue
            if name == "bytes_per_token":
                yield {"loss_unit": _value(before[-2][1]), name: float(filled(_value(before[-1][1]), fill))}
                continue
            option = f"--{name.removesuffix('s') if name == 'columns' else name}".replace("_", "-")
            values = [filled(_value(value), fill) for given, value in before if given == option and value]
            if not values:
                raise AssertionError(f"{name}= is named behind no {option}: {message}")
            if name == "columns":
                yield {name: {ours: theirs or None for ours, _, theirs in (v.partition("=") for v in values)}}
            elif name in ("only", "exclude"):
                yield {name: values}
            else:
                yield {name: float(values[-1]) if re.fullmatch(r"[\d.e]+", values[-1]) else values[-1]}


def _options(text: str, arguments: Arguments) -> Iterator[list[str]]:
    """The options a text tells to add; those that belong together in one list."""
    taken, together, end = _flags(arguments), list[str](), 0
    valued = {m[1] for m in _OPTION.finditer(text) if m[2] and m[2] not in _VERBS}
    for match in _OPTION.finditer(text):
        option, value = match[1], _value(match[2] or "")
        if option not in taken or _ABOUT.match(text[match.end() :]):
            continue
        if not taken[option] and (not value or value in _VERBS):
            if not {option} & {*arguments, *valued} and f"leave {option} out" not in text:
                raise AssertionError(f"{option} is named without the value it takes: {text}")
            continue
        words = [option] if taken[option] else [option, value]
        if " ".join(words) in " ".join(arguments):
            continue
        if together and text[end : match.start()].strip() not in _JOINED:
            yield together
            together = []
        together = [*together, *words]
        end = match.start() + len(option) if taken[option] else match.end()
        other = re.match(r" or ([a-z_/]+)\b", text[end:])
        if other and option in _NAMED_IN_TURN:
            yield [option, other[1]]
    if together:
        yield together


def _value(word: str) -> str:
    return word[1:-1] if word[:1] in ("'", '"') else word.rstrip(".:")


def _flags(arguments: Arguments) -> dict[str, bool]:
    """The options of the command that was called, and whether each is a flag."""
    command: Any = cli
    for word in arguments:
        if not isinstance(command, click.Group):
            break
        try:
            command = command.get_command(click.Context(command), word) or command
        except Exception:
            break
    found = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for name in (*parameter.opts, *parameter.secondary_opts):
                found[name] = bool(parameter.is_flag)
    return found


def filled(text: str, fill: Mapping[str, str]) -> str:
    """A word of a message with what stands for its placeholders."""

    def put(match: re.Match[str]) -> str:
        if match[0] not in fill:
            raise AssertionError(f"nothing stands for {match[0]} in {text!r}")
        return fill[match[0]]

    return _PLACEHOLDER.sub(put, text)


def taken_away(arguments: Arguments, option: str) -> Arguments:
    """The command without an option, every time it is given, and its values."""
    flag, left = _flags(arguments).get(option, False), list(arguments)
    while option in left:
        at = left.index(option)
        del left[at : at + (1 if flag else 2)]
    return tuple(left)


def with_remedy(arguments: Arguments, remedy: str) -> Arguments:
    return (*arguments, *shlex.split(remedy))


def headers_advised(message: str) -> list[tuple[str, str]]:
    """(column, its name with a unit) for "say so in the header: n_tokens (M), n_tokens (B)"."""
    found = []
    for told in re.findall(r"in the header[:,] ((?:[^,.;:]+ \([\w-]+\)(?:, |))+)", message):
        for name in re.findall(r"([^,]+? \([\w-]+\))(?:, |$)", told):
            found.append((name.rpartition(" (")[0].strip(), name.strip()))
    return found


def with_header(content: bytes, column: str, name: str) -> bytes:
    """The table with one column renamed."""
    head, _, body = content.partition(b"\n")
    names = head.decode().split(",")
    assert column in names, (column, names)
    return ",".join(name if n == column else n for n in names).encode() + b"\n" + body
