"""Inputs whose fault shows only when they are checked or fitted, and those of the commands beside `scaling fit`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from advised_tables import (
    Columns,
    Input,
    changed,
    curves,
    each,
    first,
    fit,
    inputs_read,
    loss,
    planted,
    renamed,
    scaled,
    text,
    without,
)  # fmt: skip

N_ROWS = 24


def all_inputs() -> list[Input]:
    found = [*inputs_read(), *_claims(), *_training(), *_repeated(), *_design(), *_fits(), *_options()]
    found += [*_of_one_quantity(), *_other_commands()]
    names = [i.name for i in found]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]
    return found


def _claims() -> Iterator[Input]:
    """What a table says of itself and contradicts."""
    plain = planted()
    table, C = without(plain, "flops"), plain["flops"]
    nominal = [float(f"{c:.3g}") for c in C]
    yield fit(
        "budgets of another count", table | {"budget": [c * (1 + 3 / (i + 1)) for i, c in enumerate(nominal)]}
    )
    yield fit("budgets in E", table | {"budget": [c / 1e18 for c in nominal]})
    small = table | {"n_params": [v * (0.4 + i / 60) for i, v in enumerate(table["n_params"])]}
    yield fit(
        "budgets met by another column", small | {"params_of_all": table["n_params"], "budget": nominal}
    )
    yield fit("budgets far off", table | {"budget": [c * 20 for c in nominal]})
    yield fit(
        "two counts of flops", plain | {"flops": [c * (1 if i % 3 else 4 / 3) for i, c in enumerate(C)]}
    )
    yield fit(
        "vocabulary larger than all", table | {"vocab_size": [500000] * N_ROWS, "d_model": [4096] * N_ROWS}
    )
    bare = table | {"n_layers": [8] * N_ROWS, "d_model": [math.sqrt(v / 96) for v in table["n_params"]]}
    yield fit("no room for embeddings", bare)
    yield fit("params of which", renamed(table, n_params="params"))
    yield fit("both counts", table | {"n_params_nonemb": [v * 0.6 for v in table["n_params"]]})
    yield fit("mixed conventions", table | {"params_convention": ["total", "non_embedding"] * 12})
    yield fit("own flops", plain | {"flops": [c * 1.2 for c in C]})
    yield fit("flops beyond reason", plain | {"flops": [c * 8 for c in C]})
    yield fit("flops without the six", plain | {"flops": [c / 6 for c in C]}, COLUMN="n_params")
    yield fit("flops said to be 6ND", plain | {"flops": [c * 1.2 for c in C]}, "--flops-convention", "6ND")


def _training() -> Iterator[Input]:
    table = without(planted(), "flops")
    yield fit("status", table | {"status": ["finished"] * 22 + ["crashed", "running"]}, RUN_ID="r35")
    steps = [round(v / 1e6) + 2 for v in table["n_tokens"]]
    stopped = table | {"step": [s // 2 if i == 5 else s for i, s in enumerate(steps)], "max_steps": steps}
    yield fit("stopped early", stopped, RUN_ID="r05")
    yield fit(
        "rate not decayed", table | {"lr": [3e-4] * N_ROWS, "final_lr": [3e-5] * 23 + [2e-4]}, RUN_ID="r35"
    )
    yield fit("short cool-down", table | {"cooldown_fraction": [0.05] * 3 + [0.2] * 21})
    yield fit("one batch", table | {"batch_tokens": [524288] * N_ROWS})
    yield fit("long warm-up", table | {"warmup_fraction": [0.5] + [0.01] * 23})


def _repeated() -> Iterator[Input]:
    table = without(planted(), "flops")
    twice = {k: [*v, *v[:3]] for k, v in table.items()}
    yield fit("copies", twice, RUN_ID="line:26")
    yield fit("one id twice", changed(table, "run_id", 3, "r00"))
    yield fit(
        "seeds", {k: [*v, *v[:3]] for k, v in table.items()} | {"loss": [*table["loss"], 3.8, 3.7, 3.6]}
    )
    grid = {k: [c for c in v for _ in range(3)] for k, v in table.items() if k != "run_id"}
    grid["loss"] = [v * (1, 1.02, 1.05)[i % 3] for i, v in enumerate(grid["loss"])]
    yield fit("grid of rates", grid | {"lr": [1e-3, 2e-3, 4e-3] * N_ROWS})
    yield fit("curves", curves())
    yield fit("curves, every row", curves(), "--every-row")
    yield fit("curves, isoflop", curves(), "--method", "isoflop")
    yield fit("curves, envelope", curves(decayed=False), "--method", "envelope")
    resumed = {k: [*v[:20], *v[15:]] for k, v in curves().items()}
    yield fit("resumed", resumed, "--every-row")
    yield fit("trunks", table | {"trunk_id": [f"t{i // 3}" for i in range(N_ROWS)]})
    yield fit("equal losses", table | {"loss": [3.0] * N_ROWS, "score": table["loss"]}, NAME="score")
    yield fit("loss rises", table | {"loss": [5.5 - v / 2 for v in table["loss"]]})
    yield fit("an outlier", changed(table, "loss", 7, 4.9), RUN_ID="r11")
    yield fit("nearly no curves", {k: [*v, v[-1]] for k, v in curves().items()}, "--method", "envelope")


def _design() -> Iterator[Input]:
    table = without(planted(), "flops")
    yield fit("three runs", first(table, 3))
    yield fit("six runs", first(table, 6))
    ratio = table | {"n_tokens": [20 * v for v in table["n_params"]]}
    ratio["loss"] = each(ratio, lambda i, r: loss(r["n_params"], r["n_tokens"]) * (1 + i % 3 / 1000))
    yield fit("one ratio", ratio)
    line = table | {"n_tokens": [1e5 * v**0.6 for v in table["n_params"]]}
    line["loss"] = each(line, lambda i, r: loss(r["n_params"], r["n_tokens"]) * (1 + i % 3 / 1000))
    yield fit("one line", line)
    yield fit(
        "two sizes", {k: [c for i, c in enumerate(v) if i % 6 in (2, 3)] for k, v in _grid(2, 6).items()}
    )
    yield fit("two sizes of a grid", _grid(2, 6))
    yield fit("two token counts", _grid(6, 2))
    yield fit("four sizes", _grid(4, 6))
    yield fit("narrow", _grid(4, 4, step=1.3))
    one = planted(1, 12)
    yield fit("one budget", one)
    yield fit("one budget, isoflop", one, "--method", "isoflop")
    yield fit("two sizes a budget, isoflop", planted(4, 2), "--method", "isoflop")
    edge = {k: [c for i, c in enumerate(v) if i % 6 < 3 or i > 17] for k, v in planted().items()}
    yield fit("minima at the edge, isoflop", edge, "--method", "isoflop")
    yield fit("minima at the edge", edge)
    yield fit("minima at every edge, isoflop", first(edge, 9), "--method", "isoflop")
    flat = planted() | {"loss": [3.0 + 0.001 * (i * 7 % 5) for i in range(N_ROWS)]}
    yield fit("flat valleys, isoflop", flat, "--method", "isoflop")
    corpora = table | {"corpus": ["c4"] * 12 + ["pile"] * 12}
    yield fit("corpora", corpora, **{"COLUMN=VALUE": "corpus=c4"})
    yield fit("families", table | {"family": ["gpt", "llama"] * 12}, **{"COLUMN=VALUE": "family=gpt"})
    yield fit("repeated data", table | {"n_tokens_unique": [v / 4 for v in table["n_tokens"]]})
    yield fit("three budgets, isoflop", planted(3), "--method", "isoflop")
    yield fit("two budgets, isoflop", planted(2), "--method", "isoflop")


def _grid(n_sizes: int, n_tokens: int, step: float = 4.0) -> Columns:
    table: Columns = {"n_params": [], "n_tokens": [], "loss": []}
    for i in range(n_sizes):
        for k in range(n_tokens):
            N, D = 2e7 * step**i, 1e9 * step**k
            wiggle = 1 + 0.001 * math.sin(7 * i + 3 * k)
            for column, value in zip(table.values(), (N, D, round(loss(N, D) * wiggle, 5)), strict=True):
                column.append(value)
    return table


def _fits() -> Iterator[Input]:
    table = without(planted(), "flops")
    exact = table | {"loss": each(table, lambda i, r: loss(r["n_params"], r["n_tokens"]))}
    yield fit("noise-free", exact)
    floorless = exact | {"loss": [v - 1.7 for v in exact["loss"]]}
    yield fit("no floor", table | {"loss": [v * (1 + 1e-3 * math.sin(i)) for i, v in enumerate(floorless["loss"])]},
              "--loss-unit", "other")  # fmt: skip
    tangled = table | {
        "loss": each(table, lambda i, r: loss(r["n_params"], r["n_tokens"]) * (1 + 0.03 * math.sin(i * i)))
    }
    yield fit("much noise", tangled)
    bent = table | {
        "loss": each(table, lambda i, r: 2 + 40 / math.log(r["n_params"]) ** 1.5 + 0.3 * (i // 6 % 2))
    }
    yield fit("another law", bent)
    yield fit("fixed delta", tangled, "--objective", "huber", "--huber-delta", "1e-3")
    yield fit("asymmetric", tangled, "--objective", "asymmetric")
    for law in ("kaplan", "data_constrained", "over_training", "flops_power_law", "params_power_law_floor"):
        yield fit(f"law {law}", planted(), "--law", law, NAME="n_tokens")
    yield fit("few for a law", first(planted(), 4), "--law", "kaplan")
    yield fit("hold out", planted(), "--holdout-above", "rolling")
    yield fit("hold out beyond all", planted(), "--holdout-above", "1e30")
    yield fit("hold out below all", planted(), "--holdout-above", "1e3")
    yield fit("compare", planted(3, 5), "--compare-laws")
    yield fit("surface valleys", planted(), "--method", "isoflop", "--valley", "surface")
    yield fit("quartic valleys", planted(), "--method", "isoflop", "--valley", "quartic")
    yield fit("too few a budget", planted(), "--method", "isoflop", "--min-runs-per-budget", "9")


def _options() -> Iterator[Input]:
    """Options that do not go together, or not with this table."""
    table = planted()
    for options in (
        "--method isoflop --law kaplan", "--method envelope --final", "--method envelope", "--method isoflop --compare-laws",
        "--method envelope --bootstrap 200", "--valley quartic", "--min-runs-per-budget 5", "--compare-laws --fix E=1.5",
        "--law kaplan --objective asymmetric", "--law kaplan --huber-delta .1", "--law kaplan --bootstrap 200",
        "--law chinchila", "--law power_law", "--fix E", "--fix floor=1.6", "--fix alfa=.3", "--fix E=1 --fix E=2",
        "--fix E=99", "--fix alpha=-1", "--fix E=1 --fix A=300 --fix B=1000 --fix alpha=.3 --fix beta=.3", "--fix E=many",
        "--params-convention all", "--decimal dot", "--holdout-above lots", "--loss-unit bits", "--bytes-per-token 0",
        "--tokens-per-step many", "--plot fit.xyz", "--output missing/fit.json", "--no-such-option", "--loss-units other",
        "--best-of-cells", "--bootstrap 3",
    ):  # fmt: skip
        yield fit(f"option {options}", table, *options.split(), NAME="flops")
    yield fit("output exists", table, "-o", "{}")


def _of_one_quantity() -> Iterator[Input]:
    table = planted()
    for name in ("n_params", "n_tokens", "flops"):
        alone = {name: list(table[name]), "loss": [3.0 + 30 / v**0.1 for v in table[name]]}
        yield fit(f"{name} alone", alone)
        yield fit(f"{name} alone, chinchilla", alone, "--law", "chinchilla", NAME="loss")
        yield fit(f"{name} alone, isoflop", alone, "--method", "isoflop", NAME="loss")
    few = first({"flops": [1e18, 1e18, 1e19, 1e20], "loss": [3.2, 3.6, 3.0, 2.8]}, 4)
    yield fit("four of compute", few)
    mixed = {"flops": list(table["flops"]), "loss": table["loss"]}
    yield fit("sizes mixed", mixed)


def _other_commands() -> Iterator[Input]:
    table = without(planted(), "flops")
    runs = text(table)

    def with_runs(name: str, *arguments: str, content: bytes = runs) -> Input:
        return Input(name=name, arguments=arguments, content=content)

    yield with_runs("predict", "predict", "besiroglu", "{}")
    for law in ("chinchila", "hofmann", "kaplan", "epoch", "gpt-3", "no-such-law", "missing.json"):
        yield with_runs(f"predict {law}", "predict", law, "{}")
    yield with_runs(
        "predict without tokens", "predict", "besiroglu", "{}", content=text(without(table, "n_tokens"))
    )
    yield with_runs(
        "predict perplexities", "predict", "besiroglu", "{}", content=text(renamed(table, loss="ppl"))
    )
    for name, law in (("not json", b"{"), ("no law", b"{}"), ("a list", b"[]"), ("old", b'{"kind": "law", "schema_version": 9}'),
                      ("bare", b'{"kind": "law", "schema_version": 1}'),
                      ("a fit of none", json.dumps({"kind": "fit", "schema_version": 1}).encode())):  # fmt: skip
        yield Input(
            name=f"law file {name}",
            arguments=("plan", "--flops", "1e21", "--law", "{}"),
            file="law.json",
            content=law,
        )
    for name in ("chinchila", "hofman", "open ai", "kapln", "no-such-law", "fit.json", "llama"):
        yield Input(name=f"plan law {name}", arguments=("plan", "--flops", "1e21", "--law", name))
    for words in (
        "audit gpt3", "audit gpt-5", "audit lama-3-8b", "audit zzz", "audit --params 7B", "audit --total-params 7B",
        "audit gpt-4", "audit --params 7B --total-params 1B --tokens 1T", "audit --params 7B --tokens many",
        "audit gpt-3 --law chinchila", "audit gpt-4o", "audit claude", "audit phi-4",
        "plan", "plan --flops 1e21 --params 7B --tokens 1T", "plan --hardware 8xH100", "plan --time 14d",
        "plan --flops 1e21 --hardware 8xH1000", "plan --hardware 8xA1000 --time 14d", "plan --flops lots",
        "plan --flops 1e3", "plan --flops 1e40", "plan --flops 1e21 --mfu 4", "plan --target-loss 1", "plan --tokens 1e20",
        "plan --dollars 25k", "plan --flops 1e21 --plot plan.xyz", "plan --flops 1e21 --hardware 1xH100 --time 1d",
        "plan --time 14 --hardware 8xH100", "plan --flops 3e24 --hardware 1xH100", "plan --flop 1e21", "plan --flops 1e21 --max-params 1k",
        "plan --flops 1e22 --unique-tokens 1B", "plan --flops 1e21 --seq-len 0", "plan --dollars €5 --hardware 8xH100",
        "laws show chinchila", "laws show zzz", "hardware show h1000", "hardware show gpu", "data get chinchila", "data get zzz",
        "fitt runs.csv", "analyse runs.csv", "forecast x", "count --preset gpt3", "count gpt-5", "plan --flops 1e18PF",
        "plan --flops 100TFLOP/s", "plan --hardware H100 --time 14x",
    ):  # fmt: skip
        yield Input(name=words, arguments=tuple(words.split()), fill={"NUMBER": "989"})
    yield fit("scaled beyond floats", scaled(planted(), n_params=1e30))
