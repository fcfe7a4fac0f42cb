"""scaling corpus: text to shards, what a corpus holds, how a mixture is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Block, Table, Text
from scaling.cli.help import Group
from scaling.cli.output import Output, give, output_options
from scaling.cli.progress import waiting_for
from scaling.errors import UsageError, of_option
from scaling.jsonable import fields_of
from scaling.render.terminal import note, say, show, show_json
from scaling.translation import tr

if TYPE_CHECKING:
    from pandas import DataFrame

    from scaling.lm.corpus.windows import MixtureShare, PrintedShare


corpus = Group(
    "corpus",
    help="Prepare, check and describe training corpora.",
    epilog="Example: scaling corpus prepare stdlib --vocab-size 4096 --out data/stdlib",
)


@corpus.command("prepare", epilog="Example: scaling corpus prepare texts/ --vocab-size 4096 --out data/texts")
@click.argument("source")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Corpus to write."
)
@click.option(
    "--tokenizer",
    "path",
    metavar="FILE",
    help="A tokenizer file, or byte; without it one is trained on the source.",
)
@click.option(
    "--vocab-size",
    type=int,
    metavar="N",
    default=4096,
    show_default=True,
    help="Of the tokenizer that is trained.",
)
@click.option(
    "--field",
    metavar="COLUMN",
    default="text",
    show_default=True,
    help="Column of JSONL or Parquet that holds the text.",
)
@click.option("--revision", metavar="COMMIT", help="Commit or tag of a Hugging Face dataset.")
@click.option(
    "--validation-fraction",
    type=float,
    default=0.02,
    show_default=True,
    metavar="SHARE",
    help="Of the texts, kept from training.",
)
@click.option("--max-tokens", metavar="TOKENS", help="Stop after this many tokens: 100M.")
@click.option("--force", is_flag=True, help="Replace an existing corpus.")
def prepare(
    source: str, out: Path, path: str | None, vocab_size: int, max_tokens: str | None, **options: Any
) -> None:
    """Turn SOURCE into token shards with an index.

    SOURCE is stdlib, a text file or folder, JSONL, Parquet, or a Hugging Face dataset, streamed: the default to try
    is hf:HuggingFaceFW/fineweb-edu:sample-10BT (ODC-By). Token files made elsewhere (nanoGPT's train.bin and val.bin,
    llm.c's shards, .npy) need no preparation: --corpus tokens:DIR,dtype=uint16,vocab=50257.
    """
    from itertools import islice

    from scaling.lm.corpus import open_documents, prepare_corpus
    from scaling.lm.corpus.documents import left_out
    from scaling.lm.corpus.prepare import cut_where_few, require_room_in_shards
    from scaling.lm.tokenization import load_tokenizer, train_bpe
    from scaling.units import parse_tokens

    def documents() -> Any:
        return open_documents(source, field=options["field"], revision=options["revision"])

    n_tokens_max = int(of_option("--max-tokens", parse_tokens, max_tokens)) if max_tokens else None
    if path is None:
        require_room_in_shards(vocab_size)  # refused before a tokenizer is trained
    if kinds := left_out(source):
        listed = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        note(f"files of other kinds in {source} are not read: {listed}.")
    cut_where_few(documents(), options["validation_fraction"])  # refused before a tokenizer is trained
    if path is not None:
        tokenizer = load_tokenizer(path)
    else:
        sample = islice(documents(), 20_000)  # enough to fix 4k to 8k merges; the whole of a small source
        with waiting_for(tr("learning {n} entries", n=vocab_size)):
            tokenizer = train_bpe((d.text for d in sample), vocab_size)
    with waiting_for(tr("encoding {source}", source=source)):
        index = prepare_corpus(
            documents(),
            out,
            tokenizer,
            source=source,
            revision=options["revision"],
            validation_fraction=options["validation_fraction"],
            n_tokens_max=n_tokens_max,
            force=options["force"],
        )
    _show_index(str(out), index)


@corpus.command("show", epilog="Example: scaling corpus show synthetic:bits=7,seed=0")
@click.argument("name", metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_corpus(name: str, as_json: bool) -> None:
    """What the corpus NAME holds: tokens and bytes, or, for a synthetic language, its entropy."""
    from scaling.lm.corpus import ShardCorpus, SyntheticCorpus, load_corpus

    tell_preparation(name)
    loaded = load_corpus(name)
    if isinstance(loaded, SyntheticCorpus):
        entropy = loaded.language.entropy()
        facts: dict[str, Any] = {
            "name": loaded.name,
            "vocab_size": loaded.vocab_size,
            "n_words": loaded.language.n_words,
            "entropy_nats_per_token": entropy.value,
            "entropy_standard_error": entropy.standard_error,
            "fresh_entropy_nats_per_token": loaded.language.word_entropy / 2,
        }
    elif isinstance(loaded, ShardCorpus):
        show_json(loaded.index) if as_json else _show_index(name, loaded.index)
        return
    else:
        facts = {n: getattr(loaded, n) for n in ("name", "vocab_size", "n_tokens_unique")}
    if as_json:
        show_json(facts)
    else:
        show(Table(("", ""), [(k, f"{v:.6g}" if isinstance(v, float) else str(v)) for k, v in facts.items()]))


@corpus.command("check", epilog="Example: scaling corpus check data/stdlib")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Read every shard of FOLDER (or of stdlib, once it is prepared) and compare it with the index."""
    from scaling.lm.corpus import check_corpus
    from scaling.lm.corpus.corpora import stdlib_folder

    if str(folder) == "stdlib" and not folder.exists():
        folder = stdlib_folder()
    index = check_corpus(folder)
    n_shards = sum(len(s["shards"]) for s in index["splits"].values())
    say(tr("{folder}: {n} shards are as they were prepared", folder=folder, n=n_shards))


@corpus.command(
    "mixture", epilog="Example: scaling corpus mixture --share web:0.8:10B --share code:0.2:1B --tokens 20B"
)
@click.option(
    "--share",
    "shares",
    multiple=True,
    metavar="NAME:WEIGHT:TOKENS",
    help="name:weight:tokens, once per source; without it GPT-3's table.",
)
@click.option("--tokens", metavar="TOKENS", default="300B", show_default=True, help="Tokens of the run.")
@output_options()
def mixture(shares: tuple[str, ...], tokens: str, output: Output) -> None:
    """How many epochs of each source a mixture sees. Without --share: GPT-3's mixture, printed and recomputed."""
    from scaling.lm.corpus import count_epochs, gpt3_mixture
    from scaling.lm.corpus.windows import normalise
    from scaling.units import parse_tokens

    if not shares:
        rows = gpt3_mixture()
        told = [fields_of(r, also=("agrees",)) for r in rows]
        give(output, lambda: (_printed_mixture(rows),), lambda: {"mixture": told}, lambda: _frame(told))
        note(f"the printed weights sum to {sum(r.weight for r in rows):.2f} (Brown et al. 2020, table 2.2).")
        return
    parsed = [s.split(":") for s in shares]
    if any(len(p) != 3 for p in parsed):
        raise UsageError(f"a share reads name:weight:tokens, such as web:0.8:10B; got {', '.join(shares)}.")
    try:
        weights = normalise([float(p[1]) for p in parsed])
    except ValueError as error:
        given = ", ".join(p[1] for p in parsed)
        raise UsageError(
            f"--share: a weight is a number with a decimal point, such as 0.8; got {given}."
        ) from error
    sizes = [of_option("--share", parse_tokens, p[2]) for p in parsed]
    n_tokens = of_option("--tokens", parse_tokens, tokens)
    drawn = count_epochs(weights, sizes, n_tokens, names=[p[0] for p in parsed])
    give(
        output,
        lambda: (_mixture(drawn),),
        lambda: {"mixture": drawn},
        lambda: _frame([fields_of(share) for share in drawn]),
    )


def _frame(rows: list[dict[str, Any]]) -> DataFrame:
    """One row a source."""
    import pandas as pd

    return pd.DataFrame(rows)


def _printed_mixture(rows: Iterable[PrintedShare]) -> Block:
    from scaling.units import format_tokens

    headers = (
        tr("GPT-3 source"), tr("tokens"), tr("weight"), tr("printed"), tr("epochs"), tr("with rounding"), tr("agrees")
    )  # fmt: skip
    table = [
        (
            r.name,
            format_tokens(r.n_tokens_unique),
            f"{r.weight:.0%}",
            f"{r.epochs_printed:g}",
            f"{r.epochs:.3g}",
            tr("{low:.2f} to {high:.2f}", low=r.epochs_low, high=r.epochs_high),
            tr("yes") if r.agrees else tr("NO"),
        )
        for r in rows
    ]
    return Table(headers, table)


def _mixture(drawn: Iterable[MixtureShare]) -> Block:
    from scaling.units import format_tokens

    headers = (tr("source"), tr("weight"), tr("tokens drawn"), tr("tokens unique"), tr("epochs"))
    table = [
        (
            s.name,
            f"{s.weight:.1%}",
            format_tokens(s.n_tokens_drawn),
            format_tokens(s.n_tokens_unique),
            f"{s.epochs:.3g}",
        )
        for s in drawn
    ]
    return Table(headers, table)


def _show_index(name: str, index: Mapping[str, Any]) -> None:
    described = tr(
        "{name}: {i[vocab_size]} entries, tokenizer {i[tokenizer][hash]}, source {i[source]}",
        name=name,
        i=index,
    )
    headers = (tr("split"), tr("tokens"), tr("documents"), tr("bytes"), tr("bytes/token"), tr("shards"))
    rows = []
    for split, e in index["splits"].items():
        counts = [f"{e[name]:,}" for name in ("n_tokens", "n_documents", "n_bytes")]
        rows.append([split, *counts, f"{e['bytes_per_token']:.2f}", str(len(e["shards"]))])
    show(Text(described), Table(headers, rows))
    if "cut" in index:
        cut = index["cut"]
        note(
            f"too few texts ({cut['n_texts']}) to split whole: long ones were cut into pieces of at most "
            f"{cut['n_characters']} characters, at paragraphs where there are any, which are the documents here."
        )
    if index["n_empty_documents"]:
        note(f"{index['n_empty_documents']} empty documents were left out.")


def tell_preparation(name: str) -> None:
    """Say that the first use of the corpus "stdlib" takes a while."""
    from scaling.lm.corpus.corpora import stdlib_folder

    if name == "stdlib" and not (stdlib_folder() / "index.json").exists():
        note(f"preparing the corpus stdlib, once, in about 40 s → {stdlib_folder()}")
