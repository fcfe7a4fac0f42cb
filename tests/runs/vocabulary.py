"""How people name the columns of a table of runs: words, their order, their style, paths and units; for `writing`."""

from __future__ import annotations

from decimal import Decimal
from random import Random

PF_DAY = Decimal("8.64e19")
PATHS = (
    "",
    "",
    "",
    "config.",
    "config/",
    "summary/",
    "summary.",
    "model.",
    "config.model.",
    "train/",
    "eval/",
    "final.",
)

PARAMS = (
    "params", "n params", "num params", "model params", "total params", "parameters", "number of parameters",
    "parameter count", "params count", "model parameters", "total model params", "trainable params", "n parameters",
    "params total", "param count", "num trainable parameters", "model size params", "params num", "# params",
)  # fmt: skip
TOKENS = (
    "tokens", "n tokens", "num tokens", "train tokens", "training tokens", "total tokens", "dataset tokens",
    "tokens seen", "tokens trained", "number of tokens", "tokens total", "token count", "tokens processed",
    "total train tokens", "data tokens", "training tokens seen", "tokens consumed", "# tokens", "pretraining tokens",
)  # fmt: skip
FLOPS = (
    "flops", "compute", "train flops", "training flops", "total flops", "training compute", "flops total", "n flops",
    "total compute", "estimated flops", "flops spent", "flops used", "train compute", "model flops",
)  # fmt: skip
BUDGET = (
    "budget",
    "flops budget",
    "compute budget",
    "target flops",
    "isoflop budget",
    "budget flops",
    "nominal flops",
)
LOSS = (
    "loss", "val loss", "validation loss", "final loss", "eval loss", "test loss", "loss val", "lm loss", "nll",
    "val nll", "cross entropy", "val cross entropy", "final val loss", "loss final", "held out loss", "train loss",
    "cross entropy loss", "mean loss", "loss eval",
)  # fmt: skip
PERPLEXITY = (
    "perplexity",
    "val perplexity",
    "ppl",
    "test ppl",
    "ppl val",
    "final perplexity",
    "wikitext ppl",
    "val ppl",
)
BITS = ("bits per token", "val bits per token", "bpt", "loss bits per token", "val bpt")
STEPS = ("step", "steps", "global step", "train steps", "iterations", "training steps", "num steps")
BATCH = ("batch size", "global batch size", "train batch size", "gbs", "bsz")
LENGTH = ("seq len", "sequence length", "context length", "block size", "n ctx", "max seq len")
RUN = ("run", "run id", "run name", "name", "id")
ANY_ORDER = {  # a noun among words that change nothing, in any order
    PARAMS: (("params", "parameters", "param", "parameter"), ["num", "number", "count", "total", "all", "model", "trainable"]),
    TOKENS: (("tokens", "token", "toks"), ["num", "count", "total", "train", "training", "used", "seen", "consumed", "processed", "dataset", "data"]),
    FLOPS: (("flops", "compute", "FLOPs"), ["total", "train", "training", "used", "estimated", "spent", "model", "cumulative"]),
    LOSS: (("loss", "nll"), ["final", "last", "val", "validation", "eval", "test", "dev", "lm", "mean", "avg", "ce"]),
}  # fmt: skip
# a factor, how it stands behind a name in brackets or as words, and in a cell
SCALES = {
    "n_params": {
        Decimal(1): ((), (), ("", "", "", " params")),
        Decimal(10) ** 3: (("K", "k", "thousands", "1e3"), ("thousands",), ("K", "k")),
        Decimal(10) ** 6: (("M", "millions", "1e6", "10^6", "in millions", "in M", "x1e6", "×10^6", "M params"),
                           ("millions", "in millions", "m", "in M", "1e6", "million"), ("M", " M", " million", "M params")),
        Decimal(10) ** 9: (("B", "billions", "1e9", "bn", "in billions", "× 10^9"),
                           ("billions", "in billions", "b", "B", "1e9", "bn"), ("B", " B", " billion", "b", "bn")),
    },
    "n_tokens": {
        Decimal(1): ((), (), ("", "", "", " tokens")),
        Decimal(10) ** 6: (("M", "millions", "1e6", "in millions", "10^6"), ("millions", "in millions", "m", "in M"),
                           ("M", " M", " million", "M tokens", " million tokens")),
        Decimal(10) ** 9: (("B", "billions", "1e9", "10^9", "in billions", "x 1e9", "B tokens", "G"),
                           ("billions", "in billions", "b", "B", "1e9", "bn"), ("B", " B", " billion", "B tokens", "G", "bn")),
        Decimal(10) ** 12: (("T", "trillions", "1e12", "in trillions"), ("trillions", "in trillions", "t", "in T"),
                            ("T", " T", " trillion", "T tokens")),
    },
    "flops": {
        Decimal(1): ((), (), ("", "", "", " FLOPs", " FLOP")),
        Decimal(10) ** 9: (("GFLOPs", "G", "1e9", "GFLOP", "gigaFLOPs"), ("gflops", "GFLOPs"), ()),
        Decimal(10) ** 15: (("PFLOPs", "P", "1e15", "petaFLOPs", "in PFLOPs"), ("pflops", "petaflops"), (" PFLOPs", "PFLOP")),
        Decimal(10) ** 18: (("EFLOPs", "E", "1e18", "10^18", "x 1e18", "exaFLOPs", "1e18 FLOPs", "in EFLOPs"),
                            ("exaflops", "eflops", "EFLOPs", "1e18"), (" EFLOPs", "EFLOP", " exaFLOPs")),
        Decimal(10) ** 21: (("ZFLOPs", "Z", "1e21"), ("zflops", "zettaflops"), (" ZFLOPs",)),
        PF_DAY: (("PF-days", "PFLOP/s-days", "pf-days", "petaflop/s-days", "PF-day", "in PF-days", "PFLOPs-days"),
                 ("pf days", "PF-days", "pfdays"), (" PF-days", " PF-day")),
    },
}  # fmt: skip
SCALES["budget"] = SCALES["flops"]


def styled(words: str, rng: Random) -> str:
    parts = words.split()
    style = rng.choice(("snake", "snake", "plain", "camel", "title", "upper", "kebab", "Pascal", "sentence"))
    if "#" in words:
        return words
    return {
        "snake": lambda: "_".join(parts),
        "plain": lambda: " ".join(parts),
        "camel": lambda: parts[0] + "".join(p.capitalize() for p in parts[1:]),
        "title": lambda: " ".join(p.capitalize() for p in parts),
        "upper": lambda: "_".join(p.upper() for p in parts),
        "kebab": lambda: "-".join(parts),
        "Pascal": lambda: "".join(p.capitalize() for p in parts),
        "sentence": lambda: " ".join([parts[0].capitalize(), *parts[1:]]),
    }[style]()


def named(choices: tuple[str, ...], rng: Random, letter: str = "") -> str:
    if letter and rng.random() < 0.08:
        return letter
    words = rng.choice(choices)
    if choices in ANY_ORDER and rng.random() < 0.3:
        noun, others = ANY_ORDER[choices]
        several = [rng.choice(noun), *rng.sample(others, rng.randrange(3))]
        rng.shuffle(several)
        words = " ".join(several)
    return rng.choice(PATHS) + styled(words, rng)


def with_unit(name: str, brackets: tuple[str, ...], words: tuple[str, ...], rng: Random) -> str:
    if " " in name and "/" not in name and "." not in name and rng.random() < 0.1:
        return f"{name}, {brackets[0]}"
    if len(name) > 1 and words and rng.random() < 0.4:
        unit, joint = rng.choice(words), "_" if "_" in name or " " not in name else " "
        return f"{name}{joint}{unit.replace(' ', joint)}"
    unit = rng.choice(brackets)
    return rng.choice((f"{name} ({unit})", f"{name} [{unit}]", f"{name} ({unit})", f"{name}({unit})"))
