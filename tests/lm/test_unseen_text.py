"""No run is measured on text it is trained on: in every kind of corpus, in the block that is evaluated, in a whole run."""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from small_runs import TINY, make_spec

from scaling.lm.corpus import Document, load_corpus, prepare_corpus
from scaling.lm.corpus.corpora import VALIDATION_SEED
from scaling.lm.corpus.shards import ShardWriter
from scaling.lm.evaluation import load_validation_block
from scaling.lm.run import TrainingOptions
from scaling.lm.tokenization import ByteTokenizer
from scaling.lm.training import train, train_packed

CONTEXT = 16
SHARE = 0.3  # of documents in validation


def letters(split: str) -> set[int]:
    return set(range(16)) if split == "train" else set(range(16, 32))


def write_tokens(folder: Path, kind: str, *, cycle: bool = False) -> str:
    """Token files whose two splits share no id."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, name in (("train", "train"), ("validation", "val")):
        ids = rng.choice(sorted(letters(split)), 4000).astype("<u2")
        if cycle and split == "train":
            ids = (np.arange(4000) % 16).astype("<u2")
        if kind == "npy":
            np.save(folder / f"{name}.npy", ids)
        elif kind == "llm.c":
            writer = ShardWriter(folder / f"{name}.bin")
            writer.write(ids)
            writer.close()
        else:
            ids.tofile(folder / f"{name}.bin")
    return f"tokens:{folder},vocab=32"


def goes_to_validation(text: str) -> bool:
    """The rule written in every index.json."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64 < SHARE


def prepare(folder: Path, mark: str) -> tuple[str, dict[str, set[str]]]:
    """A prepared corpus, and the documents that belong to each split by that rule; no document is part of another."""
    texts = [f"<{mark}{i:03d}{sha256(f'{mark}{i}'.encode()).hexdigest()}>" for i in range(120)]
    documents = [Document(text=text, origin=text[:5]) for text in texts]
    prepare_corpus(documents, folder, ByteTokenizer(), source="t", validation_fraction=SHARE)
    held = {"validation": {t for t in texts if goes_to_validation(t)}}
    return str(folder), held | {"train": set(texts) - held["validation"]}


@pytest.mark.parametrize("kind", ["headerless", "llm.c", "npy"])
def test_windows_of_token_files_come_from_the_file_of_their_split(kind: str, tmp_path: Path) -> None:
    corpus = load_corpus(write_tokens(tmp_path, kind))
    for seed in (0, 1, VALIDATION_SEED):
        trained = corpus.training_windows(CONTEXT, seed=seed)
        assert set(trained.windows(0, 3 * (trained.n_windows or 0)).ravel().tolist()) == letters("train")
    held = corpus.validation_windows(CONTEXT)
    assert set(held.windows(0, held.n_windows or 0).ravel().tolist()) == letters("validation")


def documents_in(windows: np.ndarray) -> set[str]:
    """The openings `<a012` of documents that windows of bytes hold."""
    text = "\n".join("".join(chr(i) if i < 256 else "\n" for i in row) for row in windows.tolist())
    return {part[:4] for part in text.split("<")[1:] if len(part.split("\n")[0]) >= 4}


def test_windows_of_a_prepared_corpus_come_from_the_documents_of_their_split(tmp_path: Path) -> None:
    name, held = prepare(tmp_path / "a", "a")
    corpus = load_corpus(name)
    openings = {split: {text[1:5] for text in texts} for split, texts in held.items()}
    trained, measured = corpus.training_windows(64, seed=VALIDATION_SEED), corpus.validation_windows(64)

    assert documents_in(trained.windows(0, trained.n_windows or 0)) <= openings["train"]
    seen = documents_in(measured.windows(0, measured.n_windows or 0))
    assert seen <= openings["validation"]
    assert len(seen) > 20  # of about 36


def test_windows_of_a_mixture_come_from_the_documents_of_their_split(tmp_path: Path) -> None:
    (a, held_a), (b, held_b) = prepare(tmp_path / "a", "a"), prepare(tmp_path / "b", "b")
    corpus = load_corpus(f"0.5*{a}+0.5*{b}")
    openings = {split: {text[1:5] for text in held_a[split] | held_b[split]} for split in held_a}

    assert (
        documents_in(corpus.training_windows(64, seed=VALIDATION_SEED).windows(0, 200)) <= openings["train"]
    )
    measured = corpus.validation_windows(64)
    seen = documents_in(measured.windows(0, measured.n_windows or 0))
    assert seen <= openings["validation"]
    assert {name[0] for name in seen} == {"a", "b"}


def test_windows_of_the_synthetic_language_are_never_trained_on() -> None:
    corpus = load_corpus("synthetic:bits=4")
    measured = {row.tobytes() for row in corpus.validation_windows(CONTEXT).windows(0, 500)}
    for seed in (0, 1, VALIDATION_SEED):
        trained = corpus.training_windows(CONTEXT, seed=seed).windows(0, 2000)
        assert measured.isdisjoint({row.tobytes() for row in trained})


@pytest.mark.parametrize("kind", ["token files", "prepared", "mixture", "synthetic"])
def test_the_block_that_is_evaluated_is_of_validation_windows(kind: str, tmp_path: Path) -> None:
    names = {
        "token files": lambda: write_tokens(tmp_path / "t", "npy"),
        "prepared": lambda: prepare(tmp_path / "a", "a")[0],
        "mixture": lambda: f"0.4*{prepare(tmp_path / 'a', 'a')[0]}+0.6*{prepare(tmp_path / 'b', 'b')[0]}",
        "synthetic": lambda: "synthetic:bits=4",
    }
    corpus = load_corpus(names[kind]())
    block = load_validation_block(corpus, CONTEXT, 20)

    assert np.array_equal(block.ids, corpus.validation_windows(CONTEXT).windows(0, 20))
    for seed in (0, VALIDATION_SEED):
        trained = corpus.training_windows(CONTEXT, seed=seed).windows(0, 2000)
        assert {r.tobytes() for r in block.ids}.isdisjoint({r.tobytes() for r in trained})


@pytest.mark.parametrize("packed", [False, True])
def test_a_run_that_knows_its_training_text_by_heart_is_not_good_at_other_text(
    packed: bool, tmp_path: Path
) -> None:
    """Trained on 0 1 2 ... 15 over and over, measured on 16 other ids in random order: ln 16 is the least possible."""
    corpus = write_tokens(tmp_path, "headerless", cycle=True)
    spec = make_spec(corpus=corpus, architecture=TINY, n_steps=60)
    options = TrainingOptions(device="cpu", log_every=1)
    if packed:
        loss = train_packed([spec], [tmp_path / "run"], options=options)[0].loss
    else:
        loss = train(spec, tmp_path / "run", options=options).loss
    assert loss is not None
    assert loss > math.log(16)
