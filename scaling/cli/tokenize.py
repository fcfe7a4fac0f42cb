"""scaling tokenize: train a vocabulary, use it, watch it work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.blocks import Blocks, Code, Fields, Section, Table, Text
from scaling.cli.help import Group
from scaling.cli.output import Output, give, output_options
from scaling.cli.progress import waiting_for
from scaling.errors import UsageError
from scaling.render.terminal import note, say, show_json, stream
from scaling.translation import tr

if TYPE_CHECKING:
    from pandas import DataFrame

FIRST_MERGES, FIRST_IDS = 6, 40  # of a first screen


@click.group(
    cls=Group,
    epilog="Example: scaling tokenize explain 'Ellos jugaban basketball' --text-file book.txt --vocab-size 400",
)
def tokenize() -> None:
    """Train tokenizers, encode and decode text, and see every merge."""


@tokenize.command(
    "train", epilog="Example: scaling tokenize train stdlib --vocab-size 4096 --out tokenizer.json"
)
@click.argument("source")
@click.option("--vocab-size", type=int, metavar="N", help="Entries of a bpe vocabulary; 4096 when left out.")
@click.option(
    "--kind",
    type=click.Choice(["bpe", "char"]),
    default="bpe",
    show_default=True,
    help="Pairs of bytes, or characters.",
)
@click.option(
    "--field",
    metavar="COLUMN",
    default="text",
    show_default=True,
    help="Column of JSONL or Parquet that holds the text.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE.json", help="Tokenizer to write."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def train(source: str, vocab_size: int | None, kind: str, field: str, out: Path, force: bool) -> None:
    """Learn a vocabulary from SOURCE: stdlib, a text file or folder, JSONL, Parquet, hf:owner/name."""
    from scaling.lm.corpus import open_documents
    from scaling.lm.tokenization import CharTokenizer, save_tokenizer, train_bpe

    if out.exists() and not force:
        raise UsageError(f"{out} exists; pass --force to replace it.")
    if kind == "char" and vocab_size is not None:
        raise UsageError(
            "--vocab-size is for --kind bpe: a char vocabulary has one entry for every character of the text."
        )
    vocab_size = 4096 if vocab_size is None else vocab_size
    texts = (document.text for document in open_documents(source, field=field))
    with waiting_for(tr("learning {n} entries", n=vocab_size)):
        tokenizer: Any = train_bpe(texts, vocab_size) if kind == "bpe" else CharTokenizer.train(texts)
    save_tokenizer(tokenizer, out)
    say(tr("{out}: {n} entries, hash {hash}", out=out, n=tokenizer.vocab_size, hash=tokenizer.hash))
    if kind == "bpe" and tokenizer.vocab_size < vocab_size:
        note(
            f"the text has no more pairs that occur twice: {tokenizer.vocab_size} entries, not {vocab_size}."
        )


@tokenize.command(
    "encode", epilog="Example: scaling tokenize encode 'hello world' --tokenizer tokenizer.json"
)
@click.argument("text", required=False)
@click.option(
    "--tokenizer",
    "path",
    metavar="FILE",
    default="byte",
    show_default=True,
    help="A tokenizer file or folder, or byte.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def encode(text: str | None, path: str, as_json: bool) -> None:
    """Ids of TEXT (of standard input when left out)."""
    from scaling.lm.tokenization import load_tokenizer, require_utf8

    text = _standard_input() if text is None else text
    require_utf8(text)
    tokenizer = load_tokenizer(path)
    ids = tokenizer.encode(text)
    if as_json:
        n_bytes = len(text.encode())
        show_json(
            {
                "ids": ids,
                "pieces": tokenizer.pieces(text),
                "n_bytes": n_bytes,
                "bytes_per_token": n_bytes / len(ids) if ids else None,
                "tokenizer_hash": tokenizer.hash,
            }
        )
    else:
        say(" ".join(map(str, ids)))


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is not UTF-8 at byte {error.start}; convert it first (iconv -t UTF-8)."
        ) from error


@tokenize.command("decode", epilog="Example: scaling tokenize decode 104 105 --tokenizer byte")
@click.argument("ids", type=int, nargs=-1, required=True)
@click.option(
    "--tokenizer",
    "path",
    metavar="FILE",
    default="byte",
    show_default=True,
    help="A tokenizer file or folder, or byte.",
)
def decode(ids: tuple[int, ...], path: str) -> None:
    """Text of IDS."""
    from scaling.lm.tokenization import load_tokenizer

    stream(load_tokenizer(path).decode(ids), end="\n")


@tokenize.command("explain", epilog="Example: scaling tokenize explain 'low lower lowest' --vocab-size 262")
@click.argument("text")
@click.option(
    "--tokenizer",
    "path",
    metavar="FILE",
    help="A byte-pair tokenizer; without it one is trained on the text itself.",
)
@click.option(
    "--text-file", metavar="FILE", type=click.Path(path_type=Path), help="Train on this file instead."
)
@click.option(
    "--vocab-size",
    type=int,
    default=280,
    show_default=True,
    metavar="N",
    help="Entries of the tokenizer that is trained.",
)
@output_options("merges", "steps")
def explain(text: str, path: str | None, text_file: Path | None, vocab_size: int, output: Output) -> None:
    """Show how TEXT becomes tokens: the merges that are learnt, and then each word from its bytes to its tokens."""
    from scaling.lm.corpus import open_documents
    from scaling.lm.tokenization import BytePairTokenizer, load_tokenizer, require_utf8, train_bpe

    require_utf8(text)
    merges: list[Any] = []
    if path is None:
        training_text = "".join(d.text for d in open_documents(str(text_file))) if text_file else text
        merges = _merges(training_text, vocab_size)
        tokenizer = train_bpe([training_text], vocab_size, engine="python")
    else:
        loaded = load_tokenizer(path)
        if not isinstance(loaded, BytePairTokenizer):
            raise UsageError(f"{path} is a {loaded.kind} tokenizer: it has no merges to explain.")
        tokenizer = loaded
    told = {"ids": tokenizer.encode(text), "pieces": tokenizer.pieces(text), "n_bytes": len(text.encode())}
    give(
        output,
        lambda: _explanation(tokenizer, text, merges),
        lambda: {"kind": "tokenize_explanation", **told, "merges": _merge_rows(merges)},
        lambda: _merge_frame(merges),
    )


def _merges(text: str, vocab_size: int) -> list[Any]:
    """The steps of training that joined a pair found at least twice."""
    from scaling.lm.tokenization import trace_training

    return [s for s in trace_training([text], max(0, vocab_size - 257)) if s.count >= 2]


def _merge_rows(merges: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "step": i, "left": _quoted(s.left), "right": _quoted(s.right), "piece": _quoted(s.left + s.right),
            "count": s.count, "id": s.token,
        }
        for i, s in enumerate(merges, start=1)
    ]  # fmt: skip


def _merge_frame(merges: list[Any]) -> DataFrame:
    """One row a merge."""
    import pandas as pd

    return pd.DataFrame(_merge_rows(merges), columns=["step", "left", "right", "piece", "count", "id"])


def _explanation(tokenizer: Any, text: str, merges: list[Any]) -> Blocks:
    """The tokens, then the first merges; all merges, and every step of the encoding, as sections."""
    ids = tokenizer.encode(text)
    size = tr("{n} for {n_bytes} bytes", n=len(ids), n_bytes=len(text.encode()))
    pieces = " | ".join(_quoted(tokenizer.token_bytes(i)) for i in ids[:FIRST_IDS])
    numbers = " ".join(map(str, ids[:FIRST_IDS]))
    more = " ..." if len(ids) > FIRST_IDS else ""
    learnt = tr("merges learnt, most frequent pair first (ties: smaller ids)")
    all_merges = Section("merges", tr("Merges"), lambda: (Text(learnt), _merge_table(merges)))
    first = (Text(learnt), _merge_table(merges[:FIRST_MERGES])) if merges else ()
    return (
        Fields([(tr("pieces"), pieces + more), (tr("ids"), numbers + more), (tr("tokens"), size)], indent=0),
        *first,
        *((all_merges,) if merges else ()),
        Section(
            "steps",
            tr("Encoding, one merge a line, earliest-learnt merge first"),
            lambda: (Code("\n".join(_encoding(tokenizer, text))),),
        ),
    )


def _merge_table(merges: list[Any]) -> Table:
    rows = [tuple(map(str, row.values())) for row in _merge_rows(merges)]
    headers = (tr("step"), tr("left"), tr("right"), tr("piece"), tr("count"), "id")
    return Table(headers, rows, left=4)


def _encoding(tokenizer: Any, text: str) -> Iterator[str]:
    from scaling.lm.tokenization import trace_encoding

    for step in trace_encoding(tokenizer, text):
        why = tr("bytes") if step.merge is None else tr("merge {n}", n=int(step.rank or 0) + 1)
        yield f"  {why:>10}  " + " | ".join(_quoted(piece) for piece in step.pieces)


def _quoted(piece: bytes) -> str:
    return piece.decode("utf-8", errors="backslashreplace").replace(" ", "␣").replace("\n", "⏎")
