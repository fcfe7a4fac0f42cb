"""What a model is given for a prompt, and what it answers, beside transformers: the same files, the same ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from scaling.cli.generate import generate

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.oracle
SPECIAL = [("<s>", 1), ("</s>", 2)]
TEMPLATES = {
    "start": "<s> $A",
    "start and end": "<s> $A </s>",
    "end": "$A </s>",
    "none": "$A",
}
PROMPTS = ["the budget", "<s>the budget", " the plan and", "budget"]


def write_llama(folder: Path, template: str) -> tuple[Any, Any]:
    """A tiny Llama whose tokenizer.json puts tokens around every text, written by transformers."""
    torch.manual_seed(0)
    engine = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    engine.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=80, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    engine.train_from_iterator(["the budget of the plan and the size of the model " * 20], trainer)
    engine.post_processor = tokenizers.processors.TemplateProcessing(
        single=template, pair=f"{template} $B", special_tokens=SPECIAL
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=engine, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    config = transformers.LlamaConfig(
        vocab_size=engine.get_vocab_size(), hidden_size=48, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def ours(folder: Path, *prompt: str) -> tuple[list[int], list[int]]:
    arguments = [str(folder), *prompt, "--greedy", "--max-new-tokens", "8", "--json"]
    out = CliRunner().invoke(generate, arguments, catch_exceptions=False)
    found = json.loads(out.stdout)["generations"][0]
    return found["prompt_ids"], found["ids"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_prompt_and_its_greedy_continuation_are_those_of_transformers(
    template: str, tmp_path: Path
) -> None:
    model, tokenizer = write_llama(tmp_path, TEMPLATES[template])
    for prompt in PROMPTS:
        given = tokenizer(prompt, return_tensors="pt")
        whole = model.generate(**_of_a_decoder(given), max_new_tokens=8, do_sample=False, pad_token_id=2)[0]
        width = given["input_ids"].shape[1]
        assert ours(tmp_path, prompt) == (whole[:width].tolist(), whole[width:].tolist())


def test_without_a_prompt_the_text_is_that_of_transformers(tmp_path: Path) -> None:
    model, _ = write_llama(tmp_path, TEMPLATES["none"])
    whole = model.generate(max_new_tokens=8, do_sample=False, pad_token_id=2)[0].tolist()
    assert ours(tmp_path) == (whole[:1], whole[1:])


def _of_a_decoder(given: Any) -> dict[str, Any]:
    return {k: given[k] for k in ("input_ids", "attention_mask")}
