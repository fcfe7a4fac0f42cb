"""What the Tab key offers: names of laws, accelerators, models, tables; files; columns of the table on the line.

A completer is called with every press of the key: it reads packaged tables, a folder, or the first lines of a table of
runs, and imports nothing heavy for them. Every command imports this file, few a completer's modules.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import click

from scaling.errors import ScalingError

PLAIN_TABLES = (".csv", ".tsv", ".txt")  # read here; others by the reader of every command
LOOKED_AT = 1000  # rows, for the values of a column
MOST_VALUES = 12  # of a column that tells groups of runs apart
OURS = ("n_params", "n_tokens", "flops", "loss", "budget", "run_id", "trunk_id", "step", "n_tokens_unique")


def _starting(names: Iterable[str], start: str) -> list[str]:
    return [name for name in names if name.casefold().startswith(start.casefold())]


def complete_law(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Published laws and files of laws; `all` where the command is plan."""
    from scaling.reference import law_names

    every = ("all",) if ctx.command.name == "plan" else ()
    return _starting((*law_names(), *every), incomplete) + _files(incomplete, ".json")


def complete_family(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Forms of a law that are fitted to losses."""
    from scaling.cli.fit_options import OF_A_LOSS

    return _starting(OF_A_LOSS, incomplete)


def complete_names(names: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A completer of `names` parted by commas: the one being typed, of those not yet there."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        before, comma, start = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in _starting(names, start) if name not in before.split(",")]

    return complete


def complete_accelerator(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Accelerators, behind their number where there is one: 8xh100-sxm."""
    from scaling.reference.hardware import accelerators

    number = re.match(r"\d[\d_,]*[xX×*]", incomplete)
    count = number[0] if number else ""
    return [count + name for name in _starting((a.id for a in accelerators()), incomplete[len(count) :])]


def complete_architecture(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Presets and files of an architecture."""
    from scaling.architecture import PRESETS

    return _starting(PRESETS, incomplete) + _files(incomplete, ".json")


def complete_preset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """What `train --preset` takes."""
    from scaling.architecture import PRESETS

    return _starting(dict.fromkeys(("tiny", "mini", *PRESETS)), incomplete)


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Models of the table that `audit` knows, and files of an architecture."""
    from scaling.reference import published_models

    return _starting((m.id for m in published_models()), incomplete) + _files(incomplete, ".json")


def complete_public_table(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Tables that `data get` fetches."""
    from scaling.runs.public_tables import PUBLIC_TABLES

    return _starting((t.id for t in PUBLIC_TABLES), incomplete)


def complete_sweep(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Specs of sweeps, and the folders on the way to them."""
    return _files(incomplete, ".toml")


def complete_column(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Columns of the table that stands before on the line."""
    headers, _ = _table(ctx)
    return _starting(headers, incomplete)


def complete_column_and_value(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """COLUMN=VALUE of columns that have few values: corpus=c4."""
    headers, rows = _table(ctx)
    pairs = []
    for i, header in enumerate(headers):
        values = sorted({row[i].strip() for row in rows if len(row) > i and row[i].strip()})
        pairs += [f"{header}={value}" for value in values] if len(values) <= MOST_VALUES else []
    return _starting(pairs, incomplete)


def complete_renaming(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """OURS=THEIRS: what we call a column, and the table's columns."""
    headers, _ = _table(ctx)
    return _starting((f"{ours}={theirs}" for ours in OURS for theirs in headers), incomplete)


def _files(start: str, suffix: str) -> list[str]:
    """Files with this suffix that begin so, and folders; what is in a folder where it is the only answer."""
    lead, slash, name = start.rpartition("/")
    lead += slash
    with suppress(OSError):
        entries = sorted(os.scandir(Path(lead).expanduser() if lead else "."), key=lambda e: e.name)
        shown = [e for e in entries if e.name.startswith(name) and (name or not e.name.startswith("."))]
        found = [
            f"{lead}{e.name}{'/' if e.is_dir() else ''}"
            for e in shown
            if e.is_dir() or e.name.endswith(suffix)
        ]
        is_folder_alone = len(found) == 1 and found[0].endswith("/")
        return (_files(found[0], suffix) or found) if is_folder_alone else found
    return []


def _table(ctx: click.Context) -> tuple[list[str], list[list[str]]]:
    """Headers and first rows of the table that the line names as RUNS; nothing where it cannot be read."""
    arguments = [p.metavar for p in ctx.command.params if isinstance(p, click.Argument)]
    # click leaves the arguments where they are while the option behind them still lacks its value
    if "RUNS" not in arguments or len(ctx.args) <= (position := arguments.index("RUNS")):
        return [], []
    path = Path(ctx.args[position]).expanduser()
    import csv

    with suppress(OSError, ValueError, ScalingError, csv.Error):
        if path.suffix.lower() not in PLAIN_TABLES:
            from scaling.runs.read import read_table

            return list(read_table(path).headers), []
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(islice(file, LOOKED_AT))
        separator = max(",;\t|", key=lines[0].count)
        headers, *rows = csv.reader(lines, delimiter=separator)
        return [header.strip() for header in headers], rows
    return [], []
