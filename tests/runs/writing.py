"""Planted runs, and every way in which somebody may write them down, drawn at random: for test_alike.

The numbers are `Decimal`, so that a table in millions with commas holds the very digits of the plain one.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random

import pandas as pd
from vocabulary import (
    BATCH,
    BITS,
    BUDGET,
    FLOPS,
    LENGTH,
    LOSS,
    PARAMS,
    PATHS,
    PERPLEXITY,
    PF_DAY,
    RUN,
    SCALES,
    STEPS,
    TOKENS,
    named,
    styled,
    with_unit,
)  # fmt: skip

BUDGETS = [
    Decimal(10) ** 18,
    3 * Decimal(10) ** 18,
    Decimal(10) ** 19,
    3 * Decimal(10) ** 19,
    Decimal(10) ** 20,
]
HAVE = ("ND", "NC", "DC", "NDC", "NB", "DB", "NDB", "NS", "NSC")  # B budget, S steps x batch x length


@dataclass(kw_only=True)
class Written:
    """A table in a file, what load_runs is told about it, and the same runs under our own names and units."""

    path: Path
    options: dict[str, object]
    plain: dict[str, list[str]]  # column → digits
    text: str = ""  # of the file, where it has one
    headers: list[str] = field(default_factory=list)


def _digits(value: float, n: int) -> Decimal:
    return Decimal(f"{value:.{n - 1}e}")


def planted(rng: Random) -> dict[str, list[Decimal]]:
    """20 to 30 runs on five budgets around their optima, with .1 % noise, each number to few digits."""
    noise, figures = Random(rng.randrange(50)), rng.choice((3, 4, 5))
    per_budget, decimals = rng.choice((4, 5, 6)), rng.choice((4, 5))
    runs: dict[str, list[Decimal]] = {k: [] for k in ("N", "D", "C", "B", "steps", "batch", "length", "L")}
    for budget in BUDGETS:
        for i in range(per_budget):
            N = _digits(
                0.09 * float(budget) ** 0.5 * 4 ** (2 * i / (per_budget - 1) - 1) * noise.uniform(0.95, 1.05),
                figures,
            )
            D = _digits(float(budget) / (6 * float(N)), figures)
            batch, length = noise.choice((64, 128, 256)), 1024
            steps = max(1, round(float(D) / (batch * length)))
            loss = 1.7 + 380 / float(N) ** 0.34 + 1700 / float(D) ** 0.36
            loss *= math.exp(noise.gauss(0, 0.001))
            numbers = (
                N,
                D,
                _digits(6 * float(N) * float(D), 6),
                budget,
                steps,
                batch,
                length,
                _digits(loss, decimals),
            )
            for key, number in zip(runs, numbers, strict=True):
                runs[key].append(Decimal(number))
    return runs


# --- cells ---


@dataclass(frozen=True, kw_only=True)
class Locale:
    decimal: str
    thousands: str  # "" = none
    power: str  # of a number written with an exponent: 1.5e9, 1.5E+09; "" = written out

    def write(self, value: Decimal) -> str:
        if self.power and (value >= 100000 or value < Decimal("0.001")):
            mantissa, exponent = f"{value.normalize():e}".split("e")
            text = f"{mantissa}{self.power[0]}{int(exponent):{self.power[1:] or 'd'}}"
            return text.replace(".", self.decimal)
        whole, _, fraction = f"{value.normalize():f}".partition(".")
        if self.thousands and len(whole) > 3:
            whole = f"{int(whole):,}".replace(",", self.thousands)
        return whole + (f"{self.decimal}{fraction}" if fraction else "")


def _locale(rng: Random, separator: str) -> Locale:
    decimal = rng.choice(".." if separator == "," else ".,")
    if separator == "," and rng.random() < 0.1:
        decimal = ","  # in quotes
    thousands = rng.choice(("", "", "", "." if decimal == "," else ",", " ", "'", "_", "\u202f", "\u00a0"))
    if separator == " " and thousands in " \u202f\u00a0":
        thousands = ""
    return Locale(decimal=decimal, thousands=thousands, power=rng.choice(("", "", "", "e", "E+03d", "e+03d")))


def _quantity(
    name: str,
    letter: str,
    choices: tuple[str, ...],
    values: list[Decimal],
    locale: Locale | None,
    rng: Random,
) -> tuple[str, list[object], list[Decimal]]:
    """A header and its cells; without a locale cells are numbers, unless they carry a unit."""
    scales = SCALES[name]
    factor = rng.choice([Decimal(1), Decimal(1), *scales])
    brackets, words, in_cells = scales[factor]
    header = named(choices, rng, letter)
    scaled = [v / factor for v in values]
    if factor == PF_DAY:  # digits of the table, not of the division
        scaled = [_digits(float(v), 6) for v in scaled]
    plain = [v * factor for v in scaled]
    point = locale or Locale(decimal=".", thousands="", power="")
    if in_cells and rng.random() < 0.4:
        unit = rng.choice(in_cells)
        if any(unit) or locale:
            return header, [f"{point.write(v)}{unit}" for v in scaled], plain
    if factor != 1:
        header = with_unit(header, brackets, words, rng)
    return header, [point.write(v) if locale else _number(v) for v in scaled], plain


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() and value < 2**53 else float(value)


def _loss(
    values: list[Decimal], locale: Locale | None, rng: Random
) -> tuple[str, list[object], list[str], dict[str, object]]:
    """A header, cells, the losses in nats as text, and the options that say the unit."""
    kind = rng.choice(("nats", "nats", "nats", "bits", "perplexity"))
    write = locale.write if locale else _number
    if kind == "nats":
        header = named(LOSS, rng, "L")
        if rng.random() < 0.2:
            header = with_unit(header, ("nats", "nats/token", "nats per token"), ("nats",), rng)
        options = {"loss_unit": "nats/token"} if rng.random() < 0.1 else {}
        return header, [write(v) for v in values], [str(v) for v in values], options
    if kind == "bits":
        bits = [_digits(float(v) / math.log(2), 6) for v in values]
        header = with_unit(named(LOSS, rng), ("bits", "bits/token", "bits per token"), (), rng)
        if rng.random() < 0.5:
            header = named(BITS, rng)
        return (
            header,
            [write(v) for v in bits],
            [repr(float(v) * math.log(2)) for v in bits],
            {"loss_unit": "bits/token"},
        )
    many = [_digits(math.exp(float(v)), 6) for v in values]
    header = named(PERPLEXITY, rng)
    if rng.random() < 0.2:
        header = with_unit(named(LOSS, rng), ("perplexity", "ppl"), (), rng)
    return (
        header,
        [write(v) for v in many],
        [repr(math.log(float(v))) for v in many],
        {"loss_unit": "perplexity"},
    )


def _extras(n: int, locale: Locale | None, rng: Random, separator: str) -> list[tuple[str, list[object]]]:
    write = locale.write if locale else _number
    note = (
        "ok"
        if separator == " "
        else rng.choice(("restarted, twice", "see log; node 3", "a|b", "ok", 'said "fine"'))
    )
    every = [
        (rng.choice(("lr", "learning_rate", "config.lr", "peak_lr")), [write(Decimal(rng.choice(("0.0003", "0.001", "6e-4")))) for _ in range(n)]),
        (rng.choice(("notes", "comment", "Remark")), [note if rng.random() < 0.5 else "ok" for _ in range(n)]),
        (rng.choice(("seed", "config.seed", "random_seed")), [write(Decimal(rng.randrange(4))) for _ in range(n)]),
        (rng.choice(("tokens_per_sec", "throughput/tokens_per_sec", "tokens/s")), [write(Decimal(rng.randrange(10_000, 2_000_000))) for _ in range(n)]),
        (rng.choice(("status", "State", "state")), ["finished"] * n),
        (rng.choice(("d_model", "width", "n_layers")), [write(Decimal(64 * (1 + i % 7))) for i in range(n)]),
        (rng.choice(("wall_hours", "gpu_hours", "_runtime")), [write(_digits(rng.uniform(1, 900), 5)) for _ in range(n)]),
        (rng.choice(("train_loss_std", "loss_std")), [write(_digits(rng.uniform(0.001, 0.01), 3)) for _ in range(n)]),
        (rng.choice(("tokens_per_param", "D/N")), [write(_digits(rng.uniform(1, 90), 4)) for _ in range(n)]),
        (rng.choice(("date", "created_at")), ["2024-03-17"] * n),
    ]  # fmt: skip
    return [c for c in every if rng.random() < 0.2]


# --- files ---

FORMATS = (
    "csv", "csv", "csv", "csv", "tsv", "txt", "md", "json", "columns.json", "split.json", "index.json", "jsonl",
    "nested.jsonl", "parquet", "xlsx", "csv.gz", "jsonl.gz",
)  # fmt: skip


def write_table(folder: Path, rng: Random) -> Written:
    """A table as somebody might have it."""
    kind = rng.choice(FORMATS)
    separator = (
        {"tsv": "\t", "txt": " ", "md": "|"}.get(kind, rng.choice(",,\t;;|")) if _is_text(kind) else ""
    )
    as_text = separator or rng.random() < 0.2  # a sheet or a JSON file may hold its numbers as text
    locale = _locale(rng, separator) if as_text else None
    runs, have = planted(rng), rng.choice(HAVE)
    plain: dict[str, list[str]] = {}
    columns: list[tuple[str, list[object]]] = []
    for key, name, letter, choices in (
        ("N", "n_params", "N", PARAMS), ("D", "n_tokens", "D", TOKENS), ("C", "flops", "C", FLOPS), ("B", "budget", "", BUDGET),
    ):  # fmt: skip
        if key in have:
            header, cells, digits = _quantity(name, letter, choices, runs[key], locale, rng)
            columns.append((header, cells))
            plain[name] = [str(d) for d in digits]
    if "S" in have:
        for key, choices in (("steps", STEPS), ("batch", BATCH), ("length", LENGTH)):
            columns.append(
                (named(choices, rng), [locale.write(v) if locale else _number(v) for v in runs[key]])
            )
        product = [a * b * c for a, b, c in zip(runs["steps"], runs["batch"], runs["length"], strict=True)]
        if "C" not in have:
            plain["n_tokens"] = [str(d) for d in product]
    header, cells, nats, options = _loss(runs["L"], locale, rng)
    columns.append((header, cells))
    plain["loss"] = nats
    n = len(nats)
    if rng.random() < 0.5:
        columns.append((rng.choice(PATHS) + styled(rng.choice(RUN), rng), [f"run-{i}" for i in range(n)]))
    columns += _extras(n, locale, rng, separator)
    rng.shuffle(columns)
    if separator == " ":
        columns = [(h.replace(" ", "_"), [str(c).replace(" ", "") for c in cs]) for h, cs in columns]
    path = folder / f"runs.{kind}"
    text = _write(path, kind, separator, columns)
    if kind in ("csv", "tsv") and rng.random() < 0.3:
        text = _odd_file(path, text, rng)
    return Written(path=path, options=options, plain=plain, text=text, headers=[h for h, _ in columns])


def _is_text(kind: str) -> bool:
    return kind.removesuffix(".gz") in ("csv", "tsv", "txt", "md")


def _write(path: Path, kind: str, separator: str, columns: list[tuple[str, list[object]]]) -> str:
    names = [h for h, _ in columns]
    rows = list(zip(*(c for _, c in columns), strict=True))
    if kind == "parquet":
        pd.DataFrame(dict(columns)).to_parquet(path)
        return ""
    if kind == "xlsx":
        pd.DataFrame(dict(columns)).to_excel(path, index=False)
        return ""
    if kind == "md":
        body = [names, ["---"] * len(names), *rows]
        text = "".join(f"| {' | '.join(str(c).replace('|', '/') for c in row)} |\n" for row in body)
    elif kind == "txt":
        widths = [2 + max(len(str(c)) for c in column) for column in zip(names, *rows, strict=True)]
        text = "".join(
            "".join(str(c).rjust(w) for c, w in zip(row, widths, strict=True)) + "\n"
            for row in (names, *rows)
        )
    elif kind == "columns.json":
        text = json.dumps(dict(columns))
    elif kind == "json":
        text = json.dumps([dict(zip(names, row, strict=True)) for row in rows])
    elif kind == "split.json":
        text = json.dumps({"columns": names, "index": list(range(len(rows))), "data": rows})
    elif kind == "index.json":
        text = json.dumps({str(i): dict(zip(names, row, strict=True)) for i, row in enumerate(rows)})
    elif kind == "nested.jsonl":
        text = "".join(json.dumps(_nested(dict(zip(names, row, strict=True)))) + "\n" for row in rows)
    elif kind.startswith("jsonl"):
        text = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    else:
        out = io.StringIO()
        csv.writer(out, delimiter=separator, lineterminator="\n").writerows([names, *rows])
        text = out.getvalue()
    if kind.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return text


def _nested(record: dict[str, object]) -> dict[str, object]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    tree: dict = {}
    for key, cell in record.items():
        *places, last = key.split(".") if "/" not in key else [key]
        inside = tree
        for place in places:
            inside = inside.setdefault(place, {})
            if not isinstance(inside, dict):  # "model" and "model.params" in one record
                return record
        inside[last] = cell
    return tree


def _odd_file(path: Path, text: str, rng: Random) -> str:
    """The same lines as other programs write them."""
    lines = text.splitlines()
    what = rng.choice(("utf-16", "bom and crlf", "comments", "index", "title", "trailing separator"))
    separator = next((s for s in "\t;|," if s in lines[0]), ",")
    plain = not any('"' in line for line in lines)
    if what == "utf-16":
        path.write_text(text, encoding="utf-16")
        return text
    if what == "bom and crlf":
        lines = ["\ufeff" + lines[0], *lines[1:]]
        text = "\r\n".join(lines) + "\r\n"
        path.write_bytes(text.encode())
        return text
    if what == "comments":
        lines = ["# runs of July", *lines[:3], "# node 7 was lost here", *lines[3:]]
    elif what == "index" and plain:
        lines = [f"{separator}{lines[0]}", *(f"{i}{separator}{line}" for i, line in enumerate(lines[1:]))]
    elif what == "title":
        lines = ["Runs of July", "", *lines]
    elif what == "trailing separator":
        lines = [line + separator for line in lines]
    text = "\n".join(lines) + "\n"
    path.write_text(text, encoding="utf-8")
    return text


def write_plain(folder: Path, written: Written) -> Path:
    """The same runs as comma-separated values under our own names, in FLOPs, counts and nats per token."""
    path = folder / "plain.csv"
    rows = zip(*written.plain.values(), strict=True)
    path.write_text("\n".join(",".join(row) for row in (tuple(written.plain), *rows)) + "\n")
    return path
