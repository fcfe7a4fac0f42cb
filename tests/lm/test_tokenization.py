"""Tokenizers: two trainers, one set of merges; round trips; clear refusals."""

from __future__ import annotations

import json
import random
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.cli.tokenize import tokenize
from scaling.errors import DataError, UsageError
from scaling.lm.tokenization import (
    BytePairTokenizer,
    ByteTokenizer,
    CharTokenizer,
    load_gpt2,
    load_tokenizer,
    save_tokenizer,
    trace_encoding,
    trace_training,
    train_bpe,
)
from scaling.lm.tokenization.bpe import byte_characters, split_words

TEXTS = [
    "Ellos jugaban basketball. Me gusta correr; ¿te gusta a ti? ñandú 日本語 ½ Ⅷ\n\n\tcafé 'll we've 123 x\u2003y",
    "for i in range(10):\n    print(i, 'low lower lowest newest widest')\n" * 3,
    "a\x1cb aaaa aaaaa abab <|endoftext|> 👩‍👩‍👧 \r\n  trailing   ",
]


def test_low_lower_is_merged_by_hand_worked_steps() -> None:
    # words: "low" x1, " low" x1, " lower" x1: lo occurs 3 times, then (lo, w) 3 times
    steps = list(trace_training(["low low lower"], 3))
    assert [(s.left, s.right, s.count) for s in steps[:2]] == [(b"l", b"o", 3), (b"lo", b"w", 3)]
    assert (steps[2].left, steps[2].right, steps[2].count) == (b" ", b"low", 2)


def test_python_trainer_learns_the_merges_of_tokenizers() -> None:
    pytest.importorskip("tokenizers")
    slow, fast = train_bpe(TEXTS, 330, engine="python"), train_bpe(TEXTS, 330, engine="tokenizers")
    assert slow.merges == fast.merges
    assert slow.hash == fast.hash


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab c'\n1é", max_size=60), min_size=1, max_size=4).filter(lambda t: any(t)))
def test_trainers_and_encoders_agree_on_random_text(texts: list[str]) -> None:
    pytest.importorskip("tokenizers")
    slow, fast = train_bpe(texts, 300, engine="python"), train_bpe(texts, 300, engine="tokenizers")
    assert slow.merges == fast.merges
    for text in texts:
        assert slow.encode(text) == fast.encode(text)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_every_text_survives_a_round_trip_in_both_engines(text: str) -> None:
    merges = train_bpe(TEXTS, 320, engine="python").merges
    slow, fast = BytePairTokenizer(merges, engine="python"), BytePairTokenizer(merges)
    encodable = text.encode("utf-8", errors="ignore").decode()
    assert slow.decode(slow.encode(encodable)) == encodable
    assert fast.encode(encodable) == slow.encode(encodable)


@given(st.text())
def test_words_join_back_to_the_text(text: str) -> None:
    assert "".join(split_words(text)) == text


def test_encoding_trace_ends_at_the_ids() -> None:
    tokenizer = train_bpe(TEXTS, 330, engine="python")
    steps = list(trace_encoding(tokenizer, "Ellos jugaban basketball"))
    last = {step.word: step.pieces for step in steps}
    pieces = [piece for word in split_words("Ellos jugaban basketball") for piece in last[word]]
    assert pieces == [tokenizer.token_bytes(i) for i in tokenizer.encode("Ellos jugaban basketball")]
    ranks = [s.rank for s in steps if s.word == " jugaban" and s.rank is not None]
    assert ranks == sorted(ranks)


def test_text_cannot_forge_the_separator() -> None:
    for tokenizer in (ByteTokenizer(), train_bpe(TEXTS, 300), CharTokenizer.train(TEXTS)):
        assert tokenizer.end_of_text not in tokenizer.encode("<|endoftext|>")
        assert tokenizer.decode([tokenizer.end_of_text]) == "<|endoftext|>"


def test_character_tokenizer_names_the_unseen_character() -> None:
    with pytest.raises(DataError, match=r"'z' \(U\+007A\) at position 2"):
        CharTokenizer.train(["ab"]).encode("abz")


@pytest.mark.parametrize(
    "make", [ByteTokenizer, lambda: CharTokenizer.train(TEXTS), lambda: train_bpe(TEXTS, 300)]
)
def test_save_and_load_keep_ids_and_hash(make, tmp_path: Path) -> None:
    tokenizer = make()
    loaded = load_tokenizer(save_tokenizer(tokenizer, tmp_path / "tokenizer.json"))
    assert (loaded.hash, loaded.vocab_size) == (tokenizer.hash, tokenizer.vocab_size)
    assert loaded.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
    assert load_tokenizer(tmp_path) == tokenizer


def test_common_json_of_tokenizers_is_read(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    from scaling.lm.tokenization.bpe import to_tokenizers

    tokenizer = train_bpe(TEXTS, 310)
    to_tokenizers(tokenizer).save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path / "tokenizer.json").hash == tokenizer.hash


def test_gpt2_files_are_read_and_checked(tmp_path: Path) -> None:
    tokenizer = train_bpe(TEXTS, 300)
    visible = byte_characters()
    spell = lambda token: "".join(visible[b] for b in token)  # noqa: E731
    lines = ["#version: 0.2", *(f"{spell(a)} {spell(b)}" for a, b in tokenizer.merges), ""]
    (tmp_path / "vocab.bpe").write_text("\n".join(lines), encoding="utf-8")
    vocab = {spell(tokenizer.token_bytes(i)): i for i in range(tokenizer.end_of_text)}
    (tmp_path / "encoder.json").write_text(json.dumps({**vocab, "<|endoftext|>": 299}), encoding="utf-8")
    assert load_gpt2(tmp_path) == tokenizer
    (tmp_path / "encoder.json").write_text(json.dumps({**vocab, "!": 5}), encoding="utf-8")
    with pytest.raises(DataError, match=r"'!' the id 5"):
        load_gpt2(tmp_path)


def test_gpt2_first_ids_are_those_of_the_published_vocabulary() -> None:
    # encoder.json of GPT-2 starts "!": 0, "\"": 1, ... and ends its bytes with U+0143 (0xAD) at 255
    tokenizer = BytePairTokenizer([])
    assert tokenizer.encode('!"A ') == [0, 1, 32, 220]
    assert tokenizer.token_bytes(255) == b"\xad"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("[]", "must be a JSON object"),
        ('{"kind": "tokenizer", "schema_version": 9}', "schema version 9"),
        ('{"kind": "tokenizer", "schema_version": 1, "type": "char"}', "damaged"),
        (
            '{"kind": "tokenizer", "schema_version": 1, "type": "char", "alphabet": "ab", "hash": "0"}',
            "changed after",
        ),
        ('{"model": {"type": "Unigram"}}', "not byte-level BPE"),
    ],
)
def test_damaged_tokenizer_files_say_what_is_wrong(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load_tokenizer(path)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 257"):
        train_bpe(["a"], 100)
    with pytest.raises(DataError, match="empty"):
        train_bpe([], 300)
    with pytest.raises(DataError, match="empty"):
        train_bpe([""], 300, engine="python")
    with pytest.raises(DataError, match=re.escape("0..256")):
        ByteTokenizer().decode([257])
    with pytest.raises(DataError, match="neither a byte nor an earlier merge"):
        BytePairTokenizer([(b"ab", b"c")])


def test_every_assigned_character_is_split_alike_by_both_engines() -> None:
    pre_tokenizers = pytest.importorskip("tokenizers").pre_tokenizers
    engine = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    visible = byte_characters()
    assigned = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs")]
    assert len(assigned) > 280_000
    for start in range(0, len(assigned), 10_000):
        text = "".join(f"a{c}b1{c} " for c in assigned[start : start + 10_000])
        ours = ["".join(visible[b] for b in word.encode()) for word in split_words(text)]
        assert ours == [word for word, _ in engine.pre_tokenize_str(text)]


def test_control_characters_of_a_text_are_shown_not_sent_to_the_terminal() -> None:
    said = CliRunner().invoke(tokenize, ["explain", "a\x1b[31mb"]).output
    assert "\x1b" not in said
    assert "\\x1b" in said


def test_the_merge_learnt_first_goes_first_whatever_stands_first_in_the_word() -> None:
    """b+c was learnt before a+b: abc is a|bc. By hand; the latest first, or the leftmost, would give ab|c."""
    merges = [(b"b", b"c"), (b"a", b"b"), (b"bc", b"d"), (b"a", b"bc")]
    for engine in ("python", "tokenizers"):
        tokenizer = BytePairTokenizer(merges, engine=engine)
        assert tokenizer.pieces("abc") == ["abc"]
        assert tokenizer.pieces("abcd") == ["a", "bcd"]  # bc, then bc+d (third) before a+bc (fourth)
        assert tokenizer.pieces("aab") == ["a", "ab"]
    steps = [step.pieces for step in trace_encoding(BytePairTokenizer(merges), "abcd")]
    assert steps == [(b"a", b"b", b"c", b"d"), (b"a", b"bc", b"d"), (b"a", b"bcd")]


def test_engines_agree_on_a_long_text_with_a_large_vocabulary() -> None:
    """with hundreds of merges nearly every word has several that fit at once"""
    pytest.importorskip("tokenizers")
    rng = random.Random(0)
    words = ["".join(rng.choice("etaoin shrdlu") for _ in range(rng.randint(3, 14))) for _ in range(400)]
    text = " ".join(rng.choice(words) for _ in range(6000))
    merges = train_bpe([text], 700, engine="tokenizers").merges
    slow, fast = (BytePairTokenizer(merges, engine=engine) for engine in ("python", "tokenizers"))
    other = " ".join(w + rng.choice(words) for w in words)
    assert slow.encode(text) == fast.encode(text)
    assert slow.encode(other) == fast.encode(other)
