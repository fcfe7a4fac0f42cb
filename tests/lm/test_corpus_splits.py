"""Few texts, and texts that cannot be read: prepared where it can be done, else said before the work."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_corpus import WORDS, make_documents

from scaling.cli import cli
from scaling.errors import DataError
from scaling.lm.corpus import Document, check_corpus, open_documents, prepare_corpus
from scaling.lm.corpus.prepare import cut_text, cut_where_few
from scaling.lm.tokenization import ByteTokenizer


def make_book(n_paragraphs: int = 300) -> str:
    rng = np.random.default_rng(0)
    return "\n\n".join(f"{i} " + " ".join(rng.choice(WORDS, 60)) for i in range(n_paragraphs))


def test_one_book_is_prepared_from_its_paragraphs(tmp_path: Path) -> None:
    book = make_book()
    (tmp_path / "book.txt").write_text(book)
    out = tmp_path / "corpus"
    command = ["corpus", "prepare", str(tmp_path / "book.txt"), "--tokenizer", "byte", "--out", str(out)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.exception
    assert "too few texts (1) to split whole" in " ".join(result.stderr.split())
    index = check_corpus(out)
    assert index["cut"] == {"n_characters": 512, "n_texts": 1}
    assert sum(split["n_bytes"] for split in index["splits"].values()) == len(book)
    assert all(split["n_documents"] > 0 for split in index["splits"].values())


def test_pieces_join_to_the_text_and_end_at_paragraphs() -> None:
    book = make_book()
    pieces = cut_text(book, 1000)
    assert "".join(pieces) == book
    assert max(map(len, pieces)) <= 1000
    assert all(piece.endswith("\n\n") for piece in pieces[:-1])
    assert cut_text("x" * 2500, 1000) == ["x" * 1000, "x" * 1000, "x" * 500]


def test_a_source_with_both_sides_is_not_cut_and_not_read_ahead(tmp_path: Path) -> None:
    n_read = 0

    def counted() -> Iterator[Document]:
        nonlocal n_read
        for document in make_documents(200):
            n_read += 1
            yield document

    documents, cut = cut_where_few(counted(), 0.3)
    assert cut is None
    assert n_read < 20
    assert list(documents) == make_documents(200)
    assert "cut" not in prepare_corpus(make_documents(200), tmp_path / "c", ByteTokenizer(), source="t")


@pytest.mark.parametrize("fraction", [1e-6, 0.999999])
def test_the_fraction_that_is_named_works(fraction: float, tmp_path: Path) -> None:
    short = make_documents(5)
    with pytest.raises(DataError, match=r"fell into the (train|validation) split \(5 documents") as failed:
        prepare_corpus(short, tmp_path / "a", ByteTokenizer(), source="t", validation_fraction=fraction)
    named = float(re.findall(r"--validation-fraction ([\d.]+\d)", str(failed.value))[0])
    prepare_corpus(short, tmp_path / "a", ByteTokenizer(), source="t", validation_fraction=named)


def test_one_short_text_is_refused_before_a_tokenizer_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "line.txt").write_text("to be or not to be")
    monkeypatch.setattr("scaling.lm.tokenization.train_bpe", None)
    command = ["corpus", "prepare", str(tmp_path / "line.txt"), "--out", str(tmp_path / "c")]
    result = CliRunner().invoke(cli, command)
    assert isinstance(result.exception, DataError)
    assert "no other fraction helps: give more text" in str(result.exception)


def test_a_gzip_cut_short_is_told_with_its_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [json.dumps({"text": " ".join(map(str, rng.integers(0, 10**9, 200)))}) for _ in range(200)]
    whole = gzip.compress("\n".join(lines).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=r"a\.jsonl\.gz cannot be read after line [1-9]\d+ \(Compressed file ended"
    ):
        list(open_documents(str(tmp_path / "a.jsonl.gz")))
    (tmp_path / "a.jsonl.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match="after line 0"):
        list(open_documents(str(tmp_path / "a.jsonl.gz")))


def test_half_a_surrogate_pair_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine \\ud83d\\ude00"}\n{"text": "bad \\ud800"}\n')
    with pytest.raises(DataError, match=r"line 2 of .*a\.jsonl holds half of a surrogate pair \(U\+D800\)"):
        list(open_documents(str(tmp_path / "a.jsonl")))
