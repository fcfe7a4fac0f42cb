"""Tokenizers that other programs wrote: the same ids as theirs, or a refusal that says what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaling.architecture import Architecture
from scaling.errors import DataError
from scaling.lm import build_model
from scaling.lm.models.convert import save_huggingface
from scaling.lm.pretrained import load_language_model
from scaling.lm.tokenization import BytePairTokenizer, load_tokenizer, train_bpe
from scaling.lm.tokenization.bpe import byte_characters, to_tokenizers

tokenizers = pytest.importorskip("tokenizers")
pre = tokenizers.pre_tokenizers
TEXT = "(hello) (world) don't 2024\n\n (hello) cafe\u0301 self.assertEqual(x)\n"
BPE = train_bpe([TEXT * 30], 300)
ANOTHER_SPLIT = tokenizers.Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+")  # as Qwen 2
GPT2_SPLIT = pre.ByteLevel(add_prefix_space=False)


def write_common(folder: Path, change) -> tokenizers.Tokenizer:
    """A tokenizer.json like GPT-2's but for one change."""
    engine = to_tokenizers(BPE)
    engine.add_special_tokens(["<|endoftext|>"])
    change(engine)
    engine.save(str(folder / "tokenizer.json"))
    return engine


def split_as_qwen(engine) -> None:
    apart = pre.Split(ANOTHER_SPLIT, behavior="isolated")
    engine.pre_tokenizer = pre.Sequence([apart, pre.ByteLevel(add_prefix_space=False, use_regex=False)])


CHANGES = {
    "sequence of Split, ByteLevel": split_as_qwen,
    "sequence of Digits, ByteLevel": lambda e: setattr(
        e, "pre_tokenizer", pre.Sequence([pre.Digits(), GPT2_SPLIT])
    ),
    "add_prefix_space True": lambda e: setattr(e, "pre_tokenizer", pre.ByteLevel(add_prefix_space=True)),
    "use_regex False": lambda e: setattr(
        e, "pre_tokenizer", pre.ByteLevel(add_prefix_space=False, use_regex=False)
    ),
    "normalizer 'NFC'": lambda e: setattr(e, "normalizer", tokenizers.normalizers.NFC()),
    "ignore_merges True": lambda e: setattr(e.model, "ignore_merges", True),
    "adds the token '   '": lambda e: e.add_tokens(["   "]),
}


@pytest.mark.parametrize("named", CHANGES)
def test_a_rule_that_is_not_that_of_gpt2_is_refused_by_name(named: str, tmp_path: Path) -> None:
    write_common(tmp_path, CHANGES[named])
    with pytest.raises(DataError, match=named):
        load_tokenizer(tmp_path)


def test_the_rule_of_gpt2_is_read_whether_alone_or_in_a_sequence_of_one(tmp_path: Path) -> None:
    for split in (GPT2_SPLIT, pre.Sequence([GPT2_SPLIT])):
        engine = write_common(tmp_path, lambda e, split=split: setattr(e, "pre_tokenizer", split))
        assert load_tokenizer(tmp_path).encode(TEXT) == engine.encode(TEXT).ids


def checkpoint(folder: Path) -> Path:
    architecture = Architecture(n_layers=1, d_model=16, n_heads=2, vocab_size=301, context_length=32)
    return save_huggingface(build_model(architecture), folder)


@pytest.mark.parametrize("named", CHANGES)
def test_a_checkpoint_keeps_the_ids_of_its_own_tokenizer(named: str, tmp_path: Path) -> None:
    checkpoint(tmp_path)
    engine = write_common(tmp_path, CHANGES[named])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    _, tokenizer = load_language_model(tmp_path)
    for text in ("(hello) 2024\n\n (world)", "self.assertEqual(x)\n", "cafe\u0301   2"):
        assert tokenizer.encode(text) == engine.encode(text).ids
    assert tokenizer.end_of_text == BPE.end_of_text


def test_a_checkpoint_whose_tokenizer_has_no_end_says_where_to_name_one(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    write_common(tmp_path, split_as_qwen)
    with pytest.raises(DataError, match="put eos_token_id into its config"):
        load_language_model(tmp_path)


def write_merges(folder: Path) -> None:
    """vocab.json and merges.txt, as GPT-2's checkpoint has them."""
    visible = byte_characters()

    def spell(token: bytes) -> str:
        return "".join(visible[b] for b in token)

    lines = ["#version: 0.2", *(f"{spell(a)} {spell(b)}" for a, b in BPE.merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    vocab = {spell(BPE.token_bytes(i)): i for i in range(BPE.end_of_text)}
    (folder / "vocab.json").write_text(json.dumps({**vocab, "<|endoftext|>": BPE.end_of_text}))


def test_a_checkpoint_with_the_two_files_of_gpt2_has_its_tokenizer(tmp_path: Path) -> None:
    write_merges(checkpoint(tmp_path))
    _, tokenizer = load_language_model(tmp_path)
    assert isinstance(tokenizer, BytePairTokenizer)
    assert tokenizer == BPE


def test_merges_beside_a_tokenizer_json_do_not_hide_its_rule(tmp_path: Path) -> None:
    write_merges(tmp_path)
    write_common(tmp_path, split_as_qwen)
    with pytest.raises(DataError, match="sequence of Split"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("key", ["vocab_size", "n_layer", "n_embd"])
def test_a_configuration_that_lacks_a_key_is_named_with_the_key(key: str, tmp_path: Path) -> None:
    file = checkpoint(tmp_path) / "config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != key}))
    with pytest.raises(DataError, match=rf"config\.json has no '{key}', which a model of type 'gpt2' needs"):
        load_language_model(tmp_path)
