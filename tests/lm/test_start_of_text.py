"""A prompt begins as the model's own tokenizer begins every text, and a text without a prompt with its start token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from scaling.architecture import Architecture
from scaling.cli.decode import decode
from scaling.cli.generate import generate as command
from scaling.lm import build_model, generate, stream
from scaling.lm.explain import explain_decoding
from scaling.lm.models.convert import save_huggingface
from scaling.lm.pretrained import load_language_model
from scaling.lm.tokenization import BytePairTokenizer, train_bpe
from scaling.lm.tokenization.bpe import to_tokenizers

tokenizers = pytest.importorskip("tokenizers")
post = tokenizers.processors
START, END = 1, 2
TEXT = "the budget"
PLAIN = post.TemplateProcessing(single="$A", pair="$A $B")
TEMPLATE = post.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", START)])
POST_PROCESSORS = {
    "Llama, Mistral, Gemma": (TEMPLATE, [START], []),
    "Llama 3": (post.Sequence([post.ByteLevel(), TEMPLATE]), [START], []),
    "RoBERTa": (post.RobertaProcessing(("</s>", END), ("<s>", START)), [START], [END]),
    "an end behind every text": (
        post.TemplateProcessing(single="$A </s>", pair="$A $B", special_tokens=[("</s>", END)]),
        [],
        [END],
    ),
    "nothing added": (PLAIN, [], []),
    "none": (None, [], []),
}


def write_engine(folder: Path, processor: Any) -> tokenizers.Tokenizer:
    """A tokenizer.json of words with a mark for the space, as SentencePiece has them."""
    engine = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    engine.decoder = tokenizers.decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=70, special_tokens=special, show_progress=False)
    engine.train_from_iterator(["the budget of the plan and the size of the model " * 20], trainer)
    if processor is not None:
        engine.post_processor = processor
    engine.save(str(folder / "tokenizer.json"))
    return engine


def write_model(folder: Path, vocab_size: int, **config: Any) -> None:
    """A checkpoint of a Llama whose config.json names these special ids only."""
    architecture = Architecture(
        n_layers=1, d_model=16, n_heads=2, d_ff=24, vocab_size=vocab_size, context_length=64, norm="rms",
        activation="swiglu", positions="rope", qkv_bias=False, attention_output_bias=False, mlp_bias=False,
        tie_embeddings=False,
    )  # fmt: skip
    save_huggingface(build_model(architecture, seed=3, init_std=0.2), folder)
    file = folder / "config.json"
    kept = {
        k: v for k, v in json.loads(file.read_text()).items() if k not in ("bos_token_id", "eos_token_id")
    }
    file.write_text(json.dumps({**kept, **config}))


def llama(folder: Path, processor: Any = TEMPLATE, **config: Any) -> tokenizers.Tokenizer:
    engine = write_engine(folder, processor)
    write_model(folder, engine.get_vocab_size(), **{"bos_token_id": START, "eos_token_id": END, **config})
    return engine


def prompt_ids(folder: Path, *arguments: str) -> list[int]:
    out = CliRunner().invoke(
        command,
        [str(folder), *arguments, "--greedy", "--max-new-tokens", "2", "--json"],
        catch_exceptions=False,
    )
    found: list[int] = json.loads(out.stdout)["generations"][0]["prompt_ids"]
    return found


@pytest.mark.parametrize("processor", POST_PROCESSORS)
def test_a_prompt_has_around_it_what_the_tokenizer_puts_around_every_text(
    processor: str, tmp_path: Path
) -> None:
    added, before, after = POST_PROCESSORS[processor]
    words = llama(tmp_path, added).encode(TEXT, add_special_tokens=False).ids
    wanted = [*before, *words, *after]
    model, tokenizer = load_language_model(tmp_path)

    assert prompt_ids(tmp_path, TEXT) == wanted
    assert list(generate(model, TEXT, tokenizer, max_new_tokens=1)[0].prompt_ids) == wanted
    given = generate(model, [wanted], tokenizer, max_new_tokens=6)[0]
    assert [piece.id for piece in stream(model, TEXT, tokenizer, max_new_tokens=6)] == list(given.ids)
    seen = explain_decoding(model, tokenizer, TEXT, temperatures=(1.0,), n_steps=1, n_beams=1, n_bars=1)
    assert seen.next_token[0].bars[0].token == given.ids[0]
    assert tokenizer.encode(TEXT) == words  # pieces of a text that stands inside another have nothing added


def test_decode_explain_looks_behind_the_start_token(tmp_path: Path) -> None:
    words = llama(tmp_path).encode(TEXT, add_special_tokens=False).ids
    model, tokenizer = load_language_model(tmp_path)
    best = generate(model, [[START, *words]], tokenizer, max_new_tokens=1)[0]
    options = ["--model", str(tmp_path), "--steps", "1", "--beams", "1", "--json"]
    out = CliRunner().invoke(decode, ["explain", TEXT, *options], catch_exceptions=False)

    found = json.loads(out.stdout)["best"]["logprob"]
    assert found == pytest.approx(best.logprob, abs=1e-5)
    assert found != pytest.approx(generate(model, [words], max_new_tokens=1)[0].logprob, abs=1e-2)


NAMED = {
    "config.json": ("config.json", {"bos_token_id": START, "eos_token_id": END}),
    "generation_config.json": ("generation_config.json", {"bos_token_id": START, "eos_token_id": [END]}),
    "tokenizer_config.json": ("tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"}),
    "its long form": (
        "tokenizer_config.json",
        {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": {"content": "</s>"}},
    ),
    "special_tokens_map.json": ("special_tokens_map.json", {"bos_token": "<s>", "eos_token": "</s>"}),
}


@pytest.mark.parametrize("place", NAMED)
@pytest.mark.parametrize("processor", [TEMPLATE, None], ids=["template", "no template"])
def test_without_a_prompt_a_text_begins_with_the_start_and_not_the_end(
    place: str, processor: Any, tmp_path: Path
) -> None:
    engine = write_engine(tmp_path, processor)
    write_model(tmp_path, engine.get_vocab_size())
    file, values = NAMED[place]
    before = json.loads((tmp_path / file).read_text()) if (tmp_path / file).exists() else {}
    (tmp_path / file).write_text(json.dumps({**before, **values}))

    assert prompt_ids(tmp_path) == [START]
    assert load_language_model(tmp_path)[1].end_of_text == END


BEFORE_EMPTY = {
    "two tokens": ("</s> <unk> $A", [END, 0]),
    "another than the start named": ("</s> $A", [END]),
    "one of them behind too": ("<unk> $A </s>", [0]),
    "one only behind": ("$A </s>", [START]),
    "none": ("$A", [START]),
}


@pytest.mark.parametrize("case", BEFORE_EMPTY)
def test_without_a_prompt_a_text_begins_with_what_the_template_puts_before_it(
    case: str, tmp_path: Path
) -> None:
    """as transformers begins it: GLM's [gMASK]<sop>, though its config names another start"""
    template, wanted = BEFORE_EMPTY[case]
    special = [("<unk>", 0), ("<s>", START), ("</s>", END)]
    processor = post.TemplateProcessing(single=template, pair="$A $B", special_tokens=special)
    llama(tmp_path, processor)

    assert prompt_ids(tmp_path) == wanted
    assert prompt_ids(tmp_path, "") == wanted


def test_a_start_outside_the_vocabulary_is_the_default_of_a_class_and_no_start(tmp_path: Path) -> None:
    llama(tmp_path, None, bos_token_id=50_256)
    assert prompt_ids(tmp_path) == [END]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>"}))
    assert prompt_ids(tmp_path) == [START]


def test_a_template_of_a_tokenizer_like_that_of_gpt2_is_kept(tmp_path: Path) -> None:
    pair = train_bpe(["the budget of the plan " * 30], 270)
    end = pair.end_of_text
    engine = to_tokenizers(pair)
    engine.add_special_tokens(["<|endoftext|>"])
    engine.post_processor = post.TemplateProcessing(
        single="<|endoftext|> $A", pair="$A $B", special_tokens=[("<|endoftext|>", end)]
    )
    engine.save(str(tmp_path / "tokenizer.json"))
    write_model(tmp_path, engine.get_vocab_size(), bos_token_id=end, eos_token_id=end)

    assert prompt_ids(tmp_path, TEXT) == [end, *pair.encode(TEXT)]
    engine.post_processor = PLAIN
    engine.save(str(tmp_path / "tokenizer.json"))
    assert isinstance(load_language_model(tmp_path)[1], BytePairTokenizer)
    assert prompt_ids(tmp_path, TEXT) == pair.encode(TEXT)


def test_lengths_of_a_training_run_in_the_file_do_not_cut_or_fill_a_prompt(tmp_path: Path) -> None:
    engine = llama(tmp_path)
    wanted = engine.encode(TEXT * 5).ids
    engine.enable_truncation(4)
    engine.enable_padding(length=40)
    engine.save(str(tmp_path / "tokenizer.json"))

    assert prompt_ids(tmp_path, TEXT * 5) == wanted


class OneToken:
    """A model that always goes on with one token."""

    def __init__(self, token: int, vocab_size: int) -> None:
        self.logits_1V = torch.full((1, vocab_size), -9.0)
        self.logits_1V[0, token] = 9.0

    def start(self, prompts: Any, n_new_tokens: int) -> Any:
        return self.logits_1V, self

    def step(self, ids_R: Any, state: Any) -> Any:
        return self.logits_1V.expand(len(ids_R), -1)

    def reorder(self, rows: Any) -> None:
        """It remembers nothing."""


@pytest.mark.parametrize("choice", [["--greedy"], ["--beams", "1"]])
@pytest.mark.parametrize(("token", "shown"), [("▁plan", "the plan plan"), ("lan", "thelanlan")])
def test_the_space_between_a_prompt_and_its_continuation_is_shown(
    choice: list[str], token: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder of marked words drops the space of the first one it is given."""
    engine = llama(tmp_path)
    _, tokenizer = load_language_model(tmp_path)
    model = OneToken(engine.token_to_id(token), engine.get_vocab_size())
    monkeypatch.setattr("scaling.lm.load_language_model", lambda *a, **k: (model, tokenizer), raising=False)
    arguments = [str(tmp_path), "the", "--max-new-tokens", "2", *choice]

    assert CliRunner().invoke(command, arguments, catch_exceptions=False).stdout.splitlines()[-1] == shown
