"""Bytes that are not UTF-8 are refused in one way, by every tokenizer, engine and command, before anything is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scaling.cli import cli
from scaling.errors import UsageError
from scaling.lm.request import encode_prompt
from scaling.lm.tokenization import (
    BytePairTokenizer,
    ByteTokenizer,
    CharTokenizer,
    require_utf8,
    save_tokenizer,
    trace_encoding,
    trace_training,
    train_bpe,
)

# as Python hands on the bytes of a Latin-1 terminal; half of an emoji, as json.loads reads "\ud83d"; at the very end
BAD = ["caf\udce9", "\ud83d laughs", "x" * 5000 + "\udcff"]
REFUSED = r"the text '.*\\ud[89a-f].*' is not UTF-8; save or type it as UTF-8\.$"


def engine_tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    from scaling.lm.tokenization.bpe import to_tokenizers
    from scaling.lm.tokenization.files import EngineTokenizer

    assert tokenizers
    return EngineTokenizer(to_tokenizers(BytePairTokenizer([])), 0)


TOKENIZERS = {
    "byte": ByteTokenizer,
    "characters": lambda: CharTokenizer("caf laughsx god"),
    "pairs in Python": lambda: BytePairTokenizer([], engine="python"),
    "pairs by the library": lambda: BytePairTokenizer([], engine="tokenizers"),
    "a file's own engine": engine_tokenizer,
}


@pytest.mark.parametrize("text", BAD, ids=["latin-1", "surrogate", "long"])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_tokenizer_refuses_it_alike(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    calls = [tokenizer.encode, lambda t: encode_prompt(tokenizer, t)]
    if hasattr(tokenizer, "encode_batch"):
        calls += [lambda t: tokenizer.encode_batch(["good", t]), tokenizer.pieces]
    for call in calls:
        with pytest.raises(UsageError, match=REFUSED) as told:
            call(text)
        assert len(str(told.value)) < 300


@pytest.mark.parametrize("text", BAD, ids=["latin-1", "surrogate", "long"])
def test_training_and_tracing_refuse_it_alike(text: str) -> None:
    for learn in (
        lambda: train_bpe(["good", text], 300, engine="python"),
        lambda: train_bpe(["good", text], 300, engine="tokenizers"),
        lambda: CharTokenizer.train(["good", text]),
        lambda: list(trace_training([text], 3)),
        lambda: list(trace_encoding(BytePairTokenizer([]), text)),
    ):
        with pytest.raises(UsageError, match=REFUSED):
            learn()


def test_text_that_is_utf8_is_let_through() -> None:
    require_utf8("café 👩‍👩‍👧 \U0010ffff \x00 \ufffd")
    assert ByteTokenizer().encode("é") == [0xC3, 0xA9]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    from scaling.architecture import Architecture
    from scaling.lm import build_model, save_model

    a = Architecture(n_layers=1, d_model=16, n_heads=2, vocab_size=257, context_length=40)
    folder = save_model(build_model(a), tmp_path_factory.mktemp("model"))
    save_tokenizer(ByteTokenizer(), folder / "tokenizer.json")
    save_tokenizer(BytePairTokenizer([]), folder / "pairs.json")
    return str(folder)


COMMANDS = {
    "tokenize encode": ["tokenize", "encode", "{bad}"],
    "tokenize encode --json": ["tokenize", "encode", "{bad}", "--json"],
    "tokenize explain": ["tokenize", "explain", "{bad}"],
    "tokenize explain --tokenizer": ["tokenize", "explain", "{bad}", "--tokenizer", "{model}/pairs.json"],
    "generate": ["generate", "{model}", "{bad}"],
    "generate --json": ["generate", "{model}", "{bad}", "--json"],
    "generate --stop": ["generate", "{model}", "good", "--stop", "{bad}"],
    "decode explain": ["decode", "explain", "{bad}", "--model", "{model}"],
    "decode explain --plot": [
        "decode",
        "explain",
        "{bad}",
        "--model",
        "{model}",
        "--plot",
        "{model}/p.png",
    ],
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("text", BAD[:2], ids=["latin-1", "surrogate"])
def test_every_command_that_takes_text_refuses_it_before_it_says_anything(
    name: str, text: str, model: str
) -> None:
    out = CliRunner().invoke(cli, [part.format(bad=text, model=model) for part in COMMANDS[name]])

    assert isinstance(out.exception, UsageError)
    assert out.exception.exit_code == 2
    assert "is not UTF-8; save or type it as UTF-8." in str(out.exception)
    assert out.output == ""  # of standard output and standard error
    assert not (Path(model) / "p.png").exists()


def test_standard_input_that_is_not_utf8_is_told_with_its_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    from scaling.cli.tokenize import encode

    strict = io.TextIOWrapper(io.BytesIO(b"caf\xe9 au lait"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", strict)
    with pytest.raises(UsageError, match=r"standard input is not UTF-8 at byte 3; convert it first"):
        encode.callback(text=None, path="byte", as_json=False)
