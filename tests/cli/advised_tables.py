"""Tables of every fault that a message of `scaling` is about: small, made from one law, each with its command.

The losses follow E = 1.7, A = 380, B = 1700, alpha = .34, beta = .36 and a tenth of a per cent of noise.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

CASES = Path(__file__).resolve().parents[1] / "cases"
Columns = dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class Input:
    """A command and the file it reads; `fill` says what stands for a placeholder of its messages (NUMBER, NAME)."""

    name: str
    arguments: tuple[str, ...]  # {} = the file
    file: str = "runs.csv"
    content: bytes | None = None  # None: the file is a case of tests/cases, or there is none
    fill: Mapping[str, str] = field(default_factory=dict)


def planted(n_budgets: int = 4, n_sizes: int = 6, noise: float = 1e-3, smallest: float = 2e7) -> Columns:
    """An IsoFLOP table: budgets of half a decade, sizes about the optimum of each."""
    random = np.random.default_rng(0)
    table: Columns = {"run_id": [], "n_params": [], "n_tokens": [], "flops": [], "loss": []}
    for i in range(n_budgets):
        flops = 6 * 20 * (3 * smallest) ** 2 * 10**i
        middle = 3 * smallest * 10 ** (i / 2)
        for k in range(n_sizes):
            N = float(f"{middle * 2.0 ** (k - (n_sizes - 1) / 2):.4g}")
            D = float(f"{flops / 6 / N:.6g}")
            row = (f"r{i}{k}", N, D, 6 * N * D, round(loss(N, D) * float(np.exp(noise * random.normal())), 5))
            for column, value in zip(table.values(), row, strict=True):
                column.append(value)
    return table


def loss(N: float, D: float) -> float:
    return float(1.7 + 380 / N**0.34 + 1700 / D**0.36)


def curves(decayed: bool = True) -> Columns:
    """Training curves of 8 sizes with 30 rows each."""
    table: Columns = {"run_id": [], "step": [], "n_params": [], "n_tokens": [], "loss": []}
    for k in range(8):
        N = 2e7 * 2.0**k
        for step in range(1, 31):
            D = N * step * (2 if decayed else 2 + k)
            for column, value in zip(
                table.values(), (f"c{k}", step, N, D, round(loss(N, D), 5)), strict=True
            ):
                column.append(value)
    return table


def renamed(table: Columns, **names: str) -> Columns:
    return {names.get(k, k): v for k, v in table.items()}


def without(table: Columns, *names: str) -> Columns:
    return {k: v for k, v in table.items() if k not in names}


def scaled(table: Columns, **factors: float) -> Columns:
    return {k: [v * factors[k] for v in cells] if k in factors else cells for k, cells in table.items()}


def first(table: Columns, n: int) -> Columns:
    return {k: v[:n] for k, v in table.items()}


def changed(table: Columns, column: str, row: int, value: Any) -> Columns:
    return {k: [*v[:row], value, *v[row + 1 :]] if k == column else v for k, v in table.items()}


def text(table: Columns, separator: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return file.getvalue().encode()


def fit(name: str, table: Columns | str | bytes, *options: str, file: str = "runs.csv", **fill: str) -> Input:
    """`scaling fit` on a table."""
    content = table if isinstance(table, bytes) else table.encode() if isinstance(table, str) else text(table)
    return Input(name=name, arguments=("fit", "{}", *options), file=file, content=content, fill=fill)


def each(table: Columns, function: Any) -> list[Any]:
    """A new column, of the row number and the row."""
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    return [function(i, row) for i, row in enumerate(rows)]


def inputs_read() -> list[Input]:
    """What is refused or doubted while a table is read."""
    return [*_cases(), *_unreadable(), *_cells(), *_columns(), *_units(), *_rows(), *_wide()]


def _cases() -> Iterator[Input]:
    told = {
        "27": ("--column", "n_tokens=samples", "--column", "loss=error_rate", "--loss-unit", "other"),
        "26": ("--loss-unit", "bits/byte", "--bytes-per-token", "4.5"),
    }
    for path in sorted(CASES.glob("tables-*/*")):
        number = path.parent.name.split("-")[1]
        if path.suffix in (".csv", ".json") and number != "24":
            for method in ((), ("--method", "isoflop")) if number in ("03", "16", "20") else ((),):
                name = f"case {number} {path.name} {' '.join(method)}".strip()
                arguments = ("fit", str(path), *method)
                yield Input(
                    name=name,
                    arguments=arguments,
                    fill={
                        "NUMBER": "4.5",
                        "NAME": "error_rate",
                        "COLUMN": "run" if number == "11" else "tokens_per_sec",
                    },
                )
                if number in told:
                    yield Input(name=f"{name}, as told", arguments=(*arguments, *told[number]))


# --- files that are no table ---

HEADER = "n_params,n_tokens,loss\n"
GOOD = "1e8,2e9,3.1\n"


def _unreadable() -> Iterator[Input]:
    plain = text(planted()).decode()
    yield fit("empty", "")
    yield fit("names only", HEADER)
    yield fit("no names", "1e8,2e9,3.1\n2e8,4e9,2.9\n", NAME="n_params")
    yield fit("ragged short", HEADER + "1e8,2e9\n")
    yield fit("ragged long", HEADER + GOOD + "1e8,2e9,3.1,7\n")
    yield fit("two of one name", "n_params,n_tokens,loss,loss\n1e8,2e9,3.1,3.1\n")
    yield fit("unclosed quote", HEADER + '1e8,"2e9,3.1\n' + GOOD)
    yield fit("latin", HEADER.encode() + "1e8,2e9,3.1,é".encode("latin-1"))
    yield fit("NUL", HEADER.encode() + b"\x00\x01\x02")
    yield fit("one long line", "a" * 3_000_000)
    yield fit("web page", "<!doctype html><html></html>\n")
    yield fit("pdf", b"%PDF-1.4\n" + b"x" * 99)
    yield fit("pickle", b"\x80\x04\x95" + b"x" * 99)
    yield fit("hdf", b"\x89HDF\r\n\x1a\n" + b"x" * 99)
    yield fit("sqlite", b"SQLite format 3\x00" + b"x" * 99)
    yield fit("parquet", b"PAR1 nothing", file="runs.parquet")
    yield fit("cut gzip", gzip.compress(HEADER.encode() * 99)[:-9], file="runs.csv.gz")
    yield fit("zstd", b"\x28\xb5\x2f\xfd" + b"x" * 99, file="runs.csv.zst")
    yield fit("zip of two", _zip({"a.csv": plain, "b.csv": plain}), file="runs.zip")
    yield fit("zip of none", _zip({"a.png": "no"}), file="runs.zip")
    yield Input(name="absent", arguments=("fit", "{}"))
    yield Input(name="folder", arguments=("fit", "."))
    yield Input(name="s3", arguments=("fit", "s3://bucket/runs.csv"))
    for name, value in (
        ("json of numbers", [1, 2]),
        ("json of none", []),
        ("json of two lists", {"train": [{"a": 1}], "test": [{"a": 2}]}),
        ("json number", 3),
    ):
        yield fit(name, json.dumps(value), file="runs.json")
    yield fit("jsonl cut inside", '{"n_params": 1e8,\n', file="runs.jsonl")
    yield fit("jsonl of true", '{"n_params": true, "n_tokens": 2e9, "loss": 3}\n', file="runs.jsonl")
    yield Input(
        name="json part", arguments=("fit", "{}#missing"), file="runs.json", content=b'{"train": [{"a": 1}]}'
    )


def _zip(members: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _cells() -> Iterator[Input]:
    """Cells that are no number of their column; leaving their line out is a remedy the user knows of."""
    table = without(planted(), "flops")
    for name, column, value in (
        ("word", "n_params", "many"),
        ("approximate", "n_params", "~1e9"),
        ("zero params", "n_params", "0"),
        ("too many", "n_params", "1e30"),
        ("negative tokens", "n_tokens", "-2e9"),
        ("loss with a unit", "loss", "3.1x"),
        ("loss empty", "loss", ""),
        ("loss infinite", "loss", "inf"),
        ("loss negative", "loss", "-3"),
        ("decimal comma beside points", "n_params", "1,5e8"),
        ("tokens in words", "n_tokens", "2 zillion"),
        ("misplaced separator", "n_tokens", "2,00,00"),
    ):
        yield fit(f"cell {name}", changed(table, column, 3, value), RUN_ID="line:5")
    yield fit("cell flops empty", changed(planted(), "flops", 3, ""), RUN_ID="line:5")
    yield fit("cell step negative", table | {"step": [-4] * 24})
    yield fit("losses all negative", scaled(table, loss=-1))
    doubtful = {
        "n_params": ["19,494", "38,989", "77,977"],
        "n_tokens": ["8,550", "4,275", "2,137"],
        "loss": [3, 4, 3],
    }
    yield fit("comma of either kind", text(doubtful, ";"))
    yield fit("perplexity below one", table | {"loss": [0.9] * 24}, "--loss-unit", "perplexity")


# --- columns and units ---


def _columns() -> Iterator[Input]:
    table = without(planted(), "flops")
    yield fit("no loss", without(table, "loss"), NAME="n_tokens")
    yield fit("loss under another name", renamed(table, loss="final_score"), NAME="final_score")
    yield fit("misspelt params", renamed(table, n_params="n_prams"))
    yield fit("misspelt tokens", renamed(table, n_tokens="tokenz"))
    yield fit(
        "words before", renamed(table, n_params="backbone_params", n_tokens="wiki_tokens", loss="head_loss")
    )
    yield fit(
        "rate of tokens",
        renamed(table, n_tokens="tokens_per_sec") | {"Notes": ["-"] * 24},
        COLUMN="tokens_per_sec",
    )
    yield fit("rate of tokens, chinchilla", renamed(table, n_tokens="tokens_per_sec"), "--law", "chinchilla",
              NAME="tokens_per_sec")  # fmt: skip
    yield fit("nothing of ours", {"a": [1, 2], "b": [2, 3]}, NAME="a")
    yield fit(
        "two of params",
        table | {"model_size": [v * 1.3 for v in table["n_params"]]} | {"params": table["n_params"]},
    )
    two = without(table, "n_params") | {
        "model_size": [v * 1.3 for v in table["n_params"]],
        "params": table["n_params"],
    }
    yield fit("two of params, ours by none", two)
    yield fit(
        "two losses",
        without(table, "loss") | {"train_loss": table["loss"], "val_loss": [v + 0.1 for v in table["loss"]]},
    )
    yield fit("column unknown", table, "--column", "loss=val_los")
    yield fit("column of rates unknown", table | {"tokens_per_sec": [1] * 24}, "--column", "n_tokens=tokens")
    yield fit("quantity unknown", table, "--column", "params=n_params")
    yield fit("quantity unknown 2", table, "--column", "lr=n_params")
    yield fit("column malformed", table, "--column", "n_params")
    active = renamed(table, n_params="active_params") | {"total_params": [3 * v for v in table["n_params"]]}
    yield fit("active or total", active)
    yield fit(
        "non-embedding only", renamed(table, n_params="n_params_nonemb"), "--params-convention", "total"
    )
    yield fit("active only", renamed(table, n_params="active_params"), "--params-convention", "total")
    yield fit("convention unknown", table | {"params_convention": ["some"] * 24})
    steps = without(table, "n_tokens") | {"step": [round(v / 524288) for v in table["n_tokens"]]}
    yield fit("steps only", steps, "--law", "chinchilla", NUMBER="524288", NAME="step")
    yield fit("steps only, by default", steps, NUMBER="524288", COLUMN="step")
    device = steps | {"batch_size": [8] * 24, "seq_len": [2048] * 24}
    yield fit("batch of a device", device | {"grad_accum": [4] * 24}, NUMBER="65536")
    yield fit("batch of tokens", device | {"batch_size": [524288] * 24}, NUMBER="524288")
    yield fit("tokens and steps", table, "--tokens-per-step", "1e6")
    yield fit(
        "tokens per step without steps",
        without(table, "n_tokens"),
        "--tokens-per-step",
        "1e6",
        NAME="n_params",
    )
    yield fit("gflops of a sample", table | {"gflops": [v / 1e9 * 2 for v in table["n_params"]]})


def _units() -> Iterator[Input]:
    table = without(planted(), "flops")
    for unit, factor in (("perplexity", 0.0), ("bpb", 0.32), ("bpc", 0.36), ("bits_per_word", 1.9), ("nats_per_byte", 0.22),
                         ("loss (bits)", 1 / np.log(2)), ("loss (dB)", 1.0)):  # fmt: skip
        column = [round(v * factor if factor else float(np.exp(v)), 5) for v in table["loss"]]
        yield fit(f"loss in {unit}", without(table, "loss") | {unit: column}, NUMBER="4.5")
    yield fit("loss in mixed units", table | {"loss_unit": ["nats", "bits"] * 12}, NUMBER="4.5")
    yield fit("unit unknown", table, "--loss-unit", "furlongs")
    yield fit("unit contradicts", renamed(table, loss="val_bpb"), "--loss-unit", "perplexity")
    yield fit("bytes missing", scaled(table, loss=0.32), "--loss-unit", "bits/byte", NUMBER="4.5")
    yield fit(
        "perplexities in silence", table | {"loss": [round(float(np.exp(v)), 3) for v in table["loss"]]}
    )
    yield fit("bits in silence", scaled(table, loss=1.55))
    yield fit("bytes in silence", scaled(table, loss=0.222), NUMBER="4.5")
    yield fit("low losses", scaled(table, loss=0.1), NUMBER="4.5")
    yield fit("sums over tokens", scaled(table, loss=2048) | {"seq_len": [2048] * 24})
    yield fit("params in M", scaled(table, n_params=1e-6))
    yield fit("both in M", scaled(table, n_params=1e-6, n_tokens=1e-6))
    yield fit("tokens in B", renamed(scaled(table, n_tokens=1e-9), n_tokens="tokens"))
    yield fit("flops in E", without(scaled(planted(), flops=1e-18), "n_tokens"))
    yield fit(
        "flops in E of a unit",
        renamed(without(scaled(planted(), flops=1e-18), "n_tokens"), flops="train_compute"),
    )
    yield fit("flops in E beside both", scaled(planted(), flops=1e-18))
    yield fit("params thousandfold", scaled(table, n_params=1e-4))
    yield fit("swapped", table | {"n_params": table["n_tokens"], "n_tokens": table["n_params"]})
    yield fit(
        "images",
        renamed(scaled(table, n_tokens=1e-3), n_tokens="images"),
        "--column",
        "n_tokens=images",
        NUMBER="4.5",
    )


# --- rows and shapes ---


def _rows() -> Iterator[Input]:
    table = without(planted(), "flops") | {
        "corpus": ["c4", "pile"] * 12,
        "diverged": ["false"] * 23 + ["true"],
    }
    for name, options in (
        ("only malformed", ("--only", "corpus")),
        ("only column unknown", ("--only", "corpora=c4")),
        ("only value unknown", ("--only", "corpus=c5")),
        ("exclude unknown", ("--exclude", "r99")),
        ("exclude line beyond", ("--exclude", "line:999")),
        ("exclude word for a number", ("--exclude", "loss>high")),
        ("drop no marks", ("--drop", "corpus")),
        ("drop unknown", ("--drop", "diverge")),
        ("none left", ("--exclude", "loss>0")),
        ("best of cell", ("--best-of-cell",)),
    ):
        yield fit(name, table, *options, RUN_ID="r00", **{"COLUMN=VALUE": "corpus=c4"})


def _wide() -> Iterator[Input]:
    grid = "params,1e18,1e19,1e20\n" + "\n".join(
        f"{N:g}," + ",".join(f"{loss(N, C / 6 / N):.5f}" for C in (1e18, 1e19, 1e20))
        for N in (2e7, 4e7, 8e7, 1.6e8, 3.2e8)
    )
    panel = "Step,small - loss,small - loss__MIN,large - loss,large - loss__MIN\n1,3,3,4,4\n2,2,2,3,3\n"
    yield fit("wide not said", grid)
    yield fit("wide panel not said", panel)
    yield fit("wide tokens not said", grid.replace("1e18,1e19,1e20", "1B,2B,4B"))
    yield fit("wide", grid, "--wide", "budget")
    plain = text(without(planted(), "flops")).decode()
    for name, content, what in (
        ("empty", grid, ""),
        ("of nothing", plain, "budget"),
        ("of no runs", plain, "run"),
        ("pattern of none", plain, "{n_params}_{width}"),
        ("pattern twice", plain, "{n_params}_{n_params}"),
        ("first melted", grid.replace("params,", "1e17,"), "n_params/budget"),
        ("two of one name", grid, "budget/budget"),
        ("nothing filled", "params,1e18,1e19\n2e7,,\n4e7,,\n", "budget"),
    ):
        yield fit(f"wide {name}", content, "--wide", what)
