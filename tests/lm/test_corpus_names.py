"""What a corpus may be called, and what is said of a name that cannot be read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_corpus import make_documents

from scaling.cli import cli
from scaling.errors import DataError, UsageError
from scaling.lm.corpus import MixtureCorpus, TokenFileCorpus, load_corpus, prepare_corpus
from scaling.lm.corpus.corpora import split_mixture
from scaling.lm.corpus.shards import ShardWriter
from scaling.lm.tokenization import ByteTokenizer


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("1e-1*synthetic+0.9*stdlib", [(0.1, "synthetic"), (0.9, "stdlib")]),
        ("1e+1*synthetic+.5*stdlib", [(10.0, "synthetic"), (0.5, "stdlib")]),
        ("2*tokens:a+b,vocab=9+3*synthetic:bits=5,seed=1", [(2, "tokens:a+b,vocab=9"), (3, "synthetic:bits=5,seed=1")]),
        ("synthetic:bits=5", None),
    ],
)  # fmt: skip
def test_mixtures_are_split_at_their_weights(name: str, parts: list | None) -> None:
    assert split_mixture(name) == parts


def test_a_folder_may_have_a_plus_or_a_star_in_its_name(tmp_path: Path) -> None:
    for name in ("a+b", "c+d", "2*c"):
        prepare_corpus(
            make_documents(60), tmp_path / name, ByteTokenizer(), source="t", validation_fraction=0.3
        )
    loaded = load_corpus(f"0.5*{tmp_path}/a+b+0.5*{tmp_path}/c+d")
    assert isinstance(loaded, MixtureCorpus)
    assert [c.name for c in loaded.corpora] == [f"{tmp_path}/{name}" for name in ("a+b", "c+d")]
    with pytest.raises(UsageError, match=r"a\+b is twice in a mixture; name it once"):
        load_corpus(f"0.5*{tmp_path}/a+b+0.2*{tmp_path}/a+b")
    assert load_corpus(tmp_path / "2*c").name == f"{tmp_path}/2*c"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("-1*synthetic+2*synthetic", "must not be negative"),
        ("half*synthetic+2*synthetic", r"'half\*synthetic.* has no weight"),
        ("0.5*synthetic+stdlib", "what follows its . has no weight"),
        ("0*synthetic", "positive sum"),
        ("tokens:x,type=uint16", "got the option 'type'"),
        ("tokens:x,dtype=float", "uint16 or uint32; got 'float'"),
        ("tokens:x,vocab=many", "a positive number; got 'many'"),
    ],
)
def test_a_wrong_name_is_told_what_is_wrong_with_it(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_corpus(name)


def write_nano(folder: Path, n_vocabulary: int = 40) -> Path:
    """nanoGPT's two files: no header, uint16."""
    folder.mkdir()
    ids = np.random.default_rng(0).integers(0, n_vocabulary, 20_000).astype("<u2")
    ids[:16_000].tofile(folder / "train.bin")
    ids[16_000:].tofile(folder / "val.bin")
    return folder


def test_token_files_of_nanogpt_are_trained_from_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = write_nano(tmp_path / "nano")
    result = CliRunner().invoke(
        cli,
        ["train", "--corpus", f"tokens:{folder},vocab=40", "--preset", "tiny", "--context", "32", "--tokens", "4096"]
        + ["--batch-size", "4", "--device", "cpu", "--out", str(tmp_path / "run"), "--json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    kept = json.loads((tmp_path / "run" / "result.json").read_text())
    assert kept["status"] == "done"
    assert kept["loss"] == pytest.approx(math.log(40), abs=0.5)  # random ids: nothing to learn


def test_shards_of_llm_c_and_npy_are_found_by_their_names(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", np.arange(300) % 7)
    for name in ("fineweb_train_000002", "fineweb_train_000001", "fineweb_val_000000", "training_notes"):
        (np.arange(300) % 7).astype("<u4").tofile(tmp_path / f"{name}.bin")
    corpus = load_corpus(f"tokens:{tmp_path},dtype=uint32,vocab=7")
    assert isinstance(corpus, TokenFileCorpus)
    assert [p.name for p in corpus.train] == [
        "fineweb_train_000001.bin",
        "fineweb_train_000002.bin",
        "train.npy",
    ]
    assert [p.name for p in corpus.validation] == ["fineweb_val_000000.bin"]
    assert corpus.n_tokens_unique == 900


def test_token_files_that_do_not_fit_what_is_said_of_them_are_refused_at_once(tmp_path: Path) -> None:
    folder = write_nano(tmp_path / "nano")
    ids = np.arange(5000) % 90
    ids.astype("<u4").tofile(folder / "train.bin")
    with pytest.raises(DataError, match=r"every second id .* is 0: it looks like uint32 read as uint16"):
        load_corpus(f"tokens:{folder}").training_windows(8, seed=0)
    ids[4321] = 95
    ids.astype("<u2").tofile(folder / "train.bin")
    with pytest.raises(DataError, match="holds the id 95, outside its vocabulary of 95"):
        load_corpus(f"tokens:{folder},vocab=95").training_windows(8, seed=0)
    load_corpus(f"tokens:{folder},vocab=96").training_windows(8, seed=0)
    np.save(folder / "train.npy", ids)
    with pytest.raises(DataError, match=r"train\.bin and train\.npy: the same tokens twice"):
        load_corpus(f"tokens:{folder},vocab=96")


@pytest.mark.parametrize("kind", ["headerless", "llm.c", "npy", "int16.npy"])
def test_a_vocabulary_that_its_ids_cannot_name_is_refused(kind: str, tmp_path: Path) -> None:
    """ids of Llama 3 or Qwen written as uint16 are wrapped: every one lies in the vocabulary and none is right"""
    ids = (np.arange(5000) * 977 % 128_256).astype("<u4")
    for split in ("train", "val"):
        if kind == "headerless":
            ids.astype("<u2").tofile(tmp_path / f"{split}.bin")
        elif kind == "llm.c":
            writer = ShardWriter(tmp_path / f"{split}.bin")
            writer.write(ids.astype("<u2"))
            writer.close()
        else:
            np.save(tmp_path / f"{split}.npy", ids.astype("<u2") if kind == "npy" else ids.astype("<u2") // 2)
    if kind == "int16.npy":
        for split in ("train", "val"):
            np.save(tmp_path / f"{split}.npy", np.load(tmp_path / f"{split}.npy").astype("<i2"))
    held, most = ("int16", 32767) if kind == "int16.npy" else ("uint16", 65535)
    name = f"tokens:{tmp_path},vocab="
    with pytest.raises(
        DataError, match=rf"holds {held} ids, at most {most}, which a vocabulary of 128256 exceeds"
    ):
        load_corpus(f"{name}128256").training_windows(8, seed=0)
    with pytest.raises(DataError, match=rf"a vocabulary of {most + 2} exceeds"):
        load_corpus(f"{name}{most + 2}").validation_windows(8)
    load_corpus(f"{name}{most + 1}").training_windows(8, seed=0)


def test_a_folder_of_token_files_says_how_to_name_it(tmp_path: Path) -> None:
    folder = write_nano(tmp_path / "nano")
    with pytest.raises(DataError, match=rf"name it tokens:{folder}"):
        load_corpus(folder)
    (folder / "val.bin").unlink()
    with pytest.raises(DataError, match=r"no token file of the validation split; .* val\.bin"):
        load_corpus(f"tokens:{folder}")
