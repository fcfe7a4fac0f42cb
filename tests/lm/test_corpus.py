"""Documents → shards → windows → mixtures; and what is said when a file is wrong."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_array_equal

from scaling.cli.corpus import corpus as corpus_command
from scaling.errors import DataError, UsageError
from scaling.lm.corpus import (
    Document,
    MixtureWindows,
    StreamWindows,
    SyntheticLanguage,
    SyntheticWindows,
    TokenFileCorpus,
    TokenStream,
    check_corpus,
    count_epochs,
    gpt3_mixture,
    load_corpus,
    open_documents,
    open_shard,
    prepare_corpus,
)
from scaling.lm.corpus.documents import left_out
from scaling.lm.corpus.prepare import document_fraction
from scaling.lm.corpus.shards import ShardWriter
from scaling.lm.tokenization import ByteTokenizer, Tokenizer, save_tokenizer, train_bpe

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "hum",
]


def make_documents(n: int = 200, seed: int = 0) -> list[Document]:
    rng = np.random.default_rng(seed)
    return [Document(text=f"{i}: " + " ".join(rng.choice(WORDS, 30)), origin=str(i)) for i in range(n)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "corpus"
    prepare_corpus(
        make_documents(), path, ByteTokenizer(), source="test", validation_fraction=0.1, n_shard_tokens=5000
    )
    return path


def test_prepared_tokens_are_the_documents_in_order(folder: Path) -> None:
    corpus = load_corpus(folder)
    expected: dict[str, list[int]] = {"train": [], "validation": []}
    for document in make_documents():
        split = "validation" if document_fraction(document.text.encode()) < 0.1 else "train"
        expected[split] += [*document.text.encode(), 256]
    for split, ids in expected.items():
        stream = corpus.stream(split)
        assert_array_equal(stream.read(0, stream.n_tokens), ids)
    assert len(corpus.stream("train").shards) > 3
    entry = corpus.index["splits"]["train"]
    assert entry["bytes_per_token"] == pytest.approx(
        (entry["n_tokens"] - entry["n_documents"]) / entry["n_tokens"]
    )
    check_corpus(folder)


def test_adding_documents_moves_none_between_splits(tmp_path: Path) -> None:
    documents = make_documents(100)
    fractions = [document_fraction(d.text.encode()) for d in documents]
    assert 2 <= sum(f < 0.1 for f in fractions) <= 20  # binomial(100, .1), 2.7 standard deviations
    for name, docs in (("a", documents), ("b", list(reversed(make_documents(100) + documents)))):
        prepare_corpus(docs, tmp_path / name, ByteTokenizer(), source="t", validation_fraction=0.1)
    texts = []
    for name in "ab":
        stream = load_corpus(tmp_path / name).stream("validation")
        texts.append(set(ByteTokenizer().decode(stream.read(0, stream.n_tokens)).split("<|endoftext|>")))
    assert texts[0] == texts[1]


def test_shard_header_is_the_published_format(folder: Path) -> None:
    header = np.fromfile(folder / "train_000000.bin", dtype="<i4", count=256)
    ids = open_shard(folder / "train_000000.bin")
    assert (header[0], header[1], header[2]) == (20240520, 1, len(ids))
    assert (folder / "train_000000.bin").stat().st_size == 1024 + 2 * len(ids)


def test_windows_cover_each_epoch_once_and_any_batch_is_computable_alone() -> None:
    stream = TokenStream([np.arange(0, 70), np.arange(70, 205)], vocab_size=1000, name="t")
    windows = StreamWindows(stream=stream, context_length=10, seed=3)
    assert windows.n_windows == 20
    epoch = windows.windows(0, 20)
    assert_array_equal(np.sort(epoch[:, 0]), np.arange(0, 200, 10))
    assert_array_equal(epoch - epoch[:, :1], np.tile(np.arange(11), (20, 1)))
    assert_array_equal(windows.windows(13, 20)[:7], epoch[13:])  # across the epoch boundary
    assert (windows.windows(20, 20)[:, 0] != epoch[:, 0]).any()
    assert_array_equal(np.sort(windows.windows(20, 20)[:, 0]), np.arange(0, 200, 10))
    other = StreamWindows(stream=stream, context_length=10, seed=4)
    assert (other.windows(0, 20) != epoch).any()


def test_mixture_counts_are_exact_and_within_source_numbers_run_without_gaps() -> None:
    language = SyntheticLanguage(bits=3)
    sources = tuple(SyntheticWindows(language=language, context_length=4, stream=s) for s in range(3))
    mixture = MixtureWindows(sources=sources, weights=(5, 3, 2), seed=1)
    source, numbers = mixture.draws(0, 2**20)
    counts = np.bincount(source)
    assert np.abs(counts - 2**20 * np.array([0.5, 0.3, 0.2])).max() <= 16  # 1 per block of 65536
    for s in range(3):
        assert_array_equal(np.sort(numbers[source == s]), np.arange(counts[s]))
    later, later_numbers = mixture.draws(70_000, 10)
    assert_array_equal(later, source[70_000:70_010])
    row = mixture.windows(70_000, 10)[4]
    assert_array_equal(row, sources[later[4]].windows(int(later_numbers[4]), 1)[0])
    chunk = np.bincount(source[:1000], minlength=3)
    assert np.abs(chunk - [500, 300, 200]).max() < 50  # mixed well within a block: 3 standard deviations


def test_gpt3_mixture_as_printed_and_recomputed() -> None:
    rows = gpt3_mixture()
    assert sum(r.weight for r in rows) == pytest.approx(1.01)
    assert [round(r.epochs, 3) for r in rows] == [0.439, 3.474, 2.0, 0.436, 3.0]
    assert [r.name for r in rows if not r.agrees] == ["WebText2"]
    shares = count_epochs([r.weight for r in rows], [r.n_tokens_unique for r in rows], 300e9)
    assert [s.epochs for s in shares] == [r.epochs for r in rows]


def test_text_jsonl_and_parquet_give_the_same_documents(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    texts = ["uno dos", "tres cuatro ñ", ""]
    for i, text in enumerate(texts):
        (tmp_path / f"t{i}.txt").write_text(text, encoding="utf-8")
    with gzip.open(tmp_path / "t.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"body": t}) + "\n" for t in texts)
    parquet.write_table(pyarrow.table({"body": texts}), tmp_path / "t.parquet")
    assert [d.text for i in range(3) for d in open_documents(str(tmp_path / f"t{i}.txt"))] == texts
    assert [d.text for d in open_documents(str(tmp_path / "t.jsonl.gz"), field="body")] == texts
    assert [d.text for d in open_documents(str(tmp_path / "t.parquet"), field="body")] == texts
    with pytest.raises(DataError, match="it has body"):
        list(open_documents(str(tmp_path / "t.parquet")))
    with pytest.raises(DataError, match=r"line 1 of .* has no 'text'"):
        list(open_documents(str(tmp_path / "t.jsonl.gz")))


def test_standard_library_is_a_source() -> None:
    documents = open_documents("stdlib")
    origins = [next(documents).origin for _ in range(20)]
    assert origins == sorted(origins)
    assert not any("test" in o.split("/") for o in origins)


def test_token_files_of_other_projects_are_read(tmp_path: Path) -> None:
    ids = np.arange(500) % 97
    ids.astype("<u2").tofile(tmp_path / "train.bin")
    np.save(tmp_path / "val.npy", ids.astype(np.int32))
    corpus = TokenFileCorpus(
        train=(tmp_path / "train.bin",), validation=(tmp_path / "val.npy",), vocab_size=97, dtype="uint16"
    )
    assert corpus.n_tokens_unique == 500
    assert corpus.training_windows(9, seed=0).windows(0, 4).shape == (4, 10)
    assert corpus.validation_windows(9).windows(0, 1).max() < 97


def test_wrong_vocabulary_is_noticed_when_read(tmp_path: Path) -> None:
    np.arange(500).astype("<u2").tofile(tmp_path / "train.bin")
    corpus = TokenFileCorpus(train=(tmp_path / "train.bin",), validation=(), vocab_size=97, dtype="uint16")
    with pytest.raises(DataError, match="outside its vocabulary of 97"):
        corpus.training_windows(9, seed=0).windows(0, 55)


def test_damaged_shards_say_so(folder: Path) -> None:
    shard = folder / "train_000001.bin"
    body = shard.read_bytes()
    shard.write_bytes(body[:-10])
    with pytest.raises(DataError, match="cut short"):
        load_corpus(folder).stream("train")
    shard.write_bytes(b"\1" + body[1:])
    with pytest.raises(DataError, match="magic number 20240520"):
        open_shard(shard)
    shard.write_bytes(body[:-2] + b"\0\0")
    with pytest.raises(DataError, match="not the file that was prepared"):
        check_corpus(folder)
    shard.unlink()
    with pytest.raises(DataError, match="is not there"):
        load_corpus(folder).stream("train")
    (folder / "index.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        load_corpus(folder)


def test_preparing_refuses_what_cannot_be_right(tmp_path: Path, folder: Path) -> None:
    empty = [Document(text="", origin="0")]
    with pytest.raises(DataError, match="1 documents, all empty"):
        prepare_corpus(empty, tmp_path / "a", ByteTokenizer(), source="t")
    with pytest.raises(DataError, match="no document fell into the validation split"):
        prepare_corpus(
            make_documents(2), tmp_path / "a", ByteTokenizer(), source="t", validation_fraction=1e-6
        )
    assert not (tmp_path / "a").exists()
    with pytest.raises(UsageError, match="--force"):
        prepare_corpus(make_documents(), folder, ByteTokenizer(), source="t")
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="will not be replaced"):
        prepare_corpus(make_documents(), precious, ByteTokenizer(), source="t", force=True)
    (precious / "index.json").write_text('{"site": "mine"}')
    with pytest.raises(UsageError, match="holds no corpus; it will not be replaced"):
        prepare_corpus(make_documents(), precious, ByteTokenizer(), source="t", force=True)
    (folder / "notes.md").write_text("x")
    with pytest.raises(UsageError, match=r"more than a corpus \(notes\.md\); it will not be replaced"):
        prepare_corpus(make_documents(), folder, ByteTokenizer(), source="t", force=True)
    (folder / "notes.md").unlink()
    assert (precious / "thesis.tex").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_another_tokenizer_beside_the_shards_is_refused(folder: Path) -> None:
    """Its bytes and its text would be wrong, and nothing would say so."""
    other = train_bpe(["low low lower lowest"], 260)
    save_tokenizer(other, folder / "tokenizer.json")
    for look in (check_corpus, lambda f: load_corpus(f).tokenizer):
        with pytest.raises(DataError, match="is not the tokenizer this corpus was prepared with"):
            look(folder)


@pytest.mark.parametrize("missing", ["splits", "vocab_size", "tokenizer"])
def test_an_index_without_what_is_needed_is_damaged(folder: Path, missing: str) -> None:
    index = json.loads((folder / "index.json").read_text())
    del index[missing]
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=rf"index\.json is damaged: KeyError\('{missing}'\)"):
        check_corpus(folder)


def test_preparing_stops_after_the_document_that_reaches_the_limit(tmp_path: Path) -> None:
    documents = [
        Document(text=f"{i:03d}" * 10, origin=str(i)) for i in range(300)
    ]  # 31 tokens each, one batch and more
    index = prepare_corpus(
        documents, tmp_path / "a", ByteTokenizer(), source="t", n_tokens_max=1000, validation_fraction=0.3
    )
    assert sum(split["n_tokens"] for split in index["splits"].values()) == 33 * 31


def test_text_files_keep_their_line_ends_and_lose_their_mark(tmp_path: Path) -> None:
    (tmp_path / "A.TXT").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    (tmp_path / "b.html").write_text("not read")
    (tmp_path / "c.JSONL").write_bytes(b'\xef\xbb\xbf{"text": "four\\r\\n"}\n')
    assert [d.text for d in open_documents(str(tmp_path))] == ["one\r\ntwo\rthree\n", "four\r\n"]
    assert left_out(str(tmp_path)) == {".html": 1}


def test_a_validation_block_of_a_mixture_has_no_window_twice(tmp_path: Path) -> None:
    """Windows read again once made its standard error too small, by the root of the repeats."""
    small, large = (tmp_path / n for n in ("small", "large"))
    prepare_corpus(make_documents(60), small, ByteTokenizer(), source="t", validation_fraction=0.3)
    prepare_corpus(make_documents(600), large, ByteTokenizer(), source="t", validation_fraction=0.3)
    windows = load_corpus(f"0.5*{small}+0.5*{large}").validation_windows(16)
    n = windows.n_windows
    assert n is not None
    source, number = windows.draws(0, n)  # type: ignore[attr-defined]
    assert len(set(zip(source.tolist(), number.tolist()))) == n
    alone = load_corpus(small).validation_windows(16).n_windows
    assert abs(np.count_nonzero(source == 0) - alone) <= 1  # the small source is read once
    assert np.array_equal(windows.windows(3, 5), windows.windows(0, 8)[3:])
    with pytest.raises(UsageError, match="below 1 window in 65536"):
        _ = load_corpus(f"0.000001*{small}+1*{large}").training_windows(16, seed=0).quotas  # type: ignore[attr-defined]


def test_uint16_shards_refuse_larger_vocabularies(tmp_path: Path) -> None:
    class Large(ByteTokenizer):
        vocab_size = 70_000  # type: ignore[assignment]

    large: Tokenizer = Large()
    with pytest.raises(UsageError, match="65536"):
        prepare_corpus(make_documents(), tmp_path / "a", large, source="t")
    out = CliRunner().invoke(
        corpus_command, ["prepare", "nowhere", "--out", str(tmp_path), "--vocab-size", "65537"]
    )
    assert "at most 65536 entries; the vocabulary has 65537" in str(out.exception)  # before anything is read


@pytest.mark.parametrize("bad", [65_536, 128_000, -1])
def test_an_id_that_a_shard_cannot_hold_is_not_written_as_another(bad: int, tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "a.bin")
    for ids in ([1, bad], np.array([1, bad])):
        with pytest.raises(DataError, match=rf"uint16 ids, 0 to 65535; got {bad}"):
            writer.write(ids)
    writer.write([0, 65_535])
    writer.close()
    assert open_shard(tmp_path / "a.bin").tolist() == [0, 65_535]


def test_an_index_that_names_a_larger_vocabulary_than_its_shards_hold_is_refused(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**index, "vocab_size": 65_537}))
    with pytest.raises(DataError, match="vocabulary of 65537, but its shards hold uint16 ids"):
        load_corpus(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synthetic:bits=x", "synthetic:bits=7,seed=0"),
        ("nowhere", "no corpus 'nowhere'"),
        ("0.5*synthetic+x", "weight"),
    ],
)
def test_unknown_corpora_are_explained(name: str, message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        load_corpus(name)


def test_bytes_of_targets_count_text_not_separators(tmp_path: Path) -> None:
    documents = make_documents()
    tokenizer = train_bpe((d.text for d in documents), 300)
    prepare_corpus(documents, tmp_path / "c", tokenizer, source="t", validation_fraction=0.2)
    corpus = load_corpus(tmp_path / "c")
    stream = corpus.stream("validation")
    assert (
        corpus.count_bytes(stream.read(0, stream.n_tokens)) == corpus.index["splits"]["validation"]["n_bytes"]
    )


def test_corpora_do_not_import_torch() -> None:
    import subprocess

    code = "import sys, scaling.lm.corpus, scaling.lm.tokenization; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bytes_of_a_mixture_are_counted_only_where_all_sources_share_a_tokenizer(
    folder: Path, tmp_path: Path
) -> None:
    """Ids of a token file may be those of another tokenizer: its bytes are not known, whichever comes first."""
    (tmp_path / "ids").mkdir()
    for name in ("train", "val"):
        (np.arange(4000) % 250).astype("<u2").tofile(tmp_path / "ids" / f"{name}.bin")
    other = tmp_path / "other"
    prepare_corpus(
        [Document(text=f"another text {i} " * 20, origin=str(i)) for i in range(40)],
        other, ByteTokenizer(), source="t", validation_fraction=0.3,
    )  # fmt: skip
    vocab_size = load_corpus(folder).vocab_size
    ids = f"tokens:{tmp_path / 'ids'},dtype=uint16,vocab={vocab_size}"
    targets = np.full((2, 8), 97)  # of bytes, each target is one
    for first, second in ((folder, ids), (ids, folder)):
        assert load_corpus(f"0.5*{first}+0.5*{second}").count_bytes(targets) is None
    assert load_corpus(f"0.5*{folder}+0.5*{other}").count_bytes(targets) == 16


def test_a_replacement_stopped_between_its_two_moves_leaves_the_old_corpus(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    move = os.replace

    def stopped_at_the_second(source: Path, target: Path) -> None:
        if target == folder and source.name.endswith(".tmp"):
            raise KeyboardInterrupt
        move(source, target)

    monkeypatch.setattr(os, "replace", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        prepare_corpus(
            make_documents(seed=1), folder, ByteTokenizer(), source="t", validation_fraction=0.1, force=True
        )
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
