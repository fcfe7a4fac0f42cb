"""What names a corpus: every id of it counts, where it lies does not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_corpus import make_documents

from scaling.errors import DataError
from scaling.lm.corpus import Document, TokenFileCorpus, load_corpus, prepare_corpus, shards
from scaling.lm.corpus.prepare import document_fraction
from scaling.lm.tokenization import ByteTokenizer


def prepare(folder: Path, *, change: bool = False) -> Path:
    """A corpus; with `change` one letter of one training document is another, and nothing else."""
    documents = make_documents(60)
    if change:
        changed = next(
            text
            for d in documents
            if document_fraction(d.text.encode()) >= 0.3
            and document_fraction((text := d.text.replace("the", "thy")).encode()) >= 0.3
        )
        documents = [
            Document(text=changed, origin=d.origin) if d.text.replace("the", "thy") == changed else d
            for d in documents
        ]
    prepare_corpus(documents, folder, ByteTokenizer(), source="t", validation_fraction=0.3, force=True)
    return folder


def test_one_letter_of_the_training_text_changes_the_fingerprint(tmp_path: Path) -> None:
    one, other = load_corpus(prepare(tmp_path / "a")), load_corpus(prepare(tmp_path / "b", change=True))
    assert one.n_tokens_unique == other.n_tokens_unique
    validation = [c.validation_windows(16).windows(0, 20) for c in (one, other)]
    assert (validation[0] == validation[1]).all()
    assert one.fingerprint != other.fingerprint


def test_a_copy_under_another_name_has_the_same_fingerprint(tmp_path: Path) -> None:
    one = load_corpus(prepare(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert load_corpus(tmp_path / "b").fingerprint == one.fingerprint


def test_parameters_and_weights_change_the_fingerprint() -> None:
    names = ("synthetic:bits=5", "synthetic:bits=6", "synthetic:bits=5,seed=1")
    mixtures = (
        "0.5*synthetic:bits=5+0.5*synthetic:bits=5,seed=1",
        "2*synthetic:bits=5+1*synthetic:bits=5,seed=1",
    )
    assert len({load_corpus(name).fingerprint for name in (*names, *mixtures)}) == 5
    doubled = load_corpus("4*synthetic:bits=5+2*synthetic:bits=5,seed=1")
    assert doubled.fingerprint == load_corpus(mixtures[1]).fingerprint


def test_one_id_of_a_token_file_changes_the_fingerprint(tmp_path: Path) -> None:
    ids = (np.arange(500) % 97).astype("<u2")
    files = {"train": (tmp_path / "train.bin",), "validation": (tmp_path / "val.bin",)}
    ids.tofile(tmp_path / "train.bin")
    ids.tofile(tmp_path / "val.bin")
    corpus = TokenFileCorpus(**files, vocab_size=97, dtype="uint16")
    before = corpus.fingerprint
    ids[250] += 1
    ids.tofile(tmp_path / "train.bin")
    # two writes may fall into one tick of the file system's clock
    os.utime(tmp_path / "train.bin", ns=(0, 0))
    assert corpus.fingerprint != before


def test_a_run_does_not_go_on_with_another_training_text(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from test_training import TINY, make_spec

    from scaling.lm.run import TrainingOptions
    from scaling.lm.training import train

    data = prepare(tmp_path / "data")
    spec = make_spec(architecture=TINY.replace(vocab_size=257), corpus=str(data), n_eval_windows=8)
    stop = TrainingOptions(device="cpu", stop_after_step=5)
    assert train(spec, tmp_path / "run", options=stop).status == "preempted"
    n_tokens = json.loads((data / "index.json").read_text())["splits"]["train"]["n_tokens"]
    prepare(data, change=True)
    assert json.loads((data / "index.json").read_text())["splits"]["train"]["n_tokens"] == n_tokens
    with pytest.raises(DataError, match=r"is not the one .* was trained on"):
        train(spec, tmp_path / "run", options=TrainingOptions(device="cpu"))


def flip_one_byte(shard: Path) -> None:
    body = bytearray(shard.read_bytes())
    body[2000] ^= 1
    shard.write_bytes(body)


@pytest.mark.parametrize("opened_before", [False, True])
def test_a_flipped_byte_is_noticed_when_the_corpus_is_opened(opened_before: bool, tmp_path: Path) -> None:
    corpus = load_corpus(prepare(tmp_path))
    if opened_before:
        corpus.training_windows(16, seed=0)
    flip_one_byte(tmp_path / "train_000000.bin")
    os.utime(tmp_path / "train_000000.bin", ns=(0, 0))
    with pytest.raises(DataError, match=r"train_000000\.bin is not the file that was prepared"):
        corpus.training_windows(16, seed=0)


def test_sound_shards_are_read_once_and_their_copies_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_corpus(prepare(tmp_path / "a")).training_windows(16, seed=0)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    read: list[Path] = []
    monkeypatch.setattr(shards, "hash_file", lambda path, skip: read.append(path))
    load_corpus(tmp_path / "a").training_windows(16, seed=0)
    assert read == []
    with pytest.raises(DataError):  # this stand-in for the hash finds nothing sound
        load_corpus(tmp_path / "b").training_windows(16, seed=0)
    assert read == [tmp_path / "b" / "train_000000.bin"]
